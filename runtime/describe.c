/* What imports and exports are, in the public API's words. */
#include "frontend/types.h"
#include "runtime/describe.h"
#include "runtime/instance.h"

enum gw_type describe_type(val_type t) {
  static const enum gw_type kinds[] = {
      [VAL_I32] = GW_I32, [VAL_I64] = GW_I64, [VAL_F32] = GW_F32, [VAL_F64] = GW_F64, [VAL_V128] = GW_V128};
  if (t == TYPE_FUNCREF) return GW_FUNCREF;
  if (t == TYPE_EXTERNREF) return GW_EXTERNREF;
  return val_kind(t) == VAL_REF || val_kind(t) == VAL_BOT ? GW_REF : kinds[val_kind(t)];
}

enum gw_type gw_func_param(const struct func_type *type, uint32_t index) { return describe_type(type->params[index]); }

enum gw_type gw_func_result(const struct func_type *type, uint32_t index) { return describe_type(type->results[index]); }

static struct gw_extern_type of_func(enum gw_extern_kind kind, const struct func_type *type) {
  return (struct gw_extern_type){.kind = kind, .func = type, .n_params = type->n_params, .n_results = type->n_results};
}

static struct gw_extern_type of_limits(enum gw_extern_kind kind, const struct limits *l, uint64_t min) {
  return (struct gw_extern_type){.kind = kind,
                                 .is_64 = l->is_64,
                                 .is_shared = l->is_shared,
                                 .page_size_log2 = l->page_size_log2,
                                 .min = min,
                                 .max = l->has_max ? l->max : UINT64_MAX};
}

static struct gw_extern_type of_table(const struct table_type *type, uint64_t size) {
  struct gw_extern_type t = of_limits(GW_EXTERN_TABLE, &type->limits, size);
  t.type = describe_type(type->elem);
  return t;
}

static struct gw_extern_type of_global(const struct global_type *type) {
  return (struct gw_extern_type){.kind = GW_EXTERN_GLOBAL, .type = describe_type(type->type), .is_mutable = type->is_mutable};
}

/* As the module declares it. */
static struct gw_extern_type of_index(const struct module *m, enum extern_kind kind, uint32_t index) {
  switch (kind) {
  case EXTERN_FUNC: return of_func(GW_EXTERN_FUNC, &m->types[m->funcs[index].type].func);
  case EXTERN_TABLE: return of_table(&m->tables[index].type, m->tables[index].type.limits.min);
  case EXTERN_MEMORY: {
    const struct limits *l = &m->memories[index].type.limits;
    return of_limits(GW_EXTERN_MEMORY, l, l->min);
  }
  case EXTERN_GLOBAL: return of_global(&m->globals[index].type);
  case EXTERN_TAG: break;
  }
  return of_func(GW_EXTERN_TAG, &m->types[m->tags[index].type].func);
}

bool gw_module_import(const struct gw_module *module, uint32_t index, struct gw_named_type *out) {
  const struct module *m = &module->decoded;
  if (index >= m->n_imports) return false;
  const struct import *i = &m->imports[index];
  *out = (struct gw_named_type){.module = i->module.bytes,
                                .name = i->field.bytes,
                                .module_size = i->module.size,
                                .name_size = i->field.size,
                                .type = of_index(m, i->kind, i->index)};
  return true;
}

bool gw_module_export(const struct gw_module *module, uint32_t index, struct gw_named_type *out) {
  const struct module *m = &module->decoded;
  if (index >= m->n_exports) return false;
  const struct export *e = &m->exports[index];
  *out = (struct gw_named_type){.name = e->name.bytes, .name_size = e->name.size, .type = of_index(m, e->kind, e->index)};
  return true;
}

const struct func_type *describe_func(const struct func_ref *func) {
  const struct module *m = &func->vmctx->instance->module->decoded;
  return &m->types[m->funcs[func->index].type].func;
}

bool gw_extern_type(const struct gw_extern *it, struct gw_extern_type *out) {
  switch (it->kind) {
  case GW_EXTERN_FUNC: *out = of_func(GW_EXTERN_FUNC, describe_func(it->of.func)); return true;
  case GW_EXTERN_TABLE: *out = of_table(&it->of.table->type, it->of.table->ctx.size); return true;
  case GW_EXTERN_MEMORY: *out = of_limits(GW_EXTERN_MEMORY, &it->of.memory->limits, memory_pages(it->of.memory)); return true;
  case GW_EXTERN_GLOBAL: *out = of_global(&it->of.global->type); return true;
  case GW_EXTERN_TAG: *out = of_func(GW_EXTERN_TAG, it->of.tag->type); return true;
  case GW_EXTERN_HOST_FUNC: break;
  }
  return false;
}

/* Whether the host may put the reference where `type` of `module` is wanted. */
bool describe_allows(const struct gw_store *store, val_type type, const struct module *module, union gw_value value) {
  if (val_kind(type) != VAL_REF) return true;
  if (!value.ref) return val_is_nullable(type);
  if (type == TYPE_EXTERNREF || val_heap(type) == HEAP_EXTERN) return true;
  if (val_heap(type) != HEAP_FUNC && val_heap(type) >= HEAP_FIRST) return false;
  const struct func_ref *func = value.ref;
  if (func->vmctx->instance->store != store) return false;
  if (val_heap(type) == HEAP_FUNC) return true;
  const struct module *m = &func->vmctx->instance->module->decoded;
  return type_matches(m, m->funcs[func->index].type, module->types[val_heap(type)].canonical);
}
