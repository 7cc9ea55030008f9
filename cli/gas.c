#include "cli/gas.h"

#include "frontend/instruction.h"
#include "instrument/partition.h"
#include "instrument/schedule.h"
#include "cli/cli.h"
#include "instrument/rounds.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct gas_block {
  uint64_t offset, gas, instructions;
};

struct construct {
  enum op op;
  bool is_dead;    /* all of it */
  bool is_reached; /* its end, by a branch or from an arm before the last */
};

/* A walk over one body in the order of its bytes. */
struct walk {
  struct reader reader;
  struct buffer opened; /* struct construct */
  struct gas_block block;
  const struct schedule *schedule;
  bool has_begun, is_dead; /* is_dead: what comes next cannot be reached */
};

static bool opens_construct(enum op op) {
  return op == OP_BLOCK || op == OP_LOOP || op == OP_IF || op == OP_TRY || op == OP_TRY_TABLE;
}

/* The construct `depth` levels out, or NULL: the function's body. */
static struct construct *construct_at(struct walk *w, uint32_t depth) {
  size_t n = w->opened.size / sizeof(struct construct);
  return depth < n ? (struct construct *)w->opened.bytes + (n - 1 - depth) : NULL;
}

static void reach(struct walk *w, uint32_t depth) {
  struct construct *c = construct_at(w, depth);
  if (c) c->is_reached = true;
}

static void reach_list(struct walk *w, const struct instruction *in) {
  struct gw_error ignored = {0};
  struct reader r = w->reader;
  bool is_try = in->op == OP_TRY_TABLE;
  reader_init(&r, in->list, in->list, w->reader.end, &ignored);
  for (uint32_t i = 0; i < in->count + !is_try; i++) {
    uint8_t kind = is_try ? read_u8(&r) : CATCH_EVERY;
    if (kind == CATCH_TAG || kind == CATCH_TAG_REF) read_u32(&r);
    reach(w, read_u32(&r));
  }
}

/* Where a reachable instruction leads besides straight on, and whether it does that (docs/gas.md section 2). */
static void follow(struct walk *w, const struct instruction *in) {
  switch (in->op) {
  case OP_BR_TABLE:
    reach_list(w, in);
    w->is_dead = true;
    break;
  case OP_BR:
    reach(w, in->index);
    w->is_dead = true;
    break;
  case OP_BR_IF:
  case OP_BR_ON_NULL:
  case OP_BR_ON_NON_NULL:
  case OP_BR_ON_CAST:
  case OP_BR_ON_CAST_FAIL: reach(w, in->index); break;
  case OP_TRY_TABLE: reach_list(w, in); break;
  case OP_RETURN:
  case OP_RETURN_CALL:
  case OP_RETURN_CALL_INDIRECT:
  case OP_RETURN_CALL_REF:
  case OP_UNREACHABLE:
  case OP_THROW:
  case OP_THROW_REF:
  case OP_RETHROW: w->is_dead = true; break;
  default: break;
  }
}

/* An `else` or `catch`: reachable wherever its construct is. */
static void next_arm(struct walk *w) {
  struct construct *c = construct_at(w, 0);
  if (!c || c->is_dead) return;
  c->is_reached |= !w->is_dead;
  c->op = OP_ELSE;
  w->is_dead = false;
}

/* Answers which opcode opened what ends. */
static enum op close_construct(struct walk *w) {
  struct construct *last = construct_at(w, 0);
  if (!last) return OP_NOP;
  struct construct c = *last;
  w->opened.size -= sizeof c;
  if (!c.is_dead && c.op != OP_LOOP && (c.is_reached || c.op == OP_IF)) w->is_dead = false;
  return c.op;
}

/* Keeps track of constructs and of what can be reached; answers which opcode opened the one that `in` closes, or OP_NOP. */
static enum op track(struct walk *w, const struct instruction *in) {
  if (!w->is_dead) follow(w, in);
  if (opens_construct(in->op)) {
    struct construct c = {.op = in->op, .is_dead = w->is_dead};
    buffer_append(&w->opened, &c, sizeof c);
  }
  if (in->op == OP_ELSE || in->op == OP_CATCH || in->op == OP_CATCH_ALL) next_arm(w);
  return in->op == OP_END || in->op == OP_DELEGATE ? close_construct(w) : OP_NOP;
}

static void add(struct walk *w, const struct instruction *in) {
  if (!w->has_begun) w->block = (struct gas_block){.offset = in->offset};
  w->has_begun = true;
  w->block.instructions++;
  w->block.gas += w->schedule->gas[op_table[in->op].cost];
}

/* The next gas block of the walk, or false at its end. A loop's own cost belongs to the block that it starts
 * (instrument/partition.h), so `loop` ends the block before it and is read once more for the next. What cannot be reached is in
 * none. */
static bool next_block(struct walk *w, struct gas_block *block) {
  struct instruction in = {0};
  w->has_begun = false;
  while (reader_left(&w->reader)) {
    struct reader before = w->reader;
    if (!instruction_read(&w->reader, &in)) break;
    if (in.op == OP_LOOP && w->has_begun) {
      w->reader = before;
      break;
    }
    bool is_dead = w->is_dead;
    enum op closes = track(w, &in);
    if (is_dead) continue;
    add(w, &in);
    if (w->block.instructions == GAS_BLOCK_MOST || (in.op != OP_LOOP && gas_block_ends_after(in.op, closes))) break;
  }
  *block = w->block;
  return w->has_begun;
}

static void walk_init(struct walk *w, const struct module *m, const struct schedule *s, uint32_t func, struct gw_error *err) {
  *w = (struct walk){.schedule = s};
  reader_init(&w->reader, m->bytes, m->funcs[func].body, m->funcs[func].end, err);
}

/* The sum over all blocks, each once. */
static struct gas_block total(const struct module *m, const struct schedule *s, uint32_t func, uint32_t *n_blocks) {
  struct gw_error err = {0};
  struct gas_block block, sum = {0};
  struct walk w;
  *n_blocks = 0;
  walk_init(&w, m, s, func, &err);
  for (; next_block(&w, &block); ++*n_blocks) {
    sum.gas += block.gas;
    sum.instructions += block.instructions;
  }
  buffer_clear(&w.opened);
  return sum;
}

/* The counted loop that begins at `offset`, or NULL. */
static const struct loop_rounds *find_loop(const struct loop_rounds *loops, size_t n, uint64_t offset) {
  for (size_t i = 0; i < n; i++)
    if (loops[i].offset == offset) return &loops[i];
  return NULL;
}

static void print_function(const struct module *m, const struct schedule *s, uint32_t func) {
  char name[256];
  uint32_t n_blocks;
  struct gw_error err = {0};
  struct gas_block sum = total(m, s, func, &n_blocks), block;
  struct walk w;
  printf("\n%s (function %" PRIu32 "): %" PRIu32 " blocks, %" PRIu64 " instructions, %" PRIu64 " gas\n",
         func_display_name(m, func, name, sizeof name), func, n_blocks, sum.instructions, sum.gas);
  size_t n_loops;
  struct loop_rounds *loops = find_loop_rounds(m, func, &n_loops);
  walk_init(&w, m, s, func, &err);
  while (next_block(&w, &block)) {
    const struct loop_rounds *loop = find_loop(loops, n_loops, block.offset);
    printf("  0x%06" PRIx64 " %8" PRIu64 " gas %6" PRIu64 " instructions", block.offset, block.gas, block.instructions);
    if (loop) printf(", loop of %s%" PRIu64 " rounds", loop->is_exact ? "" : "up to ", loop->rounds);
    puts("");
  }
  free(loops);
  buffer_clear(&w.opened);
}

static cJSON *json_function(const struct module *m, const struct schedule *s, uint32_t func) {
  char name[256];
  uint32_t n_blocks;
  struct gw_error err = {0};
  struct gas_block sum = total(m, s, func, &n_blocks), block;
  struct walk w;
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "name", func_display_name(m, func, name, sizeof name));
  cli_json_count(json, "index", func);
  cli_json_count(json, "gas", sum.gas);
  cli_json_count(json, "instructions", sum.instructions);
  cJSON *blocks = cJSON_AddArrayToObject(json, "blocks");
  size_t n_loops;
  struct loop_rounds *loops = find_loop_rounds(m, func, &n_loops);
  walk_init(&w, m, s, func, &err);
  while (next_block(&w, &block)) {
    const struct loop_rounds *loop = find_loop(loops, n_loops, block.offset);
    cJSON *one = cJSON_CreateObject();
    cli_json_count(one, "offset", block.offset);
    cli_json_count(one, "gas", block.gas);
    cli_json_count(one, "instructions", block.instructions);
    if (loop) cli_json_count(one, loop->is_exact ? "rounds" : "most_rounds", loop->rounds);
    cJSON_AddItemToArray(blocks, one);
  }
  free(loops);
  buffer_clear(&w.opened);
  return json;
}

void cli_print_gas(const struct module *m, const struct schedule *s, bool is_json) {
  char digest[65];
  cli_hex(s->digest, sizeof s->digest, digest);
  if (!is_json) {
    printf("schedule version %" PRIu32 ", digest %s\n", s->version, digest);
    for (uint32_t i = m->n_imported_funcs; i < m->n_funcs; i++) print_function(m, s, i);
    return;
  }
  cJSON *json = cJSON_CreateObject(), *schedule = cJSON_AddObjectToObject(json, "schedule");
  cli_json_count(schedule, "version", s->version);
  cJSON_AddStringToObject(schedule, "digest", digest);
  cJSON *functions = cJSON_AddArrayToObject(json, "functions");
  for (uint32_t i = m->n_imported_funcs; i < m->n_funcs; i++) cJSON_AddItemToArray(functions, json_function(m, s, i));
  cli_print_json(json, false);
}
