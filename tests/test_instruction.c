/* What an instruction computes and costs: a row each, in both tiers. The module follows from the row and the opcode table, byte
 * by byte, so an instruction that no assembler knows can stand here. For those without immediates, over i32 i64 f32 f64. */
#include "tests/wasm_bytes.h"

#include "frontend/opcode.h"
#include "gasworks.h"
#include "instrument/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_OPERANDS = 4, MAX_RESULTS = 2 };

/* Values as bits; those of f32 in the lower half. */
struct row {
  enum op op;
  uint64_t operands[MAX_OPERANDS], results[MAX_RESULTS];
};

static const struct row rows[] = {
    {OP_I32_ADD, {UINT32_MAX, 2}, {1}},
    {OP_I32_ROTL, {0x80000001, 33}, {3}},
    {OP_I64_EXTEND_I32_S, {0x80000000}, {0xffffffff80000000}},
    {OP_F64_DIV, {0x3ff0000000000000, 0}, {0x7ff0000000000000}},
    {OP_F32_COPYSIGN, {0x3f800000, 0x80000000}, {0xbf800000}},
    {OP_I32_TRUNC_SAT_F64_U, {0xbff0000000000000}, {0}},
    {OP_I64_ADD128, {UINT64_MAX, 1, 1, 2}, {0, 4}},
    {OP_I64_SUB128, {0, 4, 1, 2}, {UINT64_MAX, 1}},
    {OP_I64_MUL_WIDE_S, {UINT64_MAX, 2}, {UINT64_MAX - 1, UINT64_MAX}},
    {OP_I64_MUL_WIDE_U, {UINT64_MAX, 2}, {UINT64_MAX - 1, 1}},
};

static struct gw_engine *engine;

/* --- modules --------------------------------------------------------------------------------------------------------- */

static uint32_t value_type(char letter) { return letter == 'i' ? 0x7f : letter == 'I' ? 0x7e : letter == 'f' ? 0x7d : 0x7c; }

static void put_const(struct buffer *b, char letter, uint64_t bits) {
  wasm_byte(b, letter == 'i' ? 0x41 : letter == 'I' ? 0x42 : letter == 'f' ? 0x43 : 0x44);
  if (letter == 'i') wasm_signed_leb(b, (int32_t)bits);
  if (letter == 'I') wasm_signed_leb(b, (int64_t)bits);
  if (letter == 'f') buffer_append(b, &(uint32_t){(uint32_t)bits}, 4);
  if (letter == 'F') buffer_append(b, &bits, 8);
}

static void put_opcode(struct buffer *b, const struct op_info *op) {
  if (op->prefix) wasm_byte(b, op->prefix);
  wasm_leb(b, op->code);
}

static void put_section(struct buffer *file, uint32_t id, struct buffer *content) {
  wasm_section(file, id, content);
  content->size = 0;
}

/* One function "f" of the instruction's signature. The last `n_constant` operands are constants, not parameters. */
static void put_module(struct buffer *file, const struct row *row, size_t n_constant) {
  const struct op_info *op = &op_table[row->op];
  const char *operands = strchr(op->signature, '_') + 1;
  size_t n_operands = strlen(operands), n_results = (size_t)(operands - 1 - op->signature);
  struct buffer b = {0}, body = {0};
  buffer_append(file, "\0asm\1\0\0", 8);
  buffer_append(&b, "\1\x60", 2);
  wasm_leb(&b, n_operands);
  for (size_t i = 0; i < n_operands; i++) wasm_byte(&b, value_type(operands[i]));
  wasm_leb(&b, n_results);
  for (size_t i = 0; i < n_results; i++) wasm_byte(&b, value_type(op->signature[i]));
  put_section(file, 1, &b);
  buffer_append(&b, "\1\0", 2);
  put_section(file, 3, &b);
  buffer_append(&b, "\1\1f\0\0", 5);
  put_section(file, 7, &b);
  wasm_byte(&body, 0);
  for (size_t i = 0; i < n_operands; i++) {
    if (i + n_constant >= n_operands) {
      put_const(&body, operands[i], row->operands[i]);
    } else {
      wasm_byte(&body, 0x20);
      wasm_leb(&body, i);
    }
  }
  put_opcode(&body, op);
  wasm_byte(&body, 0x0b);
  wasm_byte(&b, 1);
  wasm_sized(&b, &body);
  put_section(file, 10, &b);
  buffer_clear(&b);
  buffer_clear(&body);
}

/* --- runs ------------------------------------------------------------------------------------------------------------ */

static void check_results(const struct row *row, const union gw_value *values, const char *where) {
  const struct op_info *op = &op_table[row->op];
  for (size_t i = 0; op->signature[i] != '_'; i++) {
    bool is_32 = strchr("if", op->signature[i]);
    uint64_t now = is_32 ? values[i].u32 : values[i].u64, expected = is_32 ? (uint32_t)row->results[i] : row->results[i];
    if (now != expected)
      fail_msg("%s, %s: result %zu is 0x%llx, not 0x%llx", op->text, where, i, (unsigned long long)now,
               (unsigned long long)expected);
  }
}

static void check_tier(const struct row *row, struct gw_module *module, enum gw_tier tier) {
  const struct op_info *op = &op_table[row->op];
  const char *where = tier == GW_TIER_PRECISE ? "precise tier" : "compiled";
  struct gw_error err = {0};
  union gw_value values[MAX_OPERANDS];
  for (size_t i = 0; i < MAX_OPERANDS; i++) values[i].u64 = row->operands[i];
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.tier = tier}, &err);
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
  if (!instance || !gw_call_export(instance, "f", values, strlen(strchr(op->signature, '_') + 1), &err))
    fail_msg("%s, %s: %s", op->text, where, err.message);
  check_results(row, values, where);
  if (gw_store_gas_used(store) != schedule_default()->gas[op->cost])
    fail_msg("%s, %s: %llu gas", op->text, where, (unsigned long long)gw_store_gas_used(store));
  gw_store_destroy(store);
}

static void check_row(const struct row *row) {
  for (size_t n_constant = 0; n_constant <= MAX_OPERANDS; n_constant++) {
    struct buffer file = {0};
    struct gw_error err = {0};
    put_module(&file, row, n_constant);
    struct gw_module *module = gw_module_create(engine, file.bytes, file.size, &err);
    if (!module) fail_msg("%s: %s", op_table[row->op].text, err.message);
    check_tier(row, module, GW_TIER_FAST);
    check_tier(row, module, GW_TIER_PRECISE);
    gw_module_release(module);
    buffer_clear(&file);
  }
}

static void test_rows(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check_row(&rows[i]);
}

int main(void) {
  struct gw_error err = {0};
  engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = 2, .gas = true, .verify = true}, &err);
  if (!engine) return 1;
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  gw_engine_destroy(engine);
  return failed;
}
