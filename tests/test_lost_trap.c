/* Loads out of bounds that compiled code once did not notice, and their like: at every level, for every CPU level that runs here.
 * Random ones: must_trap.c. */
#include "jit/artifact/cpu.h"
#include "tests/for_cpu.h"
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

/* Each takes an address, a number and a condition; only a load at the address may trap. */
#define FUNC(name, body) "(func (export \"" name "\") (param i32 i32 i32) (result i32) (local i32 i32 v128 f64)" body ")"
#define P "(local.get 0)"
#define Y "(local.get 1)"
#define C "(local.get 2)"
#define LOOP(body) /* eight rounds of local 3, over 8 bytes each; local 0 moves */ \
  "(loop $l " body "(local.set 0 (i32.add " P " (i32.const 8)))"                   \
  "  (br_if $l (i32.lt_u (local.tee 3 (i32.add (local.get 3) (i32.const 1))) (i32.const 8))))"
#define VECTOR "(i32x4.splat " Y ")"
#define ANY(vector) "(v128.any_true " vector ")"

static const char text[] = "(module (memory 1 1) (global $g (mut i32) (i32.const 0))"
    /* conditional moves become branches around the load */
    FUNC("select", "(select (i32.load " P ") " Y " " C ")") FUNC("select other", "(select " Y " (i32.load8_u " P ") " C ")")
        FUNC("select f64", "(f64.gt (select (f64.load " P ") (f64.const 1) " C ") (f64.const -1))")
            FUNC("select f32", "(f32.gt (select (f32.load " P ") (f32.const 1) " C ") (f32.const -1))")
                FUNC("mask", "(i32.and (i32.load " P ") (i32.sub (i32.const 0) (i32.ne " C " (i32.const 0))))")
                    FUNC("product", "(i32.mul (i32.load " P ") (i32.ne " C " (i32.const 0)))")
                        FUNC("sum in select", "(select (i32.add (i32.load " P ") " Y ") " Y " " C ")")
    /* one arm only */
    FUNC("arm", "(local.set 3 (i32.load " P ")) (if (result i32) " C " (then (local.get 3)) (else (i32.const 1)))")
        FUNC("arm by compare", "(local.set 3 (i32.load " P "))"
                               "(if (i32.lt_s " C " (i32.const 1)) (then (return (i32.const 1)))) (local.get 3)")
    /* instructions under a mask */
    FUNC("bitselect", ANY("(v128.bitselect (v128.load " P ") " VECTOR " (i32x4.gt_s (i32x4.splat " C ") " VECTOR "))"))
        FUNC("vector mask", ANY("(v128.and (v128.load " P ") (f32x4.lt (f32x4.splat (f32.convert_i32_s " C ")) " VECTOR "))"))
            FUNC("splat", ANY("(v128.and (v128.load32_splat " P ") (i32x4.gt_s (i32x4.splat " C ") " VECTOR "))"))
                FUNC("extending", ANY("(v128.bitselect (v128.load8x8_u " P ") " VECTOR " (i16x8.gt_s (i16x8.splat " C ") " VECTOR
                                      "))")) FUNC("vector select", ANY("(select (v128.load " P ") " VECTOR " " C ")"))
    /* loops */
    FUNC("last", LOOP("(local.set 4 (i32.load " P "))") "(local.get 4)") FUNC(
        "loop select", LOOP("(local.set 4 (i32.add (local.get 4) (select (i32.load " P
                            ") (i32.const 0) (i32.load (i32.const 64)))))") "(local.get 4)")
        FUNC("loop store", LOOP("(i32.store (i32.shl (local.get 3) (i32.const 2))"
                                "  (select (i32.load " P
                                ") (i32.const 0) (i32.load offset=64 (i32.shl (local.get 3) (i32.const 2)))))") "(i32.const 1)")
            FUNC("loop overwritten", LOOP("(i32.store (i32.const 16) (i32.load " P "))") "(i32.const 1)") FUNC(
                "loop to one place", LOOP("(f64.store offset=232 (i32.const 0) (f64.load offset=4096 " P "))") "(i32.const 1)")
                FUNC("inner loop to one place",
                     "(loop $o (local.set 3 (i32.const 0))" LOOP("(i32.store (i32.add (i32.const 8) (local.get 4)) (i32.load " P
                                                                 "))") "(br_if $o (i32.lt_u (local.tee 4 (i32.add (local.get 4) "
                                                                       "(i32.const 4))) (i32.const 12)))) (i32.const 1)")
                    FUNC("loop greatest",
                         LOOP("(local.set 6 (select (f64.load " P ") (local.get 6) (f64.gt (f64.load offset=8 (i32.const 0)) "
                              "(local.get 6))))") "(f64.gt (local.get 6) (f64.const 1))")
    /* stores that are dead */
    FUNC("overwritten", "(i32.store (i32.const 0) (i32.load " P "))"
                        "(if (i32.load8_u (i32.const 100)) (then (i32.store (i32.const 32) (i32.const 1))))"
                        "(i32.store (i32.const 0) (i32.const 5)) (i32.const 1)")
        FUNC("overwritten global", "(global.set $g (i32.load " P "))"
                                   "(if (i32.load8_u (i32.const 100)) (then (i32.store (i32.const 32) (i32.const 1))))"
                                   "(global.set $g (i32.const 5)) (i32.const 1)")
            FUNC("overwritten by halves",
                 "(i64.store (i32.const 256) (i64.load " P "))"
                 "(i32.store (i32.const 256) (i32.const 0)) (i32.store (i32.const 260) (i32.const 0)) (i32.const 1)")
                FUNC("put back at first",
                     "(loop $l (f32.store (i32.add " P " (i32.shl (local.get 3) (i32.const 4))) (f32.load " P "))"
                     "  (br_if $l (i32.lt_u (local.tee 3 (i32.add (local.get 3) (i32.const 1))) (i32.and " C
                     " (i32.const 3))))) (i32.const 1)") FUNC("put back", "(i32.store " P " (i32.load " P ")) (i32.const 1)") ")";

/* What is only the same once loads are plain: merged, forwarded, or seen in several rounds. Functions as above. */
#define KEEP_EARLIER "(local.set 2 (i32.load " P "))"
#define TWICE(place) "(local.set 3 " place ") (local.set 4 " place ")"
static const char merged_text[] = "(module (memory 1 1) (global $g (mut i32) (i32.const 0))" FUNC(
    "read twice", TWICE("(i32.load (i32.const 100))") "(i32.store (local.get 3) (i32.load " P ")) (i32.const 1)")
    FUNC("through a pointer read twice",
         KEEP_EARLIER TWICE("(i32.load (i32.const 100))") "(i32.store (local.get 3) (local.get 2)) (i32.store (local.get 4) " Y
                                                          ") (i32.const 1)")
        FUNC("through a number read twice",
             KEEP_EARLIER TWICE("(i32.popcnt (i32.load8_u (i32.const 100)))") "(i32.store (local.get 3) (local.get 2)) "
                                                                              "(i32.store (local.get 4) " Y ") (i32.const 1)")
            FUNC("through a pointer written and read",
                 "(local.set 3 (i32.and " Y " (i32.const 255)))"
                 "(i32.store (i32.const 1000) (local.get 3)) (local.set 4 (i32.load (i32.const 1000)))" KEEP_EARLIER
                 "(i32.store (local.get 3) (local.get 2)) (i32.store (local.get 4) " Y ") (i32.const 1)")
                FUNC("through a global",
                     "(global.set $g (i32.and " Y " (i32.const 255)))"
                     "(if (i32.load (i32.const 80)) (then (nop))) (i32.store (global.get $g) (i32.load " P "))"
                     "(i32.store (i32.and " Y " (i32.const 255)) (i32.const 3)) (i32.const 1)")
                    FUNC("times a zero that was written",
                         "(i32.store (i32.const 200) (i32.const 0)) (local.set 3 (i32.load (i32.const 200)))"
                         "(i32.store (i32.const 204) (i32.mul (local.get 3) (i32.load " P
                         "))) (i32.const 1)") FUNC("less itself",
                                                   "(i32.store (i32.const 300) (i32.sub (i32.load " P ") (i32.load " P
                                                   "))) (i32.const 1)") FUNC("less a neighbour's neighbour",
                                                                             "(i32.sub (i32.load offset=4 " P
                                                                             ") (i32.load (i32.add " P " (i32.const 4))))")
                        FUNC("xor in two rounds",
                             "(loop $l (local.set 3 (i32.xor (i32.load " P ") (local.get 3)))"
                             "(br_if $l (i32.lt_u (local.tee 4 (i32.add (local.get 4) (i32.const 1))) (i32.const 2))))"
                             "(i32.store (i32.const 16) (local.get 3)) (i32.const 1)")
                            FUNC("taken away in two rounds",
                                 "(loop $l (local.set 3 (i32.sub (i32.load " P ") (local.get 3)))"
                                 "(br_if $l (i32.lt_u (local.tee 4 (i32.add (local.get 4) (i32.const 1))) (i32.const 2))))"
                                 "(local.get 3)")
                                FUNC("shifted out",
                                     "(loop $l (local.set 3 (i32.or (i32.load16_u " P ")"
                                     "  (i32.shl (local.get 3) (i32.const 16)))) (local.set 0 (i32.and " P " (i32.const 32767)))"
                                     "(br_if $l (i32.lt_u (local.tee 4 (i32.add (local.get 4) (i32.const 1))) (i32.const 3))))"
                                     "(local.get 3)")
                                    FUNC("where two pointers are equal",
                                         "(local.set 3 (i32.shr_u (i32.add (local.get 1) (i32.const 2)) (i32.const 2)))"
                                         "(local.set 4 (i32.shr_u (i32.add (local.get 2) (i32.const 2)) (i32.const 2)))"
                                         "(if (i32.eq (local.get 3) (local.get 4)) (then (i32.store (local.get 3) (i32.load " P
                                         "))"
                                         " (i32.store (local.get 4) (i32.const 7)))) (i32.const 1)")
                                        FUNC("filled over by a loop", "(i32.store (i32.const 40) (i32.load " P "))"
                                                                      "(loop $l (i32.store (local.get 3) (i32.const 0)) "
                                                                      "(local.set 3 (i32.add (local.get 3) (i32.const 4)))"
                                                                      "(br_if $l (i32.lt_u (local.tee 4 (i32.add (local.get 4) "
                                                                      "(i32.const 1))) (i32.const 64)))) (i32.const 1)") ")";

static const char *const merged_names[] = {"read twice",
                                           "through a pointer read twice",
                                           "through a number read twice",
                                           "through a pointer written and read",
                                           "through a global",
                                           "times a zero that was written",
                                           "less itself",
                                           "less a neighbour's neighbour",
                                           "xor in two rounds",
                                           "taken away in two rounds",
                                           "shifted out",
                                           "where two pointers are equal",
                                           "filled over by a loop"};

/* What LLVM finds to be the same, or zero, only behind the first simplification. */
/* clang-format off */
#define TERM(n) "(i32.and (i32.rotl " Y " (i32.const " #n ")) (i32.const 4080))"
#define ADD(a, b) "(i32.add " a " " b ")"
#define SUB(a, b) "(i32.sub " a " " b ")"
#define XOR(a, b) "(i32.xor " a " " b ")"
#define TRIANGLE /* 120 in local 4 */                            \
  "(loop $l (local.set 4 (i32.add (local.get 4) (local.get 3)))" \
  "  (br_if $l (i32.lt_u (local.tee 3 (i32.add (local.get 3) (i32.const 1))) (i32.const 16))))"
#define TWO_STORES(a, b) "(i32.store " a " (i32.load " P ")) (i32.store " b " " Y ")"
#define IN_LOOP(a, b)                                                                                                         \
  "(loop $l " TWO_STORES(ADD("(i32.shl (local.get 4) (i32.const 3))", a), ADD(b, "(i32.shl (local.get 4) (i32.const 3))"))     \
  "  (br_if $l (i32.lt_u (local.tee 4 (i32.add (local.get 4) (i32.const 1))) (i32.const 9))))"
#define SUM ADD(TERM(1), TERM(2))
#define LONG_SUM SUB(ADD(ADD(TERM(1), TERM(3)), TERM(2)), TERM(3))
#define MASK XOR(XOR(TERM(1), TERM(2)), TERM(3))
#define OTHER_MASK XOR(TERM(1), XOR(TERM(2), TERM(3)))
static const char late_text[] = "(module (memory 1 1)"
  FUNC("bits in memory", "(local.set 3 (i32.sub " P " (i32.const 1)))" /* its last bytes are outside */
       "(i32.store (local.get 3) (i32.or (i32.load (local.get 3)) (i32.const 1)))"
       "(i32.store (i32.and " Y " (i32.const 255)) " C ") (i32.const 1)")
  FUNC("where a loop ends", TRIANGLE TWO_STORES("(local.get 4)", "(i32.const 120)") "(i32.const 1)")
  FUNC("at a loop's bound",
       "(local.set 4 (i32.add (i32.const 1) (i32.and " C " (i32.const 7))))"
       "(loop $l (br_if $l (i32.ne (local.tee 3 (i32.add (local.get 3) (i32.const 1))) (local.get 4))))"
       TWO_STORES("(local.get 3)", "(local.get 4)") "(i32.const 1)")
  FUNC("less what was added", TWO_STORES(SUM, LONG_SUM) "(i32.const 1)")
  FUNC("in a loop, less what was added", IN_LOOP(SUM, LONG_SUM) "(i32.const 1)")
  FUNC("in another order", TWO_STORES(MASK, OTHER_MASK) "(i32.const 1)")
  FUNC("in a loop, in another order", IN_LOOP(MASK, OTHER_MASK) "(i32.const 1)")
  FUNC("times a zero behind a loop",
       TRIANGLE "(i32.store (i32.const 8) (i32.mul (i32.load " P ") (i32.sub (local.get 4) (i32.const 120)))) (i32.const 1)")
  ")";
/* clang-format on */

static const char *const late_names[] = {"bits in memory",
                                         "where a loop ends",
                                         "at a loop's bound",
                                         "less what was added",
                                         "in a loop, less what was added",
                                         "in another order",
                                         "in a loop, in another order",
                                         "times a zero behind a loop"};

/* What meets a load in a loop, or comes of it behind the loop, and turns out late to make it needless. */
/* clang-format off */
#define SET(local, v) "(local.set " #local " " v ")"
#define GET(local) "(local.get " #local ")"
#define ZERO TRIANGLE SET(4, SUB(GET(4), "(i32.const 120)")) SET(3, "(i32.const 0)") /* in local 4 */
#define LOAD "(i32.load " P ")"
#define PLACE "(i32.shl " GET(3) " (i32.const 2))"
#define STORED(v) LOOP("(i32.store " PLACE " " v ")") "(i32.const 1)"
static const char loops_text[] = "(module (memory 1 1)"
  FUNC("times what another loop left", ZERO STORED("(i32.mul " LOAD " " GET(4) ")"))
  FUNC("or what another loop left", ZERO STORED("(i32.or " LOAD " " SUB(GET(4), "(i32.const 1)") ")"))
  FUNC("less than what another loop left", ZERO STORED("(i32.lt_u " LOAD " " GET(4) ")"))
  FUNC("0 shifted by it", ZERO STORED("(i32.shl " GET(4) " " LOAD ")"))
  FUNC("times the difference of counters", SET(1, "(i32.const 0)")
       LOOP("(i32.store " PLACE " (i32.mul " LOAD " " SUB(GET(3), GET(1)) "))" SET(1, ADD(GET(1), "(i32.const 1)"))) "(i32.const 1)")
  FUNC("the difference of what counters lead to", SET(1, P)
       LOOP("(i32.store " PLACE " " XOR(LOAD, "(i32.load " GET(1) ")") ")" SET(1, ADD(GET(1), "(i32.const 8)"))) "(i32.const 1)")
  FUNC("times zeros that were stored", LOOP("(i32.store offset=256 " PLACE " (i32.const 0))") SET(3, "(i32.const 0)")
       SET(0, SUB(P, "(i32.const 64)")) STORED("(i32.mul " LOAD " (i32.load offset=256 " PLACE "))"))
  FUNC("where the next round stores",
       LOOP("(i32.store " GET(4) " " Y ") (i32.store offset=4 " GET(4) " " LOAD ")" SET(4, ADD(GET(4), "(i32.const 4)"))) "(i32.const 1)")
  FUNC("where a later round stores",
       LOOP("(i32.store (i32.shl (i32.mul " GET(3) " " GET(3) ") (i32.const 2)) " Y ") (i32.store offset=4 " PLACE " " LOAD ")") "(i32.const 1)")
  FUNC("a sum times zero", ZERO SET(1, "(i32.const 0)") LOOP(SET(1, ADD(GET(1), LOAD))) "(i32.mul " GET(1) " " GET(4) ")")
  FUNC("a sum that is not chosen", ZERO SET(1, "(i32.const 0)") LOOP(SET(1, ADD(GET(1), LOAD))) "(select " GET(1) " " C " " GET(4) ")")
  FUNC("two sums", SET(1, "(i32.const 0)") SET(2, "(i32.const 0)")
       LOOP(SET(1, ADD(GET(1), LOAD)) SET(2, ADD(GET(2), LOAD))) SUB(GET(1), GET(2)))
  FUNC("the least, from 0", ZERO SET(1, GET(4))
       LOOP(SET(2, LOAD) SET(1, "(select " GET(1) " " GET(2) " (i32.lt_u " GET(1) " " GET(2) "))")) GET(1))
  FUNC("0 rotated", SET(1, "(i32.const 0)") LOOP(SET(1, "(i32.rotl " GET(1) " " LOAD ")")) GET(1))
  FUNC("an address by comparison", ZERO "(i32.load (i32.lt_u " LOAD " " GET(4) "))")
  FUNC("an address by difference", TRIANGLE
       "(i32.load " SUB("(i32.load " ADD(P, SUB(GET(3), "(i32.const 16)")) ")", LOAD) ")")
  ")";
/* clang-format on */

static const char *const loops_names[] = {"times what another loop left",
                                          "or what another loop left",
                                          "less than what another loop left",
                                          "0 shifted by it",
                                          "times the difference of counters",
                                          "the difference of what counters lead to",
                                          "times zeros that were stored",
                                          "where the next round stores",
                                          "where a later round stores",
                                          "a sum times zero",
                                          "a sum that is not chosen",
                                          "two sums",
                                          "the least, from 0",
                                          "0 rotated",
                                          "an address by comparison",
                                          "an address by difference"};

/* What a loop stores is there already, or is overwritten behind it; and floats that meet a load and turn out to be NaNs. */
/* clang-format off */
#define SHORT(n, body) \
  "(loop $l " body SET(0, ADD(P, "(i32.const 8)")) \
  "  (br_if $l (i32.lt_u (local.tee 3 " ADD(GET(3), "(i32.const 1)") ") (i32.const " #n "))))"
#define IN_PLACE(v) LOOP("(i32.store " P " " v ")") "(i32.const 1)"
#define LAST_ROUND SET(0, SUB(P, "(i32.const 56)")) /* is at the address */
#define NAN_MADE "(f32.reinterpret_i32 " ADD(SUB(GET(3), GET(4)), "(i32.const 0x7fc00000)") ")"
#define NAN_DIVIDED "(f32.div (f32.convert_i32_u " GET(3) ") (f32.convert_i32_u " GET(3) "))"
#define ENDLESS "(f32.mul (f32.mul (f32.convert_i32_u " ADD(GET(3), "(i32.const 1)") ") (f32.const 3e38)) (f32.const 3e38))"
#define MEETS(op, v) SET(3, "(i32.const 0)") SET(4, "(i32.const 0)") \
  LOOP("(f32.store offset=64 " PLACE " (f32." op " (f32.load " P ") " v "))" SET(4, ADD(GET(4), "(i32.const 1)"))) "(i32.const 1)"
static const char stores_text[] = "(module (memory 1 1)"
  FUNC("what it counts is added in place", IN_PLACE(ADD(LOAD, GET(3))))
  FUNC("what it counts is taken away in place", IN_PLACE(SUB(LOAD, GET(3))))
  FUNC("what it counts changes bits in place", IN_PLACE(XOR(LOAD, GET(3))))
  FUNC("vectors, what it counts is added in place",
       LOOP("(v128.store " P " (i32x4.add (v128.load " P ") (i32x4.splat " GET(3) ")))") "(i32.const 1)")
  FUNC("the difference of counters is added in place", SET(4, "(i32.const 0)")
       LOOP("(i32.store " P " " ADD(LOAD, SUB(GET(3), GET(4))) ")" SET(4, ADD(GET(4), "(i32.const 1)"))) "(i32.const 1)")
  FUNC("what another loop left is added in place", ZERO IN_PLACE(ADD(LOAD, GET(4))))
  FUNC("copied to where it is", ZERO LOOP("(i32.store " ADD(P, GET(4)) " " LOAD ")") "(i32.const 1)")
  FUNC("copied from where it is", ZERO LOOP("(i32.store " P " (i32.load " ADD(P, GET(4)) "))") "(i32.const 1)")
  FUNC("the last is overwritten", LAST_ROUND LOOP("(i32.store " PLACE " " LOAD ")") "(i32.store (i32.const 28) " Y ") (i32.const 1)")
  FUNC("the last is overwritten by another loop", LAST_ROUND LOOP("(i32.store " PLACE " " LOAD ")") SET(3, "(i32.const 0)")
       SHORT(8, "(i32.store (i32.sub (i32.const 28) " PLACE ") " Y ")") "(i32.const 1)")
  FUNC("the last is overwritten in a loop around", SET(0, SUB(P, "(i32.const 16)")) SET(4, "(i32.const 0)")
       "(loop $o " SET(3, "(i32.const 0)") SHORT(3, "(i32.store " PLACE " " LOAD ")") "(i32.store (i32.const 8) " Y ")"
       SET(0, SUB(P, "(i32.const 16)"))
       "  (br_if $o (i32.lt_u (local.tee 4 " ADD(GET(4), "(i32.const 1)") ") (i32.const 2)))) (i32.const 1)")
  FUNC("plus what turns out to be a NaN", MEETS("add", NAN_MADE))
  FUNC("times what turns out to be a NaN", MEETS("mul", NAN_MADE))
  FUNC("less 0 by 0", MEETS("sub", NAN_DIVIDED))
  FUNC("plus what two infinities leave", MEETS("add", "(f32.sub " ENDLESS " " ENDLESS ")"))
  FUNC("times a NaN that was stored", "(f32.store (i32.const 512) (f32.const nan))" MEETS("mul", "(f32.load (i32.const 512))"))
  FUNC("plus what grows until it is no number", SET(6, "(f64.const 1e300)")
       LOOP(SET(6, "(f64.mul (local.get 6) (f64.const 1e300))")
            "(f64.store offset=64 (i32.shl " GET(3) " (i32.const 3)) (f64.add (f64.load " P ") (f64.sub (local.get 6) (local.get 6))))")
       "(i32.const 1)")
  FUNC("copied to where a shifted counter leaves it",
       "(loop $l (i32.store " ADD(P, "(i32.shr_u " GET(3) " (i32.const 8))") " " LOAD ")" SET(0, ADD(P, "(i32.const 8)"))
       "  (br_if $l (i32.ne (local.tee 3 " ADD(GET(3), "(i32.const 1)") ") (i32.const 8)))) (i32.const 1)")
  FUNC("an integer made a float times 0", SET(3, "(i32.const 0)") SET(4, "(i32.const 0)")
       LOOP("(f64.store offset=64 (i32.shl " GET(3) " (i32.const 3)) (f64.mul (f64.convert_i32_u " LOAD ") (f64.convert_i32_u "
            SUB(GET(3), GET(4)) ")))" SET(4, ADD(GET(4), "(i32.const 1)"))) "(i32.const 1)")
  FUNC("no integer made a float is as great", STORED("(f64.lt (f64.add (f64.convert_i32_u " LOAD ") (f64.const 1)) (f64.const 1e10))"))
  FUNC("no integer made a float is as great as a sum", STORED("(f64.lt (f64.convert_i32_u " LOAD ") (f64.add (f64.convert_i32_u " Y ") (f64.const 1e10)))"))
  FUNC("no byte is as great as a sum", SET(4, "(i32.const 0)")
       LOOP("(i32.store offset=64 " PLACE " (i32.lt_u (i32.load8_u " P ") " ADD("(i32.load8_u offset=8 " P ")",
            ADD("(i32.const 256)", SUB(GET(3), GET(4)))) "))" SET(4, ADD(GET(4), "(i32.const 1)"))) "(i32.const 1)")
  FUNC("no byte and 0 is as great", SET(4, "(i32.const 0)")
       LOOP("(i32.store offset=64 " PLACE " (i32.lt_u " ADD("(i32.load8_u " P ")", SUB(GET(3), GET(4)))
            " (i32.const 256)))" SET(4, ADD(GET(4), "(i32.const 1)"))) "(i32.const 1)")
  FUNC("a byte and 0, shifted out", SET(4, "(i32.const 0)")
       LOOP("(i32.store offset=64 " PLACE " (i32.shr_u " ADD("(i32.load8_u " P ")", SUB(GET(3), GET(4)))
            " (i32.const 8)))" SET(4, ADD(GET(4), "(i32.const 1)"))) "(i32.const 1)")
  FUNC("a byte and what another loop left, under a mask",
       ZERO STORED("(i32.and " ADD("(i32.load8_u " P ")", GET(4)) " (i32.const 256))"))
  ")";
/* clang-format on */

static const char *const stores_names[] = {"what it counts is added in place",
                                           "what it counts is taken away in place",
                                           "what it counts changes bits in place",
                                           "vectors, what it counts is added in place",
                                           "the difference of counters is added in place",
                                           "what another loop left is added in place",
                                           "copied to where it is",
                                           "copied from where it is",
                                           "the last is overwritten",
                                           "the last is overwritten by another loop",
                                           "the last is overwritten in a loop around",
                                           "plus what turns out to be a NaN",
                                           "times what turns out to be a NaN",
                                           "less 0 by 0",
                                           "plus what two infinities leave",
                                           "times a NaN that was stored",
                                           "plus what grows until it is no number",
                                           "copied to where a shifted counter leaves it",
                                           "an integer made a float times 0",
                                           "no integer made a float is as great",
                                           "no integer made a float is as great as a sum",
                                           "no byte is as great as a sum",
                                           "no byte and 0 is as great",
                                           "a byte and 0, shifted out",
                                           "a byte and what another loop left, under a mask"};

/* Outside of loops, what a loop left turns out late to be 0, and then a bound, a mask or a NaN makes the load needless. */
/* clang-format off */
#define BYTE "(i32.load8_u " P ")"
#define LATE_NAN "(f64.div (f64.convert_i32_u " GET(4) ") (f64.convert_i32_u " GET(4) "))"
static const char outside_text[] = "(module (memory 1 1)"
  FUNC("a byte and 0 is less", ZERO "(i32.lt_u " ADD(BYTE, GET(4)) " (i32.const 256))")
  FUNC("a byte and 0, shifted out", ZERO "(i32.shr_u " ADD(BYTE, GET(4)) " (i32.const 8))")
  FUNC("a byte and 0, under a mask", ZERO "(i32.and " ADD(BYTE, GET(4)) " (i32.const 256))")
  FUNC("0 less a byte is less than 1", ZERO "(i32.lt_s " SUB(GET(4), BYTE) " (i32.const 1))")
  FUNC("an address by comparison of a byte and 0", ZERO "(i32.load (i32.gt_u " ADD(BYTE, GET(4)) " (i32.const 255)))")
  FUNC("an address by a byte and 0, shifted out", ZERO "(i32.load (i32.shr_u " ADD(BYTE, GET(4)) " (i32.const 8)))")
  FUNC("plus a NaN", ZERO "(i32.wrap_i64 (i64.reinterpret_f64 (f64.add (f64.load " P ") " LATE_NAN ")))")
  FUNC("an address by a NaN", ZERO "(i32.load (i32.trunc_sat_f64_u (f64.mul (f64.load " P ") " LATE_NAN ")))")
  FUNC("twice, less itself", ZERO "(i32.sub " ADD(LOAD, GET(4)) " (i32.load " ADD(P, GET(4)) "))")
  ")";
/* clang-format on */

static const char *const outside_names[] = {"a byte and 0 is less",
                                            "a byte and 0, shifted out",
                                            "a byte and 0, under a mask",
                                            "0 less a byte is less than 1",
                                            "an address by comparison of a byte and 0",
                                            "an address by a byte and 0, shifted out",
                                            "plus a NaN",
                                            "an address by a NaN",
                                            "twice, less itself"};

static const char *const names[] = {"select",
                                    "select other",
                                    "select f64",
                                    "select f32",
                                    "mask",
                                    "product",
                                    "sum in select",
                                    "arm",
                                    "arm by compare",
                                    "bitselect",
                                    "vector mask",
                                    "splat",
                                    "extending",
                                    "vector select",
                                    "last",
                                    "loop select",
                                    "loop store",
                                    "loop overwritten",
                                    "loop to one place",
                                    "inner loop to one place",
                                    "loop greatest",
                                    "overwritten",
                                    "overwritten global",
                                    "overwritten by halves",
                                    "put back at first",
                                    "put back"};

static void expect(struct gw_instance *instance, const char *what, const char *name, int32_t p, int32_t y, int32_t c,
                   bool is_trap) {
  struct gw_error err = {0};
  union gw_value values[3] = {{.i32 = p}, {.i32 = y}, {.i32 = c}};
  bool is_done = gw_call_export(instance, name, values, 3, &err);
  if (is_done == is_trap || (!is_done && err.trap != GW_TRAP_MEMORY_OUT_OF_BOUNDS))
    fail_msg("%s: %s(%d, %d, %d): %s", what, name, p, y, c, is_done ? "no trap" : err.message);
}

static void run(struct gw_engine *engine, struct gw_module *module, const char *what, const char *const *functions, size_t n) {
  struct gw_error err = {0};
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){0}, &err);
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
  if (!instance) fail_msg("%s", err.message);
  for (size_t i = 0; i < n; i++)
    for (int32_t c = -1; c <= 1; c++)
      for (int32_t y = -1; y <= 1; y++) {
        expect(instance, what, functions[i], 128, y, c, false);
        expect(instance, what, functions[i], 70000, y, c, true);
        expect(instance, what, functions[i], 65536, y, c, true);
        expect(instance, what, functions[i], -16, y, c, true); /* in loops only the first two rounds */
      }
  gw_store_destroy(store);
}

static void run_levels(const char *source, const char *const *functions, size_t n) {
  static const char *const cpus[] = {NULL, "x86-64-v2", "x86-64-v3", "x86-64-v4"};
  for (uint32_t level = 0; level <= 3; level++)
    for (int gas = 0; gas <= 1; gas++) {
      struct gw_error err = {0};
      struct gw_engine_options options = {.loose_traps = true, .opt_level = level, .gas = gas, .verify = true};
      struct gw_engine *engine = gw_engine_create(&options, &err);
      struct gw_module *module = wat_module(engine, source);
      for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++) {
        if (cpus[i] && !cpu_runs(cpus[i])) continue;
        struct gw_module *m = gw_module_retain(module);
        if (cpus[i]) m = module_for_cpu(engine, m, cpus[i], &err);
        if (!m) fail_msg("%s", err.message);
        char what[64];
        snprintf(what, sizeof what, "-O%u, gas %s, %s", level, gas ? "on" : "off", cpus[i] ? cpus[i] : "this CPU");
        run(engine, m, what, functions, n);
        gw_module_release(m);
      }
      gw_module_release(module);
      gw_engine_destroy(engine);
    }
}

static void test_levels(void **state) {
  (void)state;
  run_levels(text, names, sizeof names / sizeof *names);
}

static void test_merged(void **state) {
  (void)state;
  run_levels(merged_text, merged_names, sizeof merged_names / sizeof *merged_names);
}

static void test_late(void **state) {
  (void)state;
  run_levels(late_text, late_names, sizeof late_names / sizeof *late_names);
}

static void test_loops(void **state) {
  (void)state;
  run_levels(loops_text, loops_names, sizeof loops_names / sizeof *loops_names);
}

static void test_stores(void **state) {
  (void)state;
  run_levels(stores_text, stores_names, sizeof stores_names / sizeof *stores_names);
}

static void test_outside(void **state) {
  (void)state;
  run_levels(outside_text, outside_names, sizeof outside_names / sizeof *outside_names);
}

/* --- loops that never end --------------------------------------------------------------------------------------------- */

/* Each stores at the address in every round, and has no other end than its trap. Without gas nothing else ends it, so a store
 * that LLVM moves behind the loop is lost. */
#define FOREVER(name, body) "(func (export \"" name "\") (param i32 i32 i32) (result i32) (local i32 i32) " body " (local.get 3))"
#define ON "(local.set 3 (i32.add (local.get 3) (i32.const 8)))"

static const char endless_text[] =
    "(module (memory 1 1) (memory $second 1 1) (global $g (mut i32) (i32.const 0x7fffff00))"
    "(func $far (result i32) (i32.const 0x7fffff00))" FOREVER(
        "plain", "(loop $l (i32.store " P " (local.get 3)) " ON
                 " (br $l))") FOREVER("counts around", "(loop $l (i32.store " P " (local.get 3)) " ON
                                                       " (br_if $l (i32.ge_u (local.get 3) (i32.const 0))))")
        FOREVER("jumps over its bound",
                "(loop $l (i32.store8 " P " (local.get 3)) " ON
                " (br_if $l (i32.ne (local.get 3) (i32.const 3))))") FOREVER("made in the loop",
                                                                             "(loop $l (i64.store offset=16 (i32.add (i32.shl " Y
                                                                             " (i32.const 3)) " P ") (i64.const 1)) " ON
                                                                             " (br $l))")
            FOREVER("in an arm", "(loop $l (if (i32.and (local.get 3) (i32.const 8)) (then (i32.store " P " (local.get 3)))) " ON
                                 " (br $l))") FOREVER("at the address of a global",
                                                      "(loop $l (i32.store (global.get $g) (local.get 3)) " ON " (br $l))")
                FOREVER("at what a function returns", "(loop $l (i32.store (call $far) (local.get 3)) " ON " (br $l))") FOREVER(
                    "behind a loop that ends",
                    "(loop $o (local.set 4 (i32.const 0)) (loop $l (i32.store (i32.shl (local.get 4) (i32.const 2))"
                    " (local.get 3)) (br_if $l (i32.lt_u (local.tee 4 (i32.add (local.get 4) (i32.const 1))) (i32.const 100))))"
                    "(i32.store " P " (local.get 3)) " ON " (br $o))")
                    FOREVER("in a loop that ends",
                            "(loop $o (local.set 4 (i32.const 0)) (loop $l (i32.store " P " (local.get 4))"
                            " (br_if $l (i32.lt_u (local.tee 4 (i32.add (local.get 4) (i32.const 1))) (i32.const 100)))) " ON
                            " (br $o))") FOREVER("in two memories",
                                                 "(loop $l (i32.store $second (i32.const 0) (local.get 3)) (i32.store $second " P
                                                 " (local.get 3)) " ON
                                                 " (br $l))") FOREVER("twice", "(loop $l (i32.store " P " (local.get 3)) " ON
                                                                               " (i32.store " P " (local.get 3)) (br $l))")
                        FOREVER("by a table of labels", "(loop $l (i32.store " P " (local.get 3)) " ON
                                                        " (block $a (block $b (br_table $a $b $l (local.get 3)))) (br $l))") ")";

static const char *const endless_names[] = {"plain",
                                            "counts around",
                                            "jumps over its bound",
                                            "made in the loop",
                                            "in an arm",
                                            "at the address of a global",
                                            "at what a function returns",
                                            "behind a loop that ends",
                                            "in a loop that ends",
                                            "in two memories",
                                            "twice",
                                            "by a table of labels"};

static void run_endless(struct gw_engine *engine, uint32_t level) {
  struct gw_error err = {0};
  struct gw_module *module = wat_module(engine, endless_text);
  struct gw_store_options options = {.tier = GW_TIER_FAST};
  struct gw_store *store = gw_store_create(engine, &options, &err);
  struct gw_instance *instance = store ? gw_instance_create(store, module, NULL, NULL, &err) : NULL;
  if (!instance) fail_msg("%s", err.message);
  for (size_t i = 0; i < sizeof endless_names / sizeof *endless_names; i++) {
    union gw_value values[3] = {{.i32 = 0x7fffff00}, {.i32 = 1}, {.i32 = 1}};
    err = (struct gw_error){0};
    print_message("-O%u: %s\n", level, endless_names[i]); /* the last one is who does not end */
    bool ok = gw_call_export(instance, endless_names[i], values, 3, &err);
    if (ok || err.trap != GW_TRAP_MEMORY_OUT_OF_BOUNDS) fail_msg("%s", ok ? "returns" : err.message);
  }
  gw_store_destroy(store);
  gw_module_release(module);
}

static void test_endless(void **state) {
  (void)state;
  alarm(60);
  for (uint32_t level = 0; level <= 3; level++) {
    struct gw_error err = {0};
    struct gw_engine_options options = {.loose_traps = true, .opt_level = level, .verify = true};
    struct gw_engine *engine = gw_engine_create(&options, &err);
    if (!engine) fail_msg("%s", err.message);
    run_endless(engine, level);
    gw_engine_destroy(engine);
  }
  alarm(0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_levels), cmocka_unit_test(test_merged), cmocka_unit_test(test_late),
                                     cmocka_unit_test(test_loops),  cmocka_unit_test(test_stores), cmocka_unit_test(test_outside),
                                     cmocka_unit_test(test_endless)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
