#include "cli/gas.h"

#include "cli/cli.h"
#include "frontend/walk.h"
#include "instrument/rounds.h"
#include "instrument/schedule.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct gas_block {
  uint64_t offset, gas, instructions;
};

/* The gas blocks of one body, in the order of its bytes. */
struct blocks {
  struct walk walk;
  const struct schedule *schedule;
  bool has_next; /* the walk stands at the first instruction of the next block */
};

static void go_on(struct blocks *b) {
  do b->has_next = walk_next(&b->walk);
  while (b->has_next && b->walk.is_dead);
}

static void blocks_begin(struct blocks *b, const struct module *m, const struct schedule *s, uint32_t func) {
  b->schedule = s;
  walk_begin(&b->walk, m, func);
  go_on(b);
}

static bool next_block(struct blocks *b, struct gas_block *block) {
  if (!b->has_next) return false;
  *block = (struct gas_block){.offset = b->walk.in.offset};
  do {
    block->instructions++;
    block->gas += b->schedule->gas[op_table[b->walk.in.op].cost];
    go_on(b);
  } while (b->has_next && !b->walk.begins_block);
  return true;
}

/* The sum over all blocks, each once. */
static struct gas_block total(const struct module *m, const struct schedule *s, uint32_t func, uint32_t *n_blocks) {
  struct gas_block block, sum = {0};
  struct blocks b;
  *n_blocks = 0;
  blocks_begin(&b, m, s, func);
  for (; next_block(&b, &block); ++*n_blocks) {
    sum.gas += block.gas;
    sum.instructions += block.instructions;
  }
  walk_end(&b.walk);
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
  struct gas_block sum = total(m, s, func, &n_blocks), block;
  struct blocks b;
  printf("\n%s (function %" PRIu32 "): %" PRIu32 " blocks, %" PRIu64 " instructions, %" PRIu64 " gas\n",
         func_display_name(m, func, name, sizeof name), func, n_blocks, sum.instructions, sum.gas);
  size_t n_loops;
  struct loop_rounds *loops = find_loop_rounds(m, func, &n_loops);
  blocks_begin(&b, m, s, func);
  while (next_block(&b, &block)) {
    const struct loop_rounds *loop = find_loop(loops, n_loops, block.offset);
    printf("  0x%06" PRIx64 " %8" PRIu64 " gas %6" PRIu64 " instructions", block.offset, block.gas, block.instructions);
    if (loop) printf(", loop of %s%" PRIu64 " rounds", loop->is_exact ? "" : "up to ", loop->rounds);
    puts("");
  }
  free(loops);
  walk_end(&b.walk);
}

static cJSON *json_function(const struct module *m, const struct schedule *s, uint32_t func) {
  char name[256];
  uint32_t n_blocks;
  struct gas_block sum = total(m, s, func, &n_blocks), block;
  struct blocks b;
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "name", func_display_name(m, func, name, sizeof name));
  cli_json_count(json, "index", func);
  cli_json_count(json, "gas", sum.gas);
  cli_json_count(json, "instructions", sum.instructions);
  cJSON *blocks = cJSON_AddArrayToObject(json, "blocks");
  size_t n_loops;
  struct loop_rounds *loops = find_loop_rounds(m, func, &n_loops);
  blocks_begin(&b, m, s, func);
  while (next_block(&b, &block)) {
    const struct loop_rounds *loop = find_loop(loops, n_loops, block.offset);
    cJSON *one = cJSON_CreateObject();
    cli_json_count(one, "offset", block.offset);
    cli_json_count(one, "gas", block.gas);
    cli_json_count(one, "instructions", block.instructions);
    if (loop) cli_json_count(one, loop->is_exact ? "rounds" : "most_rounds", loop->rounds);
    cJSON_AddItemToArray(blocks, one);
  }
  free(loops);
  walk_end(&b.walk);
  return json;
}

void cli_print_gas(const struct module *m, const struct schedule *s, bool is_json) {
  char digest[DIGEST_HEX_SIZE];
  digest_print(&s->digest, digest);
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
