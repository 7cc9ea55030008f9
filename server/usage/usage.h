/* What functions have used: by function, version and day, added up from receipts (docs/usage.md).
 *
 * A thread follows the log of receipts. It adds leaves in their order, and stores the sums together with the index of the next
 * leaf in one transaction. So no leaf is lost and none is added twice, whenever the process ends: the next one goes on at that
 * index. It only stores what a checkpoint of the log covers, which a power failure does not take back. Rent is stored likewise:
 * the state store has what each function's state has ever cost, and the sums remember how much of it is in them. */
#ifndef SERVER_USAGE_USAGE_H
#define SERVER_USAGE_USAGE_H

#include "gasworks/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct usage;
struct receipt_log; /* runtime/receipt/receipt.h */
struct state_store; /* runtime/state/state.h */

enum usage_quantity {
#define QUANTITY(name, word, unit, field) USAGE_##name,
#include "server/usage/usage.def"
#undef QUANTITY
  USAGE_COUNT
};

enum { USAGE_MAX_NAME = 143 /* bytes of a function's full name, or of a space of state */, USAGE_DAY_SECONDS = 86400 };

const char *usage_word(enum usage_quantity quantity);
const char *usage_unit(enum usage_quantity quantity);

struct usage_sum {
  uint64_t n[USAGE_COUNT];
};

/* Of all kinds. */
uint64_t usage_gas(const struct usage_sum *sum);
/* What one receipt adds, which is not void. */
struct leaf; /* runtime/receipt/leaf.h */
struct usage_sum usage_of_leaf(const struct leaf *leaf);
void usage_add(struct usage_sum *to, const struct usage_sum *sum);

/* Names of spaces that functions' state may be in, whether they have receipts or not: those of functions, and of groups. */
typedef void (*usage_tell_fn)(void *to, const char *function);
typedef void (*usage_names_fn)(void *arg, usage_tell_fn tell, void *to);

struct prices; /* server/usage/price.h */

struct usage_options {
  struct receipt_log *log; /* both must outlive it */
  struct state_store *state;
  usage_names_fn names; /* NULL: nobody knows more names than receipts say */
  void *names_arg;
  const struct prices *prices; /* copied; NULL: all is free */
};

/* Adds what the log has already, which blocks. */
struct usage *usage_open(const struct usage_options *options, struct gw_error *err);
/* With all that the log has. NULL is allowed. Blocks, but no longer than USAGE_CLOSE_MS for the state store: where that does not
 * answer, the result is false, and `closed` is called when it has answered after all, by the thread that waited for it. Until
 * then all that `usage` was opened with must live. Nothing is lost: what is not added by then is added at the next start. */
enum { USAGE_CLOSE_MS = 5000 };
bool usage_close(struct usage *usage, void (*closed)(void *arg), void *arg);

/* Waits until all receipts of replies that have left are added and stored, and rent up to now. Blocks. */
bool usage_settle(struct usage *usage, struct gw_error *err);
const char *usage_log_id(const struct usage *usage);
/* Leaves below this index are added. Any thread. */
uint64_t usage_as_of(struct usage *usage);

/* A tenant of this name is made. What was used under it before was another's, and is no more in what `usage_of_function`,
 * `usage_is_own` and accounts say; rows keep it, for who runs the server. GW_ERROR_IN_USE while an invocation of that one runs.
 * Blocks. */
bool usage_hand_over(struct usage *usage, const char *tenant, struct gw_error *err);

/* Of all versions together, since the function was first called, as of a second ago about; false: nothing is known of it. Any
 * thread, and does not wait. */
bool usage_of_function(struct usage *usage, const char *function, struct usage_sum *sum, uint64_t *stored);
/* The same for each function. `each` is called under a lock: it must be short. */
void usage_each_function(struct usage *usage, void (*each)(void *arg, const char *function, const struct usage_sum *sum),
                         void *arg);

/* What one version used on one day, in UTC, at the same prices. */
struct usage_row {
  char function[USAGE_MAX_NAME + 1];
  uint64_t version; /* 0: rent from a time when it had none */
  uint32_t day;     /* since 1970 */
  uint32_t table;   /* of prices: see usage_prices_at */
  struct usage_sum sum;
};

/* Rows of the days from `first` to `last` as they are stored, by day, function and version. Blocks. */
bool usage_each(struct usage *usage, uint32_t first, uint32_t last, void (*each)(void *arg, const struct usage_row *row),
                void *arg, struct gw_error *err);
/* Takes off what others used who had the tenant's name before; false: that is all of the row. Any thread. */
bool usage_is_own(struct usage *usage, struct usage_row *row);

#endif
