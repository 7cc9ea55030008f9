/* One function's machine code in the making: registers and slots (baseline_registers.c), what gets a register (baseline_pins.c),
 * values (baseline_value.c, baseline_vector.c), control and the pass itself (baseline_emit.c, with the essay). */
#ifndef RUNTIME_PRECISE_EMITTER_H
#define RUNTIME_PRECISE_EMITTER_H

#include "base/array.h"
#include "runtime/precise/baseline.h"

#include <stddef.h>

enum { NO_REG = 255 };
#define NO_SLOT UINT32_MAX
#define FIXED_FP R13
#define FIXED_STORE R14
#define FIXED_GAS RBX
#define FIXED_MEMORY RDI

struct reg_state {
  uint32_t slot;
  uint32_t stamp; /* of the instruction that used it last */
  bool is_narrow; /* the upper half is 0 */
  uint32_t pinned_slot;
  char pinned_letter;
};

enum cold_kind { COLD_CHARGE, COLD_ACCESS, COLD_NAN, COLD_TRAP, COLD_HANDLER, COLD_ZERO, COLD_LEAVE, COLD_TABLE, COLD_CONSTANT };

/* For COLD_CONSTANT: 16 bytes. */
enum vector_constant {
  CONSTANT_FIRST,  /* where a shuffle takes a byte of its first operand, its number; else 128 */
  CONSTANT_SECOND, /* the same of its second operand */
  CONSTANT_INDEX,  /* what saturates an index beyond 15 to 128 or more */
  CONSTANT_ABS_32, /* all but the signs */
  CONSTANT_ABS_64,
};

struct cold {
  uint8_t kind, reg, detail;
  uint32_t insn, from, resume; /* `from`: what jumps here */
  uint32_t first, n;           /* of what is saved: registers and slots */
};

struct saved {
  uint32_t slot, reg;
};

struct jump {
  uint32_t at, insn, table; /* table: where distances count from, or 0 */
};

struct emitter {
  struct baseline_output *out;
  struct x86 *x;
  const struct precise_func *func;
  const struct precise_insn *insns;
  uint32_t n, i, stamp;
  uint32_t n_slots, operands;       /* slots; the first that is no local, hold or header */
  uint8_t *where, *pin, *is_target; /* by slot, with one more: the base of memory 0; by instruction */
  char *letters;                    /* of the types of locals, where known */
  bool is_reachable, has_failed;
  struct reg_state regs[N_REGS];
  uint32_t bound, dirty,
      pinned;      /* registers by their bits: that hold a slot, that a slot lacks, that are for the whole function */
  bool is_guarded; /* memory 0: accesses beyond it fault */
  struct vmctx_layout layout;
  uint32_t n_imported_globals;
  struct cold *colds;
  uint32_t n_colds, colds_capacity;
  struct saved *saved;
  uint32_t n_saved, saved_capacity;
  struct jump *jumps;
  uint32_t n_jumps, jumps_capacity;
};

#define BIT(r) (1u << (r))
#define GENERAL (BIT(RSI) | BIT(R8) | BIT(R9) | BIT(R10) | BIT(R11) | BIT(R12) | BIT(RDX) | BIT(R15))
#define XMM_FIRST (XMM0 + 2)
#define XMMS (~0u << XMM_FIRST)
/* r: each register of a set in turn. */
#define EACH_OF(set, r) for (uint32_t left_ = (set), r; left_ && (r = (uint32_t)__builtin_ctz(left_), true); left_ &= left_ - 1)

static inline bool is_xmm(int r) { return r >= XMM0; }
static inline bool is_float(char letter) { return letter == 'f' || letter == 'F'; }
static inline enum width width_of(char letter) { return letter == 'i' ? W32 : W64; }

static inline int32_t header(const struct emitter *e, size_t field) { return (int32_t)(e->func->header + field); }
#define HEADER(field) header(e, offsetof(struct precise_frame, field))
enum { FRAME = offsetof(struct gw_store, precise.frame) };

/* Behind the slots, two that are none: what leads to memory 0, and the vmctx. */
static inline uint32_t base_slot(const struct emitter *e) { return e->n_slots; }
static inline uint32_t vmctx_slot(const struct emitter *e) { return e->n_slots + 1; }

static inline uint32_t target_of(const struct emitter *e, uint32_t i) { return i + e->insns[i].c; }

static inline void store_gas(struct emitter *e) { x86_rm(e->x, W64, 0x89, FIXED_GAS, FIXED_STORE, 0); }
static inline void load_gas(struct emitter *e) { x86_rm(e->x, W64, 0x8b, FIXED_GAS, FIXED_STORE, 0); }

/* --- registers and slots; offsets are bytes of the frame, letters those of signatures ---------------------------- */

void emitter_store_slot(struct emitter *e, int r, uint32_t slot);
void emitter_load_slot(struct emitter *e, int r, uint32_t slot, char letter);
/* The register that holds the operand, of the letter's kind; loaded if it has to be. */
int emitter_use(struct emitter *e, uint32_t offset, char letter);
/* In whatever register it is, or can be loaded to. */
int emitter_use_any(struct emitter *e, uint32_t offset);
int emitter_use_base(struct emitter *e); /* of memory 0 */
int emitter_use_vmctx(struct emitter *e);
/* Operands are read once. */
void emitter_done_with(struct emitter *e, uint32_t offset);
/* The register for a result; once it is there, emitter_finish. */
int emitter_define(struct emitter *e, uint32_t offset, char letter);
void emitter_finish(struct emitter *e, int r);
/* Bits as they are, from one kind of register to another, or the same. */
void emitter_move_any(struct emitter *e, int to, int from);
void emitter_write_all_back(struct emitter *e);
void emitter_free_register(struct emitter *e, int r);
void emitter_bind_pinned(struct emitter *e, int r);
/* All slots right, all pinned registers loaded: as it is at branches. */
void emitter_settle(struct emitter *e);
void emitter_forget(struct emitter *e, uint32_t set);
/* Behind handlers and calls. */
void emitter_forget_all(struct emitter *e);

/* --- the rest ---------------------------------------------------------------------------------------------------- */

/* Finds what is made of each instruction, where branches lead, and which locals get a register for the whole function. */
void emitter_look_ahead(struct emitter *e);

/* Instructions that make values, or branch on them. */
void emitter_value(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k);

/* Those of vectors. */
void emitter_vector(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k);
/* Checks the access whose index is in *index, where no guard does. What is accessed is [base of memory 0 + *index + *disp]. */
void emitter_check(struct emitter *e, uint64_t offset, uint8_t size, int *index, int32_t *disp);

/* The register from which the cell of p's global is *disp away: the vmctx where it is the instance's own, else rax. */
int emitter_global_at(struct emitter *e, const struct precise_insn *p, int32_t *disp);

/* The instruction's own handler. */
void emitter_run_handler(struct emitter *e);
/* What is put behind the function's code, for what jumps at `from`. */
struct cold *emitter_add_cold(struct emitter *e, enum cold_kind kind, uint32_t from);
/* What an address relative to rip at `from` leads to. */
void emitter_add_constant(struct emitter *e, uint32_t from, enum vector_constant which);
void emitter_vector_constant(const struct precise_insn *p, enum vector_constant which, uint8_t out[16]);
/* The slot is to be made right there first. */
void emitter_save(struct emitter *e, struct cold *c, uint32_t slot, int r);
/* Traps by the handler where `from` jumps: it does what it does for the operands, which are put where it looks. */
struct cold *emitter_trap_from(struct emitter *e, uint32_t from, uint32_t offset, int r);
/* The distance at `at` leads to an instruction. */
void emitter_jump_to_insn(struct emitter *e, uint32_t at, uint32_t insn);

#endif
