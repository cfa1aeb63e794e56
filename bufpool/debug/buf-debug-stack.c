/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <string.h>

#ifdef HAVE_BACKTRACE
#include <dlfcn.h>
#include <execinfo.h>
#endif
#ifdef HAVE_DL_ITERATE_PHDR
#include <link.h>
#ifndef ElfW
#define ElfW(type) Elf_##type /* BSD */
#endif
#endif

#include "debug/buf-debug-stack-private.h"

/*
 * Call stacks for the reports of BUFPOOL_DEBUG.
 *
 * Capturing is cheap: the C library walks the stack, and only the addresses are stored. addr2line
 * from the binutils names them, with one process for each module. It knows files and lines, and
 * follows separate debug files, so the library does not have to. Without addr2line, or on a system
 * without ELF, the reports contain the names that the dynamic linker knows.
 *
 * In a module without debug information and without a symbol table, addr2line takes the nearest
 * exported function that begins before the address, which is often a wrong one. The dynamic linker
 * knows where that function ends.
 *
 * The innermost frames are functions of the library. Reports omit them, so that allocations from
 * one place of the program form one group, no matter which path the library took. These frames are
 * found by their module, or, if a program contains the library, by their names and files.
 */

#define INDENT "    "

#ifdef HAVE_BACKTRACE

/* Also loads what backtrace() needs, which it otherwise does on its first call. */
void
buf_debug_stack_capture (BufDebugStack *self)
{
  gpointer frames[BUF_DEBUG_MAX_FRAMES + 1];
  int n_frames = backtrace (frames, G_N_ELEMENTS (frames));

  /* Omits this function itself. */
  self->n_frames = MAX (n_frames - 1, 0);
  memcpy (self->frames, frames + 1, self->n_frames * sizeof *frames);
}

/* Returns a name without a file for an address in the module at @path. */
static gchar *
get_plain_name (gpointer address, const gchar *path)
{
  Dl_info info = { 0 };
  g_autofree gchar *module = NULL;

  dladdr ((guint8 *) address - 1, &info);
  if (path == NULL)
    path = info.dli_fname;
  module = path != NULL ? g_path_get_basename (path) : g_strdup ("?");
  if (info.dli_sname != NULL)
    return g_strdup_printf ("%s (in %s)", info.dli_sname, module);
  return g_strdup_printf ("%p (in %s)", address, module);
}

#else

void
buf_debug_stack_capture (BufDebugStack *self)
{
  self->n_frames = 0;
}

static gchar *
get_plain_name (gpointer address, const gchar *path)
{
  return g_strdup_printf ("%p", address);
}

#endif

#ifdef HAVE_DL_ITERATE_PHDR

typedef struct
{
  guintptr address;
  guintptr bias; /* subtract it from an address to find it in the file */
  gchar *path;   /* the path of the module */
} Module;

static int
find_module (struct dl_phdr_info *info, gsize size, gpointer user_data)
{
  Module *module = user_data;

  for (guint i = 0; i < info->dlpi_phnum; i++)
    {
      guintptr start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

      if (info->dlpi_phdr[i].p_type != PT_LOAD || module->address < start ||
          module->address - start >= info->dlpi_phdr[i].p_memsz)
        continue;

      module->bias = info->dlpi_addr;
      if (info->dlpi_name[0] != '\0')
        module->path = g_strdup (info->dlpi_name);
      else
        module->path = g_file_read_link ("/proc/self/exe", NULL);
      return 1;
    }
  return 0;
}

/* Whether addr2line knows all functions of the file, and not only those that are exported. */
static gboolean
has_symbol_table (const gchar *path)
{
  g_autoptr (GMappedFile) file = g_mapped_file_new (path, FALSE, NULL);
  gsize size = file != NULL ? g_mapped_file_get_length (file) : 0;
  ElfW (Ehdr) header;

  if (size < sizeof header)
    return FALSE;

  memcpy (&header, g_mapped_file_get_contents (file), sizeof header);
  if (header.e_shoff > size || header.e_shnum > (size - header.e_shoff) / sizeof (ElfW (Shdr)))
    return FALSE;

  for (guint i = 0; i < header.e_shnum; i++)
    {
      ElfW (Shdr) section;

      memcpy (&section,
              g_mapped_file_get_contents (file) + header.e_shoff + i * sizeof section,
              sizeof section);
      if (section.sh_type == SHT_SYMTAB)
        return TRUE;
    }
  return FALSE;
}

/* Appends the function and the place, which addr2line prints in two lines, if they are known. From
 * a symbol table, it knows at most the file. */
static void
append_full_name (GString *name, const gchar *function, const gchar *place, gboolean has_symbols)
{
  g_autofree gchar *file = NULL;

  if (function[0] == '?' || (place[0] == '?' && !has_symbols))
    return;

  if (name->len > 0)
    g_string_append (name, "\n" INDENT);
  g_string_append (name, function);
  if (place[0] == '?' || place[0] == ':')
    return;

  file = g_path_get_basename (place);
  file[strcspn (file, " ")] = '\0'; /* cuts off a discriminator */
  if (g_str_has_suffix (file, ":?"))
    file[strlen (file) - strlen (":?")] = '\0';
  g_string_append_printf (name, " (%s)", file);
}

/* For each address, the output is a line with the address, and then two lines for each function
 * that contains it, the innermost first, because functions are inlined into others. */
static void
read_names (BufDebugNames *self, GPtrArray *addresses, gchar **lines, gboolean has_symbols)
{
  for (guint i = 0; i < addresses->len && *lines != NULL; i++)
    {
      g_autoptr (GString) name = g_string_new (NULL);

      for (lines++; lines[0] != NULL && lines[1] != NULL && !g_str_has_prefix (*lines, "0x");
           lines += 2)
        append_full_name (name, lines[0], lines[1], has_symbols);

      if (name->len > 0)
        g_hash_table_replace (self, addresses->pdata[i], g_strdup (name->str));
    }
}

/* Looks up @addresses, which belong to one module. */
static void
look_up_in_module (BufDebugNames *self, const Module *module, GPtrArray *addresses)
{
  g_autoptr (GPtrArray) argv = g_ptr_array_new_with_free_func (g_free);
  g_autofree gchar *output = NULL;
  g_auto (GStrv) lines = NULL;

  g_ptr_array_add (argv, g_strdup ("addr2line"));
  g_ptr_array_add (argv, g_strdup ("-aiCfe"));
  g_ptr_array_add (argv, g_strdup (module->path));
  for (guint i = 0; i < addresses->len; i++)
    {
      /* The call is before the return address. */
      guintptr call = (guintptr) addresses->pdata[i] - 1;

      g_ptr_array_add (argv, g_strdup_printf ("0x%" G_GINTPTR_MODIFIER "x", call - module->bias));
    }
  g_ptr_array_add (argv, NULL);

  if (!g_spawn_sync (NULL,
                     (gchar **) argv->pdata,
                     NULL,
                     G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL,
                     NULL,
                     NULL,
                     &output,
                     NULL,
                     NULL,
                     NULL))
    return;

  lines = g_strsplit (output, "\n", -1);
  read_names (self, addresses, lines, has_symbol_table (module->path));
}

/* Names all addresses that were added. */
void
buf_debug_names_look_up (BufDebugNames *self)
{
  g_autoptr (GHashTable) by_path =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify) g_ptr_array_unref);
  g_autofree gpointer *addresses = g_hash_table_get_keys_as_array (self, NULL);
  GHashTableIter iter;
  gpointer path, in_module;

  for (guint i = 0; addresses[i] != NULL; i++)
    {
      Module module = { .address = (guintptr) addresses[i] - 1 };

      dl_iterate_phdr (find_module, &module);
      g_hash_table_replace (self, addresses[i], get_plain_name (addresses[i], module.path));
      if (module.path == NULL)
        continue;

      in_module = g_hash_table_lookup (by_path, module.path);
      if (in_module == NULL)
        {
          in_module = g_ptr_array_new ();
          g_hash_table_insert (by_path, module.path, in_module);
        }
      else
        g_free (module.path);
      g_ptr_array_add (in_module, addresses[i]);
    }

  g_hash_table_iter_init (&iter, by_path);
  while (g_hash_table_iter_next (&iter, &path, &in_module))
    {
      Module module = { .address = (guintptr) g_ptr_array_index ((GPtrArray *) in_module, 0) - 1 };

      dl_iterate_phdr (find_module, &module);
      look_up_in_module (self, &module, in_module);
      g_free (module.path);
    }
}

static gboolean
is_in_library (gpointer address)
{
  Module module = { .address = (guintptr) address - 1 };
  g_autofree gchar *name = NULL;

  dl_iterate_phdr (find_module, &module);
  if (module.path != NULL)
    name = g_path_get_basename (module.path);
  g_free (module.path);
  return name != NULL && g_str_has_prefix (name, "libbufpool-");
}

#else

static gboolean
is_in_library (gpointer address)
{
  return FALSE;
}

void
buf_debug_names_look_up (BufDebugNames *self)
{
  g_autofree gpointer *addresses = g_hash_table_get_keys_as_array (self, NULL);

  for (guint i = 0; addresses[i] != NULL; i++)
    g_hash_table_replace (self, addresses[i], get_plain_name (addresses[i], NULL));
}

#endif

/* Omits the innermost @n_skipped frames. All bits of each address affect the upper half of the
 * hash. */
guint
buf_debug_stack_hash (const BufDebugStack *self, guint n_skipped)
{
  guint64 hash = self->n_frames - n_skipped;

  for (guint i = n_skipped; i < self->n_frames; i++)
    hash = (hash ^ (hash >> 32) ^ (guintptr) self->frames[i]) *
           G_GUINT64_CONSTANT (0x9E3779B97F4A7C15);
  return (guint) (hash >> 32);
}

/* Omits the innermost @n_skipped frames. */
gboolean
buf_debug_stack_equal (const BufDebugStack *self,
                       guint n_skipped,
                       const BufDebugStack *other,
                       guint other_n_skipped)
{
  guint n_frames = self->n_frames - n_skipped;

  return n_frames == other->n_frames - other_n_skipped &&
         memcmp (self->frames + n_skipped,
                 other->frames + other_n_skipped,
                 n_frames * sizeof *self->frames) == 0;
}

BufDebugNames *
buf_debug_names_new (void)
{
  return g_hash_table_new_full (NULL, NULL, NULL, g_free);
}

void
buf_debug_stack_add_names (const BufDebugStack *self, BufDebugNames *names)
{
  for (guint i = 0; i < self->n_frames; i++)
    g_hash_table_insert (names, self->frames[i], NULL);
}

/* Returns whether a frame belongs to the library itself. These frames are the innermost ones. A
 * program may also have functions and files that begin with "buf". */
static gboolean
is_own_frame (gpointer address, const gchar *name)
{
  return g_str_has_prefix (name, "buf_pool_") || g_str_has_prefix (name, "buf_debug_") ||
         g_str_has_prefix (name, "buf_block_") || strstr (name, " (buf-pool-") != NULL ||
         strstr (name, " (buf-block.c") != NULL || strstr (name, " (in libbufpool-") != NULL ||
         is_in_library (address);
}

/* Returns how many of the innermost frames belong to the library itself. */
guint
buf_debug_stack_count_own (const BufDebugStack *self, BufDebugNames *names)
{
  guint n_own = 0;

  while (n_own < self->n_frames &&
         is_own_frame (self->frames[n_own], g_hash_table_lookup (names, self->frames[n_own])))
    n_own++;
  return n_own;
}

/* Appends one line for each frame, from the caller of the library on. */
void
buf_debug_stack_append_to (const BufDebugStack *self, BufDebugNames *names, GString *description)
{
  if (self->n_frames == 0)
    g_string_append (description, INDENT "(this C library does not provide call stacks)\n");

  for (guint i = buf_debug_stack_count_own (self, names); i < self->n_frames; i++)
    {
      const gchar *name = g_hash_table_lookup (names, self->frames[i]);

      g_string_append_printf (description, INDENT "%s\n", name);
    }
}
