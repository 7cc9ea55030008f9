/* Sections of contents (spec 5.5): element and data segments, function bodies. */
#include "frontend/decode.h"

/* --- elements ----------------------------------------------------------------------------------------------------- */

enum { ELEM_NOT_ACTIVE = 1, ELEM_EXPLICIT = 2, ELEM_EXPRS = 4, ELEM_FLAGS = 8 };

static void decode_elem_kind(struct reader *r) {
  const uint8_t *at = r->at;
  uint8_t kind = read_u8(r);
  if (kind) reader_fail_at(r, GW_ERROR_MALFORMED, at, "malformed element kind %02x", kind);
}

static void decode_elem_items(struct decoder *d, struct reader *r, struct elem_segment *e, bool are_exprs) {
  e->n = read_count(r, LIMIT_ELEM_ENTRIES, d->n_elem_entries, 1);
  d->n_elem_entries += e->n;
  if (!are_exprs) {
    uint32_t *funcs = arena_alloc_array(&d->m->arena, e->n, sizeof *funcs);
    for (uint32_t i = 0; i < e->n; i++) funcs[i] = read_u32(r);
    e->funcs = funcs;
    return;
  }
  struct const_expr *exprs = arena_alloc_array(&d->m->arena, e->n, sizeof *exprs);
  for (uint32_t i = 0; i < e->n && !r->failed; i++) read_const_expr(r, &exprs[i]);
  e->exprs = exprs;
}

static void decode_elem(struct decoder *d, struct reader *r, struct elem_segment *e) {
  const uint8_t *at = r->at;
  uint32_t flags = read_u32(r);
  if (flags >= ELEM_FLAGS) {
    reader_fail_at(r, GW_ERROR_MALFORMED, at, "malformed elements segment kind %u", flags);
    return;
  }
  e->mode = !(flags & ELEM_NOT_ACTIVE) ? SEGMENT_ACTIVE : flags & ELEM_EXPLICIT ? SEGMENT_DECLARATIVE : SEGMENT_PASSIVE;
  e->place = (uint32_t)(at - r->start);
  e->type = flags & ELEM_EXPRS ? TYPE_FUNCREF : REF_TYPE(false, HEAP_FUNC); /* a list of indices has no null */
  if (e->mode == SEGMENT_ACTIVE) {
    e->table = flags & ELEM_EXPLICIT ? read_u32(r) : 0;
    read_const_expr(r, &e->offset);
  }
  bool has_type = flags & (ELEM_NOT_ACTIVE | ELEM_EXPLICIT);
  if (has_type && flags & ELEM_EXPRS)
    e->type = decode_ref_type(d, r);
  else if (has_type)
    decode_elem_kind(r);
  decode_elem_items(d, r, e, flags & ELEM_EXPRS);
}

void decode_elems(struct decoder *d, struct reader *r) {
  struct module *m = d->m;
  uint32_t n = read_count(r, LIMIT_ELEM_SEGMENTS, 0, 2);
  m->elems = arena_alloc_array(&m->arena, n, sizeof *m->elems);
  for (uint32_t i = 0; i < n && !r->failed; i++) decode_elem(d, r, &m->elems[i]);
  m->n_elems = n;
}

/* --- data --------------------------------------------------------------------------------------------------------- */

void decode_data_count(struct decoder *d, struct reader *r) {
  const uint8_t *at = r->at;
  d->m->data_count = read_u32(r);
  if (d->m->data_count > limit_table[LIMIT_DATA_SEGMENTS].value)
    reader_fail_at(r, GW_ERROR_LIMIT, at, "too many %s: %u", limit_table[LIMIT_DATA_SEGMENTS].words, d->m->data_count);
}

static void decode_data(struct reader *r, struct data_segment *s) {
  const uint8_t *at = r->at;
  uint32_t flags = read_u32(r);
  if (flags > 2) {
    reader_fail_at(r, GW_ERROR_MALFORMED, at, "malformed data segment kind %u", flags);
    return;
  }
  s->mode = flags == 1 ? SEGMENT_PASSIVE : SEGMENT_ACTIVE;
  s->memory = flags == 2 ? read_u32(r) : 0;
  if (s->mode == SEGMENT_ACTIVE) read_const_expr(r, &s->offset);
  s->size = read_u32(r);
  if (s->size > reader_left(r) && !r->failed)
    reader_fail(r, "unexpected end of section or function: data segment of %u bytes, %zu left", s->size, reader_left(r));
  s->bytes = read_bytes(r, s->size);
}

void decode_datas(struct decoder *d, struct reader *r) {
  struct module *m = d->m;
  uint32_t n = read_count(r, LIMIT_DATA_SEGMENTS, 0, 2);
  m->datas = arena_alloc_array(&m->arena, n, sizeof *m->datas);
  for (uint32_t i = 0; i < n && !r->failed; i++) decode_data(r, &m->datas[i]);
  m->n_datas = n;
}

/* --- code --------------------------------------------------------------------------------------------------------- */

static void decode_locals(struct decoder *d, struct reader *r, struct func *f) {
  const uint8_t *at = r->at;
  uint32_t n = read_count(r, LIMIT_BODY_SIZE, 0, 2);
  struct local_run *runs = n ? arena_alloc_array(&d->m->arena, n, sizeof *runs) : NULL;
  uint64_t total = 0;
  for (uint32_t i = 0; i < n && !r->failed; i++) {
    runs[i].count = read_u32(r);
    runs[i].type = decode_val_type(d, r);
    total += runs[i].count;
  }
  if (total > UINT32_MAX) reader_fail_at(r, GW_ERROR_MALFORMED, at, "too many locals");
  if (total > limit_table[LIMIT_LOCALS].value) reader_fail_at(r, GW_ERROR_LIMIT, at, "too many locals: %u", (uint32_t)total);
  f->runs = runs;
  f->n_runs = n;
  f->n_locals = (uint32_t)total;
}

/* Instructions stay undecoded until validation; here only the local declarations are read. */
static void decode_body(struct decoder *d, struct reader *r, struct func *f) {
  const uint8_t *at = r->at;
  uint32_t size = read_u32(r);
  if (size > reader_left(r) && !r->failed) {
    reader_fail_at(r, GW_ERROR_MALFORMED, at, "unexpected end of section or function: body of %u bytes, %zu left", size,
                   reader_left(r));
  } else if (size > limit_table[LIMIT_BODY_SIZE].value) {
    reader_fail_at(r, GW_ERROR_LIMIT, at, "too many %s: %u", limit_table[LIMIT_BODY_SIZE].words, size);
  }
  if (r->failed) return;
  struct reader part;
  reader_init(&part, r->start, r->at, r->at + size, r->err);
  part.is_part = true;
  decode_locals(d, &part, f);
  f->body = part.at;
  f->end = part.end;
  r->at += size;
  if (part.failed) {
    r->failed = true;
    r->at = r->end;
  }
}

void decode_code(struct decoder *d, struct reader *r) {
  struct module *m = d->m;
  m->code_size = reader_left(r);
  uint32_t n_defined = m->n_funcs - m->n_imported_funcs;
  d->n_bodies = read_count(r, LIMIT_FUNCTIONS, 0, 1);
  if (d->n_bodies != n_defined)
    reader_fail(r, "function and code section have inconsistent lengths: %u and %u", n_defined, d->n_bodies);
  for (uint32_t i = 0; i < d->n_bodies && !r->failed; i++) decode_body(d, r, &m->funcs[m->n_imported_funcs + i]);
}
