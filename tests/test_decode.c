/* What decoding and validation leave in the module, what they say about bad ones, and limits. */
#include "base/buffer.h"
#include "frontend/limit.h"
#include "frontend/module.h"
#include "frontend/types.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define CORPUS SOURCE_DIR "/tests/corpus/"
#define HEADER "\0asm\1\0\0\0"
#define BYTES(text) (text), sizeof(text) - 1

struct loaded {
  struct buffer bytes;
  struct module m;
};

static void load(struct loaded *l, const char *path) {
  struct gw_error err = {0};
  *l = (struct loaded){0};
  if (!buffer_read_file(&l->bytes, path, 1 << 20, &err) || !module_decode(&l->m, l->bytes.bytes, l->bytes.size, &err) ||
      !module_validate(&l->m, &err))
    fail_msg("%s: %s", path, err.message);
}

static void unload(struct loaded *l) {
  module_clear(&l->m);
  buffer_clear(&l->bytes);
}

static uint32_t export_index(const struct module *m, const char *name) {
  const struct export *e = module_find_export(m, name, strlen(name));
  assert_non_null(e);
  return e->index;
}

static void assert_name(const struct module *m, uint32_t func, const char *expected) {
  char name[64];
  assert_string_equal(func_display_name(m, func, name, sizeof name), expected);
}

/* --- facts -------------------------------------------------------------------------------------------------------- */

static void test_control(void **state) {
  (void)state;
  struct loaded l;
  load(&l, CORPUS "control.wasm");
  const struct module *m = &l.m;
  assert_int_equal(m->n_imports, 2);
  assert_int_equal(m->n_imported_funcs, 1);
  assert_int_equal(m->n_funcs, 6);
  assert_int_equal(m->n_globals, 3);
  assert_int_equal(m->n_imported_globals, 1);
  assert_int_equal(m->start, 5);
  assert_memory_equal(m->name.bytes, "control", 7);
  assert_name(m, 0, "log");
  assert_name(m, 2, "loop");
  assert_name(m, 99, "func[99]");
  assert_null(module_find_export(m, "swap", 4));
  assert_null(module_find_export(m, "loo", 3));
  const struct func *loop = &m->funcs[export_index(m, "loop")], *sw = &m->funcs[export_index(m, "switch")];
  assert_int_equal(loop->n_locals, 3);
  assert_int_equal(loop->max_stack, 2);
  assert_int_equal(loop->n_calls, 0);
  assert_int_equal(sw->n_calls, 2);
  assert_true(loop->is_declared && !m->funcs[1].is_declared);
  /* one parameter, three locals, two operands */
  assert_int_equal(func_frame_cost(m, export_index(m, "loop")), 64 + 6 * 8);
  struct vmctx_counts c = module_vmctx_counts(m);
  assert_int_equal(c.funcs, 6);
  assert_int_equal(c.globals, 3);
  assert_int_equal(c.imported_globals, 1);
  unload(&l);
}

static void test_segments(void **state) {
  (void)state;
  struct loaded l;
  load(&l, CORPUS "tables.wasm");
  const struct module *m = &l.m;
  assert_int_equal(m->n_tables, 2);
  assert_int_equal(m->tables[0].type.limits.max, 10);
  assert_int_equal(m->tables[1].type.elem, TYPE_EXTERNREF);
  assert_false(m->tables[1].type.limits.has_max);
  assert_int_equal(m->n_elems, 4);
  assert_int_equal(m->elems[0].mode, SEGMENT_ACTIVE);
  assert_int_equal(m->elems[1].funcs[0], 1);
  assert_int_equal(m->elems[2].n, 2);
  assert_non_null(m->elems[2].exprs);
  assert_int_equal(m->elems[3].mode, SEGMENT_DECLARATIVE);
  for (uint32_t i = 0; i < 4; i++) assert_true(m->funcs[i].is_declared);
  unload(&l);
  load(&l, CORPUS "memory.wasm");
  assert_int_equal(l.m.n_datas, 2);
  assert_int_equal(l.m.data_count, 2);
  assert_int_equal(l.m.datas[0].size, 11);
  assert_memory_equal(l.m.datas[0].bytes, "hello\0world", 11);
  assert_int_equal(l.m.datas[1].mode, SEGMENT_PASSIVE);
  assert_int_equal(l.m.memories[0].type.limits.max, 4);
  unload(&l);
}

/* --- canonical types ---------------------------------------------------------------------------------------------- */

/* A module of plain function types, each with `bits` parameters that are i32 or f64 by the bits of its number. */
static void load_types(struct loaded *l, uint32_t first, uint32_t n, uint32_t bits) {
  struct gw_error err = {0};
  *l = (struct loaded){0};
  uint32_t size = n * (bits + 3) + 2;
  uint8_t head[] = {1, 128 | (size & 127), 128 | (size >> 7 & 127), (uint8_t)(size >> 14), 128 | (n & 127), (uint8_t)(n >> 7)};
  buffer_append(&l->bytes, HEADER, 8);
  buffer_append(&l->bytes, head, sizeof head);
  for (uint32_t i = 0; i < n; i++) {
    uint8_t type[35] = {0x60, (uint8_t)bits};
    for (uint32_t k = 0; k < bits; k++) type[2 + k] = (first + i) >> k & 1 ? 0x7c : 0x7f;
    buffer_append(&l->bytes, type, bits + 3);
  }
  if (!module_decode(&l->m, l->bytes.bytes, l->bytes.size, &err)) fail_msg("%s", err.message);
}

static void test_canonical(void **state) {
  (void)state;
  struct loaded l, again, other;
  load(&l, CORPUS "tables.wasm");
  load(&again, CORPUS "program.wasm");
  bool is_shared = false;
  for (uint32_t i = 0; i < again.m.n_types; i++)
    is_shared |= again.m.types[i].canonical == l.m.types[l.m.funcs[0].type].canonical;
  assert_true(is_shared);
  unload(&l);
  unload(&again);
  load_types(&l, 0, 512, 9);
  load_types(&again, 0, 512, 9);
  load_types(&other, 0, 512, 10);
  for (uint32_t i = 0; i < 512; i++) {
    assert_int_equal(l.m.types[i].canonical, again.m.types[i].canonical);
    assert_int_not_equal(l.m.types[i].canonical, other.m.types[i].canonical);
    for (uint32_t k = 0; k < i; k++) assert_int_not_equal(l.m.types[i].canonical, l.m.types[k].canonical);
  }
  unload(&l);
  unload(&again);
  unload(&other);
}

/* Deploying new types for ever: what is gone leaves neither a group nor an id behind. */
static void test_types_go(void **state) {
  (void)state;
  struct loaded kept, l;
  uint32_t ids[256];
  load_types(&kept, 7000, 256, 30);
  for (uint32_t i = 0; i < 256; i++) ids[i] = kept.m.types[i].canonical;
  struct types_totals before = types_totals(), after;
  for (uint32_t round = 0; round < 300; round++) {
    load_types(&l, 100000 + 1000 * round, 1000, 30);
    assert_int_equal(types_totals().n_groups, before.n_groups + 1000);
    unload(&l);
  }
  after = types_totals();
  assert_int_equal(after.n_groups, before.n_groups);
  assert_true(after.n_ids <= before.n_ids + 1000);
  load_types(&l, 7000, 256, 30);
  for (uint32_t i = 0; i < 256; i++) assert_int_equal(l.m.types[i].canonical, ids[i]);
  unload(&l);
  unload(&kept);
}

/* Modules come and go in any order: live types have one id exactly when they are one type. */
static void test_types_in_any_order(void **state) {
  (void)state;
  enum { N = 40, EACH = 60, STEPS = 3000 };
  struct loaded *live = calloc(N, sizeof *live);
  uint32_t *first = calloc(N, sizeof *first), random = 5;
  uint32_t n_before = types_totals().n_groups;
  for (uint32_t step = 0; step < STEPS; step++) {
    random = random * 1664525u + 1013904223u;
    uint32_t at = random >> 8 & 0xffff, i = at % N;
    if (live[i].bytes.size) {
      unload(&live[i]);
      continue;
    }
    first[i] = at % 1000;
    load_types(&live[i], first[i], EACH, 12);
    for (uint32_t k = 0; k < N; k++) {
      if (!live[k].bytes.size) continue;
      for (uint32_t a = 0; a < EACH; a++) {
        uint32_t number = first[i] + a, b = number - first[k];
        if (number < first[k] || b >= EACH)
          assert_int_not_equal(live[i].m.types[a].canonical, live[k].m.types[a].canonical);
        else
          assert_int_equal(live[i].m.types[a].canonical, live[k].m.types[b].canonical);
      }
    }
  }
  for (uint32_t i = 0; i < N; i++)
    if (live[i].bytes.size) unload(&live[i]);
  assert_int_equal(types_totals().n_groups, n_before);
  free(live);
  free(first);
}

static void *come_and_go(void *out) {
  uint32_t *ids = out;
  for (uint32_t round = 0; round < 50; round++) {
    struct loaded l;
    load_types(&l, 0, 500, 9);
    for (uint32_t i = 0; i < 500; i++) ids[i] = l.m.types[i].canonical;
    unload(&l);
  }
  return NULL;
}

static void test_canonical_threads(void **state) {
  (void)state;
  static uint32_t ids[4][500];
  pthread_t threads[4];
  struct loaded kept;
  load_types(&kept, 0, 500, 9);
  for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, ids[i]), 0);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < 4; i++)
    for (uint32_t k = 0; k < 500; k++) assert_int_equal(ids[i][k], kept.m.types[k].canonical);
  unload(&kept);
}

static void test_type_text(void **state) {
  (void)state;
  static const val_type types[] = {VAL_I32, VAL_F64, TYPE_FUNCREF, REF_TYPE(false, 3)};
  char out[64], small[8];
  assert_string_equal(func_type_print(&(struct func_type){2, 1, types, types + 2}, out, sizeof out), "[i32 f64] -> [funcref]");
  assert_string_equal(func_type_print(&(struct func_type){2, 1, types, types + 2}, small, sizeof small), "[i32 f6");
  assert_string_equal(val_type_name(types[3], out, sizeof out), "(ref 3)");
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

/* A type section with [] -> [], a function section with one function, and a code section with this body (size < 100). */
#define ONE_FUNC(section_size, body_size, body) HEADER "\1\4\1\x60\0\0\3\2\1\0\x0a" section_size "\1" body_size "\0" body

static const struct {
  const char *bytes;
  size_t size;
  enum gw_error_code code;
  uint32_t func;
  const char *message;
} bad_modules[] = {
    {BYTES(""), GW_ERROR_MALFORMED, GW_NO_FUNC, "unexpected end (at byte 0x0)"},
    {BYTES("\0asm\2\0\0\0"), GW_ERROR_MALFORMED, GW_NO_FUNC, "unknown binary version (at byte 0x4)"},
    {BYTES("MZ\0\0\0\0\0\0"), GW_ERROR_MALFORMED, GW_NO_FUNC, "magic header not detected (at byte 0x0)"},
    {BYTES(HEADER "\x0e\0"), GW_ERROR_MALFORMED, GW_NO_FUNC, "malformed section id 14 (at byte 0x8)"},
    {BYTES(HEADER "\1\5\1"), GW_ERROR_MALFORMED, GW_NO_FUNC, "length out of bounds: section of 5 bytes, 1 left (at byte 0xa)"},
    {BYTES(HEADER "\1\1\0\1\1\0"), GW_ERROR_MALFORMED, GW_NO_FUNC,
     "unexpected content after last section: section 1 again or out of order (at byte 0xb)"},
    {BYTES(HEADER "\1\6\xff\xff\xff\xff\xff\0"), GW_ERROR_MALFORMED, GW_NO_FUNC, "integer representation too long (at byte 0xa)"},
    {BYTES(HEADER "\1\5\xff\xff\xff\xff\x7f"), GW_ERROR_MALFORMED, GW_NO_FUNC, "integer too large (at byte 0xa)"},
    {BYTES(HEADER "\0\2\1\xff"), GW_ERROR_MALFORMED, GW_NO_FUNC, "malformed UTF-8 encoding (at byte 0xb)"},
    {BYTES(HEADER "\3\2\1\0"), GW_ERROR_MALFORMED, GW_NO_FUNC,
     "function and code section have inconsistent lengths: 1 and 0 (at byte 0xc)"},
    {BYTES(HEADER "\6\7\1\x7f\2\x41\0\x0b\0"), GW_ERROR_MALFORMED, GW_NO_FUNC, "malformed mutability 02 (at byte 0xc)"},
    {BYTES(HEADER "\5\3\1\0\0"
                  "\7\x09\2\1m\2\0\1m\2\0"),
     GW_ERROR_INVALID, GW_NO_FUNC, "duplicate export name \"m\" (at byte 0x15)"},
    {BYTES(HEADER "\5\4\1\1\2\1"), GW_ERROR_INVALID, GW_NO_FUNC, "size minimum must not be greater than maximum (at byte 0xb)"},
    {BYTES(HEADER "\5\5\1\0\x81\x80\4"), GW_ERROR_INVALID, GW_NO_FUNC,
     "memory size must be at most 65536 pages (4GiB) (at byte 0xb)"},
    {BYTES(HEADER "\x08\1\0"), GW_ERROR_INVALID, GW_NO_FUNC, "unknown function 0 (at byte 0xa)"},
    {BYTES(ONE_FUNC("\6", "\4", "\x20\5\x0b")), GW_ERROR_INVALID, 0, "unknown local 5 in function func[0] (at byte 0x17)"},
    {BYTES(ONE_FUNC("\7", "\5", "\x42\0\x45\x0b")), GW_ERROR_INVALID, 0,
     "type mismatch: expected i32 but got i64 in function func[0] (at byte 0x19)"},
    {BYTES(ONE_FUNC("\5", "\3", "\x1a\x0b")), GW_ERROR_INVALID, 0,
     "type mismatch: expected a value but nothing is on the stack in function func[0] (at byte 0x17)"},
    {BYTES(ONE_FUNC("\6", "\4", "\x41\0\x0b")), GW_ERROR_INVALID, 0,
     "type mismatch: values remaining on stack at end of block: 1 in function func[0] (at byte 0x19)"},
    {BYTES(ONE_FUNC("\5", "\3", "\xff\x0b")), GW_ERROR_MALFORMED, 0, "illegal opcode ff (at byte 0x17)"},
    {BYTES(ONE_FUNC("\7", "\5", "\xfc\x80\1\x0b")), GW_ERROR_MALFORMED, 0, "illegal opcode fc 80 (at byte 0x17)"},
    {BYTES(ONE_FUNC("\4", "\2", "\1")), GW_ERROR_MALFORMED, 0, "unexpected end of section or function (at byte 0x18)"},
    {BYTES(ONE_FUNC("\5", "\3", "\x0b\x0b")), GW_ERROR_MALFORMED, 0,
     "END opcode expected: 1 bytes behind the end of the function in function func[0] (at byte 0x18)"},
};

static void test_messages(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof bad_modules / sizeof bad_modules[0]; i++) {
    struct gw_error err = {0};
    struct module m;
    bool ok = module_decode(&m, (const uint8_t *)bad_modules[i].bytes, bad_modules[i].size, &err);
    ok = ok && module_validate(&m, &err);
    module_clear(&m);
    assert_false(ok);
    assert_string_equal(err.message, bad_modules[i].message);
    assert_int_equal(err.code, bad_modules[i].code);
    assert_int_equal(err.func, bad_modules[i].func);
  }
}

/* Known features that are off. */
static const struct {
  const char *bytes;
  size_t size;
  const char *message;
} refused[] = {
    {BYTES(HEADER "\1\5\1\x4e\1\x60\0"), "unexpected end of section or function (at byte 0xf)"}, /* malformed comes first */
    {BYTES(HEADER "\1\5\1\x5f\1\x78\1"), "unsupported feature: gc (at byte 0xb)"},
    {BYTES(HEADER "\1\5\1\x60\1\x6e\0"), "unsupported feature: gc (at byte 0xd)"},
    {BYTES(HEADER "\1\6\1\x60\1\x64\x71\0"), "unsupported feature: gc (at byte 0xd)"},
    {BYTES(HEADER "\5\4\1\3\0\0"), "unsupported feature: threads (at byte 0xb)"},
    {BYTES(HEADER "\1\6\2\x60\0\0\x5d\0"), "unsupported feature: stack-switching (at byte 0xe)"},
    {BYTES(HEADER "\1\5\1\x60\1\x68\0"), "unsupported feature: stack-switching (at byte 0xd)"},
    {BYTES(HEADER "\1\6\1\x60\1\x64\x75\0"), "unsupported feature: stack-switching (at byte 0xe)"},
    {BYTES(HEADER "\1\4\1\x60\0\0\3\2\1\0\xa\6\1\4\0\xe0\0\x0b"), "unsupported feature: stack-switching (at byte 0x17)"},
    {BYTES(HEADER "\1\4\1\x60\0\0\3\2\1\0\xa\6\1\4\0\xe6\0\x0b"), "unsupported feature: stack-switching (at byte 0x17)"},
};

static void test_refused(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
    struct gw_error err = {0};
    struct module m;
    bool ok = module_decode(&m, (const uint8_t *)refused[i].bytes, refused[i].size, &err) && module_validate(&m, &err);
    module_clear(&m);
    assert_false(ok);
    assert_string_equal(err.message, refused[i].message);
    assert_int_equal(err.code, i == 0 ? GW_ERROR_MALFORMED : GW_ERROR_UNSUPPORTED);
  }
}

/* --- limits and hostile shapes ------------------------------------------------------------------------------------ */

static void put(struct buffer *b, const char *bytes, size_t size) { buffer_append(b, bytes, size); }

static void put_leb(struct buffer *b, uint32_t n) {
  uint8_t bytes[5] = {(uint8_t)(n | 0x80), (uint8_t)(n >> 7 | 0x80), (uint8_t)(n >> 14 | 0x80), (uint8_t)(n >> 21 | 0x80),
                      (uint8_t)(n >> 28)};
  buffer_append(b, bytes, 5);
}

/* A module of one function with `locals` (declarations and their count byte) and `n` times `piece` and then `tail`. */
static void build(struct buffer *b, const char *locals, size_t locals_size, const char *piece, size_t piece_size, uint32_t n,
                  const char *tail, size_t tail_size) {
  uint32_t body = (uint32_t)(locals_size + piece_size * n + tail_size);
  put(b, BYTES(HEADER "\1\4\1\x60\0\0\3\2\1\0\x0a"));
  put_leb(b, body + 6);
  put(b, BYTES("\1"));
  put_leb(b, body);
  put(b, locals, locals_size);
  for (uint32_t i = 0; i < n; i++) put(b, piece, piece_size);
  put(b, tail, tail_size);
}

static enum gw_error_code judge(const struct buffer *b, struct gw_error *err) {
  *err = (struct gw_error){0};
  struct module m;
  if (module_decode(&m, b->bytes, b->size, err)) module_validate(&m, err);
  module_clear(&m);
  return err->code;
}

static void test_limits(void **state) {
  (void)state;
  struct buffer b = {0};
  struct gw_error err;
  build(&b, BYTES("\1\xd0\x86\3\x7f"), NULL, 0, 0, BYTES("\x20\xcf\x86\3\x1a\x0b")); /* 50,000 locals; the last one is read */
  assert_int_equal(judge(&b, &err), GW_ERROR_NONE);
  b.size = 0;
  build(&b, BYTES("\1\xd0\x86\3\x7f"), NULL, 0, 0, BYTES("\x20\xd0\x86\3\x1a\x0b")); /* the one behind it */
  assert_int_equal(judge(&b, &err), GW_ERROR_INVALID);
  assert_string_equal(err.message, "unknown local 50000 in function func[0] (at byte 0x23)");
  b.size = 0;
  build(&b, BYTES("\1\xd1\x86\3\x7f"), NULL, 0, 0, BYTES("\x0b"));
  assert_int_equal(judge(&b, &err), GW_ERROR_LIMIT);
  assert_string_equal(err.message, "too many locals: 50001 (at byte 0x1e)");
  b.size = 0;
  build(&b, BYTES("\0"), BYTES("\1"), limit_table[LIMIT_BODY_SIZE].value, BYTES("\x0b"));
  assert_int_equal(judge(&b, &err), GW_ERROR_LIMIT);
  b.size = 0;
  build(&b, BYTES("\0"), BYTES("\2\x40"), 1000000, BYTES("\x0b"));
  assert_int_equal(judge(&b, &err), GW_ERROR_LIMIT);
  assert_string_equal(err.message, "too many nested blocks in function func[0] (at byte 0x30d5d)");
  buffer_clear(&b);
}

/* A chain of function types, each below the one before. */
static void put_subtypes(struct buffer *b, uint32_t n) {
  put(b, BYTES(HEADER "\1"));
  put_leb(b, 5 + 5 + (n - 1) * 10);
  put_leb(b, n);
  put(b, BYTES("\x50\0\x60\0\0"));
  for (uint32_t i = 1; i < n; i++) {
    put(b, BYTES("\x50\1"));
    put_leb(b, i - 1);
    put(b, BYTES("\x60\0\0"));
  }
}

static void test_subtypes(void **state) {
  (void)state;
  struct buffer b = {0};
  struct gw_error err;
  put_subtypes(&b, 64); /* 63 above the last one */
  assert_int_equal(judge(&b, &err), GW_ERROR_NONE);
  b.size = 0;
  put_subtypes(&b, 65);
  assert_int_equal(judge(&b, &err), GW_ERROR_LIMIT);
  assert_string_equal(err.message, "too many super types of one type");
  static const struct {
    const char *bytes;
    size_t size;
    const char *message;
  } bad[] = {
      {BYTES(HEADER "\1\x0a\2\x60\0\0\x50\1\0\x60\0\0"), "sub type 1 does not match super type 0"}, /* it is final */
      {BYTES(HEADER "\1\x0d\2\x50\0\x60\0\0\x50\1\0\x60\1\x7f\0"), "sub type 1 does not match super type 0"},
      {BYTES(HEADER "\1\x07\1\x50\1\0\x60\0\0"), "unknown type 0"},                            /* itself */
      {BYTES(HEADER "\1\x0b\1\x50\1\xff\xff\xff\xff\x0f\x60\0\0"), "unknown type 4294967295"}, /* that stands for none */
      {BYTES(HEADER "\10\5\xff\xff\xff\xff\x0f"), "unknown function 4294967295"}, /* likewise, of the start function */
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    b.size = 0;
    put(&b, bad[i].bytes, bad[i].size);
    assert_int_equal(judge(&b, &err), GW_ERROR_INVALID);
    if (strncmp(err.message, bad[i].message, strlen(bad[i].message)) != 0) fail_msg("%s", err.message);
  }
  buffer_clear(&b);
}

/* Blocks whose type moves 1000 operands in three bytes must not make validation slow. */
static void test_type_moves(void **state) {
  (void)state;
  struct buffer b = {0};
  struct gw_error err;
  put(&b, BYTES(HEADER "\1"));
  put_leb(&b, 1 + 3 + 1 + 2 + 1000 + 2 + 1000);
  put(&b, BYTES("\2\x60\0\0\x60"));
  for (int list = 0; list < 2; list++) {
    put(&b, BYTES("\xe8\7"));
    for (int i = 0; i < 1000; i++) put(&b, BYTES("\x7f"));
  }
  put(&b, BYTES("\3\2\1\0\x0a"));
  uint32_t n = 1500000, body = 1 + 1 + 4 * n + 1;
  put_leb(&b, body + 6);
  put(&b, BYTES("\1"));
  put_leb(&b, body);
  put(&b, BYTES("\0\0"));
  for (uint32_t i = 0; i < n; i++) put(&b, BYTES("\2\1\0\x0b")); /* block (type 1) unreachable end */
  put(&b, BYTES("\x0b"));
  assert_int_equal(judge(&b, &err), GW_ERROR_LIMIT);
  assert_non_null(strstr(err.message, "too many operands of calls, blocks and branches"));
  buffer_clear(&b);
}

/* Counts that promise more than is there are told before anything is allocated. */
static void test_huge_counts(void **state) {
  (void)state;
  static const uint8_t ids[] = {1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 13};
  for (size_t i = 0; i < sizeof ids; i++) {
    struct buffer b = {0};
    struct gw_error err;
    put(&b, BYTES(HEADER));
    put(&b, (const char *)&ids[i], 1);
    put(&b, BYTES("\x0a\xff\xff\xff\xff\x0f\0\0\0\0\0"));
    assert_int_equal(judge(&b, &err), GW_ERROR_MALFORMED);
    buffer_clear(&b);
  }
}

/* A name section that lies changes nothing but the names. */
static void test_bad_names(void **state) {
  (void)state;
  static const char sections[][7] = {"\1\x7f\1\0\1a", "\1\4\1\0\1\xff", "\1\5\x7f\0\1a\0", "\1\4\1\x7f\1a", "\2\1"};
  for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
    struct buffer b = {0};
    struct gw_error err = {0};
    struct module m;
    build(&b, BYTES("\0"), NULL, 0, 0, BYTES("\x0b"));
    put(&b, BYTES("\0\x0b\4name"));
    put(&b, sections[i], 6);
    assert_true(module_decode(&m, b.bytes, b.size, &err) && module_validate(&m, &err));
    char name[8];
    func_display_name(&m, 0, name, sizeof name);
    assert_true(!strcmp(name, "func[0]") || !strcmp(name, "a"));
    module_clear(&m);
    buffer_clear(&b);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_control),     cmocka_unit_test(test_segments),
      cmocka_unit_test(test_canonical),   cmocka_unit_test(test_canonical_threads),
      cmocka_unit_test(test_types_go),    cmocka_unit_test(test_types_in_any_order),
      cmocka_unit_test(test_type_text),   cmocka_unit_test(test_messages),
      cmocka_unit_test(test_refused),     cmocka_unit_test(test_limits),
      cmocka_unit_test(test_subtypes),    cmocka_unit_test(test_type_moves),
      cmocka_unit_test(test_huge_counts), cmocka_unit_test(test_bad_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
