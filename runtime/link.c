/* Imports: every one is asked of the embedder and its type is compared with what the module declares (core specification, 4.5.3
 * external typing and 3.5 import subtyping). */
#include "base/error.h"
#include "frontend/types.h"
#include "runtime/instance.h"

#include <stdio.h>
#include <stdarg.h>

struct linker {
  struct gw_instance *instance;
  const struct module *module;
  const struct import *import; /* the one being resolved */
  struct gw_extern found;
  struct gw_error *err;
};

__attribute__((format(printf, 2, 3))) static bool incompatible(struct linker *l, const char *format, ...) {
  char why[160];
  va_list args;
  va_start(args, format);
  vsnprintf(why, sizeof why, format, args);
  va_end(args);
  const struct import *i = l->import;
  return error_at(l->err, GW_ERROR_LINK, i->offset, "incompatible import type of %.*s.%.*s: %s",
                  i->module.size < 48 ? (int)i->module.size : 48, i->module.bytes, i->field.size < 48 ? (int)i->field.size : 48,
                  i->field.bytes, why);
}

static bool foreign(struct linker *l) { return incompatible(l, "it belongs to another store"); }

/* `signature` is "results_params". */
static bool matches_signature(const struct func_type *type, const char *signature) {
  static const struct {
    char letter;
    val_type type;
  } letters[] = {{'i', VAL_I32},  {'I', VAL_I64},        {'f', VAL_F32},     {'F', VAL_F64},
                 {'v', VAL_V128}, {'r', TYPE_EXTERNREF}, {'R', TYPE_FUNCREF}};
  uint32_t at[2] = {0, 0}, part = 0;
  for (const char *c = signature; *c; c++) {
    if (*c == '_' && part == 0) {
      part = 1;
      continue;
    }
    uint32_t n = part ? type->n_params : type->n_results;
    const val_type *types = part ? type->params : type->results;
    size_t k = 0;
    while (k < sizeof letters / sizeof letters[0] && letters[k].letter != *c) k++;
    if (k == sizeof letters / sizeof letters[0] || at[part] >= n || types[at[part]] != letters[k].type) return false;
    at[part]++;
  }
  return at[0] == type->n_results && at[1] == type->n_params;
}

static bool link_host_func(struct linker *l, const struct func_type *wanted, struct func_ref *ref) {
  char text[100];
  const struct gw_host_func *host = l->found.of.host.func;
  if (host->signature && !matches_signature(wanted, host->signature))
    return incompatible(l, "the host's function is \"%.40s\", the module wants %s", host->signature,
                        func_type_print(wanted, text, sizeof text));
  struct gw_instance *instance = l->instance;
  instance->hosts[l->import->index] = (struct host_import){.fn = host->fn, .env = l->found.of.host.env};
  instance->funcs[l->import->index] = ref;
  return true;
}

static bool link_func(struct linker *l) {
  struct gw_instance *instance = l->instance;
  const struct type_def *wanted = &l->module->types[l->module->funcs[l->import->index].type];
  char want[64], have[64];
  if (l->found.kind == GW_EXTERN_HOST_FUNC) return link_host_func(l, &wanted->func, &instance->refs[l->import->index]);
  if (l->found.kind != GW_EXTERN_FUNC) return incompatible(l, "the module wants a function");
  struct func_ref *func = l->found.of.func;
  const struct gw_instance *exporter = func->vmctx->instance;
  if (exporter->store != instance->store) return foreign(l);
  const struct module *m = &exporter->module->decoded;
  if (!type_matches(m, m->funcs[func->index].type, wanted->canonical)) {
    return incompatible(l, "it is %s, the module wants %s",
                        func_type_print(&m->types[m->funcs[func->index].type].func, have, sizeof have),
                        func_type_print(&wanted->func, want, sizeof want));
  }
  instance->funcs[l->import->index] = func;
  return true;
}

/* What may be written as one type and read as the other must have the same. */
static bool types_equal(const struct module *have_module, val_type have, const struct module *want_module, val_type want) {
  return val_type_matches_across(have_module, have, want_module, want) &&
         val_type_matches_across(want_module, want, have_module, have);
}

/* Whether something of type `have` and size `size` may be used as `want`. */
static bool limits_match(const struct limits *have, uint64_t size, const struct limits *want) {
  if (have->is_64 != want->is_64 || have->is_shared != want->is_shared || size < want->min) return false;
  return !want->has_max || (have->has_max && have->max <= want->max);
}

static bool link_table(struct linker *l) {
  const struct table_type *wanted = &l->module->tables[l->import->index].type;
  if (l->found.kind != GW_EXTERN_TABLE) return incompatible(l, "the module wants a table");
  struct gw_table *table = l->found.of.table;
  if (table->store != l->instance->store) return foreign(l);
  if (!types_equal(table->module, table->type.elem, l->module, wanted->elem))
    return incompatible(l, "the table holds other references");
  if (!limits_match(&table->type.limits, table->ctx.size, &wanted->limits))
    return incompatible(l, "the table's limits do not fit");
  l->instance->tables[l->import->index] = table;
  return true;
}

static bool link_memory(struct linker *l) {
  const struct limits *wanted = &l->module->memories[l->import->index].type.limits;
  if (l->found.kind != GW_EXTERN_MEMORY) return incompatible(l, "the module wants a memory");
  struct gw_memory *memory = l->found.of.memory;
  if (memory->store != l->instance->store) return foreign(l);
  if (memory->limits.page_size_log2 != wanted->page_size_log2 || !limits_match(&memory->limits, memory_pages(memory), wanted))
    return incompatible(l, "the memory's limits do not fit");
  l->instance->memories[l->import->index] = memory;
  return true;
}

static bool link_global(struct linker *l) {
  const struct global_type *wanted = &l->module->globals[l->import->index].type;
  if (l->found.kind != GW_EXTERN_GLOBAL) return incompatible(l, "the module wants a global");
  struct gw_global *global = l->found.of.global;
  if (global->store != l->instance->store) return foreign(l);
  bool fits = wanted->is_mutable ? types_equal(global->module, global->type.type, l->module, wanted->type)
                                 : val_type_matches_across(global->module, global->type.type, l->module, wanted->type);
  if (!fits || global->type.is_mutable != wanted->is_mutable) return incompatible(l, "the global's type differs");
  l->instance->globals[l->import->index] = global;
  return true;
}

static bool link_tag(struct linker *l) {
  const struct type_def *wanted = &l->module->types[l->module->tags[l->import->index].type];
  char want[64], have[64];
  if (l->found.kind != GW_EXTERN_TAG) return incompatible(l, "the module wants a tag");
  struct gw_tag *tag = l->found.of.tag;
  if (tag->store != l->instance->store) return foreign(l);
  if (tag->type_id != wanted->canonical)
    return incompatible(l, "the tag is %s, the module wants %s", func_type_print(tag->type, have, sizeof have),
                        func_type_print(&wanted->func, want, sizeof want));
  l->instance->tags[l->import->index] = tag;
  return true;
}

static bool link_import(struct linker *l, gw_resolve_fn resolve, void *env) {
  static bool (*const link_kind[])(struct linker *) = {
      [EXTERN_FUNC] = link_func,     [EXTERN_TABLE] = link_table, [EXTERN_MEMORY] = link_memory,
      [EXTERN_GLOBAL] = link_global, [EXTERN_TAG] = link_tag,
  };
  const struct import *i = l->import;
  struct gw_import asked = {
      .module = i->module.bytes, .field = i->field.bytes, .module_size = i->module.size, .field_size = i->field.size};
  l->found = (struct gw_extern){0};
  if (!resolve || !resolve(env, &asked, &l->found))
    return error_at(l->err, GW_ERROR_LINK, i->offset, "unknown import %.*s.%.*s",
                    i->module.size < 100 ? (int)i->module.size : 100, i->module.bytes,
                    i->field.size < 100 ? (int)i->field.size : 100, i->field.bytes);
  return link_kind[i->kind](l);
}

bool instance_link(struct gw_instance *instance, gw_resolve_fn resolve, void *env, struct gw_error *err) {
  struct linker l = {.instance = instance, .module = &instance->module->decoded, .err = err};
  for (uint32_t i = 0; i < l.module->n_imports; i++) {
    l.import = &l.module->imports[i];
    if (!link_import(&l, resolve, env)) return false;
  }
  return true;
}
