/* How a guest's run ends before its time.
 *
 * By call: compiled code and helpers call trap_raise on the guest's fiber. It notes what is known and leaves the fiber for good;
 * the host goes on behind its fiber_resume and makes the error there, where it may allocate and search.
 *
 * By signal: loads and stores are unchecked (memory.c), and so is the native stack. A SIGSEGV, SIGBUS or SIGFPE is the guest's
 * when this thread runs a store and the program counter lies in the code of one of that store's instances. Only this thread
 * changes the store, and it is busy being interrupted in guest code, so the handler reads the store's lists without a lock and
 * no registry of code is needed: code that this store may run is held by its instances for as long as the store lives.
 * Code of the baseline tier says so by itself (precise_fault). The fault's address says what happened: inside a memory's
 * reservation, or inside the fiber's guard, where helpers and host functions may run into it too: then the guest has used up what
 * was theirs. First writes to watched pages, and first touches of closed blocks, are no traps, wherever they come from: the page
 * becomes accessible and the instruction is made again. Compiled code that touched a block comes back to it by way of a look at
 * the clock (blocks.c). Anything else, and any fault outside guest code (host functions, helpers, the embedder), goes to whoever
 * handled the signal before us.
 *
 * The handler runs on the thread's signal stack, because the guest's may just have run out. It does not jump out of the
 * handler: it points the interrupted context at trap_land, on the top of the fiber's stack (the guest's frames are dropped
 * anyway), and returns, so that the kernel restores the signal mask. */
#define _GNU_SOURCE /* register names in ucontext.h */
#include "runtime/trap.h"

#include "base/error.h"
#include "runtime/instance.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { SIGNAL_STACK_SIZE = 64 << 10, SIGNAL_STACK_MIN = 16 << 10, TOUCH_STACK = 64 << 10 };

/* Read by the handler: initial-exec, because the general model may allocate at the first access. */
static _Thread_local struct gw_store *current __attribute__((tls_model("initial-exec")));

static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE};
enum { N_SIGNALS = sizeof signals / sizeof signals[0] };
static struct sigaction previous[N_SIGNALS];

struct gw_store *trap_set_current(struct gw_store *store) {
  struct gw_store *before = current;
  current = store;
  return before;
}

struct gw_store *trap_current(void) {
  return current;
}

_Noreturn void trap_raise(struct gw_store *store, enum gw_trap code, uintptr_t pc) {
  store->trap.code = code;
  store->trap.pc = pc;
  store->state = RUN_TRAPPED;
  fiber_end(&store->fiber);
}

/* Where a context that trapped by signal goes on. The handler has filled store->trap. */
static _Noreturn void trap_land(struct gw_store *store) { fiber_end(&store->fiber); }

const struct gw_instance *trap_find_instance(const struct gw_store *store, uintptr_t pc, uint32_t *func) {
  for (const struct gw_instance *i = store->instances; i; i = i->next) {
    const struct code_range *range = i->code ? code_find(i->code, pc) : precise_find_compiled(i->precise, pc);
    if (!range) continue;
    *func = range->func;
    return i;
  }
  return NULL;
}

static const struct gw_memory *find_memory(const struct gw_store *store, uintptr_t address) {
  for (const struct gw_memory *m = store->memories; m; m = m->next)
    if (address - (uintptr_t)m->ctx.base < m->reserved) return m;
  return NULL;
}

static bool is_in_guard(const struct gw_store *store, int number, uintptr_t address) {
  return number == SIGSEGV && address >= (uintptr_t)store->fiber.guard && address < (uintptr_t)store->fiber.low;
}

static bool has_baseline(const struct gw_store *store) {
  return store->options.tier == GW_TIER_BASELINE || store->options.tier == GW_TIER_MIXED;
}

/* Fills store->trap, or returns false when the fault is not the guest's. */
static bool classify(struct gw_store *store, int number, const siginfo_t *info, const greg_t *registers) {
  uintptr_t pc = (uintptr_t)registers[REG_RIP];
  struct trap trap = {.pc = pc};
  if (info->si_code <= 0) return false; /* sent by a process */
  uintptr_t address = (uintptr_t)info->si_addr;
  trap.instance = trap_find_instance(store, pc, &trap.func);
  bool is_baseline = has_baseline(store) && precise_fault(store, pc, registers[REG_RBX]);
  if (is_in_guard(store, number, address)) {
    trap.code = GW_TRAP_STACK_OVERFLOW;
    if (!trap.instance) trap.pc = 0; /* a helper's frame was the one too many */
  } else if (!trap.instance && !is_baseline) {
    return false;
  } else if (number == SIGFPE) {
    trap.code = GW_TRAP_INTEGER_DIVIDE_BY_ZERO;
  } else {
    trap.memory = find_memory(store, address);
    if (!trap.memory) return false;
    trap.code = GW_TRAP_MEMORY_OUT_OF_BOUNDS;
    trap.address = address - (uintptr_t)trap.memory->ctx.base;
    if (is_baseline) trap.pc = 0; /* the tier has it */
  }
  store->trap = trap;
  return true;
}

/* A write to a page that is watched (dirty.c), or the first access to a block (blocks.c), by the guest or by a helper or host
 * function on its behalf: it may go on. */
static bool is_first_touch(const struct gw_store *store, int number, const siginfo_t *info) {
  if (number != SIGSEGV || info->si_code != SEGV_ACCERR) return false;
  for (struct gw_memory *m = store->memories; m; m = m->next) {
    if (m->dirty.n_pages && dirty_fault(&m->dirty, (uintptr_t)info->si_addr)) return true;
    if (m->blocks.n && memory_touch(m, info->si_addr)) return true;
  }
  return false;
}

/* Leaves of guest code keep values there, behind the stack pointer. */
enum { RED_ZONE = 128 };

/* Whether pc lies in code of the guest's that the counter is kept in a register by. Baseline code has then left the counter and
 * pc where the runtime finds them. */
static bool is_guest_code(struct gw_store *store, uintptr_t pc, const greg_t *registers) {
  uint32_t func;
  if (has_baseline(store) && precise_fault(store, pc, registers[REG_RBX])) return true;
  return trap_find_instance(store, pc, &func);
}

/* Guest code calls `touched` where it was interrupted, if its stack has room for that, and for a yield. An interpreter's handler
 * has no place for a yield, but keeps the counter in memory: the next charge looks at the clock. */
static void go_on_by_way_of(void (*touched)(void), struct gw_store *store, greg_t *registers) {
  uintptr_t pc = (uintptr_t)registers[REG_RIP];
  uint8_t *sp = (uint8_t *)registers[REG_RSP];
  if (!is_guest_code(store, pc, registers)) {
    if (store->options.tier != GW_TIER_FAST) slice_look_soon(store);
    return;
  }
  if (sp <= store->fiber.low + TOUCH_STACK || sp > store->fiber.high) return;
  uintptr_t *top = (uintptr_t *)(void *)(sp - RED_ZONE) - 1;
  *top = pc;
  registers[REG_RSP] = (greg_t)(uintptr_t)top;
  registers[REG_RIP] = (greg_t)(uintptr_t)touched;
}

static void (*_Atomic crash_hook)(int number);

void trap_on_crash(void (*hook)(int number)) { atomic_store(&crash_hook, hook); }

/* The handler before ours may jump away, so that nobody hears of its end, and the next signal may lie at the same place of the
 * signal stack. One that leads back here does so with the same signal, further down the stack. */
__attribute__((always_inline)) static inline bool leads_back(const siginfo_t *passing, const void *frame, const siginfo_t *info) {
  return passing == info && (const char *)__builtin_frame_address(0) < (const char *)frame;
}

static void pass_on(int number, siginfo_t *info, void *context) {
  static _Thread_local const siginfo_t *passing __attribute__((tls_model("initial-exec")));
  static _Thread_local const void *frame __attribute__((tls_model("initial-exec")));
  size_t i = 0;
  while (signals[i] != number) i++;
  const struct sigaction *p = &previous[i];
  void (*hook)(int) = atomic_load(&crash_hook);
  if (hook) hook(number);
  bool has_handler = (p->sa_flags & SA_SIGINFO) || (p->sa_handler != SIG_DFL && p->sa_handler != SIG_IGN);
  if (leads_back(passing, frame, info) || !has_handler) { /* or a handler behind ours leads back here */
    /* The fault happens again when we return, and then has its default meaning. One that was sent must be sent again. */
    signal(number, SIG_DFL);
    if (info->si_code <= 0) raise(number);
    return;
  }
  passing = info;
  frame = __builtin_frame_address(0);
  if (p->sa_flags & SA_SIGINFO)
    p->sa_sigaction(number, info, context);
  else
    p->sa_handler(number);
  passing = NULL;
}

static void handle_signal(int number, siginfo_t *info, void *context) {
  struct gw_store *store = current;
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  if (store && is_first_touch(store, number, info)) {
    if (store->options.slice_ns) go_on_by_way_of(store->touched, store, registers);
    return;
  }
  if (!store || !classify(store, number, info, registers)) {
    pass_on(number, info, context);
    return;
  }
  store->state = RUN_TRAPPED;
  struct fiber *f = &store->fiber;
  uint8_t *sp = (uint8_t *)registers[REG_RSP];
  sanitizer_forget_frames(sp >= f->low && sp < f->high ? sp : f->low, f->high);
  registers[REG_RIP] = (greg_t)(uintptr_t)trap_land;
  registers[REG_RSP] = (greg_t)(uintptr_t)(f->high - 64 - 8); /* as after a call: 8 off a multiple of 16 */
  registers[REG_RDI] = (greg_t)(uintptr_t)store;
}

/* Puts our handler for signals[i] in its place, if it is not there. Test frameworks and the like replace it. */
static bool install(size_t i) {
  struct sigaction now, ours = {.sa_sigaction = handle_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigemptyset(&ours.sa_mask);
  if (sigaction(signals[i], NULL, &now)) return false;
  bool is_ours = now.sa_sigaction == handle_signal;
  if (is_ours && (now.sa_flags & SA_SIGINFO) && (now.sa_flags & SA_ONSTACK)) return true; /* and not set again by signal() */
  if (!is_ours) previous[i] = now;
  return sigaction(signals[i], &ours, NULL) == 0;
}

bool trap_handlers_install(struct gw_error *err) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  bool ok = true;
  pthread_mutex_lock(&lock);
  for (size_t i = 0; ok && i < N_SIGNALS; i++) ok = install(i);
  pthread_mutex_unlock(&lock);
  return ok || error_set(err, GW_ERROR_UNAVAILABLE, "cannot install signal handlers: %s", strerror(errno));
}

static pthread_key_t stack_key;

static void free_signal_stack(void *stack) {
  stack_t off = {.ss_flags = SS_DISABLE}, now;
  if (sigaltstack(NULL, &now) == 0 && now.ss_sp == stack) sigaltstack(&off, NULL);
  munmap(stack, SIGNAL_STACK_SIZE);
}

static void make_stack_key(void) { pthread_key_create(&stack_key, free_signal_stack); }

bool trap_thread_prepare(struct gw_error *err) {
  static _Thread_local bool is_prepared;
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  if (is_prepared) return true;
  stack_t now;
  if (sigaltstack(NULL, &now)) return error_set(err, GW_ERROR_UNAVAILABLE, "sigaltstack: %s", strerror(errno));
  if ((now.ss_flags & SS_DISABLE) || now.ss_size < SIGNAL_STACK_MIN) {
    pthread_once(&once, make_stack_key);
    void *p = mmap(NULL, SIGNAL_STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for a signal stack: %s", strerror(errno));
    sigaltstack(&(stack_t){.ss_sp = p, .ss_size = SIGNAL_STACK_SIZE}, NULL);
    pthread_setspecific(stack_key, p);
  }
  is_prepared = true;
  return true;
}
