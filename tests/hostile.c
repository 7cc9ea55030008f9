/* hostile: valid modules that go to the edges of frames, exceptions and stacks, in all tiers.
 *
 *   hostile [--seed N] [--count N] [--seconds N] [--compiled EVERY] [--write DIR]
 *
 * Every module follows from its seed: nested try, catch, catch_all, delegate and rethrow, try_table and throw_ref, calls of every
 * kind (also in tail position) of functions here and of the host's, 0 to 1,000 parameters, results and caught values, frames
 * from nothing to 50,000 locals and thousands of operands, recursion until the stack or the gas ends. Each runs in the precise
 * tier; one of EVERY is compiled too, and must have the same outcome, results and gas. --write keeps modules, with what came
 * out, for hostile.js, which asks V8. Builds with sanitizers and assertions see the rest: slots outside of a frame, freed
 * exceptions, faults that are no traps. */
#include "gasworks.h"
#include "tests/wasm_bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_TYPES = 8, N_TAGS = 4, MAX_FUNCS = 6, MAX_LABELS = 4096, MAX_VALUES = 1024, MAX_BODY = 200000 };
enum { I64 = 0x7e, I32 = 0x7f, EXNREF = 0x69, FUNCREF = 0x70, VOID = 0x40, ACC_XOR = 0x85, ACC_MUL = 0x7e, ADD = 0x7c };

enum label { PLAIN, CATCH, VALUED };

struct gen {
  uint64_t random;
  struct buffer *out;
  uint32_t n_params[N_TYPES], n_results[N_TYPES], n_values[N_TAGS]; /* parameters: behind an i32 */
  uint32_t n_funcs, types[MAX_FUNCS];
  bool has_legacy, has_new;
  uint32_t type, acc; /* of the function that is made: its type, the local that all values end in */
  uint8_t labels[MAX_LABELS];
  uint32_t n_labels, budget;
};

static uint32_t below(struct gen *g, uint32_t n) { /* xorshift64* */
  g->random ^= g->random >> 12;
  g->random ^= g->random << 25;
  g->random ^= g->random >> 27;
  return (uint32_t)((g->random * 0x2545f4914f6cdd1du) >> 33) % n;
}

#define PICK(g, ...) pick((g), (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))
static uint32_t pick(struct gen *g, const uint32_t *from, uint32_t n) { return from[below(g, n)]; }

/* --- bytes ------------------------------------------------------------------------------------------------------------ */

static void byte(struct gen *g, uint32_t v) { wasm_byte(g->out, v); }
static void leb(struct gen *g, uint32_t v) { wasm_leb(g->out, v); }
static void signed_leb(struct gen *g, int64_t v) { wasm_signed_leb(g->out, v); }

static void op(struct gen *g, uint32_t code, uint32_t immediate) {
  byte(g, code);
  leb(g, immediate);
}

static void i32_const(struct gen *g, int32_t v) {
  byte(g, 0x41);
  signed_leb(g, v);
}

static void i64_const(struct gen *g, int64_t v) {
  byte(g, 0x42);
  signed_leb(g, v);
}

/* What `part` writes, behind its size. */
static void sized(struct gen *g, void (*part)(struct gen *g, uint32_t i), uint32_t i) {
  struct buffer inner = {0}, *outer = g->out;
  g->out = &inner;
  part(g, i);
  g->out = outer;
  wasm_sized(g->out, &inner);
  buffer_clear(&inner);
}

static void section(struct gen *g, uint32_t id, void (*part)(struct gen *g, uint32_t i)) {
  byte(g, id);
  sized(g, part, 0);
}

/* --- statements: each leaves the operand stack as it was ----------------------------------------------------------------- */

static void statements(struct gen *g);

static void get(struct gen *g, uint32_t local) { op(g, 0x20, local); }
static void set(struct gen *g, uint32_t local) { op(g, 0x21, local); }

static void push_values(struct gen *g, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    if (below(g, 4))
      i64_const(g, (int64_t)below(g, 128) - 64);
    else
      get(g, g->acc);
  }
}

/* n values become part of the accumulator. */
static void fold(struct gen *g, uint32_t n) {
  if (!n) return;
  for (uint32_t i = 1; i < n; i++) byte(g, ADD);
  get(g, g->acc);
  byte(g, ACC_XOR);
  i64_const(g, 2 * (int64_t)below(g, 1000) + 3);
  byte(g, ACC_MUL);
  set(g, g->acc);
}

static void open(struct gen *g, uint32_t code, uint32_t type, enum label label) {
  byte(g, code);
  if (type == VOID)
    byte(g, VOID);
  else
    signed_leb(g, type);
  g->labels[g->n_labels++] = (uint8_t)label;
}

static void close(struct gen *g) {
  byte(g, 0x0b);
  g->n_labels--;
}

/* if (fuel & mask) */
static void open_if(struct gen *g) {
  get(g, 0);
  i32_const(g, (int32_t)PICK(g, 1, 2, 3, 4, 255));
  byte(g, 0x71);
  open(g, 0x04, VOID, PLAIN);
}

/* A label of this kind, innermost first; n_labels when there is none. */
static uint32_t find_label(struct gen *g, enum label label) {
  uint32_t skip = below(g, 3), found = g->n_labels;
  for (uint32_t i = 0; i < g->n_labels; i++) {
    if (g->labels[g->n_labels - 1 - i] != label) continue;
    found = i;
    if (skip-- == 0) break;
  }
  return found;
}

static uint32_t callee_of(struct gen *g, uint32_t type) {
  uint32_t at = below(g, g->n_funcs);
  for (uint32_t i = 0; i < g->n_funcs && below(g, 4); i++) {
    uint32_t func = (at + i) % g->n_funcs;
    if (g->types[func] == type) return N_TYPES + func;
  }
  return type; /* the host's */
}

/* Types 2n and 2n + 1 have the same results. */
static void call(struct gen *g, bool is_tail) {
  uint32_t type = is_tail ? (g->type & ~1u) + below(g, 2) : below(g, N_TYPES), func = callee_of(g, type);
  uint32_t below_it = is_tail || below(g, 3) ? 0 : PICK(g, 1, 10, 1000);
  push_values(g, below_it);
  get(g, 0);
  push_values(g, g->n_params[type]);
  switch (below(g, 3)) {
  case 0: op(g, is_tail ? 0x12 : 0x10, func); break;
  case 1:
    i32_const(g, (int32_t)(below(g, 20) ? func : below(g, N_TYPES + MAX_FUNCS + 1)));
    op(g, is_tail ? 0x13 : 0x11, type);
    leb(g, 0);
    break;
  default:
    op(g, 0xd2, func);
    op(g, is_tail ? 0x15 : 0x14, type);
    break;
  }
  if (!is_tail) fold(g, g->n_results[type] + below_it);
}

static void throw_something(struct gen *g) {
  uint32_t tag = below(g, N_TAGS), again = find_label(g, CATCH);
  if (again < g->n_labels && below(g, 3)) {
    op(g, 0x09, again);
  } else if (g->has_new && !below(g, 4)) {
    get(g, g->acc + 1);
    byte(g, 0x0a);
  } else {
    push_values(g, g->n_values[tag]);
    op(g, 0x08, tag);
  }
}

static void catches(struct gen *g) {
  g->labels[g->n_labels - 1] = CATCH;
  for (uint32_t n = below(g, 3); n > 0; n--) {
    uint32_t tag = below(g, N_TAGS);
    op(g, 0x07, tag);
    fold(g, g->n_values[tag]);
    statements(g);
    if (!below(g, 4)) throw_something(g);
  }
  if (!below(g, 2)) return;
  byte(g, 0x19);
  statements(g);
  if (!below(g, 4)) throw_something(g);
}

static void end_try(struct gen *g) {
  if (below(g, 4) == 0) {
    g->n_labels--;
    op(g, 0x18, below(g, g->n_labels + 1 < 5 ? g->n_labels + 1 : 5));
    return;
  }
  catches(g);
  close(g);
}

static void legacy_try(struct gen *g) {
  open(g, 0x06, VOID, PLAIN);
  statements(g);
  if (below(g, 2)) throw_something(g);
  end_try(g);
}

static void tower(struct gen *g) {
  uint32_t n = PICK(g, 2, 8, 40, 200);
  if (g->n_labels + n + 64 > MAX_LABELS || g->budget < n / 4) return;
  g->budget -= n / 4;
  for (uint32_t i = 0; i < n; i++) open(g, 0x06, VOID, PLAIN);
  statements(g);
  if (below(g, 4)) throw_something(g);
  for (uint32_t i = 0; i < n; i++) {
    uint32_t kind = below(g, 6), tag = below(g, N_TAGS);
    g->labels[g->n_labels - 1] = CATCH;
    if (kind == 0) {
      end_try(g);
      continue;
    }
    if (kind < 3) {
      op(g, 0x07, tag);
      fold(g, g->n_values[tag]);
    } else if (kind < 5) {
      byte(g, 0x19);
    }
    if (kind < 5 && below(g, 3)) op(g, 0x09, find_label(g, CATCH)); /* its own at least */
    close(g);
  }
}

/* A block that ends with the values of a tag, caught or not, and maybe with an exnref. */
static void new_try(struct gen *g) {
  uint32_t tag = below(g, N_TAGS), has_ref = below(g, 2), is_all = !below(g, 4);
  uint32_t n = is_all ? 0 : g->n_values[tag], kind = (is_all ? 2 : 0) + has_ref;
  if (is_all)
    open(g, 0x02, has_ref ? N_TYPES + 3 * N_TAGS : VOID, VALUED);
  else
    open(g, 0x02, N_TYPES + (1 + has_ref) * N_TAGS + tag, VALUED);
  byte(g, 0x1f);
  byte(g, VOID);
  leb(g, 1);
  byte(g, kind);
  if (!is_all) leb(g, tag);
  leb(g, 0);
  g->labels[g->n_labels++] = PLAIN;
  statements(g);
  if (below(g, 2)) throw_something(g);
  close(g);
  push_values(g, n);
  if (has_ref) op(g, 0xd0, EXNREF);
  close(g);
  if (has_ref) set(g, g->acc + 1);
  fold(g, n);
}

static void bulk(struct gen *g) {
  i32_const(g, (int32_t)below(g, 60000));
  i32_const(g, (int32_t)below(g, 256));
  i32_const(g, (int32_t)below(g, 1000));
  byte(g, 0xfc);
  op(g, 11, 0);
}

static void leave(struct gen *g) {
  uint32_t label = find_label(g, below(g, 2) ? PLAIN : CATCH);
  open_if(g);
  if (label + 1 < g->n_labels && below(g, 2)) {
    op(g, 0x0c, label + 1);
  } else if (below(g, 2)) {
    call(g, true);
  } else {
    push_values(g, g->n_results[g->type]);
    byte(g, 0x0f);
  }
  close(g);
}

static void many_operands(struct gen *g) {
  uint32_t n = PICK(g, 10, 100, 3000);
  push_values(g, n);
  statements(g);
  fold(g, n);
}

static void statement(struct gen *g) {
  switch (below(g, 10)) {
  case 0:
  case 1: call(g, false); return;
  case 2:
  case 3: (g->has_legacy ? legacy_try : new_try)(g); return;
  case 4: (g->has_new ? new_try : legacy_try)(g); return;
  case 5:
    open_if(g);
    if (below(g, 2))
      throw_something(g);
    else
      statements(g);
    close(g);
    return;
  case 6: leave(g); return;
  case 7: bulk(g); return;
  case 8:
    if (g->has_legacy) tower(g);
    return;
  default: many_operands(g); return;
  }
}

static void statements(struct gen *g) {
  uint32_t n = below(g, 4);
  for (; n > 0 && g->budget > 0 && g->n_labels < MAX_LABELS - 300 && g->out->size < MAX_BODY; n--) {
    g->budget--;
    statement(g);
  }
}

/* --- sections ------------------------------------------------------------------------------------------------------------ */

static void func_type(struct gen *g, bool has_fuel, uint32_t n_params, uint32_t n_results, bool has_ref) {
  byte(g, 0x60);
  leb(g, n_params + has_fuel);
  if (has_fuel) byte(g, I32);
  for (uint32_t i = 0; i < n_params; i++) byte(g, I64);
  leb(g, n_results + has_ref);
  for (uint32_t i = 0; i < n_results; i++) byte(g, I64);
  if (has_ref) byte(g, EXNREF);
}

static void type_section(struct gen *g, uint32_t unused) {
  (void)unused;
  leb(g, g->has_new ? N_TYPES + 3 * N_TAGS + 1 : N_TYPES + N_TAGS);
  for (uint32_t i = 0; i < N_TYPES; i++) func_type(g, true, g->n_params[i], g->n_results[i], false);
  for (uint32_t i = 0; i < N_TAGS; i++) func_type(g, false, g->n_values[i], 0, false);
  for (uint32_t i = 0; g->has_new && i < 2 * N_TAGS; i++) func_type(g, false, 0, g->n_values[i % N_TAGS], i >= N_TAGS);
  if (g->has_new) func_type(g, false, 0, 0, true);
}

static void import_section(struct gen *g, uint32_t unused) {
  (void)unused;
  leb(g, N_TYPES);
  for (uint32_t i = 0; i < N_TYPES; i++) {
    byte(g, 1);
    byte(g, 'h');
    byte(g, 1);
    byte(g, 'a' + i);
    op(g, 0, i);
  }
}

static void function_section(struct gen *g, uint32_t unused) {
  (void)unused;
  leb(g, g->n_funcs);
  for (uint32_t i = 0; i < g->n_funcs; i++) leb(g, g->types[i]);
}

static void table_section(struct gen *g, uint32_t unused) {
  (void)unused;
  leb(g, 1);
  op(g, FUNCREF, 0);
  leb(g, N_TYPES + MAX_FUNCS);
}

static void memory_section(struct gen *g, uint32_t unused) {
  (void)unused;
  leb(g, 1);
  op(g, 0, 1);
}

static void tag_section(struct gen *g, uint32_t unused) {
  (void)unused;
  leb(g, N_TAGS);
  for (uint32_t i = 0; i < N_TAGS; i++) op(g, 0, N_TYPES + i);
}

static void export_section(struct gen *g, uint32_t unused) {
  (void)unused;
  leb(g, 1);
  byte(g, 1);
  byte(g, 'f');
  op(g, 0, N_TYPES);
}

static void element_section(struct gen *g, uint32_t unused) {
  (void)unused;
  leb(g, 1);
  leb(g, 0);
  i32_const(g, 0);
  byte(g, 0x0b);
  leb(g, N_TYPES + g->n_funcs);
  for (uint32_t i = 0; i < N_TYPES + g->n_funcs; i++) leb(g, i);
}

static void body(struct gen *g, uint32_t func) {
  uint32_t more = PICK(g, 0, 0, 1, 7, 100, below(g, 10) ? 3 : 40000);
  g->type = g->types[func];
  g->acc = 1 + g->n_params[g->type];
  g->budget = PICK(g, 3, 10, 30);
  leb(g, g->has_new ? 3 : 2);
  op(g, 1, I64);
  if (g->has_new) op(g, 1, EXNREF);
  op(g, more, I64);
  if (below(g, 8)) { /* or until the stack ends */
    get(g, 0);
    i32_const(g, 0);
    byte(g, 0x4c);
    open(g, 0x04, VOID, PLAIN);
    push_values(g, g->n_results[g->type]);
    byte(g, 0x0f);
    close(g);
    get(g, 0);
    i32_const(g, 1);
    byte(g, 0x6b);
    set(g, 0);
  }
  statements(g);
  if (below(g, 3) == 0)
    call(g, true);
  else
    push_values(g, g->n_results[g->type]);
  if (g->n_results[g->type]) {
    get(g, g->acc);
    byte(g, ACC_XOR);
  }
  byte(g, 0x0b);
}

static void code_section(struct gen *g, uint32_t unused) {
  (void)unused;
  leb(g, g->n_funcs);
  for (uint32_t i = 0; i < g->n_funcs; i++) sized(g, body, i);
}

static void make_module(struct gen *g, uint64_t seed, struct buffer *out) {
  static const uint8_t head[8] = {0, 'a', 's', 'm', 1, 0, 0, 0};
  *g = (struct gen){.random = (seed + 1) * 0x9e3779b97f4a7c15u, .out = out};
  for (int i = 0; i < 4; i++) below(g, 2);
  for (uint32_t i = 0; i < N_TYPES; i++) {
    g->n_params[i] = PICK(g, 0, 0, 1, 1, 3, 30, below(g, 4) ? 2 : 999);
    g->n_results[i] = i & 1 ? g->n_results[i - 1] : PICK(g, 0, 1, 1, 2, 4, 60, below(g, 2) ? 3 : 1000, below(g, 1001));
  }
  for (uint32_t i = 0; i < N_TAGS; i++) g->n_values[i] = PICK(g, 0, 0, 1, 2, 3, 100, below(g, 4) ? 1 : 999);
  g->n_funcs = 1 + below(g, MAX_FUNCS);
  for (uint32_t i = 0; i < g->n_funcs; i++) g->types[i] = below(g, N_TYPES);
  uint32_t forms = below(g, 8);
  g->has_legacy = forms != 0;
  g->has_new = forms < 3;
  buffer_append(out, head, sizeof head);
  section(g, 1, type_section);
  section(g, 2, import_section);
  section(g, 3, function_section);
  section(g, 4, table_section);
  section(g, 5, memory_section);
  section(g, 13, tag_section);
  section(g, 7, export_section);
  section(g, 9, element_section);
  section(g, 10, code_section);
}

/* --- running --------------------------------------------------------------------------------------------------------------- */

struct outcome {
  bool is_ok;
  enum gw_trap trap;
  uint64_t gas, digest;
};

/* Results follow from the first parameter. */
static enum gw_trap host(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)caller;
  const uint32_t *n_results = env;
  uint64_t fuel = values[0].u32;
  for (uint32_t i = 0; i < *n_results; i++) values[i].u64 = fuel * 31 + i;
  return GW_TRAP_NONE;
}

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func func = {"h", "*", NULL, host};
  struct gen *g = env;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {&func, &g->n_results[import->field[0] - 'a']}};
  return true;
}

struct driver {
  struct gw_engine *engines[4]; /* by level; the first is the interpreter's too */
  uint64_t n_run, n_compiled, n_refused, n_ok, n_traps[GW_TRAP_COUNT];
};

static bool fail(uint64_t seed, const char *what, const struct gw_error *err) {
  printf("seed %" PRIu64 ": %s: %s\n", seed, what, err->message);
  return false;
}

enum { INTERPRETED = -1, BASELINE = -2 }; /* instead of a level */

static bool run(struct driver *d, struct gen *g, const struct buffer *bytes, uint64_t seed, int level, struct outcome *out) {
  static const uint32_t depths[] = {1 << 12, 1 << 16, 1 << 18, 1 << 20};
  static const uint64_t gas[] = {3000, 30000, 100000, 300000};
  static union gw_value values[MAX_VALUES];
  struct gw_error err = {0};
  struct gw_store_options options = {.gas_limit = gas[seed % 4], .max_depth = depths[seed / 4 % 4]};
  struct gw_engine *engine = d->engines[level < 0 ? 0 : level];
  if (level < 0) options.tier = level == INTERPRETED ? GW_TIER_PRECISE : GW_TIER_BASELINE;
  struct gw_module *module = gw_module_create(engine, bytes->bytes, bytes->size, &err);
  if (!module) return fail(seed, "the module is not valid", &err);
  struct gw_store *store = gw_store_create(engine, &options, &err);
  struct gw_instance *instance = store ? gw_instance_create(store, module, resolve, g, &err) : NULL;
  bool ok = instance != NULL;
  *out = (struct outcome){.digest = 14695981039346656037u};
  if (ok) {
    uint32_t n = g->n_results[g->types[0]], n_params = 1 + g->n_params[g->types[0]];
    for (uint32_t i = 0; i < n_params; i++) values[i] = (union gw_value){.u64 = i ? i : seed % 7};
    out->is_ok = gw_call_export(instance, "f", values, n > n_params ? n : n_params, &err);
    out->trap = err.trap;
    out->gas = gw_store_gas_used(store);
    for (uint32_t i = 0; out->is_ok && i < n; i++) out->digest = (out->digest ^ values[i].u64) * 1099511628211u;
    ok = out->is_ok || err.code == GW_ERROR_TRAP || fail(seed, "the call failed", &err);
  } else if (err.code == GW_ERROR_LIMIT && level >= 0) { /* frames too large for compiled code */
    d->n_refused++;
    out->trap = GW_TRAP_COUNT;
    ok = true;
  } else {
    fail(seed, "no instance", &err);
  }
  gw_store_destroy(store);
  gw_module_release(module);
  return ok;
}

/* How much gas was used where the stack ended is not promised, nor how much more than all. */
static bool is_same(const struct outcome *a, const struct outcome *b) {
  if (b->trap == GW_TRAP_COUNT) return true;
  if (a->is_ok != b->is_ok || a->trap != b->trap || a->digest != b->digest) return false;
  return a->gas == b->gas || a->trap == GW_TRAP_STACK_OVERFLOW || a->trap == GW_TRAP_OUT_OF_GAS;
}

static void print_outcome(const char *who, const struct outcome *o) {
  printf("  %s: %s, gas %" PRIu64 ", digest %016" PRIx64 "\n", who, o->is_ok ? "ok" : gw_trap_message(o->trap), o->gas,
         o->digest);
}

static void write_module(const char *dir, uint64_t seed, const struct buffer *bytes, const struct outcome *o) {
  char path[512];
  snprintf(path, sizeof path, "%s/%" PRIu64 ".wasm", dir, seed);
  FILE *file = fopen(path, "wb");
  if (!file) return;
  fwrite(bytes->bytes, 1, bytes->size, file);
  fclose(file);
  printf("@ %" PRIu64 " %d %s %016" PRIx64 "\n", seed, o->is_ok, o->is_ok ? "-" : gw_trap_message(o->trap), o->digest);
}

static bool try_seed(struct driver *d, uint64_t seed, uint64_t every, const char *dir) {
  static struct gen g;
  struct buffer bytes = {0};
  struct outcome precise, baseline, compiled;
  make_module(&g, seed, &bytes);
  bool ok = run(d, &g, &bytes, seed, INTERPRETED, &precise) && run(d, &g, &bytes, seed, BASELINE, &baseline);
  if (ok && (!is_same(&precise, &baseline) || precise.gas != baseline.gas)) {
    printf("seed %" PRIu64 ": the precise and the baseline tier disagree\n", seed);
    print_outcome("precise", &precise);
    print_outcome("baseline", &baseline);
    ok = false;
  }
  if (ok && every && seed % every == 0) {
    int level = (int)(seed / every % 4);
    d->n_compiled++;
    ok = run(d, &g, &bytes, seed, level, &compiled);
    if (ok && !is_same(&precise, &compiled)) {
      printf("seed %" PRIu64 ": the tiers disagree at -O%d\n", seed, level);
      print_outcome("precise", &precise);
      print_outcome("compiled", &compiled);
      ok = false;
    }
  }
  if (ok) {
    d->n_run++;
    d->n_ok += precise.is_ok;
    if (!precise.is_ok) d->n_traps[precise.trap]++;
  }
  if (dir) write_module(dir, seed, &bytes, &precise);
  buffer_clear(&bytes);
  return ok;
}

/* What sanitizers call when they have found something. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));
static uint64_t current_seed;

static void on_death(void) { fprintf(stderr, "at seed %" PRIu64 "\n", current_seed); }

static void report(const struct driver *d) {
  printf("%" PRIu64 " modules, %" PRIu64 " of them compiled too (%" PRIu64 " refused), %" PRIu64 " finished;", d->n_run,
         d->n_compiled, d->n_refused, d->n_ok);
  for (int i = 0; i < GW_TRAP_COUNT; i++)
    if (d->n_traps[i]) printf(" %s: %" PRIu64 ";", gw_trap_message((enum gw_trap)i), d->n_traps[i]);
  printf("\n");
}

int main(int argc, char **argv) {
  uint64_t seed = 1, count = UINT64_MAX, seconds = UINT64_MAX, every = 200;
  const char *dir = NULL;
  for (int i = 1; i + 1 < argc; i += 2) {
    uint64_t n = strtoull(argv[i + 1], NULL, 10);
    if (!strcmp(argv[i], "--seed")) seed = n;
    if (!strcmp(argv[i], "--count")) count = n;
    if (!strcmp(argv[i], "--seconds")) seconds = n;
    if (!strcmp(argv[i], "--compiled")) every = n;
    if (!strcmp(argv[i], "--write")) dir = argv[i + 1];
  }
  static struct driver d;
  struct gw_error err = {0};
  for (uint32_t level = 0; level < 4; level++) {
    d.engines[level] =
        gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = level, .gas = true, .threads = 1}, &err);
    if (!d.engines[level]) return 2;
  }
  time_t end = time(NULL) + (time_t)(seconds < 100000000 ? seconds : 100000000);
  int status = 0;
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(on_death);
  for (uint64_t i = 0; i < count && time(NULL) < end; i++) {
    current_seed = seed + i;
    if (!try_seed(&d, seed + i, every, dir)) status = 1;
  }
  report(&d);
  for (int level = 0; level < 4; level++) gw_engine_destroy(d.engines[level]);
  return status;
}
