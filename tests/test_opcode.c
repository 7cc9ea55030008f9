/* The columns of opcode.def: order, encodings, signatures, and the names against those that wabt knows. */
#include "base/buffer.h"
#include "frontend/instruction.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void test_order(void **state) {
  (void)state;
  for (int i = 1; i < OP_COUNT; i++) {
    const struct op_info *a = &op_table[i - 1], *b = &op_table[i];
    if (a->prefix > b->prefix || (a->prefix == b->prefix && a->code >= b->code))
      fail_msg("%s stands before %s, but its encoding is not smaller", a->text, b->text);
  }
}

static void test_find(void **state) {
  (void)state;
  static const uint8_t prefixes[] = {0, 0xfb, 0xfc, 0xfd, 0xfe};
  int n_found = 0;
  for (int i = 0; i < OP_COUNT; i++) assert_int_equal(op_find(op_table[i].prefix, op_table[i].code), i);
  for (size_t p = 0; p < sizeof prefixes; p++)
    for (uint32_t code = 0; code < 0x10000; code++) n_found += op_find(prefixes[p], code) != OP_COUNT;
  assert_int_equal(n_found, OP_COUNT);
  assert_int_equal(op_find(0, 0xff), OP_COUNT);
  assert_int_equal(op_find(0xfa, 0), OP_COUNT);
  assert_int_equal(op_find(0xfd, UINT32_MAX), OP_COUNT);
}

static void test_signatures(void **state) {
  (void)state;
  for (int i = 0; i < OP_COUNT; i++) {
    const char *s = op_table[i].signature;
    if (!strcmp(s, "SPECIAL") || !strcmp(s, "___")) continue;
    size_t n_results = strcspn(s, "_"), n_operands = strlen(s) - n_results - 1;
    if (s[n_results] != '_' || n_results > 2 || n_operands > 4 || strspn(s, "iIfFv_") != strlen(s) ||
        strchr(s + n_results + 1, '_'))
      fail_msg("%s: signature %s", op_table[i].text, s);
    /* What a name says about its result or operand must agree with the signature. */
    static const struct {
      const char *start;
      char letter;
    } prefixes[] = {{"i32.", 'i'}, {"i64.", 'I'}, {"f32.", 'f'}, {"f64.", 'F'}};
    for (int k = 0; k < 4; k++)
      if (!strncmp(op_table[i].text, prefixes[k].start, 4) && !strchr(s, prefixes[k].letter))
        fail_msg("%s: signature %s", op_table[i].text, s);
  }
}

/* Access widths that the names tell: i64.load32_u reads four bytes. */
static void test_access_widths(void **state) {
  (void)state;
  for (int i = 0; i < OP_COUNT; i++) {
    const struct op_info *op = &op_table[i];
    if (op->immediate < IMM_MEM1 || op->immediate > IMM_MEM8 || op->prefix == 0xfd || strstr(op->text, "memory.atomic")) continue;
    const char *verb = strstr(op->text, "load")    ? strstr(op->text, "load") + 4
                       : strstr(op->text, "store") ? strstr(op->text, "store") + 5
                                                   : strstr(op->text, "rmw") + 3;
    int bits = atoi(verb);
    if (!bits) bits = atoi(op->text + 1);
    if (8 << (op->immediate - IMM_MEM1) != bits) fail_msg("%s: wrong width", op->text);
  }
}

/* --- immediates --------------------------------------------------------------------------------------------------- */

/* A smallest immediate of each kind. */
static const struct {
  uint8_t n, bytes[18];
} samples[] = {
    [IMM_NONE] = {0, {0}},
    [IMM_BLOCK] = {1, {0x40}},
    [IMM_LABEL] = {1, {0}},
    [IMM_BR_TABLE] = {2, {0, 0}},
    [IMM_FUNC] = {1, {0}},
    [IMM_CALL_INDIRECT] = {2, {0, 0}},
    [IMM_TYPE] = {1, {0}},
    [IMM_TAG] = {1, {0}},
    [IMM_TRY_TABLE] = {2, {0x40, 0}},
    [IMM_SELECT_T] = {2, {1, 0x7f}},
    [IMM_LOCAL] = {1, {0}},
    [IMM_GLOBAL] = {1, {0}},
    [IMM_TABLE] = {1, {0}},
    [IMM_TABLE_INIT] = {2, {0, 0}},
    [IMM_TABLE_COPY] = {2, {0, 0}},
    [IMM_ELEM] = {1, {0}},
    [IMM_MEMORY] = {1, {0}},
    [IMM_MEMORY_INIT] = {2, {0, 0}},
    [IMM_MEMORY_COPY] = {2, {0, 0}},
    [IMM_DATA] = {1, {0}},
    [IMM_I32] = {1, {0}},
    [IMM_I64] = {1, {0}},
    [IMM_F32] = {4, {0}},
    [IMM_F64] = {8, {0}},
    [IMM_V128] = {16, {0}},
    [IMM_SHUFFLE] = {16, {0}},
    [IMM_HEAP_TYPE] = {1, {0x70}},
    [IMM_BR_ON_CAST] = {4, {0, 0, 0x6e, 0x6d}},
    [IMM_TYPE_FIELD] = {2, {0, 0}},
    [IMM_TYPE_COUNT] = {2, {0, 0}},
    [IMM_TYPE_DATA] = {2, {0, 0}},
    [IMM_TYPE_ELEM] = {2, {0, 0}},
    [IMM_TYPE_TYPE] = {2, {0, 0}},
    [IMM_ZERO_BYTE] = {1, {0}},
    [IMM_MEM1] = {2, {0, 0}},
    [IMM_MEM2] = {2, {1, 0}},
    [IMM_MEM4] = {2, {2, 0}},
    [IMM_MEM8] = {2, {3, 0}},
    [IMM_MEM16] = {2, {4, 0}},
    [IMM_LANE2] = {1, {0}},
    [IMM_LANE4] = {1, {0}},
    [IMM_LANE8] = {1, {0}},
    [IMM_LANE16] = {1, {0}},
    [IMM_MEM1_LANE16] = {3, {0, 0, 0}},
    [IMM_MEM2_LANE8] = {3, {1, 0, 0}},
    [IMM_MEM4_LANE4] = {3, {2, 0, 0}},
    [IMM_MEM8_LANE2] = {3, {3, 0, 0}},
};

static void put_byte(struct buffer *b, uint8_t byte) { buffer_append(b, &byte, 1); }

static void put_leb(struct buffer *b, uint32_t n) {
  for (; n >= 0x80; n >>= 7) put_byte(b, (uint8_t)(n | 0x80));
  put_byte(b, (uint8_t)n);
}

static void put_instruction(struct buffer *b, const struct op_info *op) {
  if (op->prefix) {
    put_byte(b, op->prefix);
    put_leb(b, op->code);
  } else {
    put_byte(b, (uint8_t)op->code);
  }
  buffer_append(b, samples[op->immediate].bytes, samples[op->immediate].n);
}

/* Every instruction is read to its last byte, and is malformed when any of its bytes is missing. */
static void test_read(void **state) {
  (void)state;
  for (int i = 0; i < OP_COUNT; i++) {
    struct buffer b = {0};
    put_instruction(&b, &op_table[i]);
    for (size_t n = 0; n <= b.size; n++) {
      struct gw_error err = {0};
      struct reader r;
      struct instruction in;
      reader_init(&r, b.bytes, b.bytes, b.bytes + n, &err);
      bool ok = instruction_read(&r, &in);
      if (ok != (n == b.size)) fail_msg("%s with %zu of %zu bytes: %s", op_table[i].text, n, b.size, err.message);
      if (!ok) continue;
      assert_int_equal(in.op, i);
      assert_ptr_equal(r.at, b.bytes + n);
    }
    buffer_clear(&b);
  }
}

static void test_values(void **state) {
  (void)state;
  static const struct {
    uint8_t bytes[12];
    int64_t value;
  } cases[] = {
      {{0x41, 0x7f}, -1},
      {{0x41, 0x80, 0x80, 0x80, 0x80, 0x78}, INT32_MIN},
      {{0x41, 0xff, 0xff, 0xff, 0xff, 0x07}, INT32_MAX},
      {{0x41, 0xc0, 0x00}, 64},
      {{0x42, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f}, INT64_MIN},
      {{0x42, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00}, INT64_MAX},
      {{0x42, 0x40}, -64},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct gw_error err = {0};
    struct reader r;
    struct instruction in;
    reader_init(&r, cases[i].bytes, cases[i].bytes, cases[i].bytes + sizeof cases[i].bytes, &err);
    assert_true(instruction_read(&r, &in));
    assert_int_equal(in.value.i64, cases[i].value);
  }
}

/* --- names -------------------------------------------------------------------------------------------------------- */

/* What wabt does not disassemble, or what needs a construct around it. */
static bool is_known_to_wabt(enum op op) {
  switch (op_table[op].feature) {
  case FEATURE_GC:
  case FEATURE_FUNCTION_REFERENCES:
  case FEATURE_WIDE_ARITHMETIC:
  case FEATURE_LEGACY_EH:
  case FEATURE_EXCEPTIONS: return false;
  default: break;
  }
  /* wabt 1.0.32 still has the names of the proposal's draft for these two. */
  if (op == OP_I16X8_RELAXED_DOT_I8X16_I7X16_S || op == OP_I32X4_RELAXED_DOT_I8X16_I7X16_ADD_S) return false;
  return op != OP_ELSE && op != OP_END && op != OP_REF_NULL;
}

/* A module with one function in which every known instruction stands once. */
static void write_module(const char *path) {
  static const uint8_t head[] = {0, 'a', 's', 'm', 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 5, 3, 1, 0, 0, 12, 1, 0};
  struct buffer body = {0}, file = {0};
  put_byte(&body, 0);
  for (int i = 0; i < OP_COUNT; i++) {
    if (!is_known_to_wabt(i)) continue;
    put_instruction(&body, &op_table[i]);
    if (op_table[i].immediate == IMM_BLOCK) put_byte(&body, 0x0b);
  }
  put_byte(&body, 0x0b);
  buffer_append(&file, head, sizeof head);
  struct buffer section = {0};
  put_leb(&section, 1);
  put_leb(&section, (uint32_t)body.size);
  buffer_append(&section, body.bytes, body.size);
  put_byte(&file, 10);
  put_leb(&file, (uint32_t)section.size);
  buffer_append(&file, section.bytes, section.size);
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(file.bytes, 1, file.size, f), file.size);
  fclose(f);
  buffer_clear(&body);
  buffer_clear(&section);
  buffer_clear(&file);
}

/* The next instruction's name in a disassembly, `end` left out; false at the end of the file. */
static bool next_name(FILE *f, char *name) {
  char line[512];
  while (fgets(line, sizeof line, f)) {
    const char *bar = strchr(line, '|');
    if (bar && sscanf(bar + 1, "%63s", name) == 1 && strcmp(name, "end")) return true;
  }
  return false;
}

static void test_names(void **state) {
  (void)state;
  if (system("wasm-objdump --version >/dev/null 2>&1")) {
    printf("SKIPPED: wasm-objdump is not installed\n");
    skip();
  }
  char path[] = "/tmp/gasworks-opcodes-XXXXXX", command[128], name[64];
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  close(fd);
  write_module(path);
  snprintf(command, sizeof command, "wasm-objdump -d %s 2>&1", path);
  FILE *f = popen(command, "r");
  assert_non_null(f);
  int n = 0;
  for (int i = 0; i < OP_COUNT; i++) {
    if (!is_known_to_wabt(i)) continue;
    if (!next_name(f, name)) strcpy(name, "nothing");
    if (strcmp(name, op_table[i].text))
      fail_msg("%s is %s to wabt; what wabt does not know goes into is_known_to_wabt", op_table[i].text, name);
    n++;
  }
  pclose(f);
  unlink(path);
  printf("%d of %d names compared\n", n, OP_COUNT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_order),         cmocka_unit_test(test_find), cmocka_unit_test(test_signatures),
      cmocka_unit_test(test_access_widths), cmocka_unit_test(test_read), cmocka_unit_test(test_values),
      cmocka_unit_test(test_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
