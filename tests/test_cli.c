/* The command line: values, numbers, usage errors, and the manual page against the options that --help shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Parts of the program, not of the library. */
#include "cli/options.c"
#include "cli/values.c"

#include <sys/wait.h>
#include <unistd.h>

static void test_numbers(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint64_t unit, value;
    bool ok;
  } rows[] = {
      {"0", 1000, 0, true},
      {"42", 1000, 42, true},
      {"10G", 1000, 10000000000, true},
      {"1k", 1000, 1000, true},
      {"64K", 1024, 65536, true},
      {"2T", 1024, 1ull << 41, true},
      {"18446744073709551615", 1000, UINT64_MAX, true},
      {"18446744073709551616", 1000, 0, false},
      {"", 1000, 0, false},
      {"-1", 1000, 0, false},
      {"1kk", 1000, 0, false},
      {"x", 1000, 0, false},
      {"17000000T", 1024, 0, false},
      {" 1", 1000, 0, false},
      {"1b", 1000, 0, false},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    uint64_t value = 0;
    bool ok = cli_parse_number(rows[i].text, rows[i].unit, &value);
    if (ok != rows[i].ok) fail_msg("%s", rows[i].text);
    if (ok) assert_int_equal(value, rows[i].value);
  }
}

/* What is printed for what is given; NULL: refused. */
static void test_values(void **state) {
  (void)state;
  static const struct {
    val_type type;
    const char *text, *printed;
  } rows[] = {
      {VAL_I32, "0", "0"},
      {VAL_I32, "4294967295", "-1"},
      {VAL_I32, "-2147483648", "-2147483648"},
      {VAL_I32, "0xff", "255"},
      {VAL_I32, "+5", "5"},
      {VAL_I32, "4294967296", NULL},
      {VAL_I32, "-2147483649", NULL},
      {VAL_I32, "1.5", NULL},
      {VAL_I32, "", NULL},
      {VAL_I32, "--1", NULL},
      {VAL_I64, "18446744073709551615", "-1"},
      {VAL_I64, "-9223372036854775808", "-9223372036854775808"},
      {VAL_I64, "18446744073709551616", NULL},
      {VAL_F32, "0.1", "0.1"},
      {VAL_F32, "16777217", "16777216"}, /* rounds to even */
      {VAL_F64, "0.1", "0.1"},
      {VAL_F64, "1e400", "inf"},
      {VAL_F64, "-0", "-0"},
      {VAL_F64, "0x1.8p1", "3"},
      {VAL_F64, "nan", "nan"},
      {VAL_F64, "", NULL},
      {VAL_F64, "1x", NULL},
      {VAL_V128, "0x1", "0x00000000000000000000000000000001"},
      {VAL_V128, "0x00112233445566778899aAbBccDDeeff", "0x00112233445566778899aabbccddeeff"},
      {VAL_V128, "0x100112233445566778899aabbccddeeff", NULL},
      {VAL_V128, "1", NULL},
      {VAL_V128, "0x", NULL},
      {VAL_V128, "0x1g", NULL},
      {TYPE_EXTERNREF, "null", "null"},
      {TYPE_EXTERNREF, "1", NULL},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    union gw_value value;
    char printed[CLI_VALUE_SIZE];
    bool ok = cli_parse_value(rows[i].text, rows[i].type, &value);
    if (ok != (rows[i].printed != NULL)) fail_msg("%s", rows[i].text);
    if (!ok) continue;
    cli_print_value(value, rows[i].type, printed);
    assert_string_equal(printed, rows[i].printed);
  }
}

/* What the program prints on standard output and its exit code. Clear the buffer. */
static struct buffer run(const char *arguments, int *exit_code) {
  char command[512];
  struct buffer out = {0};
  snprintf(command, sizeof command, BUILD_DIR "/gasworks %s 2>/dev/null", arguments);
  FILE *pipe = popen(command, "r");
  assert_non_null(pipe);
  for (size_t n = 1; n > 0; out.size += n) n = fread(buffer_reserve(&out, 4096), 1, 4096, pipe);
  int status = pclose(pipe);
  *exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  buffer_append(&out, "", 1);
  return out;
}

static void test_exit_codes(void **state) {
  (void)state;
  static const struct {
    const char *arguments;
    int exit_code;
  } rows[] = {
      {"", 2},
      {"frobnicate", 2},
      {"help", 0},
      {"--help", 0},
      {"version", 0},
      {"run", 2},
      {"run --frob x", 2},
      {"run -O7 x", 2},
      {"run /nonexistent", 7},
      {"run --gas-limit", 2},
      {"run --tier slow x", 2},
      {"run --tier precise --profile x", 2},
      {"inspect a b", 2},
      {"deploy a", 2},
      {"deploy ../a b", 2},
      {"list -s http://127.0.0.1:1", 9},
      {"run - </dev/null", 3},
      {"serve --listen nowhere", 2},
      {"schedule --text", 0},
      {"schedule --schedule /nonexistent", 7},
      {"schedule --schedule /dev/null", 2},
      {"run --schedule /dev/null x", 2},
      {"inspect --schedule /dev/null x", 2},
      {"serve --schedule /dev/null", 2},
      {"receipts frobnicate", 2},
      {"receipts get", 2},
      {"verify 1", 2},
      {"verify --key x 1", 3},
      {"verify --key @/nonexistent 1", 7},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    int exit_code;
    struct buffer out = run(rows[i].arguments, &exit_code);
    if (exit_code != rows[i].exit_code) fail_msg("gasworks %s: exit code %d", rows[i].arguments, exit_code);
    buffer_clear(&out);
  }
}

/* Results of `run --invoke`, more of them than arguments, too. */
static void test_invoke(void **state) {
  (void)state;
  static const char text[] =
      "(module (func (export \"none\") (result i32 i64) (i32.const -1) (i64.const 5))"
      "  (func (export \"twice\") (param v128) (result v128 v128) (local.get 0) (i64x2.neg (local.get 0))))";
  FILE *f = fopen("/tmp/gasworks-test-cli.wat", "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
  assert_int_equal(system("wat2wasm /tmp/gasworks-test-cli.wat -o /tmp/gasworks-test-cli.wasm"), 0);
  assert_int_equal(system(BUILD_DIR "/gasworks inspect --asm --cpu znver4 /tmp/gasworks-test-cli.wasm >/dev/null"), 0);
  assert_int_equal(
      system(BUILD_DIR "/gasworks inspect --asm --cpu i386 /tmp/gasworks-test-cli.wasm 2>&1 | grep -q 'knows no CPU'"), 0);
  static const struct {
    const char *arguments, *printed;
  } rows[] = {
      {"run --invoke none /tmp/gasworks-test-cli.wasm", "-1\n5\n"},
      {"run --tier precise --invoke none /tmp/gasworks-test-cli.wasm", "-1\n5\n"},
      {"run --invoke twice /tmp/gasworks-test-cli.wasm 0x10000000000000002",
       "0x00000000000000010000000000000002\n0xfffffffffffffffffffffffffffffffe\n"},
      {"run --json --invoke twice /tmp/gasworks-test-cli.wasm 0x0",
       "[\"0x00000000000000000000000000000000\", \"0x00000000000000000000000000000000\"]\n"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    int exit_code;
    struct buffer out = run(rows[i].arguments, &exit_code);
    buffer_append(&out, "", 1);
    assert_int_equal(exit_code, 0);
    assert_string_equal((const char *)out.bytes, rows[i].printed);
    buffer_clear(&out);
  }
  unlink("/tmp/gasworks-test-cli.wat");
  unlink("/tmp/gasworks-test-cli.wasm");
}

/* The long option of the next line of --help's option list ("  -O, --optimize 0..3  ..."); 0 behind the last one. */
static size_t next_option(const char **at, char *name, size_t size) {
  const char *option = strstr(*at, "--"), *end = strchr(*at, '\n');
  if (!end || !option || option > end) return 0;
  *at = end + 1;
  size_t n = strspn(option, "abcdefghijklmnopqrstuvwxyz-");
  snprintf(name, size, "%.*s", (int)n, option);
  return n;
}

/* The part of the manual page about one verb, with plain hyphens. Clear it. */
static struct buffer manual_section(const char *verb) {
  char heading[32];
  struct buffer page = {0}, section = {0};
  struct gw_error err = {0};
  assert_true(buffer_read_file(&page, SOURCE_DIR "/docs/gasworks.1", 1 << 20, &err));
  buffer_append(&page, "", 1);
  snprintf(heading, sizeof heading, "\n.SS %s\n", verb);
  const char *begin = strstr((const char *)page.bytes, heading);
  if (!begin) fail_msg("docs/gasworks.1 does not describe %s", verb);
  const char *end = strstr(begin + 1, "\n.S");
  for (const char *c = begin; c < end; c++)
    if (*c != '\\') buffer_append(&section, c, 1);
  buffer_append(&section, "", 1);
  buffer_clear(&page);
  return section;
}

static size_t count(const char *text, const char *what) {
  size_t n = 0;
  while ((text = strstr(text, what))) n++, text++;
  return n;
}

/* The page's synopsis names the verb. */
static void check_synopsis(const char *verb) {
  char line[64];
  struct buffer page = {0};
  struct gw_error err = {0};
  assert_true(buffer_read_file(&page, SOURCE_DIR "/docs/gasworks.1", 1 << 20, &err));
  buffer_append(&page, "", 1);
  snprintf(line, sizeof line, "\n.B gasworks %s\n", verb);
  if (!strstr((const char *)page.bytes, line)) fail_msg("docs/gasworks.1, SYNOPSIS: no line .B gasworks %s", verb);
  buffer_clear(&page);
}

static void check_manual(const char *verb) {
  char arguments[32], name[64];
  int exit_code;
  snprintf(arguments, sizeof arguments, "%s --help", verb);
  struct buffer help = run(arguments, &exit_code), section = manual_section(verb);
  assert_int_equal(exit_code, 0);
  const char *at = strstr((const char *)help.bytes, "Options:\n");
  assert_non_null(at);
  size_t n_options = 0;
  for (at += 9; next_option(&at, name, sizeof name); n_options++) {
    if (strcmp(name, "--help") == 0) break;
    if (!strstr((const char *)section.bytes, name)) fail_msg("docs/gasworks.1 does not describe %s %s", verb, name);
  }
  assert_int_equal(n_options, count((const char *)section.bytes, "\n.TP"));
  buffer_clear(&help);
  buffer_clear(&section);
}

static void test_manual(void **state) {
  (void)state;
#define VERB(name, summary) \
  check_synopsis(#name);    \
  check_manual(#name);
#include "cli/cli.def"
#undef VERB
}

/* Completion offers what the help says: verbs, options, and values that are a choice. */
static void test_completion(void **state) {
  (void)state;
  static const struct {
    const char *words; /* behind the program's name */
    const char *offered;
  } rows[] = {
      {"insp", "inspect"},         {"cache --js", "--json"},      {"serve --walls ''", "on off"}, {"serve --sync o", "on off"},
      {"run --tier p", "precise"}, {"run -O ''", "0 1 2 3"},      {"inspect --gas --no", ""},     {"receipts ch", "checkpoint"},
      {"tenants bu", "budget"},    {"tokens r", "rotate revoke"}, {"cache p", "prune"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char command[512], offered[256] = "";
    snprintf(command, sizeof command,
             "bash -c '. " SOURCE_DIR "/docs/completion.bash; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _gasworks; "
             "echo \"${COMPREPLY[*]}\"' " BUILD_DIR "/gasworks " BUILD_DIR "/gasworks %s",
             rows[i].words);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    if (!fgets(offered, sizeof offered, pipe)) offered[0] = 0;
    pclose(pipe);
    offered[strcspn(offered, "\n")] = 0;
    if (strcmp(offered, rows[i].offered)) fail_msg("gasworks %s is completed by: %s", rows[i].words, offered);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_numbers), cmocka_unit_test(test_values), cmocka_unit_test(test_exit_codes),
      cmocka_unit_test(test_invoke),  cmocka_unit_test(test_manual), cmocka_unit_test(test_completion),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
