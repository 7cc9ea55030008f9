/* Code for this process: ORC loads the objects that an image would be made of, and tells where it put them. */
#include "base/error.h"
#include "base/heap.h"
#include "jit/link.h"
#include "jit/orc.h"

#include <stdio.h>
#include <stdlib.h>

struct loader {
  const struct module *m;
  struct loaded *out;
};

static void note_symbol(void *env, const char *name, void *at) {
  const struct loader *l = env;
  uint32_t index = link_index(l->m, name);
  if (index != IMAGE_NONE) l->out->funcs[index] = at;
}

static void note_code(void *env, void *at, size_t size) {
  const struct loader *l = env;
  l->out->pieces[l->out->n_pieces++] = (struct code_piece){.at = at, .size = size};
}

static void give_title(void *env, const char *name, char *out, size_t size) {
  const struct loader *l = env;
  uint32_t index = link_index(l->m, name);
  if (index < l->m->n_funcs)
    func_display_name(l->m, index, out, size);
  else
    snprintf(out, size, "gasworks (thunk)");
}

static int compare_pieces(const void *a, const void *b) {
  const struct code_piece *x = a, *y = b;
  return (x->at > y->at) - (x->at < y->at);
}

bool link_load(const LLVMMemoryBufferRef *objects, uint32_t n, const struct module *m, bool wants_dump, struct loaded *out,
               struct gw_error *err) {
  struct loader l = {.m = m, .out = out};
  struct orc_listener listener = {.env = &l, .symbol = note_symbol, .code = note_code};
  char *error = NULL;
  if (wants_dump) listener.title = give_title;
  out->funcs = heap_new((size_t)m->n_funcs + m->n_types, sizeof *out->funcs);
  out->pieces = heap_new(n, sizeof *out->pieces);
  out->owner = orc_load(objects, n, &listener, &error);
  if (out->owner) qsort(out->pieces, out->n_pieces, sizeof *out->pieces, compare_pieces);
  if (!out->owner) error_set(err, GW_ERROR_COMPILE, "cannot link compiled code: %.200s", error ? error : "?");
  free(error);
  return out->owner != NULL;
}
