/* What passes over IR ask of its values. */
#ifndef FRONTEND_LOWER_VALUES_H
#define FRONTEND_LOWER_VALUES_H

#include "base/index_map.h"

#include <llvm-c/Core.h>
#include <llvm-c/Target.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A set of instructions that also is a worklist. All zero is an empty set. */
struct value_set {
  struct index_map members;
  LLVMValueRef *list;
  size_t capacity, n, at;
};

/* What is not an instruction is left out. */
void value_set_add(struct value_set *s, LLVMValueRef v);
bool value_set_has(const struct value_set *s, LLVMValueRef v);
/* In constant time. */
void value_set_empty(struct value_set *s);
void value_set_free(struct value_set *s);

/* Nothing but accesses to guest memory is aligned so: that is how passes know them. */
enum { VALUE_GUEST_ALIGNMENT = 1 };
/* A load or store of a guest's memory, which may fault. */
bool value_is_guest_access(LLVMValueRef v);
bool value_is_guest_load(LLVMValueRef v);
bool value_is_guest_store(LLVMValueRef v);
/* A store, a result, or a call of a function: no intrinsic, and no branch, for arms that do the same are merged, and the branch
 * goes. */
bool value_has_effect(LLVMValueRef v);
/* Also the `or` that LLVM makes of an addition which only sets bits. */
bool value_is_addition(LLVMValueRef v);
/* An address and one index, in bytes. */
bool value_is_byte_gep(LLVMValueRef v);
/* The NaN of operations, by width. */
#define VALUE_NAN_F32 UINT64_C(0x7fc00000)
#define VALUE_NAN_F64 UINT64_C(0x7ff8000000000000)
/* Of a vector's lanes; other types are their own. */
LLVMTypeRef value_lane_type(LLVMTypeRef type);
/* i1, or a vector of them. */
bool value_is_boolean(LLVMTypeRef type);
/* What inline assembly says of a register for such a value, or NULL: none holds it. */
const char *value_constraint(LLVMTargetDataRef layout, LLVMTypeRef type);
/* The same value, of which LLVM knows nothing, through an empty piece of inline assembly where the builder stands. It costs no
 * instruction, but wants `v` there, in a register (value_constraint). */
LLVMValueRef value_hide(LLVMBuilderRef builder, LLVMTargetDataRef layout, LLVMValueRef v);
bool value_is_hidden(LLVMValueRef v);
/* Whether `user`, if something needs it in full, needs its operand `v` so. Selects do not, nor what LLVM may make one of. */
bool value_needs(LLVMValueRef user, LLVMValueRef v);

#endif
