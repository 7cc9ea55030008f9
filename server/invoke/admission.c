/* Three things bound what is under way on a loop.
 *
 * Places: `max_running` for all, `max_running_each` for one function. A tenant gets more of them only while three times as many
 * are left as it has over, and so does each caller of a function (share_allows): whatever one of them begins, there is room for
 * one that has none.
 *
 * The budget of the tenant, which is one for all loops (usage/account.h).
 *
 * Waiting. Who comes waits in the flow of its caller, for those who wait there already; each of them will likely take what
 * the function's last ones took, or what those under way have taken already, if that is more. The flow gets its part of what the
 * loop gets done. So that says how long it will take, in a flow of its own for each caller: with one that fills its own,
 * another's stays empty. Who would wait longer than `max_wait_ms` is refused at once, which costs nothing that others wait for.
 *
 * Within a flow all take turns. With a queue that is bounded so, that is no later than one after the other: each takes
 * as long as all that are there take together. */
#include "server/invoke/admission.h"

#include "server/function/pool.h"
#include "server/http/reply.h"
#include "server/loop/share.h"
#include "server/server.h"

static struct loop *loop_of(const struct invocation *inv) { return inv->exchange->loop; }

static bool refuse(struct problem *why, const struct problem *said) {
  *why = *said;
  return false;
}

/* --- places ------------------------------------------------------------------------------------------------------- */

static const char *why_no_place(const struct invocation *inv) {
  const struct loop *loop = loop_of(inv);
  const struct pool *pool = inv->pool;
  uint32_t most = loop->options->max_running, most_each = loop->options->max_running_each;
  if (loop->n_running >= most) return "too many functions are running";
  if (!pool) return NULL;
  if (!share_allows(pool->tenant->n_running, loop->n_running, most)) return "too many functions of this tenant are running";
  if (pool->n_running >= most_each) return "too many invocations of this function are running";
  if (!share_allows(inv->caller->n_running, pool->n_running, most_each))
    return "too many invocations of this function are running for this client";
  return NULL;
}

static const char too_many[] = "as many invocations of this function are running as it may have";

static bool take_place(struct invocation *inv, struct problem *why) {
  struct loop *loop = loop_of(inv);
  struct pool *home = inv->pool;
  const char *no_place = why_no_place(inv);
  if (!no_place && home && !function_begin(home->function)) no_place = too_many;
  if (no_place) return refuse(why, PROBLEM(.status = 503, .detail = no_place, .retry_after = 1));
  loop->n_running++;
  inv->is_counted = true;
  inv->home = home;
  if (!home) return true;
  home->n_running++;
  if (home->parent) home->parent->n_running++;
  home->tenant->n_running++;
  inv->counted = inv->caller;
  inv->counted->n_running++;
  inv->limited = function_retain(home->function);
  return true;
}

bool admission_again(struct invocation *inv, struct problem *why) {
  struct function *f = inv->pool ? inv->pool->function : NULL;
  if (!f || f == inv->limited) return true;
  if (!function_begin(f)) return refuse(why, PROBLEM(.status = 503, .detail = too_many, .retry_after = 1));
  if (inv->limited) function_end(inv->limited);
  function_release(inv->limited);
  inv->limited = function_retain(f);
  return true;
}

static void take_back(struct invocation *inv) {
  struct loop *loop = loop_of(inv);
  inv->is_paused = false;
  loop->n_paused--;
  loop->n_running++;
  if (inv->home) inv->home->tenant->n_paused--;
}

void admission_end(struct invocation *inv) {
  struct pool *home = inv->home;
  if (!inv->is_counted) return;
  inv->is_counted = false;
  if (inv->is_paused) take_back(inv);
  loop_of(inv)->n_running--;
  if (home) {
    home->n_running--;
    if (home->parent) home->parent->n_running--;
    home->tenant->n_running--;
    inv->counted->n_running--;
    inv->counted->burned -= inv->burned;
  }
  if (inv->limited) function_end(inv->limited);
  function_release(inv->limited);
  if (inv->account) account_end(inv->account, inv->claim);
  inv->account = NULL;
  inv->home = NULL;
  inv->counted = NULL;
  inv->limited = NULL;
}

void admission_count(struct invocation *inv, uint64_t work) {
  inv->burned += work;
  if (inv->counted) inv->counted->burned += work;
}

void admission_pause(struct invocation *inv) {
  struct loop *loop = loop_of(inv);
  if (inv->is_paused || loop->n_paused >= loop->options->max_running) return;
  inv->is_paused = true;
  loop->n_running--;
  loop->n_paused++;
  if (inv->home) inv->home->tenant->n_paused++;
}

/* Many are away together, and may go on at the same moment: each as if it began then. */
bool admission_go_on(struct invocation *inv) {
  const struct loop *loop = loop_of(inv);
  if (!inv->is_paused) return true;
  const struct tenant *tenant = inv->home ? inv->home->tenant : NULL;
  uint32_t own = tenant ? tenant->n_running - tenant->n_paused : 0;
  if (!share_allows(own, loop->n_running, loop->options->max_running)) return false;
  take_back(inv);
  return true;
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

static bool may_wait(const struct invocation *inv, struct problem *why) {
  enum { MS = 1000 };
  const struct loop *loop = loop_of(inv);
  uint32_t most = loop->options->max_wait_ms;
  if (!most || !inv->pool || !inv->caller->flow.n_ready) return true; /* the clock is not looked at */
  uint64_t ms = share_wait_ms(inv->caller, inv->pool->burned, rate_per_us(&loop->rate, uv_hrtime()));
  if (ms <= most) return true;
  return refuse(why,
                PROBLEM(.status = 429, .title = "queue full",
                        .detail = "the function's invocations for this client that are under way will likely take longer than "
                                  "a request may wait",
                        .retry_after = (uint32_t)((ms - most + MS - 1) / MS)));
}

/* --- budgets ------------------------------------------------------------------------------------------------------ */

static bool may_spend(struct invocation *inv, struct problem *why) {
  struct loop *loop = loop_of(inv);
  struct pool *pool = inv->pool;
  struct account_refusal no;
  if (!pool || !loop->usage) return true;
  if (!pool->account) pool->account = usage_account(loop->usage, pool->function->name);
  inv->claim = function_max_memory(pool->function, loop->limits);
  if (!account_begin(pool->account, inv->claim, &no))
    return refuse(why, PROBLEM(.status = no.status, .title = no.title, .detail = no.detail, .retry_after = no.retry_after));
  inv->account = pool->account;
  return true;
}

bool admission_begin(struct invocation *inv, struct problem *why) {
  struct loop *loop = loop_of(inv);
  if (loop->reply_bytes > loop->options->max_waiting) loop->ops->shed(loop);
  if (may_wait(inv, why) && take_place(inv, why) && may_spend(inv, why)) return true;
  if (why->status != 503) metrics_add(&loop->metrics.refused, 1);
  return false;
}
