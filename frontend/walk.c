#include "frontend/walk.h"

struct walk_construct {
  enum op op;
  bool is_dead;     /* all of it */
  bool has_arms;    /* `else` or a clause: what comes to its end does so out of them */
  bool end_reached; /* by a branch, or out of an arm before the last */
};

/* The construct `depth` levels out, or NULL: the function's body. */
static struct walk_construct *construct_at(struct walk *w, uint32_t depth) {
  size_t n = w->opened.size / sizeof(struct walk_construct);
  return depth < n ? (struct walk_construct *)(void *)w->opened.bytes + (n - 1 - depth) : NULL;
}

/* --- labels ----------------------------------------------------------------------------------------------------------- */

void walk_labels(const struct walk *w, struct walk_labels *labels) {
  enum immediate immediate = op_table[w->in.op].immediate;
  labels->n_left = op_does(w->in.op, FLOW_BRANCHES);
  labels->label = w->in.index;
  labels->is_list = immediate == IMM_BR_TABLE || immediate == IMM_TRY_TABLE;
  if (!labels->is_list) return;
  labels->ignored = (struct gw_error){0};
  labels->has_kinds = immediate == IMM_TRY_TABLE;
  labels->n_left = w->in.count + (immediate == IMM_BR_TABLE); /* the default */
  reader_init(&labels->r, w->m->bytes, w->in.list, w->r.end, &labels->ignored);
}

bool walk_next_label(struct walk_labels *labels, uint32_t *label) {
  if (!labels->n_left) return false;
  labels->n_left--;
  *label = labels->label;
  if (!labels->is_list) return true;
  uint8_t kind = labels->has_kinds ? read_u8(&labels->r) : CATCH_TAG;
  if (labels->has_kinds && (kind == CATCH_TAG || kind == CATCH_TAG_REF)) read_u32(&labels->r);
  if (kind == CATCH_EVERY || kind == CATCH_EVERY_REF) labels->n_left = 0;
  *label = read_u32(&labels->r);
  return true;
}

/* --- steps ------------------------------------------------------------------------------------------------------------ */

static void reach_labels(struct walk *w) {
  struct walk_labels labels;
  uint32_t label;
  walk_labels(w, &labels);
  while (walk_next_label(&labels, &label)) {
    struct walk_construct *c = construct_at(w, label);
    if (c) c->end_reached = true;
  }
}

static void open_construct(struct walk *w) {
  struct walk_construct c = {.op = w->in.op, .is_dead = w->is_dead};
  buffer_append(&w->opened, &c, sizeof c);
}

/* The next arm can be reached wherever its construct can. */
static void split_construct(struct walk *w) {
  struct walk_construct *c = construct_at(w, 0);
  if (c->is_dead) return;
  c->end_reached |= !w->is_dead;
  c->has_arms = true;
  w->next_is_dead = false;
}

static void close_construct(struct walk *w) {
  struct walk_construct *c = construct_at(w, 0);
  w->opened_by = c ? c->op : OP_NOP;
  if (!c) return;
  bool passes_by = c->op == OP_IF && !c->has_arms; /* its condition was 0 */
  if (!c->is_dead && c->op != OP_LOOP && (c->end_reached || passes_by)) w->next_is_dead = false;
  w->opened.size -= sizeof *c;
}

/* What the instruction means for the next one. */
static void follow(struct walk *w) {
  unsigned flow = op_table[w->in.op].flow;
  if (!w->is_dead && (flow & FLOW_BRANCHES)) reach_labels(w);
  if (!w->is_dead && (flow & FLOW_DEAD_BEHIND)) w->next_is_dead = true;
  if (flow & FLOW_OPENS) open_construct(w);
  if (flow & FLOW_SPLITS) split_construct(w);
  if (flow & FLOW_CLOSES) close_construct(w);
  if (flow & FLOW_BLOCK_BEHIND && w->opened_by != OP_LOOP) w->next_begins_block = true;
}

static void count(struct walk *w) {
  bool is_full = w->n_in_block == GAS_BLOCK_MOST;
  w->begins_block = !w->is_dead && (w->next_begins_block || is_full || op_does(w->in.op, FLOW_BLOCK_BEFORE));
  if (w->is_dead) return;
  w->next_begins_block = false;
  w->n_in_block = w->begins_block ? 1 : w->n_in_block + 1;
}

void walk_begin(struct walk *w, const struct module *m, uint32_t func) {
  *w = (struct walk){.m = m, .next_begins_block = true};
  reader_init(&w->r, m->bytes, m->funcs[func].body, m->funcs[func].end, &w->ignored);
}

bool walk_next(struct walk *w) {
  if (!reader_left(&w->r) || !instruction_read(&w->r, &w->in)) return false;
  w->is_dead = w->next_is_dead;
  w->opened_by = OP_NOP;
  w->depth = (uint32_t)(w->opened.size / sizeof(struct walk_construct));
  if (w->depth && op_does(w->in.op, FLOW_SPLITS | FLOW_CLOSES)) w->depth--;
  count(w);
  follow(w);
  return true;
}

void walk_end(struct walk *w) { buffer_clear(&w->opened); }
