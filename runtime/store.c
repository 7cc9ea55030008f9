/* Stores: what they own, from creation to the end. Gas is slice.c's, the one invocation under way invocation.c's. */
#include "runtime/store.h"

#include "base/error.h"
#include "runtime/arch/exhausted.h"
#include "runtime/instance.h"
#include "runtime/invocation.h"

#include <stdlib.h>

enum { DEFAULT_DEPTH = 1 << 20, MAX_DEPTH = 256 << 20 };
#define DEFAULT_MEMORY_BYTES (UINT64_C(64) << 30)

/* What saves all vector registers that this CPU has. */
static void choose_for_cpu(struct gw_store *store) {
  bool has_512 = __builtin_cpu_supports("avx512bw"), has_avx = __builtin_cpu_supports("avx");
  store->exec.exhausted = has_512 ? gas_exhausted_avx512 : has_avx ? gas_exhausted_avx : gas_exhausted_sse;
  store->touched = has_512 ? touched_avx512 : has_avx ? touched_avx : touched_sse;
}

struct gw_store *gw_store_create(struct gw_engine *engine, const struct gw_store_options *options, struct gw_error *err) {
  if (!trap_handlers_install(err)) return NULL;
  struct gw_store *store = calloc(1, sizeof *store);
  if (!store) {
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for a store");
    return NULL;
  }
  pthread_mutex_init(&store->park_mutex, NULL);
  store->engine = engine;
  store->schedule = &engine->schedule;
  store->exec.self = &store->exec;
  choose_for_cpu(store);
  store->exec.trap = helper_trap;
  if (options) store->options = *options;
  if (!store->options.max_depth) store->options.max_depth = DEFAULT_DEPTH;
  if (store->options.max_depth > MAX_DEPTH) store->options.max_depth = MAX_DEPTH;
  store->slice.clock.now = store->options.clock;
  gw_store_set_pace(store, NULL);
  return store;
}

static uint64_t most_held(const struct gw_store *store) {
  return store->options.max_memory_bytes ? store->options.max_memory_bytes : DEFAULT_MEMORY_BYTES;
}

bool store_may_hold(const struct gw_store *store, uint64_t more) {
  uint64_t most = most_held(store);
  return store->held <= most && more <= most - store->held;
}

void store_hold(struct gw_store *store, uint64_t change) {
  store->held += change;
  if (change) atomic_fetch_add_explicit(&store->engine->memory_bytes, change, memory_order_relaxed);
}

bool store_check_held(const struct gw_store *store, uint64_t more, struct gw_error *err) {
  return store_may_hold(store, more) ||
         error_set(err, GW_ERROR_LIMIT, "memories and tables start with more than %llu bytes together, which is the limit",
                   (unsigned long long)most_held(store));
}

/* Functions, globals and segments are a few bytes of a module and 30 to 100 of an instance. */
void store_count_instances(struct gw_store *store) {
  enum { USUAL = 64 << 10 };
  uint64_t more = store->arena.used > USUAL ? store->arena.used - USUAL : 0;
  atomic_fetch_add_explicit(&store->engine->memory_bytes, more - store->counted, memory_order_relaxed);
  store->counted = more;
}

void gw_store_destroy(struct gw_store *store) {
  if (!store) return;
  host_funcs_finish(store);
  for (struct gw_memory *m = store->memories, *next; m; m = next) {
    next = m->next;
    memory_destroy(m);
  }
  for (struct gw_table *t = store->tables; t; t = t->next) table_destroy(t);
  exceptions_clear(store);
  checkpoint_clear(store);
  precise_stack_close(&store->precise);
  profile_clear(&store->profile);
  for (struct gw_instance *i = store->instances; i; i = i->next) gw_module_release(i->module);
  invocation_close_stack(store);
  arena_clear(&store->arena);
  store_count_instances(store);
  pthread_mutex_destroy(&store->park_mutex);
  free(store);
}

uint64_t gw_store_memory_bytes(const struct gw_store *store) {
  uint64_t bytes = store->n_table_entries * sizeof(void *);
  for (const struct gw_memory *m = store->memories; m; m = m->next) bytes += m->ctx.bytes;
  return bytes;
}

void gw_store_set_user(struct gw_store *store, void *user) { store->user = user; }

void *gw_store_user(const struct gw_store *store) { return store->user; }
