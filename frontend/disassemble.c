#include "frontend/disassemble.h"

#include "frontend/types.h"
#include "frontend/walk.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- pieces of text ---------------------------------------------------------------------------------------------- */

static void put(struct buffer *out, const char *text) { buffer_append_string(out, text); }

static void put_index(struct buffer *out, uint32_t index) { buffer_format(out, " %" PRIu32, index); }

/* A string in quotes: any bytes. */
static void put_string(struct buffer *out, const void *bytes, size_t size) {
  const uint8_t *at = bytes;
  put(out, "\"");
  for (size_t i = 0; i < size; i++) {
    bool is_plain = at[i] >= 0x20 && at[i] < 0x7f && at[i] != '"' && at[i] != '\\';
    buffer_format(out, is_plain ? "%c" : "\\%02x", at[i]);
  }
  put(out, "\"");
}

static int printed_size(struct name name) { return name.size < 100 ? (int)name.size : 100; }

/* A name as a comment; what could end the comment, or is no ASCII, becomes '_'. */
static void put_function_comment(struct buffer *out, const struct module *m, uint32_t func) {
  char name[256];
  const struct import *import = m->funcs[func].import == NO_INDEX ? NULL : &m->imports[m->funcs[func].import];
  if (import)
    snprintf(name, sizeof name, "%.*s.%.*s", printed_size(import->module), import->module.bytes, printed_size(import->field),
             import->field.bytes);
  else
    func_display_name(m, func, name, sizeof name);
  for (char *c = name; *c; c++)
    if ((uint8_t)*c < 0x20 || (uint8_t)*c >= 0x7f || *c == ';') *c = '_';
  buffer_format(out, " (;%s;)", name);
}

static void put_type(struct buffer *out, val_type type) {
  char name[64];
  put(out, val_type_name(type, name, sizeof name));
}

static void put_types(struct buffer *out, const char *keyword, const val_type *types, uint32_t n) {
  if (!n) return;
  buffer_format(out, " (%s", keyword);
  for (uint32_t i = 0; i < n; i++) {
    put(out, " ");
    put_type(out, types[i]);
  }
  put(out, ")");
}

static void put_heap_type(struct buffer *out, val_type type) {
  static const char *const names[] = {"func",  "extern", "any",  "eq",     "i31",      "struct",
                                      "array", "exn",    "none", "nofunc", "noextern", "noexn"};
  uint32_t heap = val_heap(type), abstract = heap - HEAP_FIRST;
  if (heap >= HEAP_FIRST && abstract < sizeof names / sizeof *names)
    buffer_format(out, " %s", names[abstract]);
  else
    put_index(out, heap);
}

/* --- constants ---------------------------------------------------------------------------------------------------- */

/* Exact in hexadecimal; not-a-numbers with their payload. */
static void put_float(struct buffer *out, double value, bool is_negative, uint64_t payload, uint64_t canonical) {
  const char *sign = is_negative ? "-" : "";
  if (isnan(value) && payload == canonical)
    buffer_format(out, " %snan", sign);
  else if (isnan(value))
    buffer_format(out, " %snan:0x%" PRIx64, sign, payload);
  else if (isinf(value))
    buffer_format(out, " %sinf", sign);
  else
    buffer_format(out, " %a", value);
}

static void put_f32(struct buffer *out, uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  put_float(out, (double)value, bits >> 31, bits & 0x7fffff, 0x400000);
}

static void put_f64(struct buffer *out, uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  put_float(out, value, bits >> 63, bits & 0xfffffffffffff, 0x8000000000000);
}

static void put_bytes(struct buffer *out, const char *prefix, const uint8_t *bytes) {
  put(out, prefix);
  for (int i = 0; i < 16; i++) buffer_format(out, " %u", bytes[i]);
}

/* --- instructions ------------------------------------------------------------------------------------------------- */

static void put_block_type(struct buffer *out, const struct instruction *in) {
  if (in->block.has_index)
    buffer_format(out, " (type %" PRIu32 ")", in->index);
  else if (in->block.result != VAL_BOT)
    put_types(out, "result", &in->block.result, 1);
}

static void put_labels(struct buffer *out, const struct module *m, const struct instruction *in) {
  struct gw_error err = {0};
  struct reader r;
  reader_init(&r, m->bytes, in->list, m->bytes + m->size, &err);
  for (uint64_t i = 0; i <= in->count; i++) put_index(out, read_u32(&r));
}

static void put_catches(struct buffer *out, const struct module *m, const struct instruction *in) {
  static const char *const keywords[] = {
      [CATCH_TAG] = "catch", [CATCH_TAG_REF] = "catch_ref", [CATCH_EVERY] = "catch_all", [CATCH_EVERY_REF] = "catch_all_ref"};
  struct gw_error err = {0};
  struct reader r;
  reader_init(&r, m->bytes, in->list, m->bytes + m->size, &err);
  put_block_type(out, in);
  for (uint32_t i = 0; i < in->count; i++) {
    uint8_t kind = read_u8(&r);
    buffer_format(out, " (%s", keywords[kind]);
    if (kind == CATCH_TAG || kind == CATCH_TAG_REF) put_index(out, read_u32(&r));
    put_index(out, read_u32(&r));
    put(out, ")");
  }
}

static void put_memory_argument(struct buffer *out, const struct instruction *in) {
  if (in->mem.memory) put_index(out, in->mem.memory);
  if (in->mem.offset) buffer_format(out, " offset=%" PRIu64, in->mem.offset);
  buffer_format(out, " align=%llu", 1ull << in->mem.align);
}

static void put_indices(struct buffer *out, uint32_t first, uint32_t second) {
  put_index(out, first);
  put_index(out, second);
}

/* The default index 0 of a memory or table is left out. */
static void put_call_indirect(struct buffer *out, const struct instruction *in) {
  if (in->index2) put_index(out, in->index2);
  buffer_format(out, " (type %" PRIu32 ")", in->index);
}

static void put_memory_init(struct buffer *out, const struct instruction *in) {
  if (in->index2) put_index(out, in->index2);
  put_index(out, in->index);
}

static void put_call(struct buffer *out, const struct module *m, const struct instruction *in) {
  put_index(out, in->index);
  put_function_comment(out, m, in->index);
}

static void put_immediate(struct buffer *out, const struct module *m, const struct instruction *in) {
  switch ((enum immediate)op_table[in->op].immediate) {
  case IMM_NONE:
  case IMM_ZERO_BYTE: return;
  case IMM_BLOCK: put_block_type(out, in); return;
  case IMM_TRY_TABLE: put_catches(out, m, in); return;
  case IMM_BR_TABLE: put_labels(out, m, in); return;
  case IMM_FUNC: put_call(out, m, in); return;
  case IMM_CALL_INDIRECT: put_call_indirect(out, in); return;
  case IMM_SELECT_T: put_types(out, "result", &in->type, 1); return;
  case IMM_LABEL:
  case IMM_TYPE:
  case IMM_TAG:
  case IMM_LOCAL:
  case IMM_GLOBAL:
  case IMM_TABLE:
  case IMM_ELEM:
  case IMM_DATA: put_index(out, in->index); return;
  case IMM_MEMORY:
    if (in->index) put_index(out, in->index);
    return;
  case IMM_MEMORY_COPY:
    if (in->index || in->index2) put_indices(out, in->index, in->index2);
    return;
  case IMM_MEMORY_INIT: put_memory_init(out, in); return;
  case IMM_TABLE_INIT: put_indices(out, in->index2, in->index); return;
  case IMM_TABLE_COPY:
  case IMM_TYPE_FIELD:
  case IMM_TYPE_COUNT:
  case IMM_TYPE_DATA:
  case IMM_TYPE_ELEM:
  case IMM_TYPE_TYPE: put_indices(out, in->index, in->index2); return;
  case IMM_I32:
  case IMM_I64: buffer_format(out, " %" PRId64, in->value.i64); return;
  case IMM_F32: put_f32(out, (uint32_t)in->value.bits); return;
  case IMM_F64: put_f64(out, in->value.bits); return;
  case IMM_V128: put_bytes(out, " i8x16", in->value.v128); return;
  case IMM_SHUFFLE: put_bytes(out, "", in->value.v128); return;
  case IMM_HEAP_TYPE: put_heap_type(out, in->type); return;
  case IMM_BR_ON_CAST:
    put_index(out, in->index);
    put_heap_type(out, in->type);
    put_heap_type(out, in->index2);
    return;
  case IMM_LANE2:
  case IMM_LANE4:
  case IMM_LANE8:
  case IMM_LANE16: put_index(out, in->lane); return;
  case IMM_MEM1:
  case IMM_MEM2:
  case IMM_MEM4:
  case IMM_MEM8:
  case IMM_MEM16: put_memory_argument(out, in); return;
  case IMM_MEM1_LANE16:
  case IMM_MEM2_LANE8:
  case IMM_MEM4_LANE4:
  case IMM_MEM8_LANE2:
    put_memory_argument(out, in);
    put_index(out, in->lane);
    return;
  }
}

void disassemble_instruction(const struct module *m, const struct instruction *in, struct buffer *out) {
  put(out, op_table[in->op].text);
  put_immediate(out, m, in);
}

/* A constant expression on one line, without its `end`; in brackets with a keyword, if there is one. */
static void put_const_expr(struct buffer *out, const struct module *m, const char *keyword, struct const_expr e) {
  struct gw_error err = {0};
  struct instruction in = {0};
  struct reader r;
  reader_init(&r, m->bytes, e.bytes, e.bytes + e.size, &err);
  if (*keyword) buffer_format(out, " (%s", keyword);
  while (instruction_read(&r, &in) && reader_left(&r)) {
    put(out, " ");
    disassemble_instruction(m, &in, out);
  }
  if (*keyword) put(out, ")");
}

/* --- module fields ------------------------------------------------------------------------------------------------ */

static void put_limits(struct buffer *out, const struct limits *l) {
  buffer_format(out, "%s %" PRIu64, l->is_64 ? " i64" : "", l->min);
  if (l->has_max) buffer_format(out, " %" PRIu64, l->max);
  if (l->is_shared) put(out, " shared");
}

static void put_table_type(struct buffer *out, const struct table_type *t) {
  put_limits(out, &t->limits);
  put(out, " ");
  put_type(out, t->elem);
}

static void put_global_type(struct buffer *out, const struct global_type *g) {
  put(out, g->is_mutable ? " (mut " : " ");
  put_type(out, g->type);
  if (g->is_mutable) put(out, ")");
}

static void put_types_section(struct buffer *out, const struct module *m) {
  for (uint32_t i = 0; i < m->n_types; i++) {
    const struct type_def *t = &m->types[i];
    if (t->kind != COMP_FUNC) continue;
    buffer_format(out, "  (type (;%" PRIu32 ";) (func", i);
    put_types(out, "param", t->func.params, t->func.n_params);
    put_types(out, "result", t->func.results, t->func.n_results);
    put(out, "))\n");
  }
}

static void put_import_type(struct buffer *out, const struct module *m, const struct import *import) {
  uint32_t i = import->index;
  static const char *const keywords[] = {"func", "table", "memory", "global", "tag"};
  buffer_format(out, " (%s (;%" PRIu32 ";)", keywords[import->kind], i);
  switch (import->kind) {
  case EXTERN_FUNC: buffer_format(out, " (type %" PRIu32 ")", m->funcs[i].type); break;
  case EXTERN_TABLE: put_table_type(out, &m->tables[i].type); break;
  case EXTERN_MEMORY: put_limits(out, &m->memories[i].type.limits); break;
  case EXTERN_GLOBAL: put_global_type(out, &m->globals[i].type); break;
  case EXTERN_TAG: buffer_format(out, " (type %" PRIu32 ")", m->tags[i].type); break;
  }
  put(out, ")");
}

static void put_imports(struct buffer *out, const struct module *m) {
  for (uint32_t i = 0; i < m->n_imports; i++) {
    const struct import *import = &m->imports[i];
    put(out, "  (import ");
    put_string(out, import->module.bytes, import->module.size);
    put(out, " ");
    put_string(out, import->field.bytes, import->field.size);
    put_import_type(out, m, import);
    put(out, ")\n");
  }
}

static void put_exports(struct buffer *out, const struct module *m) {
  static const char *const keywords[] = {"func", "table", "memory", "global", "tag"};
  for (uint32_t i = 0; i < m->n_exports; i++) {
    const struct export *e = &m->exports[i];
    put(out, "  (export ");
    put_string(out, e->name.bytes, e->name.size);
    buffer_format(out, " (%s %" PRIu32 "))\n", keywords[e->kind], e->index);
  }
}

static void put_tables(struct buffer *out, const struct module *m) {
  for (uint32_t i = m->n_imported_tables; i < m->n_tables; i++) {
    buffer_format(out, "  (table (;%" PRIu32 ";)", i);
    put_table_type(out, &m->tables[i].type);
    put(out, ")\n");
  }
  for (uint32_t i = m->n_imported_memories; i < m->n_memories; i++) {
    buffer_format(out, "  (memory (;%" PRIu32 ";)", i);
    put_limits(out, &m->memories[i].type.limits);
    put(out, ")\n");
  }
}

static void put_tags(struct buffer *out, const struct module *m) {
  for (uint32_t i = m->n_imported_tags; i < m->n_tags; i++)
    buffer_format(out, "  (tag (;%" PRIu32 ";) (type %" PRIu32 "))\n", i, m->tags[i].type);
}

static void put_globals(struct buffer *out, const struct module *m) {
  for (uint32_t i = m->n_imported_globals; i < m->n_globals; i++) {
    buffer_format(out, "  (global (;%" PRIu32 ";)", i);
    put_global_type(out, &m->globals[i].type);
    put_const_expr(out, m, "", m->globals[i].init);
    put(out, ")\n");
  }
}

static void put_elem(struct buffer *out, const struct module *m, const struct elem_segment *s, uint32_t index) {
  buffer_format(out, "  (elem (;%" PRIu32 ";)", index);
  if (s->mode == SEGMENT_DECLARATIVE) put(out, " declare");
  if (s->mode == SEGMENT_ACTIVE && s->table) buffer_format(out, " (table %" PRIu32 ")", s->table);
  if (s->mode == SEGMENT_ACTIVE) put_const_expr(out, m, "offset", s->offset);
  put(out, " ");
  if (s->funcs)
    put(out, "func");
  else
    put_type(out, s->type);
  for (uint32_t i = 0; i < s->n; i++) {
    if (s->funcs)
      put_index(out, s->funcs[i]);
    else
      put_const_expr(out, m, "item", s->exprs[i]);
  }
  put(out, ")\n");
}

static void put_data(struct buffer *out, const struct module *m, const struct data_segment *s, uint32_t index) {
  buffer_format(out, "  (data (;%" PRIu32 ";)", index);
  if (s->mode == SEGMENT_ACTIVE && s->memory) buffer_format(out, " (memory %" PRIu32 ")", s->memory);
  if (s->mode == SEGMENT_ACTIVE) put_const_expr(out, m, "offset", s->offset);
  put(out, " ");
  put_string(out, s->bytes, s->size);
  put(out, ")\n");
}

/* --- functions ---------------------------------------------------------------------------------------------------- */

static void put_locals(struct buffer *out, const struct func *f) {
  if (!f->n_locals) return;
  put(out, "    (local");
  for (uint32_t i = 0; i < f->n_runs; i++) {
    for (uint32_t k = 0; k < f->runs[i].count; k++) {
      put(out, " ");
      put_type(out, f->runs[i].type);
    }
  }
  put(out, ")\n");
}

/* Every instruction on a line of its own, indented by its nesting; the final `end` is the closing bracket of the function. */
static void put_body(struct buffer *out, const struct module *m, uint32_t func) {
  struct walk w;
  walk_begin(&w, m, func);
  while (walk_next(&w) && reader_left(&w.r)) {
    uint32_t indent = 2 * w.depth;
    buffer_format(out, "    (;%06" PRIx64 ";) %*s", w.in.offset, indent < 80 ? (int)indent : 80, "");
    disassemble_instruction(m, &w.in, out);
    put(out, "\n");
  }
  walk_end(&w);
}

static void put_function(struct buffer *out, const struct module *m, uint32_t index) {
  const struct func *f = &m->funcs[index];
  const struct func_type *type = &m->types[f->type].func;
  buffer_format(out, "  (func (;%" PRIu32 ";)", index);
  put_function_comment(out, m, index);
  buffer_format(out, " (type %" PRIu32 ")", f->type);
  put_types(out, "param", type->params, type->n_params);
  put_types(out, "result", type->results, type->n_results);
  put(out, "\n");
  put_locals(out, f);
  put_body(out, m, index);
  put(out, "  )\n");
}

void disassemble_module(const struct module *m, struct buffer *out) {
  put(out, "(module\n");
  put_types_section(out, m);
  put_imports(out, m);
  for (uint32_t i = m->n_imported_funcs; i < m->n_funcs; i++) put_function(out, m, i);
  put_tables(out, m);
  put_tags(out, m);
  put_globals(out, m);
  put_exports(out, m);
  if (m->start != NO_INDEX) buffer_format(out, "  (start %" PRIu32 ")\n", m->start);
  for (uint32_t i = 0; i < m->n_elems; i++) put_elem(out, m, &m->elems[i], i);
  for (uint32_t i = 0; i < m->n_datas; i++) put_data(out, m, &m->datas[i], i);
  put(out, ")\n");
}
