/* Function bodies and constant expressions: the loop over instructions, and those that the opcode table fully describes. */
#include "base/heap.h"
#include "frontend/types.h"
#include "frontend/validate.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Instructions that the loop handles at once, because they make up most of all code. */
enum shortcut {
  SHORTCUT_NONE,
  SHORTCUT_PLAIN,
  SHORTCUT_ACCESS,
  SHORTCUT_I32_CONST,
  SHORTCUT_LOCAL_GET,
  SHORTCUT_LOCAL_SET,
  SHORTCUT_LOCAL_TEE
};

/* The table's columns, ready for the loop. Types are enum val_kind. */
struct rule {
  uint16_t op;
  uint8_t shortcut; /* enum shortcut; one-byte opcodes only */
  uint8_t n_operands, operands[4];
  uint8_t results[2];   /* VAL_BOT: none */
  uint8_t memory_align; /* log2 of the natural alignment + 1; 0: no memory access */
  uint8_t n_lanes;      /* 0: no lane */
  bool is_special, is_refused;
  bool is_atomic;  /* must be aligned exactly */
  bool has_checks; /* of immediates */
};

static struct rule rules[OP_COUNT], byte_rules[256];
static pthread_once_t rules_once = PTHREAD_ONCE_INIT;

static enum val_kind letter_type(char c) {
  switch (c) {
  case 'i': return VAL_I32;
  case 'I': return VAL_I64;
  case 'f': return VAL_F32;
  case 'F': return VAL_F64;
  default: return VAL_V128;
  }
}

static void fill_access(struct rule *rule, enum immediate immediate) {
  static const struct {
    uint8_t align_plus_one, n_lanes;
  } accesses[] = {
      [IMM_MEM1] = {1, 0},       [IMM_MEM2] = {2, 0},         [IMM_MEM4] = {3, 0},       [IMM_MEM8] = {4, 0},
      [IMM_MEM16] = {5, 0},      [IMM_LANE2] = {0, 2},        [IMM_LANE4] = {0, 4},      [IMM_LANE8] = {0, 8},
      [IMM_LANE16] = {0, 16},    [IMM_MEM1_LANE16] = {1, 16}, [IMM_MEM2_LANE8] = {2, 8}, [IMM_MEM4_LANE4] = {3, 4},
      [IMM_MEM8_LANE2] = {4, 2},
  };
  if (immediate >= sizeof accesses / sizeof accesses[0]) return;
  rule->memory_align = accesses[immediate].align_plus_one;
  rule->n_lanes = accesses[immediate].n_lanes;
}

static enum shortcut choose_shortcut(const struct rule *rule, enum immediate immediate) {
  if (rule->is_refused) return SHORTCUT_NONE;
  switch (rule->op) {
  case OP_I32_CONST: return SHORTCUT_I32_CONST;
  case OP_LOCAL_GET: return SHORTCUT_LOCAL_GET;
  case OP_LOCAL_SET: return SHORTCUT_LOCAL_SET;
  case OP_LOCAL_TEE: return SHORTCUT_LOCAL_TEE;
  default: break;
  }
  if (rule->is_special) return SHORTCUT_NONE;
  if (rule->memory_align && !rule->n_lanes) return SHORTCUT_ACCESS;
  return immediate == IMM_NONE ? SHORTCUT_PLAIN : SHORTCUT_NONE;
}

static void fill_signature(struct rule *rule, const char *s) {
  for (int i = 0; *s != '_'; i++) rule->results[i] = letter_type(*s++);
  for (s++; *s; s++) rule->operands[rule->n_operands++] = letter_type(*s);
}

static void fill_rules(void) {
  for (int op = 0; op < OP_COUNT; op++) {
    const struct op_info *info = &op_table[op];
    struct rule *rule = &rules[op];
    rule->op = (uint16_t)op;
    rule->is_refused = !feature_is_on(info->feature);
    rule->is_special = !strcmp(info->signature, "SPECIAL");
    rule->is_atomic = info->feature == FEATURE_THREADS;
    fill_access(rule, info->immediate);
    rule->has_checks = rule->is_refused || rule->memory_align || rule->n_lanes || op == OP_I8X16_SHUFFLE;
    if (!rule->is_special && strcmp(info->signature, "___")) fill_signature(rule, info->signature);
    if (info->prefix) continue;
    rule->shortcut = choose_shortcut(rule, info->immediate);
    byte_rules[info->code] = *rule;
  }
}

static void check_access(struct validator *v, const struct rule *rule) {
  const struct instruction *in = &v->in;
  uint32_t natural = rule->memory_align - 1u;
  if (in->mem.memory >= v->m->n_memories)
    validator_fail(v, GW_ERROR_INVALID, "unknown memory %u", in->mem.memory);
  else if (in->mem.align > natural)
    validator_fail(v, GW_ERROR_INVALID, "alignment must not be larger than natural: 2^%u for %s", in->mem.align,
                   op_table[in->op].text);
  else if (rule->is_atomic && in->mem.align != natural)
    validator_fail(v, GW_ERROR_INVALID, "atomic alignment must be natural");
  else if (in->mem.offset > UINT32_MAX && !v->m->memories[in->mem.memory].type.limits.is_64)
    validator_fail(v, GW_ERROR_INVALID, "offset out of range: %llu", (unsigned long long)in->mem.offset);
}

static void check_lanes(struct validator *v, const struct rule *rule) {
  if (rule->n_lanes && v->in.lane >= rule->n_lanes) validator_fail(v, GW_ERROR_INVALID, "invalid lane index %u", v->in.lane);
  if (v->in.op != OP_I8X16_SHUFFLE) return;
  for (int i = 0; i < 16; i++)
    if (v->in.value.v128[i] >= 32) validator_fail(v, GW_ERROR_INVALID, "invalid lane index %u", v->in.value.v128[i]);
}

static void check_immediates(struct validator *v, const struct rule *rule) {
  if (rule->is_refused) {
    validator_need(v, op_table[v->in.op].feature, op_table[v->in.op].text);
    return;
  }
  if (rule->memory_align) check_access(v, rule);
  check_lanes(v, rule);
}

static inline void pop_quick(struct validator *v, val_type want) {
  if (v->n_stack > top_frame(v)->height && v->stack[v->n_stack - 1] == want)
    v->n_stack--;
  else
    validator_pop_expect(v, want);
}

/* An instruction whose signature is in the table. */
static inline void apply_rule(struct validator *v, const struct rule *rule) {
  for (uint32_t i = rule->n_operands; i-- > 0;) {
    val_type want = rule->operands[i];
    /* The address is the first operand of every access. */
    if (i == 0 && rule->memory_align && v->m->memories[v->in.mem.memory].type.limits.is_64) want = VAL_I64;
    pop_quick(v, want);
  }
  if (!rule->results[0]) return;
  push(v, rule->results[0]);
  if (rule->results[1]) push(v, rule->results[1]);
}

val_type validator_find_local(struct validator *v, uint32_t index) {
  const struct func *f = &v->m->funcs[v->func];
  uint32_t low = 0, high = f->n_runs;
  while (low < high) { /* the first run that ends behind the local */
    uint32_t middle = low + (high - low) / 2;
    if (v->run_ends[middle] > index)
      high = middle;
    else
      low = middle + 1;
  }
  if (low < f->n_runs) return f->runs[low].type;
  validator_fail(v, GW_ERROR_INVALID, "unknown local %u", index);
  return VAL_BOT;
}

static inline void check_local(struct validator *v, bool is_popped, bool is_pushed) {
  uint32_t index = read_u32(&v->r);
  if (v->r.failed) return;
  val_type t = local_type(v, index);
  if (v->failed) return;
  if (!has_default(t)) {
    if (is_popped) validator_note_local_set(v, index);
    if (!validator_check_local_set(v, index)) return;
  }
  if (is_popped) pop_quick(v, t);
  if (is_pushed) push(v, t);
}

static inline void check_short_access(struct validator *v, const struct rule *rule) {
  v->in.mem.align = *v->r.at++; /* below 0x40: no memory index follows */
  v->in.mem.memory = 0;
  v->in.mem.offset = read_u64(&v->r);
  if (v->r.failed) return;
  check_access(v, rule);
  if (!v->failed) apply_rule(v, rule);
}

static inline bool take_shortcut(struct validator *v, const struct rule *rule) {
  v->in.offset = (uint64_t)(v->r.at - v->r.start);
  v->in.op = rule->op;
  v->r.at++;
  switch ((enum shortcut)rule->shortcut) {
  case SHORTCUT_PLAIN: apply_rule(v, rule); break;
  case SHORTCUT_ACCESS: check_short_access(v, rule); break;
  case SHORTCUT_I32_CONST:
    read_s32(&v->r);
    push(v, VAL_I32);
    break;
  case SHORTCUT_LOCAL_GET: check_local(v, false, true); break;
  case SHORTCUT_LOCAL_SET: check_local(v, true, false); break;
  case SHORTCUT_LOCAL_TEE: check_local(v, true, true); break;
  case SHORTCUT_NONE: break;
  }
  v->failed |= v->r.failed;
  return !v->failed;
}

/* Reads and checks one instruction; false at the first error. */
static bool check_instruction(struct validator *v) {
  const uint8_t *at = v->r.at;
  if (v->r.end - at >= 2 && byte_rules[*at].shortcut && (byte_rules[*at].shortcut != SHORTCUT_ACCESS || at[1] < 0x40))
    return take_shortcut(v, &byte_rules[*at]);
  if (!instruction_read(&v->r, &v->in)) {
    v->failed = true;
    return false;
  }
  const struct rule *rule = &rules[v->in.op];
  if (rule->has_checks) check_immediates(v, rule);
  if (v->failed) return false;
  if (rule->is_special)
    validate_special(v);
  else
    apply_rule(v, rule);
  return !v->failed;
}

static void start(struct validator *v, const uint8_t *at, const uint8_t *end) {
  pthread_once(&rules_once, fill_rules);
  reader_init(&v->r, v->m->bytes, at, end, v->err);
  v->r.is_part = true;
  v->n_stack = v->n_frames = v->max_stack = v->n_calls = v->n_tries = v->max_tries = 0;
  v->has_throw = v->has_rethrow = false;
}

/* --- bodies ------------------------------------------------------------------------------------------------------- */

static void *resize(void *p, uint32_t *capacity, uint32_t n, size_t item_size) {
  if (n <= *capacity) return p;
  free(p);
  *capacity = 2 * n;
  return heap_resize(NULL, *capacity, item_size);
}

static void lay_out_locals(struct validator *v, const struct func *f, const struct func_type *type) {
  uint32_t wanted = type->n_params + f->n_locals, most = type->n_params + 64 + (uint32_t)(f->end - f->body);
  v->n_locals = wanted < most ? wanted : most;
  v->locals = resize(v->locals, &v->locals_capacity, v->n_locals, sizeof *v->locals);
  v->run_ends = resize(v->run_ends, &v->runs_capacity, f->n_runs, sizeof *v->run_ends);
  for (uint32_t i = 0; i < f->n_runs; i++) validator_check_type(v, f->runs[i].type);
  uint32_t n = type->n_params;
  if (n) memcpy(v->locals, type->params, n * sizeof *v->locals);
  uint32_t end = n;
  for (uint32_t i = 0; i < f->n_runs; i++) {
    v->run_ends[i] = end += f->runs[i].count;
    while (n < end && n < v->n_locals) v->locals[n++] = f->runs[i].type;
  }
}

/* Says what is wrong with a body whose instructions did not end where it does. */
static void check_body_end(struct validator *v, const struct func *f) {
  if (!v->failed && v->r.at != f->end) {
    v->in.offset = (uint64_t)(v->r.at - v->r.start);
    validator_fail(v, GW_ERROR_MALFORMED, "END opcode expected: %zu bytes behind the end of the function", reader_left(&v->r));
  }
}

static void begin_body(struct validator *v, uint32_t func) {
  struct func *f = &v->m->funcs[func];
  const struct func_type *type = &v->m->types[f->type].func;
  v->func = func;
  start(v, f->body, f->end);
  lay_out_locals(v, f, type);
  validator_push_frame(v, OP_BLOCK, (struct func_type){.n_results = type->n_results, .results = type->results}, VAL_BOT);
}

bool validate_body(struct validator *v, uint32_t func) {
  struct func *f = &v->m->funcs[func];
  begin_body(v, func);
  while (v->n_frames && !v->failed && check_instruction(v)) {
  }
  check_body_end(v, f);
  f->max_stack = v->max_stack + (v->has_rethrow ? v->max_tries : 0);
  f->n_calls = v->n_calls;
  f->has_throw = v->has_throw;
  f->has_rethrow = v->has_rethrow;
  if (v->r.failed && v->err->func == GW_NO_FUNC) v->err->func = func;
  v->func = GW_NO_FUNC;
  return !v->failed;
}

uint32_t module_operand_types(const struct module *m, uint32_t func, uint64_t offset, val_type *types, uint32_t most) {
  struct gw_error ignored = {0};
  struct validator v = {.m = (struct module *)m, .err = &ignored}; /* what bodies write into the module is there already */
  begin_body(&v, func);
  while (v.n_frames && v.r.at < m->bytes + offset && check_instruction(&v)) {
  }
  for (uint32_t i = 0; i < v.n_stack && i < most; i++) types[i] = v.stack[i];
  uint32_t n = v.n_stack;
  validator_clear(&v);
  return n;
}

/* --- constant expressions (spec 3.4, "Constant Expressions") ------------------------------------------------------ */

static bool check_const_global(struct validator *v, uint32_t n_globals) {
  const struct module *m = v->m;
  uint32_t index = v->in.index;
  if (index >= n_globals) return validator_fail(v, GW_ERROR_INVALID, "unknown global %u", index);
  if (m->globals[index].type.is_mutable)
    return validator_fail(v, GW_ERROR_INVALID, "constant expression required: global %u is mutable", index);
  return true;
}

static bool check_constant(struct validator *v, uint32_t n_globals) {
  switch (v->in.op) {
  case OP_I32_CONST:
  case OP_I64_CONST:
  case OP_F32_CONST:
  case OP_F64_CONST:
  case OP_REF_NULL:
  case OP_END:
  case OP_V128_CONST: return true;
  case OP_I32_ADD:
  case OP_I32_SUB:
  case OP_I32_MUL:
  case OP_I64_ADD:
  case OP_I64_SUB:
  case OP_I64_MUL: return validator_need(v, FEATURE_EXTENDED_CONST, op_table[v->in.op].text);
  case OP_REF_FUNC: /* stands outside of all bodies, and so declares the function */
    if (v->in.index < v->m->n_funcs) v->m->funcs[v->in.index].is_declared = true;
    return true;
  case OP_GLOBAL_GET: return check_const_global(v, n_globals);
  default:
    if (!validator_need(v, op_table[v->in.op].feature, op_table[v->in.op].text)) return false; /* some of its are constant */
    return validator_fail(v, GW_ERROR_INVALID, "constant expression required: %s is not constant", op_table[v->in.op].text);
  }
}

bool validate_const_expr(struct validator *v, const struct const_expr *expr, val_type type, uint32_t n_globals) {
  start(v, expr->bytes, expr->bytes + expr->size);
  validator_push_frame(v, OP_BLOCK, (struct func_type){.n_results = 1}, type);
  while (v->n_frames && !v->failed) {
    struct reader peek = v->r;
    if (!instruction_read(&peek, &v->in) || !check_constant(v, n_globals))
      v->failed = true;
    else
      check_instruction(v);
  }
  return !v->failed;
}
