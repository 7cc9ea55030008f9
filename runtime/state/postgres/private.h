/* The store on a PostgreSQL server, inside: docs/cluster.md tells what it promises. Private to this folder.
 *
 * Who does what. Loops ask, a thread of the store's own (reader.c) sends what they ask over connections of a bounded pool, and
 * calls `done`. The committer's thread and those who clear use one other connection (writer.c), and wait for it.
 *
 * Tables (schema.c). `state` has a row for each key, with its space's digest in front. The version is the number of the batch
 * that wrote it and its place there. `digest` is what a range sums up, so that the server can compare a range of any length. */
#ifndef RUNTIME_STATE_POSTGRES_PRIVATE_H
#define RUNTIME_STATE_POSTGRES_PRIVATE_H

#include "runtime/state/postgres/pq.h"
#include "runtime/state/store_ops.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
  PAIR_BYTES = 16,    /* that a stored pair counts beside key and value, as in LMDB */
  WAIT_MS = 3000,     /* for a connection, before a question fails */
  DEADLINE_MS = 10000 /* of a batch, with all that it takes to find out what became of it */
};

struct reader; /* reader.c */
struct writer; /* writer.c */

struct postgres {
  struct store store; /* first */
  char *url;
  char shown[256]; /* the URL without its password */
  uint8_t node[16];
  bool is_durable;
  uint64_t seed;           /* of tables of keys, which guests choose */
  _Atomic uint64_t moment; /* the last clear that this node has seen */
  struct reader *reader;
  struct writer *writer;
};

static inline struct postgres *postgres_of(struct store *store) { return (struct postgres *)store; }

/* Seals are of a node's own log: their space's digest is made one of the node. Others stay. */
void postgres_space(const struct postgres *store, const uint8_t space[SPACE_SIZE], uint8_t out[SPACE_SIZE]);

/* What strangers may be told of an error: not where the database is, nor what it said. */
void postgres_hide(const struct gw_error *from, struct gw_error *err);

/* --- reader.c */
struct reader *postgres_reader_start(struct postgres *store, uint32_t n_connections, struct gw_error *err);
void postgres_reader_stop(struct reader *reader);
struct snapshot *postgres_take(struct store *self, struct gw_error *err);
void postgres_give_back(struct store *self, struct snapshot *snapshot);
void postgres_get(struct store *self, struct store_get *get);
void postgres_scan(struct store *self, struct store_scan *scan);

/* --- writer.c: one connection for all that writes. Calls block, and come from one thread at a time between lock and unlock. */
struct answers {
  PGresult **items;
  size_t n, capacity;
};
void answers_clear(struct answers *answers);

enum exchanged {
  EXCHANGE_OK,
  EXCHANGE_REFUSED, /* the server said why, in err; nothing of it happened, and the transaction is over */
  EXCHANGE_AGAIN,   /* likewise, and the same may succeed */
  EXCHANGE_LOST,    /* the connection is gone: what was sent may have happened, or may yet */
};
struct writer *postgres_writer_create(struct postgres *store, struct gw_error *err);
void postgres_writer_destroy(struct writer *writer);
void postgres_writer_lock(struct writer *writer);
void postgres_writer_unlock(struct writer *writer);
/* A connection, within the time; NULL: err says why. */
PGconn *postgres_writer_connect(struct writer *writer, uint64_t until_ms, struct gw_error *err);
/* Sends the end of what was sent, and waits for all answers to it, one for each statement. */
enum exchanged postgres_writer_exchange(struct writer *writer, uint64_t until_ms, struct answers *answers, struct gw_error *err);
uint64_t postgres_now_ms(void);

/* --- schema.c: the writer's connection is new: makes the tables, or brings them to what this program knows. */
bool postgres_migrate(struct writer *writer, PGconn *conn, uint64_t until_ms, struct gw_error *err);

/* --- commit.c */
void postgres_commit(struct store *self, struct store_commit *first);
void postgres_clear(struct store *self, struct store_clear *clear);

#endif
