/* The host functions of module "gasworks". Each checks its pointers, then charges, then acts; what a guest does wrong ends its
 * invocation with a sentence that names the function and the argument. Nothing is owned while a call may trap. */
#include "runtime/host/handler.h"

#include "base/error.h"
#include "instrument/schedule.h"
#include "runtime/host/header.h"
#include "runtime/host/wasi/large.h"
#include "runtime/host/wasi/wasi.h"
#include "runtime/host_api.h"

#include <string.h>

enum { MAX_REPLY = 16 << 20, MAX_LOG = 64 << 10, MAX_PIECE = 64 << 10, NONE = -1 };

void handler_reset(struct handler *h) {
  h->status = 200;
  h->reply_headers.size = h->reply.size = h->log.size = 0;
}

void handler_clear(struct handler *h) {
  buffer_clear(&h->reply_headers);
  buffer_clear(&h->reply);
  buffer_clear(&h->log);
}

/* --- what all of them share --------------------------------------------------------------------------------------- */

/* One call under way; `trap` is what it returns in the end. */
struct call {
  struct gw_instance *caller;
  struct handler *h;
  union gw_value *v;
  const char *function;
  enum gw_trap trap;
};

/* A piece of guest memory. */
struct span {
  uint8_t *bytes;
  uint32_t size;
};

/* Parameters `at` (pointer) and `at` + 1 (size) as memory; false: trapped. An empty piece may point anywhere. */
static bool get_span(struct call *c, int at, const char *argument, struct span *out) {
  uint32_t ptr = c->v[at].u32;
  out->size = c->v[at + 1].u32;
  out->bytes = out->size ? gw_instance_memory(c->caller, ptr, out->size) : NULL;
  if (out->bytes || !out->size) return true;
  gw_instance_fail(c->caller, "out of bounds memory access: argument %s of gasworks.%s is [%u, +%u), the memory has %llu bytes",
                   argument, c->function, ptr, out->size, (unsigned long long)gw_instance_memory_size(c->caller));
  c->trap = GW_TRAP_MEMORY_OUT_OF_BOUNDS;
  return false;
}

/* For state. */
static bool charge_gas(struct call *c, uint64_t gas) {
  if (host_api_charge_gas(c->caller, HOST_GAS_STORAGE, gas)) return true;
  c->trap = GW_TRAP_OUT_OF_GAS;
  return false;
}

static bool charge(struct call *c, enum cost per_unit, uint64_t units) {
  if (host_api_charge(c->caller, per_unit, units)) return true;
  c->trap = GW_TRAP_OUT_OF_GAS;
  return false;
}

/* Traps with "gasworks.FUNCTION: REASON". */
static void fail(struct call *c, const char *reason) {
  gw_instance_fail(c->caller, "gasworks.%s: %s", c->function, reason);
  c->trap = GW_TRAP_HOST;
}

/* Gives `size` bytes to the guest's span, as many as fit, and their full number as the result. */
static void give(struct call *c, struct span out, const void *bytes, size_t size, enum cost per_byte) {
  size_t n = size < out.size ? size : out.size;
  if (!charge(c, per_byte, n)) return;
  if (n) memcpy(out.bytes, bytes, n);
  c->v[0].u64 = (uint32_t)size;
}

static void give_string(struct call *c, const char *s) {
  struct span out;
  if (!s) s = "";
  if (get_span(c, 0, "out", &out)) give(c, out, s, strlen(s), COST_HOST_BYTE);
}

/* --- the request -------------------------------------------------------------------------------------------------- */

static void request_method(struct call *c) { give_string(c, c->h->method); }
static void request_target(struct call *c) { give_string(c, c->h->target); }
static void request_path(struct call *c) { give_string(c, c->h->path); }
static void request_query(struct call *c) { give_string(c, c->h->query); }

static void request_header(struct call *c) {
  struct span name, out;
  if (!get_span(c, 0, "name", &name) || !get_span(c, 2, "out", &out)) return;
  if (!charge(c, COST_HOST_BYTE, name.size) || !charge(c, COST_HOST_ITEM, c->h->n_headers)) return;
  c->v[0].u64 = (uint32_t)NONE;
  for (size_t i = 0; i < c->h->n_headers; i++) {
    const struct handler_header *header = &c->h->headers[i];
    if (!name.size || !header_name_is(header->name, name.bytes, name.size)) continue;
    give(c, out, header->value, strlen(header->value), COST_HOST_BYTE);
    return;
  }
}

/* The index of a header and where a piece of it goes; NULL: there is none, or the call trapped. */
static const struct handler_header *get_indexed(struct call *c, struct span *out) {
  uint32_t index = c->v[0].u32;
  if (!get_span(c, 1, "out", out)) return NULL;
  c->v[0].u64 = (uint32_t)NONE;
  return index < c->h->n_headers ? &c->h->headers[index] : NULL;
}

static void request_header_name(struct call *c) {
  struct span out;
  const struct handler_header *header = get_indexed(c, &out);
  if (header) give(c, out, header->name, strlen(header->name), COST_HOST_BYTE);
}

static void request_header_value(struct call *c) {
  struct span out;
  const struct handler_header *header = get_indexed(c, &out);
  if (header) give(c, out, header->value, strlen(header->value), COST_HOST_BYTE);
}

static void request_body_size(struct call *c) { c->v[0].u64 = (uint32_t)c->h->body_size; }

static void request_body(struct call *c) {
  struct span out;
  uint32_t offset = c->v[0].u32;
  if (!get_span(c, 1, "out", &out)) return;
  size_t left = offset < c->h->body_size ? c->h->body_size - offset : 0;
  if (left > out.size) left = out.size;
  give(c, out, left ? (const uint8_t *)c->h->body + offset : NULL, left, COST_HOST_BYTE);
}

/* --- the reply ---------------------------------------------------------------------------------------------------- */

static void reply_status(struct call *c) {
  uint32_t status = c->v[0].u32;
  if (status >= 200 && status <= 599) {
    c->h->status = status;
    return;
  }
  gw_instance_fail(c->caller, "gasworks.reply_status: %u is no status between 200 and 599", status);
  c->trap = GW_TRAP_HOST;
}

static void reply_header(struct call *c) {
  struct span name, value;
  struct buffer *headers = &c->h->reply_headers;
  if (!get_span(c, 0, "name", &name) || !get_span(c, 2, "value", &value)) return;
  if (!charge(c, COST_HOST_BYTE, (uint64_t)name.size + value.size)) return;
  if (!header_name_is_valid(name.bytes, name.size))
    fail(c, "the name of a header is a token of 1 to 256 bytes");
  else if (!header_value_is_valid(value.bytes, value.size))
    fail(c, "the value of a header has at most 8192 bytes and no control characters");
  else if (header_is_reserved(name.bytes, name.size))
    return; /* as in a CGI program's output */
  else if (headers->size + name.size + value.size + 4 > HEADER_MAX_ALL)
    fail(c, "the headers of a reply have at most 65536 bytes");
  else
    header_append(headers, name.bytes, name.size, value.bytes, value.size);
}

static void reply(struct call *c) {
  struct span bytes;
  if (!get_span(c, 0, "bytes", &bytes) || !charge(c, COST_HOST_BYTE, bytes.size)) return;
  if (bytes.size > MAX_REPLY - c->h->reply.size)
    fail(c, "the body of a reply has at most 16 MiB");
  else
    buffer_append(&c->h->reply, bytes.bytes, bytes.size);
}

/* --- state -------------------------------------------------------------------------------------------------------- */

static bool has_state(struct call *c) {
  if (c->h->txn) {
    large_parks(c->h->txn, c->caller);
    return true;
  }
  fail(c, "this invocation has no state");
  return false;
}

/* Until the store has answered. */
static void park(struct call *c) { large_park(c->caller, c->h->txn); }

/* The store answers at once, or the invocation parks until it does. */
static int get_value(struct call *c, const struct span *key, const void **value, size_t *size, struct gw_error *err) {
  int found = state_txn_get(c->h->txn, key->bytes, key->size, value, size, err);
  if (found != STATE_PENDING) return found;
  park(c);
  return state_txn_answer(c->h->txn, value, size, err);
}

/* The store reads all of a value, however little of it is asked for, and the receipt has a digest of it. */
static void give_value(struct call *c, struct span out, const void *value, size_t size) {
  if (charge(c, COST_HOST_BYTE, size)) give(c, out, value, size, COST_STATE_BYTE);
}

/* --- large values */

static bool afford(struct call *c, uint64_t price) {
  if (gw_instance_affords(c->caller, price)) return true;
  host_api_charge_gas(c->caller, HOST_GAS_STORAGE, price);
  c->trap = GW_TRAP_OUT_OF_GAS;
  return false;
}

/* The value of a key, opened. One that is a single record is looked at as a whole. False: trapped, or none and the result says
 * so. */
static bool open_large(struct call *c, const struct span *key, bool makes, struct state_large **out) {
  struct gw_error err = {0};
  if (!charge(c, COST_STATE_READ, 1) || !charge(c, COST_STATE_BYTE, key->size)) return false;
  int found = state_large_open(c->h->txn, key->bytes, key->size, makes, out, &err);
  if (found < 0) fail(c, err.message);
  if (found == 0) c->v[0].u64 = (uint32_t)NONE;
  if (found <= 0) return false;
  return !state_large_is_one(*out) || charge(c, COST_HOST_BYTE, state_large_size(*out));
}

static bool read_large(struct call *c, struct state_large *large, uint64_t offset, struct span *out) {
  uint64_t size = state_large_size(large), left = offset < size ? size - offset : 0;
  struct gw_error err = {0};
  if (out->size > left) out->size = (uint32_t)left;
  if (!afford(c, large_read_price(c->caller, offset, out->size))) return false;
  if (large_read(c->caller, c->h->txn, large, offset, out->bytes, out->size, &err)) return true;
  fail(c, err.message);
  return false;
}

static void state_size(struct call *c) {
  struct span key;
  struct state_large *large;
  if (!get_span(c, 0, "key", &key) || !has_state(c)) return;
  if (open_large(c, &key, false, &large)) c->v[0].u64 = (uint32_t)state_large_size(large);
}

static void state_read(struct call *c) {
  struct span key, out;
  struct state_large *large;
  uint64_t offset = c->v[2].u64;
  if (!get_span(c, 0, "key", &key) || !get_span(c, 3, "out", &out) || !has_state(c)) return;
  if (open_large(c, &key, false, &large) && read_large(c, large, offset, &out)) c->v[0].u64 = out.size;
}

static void state_get_large(struct call *c, const struct span *key, struct span out) {
  struct state_large *large;
  if (open_large(c, key, false, &large) && read_large(c, large, 0, &out)) c->v[0].u64 = (uint32_t)state_large_size(large);
}

/* The first write makes a transaction one that is committed. */
static bool pay_for_writes(struct call *c) { return !state_txn_is_read_only(c->h->txn) || charge(c, COST_STATE_COMMIT, 1); }

/* What the first write to a value costs that is one record: all of it becomes chunks. */
static uint64_t convert_price(const struct call *c, const struct state_large *large) {
  return state_large_is_one(large) ? large_write_price(c->caller, 0, state_large_size(large)) : 0;
}

static void state_write(struct call *c) {
  struct span key, bytes;
  struct state_large *large;
  struct gw_error err = {0};
  uint64_t offset = c->v[2].u64;
  size_t done;
  if (!get_span(c, 0, "key", &key) || !get_span(c, 3, "bytes", &bytes) || !has_state(c)) return;
  if (!pay_for_writes(c) || !charge(c, COST_STATE_WRITE, 1) || !open_large(c, &key, true, &large)) return;
  if (!charge_gas(c, convert_price(c, large)) || !afford(c, large_write_price(c->caller, offset, bytes.size))) return;
  if (!large_write(c->caller, c->h->txn, large, offset, bytes.bytes, bytes.size, &done, &err)) fail(c, err.message);
}

static void state_resize(struct call *c) {
  struct span key;
  struct state_large *large;
  struct gw_error err = {0};
  uint64_t size = c->v[2].u64;
  if (!get_span(c, 0, "key", &key) || !has_state(c)) return;
  if (!pay_for_writes(c) || !charge(c, COST_STATE_WRITE, 1) || !open_large(c, &key, true, &large)) return;
  if (!charge_gas(c, convert_price(c, large)) || !charge_gas(c, large_cut_price(c->caller, large, size))) return;
  if (!state_large_resize(c->h->txn, large, size, &err)) fail(c, err.message);
}

static void state_get(struct call *c) {
  struct span key, out;
  if (!get_span(c, 0, "key", &key) || !get_span(c, 2, "out", &out) || !has_state(c)) return;
  if (!charge(c, COST_STATE_READ, 1) || !charge(c, COST_STATE_BYTE, key.size)) return;
  struct gw_error err = {0};
  const void *value;
  size_t size;
  int found = get_value(c, &key, &value, &size, &err);
  if (found > 0 && state_txn_found_large(c->h->txn))
    state_get_large(c, &key, out);
  else if (found > 0)
    give_value(c, out, value, size);
  else if (found == 0)
    c->v[0].u64 = (uint32_t)NONE;
  else
    fail(c, err.message);
}

static void state_exists(struct call *c) {
  struct span key;
  const void *value;
  size_t size;
  struct gw_error err = {0};
  if (!get_span(c, 0, "key", &key) || !has_state(c)) return;
  if (!charge(c, COST_STATE_READ, 1) || !charge(c, COST_STATE_BYTE, key.size)) return;
  int found = state_txn_exists(c->h->txn, key.bytes, key.size, &err);
  if (found == STATE_PENDING) {
    park(c);
    found = state_txn_answer(c->h->txn, &value, &size, &err);
  }
  c->v[0].u64 = found > 0;
  if (found < 0) fail(c, err.message);
}

static bool charge_write(struct call *c, uint64_t bytes) {
  return pay_for_writes(c) && charge(c, COST_STATE_WRITE, 1) && charge(c, COST_STATE_BYTE, bytes);
}

static void state_set(struct call *c) {
  struct span key, value;
  if (!get_span(c, 0, "key", &key) || !get_span(c, 2, "value", &value) || !has_state(c)) return;
  if (!charge_write(c, (uint64_t)key.size + value.size)) return;
  struct gw_error err = {0};
  if (!state_txn_set(c->h->txn, key.bytes, key.size, value.bytes, value.size, &err)) fail(c, err.message);
}

static void state_delete(struct call *c) {
  struct span key;
  if (!get_span(c, 0, "key", &key) || !has_state(c)) return;
  if (!charge_write(c, key.size)) return;
  struct gw_error err = {0};
  if (!state_txn_delete(c->h->txn, key.bytes, key.size, &err)) fail(c, err.message);
}

/* It looks at what is there, though nothing depends on it. */
static void state_add(struct call *c) {
  struct span key;
  struct gw_error err = {0};
  int64_t delta = (int64_t)c->v[2].u64;
  if (!get_span(c, 0, "key", &key) || !has_state(c)) return;
  if (!charge(c, COST_STATE_READ, 1) || !charge_write(c, (uint64_t)key.size + sizeof delta)) return;
  int done = state_txn_add(c->h->txn, key.bytes, key.size, delta, &err);
  if (done == STATE_PENDING) {
    park(c);
    done = state_txn_add_answer(c->h->txn, &err);
  }
  if (done < 0) fail(c, err.message);
}

/* --- scans */

enum { SCAN_BACKWARD = 1, SCAN_KEYS = 2 };

/* Others may run behind a page. */
static bool pay_page(struct call *c, const struct state_page *page) {
  const uint32_t *gas = gw_instance_schedule(c->caller)->gas;
  uint64_t price = (uint64_t)gas[COST_HOST_ENTRY] * page->n_met + gas[COST_MEMORY_BYTES_16] * page->n_units +
                   (uint64_t)gas[COST_STATE_BYTE] * page->size;
  if (!afford(c, price)) return false;
  host_api_charge_piece(c->caller, HOST_GAS_STORAGE, price);
  return true;
}

/* The next page; false: trapped. A page is bounded, and paid for when its size is known. */
static bool scan_page(struct call *c, uint32_t most, size_t room, struct state_page *page) {
  struct gw_error err = {0};
  int done = state_txn_scan_next(c->h->txn, most, room, page, &err);
  if (done == STATE_PENDING) {
    park(c);
    done = state_txn_scan_answer(c->h->txn, page, &err);
  }
  if (done < 0) fail(c, err.message);
  return done > 0 && pay_page(c, page);
}

static void state_scan(struct call *c) {
  struct span first, end, out;
  uint32_t flags = c->v[4].u32, limit = c->v[5].u32, n = 0, used = 0;
  struct gw_error err = {0};
  if (!get_span(c, 0, "first", &first) || !get_span(c, 2, "end", &end) || !get_span(c, 6, "out", &out) || !has_state(c)) return;
  if (!charge(c, COST_STATE_READ, 1) || !charge(c, COST_STATE_BYTE, (uint64_t)first.size + end.size)) return;
  if (flags & ~(uint32_t)(SCAN_BACKWARD | SCAN_KEYS)) {
    fail(c, "flags are 1 (backwards) and 2 (keys alone)");
    return;
  }
  struct state_range range = {first.bytes, end.bytes, first.size, end.size, flags & SCAN_BACKWARD, flags & SCAN_KEYS};
  if (!state_txn_scan(c->h->txn, &range, &err)) {
    fail(c, err.message);
    return;
  }
  if (out.size > INT32_MAX) out.size = INT32_MAX; /* a result below 0 says what is needed */
  struct state_page page = {0};
  while (!page.is_last && (!limit || n < limit)) {
    if (!scan_page(c, limit ? limit - n : UINT32_MAX, out.size - used, &page)) return;
    if (page.size) memcpy(out.bytes + used, page.bytes, page.size);
    used += (uint32_t)page.size;
    n += page.n_pairs;
  }
  c->v[0].u64 = !n && page.needed ? (uint32_t) - (int32_t)page.needed : used;
}

/* --- the rest ----------------------------------------------------------------------------------------------------- */

/* Each call is a line. A log beyond its limit ends with a line that says so. */
static void log_text(struct call *c) {
  struct span text;
  struct buffer *log = &c->h->log;
  if (!get_span(c, 0, "text", &text) || !charge(c, COST_HOST_BYTE, text.size)) return;
  if (log->size > MAX_LOG) return;
  size_t room = MAX_LOG - log->size;
  buffer_append(log, text.bytes, text.size < room ? text.size : room);
  if (!text.size || text.bytes[text.size - 1] != '\n' || text.size > room) buffer_append(log, "\n", 1);
  if (log->size > MAX_LOG) buffer_append_string(log, "(the log is full at 65536 bytes; the rest was dropped)\n");
}

static void gas_left(struct call *c) {
  struct gw_store *store = gw_instance_store(c->caller);
  uint64_t limit = gw_store_gas_limit(store), used = gw_store_gas_used(store);
  c->v[0].u64 = used < limit ? limit - used : 0;
}

static void clock_ms(struct call *c) {
  uint64_t ns = 0;
  if (c->h->world) {
    c->v[0].u64 = wasi_now_ms(c->h->world);
    return;
  }
  guest_clock_now(c->h->clock, CLOCK_REALTIME, &ns);
  gw_instance_unrepeatable(c->caller);
  c->v[0].u64 = ns / 1000000;
}

static void random_bytes(struct call *c) {
  struct span out;
  if (!get_span(c, 0, "out", &out)) return;
  uint64_t price = gw_instance_schedule(c->caller)->gas[COST_HOST_RANDOM_BYTE];
  if (!charge(c, COST_HOST_SYSTEM_CALL, 1)) return;
  if (!gw_instance_affords(c->caller, out.size * price)) {
    charge(c, COST_HOST_RANDOM_BYTE, out.size);
    return;
  }
  if (!c->h->world) gw_instance_unrepeatable(c->caller);
  for (uint32_t at = 0, n; at < out.size; at += n) { /* in pieces, between which others may run */
    n = out.size - at < MAX_PIECE ? out.size - at : MAX_PIECE;
    host_api_charge_piece(c->caller, HOST_GAS_CALLS, n * price);
    if (c->h->world)
      wasi_random_piece(c->h->world, at, out.bytes + at, n, at + n == out.size);
    else
      wasi_random_fill(out.bytes + at, n);
  }
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

#define FUNCTION(name, signature, handler)                                                         \
  static enum gw_trap call_##name(struct gw_instance *caller, void *env, union gw_value *values) { \
    struct call c = {.caller = caller, .h = env, .v = values, .function = #name};                  \
    handler(&c);                                                                                   \
    return c.trap;                                                                                 \
  }
#include "runtime/host/handler.def"
#undef FUNCTION

static const struct gw_host_func funcs[] = {
#define FUNCTION(name, signature, handler) {"gasworks", #name, signature, call_##name},
#include "runtime/host/handler.def"
#undef FUNCTION
};

bool handler_resolve(void *handler, const struct gw_import *import, struct gw_extern *out) {
  static const char module[] = "gasworks";
  if (import->module_size != sizeof module - 1 || memcmp(import->module, module, sizeof module - 1)) return false;
  for (size_t i = 0; i < sizeof funcs / sizeof *funcs; i++) {
    if (strlen(funcs[i].name) != import->field_size || memcmp(funcs[i].name, import->field, import->field_size)) continue;
    out->kind = GW_EXTERN_HOST_FUNC;
    out->of.host.func = &funcs[i];
    out->of.host.env = handler;
    return true;
  }
  return false;
}
