/* Compiled code, mapped to be run. */
#ifndef JIT_ARTIFACT_CODE_H
#define JIT_ARTIFACT_CODE_H

#include "abi/abi.h"
#include "jit/compiler.h"

/* Where a function's machine code lies. Sorted by `begin`, not overlapping. */
struct code_range {
  uintptr_t begin, end;
  uint32_t func; /* function index, or GW_NO_FUNC for thunks */
};

/* Executable code of one module. Immutable, shared between threads. */
struct code {
  void **funcs;         /* [n_funcs] */
  entry_thunk *entries; /* [n_types]; NULL for types that are not functions */
  struct code_range *ranges;
  uint32_t n_ranges;
  size_t code_bytes;              /* machine code */
  uint32_t stack_factor;          /* of struct image */
  struct compile_seconds seconds; /* zero when it was not compiled by this process */
  void *mapping;                  /* own memory, or NULL */
  size_t mapping_size;
  struct orc_module *owner; /* or NULL */
  void (*unload)(struct orc_module *owner);
};

/* Maps a copy of `image`. NULL with `err` set. */
struct code *code_create(const struct module *m, const struct image *image, struct gw_error *err);
/* Takes over what was loaded, in every case; `unload` is the compiler's. NULL with `err` set. */
struct code *code_take(const struct module *m, struct loaded *loaded, void (*unload)(struct orc_module *), struct gw_error *err);
struct artifact;
/* The code of a mapped artifact, which must outlive it. NULL with `err` set. */
struct code *code_adopt(const struct module *m, const struct artifact *artifact, struct gw_error *err);
/* Nothing may run in it any more. NULL is allowed. */
void code_destroy(struct code *code);

/* The range of code that holds `pc`, or NULL, as for a `code` that is NULL. Safe in a signal handler. */
const struct code_range *code_find(const struct code *code, uintptr_t pc);

#endif
