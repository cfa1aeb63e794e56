/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <windows.h>

/*
 * The library stays loaded when a plugin that has loaded it is unloaded: types stay registered for
 * as long as the process lives. On other systems the linker takes care of that.
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
