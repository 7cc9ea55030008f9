/* Pairs of mapped files. What is stored there is in the system's hands at once: it outlives the process without any call. */
#include "runtime/receipt/private.h"

#include "base/error.h"
#include "base/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Blocks on disk are taken now, because a store into a mapping cannot say that there are none. */
static bool allocate(int fd, size_t size, const char *path, struct gw_error *err) {
  int rc = posix_fallocate(fd, 0, (off_t)size);
  return !rc || error_set(err, GW_ERROR_IO, "there is no room for %s: %s", path, strerror(rc));
}

/* Opens, makes it as large at least, and maps `mapped` bytes; returns its size. 0: err says why. */
static size_t open_mapped(const char *path, size_t size, size_t mapped, int *fd, void **bytes, struct gw_error *err) {
  struct stat st;
  *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (*fd < 0 || fstat(*fd, &st)) {
    error_set(err, GW_ERROR_IO, "cannot open %s: %s", path, strerror(errno));
    return 0;
  }
  if ((size_t)st.st_size > size) size = (size_t)st.st_size < mapped ? (size_t)st.st_size : mapped;
  if (!allocate(*fd, size, path, err)) return 0;
  *bytes = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, *fd, 0);
  if (*bytes != MAP_FAILED) return size;
  *bytes = NULL;
  error_set(err, GW_ERROR_IO, "cannot map %s: %s", path, strerror(errno));
  return 0;
}

static bool sync_directory(const char *directory) {
  int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool ok = fd >= 0 && fsync(fd) == 0;
  if (fd >= 0) close(fd);
  return ok;
}

struct segment *receipt_segment_open(const char *directory, uint64_t number, size_t room, struct gw_error *err) {
  struct segment *s = heap_new(1, sizeof *s);
  char path[FILES_PATH];
  void *leaves = NULL, *hashes = NULL;
  s->number = number;
  s->leaves_fd = s->hashes_fd = -1;
  files_path(path, directory, number, "leaves");
  s->room = open_mapped(path, room, SEGMENT_MAX_BYTES, &s->leaves_fd, &leaves, err);
  s->leaves = leaves;
  files_path(path, directory, number, "hashes");
  bool ok = s->room && open_mapped(path, sizeof *s->hashes, sizeof *s->hashes, &s->hashes_fd, &hashes, err);
  s->hashes = hashes;
  if (ok && !sync_directory(directory)) ok = error_set(err, GW_ERROR_IO, "cannot sync %s: %s", directory, strerror(errno));
  if (ok) return s;
  receipt_segment_close(s, false);
  return NULL;
}

bool receipt_segment_grow(const struct segment *s, size_t *room, struct gw_error *err) {
  size_t step = *room < SEGMENT_MAX_STEP ? *room : SEGMENT_MAX_STEP;
  size_t size = *room + step < SEGMENT_MAX_BYTES ? *room + step : SEGMENT_MAX_BYTES;
  if (!allocate(s->leaves_fd, size, "receipts", err)) return false;
  *room = size;
  return true;
}

bool receipt_segment_sync(const struct segment *s) { return fdatasync(s->leaves_fd) == 0 && fdatasync(s->hashes_fd) == 0; }

void receipt_segment_close(struct segment *s, bool is_complete) {
  if (s->leaves) munmap(s->leaves, SEGMENT_MAX_BYTES);
  if (s->hashes) munmap(s->hashes, sizeof *s->hashes);
  if (is_complete && ftruncate(s->leaves_fd, (off_t)s->used)) {
  } /* then it is larger than it must be */
  if (s->leaves_fd >= 0) close(s->leaves_fd);
  if (s->hashes_fd >= 0) close(s->hashes_fd);
  free(s);
}

/* The size goes first: whoever finds it after a crash knows where the next leaf is, whatever is in this one. */
void receipt_segment_take(struct segment *s, uint64_t index, size_t size, struct receipt_place *place) {
  size_t in_segment = index % FILES_SEGMENT;
  uint8_t *at = s->leaves + s->used;
  if (in_segment % TREE_TILE == 0) s->hashes->bundles[in_segment / TREE_TILE] = (uint32_t)s->used;
  at[0] = (uint8_t)(size >> 8);
  at[1] = (uint8_t)size;
  s->used += 2 + size;
  *place = (struct receipt_place){.index = index, .leaf = at + 2, .hash = &s->hashes->hashes[in_segment], .size = size};
}
