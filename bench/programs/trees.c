/* Allocation: binary trees built with malloc, counted and freed; one of them lives longer than the others. */
#include "bench.h"

#include <stdlib.h>

enum { DEPTH = 14, SHORT_DEPTH = 6, SHORT_TREES = 400 };

const uint32_t bench_rounds = 500;

struct tree {
  struct tree *left, *right;
};

static struct tree *grow(int depth) {
  struct tree *tree = malloc(sizeof *tree);
  if (!tree) abort();
  tree->left = depth ? grow(depth - 1) : NULL;
  tree->right = depth ? grow(depth - 1) : NULL;
  return tree;
}

static uint32_t count(const struct tree *tree) { return tree->left ? 1 + count(tree->left) + count(tree->right) : 1; }

static void fell(struct tree *tree) {
  if (tree->left) {
    fell(tree->left);
    fell(tree->right);
  }
  free(tree);
}

uint64_t bench_round(uint64_t seed) {
  struct tree *old = grow(DEPTH);
  uint64_t hash = seed;
  for (int i = 0; i < SHORT_TREES; i++) {
    struct tree *tree = grow(SHORT_DEPTH - (int)(bench_random(&seed) & 1));
    hash = bench_mix(hash, count(tree));
    fell(tree);
  }
  hash = bench_mix(hash, count(old));
  fell(old);
  return hash;
}
