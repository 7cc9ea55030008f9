/* The operand and control stacks (spec, appendix "Validation Algorithm"). */
#include "base/heap.h"
#include "frontend/types.h"
#include "frontend/validate.h"

#include <stdio.h>
#include <stdlib.h>

static void *grow(void *p, uint32_t *capacity, size_t item_size) {
  *capacity = *capacity ? 2 * *capacity : 256;
  return heap_resize(p, *capacity, item_size);
}

void validator_grow_stack(struct validator *v) { v->stack = grow(v->stack, &v->stack_capacity, sizeof *v->stack); }

static val_type pop_empty(struct validator *v, val_type expected) {
  char name[32];
  if (top_frame(v)->is_unreachable) return VAL_BOT;
  if (expected == VAL_BOT)
    validator_fail(v, GW_ERROR_INVALID, "type mismatch: expected a value but nothing is on the stack");
  else
    validator_fail(v, GW_ERROR_INVALID, "type mismatch: expected %s but nothing is on the stack",
                   val_type_name(expected, name, sizeof name));
  return VAL_BOT;
}

val_type validator_pop(struct validator *v) {
  if (v->n_stack == top_frame(v)->height) return pop_empty(v, VAL_BOT);
  return v->stack[--v->n_stack];
}

val_type validator_pop_expect(struct validator *v, val_type t) {
  if (v->n_stack == top_frame(v)->height) return pop_empty(v, t);
  val_type got = v->stack[--v->n_stack];
  if (got == t || got == VAL_BOT || t == VAL_BOT || val_type_matches(v->m, got, t)) return got;
  char expected[32], found[32];
  validator_fail(v, GW_ERROR_INVALID, "type mismatch: expected %s but got %s", val_type_name(t, expected, sizeof expected),
                 val_type_name(got, found, sizeof found));
  return VAL_BOT;
}

bool validator_count_moves(struct validator *v, uint32_t n) {
  v->n_type_moves += n;
  if (v->n_type_moves <= limit_table[LIMIT_TYPE_MOVES].value) return true;
  return validator_fail(v, GW_ERROR_LIMIT, "too many %s", limit_table[LIMIT_TYPE_MOVES].words);
}

void validator_push_list(struct validator *v, uint32_t n, const val_type *types) {
  if (!validator_count_moves(v, n)) return;
  for (uint32_t i = 0; i < n; i++) push(v, types[i]);
}

void validator_pop_list(struct validator *v, uint32_t n, const val_type *types) {
  if (!validator_count_moves(v, n)) return;
  for (uint32_t i = n; i > 0 && !v->failed; i--) validator_pop_expect(v, types[i - 1]);
}

const val_type *validator_frame_results(const struct frame *f) { return f->type.results ? f->type.results : &f->single; }

static bool is_try(const struct frame *f) { return f->opcode == OP_TRY || f->opcode == OP_CATCH || f->opcode == OP_CATCH_ALL; }

void validator_push_frame(struct validator *v, enum op op, struct func_type type, val_type single) {
  if (v->n_frames >= limit_table[LIMIT_NESTING].value) {
    validator_fail(v, GW_ERROR_LIMIT, "too many %s", limit_table[LIMIT_NESTING].words);
    return;
  }
  if (v->n_frames == v->frames_capacity) v->frames = grow(v->frames, &v->frames_capacity, sizeof *v->frames);
  v->frames[v->n_frames++] =
      (struct frame){.type = type, .single = single, .height = v->n_stack, .n_sets = v->n_sets, .opcode = (uint8_t)op};
  v->n_tries += is_try(top_frame(v));
  if (v->n_tries > v->max_tries) v->max_tries = v->n_tries;
  validator_push_list(v, type.n_params, type.params);
}

struct frame validator_pop_frame(struct validator *v) {
  struct frame f = *top_frame(v);
  validator_pop_list(v, f.type.n_results, validator_frame_results(&f));
  if (v->n_stack != f.height && !v->failed)
    validator_fail(v, GW_ERROR_INVALID, "type mismatch: values remaining on stack at end of block: %u", v->n_stack - f.height);
  validator_forget_local_sets(v, f.n_sets);
  v->n_frames--;
  v->n_tries -= is_try(&f);
  return f;
}

void validator_set_unreachable(struct validator *v) {
  v->n_stack = top_frame(v)->height;
  top_frame(v)->is_unreachable = true;
}
