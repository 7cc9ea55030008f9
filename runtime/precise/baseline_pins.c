/* Which locals have a register for the whole function: those that are used most in loops. */
#include "runtime/precise/emitter.h"

enum { MOST_PINS = 5, MOST_XMM_PINS = 10 };

/* In the order in which they are pinned. */
static const uint8_t general_pool[MOST_PINS] = {RSI, R8, R9, R10, R11};

struct counts {
  struct emitter *e;
  uint32_t *uses;
  uint32_t weight;
};

static void count(struct counts *c, uint32_t offset, char letter) {
  uint32_t slot = offset / SLOT_SIZE;
  if (offset >= c->e->func->header && slot < c->e->n_slots) return;
  c->uses[slot] += c->weight;
  if (letter) c->e->letters[slot] = letter;
}

static void count_insn(struct counts *c, const struct precise_insn *p, const struct baseline_entry *k) {
  switch (k->kind) {
  case BASELINE_BIN:
  case BASELINE_SHIFT:
  case BASELINE_ICMP:
  case BASELINE_DIV:
  case BASELINE_FBIN:
  case BASELINE_FMINMAX:
  case BASELINE_COPYSIGN:
  case BASELINE_FCMP:
    if (k->form <= FORM_CONSTANT) count(c, p->b, k->operand);
    count(c, p->a, k->form <= FORM_CONSTANT ? k->result : k->operand);
    if (k->form == FORM_PLAIN) count(c, p->c, k->operand);
    if (k->form == FORM_BRANCH) count(c, p->b, k->operand);
    return;
  case BASELINE_LOAD:
    count(c, p->b, 'i');
    count(c, p->a, k->result);
    count(c, base_slot(c->e) * SLOT_SIZE, 'I');
    return;
  case BASELINE_STORE:
    count(c, p->a, 'i');
    count(c, p->b, k->operand);
    count(c, base_slot(c->e) * SLOT_SIZE, 'I');
    return;
  case BASELINE_VECTOR_LOAD:
  case BASELINE_VECTOR_LOAD_SPLAT:
    count(c, p->b, 'i');
    count(c, base_slot(c->e) * SLOT_SIZE, 'I');
    return;
  case BASELINE_VECTOR_STORE:
    count(c, p->a, 'i');
    count(c, base_slot(c->e) * SLOT_SIZE, 'I');
    return;
  case BASELINE_VECTOR_SPLAT: count(c, p->b, k->operand); return;
  case BASELINE_VECTOR_SHIFT:
  case BASELINE_VECTOR_REPLACE: count(c, p->c, k->kind == BASELINE_VECTOR_SHIFT ? 'i' : k->operand); return;
  case BASELINE_VECTOR_EXTRACT:
  case BASELINE_VECTOR_TEST:
  case BASELINE_VECTOR_BITMASK: count(c, p->a, k->result); return;
  case BASELINE_VECTOR_CHOICE: count(c, p->d, 'i'); return;
  case BASELINE_COPY:
    count(c, p->a, 0);
    count(c, p->b, 0);
    return;
  case BASELINE_SELECT:
    count(c, p->a, 0);
    count(c, p->b, 0);
    count(c, p->c, 0);
    count(c, p->d, 'i');
    return;
  case BASELINE_BRANCH_IF: count(c, p->a, k->detail & 16 ? 'I' : 'i'); return;
  case BASELINE_BRANCH_TABLE: count(c, p->a, 'i'); return;
  case BASELINE_TABLE_GET: count(c, p->b, p->d ? 'I' : 'i'); return;
  case BASELINE_CONSTANT:
  case BASELINE_FINISH_ONE:
  case BASELINE_GLOBAL_GET:
  case BASELINE_GLOBAL_SET: count(c, p->a, 0); return;
  default:
    if (k->kind < BASELINE_EQZ || k->kind > BASELINE_TRUNC_SAT_LONG) return;
    count(c, p->b, k->operand);
    count(c, p->a, k->result);
  }
}

/* Instructions that may go elsewhere, by c. */
static bool is_branch(const struct baseline_entry *k) {
  return k->kind == BASELINE_BRANCH || k->kind == BASELINE_BRANCH_IF || k->kind == BASELINE_ON_EXCEPTION ||
         k->kind == BASELINE_CLAUSE_TAG || k->form >= FORM_BRANCH;
}

/* How often an instruction runs, guessed from the loops around it. */
enum { MOST_NESTING = 5 };

static bool find_targets(struct emitter *e, int32_t *nesting) {
  bool has_loop = false;
  for (uint32_t i = e->n; i-- > 0;) {
    const struct baseline_entry *k = e->out->entries[i] = baseline_find(e->insns[i].run);
    if (!is_branch(k)) continue;
    uint32_t to = target_of(e, i);
    if (!e->is_target[to]) e->is_target[to] = 1;
    if (to > i) continue;
    has_loop = true;
    if (e->is_target[to] == 2) continue; /* one level for each header, as far as its last branch */
    e->is_target[to] = 2;
    nesting[to]++;
    nesting[i + 1]--;
  }
  return has_loop;
}

/* The slot used most of those of one kind of register. */
static uint32_t find_most_used(const struct emitter *e, const uint32_t *uses, bool is_xmm_wanted) {
  uint32_t best = e->n_slots, n_locals = e->func->header / SLOT_SIZE;
  for (uint32_t slot = 0; slot < n_locals; slot++)
    if (uses[slot] > (best == e->n_slots && is_xmm_wanted ? 0 : uses[best]) && is_float(e->letters[slot]) == is_xmm_wanted)
      best = slot;
  return best == e->n_slots && (is_xmm_wanted || !uses[best]) ? NO_SLOT : best;
}

static bool pin_best(struct emitter *e, uint32_t *uses, bool is_xmm_wanted, int r) {
  uint32_t slot = find_most_used(e, uses, is_xmm_wanted);
  if (slot == NO_SLOT) return false;
  uses[slot] = 0;
  e->pin[slot] = (uint8_t)r;
  e->pinned |= BIT(r);
  e->regs[r].pinned_slot = slot;
  e->regs[r].pinned_letter = e->letters[slot];
  return true;
}

static void choose_pins(struct emitter *e, uint32_t *uses) {
  for (int i = 0; i < MOST_PINS && pin_best(e, uses, false, general_pool[i]); i++) continue;
  for (int i = 0; i < MOST_XMM_PINS && pin_best(e, uses, true, XMM_FIRST + i); i++) continue;
}

void emitter_look_ahead(struct emitter *e) {
  int32_t *nesting = e->out->nesting;
  memset(nesting, 0, (e->n + 1) * sizeof *nesting);
  if (find_targets(e, nesting)) {
    struct counts c = {.e = e, .uses = e->out->uses};
    memset(c.uses, 0, (e->n_slots + 1) * sizeof *c.uses);
    int32_t level = 0;
    for (uint32_t i = 0; i < e->n; i++) {
      level += nesting[i];
      if (level <= 0) continue;
      c.weight = 1u << 3 * (level < MOST_NESTING ? level : MOST_NESTING);
      count_insn(&c, &e->insns[i], e->out->entries[i]);
    }
    choose_pins(e, c.uses);
  }
}
