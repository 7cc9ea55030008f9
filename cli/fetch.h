/* Receipts and hashes of their log, from a server or from a directory of files. */
#ifndef CLI_FETCH_H
#define CLI_FETCH_H

#include "cli/client.h"
#include "runtime/receipt/files.h"
#include "runtime/receipt/leaf.h"

enum { FETCH_MAX_REPLY = 16 << 20 };

/* A small answer of the server's; a problem is an error. Clear the reply. */
bool fetch_get(const struct client *client, const char *path, struct client_reply *reply, struct gw_error *err);
/* The receipt of an index. A checkpoint covers it within a second or two: with needs_proof that is waited for. Delete it. */
cJSON *fetch_receipt(const struct client *client, uint64_t index, bool needs_proof, struct gw_error *err);
/* Up to `limit` receipts of a function, those below index `before` if that is not 0. Delete it. */
cJSON *fetch_receipts(const struct client *client, const char *function, uint32_t limit, uint64_t before, struct gw_error *err);
/* The leaf's bytes, and the text of the proof, which is NULL where there is none; false: it is no receipt. */
bool fetch_leaf(const cJSON *receipt, uint8_t leaf[LEAF_MAX], size_t *size, const char **proof);

/* The hashes of a log of `size` leaves: as an argument of struct tree_source, read by fetch_hashes. */
struct fetch_tiles {
  const struct client *client;
  const char *directory; /* with tile/..., as the log's address has it; NULL: the server is asked */
  uint64_t size;
  struct {
    bool is_there;
    uint64_t n;
    size_t width;
    struct tree_hash hashes[TREE_TILE];
  } last[TREE_LEVELS]; /* tile of each level */
  struct gw_error *err;
};
bool fetch_hashes(void *arg, unsigned level, uint64_t first, size_t n, struct tree_hash *out);

#endif
