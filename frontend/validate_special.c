/* Instructions whose typing depends on their immediates or on the module (spec 3.4). */
#include "frontend/types.h"
#include "frontend/validate.h"

#include <stdio.h>

static bool unknown(struct validator *v, const char *what, uint32_t index) {
  return validator_fail(v, GW_ERROR_INVALID, "unknown %s %u", what, index);
}

/* --- control ------------------------------------------------------------------------------------------------------ */

/* Pops the block's parameters and opens its frame. */
void validator_open_block(struct validator *v) {
  const struct instruction *in = &v->in;
  struct func_type type = {.n_results = in->block.result != VAL_BOT};
  if (in->block.has_index) {
    const struct func_type *declared = validator_func_type(v, in->index);
    if (!declared) return;
    type = *declared;
    if (type.n_params) validator_need(v, FEATURE_MULTI_VALUE, "block with parameters");
  } else if (in->block.result != VAL_BOT && !validator_need(v, val_type_feature(in->block.result), "block")) {
    return;
  } else if (!validator_check_type(v, in->block.result)) {
    return;
  }
  validator_pop_list(v, type.n_params, type.params);
  validator_push_frame(v, in->op, type, in->block.result);
}

static void check_else(struct validator *v) {
  if (top_frame(v)->opcode != OP_IF) {
    validator_fail(v, GW_ERROR_MALFORMED, "END opcode expected: else without if");
    return;
  }
  struct frame f = validator_pop_frame(v);
  validator_push_frame(v, OP_ELSE, f.type, f.single);
}

static void check_end(struct validator *v) {
  struct frame f = validator_pop_frame(v);
  if (f.opcode == OP_IF) { /* no else: the parameters are the results */
    bool is_same = f.type.n_params == f.type.n_results;
    is_same = is_same && val_types_match(v->m, f.type.n_params, f.type.params, validator_frame_results(&f));
    if (!is_same && !v->failed) validator_fail(v, GW_ERROR_INVALID, "type mismatch: if without else must give what it takes");
  }
  if (v->n_frames) validator_push_list(v, f.type.n_results, validator_frame_results(&f));
}

static struct frame *label_frame(struct validator *v, uint32_t label) {
  if (label < v->n_frames) return &v->frames[v->n_frames - 1 - label];
  unknown(v, "label", label);
  return NULL;
}

static uint32_t label_types(const struct frame *f, const val_type **types) {
  *types = f->opcode == OP_LOOP ? f->type.params : validator_frame_results(f);
  return f->opcode == OP_LOOP ? f->type.n_params : f->type.n_results;
}

bool validator_find_label(struct validator *v, uint32_t label, uint32_t *n, const val_type **types) {
  const struct frame *f = label_frame(v, label);
  if (f) *n = label_types(f, types);
  return f;
}

static void check_branch(struct validator *v, bool is_conditional) {
  struct frame *f = label_frame(v, v->in.index);
  if (!f) return;
  if (is_conditional) validator_pop_expect(v, VAL_I32);
  const val_type *types;
  uint32_t n = label_types(f, &types);
  validator_pop_list(v, n, types);
  if (is_conditional)
    validator_push_list(v, n, types);
  else
    validator_set_unreachable(v);
}

/* Checks the operands against one label of a br_table and leaves them as they are. */
static void check_table_label(struct validator *v, uint32_t label, uint32_t arity) {
  const struct frame *f = label_frame(v, label);
  if (!f) return;
  const val_type *types;
  uint32_t n = label_types(f, &types), n_stack = v->n_stack;
  if (n != arity) {
    validator_fail(v, GW_ERROR_INVALID, "type mismatch: br_table label %u takes %u values and the default %u", label, n, arity);
    return;
  }
  validator_pop_list(v, n, types); /* only moves n_stack: what lies above stays in place */
  v->n_stack = n_stack;
}

static void check_br_table(struct validator *v) {
  struct instruction *in = &v->in;
  if (in->count > limit_table[LIMIT_BR_TABLE].value) {
    validator_fail(v, GW_ERROR_LIMIT, "too many %s: %u", limit_table[LIMIT_BR_TABLE].words, in->count);
    return;
  }
  validator_pop_expect(v, VAL_I32);
  struct reader labels;
  reader_init(&labels, v->r.start, in->list, v->r.end, v->err);
  uint32_t last = 0;
  for (uint32_t i = 0; i <= in->count; i++) last = read_u32(&labels);
  const struct frame *f = label_frame(v, last);
  if (!f) return;
  const val_type *types;
  uint32_t arity = label_types(f, &types);
  reader_init(&labels, v->r.start, in->list, v->r.end, v->err);
  for (uint32_t i = 0; i <= in->count && !v->failed; i++) check_table_label(v, read_u32(&labels), arity);
  if (!v->failed) validator_set_unreachable(v);
}

static void check_return(struct validator *v) {
  validator_pop_list(v, v->frames[0].type.n_results, validator_frame_results(&v->frames[0]));
  validator_set_unreachable(v);
}

void validator_apply_call(struct validator *v, const struct func_type *type, bool is_tail) {
  v->n_calls++;
  validator_pop_list(v, type->n_params, type->params);
  if (!is_tail) {
    validator_push_list(v, type->n_results, type->results);
    return;
  }
  v->m->dialect |= DIALECT_TAIL_CALLS;
  const struct frame *body = &v->frames[0];
  bool is_same = type->n_results == body->type.n_results;
  is_same = is_same && val_types_match(v->m, type->n_results, type->results, validator_frame_results(body));
  if (!is_same) validator_fail(v, GW_ERROR_INVALID, "type mismatch: tail call gives other results");
  validator_set_unreachable(v);
}

static void check_call(struct validator *v, bool is_tail) {
  const struct module *m = v->m;
  if (v->in.index >= m->n_funcs)
    unknown(v, "function", v->in.index);
  else
    validator_apply_call(v, &m->types[m->funcs[v->in.index].type].func, is_tail);
}

static val_type address_type(const struct limits *l) { return l->is_64 ? VAL_I64 : VAL_I32; }

static const struct table_type *table_type(struct validator *v, uint32_t index) {
  if (index < v->m->n_tables) return &v->m->tables[index].type;
  unknown(v, "table", index);
  return NULL;
}

static void check_call_indirect(struct validator *v, bool is_tail) {
  const struct table_type *table = table_type(v, v->in.index2);
  if (!table) return;
  if (!val_type_matches(v->m, table->elem, TYPE_FUNCREF)) {
    char name[32];
    validator_fail(v, GW_ERROR_INVALID, "type mismatch: call_indirect needs a table of funcref, not %s",
                   val_type_name(table->elem, name, sizeof name));
    return;
  }
  const struct func_type *type = validator_func_type(v, v->in.index);
  if (!type) return;
  validator_pop_expect(v, address_type(&table->limits));
  validator_apply_call(v, type, is_tail);
}

/* --- parametric, variable and reference instructions --------------------------------------------------------------- */

static void check_select(struct validator *v) {
  validator_pop_expect(v, VAL_I32);
  val_type a = validator_pop(v), b = validator_pop(v);
  if (v->failed) return;
  char left[32], right[32];
  if (val_kind(a) == VAL_REF || val_kind(b) == VAL_REF)
    validator_fail(v, GW_ERROR_INVALID, "type mismatch: select without a type needs numbers");
  else if (a != b && a != VAL_BOT && b != VAL_BOT)
    validator_fail(v, GW_ERROR_INVALID, "type mismatch: select between %s and %s", val_type_name(b, left, sizeof left),
                   val_type_name(a, right, sizeof right));
  else
    push(v, a == VAL_BOT ? b : a);
}

static void check_select_t(struct validator *v) {
  if (v->in.count != 1) {
    validator_fail(v, GW_ERROR_INVALID, "invalid result arity: select with %u types", v->in.count);
    return;
  }
  if (!validator_need(v, val_type_feature(v->in.type), "select") || !validator_check_type(v, v->in.type)) return;
  validator_pop_expect(v, VAL_I32);
  validator_pop_expect(v, v->in.type);
  validator_pop_expect(v, v->in.type);
  push(v, v->in.type);
}

static void check_global(struct validator *v, bool is_set) {
  if (v->in.index >= v->m->n_globals) {
    unknown(v, "global", v->in.index);
    return;
  }
  const struct global_type *g = &v->m->globals[v->in.index].type;
  if (!is_set)
    push(v, g->type);
  else if (!g->is_mutable)
    validator_fail(v, GW_ERROR_INVALID, "immutable global %u cannot be set", v->in.index);
  else
    validator_pop_expect(v, g->type);
}

static void check_ref_null(struct validator *v) {
  if (validator_need(v, val_type_feature(v->in.type), "ref.null") && validator_check_type(v, v->in.type)) push(v, v->in.type);
}

static void check_ref_is_null(struct validator *v) {
  val_type t = validator_pop(v);
  char name[32];
  if (t != VAL_BOT && val_kind(t) != VAL_REF)
    validator_fail(v, GW_ERROR_INVALID, "type mismatch: expected a reference but got %s", val_type_name(t, name, sizeof name));
  push(v, VAL_I32);
}

static void check_ref_func(struct validator *v) {
  const struct module *m = v->m;
  if (v->in.index >= m->n_funcs)
    unknown(v, "function", v->in.index);
  else if (!m->funcs[v->in.index].is_declared)
    validator_fail(v, GW_ERROR_INVALID, "undeclared function reference %u", v->in.index);
  else
    push(v, REF_TYPE(false, m->funcs[v->in.index].type));
}

/* --- tables and memories ------------------------------------------------------------------------------------------ */

static void check_table_get(struct validator *v) {
  const struct table_type *t = table_type(v, v->in.index);
  if (!t) return;
  validator_pop_expect(v, address_type(&t->limits));
  push(v, t->elem);
}

static void check_table_set(struct validator *v) {
  const struct table_type *t = table_type(v, v->in.index);
  if (!t) return;
  validator_pop_expect(v, t->elem);
  validator_pop_expect(v, address_type(&t->limits));
}

static void check_table_size(struct validator *v) {
  const struct table_type *t = table_type(v, v->in.index);
  if (t) push(v, address_type(&t->limits));
}

static void check_table_grow(struct validator *v) {
  const struct table_type *t = table_type(v, v->in.index);
  if (!t) return;
  validator_pop_expect(v, address_type(&t->limits));
  validator_pop_expect(v, t->elem);
  push(v, address_type(&t->limits));
}

static void check_table_fill(struct validator *v) {
  const struct table_type *t = table_type(v, v->in.index);
  if (!t) return;
  validator_pop_expect(v, address_type(&t->limits));
  validator_pop_expect(v, t->elem);
  validator_pop_expect(v, address_type(&t->limits));
}

/* memory.copy and table.copy: the length is 64-bit only if both sides are. */
static void check_copy(struct validator *v, const struct limits *dst, const struct limits *src) {
  validator_pop_expect(v, dst->is_64 && src->is_64 ? VAL_I64 : VAL_I32);
  validator_pop_expect(v, address_type(src));
  validator_pop_expect(v, address_type(dst));
}

static void check_init(struct validator *v, const struct limits *dst) {
  validator_pop_expect(v, VAL_I32);
  validator_pop_expect(v, VAL_I32);
  validator_pop_expect(v, address_type(dst));
}

static void table_elem_mismatch(struct validator *v, val_type to, val_type from) {
  char a[32], b[32];
  validator_fail(v, GW_ERROR_INVALID, "type mismatch: table of %s cannot take %s", val_type_name(to, a, sizeof a),
                 val_type_name(from, b, sizeof b));
}

static void check_table_copy(struct validator *v) {
  const struct table_type *dst = table_type(v, v->in.index), *src = dst ? table_type(v, v->in.index2) : NULL;
  if (!src) return;
  if (!val_type_matches(v->m, src->elem, dst->elem))
    table_elem_mismatch(v, dst->elem, src->elem);
  else
    check_copy(v, &dst->limits, &src->limits);
}

static void check_table_init(struct validator *v) {
  const struct table_type *t = table_type(v, v->in.index2);
  if (!t) return;
  if (v->in.index >= v->m->n_elems)
    unknown(v, "elem segment", v->in.index);
  else if (!val_type_matches(v->m, v->m->elems[v->in.index].type, t->elem))
    table_elem_mismatch(v, t->elem, v->m->elems[v->in.index].type);
  else
    check_init(v, &t->limits);
}

static void check_elem_drop(struct validator *v) {
  if (v->in.index >= v->m->n_elems) unknown(v, "elem segment", v->in.index);
}

static const struct limits *memory_limits(struct validator *v, uint32_t index) {
  if (index < v->m->n_memories) return &v->m->memories[index].type.limits;
  unknown(v, "memory", index);
  return NULL;
}

static void check_memory_size(struct validator *v, bool is_grow) {
  const struct limits *l = memory_limits(v, v->in.index);
  if (!l) return;
  if (is_grow) validator_pop_expect(v, address_type(l));
  push(v, address_type(l));
}

static void check_memory_fill(struct validator *v) {
  const struct limits *l = memory_limits(v, v->in.index);
  if (!l) return;
  validator_pop_expect(v, address_type(l));
  validator_pop_expect(v, VAL_I32);
  validator_pop_expect(v, address_type(l));
}

static void check_memory_copy(struct validator *v) {
  const struct limits *dst = memory_limits(v, v->in.index), *src = dst ? memory_limits(v, v->in.index2) : NULL;
  if (src) check_copy(v, dst, src);
}

static bool check_data_index(struct validator *v) {
  if (v->m->data_count == NO_INDEX) return validator_fail(v, GW_ERROR_MALFORMED, "data count section required");
  return v->in.index < v->m->data_count || unknown(v, "data segment", v->in.index);
}

static void check_memory_init(struct validator *v) {
  const struct limits *l = memory_limits(v, v->in.index2);
  if (l && check_data_index(v)) check_init(v, l);
}

void validate_special(struct validator *v) {
  switch (v->in.op) {
  case OP_UNREACHABLE: validator_set_unreachable(v); break;
  case OP_IF: validator_pop_expect(v, VAL_I32); /* fall through */
  case OP_BLOCK:
  case OP_LOOP: validator_open_block(v); break;
  case OP_ELSE: check_else(v); break;
  case OP_END: check_end(v); break;
  case OP_BR: check_branch(v, false); break;
  case OP_BR_IF: check_branch(v, true); break;
  case OP_BR_TABLE: check_br_table(v); break;
  case OP_RETURN: check_return(v); break;
  case OP_CALL: check_call(v, false); break;
  case OP_CALL_INDIRECT: check_call_indirect(v, false); break;
  case OP_RETURN_CALL: check_call(v, true); break;
  case OP_RETURN_CALL_INDIRECT: check_call_indirect(v, true); break;
  case OP_DROP: validator_pop(v); break;
  case OP_SELECT: check_select(v); break;
  case OP_SELECT_T: check_select_t(v); break;
  case OP_GLOBAL_GET: check_global(v, false); break;
  case OP_GLOBAL_SET: check_global(v, true); break;
  case OP_TABLE_GET: check_table_get(v); break;
  case OP_TABLE_SET: check_table_set(v); break;
  case OP_TABLE_SIZE: check_table_size(v); break;
  case OP_TABLE_GROW: check_table_grow(v); break;
  case OP_TABLE_FILL: check_table_fill(v); break;
  case OP_TABLE_COPY: check_table_copy(v); break;
  case OP_TABLE_INIT: check_table_init(v); break;
  case OP_ELEM_DROP: check_elem_drop(v); break;
  case OP_MEMORY_SIZE: check_memory_size(v, false); break;
  case OP_MEMORY_GROW: check_memory_size(v, true); break;
  case OP_MEMORY_FILL: check_memory_fill(v); break;
  case OP_MEMORY_COPY: check_memory_copy(v); break;
  case OP_MEMORY_INIT: check_memory_init(v); break;
  case OP_DATA_DROP: check_data_index(v); break;
  case OP_REF_NULL: check_ref_null(v); break;
  case OP_REF_IS_NULL: check_ref_is_null(v); break;
  case OP_REF_FUNC: check_ref_func(v); break;
  default: /* the rest may be a feature that was switched on before its rules were written */
    if (validate_reference(v) || validate_exception(v)) break;
    validator_fail(v, GW_ERROR_UNSUPPORTED, "unsupported instruction: %s", op_table[v->in.op].text);
  }
}
