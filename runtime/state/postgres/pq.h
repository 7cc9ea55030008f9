/* libpq, which is opened when a store needs it: with all that it loads it would make every start of the program 10 ms longer.
 * And what reading and writing connections share: parameters in binary form, errors, settings of a session. Private to this
 * folder. Any thread, but a connection has one thread at a time. */
#ifndef RUNTIME_STATE_POSTGRES_PQ_H
#define RUNTIME_STATE_POSTGRES_PQ_H

#include "base/buffer.h"
#include "gasworks.h"

#include <postgresql/libpq-fe.h>

/* clang-format off */
#define PQ_FUNCTIONS(F)                                                                                                     \
  F(PQconnectStartParams) F(PQconnectPoll) F(PQconninfoParse) F(PQconninfoFree) F(PQstatus) F(PQerrorMessage) F(PQfinish)   \
  F(PQsocket) F(PQsetnonblocking) F(PQflush) F(PQconsumeInput) F(PQisBusy) F(PQgetResult) F(PQclear) F(PQresultStatus)      \
  F(PQresultErrorField) F(PQntuples) F(PQgetvalue) F(PQgetlength) F(PQgetisnull) F(PQcmdStatus) F(PQenterPipelineMode)      \
  F(PQpipelineSync) F(PQsendQueryParams) F(PQsendPrepare) F(PQsendQueryPrepared) F(PQsetNoticeReceiver) F(PQnotifies)       \
  F(PQfreemem) F(PQserverVersion)
/* clang-format on */

struct pq {
#define PQ_FIELD(name) __typeof__(name) *name;
  PQ_FUNCTIONS(PQ_FIELD)
#undef PQ_FIELD
};
/* After pq_open. */
extern struct pq pq;

bool pq_open(struct gw_error *err);

enum { PQ_STATEMENT_MS = 10000, PQ_MAX_PARAMS = 6, PQ_OLDEST_SERVER = 130000 };

/* Begins to connect; NULL: no memory. What the URL says comes before what is set here. */
PGconn *pq_connect(const char *url);
/* Connected: sends the settings of a session, as the first of a pipeline. `is_durable`: commits wait for the disk, or for what
 * the server is told to wait for. False: the connection is gone. */
bool pq_begin_session(PGconn *conn, bool is_durable);
/* False: it is no URL of PostgreSQL that libpq can read. */
bool pq_check_url(const char *url, struct gw_error *err);
/* The URL without its password, for messages. */
void pq_print_url(const char *url, char *out, size_t size);
/* What the server or libpq said, without the end of the line: where the connection is gone, GW_ERROR_UNAVAILABLE. Always false.
 * `result` may be NULL. */
bool pq_fail(PGconn *conn, const PGresult *result, const char *what, struct gw_error *err);
/* The SQLSTATE is one behind which the same statements may succeed: another transaction was in the way. */
bool pq_may_retry(const PGresult *result);
/* The session has ended, or will: the server stops, starts, or is not the primary any more. */
bool pq_is_gone(PGconn *conn, const PGresult *result);

/* Parameters of one statement, in binary form. */
struct pq_params {
  struct buffer bytes;
  int n;
  size_t at[PQ_MAX_PARAMS];
  int sizes[PQ_MAX_PARAMS];
};
void pq_params_clear(struct pq_params *p);
/* For the next statement. */
void pq_params_reset(struct pq_params *p);
void pq_add_bytes(struct pq_params *p, const void *bytes, size_t size);
void pq_add_int4(struct pq_params *p, int32_t value);
void pq_add_int8(struct pq_params *p, int64_t value);
void pq_add_bool(struct pq_params *p, bool value);
/* An array: begin, n items, end. */
enum pq_type { PQ_BOOL = 16, PQ_BYTEA = 17, PQ_INT8 = 20, PQ_INT4 = 23 };
void pq_array_begin(struct pq_params *p, enum pq_type type, size_t n);
void pq_item_bytes(struct pq_params *p, const void *bytes, size_t size);
void pq_item_int4(struct pq_params *p, int32_t value);
void pq_item_int8(struct pq_params *p, int64_t value);
void pq_item_bool(struct pq_params *p, bool value);
void pq_array_end(struct pq_params *p);
/* Sends the prepared statement; false: the connection is gone. `p` may be NULL: none. */
bool pq_send(PGconn *conn, const char *statement, const struct pq_params *p);

/* Columns of results in binary form. */
int32_t pq_int4(const PGresult *result, int row, int column);
int64_t pq_int8(const PGresult *result, int row, int column);
bool pq_bool(const PGresult *result, int row, int column);

#endif
