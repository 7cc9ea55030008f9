/* Memories, tables and globals: what instances of one store may share. All belong to the store. */
#ifndef RUNTIME_OBJECT_H
#define RUNTIME_OBJECT_H

#include "abi/abi.h"
#include "frontend/module.h"
#include "gasworks.h"
#include "runtime/blocks.h"
#include "runtime/dirty.h"

struct gw_memory {
  struct memory_ctx ctx;  /* first: compiled code sees this */
  struct gw_memory *next; /* of the store */
  struct gw_store *store;
  struct limits limits; /* as declared */
  uint64_t max_pages;   /* the lower of the declared maximum and the store's */
  uint64_t reserved;    /* bytes of address space at the base */
  uint64_t initial;     /* bytes that a reset goes back to */
  struct dirty_set dirty;
  struct block_set blocks; /* where slices are bounded by time */
};

struct gw_table {
  struct table_ctx ctx; /* first: compiled code sees this */
  struct gw_table *next;
  struct gw_store *store;
  struct table_type type;      /* as declared */
  const struct module *module; /* what type indices in it are of; NULL: the host's table */
  uint64_t max;
  uint64_t capacity; /* allocated entries */
  void *fill;        /* what it was filled with before segments were written */
  void **initial;    /* the first n_initial entries after instantiation, the rest being `fill`; NULL before */
  uint64_t n_initial;
};

struct gw_global {
  struct gw_store *store;
  struct global_type type;
  const struct module *module; /* as a table's */
  union gw_value *cell;
};

/* Two tags are the same exactly when they are one object. */
struct gw_tag {
  struct gw_store *store;
  uint32_t type_id;             /* canonical */
  const struct func_type *type; /* params; of the module that defined the tag */
};

/* What a memory reserves that is guarded instead of checked: every 32-bit index plus every 32-bit offset plus the widest access.
 */
#define MEMORY_RESERVED ((UINT64_C(8) << 30) + (64 << 10))

struct gw_memory *memory_create(struct gw_store *store, const struct memory_type *type, struct gw_error *err);
void memory_destroy(struct gw_memory *memory); /* not the struct, which lies in the store's arena */
uint64_t memory_pages(const struct gw_memory *memory);
/* Makes [offset, offset + size), which lies in the memory, accessible to whom no signal handler helps. False: the system refuses.
 */
bool memory_open(struct gw_memory *memory, uint64_t offset, uint64_t size);
/* The access to this address touched a closed block, which is open now. Safe in a signal handler. */
bool memory_touch(struct gw_memory *memory, const uint8_t *address);
/* Whether growing by `pages` is allowed at all. */
bool memory_can_grow(const struct gw_memory *memory, uint64_t pages);
/* False when the system refuses. */
bool memory_grow(struct gw_memory *memory, uint64_t pages);
/* The size it began with; its bytes are those of the image where it is watched, 0 elsewhere. False: the system refuses, or did.
 */
bool memory_reset(struct gw_memory *memory);
/* What is in it now is what resets go back to, as cheaply as it can be. */
void memory_watch(struct gw_memory *memory);
/* The same, but it must be watched from then on. False: the system refuses. Only where memory_can_keep. */
bool memory_keep(struct gw_memory *memory);
bool memory_can_keep(const struct gw_memory *memory);
/* The same at the size that it has now, which resets then go back to. What is written to is learned anew. */
bool memory_keep_grown(struct gw_memory *memory);
bool memory_can_keep_grown(const struct gw_memory *memory);

struct gw_table *table_create(struct gw_store *store, const struct table_type *type, struct gw_error *err);
void table_destroy(struct gw_table *table);
bool table_can_grow(const struct gw_table *table, uint64_t n);
/* Makes room for n more entries, which table_can_grow allowed; may move the table. False when there is no memory for it. */
bool table_reserve(struct gw_table *table, uint64_t n);
/* Counts what it takes in the store and the engine. There must be room for the entries. */
void table_set_size(struct gw_table *table, uint64_t size);
/* Entries of the table are written, or will be in a moment. */
void table_note(struct gw_table *table, uint64_t at, uint64_t n);
/* The first entry from `at` on that may have been written to since the snapshot; the size, or more, when there is none. */
uint64_t table_next_written(const struct gw_table *table, uint64_t at);
/* All entries of a new table become `ref`. */
void table_fill(struct gw_table *table, void *ref);
/* Remembers the contents, and goes back to them. */
bool table_snapshot(struct gw_table *table);
/* All of its contents now, at the size it began with. False: no memory, or another size. */
bool table_keep(struct gw_table *table);
bool table_restore(struct gw_table *table); /* false: no memory */

#endif
