/* gasworks_state.h: requests for the `handle` interface, by runtime/host/handler. An invocation goes through steps, each of which
 * may yield or park:
 *
 *   fresh instance, transaction ─► start function ─► _initialize ─► handle ─► commit ─► reply
 *        ▲                                                                      │
 *        └────────────────────── what it had read has changed ──────────────────┘
 */
#include "base/error.h"
#include "runtime/embed/embed.h"
#include "runtime/host/abort.h"
#include "runtime/host/handler.h"
#include "runtime/instance.h"

#include <pthread.h>
#include <stdlib.h>

enum step { STEP_IDLE, STEP_BEGIN, STEP_START, STEP_INITIALIZE, STEP_HANDLE, STEP_COMMIT };

struct waker {
  void (*wake)(void *arg);
  void *arg;
};

struct gw_exchange {
  struct handler handler;
  struct handler_header *headers; /* the request's */
  char space[GW_STATE_MAX_SPACE + 1];
  struct gw_state *state; /* NULL: none */
  struct gw_instance *instance;
  bool only_reads;

  enum step step;
  struct gw_txn *txn; /* of the attempt */
  struct state_turns turns;
  uint32_t n_attempts;
  uint64_t gas, cpu_ns; /* of this attempt's steps that have ended */

  struct waker waker, next_waker; /* of the invocation under way, of those to come */
  pthread_mutex_t mutex;          /* guards what follows: the committer's thread writes it */
  pthread_cond_t committed;
  bool is_committed;
  enum state_outcome outcome;
  struct gw_error commit_error;
};

struct gw_exchange *gw_exchange_create(struct gw_error *err) {
  struct gw_exchange *exchange = calloc(1, sizeof *exchange);
  if (!exchange) {
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for an exchange");
    return NULL;
  }
  pthread_mutex_init(&exchange->mutex, NULL);
  pthread_cond_init(&exchange->committed, NULL);
  return exchange;
}

bool gw_exchange_resolve(void *exchange, const struct gw_import *import, struct gw_extern *out) {
  return handler_resolve(&((struct gw_exchange *)exchange)->handler, import, out) || abort_resolve(NULL, import, out);
}

struct gw_txn *gw_exchange_txn(struct gw_exchange *exchange) {
  return exchange->txn;
}

void gw_exchange_set_wake(struct gw_exchange *exchange, void (*wake)(void *arg), void *arg) {
  exchange->next_waker = (struct waker){wake, arg};
}

/* --- the transaction ---------------------------------------------------------------------------------------------- */

static void use_txn(struct gw_exchange *exchange, struct gw_txn *txn) {
  exchange->txn = txn;
  exchange->handler.txn = txn ? txn->txn : NULL;
}

static bool begin_txn(struct gw_exchange *exchange, struct gw_error *err) {
  if (!exchange->state) return true;
  struct gw_txn *txn = embed_txn_begin(exchange->state, exchange->space, err);
  if (!txn) return false;
  if (exchange->only_reads)
    state_txn_only_reads(txn->txn);
  else
    state_txn_take_turns(txn->txn, &exchange->turns);
  use_txn(exchange, txn);
  return true;
}

static void drop_txn(struct gw_exchange *exchange) {
  gw_txn_abort(exchange->txn);
  use_txn(exchange, NULL);
}

/* On the committer's thread, or on ours. */
static void on_commit(void *arg, enum state_outcome outcome, const struct gw_error *err) {
  struct gw_exchange *exchange = arg;
  pthread_mutex_lock(&exchange->mutex);
  exchange->outcome = outcome;
  if (outcome == STATE_FAILED) exchange->commit_error = *err;
  exchange->is_committed = true;
  pthread_cond_signal(&exchange->committed);
  if (exchange->waker.wake) exchange->waker.wake(exchange->waker.arg);
  pthread_mutex_unlock(&exchange->mutex); /* the exchange may be gone from here on */
}

static void start_commit(struct gw_exchange *exchange) {
  struct state_txn *txn = embed_txn_release(exchange->txn);
  exchange->is_committed = false;
  exchange->step = STEP_COMMIT;
  use_txn(exchange, NULL);
  state_txn_commit(txn, on_commit, exchange);
}

static bool is_committed(struct gw_exchange *exchange) {
  pthread_mutex_lock(&exchange->mutex);
  bool is = exchange->is_committed;
  pthread_mutex_unlock(&exchange->mutex);
  return is;
}

static void wait_for_commit(struct gw_exchange *exchange) {
  pthread_mutex_lock(&exchange->mutex);
  while (!exchange->is_committed) pthread_cond_wait(&exchange->committed, &exchange->mutex);
  pthread_mutex_unlock(&exchange->mutex);
}

/* --- the steps ---------------------------------------------------------------------------------------------------- */

/* NULL: it has no such export without parameters and results. */
static struct func_ref *find_plain(struct gw_instance *instance, const char *name) {
  struct gw_extern found;
  struct gw_extern_type type;
  bool is_plain = gw_instance_export(instance, name, strlen(name), &found) && gw_extern_type(&found, &type) &&
                  type.kind == GW_EXTERN_FUNC && !type.n_params && !type.n_results;
  return is_plain ? found.of.func : NULL;
}

/* NULL: the instance has none for this step. */
static struct func_ref *func_of(const struct gw_exchange *exchange, enum step step) {
  struct gw_instance *instance = exchange->instance;
  if (step == STEP_START) return instance->is_kept ? NULL : gw_instance_start(instance);
  return find_plain(instance, step == STEP_INITIALIZE ? "_initialize" : "handle");
}

/* The next one that the instance has a function for. */
static bool start_behind(struct gw_exchange *exchange, enum step step, struct gw_error *err) {
  struct gw_store *store = gw_instance_store(exchange->instance);
  struct func_ref *func = NULL;
  while (!func && step < STEP_HANDLE) func = func_of(exchange, ++step);
  if (!func) return error_set(err, GW_ERROR_INTERFACE, "the module exports no function handle without parameters and results");
  exchange->step = step;
  gw_store_owe(store, exchange->gas);
  gw_store_owe_cpu(store, exchange->cpu_ns);
  gw_store_start(store, func, NULL);
  return true;
}

static bool start_attempt(struct gw_exchange *exchange, struct gw_error *err) {
  handler_reset(&exchange->handler);
  exchange->n_attempts++;
  exchange->gas = gw_instance_gas(exchange->instance);
  exchange->cpu_ns = 0;
  if (!begin_txn(exchange, err) || !instance_reset(exchange->instance, err)) return false;
  gw_store_set_wake(gw_instance_store(exchange->instance), exchange->waker.wake, exchange->waker.arg);
  return start_behind(exchange, STEP_BEGIN, err);
}

static bool is_in_guest(const struct gw_exchange *exchange) {
  return exchange->step >= STEP_START && exchange->step <= STEP_HANDLE;
}

/* The request's strings may be gone from here on, and a start function of the next instance may look. */
static void end(struct gw_exchange *exchange) {
  struct handler *h = &exchange->handler;
  h->method = h->path = h->query = h->target = NULL;
  h->n_headers = h->body_size = 0;
  drop_txn(exchange);
  exchange->step = STEP_IDLE;
}

static enum gw_status fail(struct gw_exchange *exchange) {
  end(exchange);
  return GW_STATUS_FAILED;
}

/* What it had read has changed: from the beginning. */
static enum gw_status repeat(struct gw_exchange *exchange, struct gw_error *err) {
  drop_txn(exchange);
  exchange->step = STEP_BEGIN;
  if (exchange->n_attempts < GW_STATE_MOST_ATTEMPTS) return GW_STATUS_YIELDED;
  error_set(err, GW_ERROR_CONFLICT, "space %s met conflicting writes in each of %d attempts", exchange->space,
            GW_STATE_MOST_ATTEMPTS);
  return fail(exchange);
}

static enum gw_status run(struct gw_exchange *exchange, struct gw_error *err) {
  struct gw_store *store = gw_instance_store(exchange->instance);
  struct state_txn *txn = exchange->handler.txn;
  enum gw_status status = gw_store_resume(store, err);
  if (status == GW_STATUS_DONE) {
    exchange->gas = gw_store_gas_used(store);
    exchange->cpu_ns = gw_store_cpu_ns(store);
  }
  if (txn && status == GW_STATUS_YIELDED) state_txn_refresh(txn);
  if (txn && status == GW_STATUS_FAILED && state_txn_is_stale(txn) && err->trap != GW_TRAP_CANCELLED) {
    *err = (struct gw_error){0};
    state_txn_note_turns(txn);
    return repeat(exchange, err);
  }
  return status == GW_STATUS_FAILED ? fail(exchange) : status;
}

static enum gw_status end_commit(struct gw_exchange *exchange, struct gw_error *err) {
  if (!is_committed(exchange)) return GW_STATUS_PARKED;
  if (exchange->outcome == STATE_CONFLICT) return repeat(exchange, err);
  end(exchange);
  if (exchange->outcome == STATE_COMMITTED) return GW_STATUS_DONE;
  *err = exchange->commit_error;
  return GW_STATUS_FAILED;
}

/* The next step, behind one that is done. */
static enum gw_status go_on(struct gw_exchange *exchange, struct gw_error *err) {
  if (exchange->step != STEP_HANDLE) return start_behind(exchange, exchange->step, err) ? GW_STATUS_YIELDED : fail(exchange);
  if (exchange->txn) {
    start_commit(exchange);
    return end_commit(exchange, err);
  }
  end(exchange);
  return GW_STATUS_DONE;
}

static void show_reply(const struct gw_exchange *exchange, struct gw_reply *reply) {
  const struct handler *h = &exchange->handler;
  *reply = (struct gw_reply){
      .status = h->status,
      .headers = (const char *)h->reply_headers.bytes,
      .headers_size = h->reply_headers.size,
      .body = h->reply.bytes,
      .body_size = h->reply.size,
      .log = h->log.bytes,
      .log_size = h->log.size,
      .n_attempts = exchange->n_attempts,
  };
}

enum gw_status gw_exchange_resume(struct gw_exchange *exchange, struct gw_reply *reply, struct gw_error *err) {
  enum gw_status status = GW_STATUS_YIELDED;
  if (exchange->step == STEP_IDLE) {
    error_set(err, GW_ERROR_USAGE, "no invocation is under way in the exchange");
    return GW_STATUS_FAILED;
  }
  if (exchange->step == STEP_BEGIN)
    status = start_attempt(exchange, err) ? GW_STATUS_YIELDED : fail(exchange);
  else if (exchange->step == STEP_COMMIT)
    status = end_commit(exchange, err);
  else if ((status = run(exchange, err)) == GW_STATUS_DONE)
    status = go_on(exchange, err);
  if (status == GW_STATUS_DONE || status == GW_STATUS_FAILED) show_reply(exchange, reply);
  return status;
}

bool gw_exchange_is_committing(const struct gw_exchange *exchange) { return exchange->step == STEP_COMMIT; }

void gw_exchange_wait(struct gw_exchange *exchange) {
  if (exchange->step == STEP_COMMIT)
    wait_for_commit(exchange);
  else if (is_in_guest(exchange))
    gw_store_wait(gw_instance_store(exchange->instance));
}

void gw_exchange_cancel(struct gw_exchange *exchange) {
  if (exchange->step == STEP_COMMIT) wait_for_commit(exchange);
  if (is_in_guest(exchange)) gw_store_cancel(gw_instance_store(exchange->instance));
  end(exchange);
}

/* The instance may be gone already. */
void gw_exchange_destroy(struct gw_exchange *exchange) {
  if (!exchange) return;
  if (exchange->step == STEP_COMMIT) wait_for_commit(exchange);
  drop_txn(exchange);
  handler_clear(&exchange->handler);
  pthread_mutex_destroy(&exchange->mutex);
  pthread_cond_destroy(&exchange->committed);
  free(exchange->headers);
  free(exchange);
}

/* --- the request -------------------------------------------------------------------------------------------------- */

static bool take_request(struct gw_exchange *exchange, const struct gw_request *request, struct gw_error *err) {
  struct handler_header *headers = realloc(exchange->headers, (request->n_headers + 1) * sizeof *headers);
  if (!headers) return error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for %zu headers", request->n_headers);
  exchange->headers = headers;
  for (size_t i = 0; i < request->n_headers; i++)
    headers[i] = (struct handler_header){request->headers[i].name, request->headers[i].value};
  struct handler *h = &exchange->handler;
  h->method = request->method ? request->method : "GET";
  h->path = request->path ? request->path : "/";
  h->query = request->query ? request->query : "";
  h->target = request->target ? request->target : h->path;
  h->headers = headers;
  h->n_headers = request->n_headers;
  h->body = request->body;
  h->body_size = request->body_size;
  exchange->only_reads = request->only_reads;
  return true;
}

bool gw_exchange_start(struct gw_exchange *exchange, struct gw_instance *instance, struct gw_state *state, const char *space,
                       const struct gw_request *request, struct gw_error *err) {
  static const struct gw_request empty = {0};
  if (exchange->step != STEP_IDLE) return error_set(err, GW_ERROR_USAGE, "an invocation is under way in the exchange");
  if (state && !embed_check_space(space, err)) return false;
  if (!take_request(exchange, request ? request : &empty, err)) return false;
  memcpy(exchange->space, state ? space : "", state ? strlen(space) + 1 : 1);
  exchange->state = state;
  exchange->instance = instance;
  exchange->n_attempts = 0;
  exchange->turns = (struct state_turns){0};
  exchange->waker = exchange->next_waker;
  exchange->step = STEP_BEGIN;
  return true;
}

bool gw_exchange_run(struct gw_exchange *exchange, struct gw_instance *instance, struct gw_state *state, const char *space,
                     const struct gw_request *request, struct gw_reply *reply, struct gw_error *err) {
  *reply = (struct gw_reply){0};
  if (!gw_exchange_start(exchange, instance, state, space, request, err)) return false;
  enum gw_status status;
  do {
    gw_exchange_wait(exchange);
    status = gw_exchange_resume(exchange, reply, err);
  } while (status == GW_STATUS_YIELDED || status == GW_STATUS_PARKED);
  return status == GW_STATUS_DONE;
}
