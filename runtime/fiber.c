/* Stacks and switches.
 *
 * Switching is symmetric underneath (fiber_switch stores one stack pointer and loads another) and asymmetric in use: a fiber
 * always goes back to the one who resumed it. Resuming from a fiber is allowed, so host functions may run other stores.
 *
 * A guest that traps does not unwind: fiber_end leaves its frames where they are, and fiber_start lays a fresh first frame over
 * them. So the stack is mapped once per store and an invocation costs two switches, no system call. ASan keeps red zones of
 * dropped frames in its shadow; they are wiped when the fiber has ended.
 *
 * Nothing on a fiber may keep the address of a thread-local variable over fiber_suspend: it may go on on another thread. */
#include "runtime/fiber.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* Larger than any native frame: a function that runs off the stack hits it before it writes below. */
enum { GUARD_SIZE = 2 << 20 };

/* runtime/arch/x86_64/fiber.S */
void fiber_switch(void **save, void *load);
void fiber_begin(void);

/* What fiber_switch expects at a saved stack pointer. */
struct saved_context {
  uint32_t mxcsr;
  uint16_t x87_control, unused;
  uint64_t r15, r14, r13, r12, rbx, rbp;
  uint64_t rip;
};

bool fiber_open(struct fiber *f, size_t stack_size, struct gw_error *err) {
  *f = (struct fiber){0};
  stack_size = (stack_size + FIBER_ROUNDING - 1) & ~(size_t)(FIBER_ROUNDING - 1);
  void *p = mmap(NULL, GUARD_SIZE + stack_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return error_set(err, GW_ERROR_OUT_OF_MEMORY, "cannot map a stack: %s", strerror(errno));
  f->guard = p;
  f->low = f->guard + GUARD_SIZE;
  f->high = f->low + stack_size;
  if (mprotect(f->low, stack_size, PROT_READ | PROT_WRITE)) {
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "cannot map a stack: %s", strerror(errno));
    fiber_close(f);
    return false;
  }
  f->self.bottom = f->low;
  f->self.size = stack_size;
  sanitizer_map(&f->self);
  return true;
}

void fiber_close(struct fiber *f) {
  if (f->self.size) sanitizer_unmap(&f->self);
  if (f->guard) munmap(f->guard, (size_t)(f->high - f->guard));
  *f = (struct fiber){0};
}

/* It enters on one stack and leaves for the other, which no sanitizer would follow. */
__attribute__((disable_sanitizer_instrumentation)) static void *first_frame(void *arg) {
  struct fiber *f = arg;
  sanitizer_arrive(&f->self, &f->host);
  f->main(f->arg);
  f->is_started = false;
  sanitizer_leave(NULL, &f->host);
  return f->host_sp;
}

void fiber_start(struct fiber *f, void (*main)(void *arg), void *arg) {
  /* fiber_begin must find the stack 16-byte aligned when the frame is popped. */
  struct saved_context *frame = (struct saved_context *)(void *)(f->high - 64 - sizeof *frame);
  *frame = (struct saved_context){
      .mxcsr = 0x1f80, .x87_control = 0x37f, .r12 = (uintptr_t)f, .rbx = (uintptr_t)first_frame, .rip = (uintptr_t)fiber_begin};
  f->sp = frame;
  f->main = main;
  f->arg = arg;
  f->is_started = true;
  f->self.fake_stack = NULL;
  sanitizer_open(&f->self);
}

void fiber_resume(struct fiber *f) {
  sanitizer_leave(&f->host, &f->self);
  fiber_switch(&f->host_sp, f->sp);
  sanitizer_arrive(&f->host, &f->self);
  if (f->is_started) return;
  sanitizer_forget_frames(f->sp, f->high);
  sanitizer_close(&f->self);
}

void fiber_suspend(struct fiber *f) {
  sanitizer_leave(&f->self, &f->host);
  fiber_switch(&f->sp, f->host_sp);
  sanitizer_arrive(&f->self, &f->host);
}

size_t fiber_depth(const struct fiber *f) { return (size_t)(f->high - (uint8_t *)f->sp); }

void fiber_save(const struct fiber *f, void *frames) { memcpy(frames, f->sp, fiber_depth(f)); }

void fiber_restore(struct fiber *f, const void *frames, size_t size) {
  f->sp = f->high - size;
  memcpy(f->sp, frames, size);
  f->is_started = true;
  f->self.fake_stack = NULL; /* none of the frames has locals there: their addresses are never taken */
  sanitizer_open(&f->self);
}

_Noreturn void fiber_end(struct fiber *f) {
  f->is_started = false;
  sanitizer_leave(NULL, &f->host);
  fiber_switch(&f->sp, f->host_sp);
  __builtin_unreachable();
}
