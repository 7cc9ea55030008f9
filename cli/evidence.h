/* What a receipt, a checkpoint or a chain of receipts proves, from bytes that anybody may have made (docs/receipts.md). Nothing
 * here asks a server. Any thread. */
#ifndef CLI_EVIDENCE_H
#define CLI_EVIDENCE_H

#include "runtime/receipt/files.h"
#include "runtime/receipt/leaf.h"
#include "runtime/receipt/receipt.h"

/* The keys that the user believes. */
struct evidence_keys {
  struct note_key keys[FILES_MAX_KEYS];
  size_t n;
};

/* What somebody claims: a leaf, and the text of its proof. Both are borrowed. */
struct evidence {
  const void *leaf, *proof;
  size_t leaf_size, proof_size;
};

/* What has been proven. `leaf` borrows from the evidence. */
struct evidence_receipt {
  struct leaf leaf;
  struct tree_hash hash;
  uint64_t index, gas;
  struct note_checkpoint head;
};

/* LOG/INDEX/HASH, as Gasworks-Receipt says it, or INDEX alone. */
struct evidence_id {
  char log[RECEIPT_ID_SIZE]; /* "": any */
  uint64_t index;
  bool has_hash;
  struct tree_hash hash;
};

bool evidence_parse_id(struct evidence_id *id, const char *text, struct gw_error *err);

/* Adds the keys of a text, one a line; the text is written to. */
bool evidence_add_keys(struct evidence_keys *keys, char *text, struct gw_error *err);

/* A checkpoint that a key of the log it names has signed. */
bool evidence_check_head(const void *text, size_t size, const struct evidence_keys *keys, struct note_checkpoint *head,
                         struct gw_error *err);
/* A leaf that is in the tree of such a checkpoint. */
bool evidence_check_receipt(const struct evidence *evidence, const struct evidence_keys *keys, struct evidence_receipt *out,
                            struct gw_error *err);
/* Whether the receipt is the one that is meant. */
bool evidence_check_id(const struct evidence_receipt *receipt, const struct evidence_id *id, struct gw_error *err);
/* Whether the tree of the new checkpoint begins with that of the old. The source has the new one's hashes. */
bool evidence_check_growth(const struct tree_source *source, const struct note_checkpoint *old, const struct note_checkpoint *new,
                           struct gw_error *err);

/* Checkpoints that have been shown, each once, the smallest first. Zero-initialise. */
struct evidence_heads {
  struct note_checkpoint *items;
  size_t n, capacity;
};

/* False: it is of another log than those before it, or has a root of its own for a size that is known. */
bool evidence_heads_add(struct evidence_heads *heads, const struct note_checkpoint *head, struct gw_error *err);
/* Whether each begins the last one. */
bool evidence_heads_check(const struct evidence_heads *heads, const struct tree_source *source, struct gw_error *err);
void evidence_heads_clear(struct evidence_heads *heads);

/* All kinds of gas together. False: more than a number holds, which no invocation uses. */
bool evidence_gas(const struct leaf *leaf, uint64_t *gas);

/* The receipts of one function, the newest first. Zero-initialise, but for `function`. */
struct evidence_chain {
  char function[LEAF_MAX_TEXT + 1]; /* with or without its tenant; the first receipt says which */
  uint64_t n, newest, oldest;
  bool has_previous; /* of the oldest so far */
  uint64_t previous;
  bool is_gap; /* the oldest so far is void and names no function, so that it leads nowhere */
};

/* The next one must be the one that the last one names. */
bool evidence_chain_add(struct evidence_chain *chain, const struct evidence_receipt *receipt, struct gw_error *err);

#endif
