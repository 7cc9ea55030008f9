/* Subtyping of references (spec 3.3, "Matching"). Types of different modules are compared by their canonical ids. */
#include "frontend/types.h"

bool type_matches(const struct module *m, uint32_t index, uint32_t canonical) {
  for (; index != NO_INDEX; index = m->types[index].super)
    if (m->types[index].canonical == canonical) return true;
  return false;
}

/* The abstract heap type just above, or NO_INDEX. */
static uint32_t heap_above(uint32_t heap) {
  switch (heap) {
  case HEAP_I31:
  case HEAP_STRUCT:
  case HEAP_ARRAY: return HEAP_EQ;
  case HEAP_EQ: return HEAP_ANY;
  default: return NO_INDEX;
  }
}

/* The abstract heap type at the top of the hierarchy that `heap`, abstract too, belongs to. */
static uint32_t heap_top(uint32_t heap) {
  switch (heap) {
  case HEAP_FUNC:
  case HEAP_NOFUNC: return HEAP_FUNC;
  case HEAP_EXTERN:
  case HEAP_NOEXTERN: return HEAP_EXTERN;
  case HEAP_EXN:
  case HEAP_NOEXN: return HEAP_EXN;
  default: return HEAP_ANY;
  }
}

static bool is_bottom(uint32_t heap) {
  return heap == HEAP_NONE || heap == HEAP_NOFUNC || heap == HEAP_NOEXTERN || heap == HEAP_NOEXN;
}

static bool abstract_matches(uint32_t a, uint32_t b) {
  if (is_bottom(a) && heap_top(a) == heap_top(b)) return true;
  for (; a != NO_INDEX; a = heap_above(a))
    if (a == b) return true;
  return false;
}

/* The least abstract heap type above a type of this module. */
static uint32_t heap_of_kind(const struct module *m, uint32_t index) {
  static const uint32_t heaps[] = {[COMP_FUNC] = HEAP_FUNC, [COMP_STRUCT] = HEAP_STRUCT, [COMP_ARRAY] = HEAP_ARRAY};
  return heaps[m->types[index].kind];
}

static bool heap_matches(const struct module *ma, uint32_t a, const struct module *mb, uint32_t b) {
  bool is_a_index = a < HEAP_FIRST, is_b_index = b < HEAP_FIRST;
  if (a == HEAP_BOT) return true;
  if ((is_a_index && a >= ma->n_types) || (is_b_index && b >= mb->n_types)) return false; /* an error reported elsewhere */
  if (is_a_index && is_b_index) return type_matches(ma, a, mb->types[b].canonical);
  if (is_a_index) return abstract_matches(heap_of_kind(ma, a), b);
  if (is_b_index) return is_bottom(a) && heap_top(a) == heap_top(heap_of_kind(mb, b));
  return abstract_matches(a, b);
}

bool val_type_matches_across(const struct module *ma, val_type a, const struct module *mb, val_type b) {
  if (val_kind(a) != VAL_REF || val_kind(b) != VAL_REF) return a == b;
  if (val_is_nullable(a) && !val_is_nullable(b)) return false;
  return heap_matches(ma, val_heap(a), mb, val_heap(b));
}

bool val_type_matches(const struct module *m, val_type a, val_type b) { return a == b || val_type_matches_across(m, a, m, b); }

bool val_types_match(const struct module *m, uint32_t n, const val_type *a, const val_type *b) {
  for (uint32_t i = 0; i < n; i++)
    if (!val_type_matches(m, a[i], b[i])) return false;
  return true;
}

bool func_type_matches(const struct module *m, const struct func_type *a, const struct func_type *b) {
  return a->n_params == b->n_params && a->n_results == b->n_results && val_types_match(m, a->n_params, b->params, a->params) &&
         val_types_match(m, a->n_results, a->results, b->results);
}
