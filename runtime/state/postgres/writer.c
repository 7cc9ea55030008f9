/* The connection that writes. Its calls block, with an end: a committer's thread, or one that clears, has it locked. */
#include "runtime/state/postgres/private.h"

#include "base/array.h"
#include "base/clock.h"
#include "base/error.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RETRY_MS = 50, REST_MS = 1000 /* behind an attempt in vain, in which everybody is told at once */ };

struct writer {
  struct postgres *store;
  pthread_mutex_t mutex;
  PGconn *conn;       /* ready, or NULL */
  uint64_t failed_ms; /* when connecting last failed; 0: it has not since it last succeeded */
  struct gw_error error;
};

uint64_t postgres_now_ms(void) { return clock_ns(CLOCK_MONOTONIC) / 1000000; }

void answers_clear(struct answers *answers) {
  for (size_t i = 0; i < answers->n; i++) pq.PQclear(answers->items[i]);
  free(answers->items);
  *answers = (struct answers){0};
}

static void answers_add(struct answers *answers, PGresult *result) {
  if (answers->n == answers->capacity) array_grow(answers->items, answers->capacity, 16);
  answers->items[answers->n++] = result;
}

static void disconnect(struct writer *w) {
  if (w->conn) pq.PQfinish(w->conn);
  w->conn = NULL;
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

/* Until the socket can be read, or written where that is wanted; false: the time is over. */
static bool wait_for(const PGconn *conn, short events, uint64_t until_ms) {
  uint64_t now = postgres_now_ms();
  struct pollfd fd = {.fd = pq.PQsocket(conn), .events = events};
  return now < until_ms && fd.fd >= 0 && poll(&fd, 1, (int)(until_ms - now)) > 0;
}

/* What was sent leaves, and what has come is read; false: the connection is gone, or the time is over. */
static bool move(PGconn *conn, uint64_t until_ms) {
  int left = pq.PQflush(conn);
  if (left < 0 || !wait_for(conn, (short)(left ? POLLIN | POLLOUT : POLLIN), until_ms)) return false;
  return pq.PQconsumeInput(conn);
}

/* The answers up to the end of the pipeline. */
static bool receive(PGconn *conn, uint64_t until_ms, struct answers *answers) {
  for (;;) {
    if (pq.PQflush(conn) < 0) return false;
    while (pq.PQisBusy(conn))
      if (!move(conn, until_ms)) return false;
    PGresult *result = pq.PQgetResult(conn);
    bool is_end = result && pq.PQresultStatus(result) == PGRES_PIPELINE_SYNC;
    if (result && !is_end) answers_add(answers, result);
    if (is_end) pq.PQclear(result);
    if (is_end) return true;
    if (pq.PQstatus(conn) == CONNECTION_BAD) return false;
  }
}

static const PGresult *first_error(const struct answers *answers) {
  for (size_t i = 0; i < answers->n; i++)
    if (pq.PQresultStatus(answers->items[i]) == PGRES_FATAL_ERROR) return answers->items[i];
  return NULL;
}

/* A transaction that the server has refused is left. */
static bool roll_back(PGconn *conn, uint64_t until_ms) {
  struct answers ignored = {0};
  bool ok = pq_send(conn, "rollback", NULL) && pq.PQpipelineSync(conn) && receive(conn, until_ms, &ignored);
  answers_clear(&ignored);
  return ok;
}

enum exchanged postgres_writer_exchange(struct writer *w, uint64_t until_ms, struct answers *answers, struct gw_error *err) {
  bool is_whole = w->conn && pq.PQpipelineSync(w->conn) && receive(w->conn, until_ms, answers);
  const PGresult *error = first_error(answers);
  if (!w->conn || !is_whole || (error && pq_is_gone(w->conn, error))) {
    if (!pq_fail(w->conn, error, "write to", err) && err) err->code = GW_ERROR_UNAVAILABLE;
    disconnect(w);
    return EXCHANGE_LOST;
  }
  if (!error) return EXCHANGE_OK;
  bool may_retry = pq_may_retry(error);
  pq_fail(w->conn, error, "write to", err);
  if (!roll_back(w->conn, until_ms)) disconnect(w);
  return may_retry ? EXCHANGE_AGAIN : EXCHANGE_REFUSED;
}

/* --- connecting --------------------------------------------------------------------------------------------------- */

static bool finish_connecting(PGconn *conn, uint64_t until_ms) {
  PostgresPollingStatusType status = PGRES_POLLING_WRITING;
  while (status != PGRES_POLLING_OK) {
    if (status == PGRES_POLLING_FAILED) return false;
    if (!wait_for(conn, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, until_ms)) return false;
    status = pq.PQconnectPoll(conn);
  }
  return !pq.PQsetnonblocking(conn, 1);
}

static bool prepare(PGconn *conn) {
  enum { READ, WRITE, BOTH };
#define STATEMENT(NAME, SESSION, TEXT) \
  if (SESSION != READ && !pq.PQsendPrepare(conn, #NAME, TEXT, 0, NULL)) return false;
#include "runtime/state/postgres/statements.def"
#undef STATEMENT
  return true;
}

/* Statements name tables, so these must be there first. */
static bool try_connect(struct writer *w, uint64_t until_ms, struct gw_error *err) {
  struct answers answers = {0};
  w->conn = pq_connect(w->store->url);
  bool ok = w->conn && finish_connecting(w->conn, until_ms);
  if (!ok) pq_fail(w->conn, NULL, "reach", err);
  if (ok && pq.PQserverVersion(w->conn) < PQ_OLDEST_SERVER)
    ok = error_set(err, GW_ERROR_UNAVAILABLE, "the database is older than PostgreSQL 13");
  if (ok && !pq_begin_session(w->conn, w->store->is_durable)) ok = pq_fail(w->conn, NULL, "use", err);
  ok = ok && postgres_migrate(w, w->conn, until_ms, err);
  if (ok) ok = prepare(w->conn) && postgres_writer_exchange(w, until_ms, &answers, err) == EXCHANGE_OK;
  answers_clear(&answers);
  if (!ok) error_set(err, GW_ERROR_UNAVAILABLE, "cannot use the database");
  if (!ok) disconnect(w);
  return ok;
}

PGconn *postgres_writer_connect(struct writer *w, uint64_t until_ms, struct gw_error *err) {
  if (w->conn && pq.PQstatus(w->conn) == CONNECTION_BAD) disconnect(w);
  if (w->conn) return w->conn;
  if (w->failed_ms && postgres_now_ms() - w->failed_ms < REST_MS) {
    error_set(err, w->error.code, "%s", w->error.message);
    return NULL;
  }
  do {
    w->error = (struct gw_error){0};
    if (try_connect(w, until_ms, &w->error)) {
      w->failed_ms = 0;
      return w->conn;
    }
    nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000L}, NULL);
  } while (postgres_now_ms() < until_ms && w->error.code == GW_ERROR_UNAVAILABLE);
  w->failed_ms = postgres_now_ms();
  error_set(err, w->error.code, "%s", w->error.message);
  return NULL;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct writer *postgres_writer_create(struct postgres *store, struct gw_error *err) {
  struct writer *w = calloc(1, sizeof *w);
  if (!w) {
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for the state store");
    return NULL;
  }
  w->store = store;
  pthread_mutex_init(&w->mutex, NULL);
  return w;
}

void postgres_writer_destroy(struct writer *w) {
  if (!w) return;
  disconnect(w);
  pthread_mutex_destroy(&w->mutex);
  free(w);
}

void postgres_writer_lock(struct writer *w) { pthread_mutex_lock(&w->mutex); }
void postgres_writer_unlock(struct writer *w) { pthread_mutex_unlock(&w->mutex); }
