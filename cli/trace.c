/* Lines of a trace: the gas used before, then a call or an instruction.
 *
 *           120  main(3, 1024)
 *           176    wasi_snapshot_preview1.fd_write(1, 8, 1, 20) = 0
 *           310    = 17
 *
 * Calls are told apart by the level of their frames: who is on a higher level than the call before was called by it. */
#include "cli/trace.h"

#include "base/array.h"
#include "cli/view.h"
#include "frontend/disassemble.h"
#include "frontend/types.h"
#include "runtime/instance.h"
#include "runtime/object.h"
#include "runtime/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_INDENT = 60, NAME_SIZE = 128, TOP = 4 };

struct trace_call {
  struct precise_place place;
  uintptr_t level;
};

bool trace_parse(const char *text, enum trace_kind *out) {
  if (!*text) text = "instructions";
  static const char *const names[] = {[TRACE_CALLS] = "calls", [TRACE_BLOCKS] = "blocks", [TRACE_INSTRUCTIONS] = "instructions"};
  for (int i = TRACE_CALLS; i <= TRACE_INSTRUCTIONS; i++) {
    *out = (enum trace_kind)i;
    if (strcmp(text, names[i]) == 0) return true;
  }
  return false;
}

static const struct module *module_of(const struct precise_place *place) {
  return gw_module_decoded(gw_instance_module(place->instance));
}

static const struct func_type *type_of(const struct precise_place *place, uint32_t func) {
  const struct module *m = module_of(place);
  return &m->types[m->funcs[func].type].func;
}

static void print_json(struct trace *t) {
  cJSON *json = cJSON_CreateObject();
  cli_json_count(json, "gas", t->gas);
  cJSON_AddNumberToObject(json, "depth", t->depth);
  t->line.size -= t->line.bytes[t->line.size - 1] == '\n';
  buffer_append(&t->line, "", 1);
  cJSON_AddStringToObject(json, "text", (const char *)t->line.bytes);
  cli_print_json_line(json);
}

static void print(struct trace *t) {
  if (t->is_json && t->line.size)
    print_json(t);
  else
    fwrite(t->line.bytes, 1, t->line.size, stderr);
  t->line.size = 0;
}

static void begin_line(struct trace *t, uint64_t gas) {
  uint32_t indent = 2 * t->n_calls;
  t->gas = gas;
  t->depth = t->n_calls;
  if (t->is_json) return;
  buffer_format(&t->line, "%14" PRIu64 "  %*s", gas, indent < MOST_INDENT ? (int)indent : MOST_INDENT, "");
}

/* --- calls ----------------------------------------------------------------------------------------------------------- */

/* The results of a call that has returned are its caller's last operands. */
static void put_results(struct trace *t, const struct precise_view *caller, const struct func_type *type) {
  if (type->n_results > caller->n_operands) return;
  view_values(caller->operands + caller->n_operands - type->n_results, type->results, type->n_results, &t->line);
}

static void end_host_call(struct trace *t, const struct precise_view *view) {
  t->has_host_call = false;
  if (t->host_type->n_results) buffer_append_string(&t->line, " = ");
  put_results(t, view, t->host_type);
  buffer_append_string(&t->line, "\n");
  print(t);
}

static void leave_calls(struct trace *t, const struct precise_step *step, const struct precise_view *view) {
  while (t->n_calls && t->calls[t->n_calls - 1].level > step->level) {
    struct trace_call *call = &t->calls[--t->n_calls];
    const struct func_type *type = type_of(&call->place, call->place.func);
    bool is_callee = t->n_calls && t->calls[t->n_calls - 1].level == step->level;
    if (!is_callee || !type->n_results) continue;
    t->n_calls++;
    begin_line(t, step->gas);
    t->n_calls--;
    buffer_append_string(&t->line, "= ");
    put_results(t, view, type);
    buffer_append_string(&t->line, "\n");
    print(t);
  }
}

static void enter_call(struct trace *t, const struct precise_step *step, const struct precise_view *view) {
  char name[NAME_SIZE];
  const struct func_type *type = type_of(&step->place, step->place.func);
  begin_line(t, step->gas);
  buffer_format(&t->line, "%s(", view_function(&step->place, name, sizeof name));
  view_values(view->locals, type->params, type->n_params, &t->line);
  buffer_append_string(&t->line, ")\n");
  print(t);
  if (t->n_calls == t->capacity) array_grow(t->calls, t->capacity, 64);
  t->calls[t->n_calls++] = (struct trace_call){.place = step->place, .level = step->level};
}

/* What the table of a call_indirect holds at the index on top of the operands, if it may be called there. */
static const struct func_ref *find_indirect(const struct precise_step *step, const struct precise_view *view,
                                            const struct instruction *in) {
  const struct gw_table *table = step->place.instance->tables[in->index2];
  union gw_value top = view->operands[view->n_operands - 1];
  uint64_t index = table->type.limits.is_64 ? top.u64 : top.u32;
  const struct func_ref *ref = index < table->ctx.size ? table->ctx.entries[index] : NULL;
  if (!ref) return NULL;
  const struct module *m = &ref->vmctx->instance->module->decoded;
  return type_matches(m, m->funcs[ref->index].type, module_of(&step->place)->types[in->index].canonical) ? ref : NULL;
}

/* The function that `in` is about to call, or NULL. `n_above`: operands above its arguments. */
static const struct func_ref *find_callee(const struct precise_step *step, const struct precise_view *view,
                                          const struct instruction *in, uint32_t *n_above) {
  if (!op_does(in->op, FLOW_CALLS)) return NULL;
  enum immediate immediate = op_table[in->op].immediate;
  *n_above = immediate != IMM_FUNC;
  if (immediate == IMM_FUNC) return step->place.instance->funcs[in->index];
  if (immediate == IMM_CALL_INDIRECT) return find_indirect(step, view, in);
  return view->operands[view->n_operands - 1].ref;
}

static void begin_host_call(struct trace *t, const struct precise_step *step, const struct precise_view *view,
                            const struct instruction *in) {
  uint32_t n_above;
  const struct func_ref *callee = find_callee(step, view, in, &n_above);
  if (!callee) return;
  const struct module *m = &callee->vmctx->instance->module->decoded;
  if (callee->index >= m->n_imported_funcs) return; /* it has lines of its own */
  const struct import *import = &m->imports[m->funcs[callee->index].import];
  const struct func_type *type = &m->types[m->funcs[callee->index].type].func;
  begin_line(t, step->gas);
  buffer_format(&t->line, "%.*s.%.*s(", (int)import->module.size, (const char *)import->module.bytes, (int)import->field.size,
                (const char *)import->field.bytes);
  view_values(view->operands + view->n_operands - n_above - type->n_params, type->params, type->n_params, &t->line);
  buffer_append_string(&t->line, ")");
  t->has_host_call = true;
  t->host_type = type;
}

static void trace_calls(struct trace *t, const struct precise_step *step, const struct precise_view *view) {
  struct instruction in;
  if (t->has_host_call) end_host_call(t, view);
  leave_calls(t, step, view);
  const struct trace_call *top = t->n_calls ? &t->calls[t->n_calls - 1] : NULL;
  bool is_same = top && top->level == step->level && top->place.func == step->place.func;
  if (top && top->level == step->level && !is_same) t->n_calls--; /* a tail call */
  if (!is_same) enter_call(t, step, view);
  if (view_read(&step->place, &in)) begin_host_call(t, step, view, &in);
}

/* --- instructions ------------------------------------------------------------------------------------------------------ */

static void name_function(struct trace *t, const struct precise_step *step) {
  char name[NAME_SIZE];
  if (t->last_instance == step->place.instance && t->last_func == step->place.func) return;
  t->last_instance = step->place.instance;
  t->last_func = step->place.func;
  buffer_format(&t->line, "%s:\n", view_function(&step->place, name, sizeof name));
  print(t);
}

/* With the topmost operands, as numbers of 64 bits: their types would have to be found first. */
static void trace_instruction(struct trace *t, const struct precise_step *step, const struct precise_view *view) {
  struct instruction in;
  t->gas = step->gas;
  name_function(t, step);
  if (!t->is_json) buffer_format(&t->line, "%14" PRIu64 "  ", step->gas);
  buffer_format(&t->line, "0x%06" PRIx64 "  ", step->place.offset);
  size_t start = t->line.size;
  if (view_read(&step->place, &in)) disassemble_instruction(module_of(&step->place), &in, &t->line);
  uint32_t n = view->n_operands, first = n > TOP ? n - TOP : 0;
  int width = 36 - (int)(t->line.size - start);
  if (n) buffer_format(&t->line, "%*s  [%s", width > 0 ? width : 0, "", first ? "... " : "");
  for (uint32_t i = first; i < n; i++) buffer_format(&t->line, "%s0x%" PRIx64, i > first ? " " : "", view->operands[i].u64);
  buffer_append_string(&t->line, n ? "]\n" : "\n");
  print(t);
}

/* --- stopping ------------------------------------------------------------------------------------------------------------ */

static void report_stop(struct trace *t, struct gw_store *store, const struct precise_step *step,
                        const struct precise_view *view) {
  t->gas = step->gas;
  buffer_format(&t->line, "stopped at %" PRIu64 " gas, before instruction %" PRIu64 ": ", step->gas, step->number);
  view_place(&step->place, &t->line);
  view_calls(store, &t->line);
  view_locals(view, &t->line);
  view_operands(view, &t->line);
  view_memory_access(view, &t->line);
  print(t);
  t->has_stopped = true;
}

bool trace_watch(void *trace, struct gw_store *store, const struct precise_step *step) {
  struct trace *t = trace;
  struct precise_view view;
  if (t->has_stopped || !precise_look(store, 0, &view)) return t->has_stopped;
  if (t->kind == TRACE_CALLS) trace_calls(t, step, &view);
  if (t->kind == TRACE_INSTRUCTIONS || (t->kind == TRACE_BLOCKS && step->starts_block)) trace_instruction(t, step, &view);
  if (t->until_gas && step->gas >= t->until_gas) {
    if (t->has_host_call) buffer_append_string(&t->line, "\n");
    print(t);
    report_stop(t, store, step, &view);
  }
  return t->has_stopped;
}

void trace_end(struct trace *t) {
  if (t->has_host_call) buffer_append_string(&t->line, "\n");
  t->has_host_call = false;
  print(t);
}

void trace_clear(struct trace *t) {
  free(t->calls);
  buffer_clear(&t->line);
}
