/* Reading: questions of loops go to one thread, which has a bounded number of connections and calls `done`.
 *
 * Snapshots. The first questions of one are single statements, which several share a connection for: each names what those
 * before it have found, and the server says whether that is still so (`get_checked`). What is not is stale: the invocation runs
 * again. So most invocations read without a transaction of the server's. Behind MOST_REMEMBERED keys, for scans, and where a
 * transaction must be told nothing but one moment, a snapshot gets a connection of its own with REPEATABLE READ (a view), and
 * keeps it until it is given back.
 *
 * No deadlock: who has a view may wait for a lane, whose owner waits for a view. Where questions wait for one, the views that
 * nobody has asked anything for STEAL_MS are taken away; the next question of such a snapshot is stale.
 *
 * Locks: reader.mutex guards the list of new questions alone. All else is the thread's; a snapshot is its asker's between
 * questions. */
#define _GNU_SOURCE
#include "runtime/state/postgres/private.h"

#include "base/error.h"
#include "base/heap.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
  MOST_REMEMBERED = 8, /* keys that a single statement compares */
  MOST_SHARING = 32,   /* questions under way on a shared connection */
  STEAL_MS = 20,
  PATIENCE_MS = 1000,  /* the same while connections are being made */
  MOST_CONNECTING = 2, /* at one time: more a local server may refuse */
  ANSWER_MS = 12000,   /* beyond the server's own timeout: then the network is to blame */
  FIRST_PAGE = 128,    /* rows of a scan */
  NEXT_PAGE = 1024,
  BOUND = SPACE_SIZE + STATE_MAX_KEY + 2,
};

struct link;

struct remembered {
  uint8_t key[SPACE_SIZE + STATE_MAX_KEY];
  size_t size;
  uint64_t version;
};

struct snapshot {
  struct remembered *seen; /* MOST_REMEMBERED of them, from the first answer on */
  uint32_t n_seen;
  bool is_lost; /* its view was taken away, or never came to be */
  atomic_bool had_view;
  struct link *link; /* with its view */
  PGresult *result;  /* of the last get, and what it found */
};

enum job_kind { JOB_SETUP, JOB_GET, JOB_SCAN, JOB_RETURN };

/* A question, with what its answer will consist of: those results that come before the one asked for. */
struct job {
  struct job *next;
  enum job_kind kind;
  struct snapshot *snapshot;
  union {
    struct store_get *get;
    struct store_scan *scan;
  };
  uint64_t asked_ms, sent_ms;
  bool begins_view, checks_seen, checks_keys, compares_seen; /* the last: in the statement itself */
  const struct store_range *range;                           /* the next that is compared */
  bool is_stale, is_failed, goes_on, is_done;
  uint8_t tries;
  struct gw_error err;
  /* of a scan: where it goes on */
  uint8_t first[BOUND], end[BOUND];
  size_t first_size, end_size;
  uint32_t n_pages;
};

enum link_state { LINK_CLOSED, LINK_CONNECTING, LINK_READY };

struct link {
  PGconn *conn;
  enum link_state state;
  PostgresPollingStatusType polling;
  bool is_shared;
  struct snapshot *view;    /* whose it is */
  uint64_t used_ms;         /* when it last was asked something, or answered */
  uint64_t retry_ms;        /* when to connect again */
  struct job *first, **end; /* that were sent */
  uint32_t n_jobs;
};

struct reader {
  struct postgres *store;
  pthread_t thread;
  pthread_mutex_t mutex;
  struct job *new_jobs, **new_end;
  bool is_closing;
  int wake_fd;

  struct job *waiting, **waiting_end;
  struct link *links;
  uint32_t n_links;
  struct gw_error error; /* why connecting failed last */
  struct pq_params params;
};

/* --- questions, on any thread -------------------------------------------------------------------------------------- */

struct snapshot *postgres_take(struct store *self, struct gw_error *err) {
  (void)self;
  struct snapshot *s = calloc(1, sizeof *s);
  if (!s) error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for a snapshot");
  return s;
}

static void snapshot_free(struct snapshot *s) {
  if (s->result) pq.PQclear(s->result);
  free(s->seen);
  free(s);
}

static void push(struct job ***end, struct job *job) {
  job->next = NULL;
  **end = job;
  *end = &job->next;
}

static void wake(const struct reader *r) {
  uint64_t one = 1;
  while (write(r->wake_fd, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

static void ask(struct store *self, struct job *job) {
  struct reader *r = postgres_of(self)->reader;
  job->asked_ms = postgres_now_ms();
  pthread_mutex_lock(&r->mutex);
  bool was_empty = !r->new_jobs;
  push(&r->new_end, job);
  pthread_mutex_unlock(&r->mutex);
  if (was_empty) wake(r);
}

static struct job *job_new(enum job_kind kind, struct snapshot *snapshot) {
  struct job *job = heap_new(1, sizeof *job);
  job->kind = kind;
  job->snapshot = snapshot;
  return job;
}

void postgres_give_back(struct store *self, struct snapshot *snapshot) {
  if (atomic_load(&snapshot->had_view))
    ask(self, job_new(JOB_RETURN, snapshot));
  else
    snapshot_free(snapshot);
}

void postgres_get(struct store *self, struct store_get *get) {
  struct job *job = job_new(JOB_GET, get->snapshot);
  job->get = get;
  ask(self, job);
}

/* The next key in order behind those that begin with it is the least of the next space. */
static void next_space(uint8_t space[SPACE_SIZE]) {
  for (int i = SPACE_SIZE; i-- > 0 && !++space[i];) {
  }
}

static size_t bound_of(uint8_t *out, const uint8_t *space, const void *bound, size_t size) {
  if (size > STATE_MAX_KEY + 1) size = STATE_MAX_KEY + 1;
  memcpy(out, space, SPACE_SIZE);
  if (size) memcpy(out + SPACE_SIZE, bound, size);
  return SPACE_SIZE + size;
}

void postgres_scan(struct store *self, struct store_scan *scan) {
  struct job *job = job_new(JOB_SCAN, scan->snapshot);
  uint8_t space[SPACE_SIZE];
  job->scan = scan;
  postgres_space(postgres_of(self), scan->space, space);
  job->first_size = bound_of(job->first, space, scan->first, scan->first ? scan->first_size : 0);
  if (job->first_size == SPACE_SIZE) job->first[job->first_size++] = 0; /* what the space takes is not in it */
  job->end_size = bound_of(job->end, space, scan->end, scan->end ? scan->end_size : 0);
  if (!scan->end) next_space(job->end);
  ask(self, job);
}

/* --- answers ------------------------------------------------------------------------------------------------------- */

/* What the asker is told; the job is gone. */
static void answer(struct job *job) {
  struct gw_error *err = job->kind == JOB_GET ? &job->get->err : job->kind == JOB_SCAN ? &job->scan->err : NULL;
  if (err && job->err.code) postgres_hide(&job->err, err);
  if (job->kind == JOB_GET) job->get->is_stale = job->is_stale;
  if (job->kind == JOB_GET && (job->is_stale || job->err.code)) {
    job->get->value = NULL;
    job->get->version = 0;
  }
  if (job->kind == JOB_SCAN) job->scan->is_stale = job->is_stale;
  if (job->kind == JOB_GET) job->get->done(job->get);
  if (job->kind == JOB_SCAN) job->scan->done(job->scan);
  if (job->kind == JOB_RETURN) snapshot_free(job->snapshot);
  free(job);
}

static void fail_job(struct job *job, const struct gw_error *err) {
  job->err = *err;
  if (!job->err.code) error_set(&job->err, GW_ERROR_UNAVAILABLE, "the database does not answer");
  answer(job);
}

/* --- views --------------------------------------------------------------------------------------------------------- */

static bool send_one(struct link *link, const char *statement, const struct pq_params *params) {
  return pq_send(link->conn, statement, params);
}

static void expect(struct link *link, struct job *job) {
  push(&link->end, job);
  link->n_jobs++;
  job->sent_ms = link->used_ms = postgres_now_ms();
}

/* The connection is nobody's again. */
static void end_view(struct link *link) {
  struct job *job = job_new(JOB_SETUP, NULL);
  link->view = NULL;
  if (send_one(link, "end_view", NULL)) pq.PQpipelineSync(link->conn);
  expect(link, job);
}

static void lose_view(struct snapshot *s) {
  s->is_lost = true;
  if (s->link) s->link->view = NULL;
  s->link = NULL;
}

/* --- connections --------------------------------------------------------------------------------------------------- */

static void link_init(struct link *link, bool is_shared) { *link = (struct link){.is_shared = is_shared, .end = &link->first}; }

enum { RETRY_MS = 200, MOST_TRIES = 3 };

/* The connection is gone: what can be asked again waits for another one. */
static void link_close(struct reader *r, struct link *link) {
  struct job *jobs = link->first, *next;
  if (link->conn) pq.PQfinish(link->conn);
  if (link->view) lose_view(link->view);
  link->conn = NULL;
  link->state = LINK_CLOSED;
  link->retry_ms = postgres_now_ms() + RETRY_MS;
  link->first = NULL;
  link->end = &link->first;
  link->n_jobs = 0;
  for (struct job *job = jobs; job; job = next) {
    next = job->next;
    struct snapshot *s = job->snapshot;
    if (job->kind == JOB_SETUP || job->kind == JOB_RETURN) {
      answer(job);
    } else if (s && s->is_lost && !job->begins_view) {
      job->is_stale = true;
      answer(job);
    } else if (job->n_pages || ++job->tries == MOST_TRIES) {
      fail_job(job, &r->error);
    } else {
      if (s) s->is_lost = false; /* nothing was read of it */
      push(&r->waiting_end, job);
    }
  }
}

static void link_open(struct reader *r, struct link *link) {
  link->conn = pq_connect(r->store->url);
  link->state = LINK_CONNECTING;
  link->polling = PGRES_POLLING_WRITING;
  link->used_ms = postgres_now_ms();
  if (!link->conn || pq.PQstatus(link->conn) == CONNECTION_BAD) {
    r->error = (struct gw_error){0};
    pq_fail(link->conn, NULL, "reach", &r->error);
    link_close(r, link);
  }
}

static bool prepare(PGconn *conn) {
  enum { READ, WRITE, BOTH };
#define STATEMENT(NAME, SESSION, TEXT) \
  if (SESSION != WRITE && !pq.PQsendPrepare(conn, #NAME, TEXT, 0, NULL)) return false;
#include "runtime/state/postgres/statements.def"
#undef STATEMENT
  return true;
}

static void link_poll(struct reader *r, struct link *link) {
  link->polling = pq.PQconnectPoll(link->conn);
  bool is_open = link->polling == PGRES_POLLING_OK;
  if (!is_open && link->polling != PGRES_POLLING_FAILED) return;
  if (is_open && !pq.PQsetnonblocking(link->conn, 1) && pq_begin_session(link->conn, true) && prepare(link->conn) &&
      pq.PQpipelineSync(link->conn)) {
    link->state = LINK_READY;
    expect(link, job_new(JOB_SETUP, NULL));
    r->error = (struct gw_error){0};
    return;
  }
  r->error = (struct gw_error){0};
  pq_fail(link->conn, NULL, "reach", &r->error);
  link_close(r, link);
}

/* --- sending ------------------------------------------------------------------------------------------------------- */

static const struct store_reads *check_of(const struct job *job) {
  return job->kind == JOB_GET ? job->get->check : job->scan->check;
}

static bool wants_view(const struct job *job) {
  if (job->kind != JOB_GET) return true;
  return job->get->is_of_one_moment || job->get->check || job->snapshot->n_seen == MOST_REMEMBERED;
}

static void add_seen(struct pq_params *p, const struct snapshot *s) {
  pq_array_begin(p, PQ_BYTEA, s->n_seen);
  for (uint32_t i = 0; i < s->n_seen; i++) pq_item_bytes(p, s->seen[i].key, s->seen[i].size);
  pq_array_end(p);
  pq_array_begin(p, PQ_INT8, s->n_seen);
  for (uint32_t i = 0; i < s->n_seen; i++) pq_item_int8(p, (int64_t)s->seen[i].version);
  pq_array_end(p);
}

static bool is_compared(const struct store_key *k) { return k->is_read && !k->ahead; }

static bool send_check_of_keys(struct link *link, struct pq_params *p, const struct store_key *keys) {
  size_t n = 0;
  for (const struct store_key *k = keys; k; k = k->next) n += is_compared(k);
  pq_params_reset(p);
  pq_array_begin(p, PQ_BYTEA, n);
  for (const struct store_key *k = keys; k; k = k->next)
    if (is_compared(k)) pq_item_bytes(p, k->bytes, k->size);
  pq_array_end(p);
  pq_array_begin(p, PQ_INT8, n);
  for (const struct store_key *k = keys; k; k = k->next)
    if (is_compared(k)) pq_item_int8(p, (int64_t)k->version);
  pq_array_end(p);
  return send_one(link, "count_stale", p);
}

static bool send_check_of_range(struct link *link, struct pq_params *p, const struct store_range *range) {
  pq_params_reset(p);
  pq_add_bytes(p, range->first, range->first_size);
  pq_add_bytes(p, range->end, range->end_size);
  pq_add_int8(p, (int64_t)range->n + 1);
  return send_one(link, "sum_range", p);
}

/* What was read before, in another snapshot or in this one, when its view begins. */
static bool send_checks(struct link *link, struct pq_params *p, struct job *job) {
  const struct store_reads *check = check_of(job);
  struct snapshot *s = job->snapshot;
  bool ok = true;
  job->checks_seen = job->begins_view && s->n_seen;
  job->checks_keys = check && check->keys;
  job->range = check ? check->ranges : NULL;
  if (job->checks_seen) {
    pq_params_reset(p);
    add_seen(p, s);
    ok = send_one(link, "count_stale", p);
  }
  if (ok && job->checks_keys) ok = send_check_of_keys(link, p, check->keys);
  for (const struct store_range *range = job->range; ok && range; range = range->next) ok = send_check_of_range(link, p, range);
  return ok;
}

static bool send_get(struct link *link, struct pq_params *p, struct job *job) {
  const struct store_get *get = job->get;
  job->compares_seen = !job->snapshot->link && job->snapshot->n_seen;
  pq_params_reset(p);
  pq_add_bytes(p, get->key->bytes, get->key->size);
  pq_add_bool(p, get->is_for_version);
  if (job->compares_seen) add_seen(p, job->snapshot);
  return send_one(link, job->compares_seen ? "get_checked" : "get", p);
}

static bool send_page(struct link *link, struct pq_params *p, struct job *job) {
  pq_params_reset(p);
  pq_add_bytes(p, job->first, job->first_size);
  pq_add_bytes(p, job->end, job->end_size);
  pq_add_int8(p, job->n_pages ? NEXT_PAGE : FIRST_PAGE);
  pq_add_bool(p, job->scan->is_for_keys);
  return send_one(link, job->scan->is_backward ? "scan_backward" : "scan", p);
}

/* False: the connection is gone, and the job not on it. */
static void send_job(struct reader *r, struct link *link, struct job *job) {
  bool ok = true, is_first = !job->n_pages;
  struct snapshot *s = job->snapshot;
  job->is_failed = job->is_done = job->goes_on = false;
  job->begins_view = !link->is_shared && !s->link;
  if (job->begins_view) {
    s->link = link;
    link->view = s;
    atomic_store(&s->had_view, true);
    ok = send_one(link, "begin_view", NULL);
  }
  if (ok && is_first) ok = send_checks(link, &r->params, job);
  if (ok) ok = job->kind == JOB_GET ? send_get(link, &r->params, job) : send_page(link, &r->params, job);
  if (ok) ok = pq.PQpipelineSync(link->conn);
  expect(link, job);
  if (!ok) link_close(r, link);
}

/* --- receiving ----------------------------------------------------------------------------------------------------- */

static void remember(struct snapshot *s, const struct store_get *get) {
  if (s->link || s->n_seen == MOST_REMEMBERED || get->key->size > sizeof s->seen->key) return;
  if (!s->seen) s->seen = heap_new(MOST_REMEMBERED, sizeof *s->seen);
  struct remembered *m = &s->seen[s->n_seen++];
  memcpy(m->key, get->key->bytes, m->size = get->key->size);
  m->version = get->version;
}

static void take_get(struct job *job, PGresult *result) {
  struct store_get *get = job->get;
  struct snapshot *s = job->snapshot;
  if (s->result) pq.PQclear(s->result);
  s->result = result;
  bool is_there = pq.PQntuples(result) && !pq.PQgetisnull(result, 0, 0);
  get->version = is_there ? (uint64_t)pq_int8(result, 0, 0) : 0;
  get->is_large = is_there && pq_bool(result, 0, 1);
  bool has_value = is_there && !pq.PQgetisnull(result, 0, 2);
  get->value = has_value ? pq.PQgetvalue(result, 0, 2) : NULL;
  get->value_size = has_value ? (size_t)pq.PQgetlength(result, 0, 2) : 0;
  if (job->compares_seen) job->is_stale |= pq_int8(result, 0, 3) != 0;
  remember(s, get);
}

/* Behind the last key that was met. */
static void move_on(struct job *job, const uint8_t *key, size_t size) {
  if (size > BOUND - 1) size = BOUND - 1;
  if (job->scan->is_backward) {
    memcpy(job->end, key, job->end_size = size);
  } else {
    memcpy(job->first, key, size);
    job->first[size] = 0;
    job->first_size = size + 1;
  }
}

static bool take_row(struct job *job, const PGresult *result, int row) {
  struct store_scan *scan = job->scan;
  const uint8_t *key = (const uint8_t *)pq.PQgetvalue(result, row, 0);
  size_t size = (size_t)pq.PQgetlength(result, row, 0);
  bool has_value = !pq.PQgetisnull(result, row, 4);
  scan->version = (uint64_t)pq_int8(result, row, 1);
  scan->is_large = pq_bool(result, row, 2);
  move_on(job, key, size);
  return scan->each(scan, key + SPACE_SIZE, size - SPACE_SIZE, has_value ? pq.PQgetvalue(result, row, 4) : NULL,
                    (size_t)pq_int4(result, row, 3));
}

static void take_page(struct job *job, PGresult *result) {
  int n = pq.PQntuples(result);
  int64_t most = job->n_pages ? NEXT_PAGE : FIRST_PAGE;
  job->goes_on = n > 0;
  for (int row = 0; row < n && job->goes_on; row++) job->goes_on = take_row(job, result, row);
  if (job->goes_on) job->goes_on = pq_int8(result, 0, 5) == most || n < pq_int8(result, 0, 5);
  job->n_pages++;
  pq.PQclear(result);
}

static void take_range(struct job *job, const PGresult *result) {
  uint64_t sum = ((uint64_t)pq_int8(result, 0, 1) << 32) + (uint64_t)pq_int8(result, 0, 2);
  job->is_stale |= (uint64_t)pq_int8(result, 0, 0) != job->range->n || sum != job->range->sum;
  job->range = job->range->next;
}

/* One of the results that a job has; the job frees it. */
static void take_result(struct link *link, struct job *job, PGresult *result) {
  ExecStatusType status = pq.PQresultStatus(result);
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
    if (status == PGRES_FATAL_ERROR) pq_fail(link->conn, result, "read", &job->err);
    job->is_failed = true;
  } else if (job->kind == JOB_SETUP) {
  } else if (job->begins_view && status == PGRES_COMMAND_OK) {
  } else if (job->checks_seen || job->checks_keys) {
    job->is_stale |= pq_int8(result, 0, 0) != 0;
    if (job->checks_seen)
      job->checks_seen = false;
    else
      job->checks_keys = false;
  } else if (job->range) {
    take_range(job, result);
  } else if (!job->is_stale && job->kind == JOB_GET) {
    take_get(job, result);
    return;
  } else if (!job->is_stale) {
    take_page(job, result);
    return;
  }
  pq.PQclear(result);
}

/* All of the first job's results are there. */
static void finish_job(struct reader *r, struct link *link) {
  struct job *job = link->first;
  struct snapshot *s = job->snapshot;
  if (job->err.code == GW_ERROR_UNAVAILABLE || (job->kind == JOB_SETUP && job->is_failed)) {
    r->error = job->err;
    job->err = (struct gw_error){0};
    link_close(r, link);
    return;
  }
  link->first = job->next;
  if (!link->first) link->end = &link->first;
  link->n_jobs--;
  link->used_ms = postgres_now_ms();
  if (s && s->link && (job->is_failed || job->is_stale)) {
    lose_view(s);
    end_view(link);
  }
  if (job->goes_on && !job->is_failed)
    send_job(r, link, job);
  else
    answer(job);
}

/* False: the connection is gone. */
static bool link_receive(struct reader *r, struct link *link) {
  if (!pq.PQconsumeInput(link->conn)) return false;
  int n_ends = 0;
  while (link->state == LINK_READY && link->first && n_ends < 2 && !pq.PQisBusy(link->conn)) {
    PGresult *result = pq.PQgetResult(link->conn);
    n_ends = result ? 0 : n_ends + 1; /* one behind each statement's */
    if (!result) continue;
    if (pq.PQresultStatus(result) != PGRES_PIPELINE_SYNC) {
      take_result(link, link->first, result);
      continue;
    }
    pq.PQclear(result);
    finish_job(r, link);
  }
  return link->state != LINK_READY || pq.PQstatus(link->conn) != CONNECTION_BAD;
}

/* --- the thread ---------------------------------------------------------------------------------------------------- */

static struct link *find_shared(struct reader *r) {
  struct link *best = NULL;
  for (uint32_t i = 0; i < r->n_links; i++) {
    struct link *link = &r->links[i];
    if (!link->is_shared || link->state != LINK_READY || link->n_jobs >= MOST_SHARING) continue;
    if (!best || link->n_jobs < best->n_jobs) best = link;
  }
  return best;
}

static struct link *find_free(struct reader *r) {
  for (uint32_t i = 0; i < r->n_links; i++) {
    struct link *link = &r->links[i];
    if (!link->is_shared && link->state == LINK_READY && !link->view) return link;
  }
  return NULL;
}

static uint32_t count_links(const struct reader *r, enum link_state state) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < r->n_links; i++) n += r->links[i].state == state;
  return n;
}

static void steal(struct reader *r, const struct job *job) {
  uint64_t now = postgres_now_ms(), patience = count_links(r, LINK_READY) < r->n_links ? PATIENCE_MS : STEAL_MS;
  struct link *oldest = NULL;
  if (now - job->asked_ms < patience) return;
  for (uint32_t i = 0; i < r->n_links; i++) {
    struct link *link = &r->links[i];
    if (link->state != LINK_READY || !link->view || link->n_jobs || now - link->used_ms < STEAL_MS) continue;
    if (!oldest || link->used_ms < oldest->used_ms) oldest = link;
  }
  if (!oldest) return;
  lose_view(oldest->view);
  end_view(oldest);
}

/* Where nothing is known to be wrong, all is slow. */
static bool is_too_late(const struct reader *r, const struct job *job) {
  return postgres_now_ms() - job->asked_ms > (r->error.code ? WAIT_MS : DEADLINE_MS);
}

/* False: it waits for a connection. */
static bool try_job(struct reader *r, struct job *job) {
  struct snapshot *s = job->snapshot;
  if (job->kind == JOB_RETURN) {
    struct link *link = s->link;
    if (link) end_view(link);
    answer(job);
    return true;
  }
  if (s->is_lost) {
    job->is_stale = true;
    answer(job);
    return true;
  }
  struct link *link = s->link ? s->link : wants_view(job) ? find_free(r) : find_shared(r);
  if (link) send_job(r, link, job);
  if (link) return true;
  if (!is_too_late(r, job)) return false;
  fail_job(job, &r->error);
  return true;
}

static void send_waiting(struct reader *r) {
  struct job *jobs = r->waiting, *next;
  const struct job *first = NULL; /* that waits for a view */
  r->waiting = NULL;
  r->waiting_end = &r->waiting;
  for (struct job *job = jobs; job; job = next) {
    next = job->next;
    if (try_job(r, job)) continue;
    if (!first && wants_view(job)) first = job;
    push(&r->waiting_end, job);
  }
  if (first) steal(r, first);
}

static bool take_new(struct reader *r) {
  pthread_mutex_lock(&r->mutex);
  bool is_closing = r->is_closing;
  struct job *jobs = r->new_jobs;
  struct job **end = r->new_end;
  r->new_jobs = NULL;
  r->new_end = &r->new_jobs;
  pthread_mutex_unlock(&r->mutex);
  if (!jobs) return is_closing;
  *r->waiting_end = jobs;
  r->waiting_end = end;
  return is_closing;
}

static void keep_open(struct reader *r) {
  uint64_t now = postgres_now_ms();
  for (uint32_t i = 0; i < r->n_links; i++) {
    struct link *link = &r->links[i];
    bool may_connect = now >= link->retry_ms && count_links(r, LINK_CONNECTING) < MOST_CONNECTING;
    if (link->state == LINK_CLOSED && may_connect) link_open(r, link);
    bool is_late = link->state == LINK_CONNECTING ? now - link->used_ms > 2 * WAIT_MS
                                                  : link->first && now - link->first->sent_ms > ANSWER_MS;
    if (link->state == LINK_CLOSED || !is_late) continue;
    r->error = (struct gw_error){0};
    error_set(&r->error, GW_ERROR_UNAVAILABLE, "the database does not answer");
    link_close(r, link);
  }
}

static short events_of(struct link *link) {
  if (link->state == LINK_CONNECTING) return link->polling == PGRES_POLLING_READING ? POLLIN : POLLOUT;
  return (short)(pq.PQflush(link->conn) > 0 ? POLLIN | POLLOUT : POLLIN);
}

static void wait_and_receive(struct reader *r, struct pollfd *fds) {
  fds[0] = (struct pollfd){.fd = r->wake_fd, .events = POLLIN};
  for (uint32_t i = 0; i < r->n_links; i++) {
    struct link *link = &r->links[i];
    bool is_open = link->state != LINK_CLOSED;
    fds[1 + i] = (struct pollfd){.fd = is_open ? pq.PQsocket(link->conn) : -1, .events = is_open ? events_of(link) : 0};
  }
  if (poll(fds, 1 + r->n_links, r->waiting ? STEAL_MS : RETRY_MS) <= 0) return;
  uint64_t ignored;
  if (fds[0].revents && read(r->wake_fd, &ignored, sizeof ignored) < 0 && errno != EAGAIN) return;
  for (uint32_t i = 0; i < r->n_links; i++) {
    struct link *link = &r->links[i];
    if (!fds[1 + i].revents || link->state == LINK_CLOSED) continue;
    if (link->state == LINK_CONNECTING)
      link_poll(r, link);
    else if (!link_receive(r, link))
      link_close(r, link);
  }
}

static bool is_busy(const struct reader *r) {
  for (uint32_t i = 0; i < r->n_links; i++)
    for (const struct job *job = r->links[i].first; job; job = job->next)
      if (job->kind != JOB_SETUP) return true;
  return r->waiting;
}

static void *run(void *arg) {
  struct reader *r = arg;
  struct pollfd *fds = heap_new(1 + r->n_links, sizeof *fds);
  for (;;) {
    bool is_closing = take_new(r);
    keep_open(r);
    atomic_store(&r->store->store.is_away, r->error.code && !count_links(r, LINK_READY));
    send_waiting(r);
    if (is_closing && !is_busy(r)) break;
    wait_and_receive(r, fds);
  }
  free(fds);
  return NULL;
}

/* --- life ---------------------------------------------------------------------------------------------------------- */

static void reader_free(struct reader *r) {
  for (uint32_t i = 0; i < r->n_links; i++) link_close(r, &r->links[i]);
  if (r->wake_fd >= 0) close(r->wake_fd);
  pq_params_clear(&r->params);
  pthread_mutex_destroy(&r->mutex);
  free(r->links);
  free(r);
}

/* A quarter of the connections is shared. */
struct reader *postgres_reader_start(struct postgres *store, uint32_t n_connections, struct gw_error *err) {
  struct reader *r = heap_new(1, sizeof *r);
  r->store = store;
  r->n_links = n_connections;
  r->links = heap_new(n_connections, sizeof *r->links);
  r->new_end = &r->new_jobs;
  r->waiting_end = &r->waiting;
  for (uint32_t i = 0; i < n_connections; i++) link_init(&r->links[i], i < (n_connections + 3) / 4);
  pthread_mutex_init(&r->mutex, NULL);
  r->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  int rc = r->wake_fd < 0 ? errno : pthread_create(&r->thread, NULL, run, r);
  if (!rc) return r;
  error_set(err, GW_ERROR_STATE, "cannot start the thread of the state store: %s", strerror(rc));
  reader_free(r);
  return NULL;
}

void postgres_reader_stop(struct reader *r) {
  if (!r) return;
  pthread_mutex_lock(&r->mutex);
  r->is_closing = true;
  pthread_mutex_unlock(&r->mutex);
  wake(r);
  pthread_join(r->thread, NULL);
  reader_free(r);
}
