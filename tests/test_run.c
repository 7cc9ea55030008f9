/* The program's `run` with tiers: what a program reads and writes is the same in each, once each, and traps are told alike. */
#include "tests/shell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Writes a line, spins, copies a byte of its input, six times; then loads from the address that follows in the input. */
static const char spinner[] =
    "(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_read\" (func $read (param i32 i32 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"random_get\" (func $random (param i32 i32) (result i32)))"
    " (memory (export \"memory\") 1)"
    " (data (i32.const 0) \"\\20\\00\\00\\00\\0a\\00\\00\\00\") (data (i32.const 8) \"\\40\\00\\00\\00\\01\\00\\00\\00\")"
    " (data (i32.const 32) \"again and\\0a\")"
    " (func $spin (local $i i32) (local $x i32)"
    "  (loop $l (local.set $x (i32.xor (i32.rotl (local.get $x) (i32.const 5)) (local.get $i)))"
    "   (br_if $l (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3000000))))"
    "  (i32.store (i32.const 200) (local.get $x)))"
    " (func $load (param i32) (drop (i32.load (local.get 0))))"
    " (func (export \"_start\") (local $n i32)"
    "  (drop (call $random (i32.const 300) (i32.const 16)))"
    "  (loop $l"
    "   (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 100)))"
    "   (call $spin)"
    "   (drop (call $read (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 100)))"
    "   (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 100)))"
    "   (br_if $l (i32.ne (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 6))))"
    "  (call $load (i32.mul (i32.const 0x10000) (i32.eq (i32.load8_u (i32.const 64)) (i32.const 0x21))))))";

/* A call, a loop, a load, a host call; f(n) = 1 + ... + n, and then a fault where n is 9. Its instance costs 4,111 gas: a page,
 * a global, a data segment. */
static const char stepped[] = "(module (import \"wasi_snapshot_preview1\" \"sched_yield\" (func $yield (result i32)))"
                              " (memory 1) (data (i32.const 16) \"gasworks\") (global $g (mut i64) (i64.const 7))"
                              " (func $sum (param $n i32) (result i32) (local $s i32)"
                              "  (loop $l (local.set $s (i32.add (local.get $s) (local.get $n)))"
                              "   (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
                              "  (local.get $s))"
                              " (func $touch (param $x f64) (drop (i32.load offset=4 (i32.const 16))) (drop (call $yield)))"
                              " (func (export \"f\") (param i32) (result i32)"
                              "  (call $sum (local.get 0)) (call $touch (f64.const 1.5))"
                              "  (drop (i32.load (i32.mul (i32.const 65536) (i32.eq (local.get 0) (i32.const 9))))))"
                              ")";

/* Calls of the host by any instruction; what cannot be reached is in no gas block. */
static const char ways[] =
    "(module (type $t (func (result i32))) (import \"wasi_snapshot_preview1\" \"sched_yield\" (func $y (result i32)))"
    " (table funcref (elem $y))"
    " (func (export \"indirect\") (result i32) (call_indirect (type $t) (i32.const 0)))"
    " (func $tail (export \"tail\") (result i32) (return_call $y))"
    " (func (export \"tail_indirect\") (result i32) (return_call_indirect (type $t) (i32.const 0)))"
    " (func (export \"inner\") (result i32) (i32.add (call $tail) (i32.const 5)))"
    " (func (export \"dead\") (param i32) (result i32)"
    "  (block (br 0) (drop (i32.div_u (i32.const 9) (i32.const 2))))"
    "  (block (loop (br 1)) (drop (i32.div_u (i32.const 9) (i32.const 2))))"
    "  (if (local.get 0) (then (return (i32.const 1)) (drop (i32.div_u (i32.const 9) (i32.const 2)))))"
    "  (block (block (br_table 0 1 (local.get 0)) (block (drop (i32.div_u (i32.const 9) (i32.const 2)))))"
    "   (drop (i32.div_u (i32.const 9) (i32.const 2))) unreachable)"
    "  (return_call $y) (drop (i32.div_u (i32.const 9) (i32.const 2))) (i32.const 1)))";

static char wasm[64], stepped_wasm[64], ways_wasm[64];

#define GASWORKS BUILD_DIR "/gasworks"

static void test_tiers(void **state) {
  (void)state;
  static const char expected[] = "again and\naagain and\nbagain and\ncagain and\ndagain and\neagain and\nf";
  static const char *const tiers[] = {"fast", "precise", "auto"};
  for (int i = 0; i < 3; i++) {
    int exit_code;
    struct buffer out = shell(&exit_code, "echo abcdefgh | " GASWORKS " run --tier %s %s", tiers[i], wasm);
    assert_string_equal((const char *)out.bytes, expected);
    assert_int_equal(exit_code, 0);
    buffer_clear(&out);
  }
}

/* The interpreter hands over in the middle: code was compiled, and yet everything was written once. */
static void test_hand_over(void **state) {
  (void)state;
  int exit_code;
  struct buffer out = shell(&exit_code, "echo abcdefgh | " GASWORKS " run --tier auto --stats %s 2>&1 | grep '^code'", wasm);
  assert_true(strtoul((const char *)out.bytes + 4, NULL, 10) > 0);
  buffer_clear(&out);
}

/* What a user who names no tier gets. */
static void test_choice(void **state) {
  (void)state;
  static const struct {
    const char *options, *tier;
  } rows[] = {
      {"", "baseline"},       {"--gas on -O1", "baseline"}, {"--gas off", "fast"},       {"--until-gas 1M", "precise"},
      {"--trace", "precise"}, {"--profile", "fast"},        {"--judge off", "baseline"}, {"--folded /dev/null", "fast"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    int exit_code;
    struct buffer out = shell(&exit_code, GASWORKS " run --cache off --stats %s --invoke f %s 3 2>&1 | sed -n 's/^tier *//p'",
                              rows[i].options, stepped_wasm);
    buffer_append(&out, "", 1);
    if (strncmp((const char *)out.bytes, rows[i].tier, strlen(rows[i].tier)) != 0)
      fail_msg("%s: %s", rows[i].options, (const char *)out.bytes);
    buffer_clear(&out);
  }
}

/* CPU time in every tier; of what trapped and was judged, that of the run which has the last word. */
static void test_cpu_time(void **state) {
  (void)state;
  static const char *const tiers[] = {"fast", "baseline", "precise"};
  static const char text[] = "(module (memory 1) (func (export \"f\") (local i32) (loop (br_if 0 (i32.lt_u (local.tee 0"
                             " (i32.add (local.get 0) (i32.const 1))) (i32.const 100000)))) (drop (i32.load (i32.const -8)))))";
  for (int i = 0; i < 3; i++) {
    int exit_code;
    struct buffer out = shell(&exit_code,
                              "d=$(mktemp -d); echo '%s' >$d/a.wat; wat2wasm $d/a.wat -o $d/a.wasm; " GASWORKS
                              " run --cache off --tier %s --stats --json --invoke f $d/a.wasm 2>&1 |"
                              " sed -n 's/.*\"cpu_ns\":[^0-9]*\\([0-9]*\\).*/\\1/p'; rm -r $d",
                              text, tiers[i]);
    buffer_append(&out, "", 1);
    if (strtoull((const char *)out.bytes, NULL, 10) < 1000) fail_msg("%s: %s", tiers[i], (const char *)out.bytes);
    buffer_clear(&out);
  }
}

/* The map names functions as the module does, and only the user may read it. */
static void test_perf(void **state) {
  (void)state;
  int exit_code;
  struct buffer out = shell(&exit_code,
                            "export JITDUMPDIR=$(mktemp -d); sh -c 'echo $$; exec " GASWORKS " run --perf --invoke f %s 3' | {"
                            " read pid; cat >/dev/null; map=/tmp/perf-$pid.map; stat -c %%a $map;"
                            " grep -cE \"^[0-9a-f]+ [0-9a-f]+ f$\" $map; rm -r $map $JITDUMPDIR; }",
                            stepped_wasm);
  buffer_append(&out, "", 1);
  assert_string_equal((const char *)out.bytes, "600\n1\n");
  buffer_clear(&out);
}

/* Short programs end before the compiler is loaded, code that is in the cache is run at once. */
static void test_short_program(void **state) {
  (void)state;
  static const char command[] =
      "LD_DEBUG=files " GASWORKS " run %s --cache %s.cache --invoke f %s 3 2>&1 | grep -c 'init: .*LLVM'";
  static const char *const options[] = {"", "--tier fast", "--tier fast", "--stats"};
  static const bool loads[] = {false, true, false, false};
  for (int i = 0; i < 4; i++) {
    int exit_code;
    struct buffer out = shell(&exit_code, command, options[i], stepped_wasm, stepped_wasm);
    assert_int_equal(strtoul((const char *)out.bytes, NULL, 10) > 0, loads[i]);
    buffer_clear(&out);
  }
  int exit_code;
  struct buffer out =
      shell(&exit_code, GASWORKS " run --stats --cache %s.cache --invoke f %s 3 2>&1 | grep -c '^tier *fast'; rm -r %s.cache",
            stepped_wasm, stepped_wasm, stepped_wasm);
  assert_int_equal(strtoul((const char *)out.bytes, NULL, 10), 1);
  buffer_clear(&out);
}

/* Place, gas and calls are the interpreter's in every tier, and input was read once. */
static void test_traps(void **state) {
  (void)state;
  struct buffer first = {0};
  static const char *const options[] = {"--tier precise", "--tier fast", "--tier auto", "--tier fast -O0"};
  for (int i = 0; i < 4; i++) {
    int exit_code;
    struct buffer out =
        shell(&exit_code, "echo 'abcde!gh' | " GASWORKS " run %s --stats %s 2>&1 | sed '/^code/,$d;/^tier/d'", options[i], wasm);
    const char *text = (const char *)out.bytes;
    if (!strstr(text, "!gasworks: out of bounds memory access in function load at byte 0x")) fail_msg("%s: %s", options[i], text);
    assert_non_null(strstr(text, "   0: load at byte 0x"));
    assert_non_null(strstr(text, "   1: _start at byte 0x"));
    if (i == 0)
      buffer_append(&first, out.bytes, out.size);
    else
      assert_string_equal(text, (const char *)first.bytes);
    buffer_clear(&out);
  }
  buffer_clear(&first);
  int exit_code; /* $load stands in the place of its call (frontend/lower/inline.c) */
  struct buffer out = shell(&exit_code, "echo 'abcde!gh' | " GASWORKS " run --tier fast --judge off %s", wasm);
  assert_non_null(
      strstr((const char *)out.bytes, "!gasworks: out of bounds memory access in function _start at address 0x10000"));
  assert_int_equal(exit_code, 134);
  buffer_clear(&out);
}

static bool has(const struct buffer *out, const char *text) { return strstr((const char *)out->bytes, text) != NULL; }

/* --- looking inside ---------------------------------------------------------------------------------------------- */

static void test_trace(void **state) {
  (void)state;
  int exit_code;
  struct buffer out = shell(&exit_code, GASWORKS " run --trace=calls --invoke f %s 3", stepped_wasm);
  assert_int_equal(exit_code, 0);
  assert_true(has(&out, "          7111  f(3)\n"));
  assert_true(has(&out, "  sum(3)\n"));
  assert_true(has(&out, "  = 6\n"));
  assert_true(has(&out, "  touch(1.5)\n"));
  assert_true(has(&out, "  wasi_snapshot_preview1.sched_yield() = 0\n"));
  assert_true(has(&out, "\n6\n"));
  buffer_clear(&out);
  out = shell(&exit_code, GASWORKS " run --tier precise --trace=blocks --invoke f %s 3 2>&1 | grep -c ' 0x'", stepped_wasm);
  assert_int_equal(strtoul((const char *)out.bytes, NULL, 10), 7);
  buffer_clear(&out);
  out = shell(&exit_code, GASWORKS " run --tier precise --trace=frogs --invoke f %s 3", stepped_wasm);
  assert_int_equal(exit_code, 2);
  buffer_clear(&out);
  out = shell(&exit_code, GASWORKS " run --tier fast --trace=calls --invoke f %s 3", stepped_wasm);
  assert_int_equal(exit_code, 2);
  buffer_clear(&out);
}

static void test_ways(void **state) {
  (void)state;
  static const char *const names[] = {"indirect", "tail", "tail_indirect", "inner"};
  int exit_code;
  for (int i = 0; i < 4; i++) {
    struct buffer out = shell(&exit_code, GASWORKS " run --tier precise --trace=calls --invoke %s %s", names[i], ways_wasm);
    assert_int_equal(exit_code, 0);
    if (!has(&out, "wasi_snapshot_preview1.sched_yield()")) fail_msg("%s: %s", names[i], (const char *)out.bytes);
    buffer_clear(&out);
  }
  /* Of all those divisions only one is ever reached. */
  struct buffer out = shell(&exit_code, GASWORKS " inspect --gas %s | grep -A1 '^dead'", ways_wasm);
  assert_true(has(&out, ": 8 blocks, "));
  buffer_clear(&out);
}

enum { MAX_STEPS = 200 };

struct steps {
  struct buffer text;
  uint64_t gas[MAX_STEPS];
  uint64_t offset[MAX_STEPS];
  size_t n;
};

static struct steps trace_steps(const char *argument) {
  struct steps s = {0};
  int exit_code;
  s.text = shell(&exit_code, GASWORKS " run --tier precise --trace --invoke f %s %s 2>&1 | grep ' 0x'", stepped_wasm, argument);
  for (char *line = (char *)s.text.bytes; s.n < MAX_STEPS && *line; line = strchr(line, '\n') + 1, s.n++)
    s.gas[s.n] = strtoull(line, &line, 10), s.offset[s.n] = strtoull(line, NULL, 16);
  return s;
}

/* Gas never goes back, ends as it does without being watched, and --until-gas stops at the first instruction that is there. */
static void test_until_gas(void **state) {
  (void)state;
  struct steps s = trace_steps("4");
  assert_in_range(s.n, 40, MAX_STEPS - 1);
  for (size_t i = 1; i < s.n; i++) assert_true(s.gas[i] >= s.gas[i - 1]);
  int exit_code;
  struct buffer out = shell(&exit_code, GASWORKS " run --stats --invoke f %s 4 2>&1 | sed -n 's/^gas *//p'", stepped_wasm);
  uint64_t total = strtoull((const char *)out.bytes, NULL, 10);
  assert_true(s.gas[s.n - 1] <= total && total - s.gas[s.n - 1] < 50);
  buffer_clear(&out);
  for (uint64_t gas = 1; gas <= s.gas[s.n - 1]; gas += 7) {
    size_t i = 0;
    char wanted[64];
    while (s.gas[i] < gas) i++;
    snprintf(wanted, sizeof wanted, "stopped at %llu gas, before instruction %zu: ", (unsigned long long)s.gas[i], i + 1);
    out =
        shell(&exit_code, GASWORKS " run --tier precise --until-gas %llu --invoke f %s 4", (unsigned long long)gas, stepped_wasm);
    if (!has(&out, wanted)) fail_msg("%s: %s", wanted, (const char *)out.bytes);
    assert_int_equal(exit_code, 0);
    buffer_clear(&out);
  }
  buffer_clear(&s.text);
}

/* A script of commands; what the debugger says. */
static struct buffer debug(const char *script, const char *argument) {
  int exit_code;
  struct buffer out = shell(&exit_code, "printf '%s' | " GASWORKS " debug --invoke f %s %s", script, stepped_wasm, argument);
  if (exit_code) fail_msg("%s", (const char *)out.bytes);
  return out;
}

static void test_debug(void **state) {
  (void)state;
  struct buffer out =
      debug("break touch\\ncontinue\\nwhere\\nstep\\nprint\\nfinish\\nglobals\\nx 16 8\\nx 70000\\nlist 1\\nc\\n", "3");
  assert_true(has(&out, "breakpoint 1: touch at byte 0x"));
  assert_true(has(&out, "   0: touch(1.5) at byte 0x"));
  assert_true(has(&out, "   1: f(3) at byte 0x"));
  assert_true(has(&out, "  param 0 f64 = 1.5\n  operand 0 i32 = 16  (0x10)\n  accesses address 0x14\n"));
  assert_true(has(&out, "67 61 73 77 6f 72 6b 73                          gasworks\n"));
  assert_true(has(&out, "  global 0 i64 = 7\n"));
  assert_true(has(&out, "  address 0x11170 is out of bounds, the memory has 65536 bytes\n"));
  assert_true(has(&out, "=> 0x"));
  assert_true(has(&out, "= 6\nthe program has ended with code 0 after "));
  buffer_clear(&out);
  out = debug("frobnicate\\nbreak nothing\\nbreak 1\\ngas\\nstep x\\nx\\nframe 9\\ngoto\\nhelp\\n", "3");
  assert_true(has(&out, "no command is called frobnicate; try help\n"));
  assert_true(has(&out, "no function is called nothing, and no instruction is there\n"));
  assert_true(has(&out, "no function is called 1, and no instruction is there\n"));
  assert_true(has(&out, "there is no such frame\n"));
  buffer_clear(&out);
  out = debug("continue\\nprint\\nwhere\\nback\\nstep\\n", "9"); /* the state of a trap, which happens again */
  assert_true(has(&out, "the program has trapped: out of bounds memory access in function f at byte 0x"));
  assert_true(has(&out, "  accesses address 0x10000, beyond the end\n  0x0000fff0  00 00"));
  assert_true(has(&out, "   0: f(9) at byte 0x"));
  buffer_clear(&out);
}

/* Every step forwards, then every step backwards: the same places with the same gas. */
static void test_back(void **state) {
  (void)state;
  struct steps s = trace_steps("4");
  struct buffer script = {0};
  buffer_format(&script, "goto %zu\\n", s.n);
  for (size_t i = 1; i < s.n; i++) buffer_append_string(&script, "back\\n");
  buffer_append(&script, "", 1);
  struct buffer out = debug((const char *)script.bytes, "4");
  const char *line = strchr((const char *)out.bytes, '\n') + 1;
  for (size_t i = s.n; i-- > 0; line = strchr(line, '\n') + 1) {
    char wanted[64];
    int n = snprintf(wanted, sizeof wanted, "[%zu, gas %llu] ", i + 1, (unsigned long long)s.gas[i]);
    const char *offset = strstr(line, " at byte ");
    if (strncmp(line, wanted, (size_t)n) || !offset || strtoull(offset + 9, NULL, 16) != s.offset[i])
      fail_msg("step %zu: %.60s", i + 1, line);
  }
  buffer_clear(&out);
  buffer_clear(&script);
  buffer_clear(&s.text);
  out = debug("break sum\\nbreak touch\\ncontinue\\ncontinue\\ncontinue\\nreverse\\nreverse\\nreverse\\n", "4");
  const char *ended = strstr((const char *)out.bytes, "the program has ended");
  assert_non_null(ended);
  const char *touch = strstr(ended, "breakpoint 2\n"), *sum = touch ? strstr(touch, "breakpoint 1\n") : NULL;
  assert_non_null(sum);
  assert_non_null(strstr(sum, "[1, gas 7111] f at byte"));
  buffer_clear(&out);
}

static int assemble(const char *text, size_t size, char *out, size_t out_size) {
  char path[] = "/tmp/gasworks-test-run-XXXXXX", command[256];
  int fd = mkstemp(path);
  if (fd < 0 || write(fd, text, size) != (ssize_t)size) return -1;
  close(fd);
  snprintf(out, out_size, "%s.wasm", path);
  snprintf(command, sizeof command, "wat2wasm --debug-names --enable-tail-call %s -o %s", path, out);
  int status = system(command);
  unlink(path);
  return status;
}

static int setup(void **state) {
  (void)state;
  return assemble(spinner, sizeof spinner - 1, wasm, sizeof wasm) ||
         assemble(stepped, sizeof stepped - 1, stepped_wasm, sizeof stepped_wasm) ||
         assemble(ways, sizeof ways - 1, ways_wasm, sizeof ways_wasm);
}

static int teardown(void **state) {
  (void)state;
  return unlink(wasm) | unlink(stepped_wasm) | unlink(ways_wasm);
}

/* What happens before a function's first instruction has its place; mangled names are shown as they were written. */
static void test_place_of_entry(void **state) {
  (void)state;
  static const char text[] = "(module (func $_ZN4deep5again17h0123456789abcdefE (export \"f\") (result i32)"
                             " (i32.add (i32.const 1) (call $_ZN4deep5again17h0123456789abcdefE))))";
  static const char *const tiers[] = {"fast", "auto", "precise", "precise"};
  char path[64];
  int exit_code;
  assert_int_equal(assemble(text, sizeof text - 1, path, sizeof path), 0);
  for (int i = 0; i < 4; i++) {
    const char *limit = i < 3 ? "" : "--gas-limit 1";
    struct buffer out = shell(&exit_code, GASWORKS " run --tier %s %s --invoke f %s | head -2", tiers[i], limit, path);
    const char *what = i < 3 ? "call stack exhausted" : "out of gas";
    if (!has(&out, what) || !has(&out, " in function deep::again at byte 0x1f\n") ||
        !has(&out, "   0: deep::again at byte 0x1f\n"))
      fail_msg("%s %s: %s", tiers[i], limit, out.bytes);
    buffer_clear(&out);
  }
  unlink(path);
}

/* Files that are no modules are named for what they are; imports are told before anything is compiled, so that this program needs
 * no compiler for it. */
static void test_refused(void **state) {
  (void)state;
  static const struct {
    const char *make, *said;
  } files[] = {
      {"printf '\\000asm\\015\\000\\001\\000'", ": this is a WebAssembly component"},
      {"printf '(module)'", ": this is WebAssembly's text form"},
      {"printf ';; x\\n (module)'", ": this is WebAssembly's text form"},
      {"printf '\\177ELF'", ": this is a native program"},
      {"echo | gzip", ": this is compressed with gzip"},
      {"printf ''", ": "},
      {"printf '\\000asm\\001\\000\\000\\000\\006\\006\\001\\154\\000\\320\\154\\013'", "unsupported feature: gc"},
      {"printf '\\000asm\\001\\000\\000\\000\\001\\007\\001\\140\\001\\144\\344\\000\\000'", "unknown type 100 (at byte 0xb)"},
  };
  static const struct {
    const char *imports, *said;
  } modules[] = {
      {"(import \"env\" \"x\" (func))", "unknown import env.x (at byte"},
      {"(import \"env\" \"x\" (func)) (import \"env\" \"__syscall_openat\" (func))", "env.x and 1 more: Emscripten's; build"},
      {"(import \"gojs\" \"runtime.wasmExit\" (func))", "Go's for a JavaScript host; build with GOOS=wasip1"},
      {"(import \"wbg\" \"__wbindgen_throw\" (func))", "wasm-bindgen's"},
      {"(import \"wasi:cli/exit@0.2.0\" \"exit\" (func))", "WASI preview 2's"},
      {"(import \"wasi_unstable\" \"fd_what\" (func))", "WASI preview 0"},
  };
  char directory[] = "/tmp/gasworks-refused-XXXXXX", path[64];
  int exit_code;
  assert_non_null(mkdtemp(directory));
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    struct buffer out = shell(&exit_code, "cd %s && %s >file && " GASWORKS " run file", directory, files[i].make);
    if (!exit_code || !has(&out, "gasworks: file: ") || !has(&out, files[i].said)) fail_msg("%s: %s", files[i].make, out.bytes);
    buffer_clear(&out);
  }
  struct buffer copied = shell(&exit_code, "cp " GASWORKS " %s/alone", directory);
  buffer_clear(&copied);
  for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
    struct buffer text = {0};
    buffer_format(&text, "(module %s (func (export \"_start\")))", modules[i].imports);
    assert_int_equal(assemble((const char *)text.bytes, text.size, path, sizeof path), 0);
    struct buffer out = shell(&exit_code, "%s/alone run --cache off %s", directory, path);
    if (!exit_code || !has(&out, modules[i].said)) fail_msg("%s: %s", modules[i].imports, out.bytes);
    buffer_clear(&out);
    buffer_clear(&text);
    unlink(path);
  }
  struct buffer removed = shell(&exit_code, "rm -r %s", directory);
  buffer_clear(&removed);
}

/* What a run used of gas decides about how its functions are compiled, and about nothing else. */
static void test_compile_by_profile(void **state) {
  (void)state;
  char directory[] = "/tmp/gasworks-profile-XXXXXX";
  int exit_code;
  assert_non_null(mkdtemp(directory));
  struct buffer out = shell(&exit_code,
                            "cd %s && " GASWORKS " run --folded folded --invoke f %s 300000 && " GASWORKS
                            " run --profile --json --invoke f %s 300000 2>json && for p in folded json; do " GASWORKS
                            " compile --profile $p -o $p.gwa %s && " GASWORKS " run --stats --invoke f $p.gwa 3 || exit 1; done",
                            directory, stepped_wasm, stepped_wasm, stepped_wasm);
  if (exit_code) fail_msg("%s", out.bytes);
  buffer_clear(&out);
  out = shell(&exit_code,
              "cd %s && " GASWORKS " compile -o all.gwa %s && " GASWORKS " compile -O 0 -o none.gwa %s && cmp folded.gwa json.gwa"
              " && ! cmp -s folded.gwa all.gwa && ! cmp -s folded.gwa none.gwa",
              directory, stepped_wasm, stepped_wasm);
  if (exit_code) fail_msg("%s", out.bytes);
  buffer_clear(&out);
  out = shell(&exit_code, "cd %s && echo else 5 >other && " GASWORKS " compile --profile other %s", directory, stepped_wasm);
  assert_true(exit_code && has(&out, "other is no profile of this module"));
  buffer_clear(&out);
  out = shell(&exit_code, GASWORKS " compile --keep %s --profile %s/json %s", directory, directory, stepped_wasm);
  assert_true(exit_code && has(&out, "--keep and --profile do not go together"));
  buffer_clear(&out);
  out = shell(&exit_code, "rm -r %s", directory);
  buffer_clear(&out);
}

/* --- beginning anew ----------------------------------------------------------------------------------------------- */

/* Opens the directory again and again, and looks at its third name: sorting it, on the host's side, is where slices end. */
static const char lister[] =
    "(module (import \"wasi_snapshot_preview1\" \"path_open\""
    "  (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_readdir\" (func $list (param i32 i32 i32 i64 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_close\" (func $close (param i32) (result i32)))"
    " (memory (export \"memory\") 1) (data (i32.const 100) \".\")"
    " (func (export \"f\") (param i32) (result i32) (local $first i32)"
    "  (loop $l"
    "   (if (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 2) (i64.const 0x4000) (i64.const 0)"
    "     (i32.const 0) (i32.const 16)) (then unreachable))"
    "   (if (call $list (i32.load (i32.const 16)) (i32.const 1024) (i32.const 40) (i64.const 2) (i32.const 20))"
    "     (then unreachable))"
    "   (drop (call $close (i32.load (i32.const 16))))"
    "   (if (i32.eqz (local.get $first)) (then (local.set $first (i32.load (i32.const 1048)))))"
    "   (if (i32.ne (local.get $first) (i32.load (i32.const 1048))) (then (return (local.get 0))))"
    "   (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"
    "  (i32.const -1)))";

/* Not in the middle of a host call, which would be made twice: a listing that was half sorted stayed so. */
static void test_anew_beside_host_calls(void **state) {
  (void)state;
  char directory[] = "/tmp/gasworks-lister-XXXXXX", path[64];
  int exit_code;
  assert_non_null(mkdtemp(directory));
  assert_int_equal(assemble(lister, sizeof lister - 1, path, sizeof path), 0);
  struct buffer out = shell(&exit_code,
                            "cd %s && seq 1000 4499 | rev | xargs touch && " GASWORKS
                            " run --tier auto --cache off --dir .::. --invoke f %s 200; cd / && rm -r %s %s",
                            directory, path, directory, path);
  assert_string_equal((const char *)out.bytes, "-1\n");
  buffer_clear(&out);
}

/* The limit of CPU time, and what is said of it, are of a run as a whole: also of its start function and its initialiser. */
static void test_cpu_time_of_all(void **state) {
  (void)state;
  static const char *const modules[] = {"(func $f (export \"_initialize\") (call $spin))", "(start $spin)"};
  static const char spin[] = "(func $spin (local i32) (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0)"
                             " (i32.const 1))) (i32.const 30000000)))))";
  char path[64];
  for (int i = 0; i < 4; i++) {
    int exit_code;
    struct buffer text = {0};
    buffer_format(&text, "(module %s %s (func (export \"f\")))", spin, modules[i / 2]);
    assert_int_equal(assemble((const char *)text.bytes, text.size, path, sizeof path), 0);
    struct buffer out = shell(&exit_code,
                              GASWORKS " run --cache off --tier %s --stats --json --invoke f %s 2>&1 |"
                                       " sed -n 's/.*\"cpu_ns\":[^0-9]*\\([0-9]*\\).*/\\1/p'",
                              i % 2 ? "auto" : "baseline", path);
    if (strtoull((const char *)out.bytes, NULL, 10) < 1000000) fail_msg("%d: %s", i, (const char *)out.bytes);
    buffer_clear(&out);
    buffer_clear(&text);
    unlink(path);
  }
}

/* The trap is in compiled code and comes too late for the judge: no calls are told rather than some of them, or none's places. */
static void test_unjudged_in_mixed(void **state) {
  (void)state;
  static const char text[] =
      "(module (memory 1)"
      " (func $spin (param i32) (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))"
      " (func $load (param i32) (result i64) (call $spin (i32.const 10000)) (i64.load (i32.shl (local.get 0) (i32.const 3))))"
      " (func (export \"f\") (local i32) (loop $l (drop (call $load (i32.shr_u (local.get 0) (i32.const 2))))"
      "  (local.set 0 (i32.add (local.get 0) (i32.const 1))) (br $l))))";
  char path[64];
  int exit_code;
  assert_int_equal(assemble(text, sizeof text - 1, path, sizeof path), 0);
  struct buffer out =
      shell(&exit_code, GASWORKS " run --tier auto --cache off --judge off --stats --invoke f %s | sed '/^gas/d'", path);
  bool is_mixed = has(&out, "mixed"), has_calls = has(&out, "   0: ");
  if (!has(&out, "out of bounds memory access") || is_mixed == has_calls || has(&out, " 0x0\n")) fail_msg("%s", out.bytes);
  buffer_clear(&out);
  unlink(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_tiers),
      cmocka_unit_test(test_hand_over),
      cmocka_unit_test(test_choice),
      cmocka_unit_test(test_cpu_time),
      cmocka_unit_test(test_perf),
      cmocka_unit_test(test_short_program),
      cmocka_unit_test(test_traps),
      cmocka_unit_test(test_place_of_entry),
      cmocka_unit_test(test_trace),
      cmocka_unit_test(test_until_gas),
      cmocka_unit_test(test_debug),
      cmocka_unit_test(test_back),
      cmocka_unit_test(test_ways),
      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_compile_by_profile),
      cmocka_unit_test(test_anew_beside_host_calls),
      cmocka_unit_test(test_cpu_time_of_all),
      cmocka_unit_test(test_unjudged_in_mixed),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
