/* From leaves, and from what state costs, to sums. On the thread that follows the log, and before it begins. */
#include "base/buffer.h"
#include "base/error.h"
#include "runtime/receipt/files.h"
#include "server/usage/private.h"

#include <string.h>
#include <time.h>

enum { NAMES_SECONDS = 3600 };

/* --- leaves ------------------------------------------------------------------------------------------------------- */

struct usage_sum usage_of_leaf(const struct leaf *leaf) {
  enum { OF_EACH = -1, OF_NONE = -2 };
  static const int from[] = {
#define QUANTITY(name, word, unit, field) field,
#include "server/usage/usage.def"
#undef QUANTITY
  };
  struct usage_sum sum;
  uint64_t outcome = leaf->fields[FIELD_OUTCOME].number;
  for (int i = 0; i < USAGE_COUNT; i++) sum.n[i] = from[i] >= 0 ? leaf->fields[from[i]].number : from[i] == OF_EACH;
  sum.n[USAGE_FAILURES] = outcome != OUTCOME_REPLIED && outcome != OUTCOME_REPEATED;
  return sum;
}

/* Under the mutex. */
static void mark_changed(struct usage *u, struct usage_function *f) {
  u->n_changed += !f->is_changed;
  f->is_changed = true;
}

static bool is_much(const struct usage *u) { return u->n_rows + u->n_changed > USAGE_MAX_CHANGES; }

/* To the function and to the row. */
static bool add(struct usage *u, const char *name, uint64_t version, uint32_t day, const struct usage_sum *sum,
                struct gw_error *err) {
  struct usage_row *row = usage_row_of(u, name, version, day, err);
  if (!row) return false;
  usage_add(&row->sum, sum);
  pthread_mutex_lock(&u->mutex);
  struct usage_function *f = usage_find_function(u, name, true);
  usage_add(&f->sum, sum);
  mark_changed(u, f);
  pthread_mutex_unlock(&u->mutex);
  return true;
}

/* What is void tells of nothing that was. */
static bool add_leaf(struct usage *u, const uint8_t *bytes, size_t size, struct gw_error *err) {
  struct leaf leaf;
  char name[USAGE_MAX_NAME + 1];
  const struct leaf_value *function = &leaf.fields[FIELD_FUNCTION];
  if (!leaf_read_own(&leaf, bytes, size)) return error_set(err, GW_ERROR_STATE, "the log of receipts has a damaged leaf");
  if (leaf.fields[FIELD_OUTCOME].number == OUTCOME_VOID || !function->is_there || function->size > USAGE_MAX_NAME) return true;
  memcpy(name, function->bytes, function->size);
  name[function->size] = 0;
  struct usage_sum sum = usage_of_leaf(&leaf);
  uint64_t version = leaf.fields[FIELD_VERSION].number;
  if (!add(u, name, version, (uint32_t)(leaf.fields[FIELD_TIME].number / USAGE_DAY_SECONDS), &sum, err)) return false;
  struct usage_function *f = usage_find_function(u, name, true);
  f->version = version;
  f->has_written |= leaf.fields[FIELD_WRITTEN].is_there;
  return true;
}

/* Of the bundle those from u->next to before `end`. */
static bool add_bundle(struct usage *u, const struct buffer *bundle, uint64_t end, struct gw_error *err) {
  const uint8_t *leaf;
  size_t size, at = 0;
  for (uint64_t i = u->next / TREE_TILE * TREE_TILE; i < end; i++) {
    if (!files_next_leaf(bundle->bytes, bundle->size, &at, &leaf, &size))
      return error_set(err, GW_ERROR_STATE, "leaves are missing in the log of receipts");
    if (i < u->next) continue;
    if (!add_leaf(u, leaf, size, err)) return false;
    u->next = i + 1;
  }
  return true;
}

/* Where leaves are forgotten that nobody has added, there is nothing to add: they are older than usage is. */
bool usage_follow(struct usage *u, uint64_t end, struct gw_error *err) {
  struct buffer bundle = {0};
  bool ok = true;
  while (ok && u->next < end) {
    uint64_t first = u->next / TREE_TILE * TREE_TILE, last = end - first < TREE_TILE ? end : first + TREE_TILE;
    bundle.size = 0;
    enum files_answer answer = files_read_bundle(receipt_log_directory(u->options.log), first / TREE_TILE, last - first, &bundle);
    if (answer == FILES_FOUND)
      ok = add_bundle(u, &bundle, last, err);
    else if (answer == FILES_PRUNED)
      u->next = last;
    else
      ok = error_set(err, GW_ERROR_STATE, "leaves are missing in the log of receipts");
    if (ok && is_much(u)) ok = usage_store(u, err);
  }
  buffer_clear(&bundle);
  return ok;
}

/* --- rent --------------------------------------------------------------------------------------------------------- */

static bool add_part(struct usage *u, struct usage_function *f, uint64_t day, uint64_t rent, struct gw_error *err) {
  struct usage_sum sum = {0};
  sum.n[USAGE_RENT] = rent;
  if (rent && !add(u, f->name, f->version, (uint32_t)day, &sum, err)) return false;
  f->rent_added += rent;
  usage_count_rent(u, f->name, rent, f->stored, f->stored);
  return true;
}

/* Between two looks state grows and shrinks only while the server runs, and then looks are a second apart. So what falls on each
 * day is what the state that was there at the last look has taken; the rest is of the last day. */
static bool add_days(struct usage *u, struct usage_function *f, uint64_t rent, uint64_t from, uint64_t to, struct gw_error *err) {
  for (uint64_t day = from / USAGE_DAY_SECONDS, end; (end = (day + 1) * USAGE_DAY_SECONDS) <= to; day++, from = end) {
    uint64_t part = f->stored * (end - from);
    if (part > rent) part = rent;
    if (!add_part(u, f, day, part, err)) return false;
    rent -= part;
  }
  return add_part(u, f, to / USAGE_DAY_SECONDS, rent, err);
}

/* What the store says is exact; what is in the sums is remembered with them. */
static bool add_rent_of(struct usage *u, struct usage_function *f, uint64_t now, struct gw_error *err) {
  struct state_use use;
  if (!state_read_use(u->options.state, f->name, &use, err)) return false;
  uint64_t rent = use.rent > f->rent_added ? use.rent - f->rent_added : 0, from = u->rent_at ? u->rent_at : now;
  if (rent && !add_days(u, f, rent, from < now ? from : now, now, err)) return false;
  usage_count_rent(u, f->name, 0, f->stored, use.bytes);
  f->rent_added = use.rent;
  f->has_written = false;
  pthread_mutex_lock(&u->mutex);
  if (f->stored != use.bytes || rent) mark_changed(u, f);
  f->stored = use.bytes;
  pthread_mutex_unlock(&u->mutex);
  return true;
}

static void on_name(void *arg, const char *name) {
  struct usage *u = arg;
  if (strlen(name) > USAGE_MAX_NAME) return;
  pthread_mutex_lock(&u->mutex);
  usage_find_function(u, name, true)->has_written = true;
  pthread_mutex_unlock(&u->mutex);
}

bool usage_add_rent(struct usage *u, bool is_all, struct gw_error *err) {
  uint64_t now = (uint64_t)time(NULL);
  bool is_new_day = now / USAGE_DAY_SECONDS != u->rent_at / USAGE_DAY_SECONDS;
  if (u->options.names && (is_new_day || (is_all && now != u->named_at) || now >= u->named_at + NAMES_SECONDS)) {
    u->options.names(u->options.names_arg, on_name, u);
    u->named_at = now;
    is_all = true;
  }
  is_all |= is_new_day;
  for (int i = 0; i < USAGE_BUCKETS; i++) {
    for (struct usage_function *f = u->functions[i]; f; f = f->next) {
      bool is_due = f->has_written || (is_all && f->stored && now != u->rent_at);
      if (is_due && !add_rent_of(u, f, now, err)) return false;
      if (is_much(u) && !usage_store(u, err)) return false;
    }
  }
  if (is_all) u->rent_at = now;
  return true;
}
