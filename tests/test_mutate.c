/* 100,000 damaged modules through the decoder and the validator: nothing may crash, leak or overflow (the dev preset runs this
 * under ASan and UBSan). The generator is seeded, so that a failure happens again. */
#include "base/buffer.h"
#include "frontend/module.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { N_MUTATIONS = 100000, MAX_SIZE = 16 << 10 };

static const char *const seed_paths[] = {
    SOURCE_DIR "/tests/corpus/control.wasm", SOURCE_DIR "/tests/corpus/memory.wasm",  SOURCE_DIR "/tests/corpus/tables.wasm",
    SOURCE_DIR "/tests/corpus/vector.wasm",  SOURCE_DIR "/tests/corpus/program.wasm",
};

/* Present only beside the official suite. */
static const char *const spec_paths[] = {
    SOURCE_DIR "/../shared/spec/core/br_table/br_table.0.wasm",
    SOURCE_DIR "/../shared/spec/core/type-subtyping/type-subtyping.2.wasm",
    SOURCE_DIR "/../shared/spec/core/try_table/try_table.1.wasm",
    SOURCE_DIR "/../shared/spec/core/elem/elem.0.wasm",
    SOURCE_DIR "/../shared/spec/core/memory64/memory64.0.wasm",
    SOURCE_DIR "/../shared/spec/core/i31/i31.0.wasm",
};

enum { N_SEEDS = sizeof seed_paths / sizeof seed_paths[0], N_SPEC = sizeof spec_paths / sizeof spec_paths[0] };

static uint64_t random_state = 0x243f6a8885a308d3u;

static uint32_t random_below(uint32_t n) { /* xorshift64* */
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return (uint32_t)((random_state * 0x2545f4914f6cdd1du) >> 33) % n;
}

/* --- one way to damage a module each; sizes stay within MAX_SIZE --------------------------------------------------- */

static void flip_bits(struct buffer *b) { b->bytes[random_below((uint32_t)b->size)] ^= (uint8_t)(1u << random_below(8)); }

static void set_byte(struct buffer *b) {
  static const uint8_t likely[] = {0x00, 0x01, 0x0b, 0x40, 0x60, 0x64, 0x70, 0x7f, 0x80, 0xfb, 0xfc, 0xfd, 0xff};
  b->bytes[random_below((uint32_t)b->size)] = random_below(2) ? likely[random_below(sizeof likely)] : (uint8_t)random_below(256);
}

static void truncate_end(struct buffer *b) { b->size = 1 + random_below((uint32_t)b->size); }

static void remove_range(struct buffer *b) {
  uint32_t at = random_below((uint32_t)b->size), n = 1 + random_below(16);
  if (at + n >= b->size) return;
  memmove(b->bytes + at, b->bytes + at + n, b->size - at - n);
  b->size -= n;
}

static void insert(struct buffer *b, uint32_t at, const uint8_t *bytes, uint32_t n) {
  if (b->size + n > MAX_SIZE) return;
  buffer_reserve(b, n);
  memmove(b->bytes + at + n, b->bytes + at, b->size - at);
  memcpy(b->bytes + at, bytes, n);
  b->size += n;
}

/* A large or oddly written number somewhere. */
static void insert_leb(struct buffer *b) {
  static const struct {
    uint8_t n, bytes[10];
  } numbers[] = {
      {5, {0xff, 0xff, 0xff, 0xff, 0x0f}},
      {5, {0x80, 0x80, 0x80, 0x80, 0x00}},
      {5, {0xff, 0xff, 0xff, 0xff, 0x7f}},
      {3, {0xc0, 0x84, 0x3d}},
      {2, {0x80, 0x01}},
      {4, {0x80, 0x80, 0x80, 0x01}},
      {10, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
  };
  uint32_t i = random_below(sizeof numbers / sizeof numbers[0]), at = random_below((uint32_t)b->size);
  if (random_below(2)) { /* over what is there */
    for (uint32_t k = 0; k < numbers[i].n && at + k < b->size; k++) b->bytes[at + k] = numbers[i].bytes[k];
  } else {
    insert(b, at, numbers[i].bytes, numbers[i].n);
  }
}

/* A piece of another seed. */
static void splice(struct buffer *b, const struct buffer *other) {
  uint32_t from = random_below((uint32_t)other->size), n = 1 + random_below(64);
  if (from + n > other->size) n = (uint32_t)other->size - from;
  insert(b, random_below((uint32_t)b->size), other->bytes + from, n);
}

static void mutate(struct buffer *b, const struct buffer *other) {
  switch (random_below(6)) {
  case 0:
  case 1: flip_bits(b); break;
  case 2: insert_leb(b); break;
  case 3: remove_range(b); break;
  case 4: splice(b, other); break;
  default: truncate_end(b); break;
  }
}

/* --- the run ------------------------------------------------------------------------------------------------------ */

static unsigned n_by_code[GW_ERROR_COUNT];

static void check(const struct buffer *b) {
  /* A block of exactly this size, so that the sanitiser sees reads behind the end. */
  uint8_t *bytes = malloc(b->size ? b->size : 1);
  if (b->size) memcpy(bytes, b->bytes, b->size);
  struct gw_error err = {0};
  struct module m;
  bool is_decoded = module_decode(&m, bytes, b->size, &err);
  bool ok = is_decoded && module_validate(&m, &err);
  assert_true(ok == (err.code == GW_ERROR_NONE));
  if (!ok) assert_true(err.message[0] != 0 && strlen(err.message) < sizeof err.message);
  if (!ok && err.offset != GW_NO_OFFSET) assert_true(err.offset <= b->size);
  if (err.code == GW_ERROR_MALFORMED || err.code == GW_ERROR_INVALID) assert_non_null(strstr(err.message, "(at byte 0x"));
  for (uint32_t i = 0; ok && i < m.n_funcs; i++) assert_true(func_frame_cost(&m, i) >= 64);
  n_by_code[err.code]++;
  if (is_decoded) module_clear(&m);
  free(bytes);
}

static void test_mutations(void **state) {
  (void)state;
  struct buffer seeds[N_SEEDS + N_SPEC] = {0};
  uint32_t n_seeds = 0;
  for (int i = 0; i < N_SEEDS + N_SPEC; i++) {
    struct gw_error err = {0};
    bool ok = buffer_read_file(&seeds[n_seeds], i < N_SEEDS ? seed_paths[i] : spec_paths[i - N_SEEDS], MAX_SIZE, &err);
    if (i < N_SEEDS && !ok) fail_msg("%s", err.message);
    if (ok) check(&seeds[n_seeds++]);
  }
  assert_true(n_by_code[GW_ERROR_NONE] >= 4); /* the undamaged seeds, all but the one with vectors */
  struct buffer b = {0};
  for (uint32_t i = 0; i < N_MUTATIONS; i++) {
    /* The larger seed would take most of the time, so it comes up less often. */
    const struct buffer *seed = &seeds[random_below(n_seeds)];
    if (seed->size > 4096 && random_below(8)) seed = &seeds[random_below(4)];
    b.size = 0;
    buffer_append(&b, seed->bytes, seed->size);
    /* Sizes are broken easily; half of the modules keep theirs, so that more than headers is exercised. */
    if (random_below(2))
      for (uint32_t n = 1 + random_below(3); n > 0; n--) set_byte(&b);
    else
      for (uint32_t n = 1 + random_below(4); n > 0 && b.size; n--) mutate(&b, &seeds[random_below(n_seeds)]);
    check(&b);
  }
  printf("%u seeds, %d mutations:", n_seeds, N_MUTATIONS);
  for (int code = 0; code < GW_ERROR_COUNT; code++)
    if (n_by_code[code]) printf(" %u %s;", n_by_code[code], gw_error_title(code));
  printf("\n");
  /* The generator is worth its time only if it reaches all of these. */
  assert_true(n_by_code[GW_ERROR_NONE] > 1000 && n_by_code[GW_ERROR_INVALID] > 1000 && n_by_code[GW_ERROR_MALFORMED] > 1000);
  buffer_clear(&b);
  for (uint32_t i = 0; i < N_SEEDS + N_SPEC; i++) buffer_clear(&seeds[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutations)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
