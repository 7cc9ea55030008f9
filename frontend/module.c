#include "frontend/module.h"

#include "base/demangle.h"
#include "base/plain_text.h"
#include "frontend/types.h"

#include <stdio.h>
#include <string.h>

void module_clear(struct module *m) {
  types_release(m);
  arena_clear(&m->arena);
  *m = (struct module){.start = NO_INDEX, .data_count = NO_INDEX};
}

struct vmctx_counts module_vmctx_counts(const struct module *m) {
  return (struct vmctx_counts){.types = m->n_types,
                               .funcs = m->n_funcs,
                               .memories = m->n_memories,
                               .tables = m->n_tables,
                               .globals = m->n_globals,
                               .tags = m->n_tags,
                               .imported_globals = m->n_imported_globals};
}

uint32_t func_frame_cost(const struct module *m, uint32_t func) {
  /* A return address, saved registers and alignment; then every local and operand as if it had a slot of its own. */
  enum { FRAME_BASE = 64, SLOT = 8 };
  const struct func *f = &m->funcs[func];
  uint32_t n_slots = m->types[f->type].func.n_params + f->n_locals + f->max_stack;
  return FRAME_BASE + (n_slots + (n_slots & 1)) * SLOT;
}

uint32_t func_depth_cost(const struct module *m, uint32_t func) {
  uint32_t cost = func_frame_cost(m, func);
  return m->funcs[func].n_calls == 0 && cost <= FREE_LEAF ? 0 : cost;
}

/* Names are the user's bytes: control characters become '?', and a name that does not fit ends at a whole character. */
static void print_name(const struct name *name, char *out, size_t size) {
  size_t n = name->size < size - 1 ? name->size : size - 1;
  while (n > 0 && n < name->size && ((unsigned char)name->bytes[n] & 0xc0) == 0x80) n--;
  if (n) memcpy(out, name->bytes, n);
  plain_text(out, n, "");
  out[n] = 0;
}

/* A mangled name is shown as its author wrote it. */
static void print_readable(const struct name *name, char *out, size_t size) {
  char readable[512];
  bool is_mangled = demangle(name->bytes, name->size, readable, sizeof readable);
  struct name plain = {.bytes = readable, .size = (uint32_t)strlen(readable)};
  print_name(is_mangled ? &plain : name, out, size);
}

const char *func_display_name(const struct module *m, uint32_t func, char *out, size_t size) {
  if (!size) return out;
  const struct name *name = func < m->n_funcs && m->funcs[func].name.size ? &m->funcs[func].name : NULL;
  for (uint32_t i = 0; i < m->n_exports && !name; i++)
    if (m->exports[i].kind == EXTERN_FUNC && m->exports[i].index == func) name = &m->exports[i].name;
  if (name && name->size)
    print_readable(name, out, size);
  else
    snprintf(out, size, "func[%u]", func);
  return out;
}

static int compare(const struct name *a, const char *bytes, size_t size) {
  size_t n = a->size < size ? a->size : size;
  int order = n ? memcmp(a->bytes, bytes, n) : 0;
  return order ? order : (a->size > size) - (a->size < size);
}

const struct export *module_find_export(const struct module *m, const char *name, size_t size) {
  uint32_t low = 0, high = m->exports_by_name ? m->n_exports : 0;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    int order = compare(&m->exports_by_name[middle]->name, name, size);
    if (order == 0) return m->exports_by_name[middle];
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}
