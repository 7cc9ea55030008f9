/* The log inside. Private to log.c, writer.c, segment.c and recover.c.
 *
 * Locks: receipt_log.mutex guards the sequence: indices, places, chains. It is held for a few instructions, never for a system
 * call. receipt_log.head_mutex guards the last checkpoint's text. Neither is taken under the other. */
#ifndef RUNTIME_RECEIPT_PRIVATE_H
#define RUNTIME_RECEIPT_PRIVATE_H

#include "runtime/receipt/files.h"
#include "runtime/receipt/receipt.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
  SEGMENT_MAX_BYTES = FILES_SEGMENT * (LEAF_MAX + 2), /* of N.leaves: so much is mapped, whatever the file has */
  SEGMENT_MIN_ROOM = 8 << 20,                         /* half of it is left when more is made, which may wait for a sync */
  SEGMENT_MAX_STEP = 16 << 20,
  CHAIN_BUCKETS = 1024,
};

#define RECEIPT_NO_INDEX UINT64_MAX

/* A pair of files, mapped. */
struct segment {
  struct segment *next;
  uint64_t number;
  int leaves_fd, hashes_fd;
  uint8_t *leaves;
  struct files_hashes *hashes;
  size_t room, used;                           /* bytes of N.leaves that are on disk, and that are given out */
  struct receipt_chain *chains[FILES_SEGMENT]; /* whose leaf each is; NULL: nobody's */
};

struct receipt_chain {
  struct receipt_chain *next, *next_in_bucket;
  uint64_t last;    /* RECEIPT_NO_INDEX: there is none. Under the mutex */
  uint64_t settled; /* the last one that a checkpoint may cover. The writer's */
  char name[];
};

struct receipt_log {
  struct receipt_options options; /* directory and origin are the log's */
  char id[RECEIPT_ID_SIZE];

  struct note_key keys[FILES_MAX_KEYS]; /* the writer's, as are the secrets */
  size_t n_keys;
  uint8_t secrets[2][NOTE_SECRET_SIZE]; /* the present one, and the one before until the new one is made known */
  bool has_old_secret;

  pthread_mutex_t mutex;
  pthread_cond_t wake, settled_more;
  uint64_t n; /* indices given out */
  struct segment *current, *spare;
  struct receipt_chain *buckets[CHAIN_BUCKETS];
  struct receipt_chain *chains; /* the newest first */
  bool is_stopping, is_awake, is_idle, wants_now, wants_key, has_failed;
  uint64_t n_checkpoints; /* tries, so that who waits sees one that began after it asked */
  atomic_bool has_room;

  pthread_t writer;
  bool has_writer;
  struct segment *first; /* what is not settled yet, up to `current`. The writer's */
  uint64_t settled;      /* the writer's: all leaves below are filled */
  uint64_t n_chained;    /* at which size `chains` was written */
  uint64_t oldest;       /* segment whose leaves are there */
  uint64_t pruned_at;    /* seconds since 1970 */
  int levels[TREE_LEVELS];
  _Atomic uint64_t durable;

  pthread_mutex_t head_mutex;
  struct buffer head; /* the checkpoint */
};

/* runtime/receipt/segment.c: with `room` bytes for leaves at least. NULL: err says why. */
struct segment *receipt_segment_open(const char *directory, uint64_t number, size_t room, struct gw_error *err);
/* More room on disk, as it is used; *room is the new one. False: there is none. */
bool receipt_segment_grow(const struct segment *segment, size_t *room, struct gw_error *err);
bool receipt_segment_sync(const struct segment *segment);
/* is_complete: no leaf will follow. */
void receipt_segment_close(struct segment *segment, bool is_complete);
/* Where the next leaf of so many bytes goes, as the index-th; it has room. */
void receipt_segment_take(struct segment *segment, uint64_t index, size_t size, struct receipt_place *place);

/* runtime/receipt/writer.c */
bool receipt_writer_start(struct receipt_log *log, struct gw_error *err);
/* All leaves that are filled, up to the first that is not. */
void receipt_writer_settle(struct receipt_log *log);
/* Syncs, signs, and makes it known. */
bool receipt_writer_checkpoint(struct receipt_log *log, struct gw_error *err);
void receipt_writer_stop(struct receipt_log *log);
/* Under the mutex. */
void receipt_writer_wake(struct receipt_log *log);
bool receipt_writer_new_key(struct receipt_log *log, struct gw_error *err);

/* runtime/receipt/recover.c: from the last checkpoint to the last leaf. */
bool receipt_recover(struct receipt_log *log, const struct receipt_kept *kept, size_t n_kept, struct gw_error *err);
/* Under the mutex, when room was taken or made: whether there is some, and whether the writer should make more. */
void receipt_log_look(struct receipt_log *log);
/* Opens the next segment, for recovery. */
bool receipt_log_advance(struct receipt_log *log, struct gw_error *err);
bool receipt_chains_write(struct receipt_log *log, struct gw_error *err);

#endif
