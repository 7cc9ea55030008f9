/* The log's files, to read: beside a server that writes them, too. Any thread; each call opens what it reads.
 *
 *   origin, key, keys  the log's name, its secret key (0600), and all its public keys, the present one last
 *   checkpoint         the last one
 *   N.leaves           65,536 leaves, each behind its size in two bytes, the greater first: bundles of tlog-tiles, end to end
 *   N.hashes           their hashes, then for each 256 of them where they begin in N.leaves
 *   level.L            hashes of tile level L, from 1 on
 *   chains             the last leaf of each function, as of some size of the tree; the last line is a digest of the others
 *
 * A tile is a piece of these files, full or partial: nothing is written twice, and a checkpoint syncs a few files, not thousands.
 */
#ifndef RUNTIME_RECEIPT_FILES_H
#define RUNTIME_RECEIPT_FILES_H

#include "base/buffer.h"
#include "runtime/receipt/note.h"
#include "runtime/receipt/tree.h"

enum {
  FILES_SEGMENT = 1 << 16, /* leaves in a pair of files */
  FILES_BUNDLES = FILES_SEGMENT / TREE_TILE,
  FILES_PATH = 4096,
  FILES_MAX_KEYS = 64,
  FILES_TILE_PATH = 64,
};

/* Both at once, so that neither is there alone. */
struct files_hashes {
  struct tree_hash hashes[FILES_SEGMENT];
  uint32_t bundles[FILES_BUNDLES]; /* little-endian; 0 but for the first: not reached */
};

/* "DIRECTORY/NUMBER.WORD". */
void files_path(char out[FILES_PATH], const char *directory, uint64_t segment, const char *word);

/* Hashes of tile level `level`; they must be in one tile. False: they are not there. As struct tree_source wants it: arg is the
 * directory. */
bool files_read_hashes(void *directory, unsigned level, uint64_t first, size_t n, struct tree_hash *out);

enum files_answer { FILES_FOUND, FILES_PRUNED, FILES_DAMAGED };
/* Appends the first `n` leaves of a bundle, each behind its size. */
enum files_answer files_read_bundle(const char *directory, uint64_t bundle, size_t n, struct buffer *out);
/* The leaf at an index that is filled; replaces what is in `out`. */
enum files_answer files_read_leaf(const char *directory, uint64_t index, struct buffer *out);
/* Of a bundle's bytes the leaf at `at`, which becomes that of the next; false: there is none. */
bool files_next_leaf(const uint8_t *bytes, size_t size, size_t *at, const uint8_t **leaf, size_t *leaf_size);

/* What a path of tlog-tiles behind "tile" names: "/L/N", "/entries/N", with ".p/W" if it is partial. */
struct files_tile {
  bool is_entries;
  unsigned level; /* below TREE_LEVELS; 0 of entries */
  uint64_t n;
  size_t width;
};
bool files_parse_tile(const char *path, struct files_tile *tile);
/* The other way round. */
void files_print_tile(const struct files_tile *tile, char out[FILES_TILE_PATH]);
/* Whether a tree of so many leaves has it. */
bool files_has_tile(const struct files_tile *tile, uint64_t size);

/* The whole file. */
bool files_read_checkpoint(const char *directory, struct buffer *out, struct gw_error *err);
/* Keys as text, one a line, which is written to; returns how many, 0 with err set. */
size_t files_parse_keys(char *text, struct note_key *keys, size_t most, struct gw_error *err);
/* The public keys; returns how many, 0 with err set. */
size_t files_read_keys(const char *directory, struct note_key keys[FILES_MAX_KEYS], struct gw_error *err);

/* Whether a call failed for want of descriptors or memory, or was interrupted: what it is about is as it was. */
bool files_is_passing(int error);

#endif
