/* The FLOW column and the walk that follows from it, against those who know better: the validator's control stack, and the gas
 * blocks that lowering and the interpreter's translation charge for. Prices know the operands that the validator does. */
#define _GNU_SOURCE /* nftw */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <ftw.h>

#include "frontend/walk.h"
#include "runtime/engine.h"
#include "runtime/precise/private.h"
#include "tests/wat.h"

#include "frontend/price.c"
#include "frontend/validate_body.c" /* check_instruction */

/* --- the column ------------------------------------------------------------------------------------------------------- */

static bool has_labels(enum op op) {
  switch ((enum immediate)op_table[op].immediate) {
  case IMM_LABEL: return op != OP_DELEGATE && op != OP_RETHROW; /* theirs tell of tries, not of where to go */
  case IMM_BR_TABLE:
  case IMM_TRY_TABLE:
  case IMM_BR_ON_CAST: return true;
  default: return false;
  }
}

/* What other columns say of it. */
static void test_columns(void **state) {
  (void)state;
  for (int op = 0; op < OP_COUNT; op++) {
    const struct op_info *info = &op_table[op];
    bool opens = info->immediate == IMM_BLOCK || info->immediate == IMM_TRY_TABLE;
    bool calls = info->cost == COST_CALL || info->cost == COST_CALL_INDIRECT;
    bool is_plain = strcmp(info->signature, "SPECIAL") != 0;
    if (op_does(op, FLOW_OPENS) != opens) fail_msg("%s opens", info->text);
    if (op_does(op, FLOW_BRANCHES) != has_labels(op)) fail_msg("%s branches", info->text);
    if (op_does(op, FLOW_CALLS) != calls) fail_msg("%s calls", info->text);
    if (is_plain && info->flow) fail_msg("%s does nothing to control flow", info->text);
    if (op_does(op, FLOW_DEAD_BEHIND) && !op_does(op, FLOW_BLOCK_BEHIND)) fail_msg("%s ends its gas block", info->text);
    if (op_does(op, FLOW_LEAVES) && !op_does(op, FLOW_DEAD_BEHIND)) fail_msg("%s leaves", info->text);
  }
}

/* --- modules ---------------------------------------------------------------------------------------------------------- */

/* What few modules have: clauses that branch, ends that nobody comes to. */
static const char rare[] =
    "(module (type $t (func)) (table 1 funcref) (tag $e (param i32)) (func $f (throw $e (i32.const 1)))"
    " (func (param i32) (block $a (block $b (result i32)"
    "  (try (result i32) (do (call $f) (i32.const 1)) (catch $e) (catch_all (br $a)))) drop (br_if $a (local.get 0)) (return))"
    "  (try (do (try (do (call $f)) (delegate 0))) (catch $e drop (block (rethrow 1)) (nop)) (catch_all unreachable)))"
    " (func (param i32) (loop $l (br_if $l (local.get 0)) (br $l) (if (local.get 0) (then nop) (else (br $l))) nop) nop)"
    " (func (param i32) (if (local.get 0) (then (return))) nop (if (local.get 0) (then (return)) (else unreachable)) nop)"
    " (func (param i32) (block (br_table 0 1 (local.get 0)) (block nop (br 0) (loop nop))) (return_call $f) (block nop))"
    " (func (loop (loop (loop nop))) (block (loop unreachable)) nop (return_call_indirect (type $t) (i32.const 0)) nop))";

/* block { block { try_table (catch_all 0) (catch_all 1) call 0 end return } return } nop: no clause comes to the outer end. */
static const uint8_t clauses[] = {0, 'a', 's', 'm', 1,    0, 0,    0,    1,    4,    1,    0x60, 0,    0,    3,    3,    2,
                                  0, 0,   10,  28,  2,    2, 0,    0x0b, 23,   0,    0x02, 0x40, 0x02, 0x40, 0x1f, 0x40, 2,
                                  2, 0,   2,   1,   0x10, 0, 0x0b, 0x0f, 0x0b, 0x0f, 0x0b, 0x01, 0x01, 0x01, 0x0b};

static struct gw_engine *engine;
static uint32_t n_modules, n_funcs, n_instructions, n_failed, n_files, every;
static void (*check)(struct gw_module *module);

static void check_bytes(const void *bytes, size_t size) {
  struct gw_error err = {0};
  struct gw_module *module = gw_module_create(engine, bytes, size, &err);
  if (!module) return;
  n_modules++;
  check(module);
  gw_module_release(module);
}

static int check_file(const char *path, const struct stat *info, int type, struct FTW *place) {
  (void)place;
  size_t length = strlen(path);
  struct buffer bytes = {0};
  struct gw_error err = {0};
  bool is_module = type == FTW_F && info->st_size < 100000 && length > 5 && strcmp(path + length - 5, ".wasm") == 0;
  if (is_module && n_files++ % every == 0 && buffer_read_file(&bytes, path, 100000, &err)) check_bytes(bytes.bytes, bytes.size);
  buffer_clear(&bytes);
  return 0;
}

/* Of the official suite each `sample`th module. */
static void check_all(void (*checks)(struct gw_module *module), uint32_t sample) {
  check = checks;
  every = 1;
  n_files = n_modules = n_funcs = n_instructions = n_failed = 0;
  struct gw_module *module = wat_module(engine, rare);
  check(module);
  gw_module_release(module);
  check_bytes(clauses, sizeof clauses);
  assert_int_equal(n_modules, 1);
  nftw(SOURCE_DIR "/tests/corpus", check_file, 8, FTW_PHYS);
  every = sample;
  nftw(SOURCE_DIR "/../shared/spec", check_file, 8, FTW_PHYS); /* where it is */
  printf("%u modules, %u functions, %u instructions\n", n_modules, n_funcs, n_instructions);
  assert_true(n_modules >= 5);
  assert_int_equal(n_failed, 0);
}

static void complain(const struct walk *w, const char *what) {
  if (n_failed++ < 10)
    fprintf(stderr, "%s at byte 0x%llx: %s\n", op_table[w->in.op].text, (unsigned long long)w->in.offset, what);
}

/* --- against the validator -------------------------------------------------------------------------------------------- */

static bool any_is_unreachable(const struct validator *v) {
  for (uint32_t i = 0; i < v->n_frames; i++)
    if (v->frames[i].is_unreachable) return true;
  return false;
}

/* Validates the function once more, the walk beside it. */
static void follow_validator(const struct module *m, uint32_t func) {
  struct gw_error err = {0};
  struct validator v = {.m = (struct module *)m, .err = &err}; /* what bodies write into the module is there already */
  struct walk w;
  n_funcs++;
  walk_begin(&w, m, func);
  begin_body(&v, func);
  while (walk_next(&w)) {
    enum op op = w.in.op;
    uint32_t n_frames = v.n_frames, ending = op_does(op, FLOW_SPLITS | FLOW_CLOSES);
    enum op opened = top_frame(&v)->opcode;
    bool was_unreachable = any_is_unreachable(&v);
    n_instructions++;
    if (w.depth + 1 + (ending && n_frames > 1) != n_frames) complain(&w, "another depth");
    if (was_unreachable && !ending && !w.is_dead) complain(&w, "the validator says that it cannot be reached");
    if (op == OP_END && n_frames > 1 && opened == OP_LOOP && w.opened_by != OP_LOOP) complain(&w, "closes a loop");
    if (!check_instruction(&v)) fail_msg("%s", err.message);
    if (v.in.op != op) complain(&w, "the validator reads something else");
    if (v.n_frames != n_frames + op_does(op, FLOW_OPENS) - op_does(op, FLOW_CLOSES)) complain(&w, "opens, closes");
    if (op_does(op, FLOW_SPLITS) && top_frame(&v)->opcode != op) complain(&w, "splits");
    if (!ending && !was_unreachable && any_is_unreachable(&v) != op_does(op, FLOW_DEAD_BEHIND)) complain(&w, "dead behind");
  }
  assert_int_equal(v.n_frames, 0);
  walk_end(&w);
  validator_clear(&v);
}

static void check_validator(struct gw_module *module) {
  const struct module *m = gw_module_decoded(module);
  for (uint32_t i = m->n_imported_funcs; i < m->n_funcs; i++) follow_validator(m, i);
}

static void test_validator(void **state) {
  (void)state;
  check_all(check_validator, 1);
}

/* --- against the tiers ------------------------------------------------------------------------------------------------ */

static uint64_t gas_of(const struct gas_block_info *block, uint32_t *n) {
  uint64_t gas = 0;
  *n = 0;
  for (int i = 0; i < COST_COUNT; i++) {
    gas += block->instructions[i] * engine->schedule.gas[i];
    *n += block->instructions[i];
  }
  return gas;
}

/* The walk's blocks of all functions, in order. */
static void collect(const struct module *m, struct gas_blocks *blocks) {
  for (uint32_t i = m->n_imported_funcs; i < m->n_funcs; i++) {
    struct walk w;
    uint32_t block = 0;
    n_funcs++;
    walk_begin(&w, m, i);
    while (walk_next(&w)) {
      n_instructions++;
      if (w.begins_block) {
        block = gas_blocks_add(blocks, i);
        blocks->items[block].offset = w.in.offset;
      }
      if (!w.is_dead) blocks->items[block].instructions[op_table[w.in.op].cost]++;
    }
    walk_end(&w);
  }
}

/* The next block that has instructions: lowering leaves some empty, in front of loops. */
static const struct gas_block_info *next_filled(const struct gas_blocks *blocks, uint32_t *i) {
  uint32_t n = 0;
  while (*i < blocks->n && (gas_of(&blocks->items[*i], &n), n == 0)) ++*i;
  return *i < blocks->n ? &blocks->items[(*i)++] : NULL;
}

static void compare_blocks(const struct gas_blocks *walked, const struct gas_blocks *lowered) {
  for (uint32_t i = 0, k = 0;;) {
    const struct gas_block_info *a = next_filled(walked, &i), *b = next_filled(lowered, &k);
    if (!a && !b) return;
    if (a && b && memcmp(a, b, sizeof *a) == 0) continue;
    if (n_failed++ < 10) fprintf(stderr, "function %u: block %u is another one when lowered\n", (a ? a : b)->func, i);
    return;
  }
}

static void check_lowering(struct gw_module *module) {
  const struct module *m = gw_module_decoded(module);
  struct gw_error err = {0};
  const struct compiler_ops *ops = compiler_load(&err);
  struct gas_blocks walked = {0}, lowered = {0};
  struct image image = {0};
  assert_non_null(ops);
  collect(m, &walked);
  struct compile_options options = {
      .gas = true, .dialect = m->dialect, .threads = 1, .schedule = &engine->schedule, .blocks = &lowered};
  if (!ops->compile(m, &options, &image, NULL, &err)) fail_msg("%s", err.message);
  compare_blocks(&walked, &lowered);
  free(image.bytes);
  free(image.offsets);
  gas_blocks_clear(&walked);
  gas_blocks_clear(&lowered);
}

static void test_lowering(void **state) {
  (void)state;
  check_all(check_lowering, 5);
}

static bool has_handlers(const struct module *m, uint32_t func) {
  struct walk w;
  bool has = false;
  walk_begin(&w, m, func);
  while (walk_next(&w)) has |= w.in.op == OP_TRY || w.in.op == OP_TRY_TABLE;
  walk_end(&w);
  return has;
}

/* Every block of the walk has a price, of the same instructions. */
static void compare_prices(const struct block_prices *prices, uint32_t func, const struct gas_blocks *walked) {
  uint32_t i = 0, n;
  while (i < walked->n && walked->items[i].func < func) i++;
  for (uint32_t k = 0; k < prices->n; k++, i++) {
    const struct block_price *price = &prices->items[k];
    const struct gas_block_info *block = &walked->items[i];
    bool is_same = i < walked->n && block->func == func && block->offset == price->offset && gas_of(block, &n) == price->sum &&
                   n == price->n_instructions && price->gas >= price->sum;
    if (is_same) continue;
    if (n_failed++ < 10) fprintf(stderr, "function %u: another block %u is priced\n", func, k);
    return;
  }
  if (i < walked->n && walked->items[i].func == func && n_failed++ < 10)
    fprintf(stderr, "function %u: blocks without price\n", func);
}

static uint64_t next_price(const struct block_prices *prices, uint32_t *i) {
  while (*i < prices->n && prices->items[*i].gas == 0) ++*i;
  return *i < prices->n ? prices->items[(*i)++].gas : 0;
}

/* Charges of the function's translation; clauses are charged apart, and those that nothing can throw to are not translated. */
static void compare_charges(struct precise_module *precise, uint32_t func, const struct block_prices *prices) {
  struct precise_func *f = &precise->funcs[func];
  uint32_t i = 0;
  if (has_handlers(gw_module_decoded(precise->module), func)) return;
  precise_translate(f, NULL);
  for (uint32_t k = 0; k < f->n_insns; k++) {
    uint64_t gas = f->code[k].imm;
    if (f->code[k].run != do_charge || gas == 0 || next_price(prices, &i) == gas) continue;
    if (n_failed++ < 10) fprintf(stderr, "function %u: another charge when translated: %llu\n", func, (unsigned long long)gas);
    return;
  }
  if (next_price(prices, &i) && n_failed++ < 10) fprintf(stderr, "function %u: charges are left\n", func);
}

static void check_translation(struct gw_module *module) {
  const struct module *m = gw_module_decoded(module);
  struct precise_module *precise = precise_module_create(module, false);
  struct price_rates rates = schedule_rates(&engine->schedule);
  struct gas_blocks walked = {0};
  collect(m, &walked);
  for (uint32_t i = m->n_imported_funcs; i < m->n_funcs; i++) {
    struct block_prices prices;
    price_blocks(m, i, &rates, NULL, &prices);
    compare_prices(&prices, i, &walked);
    compare_charges(precise, i, &prices);
    prices_clear(&prices);
  }
  precise_module_destroy(precise);
  gas_blocks_clear(&walked);
}

static void test_translation(void **state) {
  (void)state;
  check_all(check_translation, 1);
}

/* --- operands ---------------------------------------------------------------------------------------------------------- */

/* The operands that the pricer knows of are those of the specification, wherever code can be reached. */
static void follow_operands(const struct module *m, uint32_t func) {
  struct gw_error err = {0};
  struct validator v = {.m = (struct module *)m, .err = &err};
  struct block_prices prices = {0};
  struct price_room room = {0};
  struct price_rates rates = schedule_rates(&engine->schedule);
  struct pricer p = {.m = m, .rates = &rates, .out = &prices, .room = &room};
  p.n_locals = m->types[m->funcs[func].type].func.n_params + m->funcs[func].n_locals;
  n_funcs++;
  begin(&p);
  walk_begin(&p.walk, m, func);
  begin_body(&v, func);
  while (walk_next(&p.walk)) {
    n_instructions++;
    step(&p);
    assert_true(check_instruction(&v));
    if (!p.walk.is_dead && !p.walk.next_is_dead && v.n_frames && height(&p) != v.n_stack)
      fail_msg("function %u, %s at 0x%x: %u operands, not %u", func, op_table[p.walk.in.op].text, (unsigned)p.walk.in.offset,
               height(&p), v.n_stack);
  }
  walk_end(&p.walk);
  price_room_clear(&room);
  prices_clear(&prices);
  validator_clear(&v);
}

static void check_operands(struct gw_module *module) {
  const struct module *m = gw_module_decoded(module);
  for (uint32_t i = m->n_imported_funcs; i < m->n_funcs; i++) follow_operands(m, i);
}

static void test_operands(void **state) {
  (void)state;
  check_all(check_operands, 1);
}

static int set_up(void **state) {
  (void)state;
  struct gw_error err = {0};
  engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .gas = true}, &err);
  return engine ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  gw_engine_destroy(engine);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_columns), cmocka_unit_test(test_validator),
                                     cmocka_unit_test(test_lowering), cmocka_unit_test(test_translation),
                                     cmocka_unit_test(test_operands)};
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
