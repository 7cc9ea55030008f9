/* What meets a loop's loads, hidden from LLVM: a value that turns out to be 0 could make a load needless. */
#ifndef JIT_ACCESS_HIDE_H
#define JIT_ACCESS_HIDE_H

#include "frontend/lower/values.h"

#include <llvm-c/Target.h>

enum { HIDDEN_DEPTH = 10 };

struct hidden_use {
  LLVMValueRef user;
  unsigned operand;
};

/* What a load reads in each round of a loop: the same if both numbers are. */
struct hidden_place {
  uint64_t sum;
  int64_t offset;
  bool is_vague;
};

/* Whether a load reads what a store of the same round writes. HIDDEN_FAR: at most in some of the rounds; HIDDEN_OUTSIDE: if what
 * comes from outside of the loop makes it so. */
enum hidden_relation { HIDDEN_APART, HIDDEN_SAME, HIDDEN_FAR, HIDDEN_OUTSIDE };

struct hidden {
  LLVMBuilderRef builder;
  LLVMTargetDataRef layout;
  size_t *steps_left;
  struct hidden_place (*place_of)(void *env, LLVMValueRef load);
  bool (*may_be_stored)(void *env, LLVMValueRef load); /* by this function, so that LLVM may know it once all is unrolled */
  enum hidden_relation (*relation)(void *env, LLVMValueRef load, LLVMValueRef store);
  void *env;
  struct value_set loop;  /* ends of the blocks of the loop at hand */
  struct value_set seen;  /* of one question */
  struct value_set kept;  /* its phis whose values are wanted behind it */
  struct value_set bases; /* from outside, to be hidden from all of the loop */
  LLVMValueRef path[HIDDEN_DEPTH];
  bool is_strict; /* a sum is known in part if one of its terms is */
  bool is_short;
  uint64_t
      no_number_bits; /* of the largest constant that the function stores and that is no finite float; smaller loads may be it */
  bool is_parted;     /* something lies between its stores and those behind it */
  LLVMBasicBlockRef before; /* whence control comes into the loop; NULL: from several blocks */
  struct hidden_use *uses;
  size_t n_uses, capacity;
};

/* Whether LLVM may unroll the loop with these `n` blocks as a whole: it goes round a constant number of times, and not many. */
bool hidden_is_short(LLVMValueRef *ends, size_t n);

/* Before the function's loops. */
void hidden_enter_function(struct hidden *h, LLVMValueRef function);
/* Takes the loop with these `n` blocks. */
void hidden_enter(struct hidden *h, LLVMValueRef *ends, size_t n);
/* Whether what LLVM may learn about the other operands of `user` cannot make `v`, which is read from memory, needless. What must
 * be hidden for that is remembered. */
bool hidden_can_keep(struct hidden *h, LLVMValueRef user, LLVMValueRef v);
/* The same for a phi that takes `v` round the loop, and for what comes behind the loop. */
bool hidden_can_keep_round(struct hidden *h, LLVMValueRef phi, LLVMValueRef v);
/* Whether LLVM may find out that `store` writes back what is there, so that nobody needs what it stores. What must be hidden so
 * that it does not is remembered. */
bool hidden_may_put_back(struct hidden *h, LLVMValueRef store);
/* Keeps stores behind the loop, which is short, from meeting those of its last round, which they may overwrite once all rounds
 * are seen. False: it cannot. */
bool hidden_can_part(struct hidden *h);
/* Hides what was remembered. */
void hidden_leave(struct hidden *h);
void hidden_free(struct hidden *h);

#endif
