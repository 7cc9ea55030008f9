/* WASI: what files are: type, size, times, and syncing them.
 *
 * A deterministic guest sees nothing of a file that its host decided: files are numbered in the order in which the guest meets
 * them, all times are the clock's start, directories have no size and one name. */
#define _GNU_SOURCE /* AT_EMPTY_PATH, O_PATH */
#include "runtime/host/wasi/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* --- numbers of files --------------------------------------------------------------------------------------------- */

#define FORGOTTEN UINT64_MAX

static struct inode *find_inode(const struct inodes *t, uint64_t device, uint64_t number) {
  uint64_t hash = (number ^ device << 32) * 0x9e3779b97f4a7c15u;
  for (uint32_t i = (uint32_t)(hash >> 32);; i++) {
    struct inode *at = &t->at[i & (t->capacity - 1)];
    if (!at->shown || (at->device == device && at->number == number)) return at;
  }
}

static bool grow_inodes(struct inodes *t) {
  struct inodes bigger = {.n = t->n, .capacity = t->capacity ? 2 * t->capacity : 64, .last_shown = t->last_shown};
  bigger.at = calloc(bigger.capacity, sizeof *bigger.at);
  if (!bigger.at) return false;
  for (uint32_t i = 0; i < t->capacity; i++)
    if (t->at[i].shown) *find_inode(&bigger, t->at[i].device, t->at[i].number) = t->at[i];
  free(t->at);
  *t = bigger;
  return true;
}

uint64_t wasi_inode(struct wasi *wasi, uint64_t device, uint64_t number) {
  struct inodes *t = &wasi->inodes;
  if (!wasi->deterministic) return number;
  if (2 * t->n >= t->capacity && !grow_inodes(t)) return 0;
  struct inode *at = find_inode(t, device, number);
  if (!at->shown) t->n++;
  if (!at->shown || at->shown == FORGOTTEN) *at = (struct inode){device, number, ++t->last_shown};
  return at->shown;
}

void wasi_inode_forget(struct wasi *wasi, uint64_t device, uint64_t number) {
  if (!wasi->deterministic || !wasi->inodes.n) return;
  struct inode *at = find_inode(&wasi->inodes, device, number);
  if (at->shown) at->shown = FORGOTTEN;
}

/* --- what the guest sees ------------------------------------------------------------------------------------------ */

enum wasi_filetype wasi_filetype(mode_t mode) {
  switch (mode & S_IFMT) {
  case S_IFBLK: return FILETYPE_BLOCK;
  case S_IFCHR: return FILETYPE_CHARACTER;
  case S_IFDIR: return FILETYPE_DIRECTORY;
  case S_IFREG: return FILETYPE_REGULAR;
  case S_IFSOCK: return FILETYPE_SOCKET_STREAM;
  case S_IFLNK: return FILETYPE_SYMLINK;
  default: return FILETYPE_UNKNOWN;
  }
}

void wasi_stat_show(struct wasi *wasi, const struct wasi_fd *f, struct stat *st) {
  if (f->is_readonly) st->st_atim = st->st_mtim; /* who else has read it is none of the guest's business */
  if (!wasi->deterministic) return;
  st->st_ino = st->st_nlink ? wasi_inode(wasi, st->st_dev, st->st_ino) : 0;
  st->st_dev = 1;
  st->st_atim = st->st_mtim = st->st_ctim = (struct timespec){.tv_sec = WASI_VIRTUAL_START_S};
  if (S_ISDIR(st->st_mode)) st->st_size = 0, st->st_nlink = 1;
}

static bool is_buffer(const struct wasi_fd *f) { return f->kind == FD_INPUT || f->kind == FD_OUTPUT; }

/* Buffers look like regular files: to a C library a reason to write in large pieces. So do all streams to a deterministic guest.
 */
static bool is_shown_as_file(const struct wasi *wasi, const struct wasi_fd *f) {
  return is_buffer(f) || (f->kind == FD_STREAM && wasi->deterministic);
}

enum wasi_errno wasi_host_stat(const struct wasi_fd *f, struct stat *st) {
  return fstat(f->host, st) ? wasi_host_errno(errno) : WASI_ESUCCESS;
}

enum wasi_errno wasi_fd_filetype(const struct wasi *wasi, const struct wasi_fd *f, enum wasi_filetype *out) {
  struct stat st = {.st_mode = S_IFREG};
  enum wasi_errno e = is_shown_as_file(wasi, f) ? WASI_ESUCCESS : f->ops->stat(f, &st);
  *out = wasi_filetype(st.st_mode);
  return e;
}

enum wasi_errno wasi_fd_stat(struct wasi *wasi, const struct wasi_fd *f, struct stat *st) {
  if (is_shown_as_file(wasi, f)) {
    *st = (struct stat){.st_mode = S_IFREG, .st_nlink = 1};
    if (wasi->deterministic) st->st_atim = st->st_mtim = st->st_ctim = (struct timespec){.tv_sec = WASI_VIRTUAL_START_S};
    if (is_buffer(f)) st->st_size = (off_t)(f->kind == FD_INPUT ? wasi->input_size : f->output->size);
    return WASI_ESUCCESS;
  }
  enum wasi_errno e = f->ops->stat(f, st);
  if (!e) wasi_stat_show(wasi, f, st);
  return e;
}

static uint64_t time_ns(struct timespec t) { return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec; }

enum wasi_errno wasi_put_filestat(struct wasi_call *c, int32_t ptr, const struct stat *st) {
  size_t size = c->is_unstable ? 56 : 64, tail = c->is_unstable ? 24 : 32; /* nlink was 4 bytes */
  uint8_t *out = wasi_guest(c, ptr, size);
  if (!out) return WASI_EFAULT;
  memset(out, 0, size);
  put_u64(out, st->st_dev);
  put_u64(out + 8, st->st_ino);
  out[16] = (uint8_t)wasi_filetype(st->st_mode);
  if (c->is_unstable)
    put_u32(out + 20, (uint32_t)st->st_nlink);
  else
    put_u64(out + 24, st->st_nlink);
  put_u64(out + tail, (uint64_t)st->st_size);
  put_u64(out + tail + 8, time_ns(st->st_atim));
  put_u64(out + tail + 16, time_ns(st->st_mtim));
  put_u64(out + tail + 24, time_ns(st->st_ctim));
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_filestat_get(struct wasi_call *c) {
  struct stat st;
  enum wasi_errno e = wasi_fd_stat(c->wasi, c->f, &st);
  return e ? e : wasi_put_filestat(c, c->v[1].i32, &st);
}

enum wasi_errno wasi_host_stat_at(struct wasi_call *c, char *path, bool follows, struct stat *st) {
  int host = wasi_open_beneath(c->f->host, path, O_PATH | (follows ? 0 : O_NOFOLLOW), 0);
  if (host < 0) return wasi_open_errno();
  enum wasi_errno e = fstat(host, st) ? wasi_host_errno(errno) : WASI_ESUCCESS;
  close(host);
  return e;
}

enum wasi_errno wasi_do_path_filestat_get(struct wasi_call *c) {
  char path[WASI_MAX_PATH];
  struct stat st;
  enum wasi_errno e = wasi_get_path(c, 2, path);
  if (!e) e = c->f->dir->stat(c, path, c->v[1].u32 & LOOKUP_FOLLOW, &st);
  if (e) return e;
  wasi_stat_show(c->wasi, c->f, &st);
  return wasi_put_filestat(c, c->v[4].i32, &st);
}

/* --- changing it -------------------------------------------------------------------------------------------------- */

enum wasi_errno wasi_get_times(uint64_t accessed, uint64_t modified, uint32_t flags, struct timespec out[2]) {
  enum { SET = 1, NOW = 2, N_FLAGS = 2 };
  const uint64_t ns[2] = {accessed, modified};
  if (flags >> 2 * N_FLAGS) return WASI_EINVAL;
  for (int i = 0; i < 2; i++, flags >>= N_FLAGS) {
    if ((flags & SET) && (flags & NOW)) return WASI_EINVAL;
    out[i] = (struct timespec){.tv_nsec = flags & NOW ? UTIME_NOW : UTIME_OMIT};
    if (flags & SET) out[i] = (struct timespec){(time_t)(ns[i] / 1000000000), (long)(ns[i] % 1000000000)};
  }
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_host_set_times(struct wasi_call *c, const struct timespec times[2]) {
  return futimens(c->f->host, times) ? wasi_host_errno(errno) : WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_filestat_set_times(struct wasi_call *c) {
  struct timespec times[2];
  enum wasi_errno e = wasi_get_times(c->v[1].u64, c->v[2].u64, c->v[3].u32, times);
  if (e) return e;
  if (!c->f->ops) return WASI_EBADF;
  return c->f->ops->set_times(c, times);
}

enum wasi_errno wasi_host_set_times_at(struct wasi_call *c, char *path, bool follows, const struct timespec times[2]) {
  int host = wasi_open_beneath(c->f->host, path, O_PATH | (follows ? 0 : O_NOFOLLOW), 0);
  if (host < 0) return wasi_open_errno();
  enum wasi_errno e = utimensat(host, "", times, AT_EMPTY_PATH) ? wasi_host_errno(errno) : WASI_ESUCCESS;
  close(host);
  return e;
}

enum wasi_errno wasi_do_path_filestat_set_times(struct wasi_call *c) {
  struct timespec times[2];
  char path[WASI_MAX_PATH];
  enum wasi_errno e = wasi_get_times(c->v[4].u64, c->v[5].u64, c->v[6].u32, times);
  if (!e) e = wasi_get_path(c, 2, path);
  return e ? e : c->f->dir->set_times(c, path, c->v[1].u32 & LOOKUP_FOLLOW, times);
}

enum wasi_errno wasi_host_set_size(struct wasi_call *c, uint64_t size) {
  return ftruncate(c->f->host, (off_t)size) ? wasi_host_errno(errno) : WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_filestat_set_size(struct wasi_call *c) {
  if (c->v[1].u64 > INT64_MAX) return WASI_EINVAL;
  return c->f->ops->set_size(c, c->v[1].u64);
}

enum wasi_errno wasi_host_allocate(struct wasi_call *c, uint64_t offset, uint64_t size) {
  enum { PER_CALL_LOG2 = 24 }; /* 16 MiB are worth a system call more */
  if (!wasi_charge_for(c, COST_HOST_SYSTEM_CALL, size >> PER_CALL_LOG2)) return WASI_TRAPPED;
  return fallocate(c->f->host, 0, (off_t)offset, (off_t)size) ? wasi_host_errno(errno) : WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_allocate(struct wasi_call *c) {
  uint64_t offset = c->v[1].u64, size = c->v[2].u64;
  if (!size || offset > INT64_MAX || size > INT64_MAX - offset) return WASI_EINVAL;
  return c->f->ops->allocate(c, offset, size);
}

/* --- advice and syncing ------------------------------------------------------------------------------------------- */

enum wasi_errno wasi_do_fd_advise(struct wasi_call *c) {
  static const int advice[] = {POSIX_FADV_NORMAL,   POSIX_FADV_SEQUENTIAL, POSIX_FADV_RANDOM,
                               POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED,   POSIX_FADV_NOREUSE};
  uint64_t offset = c->v[1].u64, size = c->v[2].u64;
  if (c->v[3].u32 > 5 || offset > INT64_MAX || size > INT64_MAX - offset) return WASI_EINVAL;
  if (c->f->kind != FD_FILE || c->f->ops != &wasi_host_ops || c->f->is_readonly)
    return WASI_ESUCCESS; /* who else reads it wants its pages kept as they are */
  return wasi_host_errno(posix_fadvise(c->f->host, (off_t)offset, (off_t)size, advice[c->v[3].u32]));
}

enum wasi_errno wasi_host_sync(struct wasi_call *c, bool is_data_alone) {
  return (is_data_alone ? fdatasync : fsync)(c->f->host) ? wasi_host_errno(errno) : WASI_ESUCCESS;
}

/* Of a buffer or a read-only file there is nothing to write back. */
static enum wasi_errno sync_fd(struct wasi_call *c, bool is_data_alone) {
  return c->f->ops && !c->f->is_readonly ? c->f->ops->sync(c, is_data_alone) : WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_sync(struct wasi_call *c) { return sync_fd(c, false); }
enum wasi_errno wasi_do_fd_datasync(struct wasi_call *c) { return sync_fd(c, true); }
