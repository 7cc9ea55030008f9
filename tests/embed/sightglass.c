/* Drives the library for Sightglass as that tool does: compiles once, instantiates and executes twice, with files for the
 * streams. sightglass LIBRARY */
#include "../check.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* As the tool has it. */
struct config {
  struct {
    const char *bytes;
    size_t size;
  } working_dir, out, err, in;
  struct {
    void *of;
    void (*start)(void *of), (*end)(void *of);
  } compilation, instantiation, execution;
  const char *flags;
  size_t flags_size;
};

static void count(void *of) { ++*(int *)of; }

/* Copies five bytes of standard input to standard output between bench.start and bench.end. */
static const char text[] =
    "(module (import \"bench\" \"start\" (func $start)) (import \"bench\" \"end\" (func $end))"
    "(import \"wasi_snapshot_preview1\" \"fd_read\" (func $read (param i32 i32 i32 i32) (result i32)))"
    "(import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32)))"
    "(memory (export \"memory\") 1) (data (i32.const 0) \"\\20\\00\\00\\00\\05\\00\\00\\00\")"
    "(func (export \"_start\") (call $start) (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))"
    "(drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (call $end)))";

static void write_file(const char *path, const char *bytes) {
  FILE *f = fopen(path, "wb");
  CHECK(f && fputs(bytes, f) >= 0 && fclose(f) == 0);
}

static size_t read_file(const char *path, char *out, size_t size) {
  FILE *f = fopen(path, "rb");
  CHECK(f);
  size_t n = fread(out, 1, size, f);
  fclose(f);
  return n;
}

/* The library's own types of what it is called with have other names. */
__attribute__((no_sanitize("function"))) int main(int argc, char **argv) {
  CHECK(argc == 2);
  char dir[] = "/tmp/gasworks-sightglass-XXXXXX", bytes[4096];
  CHECK(mkdtemp(dir) && chdir(dir) == 0);
  write_file("m.wat", text);
  write_file("in", "hello, world");
  CHECK(system("wat2wasm m.wat -o m.wasm") == 0);
  size_t size = read_file("m.wasm", bytes, sizeof bytes);

  void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) fprintf(stderr, "%s\n", dlerror());
  CHECK(library);
  int (*create)(struct config, void **) = (int (*)(struct config, void **))dlsym(library, "wasm_bench_create");
  void (*release)(void *) = (void (*)(void *))dlsym(library, "wasm_bench_free");
  int (*compile)(void *, const uint8_t *, size_t) =
      (int (*)(void *, const uint8_t *, size_t))dlsym(library, "wasm_bench_compile");
  int (*instantiate)(void *) = (int (*)(void *))dlsym(library, "wasm_bench_instantiate");
  int (*execute)(void *) = (int (*)(void *))dlsym(library, "wasm_bench_execute");
  CHECK(create && release && compile && instantiate && execute);

  int n[3] = {0};
  void *bench = NULL;
  struct config c = {.working_dir = {dir, strlen(dir)},
                     .out = {"out", 3},
                     .err = {"err", 3},
                     .in = {"in", 2},
                     .compilation = {&n[0], count, count},
                     .instantiation = {&n[1], count, count},
                     .execution = {&n[2], count, count},
                     .flags = "O1 loose-traps and more",
                     .flags_size = 14};
  CHECK(create(c, &bench) == 0 && bench);
  CHECK(compile(bench, (const uint8_t *)bytes, size) == 0 && n[0] == 2);
  for (int i = 1; i <= 2; i++) {
    char out[64];
    CHECK(instantiate(bench) == 0 && n[1] == 2 * i);
    CHECK(execute(bench) == 0 && n[2] == 2 * i);
    CHECK(read_file("out", out, sizeof out) == 5 && memcmp(out, "hello", 5) == 0);
  }
  CHECK(compile(bench, (const uint8_t *)"nonsense", 8) == -1);
  release(bench);
  c.flags_size = 23;
  CHECK(create(c, &bench) == -1);
  CHECK(system("rm m.wat m.wasm in out err") == 0 && rmdir(dir) == 0);
  return 0;
}
