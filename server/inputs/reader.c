/* Reading files of inputs: one is read whole, its records are checked and put in order, and it is kept for the next question. */
#include "base/array.h"
#include "base/error.h"
#include "base/heap.h"
#include "server/inputs/private.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_FILE = 256 << 20, MOST_LISTS = 16 };

struct found {
  uint64_t index;
  size_t at; /* of its record */
};

struct piece {
  uint8_t digest[INPUTS_DIGEST]; /* first */
  size_t at;
};

struct inputs_reader {
  char *directory;
  char name[80]; /* of the file that was read; "": none */
  size_t size;   /* that it had */
  struct buffer bytes;
  struct found *entries; /* by index */
  size_t n, capacity;
  struct piece *pieces; /* by digest */
  size_t n_pieces, pieces_capacity;
  bool is_damaged; /* a record before its end is none */
  bool has_missed; /* a file went, or got its other name, after it was listed */
};

/* --- which files there are ---------------------------------------------------------------------------------------- */

static bool parse_name(struct inputs_file *f, const char *name) {
  char word[16] = "";
  f->least = 0;
  f->greatest = UINT64_MAX;
  if (strlen(name) >= sizeof f->name) return false;
  strcpy(f->name, name);
  if (sscanf(name, "%" SCNx64 "-%" SCNx64 "-%" SCNx64 ".%15s", &f->number, &f->least, &f->greatest, word) == 4)
    return strcmp(word, "inputs") == 0;
  f->least = 0;
  f->greatest = UINT64_MAX;
  return sscanf(name, "%" SCNx64 ".%15s", &f->number, word) == 2 && strcmp(word, "inputs") == 0;
}

static int by_number(const void *a, const void *b) {
  const struct inputs_file *x = a, *y = b;
  return (x->number > y->number) - (x->number < y->number);
}

void inputs_files_list(struct inputs_files *files, const char *directory) {
  struct dirent *d;
  DIR *dir = opendir(directory);
  *files = (struct inputs_files){0};
  while (dir && (d = readdir(dir))) {
    struct inputs_file f;
    if (!parse_name(&f, d->d_name)) continue;
    if (files->n == files->capacity) array_grow(files->items, files->capacity, 16);
    files->items[files->n++] = f;
  }
  if (dir) closedir(dir);
  if (files->n) qsort(files->items, files->n, sizeof *files->items, by_number);
}

void inputs_files_clear(struct inputs_files *files) {
  free(files->items);
  *files = (struct inputs_files){0};
}

/* --- one of them -------------------------------------------------------------------------------------------------- */

static int by_index(const void *a, const void *b) {
  const struct found *x = a, *y = b;
  return (x->index > y->index) - (x->index < y->index);
}

static int by_digest(const void *a, const void *b) { return memcmp(a, b, INPUTS_DIGEST); }

static size_t least_size(uint32_t kind) {
  return sizeof(struct inputs_record) + (kind == INPUTS_ENTRY ? sizeof(struct inputs_entry) : INPUTS_DIGEST);
}

/* The record at `at`, or false: there is none that is whole and as it was written. */
static bool read_record(const struct inputs_reader *r, size_t at, struct inputs_record *out) {
  if (r->bytes.size - at < sizeof *out) return false;
  memcpy(out, r->bytes.bytes + at, sizeof *out);
  if (out->size > r->bytes.size - at || (out->kind != INPUTS_PIECE && out->kind != INPUTS_ENTRY)) return false;
  if (out->size < least_size(out->kind)) return false;
  return out->sum == inputs_checksum(r->bytes.bytes + at + sizeof out->sum, out->size - sizeof out->sum);
}

/* Behind a record that is damaged, if its size is not; else the end. */
static size_t skip_damaged(struct inputs_reader *r, size_t at) {
  struct inputs_record record, next;
  r->is_damaged = true;
  if (r->bytes.size - at < sizeof record) return r->bytes.size;
  memcpy(&record, r->bytes.bytes + at, sizeof record);
  if (record.size < sizeof record || record.size > r->bytes.size - at) return r->bytes.size;
  return read_record(r, at + record.size, &next) ? at + record.size : r->bytes.size;
}

static void add_entry(struct inputs_reader *r, size_t at) {
  struct inputs_entry entry;
  memcpy(&entry, r->bytes.bytes + at + sizeof(struct inputs_record), sizeof entry);
  if (r->n == r->capacity) array_grow(r->entries, r->capacity, 256);
  r->entries[r->n++] = (struct found){entry.index, at};
}

static void add_piece(struct inputs_reader *r, size_t at) {
  struct piece piece = {.at = at};
  memcpy(piece.digest, r->bytes.bytes + at + sizeof(struct inputs_record), INPUTS_DIGEST);
  if (r->n_pieces == r->pieces_capacity) array_grow(r->pieces, r->pieces_capacity, 256);
  r->pieces[r->n_pieces++] = piece;
}

/* Of a file that is not full: its last record is being written, or its writer was killed meanwhile. */
static bool is_torn(const struct inputs_reader *r, size_t at, bool is_full) {
  struct inputs_record record;
  if (is_full) return false;
  if (r->bytes.size - at < sizeof record) return true;
  memcpy(&record, r->bytes.bytes + at, sizeof record);
  return record.size > r->bytes.size - at;
}

static void index_file(struct inputs_reader *r, bool is_full) {
  struct inputs_record record;
  r->n = r->n_pieces = 0;
  r->is_damaged = false;
  for (size_t at = 0, size; at < r->bytes.size; at += size) {
    bool is_whole = read_record(r, at, &record);
    if (!is_whole && is_torn(r, at, is_full)) break;
    size = is_whole ? record.size : skip_damaged(r, at) - at;
    if (is_whole && record.kind == INPUTS_ENTRY) add_entry(r, at);
    if (is_whole && record.kind == INPUTS_PIECE) add_piece(r, at);
  }
  if (r->n) qsort(r->entries, r->n, sizeof *r->entries, by_index);
  if (r->n_pieces) qsort(r->pieces, r->n_pieces, sizeof *r->pieces, by_digest);
}

static bool load(struct inputs_reader *r, const char *name) {
  char path[4096];
  struct stat st;
  struct gw_error ignored = {0};
  snprintf(path, sizeof path, "%s/%s", r->directory, name);
  if (stat(path, &st)) {
    r->has_missed |= errno == ENOENT;
    return false;
  }
  if (strcmp(r->name, name) == 0 && r->size == (size_t)st.st_size) return true;
  buffer_clear(&r->bytes);
  *r->name = 0;
  if (!buffer_read_file(&r->bytes, path, MOST_FILE, &ignored)) {
    r->has_missed |= access(path, F_OK) != 0;
    return false;
  }
  snprintf(r->name, sizeof r->name, "%s", name);
  r->size = r->bytes.size;
  index_file(r, strchr(name, '-') != NULL);
  return true;
}

/* A piece stands before the first entry that names it. */
static bool find_piece(const struct inputs_reader *r, const uint8_t digest[INPUTS_DIGEST], struct inputs *out,
                       enum input_field field) {
  static const uint8_t none[INPUTS_DIGEST];
  struct inputs_record record;
  if (memcmp(digest, none, INPUTS_DIGEST) == 0) return true;
  const struct piece *p = r->n_pieces ? bsearch(digest, r->pieces, r->n_pieces, sizeof *r->pieces, by_digest) : NULL;
  if (!p) return false;
  memcpy(&record, r->bytes.bytes + p->at, sizeof record);
  inputs_set_bytes(out, field, r->bytes.bytes + p->at + sizeof record + INPUTS_DIGEST,
                   record.size - sizeof record - INPUTS_DIGEST);
  return true;
}

static enum inputs_answer read_entry(const struct inputs_reader *r, size_t at, struct inputs *out) {
  struct inputs_record record;
  struct inputs_entry entry;
  memcpy(&record, r->bytes.bytes + at, sizeof record);
  memcpy(&entry, r->bytes.bytes + at + sizeof record, sizeof entry);
  const uint8_t *fields = r->bytes.bytes + at + sizeof record + sizeof entry;
  *out = (struct inputs){0};
  bool ok = inputs_decode(out, fields, record.size - sizeof record - sizeof entry) &&
            find_piece(r, entry.request, out, INPUT_REQUEST) && find_piece(r, entry.settings, out, INPUT_SETTINGS);
  return ok ? INPUTS_FOUND : INPUTS_DAMAGED;
}

/* In what is read already. */
static enum inputs_answer look(const struct inputs_reader *r, uint64_t index, struct inputs *out) {
  struct found wanted = {.index = index};
  const struct found *f = r->n ? bsearch(&wanted, r->entries, r->n, sizeof *r->entries, by_index) : NULL;
  if (f) return read_entry(r, f->at, out);
  return r->is_damaged ? INPUTS_DAMAGED : INPUTS_NONE;
}

static enum inputs_answer look_in(struct inputs_reader *r, const char *name, uint64_t index, struct inputs *out) {
  return load(r, name) ? look(r, index, out) : INPUTS_NONE;
}

struct inputs_reader *inputs_reader_open(const char *directory) {
  struct inputs_reader *r = heap_new(1, sizeof *r);
  r->directory = strdup(directory);
  return r;
}

void inputs_reader_close(struct inputs_reader *r) {
  if (!r) return;
  buffer_clear(&r->bytes);
  free(r->entries);
  free(r->pieces);
  free(r->directory);
  free(r);
}

static enum inputs_answer look_in_all(struct inputs_reader *r, uint64_t index, struct inputs *out) {
  struct inputs_files files;
  enum inputs_answer answer = INPUTS_NONE;
  r->has_missed = false;
  inputs_files_list(&files, r->directory);
  for (size_t i = files.n; i-- > 0 && answer != INPUTS_FOUND;) {
    const struct inputs_file *f = &files.items[i];
    if (index < f->least || index > f->greatest) continue;
    enum inputs_answer here = look_in(r, f->name, index, out);
    if (here != INPUTS_NONE) answer = here;
  }
  inputs_files_clear(&files);
  return answer;
}

/* A file may be renamed or go between the list and the look, so then there is a new list. */
enum inputs_answer inputs_reader_find(struct inputs_reader *r, uint64_t index, struct inputs *out) {
  enum inputs_answer answer = INPUTS_NONE;
  if (*r->name && look(r, index, out) == INPUTS_FOUND) return INPUTS_FOUND; /* it does not matter that the file has grown since */
  for (int i = 0; i < MOST_LISTS; i++) {
    answer = look_in_all(r, index, out);
    if (answer == INPUTS_FOUND || !r->has_missed) break;
  }
  return answer;
}
