/* One decoded instruction: what validation, lowering, the interpreter and the disassembler all read. */
#ifndef FRONTEND_INSTRUCTION_H
#define FRONTEND_INSTRUCTION_H

#include "frontend/module.h"
#include "frontend/opcode.h"
#include "frontend/reader.h"

/* Which fields count follows from op_table[op].immediate. */
struct instruction {
  enum op op;
  uint64_t offset; /* byte offset in the module */
  uint32_t index;  /* label, function, type, tag, local, global, table, memory, segment: the first index */
  uint32_t index2; /* the second one: call_indirect {type, table}, copies {dst, src}, inits {segment, memory or table},
                      br_on_cast: the val_type cast to */
  struct {
    uint32_t align; /* log2 */
    uint32_t memory;
    uint64_t offset;
  } mem;
  union {
    int64_t i64;         /* i32.const (sign-extended) and i64.const */
    uint64_t bits;       /* f32.const, f64.const */
    const uint8_t *v128; /* v128.const, shuffle: 16 bytes in the module */
  } value;
  uint8_t lane;
  struct {
    bool has_index;  /* the block's type is types[index] */
    val_type result; /* otherwise: VAL_BOT for none, or one result */
  } block;
  val_type type;       /* ref.null, select t: the first type, br_on_cast: the type cast from */
  const uint8_t *list; /* br_table: labels as LEB128 in the module; `count` of them and then the default; try_table: catches */
  uint32_t count;      /* of the list; of select t's types */
};

/* Kinds of a try_table's clauses, as encoded. Those with a tag have its index before the label. */
enum { CATCH_TAG, CATCH_TAG_REF, CATCH_EVERY, CATCH_EVERY_REF };

/* Reads one instruction. Returns false (and r->failed is set) when malformed. The labels of a br_table are read with
 * read_u32 from a reader at `list`. Type indices are not checked here. */
bool instruction_read(struct reader *r, struct instruction *in);

/* Types in the binary format. Type indices are not checked. On failure r->failed is set and the result is VAL_BOT. */
val_type read_val_type(struct reader *r);
val_type read_ref_type(struct reader *r);
/* A heap type as the nullable reference to it. */
val_type read_heap_type(struct reader *r);

/* The feature that brought a type. */
enum feature val_type_feature(val_type t);

/* The function type of a block: params and results. `*storage` holds the single result where there is no type index. */
struct func_type block_func_type(const struct module *m, const struct instruction *in, val_type *storage);

#endif
