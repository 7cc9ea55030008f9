/* Small bodies in the place of calls.
 *
 * Producers inline what they can, but not recursion, and not all of them try. Here a call of a small leaf without loops, or of a
 * function by itself, is replaced by the body. To the guest it is still a call, to the unit of gas and the byte of logical stack:
 * the body takes its frame and traps where there is none. It does not look at the gas when it is entered, because the function
 * around it did and what lies in between is short; loops in a body that calls itself look. What it charges becomes one with what
 * is around it.
 *
 * Bodies that may end otherwise than by a return or a trap, with an exception or a tail call, are left alone, and so is
 * everything in a profile. */
#include "frontend/lower/internal.h"

enum {
  SMALL_LEAF = 64,       /* bytes of a body */
  SMALL_RECURSION = 256, /* of one that calls itself */
  MOST_INLINED = 512,    /* by which a function grows */
  MOST_LOCALS = 64,      /* with parameters */
  MOST_LEVELS = 2,       /* of recursion */
};

static uint32_t count_locals(const struct lower *l, const struct func *func) {
  return l->m->types[func->type].func.n_params + func->n_locals;
}

static struct lower_func *outermost(struct lower_func *f) { return f->inlined ? f->inlined->outermost : f; }

/* A loop is long, and then it matters whose it is: where gas runs out, the report names the function. */
static bool has_loop(const struct lower *l, const struct func *func) {
  struct gw_error ignored = {0}; /* validated */
  struct reader r;
  struct instruction in;
  reader_init(&r, l->m->bytes, func->body, func->end, &ignored);
  while (r.at < r.end && instruction_read(&r, &in))
    if (in.op == OP_LOOP) return true;
  return false;
}

static bool is_worth_it(struct lower_func *f, uint32_t index) {
  const struct lower *l = f->l;
  const struct func *callee = &l->m->funcs[index];
  if (!l->options->inlining || l->options->blocks) return false;
  if (callee->import != NO_INDEX || callee->has_throw || count_locals(l, callee) > MOST_LOCALS) return false;
  ptrdiff_t size = callee->end - callee->body;
  if (outermost(f)->n_inlined + size > MOST_INLINED) return false;
  if (callee->n_calls == 0) return size <= SMALL_LEAF && !has_loop(l, callee);
  uint32_t level = f->inlined ? f->inlined->level : 0;
  return index == f->index && level < MOST_LEVELS && size <= SMALL_RECURSION && !l->options->dialect;
}

/* Takes the arguments from the caller's stack, and begins a block of its own. */
static void begin(struct lower_func *f) {
  const struct lower *l = f->l;
  struct inlined *in = f->inlined;
  uint32_t n = l->m->types[f->func->type].func.n_params;
  in->locals = arena_alloc_array(&f->arena, count_locals(l, f->func), sizeof *in->locals);
  in->arguments = arena_alloc_array(&f->arena, n, sizeof *in->arguments);
  while (n) in->arguments[--n] = lower_pop(in->caller);
  LLVMBasicBlockRef body = lower_new_block(f, "inlined");
  in->locals_set = LLVMBuildBr(l->ir.builder, body);
  LLVMPositionBuilderAtEnd(l->ir.builder, body);
}

/* Behind the body. If it never gets there, what follows is lowered all the same: its gas was charged already. */
static void end(struct lower_func *f) {
  const struct func_type *type = &f->l->m->types[f->func->type].func;
  if (f->is_dead) LLVMPositionBuilderAtEnd(f->l->ir.builder, lower_new_block(f, "never"));
  for (uint32_t i = 0; i < type->n_results; i++) {
    LLVMTypeRef result = ir_type(&f->l->ir, type->results[i]);
    lower_push(f->inlined->caller, f->is_dead ? LLVMGetPoison(result) : f->stack[f->height - type->n_results + i]);
  }
}

bool lower_inlined_call(struct lower_func *f, uint32_t index) {
  struct lower *l = f->l;
  const struct func *func = &l->m->funcs[index];
  if (!is_worth_it(f, index)) return false;
  outermost(f)->n_inlined += (uint32_t)(func->end - func->body);
  struct inlined inlined = {.caller = f, .outermost = outermost(f), .level = f->inlined ? f->inlined->level + 1 : 1};
  struct lower_func body = {.l = l, .func = func, .index = index, .arena = f->arena, .value = f->value, .vmctx = f->vmctx};
  body.locals_end = f->locals_end;
  body.inlined = &inlined;
  begin(&body);
  lower_debug_enter(&body);
  lower_depth_check(&body, f->depth);
  lower_body(&body, false);
  end(&body);
  lower_debug_leave(&body);
  f->arena = body.arena;
  return true;
}
