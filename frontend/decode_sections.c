/* Sections of definitions (spec 5.5): imports to exports, and the start function. */
#include "frontend/decode.h"

#include <string.h>

/* Index spaces grow twice: by the import section and by their own. Returns room for all `total` entries, imports kept. */
static void *grow(struct decoder *d, const void *old, uint32_t n_old, uint32_t total, size_t item_size) {
  void *fresh = arena_alloc_array(&d->m->arena, total, item_size);
  if (n_old) memcpy(fresh, old, n_old * item_size);
  return fresh;
}

/* --- imports ------------------------------------------------------------------------------------------------------ */

/* What stands behind the kind byte, in the order of enum extern_kind. Index spaces are filled afterwards, when it is known
 * how many of each kind there are; until then the parts lie here. */
union import_type {
  uint32_t type;
  struct table_type table;
  struct memory_type memory;
  struct global_type global;
};

static void decode_tag_type(struct decoder *d, struct reader *r, uint32_t *type) {
  const uint8_t *at = r->at;
  uint8_t attribute = read_u8(r);
  if (attribute) reader_fail_at(r, GW_ERROR_MALFORMED, at, "malformed tag attribute %02x", attribute);
  decode_need(d, r, at, FEATURE_EXCEPTIONS);
  *type = read_u32(r);
}

static uint32_t *count_of(struct module *m, enum extern_kind kind) {
  uint32_t *counts[] = {&m->n_imported_funcs, &m->n_imported_tables, &m->n_imported_memories, &m->n_imported_globals,
                        &m->n_imported_tags};
  return counts[kind];
}

static void decode_import(struct decoder *d, struct reader *r, struct import *import, union import_type *type) {
  import->offset = (uint64_t)(r->at - r->start);
  read_name(r, &import->module);
  read_name(r, &import->field);
  const uint8_t *at = r->at;
  uint8_t kind = read_u8(r);
  if (kind > EXTERN_TAG) {
    reader_fail_at(r, GW_ERROR_MALFORMED, at, "malformed import kind %02x", kind);
    return;
  }
  import->kind = kind;
  import->index = (*count_of(d->m, kind))++;
  switch (import->kind) {
  case EXTERN_FUNC: type->type = read_u32(r); break;
  case EXTERN_TABLE: decode_table_type(d, r, &type->table); break;
  case EXTERN_MEMORY:
    if (import->index > 0) decode_need(d, r, at, FEATURE_MULTI_MEMORY);
    decode_limits(d, r, &type->memory.limits, true);
    break;
  case EXTERN_GLOBAL: decode_global_type(d, r, &type->global); break;
  case EXTERN_TAG: decode_tag_type(d, r, &type->type); break;
  }
}

static void place_import(struct module *m, uint32_t i, const union import_type *type) {
  uint32_t index = m->imports[i].index;
  switch (m->imports[i].kind) {
  case EXTERN_FUNC: m->funcs[index] = (struct func){.type = type->type, .import = i}; break;
  case EXTERN_TABLE: m->tables[index] = (struct table){.type = type->table, .import = i}; break;
  case EXTERN_MEMORY: m->memories[index] = (struct memory){.type = type->memory, .import = i}; break;
  case EXTERN_GLOBAL: m->globals[index] = (struct global){.type = type->global, .import = i}; break;
  case EXTERN_TAG: m->tags[index] = (struct tag){.type = type->type, .import = i}; break;
  }
}

void decode_imports(struct decoder *d, struct reader *r) {
  struct module *m = d->m;
  uint32_t n = read_count(r, LIMIT_IMPORTS, 0, 4);
  m->imports = arena_alloc_array(&m->arena, n, sizeof *m->imports);
  union import_type *types = arena_alloc_array(&m->arena, n, sizeof *types);
  for (uint32_t i = 0; i < n && !r->failed; i++) decode_import(d, r, &m->imports[i], &types[i]);
  if (r->failed) return;
  m->n_imports = n;
  m->funcs = arena_alloc_array(&m->arena, m->n_funcs = m->n_imported_funcs, sizeof *m->funcs);
  m->tables = arena_alloc_array(&m->arena, m->n_tables = m->n_imported_tables, sizeof *m->tables);
  m->memories = arena_alloc_array(&m->arena, m->n_memories = m->n_imported_memories, sizeof *m->memories);
  m->globals = arena_alloc_array(&m->arena, m->n_globals = m->n_imported_globals, sizeof *m->globals);
  m->tags = arena_alloc_array(&m->arena, m->n_tags = m->n_imported_tags, sizeof *m->tags);
  for (uint32_t i = 0; i < n; i++) place_import(m, i, &types[i]);
}

/* --- definitions -------------------------------------------------------------------------------------------------- */

void decode_funcs(struct decoder *d, struct reader *r) {
  struct module *m = d->m;
  uint32_t old = m->n_funcs, n = read_count(r, LIMIT_FUNCTIONS, old, 1);
  m->funcs = grow(d, m->funcs, old, old + n, sizeof *m->funcs);
  for (uint32_t i = 0; i < n; i++) m->funcs[old + i] = (struct func){.type = read_u32(r), .import = NO_INDEX};
  m->n_funcs = old + n;
}

static void decode_table(struct decoder *d, struct reader *r, struct table *table) {
  enum { CODE_WITH_INIT = 0x40 };
  table->import = NO_INDEX;
  const uint8_t *at = r->at;
  if (!reader_left(r) || *at != CODE_WITH_INIT) {
    decode_table_type(d, r, &table->type);
    return;
  }
  decode_need(d, r, at, FEATURE_FUNCTION_REFERENCES);
  r->at++;
  if (read_u8(r) != 0) reader_fail(r, "zero byte expected");
  decode_table_type(d, r, &table->type);
  read_const_expr(r, &table->init);
}

void decode_tables(struct decoder *d, struct reader *r) {
  struct module *m = d->m;
  uint32_t old = m->n_tables, n = read_count(r, LIMIT_TABLES, old, 3);
  m->tables = grow(d, m->tables, old, old + n, sizeof *m->tables);
  for (uint32_t i = 0; i < n && !r->failed; i++) decode_table(d, r, &m->tables[old + i]);
  m->n_tables = old + n;
}

void decode_memories(struct decoder *d, struct reader *r) {
  struct module *m = d->m;
  const uint8_t *at = r->at;
  uint32_t old = m->n_memories, n = read_count(r, LIMIT_MEMORIES, old, 2);
  if (old + n > 1) decode_need(d, r, at, FEATURE_MULTI_MEMORY);
  m->memories = grow(d, m->memories, old, old + n, sizeof *m->memories);
  for (uint32_t i = 0; i < n && !r->failed; i++) {
    m->memories[old + i].import = NO_INDEX;
    decode_limits(d, r, &m->memories[old + i].type.limits, true);
  }
  m->n_memories = old + n;
}

void decode_tags(struct decoder *d, struct reader *r) {
  struct module *m = d->m;
  decode_need(d, r, r->at, FEATURE_EXCEPTIONS);
  uint32_t old = m->n_tags, n = read_count(r, LIMIT_TAGS, old, 2);
  m->tags = grow(d, m->tags, old, old + n, sizeof *m->tags);
  for (uint32_t i = 0; i < n && !r->failed; i++) {
    m->tags[old + i].import = NO_INDEX;
    decode_tag_type(d, r, &m->tags[old + i].type);
  }
  m->n_tags = old + n;
}

void read_const_expr(struct reader *r, struct const_expr *expr) {
  *expr = (struct const_expr){.bytes = r->at};
  struct instruction in;
  for (uint32_t depth = 1; depth > 0;) {
    if (!instruction_read(r, &in)) return;
    if (op_does(in.op, FLOW_OPENS)) depth++;
    if (op_does(in.op, FLOW_CLOSES)) depth--;
  }
  expr->size = (uint32_t)(r->at - expr->bytes);
}

void decode_globals(struct decoder *d, struct reader *r) {
  struct module *m = d->m;
  uint32_t old = m->n_globals, n = read_count(r, LIMIT_GLOBALS, old, 3);
  m->globals = grow(d, m->globals, old, old + n, sizeof *m->globals);
  for (uint32_t i = 0; i < n && !r->failed; i++) {
    struct global *global = &m->globals[old + i];
    global->import = NO_INDEX;
    decode_global_type(d, r, &global->type);
    read_const_expr(r, &global->init);
  }
  m->n_globals = old + n;
}

void decode_exports(struct decoder *d, struct reader *r) {
  struct module *m = d->m;
  uint32_t n = read_count(r, LIMIT_EXPORTS, 0, 3);
  m->exports = arena_alloc_array(&m->arena, n, sizeof *m->exports);
  for (uint32_t i = 0; i < n && !r->failed; i++) {
    read_name(r, &m->exports[i].name);
    const uint8_t *at = r->at;
    uint8_t kind = read_u8(r);
    if (kind > EXTERN_TAG) reader_fail_at(r, GW_ERROR_MALFORMED, at, "malformed export kind %02x", kind);
    m->exports[i].kind = kind;
    m->exports[i].index = read_u32(r);
  }
  m->n_exports = n;
}

void decode_start(struct decoder *d, struct reader *r) {
  const uint8_t *at = r->at;
  d->m->start_place = (uint32_t)(at - r->start);
  d->m->start = read_u32(r);
  if (d->m->start == NO_INDEX) reader_fail_at(r, GW_ERROR_INVALID, at, "unknown function %u", NO_INDEX); /* that would be none */
}
