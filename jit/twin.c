/* LLVM's passes take some half a millisecond for every function, however short. Producers repeat short bodies: getters, empty
 * destructors, stubs. A part compiles such a body once, where nobody can tell whose code ran: leaves that neither trap nor look
 * at the gas are in no report. */
#include "jit/twin.h"

#include "base/heap.h"
#include "frontend/instruction.h"
#include "frontend/lower/lower.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { LONGEST = 64 /* bytes of a body: longer ones are seldom equal */ };

static bool is_silent_control(enum op op) {
  switch (op) {
  case OP_NOP:
  case OP_BLOCK:
  case OP_ELSE:
  case OP_END:
  case OP_RETURN:
  case OP_DROP: return true;
  default: return false;
  }
}

/* Whether the instruction always goes on to another one of the function, or returns. */
static bool is_silent(enum op op) {
  switch (op_table[op].cost) {
  case COST_CTL: return is_silent_control(op);
  case COST_CONST:
  case COST_LOCAL:
  case COST_BRANCH:
  case COST_BR_TABLE:
  case COST_SELECT:
  case COST_GLOBAL:
  case COST_ALU:
  case COST_MUL:
  case COST_BITCOUNT:
  case COST_FALU:
  case COST_FADD:
  case COST_FMUL:
  case COST_FDIV:
  case COST_FSQRT:
  case COST_FMINMAX:
  case COST_FROUND:
  case COST_FCMP: return true;
  default: return false;
  }
}

static bool has_twins(const struct module *m, uint32_t index) {
  const struct func *f = &m->funcs[index];
  struct gw_error ignored = {0}; /* validated */
  struct reader r;
  struct instruction in;
  if (f->import != NO_INDEX || f->n_calls || f->end - f->body > LONGEST || func_depth_cost(m, index)) return false;
  reader_init(&r, m->bytes, f->body, f->end, &ignored);
  while (r.at < r.end && instruction_read(&r, &in))
    if (!is_silent(in.op)) return false;
  return true;
}

static bool has_same_locals(const struct func *a, const struct func *b) {
  if (a->n_runs != b->n_runs) return false;
  for (uint32_t i = 0; i < a->n_runs; i++)
    if (a->runs[i].count != b->runs[i].count || a->runs[i].type != b->runs[i].type) return false;
  return true;
}

static bool are_twins(const struct func *a, const struct func *b) {
  size_t size = (size_t)(a->end - a->body);
  return a->type == b->type && size == (size_t)(b->end - b->body) && memcmp(a->body, b->body, size) == 0 && has_same_locals(a, b);
}

static uint64_t hash(const struct func *f) { return XXH3_64bits_withSeed(f->body, (size_t)(f->end - f->body), f->type); }

static uint32_t table_size(uint32_t n) {
  uint32_t size = 16;
  while (size < 2 * n) size *= 2; /* there are fewer than 2^30 functions */
  return size;
}

void twins_find(const struct module *m, const uint32_t *funcs, uint32_t n, uint32_t *twins) {
  uint32_t mask = table_size(n) - 1;
  uint32_t *table = heap_new((size_t)mask + 1, sizeof *table); /* open addressing: function index + 1 */
  for (uint32_t k = 0; k < n; k++) {
    uint32_t i = funcs[k];
    twins[i] = i;
    if (!has_twins(m, i)) continue;
    uint32_t at = (uint32_t)hash(&m->funcs[i]) & mask;
    while (table[at] && !are_twins(&m->funcs[table[at] - 1], &m->funcs[i])) at = (at + 1) & mask;
    if (table[at])
      twins[i] = table[at] - 1;
    else
      table[at] = i + 1;
  }
  free(table);
}
