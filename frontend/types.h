/* Canonical type identity across modules: recursive groups are hash-consed in one process-wide registry, as long as a module has
 * them. */
#ifndef FRONTEND_TYPES_H
#define FRONTEND_TYPES_H

#include "frontend/module.h"

/* Assigns type_def.canonical to types[group .. group + group_size), and holds the group until types_release. All earlier groups
 * must have theirs. Thread-safe. */
bool types_canonicalize(struct module *m, uint32_t group, struct gw_error *err);
/* Gives up what the module holds; its ids are nobody's then. Thread-safe. */
void types_release(struct module *m);

/* Of the process: groups that are held, and ids given so far, those given again counted once. Thread-safe. */
struct types_totals {
  uint32_t n_groups, n_ids;
};
struct types_totals types_totals(void);

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
