/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* For a source of a program in which the linker replaces mmap() and munmap(). With large file
 * support, glibc has another name for the same function. */

#pragma once

#include <sys/mman.h>
#include <unistd.h>

void *__real_mmap (void *address, size_t size, int protection, int flags, int fd, off_t offset);
int __real_munmap (void *address, size_t size);
void *__wrap_mmap (void *address, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64 (void *address, size_t size, int protection, int flags, int fd, off_t offset);
int __wrap_munmap (void *address, size_t size);

void *
__wrap_mmap64 (void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
  return __wrap_mmap (address, size, protection, flags, fd, offset);
}
