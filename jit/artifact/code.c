#include "jit/artifact/code.h"

#include "base/error.h"
#include "jit/artifact/artifact.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static int compare_ranges(const void *a, const void *b) {
  const struct code_range *x = a, *y = b;
  return x->begin != y->begin ? (x->begin < y->begin ? -1 : 1) : x->func < y->func ? -1 : x->func > y->func;
}

static const struct code_piece *find_piece(const struct code_piece *pieces, uint32_t n, uintptr_t pc) {
  while (n > 1 && (uintptr_t)pieces[1].at <= pc) pieces++, n--;
  return pieces;
}

/* Every place begins a function, and the next one, or the end of its piece of the code, ends it. */
static void fill_ranges(struct code *code, const struct module *m, const struct code_piece *pieces, uint32_t n_pieces) {
  uint32_t n = m->n_funcs + m->n_types, n_ranges = 0;
  for (uint32_t i = 0; i < n; i++) {
    bool is_body = i < m->n_funcs && m->funcs[i].import == NO_INDEX;
    if (code->funcs[i])
      code->ranges[n_ranges++] = (struct code_range){.begin = (uintptr_t)code->funcs[i], .func = is_body ? i : GW_NO_FUNC};
  }
  qsort(code->ranges, n_ranges, sizeof *code->ranges, compare_ranges);
  for (uint32_t i = 0; i < n_ranges; i++) /* equal types share an entry, twins their code */
    if (code->n_ranges == 0 || code->ranges[code->n_ranges - 1].begin != code->ranges[i].begin)
      code->ranges[code->n_ranges++] = code->ranges[i];
  for (uint32_t i = 0; i < code->n_ranges; i++) {
    const struct code_piece *piece = find_piece(pieces, n_pieces, code->ranges[i].begin);
    uintptr_t end = (uintptr_t)piece->at + piece->size;
    bool is_last = i + 1 == code->n_ranges || code->ranges[i + 1].begin >= end;
    code->ranges[i].end = is_last ? end : code->ranges[i + 1].begin;
    n_pieces -= (uint32_t)(piece - pieces);
    pieces = piece;
  }
}

/* `funcs` has been filled. */
static bool add_ranges(struct code *code, const struct module *m, const struct code_piece *pieces, uint32_t n_pieces) {
  code->ranges = malloc((m->n_funcs + m->n_types + 1) * sizeof *code->ranges);
  if (!code->ranges) return false;
  code->entries = (entry_thunk *)(code->funcs + m->n_funcs);
  fill_ranges(code, m, pieces, n_pieces);
  return true;
}

static bool fill_tables(struct code *code, const struct module *m, const uint8_t *base, const uint32_t *offsets) {
  uint32_t n = m->n_funcs + m->n_types;
  struct code_piece all = {.at = base, .size = code->code_bytes};
  code->funcs = malloc((n + 1) * sizeof *code->funcs);
  if (!code->funcs) return false;
  for (uint32_t i = 0; i < n; i++) code->funcs[i] = offsets[i] == IMAGE_NONE ? NULL : (void *)(base + offsets[i]);
  return add_ranges(code, m, &all, 1);
}

static bool map(struct code *code, const struct image *image) {
  size_t size = image->size ? image->size : 1;
  void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return false;
  code->mapping = at;
  code->mapping_size = size;
  memcpy(at, image->bytes, image->size);
  return mprotect(at, size, PROT_READ) == 0 && (!image->code_size || mprotect(at, image->code_size, PROT_READ | PROT_EXEC) == 0);
}

struct code *code_create(const struct module *m, const struct image *image, struct gw_error *err) {
  struct code *code = calloc(1, sizeof *code);
  if (code) code->code_bytes = image->code_size;
  if (code && map(code, image) && fill_tables(code, m, code->mapping, image->offsets)) {
    code->seconds = image->seconds;
    code->stack_factor = image->stack_factor;
    return code;
  }
  error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for %zu bytes of code", image->size);
  code_destroy(code);
  return NULL;
}

struct code *code_take(const struct module *m, struct loaded *loaded, void (*unload)(struct orc_module *), struct gw_error *err) {
  struct code *code = calloc(1, sizeof *code);
  if (code) {
    *code = (struct code){.funcs = loaded->funcs, .owner = loaded->owner, .unload = unload};
    code->stack_factor = loaded->stack_factor;
    code->seconds = loaded->seconds;
    for (uint32_t i = 0; i < loaded->n_pieces; i++) code->code_bytes += loaded->pieces[i].size;
  } else {
    unload(loaded->owner);
    free(loaded->funcs);
  }
  bool ok = code && add_ranges(code, m, loaded->pieces, loaded->n_pieces);
  free(loaded->pieces);
  if (ok) return code;
  error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for %u functions", m->n_funcs);
  code_destroy(code);
  return NULL;
}

struct code *code_adopt(const struct module *m, const struct artifact *a, struct gw_error *err) {
  struct code *code = calloc(1, sizeof *code);
  if (code) *code = (struct code){.code_bytes = a->code_size, .stack_factor = a->stack_factor};
  if (code && fill_tables(code, m, a->image, a->offsets)) return code;
  error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for %u functions", m->n_funcs);
  code_destroy(code);
  return NULL;
}

void code_destroy(struct code *code) {
  if (!code) return;
  if (code->owner) code->unload(code->owner);
  if (code->mapping) munmap(code->mapping, code->mapping_size);
  free(code->funcs);
  free(code->ranges);
  free(code);
}

const struct code_range *code_find(const struct code *code, uintptr_t pc) {
  if (!code) return NULL;
  uint32_t low = 0, high = code->n_ranges;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (code->ranges[middle].end <= pc)
      low = middle + 1;
    else
      high = middle;
  }
  return low < code->n_ranges && code->ranges[low].begin <= pc ? &code->ranges[low] : NULL;
}
