/* WASI: arguments, environment, clocks, random numbers, exit. */
#include "runtime/host/wasi/private.h"

#include "runtime/host_api.h"

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
  if (!wasi_charge_for(c, COST_HOST_ITEM, count)) return WASI_TRAPPED;
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
  if (!wasi_charge_for(c, COST_HOST_ITEM, count) || !wasi_charge(c, size + (uint64_t)count * 4)) return WASI_TRAPPED;
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

uint32_t wasi_clock_calls(uint32_t id) { return id < N_CLOCKS && clocks[id] >= CLOCK_PROCESS_CPUTIME_ID; }

/* A deterministic guest's clocks all go together, from the start of this century. Reading moves them, so that a loop which waits
 * for a time ends; so do sleeps (runtime/host/wasi/poll.c). */
static const uint64_t virtual_start_ns = WASI_VIRTUAL_START_S * 1000000000ull, virtual_step_ns = 1000;

bool wasi_clock_now(struct wasi *wasi, uint32_t id, uint64_t *ns) {
  if (id >= N_CLOCKS) return false;
  if (wasi->deterministic) {
    if (wasi->elapsed_ns < UINT64_MAX - virtual_step_ns) wasi->elapsed_ns += virtual_step_ns;
    *ns = wasi->elapsed_ns;
    if (clocks[id] == CLOCK_REALTIME && __builtin_add_overflow(*ns, virtual_start_ns, ns)) *ns = UINT64_MAX;
    return true;
  }
  return guest_clock_now(wasi->clock, clocks[id], ns);
}

/* The same on every host: programs see no difference between machines that they could not see in the times. */
enum wasi_errno wasi_do_clock_res_get(struct wasi_call *c) {
  if (c->v[0].u32 >= N_CLOCKS) return WASI_EINVAL;
  uint8_t *out = wasi_guest(c, c->v[1].i32, 8);
  if (!out) return WASI_EFAULT;
  put_u64(out, c->wasi->clock && !c->wasi->deterministic ? GUEST_CLOCK_STEP_NS : 1);
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_clock_time_get(struct wasi_call *c) {
  uint64_t now;
  uint8_t *out = wasi_guest(c, c->v[2].i32, 8);
  if (!out) return WASI_EFAULT;
  if (!wasi_charge_for(c, COST_HOST_SYSTEM_CALL, wasi_clock_calls(c->v[0].u32))) return WASI_TRAPPED;
  if (!wasi_clock_now(c->wasi, c->v[0].u32, &now)) return WASI_EINVAL;
  if (!c->wasi->deterministic) gw_instance_unrepeatable(c->caller);
  put_u64(out, now);
  return WASI_ESUCCESS;
}

/* The system's numbers take milliseconds per megabyte: more than a piece is done in several, between which others may run. */
enum { MAX_PIECE = 64 << 10 };

/* The system gives 256 bytes at a time, each with a call that takes longer than making them. So what is long comes from a seed of
 * the system's, drawn for this piece alone, that ChaCha20 stretches; nothing of it is kept. */
void wasi_random_fill(void *out, size_t size) {
  enum { SHORT = 256 };
  if (size <= SHORT) {
    randombytes_buf(out, size);
    return;
  }
  uint8_t seed[randombytes_SEEDBYTES];
  randombytes_buf(seed, sizeof seed);
  randombytes_buf_deterministic(out, size, seed);
  sodium_memzero(seed, sizeof seed);
}

/* A call that is given up between two pieces leaves nothing: made again, it gives the same. */
void wasi_random_piece(struct wasi *wasi, uint64_t at, void *out, size_t size, bool is_last) {
  if (!wasi->deterministic) {
    wasi_random_fill(out, size);
    return;
  }
  uint8_t seed[randombytes_SEEDBYTES] = {0};
  _Static_assert(sizeof seed >= 24, "room for three numbers");
  put_u64(seed, wasi->seed);
  put_u64(seed + 8, wasi->random_calls);
  put_u64(seed + 16, at);
  randombytes_buf_deterministic(out, size, seed);
  wasi->random_calls += is_last;
}

uint64_t wasi_now_ms(struct wasi *wasi) {
  uint64_t ns = 0;
  wasi_clock_now(wasi, 0, &ns);
  return ns / 1000000;
}

enum wasi_errno wasi_do_random_get(struct wasi_call *c) {
  uint64_t size = c->v[1].u32;
  uint8_t *out = wasi_guest(c, c->v[0].i32, size);
  if (!out) return WASI_EFAULT;
  uint64_t price = gw_instance_schedule(c->caller)->gas[COST_HOST_RANDOM_BYTE];
  if (!gw_instance_affords(c->caller, size * price)) return wasi_charge_for(c, COST_HOST_RANDOM_BYTE, size), WASI_TRAPPED;
  if (!c->wasi->deterministic) gw_instance_unrepeatable(c->caller);
  for (uint64_t at = 0, n; at < size; at += n) {
    n = size - at < MAX_PIECE ? size - at : MAX_PIECE;
    host_api_charge_piece(c->caller, HOST_GAS_CALLS, n * price);
    wasi_random_piece(c->wasi, at, out + at, n, at + n == size);
  }
  return WASI_ESUCCESS;
}

/* --- the process -------------------------------------------------------------------------------------------------- */

enum wasi_errno wasi_do_proc_exit(struct wasi_call *c) {
  c->wasi->exit_code = c->v[0].u32;
  c->trap = GW_TRAP_EXIT;
  return WASI_ESUCCESS;
}

/* What a signal does to a program without handlers: nothing, or its end, with the exit code that a shell shows for it. Signals
 * that stop a program make no sense here. */
enum wasi_errno wasi_do_proc_raise(struct wasi_call *c) {
  enum { SIGNAL_NONE = 0, CHILD = 16, CONTINUE, STOP, TTY_STOP, TTY_IN, TTY_OUT, URGENT, WINDOW = 27, N_SIGNALS = 31 };
  const uint32_t ignored = 1u << SIGNAL_NONE | 1u << CHILD | 1u << CONTINUE | 1u << URGENT | 1u << WINDOW;
  const uint32_t stopping = 1u << STOP | 1u << TTY_STOP | 1u << TTY_IN | 1u << TTY_OUT;
  uint32_t signal = c->v[0].u32;
  if (signal >= N_SIGNALS) return WASI_EINVAL;
  if (stopping >> signal & 1) return WASI_ENOTSUP;
  if (ignored >> signal & 1) return WASI_ESUCCESS;
  c->wasi->exit_code = 128 + signal;
  c->trap = GW_TRAP_EXIT;
  return WASI_TRAPPED;
}

enum wasi_errno wasi_do_sched_yield(struct wasi_call *c) {
  (void)c;
  return WASI_ESUCCESS;
}
