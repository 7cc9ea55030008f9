/* Source lines of traps: every instruction of C and Rust against llvm-symbolizer, reports by name and line, and damaged debug
 * information, which may say anything but must not crash. */
#include "runtime/debug/source.h"

#include "base/buffer.h"
#include "frontend/instruction.h"
#include "frontend/module.h"
#include "runtime/engine.h"
#include "runtime/instance.h"
#include "tests/shell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char c_source[] = //
    "__attribute__((always_inline)) static inline int third(volatile int *p, int i) {\n"
    "  return p[i];\n"
    "}\n"
    "__attribute__((always_inline)) static inline int second(volatile int *p, int i) {\n"
    "  int x = third(p, i * 2);\n"
    "  return x + 1;\n"
    "}\n"
    "__attribute__((noinline)) static int loop(int n) {\n"
    "  int s = 0;\n"
    "  for (int i = 0; i < n; i++)\n"
    "    s ^= second((volatile int *)64, i & 7) << (i & 3);\n"
    "  return s;\n"
    "}\n"
    "__attribute__((export_name(\"f\"))) int f(int i) {\n"
    "  int y = second((volatile int *)0, i);\n"
    "  return y * loop(i);\n"
    "}\n";

static const char rust_source[] = //
    "#[inline(always)]\n"
    "fn check(v: &[i32], i: usize) -> i32 { v[i] + 1 }\n"
    "#[inline(never)]\n"
    "fn work(n: usize) -> i32 { let v = vec![1, 2, 3]; check(&v, n) }\n"
    "fn main() { println!(\"{}\", work(std::env::args().count() + 4)); }\n";

static const char script_source[] = //
    "function inner(n: i32): i32 {\n"
    "  if (n > 3) throw new Error(\"too much\");\n"
    "  return n;\n"
    "}\n"
    "export function f(n: i32): i32 { return inner(n) + 1; }\n";

static char directory[] = "/tmp/gasworks-source-XXXXXX";
static struct gw_engine *engine;

static void write_file(const char *name, const char *text) {
  char path[96];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  fclose(f);
}

/* What a command prints, run in the directory. */
#define run(format, ...) shell(NULL, "cd %s; " format, directory __VA_OPT__(, ) __VA_ARGS__)

static void expect_in(const struct buffer *text, const char *wanted) {
  if (!strstr((const char *)text->bytes, wanted)) fail_msg("no \"%s\" in: %s", wanted, (const char *)text->bytes);
}

static struct buffer read_module(const char *name) {
  char path[96];
  struct buffer bytes = {0};
  struct gw_error err = {0};
  snprintf(path, sizeof path, "%s/%s", directory, name);
  if (!buffer_read_file(&bytes, path, 64 << 20, &err)) fail_msg("%s", err.message);
  return bytes;
}

/* --- against llvm-symbolizer --------------------------------------------------------------------------------------- */

static uint64_t code_offset(const struct module *m) { return (uint64_t)(m->funcs[m->n_imported_funcs].body - m->bytes); }

static struct gw_module *load_module(const struct buffer *bytes) {
  struct gw_error err = {0};
  struct gw_module *module = gw_module_create(engine, bytes->bytes, bytes->size, &err);
  if (!module) fail_msg("%s", err.message);
  return module;
}

/* Every level of inlining at `offset` as it prints them without functions: "FILE:LINE:COLUMN", a line each, or "??:0:0". A module
 * that has used up its allowance of time for lookups says nothing as well: the answer is that of one that has all of it. */
static void print_places(const struct buffer *bytes, struct gw_module **module, uint64_t offset, struct buffer *out) {
  enum { MOST = 32 };
  struct source_place places[MOST];
  size_t n = source_find(*module, offset, places, MOST);
  if (n == 0) {
    gw_module_release(*module);
    *module = load_module(bytes);
    n = source_find(*module, offset, places, MOST);
  }
  for (size_t i = 0; i < n; i++) {
    if (!places[i].file) fail_msg("no file at 0x%llx", (unsigned long long)offset);
    buffer_format(out, "%s:%u:%u\n", places[i].file, places[i].line, places[i].column);
  }
  buffer_append_string(out, n ? "\n" : "??:0:0\n\n");
}

/* Line by line. Files are relative to where the compiler ran, which the symbolizer puts before them. */
static void expect_same_places(const char *ours, const char *theirs) {
  while (*ours || *theirs) {
    size_t n = strcspn(ours, "\n"), n_theirs = strcspn(theirs, "\n");
    if (!ours[n] || n > n_theirs || (n == 0) != (n_theirs == 0) || memcmp(ours, theirs + n_theirs - n, n) != 0)
      fail_msg("here %.*s, llvm-symbolizer %.*s", (int)n, ours, (int)n_theirs, theirs);
    ours += n + 1;
    theirs += n_theirs + (theirs[n_theirs] != 0);
  }
}

/* All instructions of all functions, in one run of the symbolizer. Its addresses count from the code section's contents, which
 * begin a size and a count of functions before the first body. */
static void compare_module(const char *name) {
  struct gw_error err = {0};
  struct buffer bytes = read_module(name), addresses = {0}, ours = {0}, out;
  struct gw_module *module = load_module(&bytes), *asked = load_module(&bytes);
  const struct module *m = gw_module_decoded(module);
  out = run(BUILD_DIR "/gasworks inspect %s | awk '/^  0x.* code/ { print $1 }'", name);
  uint64_t base = strtoull((const char *)out.bytes, NULL, 16);
  assert_in_range(base, 8, code_offset(m));
  buffer_clear(&out);
  for (uint32_t i = m->n_imported_funcs; i < m->n_funcs; i++) {
    struct reader r;
    struct instruction in;
    reader_init(&r, m->bytes, m->funcs[i].body, m->funcs[i].end, &err);
    while (instruction_read(&r, &in)) {
      if (in.op == OP_END) continue; /* the last one belongs to the line of the closing bracket, or to nothing */
      buffer_format(&addresses, "0x%llx\n", (unsigned long long)(in.offset - base));
      print_places(&bytes, &asked, in.offset, &ours);
    }
  }
  buffer_append(&addresses, "", 1);
  buffer_append(&ours, "", 1);
  write_file("addresses", (const char *)addresses.bytes);
  out = run("llvm-symbolizer-22 --obj=%s --functions=none --inlines <addresses", name);
  assert_true(strlen((const char *)out.bytes) > 1000);
  expect_same_places((const char *)ours.bytes, (const char *)out.bytes);
  buffer_clear(&out);
  buffer_clear(&ours);
  buffer_clear(&addresses);
  buffer_clear(&bytes);
  gw_module_release(asked);
  gw_module_release(module);
}

static void compile_c(const char *flags) {
  struct buffer out = run("clang-22 --target=wasm32 -g %s --no-wasm-opt -nostdlib -Wl,--no-entry c.c -o c.wasm", flags);
  assert_string_equal((const char *)out.bytes, "");
  buffer_clear(&out);
}

static void test_c_places(void **state) {
  (void)state;
  static const char *const flags[] = {"-O1 -gdwarf-5", "-O2 -gdwarf-4", "-O0"};
  write_file("c.c", c_source);
  for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
    compile_c(flags[i]);
    compare_module("c.wasm");
  }
}

/* With the standard library, whose linker leaves entries of functions that it dropped. */
static void test_rust_places(void **state) {
  (void)state;
  write_file("p.rs", rust_source);
  struct buffer out = run("/usr/bin/rustc --target wasm32-wasi -g -C opt-level=1 p.rs -o p.wasm");
  assert_string_equal((const char *)out.bytes, "");
  buffer_clear(&out);
  compare_module("p.wasm");
}

/* --- reports ---------------------------------------------------------------------------------------------------------- */

static void test_c_report(void **state) {
  (void)state;
  struct buffer out = run("clang-22 --target=wasm32 -g -O1 --no-wasm-opt -nostdlib -Wl,--no-entry c.c -o c.wasm && " BUILD_DIR
                          "/gasworks run --invoke f c.wasm 1000000");
  expect_in(&out, "   0: third at byte 0x");
  expect_in(&out, "/c.c:2:10\n      inlined into second, ");
  expect_in(&out, "/c.c:5:11\n      inlined into f, ");
  expect_in(&out, "/c.c:15:11\n");
  buffer_clear(&out);
  out = run(BUILD_DIR "/gasworks run --tier precise --invoke f c.wasm 1000000");
  expect_in(&out, "/c.c:2:10\n      inlined into second, ");
  buffer_clear(&out);
}

/* A name that is cut says so. */
static void test_long_name(void **state) {
  (void)state;
  char name[201];
  memset(name, 'n', 200);
  name[200] = 0;
  char source[512];
  snprintf(source, sizeof source, "__attribute__((export_name(\"f\"))) void %s(void) { __builtin_trap(); }\n", name);
  write_file("n.c", source);
  struct buffer out = run("clang-22 --target=wasm32 -O1 --no-wasm-opt -nostdlib -Wl,--no-entry n.c -o n.wasm; " BUILD_DIR
                          "/gasworks run --invoke f n.wasm");
  name[128] = 0;
  char wanted[200];
  snprintf(wanted, sizeof wanted, "   0: %s... at byte 0x", name);
  expect_in(&out, wanted);
  buffer_clear(&out);
}

static void test_rust_report(void **state) {
  (void)state;
  struct buffer out = run(BUILD_DIR "/gasworks run p.wasm");
  expect_in(&out, "panicked at 'index out of bounds: the len is 3 but the index is 5', p.rs:2:40\n");
  expect_in(&out, "\n  your code: check, ");
  expect_in(&out, ": check at byte 0x");
  expect_in(&out, "p.rs:2:40\n      inlined into work, ");
  expect_in(&out, "p.rs:4:51\n");
  buffer_clear(&out);
}

static void test_assemblyscript_report(void **state) {
  (void)state;
  static const char asc[] = SOURCE_DIR "/build/tools/node_modules/.bin/asc";
  write_file("s.ts", script_source);
  struct buffer out = run("%s s.ts -o s.wasm --debug --runtime stub && " BUILD_DIR "/gasworks run --invoke f s.wasm 9", asc);
  expect_in(&out, "gasworks: abort: too much, s.ts:2:14\n   0: s/inner at byte 0x");
  buffer_clear(&out);
  /* A check of the library's own. */
  write_file("i.ts", "function at(a: Uint8Array, i: i32): i32 { return a[i]; }\n"
                     "export function g(i: i32): i32 { return at(new Uint8Array(3), i); }\n");
  out = run("%s i.ts -o i.wasm --debug --runtime stub && " BUILD_DIR "/gasworks run --invoke g i.wasm 9", asc);
  expect_in(&out, "gasworks: abort: Index out of range, ~lib/typedarray.ts:");
  expect_in(&out, "\n  your code: i/at\n   0: ~lib/typedarray/Uint8Array#__get at byte 0x");
  buffer_clear(&out);
}

/* --- damage ------------------------------------------------------------------------------------------------------------- */

/* Where the contents of debug sections are in a module: a byte that is not 0 for each that may be damaged. */
static struct buffer find_contents(const struct buffer *module) {
  struct gw_error ignored = {0};
  struct buffer out = {0};
  struct reader r;
  memset(buffer_reserve(&out, module->size), 0, module->size);
  out.size = module->size;
  reader_init(&r, module->bytes, module->bytes + 8, module->bytes + module->size, &ignored);
  while (reader_left(&r)) {
    uint8_t id = read_u8(&r);
    uint32_t size = read_u32(&r);
    struct reader part = r;
    read_bytes(&r, size);
    uint32_t name_size = id == 0 ? read_u32(&part) : 0;
    const uint8_t *name = read_bytes(&part, name_size);
    if (name_size > 7 && memcmp(name, ".debug_", 7) == 0)
      memset(out.bytes + (part.at - module->bytes), 1, (size_t)(r.at - part.at));
  }
  return out;
}

/* Custom sections are not validated: the module stays valid whatever happens to their contents. Whether there was any answer. */
static bool look_at_damaged(struct buffer *bytes, const struct buffer *contents, unsigned seed) {
  struct gw_error err = {0};
  struct source_place places[8];
  size_t n_places = 0;
  uint32_t x = seed * 2654435761u + 1;
  for (unsigned left = 1 + seed % 8; left;) {
    x ^= x << 13, x ^= x >> 17, x ^= x << 5;
    size_t at = x % bytes->size;
    if (!contents->bytes[at]) continue;
    bytes->bytes[at] = (uint8_t)(x >> 24);
    left--;
  }
  struct gw_module *module = gw_module_create(engine, bytes->bytes, bytes->size, &err);
  if (!module) abort();
  const struct module *m = gw_module_decoded(module);
  for (uint32_t i = m->n_imported_funcs; i < m->n_funcs; i++)
    for (const uint8_t *at = m->funcs[i].body; at < m->funcs[i].end; at += 3) {
      size_t n = source_find(module, (uint64_t)(at - m->bytes), places, 8);
      n_places += n;
      for (size_t k = 0; k < n; k++) /* strings end */
        if ((places[k].file && strlen(places[k].file) > bytes->size) ||
            (places[k].function && strlen(places[k].function) > bytes->size))
          abort();
    }
  gw_module_release(module);
  return n_places > 0;
}

static void damage(const char *flags) {
  enum { ROUNDS = 1500, SECONDS = 120 };
  compile_c(flags);
  struct buffer whole = read_module("c.wasm"), copy = {0};
  struct buffer contents = find_contents(&whole);
  pid_t child = fork();
  if (child == 0) {
    alarm(SECONDS);
    int n_answered = 0;
    for (unsigned seed = 1; seed <= ROUNDS; seed++) {
      copy.size = 0;
      buffer_append(&copy, whole.bytes, whole.size);
      n_answered += look_at_damaged(&copy, &contents, seed);
    }
    fprintf(stderr, "%d of %d damaged modules have source lines left\n", n_answered, ROUNDS);
    if (n_answered < ROUNDS / 2) abort(); /* or libdw was hardly asked */
    buffer_clear(&copy);
    buffer_clear(&contents);
    buffer_clear(&whole);
    gw_engine_destroy(engine);
    engine = NULL;
    exit(0); /* not _exit: leaks are looked for */
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  buffer_clear(&contents);
  buffer_clear(&whole);
}

static void test_damage(void **state) {
  (void)state;
  damage("-O1 -gdwarf-5");
  damage("-O2 -gdwarf-4");
}

static int setup(void **state) {
  (void)state;
  struct gw_error err = {0};
  engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true}, &err);
  return engine && mkdtemp(directory) ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  gw_engine_destroy(engine);
  struct buffer out = run("rm -f *; rmdir %s", directory);
  buffer_clear(&out);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_c_places),  cmocka_unit_test(test_rust_places), cmocka_unit_test(test_c_report),
      cmocka_unit_test(test_long_name), cmocka_unit_test(test_rust_report), cmocka_unit_test(test_assemblyscript_report),
      cmocka_unit_test(test_damage),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
