/* The compiler's vtable: compilation into executable memory by ORC, and text dumps of the stages. */
#include "jit/compiler.h"

#include "base/error.h"
#include "frontend/lower.h"
#include "jit/link.h"
#include "jit/pipeline.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What callers see, and what keeps it alive. */
struct compiled {
  struct code code; /* first: release gets a pointer to it */
  struct linked *linked;
};

static int compare_ranges(const void *a, const void *b) {
  const struct code_range *x = a, *y = b;
  return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* Every address of the table begins a function, and the last one ends the code. */
static void fill_ranges(struct code *code, const struct module *m, void *const *table) {
  uint32_t n = m->n_funcs + m->n_types;
  struct code_range *ranges = calloc(n + 1, sizeof *ranges);
  if (!ranges) abort();
  uint32_t n_ranges = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (!table[i]) continue;
    bool is_body = i < m->n_funcs && m->funcs[i].import == NO_INDEX;
    ranges[n_ranges++] = (struct code_range){.begin = (uintptr_t)table[i], .func = is_body ? i : GW_NO_FUNC};
  }
  qsort(ranges, n_ranges, sizeof *ranges, compare_ranges);
  uint32_t kept = 0; /* types that are equal share an entry */
  for (uint32_t i = 0; i < n_ranges; i++)
    if (kept == 0 || ranges[kept - 1].begin != ranges[i].begin) ranges[kept++] = ranges[i];
  uintptr_t end = (uintptr_t)table[n];
  for (uint32_t i = 0; i < kept; i++) ranges[i].end = i + 1 < kept ? ranges[i + 1].begin : end;
  code->ranges = ranges;
  code->n_ranges = kept;
  code->code_bytes = kept ? end - ranges[0].begin : 0;
}

/* All modules are linked in one session, so each needs a name of its own there. */
static void name_code_table(struct pipeline *p, char *out, size_t size) {
  static atomic_ulong last;
  unsigned long n = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed);
  int length = snprintf(out, size, LOWER_CODE_TABLE ".%lu", n);
  LLVMSetValueName2(LLVMGetNamedGlobal(p->module, LOWER_CODE_TABLE), out, (size_t)length);
}

static struct code *compile(const struct module *m, const struct compile_options *options, struct gw_error *err) {
  struct pipeline p = {0};
  struct compiled *compiled = NULL;
  LLVMMemoryBufferRef object = NULL;
  char symbol[48];
  if (pipeline_run(&p, m, options, STAGE_OPTIMIZED, err)) {
    name_code_table(&p, symbol, sizeof symbol);
    object = pipeline_emit(&p, LLVMObjectFile, err);
  }
  double seconds_lower = p.seconds_lower, seconds_optimize = p.seconds_optimize, seconds_emit = p.seconds_emit;
  pipeline_clear(&p);
  if (!object) return NULL;
  void *const *table;
  struct linked *linked = link_object(object, symbol, (const void **)&table, err); /* consumes object */
  if (!linked) return NULL;
  compiled = calloc(1, sizeof *compiled);
  if (!compiled) abort();
  compiled->linked = linked;
  compiled->code = (struct code){
      .funcs = table,
      .entries = (const entry_thunk *)(table + m->n_funcs),
      .seconds_lower = seconds_lower,
      .seconds_optimize = seconds_optimize,
      .seconds_emit = seconds_emit,
  };
  fill_ranges(&compiled->code, m, table);
  return &compiled->code;
}

static void release(struct code *code) {
  if (!code) return;
  struct compiled *compiled = (struct compiled *)code;
  free((void *)code->ranges);
  link_release(compiled->linked);
  free(compiled);
}

static char *dump(const struct module *m, const struct compile_options *options, enum dump_kind kind, struct gw_error *err) {
  struct pipeline p = {0};
  char *text = NULL;
  enum pipeline_stage stage = kind == DUMP_IR_FRESH ? STAGE_LOWERED : STAGE_OPTIMIZED;
  if (pipeline_run(&p, m, options, stage, err)) {
    if (kind == DUMP_ASM) {
      LLVMMemoryBufferRef buffer = pipeline_emit(&p, LLVMAssemblyFile, err);
      if (buffer) {
        text = strndup(LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer));
        LLVMDisposeMemoryBuffer(buffer);
      }
    } else {
      char *ir = LLVMPrintModuleToString(p.module);
      text = strdup(ir);
      LLVMDisposeMessage(ir);
    }
  }
  pipeline_clear(&p);
  return text;
}

static const char *describe(void) {
  static char text[96];
  unsigned major, minor, patch;
  LLVMGetVersion(&major, &minor, &patch);
  char *cpu = LLVMGetHostCPUName();
  snprintf(text, sizeof text, "LLVM %u.%u.%u, CPU %s", major, minor, patch, cpu);
  LLVMDisposeMessage(cpu);
  return text;
}

__attribute__((visibility("default"))) const struct compiler_ops gasworks_compiler = {
    .version = COMPILER_VERSION,
    .compile = compile,
    .release = release,
    .dump = dump,
    .describe = describe,
};
