/* Programs that do not end: for tests that each runs out of gas, and for the bench of how long each goes without a look. */
#ifndef TESTS_GAS_ESCAPE_H
#define TESTS_GAS_ESCAPE_H

#include "tests/wat.h"

/* Texts are "(module ...)" with an export f; %STRAIGHT% stands for straight-line code, %CALLS% for many calls of $leaf and so on.
 */
struct escape {
  const char *name, *text;
};

#define ESCAPE_FOREVER "(func (export \"f\") (loop $forever (call $go) (br $forever)))"

static const struct escape escapes[] = {
    {"an empty loop", "(module (func (export \"f\") (loop (br 0))))"},
    {"mutual recursion",
     "(module (func $even (param i32) (result i32) (if (result i32) (local.get 0) (then (i32.add (call $odd (i32.sub (local.get "
     "0)"
     " (i32.const 1))) (call $odd (i32.sub (local.get 0) (i32.const 1))))) (else (i32.const 1))))"
     " (func $odd (param i32) (result i32) (if (result i32) (local.get 0) (then (i32.xor (call $even (i32.sub (local.get 0)"
     " (i32.const 1))) (call $even (i32.sub (local.get 0) (i32.const 1))))) (else (i32.const 2))))"
     " (func (export \"f\") (drop (call $even (i32.const 200)))))"},
    {"a chain of indirect calls",
     "(module (type $t (func (param i32) (result i32))) (table funcref (elem $a $b $a))"
     " (func $a (type $t) (if (result i32) (local.get 0) (then (drop (call_indirect (type $t) (i32.sub (local.get 0) (i32.const "
     "1))"
     " (i32.const 1))) (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.and (local.get 0) (i32.const 1))))"
     " (else (i32.const 7))))"
     " (func $b (type $t) (call_indirect (type $t) (local.get 0) (i32.const 2)))"
     " (func (export \"f\") (drop (call $a (i32.const 300)))))"},
    {"straight-line code in a loop", "(module (global $g (mut i64) (i64.const 1)) (func (export \"f\") (local $x i64) (loop $l "
                                     "%STRAIGHT% (global.set $g (local.get $x))"
                                     " (br $l))))"},
    {"straight-line code in a leaf", "(module (global $g (mut i64) (i64.const 1)) (func $go (local $x i64) (local.set $x "
                                     "(global.get $g)) %STRAIGHT% (global.set $g"
                                     " (local.get $x))) " ESCAPE_FOREVER ")"},
    {"many calls of a leaf",
     "(module (global $g (mut i64) (i64.const 1)) (func $leaf (local $x i64) (local.set $x (global.get $g)) %SHORT%"
     " (global.set $g (local.get $x))) (func $go %CALLS%) " ESCAPE_FOREVER ")"},
    {"many indirect calls of a leaf",
     "(module (type $t (func)) (table funcref (elem $leaf)) (global $g (mut i64) (i64.const 1))"
     " (func $leaf (type $t) (local $x i64) (local.set $x (global.get $g)) %TINY% (global.set $g (local.get $x)))"
     " (func $go %INDIRECT%) " ESCAPE_FOREVER ")"},
    {"returns from deep recursion", "(module (global $g (mut i64) (i64.const 1)) (func $deep (param i32) (local $x i64)"
                                    " (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1)))))"
                                    " (local.set $x (global.get $g)) %SHORT% (global.set $g (local.get $x)))"
                                    " (func $go (call $deep (i32.const 8000))) " ESCAPE_FOREVER ")"},
    {"square roots in a line",
     "(module (global $g (mut f64) (f64.const 1)) (func $go (local $d f64) (local.set $d (global.get $g)) "
     "%ROOTS% (global.set $g (local.get $d))) " ESCAPE_FOREVER ")"},
    {"memory.fill of 4 GiB",
     "(module (memory 65536) (func $go (memory.fill (i32.const 0) (i32.const 0) (i32.const -1))) " ESCAPE_FOREVER ")"},
    {"memory.copy of 256 MiB",
     "(module (memory 4096) (func $go (memory.copy (i32.const 0) (i32.const 1) (i32.const 0xfffffff))) " ESCAPE_FOREVER ")"},
    {"memory.grow", "(module (memory 0) (func $go (drop (memory.grow (i32.const 1000)))) " ESCAPE_FOREVER ")"},
    {"table.grow",
     "(module (table 0 funcref) (func $go (drop (table.grow 0 (ref.null func) (i32.const 1000000)))) " ESCAPE_FOREVER ")"},
    {"table.fill",
     "(module (table 5000000 funcref) (func $go (table.fill 0 (i32.const 0) (ref.null func) (i32.const 5000000))) " ESCAPE_FOREVER
     ")"},
    {"table.copy",
     "(module (table 5000000 funcref) (func $go (table.copy (i32.const 1) (i32.const 0) (i32.const 4999999))) " ESCAPE_FOREVER
     ")"},
    {"a loop by br_table", "(module (func (export \"f\") (local $x i32) (block $out (loop $a (loop $b (local.set $x (i32.add "
                           "(local.get $x) (i32.const 7)))"
                           " (br_table $a $b $b $a $b (i32.and (local.get $x) (i32.const 3))))))))"},
    {"a tail call of itself", "(module (func $f (export \"f\") (return_call $f)))"},
    {"tail calls in a ring",
     "(module (type $t (func (param i64))) (table funcref (elem $a $b)) (func $a (type $t) (return_call $b (i64.add (local.get 0)"
     " (i64.const 1)))) (func $b (type $t) (return_call_indirect (type $t) (local.get 0) (i32.wrap_i64 (i64.and (local.get 0)"
     " (i64.const 1))))) (func (export \"f\") (call $a (i64.const 0))))"},
    {"exceptions", "(module (tag $e (param i32)) (func $throws (param i32) (throw $e (local.get 0))) (func (export \"f\") (loop "
                   "$l (try (do (call $throws"
                   " (i32.const 5))) (catch $e drop)) (br $l))))"},
    {"an exception that restarts its try",
     "(module (tag $e) (func (export \"f\") (loop $l (try (do (throw $e)) (catch_all (br $l))))))"},
    {"le_u of the greatest number", "(module (global $n (mut i32) (i32.const -1)) (func (export \"f\") (local $i i32) (loop "
                                    "(br_if 0 (i32.le_u (local.tee $i (i32.add"
                                    " (local.get $i) (i32.const 1))) (global.get $n))))))"},
    {"ge_u of zero, down", "(module (global $n (mut i32) (i32.const 0)) (func (export \"f\") (local $i i32) (loop (br_if 0 "
                           "(i32.ge_u (local.tee $i (i32.sub"
                           " (local.get $i) (i32.const 1))) (global.get $n))))))"},
    {"le_s of the greatest number", "(module (global $n (mut i64) (i64.const 0x7fffffffffffffff)) (func (export \"f\") (local $i "
                                    "i64) (loop (br_if 0 (i64.le_s (local.tee $i"
                                    " (i64.add (local.get $i) (i64.const 3))) (global.get $n))))))"},
    {"ne that steps over", "(module (global $n (mut i32) (i32.const 99)) (memory 1) (func (export \"f\") (local $i i32) (loop "
                           "(i32.store8 (i32.and (local.get $i)"
                           " (i32.const 0xffff)) (local.get $i)) (br_if 0 (i32.ne (local.tee $i (i32.add (local.get $i) "
                           "(i32.const 2))) (global.get $n))))))"},
    {"a long counted loop",
     "(module (global $n (mut i64) (i64.const 0x100000000000)) (func (export \"f\") (result i64) (local $i i64) (local $x i64) "
     "(loop"
     " (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 5)) (local.get $i))) (br_if 0 (i64.lt_u (local.tee $i (i64.add"
     " (local.get $i) (i64.const 1))) (global.get $n)))) (local.get $x)))"},
    {"nested counted loops",
     "(module (func (export \"f\") (result i32) (local $i i32) (local $j i32) (local $x i32) (loop $out (local.set $j (i32.const "
     "0))"
     " (loop $in (local.set $x (i32.add (i32.rotl (local.get $x) (i32.const 3)) (local.get $j))) (br_if $in (i32.ne (local.tee $j"
     " (i32.add (local.get $j) (i32.const 1))) (i32.const 1000)))) (br_if $out (i32.ne (local.tee $i (i32.add (local.get $i)"
     " (i32.const 2))) (i32.const 1)))) (local.get $x)))"},
};
enum { N_ESCAPES = sizeof escapes / sizeof *escapes };

static inline void escape_repeat(struct buffer *out, const char *text, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) buffer_append_string(out, text);
}

/* The module; straight-line code has about `instructions` instructions, and so have all leaves that are called in one go. */
static inline struct gw_module *escape_module(struct gw_engine *engine, const struct escape *e, uint32_t instructions) {
  static const char six[] = "(local.set $x (i64.xor (i64.mul (local.get $x) (i64.const 5)) (i64.const 3)))";
  static const char root[] = "(local.set $d (f64.sqrt (f64.add (local.get $d) (f64.const 1.5))))";
  static const struct {
    const char *mark, *text;
    uint32_t share; /* of the instructions that one is */
  } marks[] = {{"%STRAIGHT%", six, 6},
               {"%SHORT%", six, 600},
               {"%CALLS%", "(call $leaf)", 100},
               {"%TINY%", six, 16000},
               {"%INDIRECT%", "(call_indirect (type $t) (i32.const 0))", 100},
               {"%ROOTS%", root, 5}};
  struct buffer text = {0};
  const char *at = e->text;
  for (const char *mark; (mark = strchr(at, '%')); at = strchr(mark + 1, '%') + 1) {
    buffer_append(&text, at, (size_t)(mark - at));
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
      if (strncmp(mark, marks[i].mark, strlen(marks[i].mark)) == 0)
        escape_repeat(&text, marks[i].text, instructions / marks[i].share);
  }
  buffer_append(&text, at, strlen(at) + 1);
  struct gw_module *module = wat_module(engine, (const char *)text.bytes);
  buffer_clear(&text);
  return module;
}

#endif
