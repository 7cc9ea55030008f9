/* WASI inside: the table of descriptors and what the handlers of wasi.def share. Private to runtime/wasi*.c.
 *
 * A handler gets one call: it reads its parameters from call->v, reaches guest memory only through wasi_guest* (which check
 * bounds), and returns a WASI errno; to end the invocation it sets call->trap. It owns nothing while it may trap. */
#ifndef RUNTIME_WASI_PRIVATE_H
#define RUNTIME_WASI_PRIVATE_H

#include "runtime/wasi.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

enum wasi_errno {
#define ERRNO(name, code, host) WASI_E##name = code,
#include "runtime/wasi_errno.def"
#undef ERRNO
};

enum wasi_right {
#define RIGHT(name, bit) WASI_RIGHT_##name = 1u << bit,
#include "runtime/wasi_right.def"
#undef RIGHT
};

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
enum { FDFLAG_APPEND = 1, FDFLAG_NONBLOCK = 4 };
enum {
  WASI_MAX_FDS = 256,   /* open at one time */
  WASI_MAX_IOVECS = 64, /* used by one call; more make a short read or write */
  WASI_MAX_PATH = 4096,
};

enum wasi_fd_kind {
  FD_FREE,
  FD_INPUT,  /* stdin_bytes */
  FD_OUTPUT, /* a buffer */
  FD_STREAM, /* stdin, stdout or stderr of the host, not ours to close */
  FD_FILE,   /* a regular file, ours */
  FD_DIR,    /* a directory, ours */
};

struct wasi_fd {
  enum wasi_fd_kind kind;
  int host;       /* FD_STREAM, FD_FILE, FD_DIR */
  uint16_t flags; /* FDFLAG_* */
  uint32_t rights, inheriting;
  struct buffer *output; /* FD_OUTPUT */
  const char *preopen;   /* FD_DIR: the guest's name for it, or NULL */
};

struct wasi {
  struct buffer strings; /* copies of the options' strings, and pointers to them */
  const char **args, **env;
  struct wasi_fd *fds; /* malloc'ed */
  uint32_t n_fds;
  const uint8_t *input;
  size_t input_size, input_offset;
  struct buffer out, error_out;
  size_t output_limit;
  bool deterministic;
  bool may_wait;         /* stdin is the host's: a command line, no event loop */
  uint64_t random_calls; /* deterministic: the next seed */
  uint32_t exit_code;
};

struct wasi_call {
  struct wasi *wasi;
  struct gw_instance *caller;
  const union gw_value *v;
  enum gw_trap trap;
  bool is_unstable; /* "wasi_unstable": the older layout of some structs */
};

#define WASI(name, signature, handler) enum wasi_errno wasi_do_##handler(struct wasi_call *c);
#include "runtime/wasi.def"
#undef WASI

enum wasi_errno wasi_host_errno(int host);
/* Charges COST_HOST_BYTE for each; false: c->trap is set, return at once. */
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

/* wasi_fd.c */
/* The descriptor `fd` when it is open and has all of `rights`, else NULL and *e. */
struct wasi_fd *wasi_fd(struct wasi_call *c, int32_t fd, uint32_t rights, enum wasi_errno *e);
/* A free descriptor number, or WASI_MAX_FDS. May move the table. */
uint32_t wasi_fd_take(struct wasi *wasi);
void wasi_fd_close(struct wasi_fd *f);
/* Sets up descriptors 0..2 and the preopened directories. */
bool wasi_open_all(struct wasi *wasi, const struct wasi_options *options, struct gw_error *err);
void wasi_close_all(struct wasi *wasi);
enum wasi_filetype wasi_filetype(mode_t mode);
/* Writes struct filestat to guest memory at `ptr`. */
enum wasi_errno wasi_put_filestat(struct wasi_call *c, int32_t ptr, const struct stat *st);

/* wasi_process.c: nanoseconds; false: no such clock. */
bool wasi_clock_now(const struct wasi *wasi, uint32_t id, uint64_t *ns);

#endif
