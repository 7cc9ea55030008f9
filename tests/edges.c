/* Memories and tables at their edges, against a model of what the specification says. Each module has memories of random index
 * types, page sizes and limits, and tables likewise; accesses with constant offsets, and everything that fills, copies, grows and
 * drops. Its functions are called with operands around the sizes, 2^31, 2^32, 2^48, 2^63 and 2^64, in compiled code of a random
 * level and in the precise tier, with resets and the host's own writes in between. Results, traps, contents and gas must be one.
 *
 *   edges [--seed N] [--count N] [--seconds S]
 *
 * A case follows from its seed alone. */
#include "gasworks.h"
#include "runtime/object.h"
#include "tests/mixed.h"
#include "tests/wasm_bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
  MAX_MEMORIES = 3,
  MAX_TABLES = 3,
  N_ACCESSES = 12,
  N_CALLS = 4000,
  N_FUNCS = 5, /* that tables hold; number N_FUNCS is null */
  DATA_SIZE = 40,
  N_ELEMS = 7,
  MEMORY_LIMIT = 1 << 20,
  ENTRY_LIMIT = 5000,
};

/* --- random numbers ------------------------------------------------------------------------------------------------- */

static uint64_t random_state;

static uint64_t any(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state * 0x2545f4914f6cdd1d;
}

static uint32_t below(uint32_t n) { return (uint32_t)((any() >> 32) % n); }

/* Near to where something begins or ends: `size` is of what is indexed. */
static uint64_t edge(uint64_t size) {
  static const uint64_t places[] = {0, UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(1) << 48, UINT64_C(1) << 63, 4096, 65536};
  uint32_t kind = below(20);
  uint64_t near = below(4) ? below(20) : below(70000);
  if (kind < 8) return size - near;
  if (kind < 10) return size + near;
  if (kind < 12) return size ? any() % size : 0;
  uint64_t place = places[below(sizeof places / sizeof *places)];
  return below(2) ? place + near : place - near;
}

/* --- the module ------------------------------------------------------------------------------------------------------- */

struct shape {
  bool is_64;
  uint8_t page_log2; /* of memories */
  uint8_t fill;      /* of tables: the function they start with */
  uint64_t min, max; /* UINT64_MAX: none is said */
};

struct access {
  uint32_t memory, size; /* bytes: 1, 2, 4, 8, 16 */
  bool is_store;
  uint64_t offset;
};

static struct {
  uint32_t n_memories, n_tables; /* table 0 holds the functions and is not changed */
  struct shape memories[MAX_MEMORIES], tables[MAX_TABLES];
  struct access accesses[N_ACCESSES];
  uint8_t data[DATA_SIZE];
} shape;

static void choose_memory(struct shape *s) {
  static const uint32_t sizes[] = {0, 1, 7, 4095, 4096, 4097, 8192, 65535, 65536, 65537, 100000};
  s->is_64 = below(2);
  s->page_log2 = below(3) ? 0 : 16;
  s->min = s->page_log2 ? below(3) : sizes[below(sizeof sizes / sizeof *sizes)];
  s->max = below(3) ? s->min + (s->page_log2 ? below(3) : sizes[below(sizeof sizes / sizeof *sizes)]) : UINT64_MAX;
}

/* Resets go by chunks of entries, so sizes are around theirs. */
static void choose_table(struct shape *s) {
  static const uint32_t sizes[] = {0, 1, 63, 64, 65, 127, 128, 129, 700};
  s->is_64 = below(2);
  s->min = below(2) ? below(30) : sizes[below(sizeof sizes / sizeof *sizes)];
  s->max = below(2) ? s->min + below(600) : UINT64_MAX;
  s->fill = below(2) ? N_FUNCS : (uint8_t)below(N_FUNCS);
}

static void choose(void) {
  shape.n_memories = 1 + below(MAX_MEMORIES);
  shape.n_tables = 2 + below(MAX_TABLES - 1);
  for (uint32_t i = 0; i < shape.n_memories; i++) choose_memory(&shape.memories[i]);
  shape.tables[0] = (struct shape){.min = N_FUNCS + 1, .max = N_FUNCS + 1, .fill = N_FUNCS};
  for (uint32_t i = 1; i < shape.n_tables; i++) choose_table(&shape.tables[i]);
  for (uint32_t i = 0; i < N_ACCESSES; i++) {
    struct access *a = &shape.accesses[i];
    *a = (struct access){.memory = below(shape.n_memories), .size = 1u << below(5), .is_store = below(2)};
    const struct shape *m = &shape.memories[a->memory];
    a->offset = below(3) ? edge(m->min << m->page_log2) : below(20);
    if (!m->is_64) a->offset = (uint32_t)a->offset;
  }
  for (uint32_t i = 0; i < DATA_SIZE; i++) shape.data[i] = (uint8_t)(1 + below(255));
}

static void put(struct buffer *b, const char *bytes, size_t size) { buffer_append(b, bytes, size); }
#define PUT(b, literal) put(b, "" literal, sizeof literal - 1)

static void put_limits(struct buffer *b, const struct shape *s, bool is_memory) {
  bool has_page = is_memory && s->page_log2 != 16;
  wasm_byte(b, (s->max != UINT64_MAX) | (uint32_t)s->is_64 << 2 | (uint32_t)has_page << 3);
  wasm_leb(b, s->min);
  if (s->max != UINT64_MAX) wasm_leb(b, s->max);
  if (has_page) wasm_leb(b, s->page_log2);
}

static void put_table(struct buffer *b, const struct shape *s) {
  bool is_filled = s->fill != N_FUNCS;
  if (is_filled) PUT(b, "\x40\0");
  wasm_byte(b, 0x70);
  put_limits(b, s, false);
  if (is_filled) wasm_byte(b, 0xd2), wasm_byte(b, s->fill), wasm_byte(b, 0x0b);
}

/* A parameter as an index, or a number of i32. */
static void put_operand(struct buffer *b, uint32_t param, bool is_64) {
  wasm_byte(b, 0x20);
  wasm_leb(b, param);
  if (!is_64) wasm_byte(b, 0xa7);
}

static void put_reference(struct buffer *b, uint32_t param) {
  put_operand(b, param, false);
  PUT(b, "\x25\0");
}

static void put_access(struct buffer *b, const struct access *a) {
  static const uint8_t loads[] = {0x31, 0x33, 0x35, 0x29}, stores[] = {0x3c, 0x3d, 0x3e, 0x37};
  uint32_t log2 = 0;
  while (1u << log2 < a->size) log2++;
  put_operand(b, 0, shape.memories[a->memory].is_64);
  if (a->is_store) put_operand(b, 1, true);
  if (a->is_store && log2 == 4) PUT(b, "\xfd\x12"); /* i64x2.splat */
  if (log2 == 4)
    wasm_byte(b, 0xfd), wasm_byte(b, a->is_store ? 0x0b : 0x00);
  else
    wasm_byte(b, a->is_store ? stores[log2] : loads[log2]);
  wasm_byte(b, a->memory ? 0x40 : 0);
  if (a->memory) wasm_leb(b, a->memory);
  wasm_leb(b, a->offset);
  if (a->is_store)
    PUT(b, "\x42\0");
  else if (log2 == 4)
    PUT(b, "\xfd\x1d\1"); /* i64x2.extract_lane 1 */
}

enum op { FILL, COPY, INIT, GROW, SIZE, DROP, N_MEMORY_OPS, GET = N_MEMORY_OPS, SET, CALL, CALL_WRONG, N_TABLE_OPS };

static void put_result(struct buffer *b, bool is_64) {
  if (!is_64) wasm_byte(b, 0xad);
}

static void put_memory_op(struct buffer *b, enum op op, uint32_t m, uint32_t other) {
  bool is_64 = shape.memories[m].is_64, from_64 = shape.memories[other].is_64;
  if (op < GROW) {
    put_operand(b, 0, is_64);
    put_operand(b, 1, op == COPY && from_64);
    put_operand(b, 2, op == FILL ? is_64 : op == COPY && is_64 && from_64);
    wasm_byte(b, 0xfc);
    wasm_byte(b, op == FILL ? 11 : op == COPY ? 10 : 8);
    if (op == INIT) wasm_leb(b, 0);
    wasm_leb(b, m);
    if (op == COPY) wasm_leb(b, other);
  } else if (op == DROP) {
    PUT(b, "\xfc\x09\0");
  } else {
    if (op == GROW) put_operand(b, 0, is_64);
    wasm_byte(b, op == GROW ? 0x40 : 0x3f);
    wasm_leb(b, m);
    put_result(b, is_64);
    return;
  }
  PUT(b, "\x42\0");
}

static void put_table_op(struct buffer *b, enum op op, uint32_t t, uint32_t other) {
  bool is_64 = shape.tables[t].is_64, from_64 = shape.tables[other].is_64;
  if (op == FILL || op == COPY || op == INIT) {
    put_operand(b, 0, is_64);
    if (op == FILL)
      put_reference(b, 1);
    else
      put_operand(b, 1, op == COPY && from_64);
    put_operand(b, 2, op == FILL ? is_64 : op == COPY && is_64 && from_64);
    wasm_byte(b, 0xfc);
    wasm_byte(b, op == FILL ? 17 : op == COPY ? 14 : 12);
    if (op == INIT) wasm_leb(b, 1);
    wasm_leb(b, t);
    if (op == COPY) wasm_leb(b, other);
    PUT(b, "\x42\0");
  } else if (op == GROW || op == SIZE) {
    if (op == GROW) put_reference(b, 1), put_operand(b, 0, is_64);
    wasm_byte(b, 0xfc);
    wasm_byte(b, op == GROW ? 15 : 16);
    wasm_leb(b, t);
    put_result(b, is_64);
  } else if (op == DROP) {
    PUT(b, "\xfc\x0d\1\x42\0");
  } else if (op == GET) {
    put_operand(b, 0, is_64);
    wasm_byte(b, 0x25), wasm_leb(b, t);
    PUT(b, "\xd1\xad");
  } else if (op == SET) {
    put_operand(b, 0, is_64);
    put_reference(b, 1);
    wasm_byte(b, 0x26), wasm_leb(b, t);
    PUT(b, "\x42\0");
  } else {
    if (op == CALL_WRONG) PUT(b, "\x42\1\x42\1\x42\1");
    put_operand(b, 0, is_64);
    wasm_byte(b, 0x11), wasm_leb(b, op == CALL_WRONG), wasm_leb(b, t);
  }
}

/* Functions behind the first N_FUNCS, all of [i64 i64 i64] -> [i64]: accesses, then for each pair of memories all operations,
 * then for each pair of tables. */
static uint32_t access_func(uint32_t i) { return N_FUNCS + i; }
static uint32_t memory_func(enum op op, uint32_t m, uint32_t other) {
  return N_FUNCS + N_ACCESSES + (m * shape.n_memories + other) * N_MEMORY_OPS + op;
}
static uint32_t table_func(enum op op, uint32_t t, uint32_t other) {
  return N_FUNCS + N_ACCESSES + shape.n_memories * shape.n_memories * N_MEMORY_OPS + (t * shape.n_tables + other) * N_TABLE_OPS +
         op;
}
static uint32_t n_funcs(void) { return table_func(0, shape.n_tables, 0); }

static void put_body(struct buffer *code, struct buffer *body) {
  struct buffer whole = {0};
  wasm_byte(&whole, 0);
  buffer_append(&whole, body->bytes, body->size);
  wasm_byte(&whole, 0x0b);
  wasm_sized(code, &whole);
  buffer_clear(&whole);
  body->size = 0;
}

static void put_bodies(struct buffer *code) {
  struct buffer body = {0};
  wasm_leb(code, n_funcs());
  for (uint32_t i = 0; i < N_FUNCS; i++) {
    wasm_byte(&body, 0x42), wasm_signed_leb(&body, 100 + i);
    put_body(code, &body);
  }
  for (uint32_t i = 0; i < N_ACCESSES; i++) put_access(&body, &shape.accesses[i]), put_body(code, &body);
  for (uint32_t m = 0; m < shape.n_memories; m++)
    for (uint32_t other = 0; other < shape.n_memories; other++)
      for (enum op op = 0; op < N_MEMORY_OPS; op++) put_memory_op(&body, op, m, other), put_body(code, &body);
  for (uint32_t t = 0; t < shape.n_tables; t++)
    for (uint32_t other = 0; other < shape.n_tables; other++)
      for (enum op op = 0; op < N_TABLE_OPS; op++) put_table_op(&body, op, t, other), put_body(code, &body);
  buffer_clear(&body);
}

static void put_export(struct buffer *b, char letter, uint32_t kind, uint32_t index) {
  char name[16];
  int n = snprintf(name, sizeof name, "%c%" PRIu32, letter, index);
  wasm_leb(b, (uint64_t)n);
  buffer_append(b, name, (size_t)n);
  wasm_byte(b, kind);
  wasm_leb(b, index);
}

static void finish_section(struct buffer *b, uint32_t id, struct buffer *content) {
  wasm_section(b, id, content);
  content->size = 0;
}

static struct buffer make_module(void) {
  struct buffer b = {0}, s = {0};
  PUT(&b, "\0asm\1\0\0\0");
  PUT(&b, "\1\x0c\2\x60\0\1\x7e\x60\3\x7e\x7e\x7e\1\x7e");
  wasm_leb(&s, n_funcs());
  for (uint32_t i = 0; i < n_funcs(); i++) wasm_byte(&s, i >= N_FUNCS);
  finish_section(&b, 3, &s);
  wasm_leb(&s, shape.n_tables);
  for (uint32_t i = 0; i < shape.n_tables; i++) put_table(&s, &shape.tables[i]);
  finish_section(&b, 4, &s);
  wasm_leb(&s, shape.n_memories);
  for (uint32_t i = 0; i < shape.n_memories; i++) put_limits(&s, &shape.memories[i], true);
  finish_section(&b, 5, &s);
  wasm_leb(&s, n_funcs() + shape.n_memories + shape.n_tables);
  for (uint32_t i = 0; i < n_funcs(); i++) put_export(&s, 'f', 0, i);
  for (uint32_t i = 0; i < shape.n_tables; i++) put_export(&s, 't', 1, i);
  for (uint32_t i = 0; i < shape.n_memories; i++) put_export(&s, 'm', 2, i);
  finish_section(&b, 7, &s);
  PUT(&s, "\2\0\x41\0\x0b\5\0\1\2\3\4\1\0\7\0\1\2\3\4\1\2");
  finish_section(&b, 9, &s);
  PUT(&s, "\1");
  finish_section(&b, 12, &s);
  put_bodies(&s);
  finish_section(&b, 10, &s);
  PUT(&s, "\1\1");
  wasm_leb(&s, DATA_SIZE);
  buffer_append(&s, shape.data, DATA_SIZE);
  finish_section(&b, 11, &s);
  buffer_clear(&s);
  return b;
}

/* --- the model -------------------------------------------------------------------------------------------------------- */

struct model {
  uint8_t *memories[MAX_MEMORIES];
  uint64_t bytes[MAX_MEMORIES], sizes[MAX_TABLES];
  uint8_t tables[MAX_TABLES][ENTRY_LIMIT];
  bool is_data_dropped, is_elem_dropped;
};

static struct model model, kept;

static void start_model(struct model *m) {
  for (uint32_t i = 0; i < shape.n_memories; i++) {
    m->bytes[i] = shape.memories[i].min << shape.memories[i].page_log2;
    memset(m->memories[i], 0, MEMORY_LIMIT);
  }
  for (uint32_t i = 0; i < shape.n_tables; i++) {
    m->sizes[i] = shape.tables[i].min;
    memset(m->tables[i], shape.tables[i].fill, sizeof m->tables[i]);
  }
  for (uint32_t i = 0; i < N_FUNCS; i++) m->tables[0][i] = (uint8_t)i;
  m->is_data_dropped = m->is_elem_dropped = false;
}

static void copy_model(struct model *to, const struct model *from) {
  struct model before = *to;
  *to = *from;
  memcpy(to->memories, before.memories, sizeof to->memories);
  for (uint32_t i = 0; i < shape.n_memories; i++) memcpy(to->memories[i], from->memories[i], MEMORY_LIMIT);
}

struct outcome {
  enum gw_trap trap;
  uint64_t value;
};

static bool fits(uint64_t at, uint64_t n, uint64_t size) { return n <= size && at <= size - n; }

static struct outcome trapped(enum gw_trap trap) { return (struct outcome){trap, 0}; }
static struct outcome gave(uint64_t value) { return (struct outcome){GW_TRAP_NONE, value}; }

static uint64_t narrow(uint64_t v, bool is_64) { return is_64 ? v : (uint32_t)v; }

static struct outcome model_access(const struct access *a, uint64_t index, uint64_t value) {
  uint64_t at, bytes[2] = {value, value};
  if (__builtin_add_overflow(narrow(index, shape.memories[a->memory].is_64), a->offset, &at) ||
      !fits(at, a->size, model.bytes[a->memory]))
    return trapped(GW_TRAP_MEMORY_OUT_OF_BOUNDS);
  uint8_t *p = model.memories[a->memory] + at;
  if (a->is_store) {
    memcpy(p, bytes, a->size);
    return gave(0);
  }
  bytes[0] = 0;
  memcpy(bytes, p, a->size);
  return gave(bytes[a->size == 16]);
}

/* What memories and tables take has one limit. */
static uint64_t held(void) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < shape.n_memories; i++) sum += model.bytes[i];
  for (uint32_t i = 0; i < shape.n_tables; i++) sum += model.sizes[i] * sizeof(void *);
  return sum;
}

static struct outcome model_memory_grow(uint32_t m, uint64_t pages) {
  const struct shape *s = &shape.memories[m];
  uint64_t before = model.bytes[m] >> s->page_log2, most = (uint64_t)MEMORY_LIMIT >> s->page_log2;
  if (s->max < most) most = s->max;
  if (pages > most - before || pages << s->page_log2 > MEMORY_LIMIT - held()) return gave(narrow(UINT64_MAX, s->is_64));
  model.bytes[m] += pages << s->page_log2;
  return gave(before);
}

static struct outcome model_memory(enum op op, uint32_t m, uint32_t other, const uint64_t v[3]) {
  bool is_64 = shape.memories[m].is_64, from_64 = shape.memories[other].is_64;
  uint64_t to = narrow(v[0], is_64);
  uint64_t from = narrow(v[1], op == COPY && from_64), n = narrow(v[2], op == FILL ? is_64 : op == COPY && is_64 && from_64);
  uint64_t source = op == COPY ? model.bytes[other] : model.is_data_dropped ? 0 : DATA_SIZE;
  if (op == SIZE) return gave(model.bytes[m] >> shape.memories[m].page_log2);
  if (op == GROW) return model_memory_grow(m, to);
  if (op == DROP) {
    model.is_data_dropped = true;
    return gave(0);
  }
  if (!fits(to, n, model.bytes[m]) || (op != FILL && !fits(from, n, source))) return trapped(GW_TRAP_MEMORY_OUT_OF_BOUNDS);
  if (op == FILL)
    memset(model.memories[m] + to, (int)(v[1] & 0xff), n);
  else
    memmove(model.memories[m] + to, op == COPY ? model.memories[other] + from : shape.data + from, n);
  return gave(0);
}

static struct outcome model_table_grow(uint32_t t, uint64_t n, uint32_t ref) {
  uint64_t before = model.sizes[t], total = 0;
  for (uint32_t i = 0; i < shape.n_tables; i++) total += model.sizes[i];
  uint64_t most = shape.tables[t].max < ENTRY_LIMIT ? shape.tables[t].max : ENTRY_LIMIT;
  if (n > most - before || n > ENTRY_LIMIT - total || n * sizeof(void *) > MEMORY_LIMIT - held())
    return gave(narrow(UINT64_MAX, shape.tables[t].is_64));
  memset(model.tables[t] + before, (int)ref, n);
  model.sizes[t] += n;
  return gave(before);
}

static struct outcome model_table_bulk(enum op op, uint32_t t, uint32_t other, const uint64_t v[3]) {
  static const uint8_t elems[N_ELEMS] = {0, 1, 2, 3, 4, 1, 2};
  bool is_64 = shape.tables[t].is_64, from_64 = shape.tables[other].is_64;
  uint64_t to = narrow(v[0], is_64), from = narrow(v[1], op == COPY && from_64);
  uint64_t n = narrow(v[2], op == FILL ? is_64 : op == COPY && is_64 && from_64);
  uint64_t source = op == COPY ? model.sizes[other] : model.is_elem_dropped ? 0 : N_ELEMS;
  if (!fits(to, n, model.sizes[t]) || (op != FILL && !fits(from, n, source))) return trapped(GW_TRAP_TABLE_OUT_OF_BOUNDS);
  if (op == FILL)
    memset(model.tables[t] + to, (int)v[1], n);
  else
    memmove(model.tables[t] + to, op == COPY ? model.tables[other] + from : elems + from, n);
  return gave(0);
}

static struct outcome model_call(enum op op, uint32_t t, uint64_t at) {
  if (at >= model.sizes[t]) return trapped(GW_TRAP_UNDEFINED_ELEMENT);
  uint8_t ref = model.tables[t][at];
  if (ref == N_FUNCS) return trapped(GW_TRAP_UNINITIALIZED_ELEMENT);
  return op == CALL ? gave(100 + ref) : trapped(GW_TRAP_INDIRECT_CALL_TYPE);
}

static struct outcome model_table(enum op op, uint32_t t, uint32_t other, const uint64_t v[3]) {
  uint64_t at = narrow(v[0], shape.tables[t].is_64);
  if (op == SIZE) return gave(model.sizes[t]);
  if (op == GROW) return model_table_grow(t, at, (uint32_t)v[1]);
  if (op == DROP) model.is_elem_dropped = true;
  if (op == DROP) return gave(0);
  if (op < GROW) return model_table_bulk(op, t, other, v);
  if (op == CALL || op == CALL_WRONG) return model_call(op, t, at);
  if (at >= model.sizes[t]) return trapped(GW_TRAP_TABLE_OUT_OF_BOUNDS);
  if (op == GET) return gave(model.tables[t][at] == N_FUNCS);
  model.tables[t][at] = (uint8_t)v[1];
  return gave(0);
}

/* --- a case ------------------------------------------------------------------------------------------------------------- */

struct guest {
  struct gw_engine *engine;
  struct gw_module *module;
  struct gw_store *store;
  struct gw_instance *instance;
  struct func_ref *funcs[N_FUNCS + 1];
  uint64_t gas;
};

static uint32_t seed;

static bool failed(const char *format, uint64_t a, uint64_t b, uint64_t c) {
  printf("FAIL seed %" PRIu32 ": ", seed);
  printf(format, a, b, c);
  printf("\n");
  return false;
}

static struct gw_extern exported(struct guest *g, char letter, uint32_t index) {
  char name[16];
  struct gw_extern out = {0};
  snprintf(name, sizeof name, "%c%" PRIu32, letter, index);
  if (!gw_instance_export(g->instance, name, strlen(name), &out)) abort();
  return out;
}

static bool open_guest(struct guest *g, const struct buffer *bytes, const struct gw_engine_options *options, enum gw_tier tier) {
  struct gw_error err = {0};
  struct gw_store_options limits = {.tier = tier, .max_memory_bytes = MEMORY_LIMIT, .max_table_entries = ENTRY_LIMIT};
  g->engine = gw_engine_create(options, &err);
  g->module = gw_module_create(g->engine, bytes->bytes, bytes->size, &err);
  g->store = gw_store_create(g->engine, &limits, &err);
  g->instance = g->module ? gw_instance_create(g->store, g->module, NULL, NULL, &err) : NULL;
  if (!g->instance) printf("FAIL seed %" PRIu32 ": %s\n", seed, err.message);
  for (uint32_t i = 0; g->instance && i < N_FUNCS; i++) g->funcs[i] = exported(g, 'f', i).of.func;
  return g->instance;
}

static void close_guest(struct guest *g) {
  gw_store_destroy(g->store);
  gw_module_release(g->module);
  gw_engine_destroy(g->engine);
}

static bool agrees(struct guest *g, uint32_t func, const uint64_t v[3], const struct outcome *wanted) {
  struct gw_error err = {0};
  union gw_value values[3] = {{.u64 = v[0]}, {.u64 = v[1]}, {.u64 = v[2]}};
  bool ok = gw_call(g->store, exported(g, 'f', func).of.func, values, &err);
  g->gas = ok ? gw_store_gas_used(g->store) : 0;
  if ((ok ? GW_TRAP_NONE : err.trap) != wanted->trap)
    return failed("function %" PRIu64 ": trap %" PRIu64 ", not %" PRIu64, func, err.trap, wanted->trap);
  if (ok && values[0].u64 != wanted->value)
    return failed("function %" PRIu64 ": 0x%" PRIx64 ", not 0x%" PRIx64, func, values[0].u64, wanted->value);
  return true;
}

static bool holds_the_same(struct guest *g) {
  for (uint32_t i = 0; i < shape.n_memories; i++) {
    const struct gw_memory *m = exported(g, 'm', i).of.memory;
    if (m->ctx.bytes != model.bytes[i]) return failed("memory %" PRIu64 " has %" PRIu64 " bytes", i, m->ctx.bytes, 0);
    if (memcmp(m->ctx.base, model.memories[i], model.bytes[i])) return failed("memory %" PRIu64 " differs", i, 0, 0);
  }
  for (uint32_t i = 0; i < shape.n_tables; i++) {
    const struct gw_table *t = exported(g, 't', i).of.table;
    if (t->ctx.size != model.sizes[i]) return failed("table %" PRIu64 " has %" PRIu64 " entries", i, t->ctx.size, 0);
    for (uint64_t k = 0; k < t->ctx.size; k++)
      if (t->ctx.entries[k] != g->funcs[model.tables[i][k]]) return failed("table %" PRIu64 " differs at %" PRIu64, i, k, 0);
  }
  return true;
}

/* One call in both tiers. */
static bool call_once(struct guest *guests) {
  uint32_t func, m = below(shape.n_memories), other = below(shape.n_memories), t = 1 + below(shape.n_tables - 1);
  uint32_t table = below(shape.n_tables), kind = below(3);
  uint64_t v[3];
  struct outcome wanted;
  if (kind == 0) {
    const struct access *a = &shape.accesses[func = below(N_ACCESSES)];
    v[0] = edge(model.bytes[a->memory]) - (below(2) ? a->offset : 0), v[1] = any(), v[2] = 0;
    wanted = model_access(a, v[0], v[1]);
    func = access_func(func);
  } else if (kind == 1) {
    enum op op = below(8) ? below(N_MEMORY_OPS - 1) : DROP;
    const struct shape *s = &shape.memories[m];
    v[0] = op == GROW && below(3) ? below(s->page_log2 ? 3 : 9000) : edge(model.bytes[m]);
    v[1] = op == INIT ? edge(DATA_SIZE) : op == FILL ? any() : edge(model.bytes[other]);
    v[2] = below(2) ? edge(0) + below(2000) : edge(op == INIT ? DATA_SIZE : model.bytes[m]) - v[0];
    if (op == DROP && below(4)) op = SIZE;
    wanted = model_memory(op, m, other, v);
    func = memory_func(op, m, other);
  } else {
    enum op op = below(N_TABLE_OPS);
    v[0] = op == GROW && below(3) ? below(100) : edge(model.sizes[t]);
    v[1] = op == COPY ? edge(model.sizes[table]) : op == INIT ? edge(N_ELEMS) : below(N_FUNCS + 1);
    v[2] = below(2) ? below(12) : edge(model.sizes[t]) - v[0];
    if (op == DROP && below(4)) op = SIZE;
    wanted = model_table(op, t, table, v);
    func = table_func(op, t, table);
  }
  if (!agrees(&guests[0], func, v, &wanted) || !agrees(&guests[1], func, v, &wanted))
    return failed("  operands 0x%" PRIx64 " 0x%" PRIx64 " 0x%" PRIx64, v[0], v[1], v[2]);
  return guests[0].gas == guests[1].gas ||
         failed("function %" PRIu64 ": gas %" PRIu64 " and %" PRIu64, func, guests[0].gas, guests[1].gas);
}

/* The host writes to memory 0, as host functions do. */
static bool host_writes(struct guest *guests) {
  uint64_t at = edge(model.bytes[0]), n = below(10000);
  uint8_t value = (uint8_t)any();
  for (int i = 0; i < 2; i++) {
    void *p = gw_instance_memory(guests[i].instance, at, n);
    if (!p != !fits(at, n, model.bytes[0])) return failed("the host gets [0x%" PRIx64 ", +%" PRIu64 ")", at, n, 0);
    if (p) memset(p, value, n);
  }
  if (fits(at, n, model.bytes[0])) memset(model.memories[0] + at, value, n);
  return true;
}

static bool reset(struct guest *guests) {
  struct gw_error err = {0};
  for (int i = 0; i < 2; i++)
    if (!gw_instance_reset(guests[i].instance, &err)) return err.code == GW_ERROR_UNAVAILABLE || failed("no reset", 0, 0, 0);
  copy_model(&model, &kept);
  return true;
}

/* What there is now is what resets go back to, in both tiers or in none. */
static bool keep(struct guest *guests) {
  struct gw_error err = {0};
  bool can = gw_instance_can_keep(guests[0].instance);
  if (can != gw_instance_can_keep(guests[1].instance)) return failed("only one tier can keep its instance", 0, 0, 0);
  for (int i = 0; can && i < 2; i++)
    if (!gw_instance_keep(guests[i].instance, &err)) return failed("an instance cannot be kept", 0, 0, 0);
  if (can) copy_model(&kept, &model);
  return true;
}

static bool run_case(void) {
  random_state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
  choose();
  struct buffer bytes = make_module();
  struct gw_engine_options options = {.loose_traps = true, .opt_level = below(4), .gas = true};
  struct guest guests[2] = {{0}};
  static const enum gw_tier others[] = {GW_TIER_PRECISE, GW_TIER_BASELINE, GW_TIER_MIXED};
  enum gw_tier other = others[below(3)];
  bool ok = open_guest(&guests[0], &bytes, &options, GW_TIER_FAST) && open_guest(&guests[1], &bytes, &options, other);
  uint64_t random = seed;
  if (ok && other == GW_TIER_MIXED) mixed_compile(guests[1].module, &random);
  start_model(&model);
  start_model(&kept);
  for (int i = 0; ok && i < N_CALLS; i++) {
    ok = call_once(guests);
    if (ok && !below(15)) ok = host_writes(guests);
    if (ok && (!below(10) || i + 1 == N_CALLS)) ok = holds_the_same(&guests[0]) && holds_the_same(&guests[1]);
    if (ok && !below(25)) ok = reset(guests) && holds_the_same(&guests[0]) && holds_the_same(&guests[1]);
    if (ok && !below(100)) ok = keep(guests);
  }
  for (int i = 0; i < 2; i++) close_guest(&guests[i]);
  buffer_clear(&bytes);
  return ok;
}

int main(int argc, char **argv) {
  uint32_t count = UINT32_MAX, seconds = 10, n = 0, n_failed = 0;
  seed = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    uint32_t v = (uint32_t)strtoul(argv[i + 1], NULL, 10);
    if (strcmp(argv[i], "--seed") == 0)
      seed = v;
    else if (strcmp(argv[i], "--count") == 0)
      count = v, seconds = UINT32_MAX / 2;
    else if (strcmp(argv[i], "--seconds") == 0)
      seconds = v;
    else
      return fprintf(stderr, "usage: edges [--seed N] [--count N] [--seconds S]\n"), 2;
  }
  for (int i = 0; i < MAX_MEMORIES; i++) {
    model.memories[i] = malloc(MEMORY_LIMIT);
    kept.memories[i] = malloc(MEMORY_LIMIT);
    if (!model.memories[i] || !kept.memories[i]) return 1;
  }
  time_t end = time(NULL) + (time_t)seconds;
  for (; n < count && time(NULL) < end && n_failed < 10; n++, seed++) n_failed += !run_case();
  for (int i = 0; i < MAX_MEMORIES; i++) free(model.memories[i]), free(kept.memories[i]);
  printf("%" PRIu32 " modules, %" PRIu32 " failed\n", n, n_failed);
  return n_failed ? 1 : 0;
}
