/* libdw does not crash on broken input, but it takes what is asked of it: for each entry it walks the attributes of its
 * declaration, though they may have no bytes in the entry; it looks declarations up in a hash table by a code that the module
 * chooses; and every unit has its own copy of them. So a module of a few megabytes could keep one call busy for hours. Compilers
 * write codes 1, 2, 3 ..., about ten attributes, and a few thousand declarations (rustc and its library: 4,491 in all). */
#include "runtime/debug/source_check.h"

#include "frontend/reader.h"

#include <dwarf.h>

#include <string.h>

enum {
  MOST_UNITS = 20000,
  MOST_DECLARATIONS = 1000000, /* counted for each unit again */
  MOST_CODE = 20000,
  MOST_ATTRIBUTES = 64,
  MOST_EMPTY = 12 /* attributes without bytes */
};

struct check {
  struct reader abbrev; /* at the start; copied for each table */
  uint64_t last_offset; /* of the table that was walked last: units often share one */
  uint32_t last_count;
  uint32_t n_units, n_declarations;
};

/* False at a declaration no compiler writes. */
static bool read_attributes(struct reader *r) {
  uint32_t n = 0, n_empty = 0;
  for (;;) {
    uint32_t name = read_u32(r), form = read_u32(r);
    if (r->failed) return false;
    if (!name && !form) return true;
    if (form == DW_FORM_implicit_const) read_s64(r);
    n_empty += form == DW_FORM_implicit_const || form == DW_FORM_flag_present;
    if (++n > MOST_ATTRIBUTES || n_empty > MOST_EMPTY) return false;
  }
}

/* A table of declarations ends with code 0. */
static bool check_table(struct check *c, uint64_t offset) {
  struct reader r = c->abbrev;
  if (offset == c->last_offset) return (c->n_declarations += c->last_count) <= MOST_DECLARATIONS;
  if (offset >= reader_left(&r)) return false;
  r.at += offset;
  uint32_t n = 0, code;
  while ((code = read_u32(&r)) != 0) {
    read_u32(&r); /* tag */
    read_u8(&r);  /* has children */
    if (code > MOST_CODE || ++n > MOST_CODE || ++c->n_declarations > MOST_DECLARATIONS || !read_attributes(&r)) return false;
  }
  c->last_offset = offset;
  c->last_count = n;
  return !r.failed;
}

static uint32_t read_fixed(struct reader *r, size_t size) {
  uint32_t value = 0;
  const uint8_t *bytes = read_bytes(r, size);
  if (bytes) memcpy(&value, bytes, size); /* little-endian, as Wasm and this host are */
  return value;
}

/* DWARF 5, 7.5.1: the header of a unit; 64-bit DWARF, whose length begins with 0xffffffff, is too long for any section. */
static bool check_unit(struct check *c, struct reader *info) {
  uint32_t size = read_fixed(info, 4);
  const uint8_t *bytes = read_bytes(info, size);
  if (!bytes || ++c->n_units > MOST_UNITS) return false;
  struct gw_error ignored = {0};
  struct reader r;
  reader_init(&r, bytes, bytes, bytes + size, &ignored);
  uint32_t version = read_fixed(&r, 2);
  if (version < 2 || version > 5) return false;
  if (version == 5) read_bytes(&r, 2); /* kind, size of an address */
  uint32_t table = read_fixed(&r, 4);
  return !r.failed && check_table(c, table);
}

bool debug_is_ordinary(struct debug_bytes info, struct debug_bytes abbrev) {
  struct gw_error ignored = {0};
  struct check c = {.last_offset = UINT64_MAX};
  struct reader r;
  if (!info.bytes || !abbrev.bytes) return false;
  reader_init(&c.abbrev, abbrev.bytes, abbrev.bytes, abbrev.bytes + abbrev.size, &ignored);
  reader_init(&r, info.bytes, info.bytes, info.bytes + info.size, &ignored);
  while (reader_left(&r))
    if (!check_unit(&c, &r)) return false;
  return true;
}

size_t debug_line_size(struct debug_bytes line, uint64_t offset) {
  uint32_t size;
  if (!line.bytes || line.size < sizeof size || offset > line.size - sizeof size) return SIZE_MAX;
  memcpy(&size, line.bytes + offset, sizeof size);
  return size <= line.size - sizeof size - offset ? size : SIZE_MAX;
}
