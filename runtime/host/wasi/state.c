/* WASI: files in /state. Each is a value of the function's state, in chunks, and all that is done to it belongs to the
 * invocation's transaction: nothing stays of one that traps. Their directories are in state_dir.c.
 *
 * Such a file has no times, no owner and one name; it is on no device that has anything else. What has lost its name can be used
 * until the invocation ends. To sync is nothing, as the reply leaves when the transaction is durable. */
#include "runtime/host/wasi/private.h"

#include "runtime/host/wasi/large.h"
#include "runtime/host_api.h"

#include "base/error.h"

#include <stdlib.h>

enum wasi_errno wasi_state_errno(struct wasi_call *c, const struct gw_error *err) {
  if (c->trap) return WASI_TRAPPED; /* it ran out of gas */
  if (err->code == GW_ERROR_FORBIDDEN) return WASI_EROFS;
  if (err->code == GW_ERROR_LIMIT && !state_txn_is_stale(c->wasi->txn)) return WASI_ENOSPC;
  gw_instance_fail(c->caller, "the state in " WASI_STATE_PATH ": %s", err->message);
  c->trap = GW_TRAP_HOST;
  return WASI_TRAPPED;
}

bool wasi_state_pay_commit(struct wasi_call *c) {
  return !state_txn_is_read_only(c->wasi->txn) || wasi_charge_for(c, COST_STATE_COMMIT, 1);
}

static bool affords(struct wasi_call *c, uint64_t price) {
  if (gw_instance_affords(c->caller, price)) return true;
  host_api_charge_gas(c->caller, HOST_GAS_STORAGE, price);
  c->trap = GW_TRAP_OUT_OF_GAS;
  return false;
}

bool wasi_state_pay(struct wasi_call *c, enum cost unit, uint64_t units, enum cost other, uint64_t other_units) {
  const uint32_t *gas = gw_instance_schedule(c->caller)->gas;
  uint64_t price = gas[unit] * units + gas[other] * other_units;
  if (!affords(c, price)) return false;
  host_api_charge_piece(c->caller, HOST_GAS_STORAGE, price);
  return true;
}

static bool charge_gas(struct wasi_call *c, uint64_t price) {
  if (host_api_charge_gas(c->caller, HOST_GAS_STORAGE, price)) return true;
  c->trap = GW_TRAP_OUT_OF_GAS;
  return false;
}

/* --- reading and writing ------------------------------------------------------------------------------------------ */

static uint64_t vector_price(const struct wasi_call *c, const struct wasi_vector *v, uint64_t offset, uint64_t n,
                             uint64_t (*price)(const struct gw_instance *, uint64_t, uint64_t)) {
  uint64_t sum = 0;
  for (int i = 0; i < v->n && n; i++) {
    uint64_t piece = v->at[i].iov_len < n ? v->at[i].iov_len : n;
    sum += price(c->caller, offset, piece);
    offset += piece;
    n -= piece;
  }
  return sum;
}

static enum wasi_errno state_read(struct wasi_call *c, struct wasi_vector *v, const uint64_t *at, uint32_t *n) {
  struct wasi_fd *f = c->f;
  struct gw_error err = {0};
  uint64_t offset = at ? *at : f->position, size = state_large_size(f->large), left = offset < size ? size - offset : 0;
  if (offset > INT64_MAX - v->size) return WASI_EINVAL;
  if (left > v->size) left = v->size;
  if (!wasi_charge(c, left) || !affords(c, vector_price(c, v, offset, left, large_read_price))) return WASI_TRAPPED;
  large_parks(c->wasi->txn, c->caller);
  for (int i = 0; i < v->n && *n < left; i++) {
    size_t piece = v->at[i].iov_len < left - *n ? v->at[i].iov_len : left - *n;
    if (!large_read(c->caller, c->wasi->txn, f->large, offset + *n, v->at[i].iov_base, piece, &err))
      return wasi_state_errno(c, &err);
    *n += (uint32_t)piece;
  }
  if (!at) f->position += *n;
  return WASI_ESUCCESS;
}

static enum wasi_errno write_vector(struct wasi_call *c, const struct wasi_vector *v, uint64_t offset, uint64_t room,
                                    uint32_t *n) {
  struct gw_error err = {0};
  for (int i = 0; i < v->n && *n < room; i++) {
    size_t piece = v->at[i].iov_len < room - *n ? v->at[i].iov_len : room - *n, done;
    bool ok = large_write(c->caller, c->wasi->txn, c->f->large, offset + *n, v->at[i].iov_base, piece, &done, &err);
    *n += (uint32_t)done;
    if (!ok && *n && err.code == GW_ERROR_LIMIT) return WASI_ESUCCESS; /* a short write; the next one says why */
    if (!ok) return wasi_state_errno(c, &err);
  }
  return WASI_ESUCCESS;
}

/* A value that is one record becomes chunks. */
static uint64_t convert_price(const struct wasi_call *c) {
  const struct state_large *large = c->f->large;
  return state_large_is_one(large) ? large_write_price(c->caller, 0, state_large_size(large)) : 0;
}

static enum wasi_errno state_write(struct wasi_call *c, const struct wasi_vector *v, const uint64_t *at, uint32_t *n) {
  struct wasi_fd *f = c->f;
  bool appends = !at && f->flags & FDFLAG_APPEND;
  uint64_t offset = at ? *at : appends ? state_large_size(f->large) : f->position;
  uint64_t room = offset < STATE_MAX_LARGE ? STATE_MAX_LARGE - offset : 0;
  *n = 0;
  if (!v->n) return WASI_ESUCCESS;
  if (offset > INT64_MAX - v->size) return WASI_EINVAL;
  if (!room) return WASI_EFBIG;
  if (room > v->size) room = v->size;
  if (!wasi_state_pay_commit(c) || !charge_gas(c, convert_price(c))) return WASI_TRAPPED;
  if (!affords(c, vector_price(c, v, offset, room, large_write_price))) return WASI_TRAPPED;
  large_parks(c->wasi->txn, c->caller);
  enum wasi_errno e = write_vector(c, v, offset, room, n);
  if (!e && !at) f->position = offset + *n;
  return e;
}

static enum wasi_errno state_seek(struct wasi_call *c, int64_t delta, uint32_t whence, uint64_t *at) {
  const int64_t from[] = {0, (int64_t)c->f->position, (int64_t)state_large_size(c->f->large)};
  int64_t to;
  if (__builtin_add_overflow(from[whence], delta, &to) || to < 0) return WASI_EINVAL;
  *at = c->f->position = (uint64_t)to;
  return WASI_ESUCCESS;
}

/* --- what files are ----------------------------------------------------------------------------------------------- */

static enum wasi_errno state_set_size(struct wasi_call *c, uint64_t size) {
  struct gw_error err = {0};
  if (size > STATE_MAX_LARGE) return WASI_EFBIG;
  if (size == state_large_size(c->f->large)) return WASI_ESUCCESS;
  if (!wasi_state_pay_commit(c) || !wasi_charge_for(c, COST_STATE_WRITE, 1) || !charge_gas(c, convert_price(c)) ||
      !charge_gas(c, large_cut_price(c->caller, c->f->large, size)))
    return WASI_TRAPPED;
  large_parks(c->wasi->txn, c->caller);
  return state_large_resize(c->wasi->txn, c->f->large, size, &err) ? WASI_ESUCCESS : wasi_state_errno(c, &err);
}

/* What is not written is zeros, and takes no room. */
static enum wasi_errno state_allocate(struct wasi_call *c, uint64_t offset, uint64_t size) {
  return offset + size > state_large_size(c->f->large) ? state_set_size(c, offset + size) : WASI_ESUCCESS;
}

static enum wasi_errno state_set_times(struct wasi_call *c, const struct timespec times[2]) {
  (void)c, (void)times;
  return WASI_ESUCCESS;
}

static enum wasi_errno state_sync(struct wasi_call *c, bool is_data_alone) {
  (void)c, (void)is_data_alone;
  return WASI_ESUCCESS;
}

static enum wasi_errno state_stat(const struct wasi_fd *f, struct stat *st) {
  *st = (struct stat){.st_dev = 1, .st_ino = 1, .st_mode = S_IFDIR, .st_nlink = 1};
  if (f->kind == FD_DIR) return WASI_ESUCCESS;
  st->st_mode = S_IFREG;
  st->st_ino = state_large_number(f->large);
  st->st_nlink = state_large_has_key(f->large);
  st->st_size = (off_t)state_large_size(f->large);
  return WASI_ESUCCESS;
}

const struct wasi_ops wasi_state_ops = {.read = state_read,
                                        .write = state_write,
                                        .seek = state_seek,
                                        .set_size = state_set_size,
                                        .allocate = state_allocate,
                                        .set_times = state_set_times,
                                        .sync = state_sync,
                                        .stat = state_stat};
