#include "runtime/state/postgres/pq.h"

#include "base/error.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct pq pq;

static void *handle;
static char load_error[256];

static void load(void) {
  handle = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
  if (!handle) snprintf(load_error, sizeof load_error, "%s", dlerror());
#define LOAD(name)                                                                       \
  if (handle && !(pq.name = (__typeof__(pq.name))dlsym(handle, #name))) {                \
    snprintf(load_error, sizeof load_error, "it has no " #name ", it is older than 14"); \
    handle = NULL;                                                                       \
  }
  PQ_FUNCTIONS(LOAD)
#undef LOAD
}

bool pq_open(struct gw_error *err) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, load);
  return handle || error_set(err, GW_ERROR_UNAVAILABLE, "cannot load libpq (package libpq5): %.200s", load_error);
}

/* --- connecting --------------------------------------------------------------------------------------------------- */

/* A notice must not go to standard error. */
static void ignore_notice(void *arg, const PGresult *result) {
  (void)arg;
  (void)result;
}

/* What comes before `dbname` is a default that the URL may change. */
PGconn *pq_connect(const char *url) {
  static const char *const names[] = {
      "target_session_attrs", "connect_timeout",  "keepalives_idle", "keepalives_interval", "keepalives_count",
      "tcp_user_timeout",     "application_name", "dbname",          "client_encoding",     NULL};
  const char *const values[] = {"read-write", "5", "5", "2", "3", "10000", "gasworks", url, "UTF8", NULL};
  PGconn *conn = pq.PQconnectStartParams(names, values, 1);
  if (!conn) return NULL;
  pq.PQsetNoticeReceiver(conn, ignore_notice, NULL);
  return conn;
}

/* Statements name what they mean, so nobody else's functions or tables can take their place. Joins go by the index, whatever the
 * planner thinks of arrays whose length it does not know. */
static const char session[] =
    "SELECT set_config(name, value, false) FROM (VALUES ('search_path', 'pg_catalog'), ('statement_timeout', '10s'), "
    "('lock_timeout', '8s'), ('idle_in_transaction_session_timeout', '20s'), ('default_transaction_isolation', 'read "
    "committed'), "
    "('enable_seqscan', 'off'), ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'), ('jit', 'off'), "
    "('plan_cache_mode', 'force_generic_plan'), ('synchronous_commit', CASE WHEN $1 THEN current_setting('synchronous_commit') "
    "ELSE 'off' END)) AS s(name, value)";

bool pq_begin_session(PGconn *conn, bool is_durable) {
  const char *value = is_durable ? "true" : "false";
  static const Oid type = PQ_BOOL;
  return pq.PQenterPipelineMode(conn) && pq.PQsendQueryParams(conn, session, 1, &type, &value, NULL, NULL, 1);
}

bool pq_check_url(const char *url, struct gw_error *err) {
  char *message = NULL, shown[256];
  bool is_url = !strncmp(url, "postgres://", 11) || !strncmp(url, "postgresql://", 13);
  pq_print_url(url, shown, sizeof shown);
  if (!is_url)
    return error_set(err, GW_ERROR_USAGE, "%s is no address of a store: it has the form postgres://USER@HOST/DATABASE", shown);
  PQconninfoOption *options = pq.PQconninfoParse(url, &message);
  if (options) {
    pq.PQconninfoFree(options);
    return true;
  }
  pq.PQfreemem(message); /* it may quote the password */
  return error_set(err, GW_ERROR_USAGE, "%s is no address that libpq can read", shown);
}

static bool is_secret(const char *parameter) {
  return !strncasecmp(parameter, "password=", 9) || !strncasecmp(parameter, "sslpassword=", 12);
}

/* What is in doubt is not shown: a password may hold whatever ends it elsewhere. */
void pq_print_url(const char *url, char *out, size_t size) {
  struct buffer b = {0};
  const char *scheme = strstr(url, "://"), *from = scheme ? scheme + 3 : url, *at = strrchr(from, '@');
  const char *colon = at ? memchr(from, ':', (size_t)(at - from)) : NULL;
  if (colon) buffer_append(&b, url, (size_t)(colon - url));
  if (colon) buffer_append_string(&b, ":***");
  for (const char *p = colon ? at : url; *p;) {
    bool is_name = p > url && (p[-1] == '?' || p[-1] == '&');
    if (is_name && is_secret(p)) {
      size_t n = (size_t)(strchr(p, '=') + 1 - p);
      buffer_append(&b, p, n);
      buffer_append_string(&b, "***");
      p += n + strcspn(p + n, "&");
    } else {
      buffer_append(&b, p++, 1);
    }
  }
  snprintf(out, size, "%.*s", (int)b.size, b.size ? (const char *)b.bytes : "");
  buffer_clear(&b);
}

/* --- errors ------------------------------------------------------------------------------------------------------- */

static const char *sqlstate(const PGresult *result) {
  const char *state = result ? pq.PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
  return state ? state : "";
}

bool pq_may_retry(const PGresult *result) {
  const char *state = sqlstate(result);
  return !strcmp(state, "40001") || !strcmp(state, "40P01");
}

bool pq_is_gone(PGconn *conn, const PGresult *result) {
  const char *state = sqlstate(result);
  bool is_leaving = !strncmp(state, "57P", 3) || !strncmp(state, "08", 2) || !strcmp(state, "25006") || !strcmp(state, "25P03");
  return is_leaving || pq.PQstatus(conn) == CONNECTION_BAD;
}

bool pq_fail(PGconn *conn, const PGresult *result, const char *what, struct gw_error *err) {
  const char *said = result ? pq.PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
  if (!said) said = conn ? pq.PQerrorMessage(conn) : "no memory";
  enum gw_error_code code = !conn || pq_is_gone(conn, result) ? GW_ERROR_UNAVAILABLE : GW_ERROR_STATE;
  int n = (int)strcspn(said, "\n");
  return error_set(err, code, "cannot %s the database: %.*s%s%.5s", what, n > 160 ? 160 : n, said,
                   *sqlstate(result) ? ", SQLSTATE " : "", sqlstate(result));
}

/* --- parameters --------------------------------------------------------------------------------------------------- */

void pq_params_clear(struct pq_params *p) { buffer_clear(&p->bytes); }

void pq_params_reset(struct pq_params *p) {
  p->bytes.size = 0;
  p->n = 0;
}

static void put4(struct buffer *b, uint32_t value) {
  value = __builtin_bswap32(value);
  buffer_append(b, &value, sizeof value);
}

static void put8(struct buffer *b, uint64_t value) {
  value = __builtin_bswap64(value);
  buffer_append(b, &value, sizeof value);
}

static void end_param(struct pq_params *p, size_t from) {
  p->at[p->n] = from;
  p->sizes[p->n++] = (int)(p->bytes.size - from);
}

void pq_add_bytes(struct pq_params *p, const void *bytes, size_t size) {
  size_t from = p->bytes.size;
  if (size) buffer_append(&p->bytes, bytes, size);
  end_param(p, from);
}

void pq_add_int4(struct pq_params *p, int32_t value) {
  size_t from = p->bytes.size;
  put4(&p->bytes, (uint32_t)value);
  end_param(p, from);
}

void pq_add_int8(struct pq_params *p, int64_t value) {
  size_t from = p->bytes.size;
  put8(&p->bytes, (uint64_t)value);
  end_param(p, from);
}

void pq_add_bool(struct pq_params *p, bool value) { pq_add_bytes(p, &(uint8_t){value}, 1); }

/* Of one dimension, counted from 1, without nulls. */
void pq_array_begin(struct pq_params *p, enum pq_type type, size_t n) {
  p->at[p->n] = p->bytes.size;
  put4(&p->bytes, n ? 1 : 0);
  put4(&p->bytes, 0);
  put4(&p->bytes, type);
  if (!n) return;
  put4(&p->bytes, (uint32_t)n);
  put4(&p->bytes, 1);
}

void pq_item_bytes(struct pq_params *p, const void *bytes, size_t size) {
  put4(&p->bytes, (uint32_t)size);
  if (size) buffer_append(&p->bytes, bytes, size);
}

void pq_item_int4(struct pq_params *p, int32_t value) {
  put4(&p->bytes, sizeof value);
  put4(&p->bytes, (uint32_t)value);
}

void pq_item_int8(struct pq_params *p, int64_t value) {
  put4(&p->bytes, sizeof value);
  put8(&p->bytes, (uint64_t)value);
}

void pq_item_bool(struct pq_params *p, bool value) { pq_item_bytes(p, &(uint8_t){value}, 1); }

void pq_array_end(struct pq_params *p) { end_param(p, p->at[p->n]); }

bool pq_send(PGconn *conn, const char *statement, const struct pq_params *p) {
  const char *values[PQ_MAX_PARAMS];
  int formats[PQ_MAX_PARAMS], n = p ? p->n : 0;
  for (int i = 0; i < n; i++) {
    values[i] = p->bytes.bytes ? (const char *)p->bytes.bytes + p->at[i] : "";
    formats[i] = 1;
  }
  return pq.PQsendQueryPrepared(conn, statement, n, values, p ? p->sizes : NULL, formats, 1) == 1;
}

/* --- results ------------------------------------------------------------------------------------------------------ */

int32_t pq_int4(const PGresult *result, int row, int column) {
  uint32_t value;
  memcpy(&value, pq.PQgetvalue(result, row, column), sizeof value);
  return (int32_t)__builtin_bswap32(value);
}

int64_t pq_int8(const PGresult *result, int row, int column) {
  uint64_t value;
  memcpy(&value, pq.PQgetvalue(result, row, column), sizeof value);
  return (int64_t)__builtin_bswap64(value);
}

bool pq_bool(const PGresult *result, int row, int column) { return *pq.PQgetvalue(result, row, column) != 0; }
