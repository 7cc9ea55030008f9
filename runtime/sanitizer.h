/* What the sanitizers must be told about stack switches. The one place that asks which sanitizer is on: their interface
 * exists only in builds that have them. Without one everything here is empty. */
#ifndef RUNTIME_SANITIZER_H
#define RUNTIME_SANITIZER_H

#include <stdbool.h>
#include <stddef.h>

/* One side of a switch as the sanitizers see it. */
struct sanitizer_side {
  void *fake_stack;   /* ASan: locals kept off the stack, for use-after-return */
  const void *bottom; /* ASan: lowest address of the stack */
  size_t size;
  void *tsan;        /* TSan: this stack's context */
  unsigned valgrind; /* Valgrind: its number for the stack */
};

/* Valgrind runs the same programs as everybody, so its requests are in all builds where its header was there: a few instructions
 * that do nothing elsewhere. Without them it would take a switch for an enormous frame. */
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
static inline void sanitizer_map(struct sanitizer_side *side) {
  const char *low = side->bottom;
  side->valgrind = VALGRIND_STACK_REGISTER(low, low + side->size);
}
static inline void sanitizer_unmap(struct sanitizer_side *side) { VALGRIND_STACK_DEREGISTER(side->valgrind); }
static inline bool sanitizer_is_valgrind(void) { return RUNNING_ON_VALGRIND; }
#else
static inline bool sanitizer_is_valgrind(void) { return false; }
static inline void sanitizer_map(struct sanitizer_side *side) { (void)side; }
static inline void sanitizer_unmap(struct sanitizer_side *side) { (void)side; }
#endif

#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
/* Just before a switch. `from` is NULL when the running stack will never be resumed. */
static inline void sanitizer_leave(struct sanitizer_side *from, const struct sanitizer_side *to) {
  __sanitizer_start_switch_fiber(from ? &from->fake_stack : NULL, to->bottom, to->size);
}
/* First thing on the stack switched to: `self` is it (NULL fake stack: it is fresh), `other` learns where we came from. */
static inline void sanitizer_arrive(struct sanitizer_side *self, struct sanitizer_side *other) {
  __sanitizer_finish_switch_fiber(self->fake_stack, &other->bottom, &other->size);
}
/* Frames in [low, high) were dropped without returning. Safe in a signal handler. */
static inline void sanitizer_forget_frames(void *low, void *high) {
  __asan_unpoison_memory_region(low, (size_t)((char *)high - (char *)low));
}
static inline void sanitizer_open(struct sanitizer_side *side) { (void)side; }
static inline void sanitizer_close(struct sanitizer_side *side) { (void)side; }

#elif __has_feature(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
/* Always inlined: TSan notes the entry of a function in the one context and would note its return in the other. */
__attribute__((always_inline)) static inline void sanitizer_leave(struct sanitizer_side *from, const struct sanitizer_side *to) {
  if (from) from->tsan = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to->tsan, 0);
}
static inline void sanitizer_arrive(struct sanitizer_side *self, struct sanitizer_side *other) { (void)self, (void)other; }
static inline void sanitizer_forget_frames(void *low, void *high) { (void)low, (void)high; }
/* One context per run: dropped frames would stay on TSan's shadow stack for ever. */
static inline void sanitizer_open(struct sanitizer_side *side) { side->tsan = __tsan_create_fiber(0); }
static inline void sanitizer_close(struct sanitizer_side *side) {
  if (side->tsan) __tsan_destroy_fiber(side->tsan);
  side->tsan = NULL;
}

#else
static inline void sanitizer_leave(struct sanitizer_side *from, const struct sanitizer_side *to) { (void)from, (void)to; }
static inline void sanitizer_arrive(struct sanitizer_side *self, struct sanitizer_side *other) { (void)self, (void)other; }
static inline void sanitizer_forget_frames(void *low, void *high) { (void)low, (void)high; }
static inline void sanitizer_open(struct sanitizer_side *side) { (void)side; }
static inline void sanitizer_close(struct sanitizer_side *side) { (void)side; }
#endif

/* Whether the frames of a fiber may be put back after it has ended. TSan has a stack of calls of its own, which nobody can put
 * back, and Valgrind takes what lies there for dead. */
static inline bool sanitizer_can_restore(void) { return !__has_feature(thread_sanitizer) && !sanitizer_is_valgrind(); }

#endif
