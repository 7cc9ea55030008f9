#include "server/cli_gas.h"

#include "frontend/instruction.h"
#include "frontend/partition.h"
#include "instrument/cost.h"
#include "server/cli.h"
#include "server/rounds.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

_Static_assert(OP_TRY_TABLE < 256, "openers fit in one byte of struct walk");

struct gas_block {
  uint64_t offset, gas, instructions;
};

/* A walk over one body in the order of its bytes. */
struct walk {
  struct reader reader;
  struct buffer opened; /* one byte per open construct: the opcode that opened it */
  struct gas_block block;
  const struct schedule *schedule;
  bool has_begun;
};

static bool opens_construct(enum op op) {
  return op == OP_BLOCK || op == OP_LOOP || op == OP_IF || op == OP_TRY || op == OP_TRY_TABLE;
}

/* Keeps track of constructs; answers which opcode opened the one that `op` closes, or OP_NOP. */
static enum op track(struct walk *w, enum op op) {
  uint8_t opener = op < 256 ? (uint8_t)op : 0;
  if (opens_construct(op)) buffer_append(&w->opened, &opener, 1);
  bool closes = (op == OP_END || op == OP_DELEGATE) && w->opened.size > 0;
  return closes ? (enum op)w->opened.bytes[--w->opened.size] : OP_NOP;
}

static void add(struct walk *w, const struct instruction *in) {
  if (!w->has_begun) w->block = (struct gas_block){.offset = in->offset};
  w->has_begun = true;
  w->block.instructions++;
  w->block.gas += w->schedule->gas[op_table[in->op].cost];
}

/* The next gas block of the walk, or false at its end. A loop's own cost belongs to the block that it starts
 * (frontend/partition.h), so `loop` ends the block before it and is read once more for the next. */
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
    enum op closes = track(w, in.op);
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
