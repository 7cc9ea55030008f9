/* The Merkle tree of RFC 6962 section 2.1 over leaves of any bytes: hashes, proofs and their checks. Of a tree, complete subtrees
 * of 256^L leaves are stored, as C2SP tlog-tiles has them; the rest follows. Pure functions, any thread. */
#ifndef RUNTIME_RECEIPT_TREE_H
#define RUNTIME_RECEIPT_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  TREE_HASH_SIZE = 32,
  TREE_TILE = 256,     /* hashes in a full tile */
  TREE_LEVELS = 8,     /* of tiles: 2^64 leaves */
  TREE_MAX_PROOF = 64, /* hashes of an inclusion proof */
  TREE_MAX_CONSISTENCY = 65,
};

struct tree_hash {
  uint8_t bytes[TREE_HASH_SIZE];
};

struct tree_hash tree_leaf(const void *bytes, size_t size);
struct tree_hash tree_node(const struct tree_hash *left, const struct tree_hash *right);
bool tree_hash_is(const struct tree_hash *a, const struct tree_hash *b);
/* Of the complete subtree whose `n` nodes of one level these are; n is a power of two, TREE_TILE at most. */
struct tree_hash tree_of(const struct tree_hash *nodes, size_t n);

/* Where stored hashes are. False: they are not there. */
struct tree_source {
  /* Hashes `first` to `first + n - 1` of tile level `level`, which are in one tile. */
  bool (*read)(void *arg, unsigned level, uint64_t first, size_t n, struct tree_hash *out);
  void *arg;
};

/* Of the tree of the first `size` leaves; false: a hash is not there. */
bool tree_root(const struct tree_source *source, uint64_t size, struct tree_hash *root);

struct tree_proof {
  size_t n;
  struct tree_hash hashes[TREE_MAX_CONSISTENCY];
};

/* index < size. From the leaf's sibling up. */
bool tree_prove_inclusion(const struct tree_source *source, uint64_t index, uint64_t size, struct tree_proof *proof);
/* from <= to. */
bool tree_prove_consistency(const struct tree_source *source, uint64_t from, uint64_t to, struct tree_proof *proof);

/* Whether the proof shows that the leaf's hash is at `index` of the tree of `size` leaves with this root. */
bool tree_check_inclusion(const struct tree_proof *proof, uint64_t index, uint64_t size, const struct tree_hash *leaf,
                          const struct tree_hash *root);
/* Whether the proof shows that the tree of `from` leaves begins the tree of `to` leaves. */
bool tree_check_consistency(const struct tree_proof *proof, uint64_t from, uint64_t to, const struct tree_hash *old_root,
                            const struct tree_hash *root);

#endif
