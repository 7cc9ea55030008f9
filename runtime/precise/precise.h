/* The precise tier: an interpreter that runs a module at once, without the compiler, and traps exactly (essay in
 * runtime/precise/translate.c). It shares instances, host functions, fibers and gas with compiled code; a store runs one tier. */
#ifndef RUNTIME_PRECISE_PRECISE_H
#define RUNTIME_PRECISE_PRECISE_H

#include "abi/abi.h"
#include "gasworks.h"

#include <stdbool.h>

struct code_range;
struct gw_module;
struct gw_store;
struct precise_module;
struct precise_step;

/* Looks at the instruction that comes next; true: the invocation yields, and its caller may look around (precise_look). */
typedef bool precise_watch(void *env, struct gw_store *store, const struct precise_step *step);

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
  /* Of engines that watch. */
  precise_watch *watch; /* or NULL */
  void *watch_env;
  uint64_t n_steps;
  const struct precise_frame *watched; /* frame of the last step, and what its callers have paid for behind their calls */
  uint64_t prepaid;
};

/* A place in a guest, for messages. */
struct precise_place {
  const struct gw_instance *instance;
  uint32_t func;
  uint64_t offset; /* of the instruction in the module's bytes */
};

/* What a watch sees. */
struct precise_step {
  struct precise_place place;
  uint64_t number;   /* of the instruction in the store's life, from 1 */
  uint64_t gas;      /* used before it: blocks that have begun, its own and those of calls, are counted up to where they are */
  uintptr_t level;   /* higher in called functions, the same behind tail calls */
  bool starts_block; /* first of its gas block */
};

/* A frame of an invocation that has yielded from a watch, or trapped. Pointers are valid until it goes on. */
struct precise_view {
  struct precise_place place;
  const union gw_value *locals, *operands; /* operands: from the bottom, without the arguments of a call under way */
  uint32_t n_operands;
};

/* MIXED: as the baseline tier, until functions have been compiled (runtime/precise/compiled.c). APART: they never are, but code
 * of other modules that was compiled calls them. */
enum precise_kind { PRECISE_INTERPRETER, PRECISE_BASELINE, PRECISE_MIXED, PRECISE_APART, N_PRECISE_KINDS };

/* Translated functions of one module, made at the first use; functions are translated when first called. Thread-safe. */
struct precise_module *precise_module_create(struct gw_module *module, enum precise_kind kind);
void precise_module_destroy(struct precise_module *p);

/* A signal came at pc, when the register of the gas counter held `gas`. True: that is code of this store's baseline tier, and the
 * store knows the place now. For the signal handler. */
bool precise_fault(struct gw_store *store, uintptr_t pc, int64_t gas);

/* Of the mixed tier: the functions that `code` has are called in it from now on, by all who call them, and callers that run go on
 * as they are. Takes it over in every case. False: there is no memory, and nothing has changed. Thread-safe. */
struct code;
bool precise_module_publish(struct precise_module *p, struct code *code);

/* The instance's references lead to the best code that there is; for the mixed tier alone. On the thread that runs its store. */
void precise_attach(struct gw_instance *instance);

/* The code that holds pc, of those that were published; NULL: none. Safe in a signal handler. */
const struct code_range *precise_find_compiled(const struct precise_module *p, uintptr_t pc);

/* The instance's functions that run and were entered from translated code, from the inside outwards; returns how many were put
 * into funcs[0..], at most `most`. *is_translated: the first of them runs translated code. For an invocation of the mixed tier
 * that has yielded. */
uint32_t precise_list_running(const struct gw_store *store, const struct gw_instance *instance, uint32_t *funcs, uint32_t most,
                              bool *is_translated);

/* Translates all functions at once. Thread-safe. */
void precise_module_translate(struct precise_module *p);

/* What the baseline tier has made so far. */
struct precise_stats {
  uint32_t functions, refused; /* with code; without, as there was no room or memory: interpreted */
  uint64_t bytes, kept;        /* of code; of buffers that the next function's code is made in */
  double seconds;              /* of translating and emitting */
};
/* Adds what was published to its code and seconds. */
void precise_add_published(const struct precise_module *p, struct gw_module_stats *out);
/* Of a module of the baseline tier, or NULL: nothing. Callers hold module->precise_lock. */
struct precise_stats precise_module_stats(const struct precise_module *p);

bool precise_stack_open(struct gw_store *store, struct gw_error *err);
void precise_stack_close(struct precise_stack *stack);

/* On the store's fiber: calls `func` with values[0..] and puts its results there. Returns with exec.exception set when an
 * exception was not caught; ends the fiber on a trap. */
void precise_call(struct gw_store *store, struct func_ref *func, union gw_value *values);

/* Fills places[0..] from the instruction under way outwards; returns how many calls there are, which may be more than `most`.
 * After a trap, before the store runs anything else. */
size_t precise_backtrace(const struct gw_store *store, struct precise_place *places, size_t most);

/* For stores whose engine watches (gw_engine_options.watch); NULL ends it. */
void precise_set_watch(struct gw_store *store, precise_watch *watch, void *env);

/* Frame `index`, from 0 outwards; false: there are fewer. */
bool precise_look(const struct gw_store *store, uint32_t index, struct precise_view *out);

/* The place of a throw, as exception_place tells it. */
bool precise_find(const struct gw_store *store, uintptr_t pc, struct precise_place *place);
/* The same without its offset, for which the function would have to be translated again; pc 0: where the guest is. */
bool precise_find_func(const struct gw_store *store, uintptr_t pc, struct precise_place *place);

#endif
