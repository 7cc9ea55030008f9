/* WASI preview 1: all of it, for command-line and CGI-style programs. docs/wasi.md says what each function does. */
#ifndef RUNTIME_HOST_WASI_WASI_H
#define RUNTIME_HOST_WASI_WASI_H

#include "base/buffer.h"
#include "gasworks.h"
#include "runtime/guest_clock.h"

struct wasi;
struct state_txn;

/* A directory that the guest gets as an open descriptor: all that it can reach is beneath. */
struct wasi_preopen {
  const char *guest_path;
  const char *host_path; /* opened by each wasi_reset; NULL: host_fd is it */
  int host_fd;           /* with host_path NULL: a directory open for reading, which stays its owner's and must stay open */
  bool is_readonly;
};

/* Where standard streams go: -1 means the buffer. */
struct wasi_options {
  const char *const *args;             /* argv, NULL-terminated */
  const char *const *env;              /* "K=V", NULL-terminated */
  const struct wasi_preopen *preopens; /* n_preopens */
  size_t n_preopens;
  int stdin_fd, stdout_fd, stderr_fd; /* -1: stdin_bytes, wasi_stdout, wasi_stderr */
  const void *stdin_bytes;            /* must outlive the invocation */
  size_t stdin_size;
  size_t output_limit; /* bytes of the stdout and of the stderr buffer each; more is errno EFBIG. 0: 16 MiB */
  bool deterministic;  /* equal inputs give equal answers: a clock of its own, random numbers from the seed (docs/wasi.md) */
  uint64_t seed;
  bool has_state;            /* the guest has a directory /state, the last one; see wasi_use_state */
  struct guest_clock *clock; /* outlives the struct wasi; NULL: the system's clocks, as fine as they go */
};

/* One per instance; strings are copied. Options change between invocations with wasi_reset, which also forgets all output
 * and closes what the guest opened. Where the kernel cannot confine paths (no openat2), directories are refused. One thread at
 * a time. */
struct wasi *wasi_create(const struct wasi_options *options, struct gw_error *err);
bool wasi_reset(struct wasi *wasi, const struct wasi_options *options, struct gw_error *err);
void wasi_destroy(struct wasi *wasi);
/* Files in /state lie in this transaction from here to the next reset; until then every call there is ENODEV. */
void wasi_use_state(struct wasi *wasi, struct state_txn *txn);

/* Resolves "wasi_snapshot_preview1" (and "wasi_unstable") imports; for a gw_resolve_fn with env = wasi. */
bool wasi_resolve(void *wasi, const struct gw_import *import, struct gw_extern *out);

/* Whether the host function is one whose answers are the same in every invocation with the same arguments and preopened
 * directories, as long as no other function was called; for checkpoint_want. */
bool wasi_is_same(gw_host_fn fn);

/* The clock and the random numbers of a deterministic guest, for other interfaces that it has beside WASI. Numbers come in pieces
 * of one call, the one at byte `at` among them. */
uint64_t wasi_now_ms(struct wasi *wasi);
void wasi_random_piece(struct wasi *wasi, uint64_t at, void *out, size_t size, bool is_last);
/* Numbers of the system, for any other guest. */
void wasi_random_fill(void *out, size_t size);

/* Whether the system can keep a guest beneath the open directory `host`; `path` is for the message. */
bool wasi_can_confine(int host, const char *path, struct gw_error *err);

const struct buffer *wasi_stdout(const struct wasi *wasi);
/* Whether a write to that buffer was refused for the limit: what is in it is not all that was to be said. */
bool wasi_stdout_was_cut(const struct wasi *wasi);
const struct buffer *wasi_stderr(const struct wasi *wasi);
/* Code of proc_exit, or 128 + signal of proc_raise; 0 when the guest just returned. */
uint32_t wasi_exit_code(const struct wasi *wasi);

#endif
