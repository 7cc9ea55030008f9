/* A decoded module. Built by module_decode, checked by module_validate, then read-only and free to share between threads.
 * Everything hangs on the module's arena and points into the caller's bytes where that saves a copy. */
#ifndef FRONTEND_MODULE_H
#define FRONTEND_MODULE_H

#include "abi/abi.h"
#include "base/arena.h"
#include "gasworks/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A value type in one word, so that types compare with ==.
 * bits 0-7 enum val_kind; for VAL_REF: bit 8 nullable, bits 9-31 heap type (a type index, or HEAP_* from the top). */
typedef uint32_t val_type;

enum val_kind { VAL_BOT, VAL_I32, VAL_I64, VAL_F32, VAL_F64, VAL_V128, VAL_REF };

enum {
  HEAP_FIRST = 0x7fffe0,
  HEAP_FUNC = HEAP_FIRST,
  HEAP_EXTERN,
  HEAP_ANY,
  HEAP_EQ,
  HEAP_I31,
  HEAP_STRUCT,
  HEAP_ARRAY,
  HEAP_EXN,
  HEAP_NONE,
  HEAP_NOFUNC,
  HEAP_NOEXTERN,
  HEAP_NOEXN,
  HEAP_BOT, /* of references that unreachable code yields: matches all; in no module */
};

#define REF_TYPE(nullable, heap) ((val_type)(VAL_REF | ((nullable) ? 0x100u : 0u) | ((uint32_t)(heap) << 9)))
#define TYPE_FUNCREF REF_TYPE(true, HEAP_FUNC)
#define TYPE_EXTERNREF REF_TYPE(true, HEAP_EXTERN)

static inline enum val_kind val_kind(val_type t) { return (enum val_kind)(t & 0xff); }
static inline bool val_is_nullable(val_type t) { return t & 0x100; }
static inline uint32_t val_heap(val_type t) { return t >> 9; }

struct func_type {
  uint32_t n_params, n_results;
  const val_type *params, *results;
};

enum comp_kind { COMP_FUNC, COMP_STRUCT, COMP_ARRAY };

/* One entry of the type index space. */
struct type_def {
  enum comp_kind kind;
  bool is_final;
  uint32_t super;          /* type index, or NO_INDEX */
  uint32_t place;          /* byte in the module where it begins */
  uint32_t depth;          /* number of types above it, filled by validation */
  uint32_t group;          /* index of the first type of its recursive group */
  uint32_t group_size;     /* number of types in it */
  uint32_t canonical;      /* process-wide id: equal exactly when the types are (frontend/types.h) */
  struct type_group *held; /* by a group's first type */
  struct func_type func;   /* COMP_FUNC */
};

#define NO_INDEX UINT32_MAX

struct limits {
  uint64_t min, max; /* max is UINT64_MAX when absent */
  bool has_max, is_shared, is_64;
  uint8_t page_size_log2; /* memories: 16 unless custom */
  uint32_t place;         /* byte offset in the module, for messages */
};

struct table_type {
  val_type elem;
  struct limits limits;
};

struct memory_type {
  struct limits limits;
};

struct global_type {
  val_type type;
  bool is_mutable;
};

struct name {
  const char *bytes; /* UTF-8, may hold NUL */
  uint32_t size;
};

/* A constant expression: bytes up to and with its `end`, checked by validation, evaluated at instantiation. */
struct const_expr {
  const uint8_t *bytes; /* NULL: none */
  uint32_t size;
};

enum extern_kind { EXTERN_FUNC, EXTERN_TABLE, EXTERN_MEMORY, EXTERN_GLOBAL, EXTERN_TAG };

struct import {
  struct name module, field;
  enum extern_kind kind;
  uint32_t index;  /* in its index space */
  uint64_t offset; /* byte offset in the module, for messages */
};

struct export {
  struct name name;
  enum extern_kind kind;
  uint32_t index;
};

struct local_run {
  uint32_t count;
  val_type type;
};

/* One entry of the function index space; imported ones have no body. */
struct func {
  uint32_t type;       /* type index */
  uint32_t import;     /* index into imports, or NO_INDEX */
  const uint8_t *body; /* first instruction, behind the local declarations */
  const uint8_t *end;  /* just behind the final `end` */
  const struct local_run *runs;
  uint32_t n_runs;
  uint32_t n_locals;  /* declared locals, without the parameters */
  uint32_t max_stack; /* greatest operand stack height, and slots for what legacy catch bodies hold; filled by validation */
  uint32_t n_calls;   /* call instructions of any kind in the body, filled by validation; 0: a leaf */
  bool is_declared;   /* may be the operand of ref.func */
  bool has_throw;     /* some throw in the body, filled by validation */
  bool has_rethrow;   /* a legacy rethrow, likewise: what the function catches must be kept */
  struct name name;   /* from the name section; size 0 without one */
};

struct global {
  struct global_type type;
  uint32_t import; /* NO_INDEX: defined here */
  struct const_expr init;
};

struct table {
  struct table_type type;
  uint32_t import;
  struct const_expr init; /* absent: null */
};

struct memory {
  struct memory_type type;
  uint32_t import;
};

struct tag {
  uint32_t type;
  uint32_t import;
};

enum segment_mode { SEGMENT_ACTIVE, SEGMENT_PASSIVE, SEGMENT_DECLARATIVE };

struct elem_segment {
  enum segment_mode mode;
  uint32_t place; /* byte offset in the module, for messages */
  uint32_t table;
  struct const_expr offset;
  val_type type;
  uint32_t n;
  const uint32_t *funcs;          /* n function indices, or */
  const struct const_expr *exprs; /* n expressions; the other is NULL */
};

struct data_segment {
  enum segment_mode mode;
  uint32_t memory;
  struct const_expr offset;
  const uint8_t *bytes;
  uint32_t size;
};

/* What compiled functions that call one another must agree on; those of one store do (runtime/instance.c). */
enum {
  DIALECT_EXCEPTIONS = 1, /* callers look for an exception: some module has a tag or an instruction about exceptions */
  DIALECT_TAIL_CALLS = 2, /* the calling convention guarantees tail calls, which costs every call something */
  N_DIALECTS = 4,
};

/* Every count covers imports too, imports first. */
struct module {
  struct arena arena;
  const uint8_t *bytes; /* the caller's; must outlive the module */
  size_t size;

  struct type_def *types;
  struct import *imports;
  struct func *funcs;
  struct table *tables;
  struct memory *memories;
  struct global *globals;
  struct tag *tags;
  struct export *exports;
  struct elem_segment *elems;
  struct data_segment *datas;
  uint32_t n_types, n_imports, n_funcs, n_tables, n_memories, n_globals, n_tags, n_exports, n_elems, n_datas;
  uint32_t n_imported_funcs, n_imported_tables, n_imported_memories, n_imported_globals, n_imported_tags;
  uint32_t start;                        /* function index, or NO_INDEX */
  uint32_t start_place;                  /* byte offset in the module, for messages */
  uint32_t data_count;                   /* of the data count section, or NO_INDEX */
  struct name name;                      /* from the name section */
  size_t code_size;                      /* bytes of the code section */
  uint32_t dialect;                      /* DIALECT_* that its code must be in; filled by validation */
  const struct export **exports_by_name; /* sorted, n_exports of them; filled by validation */
};

/* Decodes `size` bytes into `*m`. On failure `*m` is cleared and `err` says what and where. Thread-safe. */
bool module_decode(struct module *m, const uint8_t *bytes, size_t size, struct gw_error *err);

/* Checks every rule of the specification's validation chapter; fills max_stack, n_calls and is_declared. Must have
 * succeeded before the module is lowered or instantiated. Not for two threads at once on one module. */
bool module_validate(struct module *m, struct gw_error *err);

/* What the validation of a body finds out besides that it is valid; kept in artifacts (jit/artifact/artifact.h). */
struct body_facts {
  uint32_t max_stack, n_calls;
  uint8_t has_throw, has_rethrow, reserved[2];
};

/* facts[0..n_funcs) of a valid module; zero for imported functions. */
void module_get_facts(const struct module *m, struct body_facts *facts);

/* In place of module_validate for a module whose bodies were found valid before, with these facts: checks the rest. */
bool module_validate_with(struct module *m, const struct body_facts *facts, uint32_t dialect, struct gw_error *err);

/* Types of the operands right before the instruction at `offset` of the module, in function `func` of a valid module: fills
 * types[0..most) from the bottom of the stack, returns how many there are. Validates the body up to there. */
uint32_t module_operand_types(const struct module *m, uint32_t func, uint64_t offset, val_type *types, uint32_t most);

void module_clear(struct module *m);

/* Numbers of the runtime layout that compiled code and instances share. */
struct vmctx_counts module_vmctx_counts(const struct module *m);

/* Deterministic frame cost of a function in bytes of the logical stack: from the Wasm alone, the same on every tier. */
uint32_t func_frame_cost(const struct module *m, uint32_t func);

/* What a call of it takes of the logical stack. A leaf whose frame costs no more than FREE_LEAF takes nothing: only one can be
 * there at a time, and both tiers have room for it below the deepest frame. */
enum { FREE_LEAF = 1024 };
uint32_t func_depth_cost(const struct module *m, uint32_t func);

/* The function's name for messages: from the name section, its export, or "func[N]". Writes at most `size` bytes with NUL. */
const char *func_display_name(const struct module *m, uint32_t func, char *out, size_t size);

/* The export called `name`, or NULL. */
const struct export *module_find_export(const struct module *m, const char *name, size_t size);

#endif
