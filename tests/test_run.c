/* The program's `run` with tiers: what a program reads and writes is the same in each, once each, and traps are told alike. */
#include "base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
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

static char wasm[64];

/* Everything that `sh -c` prints for "gasworks ...", NUL-terminated; clear it. */
static struct buffer run(int *exit_code, const char *format, ...) {
  char command[1024];
  struct buffer out = {0};
  int n = snprintf(command, sizeof command, "exec 2>&1; ");
  va_list args;
  va_start(args, format);
  vsnprintf(command + n, sizeof command - (size_t)n, format, args);
  va_end(args);
  FILE *pipe = popen(command, "r");
  assert_non_null(pipe);
  for (size_t got = 1; got > 0; out.size += got) got = fread(buffer_reserve(&out, 4096), 1, 4096, pipe);
  int status = pclose(pipe);
  *exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  buffer_append(&out, "", 1);
  return out;
}

#define GASWORKS BUILD_DIR "/gasworks"

static void test_tiers(void **state) {
  (void)state;
  static const char expected[] = "again and\naagain and\nbagain and\ncagain and\ndagain and\neagain and\nf";
  static const char *const tiers[] = {"fast", "precise", "auto"};
  for (int i = 0; i < 3; i++) {
    int exit_code;
    struct buffer out = run(&exit_code, "echo abcdefgh | " GASWORKS " run --tier %s %s", tiers[i], wasm);
    assert_string_equal((const char *)out.bytes, expected);
    assert_int_equal(exit_code, 0);
    buffer_clear(&out);
  }
}

/* The interpreter hands over in the middle: code was compiled, and yet everything was written once. */
static void test_hand_over(void **state) {
  (void)state;
  int exit_code;
  struct buffer out = run(&exit_code, "echo abcdefgh | " GASWORKS " run --tier auto --stats %s 2>&1 | grep '^code'", wasm);
  assert_true(strtoul((const char *)out.bytes + 4, NULL, 10) > 0);
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
        run(&exit_code, "echo 'abcde!gh' | " GASWORKS " run %s --stats %s 2>&1 | sed '/^code/,$d'", options[i], wasm);
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
  int exit_code;
  struct buffer out = run(&exit_code, "echo 'abcde!gh' | " GASWORKS " run --judge off %s", wasm);
  assert_non_null(strstr((const char *)out.bytes, "!gasworks: out of bounds memory access in function load at address 0x10000"));
  assert_int_equal(exit_code, 134);
  buffer_clear(&out);
}

static int setup(void **state) {
  (void)state;
  char text[] = "/tmp/gasworks-test-run-XXXXXX", command[256];
  int fd = mkstemp(text);
  if (fd < 0 || write(fd, spinner, sizeof spinner - 1) != sizeof spinner - 1) return -1;
  close(fd);
  snprintf(wasm, sizeof wasm, "%s.wasm", text);
  snprintf(command, sizeof command, "wat2wasm --debug-names %s -o %s", text, wasm);
  int status = system(command);
  unlink(text);
  return status;
}

static int teardown(void **state) {
  (void)state;
  return unlink(wasm);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_tiers),
      cmocka_unit_test(test_hand_over),
      cmocka_unit_test(test_traps),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
