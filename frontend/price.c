/* Prices of gas blocks: the function's data flow as one graph, and paths in it.
 *
 * A node is a value: what an instruction makes, or a place that holds one value after another (a local in each loop, the globals,
 * the operands that a construct takes or gives; of the last two all together). Operands lead to results, what is set to the
 * local, what a branch passes to its construct. Where one instruction stands behind another in the program does not matter, so
 * the graph has a cycle wherever a value may depend on its own predecessor. Only what lies on a cycle (in a strongly connected
 * component of more than one node) can make the rounds of a loop wait for each other; all else runs beside it, as far as the
 * processor looks. Within a block the instructions of a component form chains, and the longest by latency is what the block takes
 * at least. Values of earlier blocks are there already.
 *
 * Both are one pass each over nodes and edges: components by Tarjan (1972), chains in the order in which values were made. */
#include "frontend/price.h"

#include "base/buffer.h"
#include "base/heap.h"
#include "frontend/walk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

enum {
  FREE_LOCALS = 16,   /* that go round in a loop and are free to be set: about what registers hold */
  FAR_LOCALS = 256,   /* for so many more each of them is moved once more: the code that does it leaves the caches */
  THROWN_MOVES = 8,   /* of a value that is thrown: into the exception, which is kept, and out of it */
  WINDOW = 512,       /* instructions that the processor looks ahead, about: what is behind runs beside nothing before */
  LOCALS_OF_MOVE = 8, /* declared locals that are set to zero for the price of a move */
  NO_PLACE = 0,       /* the number that none has, so that new memory says it */
  FEW_BLOCKS = 16,    /* that there is room for at once */
  MOST_REGIONS = 8,   /* loops around an instruction that have places of their own, from the outermost on */
};

struct node {
  uint32_t edges;     /* the last edge that leads here, or NONE */
  uint32_t block;     /* where an instruction makes it; NONE: a place */
  uint32_t latency;   /* of that instruction */
  uint32_t component; /* 0: on no cycle */
  uint64_t depth;     /* longest chain up to it, in its block */
  uint64_t any_depth; /* the same of whatever it hangs on, on cycles or not */
};

struct edge {
  uint32_t from, next;
};

/* A construct around the current instruction. */
struct construct {
  enum op op;
  bool is_dead; /* all of it */
  uint32_t height, n_params, n_results;
  uint32_t entry, exit; /* nodes of what it takes and gives, or NONE */
  uint32_t serial;      /* of it, or of its current arm */
  uint32_t loop;        /* serial of the innermost loop, itself included; 0: none */
  bool is_region;
};

/* What a place was last set to, in the order of the body. */
struct last_set {
  uint32_t node;
  uint32_t block, place;
  uint32_t depth, serial; /* the construct or arm around; depth 0: never set */
  uint32_t time;          /* serials given before */
};

/* A block sets a local, for the first time in that region. */
struct set_local {
  uint32_t block, place;
};

/* Where a local keeps one value after another: in a loop, or outside of all. */
struct place {
  uint32_t local, node, region;
  bool is_set, is_read; /* in the region; read where only the place is known */
  uint32_t outer;       /* number of the same local's place in the region around, or NO_PLACE */
};

/* A loop that has places of its own, or the function. */
struct region {
  uint32_t serial;   /* of the loop; 0: the function */
  uint32_t n_places; /* of locals, on cycles */
};

struct pricer {
  const struct module *m;
  const struct func *func;
  const struct price_rates *rates;
  struct block_prices *out;
  struct walk walk;
  struct price_room *room;
  uint32_t n_locals, n_nodes, n_edges, n_sets, n_places;
  uint32_t open[MOST_REGIONS + 1]; /* regions around the current instruction; the first is the function */
  uint32_t n_open;
  uint32_t *innermost;   /* [n_locals + 1]: number of the place in the innermost region touched last, or NO_PLACE */
  struct last_set *last; /* [n_locals + 1]: of the locals, and of the globals */
  uint32_t n_serials;
};

/* n bytes, the first of them zero, in place of what was there. */
static void *take(struct buffer *b, size_t n, size_t n_zero) {
  b->size = 0;
  return memset(buffer_reserve(b, n + 1), 0, n_zero);
}

static struct node *node_at(struct pricer *p, uint32_t i) { return (struct node *)(void *)p->room->nodes.bytes + i; }

static uint32_t this_block(const struct pricer *p) { return p->out->n - 1; }

static uint32_t new_node(struct pricer *p, uint32_t block, uint32_t latency) {
  struct node node = {.edges = NONE, .block = block, .latency = latency};
  buffer_append(&p->room->nodes, &node, sizeof node);
  return p->n_nodes++;
}

static uint32_t new_place(struct pricer *p) { return new_node(p, NONE, 0); }

static void add_edge(struct pricer *p, uint32_t from, uint32_t to) {
  if (from == NONE || to == NONE) return;
  struct edge edge = {from, node_at(p, to)->edges};
  buffer_append(&p->room->edges, &edge, sizeof edge);
  node_at(p, to)->edges = p->n_edges++;
}

/* --- operands --------------------------------------------------------------------------------------------------------- */

static uint32_t height(const struct pricer *p) { return (uint32_t)(p->room->stack.size / sizeof(uint32_t)); }

static uint32_t *top(struct pricer *p, uint32_t n) {
  assert(n <= height(p));
  return (uint32_t *)(void *)p->room->stack.bytes + height(p) - n;
}

static void push_all(struct pricer *p, uint32_t n, uint32_t node) {
  struct buffer *stack = &p->room->stack;
  size_t size = n * sizeof node;
  if (stack->capacity - stack->size < size) buffer_reserve(stack, size);
  uint32_t *to = (uint32_t *)(void *)(stack->bytes + stack->size);
  for (uint32_t i = 0; i < n; i++) to[i] = node;
  stack->size += size;
}

static void cut(struct pricer *p, uint32_t to) {
  assert(to <= height(p));
  p->room->stack.size = (size_t)to * sizeof(uint32_t);
}

static uint32_t pop(struct pricer *p) {
  uint32_t node = *top(p, 1);
  cut(p, height(p) - 1);
  return node;
}

/* The `n` operands on top lead to `to`, and stay. */
static void pass(struct pricer *p, uint32_t n, uint32_t to) {
  for (uint32_t i = 0; i < n; i++) add_edge(p, top(p, n)[i], to);
}

static bool any(struct pricer *p, uint32_t n) {
  for (uint32_t i = 0; i < n; i++)
    if (top(p, n)[i] != NONE) return true;
  return false;
}

/* The instruction takes `n_in` operands and makes `n_out` of them. */
static void apply(struct pricer *p, uint32_t n_in, uint32_t n_out) {
  uint32_t made = NONE;
  if (n_out && any(p, n_in)) {
    made = new_node(p, this_block(p), p->rates->latency[op_table[p->walk.in.op].cost]);
    pass(p, n_in, made);
  }
  cut(p, height(p) - n_in);
  push_all(p, n_out, made);
}

static void move(struct pricer *p, uint32_t n) { p->out->items[this_block(p)].moves += n; }

/* --- places ----------------------------------------------------------------------------------------------------------- */

static uint32_t depth(const struct pricer *p) { return (uint32_t)(p->room->constructs.size / sizeof(struct construct)); }

static struct construct *construct_at(struct pricer *p, uint32_t label) {
  return (struct construct *)(void *)p->room->constructs.bytes + (depth(p) - 1 - label);
}

/* Whether every way here leads through the local's last set, and through no other behind it: the construct around it is still
 * open, and `loop` has not begun since, which could bring a later one. */
static bool is_certain(struct pricer *p, uint32_t local, uint32_t loop) {
  const struct last_set *last = &p->last[local];
  if (last->depth == 0 || last->depth > depth(p)) return false;
  return construct_at(p, depth(p) - last->depth)->serial == last->serial && loop <= last->time;
}

static struct place *place_numbered(struct pricer *p, uint32_t i) { return (struct place *)(void *)p->room->places.bytes + i; }

static struct region *region_numbered(struct pricer *p, uint32_t i) {
  return (struct region *)(void *)p->room->regions.bytes + i;
}

/* The place of the local in the innermost region around that has one for it, or NO_PLACE. Those of closed regions are forgotten.
 */
static uint32_t known_place(struct pricer *p, uint32_t local, uint32_t *level) {
  for (uint32_t i = p->innermost[local]; i != NO_PLACE; i = place_numbered(p, i)->outer) {
    for (*level = 0; *level < p->n_open; ++*level)
      if (p->open[*level] == place_numbered(p, i)->region) {
        p->innermost[local] = i;
        return i;
      }
  }
  return p->innermost[local] = NO_PLACE;
}

/* What the local holds when the region at this level begins; `outer` is its place in the one around. */
static uint32_t value_before(struct pricer *p, uint32_t local, uint32_t level, uint32_t outer) {
  uint32_t around = region_numbered(p, p->open[level - 1])->serial;
  return is_certain(p, local, around) ? p->last[local].node : place_numbered(p, outer)->node;
}

/* The place of the local in the innermost region; makes it, and those around it. A loop's place begins with what the local held
 * before, and leads to the one around. */
static uint32_t place_of(struct pricer *p, uint32_t local) {
  uint32_t level = 0, i = known_place(p, local, &level);
  for (level = i == NO_PLACE ? 0 : level + 1; level < p->n_open; level++) {
    struct place place = {.local = local, .node = new_place(p), .region = p->open[level], .outer = i};
    if (i != NO_PLACE) {
      add_edge(p, value_before(p, local, level, i), place.node);
      add_edge(p, place.node, place_numbered(p, i)->node);
    }
    buffer_append(&p->room->places, &place, sizeof place);
    i = p->innermost[local] = p->n_places++;
  }
  return i;
}

static uint32_t value_of(struct pricer *p, uint32_t local) {
  if (is_certain(p, local, construct_at(p, 0)->loop)) return p->last[local].node;
  struct place *place = place_numbered(p, place_of(p, local));
  place->is_read = true;
  return place->node;
}

static uint32_t set(struct pricer *p, uint32_t local, uint32_t node) {
  uint32_t place = place_of(p, local);
  p->last[local] = (struct last_set){node, this_block(p), place, depth(p), construct_at(p, 0)->serial, p->n_serials};
  place_numbered(p, place)->is_set = true;
  add_edge(p, node, place_numbered(p, place)->node);
  return place;
}

static void set_local(struct pricer *p, uint32_t local, uint32_t node) {
  struct last_set before = p->last[local];
  struct set_local one = {this_block(p), set(p, local, node)};
  if (before.block == one.block && before.place == one.place) return;
  buffer_append(&p->room->sets, &one, sizeof one);
  p->n_sets++;
}

/* Globals are one place, so what was set before is still part of it. */
static void set_global(struct pricer *p, uint32_t node) {
  uint32_t globals = p->n_locals;
  if (is_certain(p, globals, construct_at(p, 0)->loop)) {
    uint32_t both = new_node(p, this_block(p), 0);
    add_edge(p, p->last[globals].node, both);
    add_edge(p, node, both);
    node = both;
  }
  set(p, globals, node);
}

/* --- constructs ------------------------------------------------------------------------------------------------------- */

static void open_region(struct pricer *p, uint32_t serial) {
  struct region region = {.serial = serial};
  p->open[p->n_open++] = (uint32_t)(p->room->regions.size / sizeof region);
  buffer_append(&p->room->regions, &region, sizeof region);
}

static void open_construct(struct pricer *p) {
  const struct instruction *in = &p->walk.in;
  val_type storage;
  struct construct c = {.op = in->op, .is_dead = p->walk.is_dead, .entry = NONE, .exit = NONE};
  if (!c.is_dead) {
    struct func_type type = block_func_type(p->m, in, &storage);
    if (in->op == OP_IF) pop(p);
    c.n_params = type.n_params;
    c.n_results = type.n_results;
    c.height = height(p) - c.n_params;
    if (c.n_params) c.entry = new_place(p);
    if (c.n_results && in->op != OP_LOOP) c.exit = new_place(p);
    pass(p, c.n_params, c.entry);
    move(p, c.n_params);
    cut(p, c.height);
    push_all(p, c.n_params, c.entry);
  }
  c.serial = ++p->n_serials;
  c.loop = in->op == OP_LOOP ? c.serial : construct_at(p, 0)->loop;
  c.is_region = in->op == OP_LOOP && !c.is_dead && p->n_open <= MOST_REGIONS;
  if (c.is_region) open_region(p, c.serial);
  buffer_append(&p->room->constructs, &c, sizeof c);
}

static const struct func_type *tag_type(const struct pricer *p, uint32_t tag) { return &p->m->types[p->m->tags[tag].type].func; }

/* What leaves a construct, or an arm of it, at its end. */
static void fall_out(struct pricer *p, const struct construct *c) {
  if (p->walk.is_dead || c->op == OP_LOOP) return;
  pass(p, c->n_results, c->exit);
  move(p, c->n_results);
}

static void split_construct(struct pricer *p) {
  struct construct *c = construct_at(p, 0);
  if (c->is_dead) return;
  fall_out(p, c);
  cut(p, c->height);
  if (p->walk.in.op == OP_ELSE) push_all(p, c->n_params, c->entry);
  if (p->walk.in.op == OP_CATCH) push_all(p, tag_type(p, p->walk.in.index)->n_params, NONE);
  c->op = p->walk.in.op;
  c->serial = ++p->n_serials;
}

static void close_construct(struct pricer *p) {
  struct construct c = *construct_at(p, 0);
  p->room->constructs.size -= sizeof c;
  p->n_open -= c.is_region;
  if (p->room->constructs.size == 0 || c.is_dead) return; /* the body's own end */
  fall_out(p, &c);
  if (c.op == OP_IF) add_edge(p, c.entry, c.exit); /* without else */
  if (c.op == OP_LOOP && !p->walk.is_dead) return; /* straight on */
  cut(p, c.height);
  push_all(p, c.n_results, c.exit);
}

/* Operands go along to the construct `depth` levels out, and stay. */
static uint32_t branch(struct pricer *p, uint32_t depth) {
  const struct construct *c = construct_at(p, depth);
  bool is_loop = c->op == OP_LOOP;
  uint32_t n = is_loop ? c->n_params : c->n_results;
  pass(p, n, is_loop ? c->entry : c->exit);
  return n;
}

/* Clauses of a try_table pass what was thrown, of which nothing is known. */
static void branch_all(struct pricer *p) {
  struct walk_labels labels;
  uint32_t label, n = 0;
  if (p->walk.in.op == OP_TRY_TABLE) return;
  walk_labels(&p->walk, &labels);
  while (walk_next_label(&labels, &label)) n = branch(p, label);
  move(p, n);
}

/* --- instructions ----------------------------------------------------------------------------------------------------- */

static void call(struct pricer *p, const struct func_type *type, uint32_t n_more) {
  move(p, type->n_params + type->n_results);
  apply(p, type->n_params + n_more, type->n_results);
}

static const struct func_type *type_at(const struct pricer *p, uint32_t index) { return &p->m->types[index].func; }

static void price_call(struct pricer *p) {
  const struct instruction *in = &p->walk.in;
  bool is_direct = op_table[in->op].immediate == IMM_FUNC;
  call(p, type_at(p, is_direct ? p->m->funcs[in->index].type : in->index), !is_direct);
}

static void price_place(struct pricer *p) {
  const struct instruction *in = &p->walk.in;
  switch (in->op) {
  case OP_LOCAL_GET: push_all(p, 1, value_of(p, in->index)); return;
  case OP_LOCAL_SET: set_local(p, in->index, pop(p)); return;
  case OP_LOCAL_TEE: set_local(p, in->index, *top(p, 1)); return;
  case OP_GLOBAL_GET: push_all(p, 1, value_of(p, p->n_locals)); return;
  default: set_global(p, pop(p));
  }
}

/* Operands and results of what the table says nothing of: high and low half of a byte. */
static const uint8_t effects[OP_COUNT] = {
    [OP_DROP] = 0x10,        [OP_SELECT] = 0x31,      [OP_SELECT_T] = 0x31,    [OP_TABLE_GET] = 0x11,
    [OP_TABLE_SET] = 0x20,   [OP_MEMORY_SIZE] = 0x01, [OP_MEMORY_GROW] = 0x11, [OP_MEMORY_INIT] = 0x30,
    [OP_MEMORY_COPY] = 0x30, [OP_MEMORY_FILL] = 0x30, [OP_TABLE_INIT] = 0x30,  [OP_TABLE_COPY] = 0x30,
    [OP_TABLE_FILL] = 0x30,  [OP_TABLE_GROW] = 0x21,  [OP_TABLE_SIZE] = 0x01,  [OP_REF_NULL] = 0x01,
    [OP_REF_IS_NULL] = 0x11, [OP_REF_FUNC] = 0x01,    [OP_REF_EQ] = 0x21,      [OP_REF_AS_NON_NULL] = 0x11,
    [OP_THROW_REF] = 0x10,
};

static void price_plain(struct pricer *p) {
  enum op op = p->walk.in.op;
  if (op_table[op].n_operands == SPECIAL_OPERANDS)
    apply(p, effects[op] >> 4, effects[op] & 15);
  else
    apply(p, op_table[op].n_operands, op_table[op].n_results);
}

static bool is_place(enum op op) { return op_table[op].immediate == IMM_LOCAL || op_table[op].immediate == IMM_GLOBAL; }

/* What it does to operands, in code that can be reached. */
static void flow(struct pricer *p) {
  const struct instruction *in = &p->walk.in;
  if (is_place(in->op))
    price_place(p);
  else if (op_does(in->op, FLOW_CALLS))
    price_call(p);
  else if (in->op == OP_THROW)
    move(p, THROWN_MOVES * tag_type(p, in->index)->n_params);
  else if (!op_does(in->op, FLOW_BRANCHES))
    price_plain(p);
}

/* Conditions are no part of what a branch passes; br_on_null keeps its operand where it goes on. */
static void price_branch(struct pricer *p) {
  enum op op = p->walk.in.op;
  if (!op_does(op, FLOW_BRANCHES)) return;
  uint32_t taken = op == OP_BR_IF || op == OP_BR_TABLE || op == OP_BR_ON_NULL ? pop(p) : NONE;
  branch_all(p);
  if (op == OP_BR_ON_NULL) push_all(p, 1, taken);
  if (op == OP_BR_ON_NON_NULL) pop(p);
}

static void begin_block(struct pricer *p) {
  uint32_t n = p->out->n;
  if (n == 0 || (n >= FEW_BLOCKS && (n & (n - 1)) == 0))
    p->out->items = heap_resize(p->out->items, n ? 2 * (size_t)n : FEW_BLOCKS, sizeof *p->out->items);
  p->out->items[p->out->n++] = (struct block_price){.offset = p->walk.in.offset};
}

static void step(struct pricer *p) {
  enum op op = p->walk.in.op;
  if (p->walk.begins_block) begin_block(p);
  if (!p->walk.is_dead) {
    p->out->items[this_block(p)].sum += p->rates->gas[op_table[op].cost];
    p->out->items[this_block(p)].n_instructions++;
    price_branch(p);
  }
  if (op_does(op, FLOW_OPENS))
    open_construct(p);
  else if (op_does(op, FLOW_SPLITS))
    split_construct(p);
  else if (op_does(op, FLOW_CLOSES))
    close_construct(p);
  else if (!p->walk.is_dead)
    flow(p);
}

/* --- components ------------------------------------------------------------------------------------------------------- */

/* Tarjan's algorithm without recursion, along edges backwards: the components are the same. */
struct search {
  struct pricer *p;
  uint32_t *index, *low; /* [n_nodes]; index 0: not seen, NONE: its component is known */
  uint32_t *path, n_path, *open, n_open;
  uint32_t n_seen, n_components;
};

static void enter(struct search *s, uint32_t node) {
  s->index[node] = s->low[node] = ++s->n_seen;
  s->path[s->n_path++] = node;
  s->open[s->n_open++] = node;
}

static void take_component(struct search *s, uint32_t node) {
  bool is_cycle = s->open[s->n_open - 1] != node;
  uint32_t number = is_cycle ? ++s->n_components : 0, one;
  do {
    one = s->open[--s->n_open];
    s->index[one] = NONE;
    node_at(s->p, one)->component = number;
  } while (one != node);
}

static void lower_to(struct search *s, uint32_t node, uint32_t low) {
  if (low != NONE && low < s->low[node]) s->low[node] = low;
}

/* The edges of a node are used up as they are followed: `edges` is where it goes on. */
static void search_from(struct search *s, uint32_t *edges, uint32_t start) {
  const struct edge *all = (const struct edge *)(const void *)s->p->room->edges.bytes;
  enter(s, start);
  while (s->n_path) {
    uint32_t node = s->path[s->n_path - 1], edge = edges[node];
    if (edge == NONE) {
      s->n_path--;
      if (s->n_path) lower_to(s, s->path[s->n_path - 1], s->low[node]);
      if (s->low[node] == s->index[node]) take_component(s, node);
      continue;
    }
    edges[node] = all[edge].next;
    uint32_t from = all[edge].from;
    if (s->index[from] == 0)
      enter(s, from);
    else
      lower_to(s, node, s->index[from]);
  }
}

static void find_components(struct pricer *p) {
  size_t n = p->n_nodes;
  uint32_t *words = take(&p->room->work, 5 * n * sizeof *words, n * sizeof *words), *edges = words + 4 * n;
  struct search s = {.p = p, .index = words, .low = words + n, .path = words + 2 * n, .open = words + 3 * n};
  for (uint32_t i = 0; i < n; i++) edges[i] = node_at(p, i)->edges;
  for (uint32_t i = 0; i < n; i++)
    if (s.index[i] == 0) search_from(&s, edges, i);
}

/* --- prices ----------------------------------------------------------------------------------------------------------- */

/* Longest chains of the block that end with the value: on its cycle, and of all. */
static void chain_to(struct pricer *p, struct node *node) {
  const struct edge *all = (const struct edge *)(const void *)p->room->edges.bytes;
  for (uint32_t e = node->edges; e != NONE; e = all[e].next) {
    const struct node *from = node_at(p, all[e].from);
    if (from->block != node->block) continue;
    if (from->any_depth > node->any_depth) node->any_depth = from->any_depth;
    if (from->component == node->component && from->depth > node->depth) node->depth = from->depth;
  }
  node->any_depth += node->latency;
  node->depth = node->component ? node->depth + node->latency : 0;
}

/* What of a chain the next round cannot run beside: it is too far behind. */
static uint64_t beyond_window(const struct block_price *block, uint64_t chain) {
  return block->n_instructions > WINDOW ? chain * (block->n_instructions - WINDOW) / block->n_instructions : 0;
}

/* Into `chains`, by block. */
static void find_chains(struct pricer *p, uint64_t *chains) {
  for (uint32_t i = 0; i < p->n_nodes; i++) {
    struct node *node = node_at(p, i);
    if (node->block == NONE) continue;
    chain_to(p, node);
    uint64_t far = beyond_window(&p->out->items[node->block], node->any_depth), most = node->depth > far ? node->depth : far;
    if (most > chains[node->block]) chains[node->block] = most;
  }
}

/* A local that takes a value from round to round: its own, or another's. */
static bool goes_round(struct pricer *p, const struct place *place) {
  if (place->local >= p->n_locals) return false;
  bool is_kept = place->region != 0 && place->is_set && place->is_read;
  return is_kept || node_at(p, place->node)->component != 0;
}

/* Where more locals go round than registers hold, each that a block sets is moved. */
static void count_sets(struct pricer *p) {
  const struct set_local *sets = (const struct set_local *)(const void *)p->room->sets.bytes;
  for (uint32_t i = NO_PLACE + 1; i < p->n_places; i++) {
    const struct place *place = place_numbered(p, i);
    region_numbered(p, place->region)->n_places += goes_round(p, place);
  }
  for (uint32_t i = 0; i < p->n_sets; i++) {
    const struct place *place = place_numbered(p, sets[i].place);
    uint32_t n = region_numbered(p, place->region)->n_places;
    if (n > FREE_LOCALS && goes_round(p, place)) p->out->items[sets[i].block].moves += (n + FAR_LOCALS - 1) / FAR_LOCALS;
  }
}

static void sum_up(struct pricer *p) {
  size_t size = p->out->n * sizeof(uint64_t);
  uint64_t *chains = take(&p->room->work, size, size);
  find_chains(p, chains);
  count_sets(p);
  p->out->items[0].moves += p->func->n_locals / LOCALS_OF_MOVE;
  for (uint32_t i = 0; i < p->out->n; i++) {
    struct block_price *b = &p->out->items[i];
    uint64_t least = (uint64_t)(b->n_instructions / 4) * p->rates->gas[COST_FOUR];
    uint64_t work = b->sum > least ? b->sum : least;
    b->gas = (work > chains[i] ? work : chains[i]) + (uint64_t)b->moves * p->rates->gas[COST_MOVE];
  }
}

static void begin(struct pricer *p) {
  size_t n = p->n_locals + (size_t)1, size = n * (sizeof *p->last + sizeof *p->innermost);
  struct price_room *r = p->room;
  r->nodes.size = r->edges.size = r->sets.size = r->places.size = 0;
  r->regions.size = r->stack.size = r->constructs.size = 0;
  p->last = take(&p->room->locals, size, size);
  p->innermost = (uint32_t *)(void *)(p->last + n);
  open_region(p, 0);
  buffer_append(&p->room->places, &(struct place){0}, sizeof(struct place)); /* NO_PLACE */
  p->n_places = 1;
  struct construct body = {.op = OP_BLOCK, .entry = NONE, .exit = NONE};
  buffer_append(&p->room->constructs, &body, sizeof body);
}

void price_blocks(const struct module *m, uint32_t func, const struct price_rates *rates, struct price_room *room,
                  struct block_prices *out) {
  const struct func *f = &m->funcs[func];
  struct price_room own = {0};
  struct pricer p = {.m = m, .func = f, .rates = rates, .out = out, .room = room ? room : &own};
  *out = (struct block_prices){0};
  p.n_locals = m->types[f->type].func.n_params + f->n_locals;
  begin(&p);
  walk_begin(&p.walk, m, func);
  while (walk_next(&p.walk)) step(&p);
  find_components(&p);
  sum_up(&p);
  walk_end(&p.walk);
  price_room_clear(&own);
}

size_t price_room_bytes(const struct price_room *r) {
  return r->nodes.capacity + r->edges.capacity + r->sets.capacity + r->places.capacity + r->regions.capacity + r->stack.capacity +
         r->constructs.capacity + r->locals.capacity + r->work.capacity;
}

void price_room_clear(struct price_room *r) {
  struct buffer *all[] = {&r->nodes, &r->edges,      &r->sets,   &r->places, &r->regions,
                          &r->stack, &r->constructs, &r->locals, &r->work};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) buffer_clear(all[i]);
}

void prices_clear(struct block_prices *prices) {
  free(prices->items);
  *prices = (struct block_prices){0};
}

uint64_t price_at(struct block_prices *prices, uint64_t offset) {
  while (prices->next < prices->n && prices->items[prices->next].offset < offset) prices->next++;
  assert(prices->next < prices->n && prices->items[prices->next].offset == offset);
  return prices->items[prices->next].gas;
}
