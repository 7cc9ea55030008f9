/* One walk over a function's body: which constructs are around an instruction, whether it can be reached, and where gas blocks
 * begin. Everything that looks at valid code without translating it goes this way; it follows from the table's FLOW column.
 *
 * Gas blocks are the one partition of a body that every tier charges by (docs/gas.md section 2). A gas block starts at the
 * function's entry, at `loop`, behind the other instructions that the column says it of, and when it has GAS_BLOCK_MOST
 * instructions and the next one is no `loop`. It is charged the sum of its instructions' costs when it is entered. The
 * instruction behind which a block begins belongs to the block before; a loop's own cost belongs to the block that it starts, so
 * that every iteration pays for it. What cannot be reached is in no block. */
#ifndef FRONTEND_WALK_H
#define FRONTEND_WALK_H

#include "frontend/instruction.h"

#include "base/buffer.h"

/* So that what is paid in advance is little, and a check comes soon. */
enum { GAS_BLOCK_MOST = 4096 };

/* Points into itself: not to be copied. */
struct walk {
  struct instruction in;
  enum op opened_by; /* of what closes a construct: the instruction that opened it; else, and for the body's own `end`, OP_NOP */
  uint32_t depth;    /* constructs around it: those that it opens, splits or closes not counted */
  bool is_dead;      /* it cannot be reached */
  bool begins_block; /* it is the first of a gas block */

  /* Private. */
  const struct module *m;
  struct reader r;
  struct gw_error ignored; /* the body is valid */
  struct buffer opened;    /* struct walk_construct */
  uint32_t n_in_block;
  bool next_is_dead, next_begins_block;
};

/* Before the first instruction of a function that is defined in the module and valid. walk_end frees. */
void walk_begin(struct walk *w, const struct module *m, uint32_t func);
/* On to the next instruction; false behind the last. */
bool walk_next(struct walk *w);
void walk_end(struct walk *w);

/* The labels of an instruction that branches, in the order of its immediate. Of a try_table's clauses those behind one that
 * takes every exception are left out, as they take none. */
struct walk_labels { /* not to be copied either */
  struct reader r;
  struct gw_error ignored;
  uint32_t n_left;
  bool is_list, has_kinds;
  uint32_t label; /* the first one where it is no list */
};

void walk_labels(const struct walk *w, struct walk_labels *labels);
bool walk_next_label(struct walk_labels *labels, uint32_t *label);

#endif
