#include "runtime/receipt/tree.h"

#include "base/sha256.h"

#include <string.h>

_Static_assert((int)TREE_HASH_SIZE == (int)SHA256_SIZE, "the tree's hashes are SHA-256");

struct tree_hash tree_leaf(const void *bytes, size_t size) {
  struct tree_hash out;
  struct sha256 s;
  sha256_begin(&s);
  sha256_add(&s, "\0", 1);
  sha256_add(&s, bytes, size);
  sha256_end(&s, out.bytes);
  return out;
}

struct tree_hash tree_node(const struct tree_hash *left, const struct tree_hash *right) {
  struct tree_hash out;
  struct sha256 s;
  sha256_begin(&s);
  sha256_add(&s, "\1", 1);
  sha256_add(&s, left->bytes, TREE_HASH_SIZE);
  sha256_add(&s, right->bytes, TREE_HASH_SIZE);
  sha256_end(&s, out.bytes);
  return out;
}

bool tree_hash_is(const struct tree_hash *a, const struct tree_hash *b) {
  return memcmp(a->bytes, b->bytes, TREE_HASH_SIZE) == 0;
}

struct tree_hash tree_of(const struct tree_hash *nodes, size_t n) {
  struct tree_hash level[TREE_TILE];
  memcpy(level, nodes, n * sizeof *nodes);
  for (; n > 1; n /= 2)
    for (size_t i = 0; i < n / 2; i++) level[i] = tree_node(&level[2 * i], &level[2 * i + 1]);
  return level[0];
}

/* --- from what is stored ------------------------------------------------------------------------------------------ */

/* The largest power of two below n, which is 2 or more: k of RFC 6962. */
static uint64_t split_of(uint64_t n) { return 1ull << (63 - __builtin_clzll(n - 1)); }

/* The complete subtree of 2^height leaves from `first` on: from the hashes of the tile level below its top. */
static bool subtree(const struct tree_source *source, uint64_t first, unsigned height, struct tree_hash *out) {
  struct tree_hash nodes[TREE_TILE];
  unsigned level = height / 8, rest = height % 8;
  size_t n = (size_t)1 << rest;
  if (!source->read(source->arg, level, first >> (8 * level), n, nodes)) return false;
  *out = tree_of(nodes, n);
  return true;
}

/* MTH of `n` leaves from `first` on, where `first` is a multiple of a power of two not below n. */
static bool range_hash(const struct tree_source *source, uint64_t first, uint64_t n, struct tree_hash *out) {
  struct tree_hash left, right;
  if ((n & (n - 1)) == 0) return subtree(source, first, (unsigned)__builtin_ctzll(n), out);
  uint64_t k = split_of(n);
  if (!range_hash(source, first, k, &left) || !range_hash(source, first + k, n - k, &right)) return false;
  *out = tree_node(&left, &right);
  return true;
}

bool tree_root(const struct tree_source *source, uint64_t size, struct tree_hash *root) {
  struct sha256 s;
  if (size) return range_hash(source, 0, size, root);
  sha256_begin(&s);
  sha256_end(&s, root->bytes);
  return true;
}

static bool add_range(const struct tree_source *source, uint64_t first, uint64_t n, struct tree_proof *proof) {
  return proof->n < TREE_MAX_CONSISTENCY && range_hash(source, first, n, &proof->hashes[proof->n++]);
}

/* PATH(m, D[n]), section 2.1.1: the sibling of each half that the leaf is in, the topmost last. */
static bool add_path(const struct tree_source *source, uint64_t index, uint64_t first, uint64_t n, struct tree_proof *proof) {
  if (n == 1) return true;
  uint64_t k = split_of(n);
  if (index < k) return add_path(source, index, first, k, proof) && add_range(source, first + k, n - k, proof);
  return add_path(source, index - k, first + k, n - k, proof) && add_range(source, first, k, proof);
}

bool tree_prove_inclusion(const struct tree_source *source, uint64_t index, uint64_t size, struct tree_proof *proof) {
  proof->n = 0;
  return add_path(source, index, 0, size, proof);
}

/* SUBPROOF(m, D[n], b), section 2.1.2. */
static bool add_subproof(const struct tree_source *source, uint64_t m, uint64_t first, uint64_t n, bool is_known,
                         struct tree_proof *proof) {
  if (m == n) return is_known || add_range(source, first, n, proof);
  uint64_t k = split_of(n);
  if (m <= k) return add_subproof(source, m, first, k, is_known, proof) && add_range(source, first + k, n - k, proof);
  return add_subproof(source, m - k, first + k, n - k, false, proof) && add_range(source, first, k, proof);
}

bool tree_prove_consistency(const struct tree_source *source, uint64_t from, uint64_t to, struct tree_proof *proof) {
  proof->n = 0;
  return !from || add_subproof(source, from, 0, to, true, proof);
}

/* --- checks ------------------------------------------------------------------------------------------------------- */

/* RFC 9162 section 2.1.3.2. */
bool tree_check_inclusion(const struct tree_proof *proof, uint64_t index, uint64_t size, const struct tree_hash *leaf,
                          const struct tree_hash *root) {
  uint64_t at = index, last = size - 1;
  struct tree_hash r = *leaf;
  if (index >= size) return false;
  for (size_t i = 0; i < proof->n; i++) {
    const struct tree_hash *p = &proof->hashes[i];
    if (!last) return false;
    if ((at & 1) || at == last) {
      r = tree_node(p, &r);
      while (at && !(at & 1)) at >>= 1, last >>= 1;
    } else {
      r = tree_node(&r, p);
    }
    at >>= 1;
    last >>= 1;
  }
  return !last && tree_hash_is(&r, root);
}

/* RFC 9162 section 2.1.4.2. */
bool tree_check_consistency(const struct tree_proof *proof, uint64_t from, uint64_t to, const struct tree_hash *old_root,
                            const struct tree_hash *root) {
  if (from > to) return false;
  if (!from) return proof->n == 0; /* every tree begins with none */
  if (from == to) return proof->n == 0 && tree_hash_is(old_root, root);
  bool is_complete = (from & (from - 1)) == 0; /* then its root is the first hash, and not in the proof */
  if (proof->n + is_complete == 0 || (!is_complete && !proof->n)) return false;
  uint64_t at = from - 1, last = to - 1;
  while (at & 1) at >>= 1, last >>= 1;
  struct tree_hash fr = is_complete ? *old_root : proof->hashes[0], sr = fr;
  for (size_t i = is_complete ? 0 : 1; i < proof->n; i++) {
    const struct tree_hash *c = &proof->hashes[i];
    if (!last) return false;
    if ((at & 1) || at == last) {
      fr = tree_node(c, &fr);
      sr = tree_node(c, &sr);
      while (at && !(at & 1)) at >>= 1, last >>= 1;
    } else {
      sr = tree_node(&sr, c);
    }
    at >>= 1;
    last >>= 1;
  }
  return !last && tree_hash_is(&fr, old_root) && tree_hash_is(&sr, root);
}
