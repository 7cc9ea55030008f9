/* Modules that are small to send and long to compile, as text. */
#ifndef TESTS_BOMBS_H
#define TESTS_BOMBS_H

#include "base/buffer.h"

/* What every bomb has besides: a reply. */
#define BOMB_HEAD                                                                                                              \
  "(module (import \"gasworks\" \"reply\" (func $reply (param i32 i32))) (memory (export \"memory\") 1) (data (i32.const 16) " \
  "\"hi\")"
#define BOMB_TAIL "(func (export \"handle\") (call $reply (i32.const 16) (i32.const 2))))"

static void large_function(struct buffer *b) {
  buffer_append_string(b, "(func (export \"f\") (param i32) (result i32)");
  for (int i = 0; i < 12000; i++)
    buffer_format(b, "(local.set 0 (i32.rem_u (i32.load offset=%d (local.get 0)) (i32.add (local.get 0) (i32.const %d))))",
                  i % 999, i);
  buffer_append_string(b, "(local.get 0))");
}

static void nested_blocks(struct buffer *b) {
  enum { DEPTH = 3000 };
  buffer_append_string(b, "(func (export \"f\") (param i32)");
  for (int i = 0; i < DEPTH; i++) buffer_format(b, "(block (br_if %d (local.get 0))", i);
  for (int i = 0; i < DEPTH; i++) buffer_append_string(b, ")");
  buffer_append_string(b, ")");
}

static void giant_table(struct buffer *b) {
  enum { BLOCKS = 500, TARGETS = 60000 };
  buffer_append_string(b, "(func (export \"f\") (param i32) (result i32)");
  for (int i = 0; i < BLOCKS; i++) buffer_append_string(b, "(block ");
  buffer_append_string(b, "(br_table");
  for (int i = 0; i < TARGETS; i++) buffer_format(b, " %d", i * 7919 % BLOCKS);
  buffer_append_string(b, "(local.get 0))");
  for (int i = 0; i < BLOCKS; i++) buffer_format(b, ") (local.set 0 (i32.add (local.get 0) (i32.const %d)))", i);
  buffer_append_string(b, "(local.get 0))");
}

static void many_locals(struct buffer *b) {
  enum { LOCALS = 49000, USED = 6000 };
  buffer_append_string(b, "(func (export \"f\") (param i32) (result i32) (local");
  for (int i = 0; i < LOCALS; i++) buffer_append_string(b, " i32");
  buffer_append_string(b, ")(loop $again");
  for (int i = 1; i < USED; i++)
    buffer_format(b, "(local.set %d (i32.add (local.get %d) (local.get %d)))", i * 7, i - 1, (i * 13) % USED);
  buffer_append_string(b, "(br_if $again (local.get 9)))(local.get 11))");
}

/* Every local may come from everywhere at every turn. */
static void phi_web(struct buffer *b) {
  enum { LOCALS = 150, TURNS = 600 };
  buffer_append_string(b, "(func (export \"f\") (param i32) (result i32) (local");
  for (int i = 0; i < LOCALS; i++) buffer_append_string(b, " i32");
  buffer_append_string(b, ")(loop $again");
  for (int i = 0; i < TURNS; i++)
    buffer_format(b,
                  "(if (local.get %d) (then (local.set %d (local.get %d)) (br_if $again (local.get %d))) (else (local.set %d "
                  "(i32.const %d))))",
                  i % LOCALS, (i * 31) % LOCALS, (i * 17 + 3) % LOCALS, (i * 7) % LOCALS, (i * 11) % LOCALS, i);
  buffer_append_string(b, ")(local.get 1))");
}

/* Inlining all of it would make 2^40 calls of one. */
static void calls_of_calls(struct buffer *b) {
  enum { LEVELS = 40 };
  for (int i = 0; i < LEVELS; i++)
    buffer_format(b, "(func $f%d (param i32) (result i32) (i32.add (call $f%d (local.get 0)) (call $f%d (i32.const %d))))", i,
                  i + 1, i + 1, i);
  buffer_format(b, "(func $f%d (param i32) (result i32) (local.get 0)) (export \"f\" (func $f0))", LEVELS);
}

/* Every value moves to the next local, and then all of them are one chain. */
static void rotated_locals(struct buffer *b) {
  enum { LOCALS = 2000 };
  buffer_append_string(b, "(func (export \"f\") (param i32) (result i32) (local");
  for (int i = 0; i < LOCALS; i++) buffer_append_string(b, " i32");
  buffer_append_string(b, ")(loop $again");
  for (int i = 0; i < LOCALS; i++) buffer_format(b, "(local.get %d)", (i + 1) % LOCALS);
  for (int i = LOCALS - 1; i >= 0; i--) buffer_format(b, "(local.set %d)", i);
  for (int i = 1; i < LOCALS; i++)
    buffer_format(b, "(local.set 0 (i32.add (i32.mul (local.get 0) (local.get %d)) (i32.const %d)))", i, i);
  buffer_append_string(b, "(br_if $again (local.get 0)))(local.get 1))");
}

static void empty_functions(struct buffer *b) {
  enum { FUNCTIONS = 250000 };
  for (int i = 0; i < FUNCTIONS; i++) buffer_append_string(b, "(func)");
}

static const struct {
  const char *name;
  void (*make)(struct buffer *b);
} bombs[] = {
    {"large-function", large_function},
    {"nested-blocks", nested_blocks},
    {"giant-table", giant_table},
    {"many-locals", many_locals},
    {"phi-web", phi_web},
    {"calls-of-calls", calls_of_calls},
    {"rotated-locals", rotated_locals},
    {"empty-functions", empty_functions},
};
enum { BOMBS = sizeof bombs / sizeof *bombs };

/* One that takes half a minute and more to optimise, and a tenth of a second to compile without. */
enum { SLOW_BOMB = 6 };
_Static_assert(SLOW_BOMB < BOMBS, "bombs are in their order");

/* The whole module, NUL-terminated; clear it. */
static inline struct buffer bomb_text(size_t i) {
  struct buffer text = {0};
  buffer_append_string(&text, BOMB_HEAD);
  bombs[i].make(&text);
  buffer_append(&text, BOMB_TAIL, sizeof BOMB_TAIL);
  return text;
}

#endif
