/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* SHA-256 from libcrypto, which uses the instructions of the processor, or from GLib if libcrypto
 * is not available. */

#pragma once

#include <glib.h>

#define SHA256_DIGITS 64 /* of the digest, in hexadecimal */

#ifdef HAVE_LIBCRYPTO
#include <openssl/crypto.h>
#include <openssl/evp.h>

typedef EVP_MD_CTX Sha256;

static inline Sha256 *
sha256_new (void)
{
  EVP_MD_CTX *self = EVP_MD_CTX_new ();

  if (self == NULL || !EVP_DigestInit_ex (self, EVP_sha256 (), NULL))
    g_error ("libcrypto has no SHA-256");
  return self;
}

static inline void
sha256_update (Sha256 *self, GBytes *bytes)
{
  gsize size;
  gconstpointer data = g_bytes_get_data (bytes, &size);

  EVP_DigestUpdate (self, data, size);
}

/* Frees the checksum, and returns the digest in hexadecimal. */
static inline gchar *
sha256_end (Sha256 *self)
{
  GString *text = g_string_sized_new (SHA256_DIGITS);
  guint8 digest[EVP_MAX_MD_SIZE];
  guint size = 0;

  EVP_DigestFinal_ex (self, digest, &size);
  EVP_MD_CTX_free (self);
  OPENSSL_thread_stop (); /* a thread of a pool may not end before the process does */
  for (guint i = 0; i < size; i++)
    g_string_append_printf (text, "%02x", digest[i]);
  return g_string_free (text, FALSE);
}

#else

typedef GChecksum Sha256;

static inline Sha256 *
sha256_new (void)
{
  return g_checksum_new (G_CHECKSUM_SHA256);
}

static inline void
sha256_update (Sha256 *self, GBytes *bytes)
{
  gsize size;
  gconstpointer data = g_bytes_get_data (bytes, &size);

  g_checksum_update (self, data, size);
}

static inline gchar *
sha256_end (Sha256 *self)
{
  gchar *text = g_strdup (g_checksum_get_string (self));

  g_checksum_free (self);
  return text;
}
#endif
