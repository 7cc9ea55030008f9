/* Instances: made, reset, looked into (core specification, 4.5.4 instantiation).
 *
 * Everything of an instance lies in its store's arena and lives as long as the store: a failed instantiation may have left its
 * functions in a shared table. A reset goes back to what the instance was just before its start function: own globals and
 * tables from a snapshot, own memories to their image (memory.c), or wiped and their data segments written again. After
 * gw_instance_keep it goes back to what was kept, which may be the state behind the start function or an initialiser, or that at
 * a checkpoint (checkpoint.c). */
#include "runtime/instance.h"

#include "base/error.h"
#include "runtime/compile.h"
#include "runtime/debug/profile.h"
#include "runtime/debug/record.h"

#include <string.h>

static struct gw_instance *instance_alloc(struct gw_store *store, struct gw_module *module) {
  const struct module *m = &module->decoded;
  struct arena *a = &store->arena;
  struct vmctx_counts counts = module_vmctx_counts(m);
  struct vmctx_layout layout = vmctx_layout(&counts);
  struct gw_instance *instance = arena_alloc(a, sizeof *instance);
  uint8_t *block = arena_alloc(a, layout.size);
  instance->store = store;
  instance->module = gw_module_retain(module);
  instance->vmctx = (struct vmctx *)(void *)block;
  *instance->vmctx = (struct vmctx){.exec = &store->exec, .helpers = &runtime_helpers, .instance = instance};
  instance->funcs = (struct func_ref **)(void *)(block + layout.funcs);
  instance->memories = (struct gw_memory **)(void *)(block + layout.memories);
  instance->tables = (struct gw_table **)(void *)(block + layout.tables);
  instance->tags = (struct gw_tag **)(void *)(block + layout.tags);
  instance->cells = (union gw_value *)(void *)(block + layout.cells);
  instance->hosts = arena_alloc_array(a, m->n_imported_funcs, sizeof *instance->hosts);
  instance->refs = arena_alloc_array(a, m->n_funcs, sizeof *instance->refs);
  instance->globals = arena_alloc_array(a, m->n_globals, sizeof *instance->globals);
  instance->is_elem_dropped = arena_alloc(a, m->n_elems);
  instance->is_data_dropped = arena_alloc(a, m->n_datas);
  uint32_t *type_ids = (uint32_t *)(void *)(block + layout.type_ids);
  for (uint32_t i = 0; i < m->n_types; i++) type_ids[i] = m->types[i].canonical;
  instance->next = store->instances;
  store->instances = instance;
  return instance;
}

static void make_funcs(struct gw_instance *instance) {
  const struct module *m = &instance->module->decoded;
  profile_attach(instance);
  const struct code *code = instance->code;
  for (uint32_t i = 0; i < m->n_funcs; i++) {
    instance->refs[i] = (struct func_ref){.code = code ? code->funcs[i] : NULL,
                                          .vmctx = instance->vmctx,
                                          .type_id = m->types[m->funcs[i].type].canonical,
                                          .index = i};
    if (i >= m->n_imported_funcs) instance->funcs[i] = &instance->refs[i];
  }
  precise_attach(instance);
}

static void make_tags(struct gw_instance *instance) {
  const struct module *m = &instance->module->decoded;
  for (uint32_t i = m->n_imported_tags; i < m->n_tags; i++) {
    const struct type_def *type = &m->types[m->tags[i].type];
    instance->tags[i] = arena_alloc(&instance->store->arena, sizeof **instance->tags);
    *instance->tags[i] = (struct gw_tag){.store = instance->store, .type_id = type->canonical, .type = &type->func};
  }
}

/* From now on every instance of the store runs code in the dialect: any of them may call, through a table or a reference, a
 * function that throws or ends in a tail call. Code is entered through func_refs only, so this is a matter of changing those. */
static bool add_dialect(struct gw_store *store, uint32_t added, struct gw_error *err) {
  uint32_t dialect = store->dialect | added;
  if (dialect == store->dialect) return true;
  if (store->state == RUN_RUNNING || store_is_suspended(store))
    return error_set(err, GW_ERROR_USAGE, "a module with %s cannot join a store that has an invocation under way",
                     dialect & ~store->dialect & DIALECT_EXCEPTIONS ? "exceptions" : "tail calls");
  for (struct gw_instance *i = store->instances; i; i = i->next)
    if (i->code && !module_compile(i->module, dialect, err)) return false;
  store->dialect = dialect;
  store->stack_is_for = NULL; /* other code has other frames */
  for (struct gw_instance *i = store->instances; i; i = i->next) {
    if (!i->code) continue; /* its linking failed */
    i->code = module_compile(i->module, dialect, err);
    profile_attach(i);
    for (uint32_t k = 0; k < i->module->decoded.n_funcs; k++) i->refs[k].code = i->code->funcs[k];
  }
  return true;
}

static bool make_memories_and_tables(struct gw_instance *instance, struct gw_error *err) {
  const struct module *m = &instance->module->decoded;
  for (uint32_t i = m->n_imported_memories; i < m->n_memories; i++) {
    instance->memories[i] = memory_create(instance->store, &m->memories[i].type, err);
    if (!instance->memories[i]) return false;
  }
  for (uint32_t i = m->n_imported_tables; i < m->n_tables; i++) {
    instance->tables[i] = table_create(instance->store, &m->tables[i].type, err);
    if (!instance->tables[i]) return false;
    instance->tables[i]->module = m;
  }
  if (m->n_memories) instance->vmctx->memory0 = instance->memories[0]->ctx.base;
  return true;
}

/* Own globals in order, as an initialiser may read those before it; then what tables are filled with. */
static void make_globals(struct gw_instance *instance) {
  const struct module *m = &instance->module->decoded;
  struct arena *a = &instance->store->arena;
  for (uint32_t i = m->n_imported_globals; i < m->n_globals; i++) {
    struct gw_global *global = arena_alloc(a, sizeof *global);
    union gw_value *cell = &instance->cells[i - m->n_imported_globals];
    *cell = instance_evaluate(instance, m->globals[i].init);
    *global = (struct gw_global){.store = instance->store, .type = m->globals[i].type, .module = m, .cell = cell};
    instance->globals[i] = global;
  }
  struct vmctx_counts counts = module_vmctx_counts(m);
  union gw_value **cells = (union gw_value **)(void *)((uint8_t *)instance->vmctx + vmctx_layout(&counts).globals);
  for (uint32_t i = 0; i < m->n_globals; i++) cells[i] = instance->globals[i]->cell;
  for (uint32_t i = m->n_imported_tables; i < m->n_tables; i++) {
    if (!m->tables[i].init.bytes) continue;
    table_fill(instance->tables[i], instance_evaluate(instance, m->tables[i].init).ref);
  }
}

static bool is_resettable(const struct module *m) {
  for (uint32_t i = 0; i < m->n_imported_globals; i++)
    if (m->globals[i].type.is_mutable) return false;
  return m->n_imported_memories == 0 && m->n_imported_tables == 0;
}

static bool snapshot(struct gw_instance *instance, struct gw_error *err) {
  const struct module *m = &instance->module->decoded;
  instance->is_resettable = is_resettable(m);
  if (!instance->is_resettable) return true;
  size_t size = (m->n_globals - m->n_imported_globals) * sizeof *instance->cells;
  instance->initial_cells = arena_copy(&instance->store->arena, instance->cells, size);
  for (uint32_t i = 0; i < m->n_tables; i++)
    if (!table_snapshot(instance->tables[i])) return error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for a table");
  return true;
}

struct func_ref *gw_instance_start(const struct gw_instance *instance) {
  uint32_t start = instance->module->decoded.start;
  return start == NO_INDEX ? NULL : instance->funcs[start];
}

static bool run_start(struct gw_instance *instance, struct gw_error *err) {
  struct func_ref *start = gw_instance_start(instance);
  return !start || instance->store->options.defers_start || gw_call(instance->store, start, NULL, err);
}

static bool has_exceptions(const struct gw_module *module) { return module->decoded.dialect & DIALECT_EXCEPTIONS; }

static bool store_has_exceptions(const struct gw_store *store) {
  for (const struct gw_instance *i = store->instances; i; i = i->next)
    if (has_exceptions(i->module)) return true;
  return false;
}

/* In the mixed tier, compiled code looks for exceptions only where its own module has some, so that of a module without stays out
 * of stores that have them. */
static enum precise_kind kind_for(const struct gw_store *store, const struct gw_module *module) {
  enum gw_tier tier = store->options.tier;
  if (tier == GW_TIER_PRECISE || store->engine->options.watch) return PRECISE_INTERPRETER;
  if (tier != GW_TIER_MIXED) return PRECISE_BASELINE;
  bool may_throw = store_has_exceptions(store) && !has_exceptions(module);
  return module_can_mix(module) && !may_throw ? PRECISE_MIXED : PRECISE_APART;
}

/* The first module with exceptions joins a store of the mixed tier: the others' functions run no compiled code from now on. */
static bool part_from_exceptions(struct gw_store *store, struct gw_error *err) {
  if (store->state == RUN_RUNNING || store_is_suspended(store))
    return error_set(err, GW_ERROR_USAGE, "a module with exceptions cannot join a store that has an invocation under way");
  for (struct gw_instance *i = store->instances; i; i = i->next) {
    struct precise_module *apart = i->precise ? module_interpret(i->module, PRECISE_APART, err) : NULL;
    if (!i->precise) continue; /* its linking failed */
    if (!apart) return false;
    i->precise = apart;
    precise_attach(i);
  }
  return true;
}

/* What the store's tier needs of the module; the other stays NULL. */
static bool prepare_code(struct gw_store *store, struct gw_module *module, const struct code **code,
                         struct precise_module **precise, struct gw_error *err) {
  if (store->options.tier != GW_TIER_FAST) {
    bool is_first = store->options.tier == GW_TIER_MIXED && has_exceptions(module) && !store_has_exceptions(store);
    if (is_first && !part_from_exceptions(store, err)) return false;
    *precise = module_interpret(module, kind_for(store, module), err);
    return *precise;
  }
  if (!add_dialect(store, module->decoded.dialect, err)) return false;
  *code = module_compile(module, store->dialect, err);
  return *code;
}

static struct gw_instance *create(struct gw_store *store, struct gw_module *module, gw_resolve_fn resolve, void *env,
                                  struct gw_error *err) {
  const struct code *code = NULL;
  struct precise_module *precise = NULL;
  if (!prepare_code(store, module, &code, &precise, err)) return NULL;
  struct gw_instance *instance = instance_alloc(store, module);
  if (!instance_link(instance, resolve, env, err)) return NULL;
  instance->code = code;
  instance->precise = precise;
  store->stack_is_for = NULL;
  make_funcs(instance);
  make_tags(instance);
  if (!make_memories_and_tables(instance, err)) return NULL;
  make_globals(instance);
  if (!segments_apply_elems(instance, err) || !segments_apply_datas(instance, err)) return NULL;
  if (!snapshot(instance, err) || !run_start(instance, err)) return NULL;
  return instance;
}

struct gw_instance *gw_instance_create(struct gw_store *store, struct gw_module *module, gw_resolve_fn resolve, void *env,
                                       struct gw_error *err) {
  if (module->engine != store->engine) {
    error_set(err, GW_ERROR_USAGE, "the module belongs to another engine");
    return NULL;
  }
  if (checkpoint_is_kept(store)) { /* its frames would be put back on another stack, or call code that is no longer run */
    error_set(err, GW_ERROR_USAGE, "a module cannot join a store that has a checkpoint");
    return NULL;
  }
  struct gw_instance *instance = create(store, module, resolve, env, err);
  store_count_instances(store);
  return instance;
}

static bool is_restorable(const struct gw_memory *memory) { return memory->dirty.n_pages || memory->initial == 0; }

static bool check_reset(const struct gw_instance *instance, struct gw_error *err) {
  if (!instance->is_resettable)
    return error_set(err, GW_ERROR_USAGE, "an instance that imports a memory, table or mutable global cannot be reset");
  if (instance->store->checkpoint.is_failed) return error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for an instance's image");
  if (instance->store->state != RUN_NONE)
    return error_set(err, GW_ERROR_USAGE, "an instance cannot be reset while its store has an invocation under way");
  return true;
}

static bool reset_memories(struct gw_instance *instance, struct gw_error *err) {
  const struct module *m = &instance->module->decoded;
  for (uint32_t i = 0; i < m->n_memories; i++) {
    if (instance->is_kept && !is_restorable(instance->memories[i]))
      return error_set(err, GW_ERROR_UNAVAILABLE, "the memory is no longer watched");
    if (!memory_reset(instance->memories[i])) return error_set(err, GW_ERROR_OUT_OF_MEMORY, "cannot clear a memory");
  }
  if (instance->is_kept) return true;
  if (m->n_datas) memset(instance->is_data_dropped, 0, m->n_datas);
  if (!segments_apply_datas(instance, err)) return false;
  for (uint32_t i = 0; i < m->n_memories; i++) memory_watch(instance->memories[i]);
  return true;
}

static void restore_drops(struct gw_instance *instance) {
  const struct module *m = &instance->module->decoded;
  if (instance->is_kept) {
    memcpy(instance->is_elem_dropped, instance->kept_drops, m->n_elems);
    memcpy(instance->is_data_dropped, instance->kept_drops + m->n_elems, m->n_datas);
    return;
  }
  for (uint32_t i = 0; i < m->n_elems; i++) instance->is_elem_dropped[i] = m->elems[i].mode != SEGMENT_PASSIVE;
}

bool instance_reset(struct gw_instance *instance, struct gw_error *err) {
  const struct module *m = &instance->module->decoded;
  if (!check_reset(instance, err)) return false;
  instance->store->n_host_calls = 0;
  instance->store->was_refused = false;
  memcpy(instance->cells, instance->initial_cells, (m->n_globals - m->n_imported_globals) * sizeof *instance->cells);
  for (uint32_t i = 0; i < m->n_tables; i++)
    if (!table_restore(instance->tables[i])) return error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for a table");
  if (instance->store->exceptions.all) exceptions_collect(instance->store, false);
  restore_drops(instance);
  return reset_memories(instance, err);
}

bool gw_instance_reset(struct gw_instance *instance, struct gw_error *err) {
  return instance_reset(instance, err) && (instance->is_kept || run_start(instance, err));
}

bool gw_instance_resets_pages(const struct gw_instance *instance) {
  for (uint32_t i = 0; i < instance->module->decoded.n_memories; i++)
    if (instance->memories[i]->initial && !instance->memories[i]->dirty.n_pages) return false;
  return true;
}

static bool has_grown_tables(const struct gw_instance *instance) {
  const struct module *m = &instance->module->decoded;
  for (uint32_t i = 0; i < m->n_tables; i++)
    if (instance->tables[i]->ctx.size != m->tables[i].type.limits.min) return true;
  return false;
}

bool gw_instance_can_keep(const struct gw_instance *instance) {
  const struct module *m = &instance->module->decoded;
  const struct gw_store *store = instance->store;
  if (!check_reset(instance, NULL) || store->n_host_calls || store->was_refused) return false;
  if ((m->dialect & DIALECT_EXCEPTIONS) || store->exceptions.all) return false; /* images are no roots of exceptions */
  for (uint32_t i = 0; i < m->n_memories; i++)
    if (!memory_can_keep(instance->memories[i])) return false;
  return !has_grown_tables(instance);
}

bool instance_can_keep_grown(const struct gw_instance *instance) {
  if (!instance->is_resettable || has_grown_tables(instance)) return false;
  for (uint32_t i = 0; i < instance->module->decoded.n_memories; i++)
    if (!memory_can_keep_grown(instance->memories[i])) return false;
  return true;
}

static bool keep(struct gw_instance *instance, bool (*keep_memory)(struct gw_memory *memory)) {
  const struct module *m = &instance->module->decoded;
  bool *drops = instance->kept_drops;
  if (!drops) drops = instance->kept_drops = arena_alloc(&instance->store->arena, m->n_elems + m->n_datas);
  memcpy(drops, instance->is_elem_dropped, m->n_elems);
  memcpy(drops + m->n_elems, instance->is_data_dropped, m->n_datas);
  memcpy(instance->initial_cells, instance->cells, (m->n_globals - m->n_imported_globals) * sizeof *instance->cells);
  bool ok = true;
  for (uint32_t i = 0; i < m->n_tables && ok; i++) ok = table_keep(instance->tables[i]);
  for (uint32_t i = 0; i < m->n_memories && ok; i++) ok = keep_memory(instance->memories[i]);
  instance->is_kept = true;
  return ok;
}

bool gw_instance_keep(struct gw_instance *instance, struct gw_error *err) {
  if (!gw_instance_can_keep(instance)) return error_set(err, GW_ERROR_USAGE, "the instance's state cannot be kept");
  return keep(instance, memory_keep) || error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for an instance's image");
}

bool instance_keep_grown(struct gw_instance *instance) { return keep(instance, memory_keep_grown); }

static bool export_of(struct gw_instance *instance, const struct export *e, struct gw_extern *out) {
  switch (e->kind) {
  case EXTERN_FUNC: *out = (struct gw_extern){.kind = GW_EXTERN_FUNC, .of.func = instance->funcs[e->index]}; return true;
  case EXTERN_TABLE: *out = (struct gw_extern){.kind = GW_EXTERN_TABLE, .of.table = instance->tables[e->index]}; return true;
  case EXTERN_MEMORY: *out = (struct gw_extern){.kind = GW_EXTERN_MEMORY, .of.memory = instance->memories[e->index]}; return true;
  case EXTERN_GLOBAL: *out = (struct gw_extern){.kind = GW_EXTERN_GLOBAL, .of.global = instance->globals[e->index]}; return true;
  case EXTERN_TAG: *out = (struct gw_extern){.kind = GW_EXTERN_TAG, .of.tag = instance->tags[e->index]}; return true;
  }
  return false;
}

bool gw_instance_export(struct gw_instance *instance, const char *name, size_t size, struct gw_extern *out) {
  const struct export *e = module_find_export(&instance->module->decoded, name, size);
  return e && export_of(instance, e, out);
}

bool gw_instance_export_at(struct gw_instance *instance, uint32_t index, struct gw_extern *out) {
  const struct module *m = &instance->module->decoded;
  return index < m->n_exports && export_of(instance, &m->exports[index], out);
}

uint64_t gw_instance_gas(const struct gw_instance *instance) {
  return gas_of_instance(&instance->module->decoded, instance->store->schedule);
}

struct gw_module *gw_instance_module(const struct gw_instance *instance) {
  return instance->module;
}

struct gw_store *gw_instance_store(const struct gw_instance *instance) {
  return instance->store;
}

void *gw_instance_memory(struct gw_instance *instance, uint64_t offset, uint64_t size) {
  if (!instance->module->decoded.n_memories) return NULL;
  void *at = gw_memory_data(instance->memories[0], offset, size);
  if (at && instance->store->record) record_note(instance->store->record, offset, at, size);
  return at;
}

uint64_t gw_instance_memory_size(const struct gw_instance *instance) {
  return instance->module->decoded.n_memories ? instance->memories[0]->ctx.bytes : 0;
}
