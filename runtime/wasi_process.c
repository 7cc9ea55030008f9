/* WASI: arguments, environment, clocks, random numbers, exit. */
#include "runtime/wasi_private.h"

#include "instrument/cost.h"

#include <sodium.h>

/* --- arguments and environment ------------------------------------------------------------------------------------ */

static uint64_t strings_size(const char **strings, uint32_t *count) {
  uint64_t size = 0;
  for (*count = 0; strings[*count]; ++*count) size += strlen(strings[*count]) + 1;
  return size;
}

static enum wasi_errno put_sizes(struct wasi_call *c, const char **strings) {
  uint8_t *count_out = wasi_guest(c, c->v[0].i32, 4), *size_out = wasi_guest(c, c->v[1].i32, 4);
  if (!count_out || !size_out) return WASI_EFAULT;
  uint32_t count;
  uint64_t size = strings_size(strings, &count);
  if (size > UINT32_MAX) return WASI_EOVERFLOW;
  put_u32(count_out, count);
  put_u32(size_out, (uint32_t)size);
  return WASI_ESUCCESS;
}

static enum wasi_errno put_strings(struct wasi_call *c, const char **strings) {
  uint32_t count;
  uint64_t size = strings_size(strings, &count);
  uint8_t *pointers = wasi_guest(c, c->v[0].i32, (uint64_t)count * 4), *bytes = wasi_guest(c, c->v[1].i32, size);
  if (!pointers || !bytes) return WASI_EFAULT;
  if (!wasi_charge(c, size + (uint64_t)count * 4)) return WASI_ESUCCESS;
  uint32_t at = c->v[1].u32;
  for (uint32_t i = 0; i < count; i++) {
    size_t n = strlen(strings[i]) + 1;
    put_u32(pointers + 4 * (size_t)i, at);
    memcpy(bytes, strings[i], n);
    bytes += n;
    at += (uint32_t)n;
  }
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_args_sizes_get(struct wasi_call *c) { return put_sizes(c, c->wasi->args); }
enum wasi_errno wasi_do_args_get(struct wasi_call *c) { return put_strings(c, c->wasi->args); }
enum wasi_errno wasi_do_environ_sizes_get(struct wasi_call *c) { return put_sizes(c, c->wasi->env); }
enum wasi_errno wasi_do_environ_get(struct wasi_call *c) { return put_strings(c, c->wasi->env); }

/* --- clocks and random numbers ------------------------------------------------------------------------------------ */

static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
enum { N_CLOCKS = sizeof clocks / sizeof *clocks };

static uint64_t timespec_ns(struct timespec t) { return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec; }

bool wasi_clock_now(const struct wasi *wasi, uint32_t id, uint64_t *ns) {
  struct timespec t = {0};
  if (id >= N_CLOCKS || (!wasi->deterministic && clock_gettime(clocks[id], &t))) return false;
  *ns = timespec_ns(t);
  return true;
}

/* The same on every host: programs see no difference between machines that they could not see in the times. */
enum wasi_errno wasi_do_clock_res_get(struct wasi_call *c) {
  if (c->v[0].u32 >= N_CLOCKS) return WASI_EINVAL;
  uint8_t *out = wasi_guest(c, c->v[1].i32, 8);
  if (!out) return WASI_EFAULT;
  put_u64(out, 1);
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_clock_time_get(struct wasi_call *c) {
  uint64_t now;
  if (!wasi_clock_now(c->wasi, c->v[0].u32, &now)) return WASI_EINVAL;
  uint8_t *out = wasi_guest(c, c->v[2].i32, 8);
  if (!out) return WASI_EFAULT;
  if (!c->wasi->deterministic) gw_instance_unrepeatable(c->caller);
  put_u64(out, now);
  return WASI_ESUCCESS;
}

/* The system's numbers take milliseconds per megabyte: more than a piece is done in several, between which others may run. */
enum { MAX_PIECE = 64 << 10 };

static void fill_random(struct wasi *wasi, void *out, size_t size) {
  if (!wasi->deterministic) {
    randombytes_buf(out, size);
    return;
  }
  uint8_t seed[randombytes_SEEDBYTES] = "gasworks deterministic";
  put_u64(seed + sizeof seed - 8, wasi->random_calls++);
  randombytes_buf_deterministic(out, size, seed);
}

enum wasi_errno wasi_do_random_get(struct wasi_call *c) {
  uint64_t size = c->v[1].u32;
  uint8_t *out = wasi_guest(c, c->v[0].i32, size);
  if (!out) return WASI_EFAULT;
  uint64_t price = gw_instance_schedule(c->caller)->gas[COST_HOST_BYTE];
  if (!gw_instance_affords(c->caller, size * price)) return wasi_charge(c, size), WASI_ESUCCESS;
  if (!c->wasi->deterministic) gw_instance_unrepeatable(c->caller);
  for (uint64_t at = 0, n; at < size; at += n) {
    n = size - at < MAX_PIECE ? size - at : MAX_PIECE;
    gw_instance_charge_piece(c->caller, n * price);
    fill_random(c->wasi, out + at, n);
  }
  return WASI_ESUCCESS;
}

/* --- the process -------------------------------------------------------------------------------------------------- */

enum wasi_errno wasi_do_proc_exit(struct wasi_call *c) {
  c->wasi->exit_code = c->v[0].u32;
  c->trap = GW_TRAP_EXIT;
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_sched_yield(struct wasi_call *c) {
  (void)c;
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_refuse(struct wasi_call *c) {
  (void)c;
  return WASI_ENOSYS;
}
