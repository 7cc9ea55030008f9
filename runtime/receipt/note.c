#include "runtime/receipt/note.h"

#include "base/error.h"
#include "base/sha256.h"

#include <sodium.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
  ALGORITHM_ED25519 = 1,
  ID_SIZE = 4,
  SIGNED_SIZE = ID_SIZE + crypto_sign_BYTES,
  KEY_SIZE = 1 + NOTE_PUBLIC_SIZE,
  HASH_TEXT = 44, /* of 32 bytes in Base64 */
};

#define PROOF_TITLE "c2sp.org/tlog-proof@v1\n"
#define DASH "\xe2\x80\x94 "

_Static_assert((int)NOTE_SECRET_SIZE == (int)crypto_sign_SECRETKEYBYTES, "libsodium's secret keys");

/* --- Base64, in its standard form only ---------------------------------------------------------------------------- */

static void append_base64(struct buffer *out, const void *bytes, size_t size) {
  char *text = (char *)buffer_reserve(out, sodium_base64_ENCODED_LEN(size, sodium_base64_VARIANT_ORIGINAL));
  sodium_bin2base64(text, sodium_base64_ENCODED_LEN(size, sodium_base64_VARIANT_ORIGINAL), bytes, size,
                    sodium_base64_VARIANT_ORIGINAL);
  out->size += strlen(text);
}

/* Exactly so many bytes. libsodium takes no bits behind the last byte that are not zero, but each byte above ASCII as a slash. */
static bool read_base64(const char *text, size_t text_size, void *out, size_t size) {
  size_t n;
  const char *end;
  for (size_t i = 0; i < text_size; i++)
    if ((unsigned char)text[i] > '~') return false;
  return sodium_base642bin(out, size, text, text_size, NULL, &n, &end, sodium_base64_VARIANT_ORIGINAL) == 0 && n == size &&
         end == text + text_size;
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

struct lines {
  const char *at, *end;
};

/* The next line without its newline; false: there is none that ends. */
static bool next_line(struct lines *l, const char **line, size_t *size) {
  const char *newline = l->at < l->end ? memchr(l->at, '\n', (size_t)(l->end - l->at)) : NULL;
  if (!newline) return false;
  *line = l->at;
  *size = (size_t)(newline - l->at);
  l->at = newline + 1;
  return true;
}

/* A decimal number without zeros in front. */
static bool read_number(const char *text, size_t size, uint64_t *number) {
  *number = 0;
  if (!size || (size > 1 && *text == '0')) return false;
  for (size_t i = 0; i < size; i++) {
    uint64_t digit = (uint64_t)(unsigned char)text[i] - '0';
    if (digit > 9 || __builtin_mul_overflow(*number, 10, number) || __builtin_add_overflow(*number, digit, number)) return false;
  }
  return true;
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

bool note_name_is_valid(const char *name) {
  size_t size = strlen(name);
  for (const char *c = name; *c; c++)
    if (*c <= ' ' || *c > '~' || *c == '+') return false;
  return size && size <= NOTE_MAX_NAME;
}

static void key_id(const struct note_key *key, uint8_t id[ID_SIZE]) {
  uint8_t hash[SHA256_SIZE];
  struct sha256 s;
  sha256_begin(&s);
  sha256_add(&s, key->name, strlen(key->name));
  sha256_add(&s, "\n\x01", 2);
  sha256_add(&s, key->public_key, NOTE_PUBLIC_SIZE);
  sha256_end(&s, hash);
  memcpy(id, hash, ID_SIZE);
}

void note_print_key(const struct note_key *key, char out[NOTE_MAX_VKEY]) {
  uint8_t id[ID_SIZE], bytes[KEY_SIZE] = {ALGORITHM_ED25519};
  char text[sodium_base64_ENCODED_LEN(KEY_SIZE, sodium_base64_VARIANT_ORIGINAL)];
  key_id(key, id);
  memcpy(bytes + 1, key->public_key, NOTE_PUBLIC_SIZE);
  sodium_bin2base64(text, sizeof text, bytes, sizeof bytes, sodium_base64_VARIANT_ORIGINAL);
  snprintf(out, NOTE_MAX_VKEY, "%s+%02x%02x%02x%02x+%s", key->name, id[0], id[1], id[2], id[3], text);
}

bool note_parse_key(struct note_key *key, const char *text, struct gw_error *err) {
  const char *plus = strchr(text, '+'), *second = plus ? strchr(plus + 1, '+') : NULL;
  uint8_t bytes[KEY_SIZE];
  char again[NOTE_MAX_VKEY];
  bool ok = second && plus != text && (size_t)(plus - text) <= NOTE_MAX_NAME &&
            read_base64(second + 1, strlen(second + 1), bytes, sizeof bytes) && bytes[0] == ALGORITHM_ED25519;
  if (ok) {
    memcpy(key->name, text, (size_t)(plus - text));
    key->name[plus - text] = 0;
    memcpy(key->public_key, bytes + 1, NOTE_PUBLIC_SIZE);
    note_print_key(key, again); /* its id must be that of the rest */
    ok = note_name_is_valid(key->name) && strcmp(again, text) == 0;
  }
  return ok || error_set(err, GW_ERROR_MALFORMED, "this is no key of a log: NAME+ID+BASE64");
}

/* --- signatures --------------------------------------------------------------------------------------------------- */

static void append_signature(struct buffer *out, const struct note_key *key, const uint8_t *secret, const void *text,
                             size_t size) {
  uint8_t bytes[SIGNED_SIZE];
  key_id(key, bytes);
  crypto_sign_detached(bytes + ID_SIZE, NULL, text, size, secret);
  buffer_format(out, DASH "%s ", key->name);
  append_base64(out, bytes, sizeof bytes);
  buffer_append(out, "\n", 1);
}

/* The note's text ends with the newline before its last empty line. */
static const char *end_of_text(const char *text, size_t size) {
  for (size_t i = size; i-- > 1;)
    if (text[i] == '\n' && text[i - 1] == '\n') return text + i;
  return NULL;
}

struct signature {
  const char *name;
  size_t name_size;
  uint8_t id[ID_SIZE];
  const char *base64;
  size_t base64_size;
};

static bool read_signature(const char *line, size_t size, struct signature *s) {
  const size_t dash = sizeof DASH - 1;
  const char *space = size > dash ? memchr(line + dash, ' ', size - dash) : NULL;
  uint8_t head[6]; /* eight characters of Base64 */
  if (size <= dash || memcmp(line, DASH, dash) != 0 || !space) return false;
  *s = (struct signature){.name = line + dash, .name_size = (size_t)(space - line) - dash};
  s->base64 = space + 1;
  s->base64_size = (size_t)(line + size - s->base64);
  if (!s->name_size || s->base64_size < 8 || !read_base64(s->base64, 8, head, sizeof head)) return false;
  memcpy(s->id, head, ID_SIZE);
  return true;
}

/* 1: a good signature by the key, 0: it is another's, -1: it is bad. */
static int check_signature(const struct signature *s, const struct note_key *key, const char *text, size_t size) {
  uint8_t id[ID_SIZE], bytes[SIGNED_SIZE];
  key_id(key, id);
  if (s->name_size != strlen(key->name) || memcmp(s->name, key->name, s->name_size) != 0 || memcmp(id, s->id, ID_SIZE) != 0)
    return 0;
  if (!read_base64(s->base64, s->base64_size, bytes, sizeof bytes)) return -1;
  return crypto_sign_verify_detached(bytes + ID_SIZE, (const uint8_t *)text, size, key->public_key) ? -1 : 1;
}

bool note_check(const void *note, size_t size, const struct note_key *keys, size_t n, struct gw_error *err) {
  const char *text = note, *end = size <= NOTE_MAX_SIZE ? end_of_text(text, size) : NULL, *line;
  struct signature s;
  size_t n_good = 0, line_size;
  if (!end) return error_set(err, GW_ERROR_MALFORMED, "this is no signed note: it has no signatures");
  struct lines lines = {end + 1, text + size};
  while (lines.at < lines.end) {
    if (!next_line(&lines, &line, &line_size) || !read_signature(line, line_size, &s))
      return error_set(err, GW_ERROR_MALFORMED, "this is no signed note: a line of its signatures is none");
    for (size_t i = 0; i < n; i++) {
      int good = check_signature(&s, &keys[i], text, (size_t)(end - text));
      if (good < 0) return error_set(err, GW_ERROR_MALFORMED, "the signature of %s is wrong", keys[i].name);
      n_good += (size_t)good;
    }
  }
  return n_good || error_set(err, GW_ERROR_MALFORMED, "no key that is known has signed the checkpoint");
}

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

void note_append_checkpoint(struct buffer *out, const struct note_checkpoint *checkpoint, const struct note_key *keys,
                            const uint8_t (*secrets)[NOTE_SECRET_SIZE], size_t n) {
  struct buffer text = {0};
  buffer_format(&text, "%s\n%" PRIu64 "\n", checkpoint->origin, checkpoint->size);
  append_base64(&text, checkpoint->root.bytes, TREE_HASH_SIZE);
  buffer_append(&text, "\n", 1);
  buffer_append(out, text.bytes, text.size);
  buffer_append(out, "\n", 1);
  for (size_t i = 0; i < n; i++) append_signature(out, &keys[i], secrets[i], text.bytes, text.size);
  buffer_clear(&text);
}

bool note_parse_checkpoint(struct note_checkpoint *checkpoint, const void *note, size_t size, struct gw_error *err) {
  const char *text = note, *end = size <= NOTE_MAX_SIZE ? end_of_text(text, size) : NULL, *line = NULL;
  struct lines lines = {text, end};
  size_t n = 0;
  bool ok = end && next_line(&lines, &line, &n) && n && n <= NOTE_MAX_NAME && !memchr(line, 0, n);
  if (ok) memcpy(checkpoint->origin, line, n), checkpoint->origin[n] = 0;
  ok = ok && next_line(&lines, &line, &n) && read_number(line, n, &checkpoint->size);
  ok = ok && next_line(&lines, &line, &n) && read_base64(line, n, checkpoint->root.bytes, TREE_HASH_SIZE);
  return ok || error_set(err, GW_ERROR_MALFORMED, "this is no checkpoint: an origin, a size, a root hash, and signatures");
}

/* --- proofs ------------------------------------------------------------------------------------------------------- */

void note_append_proof(struct buffer *out, uint64_t index, const struct tree_proof *proof, const void *checkpoint, size_t size) {
  buffer_format(out, PROOF_TITLE "index %" PRIu64 "\n", index);
  for (size_t i = 0; i < proof->n; i++) {
    append_base64(out, proof->hashes[i].bytes, TREE_HASH_SIZE);
    buffer_append(out, "\n", 1);
  }
  buffer_append(out, "\n", 1);
  buffer_append(out, checkpoint, size);
}

static bool is_extra(const char *line, size_t size) { return size > 6 && memcmp(line, "extra ", 6) == 0; }

static bool read_proof(uint64_t *index, struct tree_proof *proof, struct lines *lines) {
  const char *line;
  size_t n;
  if (!next_line(lines, &line, &n) || n + 1 != sizeof PROOF_TITLE - 1 || memcmp(line, PROOF_TITLE, n) != 0) return false;
  if (!next_line(lines, &line, &n) || (is_extra(line, n) && !next_line(lines, &line, &n))) return false;
  if (n <= 6 || memcmp(line, "index ", 6) != 0 || !read_number(line + 6, n - 6, index)) return false;
  for (proof->n = 0; next_line(lines, &line, &n); proof->n++) {
    if (!n) return true;
    if (proof->n == TREE_MAX_PROOF || n != HASH_TEXT || !read_base64(line, n, proof->hashes[proof->n].bytes, TREE_HASH_SIZE))
      return false;
  }
  return false;
}

bool note_parse_proof(uint64_t *index, struct tree_proof *proof, const char **checkpoint, size_t *checkpoint_size,
                      const void *text, size_t size, struct gw_error *err) {
  struct lines lines = {text, (const char *)text + size};
  if (size > NOTE_MAX_SIZE || !read_proof(index, proof, &lines))
    return error_set(err, GW_ERROR_MALFORMED, "this is no proof of a log (c2sp.org/tlog-proof@v1)");
  *checkpoint = lines.at;
  *checkpoint_size = (size_t)(lines.end - lines.at);
  return true;
}
