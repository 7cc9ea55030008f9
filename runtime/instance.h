/* Instances as the runtime keeps them. Everything lies in the store's arena. */
#ifndef RUNTIME_INSTANCE_H
#define RUNTIME_INSTANCE_H

#include "abi/abi.h"
#include "runtime/engine.h"
#include "runtime/object.h"
#include "runtime/store.h"

/* What an imported host function leads to. */
struct host_import {
  gw_host_fn fn;
  void *env;
  bool is_same; /* a checkpoint may lie behind its calls */
};

struct gw_instance {
  struct gw_instance *next; /* of the store */
  struct gw_store *store;
  struct gw_module *module;       /* one reference */
  const struct code *code;        /* the module's, in the store's dialect; NULL until linked */
  struct precise_module *precise; /* the same for the precise, the baseline and the mixed tier */
  uint32_t n_compiled_sets;       /* of the mixed tier: which `refs` know of */
  struct vmctx *vmctx;
  struct host_import *hosts;     /* [imported functions]; fn NULL where a Wasm function is imported */
  struct func_ref *refs;         /* [functions]; unused where a Wasm function is imported */
  struct gw_global **globals;    /* [globals] */
  union gw_value *cells;         /* own cells in the vmctx */
  union gw_value *initial_cells; /* their values after instantiation */
  bool *is_elem_dropped, *is_data_dropped;
  bool is_resettable; /* imports nothing that may change */
  bool *kept_drops;   /* is_elem_dropped, then is_data_dropped, as gw_instance_keep found them */
  bool is_kept;       /* resets go back to what gw_instance_keep found, behind the start function */
  /* The arrays behind vmctx. */
  struct func_ref **funcs;
  struct gw_memory **memories;
  struct gw_table **tables;
  struct gw_tag **tags;
};

/* link.c: fills the imported part of every index space, or fails with GW_ERROR_LINK. */
bool instance_link(struct gw_instance *instance, gw_resolve_fn resolve, void *env, struct gw_error *err);

/* constant.c: the value of a validated constant expression; what it refers to must be filled in. */
union gw_value instance_evaluate(const struct gw_instance *instance, struct const_expr expr);

/* segment.c: whether [src, src + n) lies in a segment that is not dropped. */
bool segment_has_data(const struct gw_instance *instance, uint32_t segment, uint32_t src, uint32_t n);
bool segment_has_elems(const struct gw_instance *instance, uint32_t segment, uint32_t src, uint32_t n);
/* The copy itself; bounds must have been checked. */
void segment_init_memory(struct gw_instance *instance, uint32_t memory, uint32_t segment, uint64_t dst, uint32_t src, uint32_t n);
void segment_init_table(struct gw_instance *instance, uint32_t table, uint32_t segment, uint64_t dst, uint32_t src, uint32_t n);
/* Writes the active segments in order and drops them; the first that does not fit is an error, those before stay. */
bool segments_apply_elems(struct gw_instance *instance, struct gw_error *err);
bool segments_apply_datas(struct gw_instance *instance, struct gw_error *err);

/* As gw_instance_keep, in the middle of an invocation whose host calls the caller answers for: memories may have grown. */
bool instance_can_keep_grown(const struct gw_instance *instance);
/* gw_instance_reset without the start function, which is the caller's to call, unless the instance is kept. */
bool instance_reset(struct gw_instance *instance, struct gw_error *err);
bool instance_keep_grown(struct gw_instance *instance); /* false: it cannot be reset any more */

/* helper.c */
extern const struct helpers runtime_helpers;

/* Whether [at, at + n) lies within `size`. */
static inline bool is_within(uint64_t at, uint64_t n, uint64_t size) { return n <= size && at <= size - n; }

#endif
