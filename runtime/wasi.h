/* WASI preview 1 for command-line and CGI-style programs. */
#ifndef RUNTIME_WASI_H
#define RUNTIME_WASI_H

#include "base/buffer.h"
#include "gasworks.h"

struct wasi;

struct wasi_preopen {
  const char *guest_path, *host_path;
};

/* Where standard streams go: -1 means the buffer. */
struct wasi_options {
  const char *const *args;             /* argv, NULL-terminated */
  const char *const *env;              /* "K=V", NULL-terminated */
  const struct wasi_preopen *preopens; /* n_preopens, opened for reading */
  size_t n_preopens;
  int stdin_fd, stdout_fd, stderr_fd; /* -1: stdin_bytes, wasi_stdout, wasi_stderr */
  const void *stdin_bytes;            /* must outlive the invocation */
  size_t stdin_size;
  size_t output_limit; /* bytes of the stdout and of the stderr buffer each; more is errno EFBIG. 0: 16 MiB */
  bool deterministic;  /* clocks stand at 0 and random comes from a fixed seed */
};

/* One per instance; strings are copied. Options change between invocations with wasi_reset, which also forgets all output
 * and closes what the guest opened. */
struct wasi *wasi_create(const struct wasi_options *options, struct gw_error *err);
bool wasi_reset(struct wasi *wasi, const struct wasi_options *options, struct gw_error *err);
void wasi_destroy(struct wasi *wasi);

/* Resolves "wasi_snapshot_preview1" (and "wasi_unstable") imports; for a gw_resolve_fn with env = wasi. */
bool wasi_resolve(void *wasi, const struct gw_import *import, struct gw_extern *out);

const struct buffer *wasi_stdout(const struct wasi *wasi);
const struct buffer *wasi_stderr(const struct wasi *wasi);
/* Code of proc_exit, 0 when the guest just returned. */
uint32_t wasi_exit_code(const struct wasi *wasi);

#endif
