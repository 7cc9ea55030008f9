/* fuzz_loops: loops as producers unroll them, nearly: parts that differ in one thing, strides, reversed, overlapping, left early,
 * out of bounds, with any gas limit; and tail calls behind them. Compiled code of a random level, CPU level or profile must do
 * what the precise tier does. Aimed at our own passes over IR: rerolling, offsets, inlining, loads, gas.
 *
 *   fuzz_loops [--seed N] [--count N] [--seconds S] [--failures N]
 *
 * A seed always gives the same module. Batches run in children, so that a crash is a failure like any other. Floats are truncated
 * before they are stored, so no NaN is seen. At a trap only its kind is compared (docs/gas.md section 5, docs/fuzzing.md). */
#include "gasworks.h"
#include "jit/artifact/cpu.h"
#include "runtime/debug/judge.h"
#include "tests/for_cpu.h"
#include "tests/mixed.h"
#include "tests/wasm_bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MEMORY = 2 << 16, ENOUGH = 3000000, BATCH = 20, MOST_PARTS = 8, MOST_STATEMENTS = 3 };
enum { A, B, N, I, J, T, V, W }; /* locals; T and W: what was loaded, which some instruction must need whole */

static uint32_t state;

static uint32_t any(uint32_t n) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state % n;
}

/* --- bytes ------------------------------------------------------------------------------------------------------------ */

static void constant(struct buffer *b, int32_t v) {
  wasm_byte(b, 0x41);
  wasm_signed_leb(b, v);
}

static void local(struct buffer *b, uint32_t op, uint32_t index) {
  wasm_byte(b, op);
  wasm_byte(b, index);
}

static void vector(struct buffer *b, uint32_t op) {
  wasm_byte(b, 0xfd);
  wasm_leb(b, op);
}

/* --- loops ------------------------------------------------------------------------------------------------------------ */

/* What one part does, `to[i] = from[i] OP ...`. */
struct statement {
  uint32_t kind, load, store, op, compare, lane, mask, from, to, shift;
  int32_t value;
};
enum { SCALAR, CHOICE, FLOAT, VECTOR, SHUFFLE, LANE, KINDS };

static const uint8_t scalar_ops[] = {0x6a, 0x6b, 0x6c, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78};
static const uint8_t vector_ops[] = {0xae, 0xb1, 0xb5, 0x8e, 0x91, 0x6e, 0x71, 0x37, 0x38, 0x39, 0x3a, 0x3b, 0x4e, 0x50, 0x51};

static struct statement make_statement(void) {
  return (struct statement){.kind = any(KINDS),
                            .load = any(5),
                            .store = any(3),
                            .op = any(1000),
                            .compare = any(10),
                            .lane = any(4),
                            .mask = any(8),
                            .from = any(6) * 4096 + any(2) * any(64),
                            .to = any(6) * 4096 + any(2) * any(64),
                            .shift = any(3),
                            .value = (int32_t)any(3) ? (int32_t)any(9) : (int32_t)any(1u << 31)};
}

static void mutate(struct statement *s) {
  if (s->kind == SHUFFLE && any(4)) {
    s->mask = (s->mask + 1 + any(7)) % 8;
    return;
  }
  switch (any(11)) {
  case 0: s->kind = any(KINDS); return;
  case 1: s->load = any(5); return;
  case 2: s->store = any(3); return;
  case 3: s->op = any(1000); return;
  case 4: s->compare = any(10); return;
  case 5: s->lane = any(4); return;
  case 6: s->from += 4 * any(8); return;
  case 7: s->to += 4 * any(8); return;
  case 8: s->value++; return;
  default: s->mask = any(8); return;
  }
}

struct loop {
  uint32_t parts, stride, index_shift, n_statements, end, n_rounds;
  struct statement statements[MOST_STATEMENTS];
  bool is_reversed, adds_offset, leaves_early, swaps, is_plain;
};

static uint32_t width(const struct loop *l) {
  for (uint32_t i = 0; i < l->n_statements; i++)
    if (l->statements[i].kind >= VECTOR) return 16;
  return 4;
}

/* The address that `offset` is added to; what remains for the access itself. */
static uint32_t address(struct buffer *b, const struct loop *l, uint32_t part, uint32_t offset, uint32_t size) {
  uint32_t distance = part * size * l->stride;
  local(b, 0x20, I);
  if (l->adds_offset && part) { /* i + 1 in the source, so scaled with it */
    constant(b, (int32_t)(distance >> l->index_shift));
    wasm_byte(b, 0x6a);
    distance = 0;
  }
  if (l->index_shift) {
    constant(b, (int32_t)l->index_shift);
    wasm_byte(b, 0x74);
  }
  return offset + distance;
}

static void memarg(struct buffer *b, uint32_t offset) {
  wasm_byte(b, 0);
  wasm_leb(b, offset);
}

static void load(struct buffer *b, const struct loop *l, const struct statement *s, uint32_t part, uint32_t size) {
  static const uint8_t loads[] = {0x28, 0x2c, 0x2d, 0x2e, 0x2f};
  uint32_t offset = address(b, l, part, s->from, size);
  if (s->kind >= VECTOR)
    vector(b, 0);
  else
    wasm_byte(b, loads[s->load]);
  memarg(b, offset);
}

static void shuffle(struct buffer *b, uint32_t mask) {
  static const uint8_t lanes[8][4] = {{1, 0, 3, 2}, {3, 2, 1, 0}, {0, 4, 1, 5}, {0, 2, 4, 6},
                                      {1, 1, 1, 1}, {2, 3, 0, 1}, {4, 1, 6, 3}, {0, 1, 2, 7}};
  vector(b, 0x0d);
  for (int i = 0; i < 16; i++) wasm_byte(b, lanes[mask][i / 4] * 4u + (uint32_t)i % 4);
}

static void value(struct buffer *b, const struct loop *l, const struct statement *s, uint32_t part, uint32_t size) {
  uint32_t loaded = s->kind >= VECTOR ? W : T;
  load(b, l, s, part, size);
  switch (s->kind) {
  case SCALAR:
    constant(b, s->value);
    wasm_byte(b, scalar_ops[s->op % sizeof scalar_ops]);
    return;
  case CHOICE:
    local(b, 0x22, loaded);
    constant(b, s->value);
    local(b, 0x20, loaded);
    local(b, 0x20, B);
    wasm_byte(b, 0x46 + s->compare);
    wasm_byte(b, 0x1b);
    return;
  case FLOAT:
    wasm_byte(b, 0xb2);
    local(b, 0x20, B);
    wasm_byte(b, s->lane & 1 ? 0xb3 : 0xb2);
    wasm_byte(b, 0x92 + s->op % 3);
    wasm_byte(b, 0xfc);
    wasm_byte(b, s->lane & 2 ? 1 : 0);
    return;
  case VECTOR: local(b, 0x20, V), vector(b, vector_ops[s->op % sizeof vector_ops]); return;
  case SHUFFLE:
    local(b, 0x22, loaded);
    local(b, 0x20, loaded);
    shuffle(b, s->mask);
    local(b, 0x20, loaded);
    vector(b, 0xae);
    return;
  default:
    local(b, 0x22, loaded);
    local(b, 0x20, loaded);
    vector(b, 0x1b);
    wasm_byte(b, s->lane);
    vector(b, 0x1c);
    wasm_byte(b, (s->mask ^ s->lane) % 4);
    return;
  }
}

static void store(struct buffer *b, const struct loop *l, const struct statement *s, uint32_t part, uint32_t size) {
  static const uint8_t stores[] = {0x36, 0x3a, 0x3b};
  uint32_t offset = address(b, l, part, s->to, size);
  value(b, l, s, part, size);
  if (s->kind >= VECTOR)
    vector(b, 0x0b);
  else
    wasm_byte(b, stores[s->store]);
  memarg(b, offset);
}

/* One that could be rolled up again, if it were not for the one part that differs. */
static void make_plain(struct loop *l) {
  l->parts = 2 + any(MOST_PARTS - 1);
  l->stride = 1;
  l->n_rounds = 5 + any(20);
  l->end = l->index_shift = 0;
  l->is_reversed = l->leaves_early = l->swaps = false;
  l->is_plain = true;
}

static struct loop make_loop(void) {
  struct loop l = {.parts = 1 + any(MOST_PARTS),
                   .stride = any(5) ? 1 : any(3),
                   .n_statements = any(2) ? 1 : 1 + any(MOST_STATEMENTS),
                   .end = any(6),
                   .n_rounds = any(8) ? 1 + any(20) : any(30000),
                   .is_reversed = !any(5),
                   .adds_offset = any(2),
                   .leaves_early = !any(6),
                   .swaps = !any(6)};
  bool is_vector = any(2);
  for (uint32_t i = 0; i < l.n_statements; i++) {
    l.statements[i] = make_statement();
    l.statements[i].kind = (l.statements[i].kind % 3) + (is_vector ? VECTOR : 0);
  }
  l.index_shift = any(4) ? 0 : is_vector ? any(5) : any(3);
  if (any(2)) make_plain(&l);
  return l;
}

/* To the end of the loop: the counters, and whether it goes on. */
static void go_on(struct buffer *b, const struct loop *l, int32_t step) {
  static const uint8_t compares[] = {0x47, 0x47, 0x47, 0x49, 0x48, 0x46};
  local(b, 0x20, J);
  constant(b, any(2) ? step : 1);
  wasm_byte(b, 0x6a);
  local(b, 0x21, J);
  local(b, 0x20, I);
  constant(b, l->is_reversed ? -step : step);
  wasm_byte(b, 0x6a);
  local(b, 0x22, I);
  if (l->is_reversed)
    constant(b, 0);
  else if (any(2))
    constant(b, (int32_t)(l->n_rounds * (uint32_t)step) + (any(6) ? 0 : (int32_t)any(4)));
  else
    local(b, 0x20, N);
  wasm_byte(b, l->is_reversed ? 0x47 : compares[l->end]);
  wasm_byte(b, 0x0d);
  wasm_byte(b, 0);
}

static void loop(struct buffer *b, const struct loop *l, int32_t step) {
  uint32_t size = width(l), odd = any(l->is_plain ? 16 : 4) ? any(l->parts * l->n_statements) : UINT32_MAX;
  constant(b, l->is_reversed ? (int32_t)l->n_rounds * step : 0);
  local(b, 0x21, I);
  buffer_append(b, (uint8_t[]){0x02, 0x40, 0x03, 0x40}, 4);
  for (uint32_t p = 0; p < l->parts; p++)
    for (uint32_t i = 0; i < l->n_statements; i++) {
      struct statement s = l->statements[l->swaps && p == 1 ? l->n_statements - 1 - i : i];
      if (p * l->n_statements + i == odd) mutate(&s);
      s.kind = s.kind % 3 + (size == 16 ? VECTOR : 0);
      store(b, l, &s, p, size);
      if (!l->leaves_early || p + 1 != l->parts / 2) continue;
      local(b, 0x20, I);
      buffer_append(b, (uint8_t[]){0x2d, 0, 7}, 3);
      constant(b, 200);
      buffer_append(b, (uint8_t[]){0x4b, 0x0d, 1}, 3);
    }
  go_on(b, l, step);
  buffer_append(b, (uint8_t[]){0x0b, 0x0b}, 2);
}

/* What follows the loops: their counters, or a call, in tail position too. Modules without tail calls hand arguments over in
 * other ways, so half of them have none. */
static void tail(struct buffer *b, bool has_tail_calls) {
  if (any(2)) {
    buffer_append(b, (uint8_t[]){0x20, I, 0x20, J, 0x6a}, 5);
    return;
  }
  local(b, 0x20, I);
  if (any(2)) buffer_append(b, (uint8_t[]){0x41, 7, 0x71, 0x10, 2, 0x1a, 0x20, J}, 8); /* calls another first */
  buffer_append(b, (uint8_t[]){has_tail_calls ? 0x12 : 0x10, 1}, 2);
}

/* An endless loop behind what is false, whatever LLVM is told of it. */
static void dead_loop(struct buffer *b) {
  static const uint8_t odd[] = {0x20, A, 0x41, 1, 0x74, 0x41, 6, 0x71, 0x41, 1, 0x6a, 0x45};
  static const uint8_t both[] = {0x20, A, 0x20, B, 0x46, 0x20, A, 0x20, B, 0x47, 0x71};
  static const uint8_t empty[] = {0x20, A, 0x41, 5, 0x48, 0x20, A, 0x41, 6, 0x4a, 0x71};
  static const uint8_t spin[] = {0x04, 0x40, 0x03, 0x40, 0x0c, 0, 0x0b, 0x0b};
  switch (any(3)) {
  case 0: buffer_append(b, odd, sizeof odd); break;
  case 1: buffer_append(b, both, sizeof both); break;
  default: buffer_append(b, empty, sizeof empty); break;
  }
  buffer_append(b, spin, sizeof spin);
}

static void function(struct buffer *code, const struct buffer *body) {
  wasm_leb(code, (uint32_t)body->size);
  buffer_append(code, body->bytes, body->size);
}

struct program {
  struct buffer bytes;
  uint32_t n; /* argument of the bound */
};

static void make_program(struct program *p, uint32_t seed) {
  static const uint8_t head[] = {0,    'a', 's',  'm',  1, 0,    0, 0,    1, 13,  2,   0x60, 3, 0x7f, 0x7f,
                                 0x7f, 1,   0x7f, 0x60, 1, 0x7f, 1, 0x7f, 3, 4,   3,   0,    1, 1,    5,
                                 4,    1,   1,    2,    2, 7,    7, 1,    3, 'r', 'u', 'n',  0, 0};
  static const uint8_t leaf[] = {4, 0, 0x20, 0, 0x0b};
  static const uint8_t calls[] = {18, 0, 0x20, 0, 0x45, 0x04, 0x7f, 0x41, 7, 0x05, 0x20, 0, 0x41, 1, 0x6b, 0x10, 2, 0x0b, 0x0b};
  struct buffer body = {0}, code = {0};
  state = seed * 2654435761u + 0x9e3779b9u;
  if (!state) state = 1;
  for (int i = 0; i < 4; i++) any(2);
  buffer_append(&body, (uint8_t[]){2, 3, 0x7f, 2, 0x7b}, 5);
  if (!any(4)) dead_loop(&body);
  for (uint32_t i = 0, n = 1 + any(2); i < n; i++) {
    struct loop l = make_loop();
    uint32_t step = l.parts * width(&l) * (l.stride ? l.stride : 1) >> l.index_shift;
    if (!step || !any(12)) step = 1 + any(32);
    p->n = l.n_rounds * step;
    loop(&body, &l, (int32_t)step);
  }
  tail(&body, any(2));
  wasm_byte(&body, 0x0b);
  wasm_byte(&code, 3);
  function(&code, &body);
  buffer_append(&code, leaf, sizeof leaf);
  buffer_append(&code, calls, sizeof calls);
  p->bytes = (struct buffer){0};
  buffer_append(&p->bytes, head, sizeof head);
  wasm_section(&p->bytes, 10, &code);
  buffer_clear(&body);
  buffer_clear(&code);
}

/* --- running ---------------------------------------------------------------------------------------------------------- */

struct outcome {
  struct gw_error err;
  uint32_t result, digest;
  uint64_t gas;
};

static uint32_t digest(const uint8_t *bytes) {
  uint32_t hash = 2166136261u;
  for (uint32_t i = 0; i < MEMORY; i++) hash = (hash ^ bytes[i]) * 16777619u;
  return hash;
}

static void run(struct gw_engine *engine, struct gw_module *module, enum gw_tier tier, uint64_t limit, uint32_t n,
                struct outcome *out) {
  *out = (struct outcome){0};
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.gas_limit = limit, .tier = tier}, &out->err);
  struct gw_instance *instance = store ? gw_instance_create(store, module, NULL, NULL, &out->err) : NULL;
  if (instance) {
    union gw_value values[3] = {{.u32 = 1}, {.u32 = 5}, {.u32 = n}};
    uint8_t *memory = gw_instance_memory(instance, 0, MEMORY);
    uint32_t x = 12345;
    for (uint32_t i = 0; i < MEMORY; i++) memory[i] = (uint8_t)((x = x * 1103515245 + 12345) >> 16);
    gw_call_export(instance, "run", values, 3, &out->err);
    out->result = values[0].u32;
    out->gas = gw_store_gas_used(store);
    out->digest = digest(gw_instance_memory(instance, 0, MEMORY));
  }
  gw_store_destroy(store);
}

/* Why the two differ, or NULL. */
static const char *difference(const struct outcome *fast, const struct outcome *precise) {
  if (fast->err.code && fast->err.code != GW_ERROR_TRAP) return fast->err.message;
  if (fast->err.code) return judge_confirms(&fast->err, &precise->err) ? NULL : "the trap";
  if (precise->err.code) return "no trap";
  return fast->gas != precise->gas         ? "gas"
         : fast->result != precise->result ? "the result"
         : fast->digest != precise->digest ? "memory"
                                           : NULL;
}

/* Makes *limit one that is reached shortly before the end that `o` had, or just not: compiled code notices late. */
static bool limit_near_end(const struct outcome *o, uint64_t *limit) {
  uint64_t distance = any(3) ? any(40) : any(4000);
  if (o->err.code && o->err.trap == GW_TRAP_OUT_OF_GAS) return false;
  if (distance >= o->gas + 4) return false;
  *limit = o->gas + 4 - distance;
  return true;
}

/* False: it said what differs. */
static bool try_seed(uint32_t seed) {
  static const char *const cpus[] = {NULL, NULL, "x86-64-v2", "x86-64-v3", "x86-64-v4"};
  struct program p;
  struct outcome precise, baseline, fast;
  struct gw_error err = {0};
  make_program(&p, seed);
  const char *cpu = cpus[any(5)], *why = NULL;
  if (cpu && !cpu_runs(cpu)) cpu = NULL;
  bool is_profile = !cpu && !any(3);
  struct gw_engine_options options = {.loose_traps = true,
                                      .opt_level = any(6) ? 1 + any(3) : 0,
                                      .gas = true,
                                      .verify = true,
                                      .profile = is_profile,
                                      .threads = 1};
  uint64_t limit = any(3) ? ENOUGH : 1 + any(5000);
  struct gw_engine *engine = gw_engine_create(&options, &err);
  struct gw_module *module = engine ? gw_module_create(engine, p.bytes.bytes, p.bytes.size, &err) : NULL;
  struct gw_module *compiled = module && cpu ? module_for_cpu(engine, gw_module_retain(module), cpu, &err) : module;
  if (compiled) {
    run(engine, module, GW_TIER_PRECISE, limit, p.n, &precise);
    if (any(2) && limit_near_end(&precise, &limit)) run(engine, module, GW_TIER_PRECISE, limit, p.n, &precise);
    run(engine, compiled, GW_TIER_FAST, limit, p.n, &fast);
    why = difference(&fast, &precise);
    run(engine, module, GW_TIER_BASELINE, limit, p.n, &baseline);
    if (!why && difference(&baseline, &precise)) why = "the baseline tier differs";
    uint64_t random = seed;
    if (!is_profile) mixed_compile(module, &random);
    if (!is_profile) run(engine, module, GW_TIER_MIXED, limit, p.n, &fast);
    if (!why && difference(&fast, &precise)) why = "the mixed tier differs";
  } else {
    why = err.message;
  }
  if (why)
    printf("FAIL seed %" PRIu32 ": -O%" PRIu32 "%s %s, limit %" PRIu64 ": %s\n", seed, options.opt_level,
           is_profile ? " profile" : "", cpu ? cpu : "", limit, why);
  if (compiled != module) gw_module_release(compiled);
  gw_module_release(module);
  gw_engine_destroy(engine);
  buffer_clear(&p.bytes);
  return !why;
}

/* How many of the seeds from *at on fail; *at is where a crash happened, or the end. */
static uint32_t run_batch(volatile uint32_t *shared, uint32_t end) {
  int status = 0;
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    setrlimit(RLIMIT_CPU, &(struct rlimit){120, 120});
    for (; shared[0] < end; shared[0]++) shared[1] += !try_seed(shared[0]);
    fflush(stdout);
    _exit(0);
  }
  if (pid < 0 || waitpid(pid, &status, 0) != pid) abort();
  uint32_t failed = shared[1];
  shared[1] = 0;
  if (status == 0) return failed;
  printf("FAIL seed %" PRIu32 ": status %d\n", shared[0]++, status);
  return failed + 1;
}

int main(int argc, char **argv) {
  uint32_t seed = 1, count = UINT32_MAX, seconds = 20, failures = 10, failed = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    uint32_t v = (uint32_t)strtoul(argv[i + 1], NULL, 10);
    if (strcmp(argv[i], "--seed") == 0)
      seed = v;
    else if (strcmp(argv[i], "--count") == 0)
      count = v, seconds = UINT32_MAX / 2;
    else if (strcmp(argv[i], "--seconds") == 0)
      seconds = v;
    else if (strcmp(argv[i], "--failures") == 0)
      failures = v;
    else
      return fprintf(stderr, "usage: fuzz_loops [--seed N] [--count N] [--seconds S] [--failures N]\n"), 2;
  }
  volatile uint32_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 1;
  time_t end = time(NULL) + (time_t)seconds;
  uint32_t last = count < UINT32_MAX - seed ? seed + count : UINT32_MAX;
  shared[0] = seed;
  while (shared[0] < last && time(NULL) < end && failed < failures)
    failed += run_batch(shared, shared[0] + BATCH < last ? shared[0] + BATCH : last);
  printf("%" PRIu32 " modules, %" PRIu32 " failed\n", shared[0] - seed, failed);
  return failed ? 1 : 0;
}
