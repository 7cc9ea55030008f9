/* Binary format, module level (spec 5.5): header, order and size of sections. */
#include "frontend/decode.h"
#include "frontend/types.h"

#include <string.h>

typedef void section_fn(struct decoder *d, struct reader *r);

/* In the order that modules must keep. */
static const struct section {
  uint8_t id;
  section_fn *decode;
} sections[] = {
    {1, decode_types},       {2, decode_imports}, {3, decode_funcs},   {4, decode_tables}, {5, decode_memories},
    {13, decode_tags},       {6, decode_globals}, {7, decode_exports}, {8, decode_start},  {9, decode_elems},
    {12, decode_data_count}, {10, decode_code},   {11, decode_datas},
};

enum { N_SECTIONS = sizeof sections / sizeof sections[0], SECTION_CUSTOM = 0 };

void decode_need(struct decoder *d, struct reader *r, const uint8_t *at, enum feature f) {
  if (r->failed || feature_is_on(f) || d->refused != FEATURE_COUNT) return;
  d->refused = f;
  d->refused_at = (uint64_t)(at - r->start);
}

static void decode_header(struct reader *r) {
  static const uint8_t magic[4] = {0, 'a', 's', 'm'}, version[4] = {1, 0, 0, 0};
  const uint8_t *at = r->at, *bytes = read_bytes(r, 4);
  if (bytes && memcmp(bytes, magic, 4)) reader_fail_at(r, GW_ERROR_MALFORMED, at, "magic header not detected");
  at = r->at;
  bytes = read_bytes(r, 4);
  if (bytes && memcmp(bytes, version, 4)) reader_fail_at(r, GW_ERROR_MALFORMED, at, "unknown binary version");
}

static void decode_custom(struct decoder *d, struct reader *r) {
  struct name name;
  read_name(r, &name);
  if (!r->failed && !d->names && name.size == 4 && !memcmp(name.bytes, "name", 4)) {
    d->names = r->at;
    d->names_end = r->end;
  }
  if (!r->failed) r->at = r->end;
}

/* Position of a section in the order, or N_SECTIONS. */
static int section_rank(uint8_t id) {
  for (int i = 0; i < N_SECTIONS; i++)
    if (sections[i].id == id) return i;
  return N_SECTIONS;
}

/* Reads one section from `r`; `*rank` is the least that may come. */
static void decode_section(struct decoder *d, struct reader *r, int *rank) {
  const uint8_t *at = r->at;
  uint8_t id = read_u8(r);
  int of_id = id == SECTION_CUSTOM ? *rank : section_rank(id);
  if (of_id == N_SECTIONS && id != SECTION_CUSTOM) {
    reader_fail_at(r, GW_ERROR_MALFORMED, at, "malformed section id %u", id);
    return;
  }
  uint32_t size = read_u32(r);
  if (r->failed) return;
  if (size > reader_left(r)) {
    reader_fail(r, "length out of bounds: section of %u bytes, %zu left", size, reader_left(r));
    return;
  }
  if (of_id < *rank) {
    reader_fail_at(r, GW_ERROR_MALFORMED, at, "unexpected content after last section: section %u again or out of order", id);
    return;
  }
  struct reader part;
  reader_init(&part, r->start, r->at, r->at + size, r->err);
  part.is_part = true;
  if (id == SECTION_CUSTOM) {
    decode_custom(d, &part);
  } else {
    sections[of_id].decode(d, &part);
    *rank = of_id + 1;
  }
  if (reader_left(&part)) reader_fail(&part, "section size mismatch: %zu bytes left", reader_left(&part));
  r->at += size;
  if (part.failed) {
    r->failed = true;
    r->at = r->end;
  }
}

/* What can be said only when all sections are known. */
static bool decode_end(struct decoder *d, struct reader *r) {
  struct module *m = d->m;
  if (m->n_funcs - m->n_imported_funcs != d->n_bodies)
    reader_fail(r, "function and code section have inconsistent lengths: %u and %u", m->n_funcs - m->n_imported_funcs,
                d->n_bodies);
  if (m->data_count != NO_INDEX && m->data_count != m->n_datas)
    reader_fail(r, "data count and data section have inconsistent lengths: %u and %u", m->data_count, m->n_datas);
  if (!r->failed && d->refused != FEATURE_COUNT)
    reader_fail_at(r, GW_ERROR_UNSUPPORTED, r->start + d->refused_at, "unsupported feature: %s", feature_name(d->refused));
  return !r->failed;
}

/* References must lead to types before `end`; only then may the group reach the registry. */
static bool check_references(struct reader *r, const uint8_t *at, uint32_t n, const val_type *types, uint32_t end) {
  for (uint32_t i = 0; i < n; i++) {
    if (val_kind(types[i]) != VAL_REF || val_heap(types[i]) >= HEAP_FIRST || val_heap(types[i]) < end) continue;
    reader_fail_at(r, GW_ERROR_INVALID, at, "unknown type %u", val_heap(types[i]));
    return false;
  }
  return true;
}

static bool check_group(const struct module *m, struct reader *r, uint32_t group) {
  uint32_t end = group + m->types[group].group_size;
  for (uint32_t i = group; i < end; i++) {
    const struct func_type *f = &m->types[i].func;
    uint32_t super = m->types[i].super;
    const uint8_t *at = r->start + m->types[i].place;
    if (super != NO_INDEX && super >= i) return reader_fail_at(r, GW_ERROR_INVALID, at, "unknown type %u", super), false;
    if (!check_references(r, at, f->n_params, f->params, end) || !check_references(r, at, f->n_results, f->results, end))
      return false;
  }
  return true;
}

static bool canonicalize(struct decoder *d, struct reader *r) {
  for (uint32_t i = 0; i < d->m->n_types; i += d->m->types[i].group_size) {
    if (!check_group(d->m, r, i)) return false;
    if (!types_canonicalize(d->m, i, d->err)) return false;
  }
  return true;
}

static bool decode_all(struct decoder *d, struct reader *r) {
  if ((size_t)(r->end - r->start) > limit_table[LIMIT_MODULE_SIZE].value) {
    reader_fail_at(r, GW_ERROR_LIMIT, r->start, "too many %s: %zu", limit_table[LIMIT_MODULE_SIZE].words,
                   (size_t)(r->end - r->start));
    return false;
  }
  decode_header(r);
  int rank = 0;
  while (reader_left(r)) decode_section(d, r, &rank);
  if (r->failed || !decode_end(d, r) || !canonicalize(d, r)) return false;
  decode_names(d);
  return true;
}

bool module_decode(struct module *m, const uint8_t *bytes, size_t size, struct gw_error *err) {
  struct gw_error unwanted = {0};
  *m = (struct module){.bytes = bytes, .size = size, .start = NO_INDEX, .data_count = NO_INDEX};
  struct decoder d = {.m = m, .err = err ? err : &unwanted, .refused = FEATURE_COUNT};
  struct reader r;
  reader_init(&r, bytes, bytes, bytes + size, d.err);
  bool ok = decode_all(&d, &r);
  if (!ok) module_clear(m);
  return ok;
}
