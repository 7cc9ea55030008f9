/* What `gasworks verify` believes (cli/evidence.h), with evidence that was tampered with: each bit of it changed, each byte taken
 * out or doubled, cut off, of another tree, in another order, and checkpoints that a log's key has signed and that are lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A part of the program, not of the library. */
#include "cli/evidence.c"

enum { N_LEAVES = 600, N_LEVELS = 2 };

struct forest {
  struct tree_hash level[N_LEVELS][N_LEAVES];
  uint64_t n;
  struct note_key key;
  uint8_t secret[NOTE_SECRET_SIZE];
  struct evidence_keys known;
};

static struct forest forest;

static size_t make_leaf(uint64_t index, uint8_t out[LEAF_MAX]) {
  struct leaf leaf = {0};
  leaf_set_number(&leaf, FIELD_FORMAT, LEAF_FORMAT);
  leaf_set_number(&leaf, FIELD_OUTCOME, OUTCOME_REPLIED);
  leaf_set_bytes(&leaf, FIELD_FUNCTION, "hello", 5);
  leaf_set_number(&leaf, FIELD_STATUS, 200);
  leaf_set_number(&leaf, FIELD_COMPUTE, index * 1000);
  if (index) leaf_set_number(&leaf, FIELD_PREVIOUS, index - 1);
  return leaf_encode(&leaf, out);
}

static int grow(void **state) {
  uint8_t leaf[LEAF_MAX];
  (void)state;
  forest = (struct forest){.n = N_LEAVES, .key.name = "example.com/log"};
  if (sodium_init() < 0) return -1;
  crypto_sign_keypair(forest.key.public_key, forest.secret);
  forest.known = (struct evidence_keys){.keys = {forest.key}, .n = 1};
  for (uint64_t i = 0; i < N_LEAVES; i++) forest.level[0][i] = tree_leaf(leaf, make_leaf(i, leaf));
  for (uint64_t i = 0; i < N_LEAVES / TREE_TILE; i++) forest.level[1][i] = tree_of(&forest.level[0][i * TREE_TILE], TREE_TILE);
  return 0;
}

static bool read_hashes(void *arg, unsigned level, uint64_t first, size_t n, struct tree_hash *out) {
  const struct forest *f = arg;
  uint64_t there = level < N_LEVELS ? f->n >> (8 * level) : 0;
  if (first > there || n > there - first) return false;
  memcpy(out, &f->level[level][first], n * sizeof *out);
  return true;
}

static const struct tree_source source = {read_hashes, &forest};

static struct note_checkpoint head_of(uint64_t size) {
  struct note_checkpoint head = {.size = size};
  memcpy(head.origin, forest.key.name, strlen(forest.key.name));
  assert_true(tree_root(&source, size, &head.root));
  return head;
}

static void sign(struct buffer *out, const struct note_checkpoint *head) {
  note_append_checkpoint(out, head, &forest.key, (const uint8_t(*)[NOTE_SECRET_SIZE]) & forest.secret, 1);
}

/* The proof's text, and the leaf. */
static void prove(uint64_t index, uint64_t size, struct buffer *proof, struct buffer *leaf) {
  struct note_checkpoint head = head_of(size);
  struct tree_proof path;
  struct buffer text = {0};
  assert_true(tree_prove_inclusion(&source, index, size, &path));
  sign(&text, &head);
  note_append_proof(proof, index, &path, text.bytes, text.size);
  leaf->size = make_leaf(index, buffer_reserve(leaf, LEAF_MAX));
  buffer_clear(&text);
}

/* In memory of its own, so that a sanitizer sees each byte too much that is read. */
static bool believes(const void *leaf, size_t leaf_size, const void *proof, size_t proof_size) {
  struct evidence_receipt r;
  struct gw_error err = {0};
  uint8_t *a = malloc(leaf_size ? leaf_size : 1), *b = malloc(proof_size ? proof_size : 1);
  assert_true(a && b);
  memcpy(a, leaf, leaf_size);
  memcpy(b, proof, proof_size);
  struct evidence e = {a, b, leaf_size, proof_size};
  bool ok = evidence_check_receipt(&e, &forest.known, &r, &err);
  if (!ok && !*err.message) fail_msg("refused without a word");
  free(a);
  free(b);
  return ok;
}

/* Calls with each text that is a little other than `text`. */
static void each_change(const struct buffer *text,
                        void (*check)(const void *bytes, size_t size, size_t at, const struct buffer *other),
                        const struct buffer *other) {
  static const uint8_t masks[] = {1, 2, 4, 8, 16, 32, 64, 128, 0x0f, 0xff};
  uint8_t *bytes = malloc(text->size + 1);
  assert_non_null(bytes);
  for (size_t at = 0; at < text->size; at++) {
    memcpy(bytes, text->bytes, text->size);
    for (size_t i = 0; i < sizeof masks; i++) {
      bytes[at] = text->bytes[at] ^ masks[i];
      check(bytes, text->size, at, other);
    }
    memmove(bytes + at, text->bytes + at + 1, text->size - at - 1); /* without it */
    check(bytes, text->size - 1, at, other);
    memcpy(bytes, text->bytes, at + 1); /* twice */
    memcpy(bytes + at + 1, text->bytes + at, text->size - at);
    check(bytes, text->size + 1, at, other);
    check(text->bytes, at, at, other);                           /* up to it */
    check(text->bytes + at + 1, text->size - at - 1, at, other); /* from it on */
  }
  free(bytes);
}

static void check_proof(const void *bytes, size_t size, size_t at, const struct buffer *leaf) {
  if (believes(leaf->bytes, leaf->size, bytes, size)) fail_msg("a proof that was changed at byte %zu is believed", at);
}

static void check_leaf(const void *bytes, size_t size, size_t at, const struct buffer *proof) {
  if (believes(bytes, size, proof->bytes, proof->size)) fail_msg("a leaf that was changed at byte %zu is believed", at);
}

static void each_byte_of_a_receipt_counts(void **state) {
  static const struct { uint64_t index, size; } rows[] = {{0, 1}, {4, 7}, {255, 600}};
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct buffer proof = {0}, leaf = {0};
    prove(rows[i].index, rows[i].size, &proof, &leaf);
    assert_true(believes(leaf.bytes, leaf.size, proof.bytes, proof.size));
    each_change(&proof, check_proof, &leaf);
    each_change(&leaf, check_leaf, &proof);
    buffer_clear(&proof);
    buffer_clear(&leaf);
  }
}

static void check_head(const void *bytes, size_t size, size_t at, const struct buffer *ignored) {
  struct note_checkpoint head;
  struct gw_error err = {0};
  (void)ignored;
  if (evidence_check_head(bytes, size, &forest.known, &head, &err))
    fail_msg("a checkpoint that was changed at byte %zu is believed", at);
}

static void each_byte_of_a_checkpoint_counts(void **state) {
  struct buffer text = {0};
  struct note_checkpoint head = head_of(77), read;
  struct gw_error err = {0};
  (void)state;
  sign(&text, &head);
  assert_true(evidence_check_head(text.bytes, text.size, &forest.known, &read, &err));
  assert_int_equal(read.size, 77);
  each_change(&text, check_head, NULL);
  buffer_clear(&text);
}

static void check_key(const void *bytes, size_t size, size_t at, const struct buffer *text) {
  struct evidence_keys keys = {0};
  struct note_checkpoint head;
  struct gw_error err = {0};
  char *line = calloc(1, size + 1);
  assert_non_null(line);
  memcpy(line, bytes, size);
  if (evidence_add_keys(&keys, line, &err) && evidence_check_head(text->bytes, text->size, &keys, &head, &err))
    fail_msg("a key that was changed at byte %zu is believed", at);
  free(line);
}

static void each_byte_of_a_key_counts(void **state) {
  struct buffer text = {0}, key = {0};
  struct note_checkpoint head = head_of(5);
  char line[NOTE_MAX_VKEY];
  (void)state;
  sign(&text, &head);
  note_print_key(&forest.key, line);
  buffer_append_string(&key, line);
  each_change(&key, check_key, &text);
  buffer_clear(&key);
  buffer_clear(&text);
}

/* A proof with another index, path or checkpoint, all of them well-formed. */
static bool believes_path(uint64_t leaf_index, uint64_t index, const struct tree_proof *path,
                          const struct note_checkpoint *head) {
  struct buffer text = {0}, proof = {0};
  uint8_t leaf[LEAF_MAX];
  size_t size = make_leaf(leaf_index, leaf);
  sign(&text, head);
  note_append_proof(&proof, index, path, text.bytes, text.size);
  bool ok = believes(leaf, size, proof.bytes, proof.size);
  buffer_clear(&text);
  buffer_clear(&proof);
  return ok;
}

static void proofs_are_of_one_leaf_and_one_tree(void **state) {
  static const uint64_t indices[] = {0, 6, 8, 255, 256, 299, 300, 600, 1ull << 32, 1ull << 63, UINT64_MAX};
  struct tree_proof path, other;
  struct note_checkpoint head = head_of(300), lie = head;
  (void)state;
  assert_true(tree_prove_inclusion(&source, 7, 300, &path));
  assert_true(believes_path(7, 7, &path, &head));
  for (size_t i = 0; i < sizeof indices / sizeof *indices; i++) {
    assert_false(believes_path(7, indices[i], &path, &head));
    lie.size = indices[i]; /* signed, and not of this root */
    if (indices[i] > 511 || indices[i] <= 7) assert_false(believes_path(7, 7, &path, &lie));
  }
  struct note_checkpoint later = head_of(301);
  assert_false(believes_path(7, 7, &path, &later));
  assert_false(believes_path(8, 7, &path, &head));
  for (size_t i = 0; i + 1 < path.n; i++) { /* in another order */
    other = path;
    other.hashes[i] = path.hashes[i + 1], other.hashes[i + 1] = path.hashes[i];
    assert_false(believes_path(7, 7, &other, &head));
  }
  other = path;
  other.n--;
  assert_false(believes_path(7, 7, &other, &head));
  other = path;
  other.hashes[other.n++] = path.hashes[0];
  assert_false(believes_path(7, 7, &other, &head));
  for (; other.n < TREE_MAX_CONSISTENCY; other.n++) other.hashes[other.n] = path.hashes[0];
  assert_false(believes_path(7, 7, &other, &head));
}

static void a_checkpoint_is_the_word_of_its_log_only(void **state) {
  struct note_checkpoint head = head_of(9), read;
  struct buffer text = {0};
  struct gw_error err = {0};
  (void)state;
  snprintf(head.origin, sizeof head.origin, "example.com/other"); /* signed by a key that is known, as a witness would */
  sign(&text, &head);
  assert_false(evidence_check_head(text.bytes, text.size, &forest.known, &read, &err));
  assert_non_null(strstr(err.message, "none of the keys is for"));
  buffer_clear(&text);
  err = (struct gw_error){0};
  snprintf(head.origin, sizeof head.origin, "\033[2J"); /* would be seen on a terminal */
  sign(&text, &head);
  assert_false(evidence_check_head(text.bytes, text.size, &forest.known, &read, &err));
  assert_null(strchr(err.message, '\033'));
  buffer_clear(&text);
}

static bool grows(const struct note_checkpoint *old, const struct note_checkpoint *new) {
  struct gw_error err = {0};
  bool ok = evidence_check_growth(&source, old, new, &err);
  if (!ok && !*err.message) fail_msg("refused without a word");
  return ok;
}

static void logs_only_grow(void **state) {
  static const uint64_t sizes[] = {0, 1, 2, 3, 7, 8, 64, 255, 256, 257, 511, 512, 513, 599, 600};
  enum { N = sizeof sizes / sizeof *sizes };
  (void)state;
  for (size_t i = 0; i < N; i++) {
    for (size_t j = 0; j < N; j++) {
      struct note_checkpoint old = head_of(sizes[i]), new = head_of(sizes[j]);
      if (grows(&old, &new) != (i <= j)) fail_msg("%d leaves and %d", (int)sizes[i], (int)sizes[j]);
      if (i > j) continue;
      old.root.bytes[31] ^= 1;
      if (grows(&old, &new)) fail_msg("%d leaves, changed, and %d", (int)sizes[i], (int)sizes[j]);
      old.root.bytes[31] ^= 1, new.root.bytes[0] ^= 1;
      if (sizes[i] && grows(&old, &new)) fail_msg("%d leaves and %d, changed", (int)sizes[i], (int)sizes[j]);
    }
  }
}

/* Each is signed and each is a tree; together they show that the log tells different people different things. */
static void two_views_of_one_log_are_refused(void **state) {
  static const uint64_t sizes[] = {300, 17, 600, 256, 17, 1, 300};
  struct evidence_heads heads = {0};
  struct gw_error err = {0};
  (void)state;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    struct note_checkpoint head = head_of(sizes[i]);
    assert_true(evidence_heads_add(&heads, &head, &err));
  }
  assert_int_equal(heads.n, 5);
  for (size_t i = 1; i < heads.n; i++) assert_true(heads.items[i - 1].size < heads.items[i].size);
  assert_true(evidence_heads_check(&heads, &source, &err));
  struct note_checkpoint other = head_of(300), elsewhere = head_of(2);
  other.root.bytes[31] ^= 1;
  assert_false(evidence_heads_add(&heads, &other, &err));
  assert_non_null(strstr(err.message, "two different trees of 300 leaves"));
  strcpy(elsewhere.origin, "example.com/other");
  assert_false(evidence_heads_add(&heads, &elsewhere, &err));
  other.size = 301; /* of which there is one only, and no way from it */
  assert_true(evidence_heads_add(&heads, &other, &err));
  assert_false(evidence_heads_check(&heads, &source, &err));
  evidence_heads_clear(&heads);
}

static void gas_is_added_up(void **state) {
  struct leaf leaf = {0};
  uint64_t gas;
  (void)state;
  for (int i = FIELD_COMPUTE; i <= FIELD_STORAGE; i++) leaf_set_number(&leaf, (enum leaf_field)i, 1u << i);
  assert_true(evidence_gas(&leaf, &gas) && gas == (15u << FIELD_COMPUTE));
  leaf_set_number(&leaf, FIELD_STORAGE, UINT64_MAX);
  assert_false(evidence_gas(&leaf, &gas));
}

static void sizes_that_no_log_has_are_refused(void **state) {
  static const uint64_t sizes[] = {601, 1 << 16, 1ull << 32, (1ull << 63) - 1, 1ull << 63, (1ull << 63) + 1, UINT64_MAX};
  struct note_checkpoint old = head_of(5), new = head_of(600);
  (void)state;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    new.size = sizes[i];
    assert_false(grows(&old, &new));
    struct note_checkpoint lie = new;
    lie.root.bytes[0] ^= 1;
    assert_false(grows(&lie, &new));
  }
  new = head_of(600);
  snprintf(new.origin, sizeof new.origin, "example.com/other");
  assert_false(grows(&old, &new));
  new = head_of(600);
  forest.level[0][3].bytes[0] ^= 1; /* a hash that was changed since */
  assert_false(grows(&old, &new));
  forest.level[0][3].bytes[0] ^= 1;
  assert_true(grows(&old, &new));
}

/* --- chains ------------------------------------------------------------------------------------------------------- */

struct link {
  uint64_t index;
  int64_t previous;     /* below 0: none */
  const char *function; /* NULL: none */
  bool is_void;
};

static bool add_link(struct evidence_chain *chain, const struct link *link) {
  struct evidence_receipt r = {.index = link->index};
  struct gw_error err = {0};
  leaf_set_number(&r.leaf, FIELD_OUTCOME, link->is_void ? OUTCOME_VOID : OUTCOME_REPLIED);
  if (link->function) leaf_set_bytes(&r.leaf, FIELD_FUNCTION, link->function, strlen(link->function));
  if (link->previous >= 0) leaf_set_number(&r.leaf, FIELD_PREVIOUS, (uint64_t)link->previous);
  bool ok = evidence_chain_add(chain, &r, &err);
  if (!ok && !*err.message) fail_msg("refused without a word");
  return ok;
}

static void chains_have_no_gaps(void **state) {
  static const struct {
    const char *what;
    struct link links[4];
    bool is_good;
  } rows[] = {
      {"a chain", {{9, 5, "f", false}, {5, 2, "f", false}, {2, -1, "f", false}}, true},
      {"one leaf", {{9, -1, "f", false}}, true},
      {"of a tenant", {{9, 5, "acme/f", false}, {5, -1, "acme/f", false}}, true},
      {"of two tenants", {{9, 5, "acme/f", false}, {5, -1, "evil/f", false}}, false},
      {"of one, then of none", {{9, 5, "f", false}, {5, -1, "acme/f", false}}, false},
      {"another's end", {{9, -1, "acme/of", false}}, false},
      {"without a name", {{9, -1, NULL, false}}, false},
      {"one is missing", {{9, 5, "f", false}, {2, -1, "f", false}}, false},
      {"one too many", {{9, 5, "f", false}, {7, 5, "f", false}}, false},
      {"one twice", {{9, 5, "f", false}, {9, 5, "f", false}}, false},
      {"behind the first", {{9, -1, "f", false}, {5, -1, "f", false}}, false},
      {"upwards", {{5, 9, "f", false}}, false},
      {"itself", {{5, 5, "f", false}}, false},
      {"void, and named", {{9, 5, "f", false}, {5, 2, "f", true}, {2, -1, "f", false}}, true},
      {"void, without a name", {{9, 5, "f", false}, {5, -1, NULL, true}, {2, -1, "f", false}}, true},
      {"void, then upwards", {{9, 5, "f", false}, {5, -1, NULL, true}, {7, -1, "f", false}}, false},
      {"void, and not named", {{9, 5, "f", false}, {4, -1, NULL, true}}, false},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct evidence_chain chain = {.function = "f"};
    bool ok = true;
    for (int j = 0; j < 4 && rows[i].links[j].index; j++) ok = ok && add_link(&chain, &rows[i].links[j]);
    if (ok != rows[i].is_good) fail_msg("%s", rows[i].what);
  }
}

static void names_of_receipts_are_read(void **state) {
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  static const struct {
    const char *text;
    bool is_good;
  } rows[] = {
      {"0", true},
      {"12", true},
      {"9999999999999999999", true},
      {"0123456789abcdef/12/" HASH, true},
      {"", false},
      {"-1", false},
      {"012", false},
      {"99999999999999999999", false},
      {"1 ", false},
      {"12/" HASH, false},
      {"0123456789abcdef/12", false},
      {"0123456789abcdef/12/", false},
      {"0123456789abcdef//" HASH, false},
      {"0123456789abcdef/12/" HASH "0", false},
      {"0123456789abcdef/12/" HASH "/1", false},
      {"0123456789abcdeg/12/" HASH, false},
      {"0123456789abcdef0/12/" HASH, false},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct evidence_id id;
    struct gw_error err = {0};
    if (evidence_parse_id(&id, rows[i].text, &err) != rows[i].is_good) fail_msg("%s", rows[i].text);
  }
}

static void a_receipt_is_the_one_that_is_meant(void **state) {
  struct evidence_receipt r = {.index = 12, .head.origin = "example.com/log", .hash.bytes = {1}};
  struct evidence_id id = {.index = 12, .has_hash = true, .hash.bytes = {1}}, other;
  struct gw_error err = {0};
  (void)state;
  receipt_log_id_of("example.com/log", id.log);
  assert_true(evidence_check_id(&r, &id, &err));
  other = id, other.index = 13;
  assert_false(evidence_check_id(&r, &other, &err));
  other = id, other.hash.bytes[31] = 1;
  assert_false(evidence_check_id(&r, &other, &err));
  other = id, other.log[3] ^= 1;
  assert_false(evidence_check_id(&r, &other, &err));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_byte_of_a_receipt_counts),
      cmocka_unit_test(each_byte_of_a_checkpoint_counts),
      cmocka_unit_test(each_byte_of_a_key_counts),
      cmocka_unit_test(proofs_are_of_one_leaf_and_one_tree),
      cmocka_unit_test(a_checkpoint_is_the_word_of_its_log_only),
      cmocka_unit_test(logs_only_grow),
      cmocka_unit_test(two_views_of_one_log_are_refused),
      cmocka_unit_test(gas_is_added_up),
      cmocka_unit_test(sizes_that_no_log_has_are_refused),
      cmocka_unit_test(chains_have_no_gaps),
      cmocka_unit_test(names_of_receipts_are_read),
      cmocka_unit_test(a_receipt_is_the_one_that_is_meant),
  };
  return cmocka_run_group_tests(tests, grow, NULL);
}
