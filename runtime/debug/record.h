/* A record of what the host answered a guest, so that a second run of the same invocation meets the same world: for the judge
 * (compiled code trapped, the precise tier says exactly how), for going from one tier to the other in the middle of a run, and
 * for stepping backwards. Attached to a store, it stands between guests and host functions.
 *
 * Of every host call that it keeps, it keeps the results, the trap, the gas that the function charged, and the bytes that it
 * changed in the guest's memory. A second run gets these, and the host function is not called: nothing is written twice. */
#ifndef RUNTIME_DEBUG_RECORD_H
#define RUNTIME_DEBUG_RECORD_H

#include "base/buffer.h"
#include "gasworks.h"

struct host_import;

enum record_scope {
  RECORD_UNREPEATABLE, /* calls that said so (gw_instance_unrepeatable): clocks, random numbers. The others are made again */
  RECORD_ALL,
};

/* A second run that makes a call which the record lacks ... */
enum record_end {
  RECORD_ENDS,     /* has left the first one's way: it traps, and has_parted is set */
  RECORD_CONTINUES /* is now the first one; the record goes on */
};

struct record {
  enum record_scope scope;
  enum record_end end;
  bool is_replaying;
  bool is_loose;         /* the second run is one of another module: see record_rename */
  bool is_full;          /* the log would have grown beyond its limit: there is no second run */
  bool has_parted;       /* the second run did what the first did not */
  uint64_t n_calls;      /* of this run */
  struct record *source; /* a record of another scope that answers in place of the host, while this one is made; NULL: none */
  size_t limit, at;      /* bytes; where in the log the next entry is */
  struct buffer log;
  /* Of the call under way. */
  bool is_inside, is_unrepeatable;
  struct buffer ranges, before; /* struct record_range; what was in them */
};

/* Forgets what there is and records. `limit` bounds the log, in bytes. Buffers are kept from run to run. */
void record_begin(struct record *r, enum record_scope scope, size_t limit);
/* From the beginning again; not for a record that is full. */
void record_replay(struct record *r, enum record_end end);
void record_clear(struct record *r);
/* Takes a copy of another record's log, which may have come from anywhere; false: it is no such log. */
bool record_load(struct record *r, enum record_scope scope, const void *log, size_t size);
struct module;
/* The second run will be one of module `to`, where the log is of `from`. Each call of a function that the log has, by its
 * import's name, gets the next answer of that function, whichever call it is and wherever its bytes go; when there are no more,
 * the host is asked. Before record_replay. */
void record_rename(struct record *r, const struct module *from, const struct module *to);
/* Whether the second run has had all that the first one got. */
bool record_is_used_up(const struct record *r);

/* Attaches, or detaches with NULL; the record must outlive what the store runs. Before the first instance is made, so that start
 * functions are recorded too. */
void gw_store_set_record(struct gw_store *store, struct record *r);

/* Calls a host function, or answers for it. */
enum gw_trap record_call(struct record *r, struct gw_instance *caller, uint32_t func, union gw_value *values);

/* The host function under way may write to [offset, offset + size) of the caller's memory, which are at `bytes` now. */
void record_note(struct record *r, uint64_t offset, const void *bytes, uint64_t size);

#endif
