/* Engines and modules as the runtime keeps them. */
#ifndef RUNTIME_ENGINE_H
#define RUNTIME_ENGINE_H

#include "gasworks.h"
#include "jit/artifact/artifact.h"
#include "jit/artifact/code.h"
#include "jit/artifact/child.h"
#include "runtime/precise/precise.h"

#include <pthread.h>
#include <stdatomic.h>

struct gw_engine {
  struct gw_engine_options options; /* options.schedule points to the next line */
  struct schedule schedule;
  _Atomic uint64_t memory_bytes; /* gw_engine_memory_bytes */
  struct child_pool compilers;
  pthread_mutex_t host_lock;        /* guards the next */
  struct host_module *host_modules; /* runtime/host_func.c */
  pthread_mutex_t beside_lock;      /* guards n_beside */
  pthread_cond_t beside_done;       /* when it is 0 */
  uint32_t n_beside;                /* threads under way (runtime/beside.h) */
};

/* runtime/host_func.c: releases them. */
void host_modules_clear(struct gw_engine *engine);

struct gw_module {
  atomic_uint references;
  struct gw_engine *engine;
  const uint8_t *bytes; /* decoded points into it: owned, or the artifact's */
  size_t size;
  struct artifact *artifact; /* where bytes and the code in its own dialect come from, or NULL */
  struct module decoded;
  struct digest digest;
  pthread_mutex_t compile_lock; /* held while compiling, so that it happens once */
  /* By dialect. NULL until compiled; then it stays. Others than the module's own are for stores with modules that need more. */
  _Atomic(struct code *) codes[N_DIALECTS];
  pthread_mutex_t precise_lock; /* held while translating for the precise tier, which never waits for the compiler */
  /* By enum precise_kind. NULL until an instance of the tier needs it, under precise_lock. */
  _Atomic(struct precise_module *) precise[N_PRECISE_KINDS];
  pthread_mutex_t source_lock;
  struct source_info *source;           /* NULL until a trap asks for source lines; under source_lock */
  struct gas_blocks blocks[N_DIALECTS]; /* of each of the codes, where the engine profiles */
  double seconds_decode, seconds_validate;
  struct compile_seconds seconds; /* of the last artifact made */
  uint64_t *heat;                 /* module_set_heat, or NULL */
};

/* The compiler, loaded at the first call; NULL with `err` set when there is none. Thread-safe. It is never unloaded. */
const struct compiler_ops *compiler_load(struct gw_error *err);

/* Name of the module from its name section, cut to fit, or "". */
const char *gw_module_name(const struct gw_module *module, char *out, size_t size);

/* The code in one dialect, compiled at the first call; NULL with `err` set. Thread-safe. */
const struct code *module_compile(struct gw_module *module, uint32_t dialect, struct gw_error *err);

/* In its own dialect: whether the code is there already. */
bool module_is_compiled(const struct gw_module *module);

/* What stores of another tier than compiled code run, made at the first call; NULL with `err` set. Thread-safe. */
struct precise_module *module_interpret(struct gw_module *module, enum precise_kind kind, struct gw_error *err);

#endif
