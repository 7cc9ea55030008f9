/* Exceptions: try_table, throw and throw_ref (spec 3.4), and the legacy form with its own blocks. */
#include "frontend/validate.h"

#define EXNREF(is_nullable) REF_TYPE(is_nullable, HEAP_EXN)

/* The values of a tag's exceptions, or NULL after "unknown tag". */
static const struct func_type *tag_type(struct validator *v, uint32_t tag) {
  if (tag < v->m->n_tags) return &v->m->types[v->m->tags[tag].type].func;
  validator_fail(v, GW_ERROR_INVALID, "unknown tag %u", tag);
  return NULL;
}

static void end_by_throw(struct validator *v) {
  v->has_throw = true;
  validator_set_unreachable(v);
}

static void check_throw(struct validator *v) {
  const struct func_type *type = tag_type(v, v->in.index);
  if (!type) return;
  validator_pop_list(v, type->n_params, type->params);
  end_by_throw(v);
}

static void check_throw_ref(struct validator *v) {
  validator_pop_expect(v, EXNREF(true));
  end_by_throw(v);
}

/* What a clause gives must be what its label takes. */
static void check_clause(struct validator *v, struct reader *r) {
  uint8_t kind = read_u8(r);
  bool has_tag = kind == CATCH_TAG || kind == CATCH_TAG_REF, has_ref = kind == CATCH_TAG_REF || kind == CATCH_EVERY_REF;
  const struct func_type *type = has_tag ? tag_type(v, read_u32(r)) : NULL;
  const val_type *types;
  uint32_t n_given = (type ? type->n_params : 0) + has_ref, n;
  if (v->failed || !validator_find_label(v, read_u32(r), &n, &types)) return;
  if (n != n_given) {
    validator_fail(v, GW_ERROR_INVALID, "type mismatch: catch clause gives %u values and its label takes %u", n_given, n);
    return;
  }
  if (type) validator_push_list(v, type->n_params, type->params);
  if (has_ref) push(v, EXNREF(false));
  validator_pop_list(v, n, types);
}

static void check_try_table(struct validator *v) {
  struct reader clauses;
  if (v->in.count > limit_table[LIMIT_CATCHES].value) {
    validator_fail(v, GW_ERROR_LIMIT, "too many %s: %u", limit_table[LIMIT_CATCHES].words, v->in.count);
    return;
  }
  reader_init(&clauses, v->r.start, v->in.list, v->r.end, v->err);
  for (uint32_t i = 0; i < v->in.count && !v->failed; i++) check_clause(v, &clauses);
  if (!v->failed) validator_open_block(v);
}

/* --- the legacy form ---------------------------------------------------------------------------------------------- */

static bool is_catch(const struct frame *f) { return f->opcode == OP_CATCH || f->opcode == OP_CATCH_ALL; }

static void check_catch(struct validator *v) {
  const struct func_type *type = v->in.op == OP_CATCH ? tag_type(v, v->in.index) : NULL;
  if (v->failed) return;
  if (top_frame(v)->opcode != OP_TRY && top_frame(v)->opcode != OP_CATCH) {
    validator_fail(v, GW_ERROR_MALFORMED, "END opcode expected: %s without try", op_table[v->in.op].text);
    return;
  }
  struct frame f = validator_pop_frame(v);
  f.type.n_params = 0; /* the body starts with the exception's values instead */
  validator_push_frame(v, v->in.op, f.type, f.single);
  if (type && !v->failed) validator_push_list(v, type->n_params, type->params);
}

static void check_delegate(struct validator *v) {
  if (top_frame(v)->opcode != OP_TRY) {
    validator_fail(v, GW_ERROR_MALFORMED, "END opcode expected: delegate without try");
    return;
  }
  struct frame f = validator_pop_frame(v);
  const val_type *types;
  uint32_t n;
  if (v->failed || !validator_find_label(v, v->in.index, &n, &types)) return;
  validator_push_list(v, f.type.n_results, validator_frame_results(&f));
}

static void check_rethrow(struct validator *v) {
  const val_type *types;
  uint32_t n, label = v->in.index;
  if (!validator_find_label(v, label, &n, &types)) return;
  if (!is_catch(&v->frames[v->n_frames - 1 - label])) {
    validator_fail(v, GW_ERROR_INVALID, "invalid rethrow label %u", label);
    return;
  }
  v->has_rethrow = true;
  v->n_calls++; /* not a leaf: its depth of the stack must tell it from its caller (runtime/exception.c) */
  end_by_throw(v);
}

bool validate_exception(struct validator *v) {
  switch (v->in.op) {
  case OP_TRY_TABLE: check_try_table(v); break;
  case OP_THROW: check_throw(v); break;
  case OP_THROW_REF: check_throw_ref(v); break;
  case OP_TRY: validator_open_block(v); break;
  case OP_CATCH:
  case OP_CATCH_ALL: check_catch(v); break;
  case OP_DELEGATE: check_delegate(v); break;
  case OP_RETHROW: check_rethrow(v); break;
  default: return false;
  }
  v->m->dialect |= DIALECT_EXCEPTIONS;
  return true;
}
