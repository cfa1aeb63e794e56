/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Numbers in the environment and in files of the system. */

#include <errno.h>

#include "debug/buf-number-private.h"
#include "testing.h"

/* The linker redirects the calls of the library to this function. GLib's function sets errno, too,
 * if it is called for the first time while another thread initializes something. */
guint64 __real_g_ascii_strtoull (const gchar *text, gchar **end, guint base);
guint64 __wrap_g_ascii_strtoull (const gchar *text, gchar **end, guint base);

guint64
__wrap_g_ascii_strtoull (const gchar *text, gchar **end, guint base)
{
  guint64 number = __real_g_ascii_strtoull (text, end, base);

  errno = EAGAIN;
  return number;
}

static void
test_valid (void)
{
  static const struct
  {
    const gchar *text;
    guint64 most;
    guint64 number;
  } cases[] = {
    { "0", 0, 0 },
    { "10", G_MAXUINT, 10 },
    { "0010", G_MAXUINT, 10 },
    { "4294967295", G_MAXUINT32, G_MAXUINT32 },
    { "18446744073709551615", G_MAXUINT64, G_MAXUINT64 },
    { "18446744073709551616", G_MAXUINT64, G_MAXUINT64 },
  };

  g_test_summary ("A number is valid, whatever errno is");

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      guint64 number = 77;

      g_assert_true (buf_number_parse (cases[i].text, cases[i].most, &number));
      g_assert_cmpuint (number, ==, cases[i].number);
    }
}

static void
test_invalid (void)
{
  static const gchar *const texts[] = {
    "",    "max", "soon", " 1",  "1 ", "-1",         "+1",
    "0x1", "1.5", "1e3",  "1\n", "१",  "4294967296", "99999999999999999999"
  };

  g_test_summary ("Everything else is not, and the number does not change");

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    {
      guint64 number = 77;

      g_assert_false (buf_number_parse (texts[i], G_MAXUINT32, &number));
      g_assert_cmpuint (number, ==, 77);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/number/valid", test_valid);
  g_test_add_func ("/number/invalid", test_invalid);
  return g_test_run ();
}
