/* Leaves, the tree and signed notes, against published vectors and against the definitions written out. */
#include "base/buffer.h"
#include "base/sha256.h"
#include "runtime/receipt/leaf.h"
#include "runtime/receipt/note.h"
#include "runtime/receipt/tree.h"

#include <sodium.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_LEAVES = 600 };

static void assert_hex(const uint8_t bytes[32], const char *hex) {
  char text[65];
  sodium_bin2hex(text, sizeof text, bytes, 32);
  assert_string_equal(text, hex);
}

/* --- SHA-256 ------------------------------------------------------------------------------------------------------ */

static void sha256_is_libsodiums(void **state) {
  uint8_t bytes[700], ours[32], theirs[32];
  (void)state;
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 7 + 3);
  for (size_t size = 0; size < sizeof bytes; size++) {
    struct sha256 s;
    sha256_begin(&s);
    size_t first = size * 5 / 7;
    sha256_add(&s, bytes, first);
    sha256_add(&s, bytes + first, size - first);
    sha256_end(&s, ours);
    crypto_hash_sha256(theirs, bytes, size);
    assert_memory_equal(ours, theirs, 32);
  }
}

static void both_kinds_of_compression_agree(void **state) {
  uint8_t blocks[5 * 64];
  (void)state;
  if (!sha256_has_instructions()) return; /* there is one kind */
  for (size_t i = 0; i < sizeof blocks; i++) blocks[i] = (uint8_t)(i * 31 + 1);
  uint32_t a[8] = {1, 2, 3, 4, 5, 6, 7, 8}, b[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  sha256_fast(a, blocks, 5);
  sha256_plain(b, blocks, 5);
  assert_memory_equal(a, b, sizeof a);
}

static void plain_compression_hashes_abc(void **state) {
  uint8_t block[64] = {'a', 'b', 'c', 0x80, [63] = 24};
  struct sha256 s;
  (void)state;
  sha256_begin(&s);
  sha256_plain(s.state, block, 1);
  assert_int_equal(s.state[0], 0xba7816bf); /* FIPS 180-4's example */
  assert_int_equal(s.state[7], 0xf20015ad);
}

/* --- leaves ------------------------------------------------------------------------------------------------------- */

static uint8_t digest[32];

static struct leaf example(void) {
  struct leaf leaf = {0};
  leaf_set_number(&leaf, FIELD_FORMAT, 1);
  leaf_set_number(&leaf, FIELD_OUTCOME, OUTCOME_REPLIED);
  leaf_set_bytes(&leaf, FIELD_FUNCTION, "hello", 5);
  leaf_set_bytes(&leaf, FIELD_MODULE, digest, sizeof digest);
  leaf_set_number(&leaf, FIELD_TIME, 1700000000);
  leaf_set_number(&leaf, FIELD_STATUS, 200);
  leaf_set_number(&leaf, FIELD_COMPUTE, 24);
  return leaf;
}

static void a_leaf_is_the_bytes_of_the_format(void **state) {
  static const uint8_t head[] = {0xa7, 0, 1, 1, 0, 2, 0x65, 'h', 'e', 'l', 'l', 'o', 3, 0x58, 32};
  static const uint8_t tail[] = {6, 0x1a, 0x65, 0x53, 0xf1, 0x00, 7, 0x18, 200, 14, 0x18, 24, 19, 0x19, 0x01, 0x00};
  struct leaf leaf = example(), back;
  uint8_t bytes[LEAF_MAX];
  struct gw_error err = {0};
  (void)state;
  size_t size = leaf_encode(&leaf, bytes);
  assert_int_equal(size, sizeof head + 32 + sizeof tail - 4);
  size = leaf_add_previous(bytes, size, 0, 256);
  assert_int_equal(leaf_previous_size(256), 4);
  assert_int_equal(bytes[0], 0xa8);
  assert_memory_equal(bytes + 1, head + 1, sizeof head - 1);
  assert_memory_equal(bytes + sizeof head + 32, tail, sizeof tail);
  assert_true(leaf_decode(&back, bytes, size, &err));
  assert_int_equal(back.fields[FIELD_PREVIOUS].number, 256);
  assert_memory_equal(back.fields[FIELD_FUNCTION].bytes, "hello", 5);
  assert_false(back.fields[FIELD_TRAP].is_there);
}

/* What each leaf of a version begins with is encoded once. */
static void a_leaf_is_the_same_with_its_head_made_before(void **state) {
  struct leaf leaf = example(), whole;
  struct leaf_head head;
  uint8_t bytes[LEAF_MAX], again[LEAF_MAX];
  char name[LEAF_MAX_TEXT];
  (void)state;
  memset(name, 'n', sizeof name);
  leaf_set_bytes(&leaf, FIELD_FUNCTION, name, sizeof name);
  leaf_set_bytes(&leaf, FIELD_SCHEDULE, digest, sizeof digest);
  leaf_set_number(&leaf, FIELD_SEMANTICS, UINT64_MAX);
  leaf_encode_head(&leaf, &head);
  for (int outcome = 0; outcome < OUTCOME_COUNT; outcome++) {
    leaf_set_number(&leaf, FIELD_OUTCOME, (uint64_t)outcome);
    size_t behind, size = leaf_encode(&leaf, bytes);
    whole = leaf;
    for (int i = 0; i <= FIELD_SEMANTICS; i++)
      if (i != FIELD_OUTCOME) whole.fields[i] = (struct leaf_value){0};
    assert_int_equal(leaf_encode_behind(&head, &whole, again, &behind), size);
    assert_memory_equal(again, bytes, size);
  }
}

/* They came with the second format, behind the field that is added last. */
static void settings_are_behind_what_is_added(void **state) {
  static const uint64_t numbers[] = {0, 23, 24, 255, 65536, 1ull << 40};
  struct gw_error err = {0};
  (void)state;
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    struct leaf leaf = example(), back;
    uint8_t bytes[LEAF_MAX], again[LEAF_MAX];
    leaf_set_number(&leaf, FIELD_FORMAT, 2);
    leaf_set_bytes(&leaf, FIELD_SETTINGS, digest, sizeof digest);
    size_t behind, size = leaf_encode_behind(NULL, &leaf, bytes, &behind);
    size = leaf_add_previous(bytes, size, behind, numbers[i]);
    assert_true(leaf_decode(&back, bytes, size, &err));
    assert_int_equal(back.fields[FIELD_PREVIOUS].number, numbers[i]);
    leaf_set_number(&leaf, FIELD_PREVIOUS, numbers[i]);
    assert_int_equal(leaf_encode(&leaf, again), size);
    assert_memory_equal(again, bytes, size);
    leaf_set_number(&leaf, FIELD_FORMAT, 1);
    leaf_encode(&leaf, bytes);
    assert_false(leaf_decode(&back, bytes, size, &err));
  }
}

static void only_canonical_leaves_are_read(void **state) {
  struct leaf back;
  struct gw_error err = {0};
  (void)state;
  static const struct {
    uint8_t bytes[12];
    size_t size;
    bool is_good;
  } cases[] = {
      {{0xa2, 0, 1, 1, 0}, 5, true},
      {{0xa2, 1, 0, 0, 1}, 5, false},       /* order */
      {{0xa2, 0, 0x18, 1, 1, 0}, 6, false}, /* a longer number than needed */
      {{0xa2, 0x18, 0, 1, 1, 0}, 6, false}, /* likewise of a key */
      {{0xb8, 2, 0, 1, 1, 0}, 6, false},    /* of the map */
      {{0xbf, 0, 1, 1, 0, 0xff}, 6, false}, /* no length */
      {{0xa2, 0, 1, 1, 0, 0}, 6, false},    /* something behind */
      {{0xa2, 0, 1, 1}, 4, false},          /* cut off */
      {{0xa3, 0, 1, 0, 1, 1, 0}, 7, false}, /* a key twice */
      {{0xa2, 0, 2, 1, 0}, 5, true},
      {{0xa2, 0, 0, 1, 0}, 5, false},                      /* another format */
      {{0xa2, 0, 4, 1, 0}, 5, false},                      /* likewise */
      {{0xa3, 0, 3, 1, 0, 0x18, 24, 0}, 8, true},          /* the last key of its format */
      {{0xa3, 0, 1, 1, 0, 21, 0}, 7, false},               /* one that its format has not */
      {{0xa3, 0, 2, 1, 0, 21, 0}, 7, false},               /* likewise */
      {{0xa3, 0, 3, 1, 0, 0x18, 25, 0}, 8, false},         /* an unknown key */
      {{0xa3, 0, 1, 1, 0, 3, 0x41, 7}, 8, false},          /* a short digest */
      {{0xa3, 0, 1, 1, 0, 2, 0x41, 'a'}, 8, false},        /* bytes for text */
      {{0xa3, 0, 1, 1, 0, 2, 0x61, 0xff}, 8, false},       /* text that is not UTF-8 */
      {{0xa3, 0, 1, 1, 0, 2, 0x62, 0xc0, 0x80}, 9, false}, /* likewise: a longer form of 0 */
      {{0xa3, 0, 1, 1, 0, 2, 0x62, 'a', 0}, 9, false},     /* text with an end before its end */
      {{0xa3, 0, 1, 1, 0, 2, 0x62, 'a', '\n'}, 9, false},
      {{0xa3, 0, 1, 1, 0, 18, 0x5f, 0x41, 7, 0xff}, 10, false}, /* a string in pieces */
      {{0xa3, 0, 1, 1, 0, 18, 0x5b, 0xff, 0xff, 0xff, 0xff, 0xff}, 12, false},
      {{0xa0}, 1, false},
      {{0x80}, 1, false},
      {{0}, 0, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    err = (struct gw_error){0};
    if (leaf_decode(&back, cases[i].bytes, cases[i].size, &err) != cases[i].is_good) fail_msg("case %zu", i);
    assert_true(cases[i].is_good || err.code == GW_ERROR_MALFORMED);
  }
}

/* The index of the leaf before comes in among the fields, wherever there are some behind it. */
static void the_index_before_goes_to_its_place(void **state) {
  uint8_t bytes[LEAF_MAX], wanted[LEAF_MAX];
  (void)state;
  for (unsigned there = 0; there < 16; there++) {
    for (uint64_t previous = 1; previous; previous <<= 7) {
      struct leaf leaf = example(), back;
      struct gw_error err = {0};
      leaf_set_number(&leaf, FIELD_FORMAT, LEAF_FORMAT);
      for (unsigned i = 0; i < 4; i++)
        if (there >> i & 1) leaf_set_number(&leaf, (enum leaf_field)(FIELD_SETTINGS + 1 + i), (uint64_t)1 << (i * 20));
      size_t behind, size = leaf_encode_behind(NULL, &leaf, bytes, &behind);
      size = leaf_add_previous(bytes, size, behind, previous);
      leaf_set_number(&leaf, FIELD_PREVIOUS, previous);
      assert_int_equal(size, leaf_encode(&leaf, wanted));
      assert_memory_equal(bytes, wanted, size);
      assert_true(leaf_decode(&back, bytes, size, &err));
    }
  }
}

static bool is_same(const struct leaf_value *a, const struct leaf_value *b) {
  return a->is_there == b->is_there && a->number == b->number && a->bytes == b->bytes && a->size == b->size;
}

/* What reads our own leaves sees what the careful one sees, and leaves alone what is cut off. */
static void both_readers_agree(void **state) {
  uint8_t bytes[LEAF_MAX];
  struct leaf leaf = example(), careful, fast;
  struct gw_error err = {0};
  (void)state;
  leaf_set_number(&leaf, FIELD_FORMAT, LEAF_FORMAT);
  leaf_set_number(&leaf, FIELD_CPU, UINT64_MAX);
  leaf_set_bytes(&leaf, FIELD_PAD, "", 0);
  size_t size = leaf_encode(&leaf, bytes);
  assert_true(leaf_decode(&careful, bytes, size, &err));
  assert_true(leaf_read_own(&fast, bytes, size));
  for (int i = 0; i < FIELD_COUNT; i++)
    if (!is_same(&careful.fields[i], &fast.fields[i])) fail_msg("%s", leaf_field_word((enum leaf_field)i));
  for (size_t cut = 0; cut < size; cut++) {
    uint8_t *copy = malloc(cut + 1); /* so that the sanitizer sees a read behind the end */
    memcpy(copy, bytes, cut);
    copy = realloc(copy, cut ? cut : 1);
    leaf_read_own(&fast, copy, cut);
    free(copy);
  }
  bytes[0] = 0x80;
  assert_false(leaf_read_own(&fast, bytes, size));
}

static const char *type_of(enum leaf_kind kind) {
  return kind == LEAF_NUMBER ? "number" : kind == LEAF_TEXT ? "text" : kind == LEAF_DIGEST ? "32 bytes" : "bytes";
}

/* Whoever writes a verifier reads the page. */
static void the_page_lists_fields_and_outcomes(void **state) {
  struct buffer page = {0};
  struct gw_error err = {0};
  char row[128];
  size_t n = 0;
  (void)state;
  assert_true(buffer_read_file(&page, SOURCE_DIR "/docs/receipts.md", 1 << 20, &err));
  buffer_append(&page, "", 1);
  const char *text = (const char *)page.bytes;
  for (unsigned i = 0; i < FIELD_COUNT; i++) {
    snprintf(row, sizeof row, "\n| %u | `%s` | %s | ", i, leaf_field_word((enum leaf_field)i),
             type_of(leaf_field_kind((enum leaf_field)i)));
    if (!strstr(text, row)) fail_msg("docs/receipts.md has no row%s", row);
  }
  for (unsigned i = 0; i < OUTCOME_COUNT; i++) {
    snprintf(row, sizeof row, "\n| %u | `%s` | ", i, leaf_outcome_word(i));
    if (!strstr(text, row)) fail_msg("docs/receipts.md has no row%s", row);
  }
  for (const char *at = text; (at = strstr(at, "` | ")); at++) n++;
  assert_int_equal(n, FIELD_COUNT + OUTCOME_COUNT); /* and no others */
  buffer_clear(&page);
}

static void void_leaves_have_every_size(void **state) {
  uint8_t bytes[LEAF_MAX];
  struct leaf leaf;
  struct gw_error err = {0};
  (void)state;
  for (size_t size = 7; size <= LEAF_MAX - LEAF_TAIL; size++) {
    if (size == 31) continue;
    memset(bytes, 0xee, sizeof bytes);
    leaf_make_void(bytes, size);
    if (!leaf_decode(&leaf, bytes, size, &err)) fail_msg("%zu: %s", size, err.message);
    assert_int_equal(leaf.fields[FIELD_OUTCOME].number, OUTCOME_VOID);
    assert_int_equal(bytes[size], 0xee);
  }
  struct leaf other = example();
  size_t size = leaf_encode(&other, bytes);
  leaf_void(bytes);
  assert_true(leaf_decode(&leaf, bytes, size, &err));
  assert_int_equal(leaf.fields[FIELD_OUTCOME].number, OUTCOME_VOID);
}

/* --- the tree ----------------------------------------------------------------------------------------------------- */

static struct tree_hash leaves[MAX_LEAVES];

/* MTH as RFC 6962 defines it. */
static struct tree_hash defined(size_t first, size_t n) {
  if (n == 1) return leaves[first];
  size_t k = 1;
  while (2 * k < n) k *= 2;
  struct tree_hash left = defined(first, k), right = defined(first + k, n - k);
  return tree_node(&left, &right);
}

static bool read_defined(void *arg, unsigned level, uint64_t first, size_t n, struct tree_hash *out) {
  size_t span = (size_t)1 << (8 * level), size = *(const size_t *)arg;
  assert_true(first / TREE_TILE == (first + n - 1) / TREE_TILE);
  assert_true((first + n) * span <= size); /* nothing is asked for that is not stored */
  for (size_t i = 0; i < n; i++) out[i] = defined((first + i) * span, span);
  return true;
}

static void make_leaves(void) {
  for (uint32_t i = 0; i < MAX_LEAVES; i++) leaves[i] = tree_leaf(&i, sizeof i);
}

/* Of Certificate Transparency's own tests. */
static void roots_are_the_published_ones(void **state) {
  static const struct {
    const char *bytes;
    size_t size;
    const char *root;
  } cases[] = {
      {"", 0, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
      {"\0", 1, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"},
      {"\x10", 1, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"},
      {"\x20\x21", 2, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"},
      {"\x30\x31", 2, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"},
      {"@ABC", 4, "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"},
      {"PQRSTUVW", 8, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"},
      {"`abcdefghijklmno", 16, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"},
  };
  struct tree_hash root;
  (void)state;
  for (size_t i = 0; i < 8; i++) {
    size_t size = i + 1;
    struct tree_source source = {read_defined, &size};
    leaves[i] = tree_leaf(cases[i].bytes, cases[i].size);
    assert_true(tree_root(&source, size, &root));
    assert_hex(root.bytes, cases[i].root);
  }
  size_t none = 0;
  assert_true(tree_root(&(struct tree_source){read_defined, &none}, 0, &root));
  assert_hex(root.bytes, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/* A changed bit, a hash more or less, or another place: none of it is a proof. */
static void assert_broken_inclusion_fails(struct tree_proof proof, uint64_t index, uint64_t size, const struct tree_hash *root) {
  struct tree_hash leaf = leaves[index];
  leaf.bytes[31] ^= 1;
  assert_false(tree_check_inclusion(&proof, index, size, &leaf, root));
  if (size > 1) assert_false(tree_check_inclusion(&proof, index ? index - 1 : 1, size, &leaves[index], root));
  assert_false(tree_check_inclusion(&proof, size, size, &leaves[index], root));
  proof.hashes[proof.n++] = *root;
  assert_false(tree_check_inclusion(&proof, index, size, &leaves[index], root));
  if (--proof.n == 0) return;
  proof.n--;
  assert_false(tree_check_inclusion(&proof, index, size, &leaves[index], root));
  proof.n++;
  proof.hashes[index % proof.n].bytes[index % 32] ^= 0x80;
  assert_false(tree_check_inclusion(&proof, index, size, &leaves[index], root));
}

static void inclusion_is_proved(void **state) {
  (void)state;
  make_leaves();
  for (size_t size = 1; size <= MAX_LEAVES; size += size < 70 ? 1 : 53) {
    struct tree_source source = {read_defined, &size};
    struct tree_hash root = defined(0, size);
    for (size_t index = 0; index < size; index += size < 70 ? 1 : 7) {
      struct tree_proof proof;
      assert_true(tree_prove_inclusion(&source, index, size, &proof));
      if (!tree_check_inclusion(&proof, index, size, &leaves[index], &root)) fail_msg("%zu of %zu", index, size);
      assert_broken_inclusion_fails(proof, index, size, &root);
    }
  }
}

static void consistency_is_proved(void **state) {
  (void)state;
  make_leaves();
  for (size_t to = 1; to <= 270; to += to < 40 ? 1 : 23)
    for (size_t from = 1; from <= to; from++) {
      struct tree_source source = {read_defined, &to};
      struct tree_hash old = defined(0, from), root = defined(0, to);
      struct tree_proof proof;
      assert_true(tree_prove_consistency(&source, from, to, &proof));
      if (!tree_check_consistency(&proof, from, to, &old, &root)) fail_msg("%zu to %zu", from, to);
      old.bytes[0] ^= 1;
      assert_false(tree_check_consistency(&proof, from, to, &old, &root));
      old.bytes[0] ^= 1;
      root.bytes[5] ^= 1;
      assert_false(tree_check_consistency(&proof, from, to, &old, &root));
      root.bytes[5] ^= 1;
      if (!proof.n) continue;
      proof.hashes[to % proof.n].bytes[1] ^= 4;
      assert_false(tree_check_consistency(&proof, from, to, &old, &root));
      proof.n--;
      assert_false(tree_check_consistency(&proof, from, to, &old, &root));
    }
  struct tree_proof none = {0};
  assert_false(tree_check_consistency(&none, 3, 5, &leaves[0], &leaves[0]));
  assert_false(tree_check_consistency(&none, 5, 3, &leaves[0], &leaves[0]));
}

/* --- notes -------------------------------------------------------------------------------------------------------- */

static void a_published_note_is_checked(void **state) {
  /* of Go's package golang.org/x/mod/sumdb/note */
  static const char vkey[] = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
  char note[] = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
                "\xe2\x80\x94 PeterNeumann "
                "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
  struct note_key key;
  struct gw_error err = {0};
  char again[NOTE_MAX_VKEY];
  (void)state;
  assert_true(note_parse_key(&key, vkey, &err));
  note_print_key(&key, again);
  assert_string_equal(again, vkey);
  assert_true(note_check(note, strlen(note), &key, 1, &err));
  for (size_t i = 0; i < strlen(note); i++) {
    note[i] ^= 1;
    if (note_check(note, sizeof note - 1, &key, 1, &err)) fail_msg("a bit of byte %zu changed", i);
    note[i] ^= 1;
  }
  assert_false(note_parse_key(&key, "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", &err));
  assert_false(note_parse_key(&key, "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", &err));
  assert_false(note_parse_key(&key, "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", &err));
  assert_false(note_parse_key(&key, "PeterNeumann+c74f20a3", &err));
}

static void make_key(struct note_key *key, uint8_t secret[NOTE_SECRET_SIZE], const char *name, uint8_t seed_byte) {
  uint8_t seed[crypto_sign_SEEDBYTES];
  memset(seed, seed_byte, sizeof seed);
  strcpy(key->name, name);
  crypto_sign_seed_keypair(key->public_key, secret, seed);
}

static void checkpoints_are_signed_and_read(void **state) {
  struct note_key keys[3];
  uint8_t secrets[3][NOTE_SECRET_SIZE];
  struct buffer text = {0};
  struct gw_error err = {0};
  struct note_checkpoint checkpoint = {.origin = "example.com/log", .size = 18446744073709551615u, .root = leaves[3]}, back;
  (void)state;
  for (int i = 0; i < 3; i++) make_key(&keys[i], secrets[i], "example.com/log", (uint8_t)i);
  note_append_checkpoint(&text, &checkpoint, keys, (const uint8_t(*)[NOTE_SECRET_SIZE])secrets, 2);
  assert_true(note_parse_checkpoint(&back, text.bytes, text.size, &err));
  assert_string_equal(back.origin, checkpoint.origin);
  assert_true(back.size == checkpoint.size && tree_hash_is(&back.root, &checkpoint.root));
  assert_true(note_check(text.bytes, text.size, &keys[0], 1, &err));
  assert_true(note_check(text.bytes, text.size, &keys[1], 1, &err));
  assert_true(note_check(text.bytes, text.size, keys, 3, &err));
  assert_false(note_check(text.bytes, text.size, &keys[2], 1, &err));
  text.size = 0;
  note_append_checkpoint(&text, &checkpoint, keys, (const uint8_t(*)[NOTE_SECRET_SIZE])secrets, 1);
  for (size_t i = 0; i < text.size; i++) {
    text.bytes[i] ^= 2;
    if (note_check(text.bytes, text.size, keys, 2, &err)) fail_msg("a bit of byte %zu changed", i);
    text.bytes[i] ^= 2;
  }
  for (size_t n = 0; n < text.size; n++) {
    uint8_t *copy = malloc(n ? n : 1); /* of this size: a read behind it is seen */
    memcpy(copy, text.bytes, n);
    note_parse_checkpoint(&back, copy, n, &err);
    if (note_check(copy, n, keys, 2, &err)) assert_int_equal(copy[n - 1], '\n');
    free(copy);
  }
  buffer_clear(&text);
}

static void bad_checkpoints_are_refused(void **state) {
  static const char *const cases[] = {
      "",
      "\n\n",
      "o\n1\n\n",
      "o\n01\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n",
      "o\n-1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n",
      "o\n18446744073709551616\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n",
      "o\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\n\n", /* bits behind the last byte */
      "o\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n\n",
      "\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n",
  };
  struct note_checkpoint back;
  struct gw_error err = {0};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (note_parse_checkpoint(&back, cases[i], strlen(cases[i]), &err)) fail_msg("case %zu", i);
  const char *good = "o\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n";
  assert_true(note_parse_checkpoint(&back, good, strlen(good), &err));
}

static void proofs_are_written_and_read(void **state) {
  struct buffer text = {0};
  struct tree_proof proof = {.n = 2, .hashes = {leaves[0], leaves[1]}}, back;
  const char *checkpoint, *head = "c2sp.org/tlog-proof@v1\nindex 73894\n";
  uint64_t index;
  size_t size;
  struct gw_error err = {0};
  (void)state;
  note_append_proof(&text, 73894, &proof, "note\n", 5);
  assert_memory_equal(text.bytes, head, strlen(head));
  assert_true(note_parse_proof(&index, &back, &checkpoint, &size, text.bytes, text.size, &err));
  assert_int_equal(index, 73894);
  assert_int_equal(back.n, 2);
  assert_true(tree_hash_is(&back.hashes[1], &leaves[1]));
  assert_int_equal(size, 5);
  assert_memory_equal(checkpoint, "note\n", 5);
  const char *extra = "c2sp.org/tlog-proof@v1\nextra YWJj\nindex 0\n\nx";
  assert_true(note_parse_proof(&index, &back, &checkpoint, &size, extra, strlen(extra), &err));
  assert_int_equal(back.n, 0);
  static const char *const cases[] = {"c2sp.org/tlog-proof@v2\nindex 0\n\nx",
                                      "c2sp.org/tlog-proof@v1\nindex 00\n\nx",
                                      "c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\nx",
                                      "c2sp.org/tlog-proof@v1\nindex 0\n",
                                      "c2sp.org/tlog-proof@v1\n\nx",
                                      "c2sp.org/tlog-proof@v1\nextra YWJj\n"};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (note_parse_proof(&index, &back, &checkpoint, &size, cases[i], strlen(cases[i]), &err)) fail_msg("case %zu", i);
  buffer_clear(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sha256_is_libsodiums),
      cmocka_unit_test(both_kinds_of_compression_agree),
      cmocka_unit_test(plain_compression_hashes_abc),
      cmocka_unit_test(a_leaf_is_the_bytes_of_the_format),
      cmocka_unit_test(a_leaf_is_the_same_with_its_head_made_before),
      cmocka_unit_test(settings_are_behind_what_is_added),
      cmocka_unit_test(only_canonical_leaves_are_read),
      cmocka_unit_test(the_index_before_goes_to_its_place),
      cmocka_unit_test(both_readers_agree),
      cmocka_unit_test(the_page_lists_fields_and_outcomes),
      cmocka_unit_test(void_leaves_have_every_size),
      cmocka_unit_test(roots_are_the_published_ones),
      cmocka_unit_test(inclusion_is_proved),
      cmocka_unit_test(consistency_is_proved),
      cmocka_unit_test(a_published_note_is_checked),
      cmocka_unit_test(checkpoints_are_signed_and_read),
      cmocka_unit_test(bad_checkpoints_are_refused),
      cmocka_unit_test(proofs_are_written_and_read),
  };
  return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
