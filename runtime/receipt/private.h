/* The log inside. Private to log.c, room.c, writer.c, segment.c and recover.c.
 *
 * Two threads, so that room never waits for a sync: one makes room ahead of what is given out (room.c), the other hashes, syncs
 * and signs (writer.c).
 *
 * Locks: receipt_log.mutex guards the sequence: indices, places, chains. It is held for a few instructions, never for a system
 * call but one that wakes a thread. receipt_log.head_mutex guards the last checkpoint's text, receipt_log.follow_mutex who
 * follows the log. None is taken under another.
 */
#ifndef RUNTIME_RECEIPT_PRIVATE_H
#define RUNTIME_RECEIPT_PRIVATE_H

#include "runtime/receipt/files.h"
#include "runtime/receipt/receipt.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
  SEGMENT_MAX_BYTES = FILES_SEGMENT * (LEAF_MAX + 2), /* of N.leaves: so much is mapped, whatever the file has */
  ROOM_BYTES = 512 << 10,                             /* ahead of what is given out at least, */
  ROOM_LEAVES = 4096,                                 /* and at least so many leaves */
  ROOM_PIECE = 1024,                                  /* leaves: their hashes are whole pages */
  CHAIN_BUCKETS = 1024,
};

#define RECEIPT_NO_INDEX UINT64_MAX

/* What has blocks on disk: a store into a mapping could not say that there are none. */
struct segment_room {
  size_t bytes;  /* of N.leaves */
  size_t leaves; /* whose hashes have them */
};

/* How a sync went. LATER: the system had no descriptor or no memory to ask the disk with, so nothing was written that could be
 * lost, and it may be tried again. LOST: the disk, or its file system, was asked and could not. What it was to write may be gone
 * from memory, too, and the next sync would not say so; that goes for ENOSPC as for EIO. */
enum receipt_synced { SYNC_DONE, SYNC_LATER, SYNC_LOST };

/* A pair of files, mapped. */
struct segment {
  struct segment *next;
  uint64_t number;
  int leaves_fd, hashes_fd;
  uint8_t *leaves;
  struct files_hashes *hashes;
  struct segment_room room;
  size_t used;                                 /* bytes of N.leaves that are given out */
  struct segment_room touched;                 /* pages up to here have been faulted in. The room's thread's */
  bool is_listed;                              /* its names are on disk. The writer's */
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
  bool has_secret, has_old_secret;

  pthread_mutex_t mutex;
  pthread_cond_t wake, settled_more, wake_room;
  uint64_t n;                       /* indices given out */
  struct segment *current, *spares; /* those that follow, in order */
  size_t spare_leaves;              /* for which those have room */
  struct segment *growing;          /* has the room's thread, so that nobody closes it */
  struct segment_room low;          /* with less of it left more is made */
  size_t leaf_bytes;                /* that a leaf of late took, and some more; 0: not known. The room's thread writes it */
  struct receipt_chain *buckets[CHAIN_BUCKETS];
  struct receipt_chain *chains; /* the newest first */
  bool is_stopping, is_awake, is_idle, wants_now, wants_key, has_failed;
  bool is_late; /* no checkpoint could be made for some time, for want of descriptors or memory */
  bool room_is_awake, room_is_idle, is_closed;
  struct receipt_waiter *waiters;
  uint64_t bytes;         /* of leaves given out since it was opened */
  uint64_t n_checkpoints; /* tries, so that who waits sees one that began after it asked */
  atomic_bool has_room;

  pthread_t writer, room;
  bool has_writer, has_room_thread;
  struct segment *first;    /* what is not durable yet, up to `current`. The writer's */
  struct segment *settling; /* where the next leaf to be settled is. The writer's */
  uint64_t settled;         /* the writer's: all leaves below are filled */
  bool is_told;             /* why there is no checkpoint. The writer's */
  uint64_t late_since;      /* CLOCK_MONOTONIC: since when a sync waits for the system; 0: none does. The writer's */
  uint64_t n_chained;       /* at which size `chains` was written */
  uint64_t oldest;          /* segment whose leaves are there */
  uint64_t pruned_at;       /* seconds since 1970 */
  uint64_t pruned_to;       /* the first segment that could not be forgotten then */
  int levels[TREE_LEVELS];
  _Atomic uint64_t durable;

  pthread_mutex_t head_mutex;
  struct buffer head; /* the checkpoint */

  pthread_mutex_t follow_mutex; /* held while `follow` runs */
  receipt_follow_fn follow;
  void *follow_arg;
  _Atomic uint64_t wanted_from; /* leaves from here on stay */
};

/* runtime/receipt/segment.c: with such room at least. NULL: err says why. */
struct segment *receipt_segment_open(const char *directory, uint64_t number, const struct segment_room *room,
                                     struct gw_error *err);
/* Blocks on disk up to `wanted`, and no less than there are. False: there are none, and *wanted is what there is. */
bool receipt_segment_extend(const struct segment *segment, struct segment_room *wanted, struct gw_error *err);
/* Faults pages in up to `wanted`, which has room, so that who fills them need not. */
void receipt_segment_touch(struct segment *segment, const struct segment_room *wanted);
/* Names and contents. The writer. */
enum receipt_synced receipt_segment_sync(struct segment *segment, const char *directory);
/* Of a descriptor that is open. */
enum receipt_synced receipt_sync(int fd);
/* What is behind the last of `n` leaves becomes zeros. */
bool receipt_segment_wipe(const struct segment *segment, size_t n, struct gw_error *err);
/* is_complete: no leaf will follow, for now at least, and room for more is given back. */
void receipt_segment_close(struct segment *segment, bool is_complete);
/* A spare; its files go. */
void receipt_segment_discard(struct segment *segment, const char *directory);
/* Where the next leaf of so many bytes goes, as the index-th; it has room. */
void receipt_segment_take(struct segment *segment, uint64_t index, size_t size, struct receipt_place *place);

/* runtime/receipt/room.c */
bool receipt_room_start(struct receipt_log *log, struct gw_error *err);
void receipt_room_stop(struct receipt_log *log);
/* Under the mutex, when room was taken or made: whether there is some, and whether more should be made. */
void receipt_room_look(struct receipt_log *log);

/* runtime/receipt/writer.c */
bool receipt_writer_start(struct receipt_log *log, struct gw_error *err);
/* All leaves that are filled, up to the first that is not, or whose tile has no room on disk. */
void receipt_writer_settle(struct receipt_log *log);
/* Syncs, signs, and makes it known. False: not now, or never again, which then is noted. */
bool receipt_writer_checkpoint(struct receipt_log *log, struct gw_error *err);
void receipt_writer_stop(struct receipt_log *log);
/* Under the mutex. */
void receipt_writer_wake(struct receipt_log *log);
bool receipt_writer_new_key(struct receipt_log *log, struct gw_error *err);

/* runtime/receipt/recover.c: from the last checkpoint to the last leaf. */
bool receipt_recover(struct receipt_log *log, const struct receipt_kept *kept, size_t n_kept, struct gw_error *err);
/* Opens the next segment, for recovery. */
bool receipt_log_advance(struct receipt_log *log, struct gw_error *err);
bool receipt_chains_write(struct receipt_log *log, struct gw_error *err);

#endif
