/* Fibers: switching, deep stacks, the guard below them, dropped frames, nesting, many at once, other threads. */
#include "runtime/fiber.h"

#include <fenv.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { STACK_SIZE = 1 << 20 };

struct counter {
  struct fiber fiber;
  uint64_t count, limit;
  int rounding;
};

static void count_up(void *arg) {
  struct counter *c = arg;
  while (c->count < c->limit) {
    c->count++;
    fiber_suspend(&c->fiber);
  }
  fiber_end(&c->fiber);
}

static void start(struct counter *c, void (*main)(void *), uint64_t limit) {
  c->count = 0;
  c->limit = limit;
  fiber_start(&c->fiber, main, c);
}

static void test_switches(void **state) {
  (void)state;
  struct counter c = {0};
  assert_true(fiber_open(&c.fiber, STACK_SIZE, NULL));
  start(&c, count_up, 100000);
  uint64_t resumed = 0;
  do {
    fiber_resume(&c.fiber);
    resumed++;
  } while (c.fiber.is_started);
  assert_int_equal(c.count, 100000);
  assert_int_equal(resumed, 100001);
  fiber_close(&c.fiber);
}

/* Counts in its own frame. */
static void count_in_frame(void *arg) {
  struct counter *c = arg;
  for (uint64_t i = 1; i <= c->limit; i++) {
    c->count = i;
    fiber_suspend(&c->fiber);
  }
  fiber_end(&c->fiber);
}

/* Frames that were saved go on where they were, also when the fiber has ended, and when it ran something else. */
static void test_restore(void **state) {
  (void)state;
  static uint8_t frames[65536];
  struct counter c = {0};
  if (!sanitizer_can_restore()) skip();
  assert_true(fiber_open(&c.fiber, STACK_SIZE, NULL));
  start(&c, count_in_frame, 100);
  for (int i = 0; i < 40; i++) fiber_resume(&c.fiber);
  size_t size = fiber_depth(&c.fiber);
  assert_in_range(size, 100, sizeof frames);
  fiber_save(&c.fiber, frames);
  for (int round = 0; round < 3; round++) {
    while (c.fiber.is_started) fiber_resume(&c.fiber);
    assert_int_equal(c.count, 100);
    start(&c, count_up, 3);
    while (c.fiber.is_started) fiber_resume(&c.fiber);
    c.limit = 100;
    fiber_restore(&c.fiber, frames, size);
    fiber_resume(&c.fiber);
    assert_int_equal(c.count, 41);
  }
  while (c.fiber.is_started) fiber_resume(&c.fiber);
  fiber_close(&c.fiber);
}

/* The address is kept, so that the recursion stays one. */
static __attribute__((noinline)) uint64_t dig(struct counter *c, uint64_t depth) {
  volatile uint8_t frame[200];
  memset((void *)frame, (int)depth, sizeof frame);
  if (depth == 0) {
    if (c->limit) fiber_end(&c->fiber);
    return 0;
  }
  uint64_t below = dig(c, depth - 1);
  return below + 1 + (frame[depth % sizeof frame] - (uint8_t)depth);
}

static void dig_deep(void *arg) {
  struct counter *c = arg;
  c->count = dig(c, 1000);
  fiber_end(&c->fiber);
}

static void test_deep_stack(void **state) {
  (void)state;
  struct counter c = {0};
  assert_true(fiber_open(&c.fiber, STACK_SIZE, NULL));
  start(&c, dig_deep, 0);
  fiber_resume(&c.fiber);
  assert_false(c.fiber.is_started);
  assert_int_equal(c.count, 1000);
  fiber_close(&c.fiber);
}

/* A thousand runs end in the middle of a deep stack; each next one starts on a clean one. */
static void test_dropped_frames(void **state) {
  (void)state;
  struct counter c = {0};
  assert_true(fiber_open(&c.fiber, STACK_SIZE, NULL));
  for (int i = 0; i < 1000; i++) {
    start(&c, dig_deep, 1);
    fiber_resume(&c.fiber);
    assert_false(c.fiber.is_started);
    assert_int_equal(c.count, 0);
  }
  start(&c, dig_deep, 0);
  fiber_resume(&c.fiber);
  assert_int_equal(c.count, 1000);
  fiber_close(&c.fiber);
}

static void nest(void *arg) {
  struct counter *outer = arg;
  struct counter inner = {0};
  assert_true(fiber_open(&inner.fiber, STACK_SIZE, NULL));
  start(&inner, count_up, 10);
  do {
    fiber_resume(&inner.fiber);
    outer->count += inner.fiber.is_started;
    fiber_suspend(&outer->fiber);
  } while (inner.fiber.is_started);
  fiber_close(&inner.fiber);
  fiber_end(&outer->fiber);
}

static void test_nested(void **state) {
  (void)state;
  struct counter c = {0};
  assert_true(fiber_open(&c.fiber, STACK_SIZE, NULL));
  start(&c, nest, 0);
  do fiber_resume(&c.fiber);
  while (c.fiber.is_started);
  assert_int_equal(c.count, 10);
  fiber_close(&c.fiber);
}

static void *resume_once(void *arg) {
  struct counter *c = arg;
  fiber_resume(&c->fiber);
  return NULL;
}

static void test_other_threads(void **state) {
  (void)state;
  struct counter c = {0};
  assert_true(fiber_open(&c.fiber, STACK_SIZE, NULL));
  start(&c, count_up, 20);
  while (c.fiber.is_started) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, resume_once, &c), 0);
    pthread_join(thread, NULL);
  }
  assert_int_equal(c.count, 20);
  fiber_close(&c.fiber);
}

static void dig_through(void *arg) {
  struct counter *c = arg;
  c->count = dig(c, UINT64_MAX);
}

enum { IN_GUARD = 42 };
static const struct fiber *guarded;

static void on_fault(int number, siginfo_t *info, void *context) {
  (void)number, (void)context;
  uint8_t *at = info->si_addr;
  _exit(at >= guarded->guard && at < guarded->low ? IN_GUARD : 1);
}

/* In host code, which cannot be left in the middle, running off the stack is a fault in the guard, so that nothing is
 * overwritten. */
static void test_guard(void **state) {
  (void)state;
  static char signal_stack[64 << 10];
  struct counter c = {0};
  assert_true(fiber_open(&c.fiber, STACK_SIZE, NULL));
  guarded = &c.fiber;
  pid_t child = fork();
  if (child == 0) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaltstack(&(stack_t){.ss_sp = signal_stack, .ss_size = sizeof signal_stack}, NULL);
    sigaction(SIGSEGV, &action, NULL);
    start(&c, dig_through, 0);
    fiber_resume(&c.fiber);
    _exit(0);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == IN_GUARD);
  fiber_close(&c.fiber);
}

static void fill_and_wait(void *arg) {
  struct counter *c = arg;
  volatile uint64_t frame[500];
  for (uint64_t round = 0; round < c->limit; round++) {
    for (size_t i = 0; i < 500; i++) frame[i] = c->count * 1000 + i + round;
    fiber_suspend(&c->fiber);
    for (size_t i = 0; i < 500; i++)
      if (frame[i] != c->count * 1000 + i + round) c->rounding = -1;
  }
  fiber_end(&c->fiber);
}

/* All are suspended in the middle of a frame, while others use theirs. */
static void test_many(void **state) {
  (void)state;
  enum { MANY = 500, ROUNDS = 3 };
  static struct counter all[MANY];
  for (int i = 0; i < MANY; i++) {
    assert_true(fiber_open(&all[i].fiber, STACK_SIZE, NULL));
    start(&all[i], fill_and_wait, ROUNDS);
    all[i].count = (uint64_t)i;
  }
  for (int round = 0; round <= ROUNDS; round++)
    for (int i = 0; i < MANY; i++) fiber_resume(&all[(i * 7) % MANY].fiber);
  for (int i = 0; i < MANY; i++) {
    assert_false(all[i].fiber.is_started);
    assert_int_equal(all[i].rounding, 0);
    fiber_close(&all[i].fiber);
  }
}

static void read_rounding(void *arg) {
  struct counter *c = arg;
  c->rounding = fegetround();
  fesetround(FE_UPWARD);
  fiber_end(&c->fiber);
}

/* A fiber starts with round-to-nearest whatever its host set, and leaves the host's mode alone. */
static void test_float_control(void **state) {
  (void)state;
  struct counter c = {0};
  assert_true(fiber_open(&c.fiber, STACK_SIZE, NULL));
  fesetround(FE_DOWNWARD);
  start(&c, read_rounding, 0);
  fiber_resume(&c.fiber);
  int after = fegetround();
  fesetround(FE_TONEAREST);
  assert_int_equal(c.rounding, FE_TONEAREST);
  assert_int_equal(after, FE_DOWNWARD);
  fiber_close(&c.fiber);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_switches),       cmocka_unit_test(test_restore),       cmocka_unit_test(test_deep_stack),
      cmocka_unit_test(test_dropped_frames), cmocka_unit_test(test_guard),         cmocka_unit_test(test_many),
      cmocka_unit_test(test_nested),         cmocka_unit_test(test_other_threads), cmocka_unit_test(test_float_control),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
