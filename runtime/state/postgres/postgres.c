/* The store on a PostgreSQL server: opening, closing, and its operations, which are in reader.c and commit.c. */
#include "runtime/state/postgres/private.h"

#include "base/error.h"
#include "base/files.h"

#include <sodium.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 200 };

void postgres_space(const struct postgres *store, const uint8_t space[SPACE_SIZE], uint8_t out[SPACE_SIZE]) {
  uint8_t seals[SPACE_SIZE];
  memcpy(out, space, SPACE_SIZE);
  state_seal_space(seals);
  if (memcmp(space, seals, SPACE_SIZE) != 0) return;
  for (size_t i = 0; i < sizeof store->node; i++) out[i] ^= store->node[i];
}

bool state_node_read(const char *path, uint8_t node[16], struct gw_error *err) {
  struct buffer text = {0};
  char hex[33];
  size_t n = 0;
  bool ok = access(path, F_OK) == 0;
  if (ok) {
    ok = buffer_read_plain_file(&text, path, sizeof hex, err) &&
         sodium_hex2bin(node, 16, (const char *)text.bytes, text.size, "\n", &n, NULL) == 0 && n == 16;
    if (!ok) error_set(err, GW_ERROR_STATE, "%s names no node: it wants 32 digits", path);
  } else if (errno == ENOENT) {
    randombytes_buf(node, 16);
    sodium_bin2hex(hex, sizeof hex, node, 16);
    ok = file_write_durably(path, hex, sizeof hex - 1, 0600, err);
  } else {
    error_set(err, GW_ERROR_IO, "cannot read %s: %s", path, strerror(errno));
  }
  buffer_clear(&text);
  return ok;
}

void postgres_hide(const struct gw_error *from, struct gw_error *err) {
  bool is_away = !from->code || from->code == GW_ERROR_UNAVAILABLE;
  if (is_away)
    error_set(err, GW_ERROR_UNAVAILABLE, "the database cannot be reached just now");
  else
    error_set(err, from->code, "the database refuses this");
}

static uint64_t moment(const struct store *self) { return atomic_load(&((const struct postgres *)self)->moment); }

static bool copy(struct store *self, int fd, struct gw_error *err) {
  (void)self;
  (void)fd;
  return error_set(err, GW_ERROR_USAGE, "state that is in PostgreSQL is saved by its own tools: pg_dump, pg_basebackup");
}

static void store_free(struct postgres *store) {
  postgres_reader_stop(store->reader);
  postgres_writer_destroy(store->writer);
  if (store->url) sodium_memzero(store->url, strlen(store->url));
  free(store->url);
  free(store);
}

static void close_store(struct store *self) { store_free(postgres_of(self)); }

static const struct store_ops store_postgres = {.close = close_store,
                                                .moment = moment,
                                                .take = postgres_take,
                                                .give_back = postgres_give_back,
                                                .get = postgres_get,
                                                .scan = postgres_scan,
                                                .commit = postgres_commit,
                                                .copy = copy,
                                                .clear = postgres_clear};

static bool read_moment(struct postgres *store, PGconn *conn, uint64_t until_ms, struct gw_error *err) {
  struct answers answers = {0};
  bool ok =
      pq_send(conn, "last_cleared", NULL) && postgres_writer_exchange(store->writer, until_ms, &answers, err) == EXCHANGE_OK;
  if (ok) atomic_store(&store->moment, (uint64_t)pq_int8(answers.items[0], 0, 0));
  answers_clear(&answers);
  return ok || error_set(err, GW_ERROR_UNAVAILABLE, "cannot use the database");
}

static bool open_writer(struct postgres *store, uint32_t wait_ms, struct gw_error *err) {
  uint64_t until = postgres_now_ms() + wait_ms;
  store->writer = postgres_writer_create(store, err);
  if (!store->writer) return false;
  PGconn *conn = postgres_writer_connect(store->writer, until, err);
  return conn && read_moment(store, conn, until, err);
}

struct state_store *state_store_open_postgres(const struct state_postgres *options, struct gw_error *err) {
  if (!pq_open(err) || !pq_check_url(options->url, err)) return NULL;
  if (options->connections < 2 || options->connections > MOST_CONNECTIONS) {
    error_set(err, GW_ERROR_USAGE, "a store has 2 to %d connections, not %u", MOST_CONNECTIONS, options->connections);
    return NULL;
  }
  struct postgres *store = calloc(1, sizeof *store);
  if (!store || sodium_init() < 0 || !(store->url = strdup(options->url))) {
    free(store);
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for the state store");
    return NULL;
  }
  store->store.ops = &store_postgres;
  store->store.is_shared = true;
  store->is_durable = options->is_durable;
  memcpy(store->node, options->node, sizeof store->node);
  sodium_bin2hex(store->store.node, sizeof store->store.node, store->node, sizeof store->node);
  pq_print_url(store->url, store->shown, sizeof store->shown);
  randombytes_buf(&store->seed, sizeof store->seed);
  if (open_writer(store, options->wait_ms, err) && (store->reader = postgres_reader_start(store, options->connections, err)))
    return state_store_create(&store->store, err);
  store_free(store);
  return NULL;
}
