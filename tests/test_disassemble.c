/* The text form: exact for one function, and assembling it again gives the same module. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "frontend/disassemble.h"
#include "tests/wat.h"

static struct gw_engine *engine;

static int set_up(void **state) {
  (void)state;
  struct gw_error err = {0};
  engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true}, &err);
  return engine ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  gw_engine_destroy(engine);
  return 0;
}

/* NUL-terminated; clear it. */
static struct buffer disassembly(const char *text) {
  struct buffer out = {0};
  struct gw_module *module = wat_module(engine, text);
  disassemble_module(gw_module_decoded(module), &out);
  gw_module_release(module);
  buffer_append(&out, "", 1);
  return out;
}

/* Removes (;...;) in place: names and offsets. */
static void strip_comments(char *text) {
  char *to = text;
  for (const char *from = text; *from;) {
    const char *end = strncmp(from, "(;", 2) == 0 ? strstr(from, ";)") : NULL;
    if (end)
      from = end + 2;
    else
      *to++ = *from++;
  }
  *to = 0;
}

static void test_exact(void **state) {
  (void)state;
  static const char source[] =
      "(module (import \"m\" \"log;)\" (func (param i32)))"
      "(func $add (export \"add\") (param i32) (result i32) (local i64 i64)"
      "  (if (result i32) (local.get 0) (then (i32.const -7)) (else (call 0 (i32.const 1)) (i32.const 2)))))";
  static const char expected[] = "(module\n"
                                 "  (type (;0;) (func (param i32)))\n"
                                 "  (type (;1;) (func (param i32) (result i32)))\n"
                                 "  (import \"m\" \"log;)\" (func (;0;) (type 0)))\n"
                                 "  (func (;1;) (;add;) (type 1) (param i32) (result i32)\n"
                                 "    (local i64 i64)\n"
                                 "    (;000035;) local.get 0\n"
                                 "    (;000037;) if (result i32)\n"
                                 "    (;000039;)   i32.const -7\n"
                                 "    (;00003b;) else\n"
                                 "    (;00003c;)   i32.const 1\n"
                                 "    (;00003e;)   call 0 (;m.log_);)\n"
                                 "    (;000040;)   i32.const 2\n"
                                 "    (;000042;) end\n"
                                 "  )\n"
                                 "  (export \"add\" (func 1))\n"
                                 ")\n";
  struct buffer out = disassembly(source);
  assert_string_equal((const char *)out.bytes, expected);
  buffer_clear(&out);
}

/* Text whose disassembly, assembled, must disassemble to the same again. */
static const char *const sources[] = {
    "(module)",
    "(module (memory 1 5) (data (i32.const 3) \"a\\00\\ff\\\"\\\\\") (data \"passive\")"
    "  (func (param i32) (memory.init 1 (local.get 0) (i32.const 0) (i32.const 2)) (data.drop 1)"
    "    (memory.copy (local.get 0) (i32.const 1) (i32.const 2)) (memory.fill (local.get 0) (i32.const 1) (i32.const 2))"
    "    (drop (memory.grow (memory.size))) (i64.store32 offset=70000 align=2 (local.get 0) (i64.load8_s (local.get 0)))))",
    "(module (table 3 9 funcref) (table 1 externref) (type $t (func (result i64))) (elem (i32.const 1) func 0 1)"
    "  (elem $p funcref (ref.func 0) (ref.null func)) (elem declare func 1) (elem (table 0) (offset (i32.const 0)) func 0)"
    "  (func (result i64) (call_indirect (type $t) (i32.const 1))) (func (result i64) (table.init 0 1 (i32.const 0)"
    "    (i32.const 0) (i32.const 1)) (elem.drop 1) (table.copy 0 0 (i32.const 0) (i32.const 1) (i32.const 1)) (i64.const -1))"
    "  (func (drop (table.grow 1 (ref.null extern) (i32.const 1))) (table.set 1 (i32.const 0) (table.get 1 (i32.const 0)))))",
    "(module (import \"e\" \"g\" (global i32)) (import \"e\" \"m\" (memory 1)) (global (mut i64) (i64.const "
    "-9223372036854775808))"
    "  (global i32 (global.get 0)) (global f32 (f32.const -nan:0x12345)) (global f64 (f64.const 0x1.921fb54442d18p+1))"
    "  (global f32 (f32.const -0)) (global f64 (f64.const inf)) (global f64 (f64.const nan)) (global f32 (f32.const 1e-45))"
    "  (start 0) (func (global.set 1 (i64.const 9223372036854775807))))",
    "(module (func (param i32) (result i32 i32) (block (result i32 i32) (i32.const 1) (i32.const 2) (br_table 0 1 0 (local.get "
    "0))))"
    "  (func (param f32) (loop (br_if 0 (f32.eq (local.get 0) (f32.const 0x1p-149))) (br 1)) (block (br 0)) (nop))"
    "  (func (param i32) (result i32) (select (i32.const 1) (i32.const 2) (local.get 0)))"
    "  (func (param i32 externref) (result externref) (select (result externref) (local.get 1) (local.get 1) (local.get 0))))",
};

static void test_round_trip(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
    struct buffer once = disassembly(sources[i]);
    struct buffer twice = disassembly((const char *)once.bytes);
    strip_comments((char *)once.bytes);
    strip_comments((char *)twice.bytes);
    assert_string_equal((const char *)once.bytes, (const char *)twice.bytes);
    buffer_clear(&once);
    buffer_clear(&twice);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_exact),
      cmocka_unit_test(test_round_trip),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
