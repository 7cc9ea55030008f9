/* Debug information of the code that LLVM makes: whose function and which line of the source every instruction is of.
 *
 * Only instructions that are there anyhow get locations, and no variable is described, so the code is that of a compilation
 * without (tests/test_debug_info.c compares them). Functions have the names that reports show. Lines are those of the source
 * where the module says so; elsewhere a line is a byte offset in the module. A body in the place of a call (inline.c) says so,
 * and debuggers show both levels.
 *
 * The language is told to be C++, by whose rules gdb finds `count` in `wordcount::count`, whoever wrote it. */
#include "frontend/lower/internal.h"

#include <string.h>

enum { NAME = 512, DWARF_VERSION = 4 };

static LLVMMetadataRef make_file(const struct lower_debug *d, const char *path) {
  return LLVMDIBuilderCreateFile(d->builder, path, strlen(path), "", 0);
}

static void add_flag(struct lower *l, const char *name, uint32_t value) {
  LLVMAddModuleFlag(l->ir.module, LLVMModuleFlagBehaviorWarning, name, strlen(name), LLVMValueAsMetadata(ir_i32(&l->ir, value)));
}

static LLVMMetadataRef make_unit(struct lower_debug *d) {
  static const char producer[] = "gasworks";
  return LLVMDIBuilderCreateCompileUnit(d->builder, LLVMDWARFSourceLanguageC_plus_plus_14, d->module_file, producer,
                                        sizeof producer - 1, true, "", 0, 0, "", 0, LLVMDWARFEmissionFull, 0, true, false, "", 0,
                                        "", 0);
}

void lower_debug_begin(struct lower *l, struct arena *arena) {
  struct lower_debug *d = &l->debug;
  if (!l->options->lines) return;
  add_flag(l, "Debug Info Version", LLVMDebugMetadataVersion());
  add_flag(l, "Dwarf Version", DWARF_VERSION);
  d->builder = LLVMCreateDIBuilder(l->ir.module);
  d->module_file = make_file(d, "module.wasm");
  d->type = LLVMDIBuilderCreateSubroutineType(d->builder, d->module_file, NULL, 0, LLVMDIFlagZero);
  d->functions = arena_alloc_array(arena, l->m->n_funcs, sizeof *d->functions);
  make_unit(d);
}

void lower_debug_end(struct lower *l) {
  if (!l->debug.builder) return;
  LLVMDIBuilderFinalize(l->debug.builder);
  LLVMDisposeDIBuilder(l->debug.builder);
}

/* --- functions and lines ------------------------------------------------------------------------------------------------ */

struct place {
  LLVMMetadataRef file;
  uint32_t line, column;
};

/* Files come in runs. */
static LLVMMetadataRef file_of(struct lower_debug *d, const char *path) {
  if (path != d->last_path) d->last_file = make_file(d, path);
  d->last_path = path;
  return d->last_file;
}

static struct place find_place(struct lower *l, uint64_t offset) {
  const struct source_line *line = lines_find(l->options->lines, offset);
  if (!line) return (struct place){l->debug.module_file, (uint32_t)offset, 0};
  return (struct place){file_of(&l->debug, line->file), line->line, line->column};
}

static uint64_t body_offset(const struct lower *l, const struct func *func) { return (uint64_t)(func->body - l->m->bytes); }

static LLVMMetadataRef describe(struct lower *l, uint32_t index) {
  char name[NAME];
  func_display_name(l->m, index, name, sizeof name);
  struct place at = find_place(l, body_offset(l, &l->m->funcs[index]));
  return LLVMDIBuilderCreateFunction(l->debug.builder, at.file, name, strlen(name), "", 0, at.file, at.line, l->debug.type, true,
                                     true, at.line, LLVMDIFlagZero, true);
}

/* One for the function and its copies in others. */
static LLVMMetadataRef find_function(struct lower *l, uint32_t index) {
  LLVMMetadataRef *function = &l->debug.functions[index];
  if (!*function) *function = describe(l, index);
  return *function;
}

void lower_debug_enter(struct lower_func *f) {
  struct lower *l = f->l;
  if (!l->debug.builder) return;
  f->called_at = f->inlined ? LLVMGetCurrentDebugLocation2(l->ir.builder) : NULL;
  f->described = find_function(l, f->index);
  if (!f->inlined) LLVMSetSubprogram(f->value, f->described);
  lower_debug_at(f, body_offset(l, f->func));
}

void lower_debug_leave(struct lower_func *f) {
  if (f->l->debug.builder) LLVMSetCurrentDebugLocation2(f->l->ir.builder, f->called_at);
}

/* Lines of another file than its function's need a scope that says so. */
void lower_debug_at(struct lower_func *f, uint64_t offset) {
  struct lower *l = f->l;
  if (!l->debug.builder) return;
  struct place at = find_place(l, offset);
  LLVMMetadataRef scope = f->described;
  if (LLVMDIScopeGetFile(scope) != at.file) scope = LLVMDIBuilderCreateLexicalBlockFile(l->debug.builder, scope, at.file, 0);
  LLVMSetCurrentDebugLocation2(l->ir.builder,
                               LLVMDIBuilderCreateDebugLocation(l->ir.context, at.line, at.column, scope, f->called_at));
}
