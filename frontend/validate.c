/* Validation of the module's parts (spec 3.5). */
#include "frontend/types.h"
#include "frontend/validate.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool validator_fail(struct validator *v, enum gw_error_code code, const char *format, ...) {
  v->failed = true;
  if (v->err->code != GW_ERROR_NONE) return false;
  char text[192], name[64];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (v->func == GW_NO_FUNC) return error_at(v->err, code, v->in.offset, "%s", text);
  error_at(v->err, code, v->in.offset, "%s in function %s", text, func_display_name(v->m, v->func, name, sizeof name));
  v->err->func = v->func;
  return false;
}

const struct func_type *validator_func_type(struct validator *v, uint32_t index) {
  if (index < v->m->n_types && v->m->types[index].kind == COMP_FUNC) return &v->m->types[index].func;
  validator_fail(v, GW_ERROR_INVALID, "unknown type %u", index);
  return NULL;
}

bool validator_need(struct validator *v, enum feature f, const char *what) {
  return feature_is_on(f) || validator_fail(v, GW_ERROR_UNSUPPORTED, "unsupported feature: %s: %s", feature_name(f), what);
}

/* Outside of bodies errors are placed by what is at hand. */
static void place(struct validator *v, const void *bytes) {
  v->in.offset = bytes ? (uint64_t)((const uint8_t *)bytes - v->m->bytes) : GW_NO_OFFSET;
}

static bool check_limits(struct validator *v, const struct limits *l, uint64_t most, const char *too_large) {
  if (l->min > most || (l->has_max && l->max > most)) return validator_fail(v, GW_ERROR_INVALID, "%s", too_large);
  if (l->has_max && l->min > l->max) return validator_fail(v, GW_ERROR_INVALID, "size minimum must not be greater than maximum");
  return true;
}

static bool check_memory_type(struct validator *v, const struct memory_type *t) {
  const struct limits *l = &t->limits;
  if (l->is_shared && !l->has_max) return validator_fail(v, GW_ERROR_INVALID, "shared memory must have maximum");
  if (l->page_size_log2 == 0)
    return l->is_64 ? check_limits(v, l, UINT64_MAX, "")
                    : check_limits(v, l, UINT32_MAX, "memory size must be at most 4294967295 pages of one byte");
  return l->is_64 ? check_limits(v, l, UINT64_C(1) << 48, "memory size must be at most 2^48 pages")
                  : check_limits(v, l, UINT64_C(1) << 16, "memory size must be at most 65536 pages (4GiB)");
}

/* Types of values outside of bodies. */
static bool check_type_indices(struct validator *v) {
  const struct module *m = v->m;
  bool ok = true;
  for (uint32_t i = 0; i < m->n_globals; i++) ok = ok && validator_check_type(v, m->globals[i].type.type);
  for (uint32_t i = 0; i < m->n_tables; i++) ok = ok && validator_check_type(v, m->tables[i].type.elem);
  for (uint32_t i = 0; i < m->n_elems; i++) ok = ok && validator_check_type(v, m->elems[i].type);
  return ok;
}

static bool check_func_types(struct validator *v) {
  const struct module *m = v->m;
  for (uint32_t i = 0; i < m->n_funcs; i++) {
    const struct func *f = &m->funcs[i];
    place(v, f->body);
    if (f->import != NO_INDEX) v->in.offset = m->imports[f->import].offset;
    const struct func_type *type = validator_func_type(v, f->type);
    if (!type || !validator_count_moves(v, type->n_params + type->n_results)) return false;
  }
  for (uint32_t i = 0; i < m->n_tags; i++) {
    const struct func_type *type = validator_func_type(v, m->tags[i].type);
    if (!type) return false;
    if (type->n_results) return validator_fail(v, GW_ERROR_INVALID, "non-empty tag result type");
  }
  return true;
}

static bool check_tables(struct validator *v) {
  const struct module *m = v->m;
  for (uint32_t i = 0; i < m->n_tables; i++) {
    const struct table *t = &m->tables[i];
    v->in.offset = t->type.limits.place;
    uint64_t most = t->type.limits.is_64 ? UINT64_MAX : UINT32_MAX;
    if (!check_limits(v, &t->type.limits, most, "table size must be at most 2^32-1")) return false;
    if (t->init.bytes && !validate_const_expr(v, &t->init, t->type.elem, m->n_imported_globals)) return false;
    if (t->import == NO_INDEX && !t->init.bytes && !has_default(t->type.elem))
      return validator_fail(v, GW_ERROR_INVALID, "type mismatch: a table of references that are never null needs an initialiser");
  }
  return true;
}

static bool check_memories(struct validator *v) {
  const struct module *m = v->m;
  for (uint32_t i = 0; i < m->n_memories; i++) {
    v->in.offset = m->memories[i].type.limits.place;
    if (!check_memory_type(v, &m->memories[i].type)) return false;
  }
  return true;
}

static bool check_globals(struct validator *v) {
  const struct module *m = v->m;
  for (uint32_t i = m->n_imported_globals; i < m->n_globals; i++)
    if (!validate_const_expr(v, &m->globals[i].init, m->globals[i].type.type, i)) return false;
  return true;
}

/* --- exports ------------------------------------------------------------------------------------------------------ */

static int compare_exports(const void *a, const void *b) {
  const struct name *x = &(*(const struct export *const *)a)->name, *y = &(*(const struct export *const *)b)->name;
  uint32_t n = x->size < y->size ? x->size : y->size;
  int order = n ? memcmp(x->bytes, y->bytes, n) : 0;
  return order ? order : (x->size > y->size) - (x->size < y->size);
}

static bool check_export_names(struct validator *v) {
  struct module *m = v->m;
  m->exports_by_name = arena_alloc_array(&m->arena, m->n_exports, sizeof *m->exports_by_name);
  for (uint32_t i = 0; i < m->n_exports; i++) m->exports_by_name[i] = &m->exports[i];
  qsort(m->exports_by_name, m->n_exports, sizeof *m->exports_by_name, compare_exports);
  for (uint32_t i = 1; i < m->n_exports; i++) {
    if (compare_exports(&m->exports_by_name[i - 1], &m->exports_by_name[i])) continue;
    const struct name *name = &m->exports_by_name[i]->name;
    place(v, name->bytes);
    return validator_fail(v, GW_ERROR_INVALID, "duplicate export name \"%.*s\"", name->size < 64 ? (int)name->size : 64,
                          name->bytes);
  }
  return true;
}

static bool check_exports(struct validator *v) {
  struct module *m = v->m;
  static const char *const words[] = {"function", "table", "memory", "global", "tag"};
  const uint32_t counts[] = {m->n_funcs, m->n_tables, m->n_memories, m->n_globals, m->n_tags};
  for (uint32_t i = 0; i < m->n_exports; i++) {
    const struct export *e = &m->exports[i];
    place(v, e->name.bytes);
    if (e->index >= counts[e->kind]) return validator_fail(v, GW_ERROR_INVALID, "unknown %s %u", words[e->kind], e->index);
    if (e->kind == EXTERN_FUNC) m->funcs[e->index].is_declared = true;
  }
  return check_export_names(v);
}

static bool check_start(struct validator *v) {
  const struct module *m = v->m;
  if (m->start == NO_INDEX) return true;
  v->in.offset = m->start_place;
  if (m->start >= m->n_funcs) return validator_fail(v, GW_ERROR_INVALID, "unknown function %u", m->start);
  const struct func_type *type = &m->types[m->funcs[m->start].type].func;
  if (type->n_params || type->n_results) return validator_fail(v, GW_ERROR_INVALID, "start function must take and give nothing");
  return true;
}

/* --- segments ----------------------------------------------------------------------------------------------------- */

static val_type address_type(const struct limits *l) { return l->is_64 ? VAL_I64 : VAL_I32; }

static bool check_elem(struct validator *v, const struct elem_segment *e) {
  struct module *m = v->m;
  v->in.offset = e->place;
  if (e->mode == SEGMENT_ACTIVE) {
    if (e->table >= m->n_tables) return validator_fail(v, GW_ERROR_INVALID, "unknown table %u", e->table);
    const struct table_type *t = &m->tables[e->table].type;
    char to[32], from[32];
    if (!val_type_matches(m, e->type, t->elem))
      return validator_fail(v, GW_ERROR_INVALID, "type mismatch: table of %s cannot take %s",
                            val_type_name(t->elem, to, sizeof to), val_type_name(e->type, from, sizeof from));
    if (!validate_const_expr(v, &e->offset, address_type(&t->limits), m->n_globals)) return false;
  }
  v->in.offset = e->place;
  for (uint32_t i = 0; i < e->n && e->funcs; i++) {
    if (e->funcs[i] >= m->n_funcs) return validator_fail(v, GW_ERROR_INVALID, "unknown function %u", e->funcs[i]);
    m->funcs[e->funcs[i]].is_declared = true;
  }
  for (uint32_t i = 0; i < e->n && e->exprs; i++)
    if (!validate_const_expr(v, &e->exprs[i], e->type, m->n_globals)) return false;
  return true;
}

static bool check_elems(struct validator *v) {
  for (uint32_t i = 0; i < v->m->n_elems; i++)
    if (!check_elem(v, &v->m->elems[i])) return false;
  return true;
}

static bool check_datas(struct validator *v) {
  const struct module *m = v->m;
  for (uint32_t i = 0; i < m->n_datas; i++) {
    const struct data_segment *s = &m->datas[i];
    if (s->mode != SEGMENT_ACTIVE) continue;
    place(v, s->offset.bytes);
    if (s->memory >= m->n_memories) return validator_fail(v, GW_ERROR_INVALID, "unknown memory %u", s->memory);
    if (!validate_const_expr(v, &s->offset, address_type(&m->memories[s->memory].type.limits), m->n_globals)) return false;
  }
  return true;
}

static bool check_bodies(struct validator *v) {
  v->m->dialect = v->m->n_tags > 0 ? DIALECT_EXCEPTIONS : 0;
  for (uint32_t i = v->m->n_imported_funcs; i < v->m->n_funcs; i++)
    if (!validate_body(v, i)) return false;
  return true;
}

void validator_clear(struct validator *v) {
  free(v->stack);
  free(v->frames);
  free(v->locals);
  free(v->run_ends);
  free(v->is_set);
  free(v->sets);
}

/* ref.func in bodies needs to know what the rest declares: bodies come after this. */
static bool check_module(struct validator *v) {
  return validate_sub_types(v) && check_type_indices(v) && check_func_types(v) && check_tables(v) && check_memories(v) &&
         check_globals(v) && check_exports(v) && check_start(v) && check_elems(v) && check_datas(v);
}

bool module_validate(struct module *m, struct gw_error *err) {
  struct gw_error unwanted = {0};
  struct validator v = {.m = m, .err = err ? err : &unwanted, .func = GW_NO_FUNC};
  bool ok = check_module(&v) && check_bodies(&v);
  validator_clear(&v);
  return ok;
}

bool module_validate_with(struct module *m, const struct body_facts *facts, uint32_t dialect, struct gw_error *err) {
  struct gw_error unwanted = {0};
  struct validator v = {.m = m, .err = err ? err : &unwanted, .func = GW_NO_FUNC};
  bool ok = check_module(&v);
  validator_clear(&v);
  m->dialect = dialect;
  for (uint32_t i = 0; i < m->n_funcs; i++) {
    struct func *f = &m->funcs[i];
    f->max_stack = facts[i].max_stack;
    f->n_calls = facts[i].n_calls;
    f->has_throw = facts[i].has_throw;
    f->has_rethrow = facts[i].has_rethrow;
  }
  return ok;
}

void module_get_facts(const struct module *m, struct body_facts *facts) {
  for (uint32_t i = 0; i < m->n_funcs; i++) {
    const struct func *f = &m->funcs[i];
    facts[i] = (struct body_facts){f->max_stack, f->n_calls, f->has_throw, f->has_rethrow, {0}};
  }
}
