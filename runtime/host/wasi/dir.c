/* WASI: listing directories.
 *
 * A directory is read as a whole when its listing begins (cookie 0), and kept in byte order of the names until it begins anew or
 * the descriptor is closed. So a cookie is a place in that list: it stays valid whatever happens to the directory meanwhile,
 * nothing is shown twice or left out, and every host shows the same order. Reading it costs gas by its size, copying out again by
 * what is copied. */
#define _GNU_SOURCE /* O_DIRECTORY */
#include "runtime/host/wasi/private.h"

#include "runtime/host_api.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DIRENT_SIZE = 24, MAX_LISTING = 256 << 20 /* bytes of the host's entries */ };

/* What getdents64(2) gives. */
struct host_dirent {
  uint64_t d_ino;
  int64_t d_off;
  unsigned short d_reclen;
  unsigned char d_type;
  char d_name[];
};

struct listing {
  struct buffer bytes;              /* of host_dirent */
  const struct host_dirent **items; /* n, sorted */
  const struct host_dirent **spare; /* as many, while they are being sorted */
  uint64_t n;
  uint64_t device;
};

void wasi_listing_free(struct listing *listing) {
  if (!listing) return;
  buffer_clear(&listing->bytes);
  free(listing->items);
  free(listing->spare);
  free(listing);
}

/* Entries of the host, of which the guest sees 24 bytes and the name. */
static bool charge_entries(struct wasi_call *c, const uint8_t *entries, size_t size) {
  uint64_t n = 0, bytes = 0;
  for (size_t at = 0; at < size; n++) {
    const struct host_dirent *d = (const void *)(entries + at);
    bytes += DIRENT_SIZE + strlen(d->d_name);
    at += d->d_reclen;
  }
  return wasi_charge_for(c, COST_HOST_ENTRY, n) && wasi_charge(c, bytes);
}

/* Each piece is paid for before the next one is read, and all of them before they are sorted. */
static enum wasi_errno read_all(struct wasi_call *c, int host, struct buffer *b) {
  enum { PIECE = 32 << 10 };
  for (;;) {
    long n = syscall(SYS_getdents64, host, buffer_reserve(b, PIECE), PIECE);
    if (n < 0) return wasi_host_errno(errno);
    if (n == 0) return WASI_ESUCCESS;
    if (!charge_entries(c, b->bytes + b->size, (size_t)n)) return WASI_TRAPPED;
    b->size += (size_t)n;
    if (b->size > MAX_LISTING) return WASI_ENOMEM;
  }
}

static int compare(const void *a, const void *b) {
  const struct host_dirent *const *x = a, *const *y = b;
  return strcmp((*x)->d_name, (*y)->d_name);
}

static uint64_t count_entries(const struct listing *l) {
  uint64_t n = 0;
  for (size_t at = 0; at < l->bytes.size; n++) at += ((const struct host_dirent *)(const void *)(l->bytes.bytes + at))->d_reclen;
  return n;
}

/* Entries that are sorted, or merged, in one piece: in well less than a millisecond. */
enum { SORT_PIECE = 1024 };

static void sort_piece(struct listing *l, uint64_t first) {
  uint64_t n = l->n - first < SORT_PIECE ? l->n - first : SORT_PIECE;
  qsort(l->items + first, n, sizeof *l->items, compare);
}

/* Sorted runs of `width` become runs of twice that, in `merged`. Others may run between pieces. */
static void merge_runs(struct wasi_call *c, const struct listing *l, uint64_t width, const struct host_dirent **merged) {
  const uint64_t price = (uint64_t)gw_instance_schedule(c->caller)->gas[COST_HOST_ITEM] * SORT_PIECE;
  for (uint64_t at = 0, a = 0, b = 0, middle = 0, end = 0; at < l->n; at++) {
    if (at % SORT_PIECE == 0) host_api_charge_piece(c->caller, HOST_GAS_CALLS, price);
    if (at == end) {
      a = end;
      b = middle = l->n - a < width ? l->n : a + width;
      end = l->n - b < width ? l->n : b + width;
    }
    bool takes_a = b == end || (a < middle && compare(&l->items[a], &l->items[b]) <= 0);
    merged[at] = l->items[takes_a ? a++ : b++];
  }
}

/* What it costs depends on the number of entries alone, not on the order in which the host gives them. */
static enum wasi_errno sort(struct wasi_call *c, struct listing *l) {
  uint64_t n = count_entries(l);
  l->items = malloc((n + 1) * sizeof *l->items);
  l->spare = malloc((n + 1) * sizeof *l->spare);
  if (!l->items || !l->spare) return WASI_ENOMEM;
  for (size_t at = 0; at < l->bytes.size; at += l->items[l->n++]->d_reclen)
    l->items[l->n] = (const struct host_dirent *)(const void *)(l->bytes.bytes + at);
  for (uint64_t at = 0; at < n; at += SORT_PIECE) {
    const uint32_t *gas = gw_instance_schedule(c->caller)->gas;
    if (at) host_api_charge_piece(c->caller, HOST_GAS_CALLS, (uint64_t)gas[COST_HOST_ITEM] * SORT_PIECE);
    sort_piece(l, at);
  }
  for (uint64_t width = SORT_PIECE; width < n; width *= 2) {
    merge_runs(c, l, width, l->spare);
    const struct host_dirent **merged = l->spare;
    l->spare = l->items;
    l->items = merged;
  }
  free(l->spare);
  l->spare = NULL;
  return WASI_ESUCCESS;
}

size_t wasi_listed_bytes(const struct wasi *wasi) {
  size_t bytes = 0;
  for (uint32_t i = 0; i < wasi->n_fds; i++)
    if (wasi->fds[i].listing) bytes += wasi->fds[i].listing->bytes.size;
  return bytes;
}

/* Through a descriptor of its own: the directory's may be another guest's, too, and has one position. */
enum wasi_errno wasi_host_list(struct wasi_call *c, struct buffer *entries, uint64_t *device) {
  int host = openat(c->f->host, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (host < 0) return wasi_host_errno(errno);
  struct stat st = {0};
  enum wasi_errno e = fstat(host, &st) ? wasi_host_errno(errno) : read_all(c, host, entries);
  close(host);
  *device = st.st_dev;
  return e;
}

void wasi_dirent_append(struct buffer *entries, uint64_t inode, unsigned char type, const char *name, size_t size) {
  struct host_dirent d = {.d_ino = inode, .d_type = type};
  size_t head = offsetof(struct host_dirent, d_name), whole = (head + size + 8) & ~(size_t)7;
  static const uint8_t zeros[8];
  d.d_reclen = (unsigned short)whole;
  buffer_append(entries, &d, head);
  buffer_append(entries, name, size);
  buffer_append(entries, zeros, whole - head - size);
}

static enum wasi_errno fill(struct wasi_call *c, struct listing *l) {
  enum wasi_errno e = c->f->dir->list(c, &l->bytes, &l->device);
  return e ? e : sort(c, l);
}

static enum wasi_errno begin(struct wasi_call *c) {
  enum { CALLS = 6 }; /* to open, read and close it */
  if (!wasi_charge_for(c, COST_HOST_SYSTEM_CALL, CALLS)) return WASI_TRAPPED;
  wasi_listing_free(c->f->listing);
  c->f->listing = calloc(1, sizeof *c->f->listing);
  if (!c->f->listing) return WASI_ENOMEM;
  enum wasi_errno e = fill(c, c->f->listing);
  if (!e) return WASI_ESUCCESS;
  wasi_listing_free(c->f->listing);
  c->f->listing = NULL;
  return e;
}

/* Some file systems do not say. */
static enum wasi_filetype type_of(int directory, const struct host_dirent *d) {
  struct stat st;
  if (d->d_type != DT_UNKNOWN) return wasi_filetype(DTTOIF(d->d_type));
  return fstatat(directory, d->d_name, &st, AT_SYMLINK_NOFOLLOW) ? FILETYPE_UNKNOWN : wasi_filetype(st.st_mode);
}

/* What lies above is outside: its number is 0. */
static uint64_t inode_of(struct wasi *w, const struct listing *l, const struct host_dirent *d) {
  return strcmp(d->d_name, "..") == 0 ? 0 : wasi_inode(w, l->device, d->d_ino);
}

/* One entry into [out, out + room), cut off where it ends; returns the bytes written. */
static size_t put_dirent(struct wasi_call *c, uint64_t i, uint8_t *out, size_t room) {
  const struct listing *l = c->f->listing;
  const struct host_dirent *d = l->items[i];
  uint8_t head[DIRENT_SIZE] = {0};
  size_t name_size = strlen(d->d_name);
  put_u64(head, i + 1);
  put_u64(head + 8, inode_of(c->wasi, l, d));
  put_u32(head + 16, (uint32_t)name_size);
  head[20] = (uint8_t)type_of(c->f->host, d);
  size_t n_head = room < DIRENT_SIZE ? room : DIRENT_SIZE;
  memcpy(out, head, n_head);
  size_t n_name = room - n_head < name_size ? room - n_head : name_size;
  memcpy(out + n_head, d->d_name, n_name);
  return n_head + n_name;
}

/* Fewer bytes than there is room for mean the end of the directory. */
enum wasi_errno wasi_do_fd_readdir(struct wasi_call *c) {
  size_t room = c->v[2].u32, used = 0;
  uint8_t *out = wasi_guest(c, c->v[1].i32, room), *used_out = wasi_guest(c, c->v[4].i32, 4);
  if (!out || !used_out) return WASI_EFAULT;
  enum wasi_errno e = c->v[3].u64 && c->f->listing ? WASI_ESUCCESS : begin(c);
  if (e) return e;
  for (uint64_t i = c->v[3].u64; i < c->f->listing->n && used < room; i++) used += put_dirent(c, i, out + used, room - used);
  if (!wasi_charge(c, used)) return WASI_TRAPPED;
  put_u32(used_out, (uint32_t)used);
  return WASI_ESUCCESS;
}
