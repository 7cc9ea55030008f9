/* Canonical type identity across modules: recursive groups are hash-consed in one process-wide registry. */
#ifndef FRONTEND_TYPES_H
#define FRONTEND_TYPES_H

#include "frontend/module.h"

/* Assigns type_def.canonical to types[group .. group + group_size). All earlier groups must have theirs. Thread-safe. */
void types_canonicalize(struct module *m, uint32_t group);

/* Canonical id of a plain function type, for host functions. Thread-safe. */
uint32_t types_canonical_func(const struct func_type *type);

/* Subtyping (subtype.c). Whether types[index] is the type with this canonical id, or declared to be below it. */
bool type_matches(const struct module *m, uint32_t index, uint32_t canonical);
/* Whether a value of type `a` may stand where `b` is wanted. */
bool val_type_matches(const struct module *m, val_type a, val_type b);
/* The same for types of two modules; NULL for the module of a type without index. */
bool val_type_matches_across(const struct module *ma, val_type a, const struct module *mb, val_type b);
bool val_types_match(const struct module *m, uint32_t n, const val_type *a, const val_type *b);
bool func_type_matches(const struct module *m, const struct func_type *a, const struct func_type *b);

/* "[i32 i64] -> [f32]" into `out`, for messages. */
const char *func_type_print(const struct func_type *type, char *out, size_t size);
const char *val_type_name(val_type t, char *out, size_t size);

/* "i32", "funcref", ...; VAL_BOT for anything else. */
val_type val_type_parse(const char *text);

#endif
