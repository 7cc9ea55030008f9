/* A stopped guest as text, for `run --trace`, `run --until-gas` and `debug`. */
#ifndef CLI_VIEW_H
#define CLI_VIEW_H

#include "base/buffer.h"
#include "frontend/instruction.h"
#include "frontend/module.h"
#include "runtime/precise/precise.h"

/* The function's name; the text lives in `out`. */
const char *view_function(const struct precise_place *place, char *out, size_t size);

/* The instruction at a place; false when the offset is none. */
bool view_read(const struct precise_place *place, struct instruction *in);

/* Each appends lines: "FUNCTION at byte 0xOFFSET: INSTRUCTION"; what locals and operands hold; the memory that the instruction is
 * about to touch, if it touches any; the calls outwards, from frame 0; instructions around the next one. */
void view_place(const struct precise_place *place, struct buffer *out);
void view_locals(const struct precise_view *view, struct buffer *out);
void view_operands(const struct precise_view *view, struct buffer *out);
void view_memory_access(const struct precise_view *view, struct buffer *out);
void view_calls(const struct gw_store *store, struct buffer *out);
void view_listing(const struct precise_place *place, uint32_t around, struct buffer *out);

/* `size` bytes of memory 0 from `address` on, sixteen a line, what is there of them. */
void view_memory(struct gw_instance *instance, uint64_t address, uint64_t size, struct buffer *out);

/* Values as "1, 2.5", of `n` types. */
void view_values(const union gw_value *values, const val_type *types, uint32_t n, struct buffer *out);

#endif
