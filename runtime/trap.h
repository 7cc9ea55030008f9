/* Traps: by call and by signal (essay in trap.c). */
#ifndef RUNTIME_TRAP_H
#define RUNTIME_TRAP_H

#include "gasworks/error.h"

#include <stdbool.h>
#include <stdint.h>

struct gw_store;
struct gw_instance;
struct gw_memory;

/* What is known when an invocation ends early. Written on the fiber or by the signal handler, read by the host. */
struct trap {
  enum gw_trap code;
  const struct gw_instance *instance; /* whose code ran; NULL: look for pc */
  uint32_t func;                      /* with instance, or GW_NO_FUNC */
  uintptr_t pc;                       /* in guest code; 0: unknown */
  const struct gw_memory *memory;     /* access out of bounds by a load or store, or NULL; */
  uint64_t address;                   /* where */
  char message[256];                  /* of a host function, or "" */
};

/* Traps that the guest made by itself, so that any tier must come to them; out of gas is exact in every tier. */
static inline bool trap_is_guests(enum gw_trap trap) {
  return (trap > GW_TRAP_NONE && trap < GW_TRAP_EXCEPTION_MEMORY) || trap == GW_TRAP_STACK_OVERFLOW;
}

/* Makes sure that the process's handlers are in place. Thread-safe, three system calls when they are. */
bool trap_handlers_install(struct gw_error *err);

/* Has `hook` called, in the signal handler, for each fault that is not a guest's and will end the process. One for the process.
 */
void trap_on_crash(void (*hook)(int number));

/* Before running guests on this thread: gives it a signal stack, unless it has one. */
bool trap_thread_prepare(struct gw_error *err);

/* The store whose guest runs on this thread, or NULL; returns the one before. Host side only. */
struct gw_store *trap_set_current(struct gw_store *store);

struct gw_store *trap_current(void);

/* On the fiber: the invocation ends here. `pc`: return address into guest code, 0 when the place is in store->trap already. */
_Noreturn void trap_raise(struct gw_store *store, enum gw_trap code, uintptr_t pc);

/* The instance whose machine code holds `pc`, and the function's index; NULL: none of this store's. Safe in a signal handler. */
const struct gw_instance *trap_find_instance(const struct gw_store *store, uintptr_t pc, uint32_t *func);

#endif
