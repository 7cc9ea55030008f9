/* WASI: directories in /state. The key of a file is its path. A directory is there as long as a key begins with its path and a
 * slash; the one that is just that, with an empty value, is what mkdir makes, so that it may be empty.
 *
 * Errors are those of Linux, in its order: first the path up to the last name, then that. There are no links, so ".." is what
 * stands before it, and a path that leads above the descriptor's directory is ENOTCAPABLE. */
#include "runtime/host/wasi/private.h"

#include "runtime/host/wasi/large.h"

#include "base/error.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>

enum {
  NAME_SIZE = 255,
  MAX_LISTED = 32 << 20, /* bytes of all listings that are open: one of as many files as a transaction may read */
};

/* A path within the state, without slashes at its ends; the root is empty. A directory's has a slash behind it as a key. */
struct place {
  char path[STATE_MAX_KEY + 1];
  size_t size;
  enum { LAST_NAME, LAST_DOT, LAST_DOTDOT } last; /* what the path ended with */
  bool has_slash;                                 /* behind that */
  const struct state_dir *gone;                   /* the directory where it begins, if nothing can be in that any more */
  bool is_too_long;                               /* the last name; which is looked at after all before it */
};

/* An open directory. */
struct state_dir {
  char path[STATE_MAX_KEY + 1];
  size_t size;
  bool is_gone;
};

enum node { NODE_NONE, NODE_FILE, NODE_DIR, NODE_FAILED /* *e says why */ };

/* --- looking ------------------------------------------------------------------------------------------------------ */

static bool has_state(struct wasi_call *c) {
  if (c->wasi->txn) large_parks(c->wasi->txn, c->caller);
  return c->wasi->txn;
}

/* Nothing can be written, and that is said before it is looked whether there is anything, as Linux does. */
static bool is_read_only(const struct wasi_call *c) { return state_txn_is_for_reading(c->wasi->txn); }

static int key_exists(struct wasi_call *c, const char *key, size_t size, struct gw_error *err) {
  struct state_txn *txn = c->wasi->txn;
  const void *value;
  size_t value_size;
  int found = state_txn_exists(txn, key, size, err);
  if (found != STATE_PENDING) return found;
  large_park(c->caller, txn);
  return state_txn_answer(txn, &value, &value_size, err);
}

static int next_page(struct wasi_call *c, uint32_t most, struct state_page *page, struct gw_error *err) {
  struct state_txn *txn = c->wasi->txn;
  int done = state_txn_scan_next(txn, most, SIZE_MAX, page, err);
  if (done != STATE_PENDING) return done;
  large_park(c->caller, txn);
  return state_txn_scan_answer(txn, page, err);
}

/* Keys of what is beneath a directory, from `first` on, which is behind its slash. */
static bool scan_beneath(struct wasi_call *c, const char *path, size_t size, const char *first, size_t first_size,
                         struct gw_error *err) {
  char begin[STATE_MAX_KEY + NAME_SIZE + 3], end[STATE_MAX_KEY + 2];
  size_t n = size;
  memcpy(begin, path, size);
  memcpy(end, path, size);
  if (size) begin[n++] = '/', end[size] = '/' + 1;
  memcpy(begin + n, first, first_size);
  n += first_size;
  if (n > STATE_MAX_KEY + 1) n = STATE_MAX_KEY + 1; /* no key is longer, so none lies between */
  struct state_range range = {.first = begin, .first_size = n, .end = end, .end_size = size ? size + 1 : 0, .is_for_keys = true};
  return state_txn_scan(c->wasi->txn, &range, err);
}

/* Whether a key begins with the path and a slash, and goes on. What was deleted is met on the way, and paid for. */
static int has_keys_beneath(struct wasi_call *c, const char *path, size_t size, struct gw_error *err) {
  struct state_page page = {0};
  if (!scan_beneath(c, path, size, "", 1, err)) return -1;
  while (!page.is_last && !page.n_pairs) {
    if (next_page(c, 1, &page, err) < 0) return -1;
    if (page.n_met > 1 && !wasi_state_pay(c, COST_HOST_ENTRY, page.n_met - 1, COST_STATE_BYTE, 0)) return -1;
  }
  return page.n_pairs > 0;
}

static enum node node_at(struct wasi_call *c, const char *path, size_t size, enum wasi_errno *e) {
  char key[STATE_MAX_KEY + 2];
  struct gw_error err = {0};
  *e = WASI_ESUCCESS;
  if (!size) return NODE_DIR;
  memcpy(key, path, size);
  key[size] = '/';
  if (!wasi_state_pay(c, COST_STATE_READ, 3, COST_STATE_BYTE, 3 * size)) {
    *e = WASI_TRAPPED;
    return NODE_FAILED;
  }
  int is_directory = key_exists(c, key, size + 1, &err);
  int is_file = is_directory ? 0 : key_exists(c, key, size, &err);
  if (!is_directory && !is_file) is_directory = has_keys_beneath(c, path, size, &err);
  if (is_directory < 0 || is_file < 0) *e = wasi_state_errno(c, &err);
  return *e ? NODE_FAILED : is_directory ? NODE_DIR : is_file ? NODE_FILE : NODE_NONE;
}

/* --- paths -------------------------------------------------------------------------------------------------------- */

static enum node node_of(struct wasi_call *c, const struct place *p, enum wasi_errno *e) {
  *e = p->is_too_long && !p->gone ? WASI_ENAMETOOLONG : WASI_ESUCCESS;
  if (p->gone) return p->size == p->gone->size && !p->is_too_long ? NODE_DIR : NODE_NONE;
  return p->is_too_long ? NODE_FAILED : node_at(c, p->path, p->size, e);
}

static enum wasi_errno must_be_directory(struct wasi_call *c, const struct place *p) {
  enum wasi_errno e;
  enum node node = node_of(c, p, &e);
  return node == NODE_DIR || node == NODE_FAILED ? e : node == NODE_FILE ? WASI_ENOTDIR : WASI_ENOENT;
}

static enum wasi_errno push(struct place *p, const char *name, size_t size) {
  size_t slash = p->size > 0;
  if (size > NAME_SIZE || p->size + slash + size + 1 > STATE_MAX_KEY) return WASI_ENAMETOOLONG;
  if (slash) p->path[p->size] = '/';
  memcpy(p->path + p->size + slash, name, size);
  p->size += slash + size;
  return WASI_ESUCCESS;
}

static enum wasi_errno pop(struct place *p, size_t floor) {
  if (p->size <= floor) return WASI_ENOTCAPABLE;
  while (p->size > floor && p->path[p->size - 1] != '/') p->size--;
  if (p->size > floor || (p->size && p->path[p->size - 1] == '/')) p->size--;
  return WASI_ESUCCESS;
}

static enum wasi_errno step(struct place *p, size_t floor, const char *name, size_t size) {
  p->last = LAST_NAME;
  if (size == 1 && *name == '.') {
    p->last = LAST_DOT;
    return WASI_ESUCCESS;
  }
  if (size == 2 && name[0] == '.' && name[1] == '.') {
    p->last = LAST_DOTDOT;
    return pop(p, floor);
  }
  return push(p, name, size);
}

/* Where a path leads; all that is before the last name must be directories. */
static enum wasi_errno find_place(struct wasi_call *c, const struct wasi_fd *f, const char *path, struct place *p) {
  const struct state_dir *d = f->state;
  if (!has_state(c)) return WASI_ENODEV;
  if (*path == '/') return WASI_ENOTCAPABLE;
  *p = (struct place){.size = d->size, .last = LAST_DOT, .gone = d->is_gone ? d : NULL};
  memcpy(p->path, d->path, d->size);
  while (*path) {
    size_t n = strcspn(path, "/");
    enum wasi_errno e = step(p, d->size, path, n);
    path += n;
    p->has_slash = *path == '/';
    while (*path == '/') path++;
    p->is_too_long = e == WASI_ENAMETOOLONG && !*path;
    if (e && !p->is_too_long) return e;
    if (*path && (e = must_be_directory(c, p))) return e;
  }
  return p->last == LAST_NAME ? WASI_ESUCCESS : must_be_directory(c, p);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static struct wasi_fd directory_fd(const char *path, size_t size) {
  struct wasi_fd f = {.kind = FD_DIR, .ops = &wasi_state_ops, .dir = &wasi_state_dir, .state = calloc(1, sizeof *f.state)};
  if (!f.state) return f;
  memcpy(f.state->path, path, size);
  f.state->size = size;
  return f;
}

struct wasi_fd wasi_state_root(void) {
  return directory_fd("", 0);
}
void wasi_state_close(struct wasi_fd *f) { free(f->state); }

static enum wasi_errno open_directory(const struct place *p, int flags, struct wasi_fd *out) {
  if (flags & O_CREAT) return flags & O_EXCL ? WASI_EEXIST : WASI_EISDIR;
  if ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC) return WASI_EISDIR;
  *out = directory_fd(p->path, p->size);
  if (out->state) out->state->is_gone = p->gone;
  return out->state ? WASI_ESUCCESS : WASI_ENOMEM;
}

/* The value of a file. One that is a single record is looked at as a whole. */
static enum wasi_errno open_value(struct wasi_call *c, const struct place *p, struct state_large **out) {
  struct gw_error err = {0};
  if (!wasi_state_pay(c, COST_STATE_READ, 1, COST_STATE_BYTE, p->size)) return WASI_TRAPPED;
  int found = state_large_open(c->wasi->txn, p->path, p->size, false, out, &err);
  if (found < 0) return wasi_state_errno(c, &err);
  if (!found) return WASI_ENOENT;
  uint64_t bytes = state_large_is_one(*out) ? state_large_size(*out) : 0;
  return wasi_charge_for(c, COST_HOST_BYTE, bytes) ? WASI_ESUCCESS : WASI_TRAPPED;
}

static bool pay_write(struct wasi_call *c, size_t key_size) {
  return wasi_state_pay_commit(c) && wasi_state_pay(c, COST_STATE_WRITE, 1, COST_STATE_BYTE, key_size);
}

static enum wasi_errno open_file(struct wasi_call *c, const struct place *p, int flags, struct wasi_fd *out) {
  if (p->has_slash || flags & O_DIRECTORY) return WASI_ENOTDIR;
  if (flags & O_CREAT && flags & O_EXCL) return WASI_EEXIST;
  *out = (struct wasi_fd){.kind = FD_FILE, .ops = &wasi_state_ops};
  enum wasi_errno e = open_value(c, p, &out->large);
  if (e || !(flags & O_TRUNC)) return e;
  struct wasi_fd *directory = c->f;
  c->f = out;
  e = wasi_state_ops.set_size(c, 0);
  c->f = directory;
  return e;
}

static enum wasi_errno make_file(struct wasi_call *c, const struct place *p, int flags, struct wasi_fd *out) {
  struct gw_error err = {0};
  if (!(flags & O_CREAT) || p->gone) return WASI_ENOENT;
  if (is_read_only(c)) return WASI_EROFS;
  *out = (struct wasi_fd){.kind = FD_FILE, .ops = &wasi_state_ops};
  if (!pay_write(c, p->size)) return WASI_TRAPPED;
  if (state_large_create(c->wasi->txn, p->path, p->size, &out->large, &err)) return WASI_ESUCCESS;
  return wasi_state_errno(c, &err);
}

static enum wasi_errno dir_open(struct wasi_call *c, char *path, int flags, struct wasi_fd *out) {
  struct place p;
  enum wasi_errno e = find_place(c, c->f, path, &p);
  if (e) return e;
  if (flags & O_CREAT && p.has_slash && p.last == LAST_NAME) return WASI_EISDIR;
  bool writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC, is_refused = writes && is_read_only(c);
  switch (node_of(c, &p, &e)) {
  case NODE_NONE: return make_file(c, &p, flags, out);
  case NODE_FILE: return is_refused ? WASI_EROFS : open_file(c, &p, flags, out);
  case NODE_DIR: return open_directory(&p, flags, out);
  case NODE_FAILED: break;
  }
  return e;
}

static enum wasi_errno stat_file(struct wasi_call *c, const struct place *p, struct stat *st) {
  struct wasi_fd f = {.kind = FD_FILE, .ops = &wasi_state_ops};
  if (p->has_slash) return WASI_ENOTDIR;
  enum wasi_errno e = open_value(c, p, &f.large);
  return e ? e : wasi_state_ops.stat(&f, st);
}

/* Not worth much, but the same for one path. */
static uint64_t number_of(const char *path, size_t size) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < size; i++) hash = (hash ^ (uint8_t)path[i]) * 0x100000001b3u;
  return hash | 1;
}

static enum wasi_errno dir_stat(struct wasi_call *c, char *path, bool follows, struct stat *st) {
  struct place p;
  (void)follows;
  enum wasi_errno e = find_place(c, c->f, path, &p);
  if (e) return e;
  switch (node_of(c, &p, &e)) {
  case NODE_NONE: return WASI_ENOENT;
  case NODE_FILE: return stat_file(c, &p, st);
  case NODE_DIR:
    *st = (struct stat){.st_dev = 1, .st_ino = number_of(p.path, p.size), .st_mode = S_IFDIR, .st_nlink = 1};
    return WASI_ESUCCESS;
  case NODE_FAILED: break;
  }
  return e;
}

static enum wasi_errno dir_set_times(struct wasi_call *c, char *path, bool follows, const struct timespec times[2]) {
  struct stat st;
  (void)times;
  return dir_stat(c, path, follows, &st);
}

/* --- making and removing ------------------------------------------------------------------------------------------ */

static enum wasi_errno set_marker(struct wasi_call *c, struct place *p) {
  struct gw_error err = {0};
  if (!pay_write(c, p->size + 1)) return WASI_TRAPPED;
  p->path[p->size] = '/';
  return state_txn_set(c->wasi->txn, p->path, p->size + 1, "", 0, &err) ? WASI_ESUCCESS : wasi_state_errno(c, &err);
}

static enum wasi_errno delete_key(struct wasi_call *c, const char *key, size_t size) {
  struct gw_error err = {0};
  if (!pay_write(c, size)) return WASI_TRAPPED;
  return state_txn_delete(c->wasi->txn, key, size, &err) ? WASI_ESUCCESS : wasi_state_errno(c, &err);
}

static enum wasi_errno dir_make(struct wasi_call *c, char *path) {
  struct place p;
  enum wasi_errno e = find_place(c, c->f, path, &p);
  if (e) return e;
  if (p.last != LAST_NAME) return WASI_EEXIST;
  enum node node = node_of(c, &p, &e);
  if (e) return e;
  if (node != NODE_NONE) return WASI_EEXIST;
  return p.gone ? WASI_ENOENT : set_marker(c, &p);
}

static bool is_beneath(const char *path, size_t size, const char *directory, size_t directory_size) {
  return size >= directory_size && !memcmp(path, directory, directory_size) &&
         (size == directory_size || path[directory_size] == '/');
}

static void mark_gone(struct wasi *w, const struct place *p) {
  for (uint32_t i = 0; i < w->n_fds; i++) {
    struct state_dir *d = w->fds[i].state;
    if (d && !d->is_gone && d->size == p->size && !memcmp(d->path, p->path, p->size)) d->is_gone = true;
  }
}

static enum wasi_errno must_be_empty(struct wasi_call *c, const struct place *p) {
  struct gw_error err = {0};
  if (!wasi_charge_for(c, COST_STATE_READ, 1)) return WASI_TRAPPED;
  int has_keys = has_keys_beneath(c, p->path, p->size, &err);
  return has_keys < 0 ? wasi_state_errno(c, &err) : has_keys ? WASI_ENOTEMPTY : WASI_ESUCCESS;
}

static enum wasi_errno remove_directory(struct wasi_call *c, struct place *p) {
  enum wasi_errno e = must_be_empty(c, p);
  p->path[p->size] = '/';
  if (!e) e = delete_key(c, p->path, p->size + 1);
  if (!e) mark_gone(c->wasi, p);
  return e;
}

static enum wasi_errno dir_remove(struct wasi_call *c, char *path, bool is_directory) {
  struct place p;
  enum wasi_errno e = find_place(c, c->f, path, &p);
  if (e) return e;
  if (p.last != LAST_NAME) return !is_directory ? WASI_EISDIR : p.last == LAST_DOT ? WASI_EINVAL : WASI_ENOTEMPTY;
  if (is_read_only(c)) return WASI_EROFS;
  enum node node = node_of(c, &p, &e);
  if (e) return e;
  if (node == NODE_NONE) return WASI_ENOENT;
  if (is_directory) return node == NODE_DIR ? remove_directory(c, &p) : WASI_ENOTDIR;
  if (node == NODE_DIR) return WASI_EISDIR;
  return p.has_slash ? WASI_ENOTDIR : delete_key(c, p.path, p.size);
}

/* --- renaming ----------------------------------------------------------------------------------------------------- */

static enum wasi_errno move_key(struct wasi_call *c, const char *from, size_t from_size, const char *to, size_t to_size) {
  struct state_large *large;
  struct gw_error err = {0};
  struct place p = {.size = from_size};
  memcpy(p.path, from, from_size);
  enum wasi_errno e = open_value(c, &p, &large);
  if (e == WASI_ENOENT) return WASI_ESUCCESS;
  if (!e && (!pay_write(c, from_size) || !pay_write(c, to_size))) e = WASI_TRAPPED;
  if (!e && !state_large_move(c->wasi->txn, large, to, to_size, &err)) e = wasi_state_errno(c, &err);
  return e;
}

/* Keys beneath a directory, its own among them: into `names`, each with its size in two bytes in front. */
static enum wasi_errno collect_keys(struct wasi_call *c, const struct place *p, struct buffer *names) {
  struct gw_error err = {0};
  struct state_page page = {0};
  names->size = 0;
  if (!scan_beneath(c, p->path, p->size, "", 0, &err)) return wasi_state_errno(c, &err);
  while (!page.is_last) {
    if (next_page(c, 1000, &page, &err) < 0) return wasi_state_errno(c, &err);
    if (!wasi_state_pay(c, COST_HOST_ENTRY, page.n_met, COST_STATE_BYTE, page.size)) return WASI_TRAPPED;
    for (const uint8_t *at = page.bytes; at < page.bytes + page.size; at += 8 + get_u32(at)) {
      uint16_t size = (uint16_t)get_u32(at);
      buffer_append(names, &size, sizeof size);
      buffer_append(names, at + 8, size);
    }
  }
  return WASI_ESUCCESS;
}

static bool keys_fit(const struct buffer *names, size_t from_size, size_t to_size) {
  uint16_t size;
  for (size_t at = 0; at < names->size; at += sizeof size + size) {
    memcpy(&size, names->bytes + at, sizeof size);
    if (size - from_size + to_size > STATE_MAX_KEY) return false;
  }
  return true;
}

/* Open directories go with it. */
static void move_open(struct wasi *w, const struct place *from, const struct place *to) {
  for (uint32_t i = 0; i < w->n_fds; i++) {
    struct state_dir *d = w->fds[i].state;
    if (!d || d->is_gone || !is_beneath(d->path, d->size, from->path, from->size)) continue;
    size_t rest = d->size - from->size;
    if (to->size + rest >= STATE_MAX_KEY) { /* no key is beneath it, or that would be too long, too: nothing can be there */
      d->is_gone = true;
      continue;
    }
    memmove(d->path + to->size, d->path + from->size, rest);
    memcpy(d->path, to->path, to->size);
    d->size = to->size + rest;
  }
}

/* Half of a directory must not have moved: what fails in the middle ends the invocation. */
static enum wasi_errno in_the_middle(struct wasi_call *c, enum wasi_errno e) {
  if (!e || e == WASI_TRAPPED) return e;
  gw_instance_fail(c->caller, "a directory in " WASI_STATE_PATH " has more than one invocation can rename");
  c->trap = GW_TRAP_HOST;
  return WASI_TRAPPED;
}

static enum wasi_errno move_directory(struct wasi_call *c, const struct place *from, const struct place *to) {
  struct buffer *names = &c->wasi->names;
  char key[STATE_MAX_KEY];
  uint16_t size;
  enum wasi_errno e = collect_keys(c, from, names);
  if (e) return e;
  if (!keys_fit(names, from->size, to->size)) return WASI_ENAMETOOLONG;
  for (size_t at = 0; at < names->size && !e; at += sizeof size + size) {
    memcpy(&size, names->bytes + at, sizeof size);
    const char *old = (const char *)names->bytes + at + sizeof size;
    size_t rest = size - from->size;
    memcpy(key, to->path, to->size);
    memcpy(key + to->size, old + from->size, rest);
    e = in_the_middle(c, move_key(c, old, size, key, to->size + rest));
  }
  if (!e) move_open(c->wasi, from, to);
  return e;
}

static bool is_same(const struct place *a, const struct place *b) {
  return a->size == b->size && !memcmp(a->path, b->path, a->size);
}

/* What there is to say before anything moves; *old is what does. */
static enum wasi_errno check_rename(struct wasi_call *c, const struct place *from, struct place *to, enum node *old) {
  enum wasi_errno e;
  if (from->last != LAST_NAME || to->last != LAST_NAME) return WASI_EBUSY;
  if (is_read_only(c)) return WASI_EROFS;
  *old = node_of(c, from, &e);
  if (e) return e;
  if (*old == NODE_NONE || to->gone) return WASI_ENOENT;
  enum node new = node_of(c, to, &e);
  if (e) return e;
  if (*old == NODE_FILE && (from->has_slash || (to->has_slash && new == NODE_NONE))) return WASI_ENOTDIR;
  if (*old == NODE_FILE && to->has_slash) return WASI_ENOTDIR;
  if (is_same(from, to)) return WASI_ESUCCESS;
  if (is_beneath(to->path, to->size, from->path, from->size)) return *old == NODE_DIR ? WASI_EINVAL : WASI_ENOTDIR;
  if (is_beneath(from->path, from->size, to->path, to->size)) return WASI_ENOTEMPTY;
  if (new == NODE_DIR &&*old == NODE_FILE) return WASI_EISDIR;
  if (new == NODE_FILE &&*old == NODE_DIR) return WASI_ENOTDIR;
  return new == NODE_DIR ? must_be_empty(c, to) : WASI_ESUCCESS;
}

static enum wasi_errno dir_rename(struct wasi_call *c, char *old_path, const struct wasi_fd *directory, char *new_path) {
  struct place from, to;
  enum node old = NODE_NONE;
  enum wasi_errno e = find_place(c, c->f, old_path, &from);
  if (!e) e = find_place(c, directory, new_path, &to);
  if (!e) e = check_rename(c, &from, &to, &old);
  if (e || is_same(&from, &to)) return e;
  if (old == NODE_FILE) return move_key(c, from.path, from.size, to.path, to.size);
  mark_gone(c->wasi, &to);
  return move_directory(c, &from, &to);
}

/* --- listing ------------------------------------------------------------------------------------------------------ */

static bool name_is_possible(const char *name, size_t size) {
  bool is_dots = (size == 1 && name[0] == '.') || (size == 2 && name[0] == '.' && name[1] == '.');
  return size && size <= NAME_SIZE && !is_dots && !memchr(name, 0, size);
}

/* One entry of a key's rest, behind the directory's slash; how long its name is. */
static size_t list_key(const struct state_dir *d, const char *rest, size_t size, struct buffer *entries, bool *is_directory) {
  const char *slash = memchr(rest, '/', size);
  size_t n = slash ? (size_t)(slash - rest) : size;
  *is_directory = slash;
  if (name_is_possible(rest, n))
    wasi_dirent_append(entries, number_of(rest, n) ^ number_of(d->path, d->size), slash ? DT_DIR : DT_REG, rest, n);
  return n;
}

/* A page of keys. Behind a directory's name the scan begins anew where its keys end: *next is that, and *next_size 0: it goes on.
 */
static void list_page(const struct state_dir *d, const struct state_page *page, struct buffer *entries, char *next,
                      size_t *next_size) {
  size_t beneath = d->size ? d->size + 1 : 0;
  *next_size = 0;
  for (const uint8_t *at = page->bytes; at < page->bytes + page->size; at += 8 + get_u32(at)) {
    const char *rest = (const char *)at + 8 + beneath;
    size_t size = get_u32(at) - beneath;
    bool is_directory;
    if (*next_size && size >= *next_size && !memcmp(rest, next, *next_size - 1) && rest[*next_size - 1] == '/') continue;
    size_t n = list_key(d, rest, size, entries, &is_directory);
    *next_size = is_directory ? n + 1 : 0;
    if (is_directory) memcpy(next, rest, n), next[n] = '/';
  }
  if (*next_size) next[*next_size - 1] = '/' + 1;
}

static enum wasi_errno list_keys(struct wasi_call *c, const struct state_dir *d, struct buffer *entries) {
  enum { MOST = 64 };
  struct state_page page = {0};
  struct gw_error err = {0};
  char next[STATE_MAX_KEY + 1] = "";
  size_t next_size = d->size ? 1 : 0; /* behind the directory's own key */
  bool begins = true;
  while (!page.is_last) {
    if (begins && !wasi_charge_for(c, COST_STATE_READ, 1)) return WASI_TRAPPED;
    if (begins && !scan_beneath(c, d->path, d->size, next, next_size, &err)) return wasi_state_errno(c, &err);
    if (next_page(c, MOST, &page, &err) < 0) return wasi_state_errno(c, &err);
    if (!wasi_state_pay(c, COST_HOST_ENTRY, page.n_met, COST_STATE_BYTE, page.size)) return WASI_TRAPPED;
    list_page(d, &page, entries, next, &next_size);
    if (wasi_listed_bytes(c->wasi) > MAX_LISTED) return WASI_ENOMEM;
    begins = next_size;
  }
  return WASI_ESUCCESS;
}

static enum wasi_errno dir_list(struct wasi_call *c, struct buffer *entries, uint64_t *device) {
  const struct state_dir *d = c->f->state;
  *device = 1;
  if (!has_state(c)) return WASI_ENODEV;
  if (d->is_gone) return WASI_ENOENT;
  wasi_dirent_append(entries, number_of(d->path, d->size), DT_DIR, ".", 1);
  wasi_dirent_append(entries, 1, DT_DIR, "..", 2);
  return list_keys(c, d, entries);
}

const struct wasi_dir_ops wasi_state_dir = {.open = dir_open,
                                            .stat = dir_stat,
                                            .set_times = dir_set_times,
                                            .make = dir_make,
                                            .remove = dir_remove,
                                            .rename = dir_rename,
                                            .list = dir_list};
