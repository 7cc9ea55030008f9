#include "server/usage/account.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/heap.h"
#include "server/access/access.h"
#include "server/usage/private.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)

/* What was agreed: replaced as a whole, and old ones stay as long as the account, since changes are rare. */
struct terms {
  struct terms *older;
  struct budget budget;
  cost settled; /* of the credit, before `base` was counted */
  struct billed base;
  cost allowed; /* what all that the account has ever used may cost */
};

struct account {
  struct account *next;
  _Atomic(const struct terms *) terms; /* never NULL */
  struct usage *usage;
  const struct prices *prices;
  _Atomic uint64_t used[PRICE_COUNT];   /* what has receipts, since ever; rent as of a second ago */
  _Atomic uint64_t former[PRICE_COUNT]; /* of that, what others used who had the name before */
  _Atomic uint64_t charged;             /* gas of what has none yet */
  _Atomic uint64_t full_at;             /* CLOCK_MONOTONIC: when what was charged is paid, at the tenant's rate */
  _Atomic uint64_t n_running, memory, stored;
  char name[];
};

/* --- accounts ----------------------------------------------------------------------------------------------------- */

static struct billed used_by(const struct account *a) {
  struct billed used;
  for (int i = 0; i < PRICE_COUNT; i++) used.n[i] = atomic_load_explicit(&a->used[i], memory_order_relaxed);
  return used;
}

static struct billed used_by_itself(const struct account *a) {
  struct billed used = used_by(a);
  for (int i = 0; i < PRICE_COUNT; i++) {
    uint64_t former = atomic_load_explicit(&a->former[i], memory_order_relaxed);
    used.n[i] = used.n[i] > former ? used.n[i] - former : 0;
  }
  return used;
}

static void set_terms(struct account *a, const struct terms *given) {
  struct terms *terms = heap_new(1, sizeof *terms);
  *terms = *given;
  terms->older = (struct terms *)atomic_load(&a->terms);
  terms->allowed = price_of(a->prices, &terms->base) + terms->budget.credit * COST_OF_MONEY;
  terms->allowed = terms->allowed > terms->settled ? terms->allowed - terms->settled : 0;
  atomic_store(&a->terms, terms);
}

/* Under the mutex. */
static struct account *find_account(struct usage *u, const char *tenant, size_t size) {
  struct account *a = u->accounts;
  while (a && (strncmp(a->name, tenant, size) != 0 || a->name[size])) a = a->next;
  if (a) return a;
  a = heap_new(1, sizeof *a + size + 1);
  memcpy(a->name, tenant, size);
  a->usage = u;
  a->prices = &u->prices;
  atomic_init(&a->full_at, clock_ns(CLOCK_MONOTONIC) + SECOND); /* nobody gains by a restart */
  set_terms(a, &(struct terms){0});
  a->next = u->accounts;
  return u->accounts = a;
}

static size_t tenant_of(const char *function, const char **tenant) {
  const char *slash = strchr(function, '/');
  *tenant = slash ? function : DEFAULT_TENANT;
  return slash ? (size_t)(slash - function) : sizeof DEFAULT_TENANT - 1;
}

struct account *usage_account(struct usage *u, const char *function) {
  const char *tenant;
  size_t size = tenant_of(function, &tenant);
  pthread_mutex_lock(&u->mutex);
  struct account *a = find_account(u, tenant, size);
  pthread_mutex_unlock(&u->mutex);
  return a;
}

void usage_free_accounts(struct usage *u) {
  for (struct account *a = u->accounts, *next; a; a = next) {
    next = a->next;
    for (struct terms *t = (struct terms *)atomic_load(&a->terms), *older; t; t = older) {
      older = t->older;
      free(t);
    }
    free(a);
  }
}

/* --- while functions run ------------------------------------------------------------------------------------------ */

static const struct terms *terms_of(const struct account *a) { return atomic_load_explicit(&a->terms, memory_order_acquire); }

bool account_is_spent(const struct account *a) {
  const struct terms *t = terms_of(a);
  if (!t->budget.has_credit) return false;
  uint64_t charged = atomic_load_explicit(&a->charged, memory_order_acquire); /* first: see account_bill */
  struct billed used = used_by(a);
  used.n[PRICE_GAS] += charged;
  return price_of(a->prices, &used) >= t->allowed;
}

/* A bucket of one second's gas: it may run as long as less than a second's gas is not paid yet. */
uint64_t account_wait_ns(const struct account *a) {
  if (!terms_of(a)->budget.gas_per_second) return 0;
  uint64_t full_at = atomic_load_explicit(&a->full_at, memory_order_relaxed), now = clock_ns(CLOCK_MONOTONIC);
  return full_at > now + SECOND ? full_at - now - SECOND : 0;
}

static void pay_later(struct account *a, uint64_t gas, uint64_t rate) {
  uint64_t now = clock_ns(CLOCK_MONOTONIC), before = atomic_load_explicit(&a->full_at, memory_order_relaxed);
  unsigned __int128 ns = (unsigned __int128)gas * SECOND / rate;
  uint64_t more = ns > INT64_MAX ? INT64_MAX : (uint64_t)ns, after;
  do {
    uint64_t from = before > now ? before : now;
    after = from > UINT64_MAX - more ? UINT64_MAX : from + more;
  } while (!atomic_compare_exchange_weak_explicit(&a->full_at, &before, after, memory_order_relaxed, memory_order_relaxed));
}

void account_charge(struct account *a, uint64_t gas) {
  uint64_t rate = terms_of(a)->budget.gas_per_second;
  if (!gas) return;
  atomic_fetch_add_explicit(&a->charged, gas, memory_order_relaxed);
  if (rate) pay_later(a, gas, rate);
}

/* In this order, so that nobody sees less than there is: who sees it taken off sees it added. */
void account_bill(struct account *a, uint64_t charged, const struct usage_sum *sum) {
  struct billed billed = {0};
  if (sum) billed = price_billed(sum);
  for (int i = 0; i < PRICE_COUNT; i++)
    if (billed.n[i]) atomic_fetch_add_explicit(&a->used[i], billed.n[i], memory_order_relaxed);
  if (charged) atomic_fetch_sub_explicit(&a->charged, charged, memory_order_release);
}

/* Adds unless that is more than the limit. */
static bool take(_Atomic uint64_t *counter, uint64_t n, uint64_t limit) {
  uint64_t before = atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
  if (!limit || (before <= limit && n <= limit - before)) return true;
  atomic_fetch_sub_explicit(counter, n, memory_order_relaxed);
  return false;
}

static bool refuse(struct account_refusal *why, uint32_t status, uint64_t retry_after, const char *title, const char *detail) {
  *why = (struct account_refusal){status, retry_after > UINT32_MAX ? UINT32_MAX : (uint32_t)retry_after, title, detail};
  return false;
}

static bool begin_to_run(struct account *a, const struct budget *b, struct account_refusal *why) {
  uint64_t before = atomic_fetch_add_explicit(&a->n_running, 1, memory_order_relaxed);
  if (!b->concurrency || before < b->concurrency) return true;
  return refuse(why, 429, 1, "too many invocations", "as many invocations are running as the tenant may have");
}

static void end_to_run(struct account *a) { atomic_fetch_sub_explicit(&a->n_running, 1, memory_order_relaxed); }

static bool take_memory(struct account *a, const struct budget *b, uint64_t memory, struct account_refusal *why) {
  if (take(&a->memory, memory, b->memory)) return true;
  if (memory > b->memory)
    return refuse(why, 402, 0, "too much memory",
                  "the function may take more memory than its tenant may have: it needs a lower "
                  "max_memory");
  return refuse(why, 429, 1, "too much memory", "running invocations may take as much memory as the tenant may have");
}

bool account_has_limits(const struct account *a) {
  const struct budget *b = &terms_of(a)->budget;
  return b->gas_per_second || b->has_credit;
}

bool account_may_spend(const struct account *a, struct account_refusal *why) {
  uint64_t wait = account_wait_ns(a);
  if (account_is_spent(a)) return refuse(why, 402, 0, "balance used up", "the tenant's prepaid balance is used up");
  if (wait) return refuse(why, 429, (wait + SECOND - 1) / SECOND, "too much gas", "the tenant has used its gas for this time");
  return true;
}

bool account_begin(struct account *a, uint64_t memory, struct account_refusal *why) {
  const struct budget *b = &terms_of(a)->budget;
  if (!account_may_spend(a, why)) return false;
  if (!begin_to_run(a, b, why) || !take_memory(a, b, memory, why)) {
    end_to_run(a);
    return false;
  }
  return true;
}

void account_end(struct account *a, uint64_t memory) {
  end_to_run(a);
  atomic_fetch_sub_explicit(&a->memory, memory, memory_order_relaxed);
}

uint64_t account_state_limit(struct usage *u, struct account *a, const char *function) {
  struct usage_sum sum;
  uint64_t limit = terms_of(a)->budget.storage, stored = atomic_load_explicit(&a->stored, memory_order_relaxed), own = 0;
  if (!limit) return 0;
  usage_of_function(u, function, &sum, &own);
  uint64_t others = stored > own ? stored - own : 0;
  return limit > others ? limit - others : 1; /* 0 would be any number */
}

/* --- from the thread that follows the log -------------------------------------------------------------------------- */

void usage_count_rent(struct usage *u, const char *function, uint64_t rent, uint64_t before, uint64_t stored) {
  if (!u->is_open) return; /* usage_open_accounts will */
  struct account *a = usage_account(u, function);
  atomic_fetch_add_explicit(&a->used[PRICE_RENT], rent, memory_order_relaxed);
  atomic_fetch_add_explicit(&a->stored, stored - before, memory_order_relaxed); /* modulo 2^64 */
}

/* --- kept --------------------------------------------------------------------------------------------------------- */

/* As it is stored, behind "b" and the tenant's name. */
struct kept {
  struct budget budget;
  cost settled;
  struct billed base;
};

enum { KEY_SIZE = 1 + ACCESS_MAX_NAME + 1 };

static size_t key_of(char key[KEY_SIZE], const char *tenant) { return (size_t)snprintf(key, KEY_SIZE, "b%s", tenant); }

static bool keep(struct usage *u, const char *tenant, const struct terms *terms, struct gw_error *err) {
  char key[KEY_SIZE];
  struct kept kept;
  memset(&kept, 0, sizeof kept); /* what lies between members, too */
  kept.budget = terms->budget;
  kept.settled = terms->settled;
  kept.base = terms->base;
  return state_put(u->options.state, u->space, key, key_of(key, tenant), &kept, sizeof kept, err);
}

bool usage_load_budget(struct usage *u, const char *tenant, size_t name_size, const void *value, size_t size) {
  struct kept kept;
  if (size != sizeof kept || name_size > ACCESS_MAX_NAME) return false;
  memcpy(&kept, value, sizeof kept);
  struct account *a = find_account(u, tenant, name_size);
  set_terms(a, &(struct terms){.budget = kept.budget, .settled = kept.settled, .base = kept.base});
  return true;
}

/* A power failure takes receipts that no checkpoint covered; a balance that began behind those begins in front of them. */
static void forget_lost(struct account *a) {
  struct terms terms = *terms_of(a);
  struct billed used = used_by(a);
  bool is_lost = false;
  for (int i = 0; i < PRICE_COUNT; i++) {
    is_lost |= terms.base.n[i] > used.n[i];
    if (terms.base.n[i] > used.n[i]) terms.base.n[i] = used.n[i];
  }
  if (is_lost) set_terms(a, &terms);
}

/* All functions are loaded, and all leaves added. */
void usage_open_accounts(struct usage *u) {
  for (int i = 0; i < USAGE_BUCKETS; i++) {
    for (const struct usage_function *f = u->functions[i]; f; f = f->next) {
      const char *tenant;
      size_t size = tenant_of(f->name, &tenant);
      struct account *a = find_account(u, tenant, size);
      struct billed billed = price_billed(&f->sum);
      for (int k = 0; k < PRICE_COUNT; k++) atomic_fetch_add(&a->used[k], billed.n[k]);
      if (f->former) billed = price_billed(&f->former->sum);
      for (int k = 0; k < PRICE_COUNT && f->former; k++) atomic_fetch_add(&a->former[k], billed.n[k]);
      atomic_fetch_add(&a->stored, f->stored);
    }
  }
  for (struct account *a = u->accounts; a; a = a->next) forget_lost(a);
}

/* What was used until now cost what it did; from here on it costs what `prices` says. */
bool usage_settle_accounts(struct usage *u, const struct prices *before, struct gw_error *err) {
  bool ok = true;
  for (struct account *a = u->accounts; a && ok; a = a->next) {
    struct terms terms = *terms_of(a);
    struct billed used = used_by(a);
    if (!terms.budget.has_credit) continue;
    terms.settled += price_of(before, &used) - price_of(before, &terms.base);
    terms.base = used;
    ok = keep(u, a->name, &terms, err);
    set_terms(a, &terms);
  }
  return ok;
}

const struct prices *usage_prices(const struct usage *u) { return &u->prices; }

const struct prices *usage_prices_at(const struct usage *u, uint32_t table, uint64_t *from) {
  if (table >= u->n_tables) return NULL;
  *from = u->tables[table].from;
  return &u->tables[table].prices;
}

void account_look(struct account *a, struct account_view *view) {
  const struct terms *t = terms_of(a);
  *view = (struct account_view){
      .budget = t->budget, .used = used_by_itself(a), .n_running = atomic_load(&a->n_running), .stored = atomic_load(&a->stored)};
  struct billed used = used_by(a);
  if (t->budget.has_credit) view->spent = t->settled + price_of(a->prices, &used) - price_of(a->prices, &t->base);
}

/* What is to be paid at another rate takes as much longer or shorter. */
static void change_rate(struct account *a, uint64_t from, uint64_t to) {
  uint64_t now = clock_ns(CLOCK_MONOTONIC), before = atomic_load(&a->full_at), after;
  do {
    unsigned __int128 left = before > now ? (unsigned __int128)(before - now) * from / to : 0;
    after = left > INT64_MAX ? INT64_MAX : now + (uint64_t)left;
  } while (!atomic_compare_exchange_weak(&a->full_at, &before, after));
}

/* A balance begins when it is first given: what was used before is not of it. */
bool usage_change_budget(struct usage *u, const char *tenant, budget_edit_fn edit, const void *arg, struct gw_error *err) {
  pthread_mutex_lock(&u->changing);
  pthread_mutex_lock(&u->mutex);
  struct account *a = find_account(u, tenant, strlen(tenant));
  pthread_mutex_unlock(&u->mutex);
  struct terms terms = *terms_of(a);
  struct budget before = terms.budget, *budget = &terms.budget;
  edit(arg, budget);
  if (budget->has_credit && !before.has_credit) terms.base = used_by(a);
  if (!budget->has_credit || !before.has_credit) terms.settled = 0;
  bool ok = keep(u, tenant, &terms, err);
  if (ok && budget->gas_per_second && !before.gas_per_second) atomic_store(&a->full_at, clock_ns(CLOCK_MONOTONIC) + SECOND);
  if (ok && budget->gas_per_second && before.gas_per_second) change_rate(a, before.gas_per_second, budget->gas_per_second);
  if (ok) set_terms(a, &terms);
  pthread_mutex_unlock(&u->changing);
  return ok;
}

void usage_hand_over_account(struct usage *u, const char *tenant) {
  pthread_mutex_lock(&u->mutex);
  struct account *a = find_account(u, tenant, strlen(tenant));
  struct billed used = used_by(a);
  for (int i = 0; i < PRICE_COUNT; i++) atomic_store(&a->former[i], used.n[i]);
  pthread_mutex_unlock(&u->mutex);
}

bool usage_forget_budget(struct usage *u, const char *tenant, struct gw_error *err) {
  char key[KEY_SIZE];
  pthread_mutex_lock(&u->changing);
  bool ok = state_remove(u->options.state, u->space, key, key_of(key, tenant), err);
  pthread_mutex_lock(&u->mutex);
  struct account *a = find_account(u, tenant, strlen(tenant));
  pthread_mutex_unlock(&u->mutex);
  if (ok) set_terms(a, &(struct terms){0});
  pthread_mutex_unlock(&u->changing);
  return ok;
}
