/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <windows.h>

/*
 * Keeps the library loaded when a plugin that loaded it is unloaded, because types stay registered
 * for the lifetime of the process. On other systems, the linker does this.
 */

BOOL WINAPI DllMain (HINSTANCE instance, DWORD reason, LPVOID reserved);

BOOL WINAPI
DllMain (HINSTANCE instance, DWORD reason, LPVOID reserved)
{
  HMODULE module;

  if (reason != DLL_PROCESS_ATTACH)
    return TRUE;
  return GetModuleHandleExW (GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
                             (LPCWSTR) instance,
                             &module);
}
