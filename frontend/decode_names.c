/* The name section (spec, appendix "Custom Sections"): module and function names, for messages only. */
#include "frontend/decode.h"

enum { NAMES_MODULE = 0, NAMES_FUNCTION = 1 };

static void decode_function_names(struct module *m, struct reader *r) {
  uint32_t n = read_u32(r);
  for (uint32_t i = 0; i < n && !r->failed; i++) {
    uint32_t index = read_u32(r);
    struct name name;
    read_name(r, &name);
    if (!r->failed && index < m->n_funcs) m->funcs[index].name = name;
  }
}

void decode_names(struct decoder *d) {
  if (!d->names) return;
  struct gw_error ignored = {0};
  struct reader r, part;
  reader_init(&r, d->m->bytes, d->names, d->names_end, &ignored);
  while (reader_left(&r)) {
    uint8_t id = read_u8(&r);
    uint32_t size = read_u32(&r);
    const uint8_t *bytes = read_bytes(&r, size);
    if (!bytes) return;
    reader_init(&part, d->m->bytes, bytes, bytes + size, &ignored);
    if (id == NAMES_MODULE) read_name(&part, &d->m->name);
    if (id == NAMES_FUNCTION) decode_function_names(d->m, &part);
  }
}
