/* The precise tier: an interpreter that runs a module at once, without the compiler, and traps exactly (essay in
 * precise_translate.c). It shares instances, host functions, fibers and gas with compiled code; a store runs one tier. */
#ifndef RUNTIME_PRECISE_H
#define RUNTIME_PRECISE_H

#include "base/abi.h"
#include "gasworks.h"

#include <stdbool.h>

struct gw_module;
struct gw_store;
struct precise_module;

/* What a store needs to run it. All zero: nothing yet. */
struct precise_stack {
  uint8_t *low, *high; /* frames, upwards */
  /* Written before everything that may trap, throw or yield. */
  const struct precise_insn *pc;
  struct precise_frame *frame; /* of the function that runs */
  /* For the access that comes next. */
  const struct memory_ctx *selected;
  bool is_selected_64;
  uint8_t lane;
  union gw_value vector;
};

/* A place in a guest, for messages. */
struct precise_place {
  const struct gw_instance *instance;
  uint32_t func;
  uint64_t offset; /* of the instruction in the module's bytes */
};

/* Translated functions of one module, made at the first use; functions are translated when first called. Thread-safe. */
struct precise_module *precise_module_create(struct gw_module *module);
void precise_module_destroy(struct precise_module *p);

bool precise_stack_open(struct gw_store *store, struct gw_error *err);
void precise_stack_close(struct precise_stack *stack);

/* On the store's fiber: calls `func` with values[0..] and puts its results there. Returns with exec.exception set when an
 * exception was not caught; ends the fiber on a trap. */
void precise_call(struct gw_store *store, struct func_ref *func, union gw_value *values);

/* Fills places[0..] from the instruction under way outwards; returns how many calls there are, which may be more than `most`.
 * After a trap, before the store runs anything else. */
size_t precise_backtrace(const struct gw_store *store, struct precise_place *places, size_t most);

/* The place of a throw, as exception_place tells it. */
bool precise_find(const struct gw_store *store, uintptr_t pc, struct precise_place *place);

#endif
