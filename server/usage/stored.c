/* Sums as the state store has them, in a space of their own. Numbers have 64 bits, least byte first, those in keys the most
 * significant byte first:
 *
 *   "n"                                  the log's id, the index of the first leaf that is not added, and rent_at
 *   "f" FUNCTION                         rent_added, bytes stored, version, and the sums
 *   "o" FUNCTION                         what others used who had the name: day (32 bits), table, version, how many quantities
 *                                        are in a sum, and two sums
 *   "b" TENANT                           its budget (account.c)
 *   "p"                                  the prices
 *   "q" TABLE (32 bits)                  since when there were which prices, from table 0 on
 *   "d" DAY (32 bits) FUNCTION 0 VERSION the sums of one version on one day, at the prices of table 0
 *   "d" DAY FUNCTION 0 VERSION TABLE     the same, at those of another
 *
 * A value may have fewer sums than there are quantities now: the others are 0. */
#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/heap.h"
#include "server/usage/private.h"

#include <stdio.h>
#include <string.h>

/* N_OWN, N_FORMER: numbers of a function, and of who had its name before, in front of their sums. */
enum { KEY_SIZE = 1 + 4 + USAGE_MAX_NAME + 1 + 8 + 4, N_OWN = 3, N_FORMER = 3 };

static size_t row_key(uint8_t key[KEY_SIZE], const struct usage_row *row) {
  uint32_t day = __builtin_bswap32(row->day);
  uint64_t version = __builtin_bswap64(row->version);
  size_t size = strlen(row->function) + 1;
  key[0] = 'd';
  memcpy(key + 1, &day, sizeof day);
  memcpy(key + 5, row->function, size);
  memcpy(key + 5 + size, &version, sizeof version);
  size += 5 + sizeof version;
  if (!row->table) return size;
  uint32_t table = __builtin_bswap32(row->table);
  memcpy(key + size, &table, sizeof table);
  return size + sizeof table;
}

static size_t table_key(uint8_t key[KEY_SIZE], uint32_t table) {
  uint32_t big = __builtin_bswap32(table);
  key[0] = 'q';
  memcpy(key + 1, &big, sizeof big);
  return 1 + sizeof big;
}

static size_t name_key(uint8_t key[KEY_SIZE], char kind, const char *name) {
  size_t size = strlen(name);
  key[0] = (uint8_t)kind;
  memcpy(key + 1, name, size);
  return 1 + size;
}

static void read_sum(struct usage_sum *sum, const void *value, size_t size) {
  *sum = (struct usage_sum){0};
  memcpy(sum, value, size < sizeof *sum ? size : sizeof *sum);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

typedef bool (*pair_fn)(void *arg, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size);

static bool each_of_page(const struct state_page *page, pair_fn each, void *arg) {
  const uint8_t *at = page->bytes;
  for (uint32_t i = 0; i < page->n_pairs; i++) {
    uint32_t sizes[2];
    memcpy(sizes, at, sizeof sizes);
    at += sizeof sizes;
    if (!(sizes[1] & STATE_LARGE_BIT) && !each(arg, at, sizes[0], at + sizes[0], sizes[1])) return false;
    at += sizes[0] + sizes[1];
  }
  return true;
}

/* Pairs from one key to before another. */
static bool each_pair(const struct usage *u, const void *first, size_t first_size, const void *end, size_t end_size, pair_fn each,
                      void *arg, struct gw_error *err) {
  enum { PAGE_ROOM = 1 << 16 };
  struct state_range range = {.first = first, .first_size = first_size, .end = end, .end_size = end_size};
  struct state_txn *txn = state_txn_begin(u->options.state, u->space);
  struct state_page page = {0};
  bool ok = state_txn_scan(txn, &range, err);
  while (ok && !page.is_last) {
    ok = state_txn_scan_next_wait(txn, UINT32_MAX, PAGE_ROOM, &page, err) > 0;
    if (ok && !each_of_page(&page, each, arg)) break;
  }
  state_txn_abort(txn);
  return ok;
}

static bool get(const struct usage *u, const void *key, size_t key_size, void *out, size_t size, size_t *found,
                struct gw_error *err) {
  struct state_txn *txn = state_txn_begin(u->options.state, u->space);
  const void *value;
  size_t value_size;
  int is_there = state_txn_get_wait(txn, key, key_size, &value, &value_size, err);
  *found = is_there > 0 ? value_size : 0;
  if (is_there > 0) memcpy(out, value, value_size < size ? value_size : size);
  state_txn_abort(txn);
  return is_there >= 0;
}

bool usage_load_row(struct usage *u, struct usage_row *row, struct gw_error *err) {
  uint8_t key[KEY_SIZE];
  size_t found;
  row->sum = (struct usage_sum){0};
  return get(u, key, row_key(key, row), &row->sum, sizeof row->sum, &found, err);
}

/* Of a key's letter and a function's name the name; false: it is no such key. */
static bool read_name(char name[USAGE_MAX_NAME + 1], const uint8_t *key, size_t key_size) {
  if (key_size < 2 || key_size - 1 > USAGE_MAX_NAME) return false;
  memcpy(name, key + 1, key_size - 1);
  name[key_size - 1] = 0;
  return true;
}

static bool load_function(void *arg, const uint8_t *key, size_t key_size, const uint8_t *value, size_t size) {
  struct usage *u = arg;
  uint64_t own[N_OWN];
  char name[USAGE_MAX_NAME + 1];
  if (!read_name(name, key, key_size) || size < sizeof own) return true;
  memcpy(own, value, sizeof own);
  struct usage_function *f = usage_find_function(u, name, true);
  f->rent_added = own[0];
  f->stored = own[1];
  f->version = own[2];
  read_sum(&f->sum, value + sizeof own, size - sizeof own);
  return true;
}

/* Behind all functions. */
static bool load_former(void *arg, const uint8_t *key, size_t key_size, const uint8_t *value, size_t size) {
  struct usage *u = arg;
  uint64_t head[N_FORMER];
  char name[USAGE_MAX_NAME + 1];
  if (!read_name(name, key, key_size) || size < sizeof head) return true;
  memcpy(head, value, sizeof head);
  size_t sum = (size - sizeof head) / 2;
  if (head[2] != sum / sizeof(uint64_t)) return true;
  struct usage_function *f = usage_find_function(u, name, true);
  if (!f->former) f->former = heap_new(1, sizeof *f->former);
  f->former->day = (uint32_t)head[0];
  f->former->table = (uint32_t)(head[0] >> 32);
  f->former->version = head[1];
  read_sum(&f->former->sum, value + sizeof head, sum);
  read_sum(&f->former->last, value + sizeof head + sum, sum);
  return true;
}

static bool load_budget(void *arg, const uint8_t *key, size_t key_size, const uint8_t *value, size_t size) {
  if (!usage_load_budget(arg, (const char *)key + 1, key_size - 1, value, size))
    fprintf(stderr, "[server] usage: the budget of tenant %.*s is damaged\n", (int)key_size - 1, (const char *)key + 1);
  return true;
}

static void add_table(struct usage *u, const struct price_table *table) {
  u->tables = heap_resize(u->tables, u->n_tables + 1, sizeof *u->tables);
  u->tables[u->n_tables++] = *table;
  u->table = u->n_tables - 1;
}

/* In the order of their numbers. */
static bool load_table(void *arg, const uint8_t *key, size_t key_size, const uint8_t *value, size_t size) {
  struct usage *u = arg;
  struct price_table table = {.from = 0};
  uint8_t expected[KEY_SIZE];
  if (key_size != table_key(expected, u->n_tables) || memcmp(key, expected, key_size) != 0) return true;
  memcpy(&table, value, size < sizeof table ? size : sizeof table);
  add_table(u, &table);
  return true;
}

/* Prices were not dated once: those that there were are table 0. */
static bool load_tables(struct usage *u, struct gw_error *err) {
  struct price_table first = {.prices = {.currency = "XXX"}};
  size_t found;
  if (!each_pair(u, "q", 1, "r", 1, load_table, u, err)) return false;
  if (u->n_tables) return true;
  if (!get(u, "p", 1, &first.prices, sizeof first.prices, &found, err)) return false;
  add_table(u, &first);
  return true;
}

/* The last two: the one before may not be there yet. */
static bool store_tables(const struct usage *u, struct gw_error *err) {
  uint8_t key[KEY_SIZE];
  struct state_txn *txn = state_txn_begin(u->options.state, u->space);
  bool ok = state_txn_set(txn, "p", 1, &u->prices, sizeof u->prices, err);
  for (uint32_t i = u->n_tables - 2; i < u->n_tables && ok; i++)
    ok = state_txn_set(txn, key, table_key(key, i), &u->tables[i], sizeof u->tables[i], err);
  if (ok) return state_txn_commit_wait(txn, err);
  state_txn_abort(txn);
  return false;
}

bool usage_take_prices(struct usage *u, struct gw_error *err) {
  const struct prices before = u->tables[u->table].prices;
  if (!memcmp(&before, &u->prices, sizeof before)) return true;
  if (!usage_settle_accounts(u, &before, err)) return false;
  add_table(u, &(struct price_table){.from = clock_ns(CLOCK_REALTIME) / 1000000000, .prices = u->prices});
  return store_tables(u, err);
}

/* Where the log goes on. */
struct mark {
  char log[RECEIPT_ID_SIZE - 1];
  uint64_t next;
  uint64_t rent_at;
};

/* Of another log nothing is added yet. One that is shorter than it was has lost what was added: what it gets now is new. */
bool usage_load(struct usage *u, struct gw_error *err) {
  struct mark mark = {.next = 0};
  size_t found;
  const char *id = receipt_log_id(u->options.log);
  if (!get(u, "n", 1, &mark, sizeof mark, &found, err)) return false;
  bool is_ours = found == sizeof mark && !memcmp(mark.log, id, sizeof mark.log);
  u->next = u->stored_next = is_ours ? mark.next : 0;
  u->rent_at = found == sizeof mark ? mark.rent_at : 0;
  uint64_t end = receipt_log_durable(u->options.log);
  if (u->next > end) {
    fprintf(stderr, "[server] usage: the log of receipts has %llu leaves, and %llu were added: it is an older one\n",
            (unsigned long long)end, (unsigned long long)u->next);
    u->next = u->stored_next = end;
  }
  return load_tables(u, err) && each_pair(u, "f", 1, "g", 1, load_function, u, err) &&
         each_pair(u, "o", 1, "p", 1, load_former, u, err) && each_pair(u, "b", 1, "c", 1, load_budget, u, err);
}

struct row_reader {
  void (*each)(void *arg, const struct usage_row *row);
  void *arg;
};

static bool read_row(void *arg, const uint8_t *key, size_t key_size, const uint8_t *value, size_t size) {
  const struct row_reader *reader = arg;
  struct usage_row row = {.version = 0};
  uint64_t version;
  uint32_t day, table = 0;
  const uint8_t *end = key_size > 5 ? memchr(key + 5, 0, key_size - 5) : NULL;
  size_t name_size = end ? (size_t)(end + 1 - key) - 5 : 0, rest = key_size - 5 - name_size;
  if (!end || name_size > sizeof row.function || (rest != sizeof version && rest != sizeof version + sizeof table)) return true;
  memcpy(&day, key + 1, sizeof day);
  memcpy(row.function, key + 5, name_size);
  memcpy(&version, key + 5 + name_size, sizeof version);
  if (rest > sizeof version) memcpy(&table, key + 5 + name_size + sizeof version, sizeof table);
  row.day = __builtin_bswap32(day);
  row.version = __builtin_bswap64(version);
  row.table = __builtin_bswap32(table);
  read_sum(&row.sum, value, size);
  reader->each(reader->arg, &row);
  return true;
}

bool usage_each(struct usage *u, uint32_t first, uint32_t last, void (*each)(void *arg, const struct usage_row *row), void *arg,
                struct gw_error *err) {
  struct row_reader reader = {each, arg};
  uint8_t from[5] = "d", to[5] = "d";
  uint32_t big_first = __builtin_bswap32(first), big_end = __builtin_bswap32(last + 1);
  memcpy(from + 1, &big_first, sizeof big_first);
  memcpy(to + 1, &big_end, sizeof big_end);
  return each_pair(u, from, sizeof from, to, sizeof to, read_row, &reader, err);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static bool put_rows(const struct usage *u, struct state_txn *txn, struct gw_error *err) {
  uint8_t key[KEY_SIZE];
  bool ok = true;
  for (int i = 0; i < USAGE_BUCKETS && ok; i++)
    for (const struct usage_open_row *r = u->rows[i]; r && ok; r = r->next)
      ok = state_txn_set(txn, key, row_key(key, &r->row), &r->row.sum, sizeof r->row.sum, err);
  return ok;
}

static bool put_function(const struct usage_function *f, struct state_txn *txn, struct gw_error *err) {
  uint8_t key[KEY_SIZE];
  struct {
    uint64_t own[N_OWN];
    struct usage_sum sum;
  } value = {{f->rent_added, f->stored, f->version}, f->sum};
  return state_txn_set(txn, key, name_key(key, 'f', f->name), &value, sizeof value, err);
}

bool usage_store_former(struct usage *u, struct usage_function *const *functions, size_t n, struct gw_error *err) {
  struct state_txn *txn = state_txn_begin(u->options.state, u->space);
  bool ok = true;
  for (size_t i = 0; i < n && ok; i++) {
    uint8_t key[KEY_SIZE];
    const struct usage_former *former = functions[i]->former;
    struct {
      uint64_t head[N_FORMER];
      struct usage_sum sum, last;
    } value = {{former->day | (uint64_t)former->table << 32, former->version, USAGE_COUNT}, former->sum, former->last};
    ok = state_txn_set(txn, key, name_key(key, 'o', functions[i]->name), &value, sizeof value, err);
  }
  if (ok) return state_txn_commit_wait(txn, err);
  state_txn_abort(txn);
  return false;
}

/* Only this thread changes functions, so it may read them without the mutex. */
static bool put_functions(const struct usage *u, struct state_txn *txn, struct gw_error *err) {
  bool ok = true;
  for (int i = 0; i < USAGE_BUCKETS && ok; i++)
    for (const struct usage_function *f = u->functions[i]; f && ok; f = f->next)
      if (f->is_changed) ok = put_function(f, txn, err);
  return ok;
}

static void mark_stored(struct usage *u) {
  for (int i = 0; i < USAGE_BUCKETS; i++)
    for (struct usage_function *f = u->functions[i]; f; f = f->next) f->is_changed = false;
  usage_forget_rows(u);
  pthread_mutex_lock(&u->mutex);
  u->n_changed = 0;
  u->stored_next = u->next;
  pthread_mutex_unlock(&u->mutex);
  receipt_log_release(u->options.log, u->next);
}

bool usage_store(struct usage *u, struct gw_error *err) {
  struct mark mark = {.next = u->next, .rent_at = u->rent_at};
  if (!u->n_rows && u->next == u->stored_next) return true;
  memcpy(mark.log, receipt_log_id(u->options.log), sizeof mark.log);
  struct state_txn *txn = state_txn_begin(u->options.state, u->space);
  if (!put_rows(u, txn, err) || !put_functions(u, txn, err) || !state_txn_set(txn, "n", 1, &mark, sizeof mark, err)) {
    state_txn_abort(txn);
    return false;
  }
  if (!state_txn_commit_wait(txn, err)) return false;
  mark_stored(u);
  return true;
}
