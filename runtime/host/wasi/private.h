/* WASI inside: the table of descriptors and what the handlers of wasi.def share. Private to runtime/host/wasi/.
 *
 * A handler gets one call, whose descriptor has been checked against the row (call->f). It reads its parameters from call->v,
 * reaches guest memory only through wasi_guest* (which check bounds), and returns a WASI errno; to end the invocation it sets
 * call->trap. It owns nothing while it may trap. Bad pointers and gas come before effects. */
#ifndef RUNTIME_HOST_WASI_PRIVATE_H
#define RUNTIME_HOST_WASI_PRIVATE_H

#include "instrument/schedule.h"
#include "runtime/host/wasi/wasi.h"
#include "runtime/state/state.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

enum wasi_errno {
#define ERRNO(name, code, host) WASI_E##name = code,
#include "runtime/host/wasi/errno.def"
#undef ERRNO
  WASI_TRAPPED = 0xffff, /* call->trap is set; the guest never sees this */
};

enum wasi_right {
#define RIGHT(name, bit, of, writes) WASI_RIGHT_##name = 1u << bit,
#include "runtime/host/wasi/right.def"
#undef RIGHT
};

/* What a function wants of its descriptor; legend in wasi.def. */
enum wasi_need { NEEDS_ANY, NEEDS_ANY_W, NEEDS_FILE, NEEDS_FILE_W, NEEDS_DIR, NEEDS_DIR_W, NEEDS_SOCKET };

enum wasi_filetype {
  FILETYPE_UNKNOWN,
  FILETYPE_BLOCK,
  FILETYPE_CHARACTER,
  FILETYPE_DIRECTORY,
  FILETYPE_REGULAR,
  FILETYPE_SOCKET_DGRAM,
  FILETYPE_SOCKET_STREAM,
  FILETYPE_SYMLINK
};
enum { FDFLAG_APPEND = 1, FDFLAG_DSYNC = 2, FDFLAG_NONBLOCK = 4, FDFLAG_RSYNC = 8, FDFLAG_SYNC = 16, FDFLAGS_ALL = 31 };
enum { LOOKUP_FOLLOW = 1 };
enum { SEEK_TO_START, SEEK_FROM_HERE, SEEK_FROM_END };
enum {
  WASI_MAX_FDS = 256,      /* open at one time */
  WASI_MAX_IOVECS = 64,    /* used by one call; more make a short read or write */
  WASI_MAX_VECTORS = 1024, /* of one call, as IOV_MAX; more are EINVAL */
  WASI_MAX_PATH = 4096,
};
#define WASI_STATE_PATH "/state"

enum wasi_fd_kind {
  FD_FREE,
  FD_INPUT,  /* stdin_bytes */
  FD_OUTPUT, /* a buffer */
  FD_STREAM, /* stdin, stdout or stderr of the host */
  FD_FILE,   /* a regular file */
  FD_DIR,    /* a directory */
  FD_SOCKET, /* a connection that was accepted */
};

struct listing;
struct wasi_call;
struct wasi_fd;
struct wasi_vector;
struct state_dir;

/* What is behind a descriptor: a file or directory of the host, or of the state. All work on c->f, whose kind fits. */
struct wasi_ops {
  /* At *offset, or with NULL at the descriptor's position, which moves. Pays for the bytes, and for vectors has no room. */
  enum wasi_errno (*read)(struct wasi_call *c, struct wasi_vector *v, const uint64_t *offset, uint32_t *n);
  enum wasi_errno (*write)(struct wasi_call *c, const struct wasi_vector *v, const uint64_t *offset, uint32_t *n);
  enum wasi_errno (*seek)(struct wasi_call *c, int64_t delta, uint32_t whence, uint64_t *at);
  enum wasi_errno (*set_size)(struct wasi_call *c, uint64_t size);
  enum wasi_errno (*allocate)(struct wasi_call *c, uint64_t offset, uint64_t size);
  enum wasi_errno (*set_times)(struct wasi_call *c, const struct timespec times[2]);
  enum wasi_errno (*sync)(struct wasi_call *c, bool is_data_alone);
  enum wasi_errno (*stat)(const struct wasi_fd *f, struct stat *st);
};

/* Names beneath a directory, c->f. Paths are NUL-terminated, not empty, and may be written to. */
struct wasi_dir_ops {
  /* `flags` of open(2); the kind and what is behind it in *out. */
  enum wasi_errno (*open)(struct wasi_call *c, char *path, int flags, struct wasi_fd *out);
  enum wasi_errno (*stat)(struct wasi_call *c, char *path, bool follows, struct stat *st);
  enum wasi_errno (*set_times)(struct wasi_call *c, char *path, bool follows, const struct timespec times[2]);
  enum wasi_errno (*make)(struct wasi_call *c, char *path);
  enum wasi_errno (*remove)(struct wasi_call *c, char *path, bool is_directory);
  enum wasi_errno (*rename)(struct wasi_call *c, char *from, const struct wasi_fd *to_directory, char *to);
  /* Appends what getdents64(2) gives. */
  enum wasi_errno (*list)(struct wasi_call *c, struct buffer *entries, uint64_t *device);
  bool has_links;
};

extern const struct wasi_ops wasi_host_ops, wasi_state_ops;
extern const struct wasi_dir_ops wasi_host_dir, wasi_state_dir;

struct wasi_fd {
  enum wasi_fd_kind kind;
  const struct wasi_ops *ops;     /* NULL: FD_INPUT, FD_OUTPUT */
  const struct wasi_dir_ops *dir; /* FD_DIR */
  int host;                       /* of wasi_host_ops */
  bool is_borrowed;               /* `host` is not ours to close */
  bool is_socket;                 /* FD_STREAM, FD_SOCKET */
  bool is_readonly;               /* it is, or was opened beneath, a read-only directory */
  uint16_t flags;                 /* FDFLAG_*: kept here, as the host's open file may be shared with others */
  uint32_t rights, inheriting;
  struct buffer *output;   /* FD_OUTPUT */
  const char *preopen;     /* FD_DIR: the guest's name for it, or NULL */
  struct listing *listing; /* FD_DIR: what fd_readdir goes through, or NULL */
  /* Of wasi_state_ops: */
  struct state_large *large; /* FD_FILE: the transaction's */
  uint64_t position;         /* FD_FILE */
  struct state_dir *state;   /* FD_DIR: its own */
};

/* Files under the numbers that a deterministic guest sees; runtime/host/wasi/stat.c. */
struct inode {
  uint64_t device, number, shown; /* shown 0: a free place */
};
struct inodes {
  struct inode *at;
  uint32_t n, capacity; /* of places: 0 or a power of two */
  uint64_t last_shown;
};

/* When the realtime clock of a deterministic guest starts, 2000-01-01; all its files are as old, so that they are no younger than
 * now and a program may subtract from their times. */
enum { WASI_VIRTUAL_START_S = 946684800 };

struct wasi {
  struct buffer strings; /* copies of the options' strings, and pointers to them */
  const char **args, **env;
  struct wasi_fd *fds; /* malloc'ed */
  uint32_t n_fds;
  const uint8_t *input;
  size_t input_size, input_offset;
  struct buffer out, error_out;
  size_t output_limit;
  bool was_cut; /* the standard output, at its limit */
  bool deterministic;
  struct guest_clock *clock; /* or NULL */
  bool may_wait;             /* stdin is the host's: a command line, no event loop */
  uint64_t seed;             /* deterministic: of random numbers */
  uint64_t random_calls;     /* deterministic: the next seed's number */
  uint64_t elapsed_ns;       /* deterministic: since the clock's start */
  struct inodes inodes;      /* deterministic */
  uint32_t exit_code;
  struct state_txn *txn; /* of what lies in /state; NULL: nothing can be done there */
  struct buffer names;   /* of what is being renamed */
};

struct wasi_call {
  struct wasi *wasi;
  struct gw_instance *caller;
  const union gw_value *v;
  struct wasi_fd *f; /* the descriptor of the row, or NULL */
  enum gw_trap trap;
  bool is_unstable; /* "wasi_unstable": the older layout of some structs */
};

#define WASI(name, signature, fd, kind, same, calls, rights) enum wasi_errno wasi_do_##name(struct wasi_call *c);
#include "runtime/host/wasi/wasi.def"
#undef WASI

enum wasi_errno wasi_host_errno(int host);
/* Charges so many units; false: c->trap is set, return WASI_TRAPPED at once. */
bool wasi_charge_for(struct wasi_call *c, enum cost unit, uint64_t units);
/* Charges COST_HOST_BYTE for each; false: c->trap is set, return WASI_TRAPPED at once. */
bool wasi_charge(struct wasi_call *c, uint64_t bytes);

/* A copy that lives until the next reset; wasi_reset has made room for what is kept. */
const char *wasi_keep_string(struct wasi *wasi, const char *s);

/* [ptr, ptr + size) of guest memory, or NULL. */
static inline void *wasi_guest(struct wasi_call *c, int32_t ptr, uint64_t size) {
  return gw_instance_memory(c->caller, (uint32_t)ptr, size);
}

static inline uint32_t get_u32(const uint8_t *p) {
  uint32_t x;
  memcpy(&x, p, sizeof x);
  return x;
}
static inline uint64_t get_u64(const uint8_t *p) {
  uint64_t x;
  memcpy(&x, p, sizeof x);
  return x;
}
static inline void put_u16(uint8_t *p, uint16_t x) { memcpy(p, &x, sizeof x); }
static inline void put_u32(uint8_t *p, uint32_t x) { memcpy(p, &x, sizeof x); }
static inline void put_u64(uint8_t *p, uint64_t x) { memcpy(p, &x, sizeof x); }

/* runtime/host/wasi/fd.c */
/* The descriptor `fd` when it is what the function needs and has all of `rights`, else NULL and *e. */
struct wasi_fd *wasi_fd(struct wasi_call *c, int32_t fd, enum wasi_need need, uint32_t rights, enum wasi_errno *e);
/* A free descriptor number, or WASI_MAX_FDS. May move the table, and c->f with it. */
uint32_t wasi_fd_take(struct wasi *wasi);
void wasi_fd_close(struct wasi_fd *f);
/* Sets up descriptors 0..2 and the preopened directories. */
bool wasi_open_all(struct wasi *wasi, const struct wasi_options *options, struct gw_error *err);
void wasi_close_all(struct wasi *wasi);
/* The rights that a file or directory has when it is opened. */
uint32_t wasi_rights_of(enum wasi_fd_kind kind);
/* Those of them that change something. */
uint32_t wasi_rights_to_write(void);
/* Rights of standard streams and of connections. */
uint32_t wasi_stream_rights(bool reads, bool writes, bool is_socket);

/* runtime/host/wasi/stat.c */
enum wasi_filetype wasi_filetype(mode_t mode);
/* The number of a file as the guest sees it. */
uint64_t wasi_inode(struct wasi *wasi, uint64_t device, uint64_t number);
/* The file goes away: what gets its number next is another one. */
void wasi_inode_forget(struct wasi *wasi, uint64_t device, uint64_t number);
/* What kind of file the guest sees; unlike the others it does not count as meeting the file. */
enum wasi_errno wasi_fd_filetype(const struct wasi *wasi, const struct wasi_fd *f, enum wasi_filetype *out);
/* What the guest sees of a descriptor. */
enum wasi_errno wasi_fd_stat(struct wasi *wasi, const struct wasi_fd *f, struct stat *st);
enum wasi_errno wasi_host_stat(const struct wasi_fd *f, struct stat *st);
enum wasi_errno wasi_host_stat_at(struct wasi_call *c, char *path, bool follows, struct stat *st);
enum wasi_errno wasi_host_set_size(struct wasi_call *c, uint64_t size);
enum wasi_errno wasi_host_allocate(struct wasi_call *c, uint64_t offset, uint64_t size);
enum wasi_errno wasi_host_set_times(struct wasi_call *c, const struct timespec times[2]);
enum wasi_errno wasi_host_set_times_at(struct wasi_call *c, char *path, bool follows, const struct timespec times[2]);
enum wasi_errno wasi_host_sync(struct wasi_call *c, bool is_data_alone);
/* `st` of a file beneath `f` as the guest sees it. */
void wasi_stat_show(struct wasi *wasi, const struct wasi_fd *f, struct stat *st);
/* Writes struct filestat to guest memory at `ptr`. */
enum wasi_errno wasi_put_filestat(struct wasi_call *c, int32_t ptr, const struct stat *st);
/* Access and modification time by fst_flags, for utimensat(2). */
enum wasi_errno wasi_get_times(uint64_t accessed, uint64_t modified, uint32_t flags, struct timespec out[2]);

/* runtime/host/wasi/io.c */
struct wasi_vector {
  struct iovec at[WASI_MAX_IOVECS];
  int n;
  uint64_t size; /* of all together, at most UINT32_MAX */
};
/* The guest's iovecs as the host's. Empty ones are left out, or a long row of them would look like the end of the file. */
enum wasi_errno wasi_vector_get(struct wasi_call *c, int32_t ptr, uint32_t count, struct wasi_vector *out);
/* Whether a call on the descriptor would wait though it must not. */
bool wasi_would_block(const struct wasi_fd *f, short events);

/* runtime/host/wasi/dir.c */
void wasi_listing_free(struct listing *listing);
enum wasi_errno wasi_host_list(struct wasi_call *c, struct buffer *entries, uint64_t *device);
/* Of all listings that are kept. */
size_t wasi_listed_bytes(const struct wasi *wasi);
/* One entry for a listing, as getdents64(2) gives it; `type` is DT_*. */
void wasi_dirent_append(struct buffer *entries, uint64_t inode, unsigned char type, const char *name, size_t size);

/* runtime/host/wasi/state.c */
/* The directory that all of the state is in. */
struct wasi_fd wasi_state_root(void);
void wasi_state_close(struct wasi_fd *f);
/* Why a call on the state failed, as an errno or, with WASI_TRAPPED, as a trap. */
enum wasi_errno wasi_state_errno(struct wasi_call *c, const struct gw_error *err);
/* Before anything is written. */
bool wasi_state_pay_commit(struct wasi_call *c);
/* For one piece of work, behind which others may run. False: c->trap is set. */
bool wasi_state_pay(struct wasi_call *c, enum cost unit, uint64_t units, enum cost other, uint64_t other_units);

/* runtime/host/wasi/path.c */
/* openat2(2) beneath `directory`; -1: errno, EXDEV when the path leads out. */
int wasi_open_beneath(int directory, const char *path, int flags, mode_t mode);
/* The guest's path at two parameters from `at` on, with a NUL behind it; paid for. */
enum wasi_errno wasi_get_path(struct wasi_call *c, int at, char path[WASI_MAX_PATH]);
/* errno of wasi_open_beneath: a way out is ENOTCAPABLE. */
enum wasi_errno wasi_open_errno(void);

/* runtime/host/wasi/process.c */
/* System calls that reading a clock is worth: only those of CPU time take one. */
uint32_t wasi_clock_calls(uint32_t id);
/* Nanoseconds; false: no such clock. */
bool wasi_clock_now(struct wasi *wasi, uint32_t id, uint64_t *ns);

#endif
