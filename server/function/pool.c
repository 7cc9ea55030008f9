/* What takes long is a worker thread's, not the loop's: making, resetting and destroying slots whose memories and tables are
 * large. A slot on its way there and back belongs to that thread alone, and counts as out. Small ones stay on the loop: their
 * reset takes less than the way.
 *
 * Invocations wait for a slot that is being made or reset. Where the memory limit is near, nothing of this is done elsewhere,
 * and such slots are destroyed instead of reset: what is idle must give way at once, and nobody is refused because a worker
 * thread is late. */
#include "server/function/pool.h"

#include "base/error.h"
#include "base/heap.h"
#include "frontend/module.h"
#include "server/access/access.h"
#include "server/function/crash.h"
#include "server/loop/share.h"
#include "server/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static struct pool **bucket_of(struct loop *loop, const char *address) {
  uint32_t hash = 2166136261u;
  for (const char *p = address; *p; p++) hash = (hash ^ (unsigned char)*p) * 16777619u;
  return &loop->pools[hash % POOL_BUCKETS];
}

enum { NICENESS = 10 };

/* Of memories and tables; of segments, which touch fresh pages; globals and entries: all take some milliseconds. */
enum { HEAVY_BYTES = 16 << 20, HEAVY_DATA = 2 << 20, HEAVY_CELLS = 1 << 18 };
/* Pages that go back to the system one by one take as long where they are fewer. */
enum { HEAVY_TO_DESTROY = 4 << 20 };

/* --- worker threads ---------------------------------------------------------------------------------------------- */

static bool is_heavy(const struct slot *slot) {
  if (gw_store_memory_bytes(slot->store) > HEAVY_BYTES || slot->function->initial_cells > HEAVY_CELLS) return true;
  return slot->function->initial_data > HEAVY_DATA && !gw_instance_resets_pages(slot->instance);
}

/* First on a worker thread: whoever waits for a large slot has less of a core than the loop, which everybody waits for. */
static void step_back(void) {
  static _Thread_local bool has_stepped;
  if (has_stepped) return;
  has_stepped = true;
  setpriority(PRIO_PROCESS, 0, NICENESS); /* which is the thread's own, on Linux */
}

static void destroy_work(uv_work_t *work) {
  step_back();
  slot_destroy(work->data);
}

static void forget_work(uv_work_t *work, int status) {
  (void)status;
  free(work);
}

static bool has_room(const struct loop *loop, uint64_t bytes) {
  uint64_t limit = loop->limits->memory_limit;
  uint64_t taken = gw_engine_memory_bytes(loop->engine) + registry_code_bytes(loop->registry);
  return !limit || (taken <= limit && bytes <= limit - taken);
}

static bool has_ample_room(const struct loop *loop) { return has_room(loop, loop->limits->memory_limit / 8); }

static bool is_long_to_destroy(const struct slot *slot) {
  return is_heavy(slot) || gw_store_memory_bytes(slot->store) > HEAVY_TO_DESTROY;
}

/* When a loop ends, nobody waits any more. */
void pool_destroy(struct loop *loop, struct slot *slot) {
  if (loop->is_stopping || !is_long_to_destroy(slot) || !has_ample_room(loop)) {
    slot_destroy(slot);
    return;
  }
  uv_work_t *work = heap_new(1, sizeof *work);
  work->data = slot;
  uv_queue_work(&loop->uv, work, destroy_work, forget_work);
}

static void drop_idle(struct pool *pool) {
  while (pool->idle) {
    struct slot *slot = pool->idle;
    pool->idle = slot->next;
    pool_destroy(pool->loop, slot);
    pool->n_idle--;
    pool->loop->n_idle--;
  }
}

/* Its tenant. */
static struct tenant *join(struct loop *loop, const char *address) {
  const char *slash = strchr(address, '/');
  return slash ? share_join(loop, address, (size_t)(slash - address))
               : share_join(loop, DEFAULT_TENANT, sizeof DEFAULT_TENANT - 1);
}

static struct pool *pool_create(struct loop *loop, const char *address) {
  struct pool *pool = heap_new(1, sizeof *pool), **bucket = bucket_of(loop, address);
  pool->loop = loop;
  pool->work.data = pool;
  memcpy(pool->address, address, strlen(address) + 1);
  pool->tenant = join(loop, address);
  fair_join(&pool->flow, &pool->tenant->functions, &pool->turns);
  pool->next = *bucket;
  *bucket = pool;
  return pool;
}

/* The address leads to `f` now, of which it takes over the reference. */
static void lead_to(struct pool *pool, struct function *f, uint64_t epoch, const struct registry_split *split) {
  pool->epoch = epoch;
  pool->split = *split;
  if (f == pool->function) {
    function_release(f);
  } else {
    drop_idle(pool);
    function_release(pool->function);
    pool->function = f;
    memset(pool->pace, 0, sizeof pool->pace); /* new code */
  }
}

/* What its address leads to no more need not wait in memory for the next call. */
static void let_go(struct pool *pool) {
  struct registry *registry = pool->loop->registry;
  uint64_t epoch = registry_epoch(registry);
  struct registry_split split;
  if (!pool->parent && pool->epoch != epoch) lead_to(pool, registry_look(registry, pool->address, &split), epoch, &split);
}

struct pool *pool_find(struct loop *loop, const char *address) {
  struct pool *pool = *bucket_of(loop, address);
  while (pool && strcmp(pool->address, address) != 0) pool = pool->next;
  uint64_t epoch = registry_epoch(loop->registry); /* before the look-up: a change in between is seen next time */
  if (pool) pool->used_at = loop_now(loop);
  if (pool && pool->function) function_touch(pool->function, loop_now(loop));
  if (pool && (pool->parent || pool->epoch == epoch)) return pool->function ? pool : NULL;
  struct registry_split split;
  struct function *f = registry_look(loop->registry, address, &split);
  if (!pool && !f) return NULL;
  if (!pool) pool = pool_create(loop, address);
  lead_to(pool, f, epoch, &split);
  return f ? pool : NULL;
}

struct caller *pool_caller(struct pool *pool, uint64_t key) {
  if (pool->parent) pool = pool->parent;
  if (!pool->callers) pool->callers = heap_new(SHARE_CALLERS, sizeof *pool->callers);
  return share_caller(pool->callers, &pool->turns, key);
}

struct pool *pool_canary(struct pool *pool, uint32_t draw) {
  if (draw >= pool->split.share) return NULL;
  char address[FUNCTION_MAX_ADDRESS + 1];
  snprintf(address, sizeof address, "%s@%llu", pool->function->name, (unsigned long long)pool->split.canary);
  return pool_find(pool->loop, address);
}

/* --- of what nobody deployed ---------------------------------------------------------------------------------------- */

enum { MAX_LOOSE = 32 /* of a loop, but for those that run */ };

static bool is_used(const struct pool *pool) {
  return pool->n_running || pool->n_idle || pool->n_out || pool->loading || pool->making || pool->waiting.first || pool->n_loose;
}

/* Out of its bucket. */
static void forget(struct pool **at) {
  struct pool *pool = *at;
  *at = pool->next;
  if (pool->parent) pool->parent->n_loose--;
  if (pool->parent) pool->loop->n_loose--;
  function_release(pool->function);
  share_leave(pool->tenant);
  free(pool->callers);
  free(pool);
}

/* The one that was called last the longest time ago. */
static void forget_oldest(struct loop *loop) {
  struct pool **oldest = NULL;
  for (uint32_t i = 0; i < POOL_BUCKETS; i++)
    for (struct pool **at = &loop->pools[i]; *at; at = &(*at)->next)
      if ((*at)->parent && !is_used(*at) && (!oldest || (*at)->used_at < (*oldest)->used_at)) oldest = at;
  if (oldest) forget(oldest);
}

struct pool *pool_of_runs(struct loop *loop, const char *name) {
  struct pool *pool = *bucket_of(loop, name);
  while (pool && strcmp(pool->address, name) != 0) pool = pool->next;
  if (!pool) pool = pool_create(loop, name);
  pool->used_at = loop_now(loop);
  return pool;
}

void pool_add_loose(struct loop *loop, const char *address, struct function *f) {
  if (loop->n_loose >= MAX_LOOSE) forget_oldest(loop);
  struct pool *parent = pool_of_runs(loop, f->name), *pool = pool_create(loop, address);
  pool->parent = parent;
  pool->function = f;
  pool->used_at = loop_now(loop);
  parent->n_loose++;
  loop->n_loose++;
}

static void load_work(uv_work_t *work) {
  struct pool *pool = work->data;
  registry_load(pool->loop->registry, pool->loading);
}

/* Who is called may wait again, or be cancelled before: the queue is the pool's all the time. */
static void wake_waiters(struct pool *pool) {
  size_t n = 0;
  for (struct waiter *w = pool->waiting.first; w; w = w->next) n++;
  while (n-- && pool->waiting.first) pool->on_loaded(fair_queue_pop(&pool->waiting));
}

static void load_done(uv_work_t *work, int status) {
  struct pool *pool = work->data;
  (void)status;
  function_release(pool->loading);
  pool->loading = NULL;
  wake_waiters(pool);
}

void pool_load(struct pool *pool, struct waiter *waiter, void (*on_loaded)(struct waiter *waiter)) {
  fair_queue_push(&pool->waiting, waiter);
  pool->on_loaded = on_loaded;
  if (pool->loading) return;
  pool->loading = function_retain(pool->function);
  uv_queue_work(&pool->loop->uv, &pool->work, load_work, load_done);
}

/* --- slots ------------------------------------------------------------------------------------------------------- */

static void give_up(struct slot *slot) {
  if (slot->is_kept) slot->pool->never_keeps = true;
  slot->pool->n_out--;
  pool_destroy(slot->pool->loop, slot);
}

/* Fresh, or destroyed. */
static bool freshen(struct slot *slot) {
  struct gw_error err = {0};
  bool ok = slot_reset(slot, &err);
  if (!ok) give_up(slot);
  return ok;
}

/* The function may have another version by now, or be compiled, and the server other limits. */
static bool is_current(const struct slot *slot) {
  return slot->tier == function_tier(slot->function) && slot->function == slot->pool->function &&
         slot->limits == slot->pool->loop->limits;
}

/* A slot of the pool that was used in this turn and waits for its reset. */
static struct slot *take_used(struct pool *pool) {
  for (struct slot **at = &pool->loop->used_slots; *at; at = &(*at)->next) {
    struct slot *slot = *at;
    if (slot->pool != pool || is_heavy(slot) || !is_current(slot)) continue;
    *at = slot->next;
    return freshen(slot) ? slot : NULL;
  }
  return NULL;
}

static void drop_all_idle(struct loop *loop) {
  for (uint32_t i = 0; i < POOL_BUCKETS; i++)
    for (struct pool *p = loop->pools[i]; p; p = p->next) drop_idle(p);
}

/* Idle instances give way. What runs may have grown since it began, so the limit is one for beginning more. */
static bool make_room(struct loop *loop, const struct function *f, struct gw_error *err) {
  uint64_t bytes = f->initial_memory;
  if (has_room(loop, bytes)) return true;
  for (uint32_t i = 0; i < POOL_BUCKETS && !has_room(loop, bytes); i++)
    for (struct pool *p = loop->pools[i]; p; p = p->next) drop_idle(p);
  return has_room(loop, bytes) || error_set(err, GW_ERROR_UNAVAILABLE, "the server's memory limit of %llu bytes is reached",
                                            (unsigned long long)loop->limits->memory_limit);
}

void pool_adopt(struct pool *pool, struct slot *slot) {
  if (!pool->never_keeps && pool->loop->options->checkpoints) slot_want_checkpoint(slot);
  slot->pool = pool;
  pool->n_out++;
}

/* When the system gives no more addresses or mappings, idle instances may have them. */
static struct slot *create_slot(struct pool *pool, struct function *f, enum gw_tier tier, struct gw_error *err) {
  struct loop *loop = pool->loop;
  struct gw_error first = {0};
  struct slot *slot = slot_create(loop->engine, f, tier, loop->limits, &first);
  if (!slot && first.code == GW_ERROR_OUT_OF_MEMORY && loop->n_idle) {
    drop_all_idle(loop);
    slot = slot_create(loop->engine, f, tier, loop->limits, err);
  } else if (!slot) {
    *err = first;
  }
  if (!slot) return NULL;
  pool_adopt(pool, slot);
  return slot;
}

static struct slot *pop_idle(struct pool *pool) {
  struct slot *slot = pool->idle;
  pool->idle = slot->next;
  pool->n_idle--;
  pool->loop->n_idle--;
  return slot;
}

static bool has_idle(struct pool *pool) {
  while (pool->idle && !is_current(pool->idle)) pool_destroy(pool->loop, pop_idle(pool));
  return pool->idle != NULL;
}

bool pool_is_warm(struct pool *pool) {
  if (has_idle(pool)) return true;
  const struct slot *slot = pool->loop->used_slots;
  while (slot && slot->pool != pool) slot = slot->next;
  return slot != NULL;
}

struct slot *pool_take(struct pool *pool, struct gw_error *err) {
  pool->makes_here = false;
  if (has_idle(pool)) {
    pool->n_out++;
    return pop_idle(pool);
  }
  struct slot *used = take_used(pool);
  if (used) return used;
  if (!make_room(pool->loop, pool->function, err)) return NULL;
  return create_slot(pool, pool->function, function_tier(pool->function), err);
}

struct slot *pool_take_precise(struct pool *pool, struct function *function, struct gw_error *err) {
  struct gw_error ignored = {0};
  make_room(pool->loop, function, &ignored);
  return create_slot(pool, function, GW_TIER_PRECISE, err);
}

void pool_return(struct slot *slot) {
  struct loop *loop = slot->pool->loop;
  slot->next = loop->used_slots;
  loop->used_slots = slot;
}

static void add_idle(struct slot *slot) {
  struct pool *pool = slot->pool;
  slot->used_at = loop_now(pool->loop);
  slot->next = pool->idle;
  pool->idle = slot;
  pool->n_idle++;
  pool->n_out--;
  pool->loop->n_idle++;
}

static bool is_wanted(const struct slot *slot) {
  const struct pool *pool = slot->pool;
  return !pool->parent && is_current(slot) && pool->n_idle < pool->loop->options->max_idle && pool->loop->n_idle < LOOP_MAX_IDLE;
}

/* A reset on a worker thread. */
struct reset {
  uv_work_t work;
  struct slot *slot;
  bool ok;
};

static void reset_work(uv_work_t *work) {
  struct reset *reset = work->data;
  struct gw_error err = {0};
  step_back();
  reset->ok = slot_reset(reset->slot, &err);
}

/* Who waits for it gets it, however many are idle. */
static void put_back(struct slot *slot) {
  if (is_wanted(slot) || (slot->pool->waiting.first && is_current(slot))) {
    add_idle(slot);
  } else {
    slot->pool->n_out--;
    pool_destroy(slot->pool->loop, slot);
  }
}

static void reset_done(uv_work_t *work, int status) {
  struct reset *reset = work->data;
  struct pool *pool = reset->slot->pool;
  (void)status;
  pool->n_resetting--;
  if (reset->ok)
    put_back(reset->slot);
  else
    give_up(reset->slot);
  free(reset);
  wake_waiters(pool);
}

static void reset_elsewhere(struct slot *slot) {
  struct reset *reset = heap_new(1, sizeof *reset);
  reset->slot = slot;
  reset->work.data = reset;
  slot->pool->n_resetting++;
  uv_queue_work(&slot->pool->loop->uv, &reset->work, reset_work, reset_done);
}

static void clean(struct slot *slot) {
  struct loop *loop = slot->pool->loop;
  bool is_elsewhere = is_heavy(slot) && !loop->is_stopping;
  if (!is_wanted(slot) || (is_elsewhere && !has_ample_room(loop))) {
    slot->pool->n_out--;
    pool_destroy(loop, slot);
  } else if (is_elsewhere) {
    reset_elsewhere(slot);
  } else if (freshen(slot)) {
    add_idle(slot);
  }
}

void pools_clean(struct loop *loop) {
  while (loop->used_slots) {
    struct slot *slot = loop->used_slots;
    loop->used_slots = slot->next;
    clean(slot);
  }
}

/* A slot that a worker thread makes. */
struct making {
  uv_work_t work;
  struct pool *pool;
  struct function *function;
  enum gw_tier tier;
  struct slot *slot; /* NULL: it failed */
};

struct slot *pool_make(const struct loop *loop, struct function *function, enum gw_tier tier) {
  struct gw_error err = {0};
  step_back();
  const struct function *before = crash_enter(function);
  struct slot *slot = slot_create(loop->engine, function, tier, loop->limits, &err);
  crash_enter(before);
  return slot;
}

static void make_work(uv_work_t *work) {
  struct making *making = work->data;
  making->slot = pool_make(making->pool->loop, making->function, making->tier);
}

static void make_done(uv_work_t *work, int status) {
  struct making *making = work->data;
  struct pool *pool = making->pool;
  (void)status;
  pool->making = NULL;
  pool->makes_here = !making->slot;
  if (making->slot) {
    pool_adopt(pool, making->slot);
    put_back(making->slot);
  }
  function_release(making->function);
  free(making);
  wake_waiters(pool);
}

bool pool_is_long_to_make(const struct loop *loop, const struct function *function) {
  if (loop->is_stopping || !has_ample_room(loop)) return false;
  return function->initial_memory > HEAVY_BYTES || function->initial_data > HEAVY_DATA || function->initial_cells > HEAVY_CELLS;
}

static void make_elsewhere(struct pool *pool) {
  struct making *making = heap_new(1, sizeof *making);
  *making = (struct making){.pool = pool, .function = function_retain(pool->function), .tier = function_tier(pool->function)};
  making->work.data = making;
  pool->making = making;
  uv_queue_work(&pool->loop->uv, &making->work, make_work, make_done);
}

bool pool_wait(struct pool *pool, struct waiter *waiter, void (*on_loaded)(struct waiter *waiter)) {
  if (has_idle(pool) || pool->makes_here || !pool_is_long_to_make(pool->loop, pool->function)) return false;
  fair_queue_push(&pool->waiting, waiter);
  pool->on_loaded = on_loaded;
  if (!pool->making && !pool->n_resetting) make_elsewhere(pool);
  return true;
}

/* The oldest are at the end of the list. */
static void trim_idle(struct pool *pool, uint64_t now, uint64_t idle_ms) {
  struct slot **at = &pool->idle;
  while (*at && now - (*at)->used_at < idle_ms) at = &(*at)->next;
  while (*at) {
    struct slot *slot = *at;
    *at = slot->next;
    pool_destroy(pool->loop, slot);
    pool->n_idle--;
    pool->loop->n_idle--;
  }
}

static void limit_work(uv_work_t *work) {
  registry_forget_failures(work->data);
  registry_limit_code(work->data);
}

/* Loads and deployments do it, too; what was called a moment ago then is not forgotten before. */
static void limit_code(struct loop *loop) {
  if (!registry_is_over_its_part(loop->registry) && !registry_has_failed(loop->registry)) return;
  uv_work_t *work = heap_new(1, sizeof *work);
  work->data = loop->registry;
  uv_queue_work(&loop->uv, work, limit_work, forget_work);
}

/* Since when, and how much, pools may hold what nobody uses. */
struct trimming {
  uint64_t now, idle_ms; /* idle_ms 0: nothing at all */
  bool is_short, has_much_code;
};

/* May be called again before its time is over. What could not be loaded is looked at anew. */
static bool is_young(const struct pool *pool, const struct trimming *t) {
  bool may_go = pool->parent && (t->has_much_code || function_load_state(pool->function) == LOAD_FAILED);
  return t->idle_ms && t->now - pool->used_at < IDLE_MS && !may_go;
}

static void trim_bucket(struct pool **at, const struct trimming *t) {
  while (*at) {
    struct pool *pool = *at;
    if (t->idle_ms) let_go(pool);
    if (!t->idle_ms || t->is_short)
      drop_idle(pool);
    else
      trim_idle(pool, t->now, t->idle_ms);
    bool is_listed = pool->flow.is_listed && t->idle_ms; /* when all is over, one that owes is still in the ring */
    if (is_used(pool) || is_listed || is_young(pool, t))
      at = &pool->next;
    else
      forget(at);
  }
}

void pools_trim(struct loop *loop, uint64_t idle_ms) {
  pools_clean(loop);
  if (idle_ms) limit_code(loop);
  struct trimming t = {.now = loop_now(loop), .idle_ms = idle_ms};
  t.is_short = !has_room(loop, loop->limits->memory_limit / 8); /* another loop may need it */
  t.has_much_code = registry_has_much_code(loop->registry);
  for (uint32_t i = 0; i < POOL_BUCKETS; i++) trim_bucket(&loop->pools[i], &t);
  for (uint32_t i = 0; !idle_ms && i < POOL_BUCKETS; i++) trim_bucket(&loop->pools[i], &t); /* parents of those */
  share_trim(loop, !idle_ms);
}
