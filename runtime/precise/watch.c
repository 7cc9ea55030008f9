/* The precise tier under observation: a watch before every instruction, and what it, or a debugger behind it, sees. */
#include "runtime/invocation.h"
#include "runtime/precise/private.h"

void precise_set_watch(struct gw_store *store, precise_watch *watch, void *env) {
  store->precise.watch = watch;
  store->precise.watch_env = env;
}

static const uint8_t *base_of(const struct precise_frame *frame) { return (const uint8_t *)frame - frame->func->header; }

/* The watch of the instruction that `pc` is part of: a call, for instance, is made of several. */
static const struct precise_insn *watch_of(const struct precise_insn *pc) {
  while (pc->run != do_watch) pc--;
  return pc;
}

/* Gas blocks are paid for when they begin: what callers have paid for what follows their calls. */
static uint64_t prepaid_by_callers(const struct gw_store *store) {
  uint64_t sum = 0;
  for (const struct precise_frame *f = store->precise.frame; f->caller && f->caller->caller; f = f->caller) {
    const struct precise_insn *call = watch_of(f->return_pc - 1);
    if (call->b) sum += call->b - store->schedule->gas[op_table[call->d & ~WATCH_STARTS_BLOCK].cost];
  }
  return sum;
}

HANDLER(do_watch) {
  struct precise_stack *p = &store->precise;
  if (p->watched != p->frame) {
    p->watched = p->frame;
    p->prepaid = prepaid_by_callers(store);
  }
  p->pc = pc;
  p->n_steps++;
  if (p->watch) {
    struct precise_step step = {
        .place = {.instance = vmctx->instance, .func = p->frame->func->index, .offset = pc->a},
        .number = p->n_steps,
        .gas = gw_store_gas_used(store) - p->prepaid - pc->b,
        .level = (uintptr_t)fp,
        .starts_block = pc->d & WATCH_STARTS_BLOCK,
    };
    if (p->watch(p->watch_env, store, &step)) invocation_yield(store);
  }
  NEXT;
}

bool precise_look(const struct gw_store *store, uint32_t index, struct precise_view *out) {
  const struct precise_insn *pc = store->precise.pc;
  const struct precise_frame *frame = store->precise.frame;
  const uint8_t *arguments = NULL; /* of the frame inside */
  for (; index > 0 && frame && frame->caller; index--) {
    arguments = base_of(frame);
    pc = frame->return_pc - 1;
    frame = frame->caller;
  }
  if (!frame || !frame->caller) return false;
  pc = watch_of(pc);
  const uint8_t *operands = base_of(frame) + frame->func->operands;
  *out = (struct precise_view){
      .place = {.instance = frame->vmctx->instance, .func = frame->func->index, .offset = pc->a},
      .locals = (const union gw_value *)(const void *)base_of(frame),
      .operands = (const union gw_value *)(const void *)operands,
      .n_operands = arguments ? (uint32_t)(arguments - operands) / SLOT_SIZE : pc->c,
  };
  return true;
}
