/* Gasworks as a C library: load a WebAssembly module, run its functions, pay for exactly what they used.
 *
 *   struct gw_error err = {0};
 *   struct gw_engine *engine = gw_engine_create(&(struct gw_engine_options){.opt_level = 2, .gas = true}, &err);
 *   struct gw_module *module = gw_module_create(engine, bytes, size, &err);
 *   struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.gas_limit = 1000000}, &err);
 *   struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
 *   union gw_value values[1] = {{.i32 = 20}};
 *   bool ok = gw_call_export(instance, "fib", values, 1, &err);   // result in values[0], gas in gw_store_gas_used(store)
 *
 * Threads: an engine and a module may be used by many threads at once; a store and everything in it by one at a time.
 * Errors: functions that can fail return false or NULL and fill *err (which must be zero before). */
#ifndef GASWORKS_H
#define GASWORKS_H

#include "gasworks/error.h"
#include "gasworks/value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct gw_engine;
struct gw_module;
struct gw_store;
struct gw_instance;
struct module;   /* frontend/module.h; opaque to embedders */
struct schedule; /* instrument/schedule.h; likewise */

/* --- cache -------------------------------------------------------------------------------------------------------- */

struct gw_cache;

#define GW_CACHE_DEFAULT_BYTES (UINT64_C(4) << 30)

/* A directory for compiled modules, made if it is not there; those used least recently are removed beyond `max_bytes` (0:
 * GW_CACHE_DEFAULT_BYTES). It must belong to the user and be writable by nobody else. Many processes and threads may use one. */
struct gw_cache *gw_cache_open(const char *path, uint64_t max_bytes, struct gw_error *err);
/* The engines that use it must be gone. */
void gw_cache_close(struct gw_cache *cache);

/* --- engine ------------------------------------------------------------------------------------------------------ */

#define GW_COMPILE_DEFAULT_SECONDS 600
#define GW_COMPILE_DEFAULT_MEMORY (UINT64_C(4) << 30)

struct gw_engine_options {
  uint32_t opt_level; /* 0..3 */
  bool gas;           /* meter; without it gas limits are ignored and gas used is 0 */
  bool verify;        /* LLVM's verifier on every function; for development */
  bool profile;       /* with gas: keep who spent it (runtime/debug/profile.h); several times slower */
  /* Compiled code comes with its source lines, from the module's DWARF, and gdb is told of it: break at a function by name. The
   * code is the same. It is always compiled in this process, and not kept. */
  bool debug_info;
  bool perf; /* leave /tmp/perf-PID.map for Linux's perf; with debug_info also a jitdump (docs/debugging.md) */
  /* Compiled code may leave out, merge or reorder what a run that traps has written: faster (docs/embedding.md has numbers), for
   * who throws a trapped instance away. Without it memories, tables and globals are behind a trap as the specification says. */
  bool loose_traps;
  bool watch; /* the precise tier stops at every instruction (runtime/precise/precise.h); several times slower */
  const struct schedule *schedule; /* prices; copied; NULL: the built-in ones */
  struct gw_cache *cache;          /* where compiled modules are kept, must outlive the engine; NULL: nowhere */
  uint32_t threads;                /* of one compilation; 0: one for each core */
  /* Called while this process compiles, from one compiling thread at a time: bytes of function bodies done, and of all. */
  void (*progress)(void *env, uint64_t done, uint64_t total);
  void *progress_env;
  /* The gasworks program: modules are compiled by child processes of it, within limits, so that neither a crash of the compiler
   * nor a module that takes forever to compile concerns this process. NULL: compile in this process. */
  const char *compiler_program;
  uint32_t compile_seconds;      /* the most CPU seconds of a child, which has 20 and one for each 16 KiB of the module;
                                  * 0: GW_COMPILE_DEFAULT_SECONDS */
  uint32_t compile_wall_seconds; /* seconds by the clock; 0: four times compile_seconds */
  uint64_t compile_memory;       /* bytes of address space of a child; 0: GW_COMPILE_DEFAULT_MEMORY */
  uint64_t reserved[8];          /* zero */
};

/* Process-wide set-up: trap signal handlers are installed by the first engine. The compiler is not loaded yet. */
struct gw_engine *gw_engine_create(const struct gw_engine_options *options, struct gw_error *err);
/* All modules and stores must be gone. NULL is allowed, here and in every destroy. */
void gw_engine_destroy(struct gw_engine *engine);
/* The sizes of all linear memories and tables of all its stores together, in bytes, and what is counted with them: frames of
 * checkpoints, exceptions that outlive an invocation, and what instances and stacks are larger than usual. Thread-safe. */
uint64_t gw_engine_memory_bytes(const struct gw_engine *engine);
/* Ends child processes that compile, and lets no more begin: who waits for them gets an error. Thread-safe. */
void gw_engine_stop_compiling(struct gw_engine *engine);

/* --- module ------------------------------------------------------------------------------------------------------ */

/* Decodes and validates; `bytes` are copied. Does not load LLVM. The caller holds one reference. */
struct gw_module *gw_module_create(struct gw_engine *engine, const void *bytes, size_t size, struct gw_error *err);
/* Compiles now what would otherwise be compiled by the first instance. Thread-safe; compiles once. */
bool gw_module_compile(struct gw_module *module, struct gw_error *err);
/* The same, but a child process gives up after two seconds of CPU time: then *is_slow, and gw_module_compile is to follow. */
bool gw_module_compile_quickly(struct gw_module *module, bool *is_slow, struct gw_error *err);
/* A module with its machine code from a file that gw_module_make_artifact made, for this build, CPU, gas and schedule; code that
 * others made runs with all rights of this process. The compiler is not needed. */
struct gw_module *gw_module_open_artifact(struct gw_engine *engine, const char *path, struct gw_error *err);
/* The same from bytes, which are copied. */
struct gw_module *gw_module_load_artifact(struct gw_engine *engine, const void *bytes, size_t size, struct gw_error *err);
/* Compiles for `cpu` ("x86-64-v2" to "x86-64-v4", or NULL for this machine's): the artifact's bytes, which the caller frees, or
 * NULL. Thread-safe. */
void *gw_module_make_artifact(struct gw_module *module, const char *cpu, size_t *size, struct gw_error *err);
struct gw_module *gw_module_retain(struct gw_module *module);
void gw_module_release(struct gw_module *module);
/* The decoded form, valid as long as the module. */
const struct module *gw_module_decoded(const struct gw_module *module);
/* BLAKE2b-256 of the module's bytes. */
const uint8_t *gw_module_digest(const struct gw_module *module);

/* --- types: what imports and exports are ---------------------------------------------------------------------------- */

enum gw_extern_kind { GW_EXTERN_FUNC, GW_EXTERN_TABLE, GW_EXTERN_MEMORY, GW_EXTERN_GLOBAL, GW_EXTERN_HOST_FUNC, GW_EXTERN_TAG };

struct func_type; /* frontend/module.h; opaque to embedders */

/* Which fields count follows from the kind. */
struct gw_extern_type {
  enum gw_extern_kind kind;     /* never GW_EXTERN_HOST_FUNC */
  const struct func_type *func; /* function and tag: see gw_func_param; valid as long as the module */
  uint32_t n_params, n_results;
  enum gw_type type;      /* of a global, and of a table's entries */
  bool is_mutable;        /* global */
  bool is_64, is_shared;  /* memory and table: 64-bit indices; memory: shared between threads */
  uint8_t page_size_log2; /* memory: 16 unless it has another page size */
  uint64_t min, max;      /* memory: pages, table: entries; max is UINT64_MAX where there is none */
};

enum gw_type gw_func_param(const struct func_type *type, uint32_t index);
enum gw_type gw_func_result(const struct func_type *type, uint32_t index);

/* Names are UTF-8 with their size, and belong to the module, as the types do. */
struct gw_named_type {
  const char *module, *name; /* module: of imports, NULL of exports */
  size_t module_size, name_size;
  struct gw_extern_type type;
};

/* In the module's order, from 0; false: there are no more. */
bool gw_module_import(const struct gw_module *module, uint32_t index, struct gw_named_type *out);
bool gw_module_export(const struct gw_module *module, uint32_t index, struct gw_named_type *out);

enum gw_dump { GW_DUMP_IR_FRESH = 1, GW_DUMP_IR, GW_DUMP_ASM };
/* Text of a compilation stage for `cpu`, by the name that LLVM gives it (NULL: this machine's); free() it. */
char *gw_module_dump(struct gw_module *module, enum gw_dump kind, const char *cpu, struct gw_error *err);

struct gw_module_stats {
  double seconds_decode, seconds_validate;
  /* CPU time of all threads that compiled; 0 for code that was there already. */
  double seconds_lower, seconds_charge, seconds_optimize, seconds_emit, seconds_link;
  size_t code_bytes; /* machine code */
  /* Of the baseline tier so far: functions that have code, those that are interpreted for lack of memory, bytes of code. */
  uint32_t baseline_functions, baseline_refused;
  size_t baseline_bytes;
  double seconds_baseline; /* of one core, translation included */
};
void gw_module_stats(const struct gw_module *module, struct gw_module_stats *out);

/* --- store: instances that may share things, and one invocation at a time ----------------------------------------- */

/* How a store's instances run. The precise tier is an interpreter: it needs no compiler, and its traps are exact. The baseline
 * tier is the same with machine code for each function, made when it is first called, several times as fast. The mixed tier is
 * that, until functions have been compiled, each by itself; traps are then those of compiled code. */
enum gw_tier { GW_TIER_FAST, GW_TIER_PRECISE, GW_TIER_BASELINE, GW_TIER_MIXED };

struct gw_store_options {
  uint64_t gas_limit;         /* per invocation; 0: as good as unlimited */
  uint64_t slice;             /* gas between two yields of gw_store_resume, at least; 0: never yield */
  uint64_t max_memory_bytes;  /* of all memories and tables of the store together; 0: 64 GiB */
  uint64_t max_table_entries; /* of all tables of the store together; 0: 10,000,000 */
  uint32_t max_depth;         /* logical stack in bytes; 0: 1 MiB */
  enum gw_tier tier;
  bool defers_start; /* making and resetting instances leaves the start function to the embedder: gw_instance_start */
  /* With gas only. Where a slice ends changes neither results nor gas. */
  uint64_t slice_ns;       /* with `slice`: time between two yields, about; 0: gas alone bounds slices */
  uint64_t cpu_limit_ns;   /* CPU time of an invocation, about: beyond it ends with GW_TRAP_CANCELLED; 0: none */
  uint64_t (*clock)(void); /* tests have their own, in nanoseconds; NULL: the system's */
  bool measures_cpu;       /* gw_store_cpu_ns without the two before: two looks at a clock for each step */
  uint64_t reserved[8];    /* zero */
};

/* What stores learn about how long a function's gas takes. All zero at first. */
struct gw_pace {
  uint64_t look;            /* gas to the next look at the clock */
  uint32_t n_early, wanted; /* looks that came early in a row; how many let it double */
};

struct gw_store *gw_store_create(struct gw_engine *engine, const struct gw_store_options *options, struct gw_error *err);
/* Frees its instances too. No invocation may be suspended on it (cancel first). */
void gw_store_destroy(struct gw_store *store);
void gw_store_set_gas_limit(struct gw_store *store, uint64_t gas_limit);
/* The next invocation begins with so much gas used: of gw_instance_gas, or of what ran before it. If that is more than its limit,
 * it ends with out of gas. */
void gw_store_owe(struct gw_store *store, uint64_t gas);
/* The same for CPU time, in nanoseconds. */
void gw_store_owe_cpu(struct gw_store *store, uint64_t ns);
/* Gas of the last (or current) invocation, at most the limit. */
uint64_t gw_store_gas_used(const struct gw_store *store);
/* Its CPU time in nanoseconds, as far as it has been looked at: exact when it does not run. It is measured, so it is another one
 * each time. 0 in stores that need no clock (struct gw_store_options). */
uint64_t gw_store_cpu_ns(const struct gw_store *store);
/* Where slices are bounded by time: stores that run the same code one after another, on one thread, share what they learn. NULL:
 * this one learns for itself. */
void gw_store_set_pace(struct gw_store *store, struct gw_pace *pace);
/* Sizes of its memories and tables, in bytes. */
uint64_t gw_store_memory_bytes(const struct gw_store *store);
/* The limit of the last (or current) invocation; INT64_MAX without one. */
uint64_t gw_store_gas_limit(const struct gw_store *store);
/* The embedder's own pointer. */
void gw_store_set_user(struct gw_store *store, void *user);
void *gw_store_user(const struct gw_store *store);

/* --- host functions and linking ---------------------------------------------------------------------------------- */

/* A function given by the host: parameters in values[0..], results written to values[0..]. Runs on the guest's fiber: it must
 * not hold a lock, or memory that nobody else frees, when it returns a trap. GW_TRAP_NONE goes on; GW_TRAP_EXIT ends the
 * invocation as a success; other values trap it (say why with gw_instance_fail first); numbers that are no trap's are
 * GW_TRAP_HOST. */
typedef enum gw_trap (*gw_host_fn)(struct gw_instance *caller, void *env, union gw_value *values);

/* One row of a host module. `signature` is "results_params" of i I f F v r R (i32 i64 f32 f64 v128 externref funcref), like
 * "i_iiI"; NULL: whatever the module wants. */
struct gw_host_func {
  const char *module, *name, *signature;
  gw_host_fn fn;
};

/* Something that satisfies an import. */
struct gw_extern {
  enum gw_extern_kind kind;
  union {
    struct func_ref *func; /* from gw_instance_export */
    struct gw_table *table;
    struct gw_memory *memory;
    struct gw_global *global;
    struct gw_tag *tag;
    struct {
      const struct gw_host_func *func; /* must outlive the instance */
      void *env;
    } host;
  } of;
};

/* What a module asks for. Names are UTF-8, not NUL-terminated. */
struct gw_import {
  const char *module, *field;
  uint32_t module_size, field_size;
};

/* What it is: sizes are those of this moment. Not for GW_EXTERN_HOST_FUNC, which has the type that its importer wants: false. */
bool gw_extern_type(const struct gw_extern *it, struct gw_extern_type *out);

/* A host function as a value, to be called, put into tables and imported. `signature` as in struct gw_host_func; `fn` gets `env`,
 * and for `caller` an instance without memory where it is called from outside of a module. Belongs to the store, which calls
 * `finish` with `env` when it goes, unless that is NULL. In the fast tier the first function of each type is compiled. */
struct func_ref *gw_func_create(struct gw_store *store, const char *signature, gw_host_fn fn, void *env,
                                void (*finish)(void *env), struct gw_error *err);

/* Fills *out and returns true, or returns false when there is no such thing. Types are checked by the caller. */
typedef bool (*gw_resolve_fn)(void *env, const struct gw_import *import, struct gw_extern *out);

/* Links, initialises and runs the start function, of a module of the store's engine. `resolve` may be NULL for modules without
 * imports. On failure the store keeps what active segments wrote into shared memories and tables before. */
struct gw_instance *gw_instance_create(struct gw_store *store, struct gw_module *module, gw_resolve_fn resolve, void *env,
                                       struct gw_error *err);
/* Back to the state right after creation: own memories, tables, globals and segments; then the start function again. Only for
 * instances that import no memory, table or mutable global. */
bool gw_instance_reset(struct gw_instance *instance, struct gw_error *err);
/* Whether a reset copies back no more than the few pages that calls write to. The first one never does, nor those of large
 * memories and of such as are written to all over: they write the memory's data anew. */
bool gw_instance_resets_pages(const struct gw_instance *instance);
/* From now on resets go back to the state of this moment, and the start function does not run again. What led to it must be the
 * same every time: no host function was called since the last reset, no memory or table grew or was refused it by the system, no
 * exceptions; gw_instance_can_keep says so. When this fails, or a later reset (the memory was written to all over), the instance
 * can only be destroyed. */
bool gw_instance_can_keep(const struct gw_instance *instance);
bool gw_instance_keep(struct gw_instance *instance, struct gw_error *err);

/* The start function, which the embedder of a store that defers it calls first in a fresh instance; NULL without one. */
struct func_ref *gw_instance_start(const struct gw_instance *instance);
/* What docs/gas.md charges every invocation for a fresh instance, whether one is made, reset or kept. The start function is not
 * in it. Nothing charges it but gw_store_owe. */
uint64_t gw_instance_gas(const struct gw_instance *instance);

bool gw_instance_export(struct gw_instance *instance, const char *name, size_t size, struct gw_extern *out);
/* The same in the module's order, from 0; false: there are no more. */
bool gw_instance_export_at(struct gw_instance *instance, uint32_t index, struct gw_extern *out);
struct gw_module *gw_instance_module(const struct gw_instance *instance);
struct gw_store *gw_instance_store(const struct gw_instance *instance);

/* Pointer to [offset, offset + size) of memory 0, or NULL when any of it is out of bounds. Valid until the instance is reset. Of
 * a store whose slices are bounded by time, other bytes may be inaccessible until they are asked for. */
void *gw_instance_memory(struct gw_instance *instance, uint64_t offset, uint64_t size);
uint64_t gw_instance_memory_size(const struct gw_instance *instance);
/* Charges gas from within a host function; false: not enough left, return GW_TRAP_OUT_OF_GAS. */
bool gw_instance_charge(struct gw_instance *instance, uint64_t gas);
/* The same for one piece of long work, when that is affordable as a whole (gw_instance_affords): where the slice ends, others run
 * before it returns, and if the invocation is cancelled it does not return. Hold nothing that nobody else frees. */
void gw_instance_charge_piece(struct gw_instance *instance, uint64_t gas);
bool gw_instance_affords(const struct gw_instance *instance, uint64_t gas);
/* Says, within a host function, that calling it again would give something else (a clock, random numbers, an answer from
 * outside). A second run of the invocation then gets what this call gave (runtime/debug/record.h). */
void gw_instance_unrepeatable(struct gw_instance *instance);
/* What the instance's engine charges by. */
const struct schedule *gw_instance_schedule(const struct gw_instance *instance);
/* The sentence that goes with the trap a host function is about to return. */
void gw_instance_fail(struct gw_instance *instance, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Host-made things for imports, and reading and writing globals; owned by the store. Types as in the text format:
 * "i32", "funcref", ...; a table with 64-bit indices is "i64 funcref". */
struct gw_memory *gw_memory_create(struct gw_store *store, uint64_t min_pages, uint64_t max_pages, struct gw_error *err);
struct gw_table *gw_table_create(struct gw_store *store, const char *type, uint64_t min, uint64_t max, struct gw_error *err);
/* NULL: no such type, or a reference that it does not allow. */
struct gw_global *gw_global_create(struct gw_store *store, const char *type, bool is_mutable, union gw_value value);
union gw_value gw_global_get(const struct gw_global *global);
/* False: it is immutable, or a reference that its type does not allow. */
bool gw_global_set(struct gw_global *global, union gw_value value);

/* As gw_instance_memory, for any memory. Its base never moves. */
void *gw_memory_data(struct gw_memory *memory, uint64_t offset, uint64_t size);
uint64_t gw_memory_size(const struct gw_memory *memory); /* bytes */
uint64_t gw_memory_pages(const struct gw_memory *memory);
/* False: beyond its maximum or the store's limit, or the system has no more. No gas is charged. */
bool gw_memory_grow(struct gw_memory *memory, uint64_t pages);

uint64_t gw_table_size(const struct gw_table *table); /* entries */
/* False: out of bounds. In `ref`, as everywhere. */
bool gw_table_get(const struct gw_table *table, uint64_t index, union gw_value *out);
/* False: out of bounds, or a reference that its type does not allow. */
bool gw_table_set(struct gw_table *table, uint64_t index, union gw_value value);
/* False: as gw_memory_grow, or as gw_table_set. */
bool gw_table_grow(struct gw_table *table, uint64_t n, union gw_value value);

/* --- calling ----------------------------------------------------------------------------------------------------- */

/* Runs to the end. Within a host function it calls back into the store that called it, with the gas that is left there: up to
 * GW_MOST_NESTED deep, not where a record or a profile is kept. There GW_TRAP_EXIT and GW_TRAP_CANCELLED are failures, which the
 * host function should return. `values` holds the parameters and gets the results: room for the greater number of both. The
 * number of values must fit the export's type for gw_call_export. On a trap err->code is GW_ERROR_TRAP and err->trap says which;
 * GW_TRAP_EXIT is a success. */
bool gw_call(struct gw_store *store, struct func_ref *func, union gw_value *values, struct gw_error *err);
bool gw_call_export(struct gw_instance *instance, const char *name, union gw_value *values, size_t n_values,
                    struct gw_error *err);

#define GW_MOST_NESTED 32

/* The same with values that say their types, for callers who do not know the module: all must be as the function has them. Room
 * for `n_results` results. */
bool gw_call_typed(struct gw_instance *instance, const char *name, const struct gw_typed_value *args, size_t n_args,
                   struct gw_typed_value *results, size_t n_results, struct gw_error *err);

/* A call that was under way when an invocation trapped. */
struct gw_frame {
  const struct gw_instance *instance;
  uint32_t func;         /* index in its module */
  uint64_t offset;       /* of the instruction in the module's bytes; GW_NO_OFFSET: unknown */
  uint64_t start;        /* of the function's first instruction, likewise */
  char function[128];    /* its name, or one made of the index; cut to fit */
  char file[256];        /* source file from the module's debug information, or "" */
  uint32_t line, column; /* 0: unknown */
};

/* Behind a trap, before anything else runs in the store: the calls from the innermost outwards. Fills frames[0..most), returns
 * how many there are. The precise tier knows all of them; compiled code only the innermost, without its place. */
size_t gw_store_backtrace(const struct gw_store *store, struct gw_frame *frames, size_t most);

enum gw_status {
  GW_STATUS_DONE,
  GW_STATUS_FAILED,
  GW_STATUS_YIELDED,
  GW_STATUS_PARKED, /* a host function waits for an answer from elsewhere: resume when `wake` was called */
};

/* The same in steps, for event loops: start, then resume until it is done or failed. `values` must live until then. One that is
 * parked and resumed too early is still parked. */
void gw_store_start(struct gw_store *store, struct func_ref *func, union gw_value *values);
enum gw_status gw_store_resume(struct gw_store *store, struct gw_error *err);
/* For invocations that park from now on: `wake` is called once for each GW_STATUS_PARKED, on any thread, perhaps before
 * gw_store_resume returns. It must not block nor call the store's functions. gw_store_cancel keeps it from being called later.
 * NULL: nobody is told. */
void gw_store_set_wake(struct gw_store *store, void (*wake)(void *arg), void *arg);
/* Blocks until a parked invocation can be resumed. gw_call does so by itself. */
void gw_store_wait(struct gw_store *store);
/* Ends a suspended invocation; its fiber is dropped. Of the host functions on it, gw_park_here returns, nothing else does. */
void gw_store_cancel(struct gw_store *store);

/* --- cancelling from another thread ------------------------------------------------------------------------------ */

/* From any thread, while the store exists: the invocation under way, or else the next one, ends with GW_TRAP_CANCELLED. With gas
 * compiled code notices within about a millisecond of its own time; without gas only where it calls host functions. One that is
 * parked is woken, as its answer would. A host function that is under way ends first. */
void gw_store_interrupt(struct gw_store *store);
/* Takes it back, unless an invocation has ended by it; returns whether there was something to take back. Thread-safe. */
bool gw_store_clear_interrupt(struct gw_store *store);

/* --- host functions that wait ------------------------------------------------------------------------------------ */

/* A host function whose answer comes from elsewhere, later, leaves its thread to others:
 *
 *   struct gw_park *park = gw_park_begin(caller);
 *   ask somebody, who calls gw_park_wake(park) once when the answer is there, on any thread;
 *   enum gw_trap trap = gw_park_here(caller);   // gw_store_resume says GW_STATUS_PARKED meanwhile; gw_call waits
 *   if (trap) let go of the question, and return trap;
 *   take the answer
 *
 * While it is parked nothing of the guest happens, so gas is that of an answer at once. When the invocation is cancelled or
 * interrupted, gw_park_here returns before the answer, so the question must belong to two: the last one frees it. It must not use
 * the stack of the host function. The store may be resumed on another thread: hold no lock and no thread-local address. */
struct gw_park;
/* Within a host function; exactly one gw_park_here and exactly one gw_park_wake must follow. */
struct gw_park *gw_park_begin(struct gw_instance *caller);
/* GW_TRAP_NONE: woken. GW_TRAP_CANCELLED: the invocation ends, and the host function must return this. */
enum gw_trap gw_park_here(struct gw_instance *caller);
/* From any thread, also within gw_park_begin and gw_park_here, also after the store is gone. The park is gone then. */
void gw_park_wake(struct gw_park *park);

/* --- WASI -------------------------------------------------------------------------------------------------------------- */

struct gw_wasi;

/* A directory that the guest gets: all that it can reach is beneath. */
struct gw_wasi_directory {
  const char *guest_path, *host_path;
  bool is_readonly;
};

/* All zero: no arguments, no environment, no files, empty input, output into buffers. */
struct gw_wasi_options {
  const char *const *args; /* NULL, or the program's name and its arguments, NULL-terminated */
  const char *const *env;  /* NULL, or "NAME=VALUE", NULL-terminated */
  const struct gw_wasi_directory *directories;
  size_t n_directories;
  const void *stdin_bytes; /* must outlive the invocation */
  size_t stdin_size;
  /* NULL, or the descriptors of standard input, output and error, which stay the caller's; -1: stdin_bytes, or a buffer. */
  const int *streams;
  bool inherits_stdio; /* as streams {0, 1, 2} */
  size_t output_limit; /* bytes of each buffer; 0: 16 MiB */
  bool deterministic;  /* clock and random numbers follow from the seed (docs/wasi.md) */
  uint64_t seed;
  bool has_state;       /* the guest has a directory /state, the last one: gw_wasi_use_state in gasworks_state.h */
  uint64_t reserved[6]; /* zero */
};

/* WASI preview 1 for one instance; strings are copied. One thread at a time. */
struct gw_wasi *gw_wasi_create(const struct gw_wasi_options *options, struct gw_error *err);
/* For the next invocation: forgets output, closes what the guest opened. */
bool gw_wasi_reset(struct gw_wasi *wasi, const struct gw_wasi_options *options, struct gw_error *err);
/* Instances that import from it must not run any more. */
void gw_wasi_destroy(struct gw_wasi *wasi);
/* A gw_resolve_fn; env is the struct gw_wasi. Call the export "_start". */
bool gw_wasi_resolve(void *wasi, const struct gw_import *import, struct gw_extern *out);
/* What was written; valid until the next invocation, reset or destroy. */
const void *gw_wasi_stdout(const struct gw_wasi *wasi, size_t *size);
const void *gw_wasi_stderr(const struct gw_wasi *wasi, size_t *size);
/* Of proc_exit; 0 when the program just returned. */
uint32_t gw_wasi_exit_code(const struct gw_wasi *wasi);

/* --- records and replays ----------------------------------------------------------------------------------------------- */

/* What host functions answered an invocation: results, traps, gas, and what they changed in memory 0. A second run, in any tier,
 * gets the same answers, and no host function is called. */
struct gw_record;

/* `limit` bounds its bytes; NULL: no memory. */
struct gw_record *gw_record_create(size_t limit);
/* No store may have it attached. */
void gw_record_destroy(struct gw_record *record);
/* Attaches, or detaches with NULL; before the first instance is made, where start functions are to be recorded, too. */
void gw_record_attach(struct gw_store *store, struct gw_record *record);
/* Forgets what there is, and records. */
void gw_record_begin(struct gw_record *record);
/* Answers from the beginning. False: there is no whole record, as it would have been beyond its limit. */
bool gw_record_replay(struct gw_record *record);
/* Whether the second run asked for something else than the first one: it trapped there. */
bool gw_record_has_parted(const struct gw_record *record);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
