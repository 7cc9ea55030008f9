/* Histories of transactions are serializable: the checker of Elle (Kingsbury, Alvaro, VLDB 2020) for lists that are appended to,
 * with scans. Each list is a key's value, or lies in a part of a large value that it shares with others. What a transaction saw
 * of a list says which appends came before it and which after, and so does the order of the list's elements. If these orders have
 * no cycle, some order of the transactions explains what each saw. With the comparison at the commit switched off the checker
 * must find cycles, or it would prove nothing.
 *
 * Transactions are interleaved on one thread by a generator with a seed, so a history is the same every time. Built a second time
 * on a store that answers late (TEST_LATE), and a third on PostgreSQL (TEST_POSTGRES). */
#include "tests/state_kit.h"

#include <stdatomic.h>

enum {
  N_KEYS = 8,
  N_PLAIN = 6, /* the others are in one large value */
  N_OPEN = 8,  /* transactions at one time */
  N_TXNS = IS_LMDB ? 4000 : 400,
  MAX_LIST = 4096,
  MAX_SEEN = 12,                       /* lists that a transaction saw */
  REGION = MAX_LIST * 4 + STATE_CHUNK, /* of the large value: the list's size, and its elements */
};

/* What one transaction did. Only committed ones count in the end. */
struct entry {
  bool is_committed;
  int n_seen;
  struct seen {
    int key, length;
  } seen[MAX_SEEN];
  int n_appended, appended[4]; /* keys */
};

enum switched_off { OFF_NOTHING, OFF_RANGES, OFF_CHUNKS, OFF_KEYS };

struct history {
  struct state_store *store;
  struct entry entries[N_TXNS];
  int n_begun;
  uint64_t seed;
  bool must_fail; /* a list that was seen is no beginning of the last one */
  struct {
    int n;
    uint32_t elements[MAX_LIST]; /* who appended */
  } lists[N_KEYS];
};

struct client {
  struct state_txn *txn;
  int entry, n_steps;
  struct outcome outcome;
};

static uint32_t below(uint64_t *seed, uint32_t n) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return (uint32_t)(*seed >> 33) % n;
}

/* --- transactions ------------------------------------------------------------------------------------------------- */

static void note_seen(struct entry *e, int key, size_t size) {
  if (e->n_seen == MAX_SEEN) return;
  e->seen[e->n_seen++] = (struct seen){key, (int)(size / sizeof(uint32_t))};
}

/* The list is longer by this transaction's own appends, which are no news. */
static size_t own_appends(const struct entry *e, int key) {
  size_t n = 0;
  for (int i = 0; i < e->n_appended; i++) n += e->appended[i] == key;
  return n * sizeof(uint32_t);
}

static struct state_large *regions(struct state_txn *txn) {
  struct gw_error err = {0};
  struct state_large *large;
  if (state_large_open(txn, "large", 5, false, &large, &err) != 1) fail_msg("%s", err.message);
  return large;
}

static uint64_t region_of(int key) { return (uint64_t)(key - N_PLAIN) * REGION; }

static size_t read_region(struct state_txn *txn, int key, uint32_t list[MAX_LIST]) {
  struct gw_error err = {0};
  uint32_t size;
  assert_true(state_large_read(txn, regions(txn), region_of(key), &size, sizeof size, &err));
  assert_true(state_large_read(txn, regions(txn), region_of(key) + sizeof size, list, size, &err));
  return size;
}

static void append_to_region(struct state_txn *txn, int key, size_t size, uint32_t id) {
  struct gw_error err = {0};
  uint32_t new_size = (uint32_t)(size + sizeof id);
  assert_true(state_large_write(txn, regions(txn), region_of(key), &new_size, sizeof new_size, &err));
  assert_true(state_large_write(txn, regions(txn), region_of(key) + sizeof new_size + size, &id, sizeof id, &err));
}

static void append(struct history *h, struct client *c, int key, const void *list, size_t size) {
  struct entry *e = &h->entries[c->entry];
  struct gw_error err = {0};
  char name = (char)('a' + key);
  uint32_t copy[MAX_LIST], id = (uint32_t)c->entry;
  if (e->n_appended == 4 || own_appends(e, key) || size >= sizeof copy - sizeof id) return;
  if (size) memcpy(copy, list, size);
  memcpy((char *)copy + size, &id, sizeof id);
  if (key >= N_PLAIN)
    append_to_region(c->txn, key, size, id);
  else
    assert_true(state_txn_set(c->txn, &name, 1, copy, size + sizeof id, &err));
  e->appended[e->n_appended++] = key;
}

static void get_or_append(struct history *h, struct client *c, bool appends) {
  struct entry *e = &h->entries[c->entry];
  struct gw_error err = {0};
  uint32_t region[MAX_LIST];
  const void *list = region;
  size_t size;
  int key = (int)below(&h->seed, N_KEYS);
  char name = (char)('a' + key);
  if (key >= N_PLAIN)
    size = read_region(c->txn, key, region);
  else
    assert_int_not_equal(state_txn_get_wait(c->txn, &name, 1, &list, &size, &err), -1);
  note_seen(e, key, size - own_appends(e, key));
  if (appends) append(h, c, key, list, size);
}

/* A range of lists; and one of them, seen by the scan alone, may get another element. */
static void scan(struct history *h, struct client *c) {
  struct entry *e = &h->entries[c->entry];
  struct gw_error err = {0};
  char first = (char)('a' + below(&h->seed, N_PLAIN)), end = (char)(first + 1 + (int)below(&h->seed, 3));
  if (end > 'a' + N_PLAIN) end = 'a' + N_PLAIN;
  struct state_range r = {&first, &end, 1, 1, below(&h->seed, 2), false};
  struct state_page page;
  int target = first - 'a' + (int)below(&h->seed, (uint32_t)(end - first)), is_met[N_KEYS] = {0};
  struct buffer list = {0};
  assert_true(state_txn_scan(c->txn, &r, &err));
  do {
    int done = state_txn_scan_next(c->txn, UINT32_MAX, 1 << 20, &page, &err);
    if (done == STATE_PENDING) {
      struct outcome woken = OUTCOME;
      state_txn_await(c->txn, outcome_wake, &woken);
      outcome_wait(&woken);
      done = state_txn_scan_answer(c->txn, &page, &err);
    }
    assert_int_equal(done, 1);
    for (const uint8_t *at = page.bytes; at < page.bytes + page.size;) {
      uint32_t sizes[2];
      memcpy(sizes, at, sizeof sizes);
      int key = at[8] - 'a';
      is_met[key] = 1;
      note_seen(e, key, sizes[1] - own_appends(e, key));
      if (key == target) buffer_append(&list, at + 9, sizes[1]);
      at += 9 + sizes[1];
    }
  } while (!page.is_last);
  for (int key = first - 'a'; key < end - 'a'; key++)
    if (!is_met[key]) note_seen(e, key, 0);
  if (below(&h->seed, 2)) append(h, c, target, list.bytes, list.size);
  buffer_clear(&list);
}

static void begin(struct history *h, struct client *c) {
  c->entry = h->n_begun++;
  c->n_steps = 2 + (int)below(&h->seed, 3);
  c->txn = state_txn_begin(h->store, "f");
  state_txn_expect_no_writes(c->txn); /* this thread must not wait for itself */
  fix_snapshot(c->txn);
}

/* A large value with empty lists. */
static void make_regions(struct state_store *store) {
  struct state_txn *txn = state_txn_begin(store, "f");
  struct state_large *large;
  struct gw_error err = {0};
  assert_true(state_large_create(txn, "large", 5, &large, &err));
  assert_true(state_large_resize(txn, large, region_of(N_KEYS), &err));
  assert_int_equal(commit(txn), STATE_COMMITTED);
}

/* Hands it to the store, which then compares all that was read, or not. */
static void hand_over(struct client *c, enum switched_off off) {
  if (off == OFF_RANGES || off == OFF_KEYS) c->txn->reads.ranges = NULL;
  for (struct store_key *k = c->txn->keys; k && off == OFF_CHUNKS; k = k->next)
    if (k->size == CHUNK_KEY) k->is_read = false;
  if (off == OFF_KEYS)
    for (struct store_key *k = c->txn->keys; k; k = k->next) k->is_read = false;
  c->outcome = (struct outcome)OUTCOME;
  state_txn_commit(c->txn, outcome_set, &c->outcome);
  c->txn = NULL;
}

static void await_commits(struct history *h, struct client *clients, const int *which, int n) {
  for (int i = 0; i < n; i++) {
    struct client *c = &clients[which[i]];
    h->entries[c->entry].is_committed = outcome_wait(&c->outcome) == STATE_COMMITTED;
  }
}

static void run_history(struct history *h, enum switched_off off) {
  static struct client clients[N_OPEN];
  memset(clients, 0, sizeof clients);
  bool is_any = true;
  while (is_any) {
    int n_over = 0, over[N_OPEN];
    is_any = false;
    for (int i = 0; i < N_OPEN; i++) {
      struct client *c = &clients[i];
      if (!c->txn && h->n_begun < N_TXNS) begin(h, c);
      if (!c->txn) continue;
      is_any = true;
      if (below(&h->seed, 3) == 0) continue;
      if (c->n_steps-- == 0) {
        hand_over(c, off);
        over[n_over++] = i;
      } else if (below(&h->seed, 3) == 0) {
        scan(h, c);
      } else {
        get_or_append(h, c, below(&h->seed, 2));
      }
    }
    await_commits(h, clients, over, n_over);
  }
}

/* --- the checker -------------------------------------------------------------------------------------------------- */

static void read_lists(struct history *h) {
  struct state_txn *txn = state_txn_begin(h->store, "f");
  struct gw_error err = {0};
  for (int key = 0; key < N_KEYS; key++) {
    const void *list;
    size_t size;
    char name = (char)('a' + key);
    uint32_t region[MAX_LIST];
    if (key >= N_PLAIN)
      size = read_region(txn, key, region), list = region;
    else
      state_txn_get_wait(txn, &name, 1, &list, &size, &err);
    h->lists[key].n = (int)(size / sizeof(uint32_t));
    if (size) memcpy(h->lists[key].elements, list, size);
  }
  state_txn_abort(txn);
}

/* Every append of a committed transaction is there, once, and none of others. */
static bool appends_are_kept(const struct history *h) {
  static int found[N_TXNS];
  memset(found, 0, sizeof found);
  for (int key = 0; key < N_KEYS; key++)
    for (int i = 0; i < h->lists[key].n; i++) found[h->lists[key].elements[i]]++;
  for (int t = 0; t < N_TXNS; t++)
    if (found[t] != (h->entries[t].is_committed ? h->entries[t].n_appended : 0)) return false;
  return true;
}

struct graph {
  int *to, *next, first[N_TXNS], n, most;
};

static void edge(struct graph *g, int from, int to) {
  if (from == to) return;
  if (g->n == g->most) {
    g->most = g->most ? 2 * g->most : 4096;
    g->to = realloc(g->to, (size_t)g->most * sizeof *g->to);
    g->next = realloc(g->next, (size_t)g->most * sizeof *g->next);
  }
  g->to[g->n] = to;
  g->next[g->n] = g->first[from];
  g->first[from] = g->n++;
}

static void build_graph(struct history *h, struct graph *g) {
  for (int t = 0; t < N_TXNS; t++) g->first[t] = -1;
  for (int key = 0; key < N_KEYS; key++)
    for (int i = 1; i < h->lists[key].n; i++) edge(g, (int)h->lists[key].elements[i - 1], (int)h->lists[key].elements[i]);
  for (int t = 0; t < N_TXNS; t++) {
    const struct entry *e = &h->entries[t];
    for (int i = 0; e->is_committed && i < e->n_seen; i++) {
      int key = e->seen[i].key, n = e->seen[i].length;
      if (n > h->lists[key].n) h->must_fail = true;
      if (n > h->lists[key].n) continue;
      if (n) edge(g, (int)h->lists[key].elements[n - 1], t);
      int next = n; /* its own append may be the next one */
      if (next < h->lists[key].n && (int)h->lists[key].elements[next] == t) next++;
      if (next < h->lists[key].n) edge(g, t, (int)h->lists[key].elements[next]);
    }
  }
}

/* Takes away what nothing comes before, until nothing is left, or only cycles and what hangs on them are (Kahn). */
static int count_on_cycles(const struct graph *g) {
  static int before[N_TXNS], free_ones[N_TXNS];
  int n_free = 0, left = N_TXNS;
  memset(before, 0, sizeof before);
  for (int t = 0; t < N_TXNS; t++)
    for (int e = g->first[t]; e >= 0; e = g->next[e]) before[g->to[e]]++;
  for (int t = 0; t < N_TXNS; t++)
    if (!before[t]) free_ones[n_free++] = t;
  while (n_free) {
    int t = free_ones[--n_free];
    left--;
    for (int e = g->first[t]; e >= 0; e = g->next[e])
      if (!--before[g->to[e]]) free_ones[n_free++] = g->to[e];
  }
  return left;
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

struct worker {
  struct history *history;
  atomic_int *n_begun, *n_ahead;
  uint64_t seed;
};

/* One list, or some of them in a scan; false: the transaction has to begin again. */
static bool look(struct worker *w, struct state_txn *txn, struct entry *e, uint32_t id) {
  struct gw_error err = {0};
  const void *list = NULL;
  size_t size = 0;
  int key = (int)below(&w->seed, below(&w->seed, 4) ? 2 : N_PLAIN); /* two are hot */
  char name = (char)('a' + key), end = (char)(name + 1);
  if (below(&w->seed, 8) == 0) {
    struct state_range r = {&name, &end, 1, 1, false, false};
    struct state_page page;
    if (!state_txn_scan(txn, &r, &err) || state_txn_scan_next_wait(txn, 9, 1 << 20, &page, &err) < 0) return false;
    size = page.n_pairs ? page.size - 9 : 0;
    note_seen(e, key, size - own_appends(e, key));
    return true;
  }
  if (state_txn_get_wait(txn, &name, 1, &list, &size, &err) < 0) return false;
  note_seen(e, key, size - own_appends(e, key));
  uint32_t copy[MAX_LIST];
  if (below(&w->seed, 3) == 0 || e->n_appended == 4 || own_appends(e, key) || size >= sizeof copy - sizeof id) return true;
  if (size) memcpy(copy, list, size);
  memcpy((char *)copy + size, &id, sizeof id);
  assert_true(state_txn_set(txn, &name, 1, copy, size + sizeof id, &err));
  e->appended[e->n_appended++] = key;
  return true;
}

static void *work(void *arg) {
  struct worker *w = arg;
  struct state_turns turns = {0};
  for (int i, attempt = 0; (i = atomic_fetch_add(w->n_begun, 1)) < N_TXNS; attempt++) {
    struct entry *e = &w->history->entries[i];
    struct state_txn *txn = state_txn_begin(w->history->store, "f");
    if (attempt % 3 == 0) turns.n = 0;
    state_txn_take_turns(txn, &turns);
    if (attempt % 7) state_txn_run_ahead(txn);
    int n_steps = 1 + (int)below(&w->seed, 3);
    bool goes_on = true;
    while (goes_on && n_steps--) goes_on = look(w, txn, e, (uint32_t)i);
    if (!goes_on) assert_true(state_txn_is_stale(txn));
    if (!goes_on) state_txn_note_turns(txn);
    if (state_txn_has_run_ahead(txn)) atomic_fetch_add(w->n_ahead, 1);
    if (goes_on)
      e->is_committed = commit(txn) == STATE_COMMITTED;
    else
      state_txn_abort(txn);
  }
  return NULL;
}

/* In lanes, running ahead of what is durable. */
static void run_threads(struct history *h, int *n_ahead) {
  enum { N_WORKERS = 8 };
  pthread_t threads[N_WORKERS];
  struct worker workers[N_WORKERS];
  atomic_int n_begun = 0, ahead = 0;
  for (int i = 0; i < N_WORKERS; i++) {
    workers[i] = (struct worker){h, &n_begun, &ahead, h->seed + (uint64_t)i * 7919};
    assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
  }
  for (int i = 0; i < N_WORKERS; i++) pthread_join(threads[i], NULL);
  *n_ahead = ahead;
}

/* Whether the history is one that transactions one behind the other could have had. */
static bool is_serializable(uint64_t seed, enum switched_off off, int *n_committed, int *n_ahead) {
  struct history *h = calloc(1, sizeof *h);
  struct graph g = {0};
  struct gw_error err = {0};
  h->store = open_store(MAP_SIZE);
  h->seed = seed;
  assert_true(state_clear(h->store, "f", &err));
  make_regions(h->store);
  if (n_ahead)
    run_threads(h, n_ahead);
  else
    run_history(h, off);
  read_lists(h);
  build_graph(h, &g);
  bool is_kept = appends_are_kept(h);
  int on_cycles = count_on_cycles(&g);
  *n_committed = 0;
  for (int t = 0; t < N_TXNS; t++) *n_committed += h->entries[t].is_committed;
  bool is_good = is_kept && !on_cycles && !h->must_fail;
  state_store_close(h->store);
  free(g.to);
  free(g.next);
  free(h);
  return is_good;
}

/* GASWORKS_HISTORIES: so many, by hand; 25 of them are 100,000 transactions. */
static uint64_t n_histories(uint64_t usual) {
  const char *text = getenv("GASWORKS_HISTORIES");
  return text ? strtoull(text, NULL, 10) : IS_POSTGRES ? 1 : usual;
}

static void test_histories_are_serializable(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= n_histories(4); seed++) {
    int n;
    assert_true(is_serializable(seed * 0x9e3779b97f4a7c15u, OFF_NOTHING, &n, NULL));
    assert_in_range(n, N_TXNS / 8, N_TXNS);
  }
}

static void test_threads_are_serializable(void **state) {
  (void)state;
  int n, n_ahead, all_ahead = 0;
  for (uint64_t seed = 1; seed <= n_histories(2); seed++) {
    assert_true(is_serializable(seed * 0x9e3779b97f4a7c15u, OFF_NOTHING, &n, &n_ahead));
    assert_in_range(n, N_TXNS / 20, N_TXNS);
    all_ahead += n_ahead;
  }
  assert_true(!IS_LMDB || all_ahead > 0);
}

/* Else the test above would find nothing, whatever happened. */
static void test_the_checker_finds_anomalies(void **state) {
  (void)state;
  int n;
  assert_false(is_serializable(0x9e3779b97f4a7c15u, OFF_RANGES, &n, NULL));
  assert_false(is_serializable(0x9e3779b97f4a7c15u, OFF_CHUNKS, &n, NULL));
  assert_false(is_serializable(0x9e3779b97f4a7c15u, OFF_KEYS, &n, NULL));
}

/* --- a bank ------------------------------------------------------------------------------------------------------- */

enum { N_ACCOUNTS = 10, N_TELLERS = 4, N_TRANSFERS = IS_LMDB ? 300 : 20, START = 1000 };

static atomic_int wrong_sums;

static int64_t balance(struct state_txn *txn, int account) {
  const void *value;
  size_t size;
  int64_t n = START;
  struct gw_error err = {0};
  if (state_txn_is_stale(txn)) return 0;
  if (state_txn_get_wait(txn, &account, sizeof account, &value, &size, &err) == 1) memcpy(&n, value, sizeof n);
  return n;
}

static void *tell(void *arg) {
  uint64_t seed = (uint64_t)(uintptr_t)&seed | 1;
  struct gw_error err = {0};
  for (int done = 0; done < N_TRANSFERS;) {
    struct state_txn *txn = state_txn_begin(arg, "bank");
    int from = (int)below(&seed, N_ACCOUNTS), to = (from + 1 + (int)below(&seed, N_ACCOUNTS - 1)) % N_ACCOUNTS;
    if (done % 8 == 7) {
      int64_t sum = 0;
      for (int i = 0; i < N_ACCOUNTS; i++) sum += balance(txn, i);
      wrong_sums += !state_txn_is_stale(txn) && sum != N_ACCOUNTS * START;
    }
    int64_t a = balance(txn, from) - 1, b = balance(txn, to) + 1;
    if (state_txn_is_stale(txn)) { /* it waited for its turn, and what it had read has changed */
      state_txn_abort(txn);
      continue;
    }
    assert_true(state_txn_set(txn, &from, sizeof from, &a, sizeof a, &err));
    assert_true(state_txn_set(txn, &to, sizeof to, &b, sizeof b, &err));
    done += commit(txn) == STATE_COMMITTED;
  }
  return NULL;
}

static void test_bank(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  pthread_t threads[N_TELLERS];
  for (int i = 0; i < N_TELLERS; i++) assert_int_equal(pthread_create(&threads[i], NULL, tell, store), 0);
  for (int i = 0; i < N_TELLERS; i++) pthread_join(threads[i], NULL);
  assert_int_equal(wrong_sums, 0);
  struct state_txn *txn = state_txn_begin(store, "bank");
  int64_t sum = 0;
  for (int i = 0; i < N_ACCOUNTS; i++) sum += balance(txn, i);
  assert_int_equal(sum, N_ACCOUNTS * START);
  state_txn_abort(txn);
  state_store_close(store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_histories_are_serializable), TEST(test_threads_are_serializable),
                                     TEST(test_the_checker_finds_anomalies), TEST(test_bank)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
