/* The price of traps: memory accesses are plain enough for LLVM to vectorise, and yet no load loses its trap and no store before
 * a trap is lost. What machine code looks like is asked of named CPUs, whatever this machine is; only what runs is compiled for
 * it. */
#include "frontend/module.h"
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* The levels, and two CPUs for which LLVM unrolls more and uses wider registers. */
static const char *const cpus[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4", "znver4", "znver5"};

enum { N_CPUS = sizeof cpus / sizeof *cpus };

enum { X = 4096, Y = 16384, N = 1003 };

static const char kernels[] = //
    "typedef unsigned u32; typedef unsigned char u8;\n"
    "#define EXPORT(n) __attribute__((export_name(#n)))\n"
    "EXPORT(saxpy) void saxpy(u32 n, float a, const float *x, float *y) {\n"
    "  for (u32 i = 0; i < n; i++) y[i] = a * x[i] + y[i]; }\n"
    "EXPORT(sum) int sum(const int *p, u32 n) { int s = 0; for (u32 i = 0; i < n; i++) s += p[i]; return s; }\n"
    "EXPORT(mask) void mask(u8 *p, u32 n, u8 key) { for (u32 i = 0; i < n; i++) p[i] ^= key; }\n";

/* What the packed form of each kernel's arithmetic is called, one of two. */
static const struct {
  const char *name, *packed, *packed_too;
} expected[] = {{"saxpy", "mulps", "fmadd"}, {"sum", "paddd", "paddd"}, {"mask", "pxor", "xorps"}};

enum { N_KERNELS = sizeof expected / sizeof *expected };

static struct gw_engine *open_engine(uint32_t level, bool gas) {
  struct gw_error err = {0};
  struct gw_engine *engine =
      gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = level, .gas = gas, .verify = true}, &err);
  if (!engine) wat_fail("engine", err.message);
  return engine;
}

/* --- compiling the kernels ---------------------------------------------------------------------------------------- */

static struct gw_module *compile_source(struct gw_engine *engine, const char *text, const char *flags) {
  char source[] = "/tmp/gasworks-kernels-XXXXXX", binary[64], command[256];
  int fd = mkstemp(source);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, strlen(text)), strlen(text));
  close(fd);
  snprintf(binary, sizeof binary, "%s.wasm", source);
  snprintf(command, sizeof command, "clang-22 --target=wasm32 -x c -O2 %s -nostdlib -Wl,--no-entry -Wl,--export-memory %s -o %s",
           flags, source, binary);
  if (system(command) != 0) fail_msg("%s", command);
  struct buffer bytes = {0};
  struct gw_error err = {0};
  if (!buffer_read_file(&bytes, binary, 1 << 20, &err)) fail_msg("%s", err.message);
  struct gw_module *module = gw_module_create(engine, bytes.bytes, bytes.size, &err);
  if (!module) fail_msg("%s", err.message);
  buffer_clear(&bytes);
  unlink(source);
  unlink(binary);
  return module;
}

/* --- reading machine code ----------------------------------------------------------------------------------------- */

enum { MAX_LINES = 4096 };

struct listing {
  char *text, *lines[MAX_LINES];
  size_t n;
};

static char *assembly_for(struct gw_module *module, const char *cpu) {
  struct gw_error err = {0};
  char *text = gw_module_dump(module, GW_DUMP_ASM, cpu, &err);
  if (!text) fail_msg("%s", err.message);
  return text;
}

/* The lines of function `name` of an assembly text. */
static struct listing list_function(struct gw_module *module, const char *text, const char *name) {
  const struct export *e = module_find_export(gw_module_decoded(module), name, strlen(name));
  assert_non_null(e);
  uint32_t index = e->index;
  struct listing l = {.text = strdup(text)};
  assert_non_null(l.text);
  char label[32], end[32], *rest;
  snprintf(label, sizeof label, "f%u:", index);
  bool is_inside = false;
  for (char *line = strtok_r(l.text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    if (strncmp(line, label, strlen(label)) == 0) is_inside = true;
    if (is_inside && sscanf(line, ".Lfunc_end%31[0-9]:", end) == 1) break;
    if (is_inside && l.n < MAX_LINES) l.lines[l.n++] = line;
  }
  assert_in_range(l.n, 1, MAX_LINES - 1);
  return l;
}

/* The line of the label that a jump in line `at` goes back to, or SIZE_MAX. */
static size_t jump_back(const struct listing *l, size_t at) {
  char target[64];
  if (sscanf(l->lines[at], "\tj%*[a-z]\t%60[.A-Za-z0-9_]", target) != 1) return SIZE_MAX;
  strcat(target, ":");
  for (size_t i = 0; i < at; i++)
    if (strncmp(l->lines[i], target, strlen(target)) == 0) return i;
  return SIZE_MAX;
}

static bool loop_has(const struct listing *l, size_t first, size_t last, const char *word) {
  for (size_t i = first; i <= last; i++)
    if (strstr(l->lines[i], word)) return true;
  return false;
}

static bool loop_has_jump_back(const struct listing *l, size_t first, size_t last) {
  for (size_t i = first; i < last; i++)
    if (jump_back(l, i) != SIZE_MAX && jump_back(l, i) >= first) return true;
  return false;
}

static bool moves_lanes(const struct listing *l, size_t first, size_t last) {
  return loop_has(l, first, last, "gather") || loop_has(l, first, last, "scatter") || loop_has(l, first, last, "pextr");
}

/* LLVM may unroll a vector loop of a known, small count as a whole: Zen 4's 200 doubles are 6 rounds of 256 bytes. Then there is
 * no loop to find, but one piece of code without a label or a jump that does packed arithmetic many times. */
static bool has_packed_run(const struct listing *l, const char *packed) {
  enum { MANY = 8 };
  size_t first = 0, n = 0;
  for (size_t i = 0; i < l->n; i++) {
    if (l->lines[i][0] == '.' || strncmp(l->lines[i], "\tj", 2) == 0) first = i + 1, n = 0;
    n += strstr(l->lines[i], packed) != NULL;
    if (n >= MANY && !moves_lanes(l, first, i)) return true;
  }
  return false;
}

/* Whether some innermost loop does packed arithmetic on neighbours in memory: no lane is moved alone. */
static bool has_packed_loop(struct gw_module *module, const char *text, const char *name, const char *packed,
                            const char *packed_too) {
  struct listing l = list_function(module, text, name);
  bool found = has_packed_run(&l, packed);
  for (size_t last = 0; last < l.n && !found; last++) {
    size_t first = jump_back(&l, last);
    if (first == SIZE_MAX || loop_has_jump_back(&l, first, last)) continue;
    found = (loop_has(&l, first, last, packed) || loop_has(&l, first, last, packed_too)) && !moves_lanes(&l, first, last);
  }
  free(l.text);
  return found;
}

/* --- vector loops ------------------------------------------------------------------------------------------------- */

static void fill(uint8_t *bytes, size_t n) {
  for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(i * 7 + i / 251);
}

static void call(struct gw_instance *instance, const char *name, union gw_value *values, size_t n) {
  struct gw_error err = {0};
  if (!gw_call_export(instance, name, values, n, &err)) fail_msg("%s: %s", name, err.message);
}

/* The kernels compute what they say, at a length that is no multiple of anything. */
static void check_results(struct gw_engine *engine, struct gw_module *module) {
  struct gw_error err = {0};
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.gas_limit = 1 << 30}, &err);
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
  if (!instance) fail_msg("%s", err.message);
  uint8_t *memory = gw_instance_memory(instance, 0, Y + N * 4);
  assert_non_null(memory);
  float x[N], y[N];
  int32_t sum = 0;
  for (int i = 0; i < N; i++) x[i] = (float)i * 0.5f, y[i] = (float)(N - i), sum += 3 * i;
  memcpy(memory + X, x, sizeof x);
  memcpy(memory + Y, y, sizeof y);
  call(instance, "saxpy", (union gw_value[]){{.i32 = N}, {.f32 = 1.5f}, {.i32 = X}, {.i32 = Y}}, 4);
  for (int i = 0; i < N; i++) y[i] = 1.5f * x[i] + y[i];
  assert_memory_equal(memory + Y, y, sizeof y);
  for (int32_t i = 0; i < N; i++) memcpy(memory + X + 4 * i, &(int32_t){3 * i}, 4);
  union gw_value values[3] = {{.i32 = X}, {.i32 = N}};
  call(instance, "sum", values, 2);
  assert_int_equal(values[0].i32, sum);
  uint8_t bytes[N];
  fill(bytes, N);
  fill(memory + X, N);
  call(instance, "mask", (union gw_value[]){{.i32 = X}, {.i32 = N}, {.i32 = 0x5a}}, 3);
  for (int i = 0; i < N; i++) bytes[i] ^= 0x5a;
  assert_memory_equal(memory + X, bytes, N);
  gw_store_destroy(store);
}

static void check_kernels(const char *flags, bool gas) {
  struct gw_engine *engine = open_engine(2, gas);
  struct gw_module *module = compile_source(engine, kernels, flags);
  for (int k = 0; k < N_CPUS; k++) {
    char *text = assembly_for(module, cpus[k]);
    for (int i = 0; i < N_KERNELS; i++)
      if (!has_packed_loop(module, text, expected[i].name, expected[i].packed, expected[i].packed_too))
        fail_msg("%s (clang -O2 %s, gas %s, %s): no packed loop", expected[i].name, flags, gas ? "on" : "off", cpus[k]);
    free(text);
  }
  check_results(engine, module);
  gw_module_release(module);
  gw_engine_destroy(engine);
}

/* Scalar loops are vectorised here. (Where the producer unrolled them, addresses that may wrap separate the copies.) */
static void test_scalar_kernels(void **state) {
  (void)state;
  check_kernels("-fno-unroll-loops", false);
}

/* What the producer vectorised stays so, metered or not. */
static void test_simd_kernels(void **state) {
  (void)state;
  check_kernels("-msimd128", false);
  check_kernels("-msimd128", true);
}

/* --- metering leaves vectors as they are ------------------------------------------------------------------------------ */

/* Numeric kernels as a C programmer writes them; each has one hot loop. */
static const char numeric[] = //
    "typedef unsigned u32; typedef unsigned char u8;\n"
    "#define EXPORT(n) __attribute__((export_name(#n)))\n"
    "EXPORT(saxpy) void saxpy(u32 n, float a, const float *x, float *y) {\n"
    "  for (u32 i = 0; i < n; i++) y[i] = a * x[i] + y[i]; }\n"
    "EXPORT(dot) int dot(const int *p, const int *q, u32 n) { int s = 0; for (u32 i = 0; i < n; i++) s += p[i] * q[i]; return s; "
    "}\n"
    "EXPORT(stencil) void stencil(double *to, const double *from, u32 n) {\n"
    "  for (u32 i = 1; i < n; i++) to[i] = (from[i - 1] + from[i] + from[i + 1]) * 0.25; }\n"
    "EXPORT(most) int most(const int *p, u32 n) { int m = -1; for (u32 i = 0; i < n; i++) m = p[i] > m ? p[i] : m; return m; }\n"
    "EXPORT(row) void row(double *c, const double *b, double a, u32 n) { for (u32 j = 0; j < n; j++) c[j] += a * b[j]; }\n"
    "EXPORT(mask) void mask(u8 *p, u32 n, u8 key) { for (u32 i = 0; i < n; i++) p[i] ^= key; }\n"
    "EXPORT(root) void root(float *p, u32 n) { for (u32 i = 0; i < n; i++) p[i] = __builtin_sqrtf(p[i]); }\n";

static const char *const numeric_names[] = {"saxpy", "dot", "stencil", "most", "row", "mask", "root"};

enum { N_NUMERIC = sizeof numeric_names / sizeof *numeric_names, MAX_MNEMONICS = 128 };

static int compare_words(const void *a, const void *b) { return strcmp(a, b); }

struct words {
  char at[MAX_MNEMONICS][24];
  size_t n, n_wide; /* n_wide: on registers of 32 bytes and more */
};

/* Mnemonics of the instructions on vector registers in an innermost loop that ends at line `last`; none where no such loop ends.
 */
static void find_vectors(const struct listing *l, size_t last, struct words *w) {
  size_t first = jump_back(l, last);
  w->n = w->n_wide = 0;
  if (first == SIZE_MAX || loop_has_jump_back(l, first, last)) return;
  for (size_t i = first; i <= last && w->n < MAX_MNEMONICS; i++) {
    char *word = w->at[w->n];
    if (!strstr(l->lines[i], "mm") || sscanf(l->lines[i], " %23s", word) != 1 || word[0] != 'v') continue;
    w->n_wide += strstr(l->lines[i], "ymm") || strstr(l->lines[i], "zmm");
    w->n++;
  }
}

/* Those of the hot loop, sorted, each once (how many iterations are interleaved may differ), a space behind each. It is the one
 * with the most of them on wide registers; others do what is left of its last round. */
static void list_vectors(struct gw_module *module, const char *text, const char *name, struct buffer *out) {
  struct listing l = list_function(module, text, name);
  struct words w = {.n = 0};
  size_t most = 0, hot = 0;
  for (size_t i = 0; i < l.n; i++) {
    find_vectors(&l, i, &w);
    if (w.n_wide <= most) continue;
    most = w.n_wide;
    hot = i;
  }
  find_vectors(&l, hot, &w);
  qsort(w.at, w.n, sizeof w.at[0], compare_words);
  for (size_t i = 0; i < w.n; i++)
    if (i == 0 || strcmp(w.at[i], w.at[i - 1]) != 0) buffer_format(out, "%s ", w.at[i]);
  buffer_append(out, "", 1);
  free(l.text);
}

static void test_same_vectors(void **state) {
  (void)state;
  struct gw_engine *engines[2] = {open_engine(2, false), open_engine(2, true)};
  struct gw_module *modules[2];
  for (int gas = 0; gas < 2; gas++) modules[gas] = compile_source(engines[gas], numeric, "-fno-unroll-loops");
  for (int k = 1; k < N_CPUS; k++) { /* the first has no wide registers */
    char *texts[2] = {assembly_for(modules[0], cpus[k]), assembly_for(modules[1], cpus[k])};
    for (int i = 0; i < N_NUMERIC; i++) {
      struct buffer off = {0}, on = {0};
      list_vectors(modules[0], texts[0], numeric_names[i], &off);
      list_vectors(modules[1], texts[1], numeric_names[i], &on);
      if (!strstr((const char *)off.bytes, " ")) fail_msg("%s, %s: no vectors", numeric_names[i], cpus[k]);
      if (strcmp((const char *)off.bytes, (const char *)on.bytes) != 0)
        fail_msg("%s, %s\n gas off: %s\n gas on:  %s", numeric_names[i], cpus[k], (const char *)off.bytes,
                 (const char *)on.bytes);
      buffer_clear(&off);
      buffer_clear(&on);
    }
    free(texts[0]);
    free(texts[1]);
  }
  for (int gas = 0; gas < 2; gas++) {
    gw_module_release(modules[gas]);
    gw_engine_destroy(engines[gas]);
  }
}

/* --- canonical NaNs ----------------------------------------------------------------------------------------------------- */

static const char floats[] = //
    "(module (memory 1)"
    "  (func (export \"f64\") (param i32 f64) (f64.store (local.get 0) (f64.mul (local.get 1) (f64.load (local.get 0)))))"
    "  (func (export \"f32\") (param i32 f32) (f32.store (local.get 0) (f32.mul (local.get 1) (f32.load (local.get 0)))))"
    "  (func (export \"f64x2\") (param i32) (v128.store (local.get 0) (f64x2.sqrt (f64x2.neg (v128.load (local.get 0))))))"
    "  (func (export \"f32x4\") (param i32 v128) (v128.store (local.get 0) (f32x4.add (local.get 1) (v128.load (local.get "
    "0))))))";

/* The same on CPUs with AVX-512, by their list, and code for each CPU that has a name: LLVM ends the process where it has no
 * instruction for what it is given. */
static void test_canonical_nans(void **state) {
  (void)state;
  static const struct {
    const char *name;
    bool has_avx512;
  } every[] = {
#define AVX512 true
#define NONE false
#define CPU(name, features) {name, features},
#include "jit/cpu.def"
#undef CPU
  };
  struct gw_engine *engine = open_engine(2, true);
  struct gw_module *module = wat_module(engine, floats);
  for (size_t i = 0; i < sizeof every / sizeof *every; i++) {
    char *text = assembly_for(module, every[i].name);
    bool has_one = strstr(text, "vfixupimm"), has_two = strstr(text, "cmpunord");
    if (has_one != every[i].has_avx512 || (has_two && has_one))
      fail_msg("%s: fixup %d, compare %d", every[i].name, has_one, has_two);
    free(text);
  }
  gw_module_release(module);
  gw_engine_destroy(engine);
}

/* --- traps -------------------------------------------------------------------------------------------------------- */

/* Loads of `size` bytes at the parameter whose value, or part of it, nothing needs. */
static const struct {
  int32_t size;
  const char *body;
} loads[] = {
    {4, "(drop (i32.load (local.get 0)))"},
    {16, "(drop (v128.load (local.get 0)))"},
    {8, "(drop (v128.load8x8_s (local.get 0)))"},
    {8, "(drop (v128.load64_splat (local.get 0)))"},
    {8, "(drop (v128.load64_zero (local.get 0)))"},
    {8, "(drop (v128.load64_lane 1 (local.get 0) (v128.const i64x2 1 2)))"},
    {16, "(local v128) (local.set 1 (v128.load (local.get 0)))"},
    {16, "(local v128) (local.set 1 (v128.load (local.get 0)))" /* needed on one way only, and not on that of the test */
         "(if (i32.load (i32.const 64)) (then (v128.store (i32.const 32) (local.get 1))))"},
    {4, "(result i32) (local i32) (local.set 1 (i32.load (local.get 0))) (local.set 1 (i32.const 5)) (local.get 1)"},
    /* some of the bits */
    {8, "(result i32) (i32.wrap_i64 (i64.load (local.get 0)))"},
    {8, "(result i64) (i64.shr_u (i64.load (local.get 0)) (i64.const 32))"},
    {4, "(result i32) (i32.and (i32.load (local.get 0)) (i32.const 255))"},
    {4, "(result i32) (i32.extend8_s (i32.load (local.get 0)))"},
    {4, "(result i32) (i32.rem_u (i32.load (local.get 0)) (i32.const 256))"},
    {4, "(result i32) (i32.lt_u (i32.load (local.get 0)) (i32.const 256))"},
    {8, "(result i32) (i64.lt_s (i64.load (local.get 0)) (i64.const 0))"},
    {4, "(i32.store8 (i32.const 32) (i32.load (local.get 0)))"},
    {4, "(i32.store8 (i32.const 32) (i32.add (i32.load (local.get 0)) (i32.const 1)))"},
    {8, "(i64.store (local.get 0) (i64.or (i64.load (local.get 0)) (i64.const 255)))"},
    {16, "(result i32) (i32x4.extract_lane 0 (v128.load (local.get 0)))"},
    {16, "(result f32) (f32x4.extract_lane 1 (f32x4.add (v128.load (local.get 0)) (v128.load (i32.const 0))))"},
    {16, "(v128.store (i32.const 32) (i8x16.shuffle 0 1 2 3 0 1 2 3 0 1 2 3 0 1 2 3 (v128.load (local.get 0)) (v128.const i64x2 "
         "0 0)))"},
    {16, "(v128.store (i32.const 32) (i64x2.extend_low_i32x4_u (v128.load (local.get 0))))"},
    {8, "(i64.store8 (i32.const 32) (i64.load32_u offset=4 (local.get 0)))"},
    /* the same result, whatever it is */
    {4, "(result i32) (i32.and (i32.load (local.get 0)) (i32.const 0))"},
    {4, "(result i32) (local i32) (i32.and (i32.load (local.get 0)) (local.get 1))"},
    {4, "(result i32) (local i32) (i32.xor (local.tee 1 (i32.load (local.get 0))) (local.get 1))"},
    {4, "(result i32) (i32.sub (i32.load (local.get 0)) (i32.load (local.get 0)))"},
    {16, "(result i32) (i32x4.extract_lane 3 (v128.and (v128.load (local.get 0)) (v128.const i64x2 0 0)))"},
    {4, "(result i32) (select (i32.const 3) (i32.const 3) (i32.load (local.get 0)))"},
    {4, "(if (i32.load (local.get 0)) (then) (else))"},
    {4, "(block (br_table 0 0 0 (i32.load (local.get 0))))"},
    {4, "(result i32) (if (result i32) (i32.load (local.get 0)) (then (i32.const 1)) (else (i32.const 1)))"},
    {4, "(drop (if (result i32) (i32.load (local.get 0)) (then (i32.const 1)) (else (i32.const 2))))"},
};

enum { N_LOADS = sizeof loads / sizeof *loads };

static struct gw_module *loads_module(struct gw_engine *engine) {
  static char text[16384] = "(module (memory 1)";
  size_t n = strlen("(module (memory 1)");
  for (int i = 0; i < N_LOADS; i++)
    n += (size_t)snprintf(text + n, sizeof text - n, "(func (export \"%d\") (param i32) %s)", i, loads[i].body);
  snprintf(text + n, sizeof text - n, ")");
  return wat_module(engine, text);
}

static enum gw_trap trap_of(struct gw_instance *instance, const char *name, union gw_value *values, size_t n) {
  struct gw_error err = {0};
  if (gw_call_export(instance, name, values, n, &err)) return GW_TRAP_NONE;
  if (err.code != GW_ERROR_TRAP) fail_msg("%s: %s", name, err.message);
  return err.trap;
}

static void check_loads(uint32_t level, bool gas, unsigned *n_lost) {
  struct gw_error err = {0};
  struct gw_engine *engine = open_engine(level, gas);
  struct gw_module *module = loads_module(engine);
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.gas_limit = 1 << 30}, &err);
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
  if (!instance) fail_msg("%s", err.message);
  for (int i = 0; i < N_LOADS; i++) {
    char name[16];
    snprintf(name, sizeof name, "%d", i);
    for (int32_t outside = 0; outside <= loads[i].size; outside++) { /* how many of its bytes are */
      union gw_value values[1] = {{.i32 = 65536 - loads[i].size + outside}};
      enum gw_trap trap = trap_of(instance, name, values, 1);
      if (trap == (outside ? GW_TRAP_MEMORY_OUT_OF_BOUNDS : GW_TRAP_NONE)) continue;
      print_error("%s, %d of %d bytes outside: %s (-O%u, gas %s)\n", loads[i].body, outside, loads[i].size, gw_trap_message(trap),
                  level, gas ? "on" : "off");
      ++*n_lost;
    }
  }
  gw_store_destroy(store);
  gw_module_release(module);
  gw_engine_destroy(engine);
}

static void test_dead_loads(void **state) {
  (void)state;
  unsigned n_lost = 0;
  for (uint32_t level = 0; level <= 3; level++) {
    check_loads(level, false, &n_lost);
    check_loads(level, true, &n_lost);
  }
  assert_int_equal(n_lost, 0);
}

/* Each stores 1 to 16 and then traps. Where memory faults, LLVM may have put off a store that a later one overwrites, or merges
 * with; nothing but -O0 keeps those apart (docs/architecture.md). */
static const struct {
  bool is_kept_by_optimizer;
  const char *body;
} stores[] = {
    {true, "(i32.store (i32.const 16) (i32.const 1)) unreachable"},
    {true, "(i32.store (i32.const 16) (i32.const 1)) unreachable (i32.store (i32.const 16) (i32.const 2))"},
    {true, "(i32.store (i32.const 16) (i32.const 1)) (drop (i32.div_u (i32.const 1) (i32.load (i32.const 0))))"
           "(i32.store (i32.const 16) (i32.const 2))"},
    {true, "(i32.store (i32.const 16) (i32.const 1)) (memory.fill (i32.const 0) (i32.const 0) (i32.const 65537))"
           "(i32.store (i32.const 16) (i32.const 2))"},
    {true, "(i32.store (i32.const 16) (i32.const 1)) (drop (i32.load (i32.const 65536)))"},
    {true, "(i32.store (i32.const 16) (i32.const 1)) (i32.store (i32.const 32) (i32.load (i32.const 65536)))"},
    {true, "(i32.store (i32.const 16) (i32.const 1)) (i32.store (i32.const 65536) (i32.const 1))"},
    {true, "(i32.store (i32.const 16) (i32.const 1)) (drop (v128.load (i32.const 65530)))"},
    {true, "(v128.store (i32.const 16) (v128.const i32x4 1 0 0 0)) (v128.store (i32.const 32) (v128.load (i32.const 65530)))"},
    {true, "(local $i i32) (local.set $i (i32.const 65528))" /* a value in memory that could live in a register */
           "(loop $l (i32.store (i32.const 16) (i32.add (i32.load8_u (local.get $i)) (i32.const 1)))"
           "         (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $l))"},
    {false, "(i32.store (i32.const 16) (i32.const 1)) (i32.store (i32.const 32) (i32.load (i32.const 65536)))"
            "(i32.store (i32.const 16) (i32.const 2))"},
    {false, "(i32.store (i32.const 16) (i32.const 1)) (i32.store (i32.const 65534) (i32.const 1))"
            "(i32.store (i32.const 16) (i32.const 2))"},
    {false,
     "(i32.store (i32.const 16) (i32.const 1)) (drop (i32.load (i32.const 65536))) (i32.store (i32.const 20) (i32.const 2))"},
};

enum { N_STORES = sizeof stores / sizeof *stores };

static struct gw_module *stores_module(struct gw_engine *engine) {
  static char text[16384] = "(module (memory 1)";
  size_t n = strlen("(module (memory 1)");
  for (int i = 0; i < N_STORES; i++)
    n += (size_t)snprintf(text + n, sizeof text - n, "(func (export \"%d\") %s)", i, stores[i].body);
  snprintf(text + n, sizeof text - n, ")");
  return wat_module(engine, text);
}

static void check_stores(uint32_t level, bool gas, unsigned *n_lost) {
  struct gw_error err = {0};
  struct gw_engine *engine = open_engine(level, gas);
  struct gw_module *module = stores_module(engine);
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.gas_limit = 1 << 30}, &err);
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
  if (!instance) fail_msg("%s", err.message);
  uint8_t *memory = gw_instance_memory(instance, 0, 65536);
  for (int i = 0; i < N_STORES; i++) {
    if (level > 0 && !stores[i].is_kept_by_optimizer) continue;
    char name[16];
    int32_t cells[2];
    snprintf(name, sizeof name, "%d", i);
    memset(memory, 0, 64);
    enum gw_trap trap = trap_of(instance, name, NULL, 0);
    memcpy(cells, memory + 16, sizeof cells);
    if (trap != GW_TRAP_NONE && cells[0] == 1 && cells[1] == 0) continue;
    print_error("%s: %s, stored %d and %d (-O%u, gas %s)\n", stores[i].body, gw_trap_message(trap), cells[0], cells[1], level,
                gas ? "on" : "off");
    ++*n_lost;
  }
  gw_store_destroy(store);
  gw_module_release(module);
  gw_engine_destroy(engine);
}

static void test_stores_before_traps(void **state) {
  (void)state;
  unsigned n_lost = 0;
  for (uint32_t level = 0; level <= 3; level++) {
    check_stores(level, false, &n_lost);
    check_stores(level, true, &n_lost);
  }
  assert_int_equal(n_lost, 0);
}

/* --- loops that the producer unrolled ---------------------------------------------------------------------------------- */

/* Called with n, three places that may overlap, and a number. U2 and so on: unrolled by clang. */
static const char unrolled_head[] = "typedef unsigned u32; typedef unsigned char u8; typedef unsigned short u16;\n"
                                    "typedef unsigned long long u64;\n"
                                    "#define A(type) type *a = (type *)a_at, *b = (type *)b_at, *c = (type *)c_at\n"
                                    "#define U2 _Pragma(\"clang loop unroll_count(2) vectorize(disable)\")\n"
                                    "#define U4 _Pragma(\"clang loop unroll_count(4) vectorize(disable)\")\n"
                                    "#define U8 _Pragma(\"clang loop unroll_count(8) vectorize(disable)\")\n";

/* `packed`: what LLVM makes of it when it is a loop again, or NULL. `first_cpu`: from which of the CPUs on it does so; for two
 * doubles at once it does not take it to be worth the comparisons of what overlaps. */
static const struct {
  const char *name, *body, *packed;
  int first_cpu;
} unrolled[] = {
    {"row", "A(double); U2 for (u32 j = 0; j < 200; j++) c[j] += 1.5 * a[k] * b[j];", "mulpd", 0},
    {"row4", "A(float); U4 for (u32 j = 0; j < 200; j++) c[j] += a[k] * b[j];", "mulps", 0},
    {"some", "A(double); n &= ~7u; U4 for (u32 j = 0; j != n; j++) c[j] = a[j] - b[j];", "subpd", 1},
    {"any", "A(int); U4 for (u32 j = 0; j < n; j++) c[j] = a[j] ^ b[j];", NULL, 0},
    {"bytes", "A(u8); U8 for (u32 j = 0; j < 4800; j++) c[j] = a[j] + b[j] * 3;", "paddb", 0},
    {"mixed", "A(double); float *f = (float *)b_at; U2 for (u32 j = 0; j < 64; j++) c[j] = f[j] * a[1];", NULL, 0},
    {"two", "A(u32); U2 for (u32 j = 0; j < 64; j++) { c[j] = b[j] * 5; a[j] += c[j]; }", NULL, 0},
    {"wide", "A(u64); U2 for (u32 j = 0; j < 64; j++) c[2 * j] = b[j] + a[3 * j + 1];", NULL, 0},
    {"times", "A(u32); U4 for (u32 j = 0; j < 64; j++) c[j] = j * k;", NULL, 0},
    {"even", "A(u32); U4 for (u32 j = 0; j < 64; j++) c[j & ~1u] += b[j | 1];", NULL, 0},
    {"down", "A(u32); U4 for (u32 j = 64; j > 0; j--) c[j - 1] = b[j - 1] + a[k];", NULL, 0},
    {"near", "A(u32); U4 for (u32 j = 1; j < 65; j++) c[j] = c[j - 1] + b[j + 1];", NULL, 0},
    {"sum", "A(u32); u32 s = k; U4 for (u32 j = 0; j < 64; j++) { s += a[j]; c[j] = s; }", NULL, 0},
    {"same", "A(u32); U4 for (u32 j = 0; j < 64; j++) c[0] += b[j];", NULL, 0},
    {"tail", "A(u16); u32 j = 0; U4 for (; j < 64; j++) c[j] = b[j] << 1; c[j] = k + j;", NULL, 0},
    {"until", "A(u32); u32 *p = b, *q = c, *end = b + (n & ~3u); U4 for (; p != end; p++) *q++ = *p + k;", "paddd", 0},
    {"swap", "A(u32); U2 for (u32 j = 0; j != 64; j += 2) { c[j] = b[j + 1]; c[j + 1] = b[j]; }", NULL, 0},
    {"apart", "A(u32); for (u32 j = 0; j != 64; j += 2) { c[j] = b[j] + k; c[j + 1] = b[j + 3] + k; }", NULL, 0},
    {"other", "A(u32); for (u32 j = 0; j != 64; j += 2) { c[j] = b[j] + k; c[j + 1] = b[j + 1] - k; }", NULL, 0},
    {"uneven", "A(u32); for (u32 j = 0; j != n; j += 2) { c[j] = b[j] + k; c[j + 1] = b[j + 1] + k; }", NULL, 0},
};
enum { N_UNROLLED = sizeof unrolled / sizeof *unrolled };

static struct gw_module *compile_unrolled(struct gw_engine *engine) {
  struct buffer source = {0};
  buffer_append_string(&source, unrolled_head);
  for (size_t i = 0; i < N_UNROLLED; i++)
    buffer_format(&source, "__attribute__((export_name(\"%s\"))) void f_%s(u32 n, u32 c_at, u32 b_at, u32 a_at, u32 k) { %s }\n",
                  unrolled[i].name, unrolled[i].name, unrolled[i].body);
  buffer_append(&source, "", 1);
  struct gw_module *module =
      compile_source(engine, (const char *)source.bytes, "-fno-strict-aliasing -Wl,--initial-memory=131072");
  buffer_clear(&source);
  return module;
}

struct ending {
  enum gw_trap trap;
  uint64_t gas, hash;
};

static struct ending run_unrolled(struct gw_instance *instance, const char *name, const uint32_t *numbers, uint32_t size) {
  struct gw_error err = {0};
  union gw_value values[5];
  uint8_t *memory = gw_instance_memory(instance, 0, size);
  fill(memory, size);
  for (int i = 0; i < 5; i++) values[i].u32 = numbers[i];
  gw_call_export(instance, name, values, 5, &err);
  struct ending e = {.trap = err.trap, .gas = gw_store_gas_used(gw_instance_store(instance)), .hash = 14695981039346656037u};
  memory = gw_instance_memory(instance, 0, size);
  for (uint32_t i = 0; i < size; i++) e.hash = (e.hash ^ memory[i]) * 1099511628211u;
  return e;
}

/* What a fault leaves in memory, and its gas, are exact in the interpreter only. */
static void expect_ending(const char *name, const uint32_t *numbers, struct ending wanted, struct ending got, const char *how) {
  bool is_same = wanted.trap == got.trap && (wanted.trap || (wanted.hash == got.hash && (!got.gas || got.gas == wanted.gas)));
  if (!is_same)
    fail_msg("%s(%u, %u, %u, %u, %u) %s: trap %d gas %llu hash %llx; wanted trap %d gas %llu hash %llx", name, numbers[0],
             numbers[1], numbers[2], numbers[3], numbers[4], how, got.trap, (unsigned long long)got.gas,
             (unsigned long long)got.hash, wanted.trap, (unsigned long long)wanted.gas, (unsigned long long)wanted.hash);
}

static struct gw_instance *open_instance(struct gw_engine *engine, struct gw_module *module, enum gw_tier tier) {
  struct gw_error err = {0};
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.tier = tier}, &err);
  struct gw_instance *instance = store ? gw_instance_create(store, module, NULL, NULL, &err) : NULL;
  if (!instance) fail_msg("%s", err.message);
  return instance;
}

/* They do what they say, whatever overlaps: c, b and a begin at distances of less than a round, far apart, and where the memory
 * ends in the middle of them, and at the last index of all. */
static void test_unrolled_results(void **state) {
  (void)state;
  static const char *const hows[] = {"-O1", "-O2 gas off", "-O3"};
  struct gw_engine *engines[3] = {open_engine(1, true), open_engine(2, false), open_engine(3, true)};
  struct gw_module *modules[3];
  struct gw_instance *instances[3];
  for (int i = 0; i < 3; i++) {
    modules[i] = compile_unrolled(engines[i]);
    instances[i] = open_instance(engines[i], modules[i], GW_TIER_FAST);
  }
  struct gw_instance *precise = open_instance(engines[0], modules[0], GW_TIER_PRECISE);
  const uint32_t size = 2 * 65536;
  uint32_t random = 12345;
  for (int i = 0; i < N_UNROLLED * 60; i++) {
    static const uint32_t starts[] = {4096, 4096, 4096, 20000, 2 * 65536 - 300, UINT32_MAX - 15, UINT32_MAX - 65535};
    uint32_t numbers[5];
    for (int k = 0; k < 5; k++) {
      random = random * 1664525 + 1013904223;
      uint32_t dice = random >> 16;
      numbers[k] = k == 0 ? dice % 70 : k == 4 ? dice % 5 : starts[dice % (i % 3 ? 4 : 7)] + dice / 7 % 40 * (i & 4 ? 8 : 1);
    }
    const char *name = unrolled[i % N_UNROLLED].name;
    struct ending wanted = run_unrolled(precise, name, numbers, size);
    for (int k = 0; k < 3; k++) expect_ending(name, numbers, wanted, run_unrolled(instances[k], name, numbers, size), hows[k]);
  }
  gw_store_destroy(gw_instance_store(precise));
  for (int i = 0; i < 3; i++) {
    gw_store_destroy(gw_instance_store(instances[i]));
    gw_module_release(modules[i]);
    gw_engine_destroy(engines[i]);
  }
}

/* A loop that steps over its bound goes on to the end of the memory. (C would not say so: clang takes it that loops end.) */
static void test_unrolled_uneven(void **state) {
  (void)state;
  static const char text[] =
      "(module (memory 2) (func (export \"f\") (param $n i32) (result i32) (local $i i32) (local $p i32)"
      " (loop (i32.store (local.get $p) (i32.const 5)) (i32.store (i32.add (local.get $p) (i32.const 4)) (i32.const 5))"
      "  (local.set $p (i32.add (local.get $p) (i32.const 8)))"
      "  (br_if 0 (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 2))) (local.get $n)))) (local.get $p)))";
  for (uint32_t level = 0; level < 8; level++) {
    struct gw_engine *engine = open_engine(level & 3, level > 3);
    struct gw_module *module = wat_module(engine, text);
    struct gw_instance *instance = open_instance(engine, module, GW_TIER_FAST);
    for (uint32_t n = 6; n < 8; n++) {
      struct gw_error err = {0};
      union gw_value value = {.u32 = n};
      gw_call_export(instance, "f", &value, 1, &err);
      assert_int_equal(err.trap, n == 6 ? GW_TRAP_NONE : GW_TRAP_MEMORY_OUT_OF_BOUNDS);
      if (n == 6) assert_int_equal(value.u32, 24);
    }
    gw_store_destroy(gw_instance_store(instance));
    gw_module_release(module);
    gw_engine_destroy(engine);
  }
}

/* And they are vectorised, metered or not. */
static void test_unrolled_kernels(void **state) {
  (void)state;
  for (int gas = 0; gas < 2; gas++) {
    struct gw_engine *engine = open_engine(2, gas);
    struct gw_module *module = compile_unrolled(engine);
    for (int k = 0; k < N_CPUS; k++) {
      char *text = assembly_for(module, cpus[k]);
      for (size_t i = 0; i < N_UNROLLED; i++)
        if (unrolled[i].packed && k >= unrolled[i].first_cpu &&
            !has_packed_loop(module, text, unrolled[i].name, unrolled[i].packed, unrolled[i].packed))
          fail_msg("%s, gas %s, %s: no packed loop", unrolled[i].name, gas ? "on" : "off", cpus[k]);
      free(text);
    }
    gw_module_release(module);
    gw_engine_destroy(engine);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_unrolled_results), cmocka_unit_test(test_unrolled_uneven), cmocka_unit_test(test_unrolled_kernels),
      cmocka_unit_test(test_scalar_kernels),   cmocka_unit_test(test_simd_kernels),    cmocka_unit_test(test_same_vectors),
      cmocka_unit_test(test_canonical_nans),   cmocka_unit_test(test_dead_loads),      cmocka_unit_test(test_stores_before_traps),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
