/* Types, names and counts in the binary format (spec 5.2 and 5.3) and the type section. */
#include "frontend/decode.h"

#include "base/utf8.h"

#include <string.h>

/* Few items are read as far as they go, so that the message is about the first that is wrong. */
enum { FEW = 16 };

uint32_t read_count(struct reader *r, enum limit limit, uint32_t used, uint32_t item_size) {
  const uint8_t *at = r->at;
  uint32_t n = read_u32(r);
  if (n > reader_left(r) && reader_left(r) > 0) {
    reader_fail_at(r, GW_ERROR_MALFORMED, at, "length out of bounds: %u items in %zu bytes", n, reader_left(r));
    return 0;
  }
  if (n > limit_table[limit].value - used) {
    reader_fail_at(r, GW_ERROR_LIMIT, at, "too many %s: %u", limit_table[limit].words, used + n);
    return 0;
  }
  if ((uint64_t)n * item_size > reader_left(r) && (n > FEW || reader_left(r) == 0)) {
    reader_fail_end(r);
    return 0;
  }
  return n;
}

void read_name(struct reader *r, struct name *name) {
  *name = (struct name){0};
  uint32_t size = read_u32(r);
  const uint8_t *start = r->at;
  if (size > reader_left(r)) {
    if (!r->failed) reader_fail(r, "length out of bounds: name of %u bytes, %zu left", size, reader_left(r));
    return;
  }
  for (size_t i = 0, n; i < size; i += n) {
    n = utf8_sequence(start + i, size - i);
    if (n) continue;
    reader_fail_at(r, GW_ERROR_MALFORMED, start + i, "malformed UTF-8 encoding");
    return;
  }
  r->at += size;
  *name = (struct name){(const char *)start, size};
}

val_type decode_val_type(struct decoder *d, struct reader *r) {
  const uint8_t *at = r->at;
  val_type t = read_val_type(r);
  if (val_kind(t) > VAL_F64) decode_need(d, r, at, val_type_feature(t));
  return t;
}

val_type decode_ref_type(struct decoder *d, struct reader *r) {
  const uint8_t *at = r->at;
  val_type t = read_ref_type(r);
  decode_need(d, r, at, val_type_feature(t));
  return t;
}

enum { LIMITS_MAX = 1, LIMITS_SHARED = 2, LIMITS_64 = 4, LIMITS_PAGE_SIZE = 8 };

void decode_limits(struct decoder *d, struct reader *r, struct limits *limits, bool is_memory) {
  const uint8_t *at = r->at;
  uint8_t flags = read_u8(r);
  uint8_t known = LIMITS_MAX | LIMITS_64 | (is_memory ? LIMITS_SHARED | LIMITS_PAGE_SIZE : 0);
  if (flags & ~known) {
    reader_fail_at(r, GW_ERROR_MALFORMED, at, "malformed limits flags %02x", flags);
    return;
  }
  if (flags & LIMITS_SHARED) decode_need(d, r, at, FEATURE_THREADS);
  if (flags & LIMITS_64) decode_need(d, r, at, FEATURE_MEMORY64);
  if (flags & LIMITS_PAGE_SIZE) decode_need(d, r, at, FEATURE_CUSTOM_PAGE_SIZES);
  limits->place = (uint32_t)(at - r->start);
  limits->is_shared = flags & LIMITS_SHARED;
  limits->is_64 = flags & LIMITS_64;
  limits->has_max = flags & LIMITS_MAX;
  limits->min = read_u64(r);
  limits->max = limits->has_max ? read_u64(r) : UINT64_MAX;
  limits->page_size_log2 = 16;
  if (!(flags & LIMITS_PAGE_SIZE)) return;
  at = r->at;
  uint32_t log2 = read_u32(r);
  if (log2 >= 64) reader_fail_at(r, GW_ERROR_MALFORMED, at, "invalid custom page size: 2^%u", log2);
  if (log2 != 0 && log2 != 16) reader_fail_at(r, GW_ERROR_INVALID, at, "invalid custom page size: 2^%u", log2);
  limits->page_size_log2 = (uint8_t)log2;
}

void decode_table_type(struct decoder *d, struct reader *r, struct table_type *t) {
  t->elem = decode_ref_type(d, r);
  decode_limits(d, r, &t->limits, false);
}

static bool read_mutability(struct reader *r) {
  const uint8_t *at = r->at;
  uint8_t flag = read_u8(r);
  if (flag > 1) reader_fail_at(r, GW_ERROR_MALFORMED, at, "malformed mutability %02x", flag);
  return flag;
}

void decode_global_type(struct decoder *d, struct reader *r, struct global_type *t) {
  t->type = decode_val_type(d, r);
  t->is_mutable = read_mutability(r);
}

/* --- the type section --------------------------------------------------------------------------------------------- */

enum {
  CODE_REC = 0x4e,
  CODE_SUB_FINAL = 0x4f,
  CODE_SUB = 0x50,
  CODE_CONT = 0x5d,
  CODE_ARRAY = 0x5e,
  CODE_STRUCT = 0x5f,
  CODE_FUNC = 0x60
};

static const val_type *decode_val_types(struct decoder *d, struct reader *r, enum limit limit, uint32_t *count) {
  *count = read_count(r, limit, 0, 1);
  val_type *types = *count ? arena_alloc_array(&d->m->arena, *count, sizeof *types) : NULL;
  for (uint32_t i = 0; i < *count && !r->failed; i++) types[i] = decode_val_type(d, r);
  return types;
}

static void decode_func_type(struct decoder *d, struct reader *r, struct func_type *f) {
  f->params = decode_val_types(d, r, LIMIT_PARAMS, &f->n_params);
  const uint8_t *at = r->at;
  f->results = decode_val_types(d, r, LIMIT_RESULTS, &f->n_results);
  if (f->n_results > 1) decode_need(d, r, at, FEATURE_MULTI_VALUE);
}

/* A field of a struct or array; nothing keeps it, because the types are refused. */
static void decode_field(struct decoder *d, struct reader *r) {
  enum { CODE_I8 = 0x78, CODE_I16 = 0x77 };
  if (reader_left(r) && (*r->at == CODE_I8 || *r->at == CODE_I16))
    r->at++;
  else
    decode_val_type(d, r);
  read_mutability(r);
}

static void decode_composite(struct decoder *d, struct reader *r, struct type_def *t) {
  const uint8_t *at = r->at;
  uint8_t code = read_u8(r);
  if (code == CODE_FUNC) {
    decode_func_type(d, r, &t->func);
    return;
  }
  if (code == CODE_CONT) {
    decode_need(d, r, at, FEATURE_STACK_SWITCHING);
    t->kind = COMP_STRUCT; /* anything but a function: the types are refused */
    read_heap_type(r);
    return;
  }
  if (code != CODE_STRUCT && code != CODE_ARRAY) {
    reader_fail_at(r, GW_ERROR_MALFORMED, at, "malformed definition type %02x", code);
    return;
  }
  decode_need(d, r, at, FEATURE_GC);
  t->kind = code == CODE_STRUCT ? COMP_STRUCT : COMP_ARRAY;
  uint32_t n = code == CODE_STRUCT ? read_count(r, LIMIT_FIELDS, 0, 2) : 1;
  for (uint32_t i = 0; i < n && !r->failed; i++) decode_field(d, r);
}

static void decode_sub_type(struct decoder *d, struct reader *r, struct type_def *t) {
  const uint8_t *at = r->at;
  t->is_final = true;
  t->super = NO_INDEX;
  t->place = (uint32_t)(at - r->start);
  if (reader_left(r) && (*at == CODE_SUB || *at == CODE_SUB_FINAL)) {
    decode_need(d, r, at, FEATURE_FUNCTION_REFERENCES);
    t->is_final = *at == CODE_SUB_FINAL;
    r->at++;
    uint32_t n = read_count(r, LIMIT_TYPES, 0, 1);
    for (uint32_t i = 0; i < n && !r->failed; i++) t->super = read_u32(r);
    if (n > 1) reader_fail_at(r, GW_ERROR_INVALID, at, "sub type has more than one super type");
    if (n && t->super == NO_INDEX) reader_fail_at(r, GW_ERROR_INVALID, at, "unknown type %u", NO_INDEX); /* that would be none */
  }
  decode_composite(d, r, t);
}

/* Room for `n` more types. */
static void reserve_types(struct decoder *d, uint32_t n) {
  struct module *m = d->m;
  if (m->n_types + n <= d->n_type_slots) return;
  d->n_type_slots = 2 * (m->n_types + n);
  struct type_def *types = arena_alloc_array(&m->arena, d->n_type_slots, sizeof *types);
  if (m->n_types) memcpy(types, m->types, m->n_types * sizeof *types);
  m->types = types;
}

static void decode_group(struct decoder *d, struct reader *r) {
  const uint8_t *at = r->at;
  uint32_t n = 1, group = d->m->n_types;
  if (reader_left(r) && *at == CODE_REC) {
    decode_need(d, r, at, FEATURE_FUNCTION_REFERENCES);
    r->at++;
    n = read_count(r, LIMIT_TYPES, group, 2);
  }
  reserve_types(d, n);
  for (uint32_t i = 0; i < n && !r->failed; i++) {
    struct type_def *t = &d->m->types[d->m->n_types++];
    t->group = group;
    t->group_size = n;
    decode_sub_type(d, r, t);
  }
}

void decode_types(struct decoder *d, struct reader *r) {
  uint32_t n = read_count(r, LIMIT_TYPES, 0, 2);
  d->n_type_slots = n;
  d->m->types = arena_alloc_array(&d->m->arena, n, sizeof *d->m->types);
  for (uint32_t i = 0; i < n && !r->failed; i++) {
    if (d->m->n_types >= limit_table[LIMIT_TYPES].value)
      reader_fail_at(r, GW_ERROR_LIMIT, r->at, "too many %s", limit_table[LIMIT_TYPES].words);
    else
      decode_group(d, r);
  }
}
