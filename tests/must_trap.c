/* must_trap: random functions around loads that may be out of bounds, in every tier, level and CPU level.
 *
 *   must_trap [--seed N] [--count N] [--seconds N] [--keep DIR]
 *
 * A load out of bounds traps, whatever happens to the value: selected, masked, compared, dropped, stored and overwritten, passed
 * on behind a host call, used by one arm only, or by the last round of a loop. LLVM thinks otherwise of plain loads. So every
 * function must end in compiled code as it does in the precise tier: same trap or same result, gas, memory and globals, and the
 * same host calls before. Code with exact traps must leave the same memory and globals behind a trap, too. Some calls have just
 * enough gas to reach the trap, or not quite: then the precise tier says whether it is reached. A case is one module; --keep
 * writes those that differ. Exit code: 0 when all agree.
 */
#include "gasworks.h"
#include "jit/artifact/cpu.h"
#include "tests/for_cpu.h"
#include "tests/fuzz_options.h"
#include "tests/mixed.h"
#include "tests/wasm_bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_FUNCS = 8, N_CALLS = 5, MAX_LOG = 64, MEMORY_BYTES = 65536, DATA_BYTES = 4096, LOOP_DEPTH = 2, GAS_LIMIT = 1000000 };

/* --- random numbers ------------------------------------------------------------------------------------------------- */

static uint64_t random_state;

static uint64_t next_random(void) { /* splitmix64 */
  uint64_t z = (random_state += 0x9e3779b97f4a7c15ull);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

static uint32_t below(uint32_t n) { return (uint32_t)(next_random() % n); }
static bool one_in(uint32_t n) { return below(n) == 0; }

/* --- bytes ---------------------------------------------------------------------------------------------------------- */

static struct buffer *out; /* the function body or section being written */

static void byte(unsigned b) { wasm_byte(out, b); }
static void unsigned_leb(uint64_t v) { wasm_leb(out, v); }
static void signed_leb(int64_t v) { wasm_signed_leb(out, v); }

static void simd(unsigned op) {
  byte(0xfd);
  unsigned_leb(op);
}

/* --- expressions ---------------------------------------------------------------------------------------------------- */

enum type { I32, I64, F32, F64, V128, N_TYPES };

/* Parameters and locals of every function. */
enum { P, Q, C, X, FIRST_LOCAL, PER_TYPE = 2, COUNTER = FIRST_LOCAL + PER_TYPE * N_TYPES };
static uint32_t n_loops; /* around this place */

static void expression(enum type type, int depth);

static void get(uint32_t local) {
  byte(0x20);
  unsigned_leb(local);
}

static void i32_const(int32_t v) {
  byte(0x41);
  signed_leb(v);
}

static uint32_t local_of(enum type type) { return FIRST_LOCAL + type * PER_TYPE + below(PER_TYPE); }

/* A pointer that the module keeps in memory: one of two, so that it is read again. */
static void kept_pointer(void) {
  i32_const((int32_t)below(2));
  byte(0x2d), byte(0), byte(0); /* i32.load8_u */
}

/* An address: one of the parameters, which may be out of bounds, or a place within the data; in loops, moving. */
static void address(void) {
  uint32_t kind = below(8);
  if (one_in(8)) {
    kept_pointer();
    return;
  }
  if (kind < 3)
    get(P);
  else if (kind < 4)
    get(Q);
  else
    i32_const((int32_t)below(DATA_BYTES / 16) * 8);
  if (n_loops && !one_in(4)) {
    get(COUNTER + below(n_loops));
    i32_const((int32_t)below(5));
    byte(0x74); /* i32.shl */
    byte(0x6a);
  } else if (one_in(12)) { /* an address that was read */
    address();
    byte(0x2d), byte(0), byte(0);
    byte(0x6a);
  }
}

static void memarg(void) {
  static const uint16_t offsets[] = {0, 0, 0, 4, 8, 16, 64, 4096};
  byte(0);
  unsigned_leb(offsets[below(8)]);
}

static void load(enum type type) {
  static const uint8_t i32_loads[] = {0x28, 0x28, 0x28, 0x2c, 0x2d, 0x2e, 0x2f};
  static const uint8_t i64_loads[] = {0x29, 0x29, 0x29, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35};
  static const uint8_t vector_loads[] = {0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0x5c, 0x5d};
  address();
  switch (type) {
  case I32: byte(i32_loads[below(sizeof i32_loads)]); break;
  case I64: byte(i64_loads[below(sizeof i64_loads)]); break;
  case F32: byte(0x2a); break;
  case F64: byte(0x2b); break;
  default: simd(vector_loads[below(sizeof vector_loads)]); break;
  }
  memarg();
}

static void constant(enum type type) {
  static const int8_t numbers[] = {0, 0, 1, -1, 2, 7, 31, -64};
  int8_t v = numbers[below(8)];
  float f = v;
  double d = v;
  switch (type) {
  case I32: i32_const(v); break;
  case I64: byte(0x42), signed_leb(v); break;
  case F32: byte(0x43), buffer_append(out, &f, sizeof f); break;
  case F64: byte(0x44), buffer_append(out, &d, sizeof d); break;
  default:
    simd(12);
    for (int i = 0; i < 16; i++) byte(one_in(2) ? 0 : 255);
  }
}

static void comparison(int depth) {
  static const struct { uint8_t type, first, n; } rows[] = {{I32, 0x46, 10}, {I64, 0x51, 10}, {F32, 0x5b, 6}, {F64, 0x61, 6}};
  uint32_t i = below(5);
  if (i == 4) {
    expression(I32, depth);
    byte(0x45); /* i32.eqz */
    return;
  }
  expression(rows[i].type, depth);
  expression(rows[i].type, depth);
  byte(rows[i].first + below(rows[i].n));
}

static void condition(int depth) {
  if (one_in(2))
    get(C);
  else
    comparison(depth);
}

/* All bits or none of `type`, by a condition. */
static void mask(enum type type, int depth) {
  if (type == V128) {
    static const uint8_t compare[] = {0x23, 0x2d, 0x37, 0x39, 0x3b, 0x41, 0x43, 0x47, 0x49, 0xd6, 0xd8};
    expression(V128, depth);
    expression(V128, depth);
    simd(compare[below(sizeof compare)]);
    return;
  }
  constant(type == I32 ? I32 : I64);
  if (type == I64) {
    condition(depth);
    byte(0xad); /* i64.extend_i32_u */
    byte(0x7d);
  } else {
    condition(depth);
    byte(0x6b);
  }
}

static void binary(enum type type, int depth) {
  static const uint8_t i32_ops[] = {0x6a, 0x6b, 0x6c, 0x71, 0x72, 0x73, 0x74, 0x76}, f32_ops[] = {0x92, 0x96, 0x97, 0x98};
  static const uint8_t vector_ops[] = {0x6e, 0x8e, 0xae, 0xb1, 0xce, 0xd1, 0x4e, 0x4f, 0x50, 0x51, 0x76, 0xb6, 0xb7, 0xe4, 0xf0};
  expression(type, depth);
  if (type != F32 && type != F64 && one_in(3)) {
    mask(type, depth);
    type == V128 ? simd(0x4e) : byte(type == I32 ? 0x71 : 0x83); /* and */
    return;
  }
  expression(type, depth);
  switch (type) {
  case I32: byte(i32_ops[below(sizeof i32_ops)]); break;
  case I64: byte(i32_ops[below(sizeof i32_ops)] + 0x12); break;
  case F32: byte(f32_ops[below(sizeof f32_ops)]); break;
  case F64: byte(f32_ops[below(sizeof f32_ops)] + 0x0e); break;
  default: simd(vector_ops[below(sizeof vector_ops)]); break;
  }
}

static void choice(enum type type, int depth) {
  expression(type, depth);
  expression(type, depth);
  if (type == V128 && one_in(2)) {
    mask(V128, depth);
    simd(0x52); /* bitselect */
    return;
  }
  condition(depth);
  byte(0x1b);
}

static void converted(enum type type, int depth) {
  static const uint8_t splats[] = {0x0f, 0x10, 0x11}, lanes[][2] = {{0x15, 16}, {0x16, 16}, {0x18, 8}, {0x1b, 4}};
  uint32_t i = below(4);
  switch (type) {
  case I32:
    if (one_in(2)) {
      expression(I64, depth), byte(0xa7);
    } else if (one_in(2)) {
      expression(V128, depth), simd(one_in(2) ? 0x53 : 0xa4);
    } else {
      expression(V128, depth), simd(lanes[i][0]), byte(below(lanes[i][1]));
    }
    break;
  case I64: expression(I32, depth), byte(one_in(2) ? 0xac : 0xad); break;
  case F32: expression(I32, depth), byte(0xb2); break;
  case F64: expression(F32, depth), byte(0xbb); break;
  default:
    if (one_in(2)) {
      expression(I32, depth), simd(splats[below(3)]);
    } else {
      expression(V128, depth), expression(V128, depth), simd(13);
      for (int lane = 0; lane < 16; lane++) byte(below(32));
    }
  }
}

/* Where the function has an expression of each type, to write it again: what is the same twice is one thing to LLVM. */
static struct { size_t at, size; } earlier[N_TYPES];

static bool repeat(enum type type) {
  uint8_t copy[64];
  size_t size = earlier[type].size;
  if (!size || size > sizeof copy) return false;
  memcpy(copy, out->bytes + earlier[type].at, size);
  buffer_append(out, copy, size);
  return true;
}

static void new_expression(enum type type, int depth);

static void expression(enum type type, int depth) {
  if (one_in(5) && repeat(type)) return;
  size_t at = out->size;
  new_expression(type, depth);
  if (one_in(2)) earlier[type].at = at, earlier[type].size = out->size - at;
}

static void new_expression(enum type type, int depth) {
  uint32_t kind = depth <= 0 ? below(6) : 3 + below(11);
  if (kind < 2)
    get(type == I32 && one_in(3) ? below(3) : local_of(type));
  else if (kind == 2)
    constant(type);
  else if (kind < 6)
    load(type);
  else if (kind == 6)
    get(local_of(type));
  else if (kind < 9)
    choice(type, depth - 1);
  else if (kind < 12)
    binary(type, depth - 1);
  else if (kind == 12 && type == I32)
    comparison(depth - 1);
  else
    converted(type, depth - 1);
}

/* --- statements ----------------------------------------------------------------------------------------------------- */

static void statements(int n, int depth);

static void set_local(void) {
  enum type type = below(N_TYPES);
  expression(type, (int)below(3));
  byte(0x21);
  unsigned_leb(local_of(type));
}

static void store(void) {
  static const uint8_t ops[][5] = {{0x36, 0x36, 0x36, 0x3a, 0x3b},
                                   {0x37, 0x37, 0x3c, 0x3d, 0x3e},
                                   {0x38, 0x38, 0x38, 0x38, 0x38},
                                   {0x39, 0x39, 0x39, 0x39, 0x39}};
  enum type type = below(N_TYPES);
  address();
  expression(type, (int)below(3));
  type == V128 ? simd(0x0b) : byte(ops[type][below(5)]);
  memarg();
}

static void set_global(void) {
  enum type type = below(N_TYPES);
  expression(type, (int)below(2));
  byte(0x24);
  unsigned_leb(type);
}

static void call_host(void) {
  expression(I64, (int)below(2));
  byte(0x10), byte(0);
}

static void if_else(int depth) {
  condition(1);
  byte(0x04), byte(0x40);
  statements(1 + (int)below(2), depth - 1);
  if (one_in(6)) constant(I64), byte(0x0f); /* return */
  if (one_in(2)) {
    byte(0x05);
    statements(1 + (int)below(2), depth - 1);
  }
  byte(0x0b);
}

/* for (i = 0; i < n; i++), with the test at the end, of a constant or a parameter's low bits. */
static void counted_loop(int depth) {
  uint32_t counter = COUNTER + n_loops;
  i32_const(0), byte(0x21), unsigned_leb(counter);
  byte(0x03), byte(0x40);
  n_loops++;
  statements(1 + (int)below(3), depth - 1);
  n_loops--;
  get(counter), i32_const(1), byte(0x6a), byte(0x22), unsigned_leb(counter);
  if (one_in(2)) {
    i32_const(1 + (int32_t)below(40));
  } else {
    get(C), i32_const(63), byte(0x71);
  }
  byte(0x49); /* i32.lt_u */
  byte(0x0d), byte(0);
  byte(0x0b);
}

/* --- what only turns out when loads are plain ------------------------------------------------------------------------
 *
 * Random expressions seldom read the same twice by two names, or cancel what they read. These do, around any load. */

static void set(uint32_t local) { byte(0x21), unsigned_leb(local); }

/* The i32 load of one place, by its offset or by its address. */
static void load_at(uint32_t base, int32_t offset, unsigned op) {
  bool is_added = one_in(2);
  get(base);
  if (is_added) i32_const(offset), byte(0x6a);
  byte(op), byte(0), unsigned_leb(is_added ? 0 : (uint32_t)offset);
}

static void small(uint32_t local) { get(local), i32_const(255), byte(0x71); }

/* A pointer in two locals: read twice, written and read, or equal by a branch that is left open. */
static bool two_pointers(uint32_t a, uint32_t b) {
  uint32_t kind = below(4);
  int32_t place = (int32_t)below(DATA_BYTES / 16) * 8;
  unsigned op = one_in(2) ? 0x28 : 0x2d; /* i32.load, i32.load8_u */
  if (kind == 0) {
    for (int i = 0; i < 2; i++) {
      i32_const(place), byte(op), byte(0), byte(0);
      if (op == 0x2d && one_in(2)) byte(0x69); /* i32.popcnt */
      set(i ? b : a);
    }
  } else if (kind == 1) {
    small(Q), set(a);
    i32_const(place), get(a), byte(0x36), byte(0), byte(0);
    i32_const(place), byte(0x28), byte(0), byte(0), set(b);
  } else if (kind == 2) {
    small(Q), byte(0x24), byte(I32);
    if (one_in(2)) if_else(0);
    byte(0x23), byte(I32), set(a);
    small(Q), set(b);
  } else {
    small(Q), set(a), small(C), set(b);
    get(a), get(b), byte(0x46), byte(0x04), byte(0x40);
  }
  return kind == 3;
}

/* What a load gives is stored, and stored over, through two names of one place. */
static void overwritten_by_another_name(void) {
  uint32_t a = FIRST_LOCAL + I32 * PER_TYPE, b = a + 1;
  bool is_open = two_pointers(a, b);
  get(a), load(I32), byte(0x36), byte(0), byte(0);
  if (one_in(3)) set_global();
  get(b), one_in(2) ? constant(I32) : get(C);
  byte(0x36), byte(0), byte(0);
  if (is_open) byte(0x0b);
}

/* x - x, x ^ x, or x * 0 with a zero from memory. */
static void cancelled(void) {
  static const uint8_t ops[] = {0x6b, 0x73, 0x46, 0x47};
  uint32_t base = one_in(3) ? Q : P;
  int32_t offset = (int32_t)below(3) * 4, place = (int32_t)below(DATA_BYTES / 16) * 8;
  unsigned op = one_in(2) ? 0x28 : 0x2f;
  bool is_product = one_in(3);
  if (is_product) i32_const(place), i32_const(0), byte(0x36), byte(0), byte(0);
  if (one_in(2))
    i32_const(place + 8);
  else
    i32_const(place + 4);
  load_at(base, offset, op);
  if (is_product)
    i32_const(place), byte(0x28), byte(0), byte(0), byte(one_in(2) ? 0x6c : 0x71);
  else
    load_at(base, offset, op), byte(ops[below(4)]);
  byte(0x36), byte(0), byte(0);
}

/* Two or three rounds of an accumulator that cancels or shifts out what it took before. */
static void short_accumulator(void) {
  uint32_t a = FIRST_LOCAL + I32 * PER_TYPE, counter = COUNTER + n_loops, kind = below(4);
  i32_const(0), set(counter);
  byte(0x03), byte(0x40);
  if (kind < 2) {
    load_at(P, (int32_t)below(2) * 4, 0x28), get(a), byte(kind ? 0x73 : 0x6b), set(a);
  } else {
    load_at(P, 0, kind == 2 ? 0x2f : 0x2d);
    get(a), i32_const(kind == 2 ? 16 : 24), byte(0x74), byte(0x72), set(a);
    if (one_in(2)) get(P), i32_const(32767), byte(0x71), set(P);
  }
  get(counter), i32_const(1), byte(0x6a), byte(0x22), unsigned_leb(counter);
  i32_const(2 + (int32_t)below(2)), byte(0x49), byte(0x0d), byte(0), byte(0x0b);
}

/* A load is stored, and a loop fills over it. */
static void filled_over(void) {
  uint32_t at = FIRST_LOCAL + I32 * PER_TYPE, counter = COUNTER + n_loops;
  i32_const((int32_t)below(8) * 8), load(I32), byte(0x36), byte(0), byte(0);
  i32_const(0), set(counter);
  i32_const(0), set(at);
  byte(0x03), byte(0x40);
  get(at), constant(I32), byte(0x36), byte(0), byte(0);
  get(at), i32_const(4), byte(0x6a), set(at);
  get(counter), i32_const(1), byte(0x6a), byte(0x22), unsigned_leb(counter);
  i32_const(16 + (int32_t)below(48)), byte(0x49), byte(0x0d), byte(0), byte(0x0b);
}

/* Some bits of a number in memory are changed, of one byte perhaps; the first and the last of its bytes are needed like the rest.
 */
static void changed_in_memory(void) {
  static const int32_t masks[] = {1, 3, -2, 128, 255, -256, 0xff00, 0x7fffffff};
  bool is_long = one_in(3);
  uint32_t base = one_in(3) ? Q : P;
  int32_t offset = (int32_t)below(3) * 4, mask = masks[below(8)];
  get(base), i32_const(offset), byte(0x6a);
  load_at(base, offset, is_long ? 0x29 : 0x28);
  is_long ? byte(0x42), signed_leb(mask) : i32_const(mask);
  byte(0x71 + below(3) + (is_long ? 0x12 : 0)); /* and, or, xor */
  byte(is_long ? 0x37 : 0x36), byte(0), byte(0);
  if (one_in(3)) return;
  small(Q), get(C), byte(0x36), byte(0), byte(0); /* somewhere, for all that is known */
}

/* 0 for LLVM, once it knows where a loop ends. */
static void late_zero(uint32_t local, uint32_t counter) {
  i32_const(-120), set(local);
  i32_const(0), set(counter);
  byte(0x03), byte(0x40);
  get(local), get(counter), byte(0x6a), set(local);
  get(counter), i32_const(1), byte(0x6a), byte(0x22), unsigned_leb(counter);
  i32_const(16), byte(0x49), byte(0x0d), byte(0), byte(0x0b);
}

/* A load in a loop meets what another loop left, a counter beside the loop's, or what was stored: in a store or a sum. The sum
 * may be multiplied by zero behind the loop. */
static void met_in_loop(void) {
  static const uint8_t ops[] = {0x6c, 0x71, 0x72, 0x73, 0x6b, 0x74, 0x76, 0x77, 0x78, 0x46, 0x48, 0x49, 0x4f};
  uint32_t a = FIRST_LOCAL + I32 * PER_TYPE, b = a + 1, counter = COUNTER + n_loops, kind = below(4), other = below(4);
  uint32_t base = one_in(3) ? Q : P;
  bool is_swapped = one_in(2), is_short = one_in(2);
  unsigned op = ops[below(sizeof ops)];
  late_zero(a, counter);
  i32_const(0), set(counter);
  i32_const(kind == 3 ? 256 : 0), set(b);
  byte(0x03), byte(0x40);
  if (kind == 3) get(counter), i32_const(2), byte(0x74), i32_const((int32_t)below(3)), byte(0x36), byte(0), byte(64); /* store */
  if (kind != 2) get(counter), i32_const(2), byte(0x74);
  if (kind == 2) get(b);
  for (int side = 0; side < 2; side++)
    if ((side == 0) != is_swapped) {
      get(base), get(counter), i32_const(2), byte(0x74), byte(0x6a), byte(one_in(2) ? 0x28 : 0x2f), byte(0), byte(0);
    } else {
      switch (other) {
      case 0: get(a); break;
      case 1: get(counter), get(b), byte(0x6b); break;
      case 2: get(counter), i32_const(2), byte(0x74), byte(0x28), byte(0), byte(64); break;
      default: get(a), i32_const(1), byte(0x6b);
      }
    }
  byte(op);
  if (kind == 2)
    byte(ops[below(5)]), set(b);
  else
    byte(0x36), byte(0), byte(kind == 1 ? 4 : 0);
  if (kind < 2 && one_in(2)) get(counter), i32_const(2 + (int32_t)below(2)), byte(0x74), get(C), byte(0x36), byte(0), byte(0);
  if (kind != 2) get(b), i32_const(1), byte(0x6a), set(b);
  get(counter), i32_const(1), byte(0x6a), byte(0x22), unsigned_leb(counter);
  if (is_short)
    i32_const(1 + (int32_t)below(9));
  else
    get(C), i32_const(15), byte(0x71);
  byte(0x49), byte(0x0d), byte(0), byte(0x0b);
  if (kind == 2 && one_in(2)) get(b), get(a), byte(0x6c), set(b);
}

/* What meets a load where it is read, and may turn out to be nothing: the counter, in its first round; the difference of two;
 * what another loop left. */
static void nothing(uint32_t a, uint32_t b, uint32_t counter) {
  switch (below(3)) {
  case 0: get(counter); break;
  case 1: get(counter), get(b), byte(0x6b); break;
  default: get(a);
  }
}

static void place_in_round(uint32_t base, uint32_t a) {
  get(base);
  if (one_in(4)) get(a), byte(0x6a);
}

/* Floats meet numbers that may turn out to be NaNs. */
static void float_in_loop(uint32_t base, uint32_t a, uint32_t b, uint32_t counter) {
  get(counter), i32_const(2), byte(0x74);
  get(base), byte(0x2a), byte(0), byte(0);
  if (one_in(2)) {
    nothing(a, b, counter), i32_const(0x7fc00000), byte(0x6a), byte(0xbe); /* f32.reinterpret_i32 */
  } else {
    nothing(a, b, counter), byte(0xb3), get(counter), byte(0xb3), byte(0x95); /* f32.div of f32.convert_i32_u */
  }
  byte(0x92 + below(6)), byte(0x38), byte(0), byte(64);
}

/* A loop stores what is there already, but for nothing; or its last round stores what is overwritten behind it. */
static void stored_in_loop(void) {
  static const uint8_t ops[] = {0x6a, 0x6b, 0x72, 0x73, 0x74};
  static const int32_t steps[] = {4, 8, -8, 70000};
  uint32_t a = FIRST_LOCAL + I32 * PER_TYPE, b = a + 1, counter = COUNTER + n_loops, base = one_in(3) ? Q : P, kind = below(4);
  int32_t rounds = 1 + (int32_t)below(9), step = steps[below(4)];
  late_zero(a, counter);
  i32_const(0), set(counter);
  i32_const(0), set(b);
  byte(0x03), byte(0x40);
  if (kind == 0) {
    get(counter), i32_const(2), byte(0x74), get(base), byte(0x28), byte(0), byte(0), byte(0x36), byte(0), byte(64);
  } else if (kind == 1) {
    float_in_loop(base, a, b, counter);
  } else {
    place_in_round(base, a), place_in_round(base, a), byte(0x28), byte(0), byte(0);
    if (!one_in(3)) nothing(a, b, counter), byte(ops[below(5)]);
    byte(0x36), byte(0), byte(0);
  }
  get(base), i32_const(step), byte(0x6a), set(base);
  get(b), i32_const(1), byte(0x6a), set(b);
  get(counter), i32_const(1), byte(0x6a), byte(0x22), unsigned_leb(counter);
  if (one_in(4)) {
    get(C), i32_const(15), byte(0x71);
  } else {
    i32_const(rounds);
  }
  byte(0x49), byte(0x0d), byte(0), byte(0x0b);
  if (kind == 0) i32_const(4 * rounds - 4), get(C), byte(0x36), byte(0), byte(64);
}

/* --- loops that count --------------------------------------------------------------------------------------------------
 *
 * jit/access/ranges.c computes in front of such a loop which addresses its loads will have. So these count in every way: up and
 * down, to bounds that they meet, jump over or only reach by wrapping, from where they are behind them; with addresses that
 * stand, move either way, wrap or are far apart; with ways out, parts that only some rounds run, and nothing that wants what is
 * read. */

/* What a loop counts from or to, or where it reads. */
static void any_index(uint32_t like) {
  switch (below(5)) {
  case 0: get(P); break;
  case 1: get(Q); break;
  case 2: i32_const(one_in(3) ? (int32_t)next_random() : (int32_t)below(400) - 200); break;
  case 3: get(C), i32_const(127), byte(0x71); break;
  default: get(like), i32_const((int32_t)below(3000) - 1000), byte(0x6a);
  }
}

static void address_in_round(uint32_t at, uint32_t start, uint32_t counter) {
  static const int32_t factors[] = {1, 3, 4, -1, -4, 800, 16384, 70000};
  get(one_in(3) ? start : at);
  switch (below(5)) {
  case 0: break;
  case 1: get(counter), byte(0x6a); break;
  case 2: get(counter), i32_const((int32_t)below(6)), byte(0x74), byte(0x6a); break;
  case 3: get(counter), i32_const(factors[below(8)]), byte(0x6c), byte(0x6a); break;
  default: get(counter), byte(0x6b);
  }
  if (one_in(3)) i32_const((int32_t)below(200) - 100), byte(0x6a);
}

/* What a round reads is dropped, summed up, compared, masked, or stored elsewhere. */
static void read_in_round(uint32_t at, uint32_t start, uint32_t counter) {
  static const uint8_t loads[] = {0x28, 0x28, 0x2c, 0x2d, 0x2f};
  uint32_t kind = below(6), sum = FIRST_LOCAL + I64 * PER_TYPE;
  bool is_far = one_in(8);
  if (kind == 0) get(counter), i32_const(255), byte(0x71);
  if (kind == 1) get(sum);
  address_in_round(at, start, counter), byte(loads[below(5)]), byte(0),
      unsigned_leb(is_far ? 65536 * below(65536) : below(3) * 4);
  if (kind == 0) {
    if (one_in(2)) nothing(start, at, counter), byte(one_in(2) ? 0x6c : 0x71);
    byte(0x3a), byte(0), byte(64); /* i32.store8 */
  } else if (kind == 1) {
    byte(0xad), byte(one_in(2) ? 0x7c : 0x85), set(sum);
  } else if (kind == 2) {
    i32_const((int32_t)below(90)), byte(0x4f), byte(0x04), byte(0x40), get(sum), byte(0x42), byte(1), byte(0x7c), set(sum),
        byte(0x0b);
  } else {
    byte(0x1a);
  }
}

static void round_of_loop(uint32_t at, uint32_t start, uint32_t counter) {
  for (uint32_t i = 0, n = 1 + below(3); i < n; i++) {
    bool is_choice = one_in(5);
    if (is_choice) get(one_in(2) ? C : counter), i32_const(1), byte(0x71), byte(0x04), byte(0x40);
    read_in_round(at, start, counter);
    if (is_choice && one_in(2)) byte(0x05), read_in_round(at, start, counter);
    if (is_choice) byte(0x0b);
  }
  if (one_in(8))
    address_in_round(at, start, counter), byte(0x2d), byte(0), byte(0), byte(0x45), byte(0x0d), byte(1); /* br_if 1 */
  if (one_in(8)) i32_const(8), get(C), byte(0x6d), byte(0x1a);                                           /* i32.div_s */
  if (one_in(5)) address_in_round(at, start, counter), get(C), byte(0x3a), byte(0), byte(0);
}

/* Another round, or not: the counter, before or behind the step, and the bound, either first. */
static void go_on(uint32_t counter, uint32_t bound, int32_t step) {
  static const uint8_t up[] = {0x47, 0x47, 0x48, 0x49, 0x4c, 0x4d}, swapped[] = {0x47, 0x47, 0x4a, 0x4b, 0x4e, 0x4f};
  bool is_down = (step < 0) != one_in(8), is_swapped = one_in(3);
  uint32_t way = below(6);
  if (is_swapped) get(bound);
  get(counter);
  if (one_in(3)) i32_const(step * (int32_t)below(3)), byte(0x6a);
  if (!is_swapped) get(bound);
  byte(is_down != is_swapped ? swapped[way] : up[way]);
}

static void counting_loop(void) {
  static const int32_t steps[] = {1, 1, 1, 2, 3, 4, 8, -1, -1, -2, -4, 12, 4096, 100000};
  uint32_t start = FIRST_LOCAL + I32 * PER_TYPE, at = start + 1, counter = COUNTER + n_loops, bound = COUNTER + LOOP_DEPTH;
  int32_t step = steps[below(14)];
  any_index(P), set(start);
  any_index(start), set(at);
  one_in(3) ? get(start) : any_index(start), set(counter);
  if (one_in(2))
    get(counter), i32_const(step * (1 + (int32_t)below(300)) + (one_in(4) ? 1 : 0)), byte(0x6a);
  else
    any_index(start);
  set(bound);
  byte(0x02), byte(0x40);
  if (one_in(2)) go_on(counter, bound, step), byte(0x45), byte(0x0d), byte(0);
  byte(0x03), byte(0x40);
  n_loops++;
  round_of_loop(at, start, counter);
  n_loops--;
  if (one_in(2)) get(at), i32_const(steps[below(14)]), byte(0x6a), set(at);
  get(counter), i32_const(step), byte(0x6a), set(counter);
  go_on(counter, bound, step), byte(0x0d), byte(0), byte(0x0b), byte(0x0b);
  if (one_in(3)) get(FIRST_LOCAL + I64 * PER_TYPE), byte(0x42), byte(0), byte(0x83), set(FIRST_LOCAL + I64 * PER_TYPE);
}

static void idiom(void) {
  if (n_loops < LOOP_DEPTH && one_in(3)) {
    counting_loop();
    return;
  }
  if (n_loops < LOOP_DEPTH && one_in(3)) {
    one_in(2) ? met_in_loop() : stored_in_loop();
    return;
  }
  switch (below(n_loops < LOOP_DEPTH ? 5 : 3)) {
  case 0: overwritten_by_another_name(); break;
  case 1: cancelled(); break;
  case 2: changed_in_memory(); break;
  case 3: short_accumulator(); break;
  default: filled_over(); break;
  }
}

static void statements(int n, int depth) {
  for (int i = 0; i < n; i++) {
    uint32_t kind = below(13);
    if (kind == 12)
      idiom();
    else if (kind < 4)
      set_local();
    else if (kind < 7)
      store();
    else if (kind == 7)
      set_global();
    else if (kind == 8 && one_in(2))
      call_host();
    else if (kind == 9)
      expression(below(N_TYPES), 1), byte(0x1a); /* drop */
    else if (kind == 10 && depth > 0)
      if_else(depth);
    else if (depth > 0 && n_loops < LOOP_DEPTH)
      counted_loop(depth);
  }
}

/* --- modules -------------------------------------------------------------------------------------------------------- */

static void section(struct buffer *module, unsigned id, struct buffer *content) {
  wasm_section(module, id, content);
  content->size = 0;
}

static void function(struct buffer *code) {
  struct buffer body = {0};
  static const uint8_t types[] = {0x7f, 0x7e, 0x7d, 0x7c, 0x7b};
  out = &body;
  byte(N_TYPES + 1);
  for (int t = 0; t < N_TYPES; t++) byte(PER_TYPE), byte(types[t]);
  byte(LOOP_DEPTH + 1), byte(0x7f); /* counters, and the bound of one */
  n_loops = 0;
  memset(earlier, 0, sizeof earlier);
  if (one_in(3))
    counting_loop();
  else if (one_in(4))
    met_in_loop();
  else if (one_in(4))
    stored_in_loop();
  else
    statements(1 + (int)below(one_in(3) ? 2 : 6), 2); /* in small ones LLVM does more */
  one_in(3) ? constant(I64) : expression(I64, (int)below(3));
  byte(0x0b);
  wasm_sized(code, &body);
  buffer_clear(&body);
}

enum { N_GLOBALS = 5 };

static void make_module(struct buffer *module) {
  static const uint8_t head[] = {0, 'a', 's', 'm', 1, 0, 0, 0};
  static const uint8_t types[] = {2, 0x60, 4, 0x7f, 0x7f, 0x7f, 0x7e, 1, 0x7e, 0x60, 1, 0x7e, 0};
  static const uint8_t imports[] = {1, 1, 'h', 1, 'h', 0, 1};
  static const uint8_t memories[] = {1, 1, 1, 1};
  static const uint8_t globals[] = {5,    0x7f, 1, 0x41, 0, 0x0b, 0x7e, 1, 0x42, 0, 0x0b, 0x7d, 1,    0x43, 0, 0,    0,  0,
                                    0x0b, 0x7c, 1, 0x44, 0, 0,    0,    0, 0,    0, 0,    0,    0x0b, 0x7b, 1, 0xfd, 12, 0,
                                    0,    0,    0, 0,    0, 0,    0,    0, 0,    0, 0,    0,    0,    0,    0, 0x0b};
  struct buffer s = {0};
  module->size = 0;
  buffer_append(module, head, sizeof head);
  buffer_append(&s, types, sizeof types), section(module, 1, &s);
  buffer_append(&s, imports, sizeof imports), section(module, 2, &s);
  out = &s, byte(N_FUNCS);
  for (int i = 0; i < N_FUNCS; i++) byte(0);
  section(module, 3, &s);
  buffer_append(&s, memories, sizeof memories), section(module, 5, &s);
  buffer_append(&s, globals, sizeof globals), section(module, 6, &s);
  out = &s, byte(N_FUNCS + N_GLOBALS);
  for (int i = 0; i < N_FUNCS; i++) byte(1), byte((unsigned)('a' + i)), byte(0), byte((unsigned)(1 + i));
  for (int i = 0; i < N_GLOBALS; i++) byte(1), byte((unsigned)('0' + i)), byte(3), byte((unsigned)i);
  section(module, 7, &s);
  out = &s, byte(N_FUNCS);
  for (int i = 0; i < N_FUNCS; i++) function(&s);
  section(module, 10, &s);
  out = &s, byte(1), byte(0), i32_const(0), byte(0x0b), unsigned_leb(DATA_BYTES);
  for (int i = 0; i < DATA_BYTES; i++) byte(below(0x60)); /* as floats these are neither NaN nor infinite */
  section(module, 11, &s);
  buffer_clear(&s);
}

/* --- running -------------------------------------------------------------------------------------------------------- */

struct outcome {
  enum gw_trap trap; /* GW_TRAP_NONE: a result */
  uint64_t result, gas, memory;
  union gw_value globals[N_GLOBALS];
  uint64_t log[MAX_LOG], gas_log[MAX_LOG]; /* what the host was told, and the gas used by then */
  uint32_t n_log;
};

static enum gw_trap host_log(struct gw_instance *caller, void *env, union gw_value *values) {
  struct gw_store *store = gw_instance_store(caller);
  struct outcome *o = gw_store_user(store);
  (void)env;
  if (o->n_log < MAX_LOG) o->log[o->n_log] = values[0].u64, o->gas_log[o->n_log] = gw_store_gas_used(store);
  o->n_log++;
  return GW_TRAP_NONE;
}

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *to) {
  static const struct gw_host_func row = {"h", "h", "_I", host_log};
  (void)env, (void)import;
  *to = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host.func = &row};
  return true;
}

static void die(const char *what, const struct gw_error *err) {
  fprintf(stderr, "must_trap: %s: %s\n", what, err->message);
  exit(2);
}

static uint64_t digest(struct gw_instance *instance) {
  const uint8_t *bytes = gw_instance_memory(instance, 0, MEMORY_BYTES);
  uint64_t hash = 0, word;
  for (size_t i = 0; i < MEMORY_BYTES; i += 8) memcpy(&word, bytes + i, 8), hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
  return hash;
}

/* i32, i64, f32, f64, v128 */
static void get_globals(struct gw_instance *instance, union gw_value to[N_GLOBALS]) {
  static const size_t sizes[N_GLOBALS] = {4, 8, 4, 8, 16};
  memset(to, 0, N_GLOBALS * sizeof *to);
  for (uint32_t i = 0; i < N_GLOBALS; i++) {
    struct gw_extern found;
    if (!gw_instance_export_at(instance, N_FUNCS + i, &found)) abort();
    union gw_value value = gw_global_get(found.of.global);
    memcpy(&to[i], &value, sizes[i]);
  }
}

static void call(struct gw_store *store, struct gw_instance *instance, int func, const union gw_value *args, uint64_t limit,
                 struct outcome *o) {
  struct gw_error err = {0};
  union gw_value values[4];
  memcpy(values, args, sizeof values);
  *o = (struct outcome){0};
  gw_store_set_user(store, o);
  gw_store_set_gas_limit(store, limit);
  if (!gw_call_export(instance, (char[]){(char)('a' + func), 0}, values, 4, &err)) {
    if (err.code != GW_ERROR_TRAP) die("call", &err);
    o->trap = err.trap;
  } else {
    o->result = values[0].u64;
  }
  o->memory = digest(instance);
  get_globals(instance, o->globals);
  o->gas = gw_store_gas_used(store);
  err = (struct gw_error){0};
  if (!gw_instance_reset(instance, &err)) die("reset", &err);
}

/* At every call of the host gas is exact. At an access out of bounds it is no less than at the last of them, and that there is
 * none left is noticed late (docs/gas.md, sections 4 and 5). */
static bool same_gas(const struct outcome *precise, const struct outcome *fast) {
  uint32_t n = precise->n_log < MAX_LOG ? precise->n_log : MAX_LOG;
  if (memcmp(precise->gas_log, fast->gas_log, n * sizeof *fast->gas_log) != 0) return false;
  if (fast->trap == GW_TRAP_MEMORY_OUT_OF_BOUNDS) return !n || fast->gas >= fast->gas_log[n - 1];
  return precise->gas == fast->gas;
}

static bool same_state(const struct outcome *precise, const struct outcome *fast) {
  return precise->memory == fast->memory && memcmp(precise->globals, fast->globals, sizeof precise->globals) == 0;
}

/* Where loose code traps, nothing is said of the state. */
static bool same(const struct outcome *precise, const struct outcome *fast, bool is_exact) {
  uint32_t n = precise->n_log < MAX_LOG ? precise->n_log : MAX_LOG;
  if (precise->n_log != fast->n_log || memcmp(precise->log, fast->log, n * sizeof *fast->log) != 0) return false;
  if (!same_gas(precise, fast)) return false;
  if (precise->trap == GW_TRAP_OUT_OF_GAS) return fast->trap != GW_TRAP_NONE;
  if (precise->trap != fast->trap || precise->result != fast->result) return false;
  return (fast->trap && !is_exact) || same_state(precise, fast);
}

/* --- cases ---------------------------------------------------------------------------------------------------------- */

struct config {
  const char *name, *cpu; /* cpu: an artifact for it; NULL: this machine's, compiled here */
  enum gw_tier tier;
  uint32_t opt_level;
  bool profile, is_exact;
  struct gw_engine *engine;
};

static struct config configs[] = {
    {"precise", NULL, GW_TIER_PRECISE, 0, false, false, NULL},
    {"baseline", NULL, GW_TIER_BASELINE, 0, false, true, NULL},
    {"mixed", NULL, GW_TIER_MIXED, 2, false, false, NULL},
    {"-O0", NULL, GW_TIER_FAST, 0, false, false, NULL},
    {"-O1", NULL, GW_TIER_FAST, 1, false, false, NULL},
    {"-O2", NULL, GW_TIER_FAST, 2, false, false, NULL},
    {"-O3", NULL, GW_TIER_FAST, 3, false, false, NULL},
    {"-O0 exact", NULL, GW_TIER_FAST, 0, false, true, NULL},
    {"-O1 exact", NULL, GW_TIER_FAST, 1, false, true, NULL},
    {"-O2 exact", NULL, GW_TIER_FAST, 2, false, true, NULL},
    {"-O3 exact", NULL, GW_TIER_FAST, 3, false, true, NULL},
    {"-O2 exact v2", "x86-64-v2", GW_TIER_FAST, 2, false, true, NULL},
    {"-O2 profile", NULL, GW_TIER_FAST, 2, true, false, NULL},
    {"-O2 x86-64-v2", "x86-64-v2", GW_TIER_FAST, 2, false, false, NULL},
    {"-O2 x86-64-v3", "x86-64-v3", GW_TIER_FAST, 2, false, false, NULL},
    {"-O2 x86-64-v4", "x86-64-v4", GW_TIER_FAST, 2, false, false, NULL},
};
enum { N_CONFIGS = sizeof configs / sizeof *configs };

static union gw_value arguments[N_FUNCS][N_CALLS][4];
static struct outcome expected[N_FUNCS][N_CALLS];
static uint64_t limits[N_FUNCS][N_CALLS];

static void make_arguments(void) {
  for (int f = 0; f < N_FUNCS; f++)
    for (int i = 0; i < N_CALLS; i++) {
      int32_t edges[] = {MEMORY_BYTES - 1, MEMORY_BYTES - (int32_t)below(200), 70000, -1, -(int32_t)below(70000)};
      union gw_value *v = arguments[f][i];
      memset(v, 0, 4 * sizeof *v);
      for (int k = 0; k < 2; k++) v[k].i32 = one_in(2) ? (int32_t)below(DATA_BYTES) : edges[below(5)];
      v[2].i32 = one_in(2) ? (int32_t)below(2) : (int32_t)next_random();
      v[3].u64 = next_random();
    }
}

/* The module as this configuration runs it. */
static struct gw_module *open_module(const struct config *c, const struct buffer *bytes) {
  struct gw_error err = {0};
  struct gw_module *m = gw_module_create(c->engine, bytes->bytes, bytes->size, &err);
  if (!m) die("a module that is not valid", &err);
  if (c->cpu) m = module_for_cpu(c->engine, m, c->cpu, &err);
  if (!m) die("compiling for another CPU", &err);
  return m;
}

static void print_outcome(const char *name, const struct outcome *o) {
  printf("  %-14s %s, result %" PRIx64 ", gas %" PRIu64 ", memory %" PRIx64 ", %" PRIu32 " host calls\n", name,
         o->trap ? gw_trap_message(o->trap) : "returns", o->result, o->gas, o->memory, o->n_log);
}

/* The precise tier's outcome; of some calls, with another limit, near where they ended with GAS_LIMIT. */
static void expect(struct gw_store *store, struct gw_instance *instance, int f, int i) {
  struct outcome *e = &expected[f][i];
  limits[f][i] = GAS_LIMIT;
  call(store, instance, f, arguments[f][i], GAS_LIMIT, e);
  uint64_t distance = below(30);
  if (!one_in(3) || e->trap == GW_TRAP_OUT_OF_GAS || distance >= e->gas + 3) return;
  limits[f][i] = e->gas + 3 - distance;
  call(store, instance, f, arguments[f][i], limits[f][i], e);
}

/* How many calls differ from the precise tier's. */
static int run_config(const struct config *c, const struct buffer *bytes, uint64_t seed) {
  struct gw_error err = {0};
  int n_different = 0;
  struct gw_module *m = open_module(c, bytes);
  struct gw_store_options options = {.tier = c->tier, .gas_limit = GAS_LIMIT};
  struct gw_store *store = gw_store_create(c->engine, &options, &err);
  struct gw_instance *instance = store ? gw_instance_create(store, m, resolve, NULL, &err) : NULL;
  if (!instance) die("instantiating", &err);
  uint64_t random = seed;
  if (c->tier == GW_TIER_MIXED) mixed_compile(m, &random);
  for (int f = 0; f < N_FUNCS; f++)
    for (int i = 0; i < N_CALLS; i++) {
      struct outcome o, *e = &expected[f][i];
      const union gw_value *v = arguments[f][i];
      if (c->tier == GW_TIER_PRECISE) {
        expect(store, instance, f, i);
        continue;
      }
      call(store, instance, f, v, limits[f][i], &o);
      if (same(e, &o, c->is_exact)) continue;
      if (!n_different++) {
        printf("seed %" PRIu64 ", function %c, arguments %d %d %d %" PRId64 ", gas limit %" PRIu64 ":\n", seed, 'a' + f, v[0].i32,
               v[1].i32, v[2].i32, v[3].i64, limits[f][i]);
        print_outcome("precise", e);
        print_outcome(c->name, &o);
      }
    }
  gw_store_destroy(store);
  gw_module_release(m);
  return n_different;
}

static void keep(const char *dir, uint64_t seed, const struct buffer *bytes) {
  char path[512];
  snprintf(path, sizeof path, "%s/%" PRIu64 ".wasm", dir, seed);
  FILE *file = fopen(path, "wb");
  if (file) fwrite(bytes->bytes, 1, bytes->size, file), fclose(file);
}

int main(int argc, char **argv) {
  uint64_t n = 0, n_bad = 0, n_traps = 0;
  struct fuzz_options o = fuzz_parse(argc, argv, "--keep");
  struct buffer bytes = {0};
  struct gw_error err = {0};
  for (int c = 0; c < N_CONFIGS; c++) {
    struct gw_engine_options options = {.loose_traps = !configs[c].is_exact,
                                        .gas = true,
                                        .opt_level = configs[c].opt_level,
                                        .threads = 1,
                                        .profile = configs[c].profile};
    configs[c].engine = gw_engine_create(&options, &err);
    if (!configs[c].engine) die("engine", &err);
  }
  time_t end = fuzz_end(&o);
  for (; n < o.count && (!end || time(NULL) < end); n++) {
    uint64_t seed = o.seed + n;
    random_state = seed;
    make_module(&bytes);
    make_arguments();
    int n_different = 0;
    for (int c = 0; c < N_CONFIGS; c++)
      if (!configs[c].cpu || cpu_runs(configs[c].cpu)) n_different += run_config(&configs[c], &bytes, seed);
    for (int i = 0; i < N_FUNCS * N_CALLS; i++) n_traps += expected[i / N_CALLS][i % N_CALLS].trap != GW_TRAP_NONE;
    n_bad += n_different != 0;
    if (n_different && o.own) keep(o.own, seed, &bytes);
  }
  for (int c = 0; c < N_CONFIGS; c++) gw_engine_destroy(configs[c].engine);
  buffer_clear(&bytes);
  printf("%" PRIu64 " modules of %d functions, %" PRIu64 " of %" PRIu64 " calls trapped; %" PRIu64 " modules disagreed\n", n,
         N_FUNCS, n_traps, n * N_FUNCS * N_CALLS, n_bad);
  return n_bad != 0;
}
