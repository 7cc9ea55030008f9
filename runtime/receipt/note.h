/* Signed notes (C2SP signed-note) with Ed25519, checkpoints (C2SP tlog-checkpoint), and proofs as text (C2SP tlog-proof). Pure
 * functions, any thread. */
#ifndef RUNTIME_RECEIPT_NOTE_H
#define RUNTIME_RECEIPT_NOTE_H

#include "base/buffer.h"
#include "gasworks/error.h"
#include "runtime/receipt/tree.h"

enum {
  NOTE_MAX_NAME = 255,     /* bytes of a key's name, which is the log's origin */
  NOTE_MAX_SIZE = 1 << 16, /* of a note */
  NOTE_PUBLIC_SIZE = 32,
  NOTE_SECRET_SIZE = 64,
  NOTE_MAX_VKEY = NOTE_MAX_NAME + 64, /* characters of a key as text, with a 0 */
};

struct note_key {
  char name[NOTE_MAX_NAME + 1];
  uint8_t public_key[NOTE_PUBLIC_SIZE];
};

/* Whether a key may have the name: printable ASCII without spaces and '+'. */
bool note_name_is_valid(const char *name);
/* "NAME+KEYID+BASE64", as verifiers are given keys. */
void note_print_key(const struct note_key *key, char out[NOTE_MAX_VKEY]);
bool note_parse_key(struct note_key *key, const char *text, struct gw_error *err);

/* A tree's head, as a checkpoint says it. `extra` lines are read over. */
struct note_checkpoint {
  char origin[NOTE_MAX_NAME + 1];
  uint64_t size;
  struct tree_hash root;
};

/* Appends the checkpoint, signed by each of `n` keys. */
void note_append_checkpoint(struct buffer *out, const struct note_checkpoint *checkpoint, const struct note_key *keys,
                            const uint8_t (*secrets)[NOTE_SECRET_SIZE], size_t n);
/* Reads a checkpoint; nothing is said about its signatures. */
bool note_parse_checkpoint(struct note_checkpoint *checkpoint, const void *text, size_t size, struct gw_error *err);
/* Whether at least one of the keys has signed the note, and none of them wrongly. */
bool note_check(const void *text, size_t size, const struct note_key *keys, size_t n, struct gw_error *err);

/* An inclusion proof with the checkpoint that it leads to. */
void note_append_proof(struct buffer *out, uint64_t index, const struct tree_proof *proof, const void *checkpoint, size_t size);
/* *checkpoint borrows from `text`. */
bool note_parse_proof(uint64_t *index, struct tree_proof *proof, const char **checkpoint, size_t *checkpoint_size,
                      const void *text, size_t size, struct gw_error *err);

#endif
