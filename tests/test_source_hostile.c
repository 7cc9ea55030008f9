/* Debug information made to keep its reader busy or to fill memory. A trap's report is made while other requests wait, so all of
 * it must be over soon. Each module is valid, and its debug information reads well but for the one thing that is too much. */
#include "runtime/debug/source.h"

#include "base/buffer.h"
#include "runtime/engine.h"

#include <dwarf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { M = 1 << 20, OFFSET = 30 /* of `unreachable` */ };

struct sections {
  struct buffer abbrev, info, line, ranges;
};

/* --- building ----------------------------------------------------------------------------------------------------------- */

static void put(struct buffer *b, uint8_t byte) { buffer_append(b, &byte, 1); }

static void put_n(struct buffer *b, uint8_t byte, size_t n) {
  memset(buffer_reserve(b, n), byte, n);
  b->size += n;
}

static void put_u32(struct buffer *b, uint32_t value) { buffer_append(b, &value, sizeof value); }

static void put_leb(struct buffer *b, uint32_t value) {
  for (; value >= 0x80; value >>= 7) put(b, (uint8_t)(value | 0x80));
  put(b, (uint8_t)value);
}

/* A declaration, to be followed by pairs of attribute and form, and two zeroes. */
static void declare(struct buffer *b, uint32_t code, uint32_t tag, bool has_children) {
  put_leb(b, code);
  put_leb(b, tag);
  put(b, has_children);
}

static void declare_plain(struct buffer *b, uint32_t code, uint32_t tag, bool has_children) {
  declare(b, code, tag, has_children);
  put_n(b, 0, 2);
}

/* Declaration 1: a unit with addresses and lines. */
static void declare_unit(struct buffer *b) {
  static const uint8_t attributes[] = {
      DW_AT_low_pc, DW_FORM_addr, DW_AT_high_pc, DW_FORM_data4, DW_AT_stmt_list, DW_FORM_sec_offset, 0, 0};
  declare(b, 1, DW_TAG_compile_unit, true);
  buffer_append(b, attributes, sizeof attributes);
}

/* Returns where its size goes. */
static size_t begin_header(struct buffer *b) {
  static const uint8_t rest[] = {4, 0, 0, 0, 0, 0, 4}; /* version, abbreviations, size of an address */
  size_t at = b->size;
  put_u32(b, 0);
  buffer_append(b, rest, sizeof rest);
  return at;
}

static void end_header(struct buffer *b, size_t at) {
  uint32_t size = (uint32_t)(b->size - at - 4);
  memcpy(b->bytes + at, &size, sizeof size);
}

static size_t begin_unit(struct buffer *b) {
  size_t at = begin_header(b);
  put(b, 1);
  put_u32(b, 1);
  put_u32(b, 100);
  put_u32(b, 0);
  return at;
}

static void end_unit(struct buffer *b, size_t at) {
  put(b, 0);
  end_header(b, at);
}

/* A line table of version 4 with one file; `n` more rows at the same address. */
static void put_lines(struct buffer *b, size_t n) {
  static const uint8_t header[] = {4, 0, 27, 0, 0, 0, 1, 1, 1,   0xfb, 14,  13, 0, 1, 1, 1, 1,
                                   0, 0, 0,  1, 0, 0, 1, 0, 'a', '.',  'c', 0,  0, 0, 0, 0};
  static const uint8_t begin[] = {0, 5, DW_LNE_set_address, 1, 0, 0, 0, DW_LNS_copy}, end[] = {DW_LNS_advance_pc, 100, 0, 1, 1};
  size_t at = b->size;
  put_u32(b, 0);
  buffer_append(b, header, sizeof header);
  buffer_append(b, begin, sizeof begin);
  put_n(b, DW_LNS_copy, n);
  buffer_append(b, end, sizeof end);
  end_header(b, at);
}

static void put_section(struct buffer *module, const char *name, const struct buffer *contents) {
  if (!contents->size) return;
  put(module, 0);
  put_leb(module, (uint32_t)(1 + strlen(name) + contents->size));
  put_leb(module, (uint32_t)strlen(name));
  buffer_append_string(module, name);
  buffer_append(module, contents->bytes, contents->size);
}

static struct buffer build_module(void (*build)(struct sections *)) {
  static const uint8_t code[] = {0, 'a', 's', 'm', 1, 0, 0,   0, 1, 4,  1, 0x60, 0, 0, 3, 2,
                                 1, 0,   7,   5,   1, 1, 'f', 0, 0, 10, 5, 1,    3, 0, 0, 0xb};
  struct sections s = {0};
  struct buffer out = {0};
  build(&s);
  if (!s.line.size) put_lines(&s.line, 0);
  buffer_append(&out, code, sizeof code);
  put_section(&out, ".debug_abbrev", &s.abbrev);
  put_section(&out, ".debug_info", &s.info);
  put_section(&out, ".debug_line", &s.line);
  put_section(&out, ".debug_ranges", &s.ranges);
  buffer_clear(&s.abbrev);
  buffer_clear(&s.info);
  buffer_clear(&s.line);
  buffer_clear(&s.ranges);
  return out;
}

/* --- what is too much --------------------------------------------------------------------------------------------------- */

static void build_nothing_odd(struct sections *s) {
  declare_unit(&s->abbrev);
  put(&s->abbrev, 0);
  end_unit(&s->info, begin_unit(&s->info));
}

/* Attributes without bytes, walked for each entry. */
static void build_attributes(struct sections *s) {
  declare_unit(&s->abbrev);
  declare(&s->abbrev, 2, DW_TAG_variable, false);
  for (int i = 0; i < M; i++) put(&s->abbrev, DW_AT_external), put(&s->abbrev, DW_FORM_flag_present);
  put_n(&s->abbrev, 0, 3);
  size_t unit = begin_unit(&s->info);
  put_n(&s->info, 2, 8 * M);
  end_unit(&s->info, unit);
}

/* As many of them as are allowed. */
static void build_allowed_attributes(struct sections *s) {
  declare_unit(&s->abbrev);
  declare_plain(&s->abbrev, 2, DW_TAG_namespace, true);
  declare(&s->abbrev, 3, DW_TAG_variable, false);
  for (int i = 0; i < 12; i++) put(&s->abbrev, DW_AT_external), put(&s->abbrev, DW_FORM_flag_present);
  put_n(&s->abbrev, 0, 2);
  declare_plain(&s->abbrev, 4, DW_TAG_variable, true);
  put(&s->abbrev, 0);
  size_t unit = begin_unit(&s->info);
  put_n(&s->info, 2, 150);
  put(&s->info, 4);
  put_n(&s->info, 3, 15 * M);
  put_n(&s->info, 0, 151);
  end_unit(&s->info, unit);
}

/* Every level of nesting is left by walking all that is in it. */
static void build_nest(struct sections *s) {
  declare_unit(&s->abbrev);
  declare_plain(&s->abbrev, 2, DW_TAG_namespace, true);
  declare_plain(&s->abbrev, 3, DW_TAG_variable, true);
  declare_plain(&s->abbrev, 4, DW_TAG_variable, false);
  put(&s->abbrev, 0);
  size_t unit = begin_unit(&s->info);
  put_n(&s->info, 2, 150);
  put(&s->info, 3);
  put_n(&s->info, 4, 15 * M);
  put_n(&s->info, 0, 151);
  end_unit(&s->info, unit);
}

/* Functions that all have the same long list of ranges, none of them right. */
static void put_long_ranges(struct buffer *b) {
  for (int i = 0; i < M; i++) put_u32(b, 0x1000000), put_u32(b, 0x1000001);
  put_n(b, 0, 8);
}

static void build_ranges(struct sections *s) {
  static const uint8_t attributes[] = {DW_AT_ranges, DW_FORM_sec_offset, 0, 0, 0};
  declare_unit(&s->abbrev);
  declare(&s->abbrev, 2, DW_TAG_subprogram, false);
  buffer_append(&s->abbrev, attributes, sizeof attributes);
  size_t unit = begin_unit(&s->info);
  for (int i = 0; i < 90000; i++) put(&s->info, 2), put_u32(&s->info, 0);
  end_unit(&s->info, unit);
  put_long_ranges(&s->ranges);
}

static void build_units(struct sections *s) {
  static const uint8_t attributes[] = {DW_AT_ranges, DW_FORM_sec_offset, 0, 0, 0};
  declare(&s->abbrev, 1, DW_TAG_compile_unit, false);
  buffer_append(&s->abbrev, attributes, sizeof attributes);
  for (int i = 0; i < 19000; i++) {
    size_t unit = begin_header(&s->info);
    put(&s->info, 1);
    put_u32(&s->info, 0);
    end_header(&s->info, unit);
  }
  put_long_ranges(&s->ranges);
}

/* More units than there may be: each would have a table of its own. */
static void build_tiny_units(struct sections *s) {
  declare_unit(&s->abbrev);
  put(&s->abbrev, 0);
  for (int i = 0; i < M; i++) end_header(&s->info, begin_header(&s->info));
}

/* More declarations than there may be, with codes far apart: libdw keeps them in a table with hashing. */
static void build_codes(struct sections *s) {
  declare_unit(&s->abbrev);
  for (uint32_t i = 1; i <= 200000; i++) declare_plain(&s->abbrev, 1 + i * 2053, DW_TAG_variable, false);
  put(&s->abbrev, 0);
  size_t unit = begin_unit(&s->info);
  for (uint32_t i = 0; i < 2 * M; i++) put_leb(&s->info, 1 + (200000 - i % 1000) * 2053);
  end_unit(&s->info, unit);
}

static void build_rows(struct sections *s) {
  build_nothing_odd(s);
  put_lines(&s->line, 15 * M);
}

/* As many as are allowed; and a number that is decoded in time. */
static void build_allowed_rows(struct sections *s) {
  build_nothing_odd(s);
  put_lines(&s->line, MAX_LINE_BYTES - 100);
}

static void build_many_rows(struct sections *s) {
  build_nothing_odd(s);
  put_lines(&s->line, MAX_LINE_BYTES / 8);
}

/* DWARF 5 says what a file's entry has: here, nothing that takes bytes. */
static void put_files_5(struct buffer *b, uint8_t n_formats) {
  static const uint8_t header[] = {5, 0, 4, 0, 0, 0, 0, 0, 1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1};
  size_t at = b->size;
  put_u32(b, 0);
  buffer_append(b, header, sizeof header);
  put(b, n_formats);
  for (int i = 0; i < n_formats; i++) put_leb(b, DW_LNCT_path), put_leb(b, DW_FORM_flag_present);
  put_leb(b, 0xffffffff);
  put_n(b, 0, 4000);
  end_header(b, at);
}

static void build_files(struct sections *s) {
  build_nothing_odd(s);
  put_files_5(&s->line, 0);
}

static void build_empty_files(struct sections *s) {
  build_nothing_odd(s);
  put_files_5(&s->line, 200);
}

/* Functions whose names lead to each other. */
static void build_origins(struct sections *s) {
  static const uint8_t attributes[] = {
      DW_AT_low_pc, DW_FORM_addr, DW_AT_high_pc, DW_FORM_data4, DW_AT_abstract_origin, DW_FORM_ref4, 0, 0, 0};
  enum { FIRST = 11 + 13 };
  declare_unit(&s->abbrev);
  declare(&s->abbrev, 2, DW_TAG_subprogram, true);
  buffer_append(&s->abbrev, attributes, sizeof attributes);
  size_t unit = begin_unit(&s->info);
  for (uint32_t i = 0; i < 100000; i++) {
    put(&s->info, 2);
    put_u32(&s->info, 1);
    put_u32(&s->info, 100);
    put_u32(&s->info, FIRST + 13 * ((i + 1) % 100000));
  }
  put_n(&s->info, 0, 100000);
  end_unit(&s->info, unit);
}

/* --- asking --------------------------------------------------------------------------------------------------------------- */

/* Of this process, whatever else the machine does. */
static double seconds_used(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* What a backtrace asks, and once more: by then it must be cheap. Exit code: how many places the first answer had. */
static void ask(void (*build)(struct sections *)) {
  enum { CALLS = 17, TIMES = 3 };
  struct gw_error err = {0};
  struct source_place places[8];
  struct buffer bytes = build_module(build);
  struct gw_engine *engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true}, &err);
  struct gw_module *module = engine ? gw_module_create(engine, bytes.bytes, bytes.size, &err) : NULL;
  if (!module) _exit(100);
  double start = seconds_used();
  size_t n = source_find(module, OFFSET, places, 8);
  for (int i = 1; i < TIMES * CALLS; i++) source_find(module, OFFSET, places, 8);
  double took = seconds_used() - start;
  gw_module_release(module);
  gw_engine_destroy(engine);
  printf("  %.3f s, %zu places, ", took, n);
  fflush(stdout);
  _exit(took > 10 ? 101 : (int)n); /* not a target: without limits most of these take minutes */
}

/* In a child, which can be stopped and whose memory can be counted. */
static int answer_of(const char *name, void (*build)(struct sections *)) {
  enum { SECONDS = 60, MOST_KIB = 600 << 10 };
  int status;
  struct rusage usage;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    alarm(SECONDS);
    ask(build);
  }
  assert_int_equal(wait4(child, &status, 0, &usage), child);
  printf("%ld MiB: %s\n", usage.ru_maxrss >> 10, name);
  if (!WIFEXITED(status)) fail_msg("%s: signal %d", name, WTERMSIG(status));
  if (WEXITSTATUS(status) >= 100) fail_msg("%s: %s", name, WEXITSTATUS(status) == 100 ? "no module" : "too slow");
  if (usage.ru_maxrss > MOST_KIB) fail_msg("%s: %ld KiB", name, usage.ru_maxrss);
  return WEXITSTATUS(status);
}

static void test_hostile(void **state) {
  (void)state;
#define CASE(name) answer_of(#name, build_##name)
  assert_int_equal(CASE(nothing_odd), 1); /* so the others are read, too */
  assert_int_equal(CASE(attributes), 0);
  CASE(allowed_attributes);
  CASE(nest);
  CASE(ranges);
  CASE(units);
  assert_int_equal(CASE(tiny_units), 0);
  assert_int_equal(CASE(codes), 0);
  assert_int_equal(CASE(rows), 0);
  CASE(files);
  CASE(empty_files);
  CASE(origins);
  CASE(allowed_rows);
  assert_int_equal(CASE(many_rows), 1);
#undef CASE
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_hostile)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
