/* Compiled code for whoever debugs: debug information names functions and lines and changes no code (frontend/lower/debug.c), gdb
 * stops in functions of Rust and C, perf names them. Where perf may not watch, the test says so; what it reads is read by
 * jitdump.py as well, which knows the format from the kernel's description. */
#include "base/buffer.h"
#include "frontend/instruction.h"
#include "instrument/schedule.h"
#include "jit/compiler.h"
#include "runtime/debug/source.h"
#include "runtime/engine.h"
#include "tests/shell.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define GASWORKS BUILD_DIR "/gasworks"

static char directory[] = "/tmp/gasworks-debug-XXXXXX";

/* Lines count. */
static const char rust_source[] = //
    "#[inline(never)]\n"
    "fn steps(mut n: u64) -> u64 {\n"
    "    let mut count = 0;\n"
    "    while n != 1 {\n"
    "        n = if n % 2 == 0 { n / 2 } else { 3 * n + 1 };\n"
    "        count += 1;\n"
    "    }\n"
    "    count\n"
    "}\n"
    "#[inline(never)]\n"
    "fn longest(end: u64) -> u64 {\n"
    "    (1..end).map(steps).max().unwrap_or(0)\n"
    "}\n"
    "fn main() {\n"
    "    let end = std::env::args().nth(1).unwrap().parse().unwrap();\n"
    "    println!(\"{}\", longest(end));\n"
    "}\n";

static const char c_source[] = //
    "__attribute__((noinline)) static int mix(volatile int *p, int i) {\n"
    "  return p[i & 7] * 31 + i;\n"
    "}\n"
    "__attribute__((export_name(\"run\"))) int run(int n) {\n"
    "  int sum = 0;\n"
    "  for (int i = 0; i < n; i++) {\n"
    "    sum ^= mix((volatile int *)64, i);\n"
    "  }\n"
    "  return sum;\n"
    "}\n";

static void must(int exit_code, const struct buffer *out) {
  if (exit_code) fail_msg("%s", (const char *)out->bytes);
}

static int make_programs(void **state) {
  (void)state;
  int exit_code;
  if (!mkdtemp(directory)) return -1;
  write_file_in(directory, "p.rs", rust_source, sizeof rust_source - 1);
  write_file_in(directory, "c.c", c_source, sizeof c_source - 1);
  struct buffer out = shell(&exit_code,
                            "cd %s && /usr/bin/rustc -g -C opt-level=2 --target wasm32-wasi p.rs -o p.wasm && clang-22 -g -O1"
                            " --target=wasm32-wasi -nostdlib --no-wasm-opt -Wl,--no-entry c.c -o c.wasm",
                            directory);
  must(exit_code, &out);
  buffer_clear(&out);
  return 0;
}

static int remove_programs(void **state) {
  (void)state;
  struct buffer out = shell(NULL, "rm -r %s", directory);
  buffer_clear(&out);
  return 0;
}

/* --- the same code ------------------------------------------------------------------------------------------------------ */

static struct gw_engine *make_engine(void) {
  struct gw_error err = {0};
  struct gw_engine *engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .gas = true}, &err);
  if (!engine) fail_msg("%s", err.message);
  return engine;
}

static struct gw_module *read_module(struct gw_engine *engine, const char *path) {
  struct buffer bytes = {0};
  struct gw_error err = {0};
  if (!buffer_read_file(&bytes, path, 64 << 20, &err)) fail_msg("%s", err.message);
  struct gw_module *module = gw_module_create(engine, bytes.bytes, bytes.size, &err);
  if (!module) fail_msg("%s: %s", path, err.message);
  buffer_clear(&bytes);
  return module;
}

static struct image compile(const struct gw_module *module, uint32_t level, bool gas, const struct source_lines *lines) {
  struct gw_error err = {0};
  struct image image = {0};
  struct compile_options options = {
      .opt_level = level, .gas = gas, .verify = true, .schedule = schedule_default(), .lines = lines};
  const struct compiler_ops *ops = compiler_load(&err);
  options.dialect = module->decoded.dialect;
  if (!ops || !ops->compile(&module->decoded, &options, &image, NULL, &err)) fail_msg("%s", err.message);
  return image;
}

static void clear_image(struct image *image) {
  free(image->bytes);
  free(image->offsets);
}

static void compare_code(const char *path, const struct gw_module *module, uint32_t level, bool gas,
                         const struct source_lines *lines) {
  struct image plain = compile(module, level, gas, NULL), described = compile(module, level, gas, lines);
  if (plain.size != described.size || memcmp(plain.bytes, described.bytes, plain.size) != 0)
    fail_msg("%s: other code with debug information at -O%u, gas %d", path, level, gas);
  clear_image(&plain);
  clear_image(&described);
}

static void check_module(const char *path) {
  struct gw_engine *engine = make_engine();
  struct gw_module *module = read_module(engine, path);
  struct source_lines lines;
  source_read_lines(module, &lines);
  for (uint32_t level = 0; level < 4; level++) compare_code(path, module, level, level != 1, &lines);
  free(lines.rows);
  gw_module_release(module);
  gw_engine_destroy(engine);
}

static void test_same_code(void **state) {
  (void)state;
  glob_t found;
  int exit_code;
  struct buffer out = shell(&exit_code,
                            "cd " SOURCE_DIR "/tests/golden/modules && for f in [!b]*.wat; do"
                            " wat2wasm --enable-all $f -o %s/$f.wasm || exit 1; done",
                            directory);
  must(exit_code, &out);
  buffer_clear(&out);
  char pattern[64];
  snprintf(pattern, sizeof pattern, "%s/*.wasm", directory);
  assert_int_equal(glob(pattern, 0, NULL, &found), 0);
  assert_in_range(found.gl_pathc, 10, 100);
  for (size_t i = 0; i < found.gl_pathc; i++) check_module(found.gl_pathv[i]);
  globfree(&found);
}

/* --- lines -------------------------------------------------------------------------------------------------------------- */

static bool is_same(const char *a, const char *b) { return a == b || (a && b && strcmp(a, b) == 0); }

/* Of an instruction, against what a trap there would report. */
static void check_line(struct gw_module *module, const struct source_lines *lines, uint64_t offset, uint32_t *n_known) {
  struct source_place place = {0};
  const struct source_line *line = lines_find(lines, offset);
  source_find(module, offset, &place, 1);
  if (!line || !place.line) return;
  ++*n_known;
  if (!is_same(line->file, place.file) || line->line != place.line || line->column != place.column)
    fail_msg("byte %llu: %s:%u, not %s:%u", (unsigned long long)offset, line->file, line->line, place.file, place.line);
}

static void test_lines(void **state) {
  (void)state;
  char path[64];
  uint32_t n_known = 0, n = 0;
  snprintf(path, sizeof path, "%s/c.wasm", directory);
  struct gw_engine *engine = make_engine();
  struct gw_module *module = read_module(engine, path);
  struct source_lines lines;
  source_read_lines(module, &lines);
  for (uint32_t i = 0; i < module->decoded.n_funcs; i++) {
    const struct func *func = &module->decoded.funcs[i];
    struct gw_error ignored = {0};
    struct reader r;
    struct instruction in;
    if (func->import != NO_INDEX) continue;
    reader_init(&r, module->decoded.bytes, func->body, func->end, &ignored);
    for (; r.at < r.end && instruction_read(&r, &in); n++) check_line(module, &lines, in.offset, &n_known);
  }
  assert_in_range(n_known, n / 2, n);
  free(lines.rows);
  gw_module_release(module);
  gw_engine_destroy(engine);
}

/* --- gdb ---------------------------------------------------------------------------------------------------------------- */

/* Each of the texts stands in what was said, in this order. */
static void expect(const struct buffer *out, const char *const *texts) {
  const char *at = (const char *)out->bytes;
  for (size_t i = 0; texts[i]; i++) {
    const char *found = strstr(at, texts[i]);
    if (!found) fail_msg("no %s in:\n%s", texts[i], (const char *)out->bytes);
    at = found + strlen(texts[i]);
  }
}

static void ask_gdb(const char *commands, const char *arguments, const char *const *texts) {
  struct buffer out = shell(NULL,
                            "cd %s && DEBUGINFOD_URLS= ASAN_OPTIONS=detect_leaks=0 timeout 300 gdb -nx -batch"
                            " -ex 'set breakpoint pending on' -ex 'handle SIGSEGV nostop noprint pass' %s --args " GASWORKS
                            " run -g %s </dev/null",
                            directory, commands, arguments);
  expect(&out, texts);
  buffer_clear(&out);
}

static void test_gdb_rust(void **state) {
  (void)state;
  ask_gdb("-ex 'break p::steps' -ex run -ex bt -ex 'info source' -ex delete -ex continue", "p.wasm 1000",
          (const char *const[]){"Breakpoint 1, ", "p::steps", "p.rs:2", "fn steps", "#0 ", "p::steps", "#1 ", "p::longest",
                                "p::main", "p.rs:16", "_start", "fiber_begin", "p.rs", "178", "exited normally", NULL});
}

static void test_gdb_c(void **state) {
  (void)state;
  ask_gdb("-ex 'break c.c:7' -ex run -ex bt -ex 'break mix' -ex continue -ex bt", "--invoke run c.wasm 5",
          (const char *const[]){"Breakpoint 1, ", "run", "c.c:7", "sum ^= mix", "#0 ", "Breakpoint 2", "mix", "c.c:2",
                                "p[i & 7] * 31", "#0 ", "mix", "c.c:2", "#1 ", "run", "c.c:7", NULL});
}

/* Lines are byte offsets where a module has no debug information. */
static void test_gdb_offsets(void **state) {
  (void)state;
  ask_gdb("-ex 'break fib' -ex 'break module.wasm:46' -ex run -ex bt", "--invoke fib fib.wat.wasm 10",
          (const char *const[]){"Breakpoint 1", "fib", "module.wasm:", "#0 ", "fib", "module.wasm:", NULL});
}

/* --- perf --------------------------------------------------------------------------------------------------------------- */

/* A run that is killed in its loop, with its map and its jitdump. */
static struct buffer kill_run(const char *then) {
  return shell(NULL,
               "cd %s && export JITDUMPDIR=$PWD ASAN_OPTIONS=detect_leaks=0; " GASWORKS " run --perf p.wasm 1000000000 & pid=$!;"
               " map=/tmp/perf-$pid.map; for i in $(seq 600); do sleep 0.1; [ -s $map ] && break; done;"
               " kill -9 $pid; wait $pid; %s; rm -r $map .debug",
               directory, then);
}

static void test_killed_map(void **state) {
  (void)state;
  struct buffer out = kill_run("stat -c %a $map; grep -E '^[0-9a-f]+ [0-9a-f]+ p::steps$' $map");
  expect(&out, (const char *const[]){"600\n", " p::steps\n", NULL});
  buffer_clear(&out);
}

static void test_killed_jitdump(void **state) {
  (void)state;
  struct buffer out = kill_run(SOURCE_DIR "/tests/jitdump.py $PWD/.debug/jit/*/jit-$pid.dump p::");
  expect(&out, (const char *const[]){"p::steps", "/p.rs:5", NULL});
  expect(&out, (const char *const[]){"p::longest", "/p.rs:1", NULL});
  buffer_clear(&out);
}

static bool may_watch(void) {
  int exit_code;
  struct buffer out = shell(&exit_code, "cd %s && perf record -o watch.data true", directory);
  if (exit_code) print_message("perf may not watch here, so it is not tested: %s\n", (const char *)out.bytes);
  buffer_clear(&out);
  return exit_code == 0;
}

static void test_perf(void **state) {
  (void)state;
  if (!may_watch()) skip();
  struct buffer out =
      shell(NULL,
            "cd %s && export JITDUMPDIR=$PWD ASAN_OPTIONS=detect_leaks=0 && perf record -k mono -o raw.data " GASWORKS
            " run --perf p.wasm 300000 && perf report -i raw.data --stdio --sort sym | grep -c ' p::steps$';"
            " rm /tmp/perf-$(perf script -i raw.data -F pid | head -1 | tr -d ' ').map; perf inject --jit -i raw.data -o p.data;"
            " perf report -i p.data --stdio --sort dso,sym | grep ' p::steps$'; perf annotate --stdio -l -i p.data p::steps;"
            " rm -r .debug",
            directory);
  expect(&out, (const char *const[]){"\n1\n", "jitted-", "p::steps", "p.rs:5", NULL});
  buffer_clear(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_same_code),      cmocka_unit_test(test_lines),       cmocka_unit_test(test_gdb_rust),
      cmocka_unit_test(test_gdb_c),          cmocka_unit_test(test_gdb_offsets), cmocka_unit_test(test_killed_map),
      cmocka_unit_test(test_killed_jitdump), cmocka_unit_test(test_perf),
  };
  return cmocka_run_group_tests(tests, make_programs, remove_programs);
}
