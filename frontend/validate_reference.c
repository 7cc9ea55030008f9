/* Typed references: declared subtypes, instructions on references, and locals that have no default value (spec 3.2 to 3.4). */
#include "base/heap.h"
#include "frontend/types.h"
#include "frontend/validate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- types --------------------------------------------------------------------------------------------------------- */

static bool check_sub_type(struct validator *v, uint32_t index) {
  struct type_def *t = &v->m->types[index];
  if (t->super == NO_INDEX) return true;
  const struct type_def *super = &v->m->types[t->super]; /* an earlier one: the decoder has checked that */
  t->depth = super->depth + 1;
  if (t->depth > limit_table[LIMIT_SUBTYPE_DEPTH].value)
    return validator_fail(v, GW_ERROR_LIMIT, "too many %s", limit_table[LIMIT_SUBTYPE_DEPTH].words);
  if (super->is_final || super->kind != t->kind || !func_type_matches(v->m, &t->func, &super->func))
    return validator_fail(v, GW_ERROR_INVALID, "sub type %u does not match super type %u", index, t->super);
  return true;
}

bool validate_sub_types(struct validator *v) {
  v->in.offset = GW_NO_OFFSET;
  for (uint32_t i = 0; i < v->m->n_types; i++)
    if (!check_sub_type(v, i)) return false;
  return true;
}

bool validator_check_type(struct validator *v, val_type t) {
  if (val_kind(t) != VAL_REF || val_heap(t) >= HEAP_FIRST || val_heap(t) < v->m->n_types) return true;
  return validator_fail(v, GW_ERROR_INVALID, "unknown type %u", val_heap(t));
}

/* --- locals without a default value -------------------------------------------------------------------------------- */

static uint32_t *extend(uint32_t *p, uint32_t *capacity, uint32_t wanted) {
  if (wanted <= *capacity) return p;
  uint32_t before = *capacity;
  *capacity = 2 * wanted > 64 ? 2 * wanted : 64;
  p = heap_resize(p, *capacity, sizeof *p);
  memset(p + before, 0, (*capacity - before) * sizeof *p);
  return p;
}

void validator_note_local_set(struct validator *v, uint32_t index) {
  v->is_set = extend(v->is_set, &v->is_set_capacity, index + 1);
  if (v->is_set[index]) return;
  v->is_set[index] = 1;
  v->sets = extend(v->sets, &v->sets_capacity, v->n_sets + 1);
  v->sets[v->n_sets++] = index;
}

void validator_forget_local_sets(struct validator *v, uint32_t n) {
  while (v->n_sets > n) v->is_set[v->sets[--v->n_sets]] = 0;
}

bool validator_check_local_set(struct validator *v, uint32_t index) {
  bool is_param = index < v->m->types[v->m->funcs[v->func].type].func.n_params;
  if (is_param || (index < v->is_set_capacity && v->is_set[index])) return true;
  return validator_fail(v, GW_ERROR_INVALID, "uninitialized local %u", index);
}

/* --- instructions -------------------------------------------------------------------------------------------------- */

/* Pops a reference of any type; what unreachable code yields becomes the reference that matches all. */
static val_type pop_reference(struct validator *v) {
  char name[32];
  val_type t = validator_pop(v);
  if (t == VAL_BOT) return REF_TYPE(true, HEAP_BOT);
  if (val_kind(t) != VAL_REF)
    validator_fail(v, GW_ERROR_INVALID, "type mismatch: expected a reference but got %s", val_type_name(t, name, sizeof name));
  return t;
}

static val_type without_null(val_type t) { return REF_TYPE(false, val_heap(t)); }

static void check_ref_as_non_null(struct validator *v) {
  val_type t = pop_reference(v);
  if (!v->failed) push(v, without_null(t));
}

static void check_br_on_null(struct validator *v) {
  const val_type *types;
  uint32_t n;
  val_type t = pop_reference(v);
  if (v->failed || !validator_find_label(v, v->in.index, &n, &types)) return;
  validator_pop_list(v, n, types);
  validator_push_list(v, n, types);
  push(v, without_null(t));
}

static void check_br_on_non_null(struct validator *v) {
  char to[32], from[32];
  const val_type *types;
  uint32_t n;
  val_type t = pop_reference(v);
  if (v->failed || !validator_find_label(v, v->in.index, &n, &types)) return;
  if (n == 0) {
    validator_fail(v, GW_ERROR_INVALID, "type mismatch: br_on_non_null needs a label that takes a reference");
    return;
  }
  if (!val_type_matches(v->m, without_null(t), types[n - 1])) {
    validator_fail(v, GW_ERROR_INVALID, "type mismatch: the label takes %s, not %s", val_type_name(types[n - 1], to, sizeof to),
                   val_type_name(without_null(t), from, sizeof from));
    return;
  }
  validator_pop_list(v, n - 1, types);
  validator_push_list(v, n - 1, types);
}

static void check_call_ref(struct validator *v, bool is_tail) {
  const struct func_type *type = validator_func_type(v, v->in.index);
  if (!type) return;
  validator_pop_expect(v, REF_TYPE(true, v->in.index));
  validator_apply_call(v, type, is_tail);
}

bool validate_reference(struct validator *v) {
  switch (v->in.op) {
  case OP_REF_AS_NON_NULL: check_ref_as_non_null(v); return true;
  case OP_BR_ON_NULL: check_br_on_null(v); return true;
  case OP_BR_ON_NON_NULL: check_br_on_non_null(v); return true;
  case OP_CALL_REF: check_call_ref(v, false); return true;
  case OP_RETURN_CALL_REF: check_call_ref(v, true); return true;
  default: return false;
  }
}
