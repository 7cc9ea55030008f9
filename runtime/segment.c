/* Data and element segments (core specification, 4.5.4 and 4.4: memory.init, table.init). */
#include "base/error.h"
#include "runtime/instance.h"

#include <string.h>

bool segment_has_data(const struct gw_instance *instance, uint32_t segment, uint32_t src, uint32_t n) {
  return is_within(src, n, instance->is_data_dropped[segment] ? 0 : instance->module->decoded.datas[segment].size);
}

bool segment_has_elems(const struct gw_instance *instance, uint32_t segment, uint32_t src, uint32_t n) {
  return is_within(src, n, instance->is_elem_dropped[segment] ? 0 : instance->module->decoded.elems[segment].n);
}

void segment_init_memory(struct gw_instance *instance, uint32_t memory, uint32_t segment, uint64_t dst, uint32_t src,
                         uint32_t n) {
  if (n) memcpy(instance->memories[memory]->ctx.base + dst, instance->module->decoded.datas[segment].bytes + src, n);
}

void segment_init_table(struct gw_instance *instance, uint32_t table, uint32_t segment, uint64_t dst, uint32_t src, uint32_t n) {
  const struct elem_segment *s = &instance->module->decoded.elems[segment];
  struct gw_table *t = instance->tables[table];
  void **entries = t->ctx.entries + dst;
  table_note(t, dst, n);
  for (uint32_t i = 0; i < n; i++)
    entries[i] = s->funcs ? instance->funcs[s->funcs[src + i]] : instance_evaluate(instance, s->exprs[src + i]).ref;
}

static bool does_not_fit(const struct gw_instance *instance, enum gw_trap trap, const char *what, uint32_t segment,
                         struct gw_error *err) {
  char name[64];
  gw_module_name(instance->module, name, sizeof name);
  if (err && err->code == GW_ERROR_NONE) err->trap = trap;
  return error_set(err, GW_ERROR_TRAP, "%s by %s segment %u%s%s%s", gw_trap_message(trap), what, segment,
                   name[0] ? " (module " : "", name, name[0] ? ")" : "");
}

/* Where an active segment goes: as wide as the address type. */
static uint64_t start_of(const struct gw_instance *instance, struct const_expr offset, const struct limits *limits) {
  union gw_value v = instance_evaluate(instance, offset);
  return limits->is_64 ? v.u64 : v.u32;
}

bool segments_apply_elems(struct gw_instance *instance, struct gw_error *err) {
  const struct module *m = &instance->module->decoded;
  for (uint32_t i = 0; i < m->n_elems; i++) {
    const struct elem_segment *s = &m->elems[i];
    if (s->mode == SEGMENT_PASSIVE) continue;
    if (s->mode == SEGMENT_ACTIVE) {
      uint64_t at = start_of(instance, s->offset, &m->tables[s->table].type.limits);
      if (!is_within(at, s->n, instance->tables[s->table]->ctx.size))
        return does_not_fit(instance, GW_TRAP_TABLE_OUT_OF_BOUNDS, "element", i, err);
      segment_init_table(instance, s->table, i, at, 0, s->n);
    }
    instance->is_elem_dropped[i] = true;
  }
  return true;
}

/* The image of a watched memory of the instance's own has the segment in it already. Somebody else's may be watched, too: no
 * fault can tell of a write from here. */
static bool apply_data(struct gw_instance *instance, uint32_t segment, uint64_t at, struct gw_error *err) {
  const struct data_segment *s = &instance->module->decoded.datas[segment];
  struct dirty_set *dirty = &instance->memories[s->memory]->dirty;
  bool is_own = s->memory >= instance->module->decoded.n_imported_memories;
  if (is_own && dirty->n_pages) return true;
  bool is_open = memory_open(instance->memories[s->memory], at, s->size);
  if (!is_open || (dirty->n_pages && !dirty_join(dirty, at, s->size)))
    return error_set(err, GW_ERROR_OUT_OF_MEMORY, "cannot write data segment %u into a memory", segment);
  segment_init_memory(instance, s->memory, segment, at, 0, s->size);
  return true;
}

bool segments_apply_datas(struct gw_instance *instance, struct gw_error *err) {
  const struct module *m = &instance->module->decoded;
  for (uint32_t i = 0; i < m->n_datas; i++) {
    const struct data_segment *s = &m->datas[i];
    if (s->mode != SEGMENT_ACTIVE) continue;
    uint64_t at = start_of(instance, s->offset, &m->memories[s->memory].type.limits);
    if (!is_within(at, s->size, instance->memories[s->memory]->ctx.bytes))
      return does_not_fit(instance, GW_TRAP_MEMORY_OUT_OF_BOUNDS, "data", i, err);
    if (!apply_data(instance, i, at, err)) return false;
    instance->is_data_dropped[i] = true;
  }
  return true;
}
