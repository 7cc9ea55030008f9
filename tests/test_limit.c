/* Every row of frontend/limit.def: a module that reaches the limit is taken, one that goes beyond it by one is refused as too
 * large, in the row's words. Modules are written byte by byte. The runtime's limits follow below. */
#include "frontend/limit.h"
#include "frontend/module.h"
#include "gasworks.h"
#include "runtime/object.h"
#include "tests/wasm_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- writing modules ---------------------------------------------------------------------------------------------- */

static void put(struct buffer *b, const char *bytes, size_t size) { buffer_append(b, bytes, size); }
#define PUT(b, literal) put(b, literal, sizeof(literal) - 1)

static void put_times(struct buffer *b, uint64_t n, const char *bytes, size_t size) {
  if (size == 1) {
    memset(buffer_reserve(b, n), *bytes, n);
    b->size += n;
    return;
  }
  for (uint64_t i = 0; i < n; i++) put(b, bytes, size);
}
#define TIMES(b, n, literal) put_times(b, n, literal, sizeof(literal) - 1)

static void put_section(struct buffer *b, char id, struct buffer *contents) {
  wasm_section(b, (uint8_t)id, contents);
  contents->size = 0;
}

/* A section that is a vector of n times `item`. */
static void put_vector(struct buffer *b, char id, uint64_t n, const char *item, size_t size) {
  struct buffer s = {0};
  wasm_leb(&s, n);
  put_times(&s, n, item, size);
  put_section(b, id, &s);
  buffer_clear(&s);
}
#define VECTOR(b, id, n, literal) put_vector(b, id, n, literal, sizeof(literal) - 1)

#define HEADER "\0asm\1\0\0\0"
#define TYPE_NONE "\1\4\1\x60\0\0" /* type 0: [] -> [] */

/* A code section of one function with this body. */
static void put_body(struct buffer *b, const struct buffer *body) {
  struct buffer s = {0};
  PUT(&s, "\1");
  wasm_sized(&s, body);
  put_section(b, 10, &s);
  buffer_clear(&s);
}

/* --- one builder per row ------------------------------------------------------------------------------------------ */

static void make_module_size(struct buffer *b, uint64_t n) { /* a custom section fills it */
  struct buffer s = {0};
  PUT(b, HEADER);
  PUT(&s, "\1x");
  TIMES(&s, n - 8 - 1 - 4 - 2, "\0"); /* the size of the section takes four bytes */
  put_section(b, 0, &s);
  assert_int_equal(b->size, n);
  buffer_clear(&s);
}

static void make_types(struct buffer *b, uint64_t n) {
  PUT(b, HEADER);
  VECTOR(b, 1, n, "\x60\0\0");
}

static void make_imports(struct buffer *b, uint64_t n) {
  PUT(b, HEADER TYPE_NONE);
  VECTOR(b, 2, n, "\0\0\0\0");
}

static void make_functions(struct buffer *b, uint64_t n) {
  PUT(b, HEADER TYPE_NONE);
  VECTOR(b, 3, n, "\0");
  VECTOR(b, 10, n, "\2\0\x0b");
}

static void make_tables(struct buffer *b, uint64_t n) {
  PUT(b, HEADER);
  VECTOR(b, 4, n, "\x70\0\0");
}

static void make_memories(struct buffer *b, uint64_t n) {
  PUT(b, HEADER);
  VECTOR(b, 5, n, "\0\0");
}

static void make_tags(struct buffer *b, uint64_t n) {
  PUT(b, HEADER TYPE_NONE);
  VECTOR(b, 13, n, "\0\0");
}

static void make_globals(struct buffer *b, uint64_t n) {
  PUT(b, HEADER);
  VECTOR(b, 6, n, "\x7f\0\x41\0\x0b");
}

static void make_exports(struct buffer *b, uint64_t n) { /* names of four digits in base 64 */
  struct buffer s = {0};
  PUT(b, HEADER "\5\3\1\0\0");
  wasm_leb(&s, n);
  for (uint64_t i = 0; i < n; i++) {
    char item[7] = {
        4, (char)(' ' + (i & 63)), (char)(' ' + (i >> 6 & 63)), (char)(' ' + (i >> 12 & 63)), (char)(' ' + (i >> 18)), 2, 0};
    put(&s, item, 7);
  }
  put_section(b, 7, &s);
  buffer_clear(&s);
}

static void make_elem_segments(struct buffer *b, uint64_t n) {
  PUT(b, HEADER);
  VECTOR(b, 9, n, "\1\0\0");
}

static void make_elem_entries(struct buffer *b, uint64_t n) { /* in two segments */
  struct buffer s = {0};
  PUT(b, HEADER TYPE_NONE "\3\2\1\0");
  PUT(&s, "\2");
  for (int part = 0; part < 2; part++) {
    uint64_t here = part ? n - n / 2 : n / 2;
    PUT(&s, "\1\0");
    wasm_leb(&s, here);
    TIMES(&s, here, "\0");
  }
  put_section(b, 9, &s);
  PUT(b, "\x0a\4\1\2\0\x0b");
  buffer_clear(&s);
}

static void make_data_segments(struct buffer *b, uint64_t n) {
  PUT(b, HEADER);
  VECTOR(b, 11, n, "\1\0");
}

static void make_params(struct buffer *b, uint64_t n) {
  struct buffer s = {0};
  PUT(b, HEADER);
  PUT(&s, "\1\x60");
  wasm_leb(&s, n);
  TIMES(&s, n, "\x7f");
  PUT(&s, "\0");
  put_section(b, 1, &s);
  buffer_clear(&s);
}

static void make_results(struct buffer *b, uint64_t n) {
  struct buffer s = {0};
  PUT(b, HEADER);
  PUT(&s, "\1\x60\0");
  wasm_leb(&s, n);
  TIMES(&s, n, "\x7f");
  put_section(b, 1, &s);
  buffer_clear(&s);
}

static void make_fields(struct buffer *b, uint64_t n) {
  struct buffer s = {0};
  PUT(b, HEADER);
  PUT(&s, "\1\x5f");
  wasm_leb(&s, n);
  TIMES(&s, n, "\x7f\0");
  put_section(b, 1, &s);
  buffer_clear(&s);
}

static void make_body_size(struct buffer *b, uint64_t n) {
  struct buffer body = {0};
  PUT(b, HEADER TYPE_NONE "\3\2\1\0");
  PUT(&body, "\0");
  TIMES(&body, n - 2, "\1");
  PUT(&body, "\x0b");
  put_body(b, &body);
  buffer_clear(&body);
}

static void make_locals(struct buffer *b, uint64_t n) { /* in two runs */
  struct buffer body = {0};
  PUT(b, HEADER TYPE_NONE "\3\2\1\0");
  PUT(&body, "\2");
  wasm_leb(&body, n / 2);
  PUT(&body, "\x7f");
  wasm_leb(&body, n - n / 2);
  PUT(&body, "\x7e\x0b");
  put_body(b, &body);
  buffer_clear(&body);
}

static void make_br_table(struct buffer *b, uint64_t n) {
  struct buffer body = {0};
  PUT(b, HEADER TYPE_NONE "\3\2\1\0");
  PUT(&body, "\0\x41\0\x0e");
  wasm_leb(&body, n);
  TIMES(&body, n + 1, "\0"); /* and the default */
  PUT(&body, "\x0b");
  put_body(b, &body);
  buffer_clear(&body);
}

static void make_subtype_depth(struct buffer *b, uint64_t n) { /* a chain of n + 1 types */
  struct buffer s = {0};
  PUT(b, HEADER);
  wasm_leb(&s, n + 1);
  PUT(&s, "\x50\0\x60\0\0");
  for (uint64_t i = 0; i < n; i++) {
    PUT(&s, "\x50\1");
    wasm_leb(&s, i);
    PUT(&s, "\x60\0\0");
  }
  put_section(b, 1, &s);
  buffer_clear(&s);
}

static void make_catches(struct buffer *b, uint64_t n) {
  struct buffer body = {0};
  PUT(b, HEADER TYPE_NONE "\3\2\1\0");
  PUT(&body, "\0\x1f\x40");
  wasm_leb(&body, n);
  TIMES(&body, n, "\2\0");
  PUT(&body, "\x0b\x0b");
  put_body(b, &body);
  buffer_clear(&body);
}

static void make_nesting(struct buffer *b, uint64_t n) { /* the function's own block is one of them */
  struct buffer body = {0};
  PUT(b, HEADER TYPE_NONE "\3\2\1\0");
  PUT(&body, "\0");
  TIMES(&body, n - 1, "\2\x40");
  TIMES(&body, n, "\x0b");
  put_body(b, &body);
  buffer_clear(&body);
}

/* A block moves its results twice: off the stack at its end and onto it behind. They are 1000, or one to fill up. */
static void make_type_moves(struct buffer *b, uint64_t n) {
  struct buffer s = {0}, body = {0};
  PUT(b, HEADER);
  PUT(&s, "\3\x60\0\0\x60\0\xe8\7");
  TIMES(&s, 1000, "\x7f");
  PUT(&s, "\x60\0\1\x7f");
  put_section(b, 1, &s);
  PUT(b, "\3\2\1\0");
  PUT(&body, "\0");
  TIMES(&body, n / 2000, "\2\1\0\x0b\0"); /* block unreachable end unreachable */
  TIMES(&body, n % 2000 / 2, "\2\x7f\0\x0b\0");
  if (n % 2) PUT(&body, "\2\x7f\0\x0b\0"); /* two at a time: one too many is two too many */
  PUT(&body, "\x0b");
  put_body(b, &body);
  buffer_clear(&s);
  buffer_clear(&body);
}

static const struct row {
  void (*make)(struct buffer *b, uint64_t n);
  bool is_refused; /* the feature is off: at the limit it is refused by its name instead */
} rows[LIMIT_COUNT] = {
    [LIMIT_MODULE_SIZE] = {make_module_size, false},
    [LIMIT_TYPES] = {make_types, false},
    [LIMIT_IMPORTS] = {make_imports, false},
    [LIMIT_FUNCTIONS] = {make_functions, false},
    [LIMIT_TABLES] = {make_tables, false},
    [LIMIT_MEMORIES] = {make_memories, false},
    [LIMIT_TAGS] = {make_tags, false},
    [LIMIT_GLOBALS] = {make_globals, false},
    [LIMIT_EXPORTS] = {make_exports, false},
    [LIMIT_ELEM_SEGMENTS] = {make_elem_segments, false},
    [LIMIT_ELEM_ENTRIES] = {make_elem_entries, false},
    [LIMIT_DATA_SEGMENTS] = {make_data_segments, false},
    [LIMIT_PARAMS] = {make_params, false},
    [LIMIT_RESULTS] = {make_results, false},
    [LIMIT_FIELDS] = {make_fields, true},
    [LIMIT_BODY_SIZE] = {make_body_size, false},
    [LIMIT_LOCALS] = {make_locals, false},
    [LIMIT_BR_TABLE] = {make_br_table, false},
    [LIMIT_SUBTYPE_DEPTH] = {make_subtype_depth, false},
    [LIMIT_CATCHES] = {make_catches, false},
    [LIMIT_NESTING] = {make_nesting, false},
    [LIMIT_TYPE_MOVES] = {make_type_moves, false},
};

static enum gw_error_code judge(const struct row *row, uint64_t n, struct gw_error *err) {
  struct buffer b = {0};
  struct module m;
  *err = (struct gw_error){0};
  row->make(&b, n);
  if (module_decode(&m, b.bytes, b.size, err)) module_validate(&m, err);
  module_clear(&m);
  buffer_clear(&b);
  return err->code;
}

static void test_modules(void **state) {
  (void)state;
  for (int i = 0; i < LIMIT_COUNT; i++) {
    const struct limit_info *limit = &limit_table[i];
    struct gw_error err;
    if (!rows[i].make) fail_msg("no test of the limit of %s", limit->words);
    enum gw_error_code at = judge(&rows[i], limit->value, &err);
    bool is_taken = at == GW_ERROR_NONE || at == (rows[i].is_refused ? GW_ERROR_UNSUPPORTED : GW_ERROR_NONE);
    if (!is_taken) fail_msg("%u %s: %s", limit->value, limit->words, err.message);
    char words[96];
    snprintf(words, sizeof words, "too many %s", limit->words);
    enum gw_error_code above = judge(&rows[i], (uint64_t)limit->value + 1, &err);
    if (above != GW_ERROR_LIMIT || strncmp(err.message, words, strlen(words)))
      fail_msg("one more than %u %s: \"%s\"", limit->value, limit->words, err.message);
  }
}

/* docs/limits.md has a row for each. */
static void test_page(void **state) {
  (void)state;
  struct buffer page = {0};
  struct gw_error err = {0};
  assert_true(buffer_read_file(&page, SOURCE_DIR "/docs/limits.md", 1 << 20, &err));
  buffer_append(&page, "", 1);
  for (int i = 0; i < LIMIT_COUNT; i++) {
    uint32_t n = limit_table[i].value;
    char number[32], row[160];
    if (n >= 1000000)
      snprintf(number, sizeof number, "%u,%03u,%03u", n / 1000000, n / 1000 % 1000, n % 1000);
    else if (n >= 1000)
      snprintf(number, sizeof number, "%u,%03u", n / 1000, n % 1000);
    else
      snprintf(number, sizeof number, "%u", n);
    snprintf(row, sizeof row, "\n| %s | %s |", number, limit_table[i].words);
    if (!strstr((const char *)page.bytes, row)) fail_msg("docs/limits.md has no row \"%s\"", row + 1);
  }
  buffer_clear(&page);
}

/* --- the runtime's limits ------------------------------------------------------------------------------------------ */

static struct gw_engine *engine;

static struct gw_store *open_store(const struct gw_store_options *options) {
  struct gw_error err = {0};
  struct gw_store *store = gw_store_create(engine, options, &err);
  assert_non_null(store);
  return store;
}

static void expect_limit(bool is_made, const struct gw_error *err, const char *words) {
  assert_false(is_made);
  assert_int_equal(err->code, GW_ERROR_LIMIT);
  if (strncmp(err->message, words, strlen(words))) fail_msg("%s", err->message);
}

static void test_memory_limit(void **state) {
  (void)state;
  struct gw_error err = {0};
  struct gw_store *store = open_store(&(struct gw_store_options){.max_memory_bytes = 3 << 16});
  assert_non_null(gw_memory_create(store, 3, UINT64_MAX, &err));
  expect_limit(gw_memory_create(store, 4, UINT64_MAX, &err), &err, "the memory starts with 4 pages, the limit is 3");
  gw_store_destroy(store);
  store = open_store(NULL);
  err = (struct gw_error){0};
  assert_non_null(gw_memory_create(store, 65536, UINT64_MAX, &err));
  expect_limit(gw_memory_create(store, 65537, UINT64_MAX, &err), &err, "the memory starts with 65537 pages, the limit is 65536");
  gw_store_destroy(store);
}

static void test_table_limit(void **state) {
  (void)state;
  struct gw_error err = {0};
  struct gw_store *store = open_store(&(struct gw_store_options){.max_table_entries = 1000});
  assert_non_null(gw_table_create(store, "funcref", 1000, UINT64_MAX, &err));
  expect_limit(gw_table_create(store, "funcref", 1001, UINT64_MAX, &err), &err,
               "the table starts with 1001 entries, the limit is 1000");
  gw_store_destroy(store);
  store = open_store(NULL);
  err = (struct gw_error){0};
  assert_non_null(gw_table_create(store, "i64 funcref", 10000000, UINT64_MAX, &err));
  expect_limit(gw_table_create(store, "i64 funcref", 10000001, UINT64_MAX, &err), &err,
               "the table starts with 10000001 entries, the limit is 10000000");
  gw_store_destroy(store);
}

/* A module may have many tables, which are filled before any gas is asked for: the limit is one for all of them. */
static void test_tables_together(void **state) {
  (void)state;
  struct gw_error err = {0};
  struct gw_store *store = open_store(&(struct gw_store_options){.max_table_entries = 1000});
  assert_non_null(gw_table_create(store, "funcref", 600, UINT64_MAX, &err));
  expect_limit(gw_table_create(store, "funcref", 401, UINT64_MAX, &err), &err,
               "tables start with more than 1000 entries together, which is the limit");
  err = (struct gw_error){0};
  struct gw_table *table = gw_table_create(store, "funcref", 399, UINT64_MAX, &err);
  assert_non_null(table);
  assert_true(table_can_grow(table, 1));
  assert_false(table_can_grow(table, 2));
  assert_false(table_can_grow(table, UINT64_MAX));
  gw_store_destroy(store);
  /* 50 tables of 10,000,000 entries, each of them function 0 */
  struct buffer b = {0}, tables = {0};
  PUT(&b, HEADER "\1\4\1\x60\0\0\3\2\1\0");
  PUT(&tables, "\x32");
  TIMES(&tables, 50, "\x40\0\x70\0\x80\xad\xe2\4\xd2\0\x0b");
  wasm_section(&b, 4, &tables);
  PUT(&b, "\x0a\4\1\2\0\x0b");
  struct gw_module *module = gw_module_create(engine, b.bytes, b.size, &err);
  if (!module) fail_msg("%s", err.message);
  store = open_store(NULL);
  expect_limit(gw_instance_create(store, module, NULL, NULL, &err), &err, "tables start with more than 10000000 entries");
  gw_store_destroy(store);
  gw_module_release(module);
  buffer_clear(&tables);
  buffer_clear(&b);
}

/* One limit for what memories and tables take together, to the byte: at the start and when either grows. */
static void test_held_together(void **state) {
  (void)state;
  enum { PAGE = 65536, ENTRY = sizeof(void *) };
  struct gw_error err = {0};
  struct gw_store *store = open_store(&(struct gw_store_options){.max_memory_bytes = 4 * PAGE + 10 * ENTRY});
  struct gw_memory *first = gw_memory_create(store, 1, UINT64_MAX, &err), *second = gw_memory_create(store, 2, UINT64_MAX, &err);
  struct gw_table *table = gw_table_create(store, "externref", 10, UINT64_MAX, &err);
  assert_true(first && second && table);
  expect_limit(gw_memory_create(store, 2, UINT64_MAX, &err), &err,
               "memories and tables start with more than 262224 bytes together, which is the limit");
  err = (struct gw_error){0};
  expect_limit(gw_table_create(store, "externref", PAGE / ENTRY + 1, UINT64_MAX, &err), &err,
               "memories and tables start with more than 262224 bytes together, which is the limit");
  assert_true(table_can_grow(table, PAGE / ENTRY));
  assert_false(table_can_grow(table, PAGE / ENTRY + 1));
  assert_false(memory_can_grow(first, 2));
  assert_true(memory_can_grow(second, 1) && memory_grow(second, 1));
  assert_false(memory_can_grow(first, 1));
  assert_false(table_can_grow(table, 1));
  gw_store_destroy(store);
  store = open_store(NULL); /* on by default */
  err = (struct gw_error){0};
  for (int i = 0; i < 16; i++) assert_non_null(gw_memory_create(store, 65536, UINT64_MAX, &err));
  expect_limit(gw_memory_create(store, 1, UINT64_MAX, &err), &err, "memories and tables start with more than 68719476736 bytes");
  gw_store_destroy(store);
}

/* What tables take is counted, whatever becomes of them. */
static void test_tables_are_counted(void **state) {
  (void)state;
  /* (table 100 externref) (func (export "g") (param i32) (result i32) (table.grow 0 (ref.null extern) (local.get 0))) */
  static const char bytes[] = HEADER "\1\6\1\x60\1\x7f\1\x7f\3\2\1\0\4\5\1\x6f\0\xe4\0\7\5\1\1g\0\0"
                                     "\x0a\x0b\1\x09\0\xd0\x6f\x20\0\xfc\x0f\0\x0b";
  struct gw_error err = {0};
  uint64_t before = gw_engine_memory_bytes(engine);
  struct gw_module *module = gw_module_create(engine, bytes, sizeof bytes - 1, &err);
  if (!module) fail_msg("%s", err.message);
  struct gw_store *store = open_store(NULL);
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
  if (!instance) fail_msg("%s", err.message);
  for (int round = 0; round < 3; round++) {
    assert_int_equal(gw_engine_memory_bytes(engine) - before, 100 * sizeof(void *));
    union gw_value value = {.i32 = 9900};
    assert_true(gw_call_export(instance, "g", &value, 1, &err));
    assert_int_equal(value.i32, 100);
    assert_int_equal(gw_engine_memory_bytes(engine) - before, 10000 * sizeof(void *));
    assert_true(gw_instance_reset(instance, &err));
    if (round) assert_true(gw_instance_keep(instance, &err)); /* only what was written is there twice */
  }
  gw_store_destroy(store);
  assert_int_equal(gw_engine_memory_bytes(engine), before);
  gw_module_release(module);
}

/* A global is 5 bytes of a module, and many times that in every instance. */
static void test_instances_are_counted(void **state) {
  (void)state;
  enum { GLOBALS = 1000000 };
  struct gw_error err = {0};
  struct buffer b = {0}, globals = {0};
  PUT(&b, HEADER);
  wasm_leb(&globals, GLOBALS);
  TIMES(&globals, GLOBALS, "\x7f\0\x41\0\x0b");
  wasm_section(&b, 6, &globals);
  struct gw_module *module = gw_module_create(engine, b.bytes, b.size, &err);
  if (!module) fail_msg("%s", err.message);
  uint64_t before = gw_engine_memory_bytes(engine);
  struct gw_store *store = open_store(&(struct gw_store_options){.tier = GW_TIER_PRECISE});
  assert_non_null(gw_instance_create(store, module, NULL, NULL, &err));
  assert_in_range(gw_engine_memory_bytes(engine) - before, GLOBALS * 64, GLOBALS * 200);
  gw_store_destroy(store);
  assert_int_equal(gw_engine_memory_bytes(engine), before);
  gw_module_release(module);
  buffer_clear(&globals);
  buffer_clear(&b);
}

/* The logical stack: n + 1 frames of a function that calls itself n times. */
static void test_depth_limit(void **state) {
  (void)state;
  enum { CALLS = 100 };
  static const char bytes[] = HEADER "\1\6\1\x60\1\x7f\1\x7f\3\2\1\0\7\5\1\1r\0\0\x0a\x14\1\x12\0"
                                     "\x20\0\x45\x04\x40\x41\7\x0f\x0b\x20\0\x41\1\x6b\x10\0\x0b";
  struct gw_error err = {0};
  struct gw_module *module = gw_module_create(engine, bytes, sizeof bytes - 1, &err);
  if (!module) fail_msg("%s", err.message);
  uint32_t cost = func_frame_cost(gw_module_decoded(module), 0);
  struct gw_store *store = open_store(&(struct gw_store_options){.max_depth = cost * (CALLS + 1)});
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
  gw_module_release(module);
  if (!instance) fail_msg("%s", err.message);
  union gw_value value = {.i32 = CALLS};
  if (!gw_call_export(instance, "r", &value, 1, &err)) fail_msg("%s", err.message);
  assert_int_equal(value.i32, 7);
  value.i32 = CALLS + 1;
  assert_false(gw_call_export(instance, "r", &value, 1, &err));
  assert_int_equal(err.trap, GW_TRAP_STACK_OVERFLOW);
  gw_store_destroy(store);
}

/* One body of 300,000 instructions without a branch, at -O2: LLVM would take more than a minute to optimise it, so it must not
 * try. */
static void test_straight_code(void **state) {
  (void)state;
  enum { ROUNDS = 25000, INSTRUCTIONS = 12 };
  struct gw_error err = {0};
  struct buffer b = {0}, body = {0};
  PUT(&b, HEADER "\1\6\1\x60\1\x7f\1\x7f\3\2\1\0\7\5\1\1f\0\0");
  PUT(&body, "\1\1\x7f");
  TIMES(&body, ROUNDS, "\x20\1\x20\0\x6a\x21\1\x20\0\x20\1\x73\x21\0\x20\1\x41\x0d\x6c\x21\1"); /* b += a, a ^= b, b *= 13 */
  PUT(&body, "\x20\1\x0b");
  put_body(&b, &body);
  buffer_clear(&body);
  struct gw_engine *optimizing =
      gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = 2, .gas = true}, &err);
  if (!optimizing) fail_msg("%s", err.message);
  struct gw_module *module = gw_module_create(optimizing, b.bytes, b.size, &err);
  if (!module) fail_msg("%s", err.message);
  buffer_clear(&b);
  char *ir = gw_module_dump(module, GW_DUMP_IR_FRESH, NULL, &err);
  if (!ir) fail_msg("%s", err.message);
  assert_non_null(strstr(ir, "optnone"));
  free(ir);
  struct gw_store *store = gw_store_create(optimizing, NULL, &err);
  if (!store) fail_msg("%s", err.message);
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
  if (!instance) fail_msg("%s", err.message);
  uint32_t x = 4, y = 0;
  for (uint32_t i = 0; i < ROUNDS; i++) {
    y += x;
    x ^= y;
    y *= 13;
  }
  union gw_value value = {.i32 = 4};
  if (!gw_call_export(instance, "f", &value, 1, &err)) fail_msg("%s", err.message);
  assert_int_equal((uint32_t)value.i32, y);
  assert_in_range(gw_store_gas_used(store), ROUNDS * 3, ROUNDS * INSTRUCTIONS * 5);
  gw_store_destroy(store);
  gw_module_release(module);
  gw_engine_destroy(optimizing);
}

static int setup(void **state) {
  (void)state;
  struct gw_error err = {0};
  engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = 0, .gas = true}, &err);
  return engine ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  gw_engine_destroy(engine);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_modules),
      cmocka_unit_test(test_page),
      cmocka_unit_test(test_memory_limit),
      cmocka_unit_test(test_table_limit),
      cmocka_unit_test(test_tables_together),
      cmocka_unit_test(test_held_together),
      cmocka_unit_test(test_tables_are_counted),
      cmocka_unit_test(test_instances_are_counted),
      cmocka_unit_test(test_depth_limit),
      cmocka_unit_test(test_straight_code),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
