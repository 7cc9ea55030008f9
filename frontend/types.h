/* Canonical type identity across modules: recursive groups are hash-consed in one process-wide registry. */
#ifndef FRONTEND_TYPES_H
#define FRONTEND_TYPES_H

#include "frontend/module.h"

/* Assigns type_def.canonical to types[group .. group + group_size). All earlier groups must have theirs. Thread-safe. */
void types_canonicalize(struct module *m, uint32_t group);

/* Canonical id of a plain function type, for host functions. Thread-safe. */
uint32_t types_canonical_func(const struct func_type *type);

/* "[i32 i64] -> [f32]" into `out`, for messages. */
const char *func_type_print(const struct func_type *type, char *out, size_t size);
const char *val_type_name(val_type t, char *out, size_t size);

#endif
