/* WASI: paths. The kernel resolves them: openat2(2) with RESOLVE_BENEATH follows neither "..", nor an absolute path, nor a
 * symbolic link out of the directory, whoever renames things meanwhile.
 *
 * What makes or removes a name has no form of openat2. There the path is cut in two: the directory is opened as above, and the
 * last component goes to the *at function of the call. Of these, mkdirat, unlinkat, renameat, symlinkat and the new name of
 * linkat never follow a link at the last component, not even with a slash behind it, and refuse "." and ".."; so nothing leads
 * out of the directory that was opened, and no race is left. */
#define _GNU_SOURCE /* O_PATH */
#include "runtime/host/wasi/private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { OFLAG_CREAT = 1, OFLAG_DIRECTORY = 2, OFLAG_EXCL = 4, OFLAG_TRUNC = 8, OFLAGS_ALL = 15 };

/* --- resolving ---------------------------------------------------------------------------------------------------- */

static uint64_t count_components(const char *path, uint32_t size) {
  uint64_t n = 0;
  for (uint32_t i = 0; i < size; i++) n += path[i] != '/' && (i == 0 || path[i - 1] == '/');
  return n;
}

static bool charge_path(struct wasi_call *c, const char *path, uint32_t size) {
  return wasi_charge_for(c, COST_HOST_PATH_COMPONENT, count_components(path, size)) && wasi_charge(c, size);
}

enum wasi_errno wasi_get_path(struct wasi_call *c, int at, char path[WASI_MAX_PATH]) {
  uint32_t size = c->v[at + 1].u32;
  const char *p = wasi_guest(c, c->v[at].i32, size);
  if (!p) return WASI_EFAULT;
  if (size >= WASI_MAX_PATH) return WASI_ENAMETOOLONG;
  if (memchr(p, 0, size)) return WASI_EILSEQ;
  memcpy(path, p, size);
  path[size] = 0;
  if (!size) return WASI_ENOENT;
  return charge_path(c, path, size) ? WASI_ESUCCESS : WASI_TRAPPED;
}

/* EAGAIN: something was renamed while the kernel looked. */
int wasi_open_beneath(int directory, const char *path, int flags, mode_t mode) {
  struct open_how how = {
      .flags = (uint64_t)(flags | O_CLOEXEC), .mode = mode, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
  long fd = -1;
  for (int tries = 0; tries < 16; tries++) {
    fd = syscall(SYS_openat2, directory, path, &how, sizeof how);
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) break;
  }
  return (int)fd;
}

enum wasi_errno wasi_open_errno(void) { return errno == EXDEV ? WASI_ENOTCAPABLE : wasi_host_errno(errno); }

/* A name in a directory: what makes or removes it works on these two. */
struct place {
  int directory; /* to close */
  const char *name;
};

/* Cuts `path` in place. Slashes at the end stay with the last component. */
static enum wasi_errno open_place(const struct wasi_fd *f, char *path, struct place *out) {
  size_t size = strlen(path);
  while (size && path[size - 1] == '/') size--;
  while (size && path[size - 1] != '/') size--;
  const char *directory = ".";
  out->name = path + size;
  if (*path == '/') return WASI_ENOTCAPABLE;
  if (strncmp(out->name, "..", 2) == 0 && (!out->name[2] || out->name[2] == '/')) {
    directory = path; /* no directory of a name that could be changed; the kernel says so if it is inside */
    out->name = "..";
  } else if (size) {
    path[size - 1] = 0;
    directory = path;
  }
  out->directory = wasi_open_beneath(f->host, directory, O_PATH | O_DIRECTORY, 0);
  return out->directory < 0 ? wasi_open_errno() : WASI_ESUCCESS;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

/* Devices, pipes and sockets in a directory are none of the guest's business. */
static enum wasi_errno kind_of(int host, enum wasi_fd_kind *kind) {
  struct stat st;
  if (fstat(host, &st)) return wasi_host_errno(errno);
  if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) return WASI_EACCES;
  *kind = S_ISDIR(st.st_mode) ? FD_DIR : FD_FILE;
  return WASI_ESUCCESS;
}

/* Rights that need a file open for writing. */
enum { RIGHTS_WRITING = WASI_RIGHT_FD_WRITE | WASI_RIGHT_FD_ALLOCATE | WASI_RIGHT_FD_FILESTAT_SET_SIZE };

static enum wasi_errno check_open(const struct wasi_call *c) {
  uint32_t oflags = c->v[4].u32, asked = (uint32_t)c->v[5].u64;
  if (oflags & ~(uint32_t)OFLAGS_ALL || c->v[7].u32 & ~(uint32_t)FDFLAGS_ALL) return WASI_EINVAL;
  if ((oflags & OFLAG_DIRECTORY) && (oflags & (OFLAG_CREAT | OFLAG_EXCL | OFLAG_TRUNC))) return WASI_EINVAL;
  bool writes = asked & WASI_RIGHT_FD_WRITE;
  if (c->f->is_readonly && (writes || (oflags & (OFLAG_CREAT | OFLAG_TRUNC)))) return WASI_EROFS;
  uint32_t wanted =
      (oflags & OFLAG_CREAT ? WASI_RIGHT_PATH_CREATE_FILE : 0) | (oflags & OFLAG_TRUNC ? WASI_RIGHT_PATH_FILESTAT_SET_SIZE : 0);
  if (writes && !(c->f->inheriting & WASI_RIGHT_FD_WRITE)) return WASI_ENOTCAPABLE;
  return (c->f->rights & wanted) == wanted ? WASI_ESUCCESS : WASI_ENOTCAPABLE;
}

/* NONBLOCK: opening a pipe would wait for its other end. */
static int host_flags(uint32_t oflags, uint32_t rights, bool follows) {
  int flags = O_NOCTTY | O_NONBLOCK | (follows ? 0 : O_NOFOLLOW);
  bool writes = (rights & RIGHTS_WRITING) || (oflags & OFLAG_TRUNC);
  if (oflags & OFLAG_DIRECTORY) return flags | O_RDONLY | O_DIRECTORY;
  if (oflags & OFLAG_CREAT) flags |= O_CREAT;
  if (oflags & OFLAG_EXCL) flags |= O_EXCL;
  if (oflags & OFLAG_TRUNC) flags |= O_TRUNC;
  return flags | (!writes ? O_RDONLY : rights & WASI_RIGHT_FD_READ ? O_RDWR : O_WRONLY);
}

/* Of what the guest asked for, a file keeps what the directory hands on and what makes sense for it. */
static void narrow(const struct wasi_call *c, struct wasi_fd *f) {
  const struct wasi_fd *parent = c->f;
  f->is_readonly = parent->is_readonly;
  f->flags = (uint16_t)c->v[7].u32;
  f->rights = parent->inheriting & (uint32_t)c->v[5].u64 & wasi_rights_of(f->kind);
  f->inheriting = f->kind == FD_DIR ? parent->inheriting & (uint32_t)c->v[6].u64 : 0;
}

static enum wasi_errno host_open(struct wasi_call *c, char *path, int flags, struct wasi_fd *out) {
  int host = wasi_open_beneath(c->f->host, path, flags, flags & O_CREAT ? 0666 : 0);
  if (host < 0) return wasi_open_errno();
  *out = (struct wasi_fd){.ops = &wasi_host_ops, .host = host};
  enum wasi_errno e = kind_of(host, &out->kind);
  if (out->kind == FD_DIR) out->dir = &wasi_host_dir;
  if (e) close(host);
  return e;
}

/* Making or emptying a file is worth as much as removing it. */
static bool charge_change(struct wasi_call *c) {
  enum { CHANGE_CALLS = 15 };
  return !(c->v[4].u32 & (OFLAG_CREAT | OFLAG_TRUNC)) || wasi_charge_for(c, COST_HOST_SYSTEM_CALL, CHANGE_CALLS);
}

enum wasi_errno wasi_do_path_open(struct wasi_call *c) {
  char path[WASI_MAX_PATH];
  uint8_t *out = wasi_guest(c, c->v[8].i32, 4);
  if (!out) return WASI_EFAULT;
  enum wasi_errno e = check_open(c);
  if (!e) e = wasi_get_path(c, 2, path);
  if (!e && !charge_change(c)) e = WASI_TRAPPED;
  if (e) return e;
  uint32_t fd = wasi_fd_take(c->wasi);
  if (fd == WASI_MAX_FDS) return WASI_EMFILE;
  c->f = &c->wasi->fds[c->v[0].u32]; /* the table may have moved */
  uint32_t rights = c->f->inheriting & (uint32_t)c->v[5].u64;
  int flags = host_flags(c->v[4].u32, rights, c->v[1].u32 & LOOKUP_FOLLOW);
  struct wasi_fd f;
  e = c->f->dir->open(c, path, flags, &f);
  if (!e && f.kind == FD_DIR && c->v[5].u64 & WASI_RIGHT_FD_WRITE) { /* the kernel said so but to O_DIRECTORY */
    wasi_fd_close(&f);
    e = WASI_EISDIR;
  }
  if (e) return e;
  narrow(c, &f);
  c->wasi->fds[fd] = f;
  put_u32(out, fd);
  return WASI_ESUCCESS;
}

/* Where there are none; nothing is one, then. */
static enum wasi_errno read_no_link(struct wasi_call *c, char *path) {
  struct stat st;
  enum wasi_errno e = c->f->dir->stat(c, path, false, &st);
  return e ? e : WASI_EINVAL;
}

/* --- links -------------------------------------------------------------------------------------------------------- */

enum wasi_errno wasi_do_path_readlink(struct wasi_call *c) {
  char path[WASI_MAX_PATH], target[WASI_MAX_PATH];
  uint32_t capacity = c->v[4].u32;
  char *out = wasi_guest(c, c->v[3].i32, capacity);
  uint8_t *used_out = wasi_guest(c, c->v[5].i32, 4);
  if (!out || !used_out) return WASI_EFAULT;
  enum wasi_errno e = wasi_get_path(c, 1, path);
  if (e) return e;
  if (!c->f->dir->has_links) return read_no_link(c, path);
  int host = wasi_open_beneath(c->f->host, path, O_PATH | O_NOFOLLOW, 0);
  if (host < 0) return wasi_open_errno();
  ssize_t n = readlinkat(host, "", target, sizeof target);
  /* an open descriptor of something else than a link gives ENOENT here */
  if (n < 0) e = errno == ENOENT ? WASI_EINVAL : wasi_host_errno(errno);
  close(host);
  if (n < 0) return e;
  if ((size_t)n > capacity) n = (ssize_t)capacity;
  if (!wasi_charge(c, (uint64_t)n)) return WASI_TRAPPED;
  memcpy(out, target, (size_t)n);
  put_u32(used_out, (uint32_t)n);
  return WASI_ESUCCESS;
}

/* An absolute target would be a way out for programs of the host that follow the link. */
enum wasi_errno wasi_do_path_symlink(struct wasi_call *c) {
  char target[WASI_MAX_PATH], path[WASI_MAX_PATH];
  struct place place;
  enum wasi_errno e = wasi_get_path(c, 0, target);
  if (!e && *target == '/') e = WASI_ENOTCAPABLE;
  if (!e) e = wasi_get_path(c, 3, path);
  if (!e && !c->f->dir->has_links) e = WASI_EPERM;
  if (!e) e = open_place(c->f, path, &place);
  if (e) return e;
  if (symlinkat(target, place.directory, place.name)) e = wasi_host_errno(errno);
  close(place.directory);
  return e;
}

/* Makes a name of what the link at `place` leads to: that is opened beneath, and named by its descriptor. */
static enum wasi_errno link_followed(const struct wasi_fd *f, const char *old_path, const struct place *new) {
  char name[32];
  int host = wasi_open_beneath(f->host, old_path, O_PATH, 0);
  if (host < 0) return wasi_open_errno();
  snprintf(name, sizeof name, "/proc/self/fd/%d", host);
  enum wasi_errno e =
      linkat(AT_FDCWD, name, new->directory, new->name, AT_SYMLINK_FOLLOW) ? wasi_host_errno(errno) : WASI_ESUCCESS;
  close(host);
  return e;
}

/* linkat follows an old name that ends in a slash. What is a directory then cannot be linked, and what is not, is none. */
static enum wasi_errno link_directory(const struct wasi_fd *f, const char *old_path) {
  int host = wasi_open_beneath(f->host, old_path, O_PATH | O_DIRECTORY, 0);
  if (host < 0) return wasi_open_errno();
  close(host);
  return WASI_EPERM;
}

static enum wasi_errno link_at(const struct wasi_fd *f, char *old_path, bool follows, const struct place *new) {
  struct place old;
  if (old_path[strlen(old_path) - 1] == '/') return link_directory(f, old_path);
  if (follows) return link_followed(f, old_path, new);
  enum wasi_errno e = open_place(f, old_path, &old);
  if (e) return e;
  if (linkat(old.directory, old.name, new->directory, new->name, 0)) e = wasi_host_errno(errno);
  close(old.directory);
  return e;
}

enum wasi_errno wasi_do_path_link(struct wasi_call *c) {
  char old_path[WASI_MAX_PATH], new_path[WASI_MAX_PATH];
  enum wasi_errno e;
  struct place new;
  struct wasi_fd *to = wasi_fd(c, c->v[4].i32, NEEDS_DIR_W, WASI_RIGHT_PATH_LINK_TARGET, &e);
  if (!e) e = wasi_get_path(c, 2, old_path);
  if (!e) e = wasi_get_path(c, 5, new_path);
  if (!e && c->f->dir != to->dir) e = WASI_EXDEV;
  if (!e && !c->f->dir->has_links) e = WASI_EPERM;
  if (!e) e = open_place(to, new_path, &new);
  if (e) return e;
  e = link_at(c->f, old_path, c->v[1].u32 & LOOKUP_FOLLOW, &new);
  close(new.directory);
  return e;
}

/* --- directories, renaming, removing ------------------------------------------------------------------------------ */

static enum wasi_errno host_make(struct wasi_call *c, char *path) {
  struct place place;
  enum wasi_errno e = open_place(c->f, path, &place);
  if (e) return e;
  if (mkdirat(place.directory, place.name, 0777)) e = wasi_host_errno(errno);
  close(place.directory);
  return e;
}

enum wasi_errno wasi_do_path_create_directory(struct wasi_call *c) {
  char path[WASI_MAX_PATH];
  enum wasi_errno e = wasi_get_path(c, 1, path);
  return e ? e : c->f->dir->make(c, path);
}

/* Whether this is a file's last name, which goes away now. */
static bool is_last_name(const struct place *place, struct stat *st) {
  return !fstatat(place->directory, place->name, st, AT_SYMLINK_NOFOLLOW) && (S_ISDIR(st->st_mode) || st->st_nlink == 1);
}

static enum wasi_errno host_remove(struct wasi_call *c, char *path, bool is_directory) {
  struct place place;
  struct stat st;
  enum wasi_errno e = open_place(c->f, path, &place);
  if (e) return e;
  bool goes = is_last_name(&place, &st);
  if (unlinkat(place.directory, place.name, is_directory ? AT_REMOVEDIR : 0))
    e = wasi_host_errno(errno);
  else if (goes)
    wasi_inode_forget(c->wasi, st.st_dev, st.st_ino);
  close(place.directory);
  return e;
}

static enum wasi_errno remove_at(struct wasi_call *c, bool is_directory) {
  char path[WASI_MAX_PATH];
  enum wasi_errno e = wasi_get_path(c, 1, path);
  return e ? e : c->f->dir->remove(c, path, is_directory);
}

enum wasi_errno wasi_do_path_remove_directory(struct wasi_call *c) { return remove_at(c, true); }
enum wasi_errno wasi_do_path_unlink_file(struct wasi_call *c) { return remove_at(c, false); }

static enum wasi_errno rename_at(struct wasi_call *c, const struct place *from, const struct place *to) {
  struct stat source, target;
  bool is_same = !fstatat(from->directory, from->name, &source, AT_SYMLINK_NOFOLLOW) &&
                 !fstatat(to->directory, to->name, &target, AT_SYMLINK_NOFOLLOW) && source.st_dev == target.st_dev &&
                 source.st_ino == target.st_ino;
  bool goes = !is_same && is_last_name(to, &target);
  if (renameat(from->directory, from->name, to->directory, to->name)) return wasi_host_errno(errno);
  if (goes) wasi_inode_forget(c->wasi, target.st_dev, target.st_ino);
  return WASI_ESUCCESS;
}

static enum wasi_errno host_rename(struct wasi_call *c, char *old_path, const struct wasi_fd *directory, char *new_path) {
  struct place from, to;
  enum wasi_errno e = open_place(c->f, old_path, &from);
  if (e) return e;
  e = open_place(directory, new_path, &to);
  if (!e) {
    e = rename_at(c, &from, &to);
    close(to.directory);
  }
  close(from.directory);
  return e;
}

enum wasi_errno wasi_do_path_rename(struct wasi_call *c) {
  char old_path[WASI_MAX_PATH], new_path[WASI_MAX_PATH];
  enum wasi_errno e;
  struct wasi_fd *target = wasi_fd(c, c->v[3].i32, NEEDS_DIR_W, WASI_RIGHT_PATH_RENAME_TARGET, &e);
  if (!e) e = wasi_get_path(c, 1, old_path);
  if (!e) e = wasi_get_path(c, 4, new_path);
  if (!e && c->f->dir != target->dir) e = WASI_EXDEV;
  return e ? e : c->f->dir->rename(c, old_path, target, new_path);
}

/* --- the host's directories --------------------------------------------------------------------------------------- */

const struct wasi_dir_ops wasi_host_dir = {.open = host_open,
                                           .stat = wasi_host_stat_at,
                                           .set_times = wasi_host_set_times_at,
                                           .make = host_make,
                                           .remove = host_remove,
                                           .rename = host_rename,
                                           .list = wasi_host_list,
                                           .has_links = true};
