#include "types.h"

#include "frontend/module.h"

#include <stdlib.h>
#include <string.h>

static char letter(val_type type) {
  switch (val_kind(type)) {
  case VAL_I32: return 'i';
  case VAL_I64: return 'I';
  case VAL_F32: return 'f';
  case VAL_F64: return 'F';
  default: return 'x';
  }
}

static char *letters(uint32_t n, const val_type *types) {
  char *text = calloc(1, (size_t)n + 1);
  for (uint32_t i = 0; text && i < n; i++) text[i] = letter(types[i]);
  return text;
}

static void set_type(const struct module *m, enum extern_kind kind, uint32_t index, struct extern_type *out) {
  static const char *const names[] = {[EXTERN_FUNC] = "function",
                                      [EXTERN_TABLE] = "table",
                                      [EXTERN_MEMORY] = "memory",
                                      [EXTERN_GLOBAL] = "global",
                                      [EXTERN_TAG] = "tag"};
  out->kind = names[kind];
  if (kind != EXTERN_FUNC) return;
  const struct func_type *type = &m->types[m->funcs[index].type].func;
  out->params = letters(type->n_params, type->params);
  out->results = letters(type->n_results, type->results);
}

bool types_get(struct gw_module *module, bool is_export, uint32_t index, struct extern_type *out) {
  const struct module *m = gw_module_decoded(module);
  *out = (struct extern_type){0};
  if (index >= (is_export ? m->n_exports : m->n_imports)) return false;
  if (is_export) {
    const struct export *e = &m->exports[index];
    out->name = e->name.bytes;
    out->name_size = e->name.size;
    set_type(m, e->kind, e->index, out);
    return true;
  }
  const struct import *i = &m->imports[index];
  out->module = i->module.bytes;
  out->module_size = i->module.size;
  out->name = i->field.bytes;
  out->name_size = i->field.size;
  set_type(m, i->kind, i->index, out);
  return true;
}

void types_clear(struct extern_type *type) {
  free(type->params);
  free(type->results);
}
