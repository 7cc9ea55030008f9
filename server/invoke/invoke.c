/* An invocation, from request to reply:
 *
 *   begin ─► (LOADING) ─► attempt: slot, transaction, (LOOKING) ─► RUNNING: slices ─► COMMITTING ─► reply
 *                            ▲                                                 │ conflict
 *                            └───────────────── DELAYED ◄──────────────────────┘
 *
 * The first slice runs at once, unless the function has used its share; who gets the next one is told in fair.c. One turn of the
 * loop runs one slice and then looks at the sockets, so however many endless functions are queued, a request of another function
 * waits for one slice. The reply leaves only after its transaction is durable; a trap aborts the transaction.
 *
 * A host function that waits for an answer parks its invocation: PARKED, in no queue, until the answer's message puts it back
 * among those that wait for a slice. Who answers may be another thread, and late: the invocation may be cancelled by then.
 *
 * What trapped in compiled code runs again for the judge (runtime/debug/judge.h), in slices like any other, with the same request
 * on the same snapshot; what the first run read of clocks and random numbers was recorded, and the second gets the same.
 *
 * Every invocation ends in `finish`: with a reply, with an error or trap, refused before it ran, or cancelled.
 *
 * Ownership: the invocation belongs to its exchange, which stays allocated until that is over. Whatever replies comes
 * last in each path here, because the exchange may be gone or be the next one when that returns. */
#include "server/invoke/invoke.h"

#include "base/error.h"
#include "base/heap.h"
#include "server/function/crash.h"
#include "server/function/pool.h"
#include "server/function/registry.h"
#include "server/function/tally.h"
#include "server/http/credentials.h"
#include "server/http/reply.h"
#include "server/invoke/admission.h"
#include "server/invoke/backtrace.h"
#include "server/invoke/fill.h"
#include "server/invoke/flame.h"
#include "server/loop/log_store.h"
#include "server/loop/share.h"
#include "server/server.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ATTEMPTS = 16, MOST_AHEAD = 4, MAX_RECORD = 1 << 20, GAS_PER_NS = 10, SHORT_NS = 100000 };

static void attempt(struct invocation *inv);
static void start_run(struct invocation *inv);
static void run(struct invocation *inv);
static void conflicted(struct invocation *inv);
static void find(struct invocation *inv);
static void on_retry(uv_timer_t *timer);
static void on_run(uv_idle_t *idle);
static void wait_for_slice(struct invocation *inv);
static void on_wake(void *arg);
static void on_loaded(struct waiter *waiter);

/* --- ends -------------------------------------------------------------------------------------------------------- */

static struct loop *loop_of(const struct invocation *inv) { return inv->exchange->loop; }

/* Gives the slot back; what is in it stays readable until the connection goes on. */
static struct slot *release_slot(struct invocation *inv) {
  struct slot *slot = inv->slot;
  inv->slot = NULL;
  if (!slot) return NULL;
  gw_store_set_record(slot->store, NULL);
  gw_store_set_wake(slot->store, NULL, NULL);
  if (inv->flame) precise_set_watch(slot->store, NULL, NULL);
  pool_return(slot);
  return slot;
}

static void drop_slot(struct invocation *inv) {
  struct slot *slot = inv->slot;
  inv->slot = NULL;
  if (!slot) return;
  slot->pool->n_out--;
  pool_destroy(loop_of(inv), slot);
}

static void abort_txn(struct invocation *inv) {
  if (inv->txn) state_txn_abort(inv->txn);
  inv->txn = NULL;
}

/* Of the present run; 0 where there is none. */
static uint64_t gas_used(const struct invocation *inv) {
  return inv->slot ? inv->gas_before + gw_store_gas_used(inv->slot->store) : inv->left_gas;
}

/* Of all runs: what the store has counts those before, too (start_behind). */
static uint64_t cpu_used(const struct invocation *inv) { return inv->slot ? gw_store_cpu_ns(inv->slot->store) : 0; }

static const char *trace_of(const struct invocation *inv) { return inv->exchange->trail.context.id; }

/* To the function's own log, and to the server's. */
static void write_log(struct invocation *inv, const char *kind, const struct buffer *text) {
  struct loop *loop = loop_of(inv);
  const struct function *f = inv->slot->function;
  char id[INVOCATION_ID_SIZE];
  struct log_event event = {.request = invoke_id(inv, id), .version = f->version, .kind = kind, .trace = trace_of(inv)};
  if (!text->size || f->is_loose) return;
  if (!function_is_deleted(f)) log_store_add(loop->logs, f->name, &event, text->bytes, text->size);
  log_function(loop->log, &inv->pool->lines, loop_now(loop), f->name, text->bytes, text->size);
}

static void write_logs(struct invocation *inv) {
  struct slot *slot = inv->slot;
  if (!slot) return;
  write_log(inv, "log", &slot->handler.log);
  if (slot->wasi) write_log(inv, "log", wasi_stderr(slot->wasi));
}

/* No longer among those that run. */
static void uncount(struct invocation *inv) {
  inv->state = INVOCATION_NONE;
  admission_end(inv);
}

static bool has_backtrace(const struct invocation *inv, const struct gw_error *err) {
  return err->code == GW_ERROR_TRAP && inv->slot && inv->slot->tier != GW_TIER_FAST;
}

/* The calls that led to a trap, where the precise tier met it, NUL-terminated; and a word of it in the log. */
static void report_trap(struct invocation *inv, const struct gw_error *err, struct buffer *backtrace) {
  struct buffer text = {0};
  if (!has_backtrace(inv, err)) return;
  buffer_format(&text, "trap: %s\n", err->message);
  buffer_append(&text, backtrace->bytes, backtrace->size);
  write_log(inv, "trap", &text);
  buffer_append(backtrace, "", 1);
  buffer_clear(&text);
}

/* The version that ran, or would have; NULL: no function. */
static const struct function *function_of(const struct invocation *inv) {
  if (inv->slot) return inv->slot->function;
  return inv->left_function ? inv->left_function : inv->pool ? inv->pool->function : NULL;
}

static struct tally_part *tally_of(const struct invocation *inv) {
  const struct function *f = function_of(inv);
  return f ? tally_part(f->fate->tally, loop_of(inv)) : NULL;
}

/* NULL: no function's reply is the answer. */
static const struct handler *reply_of(const struct invocation *inv, const struct ending *ending) {
  if (ending->kind == ENDING_REPEATED) return &inv->repeated;
  if (ending->kind != ENDING_REPLIED) return NULL;
  return inv->slot ? &inv->slot->handler : &inv->left;
}

/* 0: nobody hears one. */
static uint32_t status_of(const struct invocation *inv, const struct ending *ending) {
  const struct handler *reply = reply_of(inv, ending);
  if (reply) return reply->status;
  if (ending->problem) return ending->problem->status;
  return ending->err ? (uint32_t)gw_error_http_status(ending->err) : 0;
}

/* For the function and its owner. */
static void count_of_function(struct invocation *inv, const struct ending *ending, uint64_t gas, bool has_trapped) {
  struct tally_part *t = tally_of(inv);
  if (!t || inv->flame) return; /* many times slower than any other */
  uint32_t status = status_of(inv, ending);
  bool is_error = status >= 500 || status == 402, is_cancelled = ending->kind == ENDING_CANCELLED;
  tally_add(&t->requests, 1);
  tally_add(&t->gas, gas);
  tally_add_latency(t, (uv_hrtime() - inv->began + 999) / 1000);
  if (is_error) tally_add(&t->errors, 1);
  if (status >= 400 && !is_error) tally_add(&t->client_errors, 1);
  if (has_trapped) tally_add(&t->traps, 1);
  if (ending->kind == ENDING_REPEATED) tally_add(&t->repeated, 1);
  if (is_cancelled) tally_add(&t->cancelled, 1);
  if (is_cancelled) tally_add(&t->cancelled_gas, gas);
}

/* While its slot is there. */
static void count_end(struct invocation *inv, const struct ending *ending) {
  struct metrics *m = &loop_of(inv)->metrics;
  uint64_t gas = gas_used(inv);
  bool is_cancelled = ending->kind == ENDING_CANCELLED;
  bool has_trapped = !is_cancelled && ending->err && ending->err->code == GW_ERROR_TRAP;
  metrics_add(&m->gas, gas);
  if (is_cancelled && inv->slot) metrics_add(&m->traps[GW_TRAP_CANCELLED], 1);
  if (is_cancelled) metrics_add(&m->cancelled, 1);
  if (is_cancelled) metrics_add(&m->cancelled_gas, gas);
  if (has_trapped) metrics_add(&m->traps[ending->err->trap], 1);
  count_of_function(inv, ending, gas, has_trapped);
}

/* Where it trapped names functions and source files: to its owner, and to others only when the function says so. */
static bool hides_place(const struct invocation *inv, const struct ending *ending) {
  struct exchange *x = inv->exchange;
  if (!ending->err || ending->err->code != GW_ERROR_TRAP || !inv->slot || inv->slot->function->is_loose) return false;
  return !inv->slot->function->config.shows_backtraces && !credentials_allow(x, x->request.address, SCOPE_READ);
}

/* A guest that is stopped in the middle has nothing that could be reset. */
static struct slot *leave_slot(struct invocation *inv, const struct ending *ending) {
  if (ending->kind != ENDING_CANCELLED) return release_slot(inv);
  drop_slot(inv);
  return NULL;
}

/* That replies have unless the function gives its own; NULL: none. */
static const struct buffer *headers_of(const struct invocation *inv) {
  const struct function *f = function_of(inv);
  return f && f->settings ? &f->settings->headers : NULL;
}

/* --- receipts */

static enum leaf_outcome outcome_of(const struct ending *ending) {
  switch (ending->kind) {
  case ENDING_REPEATED: return OUTCOME_REPEATED;
  case ENDING_REPLIED: return OUTCOME_REPLIED;
  case ENDING_CANCELLED: return OUTCOME_CANCELLED;
  case ENDING_FAILED:
  case ENDING_REFUSED: break;
  }
  return ending->err && ending->err->code == GW_ERROR_TRAP ? OUTCOME_TRAPPED : OUTCOME_FAILED;
}

/* In `out`, unless there is a slot that has it. */
static const char *full_name(const struct invocation *inv, char out[FUNCTION_MAX_FULL_NAME + 1]) {
  if (inv->slot) return inv->slot->function->name;
  function_split_address(inv->exchange->request.address, out);
  return out;
}

/* What is small is hashed here, what is not has been. The facts borrow `name`. */
static struct draft_facts facts_of(struct invocation *inv, const struct ending *ending, char name[FUNCTION_MAX_FULL_NAME + 1]) {
  const struct handler *reply = ending->kind == ENDING_REPEATED ? &inv->repeated : inv->slot ? &inv->slot->handler : NULL;
  struct draft_facts facts = {.outcome = outcome_of(ending),
                              .function = full_name(inv, name),
                              .slot = inv->slot,
                              .record = ending->kind == ENDING_REPEATED ? NULL : &inv->record,
                              .gas = ending->kind == ENDING_REPEATED ? 0 : gas_used(inv),
                              .cpu_ns = ending->kind == ENDING_REPEATED ? 0 : cpu_used(inv)};
  if (!inv->draft.has_request) draft_hash_request(&inv->draft, &inv->exchange->request);
  if (inv->flame) facts.outcome = OUTCOME_CANCELLED; /* its reply is nobody's */
  if (facts.outcome == OUTCOME_TRAPPED) facts.trap = ending->err->trap;
  if (facts.outcome != OUTCOME_REPLIED && facts.outcome != OUTCOME_REPEATED) return facts;
  facts.status = reply->status;
  facts.sent = reply->reply_headers.size + reply->reply.size;
  if (!inv->draft.has_reply) draft_hash_reply(&inv->draft, reply);
  if (facts.outcome == OUTCOME_REPLIED && inv->has_failed) facts.outcome = OUTCOME_FAILED;
  return facts;
}

#define NO_ROOM "there is no room for receipts: the server's disk is full"
#define NO_DISK "no receipts can be written until the server starts again: its disk has failed"

#define NO_SYNC "no receipts can be synced: the system has no file descriptors or memory left for it"

static const struct gw_error no_room = {.code = GW_ERROR_UNAVAILABLE, .message = NO_ROOM};
static const struct gw_error no_disk = {.code = GW_ERROR_UNAVAILABLE, .message = NO_DISK};
static const struct gw_error no_sync = {.code = GW_ERROR_UNAVAILABLE, .message = NO_SYNC};

/* Why there is no receipt to be had. */
static const struct gw_error *why_no_receipt(struct receipt_log *log) {
  return receipt_log_has_failed(log) ? &no_disk : receipt_log_is_late(log) ? &no_sync : &no_room;
}

/* What only programs see costs something to find out. */
static struct asked asked_of(const struct invocation *inv) {
  const struct request *r = &inv->exchange->request;
  struct asked asked = {.max_reply = inv->limits->max_reply};
  if (inv->slot->function->interface != INTERFACE_CGI) return asked;
  asked.port = r->peer ? r->port : loop_of(inv)->port;
  asked.peer = r->peer ? r->peer : inv->exchange->ops->peer(inv->exchange);
  return asked;
}

static void keep_asked(struct invocation *inv) {
  if (!loop_of(inv)->inputs || !inv->slot) return;
  struct asked asked = asked_of(inv);
  keep_inputs(inv, &asked);
}

/* Before anything of the invocation goes. No reply leaves without its receipt. */
static void write_receipt(struct invocation *inv, struct ending *ending) {
  struct draft *d = &inv->draft;
  char name[FUNCTION_MAX_FULL_NAME + 1];
  if (!d->is_due && ending->kind != ENDING_REPEATED) return;
  if (d->log && !d->is_made) {
    struct draft_facts facts = facts_of(inv, ending, name);
    if (!draft_finish(d, &facts, inv->txn)) *ending = (struct ending){.kind = ENDING_FAILED, .err = why_no_receipt(d->log)};
  }
  if (d->is_made) draft_print(d, inv->exchange->receipt);
  struct metrics *m = &loop_of(inv)->metrics;
  metrics_add(d->is_made ? &m->receipts : &m->unreceipted, 1);
  if (d->is_made && ending->kind != ENDING_REPEATED) keep_asked(inv);
}

/* {"gas":N,"status":N,"trap":"...","folded":"..."} */
static void answer_flame(struct exchange *x, const struct ending *ending, const struct handler *reply, struct flame *flame,
                         uint64_t gas) {
  struct buffer folded = {0};
  cJSON *json = cJSON_CreateObject();
  flame_print(flame, gas, &folded);
  buffer_append(&folded, "", 1);
  cJSON_AddNumberToObject(json, "gas", (double)gas);
  if (reply) cJSON_AddNumberToObject(json, "status", reply->status);
  if (ending->err) cJSON_AddStringToObject(json, "trap", ending->err->message);
  cJSON_AddStringToObject(json, "folded", (const char *)folded.bytes);
  buffer_clear(&folded);
  reply_json(x, 200, json);
}

/* What the next one will take: what those before took, the last ones most. */
static void learn_work(struct pool *pool, uint64_t work) {
  enum { OF_EIGHT = 8 };
  pool->burned = pool->burned ? pool->burned - pool->burned / OF_EIGHT + work / OF_EIGHT : work;
}

/* Its tenant: what the receipt says, and no longer what was charged on the way. */
static void bill(struct invocation *inv) {
  if (inv->burned && inv->pool && !inv->flame) learn_work(inv->pool, inv->burned);
  const struct draft *d = &inv->draft;
  struct usage_sum sum;
  if (!inv->account) return;
  if (d->is_made) sum = usage_of_leaf(&d->leaf);
  account_bill(inv->account, inv->charged, d->is_made ? &sum : NULL);
  inv->charged = 0;
}

/* By who took that over. */
static void word(struct exchange *x, const struct ending *ending, const struct handler *reply, const struct slot *slot,
                 const uint64_t *gas, const char *backtrace, bool is_hidden) {
  static const uint64_t none = 0;
  struct outcome outcome = {.reply = reply,
                            .err = ending->err,
                            .problem = ending->problem,
                            .slot = slot,
                            .gas = ending->kind == ENDING_REPEATED ? &none : gas,
                            .backtrace = backtrace,
                            .is_hidden = is_hidden};
  x->word(x, &outcome);
}

/* By no function's reply. */
static void answer_without(struct exchange *x, const struct ending *ending, const uint64_t *gas, const char *backtrace,
                           bool is_hidden) {
  if (ending->problem)
    reply_problem(x, ending->problem);
  else if (ending->err && is_hidden)
    reply_trap(x, ending->err, x->request.address, gas);
  else if (ending->err)
    reply_error(x, ending->err, x->request.address, gas, backtrace);
  else
    x->ops->leave(x);
}

/* Who has it, whatever its address leads to by now. */
static void note_version(struct invocation *inv) {
  const struct function *f = function_of(inv);
  inv->version = f ? f->version : 0;
  inv->is_gone = !f || function_is_deleted(f);
}

static const char *const outcome_words[] = {[OUTCOME_REPLIED] = "replied",
                                            [OUTCOME_TRAPPED] = "trapped",
                                            [OUTCOME_FAILED] = "failed",
                                            [OUTCOME_CANCELLED] = "cancelled",
                                            [OUTCOME_REPEATED] = "repeated"};

/* For the access log and the span, while its slot is there. */
static void note_trail(struct invocation *inv, const struct ending *ending, bool has_gas) {
  struct trail *trail = &inv->exchange->trail;
  const struct slot *slot = inv->slot;
  if (!trail->is_kept) return;
  bool is_trap = ending->err && ending->err->code == GW_ERROR_TRAP;
  trail->version = inv->version;
  trail->is_cold = inv->is_cold;
  trail->attempts = inv->attempt;
  trail->has_gas = has_gas;
  trail->gas = ending->kind == ENDING_REPEATED ? 0 : gas_used(inv);
  trail->tier = slot ? function_tier_name(slot->tier) : NULL;
  trail->outcome = ending->kind == ENDING_REFUSED ? "refused" : outcome_words[outcome_of(ending)];
  trail->trap = is_trap ? gw_trap_message(ending->err->trap) : NULL;
  trail_leave(trail, TRAIL_EXECUTE);
}

/* With its receipt written, and on disk where it waited for that. Nothing of it may be used behind the answer. */
static void leave(struct invocation *inv, struct ending ending) {
  struct exchange *x = inv->exchange;
  struct buffer backtrace = inv->backtrace;
  uint64_t gas = gas_used(inv);
  inv->backtrace = (struct buffer){0};
  bool is_hidden = hides_place(inv, &ending);
  note_version(inv);
  bool is_cancelled = ending.kind == ENDING_CANCELLED, has_gas = (inv->slot || inv->left_function) && !is_cancelled;
  note_trail(inv, &ending, has_gas);
  const struct handler *reply = reply_of(inv, &ending);
  const struct buffer *headers = headers_of(inv);
  struct function *left = inv->left_function;
  if (is_cancelled && inv->slot) gw_store_cancel(inv->slot->store);
  abort_txn(inv);
  write_logs(inv);
  if (ending.kind == ENDING_FAILED) report_trap(inv, ending.err, &backtrace);
  count_end(inv, &ending);
  judge_drop(&inv->judge);
  struct flame *flame = inv->flame;
  struct handler left_reply = inv->left;
  if (reply == &inv->left) reply = &left_reply;
  inv->left = (struct handler){0};
  inv->left_function = NULL;
  inv->left_gas = 0;
  const struct slot *slot = leave_slot(inv, &ending);
  const char *shown = is_hidden ? NULL : (const char *)backtrace.bytes;
  inv->flame = NULL;
  uncount(inv);
  if (flame && has_gas && ending.kind != ENDING_REFUSED)
    answer_flame(x, &ending, reply, flame, gas);
  else if (x->word)
    word(x, &ending, reply, slot, has_gas ? &gas : NULL, shown, is_hidden);
  else if (reply)
    reply_function(x, reply, headers, ending.kind == ENDING_REPLIED ? gas : 0);
  else
    answer_without(x, &ending, has_gas ? &gas : NULL, shown, is_hidden);
  flame_destroy(flame);
  handler_clear(&left_reply);
  function_release(left);
  buffer_clear(&backtrace);
}

/* On the log's thread. */
static void on_synced(struct receipt_waiter *waiter, bool is_durable) {
  struct invocation *inv = (struct invocation *)((char *)waiter - offsetof(struct invocation, synced));
  inv->is_durable = is_durable;
  loop_post(loop_of(inv), &inv->synced_message);
}

static void deliver_synced(struct message *message) {
  struct invocation *inv = (struct invocation *)((char *)message - offsetof(struct invocation, synced_message));
  trail_leave(&inv->exchange->trail, TRAIL_SYNC);
  if (!inv->is_durable) {
    *inv->exchange->receipt = 0;
    inv->ending = (struct ending){.kind = ENDING_FAILED, .err = why_no_receipt(inv->draft.log)};
  }
  leave(inv, inv->ending);
}

/* What was stored with state is on disk with that. A server that stops makes a last checkpoint anyway. */
static bool waits_for_sync(const struct invocation *inv, const struct ending *ending) {
  const struct server_options *o = loop_of(inv)->options;
  return o->receipts_sync && inv->draft.is_made && !(inv->draft.is_stored && o->sync) && ending->kind != ENDING_CANCELLED;
}

/* The reply goes out of its slot, which the next request can have while this one waits. */
static void give_slot_back(struct invocation *inv) {
  struct handler *h = &inv->slot->handler;
  write_logs(inv);
  inv->left_gas = gas_used(inv);
  inv->left_function = function_retain(inv->slot->function);
  inv->left = (struct handler){.status = h->status, .reply_headers = h->reply_headers, .reply = h->reply};
  h->reply_headers = h->reply = (struct buffer){0};
  release_slot(inv);
}

static void wait_for_sync(struct invocation *inv, const struct ending *ending) {
  abort_txn(inv);
  trail_leave(&inv->exchange->trail, TRAIL_EXECUTE);
  trail_enter(&inv->exchange->trail, TRAIL_SYNC);
  bool needs_slot = inv->flame || inv->exchange->word;
  if (ending->kind == ENDING_REPLIED && !needs_slot) give_slot_back(inv);
  inv->ending = *ending;
  if (ending->err) inv->ending_error = *ending->err;
  if (ending->err) inv->ending.err = &inv->ending_error;
  inv->state = INVOCATION_SYNCING;
  inv->synced.done = on_synced;
  inv->synced_message = (struct message){.deliver = deliver_synced};
  receipt_log_await(inv->draft.log, &inv->synced);
}

/* The one exit: every invocation that invoke_begin was called for comes through here, once. All of it is known here, as long as
 * its slot is there: function, tier, gas and how it ended. */
static void finish(struct invocation *inv, struct ending ending) {
  write_receipt(inv, &ending);
  bill(inv);
  if (waits_for_sync(inv, &ending))
    wait_for_sync(inv, &ending);
  else
    leave(inv, ending);
}

static void end_with_error(struct invocation *inv, const struct gw_error *err) {
  finish(inv, (struct ending){.kind = ENDING_FAILED, .err = err});
}

/* Debug information may be long to read, so a worker thread does it. Nobody resumes the store meanwhile. */
static void backtrace_work(uv_work_t *work) {
  struct invocation *inv = work->data;
  const struct function *before = crash_enter(inv->slot->function);
  backtrace_append(inv->slot->store, &inv->backtrace);
  if (!inv->is_verdict) backtrace_complete(inv->slot->store, &inv->error);
  crash_enter(before);
}

static void backtrace_done(uv_work_t *work, int status) {
  struct invocation *inv = work->data;
  (void)status;
  end_with_error(inv, &inv->error);
}

static void end_with_trap(struct invocation *inv, const struct gw_error *err) {
  if (!has_backtrace(inv, err)) {
    end_with_error(inv, err);
    return;
  }
  inv->error = *err;
  inv->state = INVOCATION_REPORTING;
  inv->work.data = inv;
  uv_queue_work(&loop_of(inv)->uv, &inv->work, backtrace_work, backtrace_done);
}

static void refuse(struct invocation *inv, const struct problem *problem) {
  finish(inv, (struct ending){.kind = ENDING_REFUSED, .problem = problem});
}

static void end_with_reply(struct invocation *inv) { finish(inv, (struct ending){.kind = ENDING_REPLIED}); }

static struct gw_error unavailable(const char *detail) {
  struct gw_error err = {0};
  error_set(&err, GW_ERROR_UNAVAILABLE, "%s", detail);
  return err;
}

static uint32_t deadline_of(const struct invocation *inv) {
  const struct function *f = inv->pool ? inv->pool->function : NULL;
  return f && f->settings ? f->settings->deadline_ms : 0;
}

static void end_late(struct invocation *inv) {
  char detail[128];
  snprintf(detail, sizeof detail, "the function did not answer within its deadline of %u ms", deadline_of(inv));
  finish(inv, (struct ending){.kind = ENDING_CANCELLED,
                              .problem = PROBLEM(.status = 504, .title = "deadline exceeded", .detail = detail,
                                                 .function = inv->exchange->request.address)});
}

static void end_cancelled(struct invocation *inv, bool with_reply) {
  struct gw_error err = unavailable("the server is shutting down");
  if (inv->is_late && with_reply) {
    end_late(inv);
    return;
  }
  finish(inv, (struct ending){.kind = ENDING_CANCELLED, .err = with_reply ? &err : NULL});
}

/* --- repeated requests ------------------------------------------------------------------------------------------- */

/* With what it wrote. The function has replied. */
static bool record_answer(struct invocation *inv, struct gw_error *err) {
  if (!inv->repeat.has_key || !inv->txn) return true;
  inv->repeat_ms = repeat_now_ms();
  return repeat_record(&inv->repeat, inv->txn, inv->slot->function->name, &inv->slot->handler, inv->repeat_ms, err);
}

/* The store has looked for an answer: 1 found, 0 not found, -1 failed. */
static void looked(struct invocation *inv, int found, const void *value, size_t size, const struct gw_error *err) {
  struct repeat_limits limits = repeat_limits(loop_of(inv)->options);
  enum repeat_outcome outcome = REPEAT_NEW;
  if (found > 0) outcome = repeat_read(&inv->repeat, value, size, repeat_now_ms(), &limits, &inv->repeated);
  if (found < 0 && state_txn_is_stale(inv->txn)) {
    state_txn_note_turns(inv->txn);
    abort_txn(inv);
    conflicted(inv);
  } else if (found < 0) {
    end_with_error(inv, err);
  } else if (outcome == REPEAT_SAME) {
    finish(inv, (struct ending){.kind = ENDING_REPEATED});
  } else if (outcome == REPEAT_OTHER) {
    refuse(inv, PROBLEM(.status = 422, .title = "Idempotency-Key was used already",
                        .detail = "another request had this Idempotency-Key", .function = inv->exchange->request.address));
  } else {
    run(inv);
  }
}

/* Before anything runs: whether the request was answered before. */
static void look_for_answer(struct invocation *inv) {
  struct gw_error err = {0};
  const void *value = NULL;
  size_t size = 0;
  int found = repeat_look(&inv->repeat, inv->txn, inv->slot->function->name, &value, &size, &err);
  if (found == STATE_PENDING) {
    inv->state = INVOCATION_LOOKING;
    state_txn_await(inv->txn, on_wake, inv);
  } else {
    looked(inv, found, value, size, &err);
  }
}

/* The answer to that has come. */
static void look_again(struct invocation *inv) {
  struct gw_error err = {0};
  const void *value;
  size_t size;
  int found = state_txn_answer(inv->txn, &value, &size, &err);
  inv->state = INVOCATION_RUNNING;
  crash_enter(inv->slot->function);
  looked(inv, found, value, size, &err);
  crash_enter(NULL);
}

/* --- commit ------------------------------------------------------------------------------------------------------ */

static void delay(struct invocation *inv, enum invocation_state state, struct waiter_queue *queue) {
  struct loop *loop = loop_of(inv);
  inv->state = state;
  fair_queue_push(queue, &inv->waiter);
  if (!uv_is_active((uv_handle_t *)&loop->retry)) uv_timer_start(&loop->retry, on_retry, 1, 1);
}

/* What it read has changed: once more, a little later. */
static void conflicted(struct invocation *inv) {
  struct loop *loop = loop_of(inv);
  struct gw_error err = {0};
  metrics_add(&loop->metrics.conflicts, 1);
  tally_add(&tally_of(inv)->conflicts, 1);
  if (++inv->attempt == MAX_ATTEMPTS || loop->is_stopping) {
    error_set(&err, GW_ERROR_CONFLICT, "function %s met conflicting writes in each of %u attempts",
              inv->exchange->request.address, inv->attempt);
    end_with_error(inv, &err);
    return;
  }
  inv->cpu_before = gw_store_cpu_ns(inv->slot->store);
  release_slot(inv);
  uint32_t spread = 1u << (inv->attempt < 6 ? inv->attempt : 6);
  inv->retry_at = loop_now(loop) + loop_random(loop) % spread;
  delay(inv, INVOCATION_DELAYED, &loop->delayed);
}

static void committed(struct invocation *inv) {
  trail_leave(&inv->exchange->trail, TRAIL_COMMIT);
  draft_settle(&inv->draft, inv->outcome == STATE_COMMITTED);
  if (inv->outcome == STATE_COMMITTED) {
    metrics_add(&loop_of(inv)->metrics.commits, 1);
    if (inv->repeat.has_key) repeat_recorded(inv->pool, &inv->slot->handler);
    end_with_reply(inv);
    return;
  }
  if (inv->is_cancelled) {
    inv->error = unavailable("the server is shutting down");
    end_with_error(inv, &inv->error);
    return;
  }
  if (inv->outcome == STATE_FAILED) {
    if (inv->error.code != GW_ERROR_LIMIT && inv->error.code != GW_ERROR_UNAVAILABLE)
      error_set(&inv->error, GW_ERROR_STATE, "the state of function %s cannot be stored", inv->exchange->request.address);
    end_with_error(inv, &inv->error);
    return;
  }
  conflicted(inv);
}

static void deliver_commit(struct message *message) {
  committed((struct invocation *)((char *)message - offsetof(struct invocation, message)));
}

/* On the committer's thread, or, for a read-only transaction, on the loop's own within state_txn_commit. */
static void on_commit(void *arg, enum state_outcome outcome, const struct gw_error *err) {
  struct invocation *inv = arg;
  struct loop *loop = loop_of(inv);
  inv->outcome = outcome;
  if (outcome == STATE_FAILED && err) inv->error = *err;
  if (pthread_equal(loop->self, pthread_self()))
    inv->has_outcome = true;
  else
    loop_post(loop, &inv->message);
}

static void commit(struct invocation *inv) {
  struct state_txn *txn = inv->txn;
  char name[FUNCTION_MAX_FULL_NAME + 1];
  if (inv->draft.log) {
    struct draft_facts facts = facts_of(inv, &(struct ending){.kind = ENDING_REPLIED}, name);
    draft_prepare(&inv->draft, &facts, txn);
  }
  keep_reads(inv);
  trail_leave(&inv->exchange->trail, TRAIL_EXECUTE);
  trail_enter(&inv->exchange->trail, TRAIL_COMMIT);
  inv->txn = NULL;
  inv->slot->handler.txn = NULL;
  inv->has_outcome = false;
  inv->error = (struct gw_error){0};
  inv->state = INVOCATION_COMMITTING;
  state_txn_commit(txn, on_commit, inv);
  if (inv->has_outcome) committed(inv);
}

/* --- running ----------------------------------------------------------------------------------------------------- */

/* Nothing it wrote counts, and its receipt says so. */
static void fail_with_reply(struct invocation *inv) {
  inv->has_failed = true;
  draft_keep_read(&inv->draft, inv->txn);
  keep_reads(inv);
  abort_txn(inv);
}

/* What it read may never have been: nothing of it counts, and no reply may tell of it. */
static bool has_run_ahead(const struct invocation *inv) { return inv->txn && state_txn_has_run_ahead(inv->txn); }

/* Once more, on nothing but what is durable where that is wanted. */
static void run_again(struct invocation *inv, bool may_run_ahead) {
  inv->may_run_ahead &= may_run_ahead;
  state_txn_note_turns(inv->txn);
  abort_txn(inv);
  conflicted(inv);
}

/* The guest has returned: takes its reply. */
static bool take_reply(struct invocation *inv, struct gw_error *err) {
  bool has_failed = false;
  if (!fill_take_reply(inv->slot, inv->limits->max_reply, &has_failed, err)) return false;
  if (has_failed && has_run_ahead(inv)) return false;
  if (has_failed) fail_with_reply(inv);
  if (inv->flame) abort_txn(inv);
  return true;
}

/* What ran before is done, now or once: this phase, or what it does behind a checkpoint, gets what gas and CPU time are left. */
static void start_behind(struct invocation *inv, uint64_t gas_before, enum phase phase) {
  struct slot *slot = inv->slot;
  uint64_t limit = function_gas_limit(slot->function, inv->limits);
  if (!limit) limit = INT64_MAX;
  if (inv->flame && limit > FLAME_GAS) limit = FLAME_GAS;
  struct func_ref *funcs[] = {slot->start, slot->initialize, slot->entry}, *func = funcs[phase];
  inv->phase = phase;
  inv->gas_before = gas_before < limit ? gas_before : limit - 1;
  gw_store_set_gas_limit(slot->store, limit - inv->gas_before);
  gw_store_owe(slot->store, gas_before - inv->gas_before);
  gw_store_owe_cpu(slot->store, inv->cpu_before);
  if (!checkpoint_is_kept(slot->store)) {
    gw_store_start(slot->store, func, slot->values);
    return;
  }
  metrics_add(&loop_of(inv)->metrics.checkpointed, 1);
  checkpoint_start(slot->store);
}

/* What a fresh slot begins with, or what comes behind `phase`. */
static enum phase first_phase(const struct slot *slot) {
  if (slot->start && !slot->is_kept) return PHASE_START;
  return slot->initialize && !slot->is_initialized ? PHASE_INITIALIZE : PHASE_ENTRY;
}

static enum phase next_phase(const struct slot *slot, enum phase phase) {
  return phase == PHASE_START && slot->initialize ? PHASE_INITIALIZE : PHASE_ENTRY;
}

static bool keep_phase(struct invocation *inv, uint64_t gas, struct gw_error *err) {
  struct slot *slot = inv->slot;
  if (inv->pool->never_keeps || inv->flame) return true;
  if (inv->phase == PHASE_INITIALIZE) return slot_keep(slot, gas, err);
  if (!slot_keep_start(slot, gas, err)) return false;
  if (loop_of(inv)->options->checkpoints) slot_want_checkpoint(slot);
  return true;
}

/* The start function or _initialize has ended. */
static bool end_phase(struct invocation *inv, struct gw_error *err) {
  uint64_t gas = gw_store_gas_used(inv->slot->store);
  inv->cpu_before = gw_store_cpu_ns(inv->slot->store);
  if (!keep_phase(inv, gas, err)) return false;
  start_behind(inv, inv->gas_before + gas, next_phase(inv->slot, inv->phase));
  return true;
}

/* --- the judge --------------------------------------------------------------------------------------------------- */

static void judge_in(struct invocation *inv, struct slot *precise, const struct gw_error *err) {
  release_slot(inv);
  if (inv->txn) state_txn_rewind(inv->txn);
  inv->slot = precise;
  metrics_add(&loop_of(inv)->metrics.judgements, 1);
  judge_begin(&inv->judge, &inv->record, inv->limits->cpu_limit_ns, err);
  inv->cpu_before = 0;
  start_run(inv);
}

static void make_judge_work(uv_work_t *work) {
  struct invocation *inv = work->data;
  inv->precise = pool_make(loop_of(inv), inv->slot->function, GW_TIER_PRECISE);
}

static void make_judge_done(uv_work_t *work, int status) {
  struct invocation *inv = work->data;
  struct gw_error err = inv->error;
  (void)status;
  if (inv->precise) pool_adopt(inv->pool, inv->precise);
  if (inv->is_cancelled) {
    if (inv->precise) pool_return(inv->precise);
    end_with_error(inv, &err);
  } else if (inv->precise) {
    inv->state = INVOCATION_RUNNING;
    judge_in(inv, inv->precise, &err);
    crash_enter(NULL);
  } else {
    end_with_trap(inv, &err);
  }
}

/* Compiled code trapped: once more, in the precise tier. False: that is not to be done, or cannot be. */
static bool judge(struct invocation *inv, const struct gw_error *err) {
  struct slot *slot = inv->slot;
  struct judged run = {.tier = slot->tier, .module = slot->function->module, .record = &inv->record};
  run.seconds = (double)gw_store_cpu_ns(slot->store) * 1e-9;
  run.most_seconds = judge_most_seconds(function_cpu_limit(inv->slot->function, inv->limits));
  struct gw_error ignored = {0};
  if (!judge_wants(&run, err)) return false;
  if (pool_is_long_to_make(loop_of(inv), slot->function)) {
    inv->error = *err;
    inv->state = INVOCATION_REPORTING;
    inv->work.data = inv;
    uv_queue_work(&loop_of(inv)->uv, &inv->work, make_judge_work, make_judge_done);
    return true;
  }
  struct slot *precise = pool_take_precise(inv->pool, slot->function, &ignored);
  if (precise) judge_in(inv, precise, err);
  return precise != NULL;
}

/* The second run is over, with `err` unless it succeeded: makes `err` the verdict. */
static void conclude(struct invocation *inv, struct gw_error *err) {
  char whom[128];
  snprintf(whom, sizeof whom, " about function %.64s", inv->exchange->request.address);
  enum judge_verdict verdict = judge_end(&inv->judge, gw_store_cpu_ns(inv->slot->store), whom, err);
  inv->is_verdict = verdict == JUDGE_DISAGREED;
  if (inv->is_verdict) metrics_add(&loop_of(inv)->metrics.disagreements, 1);
  if (verdict == JUDGE_LATE)
    end_with_error(inv, err); /* the store's backtrace is another one's */
  else
    end_with_trap(inv, err);
}

/* A judgement that takes too long is over. */
static enum gw_status keep_limit(struct invocation *inv, enum gw_status status, struct gw_error *err) {
  struct gw_store *store = inv->slot->store;
  if (status != GW_STATUS_YIELDED || !judge_is_late(&inv->judge, gw_store_cpu_ns(store))) return status;
  gw_store_cancel(store);
  *err = (struct gw_error){.code = GW_ERROR_TRAP, .trap = GW_TRAP_CANCELLED};
  return GW_STATUS_FAILED;
}

static void wait_for_slice(struct invocation *inv) {
  struct loop *loop = loop_of(inv);
  fair_push(&loop->fair, &inv->caller->flow, &inv->waiter);
  if (!uv_is_active((uv_handle_t *)&loop->run)) uv_idle_start(&loop->run, on_run);
}

/* --- parked -------------------------------------------------------------------------------------------------------- */

static void deliver_wake(struct message *message) {
  struct invocation *inv = (struct invocation *)((char *)message - offsetof(struct invocation, woken));
  inv->is_woken = false;
  bool was_looking = inv->state == INVOCATION_LOOKING;
  if (inv->is_cancelled) {
    if (was_looking) release_slot(inv); /* nothing ran in it */
    end_cancelled(inv, inv->wants_reply);
    return;
  }
  if (was_looking) {
    look_again(inv);
    return;
  }
  inv->state = INVOCATION_RUNNING;
  wait_for_slice(inv);
}

/* On any thread. */
static void on_wake(void *arg) {
  struct invocation *inv = arg;
  inv->is_woken = true;
  loop_post(loop_of(inv), &inv->woken);
}

/* Whether it may end at once. Else its message is under way on this loop, and must find it. */
static bool cancel_parked(struct invocation *inv, bool with_reply) {
  gw_store_cancel(inv->slot->store);
  inv->is_cancelled = inv->is_woken;
  inv->wants_reply = with_reply;
  return !inv->is_woken;
}

/* --- slices -------------------------------------------------------------------------------------------------------- */

/* What has been used since the last time; it is kept when the run is given up. */
static void charge(struct invocation *inv) {
  uint64_t gas = gas_used(inv), more = gas > inv->metered ? gas - inv->metered : 0;
  if (!inv->account) return;
  inv->metered = gas;
  inv->charged += more;
  account_charge(inv->account, more);
}

static void end_spent(struct invocation *inv) {
  finish(inv, (struct ending){.kind = ENDING_CANCELLED,
                              .problem = PROBLEM(.status = 402, .title = "balance used up",
                                                 .detail = "the tenant's prepaid balance was used up while the function ran",
                                                 .function = inv->exchange->request.address)});
}

/* Until its tenant may use gas again, and it has a place. */
static void throttle(struct invocation *inv) {
  admission_pause(inv);
  delay(inv, INVOCATION_THROTTLED, &loop_of(inv)->throttled);
}

/* Behind a slice that was not the last: what its tenant has left says whether and when there is a next one. What the judge runs
 * is not the tenant's wish. */
static void go_on(struct invocation *inv) {
  bool is_metered = inv->account && !judge_is_under_way(&inv->judge);
  if (is_metered && account_is_spent(inv->account))
    end_spent(inv);
  else if ((is_metered && account_wait_ns(inv->account)) || !admission_go_on(inv))
    throttle(inv);
  else
    wait_for_slice(inv);
}

/* With all that the loop did between the slice before and this one, where it had to wait for nothing. */
static void count_rate(struct loop *loop, uint64_t work, uint64_t from) {
  uint64_t now = uv_hrtime();
  rate_add(&loop->rate, work, now - from, now);
  loop->busy_from = uv_is_active((uv_handle_t *)&loop->run) ? now : 0;
}

/* A slice, paid by the function's flow: by its gas, or by its time where that is more. */
static enum gw_status resume(struct invocation *inv, struct gw_error *err) {
  struct loop *loop = loop_of(inv);
  struct slot *slot = inv->slot;
  uint64_t before = gw_store_gas_used(slot->store), ns_before = gw_store_cpu_ns(slot->store);
  uint64_t from = loop->busy_from ? loop->busy_from : uv_hrtime();
  guest_clock_turn(&slot->clock);
  enum gw_status status = gw_store_resume(slot->store, err);
  uint64_t used = gw_store_gas_used(slot->store) - before, ns = gw_store_cpu_ns(slot->store) - ns_before;
  uint64_t by_gas = used * slot_slowness(slot), by_time = ns * GAS_PER_NS;
  uint64_t work = by_gas > by_time ? by_gas : by_time;
  fair_charge(&loop->fair, &inv->caller->flow, work);
  count_rate(loop, work, from);
  admission_count(inv, work);
  function_count(slot->function, slot->tier, used, ns);
  slot_count_memory(slot);
  charge(inv);
  metrics_add(&loop->metrics.cpu_ns, ns);
  return status;
}

/* What was never deployed has state as long as it runs. */
static void drop_state(struct invocation *inv) {
  draft_keep_read(&inv->draft, inv->txn);
  abort_txn(inv);
  end_with_reply(inv);
}

static void complete(struct invocation *inv) {
  if (inv->txn && inv->slot->function->is_loose)
    drop_state(inv);
  else if (inv->txn)
    commit(inv);
  else
    end_with_reply(inv);
}

static void hash_reply_work(uv_work_t *work) {
  struct invocation *inv = work->data;
  draft_hash_reply(&inv->draft, &inv->slot->handler);
}

static void hash_reply_done(uv_work_t *work, int status) {
  (void)status;
  complete(work->data);
}

static void hash_in_worker(struct invocation *inv, uv_work_cb work, uv_after_work_cb done) {
  inv->state = INVOCATION_HASHING;
  inv->work.data = inv;
  uv_queue_work(&loop_of(inv)->uv, &inv->work, work, done);
}

/* It has replied. */
static void end_run(struct invocation *inv) {
  if (inv->draft.log && inv->slot->handler.reply.size > DRAFT_LARGE)
    hash_in_worker(inv, hash_reply_work, hash_reply_done);
  else
    complete(inv);
}

static void run_slice(struct invocation *inv) {
  struct gw_error err = {0};
  trail_leave(&inv->exchange->trail, TRAIL_QUEUE);
  trail_enter(&inv->exchange->trail, TRAIL_EXECUTE);
  crash_enter(inv->slot->function);
  enum gw_status status = resume(inv, &err);
  while (status == GW_STATUS_DONE && inv->phase != PHASE_ENTRY) {
    bool was_short = gw_store_cpu_ns(inv->slot->store) < SHORT_NS;
    if (!end_phase(inv, &err))
      status = GW_STATUS_FAILED;
    else
      status = was_short ? resume(inv, &err) : GW_STATUS_YIELDED;
  }
  status = keep_limit(inv, status, &err);
  if (status == GW_STATUS_YIELDED) {
    if (inv->txn) state_txn_refresh(inv->txn);
    go_on(inv);
  } else if (status == GW_STATUS_PARKED) {
    inv->state = INVOCATION_PARKED;
  } else if (inv->txn && state_txn_is_stale(inv->txn)) {
    run_again(inv, true);
  } else if (inv->txn && state_txn_is_away(inv->txn)) {
    struct gw_error away = unavailable("the function's state cannot be reached just now");
    end_with_error(inv, &away);
  } else if (judge_is_under_way(&inv->judge)) {
    conclude(inv, &err);
  } else if (status == GW_STATUS_FAILED || !take_reply(inv, &err)) {
    if (has_run_ahead(inv))
      run_again(inv, false);
    else if (!judge(inv, &err))
      end_with_trap(inv, &err);
  } else if (!record_answer(inv, &err)) {
    if (has_run_ahead(inv))
      run_again(inv, false);
    else
      end_with_error(inv, &err);
  } else {
    end_run(inv);
  }
}

/* Gives the slot the request. False when it does not fit. */
static bool fill_slot(struct invocation *inv, struct gw_error *err) {
  struct exchange *x = inv->exchange;
  struct asked asked = asked_of(inv);
  return fill_slot_with(inv->slot, &x->request, &asked, inv->txn, err);
}

/* From the beginning, in inv->slot. */
static void start_run(struct invocation *inv) {
  struct loop *loop = loop_of(inv);
  struct slot *slot = inv->slot;
  struct gw_error err = {0};
  inv->gas_before = inv->metered = 0;
  inv->draft.has_reply = inv->draft.has_read = inv->has_failed = false;
  if (!fill_slot(inv, &err)) {
    end_with_error(inv, &err);
    return;
  }
  fair_charge(&loop->fair, &inv->caller->flow, slot->instance_gas);
  gw_store_set_record(slot->store, &inv->record);
  gw_store_set_pace(slot->store, inv->flame ? NULL : &inv->pool->pace[slot->tier]);
  gw_store_set_wake(slot->store, on_wake, inv);
  start_behind(inv, slot_gas_before(slot), first_phase(slot));
  if (fair_may_begin(&loop->fair, &inv->caller->flow)) {
    run_slice(inv);
  } else {
    trail_enter(&inv->exchange->trail, TRAIL_QUEUE);
    wait_for_slice(inv);
  }
}

static void hash_request_work(uv_work_t *work) {
  struct invocation *inv = work->data;
  draft_hash_request(&inv->draft, &inv->exchange->request);
}

static void hash_request_done(uv_work_t *work, int status) {
  struct invocation *inv = work->data;
  (void)status;
  if (inv->is_cancelled) {
    release_slot(inv); /* nothing ran in it */
    end_cancelled(inv, inv->wants_reply);
    return;
  }
  inv->state = INVOCATION_RUNNING;
  crash_enter(inv->slot->function);
  start_run(inv);
  crash_enter(NULL);
}

static void run(struct invocation *inv) {
  metrics_add(&loop_of(inv)->metrics.invocations[inv->slot->tier], 1);
  inv->draft.is_due = true;
  if (inv->draft.log && !inv->draft.has_request && inv->exchange->request.body.size > DRAFT_LARGE)
    hash_in_worker(inv, hash_request_work, hash_request_done);
  else
    start_run(inv);
}

/* Its request had to wait for more than a free instance. */
static void count_cold(struct invocation *inv) {
  if (inv->is_cold) return;
  inv->is_cold = true;
  metrics_add(&loop_of(inv)->metrics.cold, 1);
  tally_add(&tally_of(inv)->cold, 1);
}

/* What watches has an instance of its own, which serves nobody else. */
static struct slot *take_slot(struct invocation *inv, struct gw_error *err) {
  struct flame *flame = inv->flame;
  if (!flame) return pool_take(inv->pool, err);
  struct slot *slot = slot_create(flame_engine(flame), flame_function(flame), GW_TIER_PRECISE, loop_of(inv)->limits, err);
  if (!slot) return NULL;
  slot->pool = inv->pool;
  inv->pool->n_out++;
  flame_begin(flame, slot->store);
  return slot;
}

static uint64_t state_limit(const struct invocation *inv) {
  struct loop *loop = loop_of(inv);
  uint64_t own = loop->options->max_function_state;
  uint64_t tenants = inv->account ? account_state_limit(loop->usage, inv->account, function_space(inv->slot->function)) : 0;
  return settings_limit(tenants, own);
}

/* The module is there: one run. */
static void attempt(struct invocation *inv) {
  struct loop *loop = loop_of(inv);
  struct gw_error err = {0};
  if (!inv->flame && !pool_is_warm(inv->pool)) count_cold(inv);
  if (!inv->flame && pool_wait(inv->pool, &inv->waiter, on_loaded)) {
    trail_enter(&inv->exchange->trail, TRAIL_LOAD);
    inv->state = INVOCATION_LOADING;
    return;
  }
  inv->state = INVOCATION_RUNNING;
  inv->is_verdict = false;
  judge_drop(&inv->judge);
  record_begin(&inv->record, RECORD_UNREPEATABLE, MAX_RECORD);
  inv->slot = take_slot(inv, &err);
  if (inv->slot) inv->limits = inv->slot->limits;
  if (!inv->slot) {
    end_with_error(inv, &err);
    return;
  }
  if (inv->slot->function->uses_state || inv->repeat.has_key) {
    inv->txn = state_txn_begin(loop->state, function_space(inv->slot->function));
    state_txn_limit(inv->txn, state_limit(inv));
    bool is_loose = inv->slot->function->is_loose; /* of its state nothing is ever written */
    if (!is_loose) state_txn_take_turns(inv->txn, &inv->turns);
    if (!is_loose && inv->may_run_ahead && inv->attempt < MOST_AHEAD) state_txn_run_ahead(inv->txn);
    bool is_safe = request_is_safe(&inv->exchange->request);
    if (is_safe && function_gets_only_read(inv->slot->function))
      state_txn_only_reads(inv->txn);
    else if (is_safe && !inv->attempt)
      state_txn_expect_no_writes(inv->txn);
  }
  keep_begin(inv);
  if (inv->txn && !inv->pool->parent && registry_epoch(loop->registry) != inv->pool->epoch) {
    /* it may have been deleted with its state just before the transaction began, which then nobody would stop */
    abort_txn(inv);
    release_slot(inv);
    find(inv);
    return;
  }
  if (inv->repeat.has_key)
    look_for_answer(inv);
  else
    run(inv);
}

/* A stored module that cannot be loaded is the server's fault, whatever was wrong with it. */
static void end_damaged(struct invocation *inv, const struct gw_error *err) {
  struct gw_error copy = *err; /* the function may go with the invocation */
  if (inv->pool->parent) {     /* but one that came with the request is the client's */
    end_with_error(inv, &copy);
    return;
  }
  refuse(inv, PROBLEM(.status = 500, .title = gw_error_title(copy.code), .detail = copy.message,
                      .function = inv->exchange->request.address));
}

/* One of these would perhaps end the process again. */
static void end_in_quarantine(struct invocation *inv) {
  char detail[320];
  function_describe_quarantine(inv->pool->function, detail, sizeof detail);
  refuse(inv,
         PROBLEM(.status = 503, .title = "function in quarantine", .detail = detail, .function = inv->exchange->request.address));
}

/* Its function may be another by now. */
static void on_loaded(struct waiter *waiter) {
  struct invocation *inv = (struct invocation *)waiter;
  trail_leave(&inv->exchange->trail, TRAIL_LOAD);
  find(inv);
}

static void invoke_with_module(struct invocation *inv) {
  struct function *f = inv->pool->function;
  switch (function_load_state(f)) {
  case LOAD_READY:
    crash_enter(f);
    attempt(inv);
    crash_enter(NULL);
    break;
  case LOAD_FAILED: end_damaged(inv, &f->error); break;
  case LOAD_PENDING:
    count_cold(inv);
    trail_enter(&inv->exchange->trail, TRAIL_LOAD);
    inv->state = INVOCATION_LOADING;
    pool_load(inv->pool, &inv->waiter, on_loaded);
    break;
  }
}

/* inv->pool has been looked up. */
static void invoke_found(struct invocation *inv) {
  const char *address = inv->exchange->request.address;
  if (inv->pool) {
    if (function_quarantine(inv->pool->function))
      end_in_quarantine(inv);
    else
      invoke_with_module(inv);
    return;
  }
  char detail[256];
  snprintf(detail, sizeof detail, "no function is called %s", address);
  refuse(inv, PROBLEM(.status = 404, .detail = detail, .function = address));
}

/* One version, which its owner may have replaced for a reason, is called by who has a token only. */
static bool is_version(const char *address) {
  const char *at = strchr(address, '@');
  return at && entry_version_of(at + 1);
}

/* As admission says. */
static void refuse_entry(struct invocation *inv, const struct problem *why) {
  struct problem problem = *why;
  problem.function = inv->exchange->request.address;
  refuse(inv, &problem);
}

/* A private canary of a public version is for who may call it; others get the version, and no answer that fails. */
static void take_canary(struct invocation *inv) {
  struct exchange *x = inv->exchange;
  struct pool *canary = pool_canary(inv->pool, inv->draw);
  if (!canary) return;
  if (!canary->function->config.is_private || credentials_allow(x, x->request.address, SCOPE_INVOKE)) inv->pool = canary;
}

/* The front says whose request a worker has. */
static uint64_t caller_key(const struct exchange *x) { return x->request.peer ? share_key_of_text(x->request.peer) : x->caller; }

/* A private function is, to who may not call it, none: with the same work on the way to the same answer. */
static void look_up(struct invocation *inv) {
  struct exchange *x = inv->exchange;
  struct loop *loop = loop_of(inv);
  const char *address = x->request.address;
  inv->pool = pool_find(loop, address);
  bool is_open = inv->pool && !inv->pool->function->config.is_private && !is_version(address);
  bool may = is_open || credentials_allow(x, address, SCOPE_INVOKE);
  if (inv->pool && !may) {
    inv->pool = NULL;
    function_release(registry_find(loop->registry, address)); /* where there is no function, pool_find has looked here */
  }
  if (inv->pool) take_canary(inv);
  inv->caller = inv->pool ? pool_caller(inv->pool, caller_key(x)) : NULL;
}

static void find(struct invocation *inv) {
  struct problem why = {0};
  look_up(inv);
  if (admission_again(inv, &why))
    invoke_found(inv);
  else
    refuse_entry(inv, &why);
}

const char *invoke_id(const struct invocation *inv, char out[INVOCATION_ID_SIZE]) {
  snprintf(out, INVOCATION_ID_SIZE, "%u-%llu", loop_of(inv)->index, (unsigned long long)inv->number);
  return out;
}

void invoke_note(struct exchange *x, uint32_t status, const char *function, const char *text) {
  struct loop *loop = x->loop;
  struct invocation *inv = x->invocation;
  char id[INVOCATION_ID_SIZE] = "-";
  bool is_call = inv && function == x->request.address;
  struct log_share *share = is_call && inv->pool ? &inv->pool->failures : &loop->other_lines;
  if (is_call) invoke_id(inv, id);
  log_failure(loop->log, share, loop_now(loop), function ? function : "server", id, status, text);
  if (!is_call || !inv->pool || inv->is_gone) return;
  char name[FUNCTION_MAX_FULL_NAME + 1];
  function_split_address(function, name);
  struct log_event event = {.request = id, .version = inv->version, .kind = "failure", .status = status, .trace = trace_of(inv)};
  log_store_add(loop->logs, name, &event, text, strlen(text));
}

static void begin(struct exchange *x, struct flame *flame) {
  struct invocation *inv = x->invocation ? x->invocation : heap_new(1, sizeof *inv);
  x->invocation = inv;
  struct loop *loop = x->loop;
  inv->exchange = x;
  inv->message = (struct message){.deliver = deliver_commit};
  inv->woken = (struct message){.deliver = deliver_wake};
  inv->slot = NULL;
  inv->txn = NULL;
  inv->flame = flame;
  inv->account = NULL;
  inv->metered = inv->charged = inv->burned = 0;
  inv->is_cancelled = inv->is_counted = inv->is_paused = inv->is_woken = inv->is_cold = inv->is_late = false;
  inv->began = uv_hrtime();
  judge_drop(&inv->judge);
  draft_begin(&inv->draft, x->loop->receipts);
  *x->receipt = 0;
  inv->attempt = 0;
  inv->may_run_ahead = true;
  inv->turns.n = 0;
  inv->cpu_before = 0;
  inv->number = ++loop->n_requests;
  inv->draw = loop_random(loop) % ENTRY_WHOLE;
  x->trail.is_call = true;
  if (x->trail.is_kept) invoke_id(inv, x->trail.id);
  look_up(inv);
  loop->last_begin = loop_now(loop);
  loop->is_trimmed = false;
  const char *why;
  inv->repeat.has_key = false;
  if (loop->options->idempotency_keep && !flame && !repeat_begin(&inv->repeat, &x->request, &why)) {
    refuse(inv, PROBLEM(.status = 400, .detail = why, .function = x->request.address));
    return;
  }
  if (loop->receipts && !receipt_log_has_room(loop->receipts)) {
    refuse(inv, PROBLEM(.status = 503, .detail = why_no_receipt(loop->receipts)->message, .function = x->request.address,
                        .retry_after = 1));
    return;
  }
  struct problem no = {0};
  if (admission_begin(inv, &no))
    invoke_found(inv);
  else
    refuse_entry(inv, &no);
}

void invoke_begin(struct exchange *x) { begin(x, NULL); }

void invoke_profile(struct exchange *x, struct flame *flame) { begin(x, flame); }

void invoke_forget(struct exchange *x) {
  if (!x->invocation) return;
  record_clear(&x->invocation->record);
  keep_clear(&x->invocation->keep);
  draft_clear(&x->invocation->draft);
  handler_clear(&x->invocation->repeated);
  free(x->invocation);
  x->invocation = NULL;
}

void invoke_cancel(struct exchange *x, bool with_reply) {
  struct invocation *inv = x->invocation;
  struct loop *loop = x->loop;
  if (!inv) return;
  switch (inv->state) {
  case INVOCATION_NONE: return; /* a request that runs no function */
  case INVOCATION_LOOKING:
    inv->is_cancelled = true;
    inv->wants_reply = with_reply;
    return;
  case INVOCATION_REPORTING:
  case INVOCATION_COMMITTING: inv->is_cancelled = true; return;
  case INVOCATION_SYNCING: return; /* it has ended */
  case INVOCATION_HASHING:
    inv->is_cancelled = true;
    inv->wants_reply = with_reply;
    return;
  case INVOCATION_PARKED:
    if (!cancel_parked(inv, with_reply)) return;
    break;
  case INVOCATION_LOADING: fair_queue_remove(&inv->pool->waiting, &inv->waiter); break;
  case INVOCATION_DELAYED: fair_queue_remove(&loop->delayed, &inv->waiter); break;
  case INVOCATION_THROTTLED: fair_queue_remove(&loop->throttled, &inv->waiter); break;
  case INVOCATION_RUNNING: fair_remove(&inv->caller->flow, &inv->waiter); break;
  }
  end_cancelled(inv, with_reply);
}

void invoke_tick(struct exchange *x) {
  struct invocation *inv = x->invocation;
  if (!inv || inv->is_late || inv->is_cancelled || inv->state == INVOCATION_NONE) return;
  if (inv->state == INVOCATION_COMMITTING || inv->state == INVOCATION_REPORTING) return;
  uint32_t deadline = deadline_of(inv);
  if (!deadline || uv_hrtime() - inv->began < deadline * UINT64_C(1000000)) return;
  inv->is_late = true;
  invoke_cancel(x, true);
}

/* One slice of who is next. */
static void on_run(uv_idle_t *idle) {
  struct loop *loop = idle->data;
  struct invocation *inv = (struct invocation *)fair_next(&loop->fair);
  if (inv) {
    run_slice(inv);
  } else {
    uv_idle_stop(&loop->run);
    loop->busy_from = 0;
  }
  crash_enter(NULL);
}

/* Those whose tenants may use gas again, or never will. */
static void retry_throttled(struct loop *loop) {
  struct waiter_queue all = loop->throttled;
  loop->throttled = (struct waiter_queue){0};
  struct invocation *inv;
  while ((inv = (struct invocation *)fair_queue_pop(&all))) {
    inv->state = INVOCATION_RUNNING;
    go_on(inv);
  }
}

/* Those whose delay is over. */
static void on_retry(uv_timer_t *timer) {
  struct loop *loop = timer->data;
  struct waiter_queue due = loop->delayed;
  loop->delayed = (struct waiter_queue){0};
  struct invocation *inv;
  while ((inv = (struct invocation *)fair_queue_pop(&due))) {
    if (inv->retry_at > loop_now(loop))
      fair_queue_push(&loop->delayed, &inv->waiter);
    else
      find(inv); /* the function may be another by now */
  }
  retry_throttled(loop);
  if (!loop->delayed.first && !loop->throttled.first) uv_timer_stop(&loop->retry);
}
