#include "cli/view.h"

#include "base/heap.h"
#include "cli/values.h"
#include "frontend/disassemble.h"
#include "frontend/types.h"
#include "server/invoke/backtrace.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 128, LINE_BYTES = 16, MOST_SHOWN = 64 };

static const struct module *module_of(const struct precise_place *place) {
  return gw_module_decoded(gw_instance_module(place->instance));
}

static const struct func *func_of(const struct precise_place *place) { return &module_of(place)->funcs[place->func]; }

static const struct func_type *type_of(const struct precise_place *place) {
  return &module_of(place)->types[func_of(place)->type].func;
}

const char *view_function(const struct precise_place *place, char *out, size_t size) {
  return func_display_name(module_of(place), place->func, out, size);
}

bool view_read(const struct precise_place *place, struct instruction *in) {
  const struct module *m = module_of(place);
  struct gw_error ignored = {0};
  struct reader r;
  reader_init(&r, m->bytes, m->bytes + place->offset, func_of(place)->end, &ignored);
  return instruction_read(&r, in);
}

void view_place(const struct precise_place *place, struct buffer *out) {
  char name[NAME_SIZE];
  struct instruction in;
  buffer_format(out, "%s at byte 0x%" PRIx64, view_function(place, name, sizeof name), place->offset);
  backtrace_append_source(place, out);
  buffer_append_string(out, ": ");
  if (view_read(place, &in)) disassemble_instruction(module_of(place), &in, out);
  buffer_append_string(out, "\n");
}

/* --- values --------------------------------------------------------------------------------------------------------- */

static void put_value(union gw_value value, val_type type, struct buffer *out) {
  char text[CLI_VALUE_SIZE];
  cli_print_value(value, type, text);
  buffer_append_string(out, text);
}

void view_values(const union gw_value *values, const val_type *types, uint32_t n, struct buffer *out) {
  for (uint32_t i = 0; i < n; i++) {
    if (i) buffer_append_string(out, ", ");
    put_value(values[i], types[i], out);
  }
}

static void put_named(const char *format, uint32_t i, union gw_value value, val_type type, struct buffer *out) {
  char name[32];
  buffer_format(out, format, i, val_type_name(type, name, sizeof name));
  put_value(value, type, out);
  if (val_kind(type) == VAL_I32 || val_kind(type) == VAL_I64)
    buffer_format(out, "  (0x%" PRIx64 ")", val_kind(type) == VAL_I32 ? value.u32 : value.u64);
  buffer_append_string(out, "\n");
}

void view_locals(const struct precise_view *view, struct buffer *out) {
  const struct func *f = func_of(&view->place);
  const struct func_type *type = type_of(&view->place);
  uint32_t n = 0, shown = 0;
  for (; n < type->n_params; n++) put_named("  param %" PRIu32 " %s = ", n, view->locals[n], type->params[n], out);
  for (uint32_t i = 0; i < f->n_runs; i++)
    for (uint32_t k = 0; k < f->runs[i].count; k++, n++)
      if (shown++ < MOST_SHOWN) put_named("  local %" PRIu32 " %s = ", n, view->locals[n], f->runs[i].type, out);
  if (shown > MOST_SHOWN) buffer_format(out, "  ... %" PRIu32 " more locals\n", shown - MOST_SHOWN);
  if (n == 0) buffer_append_string(out, "  no locals\n");
}

/* Their types, malloc'd; at least view->n_operands of them. */
static val_type *operand_types(const struct precise_view *view) {
  const struct precise_place *p = &view->place;
  uint32_t n = module_operand_types(module_of(p), p->func, p->offset, NULL, 0);
  if (n < view->n_operands) n = view->n_operands;
  val_type *types = heap_new(n + 1, sizeof *types);
  module_operand_types(module_of(p), p->func, p->offset, types, n);
  return types;
}

void view_operands(const struct precise_view *view, struct buffer *out) {
  val_type *types = operand_types(view);
  uint32_t n = view->n_operands, first = n > MOST_SHOWN ? n - MOST_SHOWN : 0;
  if (first) buffer_format(out, "  ... %" PRIu32 " more operands\n", first);
  for (uint32_t i = first; i < n; i++) put_named("  operand %" PRIu32 " %s = ", i, view->operands[i], types[i], out);
  if (n == 0) buffer_append_string(out, "  no operands\n");
  free(types);
}

/* --- memory ---------------------------------------------------------------------------------------------------------- */

static void put_line(const uint8_t *bytes, uint64_t address, uint64_t n, struct buffer *out) {
  buffer_format(out, "  0x%08" PRIx64 " ", address);
  for (uint64_t i = 0; i < LINE_BYTES; i++) buffer_format(out, i < n ? " %02x" : "   ", i < n ? bytes[i] : 0);
  buffer_append_string(out, "  ");
  for (uint64_t i = 0; i < n; i++) buffer_format(out, "%c", isprint(bytes[i]) ? bytes[i] : '.');
  buffer_append_string(out, "\n");
}

void view_memory(struct gw_instance *instance, uint64_t address, uint64_t size, struct buffer *out) {
  uint64_t bytes = gw_instance_memory_size(instance);
  if (address >= bytes) {
    buffer_format(out, "  address 0x%" PRIx64 " is out of bounds, the memory has %" PRIu64 " bytes\n", address, bytes);
    return;
  }
  if (size > bytes - address) size = bytes - address;
  for (uint64_t at = 0; at < size; at += LINE_BYTES) {
    uint64_t n = size - at < LINE_BYTES ? size - at : LINE_BYTES;
    put_line(gw_instance_memory(instance, address + at, n), address + at, n, out);
  }
}

/* Operands above the address of a load or store: the value, or the vector that gets a lane. Negative: no access to memory 0. */
static int operands_above_address(const struct instruction *in) {
  enum immediate i = op_table[in->op].immediate;
  bool has_lane = i >= IMM_MEM1_LANE16 && i <= IMM_MEM8_LANE2, is_access = i >= IMM_MEM1 && i <= IMM_MEM16;
  if ((!has_lane && !is_access) || in->mem.memory) return -1;
  return has_lane || op_table[in->op].signature[0] == '_';
}

void view_memory_access(const struct precise_view *view, struct buffer *out) {
  struct instruction in;
  if (!view_read(&view->place, &in)) return;
  int above = operands_above_address(&in);
  if (above < 0 || view->n_operands <= (uint32_t)above) return;
  union gw_value index = view->operands[view->n_operands - 1 - (uint32_t)above];
  bool is_64 = module_of(&view->place)->memories[0].type.limits.is_64;
  uint64_t address = (is_64 ? index.u64 : index.u32) + in.mem.offset;
  uint64_t from = address / LINE_BYTES * LINE_BYTES;
  uint64_t bytes = gw_instance_memory_size(view->place.instance);
  buffer_format(out, "  accesses address 0x%" PRIx64 "%s\n", address, address < bytes ? "" : ", beyond the end");
  if (from < bytes + LINE_BYTES)
    view_memory((struct gw_instance *)view->place.instance, from >= LINE_BYTES ? from - LINE_BYTES : 0, 4 * LINE_BYTES, out);
}

/* --- code ------------------------------------------------------------------------------------------------------------- */

void view_calls(const struct gw_store *store, struct buffer *out) {
  struct precise_view view;
  char name[NAME_SIZE];
  uint32_t i = 0;
  for (; i < MOST_SHOWN && precise_look(store, i, &view); i++) {
    const struct func_type *type = type_of(&view.place);
    buffer_format(out, "  %2" PRIu32 ": %s(", i, view_function(&view.place, name, sizeof name));
    view_values(view.locals, type->params, type->n_params, out);
    buffer_format(out, ") at byte 0x%" PRIx64, view.place.offset);
    backtrace_append_source(&view.place, out);
    buffer_append_string(out, "\n");
  }
  if (i == MOST_SHOWN && precise_look(store, i, &view)) buffer_append_string(out, "  ... and more\n");
}

/* The body is read twice: to count the instructions before this one, and to print. */
static uint32_t count_before(const struct precise_place *place, struct reader r) {
  struct instruction in;
  uint32_t n = 0;
  while (instruction_read(&r, &in) && in.offset < place->offset) n++;
  return n;
}

void view_listing(const struct precise_place *place, uint32_t around, struct buffer *out) {
  const struct module *m = module_of(place);
  const struct func *f = func_of(place);
  struct gw_error ignored = {0};
  struct instruction in;
  struct reader r;
  reader_init(&r, m->bytes, f->body, f->end, &ignored);
  uint32_t at = count_before(place, r);
  for (uint32_t i = 0; i <= at + around && instruction_read(&r, &in); i++) {
    if (i + around < at) continue;
    buffer_format(out, "%s 0x%06" PRIx64 "  ", in.offset == place->offset ? "=>" : "  ", in.offset);
    disassemble_instruction(m, &in, out);
    buffer_append_string(out, "\n");
  }
}
