/* WASI preview 1: life of the context, and from an import's name to its handler. */
#include "runtime/host/wasi/private.h"

#include "base/error.h"
#include "runtime/host_api.h"

#include <errno.h>
#include <stdlib.h>

/* The columns of the tables as C. */
enum {
  ___ = -1,
  SAME = 1,
#define RIGHT(name, bit, of, writes) name = WASI_RIGHT_##name,
#include "runtime/host/wasi/right.def"
#undef RIGHT
};

/* --- life --------------------------------------------------------------------------------------------------------- */

static size_t count(const char *const *strings, size_t *bytes) {
  size_t n = 0;
  for (; strings && strings[n]; n++) *bytes += strlen(strings[n]) + 1;
  return n;
}

const char *wasi_keep_string(struct wasi *wasi, const char *s) {
  struct buffer *b = &wasi->strings;
  char *copy = (char *)b->bytes + b->size;
  b->size += strlen(s) + 1;
  return strcpy(copy, s);
}

static void keep_strings(struct wasi *wasi, const char **to, const char *const *strings, size_t n) {
  for (size_t i = 0; i < n; i++) to[i] = wasi_keep_string(wasi, strings[i]);
  to[n] = NULL;
}

/* Everything goes into one buffer that is kept from one invocation to the next: pointers first, then their strings. Room for the
 * names of preopened directories follows. */
static void keep_options(struct wasi *wasi, const struct wasi_options *o) {
  size_t bytes = 0, n_args = count(o->args, &bytes), n_env = count(o->env, &bytes);
  size_t n_pointers = n_args + n_env + 2;
  for (size_t i = 0; i < o->n_preopens; i++) bytes += strlen(o->preopens[i].guest_path) + 1;
  bytes += sizeof WASI_STATE_PATH;
  wasi->strings.size = 0;
  wasi->args = (const char **)buffer_reserve(&wasi->strings, n_pointers * sizeof(char *) + bytes);
  wasi->env = wasi->args + n_args + 1;
  wasi->strings.size = n_pointers * sizeof(char *);
  keep_strings(wasi, wasi->args, o->args, n_args);
  keep_strings(wasi, wasi->env, o->env, n_env);
}

/* Room for usual outputs is kept from one invocation to the next, no more: there may be many idle instances. */
static void empty(struct buffer *b) {
  enum { KEEP_CAPACITY = 1 << 20 };
  if (b->capacity > KEEP_CAPACITY) buffer_clear(b);
  b->size = 0;
}

bool wasi_reset(struct wasi *wasi, const struct wasi_options *options, struct gw_error *err) {
  wasi_close_all(wasi);
  empty(&wasi->out);
  empty(&wasi->error_out);
  wasi->was_cut = false;
  keep_options(wasi, options);
  wasi->input = options->stdin_bytes;
  wasi->input_size = options->stdin_size;
  wasi->input_offset = 0;
  wasi->output_limit = options->output_limit ? options->output_limit : 16 << 20;
  wasi->deterministic = options->deterministic;
  wasi->clock = options->clock;
  wasi->may_wait = options->stdin_fd >= 0;
  wasi->seed = options->seed;
  wasi->random_calls = wasi->elapsed_ns = 0;
  free(wasi->inodes.at);
  wasi->inodes = (struct inodes){0};
  wasi->exit_code = 0;
  wasi->txn = NULL;
  empty(&wasi->names);
  return wasi_open_all(wasi, options, err);
}

struct wasi *wasi_create(const struct wasi_options *options, struct gw_error *err) {
  struct wasi *wasi = calloc(1, sizeof *wasi);
  if (!wasi) {
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for the WASI context");
    return NULL;
  }
  if (wasi_reset(wasi, options, err)) return wasi;
  wasi_destroy(wasi);
  return NULL;
}

void wasi_destroy(struct wasi *wasi) {
  if (!wasi) return;
  wasi_close_all(wasi);
  free(wasi->fds);
  free(wasi->inodes.at);
  buffer_clear(&wasi->names);
  buffer_clear(&wasi->out);
  buffer_clear(&wasi->error_out);
  buffer_clear(&wasi->strings);
  free(wasi);
}

void wasi_use_state(struct wasi *wasi, struct state_txn *txn) { wasi->txn = txn; }

const struct buffer *wasi_stdout(const struct wasi *wasi) { return &wasi->out; }
const struct buffer *wasi_stderr(const struct wasi *wasi) { return &wasi->error_out; }
bool wasi_stdout_was_cut(const struct wasi *wasi) { return wasi->was_cut; }
uint32_t wasi_exit_code(const struct wasi *wasi) { return wasi->exit_code; }

/* --- errors and gas ----------------------------------------------------------------------------------------------- */

enum wasi_errno wasi_host_errno(int host) {
  static const struct {
    int host;
    enum wasi_errno code;
  } table[] = {
#define ERRNO(name, code, host_errno) {host_errno, WASI_E##name},
#include "runtime/host/wasi/errno.def"
#undef ERRNO
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (table[i].host == host) return table[i].code;
  return WASI_EIO;
}

bool wasi_charge_for(struct wasi_call *c, enum cost unit, uint64_t units) {
  if (host_api_charge(c->caller, unit, units)) return true;
  c->trap = GW_TRAP_OUT_OF_GAS;
  return false;
}

bool wasi_charge(struct wasi_call *c, uint64_t bytes) { return wasi_charge_for(c, COST_HOST_BYTE, bytes); }

/* --- dispatch ----------------------------------------------------------------------------------------------------- */

struct function {
  enum wasi_errno (*handler)(struct wasi_call *);
  int fd; /* which parameter, or ___ */
  enum wasi_need need;
  uint32_t calls, rights;
};

/* What a program's standard streams cost does not depend on where it runs. */
static bool is_standard_stream(const struct wasi_fd *f) {
  return f && (f->kind == FD_INPUT || f->kind == FD_OUTPUT || f->kind == FD_STREAM);
}

static bool charge_system_calls(struct wasi_call *c, uint32_t calls) {
  return is_standard_stream(c->f) || wasi_charge_for(c, COST_HOST_SYSTEM_CALL, calls);
}

static enum gw_trap wasi_call(struct gw_instance *caller, void *env, union gw_value *values, bool is_unstable,
                              struct function f) {
  struct wasi_call call = {.wasi = env, .caller = caller, .v = values, .is_unstable = is_unstable};
  enum wasi_errno e = WASI_ESUCCESS;
  if (f.fd >= 0) call.f = wasi_fd(&call, values[f.fd].i32, f.need, f.rights, &e);
  if (!e && f.calls && !charge_system_calls(&call, f.calls)) e = WASI_TRAPPED;
  if (!e) e = f.handler(&call);
  values[0].u64 = e;
  return call.trap;
}

#define WASI(name, signature, fd, kind, same, calls, rights)                                           \
  static const struct function function_##name = {wasi_do_##name, fd, NEEDS_##kind, calls, rights};    \
  static enum gw_trap call_##name(struct gw_instance *caller, void *env, union gw_value *values) {     \
    return wasi_call(caller, env, values, false, function_##name);                                     \
  }                                                                                                    \
  static enum gw_trap unstable_##name(struct gw_instance *caller, void *env, union gw_value *values) { \
    return wasi_call(caller, env, values, true, function_##name);                                      \
  }
#include "runtime/host/wasi/wasi.def"
#undef WASI

static const struct gw_host_func preview1[] = {
#define WASI(name, signature, fd, kind, same, calls, rights) {"wasi_snapshot_preview1", #name, signature, call_##name},
#include "runtime/host/wasi/wasi.def"
#undef WASI
};

static const struct gw_host_func unstable[] = {
#define WASI(name, signature, fd, kind, same, calls, rights) {"wasi_unstable", #name, signature, unstable_##name},
#include "runtime/host/wasi/wasi.def"
#undef WASI
};

enum { N_FUNCS = sizeof preview1 / sizeof *preview1 };
_Static_assert(N_FUNCS == 46, "the functions of preview 1");

static bool name_is(const char *name, const char *bytes, uint32_t size) {
  return strlen(name) == size && !memcmp(name, bytes, size);
}

bool wasi_is_same(gw_host_fn fn) {
  static const int same[] = {
#define WASI(name, signature, fd, kind, same, calls, rights) same,
#include "runtime/host/wasi/wasi.def"
#undef WASI
  };
  for (size_t i = 0; i < N_FUNCS; i++)
    if (preview1[i].fn == fn || unstable[i].fn == fn) return same[i] == SAME;
  return false;
}

bool wasi_resolve(void *wasi, const struct gw_import *import, struct gw_extern *out) {
  const struct gw_host_func *funcs = NULL;
  if (name_is(preview1[0].module, import->module, import->module_size)) funcs = preview1;
  if (name_is(unstable[0].module, import->module, import->module_size)) funcs = unstable;
  for (size_t i = 0; funcs && i < N_FUNCS; i++) {
    if (!name_is(funcs[i].name, import->field, import->field_size)) continue;
    out->kind = GW_EXTERN_HOST_FUNC;
    out->of.host.func = &funcs[i];
    out->of.host.env = wasi;
    return true;
  }
  return false;
}
