/* What tests of state share: a store in a directory of its own, one that answers late (TEST_LATE), or one in the PostgreSQL that
 * tests/postgres.sh has started (TEST_POSTGRES), transactions that are
 * waited for, and values as strings. Included by one file of a program. */
#ifndef TESTS_STATE_KIT_H
#define TESTS_STATE_KIT_H

#include "runtime/state/private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAP_SIZE = 64 << 20 };

static char directory[64];

static inline int make_directory(void **state) {
  (void)state;
  snprintf(directory, sizeof directory, "/tmp/gasworks-state-XXXXXX");
  return mkdtemp(directory) ? 0 : -1;
}

static inline int remove_directory(void **state) {
  (void)state;
  static const char *const files[] = {"data.mdb", "lock.mdb"};
  char path[128];
  for (size_t i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s/%s", directory, files[i]);
    unlink(path);
  }
  return rmdir(directory);
}

#ifdef TEST_LATE
#include "tests/late_store.h"

static struct late_data disk;

static inline int remove_directory_late(void **state) {
  late_data_clear(&disk);
  return remove_directory(state);
}
#define remove_directory remove_directory_late
enum { IS_LATE = 1 };

static inline struct state_store *open_late(size_t map_size, struct gw_error *err) {
  (void)map_size;
  return state_store_create(&late_store_open(&disk)->store, err);
}
#else
enum { IS_LATE = 0 };
#endif

#ifdef TEST_POSTGRES
#include "runtime/state/postgres/pq.h"
enum { IS_POSTGRES = 1 };

static inline struct state_store *open_postgres(struct gw_error *err) {
  struct state_postgres options = {.url = getenv("GASWORKS_TEST_POSTGRES"), .connections = 16, .wait_ms = 5000, .node = "one"};
  return state_store_open_postgres(&options, err);
}

/* What a test has left. */
static inline int drop_tables(void **state) {
  (void)state;
  static const char drop[] =
      "psql -q -c 'SET client_min_messages TO error; DROP SCHEMA IF EXISTS gasworks CASCADE' \"$GASWORKS_TEST_POSTGRES\"";
  return system(drop) || remove_directory(state);
}
#define remove_directory drop_tables
#else
enum { IS_POSTGRES = 0 };
#endif
enum { IS_LMDB = !IS_LATE && !IS_POSTGRES };
#if !defined TEST_LATE && !defined TEST_POSTGRES
#define TEST_LMDB
#endif

static inline struct state_store *try_open_store(size_t map_size, bool sync, struct gw_error *err) {
  (void)map_size, (void)sync;
#ifdef TEST_LATE
  return open_late(map_size, err);
#elif defined TEST_POSTGRES
  return open_postgres(err);
#else
  return state_store_open(directory, map_size, sync, err);
#endif
}

static inline struct state_store *open_store(size_t map_size) {
  struct gw_error err = {0};
  struct state_store *store = try_open_store(map_size, false, &err);
  if (!store) print_error("%s\n", err.message);
  assert_non_null(store);
  return store;
}

/* Waits for a commit. */
struct outcome {
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  int calls;
  enum state_outcome outcome;
  char message[320];
};

static inline void outcome_set(void *arg, enum state_outcome result, const struct gw_error *err) {
  struct outcome *o = arg;
  pthread_mutex_lock(&o->mutex);
  o->outcome = result;
  o->calls++;
  if (err) snprintf(o->message, sizeof o->message, "%s", err->message);
  pthread_cond_signal(&o->cond);
  pthread_mutex_unlock(&o->mutex);
}

#define OUTCOME \
  { .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER }

static inline enum state_outcome outcome_wait(struct outcome *o) {
  pthread_mutex_lock(&o->mutex);
  while (!o->calls) pthread_cond_wait(&o->cond, &o->mutex);
  assert_int_equal(o->calls, 1);
  pthread_mutex_unlock(&o->mutex);
  return o->outcome;
}

/* For state_txn_await. */
static inline void outcome_wake(void *arg) { outcome_set(arg, STATE_COMMITTED, NULL); }

static inline enum state_outcome commit(struct state_txn *txn) {
  struct outcome o = OUTCOME;
  state_txn_commit(txn, outcome_set, &o);
  return outcome_wait(&o);
}

static inline void set(struct state_txn *txn, const char *key, const char *value) {
  struct gw_error err = {0};
  assert_true(state_txn_set(txn, key, strlen(key), value, strlen(value), &err));
}

/* The value as a string, or "-". */
static inline const char *get(struct state_txn *txn, const char *key) {
  static char text[256];
  struct gw_error err = {0};
  const void *value;
  size_t size;
  int found = state_txn_get_wait(txn, key, strlen(key), &value, &size, &err);
  assert_int_not_equal(found, -1);
  if (!found) return "-";
  assert_true(size < sizeof text);
  memcpy(text, value, size);
  text[size] = 0;
  return text;
}

/* The store in PostgreSQL may look at the latest, and say later that it is not what was read before, until a transaction has read
 * some keys: then its snapshot is one. */
static inline void fix_snapshot(struct state_txn *txn) {
  for (int i = 0; IS_POSTGRES && i < 9; i++) assert_string_equal(get(txn, (char[]){'z', (char)('0' + i), 0}), "-");
}

static inline void remove_key(struct state_txn *txn, const char *key) {
  struct gw_error err = {0};
  assert_true(state_txn_delete(txn, key, strlen(key), &err));
}

static inline void put(struct state_store *store, const char *space, const char *key, const char *value) {
  struct gw_error err = {0};
  assert_true(state_put(store, space, key, strlen(key), value, strlen(value), &err));
}

static inline void expect(struct state_store *store, const char *space, const char *key, const char *value) {
  struct state_txn *txn = state_txn_begin(store, space);
  assert_string_equal(get(txn, key), value);
  state_txn_abort(txn);
}

static inline bool collect(void *arg, const void *key, size_t key_size, const void *value, size_t value_size) {
  char *text = arg;
  size_t n = strlen(text);
  snprintf(text + n, 256 - n, "%.*s=%.*s ", (int)key_size, (const char *)key, (int)value_size, (const char *)value);
  return true;
}

static inline void expect_all(struct state_store *store, const char *space, const char *expected) {
  char text[256] = "";
  struct gw_error err = {0};
  assert_true(state_each(store, space, collect, text, &err));
  assert_string_equal(text, expected);
}

#endif
