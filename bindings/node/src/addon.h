/* The addon's parts, and what they share. Three kinds of threads meet here: Node's (one for each environment), the engine's
 * workers, and libuv's pool, where modules are compiled and instances made.
 *
 *   addon.c     what JavaScript sees
 *   engine.c    workers, the queue of calls that want a slice, the way back to Node's thread
 *   call.c      one call as steps, each of which runs in slices on whatever thread has it
 *   host.c      JavaScript functions that guests call: the fiber parks, Node's thread answers
 *   module.c    modules and instances
 *   state.c     stores and transactions
 *   request.c   functions for the `handle` interface, each of whose calls is a transaction
 *   wasi.c      what WASI programs see of the world
 *   convert.c   values between JavaScript and Wasm
 *
 * Unless it says otherwise, a function runs on Node's thread. What another thread may touch is a call that it holds: whoever took
 * it from a list, until it is in a list again. */
#ifndef GASWORKS_NODE_ADDON_H
#define GASWORKS_NODE_ADDON_H

#define NAPI_VERSION 8
#include <gasworks_state.h>
#include <node_api.h>
#include <pthread.h>
#include <stdatomic.h>

enum { MAX_PARAMS = 32, MAX_FLAT = 2 * MAX_PARAMS };

/* --- lists of calls: first in, first out -------------------------------------------------------------------------- */

struct call;
struct call_list {
  struct call *first, **last;
};
void list_init(struct call_list *list);
void list_push(struct call_list *list, struct call *call);
struct call *list_pop(struct call_list *list);
bool list_remove(struct call_list *list, struct call *call);

/* What an environment has: classes and functions of lib/index.js, and how long its loop has been in this turn. */
struct shared {
  napi_ref error_class, attach, on_turn;
  uint64_t turn_began; /* 0: no call has run here yet */
};

/* --- engine ------------------------------------------------------------------------------------------------------- */

/* Held by its JavaScript object, modules and calls; destroyed with the last of them. */
struct engine {
  size_t n_owners;
  napi_env env;
  struct gw_engine *gw;
  struct gw_cache *cache;
  struct gw_engine_options options;
  char *compiler;
  uint64_t slice, host_call_gas;
  int niceness;
  bool is_precise;  /* everything is interpreted */
  bool starts_here; /* calls begin on Node's thread */
  bool has_hook;
  struct shared *shared;

  napi_threadsafe_function to_node;
  size_t n_open;              /* calls that keep the process alive */
  struct instance *instances; /* all, for the end of the environment */
  struct call_list unused;    /* room for calls */

  pthread_mutex_t mutex; /* for what follows */
  pthread_cond_t has_work;
  struct call_list ready, returned; /* calls that want a slice; calls that Node's thread has to look at */
  bool is_stopping, is_told;        /* is_told: Node's thread will look at `returned` */
  pthread_t *workers;
  size_t n_workers;
};

struct engine *engine_create(napi_env env, const struct engine *wanted, size_t n_workers, const char *cache,
                             struct gw_error *err);
void engine_retain(struct engine *engine);
void engine_release(struct engine *engine);
/* Any thread: the call waits for a worker. */
void engine_queue(struct engine *engine, struct call *call);
/* While a call is open the process does not end by itself. */
void engine_open(struct engine *engine);
void engine_close(struct engine *engine);
/* Until when calls may run on Node's thread in this turn of its loop; 0: no longer. */
uint64_t engine_deadline(struct engine *engine);
napi_value js_end_turn(napi_env env, napi_callback_info info);
uint64_t clock_ns(void);

/* --- modules and instances ---------------------------------------------------------------------------------------- */

/* `kinds` in signatures, one letter for a parameter or result of an export as JavaScript sees it:
 * i u b  i32 as signed, unsigned, boolean;  I U  i64;  f F  f32 f64;  s y j  text, bytes, JSON: two i32 in parameters, i64 in
 * results */
struct plan {
  char *name;
  char params[MAX_PARAMS + 1];
  char results[MAX_PARAMS + 1];
  bool may_fail;  /* a result of bytes may be the text of an error */
  uint32_t index; /* of the export, in instances' tables */
};

struct module {
  size_t n_owners;
  struct engine *engine;
  struct gw_module *gw;
  uint32_t n_exports;
};
void module_retain(struct module *module);
void module_release(struct module *module);

/* A function that a module imports, answered by JavaScript. */
struct host_import {
  struct instance *instance;
  struct gw_host_func func;
  char *params, *results;
  napi_ref function; /* weak: it may lead to the instance, whose JavaScript object holds it (lib/index.js) */
};

struct instance {
  size_t n_owners; /* its JavaScript object and its calls */
  struct module *module;
  struct gw_store *store;
  struct gw_instance *gw;
  struct func_ref **funcs; /* by export; NULL: not looked up yet */
  struct func_ref *alloc, *free, *start, *initialize;
  struct host_import *imports;
  size_t n_imports;
  struct world *world;          /* NULL: no WASI */
  struct gw_exchange *exchange; /* NULL: it exports no handle */
  struct state *state;          /* NULL: none */
  char *space;
  struct call *asleep; /* waits for the store, and no thread holds it; with the engine's mutex */
  bool is_woken;       /* what a call waits for may be there; with the engine's mutex */
  uint64_t gas_limit;
  double gas_used; /* by the last call */
  bool has_started, is_used, is_closed;
  atomic_bool is_broken;    /* it could not start, or not be reset */
  struct call *current;     /* has the store */
  struct call_list waiting; /* wait for it */
  struct instance *next, **link;
  napi_ref self; /* its JavaScript object, weak but while it has calls */
};
void instance_release(struct instance *instance);
/* While it has calls its JavaScript object stays, and the functions that this holds. */
void instance_busy(struct instance *instance);
void instance_rest(struct instance *instance);

napi_value js_compile(napi_env env, napi_callback_info info);
napi_value js_types(napi_env env, napi_callback_info info);
napi_value js_plan(napi_env env, napi_callback_info info);
napi_value js_instantiate(napi_env env, napi_callback_info info);

/* --- calls -------------------------------------------------------------------------------------------------------- */

enum step { STEP_RESET, STEP_START, STEP_INITIALIZE, STEP_ALLOC, STEP_CALL, STEP_FREE_RESULT, STEP_FREE_ARGUMENTS, STEP_END };
enum progress {
  PROGRESS_ENDED,
  PROGRESS_YIELDED,
  PROGRESS_PARKED, /* a host function is wanted */
  PROGRESS_ASLEEP  /* the store is to answer */
};

struct bytes {
  uint8_t *data;
  size_t size;
};

/* What a parked call waits for: JavaScript's answer. Owned by a JavaScript value, which may outlive the call. */
struct answer {
  struct call *call; /* NULL: nobody waits any more */
};

struct request {
  struct gw_request of; /* owns its strings */
  struct gw_header *headers;
  void *body;
  struct gw_state *state; /* which the call uses; NULL: none */
  struct gw_reply reply;  /* the exchange's */
  bool has_gas;           /* an attempt has begun */
};

struct call {
  struct call *next;
  struct instance *instance;
  const struct plan *plan; /* NULL: it is a request's */
  struct request *request; /* NULL: a call of an export */
  enum step step;
  bool is_begun;  /* the store runs this step */
  bool is_fresh;  /* the instance is reset before */
  bool wants_gas; /* the result is {value, gas} */
  bool is_open;   /* keeps the process alive */
  bool is_here;   /* parked, and Node's thread holds it */
  atomic_bool is_cancelled;
  uint32_t id;
  uint64_t gas_limit, gas;
  uint32_t n_flat;
  uint64_t pointers; /* bit i: arguments[i] is an offset in `block` until that has its place */
  struct bytes block;
  uint32_t block_at;
  struct bytes result;
  struct bytes input;      /* of WASI programs */
  struct gw_frame *frames; /* where it trapped */
  size_t n_frames;
  uint64_t packed;
  bool is_failure; /* the function gave an error's text */
  struct gw_error err;
  napi_deferred deferred;
  /* While a host function waits. */
  struct {
    struct host_import *import;
    union gw_value *values;
    struct gw_park *park;
    struct answer *answer;
    bool has_failed;
    char message[200];
  } host;
  napi_ref thrown; /* what JavaScript threw in a host function */
  /* From here on nothing is cleared for a new call. */
  union gw_value values[MAX_FLAT];
  union gw_value arguments[MAX_FLAT];
};

napi_value js_call(napi_env env, napi_callback_info info);
napi_value js_handle(napi_env env, napi_callback_info info);
napi_value js_call_sync(napi_env env, napi_callback_info info);
napi_value js_abort(napi_env env, napi_callback_info info);
napi_value js_close(napi_env env, napi_callback_info info);
/* Any thread that holds the call: runs it for a slice. */
enum progress call_run(struct call *call);
/* A worker gave it back: it has ended, or a host function is wanted. */
void call_returned(napi_env env, struct call *call);
/* It is not run any more; the environment ends. */
void call_drop(struct call *call);
void call_cancel(struct call *call);
/* Its host function has the answer. */
void call_resume(struct call *call);

/* --- requests ----------------------------------------------------------------------------------------------------- */

bool request_prepare(struct instance *instance, struct gw_error *err);
/* Any thread that holds the call. */
enum gw_status request_run(struct call *call);
void request_cancel(struct call *call);
/* A worker with the engine's mutex: lets a parked call sleep, unless it is woken already. */
bool request_sleep(struct call *call);
/* True: it slept, and is held by who calls this. */
bool request_rouse(struct call *call);
/* [method, path, query, target, [[name, value]], body or null, whether it only reads], or no object: a call of an export. False:
 * an exception is pending. */
bool request_read(napi_env env, struct call *call, napi_value value);
void request_free(struct call *call);
napi_value request_reply(napi_env env, const struct call *call);
/* Adds log and attempts. */
void request_log(napi_env env, const struct call *call, napi_value object);

/* --- state -------------------------------------------------------------------------------------------------------- */

void state_retain(struct state *state);
void state_release(struct state *state); /* NULL is allowed */
/* Until state_unuse it is not closed; NULL: it is already. */
struct gw_state *state_use(struct state *state);
/* is_ending: the environment does, and nobody waits for the close. */
void state_unuse(struct state *state, bool is_ending);
napi_value js_open_state(napi_env env, napi_callback_info info);
napi_value js_close_state(napi_env env, napi_callback_info info);
napi_value js_begin_txn(napi_env env, napi_callback_info info);
napi_value js_txn_op(napi_env env, napi_callback_info info);
napi_value js_abort_txn(napi_env env, napi_callback_info info);

/* --- host functions ----------------------------------------------------------------------------------------------- */

enum gw_trap host_call(struct gw_instance *caller, void *import, union gw_value *values);
/* Calls the JavaScript function that a parked call wants. False: it has promised an answer. */
bool host_answer(napi_env env, struct call *call);
napi_value js_settle(napi_env env, napi_callback_info info);

/* --- WASI --------------------------------------------------------------------------------------------------------- */

struct world {
  struct gw_wasi *wasi;
  struct gw_wasi_options options; /* owns its strings */
};

/* {args: [text], env: [text], directories: [[guest path, host path, read only]], seed: number or null}; NULL for null. */
struct world *world_create(napi_env env, napi_value value, struct gw_error *err);
void world_destroy(struct world *world);
/* Any thread that holds the call: for a new invocation. */
bool world_begin(struct world *world, const struct bytes *input, struct gw_error *err);
/* Adds stdout, stderr and exitCode. */
void world_describe(napi_env env, const struct world *world, napi_value object);

/* --- values ------------------------------------------------------------------------------------------------------- */

/* False: an exception is pending. */
bool convert_arguments(napi_env env, struct call *call, const napi_value *values, size_t n);
napi_value convert_results(napi_env env, struct call *call);
bool convert_to_wasm(napi_env env, char kind, napi_value value, union gw_value *out);
napi_value convert_to_js(napi_env env, char kind, union gw_value value);
napi_value convert_error(napi_env env, const struct gw_error *err, double gas);
napi_value convert_frames(napi_env env, const struct gw_frame *frames, size_t n);
char *convert_string(napi_env env, napi_value value); /* NULL: it is none; free() it */
/* The error whose text a function gave. */
napi_value convert_failure(napi_env env, const struct bytes *text, double gas);
/* The bytes of a typed array, DataView or ArrayBuffer; NULL with *size 0 for others, and then *ok is false. */
const void *convert_view(napi_env env, napi_value value, size_t *size, bool *ok);
bool throw_type_error(napi_env env, const char *format, ...) __attribute__((format(printf, 2, 3)));
void *allocate(size_t size); /* zeroed; missing memory ends the process, as in Node */

#endif
