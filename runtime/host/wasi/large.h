/* Large values of the state, as host functions read and write them: what that costs, in pieces between which others may run, and
 * waiting for the store by parking. For the gasworks module and for WASI's files in /state. On the guest's fiber. */
#ifndef RUNTIME_HOST_WASI_LARGE_H
#define RUNTIME_HOST_WASI_LARGE_H

#include "gasworks.h"
#include "runtime/state/state.h"

/* The invocation parks where the store does not answer at once. Before other calls on the transaction. */
void large_parks(struct state_txn *txn, struct gw_instance *caller);
/* Until the store has answered what it was asked last. */
void large_park(struct gw_instance *caller, struct state_txn *txn);
/* Gas for bytes of a value: every chunk is a read or a write, and one that is written in part is both. */
uint64_t large_read_price(const struct gw_instance *caller, uint64_t offset, uint64_t n);
uint64_t large_write_price(const struct gw_instance *caller, uint64_t offset, uint64_t n);
/* For a new size: the chunks that go, and those that the invocation wrote are looked through. */
uint64_t large_cut_price(const struct gw_instance *caller, const struct state_large *large, uint64_t size);
/* For what is affordable as a whole (gw_instance_affords), and paid here. Of a write that fails *done bytes
 * are written. */
bool large_read(struct gw_instance *caller, struct state_txn *txn, struct state_large *large, uint64_t offset, void *out,
                size_t n, struct gw_error *err);
bool large_write(struct gw_instance *caller, struct state_txn *txn, struct state_large *large, uint64_t offset, const void *bytes,
                 size_t n, size_t *done, struct gw_error *err);

#endif
