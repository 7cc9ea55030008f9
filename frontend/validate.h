/* Private to the validator (validate*.c). */
#ifndef FRONTEND_VALIDATE_H
#define FRONTEND_VALIDATE_H

#include "frontend/instruction.h"
#include "frontend/limit.h"

/* One entry of the control stack (spec, appendix "Validation Algorithm"). */
struct frame {
  struct func_type type;
  val_type single; /* storage of the result where the block's type has no index; read through frame_results */
  uint32_t height; /* of the operand stack at its start, parameters below it not counted */
  uint32_t n_sets; /* of the validator at its start */
  uint8_t opcode;  /* OP_BLOCK, OP_LOOP, OP_IF, OP_ELSE, OP_TRY_TABLE, OP_TRY, OP_CATCH, OP_CATCH_ALL;
                      OP_BLOCK for the function itself */
  bool is_unreachable;
};

/* Validates function bodies one after the other; the stacks are kept. */
struct validator {
  struct module *m;
  struct gw_error *err;
  struct reader r;
  struct instruction in;
  uint32_t func; /* being validated; GW_NO_FUNC outside of bodies */
  bool failed;

  val_type *stack;
  uint32_t n_stack, stack_capacity, max_stack;
  struct frame *frames;
  uint32_t n_frames, frames_capacity;

  /* Types of the first n_locals locals; those behind are found in run_ends by binary search, so that a declaration of
   * 50,000 locals in six bytes costs nothing. */
  val_type *locals;
  uint32_t n_locals, locals_capacity;
  uint32_t *run_ends; /* per run: the index just behind its last local */
  uint32_t runs_capacity;
  uint32_t n_calls;
  uint32_t n_tries, max_tries; /* legacy tries around the instruction, their catch bodies included */
  /* Locals without a default value that have been set: a mark for each, and their list, shortened at the end of blocks. */
  uint32_t *is_set, *sets;
  uint32_t n_sets, is_set_capacity, sets_capacity;
  bool has_throw, has_rethrow;
  uint64_t n_type_moves; /* see LIMIT_TYPE_MOVES */
};

/* Records "message in function NAME (at byte ...)" and makes the validator fail; always returns false. */
bool validator_fail(struct validator *v, enum gw_error_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Frees its stacks. */
void validator_clear(struct validator *v);

/* The function type with this index, or NULL after "unknown type". */
const struct func_type *validator_func_type(struct validator *v, uint32_t index);

/* Refuses `f` when it is off. */
bool validator_need(struct validator *v, enum feature f, const char *what);

/* Operands and blocks (validate_stack.c). */
void validator_grow_stack(struct validator *v);
val_type validator_pop(struct validator *v);                    /* any type; VAL_BOT where code is unreachable */
val_type validator_pop_expect(struct validator *v, val_type t); /* that type */
bool validator_count_moves(struct validator *v, uint32_t n);    /* false when the module has moved more types than it may */
void validator_push_list(struct validator *v, uint32_t n, const val_type *types);
void validator_pop_list(struct validator *v, uint32_t n, const val_type *types);
void validator_push_frame(struct validator *v, enum op op, struct func_type type, val_type single);
struct frame validator_pop_frame(struct validator *v);
void validator_set_unreachable(struct validator *v);
const val_type *validator_frame_results(const struct frame *f);

static inline void push(struct validator *v, val_type t) {
  if (v->n_stack == v->stack_capacity) validator_grow_stack(v);
  v->stack[v->n_stack++] = t;
  if (v->n_stack > v->max_stack) v->max_stack = v->n_stack;
}

static inline struct frame *top_frame(struct validator *v) { return &v->frames[v->n_frames - 1]; }

/* Type of a local, or VAL_BOT after "unknown local". */
val_type validator_find_local(struct validator *v, uint32_t index);

static inline val_type local_type(struct validator *v, uint32_t index) {
  return index < v->n_locals ? v->locals[index] : validator_find_local(v, index);
}

/* What a branch to this label takes; false after "unknown label". */
bool validator_find_label(struct validator *v, uint32_t label, uint32_t *n, const val_type **types);
void validator_apply_call(struct validator *v, const struct func_type *type, bool is_tail);

/* Typed references (validate_reference.c). */
bool validate_sub_types(struct validator *v);
bool validator_check_type(struct validator *v, val_type t); /* "unknown type" */
bool validate_reference(struct validator *v);               /* false: not one of its instructions */
void validator_note_local_set(struct validator *v, uint32_t index);
bool validator_check_local_set(struct validator *v, uint32_t index); /* "uninitialized local" */
void validator_forget_local_sets(struct validator *v, uint32_t n);   /* all but the first n */

static inline bool has_default(val_type t) { return val_kind(t) != VAL_REF || val_is_nullable(t); }

/* Instructions whose signature is not in the table (validate_special.c). */
void validate_special(struct validator *v);
/* Pops the parameters of the block of v->in and opens its frame. */
void validator_open_block(struct validator *v);

/* Exceptions, in both forms (validate_exception.c); false when the instruction is none of them. */
bool validate_exception(struct validator *v);

/* Checks a function defined here and fills its max_stack and n_calls (validate_body.c). */
bool validate_body(struct validator *v, uint32_t func);

/* A constant expression of type `type` that may read the first n_globals globals. */
bool validate_const_expr(struct validator *v, const struct const_expr *expr, val_type type, uint32_t n_globals);

#endif
