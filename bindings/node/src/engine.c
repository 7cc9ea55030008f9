/* Workers, and how calls go between them and Node's thread.
 *
 * A call that wants a slice waits in `ready`; a worker takes the first, runs it for one slice and puts it behind the others. So
 * all calls of an engine take turns, and an endless one costs the others a slice in each turn. What has ended or wants JavaScript
 * goes to `returned`, and Node's thread is told once.
 *
 * A call may also begin on Node's thread, which saves two changes of threads: most are over in less time than one of these takes.
 * From the first such call on, TURN_NS of each turn of the event loop may pass in this way; what comes then is the workers'. So a
 * program that only makes calls holds the loop up for that long and a slice. An immediate of lib/index.js says when a turn is
 * over.
 */
#define _GNU_SOURCE
#include "addon.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { TURN_NS = 1000000, MOST_RETURNED = 64 };

void list_init(struct call_list *list) {
  list->first = NULL;
  list->last = &list->first;
}

void list_push(struct call_list *list, struct call *call) {
  call->next = NULL;
  *list->last = call;
  list->last = &call->next;
}

struct call *list_pop(struct call_list *list) {
  struct call *call = list->first;
  if (call) list_remove(list, call);
  return call;
}

bool list_remove(struct call_list *list, struct call *call) {
  struct call **at = &list->first;
  while (*at && *at != call) at = &(*at)->next;
  if (!*at) return false;
  *at = call->next;
  if (!*at) list->last = at;
  return true;
}

void *allocate(size_t size) {
  void *p = calloc(1, size ? size : 1);
  if (!p) napi_fatal_error("gasworks", NAPI_AUTO_LENGTH, "out of memory", NAPI_AUTO_LENGTH);
  return p;
}

uint64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Asks lib/index.js to call js_end_turn when the loop comes to it. */
static bool begin_turn(napi_env env, struct shared *shared) {
  napi_value function, undefined;
  return napi_get_undefined(env, &undefined) == napi_ok && napi_get_reference_value(env, shared->on_turn, &function) == napi_ok &&
         napi_call_function(env, undefined, function, 0, NULL, NULL) == napi_ok;
}

uint64_t engine_deadline(struct engine *engine) {
  struct shared *shared = engine->shared;
  uint64_t now = clock_ns();
  if (!shared->turn_began && begin_turn(engine->env, shared)) shared->turn_began = now;
  uint64_t deadline = shared->turn_began + TURN_NS;
  return now < deadline ? deadline : 0;
}

napi_value js_end_turn(napi_env env, napi_callback_info info) {
  struct shared *shared;
  (void)info;
  if (napi_get_instance_data(env, (void **)&shared) == napi_ok) shared->turn_began = 0;
  return NULL;
}

/* --- workers ------------------------------------------------------------------------------------------------------ */

void engine_queue(struct engine *engine, struct call *call) {
  pthread_mutex_lock(&engine->mutex);
  list_push(&engine->ready, call);
  pthread_cond_signal(&engine->has_work);
  pthread_mutex_unlock(&engine->mutex);
}

/* With the mutex. After the end of the environment nobody is told: is_stopping comes first. */
static void give_back(struct engine *engine, struct call *call) {
  list_push(&engine->returned, call);
  if (engine->is_told || engine->is_stopping) return;
  engine->is_told = true;
  napi_call_threadsafe_function(engine->to_node, NULL, napi_tsfn_nonblocking);
}

/* Signals are Node's thread's, but for what the guest's own faults are. */
static void settle_in(int niceness) {
  static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
  sigset_t blocked;
  sigfillset(&blocked);
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) sigdelset(&blocked, faults[i]);
  pthread_sigmask(SIG_SETMASK, &blocked, NULL);
  id_t thread = (id_t)gettid();
  if (niceness) setpriority(PRIO_PROCESS, thread, getpriority(PRIO_PROCESS, thread) + niceness);
}

static void *work(void *arg) {
  struct engine *engine = arg;
  settle_in(engine->niceness);
  pthread_mutex_lock(&engine->mutex);
  while (!engine->is_stopping) {
    struct call *call = list_pop(&engine->ready);
    if (!call) {
      pthread_cond_wait(&engine->has_work, &engine->mutex);
      continue;
    }
    call->instance->is_woken = false;
    pthread_mutex_unlock(&engine->mutex);
    enum progress progress = call_run(call);
    pthread_mutex_lock(&engine->mutex);
    if (progress == PROGRESS_ASLEEP && request_sleep(call)) continue;
    if (progress == PROGRESS_YIELDED || progress == PROGRESS_ASLEEP)
      list_push(&engine->ready, call);
    else
      give_back(engine, call);
  }
  pthread_mutex_unlock(&engine->mutex);
  return NULL;
}

static void stop_workers(struct engine *engine) {
  pthread_mutex_lock(&engine->mutex);
  engine->is_stopping = true;
  pthread_cond_broadcast(&engine->has_work);
  pthread_mutex_unlock(&engine->mutex);
  for (size_t i = 0; i < engine->n_workers; i++) pthread_join(engine->workers[i], NULL);
  engine->n_workers = 0;
}

static bool start_workers(struct engine *engine, size_t n, struct gw_error *err) {
  engine->workers = allocate(n * sizeof *engine->workers);
  for (; engine->n_workers < n; engine->n_workers++)
    if (pthread_create(&engine->workers[engine->n_workers], NULL, work, engine)) {
      *err = (struct gw_error){.code = GW_ERROR_UNAVAILABLE, .message = "cannot start a worker thread"};
      return false;
    }
  return true;
}

/* --- Node's side -------------------------------------------------------------------------------------------------- */

void engine_open(struct engine *engine) {
  if (engine->n_open++ == 0 && engine->to_node) napi_ref_threadsafe_function(engine->env, engine->to_node);
}

void engine_close(struct engine *engine) {
  if (--engine->n_open == 0 && engine->to_node) napi_unref_threadsafe_function(engine->env, engine->to_node);
}

/* A few at a time, so that the event loop comes to other things, too. */
static void on_returned(napi_env env, napi_value function, void *context, void *data) {
  struct engine *engine = context;
  (void)function, (void)data;
  if (!env) return;
  engine_retain(engine);
  for (int i = 0; i < MOST_RETURNED; i++) {
    pthread_mutex_lock(&engine->mutex);
    struct call *call = list_pop(&engine->returned);
    if (!call) engine->is_told = false;
    pthread_mutex_unlock(&engine->mutex);
    if (!call) break;
    napi_handle_scope scope;
    napi_open_handle_scope(env, &scope);
    call_returned(env, call);
    napi_close_handle_scope(env, scope);
    if (i + 1 == MOST_RETURNED) napi_call_threadsafe_function(engine->to_node, NULL, napi_tsfn_nonblocking);
  }
  engine_release(engine);
}

/* What is under way ends here: nobody is left whom its promise could tell. */
static void drop_calls(struct engine *engine) {
  for (struct instance *instance = engine->instances, *next; instance; instance = next) {
    next = instance->next;
    instance->n_owners++;
    instance->is_closed = true;
    while (instance->current || instance->waiting.first) {
      struct call *call = instance->current ? instance->current : list_pop(&instance->waiting);
      instance->current = NULL;
      call_drop(call);
    }
    next = instance->next;
    instance_release(instance);
  }
}

static void on_end(void *arg) {
  struct engine *engine = arg;
  gw_engine_stop_compiling(engine->gw);
  stop_workers(engine);
  engine_retain(engine);
  drop_calls(engine);
  engine->has_hook = false;
  engine->to_node = NULL; /* Node closes it */
  engine_release(engine);
}

static bool open_way_back(struct engine *engine) {
  napi_value name;
  if (napi_create_string_utf8(engine->env, "gasworks", NAPI_AUTO_LENGTH, &name) ||
      napi_create_threadsafe_function(engine->env, NULL, NULL, name, 0, 1, NULL, NULL, engine, on_returned, &engine->to_node))
    return false;
  napi_unref_threadsafe_function(engine->env, engine->to_node);
  /* Called before Node closes what was opened above: the last hook is the first to be called. */
  return engine->has_hook = napi_add_env_cleanup_hook(engine->env, on_end, engine) == napi_ok;
}

static bool prepare(struct engine *engine, size_t n_workers, const char *cache, struct gw_error *err) {
  if (cache && !(engine->cache = gw_cache_open(cache, 0, err))) return false;
  engine->options.cache = engine->cache;
  engine->options.compiler_program = engine->compiler;
  if (!(engine->gw = gw_engine_create(&engine->options, err))) return false;
  if (!start_workers(engine, n_workers, err)) return false;
  if (open_way_back(engine)) return true;
  *err = (struct gw_error){.code = GW_ERROR_UNAVAILABLE, .message = "Node gives no way back to its thread"};
  return false;
}

struct engine *engine_create(napi_env env, const struct engine *wanted, size_t n_workers, const char *cache,
                             struct gw_error *err) {
  struct engine *engine = allocate(sizeof *engine);
  *engine = *wanted;
  engine->env = env;
  engine->n_owners = 1;
  napi_get_instance_data(env, (void **)&engine->shared);
  list_init(&engine->ready);
  list_init(&engine->returned);
  list_init(&engine->unused);
  pthread_mutex_init(&engine->mutex, NULL);
  pthread_cond_init(&engine->has_work, NULL);
  if (prepare(engine, n_workers, cache, err)) return engine;
  engine_release(engine);
  return NULL;
}

void engine_retain(struct engine *engine) { engine->n_owners++; }

void engine_release(struct engine *engine) {
  if (--engine->n_owners) return;
  stop_workers(engine);
  if (engine->has_hook) napi_remove_env_cleanup_hook(engine->env, on_end, engine);
  if (engine->to_node) napi_release_threadsafe_function(engine->to_node, napi_tsfn_abort);
  for (struct call *call; (call = list_pop(&engine->unused));) free(call);
  gw_engine_destroy(engine->gw);
  gw_cache_close(engine->cache);
  pthread_mutex_destroy(&engine->mutex);
  pthread_cond_destroy(&engine->has_work);
  free(engine->workers);
  free(engine->compiler);
  free(engine);
}
