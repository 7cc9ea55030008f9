/* Opening: what the last checkpoint covers is there, and checked; what came behind it is looked through.
 *
 * Behind the checkpoint each leaf has its size in front, its hash beside it if it was filled, or it is among those that were
 * stored with state. All others become void, of the same size, in place: so this can be interrupted at any point and done again.
 */
#include "base/digest.h"
#include "base/error.h"
#include "base/files.h"
#include "runtime/receipt/private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEAST_LEAF = 7, MOST_LOST = 1 << 24 /* leaves that a power failure may take */ };
#define MAX_CHAINS_FILE ((size_t)4 << 30)

static bool damaged(const struct receipt_log *log, const char *what, struct gw_error *err) {
  return error_set(err, GW_ERROR_STATE, "the log of receipts in %s is damaged: %s", log->options.directory, what);
}

static bool is_there(const struct receipt_log *log, const char *name) {
  char path[FILES_PATH];
  snprintf(path, sizeof path, "%s/%s", log->options.directory, name);
  return access(path, F_OK) == 0;
}

/* --- the checkpoint ----------------------------------------------------------------------------------------------- */

static bool read_head(struct receipt_log *log, struct gw_error *err) {
  struct note_checkpoint head;
  struct tree_source source = {files_read_hashes, (void *)log->options.directory};
  struct tree_hash root;
  char path[FILES_PATH];
  struct buffer text = {0};
  snprintf(path, sizeof path, "%s/checkpoint", log->options.directory);
  if (!receipt_log_exists(log->options.directory))
    return !is_there(log, "level.1") || damaged(log, "its checkpoint is missing", err);
  bool ok = files_read_checkpoint(log->options.directory, &text, err) &&
            note_parse_checkpoint(&head, text.bytes, text.size, err) &&
            note_check(text.bytes, text.size, log->keys, log->n_keys, err);
  buffer_clear(&text);
  if (!ok) return false;
  if (strcmp(head.origin, log->options.origin) != 0) return damaged(log, "its checkpoint is another log's", err);
  if (!tree_root(&source, head.size, &root)) return damaged(log, "hashes are missing", err);
  if (!tree_hash_is(&root, &head.root)) return damaged(log, "its hashes are not those of its checkpoint", err);
  log->settled = log->n = head.size;
  atomic_store(&log->durable, head.size);
  return true;
}

/* --- segments ----------------------------------------------------------------------------------------------------- */

static bool open_segment(struct receipt_log *log, uint64_t number, struct gw_error *err) {
  static const struct segment_room room = {ROOM_BYTES, ROOM_LEAVES};
  struct segment *s = receipt_segment_open(log->options.directory, number, &room, err);
  if (!s) return false;
  if (log->current)
    log->current->next = s;
  else
    log->first = log->settling = s;
  log->current = s;
  return true;
}

bool receipt_log_advance(struct receipt_log *log, struct gw_error *err) {
  return open_segment(log, log->current->number + 1, err);
}

static bool is_whole(const uint8_t *leaf, size_t size, const struct tree_hash *hash) {
  struct tree_hash again = tree_leaf(leaf, size);
  return tree_hash_is(hash, &again);
}

/* Bytes that the first n leaves of the segment take; false: they are not there. Those of the last bundle must be what their
 * hashes say: behind a wrong end leaves would be written over others. */
static bool find_end(const struct segment *s, size_t n, size_t *end) {
  const uint8_t *leaf;
  size_t size, first = n ? (n - 1) / TREE_TILE : 0;
  *end = n ? s->hashes->bundles[first] : 0;
  if (*end > s->room.bytes) return false;
  for (size_t i = first * TREE_TILE; i < n; i++)
    if (!files_next_leaf(s->leaves, s->room.bytes, end, &leaf, &size) || size > LEAF_MAX ||
        !is_whole(leaf, size, &s->hashes->hashes[i]))
      return false;
  return true;
}

/* --- behind the checkpoint ---------------------------------------------------------------------------------------- */

struct recovery {
  struct receipt_log *log;
  const struct receipt_kept *kept, *kept_end;
};

static const struct receipt_kept *kept_at(struct recovery *r, uint64_t index) {
  while (r->kept < r->kept_end && r->kept->index < index) r->kept++;
  return r->kept < r->kept_end && r->kept->index == index ? r->kept : NULL;
}

/* For the index-th leaf of so many bytes, and some more. */
static bool ensure_room(struct segment *s, size_t index, size_t size, struct gw_error *err) {
  if (s->room.bytes - s->used >= size && s->room.leaves > index) return true;
  struct segment_room wanted = {s->used + size + ROOM_BYTES, index + ROOM_LEAVES};
  bool ok = receipt_segment_extend(s, &wanted, err);
  s->room = wanted;
  return ok;
}

/* The next leaf, of `size` bytes that are given out already, or that are so now. */
static bool put(struct recovery *r, const uint8_t *leaf, size_t size, struct gw_error *err) {
  struct receipt_place place;
  uint8_t nothing[LEAF_MAX];
  if (!ensure_room(r->log->current, r->log->n % FILES_SEGMENT, size + 2, err)) return false;
  receipt_segment_take(r->log->current, r->log->n++, size, &place);
  if (!leaf) leaf_make_void(nothing, size);
  receipt_log_fill(&place, leaf ? leaf : nothing);
  return true;
}

/* One leaf that was given out, at `leaf`. */
static bool recover_leaf(struct recovery *r, const uint8_t *leaf, size_t size, struct gw_error *err) {
  struct segment *s = r->log->current;
  uint8_t copy[LEAF_MAX];
  const struct receipt_kept *kept = kept_at(r, r->log->n);
  memcpy(copy, leaf, size);
  if (is_whole(copy, size, &s->hashes->hashes[r->log->n % FILES_SEGMENT])) return put(r, copy, size, err);
  if (kept && kept->size == size) return put(r, kept->bytes, size, err);
  return put(r, NULL, size, err);
}

static bool is_possible(size_t size) { return size >= LEAST_LEAF && size != 31 && size <= LEAF_MAX; }

static bool is_complete(const struct receipt_log *log) { return log->n == (log->current->number + 1) * FILES_SEGMENT; }

/* Whether the next pair of files was begun. */
static bool has_next(const struct receipt_log *log) {
  char path[FILES_PATH];
  files_path(path, log->options.directory, log->current->number + 1, "leaves");
  return access(path, F_OK) == 0;
}

static bool recover_given_out(struct recovery *r, struct gw_error *err) {
  struct receipt_log *log = r->log;
  for (;;) {
    struct segment *s = log->current;
    const uint8_t *leaf;
    size_t at = s->used, size;
    if (is_complete(log)) {
      if (!has_next(log)) return true;
      if (!receipt_log_advance(log, err)) return false;
      continue;
    }
    if (!files_next_leaf(s->leaves, s->room.bytes, &at, &leaf, &size) || !is_possible(size)) return true;
    if (!recover_leaf(r, leaf, size, err)) return false;
  }
}

/* After a power failure the store may have leaves that the log's files have not heard of. */
static bool recover_kept(struct recovery *r, struct gw_error *err) {
  struct receipt_log *log = r->log;
  for (; r->kept < r->kept_end; r->kept++) {
    if (r->kept->index < log->n) continue;
    if (r->kept->index - log->n > MOST_LOST) return damaged(log, "the state has receipts of a log that was longer", err);
    while (log->n <= r->kept->index) {
      bool is_it = log->n == r->kept->index;
      if (is_complete(log) && !receipt_log_advance(log, err)) return false;
      if (!put(r, is_it ? r->kept->bytes : NULL, is_it ? r->kept->size : LEAST_LEAF, err)) return false;
    }
  }
  return true;
}

/* What is behind the last leaf must not look like one. */
static bool wipe_rest(struct receipt_log *log, struct gw_error *err) {
  struct segment *s = log->current;
  char path[FILES_PATH];
  if (!receipt_segment_wipe(s, log->n - s->number * FILES_SEGMENT, err)) return false;
  for (uint64_t i = s->number + 1;; i++) {
    files_path(path, log->options.directory, i, "hashes");
    unlink(path);
    files_path(path, log->options.directory, i, "leaves");
    if (unlink(path)) return true;
  }
}

/* --- chains ------------------------------------------------------------------------------------------------------- */

/* The last line is the digest of those before it: a wrong link would be signed. */
static void append_sum(struct buffer *text) {
  char hex[DIGEST_HEX_SIZE];
  struct digest digest = digest_of(text->bytes, text->size);
  digest_print(&digest, hex);
  buffer_format(text, "%s\n", hex);
}

/* Whether it is there, and right; it is cut off. */
static bool take_sum(struct buffer *text) {
  char hex[DIGEST_HEX_SIZE];
  if (text->size <= DIGEST_HEX_SIZE) return false;
  size_t size = text->size - DIGEST_HEX_SIZE;
  struct digest digest = digest_of(text->bytes, size);
  digest_print(&digest, hex);
  hex[DIGEST_HEX_SIZE - 1] = '\n';
  if (memcmp(text->bytes + size, hex, DIGEST_HEX_SIZE) != 0) return false;
  text->size = size;
  return true;
}

bool receipt_chains_write(struct receipt_log *log, struct gw_error *err) {
  char path[FILES_PATH];
  struct buffer text = {0};
  snprintf(path, sizeof path, "%s/chains", log->options.directory);
  buffer_format(&text, "%" PRIu64 "\n", log->settled);
  pthread_mutex_lock(&log->mutex);
  const struct receipt_chain *chains = log->chains; /* those that come later come in front */
  pthread_mutex_unlock(&log->mutex);
  for (const struct receipt_chain *c = chains; c; c = c->next)
    if (c->settled != RECEIPT_NO_INDEX) buffer_format(&text, "%" PRIu64 " %s\n", c->settled, c->name);
  append_sum(&text);
  bool ok = file_write_durably(path, text.bytes, text.size, 0600, err);
  if (ok) log->n_chained = log->settled;
  buffer_clear(&text);
  return ok;
}

static void set_chain(struct receipt_log *log, const char *name, uint64_t index) {
  struct receipt_chain *chain = receipt_log_chain(log, name);
  chain->last = chain->settled = index;
}

/* What the file says, whose digest is right, so that it was written here. False: it is of a longer log. */
static bool parse_chains(struct receipt_log *log, char *text) {
  char *end;
  uint64_t n = strtoull(text, &end, 10);
  if (*end != '\n' || n > log->n) return false;
  log->n_chained = n;
  for (char *at = end + 1, *name; *at; at = end + 1) {
    uint64_t index = strtoull(at, &name, 10);
    end = strchr(name, '\n');
    *end = 0;
    set_chain(log, name + 1, index);
  }
  return true;
}

/* False: it is not there, or not what was written. */
static bool read_chains(struct receipt_log *log) {
  char path[FILES_PATH];
  struct buffer text = {0};
  struct gw_error ignored = {0};
  snprintf(path, sizeof path, "%s/chains", log->options.directory);
  bool ok = is_there(log, "chains") && buffer_read_file(&text, path, MAX_CHAINS_FILE, &ignored) && take_sum(&text);
  if (ok) text.bytes[text.size] = 0;
  ok = ok && parse_chains(log, (char *)text.bytes);
  buffer_clear(&text);
  return ok;
}

static void follow_leaf(struct receipt_log *log, const uint8_t *bytes, size_t size, uint64_t index) {
  struct leaf leaf;
  struct gw_error ignored = {0};
  char name[LEAF_MAX_TEXT + 1];
  if (!leaf_decode(&leaf, bytes, size, &ignored) || !leaf.fields[FIELD_FUNCTION].is_there) return;
  const struct leaf_value *function = &leaf.fields[FIELD_FUNCTION];
  memcpy(name, function->bytes, function->size);
  name[function->size] = 0;
  set_chain(log, name, index);
}

/* The leaves from `first` on, in one bundle. False: they are not what their hashes say. */
static bool follow_bundle(struct receipt_log *log, uint64_t first, size_t n, struct buffer *bundle) {
  struct tree_hash hashes[TREE_TILE];
  const uint8_t *leaf;
  size_t at = 0, size;
  bundle->size = 0;
  if (files_read_bundle(log->options.directory, first / TREE_TILE, n, bundle) != FILES_FOUND ||
      !files_read_hashes((void *)log->options.directory, 0, first, n, hashes))
    return false;
  for (size_t i = 0; i < n; i++) {
    if (!files_next_leaf(bundle->bytes, bundle->size, &at, &leaf, &size) || !is_whole(leaf, size, &hashes[i])) return false;
    follow_leaf(log, leaf, size, first + i);
  }
  return true;
}

/* From where they were written to the last leaf: from the first one, where what was written is no longer that. What leaves that
 * are forgotten said is known by that file alone. */
static bool find_chains(struct receipt_log *log, struct gw_error *err) {
  struct buffer bundle = {0};
  bool ok = true;
  if (!read_chains(log) && log->oldest)
    return damaged(log, "its file of chains is missing or changed, and older leaves are forgotten", err);
  for (uint64_t i = log->n_chained / TREE_TILE * TREE_TILE; ok && i < log->n; i += TREE_TILE)
    ok = follow_bundle(log, i, log->n - i < TREE_TILE ? log->n - i : TREE_TILE, &bundle);
  buffer_clear(&bundle);
  return ok || damaged(log, "leaves are missing or changed", err);
}

static uint64_t find_oldest(const struct receipt_log *log) {
  char path[FILES_PATH];
  uint64_t end = log->n / FILES_SEGMENT, low = 0;
  while (low < end) { /* those that are forgotten come first */
    uint64_t middle = low + (end - low) / 2;
    files_path(path, log->options.directory, middle, "leaves");
    if (access(path, F_OK) == 0)
      end = middle;
    else
      low = middle + 1;
  }
  return low;
}

bool receipt_recover(struct receipt_log *log, const struct receipt_kept *kept, size_t n_kept, struct gw_error *err) {
  bool is_new = !receipt_log_exists(log->options.directory);
  struct recovery recovery = {log, kept, is_new ? kept : kept + n_kept};
  if (!read_head(log, err)) return false;
  uint64_t number = log->n / FILES_SEGMENT;
  if (!open_segment(log, number, err)) return false;
  if (!find_end(log->current, log->n % FILES_SEGMENT, &log->current->used))
    return damaged(log, "leaves are missing or changed", err);
  if (!recover_given_out(&recovery, err)) return false;
  if (is_new && log->n) return damaged(log, "its checkpoint is missing", err);
  if (!recover_kept(&recovery, err)) return false;
  if (is_complete(log) && !receipt_log_advance(log, err)) return false;
  if (!wipe_rest(log, err)) return false;
  log->oldest = find_oldest(log);
  if (!find_chains(log, err)) return false;
  receipt_writer_settle(log);
  return log->settled == log->n || damaged(log, "its hashes cannot be written", err);
}
