/* Fibers: a second stack that a thread can run on, leave in the middle and come back to. */
#ifndef RUNTIME_FIBER_H
#define RUNTIME_FIBER_H

#include "gasworks/error.h"
#include "runtime/sanitizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fiber {
  uint8_t *guard;      /* start of the mapping: guard_size bytes without access, then the stack */
  uint8_t *low, *high; /* the stack */
  void *sp;            /* of the fiber while it does not run */
  void *host_sp;       /* of whoever resumed it, while it runs */
  void (*main)(void *arg);
  void *arg;
  bool is_started; /* between fiber_start and its end */
  struct sanitizer_side self, host;
};

/* Stacks are multiples of this. */
enum { FIBER_ROUNDING = 64 << 10 };

/* Maps a stack of at least `stack_size` bytes above a guard; pages are committed as they are touched. */
bool fiber_open(struct fiber *f, size_t stack_size, struct gw_error *err);
/* The fiber must not be started. All zero is allowed. */
void fiber_close(struct fiber *f);

/* The next fiber_resume begins `main(arg)` on an empty stack. It ends when main
 * returns, or by fiber_end. */
void fiber_start(struct fiber *f, void (*main)(void *arg), void *arg);
/* Runs the fiber until it suspends or ends; f->is_started says which. A suspended fiber may be resumed on another thread. */
void fiber_resume(struct fiber *f);

/* What a suspended fiber goes on with: so many bytes, its stack from the stack pointer up. Whoever puts them back when it has
 * ended makes the next fiber_resume go on there. Only where sanitizer_can_restore, and on the same stack. */
size_t fiber_depth(const struct fiber *f);
void fiber_save(const struct fiber *f, void *frames);
void fiber_restore(struct fiber *f, const void *frames, size_t size);

/* On the fiber: back to the resumer, to go on here later. */
void fiber_suspend(struct fiber *f);
/* On the fiber: back to the resumer for good. Frames on the stack are dropped where they are. */
_Noreturn void fiber_end(struct fiber *f);

#endif
