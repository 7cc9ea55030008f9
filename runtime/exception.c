/* Life and death of exceptions.
 *
 * An exception has one owner as long as no exnref to it was made: the pending state (exec->exception), or a legacy catch body.
 * The clause that catches it reads its values and frees it, so throwing in a loop needs memory for one. Once there is an exnref,
 * anybody may have a copy of it, and the exception lives until the invocation ends. Then the only places left are globals,
 * tables and results of exnref type, and values of exceptions found there: the rest is freed. What lives at once is bounded.
 *
 * Legacy catch bodies that may rethrow hold what they caught, and leave in many ways: end, branch, return, tail call, another
 * exception. Nobody tells. A rethrow throws a copy, because the body that holds the original may go on and rethrow it again.
 * Instead every hold has a key that falls with the nesting of bodies, in a frame (level) and across frames (depth of the logical
 * stack), so the next one to hold finds those below it in the order, whose bodies must have been left. Nothing depends on the
 * identity of an exception, so a body that would hold a shared one gets a copy. */
#include "runtime/exception.h"

#include "runtime/instance.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 64 << 20 };

struct exception_box {
  struct exception_box *next, **link; /* of exceptions.all */
  struct exception_box *below;        /* of exceptions.held */
  uint64_t key;
  uint64_t bytes;
  uintptr_t pc;
  bool is_marked;
  _Alignas(16) struct exception ctx;
};

static struct exception_box *box_of(const struct exception *e) {
  return (struct exception_box *)((char *)e - offsetof(struct exception_box, ctx));
}

static const struct gw_tag *tag_of(const struct exception *e) { return e->tag; }

struct exception *exception_create(struct exceptions *all, const struct gw_tag *tag, uintptr_t pc) {
  uint64_t bytes = sizeof(struct exception_box) + (uint64_t)tag->type->n_params * sizeof(union gw_value);
  if (all->bytes + bytes > MAX_BYTES) return NULL;
  struct exception_box *box = malloc(bytes);
  if (!box) return NULL;
  *box = (struct exception_box){.next = all->all, .link = &all->all, .bytes = bytes, .pc = pc, .ctx.tag = tag};
  if (all->all) all->all->link = &box->next;
  all->all = box;
  all->bytes += bytes;
  return &box->ctx;
}

static void destroy(struct exceptions *all, struct exception_box *box) {
  *box->link = box->next;
  if (box->next) box->next->link = box->link;
  all->bytes -= box->bytes;
  free(box);
}

void exception_destroy(struct exceptions *all, struct exception *e) {
  if (!e->is_shared) destroy(all, box_of(e));
}

static struct exception *copy(struct exceptions *all, const struct exception *e) {
  const struct gw_tag *tag = tag_of(e);
  struct exception *fresh = exception_create(all, tag, box_of(e)->pc);
  if (fresh) memcpy(fresh->values, e->values, tag->type->n_params * sizeof *e->values);
  return fresh;
}

/* --- legacy catch bodies ------------------------------------------------------------------------------------------ */

struct exception *exception_hold(struct exceptions *all, struct exception *e, uint32_t depth, uint32_t level) {
  uint64_t key = (uint64_t)depth << 32 | (UINT32_MAX - level);
  while (all->held && all->held->key <= key) {
    struct exception_box *left = all->held;
    all->held = left->below;
    destroy(all, left);
  }
  if (e->is_shared) e = copy(all, e);
  if (!e) return NULL;
  struct exception_box *box = box_of(e);
  box->key = key;
  box->below = all->held;
  all->held = box;
  return e;
}

struct exception *exception_rethrow(struct exceptions *all, struct exception *e) {
  return copy(all, e); /* bodies inside the one that held it may be open still: their own try may catch it */
}

uintptr_t exception_place(const struct exception *e) { return box_of(e)->pc; }

/* --- after an invocation ------------------------------------------------------------------------------------------ */

static bool is_exnref(val_type t) { return val_kind(t) == VAL_REF && (val_heap(t) == HEAP_EXN || val_heap(t) == HEAP_NOEXN); }

/* Marked boxes whose values are still to be looked at are chained by `below`: nothing is held any more. */
static void mark(struct exception_box **todo, const void *ref) {
  struct exception_box *box = ref ? box_of(ref) : NULL;
  if (!box || box->is_marked) return;
  box->is_marked = true;
  box->below = *todo;
  *todo = box;
}

static void mark_values(struct exception_box **todo, const val_type *types, uint32_t n, const union gw_value *values) {
  for (uint32_t i = 0; i < n; i++)
    if (is_exnref(types[i])) mark(todo, values[i].ref);
}

/* In what no guest wrote to are the references that the table began with: of exceptions, only those of imported globals. */
static void mark_table(struct exception_box **todo, const struct gw_table *t) {
  for (uint64_t k = 0; (k = table_next_written(t, k)) < t->ctx.size; k++) mark(todo, t->ctx.entries[k]);
}

static void mark_roots(struct gw_store *store, struct exception_box **todo) {
  for (const struct gw_instance *i = store->instances; i; i = i->next)
    for (uint32_t k = 0; k < i->module->decoded.n_globals; k++)
      if (i->globals[k] && is_exnref(i->globals[k]->type.type)) mark(todo, i->globals[k]->cell->ref);
  for (const struct gw_table *t = store->tables; t; t = t->next)
    if (is_exnref(t->type.elem)) mark_table(todo, t);
}

static void sweep(struct exceptions *all) {
  for (struct exception_box *box = all->all, *next; box; box = next) {
    next = box->next;
    if (!box->is_marked)
      destroy(all, box);
    else
      box->is_marked = false;
  }
}

/* What is kept between invocations counts as the guest's memory. */
static void count_bytes(struct gw_store *store) {
  struct exceptions *all = &store->exceptions;
  store_hold(store, all->bytes - all->counted);
  all->counted = all->bytes;
}

void exceptions_collect(struct gw_store *store, bool has_results) {
  struct exceptions *all = &store->exceptions;
  struct exception_box *todo = NULL;
  store->exec.exception = NULL;
  all->held = NULL;
  if (!all->all) {
    count_bytes(store);
    return;
  }
  mark_roots(store, &todo);
  if (has_results) {
    const struct module *m = &store->func->vmctx->instance->module->decoded;
    const struct func_type *type = &m->types[m->funcs[store->func->index].type].func;
    mark_values(&todo, type->results, type->n_results, store->values);
  }
  while (todo) {
    struct exception_box *box = todo;
    const struct func_type *type = tag_of(&box->ctx)->type;
    todo = box->below;
    mark_values(&todo, type->params, type->n_params, box->ctx.values);
  }
  sweep(all);
  count_bytes(store);
}

void exceptions_clear(struct gw_store *store) {
  while (store->exceptions.all) destroy(&store->exceptions, store->exceptions.all);
  count_bytes(store);
}
