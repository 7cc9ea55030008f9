/* The tables, and how they come to be what this program knows. Whoever connects first makes them, under a lock that all take, so
 * several nodes may start at one time.
 *
 * Each step is a version. `needs` of the last one says which program may use the tables: one that knows at least so many steps.
 * So an older program goes on beside a newer one's tables, as long as a step only adds what the older one may ignore. */
#include "runtime/state/postgres/private.h"

#include "base/error.h"

struct step {
  int32_t needs;
  const char *const *texts; /* up to NULL */
};

static const char *const first_tables[] = {
    "CREATE TABLE gasworks.state (key bytea PRIMARY KEY, version int8 NOT NULL, digest int8 NOT NULL, is_large bool NOT NULL, "
    "value bytea NOT NULL, CHECK (octet_length(key) BETWEEN 24 AND 512), CHECK (octet_length(value) <= 1048576)) "
    "WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.2)",
    /* what functions store is compressed by them or not at all */
    "ALTER TABLE gasworks.state ALTER value SET STORAGE EXTERNAL",
    "CREATE TABLE gasworks.cleared (space bytea PRIMARY KEY, at int8 NOT NULL)",
    "CREATE TABLE gasworks.node (id bytea PRIMARY KEY, batch int8 NOT NULL, seen timestamptz NOT NULL DEFAULT now()) "
    "WITH (fillfactor = 50)",
    "CREATE SEQUENCE gasworks.batch",
    "CREATE SEQUENCE gasworks.clear",
    NULL,
};

static const struct step steps[] = {{1, first_tables}};
enum { N_STEPS = sizeof steps / sizeof *steps };

/* 1734439799 is "gasw"; no space has this number. */
static const char lock[] = "SELECT pg_advisory_lock(1734439799, -1)";
static const char unlock[] = "SELECT pg_advisory_unlock(1734439799, -1)";
static const char is_there[] = "SELECT to_regclass('gasworks.schema') IS NOT NULL";
static const char read_version[] = "SELECT version, needs FROM gasworks.schema ORDER BY version DESC LIMIT 1";
static const char make_schema[] = "CREATE SCHEMA IF NOT EXISTS gasworks";
static const char make_table[] = "CREATE TABLE IF NOT EXISTS gasworks.schema (version int4 PRIMARY KEY, needs int4 NOT NULL, at "
                                 "timestamptz NOT NULL DEFAULT now())";
static const char note_step[] = "INSERT INTO gasworks.schema (version, needs) VALUES ($1, $2)";

struct migration {
  struct writer *writer;
  PGconn *conn;
  uint64_t until_ms;
  struct answers answers;
};

static bool send(const struct migration *m, const char *text) {
  return pq.PQsendQueryParams(m->conn, text, 0, NULL, NULL, NULL, NULL, 1);
}

/* The answers to what was sent. */
static bool ask(struct migration *m, struct gw_error *err) {
  answers_clear(&m->answers);
  return postgres_writer_exchange(m->writer, m->until_ms, &m->answers, err) == EXCHANGE_OK;
}

static bool send_step(const struct migration *m, int32_t version) {
  static const Oid types[] = {PQ_INT4, PQ_INT4};
  char number[16], needs[16];
  const char *values[] = {number, needs};
  snprintf(number, sizeof number, "%d", version);
  snprintf(needs, sizeof needs, "%d", steps[version - 1].needs);
  for (const char *const *text = steps[version - 1].texts; *text; text++)
    if (!send(m, *text)) return false;
  return pq.PQsendQueryParams(m->conn, note_step, 2, types, values, NULL, NULL, 1);
}

/* What is behind the version, in one transaction: a pipeline is one. */
static bool make(struct migration *m, int32_t version, struct gw_error *err) {
  bool ok = version || (send(m, make_schema) && send(m, make_table));
  while (ok && version < N_STEPS) ok = send_step(m, ++version);
  return ok && ask(m, err);
}

static bool read(struct migration *m, int32_t *version, int32_t *needs, struct gw_error *err) {
  *version = *needs = 0;
  if (!send(m, is_there) || !ask(m, err)) return false;
  if (!pq_bool(m->answers.items[m->answers.n - 1], 0, 0)) return true;
  if (!send(m, read_version) || !ask(m, err)) return false;
  const PGresult *result = m->answers.items[m->answers.n - 1];
  if (!pq.PQntuples(result)) return true;
  *version = pq_int4(result, 0, 0);
  *needs = pq_int4(result, 0, 1);
  return true;
}

static bool migrate(struct migration *m, struct gw_error *err) {
  int32_t version, needs;
  if (!read(m, &version, &needs, err)) return false;
  if (version < N_STEPS) {
    if (!send(m, lock) || !ask(m, err) || !read(m, &version, &needs, err)) return false;
    if (version < N_STEPS && !make(m, version, err)) return false; /* with the connection the lock goes */
    if (!send(m, unlock) || !ask(m, err)) return false;
  }
  return needs <= N_STEPS ||
         error_set(err, GW_ERROR_STATE, "the tables in the database are of version %d, which this program is too old for",
                   version);
}

bool postgres_migrate(struct writer *writer, PGconn *conn, uint64_t until_ms, struct gw_error *err) {
  struct migration m = {.writer = writer, .conn = conn, .until_ms = until_ms};
  bool ok = migrate(&m, err);
  answers_clear(&m.answers);
  return ok;
}
