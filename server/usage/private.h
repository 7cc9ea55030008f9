/* Usage inside: private to this room.
 *
 * usage.mutex guards the functions, the list of accounts and what the thread is asked; rows are the thread's alone. It may be
 * taken under usage.changing, not the other way round. */
#ifndef SERVER_USAGE_PRIVATE_H
#define SERVER_USAGE_PRIVATE_H

#include "runtime/receipt/leaf.h"
#include "runtime/receipt/receipt.h"
#include "runtime/state/state.h"
#include "server/usage/account.h"
#include "server/usage/usage.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
  USAGE_BUCKETS = 1024,
  USAGE_MAX_CHANGES = 4096, /* that wait to be stored */
};

/* The space of state; no function is called so. */
#define USAGE_SPACE "usage/"

/* What was used under a function's name when the tenant got its own name, after another had it. */
struct usage_former {
  uint64_t day, version; /* the last of theirs; versions of a name ascend, whosever they are */
  uint32_t table;        /* of prices, then */
  struct usage_sum sum;  /* since ever, */
  struct usage_sum last; /* and of that version on that day, at these prices */
};

/* A function since ever. */
struct usage_function {
  struct usage_function *next;
  struct usage_sum sum;
  struct usage_former *former; /* NULL: nobody had the name before */
  uint64_t rent_added;         /* of what the store says that its state has cost: what is in `sum`, and in rows */
  uint64_t stored;             /* bytes of its state, when that was looked at */
  uint64_t version;            /* of its last receipt: whose the rent is */
  bool is_changed;             /* and not stored yet */
  bool has_written;            /* so its state is to be looked at */
  char name[];
};

/* A row with what is stored of it already. */
struct usage_open_row {
  struct usage_open_row *next;
  struct usage_row row;
};

struct usage {
  struct usage_options options;
  char space[64]; /* where it is stored: in a store that nodes share, the node's own */
  pthread_mutex_t mutex;
  pthread_cond_t wake, settled;
  pthread_t thread;
  bool has_thread, has_ended, is_stopping; /* has_ended: the thread, but for what it does of `closed` */
  void (*closed)(void *arg);               /* NULL unless it was left to itself */
  void *closed_arg;
  bool has_more;              /* a checkpoint was made */
  uint64_t n_asked, n_served; /* times that somebody wanted all to be stored */
  struct gw_error error;      /* of the last time */
  uint64_t next;              /* leaves below are added */

  struct usage_function *functions[USAGE_BUCKETS];
  struct usage_open_row *rows[USAGE_BUCKETS];
  size_t n_rows, n_changed; /* those, and functions */
  uint64_t stored_next;     /* what is stored */
  bool is_open;             /* accounts have all that was used before */
  struct account *accounts;
  struct prices prices;
  struct price_table *tables; /* all that there ever were, the present one last; do not change once it is open */
  uint32_t n_tables, table;   /* table: what is used now is priced by */
  pthread_mutex_t changing;   /* held while a budget changes, which blocks */
  uint64_t rent_at;           /* seconds since 1970: rent was added up to then */
  uint64_t named_at;          /* likewise: when all names were asked for */
};

/* Prices, and since when. */
struct price_table {
  uint64_t from; /* seconds since 1970 */
  struct prices prices;
};

/* server/usage/table.c */
struct usage_function *usage_find_function(struct usage *u, const char *name, bool makes);
/* Of the thread: from the store, if it is not open. NULL: err says why. */
struct usage_row *usage_row_of(struct usage *u, const char *function, uint64_t version, uint32_t day, struct gw_error *err);
void usage_forget_rows(struct usage *u);
/* Under the mutex: what who has the name now has used. */
struct usage_sum usage_own_sum(const struct usage_function *f);
void usage_free_table(struct usage *u);

/* server/usage/stored.c: what stands in the store. */
bool usage_load(struct usage *u, struct gw_error *err);
bool usage_load_row(struct usage *u, struct usage_row *row, struct gw_error *err);
/* Other prices than before: settles what was used at those, and what is used from now on is counted apart. */
bool usage_take_prices(struct usage *u, struct gw_error *err);
/* Writes what the former of these functions have used. On a worker thread. */
bool usage_store_former(struct usage *u, struct usage_function *const *functions, size_t n, struct gw_error *err);
/* All that has changed, in one transaction. */
bool usage_store(struct usage *u, struct gw_error *err);

/* server/usage/follow.c */
/* Adds leaves up to `end`, and stores them where they are many. */
bool usage_follow(struct usage *u, uint64_t end, struct gw_error *err);
/* Adds rent up to now: of functions that have written, or of all. */
bool usage_add_rent(struct usage *u, bool is_all, struct gw_error *err);

/* server/usage/account.c */
void usage_open_accounts(struct usage *u);
void usage_free_accounts(struct usage *u);
bool usage_load_budget(struct usage *u, const char *tenant, size_t name_size, const void *value, size_t size);
bool usage_settle_accounts(struct usage *u, const struct prices *before, struct gw_error *err);
/* All that an account has used was another tenant's. */
void usage_hand_over_account(struct usage *u, const char *tenant);
/* A function's state has cost so much more, and takes `stored` bytes now. */
void usage_count_rent(struct usage *u, const char *function, uint64_t rent, uint64_t before, uint64_t stored);

#endif
