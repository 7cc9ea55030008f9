/* Running again what the server ran, from the inputs that it kept (docs/replay.md), without a server: one run, on the present
 * thread, as an invocation would run, in whichever tier. What it needs of outside is told by the inputs; the leaf of a receipt
 * says what must come out. */
#ifndef SERVER_REPLAY_REPLAY_H
#define SERVER_REPLAY_REPLAY_H

#include "gasworks.h"
#include "runtime/receipt/leaf.h"
#include "server/inputs/inputs.h"
#include "server/invoke/draft.h"

struct replay {
  struct gw_engine *engine;
  struct gw_module *module; /* of that engine */
  enum gw_tier tier;
  const char *function; /* the full name */
  const struct inputs *inputs;
  const char *const *secrets; /* "NAME=VALUE", NULL-terminated; NULL: none */
  int files;                  /* a directory with the function's files, -1: it has none */
  const struct module *first; /* the module of the first run, where this is another, which need not ask for the same in the same
                                 order; NULL: it must */
  uint64_t cpu_limit_ns;      /* 0: none */
  struct state_store *told;   /* of state_store_open_told, for who runs many; NULL: the run opens its own */
  uint64_t slice, slice_ns;   /* after so much gas, or time, `go_on` is asked; 0: by the other alone */
  bool (*go_on)(void *arg, uint64_t gas); /* `gas` more was used; false: the run ends here. NULL: it runs in one */
  void *arg;
  struct record *all; /* gets all that the host answered, to be replayed without it; NULL: nothing does */
};

/* All zero at first. */
struct replay_result {
  struct draft draft;            /* its leaf is that of the run: the fields borrow from here */
  struct gw_error error;         /* how it failed or trapped; code 0: it has replied */
  struct handler reply;          /* what it replied */
  const char *parted;            /* how it left the first run's way; NULL: it did not */
  uint8_t settings[SHA256_SIZE]; /* digest of those it ran with */
  bool is_judged;                /* compiled code trapped, and the interpreter has said where */
  bool is_ended;                 /* `go_on` said so: the leaf says nothing */
};

/* Whether the inputs are those that the leaf has digests of: one sentence says which are not. */
bool replay_check(const struct inputs *inputs, const struct leaf *leaf, struct gw_error *err);
/* False: it could not run, and err says why. A trap is a result. */
bool replay_run(const struct replay *replay, struct replay_result *out, struct gw_error *err);
void replay_result_clear(struct replay_result *result);

/* The first field from `*at` on that the two leaves have otherwise, of those that a run decides; false: none has. *at moves
 * behind it. */
bool replay_compare(const struct leaf *first, const struct leaf *second, int *at, enum leaf_field *field);

#endif
