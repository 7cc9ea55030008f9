/* Inputs of invocations on disk, in the directory of their log of receipts: a row of files that the server appends to and of
 * which the oldest go (docs/replay.md).
 *
 * Whoever keeps an entry copies it into memory and goes on; a thread writes. What it cannot write in time is not kept, which is
 * counted. Within one file equal requests and equal settings are there once. */
#ifndef SERVER_INPUTS_STORE_H
#define SERVER_INPUTS_STORE_H

#include "server/inputs/inputs.h"

enum { INPUTS_DIGEST = 32 };

struct inputs_store;

struct inputs_options {
  const char *directory; /* made if missing */
  uint64_t keep_bytes;   /* of files, about, beyond which the oldest go */
  uint64_t keep_seconds; /* likewise by age, and a sixteenth of that more; 0: for ever */
};

struct inputs_store *inputs_store_open(const struct inputs_options *options, struct gw_error *err);
/* Writes what is kept. NULL is allowed. Blocks. */
void inputs_store_close(struct inputs_store *store);

/* Keeps a copy; of a piece of more than 5 MiB only that it was lost. The digests are those of the fields REQUEST and SETTINGS, by
 * which they are stored once. Any thread; does not block. */
void inputs_store_keep(struct inputs_store *store, const struct inputs *in, const uint8_t request[INPUTS_DIGEST],
                       const uint8_t settings[INPUTS_DIGEST]);
/* What was kept before is on its way to disk when this returns. Blocks. */
void inputs_store_flush(struct inputs_store *store);
/* Entries that were not kept, because the disk was too slow or full. */
uint64_t inputs_store_dropped(const struct inputs_store *store);

/* Reads entries, from a directory that a store may be writing to. One thread at a time; what was read last is remembered. */
struct inputs_reader;
struct inputs_reader *inputs_reader_open(const char *directory);
void inputs_reader_close(struct inputs_reader *reader);

enum inputs_answer { INPUTS_FOUND, INPUTS_NONE, INPUTS_DAMAGED };
/* The entry of that index; values live until the next call. Blocks. */
enum inputs_answer inputs_reader_find(struct inputs_reader *reader, uint64_t index, struct inputs *out);

#endif
