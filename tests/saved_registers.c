/* Code that is led to the runtime from anywhere finds every register as it was: runtime/arch/x86_64/exhausted.S and touched.S,
 * linked with a runtime that overwrites all that a function may. */
#include "runtime/arch/exhausted.h"
#include "runtime/arch/x86_64/gs_base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* behind those */
#include <cmocka.h>

struct registers {
  uint64_t general[15]; /* rax, rbx, rcx, rdx, rsi, rdi, rbp, r8 to r15 */
  uint64_t flags;
  uint64_t red_zone[16];
  uint64_t masks[8];
  uint8_t vectors[32][64];
};
_Static_assert(offsetof(struct registers, flags) == 120 && offsetof(struct registers, red_zone) == 128, "");
_Static_assert(offsetof(struct registers, masks) == 256 && offsetof(struct registers, vectors) == 320, "");

#define DECLARE(size)                                                                                      \
  void call_touched_##size(const struct registers *before, struct registers *after, void (*callee)(void)); \
  void call_exhausted_##size(const struct registers *before, struct registers *after, void (*callee)(void));
DECLARE(sse)
DECLARE(avx)
DECLARE(avx512)

static unsigned n_calls;
static struct exec_ctx *seen;

/* All vector registers and some masks. */
void overwrite_sse(void);
void overwrite_avx(void);
void overwrite_avx512(void);

static void overwrite(struct exec_ctx *exec) {
  n_calls++;
  seen = exec;
  if (__builtin_cpu_supports("avx512bw"))
    overwrite_avx512();
  else if (__builtin_cpu_supports("avx"))
    overwrite_avx();
  else
    overwrite_sse();
  __asm__ volatile("xorl %%eax, %%eax\n movl $1, %%ecx\n movl $2, %%edx\n movl $3, %%esi\n movl $4, %%edi\n"
                   "movl $5, %%r8d\n movl $6, %%r9d\n movl $7, %%r10d\n movl $8, %%r11d\n"
                   :
                   :
                   : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc", "memory");
}

void helper_touched(struct exec_ctx *exec) { overwrite(exec); }

void gas_exhausted(struct exec_ctx *exec, uintptr_t pc) {
  (void)pc;
  overwrite(exec);
}

static void fill(struct registers *r, uint64_t seed) {
  uint8_t *bytes = (uint8_t *)r;
  for (size_t i = 0; i < sizeof *r; i++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    bytes[i] = (uint8_t)(seed >> 56);
  }
  r->flags = 0x202 | (seed >> 40 & 0x8d5); /* carry, parity, adjust, zero, sign and overflow are any */
}

enum { FLAGS = 0x8d5 };

/* `width`: bytes of a vector register that are kept, of n of them. */
static void check(void (*call)(const struct registers *, struct registers *, void (*)(void)), void (*callee)(void), int n,
                  size_t width, bool keeps_flags) {
  struct exec_ctx exec = {.self = &exec};
  for (uint64_t seed = 1; seed <= 200; seed++) {
    struct registers before, after = {0};
    fill(&before, seed);
    unsigned calls = n_calls;
    uintptr_t gs = gs_base_set((uintptr_t)&exec);
    call(&before, &after, callee);
    gs_base_set(gs);
    assert_int_equal(n_calls, calls + 1);
    assert_ptr_equal(seen, &exec);
    assert_memory_equal(before.general, after.general, sizeof before.general);
    assert_memory_equal(before.red_zone, after.red_zone, sizeof before.red_zone);
    if (keeps_flags) assert_int_equal(before.flags & FLAGS, after.flags & FLAGS);
    if (width == 64) assert_memory_equal(before.masks, after.masks, sizeof before.masks);
    for (int i = 0; i < n; i++) assert_memory_equal(before.vectors[i], after.vectors[i], width);
  }
}

static void test_sse(void **state) {
  (void)state;
  check(call_touched_sse, touched_sse, 16, 16, true);
  check(call_exhausted_sse, gas_exhausted_sse, 16, 16, false);
}

static void test_avx(void **state) {
  (void)state;
  if (!__builtin_cpu_supports("avx")) return; /* nobody calls it then */
  check(call_touched_avx, touched_avx, 16, 32, true);
  check(call_exhausted_avx, gas_exhausted_avx, 16, 32, false);
}

static void test_avx512(void **state) {
  (void)state;
  if (!__builtin_cpu_supports("avx512bw")) return;
  check(call_touched_avx512, touched_avx512, 32, 64, true);
  check(call_exhausted_avx512, gas_exhausted_avx512, 32, 64, false);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_sse), cmocka_unit_test(test_avx), cmocka_unit_test(test_avx512)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
