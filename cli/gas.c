#include "cli/gas.h"

#include "cli/cli.h"
#include "instrument/rounds.h"
#include "instrument/schedule.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* The sum over all blocks, each once. */
static struct block_price total(const struct block_prices *blocks) {
  struct block_price sum = {0};
  for (uint32_t i = 0; i < blocks->n; i++) {
    sum.gas += blocks->items[i].gas;
    sum.n_instructions += blocks->items[i].n_instructions;
  }
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
  struct price_rates rates = schedule_rates(s);
  struct block_prices blocks;
  price_blocks(m, func, &rates, NULL, &blocks);
  struct block_price sum = total(&blocks);
  printf("\n%s (function %" PRIu32 "): %" PRIu32 " blocks, %" PRIu32 " instructions, %" PRIu64 " gas\n",
         func_display_name(m, func, name, sizeof name), func, blocks.n, sum.n_instructions, sum.gas);
  size_t n_loops;
  struct loop_rounds *loops = find_loop_rounds(m, func, &n_loops);
  for (uint32_t i = 0; i < blocks.n; i++) {
    const struct block_price *b = &blocks.items[i];
    const struct loop_rounds *loop = find_loop(loops, n_loops, b->offset);
    printf("  0x%06" PRIx64 " %8" PRIu64 " gas %6" PRIu32 " instructions", b->offset, b->gas, b->n_instructions);
    if (b->gas != b->sum) printf(" (%" PRIu64 " by themselves, %" PRIu32 " moves)", b->sum, b->moves);
    if (loop) printf(", loop of %s%" PRIu64 " rounds", loop->is_exact ? "" : "up to ", loop->rounds);
    puts("");
  }
  free(loops);
  prices_clear(&blocks);
}

static cJSON *json_function(const struct module *m, const struct schedule *s, uint32_t func) {
  char name[256];
  struct price_rates rates = schedule_rates(s);
  struct block_prices priced;
  price_blocks(m, func, &rates, NULL, &priced);
  struct block_price sum = total(&priced);
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "name", func_display_name(m, func, name, sizeof name));
  cli_json_count(json, "index", func);
  cli_json_count(json, "gas", sum.gas);
  cli_json_count(json, "instructions", sum.n_instructions);
  cJSON *blocks = cJSON_AddArrayToObject(json, "blocks");
  size_t n_loops;
  struct loop_rounds *loops = find_loop_rounds(m, func, &n_loops);
  for (uint32_t i = 0; i < priced.n; i++) {
    const struct block_price *b = &priced.items[i];
    const struct loop_rounds *loop = find_loop(loops, n_loops, b->offset);
    cJSON *one = cJSON_CreateObject();
    cli_json_count(one, "offset", b->offset);
    cli_json_count(one, "gas", b->gas);
    cli_json_count(one, "sum", b->sum);
    cli_json_count(one, "moves", b->moves);
    cli_json_count(one, "instructions", b->n_instructions);
    if (loop) cli_json_count(one, loop->is_exact ? "rounds" : "most_rounds", loop->rounds);
    cJSON_AddItemToArray(blocks, one);
  }
  free(loops);
  prices_clear(&priced);
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
