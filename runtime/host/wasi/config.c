/* WASI as embedders configure it (gasworks.h): a struct wasi behind another name. */
#include "base/error.h"
#include "base/heap.h"
#include "runtime/host/wasi/wasi.h"

#include <stdlib.h>

/* The options in our words; the caller frees the preopens. */
static struct wasi_options translate(const struct gw_wasi_options *o) {
  static const char *const none[] = {NULL};
  static const int own[] = {0, 1, 2}, buffers[] = {-1, -1, -1};
  const int *streams = o->streams ? o->streams : o->inherits_stdio ? own : buffers;
  struct wasi_preopen *preopens = heap_new(o->n_directories + 1, sizeof *preopens);
  for (size_t i = 0; i < o->n_directories; i++)
    preopens[i] = (struct wasi_preopen){.guest_path = o->directories[i].guest_path,
                                        .host_path = o->directories[i].host_path,
                                        .host_fd = -1,
                                        .is_readonly = o->directories[i].is_readonly};
  return (struct wasi_options){.args = o->args ? o->args : none,
                               .env = o->env ? o->env : none,
                               .preopens = preopens,
                               .n_preopens = o->n_directories,
                               .stdin_fd = streams[0],
                               .stdout_fd = streams[1],
                               .stderr_fd = streams[2],
                               .stdin_bytes = o->stdin_bytes,
                               .stdin_size = o->stdin_size,
                               .output_limit = o->output_limit,
                               .deterministic = o->deterministic,
                               .seed = o->seed,
                               .has_state = o->has_state};
}

struct gw_wasi *gw_wasi_create(const struct gw_wasi_options *options, struct gw_error *err) {
  struct wasi_options o = translate(options);
  struct wasi *wasi = wasi_create(&o, err);
  free((void *)o.preopens);
  return (struct gw_wasi *)wasi;
}

bool gw_wasi_reset(struct gw_wasi *wasi, const struct gw_wasi_options *options, struct gw_error *err) {
  struct wasi_options o = translate(options);
  bool ok = wasi_reset((struct wasi *)wasi, &o, err);
  free((void *)o.preopens);
  return ok;
}

void gw_wasi_destroy(struct gw_wasi *wasi) {
  if (wasi) wasi_destroy((struct wasi *)wasi);
}

bool gw_wasi_resolve(void *wasi, const struct gw_import *import, struct gw_extern *out) {
  return wasi_resolve(wasi, import, out);
}

const void *gw_wasi_stdout(const struct gw_wasi *wasi, size_t *size) {
  const struct buffer *b = wasi_stdout((const struct wasi *)wasi);
  *size = b->size;
  return b->bytes;
}

const void *gw_wasi_stderr(const struct gw_wasi *wasi, size_t *size) {
  const struct buffer *b = wasi_stderr((const struct wasi *)wasi);
  *size = b->size;
  return b->bytes;
}

uint32_t gw_wasi_exit_code(const struct gw_wasi *wasi) { return wasi_exit_code((const struct wasi *)wasi); }
