/* Pairs of mapped files. What is stored there is in the system's hands at once: it outlives the process without any call. */
#include "runtime/receipt/private.h"

#include "base/error.h"
#include "base/files.h"
#include "base/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WIPE_PIECE = 64 << 10, TOUCH_PIECE = 256 << 10 };

/* Blocks on disk are taken now, because a store into a mapping cannot say that there are none. */
static bool allocate(int fd, size_t from, size_t to, struct gw_error *err) {
  int rc = from < to ? posix_fallocate(fd, (off_t)from, (off_t)(to - from)) : 0;
  return !rc || error_set(err, GW_ERROR_IO, "there is no room for receipts: %s", strerror(rc));
}

/* Maps `size` bytes of the file, whose end is wherever it is; false: err says why. */
static bool open_mapped(const char *path, size_t size, int *fd, void **bytes, struct gw_error *err) {
  *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (*fd < 0) return error_set(err, GW_ERROR_IO, "cannot open %s: %s", path, strerror(errno));
  *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, *fd, 0);
  if (*bytes != MAP_FAILED) return true;
  *bytes = NULL;
  return error_set(err, GW_ERROR_IO, "cannot map %s: %s", path, strerror(errno));
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* N.hashes has its whole size at once, and blocks where its table of bundles is: those of hashes come as they are needed. */
static bool open_files(struct segment *s, const char *directory, struct gw_error *err) {
  char path[FILES_PATH];
  void *leaves = NULL, *hashes = NULL;
  struct stat st;
  files_path(path, directory, s->number, "leaves");
  if (!open_mapped(path, SEGMENT_MAX_BYTES, &s->leaves_fd, &leaves, err)) return false;
  s->leaves = leaves;
  if (fstat(s->leaves_fd, &st)) return error_set(err, GW_ERROR_IO, "cannot open %s: %s", path, strerror(errno));
  s->room.bytes = smaller((size_t)st.st_size, SEGMENT_MAX_BYTES);
  if (!allocate(s->leaves_fd, 0, s->room.bytes, err)) return false; /* a copy may have holes */
  files_path(path, directory, s->number, "hashes");
  bool ok = open_mapped(path, sizeof *s->hashes, &s->hashes_fd, &hashes, err);
  s->hashes = hashes;
  return ok && allocate(s->hashes_fd, offsetof(struct files_hashes, bundles), sizeof *s->hashes, err);
}

struct segment *receipt_segment_open(const char *directory, uint64_t number, const struct segment_room *room,
                                     struct gw_error *err) {
  struct segment *s = heap_new(1, sizeof *s);
  struct segment_room wanted = *room;
  s->number = number;
  s->leaves_fd = s->hashes_fd = -1;
  if (open_files(s, directory, err) && receipt_segment_extend(s, &wanted, err)) {
    s->room = wanted;
    return s;
  }
  receipt_segment_close(s, false);
  return NULL;
}

bool receipt_segment_extend(const struct segment *s, struct segment_room *wanted, struct gw_error *err) {
  struct segment_room room = {smaller(wanted->bytes, SEGMENT_MAX_BYTES), smaller(wanted->leaves, FILES_SEGMENT)};
  *wanted = s->room;
  room.leaves = (room.leaves + ROOM_PIECE - 1) / ROOM_PIECE * ROOM_PIECE;
  if (room.leaves > wanted->leaves) {
    if (!allocate(s->hashes_fd, wanted->leaves * TREE_HASH_SIZE, room.leaves * TREE_HASH_SIZE, err)) return false;
    wanted->leaves = room.leaves;
  }
  if (room.bytes > wanted->bytes) {
    if (!allocate(s->leaves_fd, wanted->bytes, room.bytes, err)) return false;
    wanted->bytes = room.bytes;
  }
  return true;
}

/* In pieces: the address space is locked meanwhile. That a page cannot be had now is no error: it comes when it is used. */
static size_t touch(void *base, size_t from, size_t to) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (from = from / page * page; from < to; from += TOUCH_PIECE)
    madvise((char *)base + from, smaller(TOUCH_PIECE, (to - from + page - 1) / page * page), MADV_POPULATE_WRITE);
  return to;
}

void receipt_segment_touch(struct segment *s, const struct segment_room *wanted) {
  if (wanted->bytes > s->touched.bytes) s->touched.bytes = touch(s->leaves, s->touched.bytes, wanted->bytes);
  if (wanted->leaves <= s->touched.leaves) return;
  touch(s->hashes->hashes, s->touched.leaves * TREE_HASH_SIZE, wanted->leaves * TREE_HASH_SIZE);
  s->touched.leaves = wanted->leaves;
}

enum receipt_synced receipt_sync(int fd) {
  while (fdatasync(fd))
    if (errno != EINTR) return SYNC_LOST;
  return SYNC_DONE;
}

static enum receipt_synced sync_names(const char *directory) {
  int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return files_is_passing(errno) ? SYNC_LATER : SYNC_LOST;
  int rc;
  do rc = fsync(fd);
  while (rc && errno == EINTR);
  int saved = errno;
  close(fd);
  errno = saved;
  return rc ? SYNC_LOST : SYNC_DONE;
}

enum receipt_synced receipt_segment_sync(struct segment *s, const char *directory) {
  enum receipt_synced synced = s->is_listed ? SYNC_DONE : sync_names(directory);
  s->is_listed |= synced == SYNC_DONE;
  if (synced == SYNC_DONE) synced = receipt_sync(s->leaves_fd);
  return synced == SYNC_DONE ? receipt_sync(s->hashes_fd) : synced;
}

/* Through the file: to look into a mapping's hole would take a block on some file systems. */
static bool wipe(int fd, size_t from, size_t to, struct gw_error *err) {
  static const uint8_t nothing[WIPE_PIECE];
  uint8_t piece[WIPE_PIECE];
  while (from < to) {
    ssize_t n = pread(fd, piece, smaller(WIPE_PIECE, to - from), (off_t)from);
    if (n == 0) return true;
    if (n < 0 || (memcmp(piece, nothing, (size_t)n) != 0 && pwrite(fd, nothing, (size_t)n, (off_t)from) != n))
      return error_set(err, GW_ERROR_IO, "cannot wipe the rest of receipts: %s", strerror(errno));
    from += (size_t)n;
  }
  return true;
}

bool receipt_segment_wipe(const struct segment *s, size_t n, struct gw_error *err) {
  return wipe(s->leaves_fd, s->used, s->room.bytes, err) &&
         wipe(s->hashes_fd, n * TREE_HASH_SIZE, FILES_SEGMENT * TREE_HASH_SIZE, err);
}

void receipt_segment_close(struct segment *s, bool is_complete) {
  if (s->leaves) munmap(s->leaves, SEGMENT_MAX_BYTES);
  if (s->hashes) munmap(s->hashes, sizeof *s->hashes);
  if (is_complete && ftruncate(s->leaves_fd, (off_t)s->used)) {
  } /* then it is larger than it must be */
  if (s->leaves_fd >= 0) close(s->leaves_fd);
  if (s->hashes_fd >= 0) close(s->hashes_fd);
  free(s);
}

/* The leaves go last: as long as they are there, recovery looks for more. */
void receipt_segment_discard(struct segment *s, const char *directory) {
  char path[FILES_PATH];
  files_path(path, directory, s->number, "hashes");
  unlink(path);
  files_path(path, directory, s->number, "leaves");
  unlink(path);
  receipt_segment_close(s, false);
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
