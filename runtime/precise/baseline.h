/* The baseline tier: machine code of translated functions (essay in runtime/precise/baseline.c). */
#ifndef RUNTIME_PRECISE_BASELINE_H
#define RUNTIME_PRECISE_BASELINE_H

#include "runtime/precise/private.h"
#include "runtime/precise/x86.h"

/* Code that all functions of a module share. */
enum baseline_stub {
  STUB_CHARGE,                 /* called behind a charge that the counter did not cover */
  STUB_ACCESS,                 /* called with rax = address + size, by size: + 0 to 4 for 1 to 16 bytes */
  STUB_CALL = STUB_ACCESS + 5, /* the interpreter's call, of the instruction 24 bytes before r12 */
  STUB_LEAVE,                  /* goes on at r12, in the frame that has been made current, whose instance may be another */
  N_STUBS
};

struct baseline_mark {
  uint32_t offset, insn;
};

/* What was made of a function. Kept from one function to the next, so that its arrays are not allocated each time. */
struct baseline_output {
  struct x86 code;
  uint32_t fast; /* where compiled callers enter */
  uint32_t n_insns, insns_capacity;
  uint32_t *starts;                      /* [n_insns]: where each instruction's code begins */
  const struct baseline_entry **entries; /* [n_insns]: what is made of each */
  uint32_t hot_end;
  struct baseline_mark *marks; /* behind hot_end, ascending: which instruction what follows belongs to */
  uint32_t n_marks, marks_capacity;
  uint32_t *cells; /* where addresses stand, as offsets so far */
  uint32_t n_cells, cells_capacity;
  struct baseline_mark *stubs; /* distances to stubs: `insn` is the stub */
  uint32_t n_stubs, stubs_capacity;
  /* While a function is emitted. */
  uint8_t *scratch;
  size_t scratch_capacity;
  struct cold *colds;
  struct jump *jumps;
  struct saved *saved;
  int32_t *nesting; /* [n_insns + 1] */
  uint32_t *uses;   /* by slot */
  uint32_t colds_capacity, jumps_capacity, saved_capacity, uses_capacity;
};

void baseline_output_clear(struct baseline_output *out);

/* Makes code of n instructions. `func` has its frame laid out. False: it must stay interpreted. Missing memory ends the process
 * (base/heap.h). */
bool baseline_emit(struct baseline_output *out, const struct precise_func *func, const struct precise_insn *insns, uint32_t n);

/* How an instruction is made into machine code. */
enum baseline_kind {
  BASELINE_HANDLER, /* the interpreter's handler does it */
  BASELINE_BIN,     /* detail: opcode of "op r, r/m" */
  BASELINE_SHIFT,   /* detail: as x86_shift */
  BASELINE_ICMP,    /* detail: condition */
  BASELINE_EQZ,
  BASELINE_DIV,      /* detail: 0 div, 1 rem; | 2: signed */
  BASELINE_BITCOUNT, /* detail: 0 leading, 1 trailing */
  BASELINE_POPCOUNT,
  BASELINE_EXTEND, /* detail: bits */
  BASELINE_WRAP,
  BASELINE_EXTEND_SIGNED,
  BASELINE_EXTEND_UNSIGNED,
  BASELINE_FROM_SIGNED,
  BASELINE_FROM_UNSIGNED,
  BASELINE_BITS,
  BASELINE_FBIN,    /* detail: opcode */
  BASELINE_FMINMAX, /* detail: opcode */
  BASELINE_COPYSIGN,
  BASELINE_FCMP,  /* detail: enum baseline_relation */
  BASELINE_ROUND, /* detail: mode of roundss */
  BASELINE_SQRT,
  BASELINE_FABS,
  BASELINE_FNEG,
  BASELINE_DEMOTE,
  BASELINE_PROMOTE,
  BASELINE_TRUNC, /* detail: 0 to i32, 1 to u32 */
  BASELINE_TRUNC_LONG,
  BASELINE_TRUNC_SAT, /* detail: as of TRUNC */
  BASELINE_TRUNC_SAT_LONG,
  BASELINE_LOAD, /* detail: enum baseline_access */
  BASELINE_STORE,
  /* Of vectors; flags: enum vector_flags. */
  BASELINE_VECTOR_TWO,   /* detail: opcode, as in what follows where nothing else is said */
  BASELINE_VECTOR_ORDER, /* detail: of the lesser or the greater; flags >> VECTOR_LANES: log of a lane's bytes */
  BASELINE_VECTOR_SELECT,
  BASELINE_VECTOR_SHIFT, /* flags: greatest distance */
  BASELINE_VECTOR_ONE,
  BASELINE_VECTOR_NOT,
  BASELINE_VECTOR_NEGATIVE, /* detail: of the difference */
  BASELINE_VECTOR_TEST,     /* detail: of equality; 0: whether any bit is set */
  BASELINE_VECTOR_BITMASK,  /* flags: whether lanes are words */
  BASELINE_VECTOR_FLOAT,
  BASELINE_VECTOR_FCMP, /* detail: predicate of cmpps */
  BASELINE_VECTOR_FNEG,
  BASELINE_VECTOR_FONE, /* of one operand; flags >> VECTOR_LANES: 1 + mode of roundps, or 0 */
  BASELINE_VECTOR_FABS,
  BASELINE_VECTOR_SHUFFLE,
  BASELINE_VECTOR_SWIZZLE,
  BASELINE_VECTOR_SPLAT,   /* detail: bytes of a lane */
  BASELINE_VECTOR_EXTRACT, /* flags: bytes of a lane */
  BASELINE_VECTOR_REPLACE, /* likewise */
  BASELINE_VECTOR_LOAD,
  BASELINE_VECTOR_LOAD_SPLAT, /* detail: of what loads a lane */
  BASELINE_VECTOR_STORE,
  BASELINE_VECTOR_CONSTANT,
  BASELINE_VECTOR_COPY,
  BASELINE_VECTOR_GLOBAL_GET,
  BASELINE_VECTOR_GLOBAL_SET,
  BASELINE_VECTOR_CHOICE,
  /* Of the interpreter's own instructions. */
  BASELINE_CHARGE,
  BASELINE_CONSTANT,
  BASELINE_COPY,
  BASELINE_SELECT,
  BASELINE_BRANCH,
  BASELINE_BRANCH_IF, /* detail: condition under which it is taken, of a test of the operand's 32 bits; | 16: of 64 */
  BASELINE_BRANCH_TABLE,
  BASELINE_FINISH,
  BASELINE_FINISH_ONE,
  BASELINE_LEAVE, /* by a handler that does not come back here */
  BASELINE_CALL,
  BASELINE_CALL_REF,
  BASELINE_CALL_HANDLER,
  BASELINE_TABLE_GET, /* detail: whether it is for a call, and so not null */
  BASELINE_CHECK_TYPE,
  BASELINE_NON_NULL,
  BASELINE_REF_FUNC,
  BASELINE_THROW,
  BASELINE_GLOBAL_GET,
  BASELINE_GLOBAL_SET,
  BASELINE_ON_EXCEPTION,
  BASELINE_CLAUSE_TAG,
};

enum baseline_form { FORM_PLAIN, FORM_CONSTANT, FORM_BRANCH, FORM_CONSTANT_BRANCH };

enum baseline_relation { RELATION_OEQ, RELATION_UNE, RELATION_OLT, RELATION_OGT, RELATION_OLE, RELATION_OGE };

enum vector_flags {
  VECTOR_SWAPPED = 1, /* operands */
  VECTOR_NEGATED = 2, /* result */
  VECTOR_WIDE = 4,    /* lanes of 64 bits */
  VECTOR_HIGH = 8,    /* of the operand, the upper half */
  VECTOR_LANES = 4,   /* see BASELINE_VECTOR_ORDER */
};

struct baseline_row {
  uint8_t kind;
  uint32_t detail;
  uint8_t flags;
  const char *name; /* of a vector function, with its shape: see baseline_rows.c; or NULL */
};

/* Of one handler. */
struct baseline_entry {
  precise_handler *run;
  uint8_t kind, form;
  bool is_unless;       /* FORM_BRANCH: jumps where the comparison is false */
  char result, operand; /* letters of the signature: i I f F */
  uint32_t detail;
  uint8_t size; /* of an access, in bytes */
  uint8_t flags;
};

/* Before the first baseline_find. Thread-safe. */
void baseline_rows_init(void);
/* The entry for a handler; BASELINE_HANDLER for what has none of its own. */
const struct baseline_entry *baseline_find(precise_handler *run);

#endif
