/* State: stores, and transactions that JavaScript reads and writes. What may wait for the disk is a job on libuv's pool, one at a
 * time of each transaction: lib/state.js puts them in a row. Handlers' invocations (request.c) wait without a thread.
 *
 * A store is closed when the last of its users is over: calls and transactions. At the end of the environment that is when the
 * last owner lets go. */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

/* --- stores ------------------------------------------------------------------------------------------------------- */

struct state {
  size_t n_owners, n_users;
  struct gw_state *gw; /* NULL: it is closed, or was never open */
  bool is_closed;      /* it takes no more users */
  bool is_ending;      /* the environment is, and nobody waits for the close */
  napi_env env;
  napi_deferred closing; /* NULL: nobody waits for the end */
};

void state_retain(struct state *state) { state->n_owners++; }

static void on_end(void *state) { ((struct state *)state)->is_ending = true; }

void state_release(struct state *state) {
  if (!state || --state->n_owners) return;
  napi_remove_env_cleanup_hook(state->env, on_end, state);
  gw_state_close(state->gw);
  free(state);
}

static void finalize_state(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  state_release(data);
}

struct gw_state *state_use(struct state *state) {
  if (state->is_closed) return NULL;
  state->n_users++;
  state_retain(state);
  return state->gw;
}

/* --- jobs --------------------------------------------------------------------------------------------------------- */

struct pair {
  uint8_t *key, *value; /* value NULL: it was written by parts */
  size_t key_size, value_size;
};

enum op { OP_GET, OP_SET, OP_DELETE, OP_ADD, OP_SCAN, OP_COMMIT, OP_COUNT };

struct txn {
  size_t n_owners; /* its JavaScript object, and the job under way */
  struct state *state;
  struct gw_txn *gw; /* NULL: it is over */
  bool is_busy;
};

struct state_job {
  napi_async_work work;
  napi_deferred deferred;
  struct state *state;
  struct txn *txn;
  enum op op;
  struct bytes key, value;
  int64_t delta;
  bool is_backward;
  /* What came of it. */
  bool is_found, is_committed;
  struct pair *pairs;
  size_t n_pairs, room, limit;
  struct gw_error err;
  /* Of openings. */
  char *directory;
  struct gw_state_options options;
};

static napi_value queue_job(napi_env env, struct state_job *job, napi_async_execute_callback run,
                            napi_async_complete_callback done) {
  napi_value promise = NULL, name;
  if (!job->deferred) napi_create_promise(env, &job->deferred, &promise);
  napi_create_string_utf8(env, "gasworks", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(env, NULL, name, run, done, job, &job->work);
  napi_queue_async_work(env, job->work);
  return promise;
}

static void free_job(napi_env env, struct state_job *job) {
  for (size_t i = 0; i < job->n_pairs; i++) free(job->pairs[i].key);
  free(job->pairs);
  free(job->key.data);
  free(job->value.data);
  free(job->directory);
  napi_delete_async_work(env, job->work);
  free(job);
}

static void settle_job(napi_env env, napi_status status, struct state_job *job, napi_value value) {
  if (status == napi_ok && !job->err.code)
    napi_resolve_deferred(env, job->deferred, value);
  else
    napi_reject_deferred(env, job->deferred, convert_error(env, &job->err, 0));
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

static void run_open(napi_env env, void *data) {
  (void)env;
  struct state_job *job = data;
  job->state->gw = gw_state_open(job->directory, &job->options, &job->err);
}

static void end_open(napi_env env, napi_status status, void *data) {
  struct state_job *job = data;
  napi_value external = NULL;
  if (status != napi_ok || job->err.code || napi_create_external(env, job->state, finalize_state, NULL, &external))
    state_release(job->state);
  settle_job(env, status, job, external);
  free_job(env, job);
}

/* directory, bytes (0: as many as unless told), whether commits wait for the disk */
napi_value js_open_state(napi_env env, napi_callback_info info) {
  napi_value v[3];
  size_t n = 3;
  double max_bytes = 0;
  bool syncs = true;
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  napi_get_value_double(env, v[1], &max_bytes);
  napi_get_value_bool(env, v[2], &syncs);
  struct state_job *job = allocate(sizeof *job);
  job->directory = convert_string(env, v[0]);
  job->options = (struct gw_state_options){.max_bytes = (uint64_t)max_bytes, .survives_kill = !syncs};
  job->state = allocate(sizeof *job->state);
  job->state->n_owners = 1;
  job->state->env = env;
  napi_add_env_cleanup_hook(env, on_end, job->state);
  return queue_job(env, job, run_open, end_open);
}

static void run_close(napi_env env, void *data) {
  (void)env;
  struct state_job *job = data;
  gw_state_close(job->state->gw);
  job->state->gw = NULL;
}

static void end_close(napi_env env, napi_status status, void *data) {
  struct state_job *job = data;
  napi_value undefined;
  napi_get_undefined(env, &undefined);
  settle_job(env, status, job, undefined);
  state_release(job->state);
  free_job(env, job);
}

static void close_now(struct state *state) {
  struct state_job *job = allocate(sizeof *job);
  job->state = state;
  job->deferred = state->closing;
  state->closing = NULL;
  state_retain(state);
  queue_job(state->env, job, run_close, end_close);
}

void state_unuse(struct state *state, bool is_ending) {
  if (!--state->n_users && state->closing && !is_ending && !state->is_ending) close_now(state);
  state_release(state);
}

/* state, which is not closed yet: a promise of its end. */
napi_value js_close_state(napi_env env, napi_callback_info info) {
  napi_value v[1], promise = NULL;
  size_t n = 1;
  void *data;
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  if (napi_get_value_external(env, v[0], &data)) return NULL;
  struct state *state = data;
  state->is_closed = true;
  napi_create_promise(env, &state->closing, &promise);
  if (!state->n_users) close_now(state);
  return promise;
}

/* --- transactions ------------------------------------------------------------------------------------------------- */

static void end_txn(struct txn *txn) {
  gw_txn_abort(txn->gw);
  txn->gw = NULL;
  if (txn->state) state_unuse(txn->state, false);
  txn->state = NULL;
}

static void release_txn(struct txn *txn) {
  if (--txn->n_owners) return;
  end_txn(txn);
  free(txn);
}

static void finalize_txn(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  release_txn(data);
}

/* state, space */
napi_value js_begin_txn(napi_env env, napi_callback_info info) {
  napi_value v[2], external = NULL;
  size_t n = 2;
  void *data;
  struct gw_error err = {0};
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  if (napi_get_value_external(env, v[0], &data)) return NULL;
  if (!state_use(data)) {
    napi_throw_error(env, "ERR_GASWORKS_CLOSED", "the state is closed");
    return NULL;
  }
  struct txn *txn = allocate(sizeof *txn);
  txn->state = data;
  txn->n_owners = 1;
  char *space = convert_string(env, v[1]);
  txn->gw = gw_txn_begin(txn->state->gw, space, &err);
  free(space);
  if (!txn->gw) {
    napi_throw(env, convert_error(env, &err, 0));
    release_txn(txn);
  } else if (napi_create_external(env, txn, finalize_txn, NULL, &external)) {
    release_txn(txn);
  }
  return external;
}

static bool no_memory(struct state_job *job, const char *message) {
  job->err = (struct gw_error){.code = GW_ERROR_OUT_OF_MEMORY, .offset = GW_NO_OFFSET, .func = GW_NO_FUNC};
  strncpy(job->err.message, message, sizeof job->err.message - 1);
  return false;
}

/* False: no more are wanted, or there is no memory for them. */
static bool note_pair(void *env, const void *key, size_t key_size, const void *value, size_t value_size) {
  struct state_job *job = env;
  if (job->n_pairs == job->room) {
    size_t room = job->room ? 2 * job->room : 16;
    struct pair *pairs = realloc(job->pairs, room * sizeof *pairs);
    if (!pairs) return no_memory(job, "no memory for what the scan found");
    job->pairs = pairs;
    job->room = room;
  }
  size_t n = value ? value_size : 0;
  uint8_t *copy = malloc(key_size + n + 1);
  if (!copy) return no_memory(job, "no memory for what the scan found");
  memcpy(copy, key, key_size);
  if (n) memcpy(copy + key_size, value, n);
  job->pairs[job->n_pairs++] = (struct pair){copy, value ? copy + key_size : NULL, key_size, value_size};
  return job->n_pairs != job->limit;
}

static void scan(struct state_job *job) {
  struct gw_range range = {job->key.data, job->value.data, job->key.size, job->value.size, job->is_backward, {0}};
  gw_txn_scan(job->txn->gw, &range, note_pair, job, &job->err);
}

static void get(struct state_job *job) {
  const void *value;
  size_t size;
  job->is_found = gw_txn_get(job->txn->gw, job->key.data, job->key.size, &value, &size, &job->err) > 0;
  if (!job->is_found) return;
  free(job->value.data);
  job->value = (struct bytes){malloc(size + 1), size};
  if (!job->value.data)
    no_memory(job, "no memory for the value");
  else if (size)
    memcpy(job->value.data, value, size);
}

static void commit(struct state_job *job) {
  job->is_committed = gw_txn_commit(job->txn->gw, &job->err) == GW_COMMITTED;
  job->txn->gw = NULL;
}

static void run_op(napi_env env, void *data) {
  (void)env;
  struct state_job *job = data;
  struct gw_txn *txn = job->txn->gw;
  const struct bytes *key = &job->key, *value = &job->value;
  switch (job->op) {
  case OP_GET: get(job); break;
  case OP_SET: gw_txn_set(txn, key->data, key->size, value->data, value->size, &job->err); break;
  case OP_DELETE: gw_txn_delete(txn, key->data, key->size, &job->err); break;
  case OP_ADD: gw_txn_add(txn, key->data, key->size, job->delta, &job->err); break;
  case OP_SCAN: scan(job); break;
  case OP_COMMIT: commit(job); break;
  case OP_COUNT: break;
  }
}

static napi_value pairs_of(napi_env env, const struct state_job *job) {
  napi_value list;
  napi_create_array_with_length(env, job->n_pairs, &list);
  for (size_t i = 0; i < job->n_pairs; i++) {
    const struct pair *pair = &job->pairs[i];
    napi_handle_scope scope;
    napi_value row, key, value = NULL;
    napi_open_handle_scope(env, &scope);
    napi_create_array_with_length(env, 2, &row);
    napi_create_buffer_copy(env, pair->key_size, pair->key, NULL, &key);
    if (pair->value)
      napi_create_buffer_copy(env, pair->value_size, pair->value, NULL, &value);
    else
      napi_get_null(env, &value);
    napi_set_element(env, row, 0, key);
    napi_set_element(env, row, 1, value);
    napi_set_element(env, list, (uint32_t)i, row);
    napi_close_handle_scope(env, scope);
  }
  return list;
}

/* The value, pairs, whether it was committed; undefined for others. */
static napi_value result_of(napi_env env, const struct state_job *job) {
  napi_value value = NULL;
  if (job->op == OP_SCAN) return pairs_of(env, job);
  if (job->op == OP_COMMIT)
    napi_get_boolean(env, job->is_committed, &value);
  else if (job->op == OP_GET && job->is_found)
    napi_create_buffer_copy(env, job->value.size, job->value.data, NULL, &value);
  else
    napi_get_undefined(env, &value);
  return value;
}

static void end_op(napi_env env, napi_status status, void *data) {
  struct state_job *job = data;
  struct txn *txn = job->txn;
  txn->is_busy = false;
  settle_job(env, status, job, job->err.code ? NULL : result_of(env, job));
  if (!txn->gw) end_txn(txn);
  release_txn(txn);
  free_job(env, job);
}

static bool take_bytes(napi_env env, napi_value value, struct bytes *out) {
  bool ok;
  const void *from = convert_view(env, value, &out->size, &ok);
  out->data = allocate(out->size + 1);
  if (out->size) memcpy(out->data, from, out->size);
  return ok;
}

/* The transaction with nothing under way, or NULL with an exception. */
static struct txn *free_txn(napi_env env, napi_value value) {
  void *data = NULL;
  napi_get_value_external(env, value, &data);
  struct txn *txn = data;
  if (txn && txn->gw && !txn->is_busy) return txn;
  napi_throw_error(env, "ERR_GASWORKS_USAGE", "the transaction is over");
  return NULL;
}

/* txn, op, key, value or end (bytes), delta (BigInt), whether it is backward, pairs at most (0: all) */
napi_value js_txn_op(napi_env env, napi_callback_info info) {
  napi_value v[7];
  size_t n = 7;
  uint32_t op = OP_COUNT, limit = 0;
  bool is_lossless;
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  struct txn *txn = free_txn(env, v[0]);
  if (!txn) return NULL;
  struct state_job *job = allocate(sizeof *job);
  napi_get_value_uint32(env, v[1], &op);
  napi_get_value_bigint_int64(env, v[4], &job->delta, &is_lossless);
  napi_get_value_bool(env, v[5], &job->is_backward);
  napi_get_value_uint32(env, v[6], &limit);
  take_bytes(env, v[2], &job->key);
  take_bytes(env, v[3], &job->value);
  job->op = (enum op)op;
  job->limit = limit;
  job->txn = txn;
  txn->n_owners++;
  txn->is_busy = true;
  return queue_job(env, job, run_op, end_op);
}

/* txn: nothing happened */
napi_value js_abort_txn(napi_env env, napi_callback_info info) {
  napi_value v[1];
  size_t n = 1;
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  struct txn *txn = free_txn(env, v[0]);
  if (txn) end_txn(txn);
  return NULL;
}
