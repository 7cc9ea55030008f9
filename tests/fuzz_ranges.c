/* fuzz_ranges: random loops that count, near the edges of memories of every kind, in every level and CPU level.
 *
 *   fuzz_ranges [--seed N] [--count N] [--seconds N] [--verbose 1]
 *
 * What compiled code looks at in front of a loop (jit/access/ranges.c) must be inside just when every load is. Counters step up
 * and down, are compared in every way on either side, before or after they step, and wrap; bounds are constants, parameters, read
 * or sizes of memory. Addresses are products, shifts, sums and differences of counters. Bodies load always or sometimes, store,
 * grow the memory, call, are left early, also by tail calls, and lie in other loops. Some memories are imported, have 64-bit
 * indices, or all of 4 GiB but the last page. Each call must end as in the precise tier: same trap, or same
 * result, gas and memory. A case is one module; --verbose prints those that differ. Exit code: 0 when all agree.
 */
#include "gasworks.h"
#include "jit/artifact/cpu.h"
#include "tests/for_cpu.h"
#include "tests/fuzz_options.h"
#include "tests/wat.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { MOST_SECONDS = 100 /* of CPU time, of a module */ };
enum { N_FUNCS = 24, N_CALLS = 24, DIGEST_BYTES = 8192, ROOM = 1 << 18, GAS_LIMIT = 20000 };

/* --- random numbers ------------------------------------------------------------------------------------------------- */

static uint64_t random_state;

static uint32_t below(uint32_t n) { /* splitmix64 */
  uint64_t z = (random_state += 0x9e3779b97f4a7c15ull);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return (uint32_t)((z ^ z >> 31) % n);
}

static bool one_in(uint32_t n) { return below(n) == 0; }
#define PICK(list) (list)[below(sizeof(list) / sizeof *(list))]

/* --- text ------------------------------------------------------------------------------------------------------------ */

static char text[ROOM];
static size_t size;

__attribute__((format(printf, 1, 2))) static void put(const char *format, ...) {
  va_list list;
  va_start(list, format);
  size += (size_t)vsnprintf(text + size, ROOM - size, format, list);
  va_end(list);
  if (size >= ROOM) abort();
}

static const char *memory_name; /* of the loop at hand: "", or a second one's */
static struct {
  bool is_64, is_imported, is_large; /* the first memory */
  bool has_tail_calls;
} shape;

static bool is_64(void) { return shape.is_64 && !*memory_name; }

static int32_t small(void) {
  static const int32_t numbers[] = {0, 1, 1,  2,  3,  4,   4,    4,     4,     2,     1,     8,     8,
                                    7, 8, 12, 16, 64, 100, 4096, 16380, 16384, 16388, 32768, 40000, 65536};
  int32_t n = PICK(numbers);
  return one_in(3) ? -n : n;
}

static void invariant(void) {
  static const char *const of[] = {"(local.get $p)", "(local.get $q)", "(local.get $n)",
                                   "(i32.mul (local.get $q) (local.get $p))", "(i32.and (local.get $p) (i32.const -4))"};
  one_in(2) ? put("(i32.const %d)", small()) : put("%s", PICK(of));
}

/* What moves in the loop, in one way or another. */
static void index_of(int depth) {
  static const char *const counters[] = {"(local.get $i)", "(local.get $at)", "(local.get $at)"};
  if (!depth) {
    put("%s", PICK(counters));
    return;
  }
  static const char *const sums[] = {"add", "add", "add", "sub", "or", "xor", "and"};
  switch (below(6)) {
  case 0: put("(i32.shl "), index_of(depth - 1), put("(i32.const %u))", below(one_in(4) ? 33 : 5)); break;
  case 1: put("(i32.mul "), index_of(depth - 1), put("(i32.const %d))", small()); break;
  case 2: put("(i32.sub "), invariant(), index_of(depth - 1), put(")"); break;
  case 3: put("(i32.add "), index_of(depth - 1), index_of(depth - 1), put(")"); break;
  default: put("(i32.%s ", PICK(sums)), index_of(depth - 1), invariant(), put(")");
  }
}

static void address(int depth) {
  if (is_64()) put("(i64.extend_i32_%s ", one_in(4) ? "s" : "u");
  index_of(depth);
  if (is_64()) put(")");
}

static void memory_and_offset(void) {
  static const uint32_t offsets[] = {0, 0, 0, 0, 0, 0, 0, 0, 0,     0,     0,        0,          0,         0,
                                     0, 0, 1, 3, 4, 8, 8, 8, 65532, 65536, 1u << 30, 0x7fffffff, 0xfffffff0};
  put("%s offset=%u ", memory_name, PICK(offsets));
}

/* A load as an i32, whose value may be needed or not. */
static void load(void) {
  static const char *const loads[] = {"i32.load", "i32.load8_u", "i32.load16_s", "i32.load8_s"};
  static const char *const wide[] = {"i64.load", "i64.load32_u", "i64.load8_s"};
  int kind = (int)below(8);
  if (kind == 0) put("(i32.wrap_i64 (%s ", PICK(wide));
  if (kind == 1) put("(i32.trunc_sat_f64_s (f64.load ");
  if (kind == 2) put("(i32x4.extract_lane 1 (v128.load ");
  if (kind > 2) put("(%s ", PICK(loads));
  memory_and_offset(), address((int)below(5) / 2), put(kind > 2 ? ")" : "))");
}

static void use(void) {
  static const char *const uses[] = {"(drop ", "(drop ", "(local.set $x (i32.add (local.get $x) ",
                                     "(local.set $x (i32.and (i32.const 0) ", "(local.set $y (i32.or (i32.const 255) "};
  unsigned kind = below(5);
  put("%s", uses[kind]), load(), put(kind < 2 ? ")\n" : "))\n");
}

static void statement(void) {
  static const char *const others[] = {"(drop (call $size))",
                                       "(call $grows (i32.sub (local.get $i) (i32.const 1)))",
                                       "(call $leaf (local.get $at))",
                                       "(call $grows (local.get $i))",
                                       "(call_indirect (type $t) (local.get $at) (i32.and (local.get $i) (i32.const 3)))",
                                       "(local.set $y (i32.div_u (i32.const 7) (i32.sub (local.get $i) (i32.const 9))))",
                                       "(br_if $out (i32.eq (local.get $i) (i32.const 7)))",
                                       "(global.set $g (local.get $i))",
                                       "(block (br_table 0 1 0 1 (i32.eq (local.get $i) (i32.const 7))))",
                                       "(if (i32.eq (local.get $i) (local.get $q)) (then (throw $e)))",
                                       "(drop (i32.load $second (i32.const 4)))"};
  static const char *const bulk[][2] = {{"(drop (memory.size))", "(drop (memory.size))"},
                                        {"(drop (memory.grow (i32.eq (local.get $i) (i32.const 3))))",
                                         "(drop (memory.grow (i64.extend_i32_u (i32.eq (local.get $i) (i32.const 3)))))"},
                                        {"(memory.fill (local.get $at) (i32.const 1) (i32.const 0))",
                                         "(memory.fill (i64.extend_i32_u (local.get $at)) (i32.const 1) (i64.const 0))"},
                                        {"(memory.copy (local.get $at) (i32.const 8) (i32.const 0))",
                                         "(memory.copy (i64.extend_i32_u (local.get $at)) (i64.const 8) (i64.const 0))"},
                                        {"(drop (i32.load (i32.const 4)))", "(drop (i32.load (i64.const 4)))"}};
  static const char tail_call[] = "(if (i32.eq (local.get $i) (local.get $q)) (then (return_call $end (local.get $x))))";
  switch (below(12)) {
  case 0:
  case 1:
  case 2:
  case 3:
  case 4:
  case 5: use(); break;
  case 6: put("(i32.store "), memory_and_offset(), address((int)below(2)), put("(local.get $i))\n"); break;
  case 7: put("(i32.store8 "), memory_and_offset(), address(1), load(), put(")\n"); break;
  case 8:
    put("(if (i32.and (local.get $i) (i32.const %u)) (then ", 1 + below(3)), use(), put(")"), put(one_in(2) ? ")\n" : "(else "),
        text[size - 1] == '\n' ? (void)0 : (use(), put("))\n"));
    break;
  case 9: put("(try (do "), use(), put(") (catch_all))\n"); break;
  default:
    if (shape.has_tail_calls && one_in(3))
      put("%s\n", tail_call);
    else if (one_in(6))
      put("%s\n", PICK(bulk)[shape.is_64]);
    else
      one_in(2) ? put("%s\n", PICK(others)) : use();
  }
}

static void bound(void) {
  static const char *const of[] = {"(local.get $n)",
                                   "(local.get $n)",
                                   "(local.get $late)",
                                   "(i32.shl (call $size) (i32.const 16))",
                                   "(i32.shl (memory.size $second) (i32.const 16))",
                                   "(global.get $g)"};
  one_in(4) ? put("(i32.const %d)", (int32_t)below(40) - 4) : put("%s", PICK(of));
}

static void go_on(const char *label) {
  static const char *const comparisons[] = {"ne", "lt_u", "le_u", "gt_u", "ge_u", "lt_s", "le_s", "gt_s", "ge_s", "eq"};
  bool is_left = one_in(4);
  const char *counter = one_in(6) ? "(i32.add (local.get $i) (i32.const 5))" : "(local.get $i)";
  put(is_left ? "(br_if $out " : "(br_if %s ", label);
  if (one_in(6))
    put("(i32.eqz ");
  else
    put("(i32.and (i32.const 1) ");
  put("(i32.%s ", PICK(comparisons));
  if (one_in(3))
    bound(), put("%s", counter);
  else
    put("%s", counter), bound();
  put(")))");
  if (is_left) put("(br %s)", label);
  put("\n");
}

static void step(void) {
  static const int32_t steps[] = {1, 1, 1, 1, -1, -1, 2, 3, 4, -4, 8, -8, 5, 100, 16384, -16384, 16385, 65536};
  int32_t by = PICK(steps);
  put("(local.set $i (i32.add (local.get $i) (i32.const %d)))\n", by);
}

/* Out of its block the loop is entered always, or not with a bound of 0. */
static void loop(const char *label) {
  bool is_late = one_in(5);
  if (one_in(4)) put("(br_if $out (i32.eqz (local.get $n)))");
  put("(loop %s\n", label);
  for (uint32_t n = below(3); n; n--) statement();
  if (!is_late) step();
  if (one_in(2)) use();
  if (!one_in(3)) put("(local.set $at (i32.add (local.get $at) (i32.const %d)))\n", small());
  if (one_in(8)) put("(local.set $at (i32.shl (local.get $at) (i32.const 1)))\n");
  if (is_late) go_on(label), step();
  if (!is_late || one_in(2)) go_on(label);
  put(")\n");
}

static void function(int number) {
  memory_name = one_in(6) ? "$second" : "";
  put("(func (export \"%c\") (param $p i32) (param $q i32) (param $i i32) (param $n i32) (result i32)\n"
      "  (local $at i32) (local $x i32) (local $y i32) (local $late i32) (local $j i32)\n",
      'a' + number);
  put("(local.set $at "), put("%s", one_in(3) ? "(local.get $i)" : "(local.get $p)"), put(")");
  if (one_in(2)) put("(local.set $late (i32.load8_u $second (i32.and (local.get $n) (i32.const 1023))))");
  bool is_nested = one_in(4);
  if (is_nested) put("(loop $outer (local.set $j (i32.add (local.get $j) (i32.const 1)))");
  if (is_nested && one_in(2)) put("(local.set $i (local.get $j))");
  put("(block $out ");
  loop("$l");
  put(")");
  if (is_nested) put("(br_if $outer (i32.lt_u (local.get $j) (i32.const %u))))", 2 + below(5));
  put(shape.has_tail_calls && one_in(2) ? "(return_call $end " : "(call $end ");
  put("(i32.xor (local.get $at) (i32.xor (local.get $x) (local.get $i)))))\n");
}

static void memories(void) {
  static const char *const small_ones[] = {"1", "1 1", "1 2", "2 2", "2 3", "2"}, *const odd[] = {"0", "0 3"};
  static const char *const large[] = {"65535 65535", "65534 65535", "65535", "32768"};
  const char *limits = shape.is_large ? PICK(large) : one_in(8) ? PICK(odd) : PICK(small_ones);
  put(shape.is_imported ? "(module (import \"m\" \"m\" (memory 1))\n" : "(module (memory %s %s)\n", shape.is_64 ? "i64" : "",
      limits);
  put("(export \"memory\" (memory 0)) (memory $second %s)\n", one_in(16) ? "0" : "1 4");
}

static void make_shape(void) {
  shape.is_64 = one_in(6);
  shape.is_imported = !shape.is_64 && one_in(6);
  shape.is_large = !shape.is_64 && !shape.is_imported && one_in(6);
  shape.has_tail_calls = one_in(6);
}

static void make_text(void) {
  size = 0;
  make_shape();
  memories();
  put("(type $t (func (param i32))) (table 4 4 funcref) (elem (i32.const 0) $leaf $grows $leaf) (tag $e) (global $g (mut i32) "
      "(i32.const 9))\n"
      "(func $leaf (param i32) (drop (i32.load8_u $second (local.get 0))))\n"
      "(func $end (param i32) (result i32) (local.get 0))\n");
  put("(func $size (result i32) %s)\n", shape.is_64 ? "(i32.wrap_i64 (memory.size))" : "(memory.size)");
  put("(func $grows (param i32) (if (i32.eq (local.get 0) (i32.const 2)) (then (drop (memory.grow (%s.const 1))))))\n",
      shape.is_64 ? "i64" : "i32");
  for (int i = 0; i < N_FUNCS; i++) function(i);
  put(")");
}

/* --- running ----------------------------------------------------------------------------------------------------------- */

struct outcome {
  enum gw_trap trap;
  uint32_t result;
  uint64_t gas, memory, pages;
};

static struct config {
  const char *name, *cpu;
  enum gw_tier tier;
  uint32_t opt_level;
  bool has_no_gas, profile, is_exact;
  struct gw_engine *engine;
} configs[] = {
    {.name = "precise", .tier = GW_TIER_PRECISE},
    {.name = "baseline", .tier = GW_TIER_BASELINE},
    {.name = "-O1", .tier = GW_TIER_FAST, .opt_level = 1},
    {.name = "-O2", .tier = GW_TIER_FAST, .opt_level = 2},
    {.name = "-O3", .tier = GW_TIER_FAST, .opt_level = 3},
    {.name = "-O2 no gas", .tier = GW_TIER_FAST, .opt_level = 2, .has_no_gas = true},
    {.name = "-O2 profile", .tier = GW_TIER_FAST, .opt_level = 2, .profile = true},
    {.name = "-O2 exact", .tier = GW_TIER_FAST, .opt_level = 2, .is_exact = true},
    {.name = "-O3 v2", .cpu = "x86-64-v2", .tier = GW_TIER_FAST, .opt_level = 3},
    {.name = "-O2 v3", .cpu = "x86-64-v3", .tier = GW_TIER_FAST, .opt_level = 2},
};
enum { N_CONFIGS = sizeof configs / sizeof *configs };

static union gw_value arguments[N_FUNCS][N_CALLS][4];
static struct outcome expected[N_FUNCS][N_CALLS];

/* What was touched of large memories is made and given back for each. */
static int n_calls(void) { return shape.is_large ? N_CALLS / 8 : N_CALLS; }

static void make_arguments(void) {
  for (int f = 0; f < N_FUNCS; f++)
    for (int c = 0; c < N_CALLS; c++) {
      union gw_value *v = arguments[f][c];
      memset(v, 0, 4 * sizeof *v);
      static const uint32_t edges[] = {0, 0, 1000, 20000, 65536 - 500, 65536, 2 * 65536, 0xffff0000, 0x80000000, 0xc0000000};
      v[0].i32 = (int32_t)(PICK(edges) + below(one_in(3) ? 40000 : 200) - 100);
      v[1].i32 = one_in(2) ? small() : (int32_t)(PICK(edges) + below(40) - 20);
      int32_t start = one_in(2) ? (int32_t)below(12) : (int32_t)(PICK(edges) + below(400) - 200);
      int32_t away = (int32_t)below(one_in(2) ? 20 : 400);
      v[2].i32 = start;
      v[3].i32 = one_in(5) ? (int32_t)(PICK(edges) + below(20) - 10)
                           : (int32_t)((uint32_t)start + (one_in(2) ? (uint32_t)away : -(uint32_t)away));
    }
}

static void die(const char *what, const struct gw_error *err) {
  fprintf(stderr, "fuzz_ranges: %s: %s\n", what, err->message);
  exit(2);
}

static uint64_t digest(struct gw_instance *instance, uint64_t *pages) {
  uint64_t hash = 0, word, bytes = gw_instance_memory_size(instance);
  const uint8_t *at = gw_instance_memory(instance, 0, DIGEST_BYTES);
  *pages = bytes >> 16;
  for (size_t i = 0; at && i < DIGEST_BYTES; i += 8) memcpy(&word, at + i, 8), hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
  return hash;
}

/* An instance for the calls to come. */
struct guest {
  const struct config *config;
  struct gw_module *module;
  struct gw_store *store;
  struct gw_instance *instance;
};

static bool give_memory(void *env, const struct gw_import *import, struct gw_extern *out) {
  struct gw_error err = {0};
  (void)import;
  *out = (struct gw_extern){.kind = GW_EXTERN_MEMORY, .of.memory = gw_memory_create(env, 1, UINT64_MAX, &err)};
  return out->of.memory != NULL;
}

static void begin_guest(struct guest *g) {
  struct gw_error err = {0};
  struct gw_store_options options = {.tier = g->config->tier, .gas_limit = g->config->has_no_gas ? 0 : GAS_LIMIT};
  g->store = gw_store_create(g->config->engine, &options, &err);
  g->instance = g->store ? gw_instance_create(g->store, g->module, give_memory, g->store, &err) : NULL;
  if (!g->instance) die("instantiating", &err);
}

/* Imported memories cannot be reset, and of large ones it takes milliseconds: those stay as they are until a call traps. */
static void renew_guest(struct guest *g, const struct outcome *last) {
  struct gw_error err = {0};
  if (!shape.is_imported && !shape.is_large) {
    if (!gw_instance_reset(g->instance, &err)) die("reset", &err);
  } else if (last->trap) {
    gw_store_destroy(g->store);
    begin_guest(g);
  }
}

static char under_way[160]; /* which call, for give_up */

static void call(const struct guest *g, int f, int c, struct outcome *o) {
  const union gw_value *v = arguments[f][c];
  snprintf(under_way, sizeof under_way, "%s, function %c, arguments %d %d %d %d\n", g->config->name, 'a' + f, v[0].i32, v[1].i32,
           v[2].i32, v[3].i32);
  struct gw_store *store = g->store;
  struct gw_instance *instance = g->instance;
  bool has_gas = !g->config->has_no_gas;
  struct gw_error err = {0};
  union gw_value values[4];
  memcpy(values, arguments[f][c], sizeof values);
  *o = (struct outcome){0};
  if (has_gas) gw_store_set_gas_limit(store, GAS_LIMIT);
  if (gw_call_export(instance, (char[]){(char)('a' + f), 0}, values, 4, &err))
    o->result = values[0].u32;
  else if (err.code == GW_ERROR_TRAP)
    o->trap = err.trap;
  else
    die("call", &err);
  if (has_gas) o->gas = gw_store_gas_used(store);
  o->memory = digest(instance, &o->pages);
}

static bool same(const struct config *c, const struct outcome *e, const struct outcome *o) {
  bool is_same_state = e->memory == o->memory && e->pages == o->pages;
  if (c->tier == GW_TIER_BASELINE && (e->trap != o->trap || e->gas != o->gas || !is_same_state)) return false; /* in every case */
  if (e->trap == GW_TRAP_OUT_OF_GAS) return o->trap != GW_TRAP_NONE;
  if (e->trap != o->trap) return false;
  if (e->trap) return !c->is_exact || is_same_state;
  return e->result == o->result && is_same_state && (c->has_no_gas || e->gas == o->gas);
}

static void print_outcome(const char *name, const struct outcome *o) {
  printf("  %-12s %s, result %" PRIx32 ", gas %" PRIu64 ", memory %" PRIx64 ", %" PRIu64 " pages\n", name,
         o->trap ? gw_trap_message(o->trap) : "returns", o->result, o->gas, o->memory, o->pages);
}

/* How many calls differ from the precise tier's. */
static int run_config(const struct config *c, const struct buffer *bytes, uint64_t seed) {
  struct gw_error err = {0};
  int n_different = 0;
  struct gw_module *m = gw_module_create(c->engine, bytes->bytes, bytes->size, &err);
  if (!m) die("a module that is not valid", &err);
  if (c->cpu) m = module_for_cpu(c->engine, m, c->cpu, &err);
  if (!m) die("compiling for another CPU", &err);
  struct guest guest = {.config = c, .module = m};
  begin_guest(&guest);
  for (int f = 0; f < N_FUNCS; f++)
    for (int i = 0; i < n_calls(); i++) {
      struct outcome o, *e = &expected[f][i];
      bool is_endless = c->has_no_gas && e->trap == GW_TRAP_OUT_OF_GAS;
      if (is_endless) {
        renew_guest(&guest, e);
        continue;
      }
      bool is_first = c->tier == GW_TIER_PRECISE;
      call(&guest, f, i, is_first ? e : &o);
      renew_guest(&guest, is_first ? e : &o);
      if (is_first || same(c, e, &o) || n_different++) continue;
      const union gw_value *v = arguments[f][i];
      printf("seed %" PRIu64 ", function %c, arguments %d %d %d %d:\n", seed, 'a' + f, v[0].i32, v[1].i32, v[2].i32, v[3].i32);
      print_outcome("precise", e);
      print_outcome(c->name, &o);
    }
  gw_store_destroy(guest.store);
  gw_module_release(m);
  return n_different;
}

/* Without gas, a lost trap may be an endless loop. */
static void give_up(int number) {
  static const char why[] = "fuzz_ranges: a module takes too long; is a trap lost in an endless loop?\n";
  (void)number;
  if (write(2, why, sizeof why - 1) < 0 || write(2, under_way, strlen(under_way)) < 0) _exit(2);
  _exit(1);
}

static int run_case(uint64_t seed) {
  int n_different = 0;
  setitimer(ITIMER_PROF, &(struct itimerval){.it_value = {.tv_sec = MOST_SECONDS}}, NULL);
  random_state = seed;
  make_text();
  make_arguments();
  memset(expected, 0, sizeof expected);
  struct buffer bytes = wat_bytes(text);
  for (int c = 0; c < N_CONFIGS; c++)
    if (!configs[c].cpu || cpu_runs(configs[c].cpu)) n_different += run_config(&configs[c], &bytes, seed);
  buffer_clear(&bytes);
  return n_different;
}

int main(int argc, char **argv) {
  uint64_t n = 0, n_all = 0, n_bad = 0, n_traps = 0, n_gas = 0;
  struct fuzz_options o = fuzz_parse(argc, argv, "--verbose");
  signal(SIGPROF, give_up);
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* a loop over 4 GiB would have gigabytes cleared, block by block */
  struct gw_error err = {0};
  for (int c = 0; c < N_CONFIGS; c++) {
    struct gw_engine_options options = {.loose_traps = !configs[c].is_exact,
                                        .gas = !configs[c].has_no_gas,
                                        .opt_level = configs[c].opt_level,
                                        .threads = 1,
                                        .profile = configs[c].profile};
    configs[c].engine = gw_engine_create(&options, &err);
    if (!configs[c].engine) die("engine", &err);
  }
  time_t end = fuzz_end(&o);
  for (; n < o.count && (!end || time(NULL) < end); n++) {
    bool is_bad = run_case(o.seed + n) != 0;
    n_bad += is_bad;
    n_all += (uint64_t)(N_FUNCS * n_calls());
    if (is_bad && o.own) puts(text);
    for (int i = 0; i < N_FUNCS * N_CALLS; i++) {
      n_traps += expected[i / N_CALLS][i % N_CALLS].trap == GW_TRAP_MEMORY_OUT_OF_BOUNDS;
      n_gas += expected[i / N_CALLS][i % N_CALLS].trap == GW_TRAP_OUT_OF_GAS;
    }
  }
  for (int c = 0; c < N_CONFIGS; c++) gw_engine_destroy(configs[c].engine);
  printf("%" PRIu64 " modules, %" PRIu64 " of %" PRIu64 " calls out of bounds, %" PRIu64 " out of gas; %" PRIu64
         " modules disagreed\n",
         n, n_traps, n_all, n_gas, n_bad);
  return n_bad != 0;
}
