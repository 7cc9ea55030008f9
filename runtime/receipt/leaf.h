/* A leaf of the log of receipts: what one invocation was, as canonical CBOR (RFC 8949 section 4.2.1). Pure functions, any thread.
 */
#ifndef RUNTIME_RECEIPT_LEAF_H
#define RUNTIME_RECEIPT_LEAF_H

#include "gasworks/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of the leaf's format, and of what a guest can see of the platform: a change of either is a new number. Leaves of all formats up
 * to the present one are read. */
enum { LEAF_FORMAT = 3, LEAF_SEMANTICS = 1 };

enum {
  LEAF_MAX = 1024,     /* bytes of a leaf, with LEAF_TAIL */
  LEAF_MAX_TEXT = 255, /* of a function's name */
  LEAF_DIGEST_SIZE = 32,
  LEAF_TAIL = 10, /* of those for the index of the function's previous leaf */
  LEAF_MAX_HEAD = LEAF_MAX_TEXT + 96,
};

enum leaf_field {
#define FIELD(key, name, kind, word) FIELD_##name,
#include "runtime/receipt/leaf.def"
#undef FIELD
  FIELD_COUNT
};

enum leaf_kind { LEAF_NUMBER, LEAF_TEXT, LEAF_DIGEST, LEAF_BYTES };

/* How an invocation ended. Numbers of the format: none changes its meaning. */
enum leaf_outcome {
  OUTCOME_REPLIED,   /* with the function's reply; what it wrote is stored */
  OUTCOME_TRAPPED,   /* field `trap` says how; nothing that it wrote is stored, as in all that follow */
  OUTCOME_FAILED,    /* by itself it went well, but its reply or its writes could not be taken */
  OUTCOME_CANCELLED, /* the client or the server has gone */
  OUTCOME_REPEATED,  /* an Idempotency-Key was known: it did not run, and got the reply of the request before */
  OUTCOME_VOID,      /* the index was given out for a commit that did not happen */
  OUTCOME_COUNT
};

/* `bytes` are borrowed. */
struct leaf_value {
  bool is_there;
  uint64_t number;
  const uint8_t *bytes;
  size_t size;
};

struct leaf {
  struct leaf_value fields[FIELD_COUNT];
};

static inline void leaf_set_number(struct leaf *leaf, enum leaf_field field, uint64_t number) {
  leaf->fields[field] = (struct leaf_value){.is_there = true, .number = number};
}

static inline void leaf_set_bytes(struct leaf *leaf, enum leaf_field field, const void *bytes, size_t size) {
  leaf->fields[field] = (struct leaf_value){.is_there = true, .bytes = bytes, .size = size};
}

const char *leaf_field_word(enum leaf_field field);
enum leaf_kind leaf_field_kind(enum leaf_field field);
/* NULL for a number that has no meaning. */
const char *leaf_outcome_word(uint64_t outcome);

/* Returns the size. The leaf has no field longer than its kind allows, no two of LEAF_BYTES, and fewer than 24 fields. */
size_t leaf_encode(const struct leaf *leaf, uint8_t out[LEAF_MAX]);
/* The fields from the first to FIELD_SEMANTICS, encoded: of one version of a function they are the same, but for the outcome. */
struct leaf_head {
  size_t size; /* 0: not made yet */
  uint8_t bytes[LEAF_MAX_HEAD];
};

void leaf_encode_head(const struct leaf *leaf, struct leaf_head *head);
/* leaf_encode, with those fields from the head, if there is one; then the leaf has its outcome, and those behind them. `behind`
 * becomes how many of the bytes are behind the place of the field `previous`. */
size_t leaf_encode_behind(const struct leaf_head *head, const struct leaf *leaf, uint8_t out[LEAF_MAX], size_t *behind);
/* Adds the field `previous`, in front of the last `behind` bytes, to a leaf that has none; returns the new size. */
size_t leaf_add_previous(uint8_t leaf[LEAF_MAX], size_t size, size_t behind, uint64_t previous);
/* How much that adds. */
size_t leaf_previous_size(uint64_t previous);
/* Only what leaf_encode could have written, byte by byte. Values borrow from `bytes`. */
bool leaf_decode(struct leaf *leaf, const uint8_t *bytes, size_t size, struct gw_error *err);
/* The same, several times faster, of what this program itself has written: it does not ask whether it is canonical. */
bool leaf_read_own(struct leaf *leaf, const uint8_t *bytes, size_t size);
/* A leaf of outcome VOID of exactly so many bytes, 7 to LEAF_MAX - LEAF_TAIL and not 31. */
void leaf_make_void(uint8_t *out, size_t size);
/* Makes one of a leaf that would have been, of the same size. */
void leaf_void(uint8_t *leaf);

#endif
