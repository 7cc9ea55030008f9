/* Machine code of x86-64, byte by byte: what the baseline tier writes (essay in runtime/precise/baseline.c).
 *
 * An opcode is its bytes as a number, 0x0faf for instance; the mandatory prefix, if any, in bits 24 to 31. */
#ifndef RUNTIME_PRECISE_X86_H
#define RUNTIME_PRECISE_X86_H

#include "base/heap.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, XMM0, XMM1, N_REGS = 32 };

/* Operand sizes of general registers. */
enum width { W8, W32, W64 };

/* Conditions, as in jcc, setcc and cmovcc. The lowest bit negates. */
enum { CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_GE, CC_LE, CC_G };

#define P66(opcode) (0x66000000u | (opcode))
#define PF2(opcode) (0xf2000000u | (opcode))
#define PF3(opcode) (0xf3000000u | (opcode))

struct x86 {
  uint8_t *bytes;
  uint32_t n, capacity;
};

/* Room for one more instruction, or a few. */
enum { X86_ROOM = 64 };
static inline void x86_reserve(struct x86 *x, uint32_t room) {
  if (x->n + room <= x->capacity) return;
  x->capacity = 2 * x->capacity + room + 4096;
  x->bytes = heap_resize(x->bytes, x->capacity, 1);
}

static inline void x86_byte(struct x86 *x, unsigned v) { x->bytes[x->n++] = (uint8_t)v; }

static inline void x86_u32(struct x86 *x, uint32_t v) {
  memcpy(x->bytes + x->n, &v, sizeof v);
  x->n += sizeof v;
}

static inline void x86_u64(struct x86 *x, uint64_t v) {
  memcpy(x->bytes + x->n, &v, sizeof v);
  x->n += sizeof v;
}

/* Prefixes and opcode. reg, index, base: whatever of them there is, else 0. */
static inline void x86_opcode(struct x86 *x, enum width width, uint32_t opcode, int reg, int index, int base, bool byte_reg) {
  x86_reserve(x, X86_ROOM);
  if (opcode >> 24) x86_byte(x, opcode >> 24);
  unsigned rex = (unsigned)((width == W64) << 3 | (reg >> 3 & 1) << 2 | (index >> 3 & 1) << 1 | (base >> 3 & 1));
  if (rex || byte_reg) x86_byte(x, 0x40 | rex);
  if (opcode & 0xff0000) x86_byte(x, opcode >> 16 & 0xff);
  if (opcode & 0xffff00) x86_byte(x, opcode >> 8 & 0xff);
  x86_byte(x, opcode & 0xff);
}

/* reg, rm */
static inline void x86_rr(struct x86 *x, enum width width, uint32_t opcode, int reg, int rm) {
  x86_opcode(x, width, opcode, reg, 0, rm, width == W8);
  x86_byte(x, 0xc0u | (unsigned)(reg & 7) << 3 | (unsigned)(rm & 7));
}

/* reg, [base + disp] */
static inline void x86_rm(struct x86 *x, enum width width, uint32_t opcode, int reg, int base, int32_t disp) {
  x86_opcode(x, width, opcode, reg, 0, base, width == W8);
  unsigned mod = disp == 0 && (base & 7) != RBP ? 0 : disp == (int8_t)disp ? 1 : 2;
  x86_byte(x, mod << 6 | (unsigned)(reg & 7) << 3 | (unsigned)(base & 7));
  if ((base & 7) == RSP) x86_byte(x, 0x24);
  if (mod == 1) x86_byte(x, (uint8_t)disp);
  if (mod == 2) x86_u32(x, (uint32_t)disp);
}

/* reg, [base + index * (1 << scale) + disp]; the index is not RSP */
static inline void x86_rx(struct x86 *x, enum width width, uint32_t opcode, int reg, int base, int index, unsigned scale,
                          int32_t disp) {
  x86_opcode(x, width, opcode, reg, index, base, width == W8);
  unsigned mod = disp == 0 && (base & 7) != RBP ? 0 : disp == (int8_t)disp ? 1 : 2;
  x86_byte(x, mod << 6 | (unsigned)(reg & 7) << 3 | 4);
  x86_byte(x, scale << 6 | (unsigned)(index & 7) << 3 | (unsigned)(base & 7));
  if (mod == 1) x86_byte(x, (uint8_t)disp);
  if (mod == 2) x86_u32(x, (uint32_t)disp);
}

/* reg, [rip + what is patched later]; returns where */
static inline uint32_t x86_rip(struct x86 *x, enum width width, uint32_t opcode, int reg) {
  x86_opcode(x, width, opcode, reg, 0, 0, false);
  x86_byte(x, (unsigned)(reg & 7) << 3 | 5);
  x86_u32(x, 0);
  return x->n - 4;
}

/* Arithmetic with a constant: 0 add, 1 or, 4 and, 5 sub, 6 xor, 7 cmp. */
static inline void x86_ri(struct x86 *x, enum width width, unsigned operation, int rm, int32_t v) {
  bool is_short = v == (int8_t)v;
  x86_opcode(x, width, is_short ? 0x83 : 0x81, 0, 0, rm, false);
  x86_byte(x, 0xc0u | operation << 3 | (unsigned)(rm & 7));
  if (is_short)
    x86_byte(x, (uint8_t)v);
  else
    x86_u32(x, (uint32_t)v);
}

/* Shifts by a constant: 0 rol, 1 ror, 4 shl, 5 shr, 7 sar. */
static inline void x86_shift(struct x86 *x, enum width width, unsigned operation, int rm, unsigned count) {
  x86_opcode(x, width, 0xc1, 0, 0, rm, false);
  x86_byte(x, 0xc0u | operation << 3 | (unsigned)(rm & 7));
  x86_byte(x, count);
}

static inline void x86_constant(struct x86 *x, int reg, uint64_t v) {
  if (v == 0) {
    x86_rr(x, W32, 0x31, reg, reg);
  } else if (v <= UINT32_MAX) {
    x86_opcode(x, W32, 0xb8u + (unsigned)(reg & 7), 0, 0, reg, false);
    x86_u32(x, (uint32_t)v);
  } else if ((int64_t)v == (int32_t)v) {
    x86_rr(x, W64, 0xc7, 0, reg);
    x86_u32(x, (uint32_t)v);
  } else {
    x86_opcode(x, W64, 0xb8u + (unsigned)(reg & 7), 0, 0, reg, false);
    x86_u64(x, v);
  }
}

/* A jump whose distance is patched later; returns where. */
static inline uint32_t x86_jump(struct x86 *x) {
  x86_reserve(x, X86_ROOM);
  x86_byte(x, 0xe9);
  x86_u32(x, 0);
  return x->n - 4;
}

static inline uint32_t x86_jump_if(struct x86 *x, unsigned condition) {
  x86_reserve(x, X86_ROOM);
  x86_byte(x, 0x0f);
  x86_byte(x, 0x80 | condition);
  x86_u32(x, 0);
  return x->n - 4;
}

static inline uint32_t x86_call(struct x86 *x) {
  x86_reserve(x, X86_ROOM);
  x86_byte(x, 0xe8);
  x86_u32(x, 0);
  return x->n - 4;
}

/* A short one over what follows. */
static inline uint32_t x86_skip_if(struct x86 *x, unsigned condition) {
  x86_reserve(x, X86_ROOM);
  x86_byte(x, 0x70 | condition);
  x86_byte(x, 0);
  return x->n - 1;
}

static inline uint32_t x86_skip(struct x86 *x) {
  x86_reserve(x, X86_ROOM);
  x86_byte(x, 0xeb);
  x86_byte(x, 0);
  return x->n - 1;
}

static inline void x86_land(struct x86 *x, uint32_t skip) { x->bytes[skip] = (uint8_t)(x->n - skip - 1); }

/* The distance at `at` leads to offset `to`. */
static inline void x86_patch(struct x86 *x, uint32_t at, uint32_t to) {
  uint32_t distance = to - (at + 4);
  memcpy(x->bytes + at, &distance, sizeof distance);
}

static inline void x86_move(struct x86 *x, enum width width, int to, int from) {
  if (to != from || width == W32) x86_rr(x, width, 0x8b, to, from);
}

#endif
