/* What a processor does while it guesses: an index of a table follows from its check, not from the guess (lower_clamp). The
 * machine code of named CPUs tells; what the instructions give is for the official suite and the generators. */
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char *const cpus[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4", "znver4"};
enum { N_CPUS = sizeof cpus / sizeof *cpus };

static char *assembly(const char *text, uint32_t level, const char *cpu) {
  struct gw_error err = {0};
  struct gw_engine *engine =
      gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = level, .verify = true}, &err);
  struct gw_module *module = wat_module(engine, text);
  char *out = gw_module_dump(module, GW_DUMP_ASM, cpu, &err);
  if (!out) fail_msg("%s", err.message);
  gw_module_release(module);
  gw_engine_destroy(engine);
  return out;
}

/* Ends the first function in the text. */
static void keep_first(char *text) {
  char *end = strstr(text, ".Lfunc_end0:");
  assert_non_null(end);
  *end = 0;
}

static bool has_clamp(const char *text) { return strstr(text, "\tcmovae") != NULL; }

/* Cases that do different things, or LLVM would need no jump. */
static const char jumps[] = "(module (import \"h\" \"f\" (func $f (param i32)))"
                            "(func (export \"a\") (param i32)"
                            " (block $z (block $e (block $d (block $c (block $b (block $a"
                            "  (br_table $a $b $c $d $e $z (local.get 0)))"
                            "  (call $f (i32.const 1)) (return)) (call $f (i32.const 22)) (call $f (i32.const 3)) (return))"
                            "  (call $f (i32.const 7)) (return)) (call $f (i32.const 5)) (call $f (local.get 0)) (return))"
                            "  (call $f (i32.const 99)) (return))))";

static void test_br_table(void **state) {
  (void)state;
  for (int k = 0; k < N_CPUS; k++)
    for (uint32_t level = 0; level <= 3; level++) {
      char *text = assembly(jumps, level, cpus[k]);
      keep_first(text);
      if (!strstr(text, "jmpq\t*")) fail_msg("%s, -O%u: no table\n%s", cpus[k], level, text);
      if (strstr(text, "\tja") || strstr(text, "\tjb")) fail_msg("%s, -O%u: a branch before the table\n%s", cpus[k], level, text);
      if (!has_clamp(text)) fail_msg("%s, -O%u: no clamp\n%s", cpus[k], level, text);
      free(text);
    }
}

/* What an `and` has cut down to the table needs no check at all. */
static void test_cut_down(void **state) {
  (void)state;
  static const char head[] = "(br_table $a $b $c $d $e $z (local.get 0))";
  char *text = malloc(sizeof jumps + 64);
  const char *at = strstr(jumps, head);
  assert_true(text && at);
  sprintf(text, "%.*s(br_table $a $b $c $d $z (i32.and (local.get 0) (i32.const 3)))%s", (int)(at - jumps), jumps,
          at + sizeof head - 1);
  for (int k = 0; k < N_CPUS; k++) {
    char *out = assembly(text, 2, cpus[k]);
    keep_first(out);
    if (has_clamp(out)) fail_msg("%s: a clamp\n%s", cpus[k], out);
    free(out);
  }
  free(text);
}

/* Calls, reads and writes by a table's index: each in a function of its own. */
static const char *const uses[] = {
    "(param i32) (call_indirect $t (local.get 0))",
    "(param i32) (return_call_indirect $t (local.get 0))",
    "(param i32) (result funcref) (table.get $t (local.get 0))",
    "(param i32) (table.set $t (local.get 0) (ref.null func))",
};

static void test_tables(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
    for (int k = 0; k < N_CPUS; k++)
      for (uint32_t level = 0; level <= 3; level++) {
        char module[512];
        snprintf(module, sizeof module, "(module (table $t 10 100 funcref) (func (export \"a\") %s))", uses[i]);
        char *text = assembly(module, level, cpus[k]);
        keep_first(text);
        if (!has_clamp(text)) fail_msg("%s, -O%u, %s: no clamp\n%s", cpus[k], level, uses[i], text);
        free(text);
      }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_br_table), cmocka_unit_test(test_cut_down),
                                     cmocka_unit_test(test_tables)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
