/* Large values for host functions. */
#include "runtime/host/wasi/large.h"

#include "instrument/schedule.h"
#include "runtime/host_api.h"
#include "runtime/park.h"

enum { PIECE = 16 * STATE_CHUNK };

void large_park(struct gw_instance *caller, struct state_txn *txn) {
  struct gw_store *store = gw_instance_store(caller);
  state_txn_await(txn, park_wake, park_begin(store));
  park_here(store);
}

static void wait_parked(void *arg, struct state_txn *txn) { large_park(arg, txn); }

void large_parks(struct state_txn *txn, struct gw_instance *caller) { state_txn_on_wait(txn, wait_parked, caller); }

/* --- prices ------------------------------------------------------------------------------------------------------- */

static uint64_t n_chunks(uint64_t offset, uint64_t n) {
  return n ? (offset + n - 1) / STATE_CHUNK - offset / STATE_CHUNK + 1 : 0;
}

/* All of a chunk is looked at, whatever is wanted of it. */
static uint64_t chunk_price(const uint32_t *gas) {
  return gas[COST_STATE_READ] + (uint64_t)gas[COST_MEMORY_BYTES_16] * (STATE_CHUNK / 16);
}

uint64_t large_read_price(const struct gw_instance *caller, uint64_t offset, uint64_t n) {
  const uint32_t *gas = gw_instance_schedule(caller)->gas;
  return n_chunks(offset, n) * chunk_price(gas) + n * gas[COST_STATE_BYTE];
}

/* At most two chunks are written in part, the first and the last one. */
static uint64_t n_in_part(uint64_t offset, uint64_t n) {
  uint64_t end = offset + n, first = offset % STATE_CHUNK != 0, last = end % STATE_CHUNK != 0;
  if (!n) return 0;
  return n_chunks(offset, n) == 1 ? first | last : first + last;
}

uint64_t large_write_price(const struct gw_instance *caller, uint64_t offset, uint64_t n) {
  const uint32_t *gas = gw_instance_schedule(caller)->gas;
  if (offset > STATE_MAX_LARGE) return 0; /* it will be refused */
  return n_chunks(offset, n) * gas[COST_STATE_WRITE] + n_in_part(offset, n) * chunk_price(gas) + n * gas[COST_STATE_BYTE];
}

uint64_t large_cut_price(const struct gw_instance *caller, const struct state_large *large, uint64_t size) {
  const uint32_t *gas = gw_instance_schedule(caller)->gas;
  if (size >= state_large_size(large)) return 0;
  uint64_t edge = size % STATE_CHUNK ? chunk_price(gas) + gas[COST_STATE_WRITE] : 0;
  return edge + state_large_n_written(large) * gas[COST_HOST_ITEM];
}

/* --- pieces ------------------------------------------------------------------------------------------------------- */

/* Up to a border of chunks, so that pieces cost together what the whole does. */
static size_t piece_at(uint64_t offset, size_t n) {
  size_t left = PIECE - offset % PIECE;
  return n < left ? n : left;
}

bool large_read(struct gw_instance *caller, struct state_txn *txn, struct state_large *large, uint64_t offset, void *out,
                size_t n, struct gw_error *err) {
  for (size_t done = 0, piece; done < n; done += piece) {
    piece = piece_at(offset + done, n - done);
    host_api_charge_piece(caller, HOST_GAS_STORAGE, large_read_price(caller, offset + done, piece));
    if (!state_large_read(txn, large, offset + done, (uint8_t *)out + done, piece, err)) return false;
  }
  return true;
}

bool large_write(struct gw_instance *caller, struct state_txn *txn, struct state_large *large, uint64_t offset, const void *bytes,
                 size_t n, size_t *done, struct gw_error *err) {
  size_t piece;
  for (*done = 0; *done < n; *done += piece) {
    piece = piece_at(offset + *done, n - *done);
    host_api_charge_piece(caller, HOST_GAS_STORAGE, large_write_price(caller, offset + *done, piece));
    if (!state_large_write(txn, large, offset + *done, (const uint8_t *)bytes + *done, piece, err)) return false;
  }
  return true;
}
