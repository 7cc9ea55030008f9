#include "runtime/receipt/files.h"

#include "base/error.h"
#include "runtime/receipt/leaf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_BUNDLE = TREE_TILE * (2 + LEAF_MAX), MAX_KEYS_FILE = FILES_MAX_KEYS * NOTE_MAX_VKEY };

void files_path(char out[FILES_PATH], const char *directory, uint64_t segment, const char *word) {
  snprintf(out, FILES_PATH, "%s/%08" PRIu64 ".%s", directory, segment, word);
}

bool files_is_passing(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == EAGAIN || error == EINTR;
}

/* As much as there is of `size` bytes from `at` on; -1 where the file is not there. */
static ssize_t read_at(const char *path, uint64_t at, void *out, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  size_t done = 0;
  if (fd < 0) return -1;
  while (done < size) {
    ssize_t n = pread(fd, (char *)out + done, size - done, (off_t)(at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += (size_t)n;
  }
  close(fd);
  return (ssize_t)done;
}

bool files_read_hashes(void *directory, unsigned level, uint64_t first, size_t n, struct tree_hash *out) {
  char path[FILES_PATH];
  uint64_t at = first;
  if (level == 0) {
    files_path(path, directory, first / FILES_SEGMENT, "hashes");
    at = first % FILES_SEGMENT;
  } else {
    snprintf(path, sizeof path, "%s/level.%u", (const char *)directory, level);
  }
  return read_at(path, at * sizeof *out, out, n * sizeof *out) == (ssize_t)(n * sizeof *out);
}

bool files_next_leaf(const uint8_t *bytes, size_t size, size_t *at, const uint8_t **leaf, size_t *leaf_size) {
  if (size - *at < 2) return false;
  *leaf_size = (size_t)bytes[*at] << 8 | bytes[*at + 1];
  if (size - *at - 2 < *leaf_size || !*leaf_size) return false;
  *leaf = bytes + *at + 2;
  *at += 2 + *leaf_size;
  return true;
}

/* How many bytes the first `n` leaves take; 0: they are not all there. */
static size_t bundle_size(const uint8_t *bytes, size_t size, size_t n) {
  const uint8_t *leaf;
  size_t at = 0, leaf_size;
  for (size_t i = 0; i < n; i++)
    if (!files_next_leaf(bytes, size, &at, &leaf, &leaf_size)) return 0;
  return at;
}

enum files_answer files_read_bundle(const char *directory, uint64_t bundle, size_t n, struct buffer *out) {
  char path[FILES_PATH];
  uint32_t at;
  uint64_t segment = bundle / FILES_BUNDLES;
  files_path(path, directory, segment, "hashes");
  size_t place = offsetof(struct files_hashes, bundles) + bundle % FILES_BUNDLES * sizeof at;
  if (read_at(path, place, &at, sizeof at) != sizeof at) return FILES_DAMAGED;
  files_path(path, directory, segment, "leaves");
  uint8_t *bytes = buffer_reserve(out, MAX_BUNDLE);
  ssize_t size = read_at(path, at, bytes, MAX_BUNDLE);
  if (size < 0) return errno == ENOENT ? FILES_PRUNED : FILES_DAMAGED; /* who adds leaves up goes on behind pruned ones */
  size_t used = bundle_size(bytes, (size_t)size, n);
  out->size += used;
  return used ? FILES_FOUND : FILES_DAMAGED;
}

enum files_answer files_read_leaf(const char *directory, uint64_t index, struct buffer *out) {
  size_t at = 0, n = index % TREE_TILE + 1, leaf_size = 0;
  const uint8_t *leaf = NULL;
  out->size = 0;
  enum files_answer answer = files_read_bundle(directory, index / TREE_TILE, n, out);
  if (answer != FILES_FOUND) return answer;
  for (size_t i = 0; i < n; i++)
    if (!files_next_leaf(out->bytes, out->size, &at, &leaf, &leaf_size)) return FILES_DAMAGED;
  memmove(out->bytes, leaf, leaf_size);
  out->size = leaf_size;
  return FILES_FOUND;
}

/* --- paths of tiles ----------------------------------------------------------------------------------------------- */

/* A number without zeros in front, up to `most`. */
static bool take_number(const char **at, uint64_t most, uint64_t *out) {
  const char *first = *at;
  *out = 0;
  while (**at >= '0' && **at <= '9' && *out <= most) *out = *out * 10 + (uint64_t)(*(*at)++ - '0');
  return *at != first && *out <= most && (*first != '0' || *at == first + 1);
}

/* "x001/x234/067": three digits each, all but the last behind an x, and none in front that could be left out. */
static bool take_index(const char **at, uint64_t *n) {
  bool is_last = false, is_first = true;
  for (*n = 0; !is_last; is_first = false) {
    if (**at != '/') return false;
    ++*at;
    is_last = **at != 'x';
    *at += !is_last;
    uint64_t piece = 0;
    for (int i = 0; i < 3; i++, ++*at) {
      if (**at < '0' || **at > '9') return false;
      piece = piece * 10 + (uint64_t)(**at - '0');
    }
    if (*n > UINT64_MAX / 1000 / TREE_TILE - 1 || (is_first && !is_last && !piece)) return false;
    *n = *n * 1000 + piece;
  }
  return true;
}

bool files_parse_tile(const char *path, struct files_tile *tile) {
  uint64_t level = 0, width = TREE_TILE;
  *tile = (struct files_tile){.is_entries = strncmp(path, "/entries", 8) == 0};
  if (tile->is_entries)
    path += 8;
  else if (*path++ != '/' || !take_number(&path, TREE_LEVELS - 1, &level))
    return false;
  if (!take_index(&path, &tile->n)) return false;
  if (strncmp(path, ".p/", 3) == 0) {
    path += 3;
    if (!take_number(&path, TREE_TILE - 1, &width) || !width) return false;
  }
  tile->level = (unsigned)level;
  tile->width = width;
  return !*path;
}

/* "x001/x234/067" goes to the end of a buffer, the last digits first. */
static const char *print_index(uint64_t n, char out[FILES_TILE_PATH]) {
  char *at = out + FILES_TILE_PATH, piece[8];
  const char *form = "/%03u";
  for (*--at = 0; form; n /= 1000) {
    int size = snprintf(piece, sizeof piece, form, (unsigned)(n % 1000));
    at -= size;
    memcpy(at, piece, (size_t)size);
    form = n >= 1000 ? "/x%03u" : NULL;
  }
  return at;
}

void files_print_tile(const struct files_tile *tile, char out[FILES_TILE_PATH]) {
  char index[FILES_TILE_PATH], level[12] = "/entries", width[8] = "";
  if (!tile->is_entries) snprintf(level, sizeof level, "/%u", tile->level);
  if (tile->width < TREE_TILE) snprintf(width, sizeof width, ".p/%u", (unsigned)tile->width);
  snprintf(out, FILES_TILE_PATH, "%s%.40s%s", level, print_index(tile->n, index), width);
}

bool files_has_tile(const struct files_tile *tile, uint64_t size) {
  uint64_t n = size >> (8 * tile->level);
  return tile->n <= n / TREE_TILE && tile->n * TREE_TILE + tile->width <= n;
}

/* --- small files -------------------------------------------------------------------------------------------------- */

bool files_read_checkpoint(const char *directory, struct buffer *out, struct gw_error *err) {
  char path[FILES_PATH];
  snprintf(path, sizeof path, "%s/checkpoint", directory);
  return buffer_read_file(out, path, NOTE_MAX_SIZE, err);
}

size_t files_parse_keys(char *text, struct note_key *keys, size_t most, struct gw_error *err) {
  size_t n = 0;
  for (char *end; *text; text = end) {
    end = text + strcspn(text, "\n");
    if (*end) *end++ = 0;
    if (n == most) error_set(err, GW_ERROR_LIMIT, "there are more than %zu keys", most);
    if (n == most || !note_parse_key(&keys[n], text, err)) return 0;
    n++;
  }
  if (!n) error_set(err, GW_ERROR_MALFORMED, "no key is named");
  return n;
}

size_t files_read_keys(const char *directory, struct note_key keys[FILES_MAX_KEYS], struct gw_error *err) {
  char path[FILES_PATH];
  struct buffer text = {0};
  snprintf(path, sizeof path, "%s/keys", directory);
  bool ok = buffer_read_file(&text, path, MAX_KEYS_FILE, err);
  buffer_append(&text, "", 1);
  size_t n = ok ? files_parse_keys((char *)text.bytes, keys, FILES_MAX_KEYS, err) : 0;
  buffer_clear(&text);
  return n;
}
