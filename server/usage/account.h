/* What a tenant may use, and has left, while functions run: limits and a prepaid balance (docs/usage.md).
 *
 * An account is what loops see. It is charged slice by slice, and billed by what the receipt says at the end; what was charged in
 * between is forgotten then. So its sums are those of receipts, and after a crash they are made of those again. Who asks within
 * an invocation after each slice lets a tenant have at most one slice of each loop more than its balance.
 *
 * Any thread, without waiting, unless it says otherwise. */
#ifndef SERVER_USAGE_ACCOUNT_H
#define SERVER_USAGE_ACCOUNT_H

#include "server/usage/price.h"

struct account;

/* 0: no limit. */
struct budget {
  uint64_t gas_per_second;
  uint64_t memory;  /* bytes that running invocations may take together; each counts with its limit */
  uint64_t storage; /* bytes of all functions' state */
  uint64_t concurrency, functions;
  bool has_credit; /* prepaid: what it has used since then may cost `credit` */
  money credit;
};

/* Of the tenant of a function's full name; as long as `usage`. */
struct account *usage_account(struct usage *usage, const char *function);

struct account_refusal {
  uint32_t status, retry_after; /* 402 or 429; seconds, 0: that does not help */
  const char *title, *detail;   /* static */
};

/* Whether an invocation may begin that may take so many bytes of memory; counts it. */
bool account_begin(struct account *account, uint64_t memory, struct account_refusal *why);
void account_end(struct account *account, uint64_t memory);
/* Whether its tenant has a rate of gas, or a credit. */
bool account_has_limits(const struct account *account);
/* Whether it may spend anything now. */
bool account_may_spend(const struct account *account, struct account_refusal *why);
/* A slice has used gas. */
void account_charge(struct account *account, uint64_t gas);
/* It has a receipt, and `charged` was charged for it before. NULL: none, it did not run. */
void account_bill(struct account *account, uint64_t charged, const struct usage_sum *sum);
/* Whether it must end: the balance is used up. */
bool account_is_spent(const struct account *account);
/* How long it must wait: nanoseconds until the tenant's rate of gas is what it may be. */
uint64_t account_wait_ns(const struct account *account);
/* How many bytes one function's state may come to, 0: any number; it blocks for a moment. */
uint64_t account_state_limit(struct usage *usage, struct account *account, const char *function);

/* --- for the control plane: worker threads */

struct account_view {
  struct budget budget;
  struct billed used; /* since ever */
  cost spent;         /* of the credit */
  uint64_t n_running, stored;
};
void account_look(struct account *account, struct account_view *view);
const struct prices *usage_prices(const struct usage *usage);
/* Those that were in force when a row was used, and from when on in seconds since 1970 (0: ever); NULL: there was no such table.
 */
const struct prices *usage_prices_at(const struct usage *usage, uint32_t table, uint64_t *from);
/* `edit` changes what there is, while nobody else does. Durable when it returns. */
typedef void (*budget_edit_fn)(const void *arg, struct budget *budget);
bool usage_change_budget(struct usage *usage, const char *tenant, budget_edit_fn edit, const void *arg, struct gw_error *err);
/* A tenant that is gone: a later one of the name begins without limits. */
bool usage_forget_budget(struct usage *usage, const char *tenant, struct gw_error *err);

#endif
