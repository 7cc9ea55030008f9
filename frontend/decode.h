/* Private to the decoder (decode*.c). */
#ifndef FRONTEND_DECODE_H
#define FRONTEND_DECODE_H

#include "frontend/instruction.h"
#include "frontend/limit.h"

/* Decoding knows every feature; the first one met that is off is noted, and refused at the end, when the module has
 * turned out to be well-formed. */
struct decoder {
  struct module *m;
  struct gw_error *err;
  enum feature refused; /* FEATURE_COUNT: none */
  uint64_t refused_at;
  uint32_t n_bodies;       /* entries of the code section */
  uint32_t n_type_slots;   /* room in m->types */
  uint32_t n_elem_entries; /* of all element segments */
  const uint8_t *names;    /* contents of the name section, or NULL */
  const uint8_t *names_end;
};

/* Notes that the module needs `f`, seen at `at`. */
void decode_need(struct decoder *d, struct reader *r, const uint8_t *at, enum feature f);

/* A vector's length: bounded by the limit less `used`, and by the bytes left, each item taking `item_size` at least. */
uint32_t read_count(struct reader *r, enum limit limit, uint32_t used, uint32_t item_size);
void read_name(struct reader *r, struct name *name);
val_type decode_val_type(struct decoder *d, struct reader *r);
val_type decode_ref_type(struct decoder *d, struct reader *r);
void decode_limits(struct decoder *d, struct reader *r, struct limits *limits, bool is_memory);
void decode_table_type(struct decoder *d, struct reader *r, struct table_type *t);
void decode_global_type(struct decoder *d, struct reader *r, struct global_type *t);
void read_const_expr(struct reader *r, struct const_expr *expr);

/* The sections. Each reads its whole contents; the caller checks that nothing is left. */
void decode_types(struct decoder *d, struct reader *r);
void decode_imports(struct decoder *d, struct reader *r);
void decode_funcs(struct decoder *d, struct reader *r);
void decode_tables(struct decoder *d, struct reader *r);
void decode_memories(struct decoder *d, struct reader *r);
void decode_tags(struct decoder *d, struct reader *r);
void decode_globals(struct decoder *d, struct reader *r);
void decode_exports(struct decoder *d, struct reader *r);
void decode_start(struct decoder *d, struct reader *r);
void decode_elems(struct decoder *d, struct reader *r);
void decode_data_count(struct decoder *d, struct reader *r);
void decode_code(struct decoder *d, struct reader *r);
void decode_datas(struct decoder *d, struct reader *r);

/* The name section; what is malformed in it is ignored. */
void decode_names(struct decoder *d);

#endif
