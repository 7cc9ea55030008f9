/* The idle instances of one function on one loop. */
#ifndef SERVER_FUNCTION_POOL_H
#define SERVER_FUNCTION_POOL_H

#include "server/function/registry.h"
#include "server/function/slot.h"
#include "server/loop/loop.h"

struct pool {
  struct pool *next;   /* in its bucket */
  struct pool *parent; /* of one that is for a module which nobody deployed: its tenant's, which only counts them; else NULL */
  uint32_t n_loose;    /* of a parent: how many have it */
  struct loop *loop;
  char address[FUNCTION_MAX_ADDRESS + 1];
  uint64_t epoch;                           /* of the registry when `function` was looked up */
  struct function *function;                /* NULL: deleted */
  struct registry_split split;              /* at that epoch: which calls are another pool's */
  struct slot *idle;                        /* fresh ones, the last returned first */
  bool never_keeps;                         /* its functions write too much for images */
  uint32_t n_idle, n_out;                   /* n_out: with invocations or waiting to be reset */
  uint32_t n_running;                       /* invocations between begin and end */
  struct account *account;                  /* its tenant's, once somebody has asked; server/usage/account.h */
  uint64_t burned;                          /* that an invocation takes, about: gas, or time as gas; 0: none has ended */
  struct log_share lines, failures;         /* what it may log, and what is said of it */
  struct gw_pace pace[N_TIERS];             /* of its slots, by enum gw_tier */
  struct tenant *tenant;                    /* whose it is; server/loop/share.h */
  struct flow flow;                         /* its invocations that wait for a slice, by their callers, */
  struct fair turns;                        /* who are inside of it, */
  struct caller *callers;                   /* and have a table of SHARE_CALLERS; NULL: nobody has called it */
  struct waiter_queue waiting;              /* for the module or a slot */
  void (*on_loaded)(struct waiter *waiter); /* called for each of them */
  uv_work_t work;
  struct function *loading; /* NULL: no load is under way */
  struct making *making;    /* NULL: no instance is being made elsewhere */
  uint32_t n_resetting;     /* elsewhere; they count in n_out, too */
  bool makes_here;          /* making one elsewhere has failed: who wants one next hears why */
  uint64_t used_at;
  uint64_t answers_swept_at; /* loop time in ms, when recorded answers that are old were deleted last */
  uint64_t answers_size;     /* bytes that were recorded since then */
};

/* The pool with what the address leads to now, or NULL when there is none. */
struct pool *pool_find(struct loop *loop, const char *address);
/* Where its alias leads to two versions, the pool of the other one for its share of draws, each below ENTRY_WHOLE; else NULL. */
struct pool *pool_canary(struct pool *pool, uint32_t draw);
/* The pool without a function whose part the tenant's runs of modules that nobody deployed are, by FUNCTION_RUN's full name. What
 * counts in its n_running stays. */
struct pool *pool_of_runs(struct loop *loop, const char *name);
/* A pool of such a function, of which it takes over the reference, until nobody has called it for a while. pool_find finds it. */
void pool_add_loose(struct loop *loop, const char *address, struct function *function);
/* Whose turns its invocations take that come from this caller (share_key): those of runs share one flow of their tenant. */
struct caller *pool_caller(struct pool *pool, uint64_t key);
/* Puts the waiter to those that wait for the module, which a worker thread loads; `on_loaded` is called when that is done or has
 * failed. */
void pool_load(struct pool *pool, struct waiter *waiter, void (*on_loaded)(struct waiter *waiter));
/* Where none is idle and one takes long to make: puts the waiter to those that wait, and a worker thread makes or resets one.
 * Then `on_loaded` is called, which looks again. False: pool_take is to be called. */
bool pool_wait(struct pool *pool, struct waiter *waiter, void (*on_loaded)(struct waiter *waiter));
/* Whether pool_take has an instance that is there already, fresh or used in this turn. */
bool pool_is_warm(struct pool *pool);
/* A fresh slot; it comes back with pool_return or is destroyed by who takes n_out down. */
struct slot *pool_take(struct pool *pool, struct gw_error *err);
/* A fresh one of the precise tier, which does not go back into the pool; of this function, which may be the pool's no more. The
 * memory limit does not refuse it: the caller gives up the slot that it judges. */
struct slot *pool_take_precise(struct pool *pool, struct function *function, struct gw_error *err);
/* The same in three steps, where it takes long: whether it does, making it, on any thread, and taking it. */
bool pool_is_long_to_make(const struct loop *loop, const struct function *function);
struct slot *pool_make(const struct loop *loop, struct function *function, enum gw_tier tier); /* NULL: it failed */
void pool_adopt(struct pool *pool, struct slot *slot);
/* After use; pools_clean makes it fresh. */
void pool_return(struct slot *slot);
/* Destroys a slot, on a worker thread where that takes long. */
void pool_destroy(struct loop *loop, struct slot *slot);

/* Makes used slots fresh again: work for after the replies. */
void pools_clean(struct loop *loop);
/* Destroys slots that were idle for `idle_ms`; all of them with 0, and whatever else pools hold. */
void pools_trim(struct loop *loop, uint64_t idle_ms);

#endif
