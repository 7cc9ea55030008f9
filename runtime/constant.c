/* Constant expressions (core specification, 3.3.10 and 4.5.4). Validated, so there is nothing to check. */
#include "frontend/instruction.h"
#include "runtime/instance.h"

#include <string.h>

enum { SMALL_STACK = 16 };

static union gw_value combine(enum op op, union gw_value a, union gw_value b) {
  switch (op) {
  case OP_I32_ADD: return (union gw_value){.u32 = a.u32 + b.u32};
  case OP_I32_SUB: return (union gw_value){.u32 = a.u32 - b.u32};
  case OP_I32_MUL: return (union gw_value){.u32 = a.u32 * b.u32};
  case OP_I64_ADD: return (union gw_value){.u64 = a.u64 + b.u64};
  case OP_I64_SUB: return (union gw_value){.u64 = a.u64 - b.u64};
  default: return (union gw_value){.u64 = a.u64 * b.u64};
  }
}

/* The value of an instruction without operands. */
static bool leaf(const struct gw_instance *instance, const struct instruction *in, union gw_value *out) {
  switch (in->op) {
  case OP_I32_CONST: *out = (union gw_value){.i32 = (int32_t)in->value.i64}; return true;
  case OP_I64_CONST: *out = (union gw_value){.i64 = in->value.i64}; return true;
  case OP_F32_CONST:
  case OP_F64_CONST: *out = (union gw_value){.u64 = in->value.bits}; return true;
  case OP_V128_CONST: memcpy(out->v128, in->value.v128, sizeof out->v128); return true;
  case OP_REF_NULL: *out = (union gw_value){.ref = NULL}; return true;
  case OP_REF_FUNC: *out = (union gw_value){.ref = instance->funcs[in->index]}; return true;
  case OP_GLOBAL_GET: *out = *instance->globals[in->index]->cell; return true;
  default: return false;
  }
}

union gw_value instance_evaluate(const struct gw_instance *instance, struct const_expr expr) {
  union gw_value small[SMALL_STACK], *stack = small;
  struct arena scratch = {0};
  struct gw_error err = {0};
  struct reader r;
  if (expr.size / 2 > SMALL_STACK) stack = arena_alloc_array(&scratch, expr.size / 2, sizeof *stack); /* a push takes 2 bytes */
  reader_init(&r, expr.bytes, expr.bytes, expr.bytes + expr.size, &err);
  uint32_t height = 0;
  struct instruction in;
  while (instruction_read(&r, &in) && in.op != OP_END) {
    if (leaf(instance, &in, &stack[height])) {
      height++;
    } else {
      height--;
      stack[height - 1] = combine(in.op, stack[height - 1], stack[height]);
    }
  }
  union gw_value value = stack[0];
  arena_clear(&scratch);
  return value;
}
