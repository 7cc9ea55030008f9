/* Writing replies. Each function makes one complete reply to the exchange and ends it. */
#ifndef SERVER_HTTP_REPLY_H
#define SERVER_HTTP_REPLY_H

#include "gasworks.h"
#include "server/http/exchange.h"

#include <cjson/cJSON.h>

/* An error as application/problem+json (RFC 9457). */
struct problem {
  uint32_t status;
  const char *title;    /* NULL: the status's reason phrase */
  const char *detail;   /* NULL: none */
  const char *logged;   /* what the log has in its place; NULL: the same */
  const char *function; /* and so on */
  const char *trap;
  const char *backtrace;    /* lines, innermost call first; NULL or "": none */
  const struct buffer *log; /* what it logged, for who ran it; NULL: none */
  const char *allow;        /* Allow header of a 405 */
  const char *challenge;    /* WWW-Authenticate header */
  uint64_t offset;          /* GW_NO_OFFSET: none */
  uint64_t gas;
  bool has_gas;
  uint32_t retry_after; /* seconds, 0: none */
};

/* All zero but the given, and no offset. */
#define PROBLEM(...) (&(struct problem){.offset = GW_NO_OFFSET, __VA_ARGS__})

void reply_problem(struct exchange *x, const struct problem *problem);
/* A problem made from an error. `function`, `gas` and `backtrace` may be NULL. */
void reply_error(struct exchange *x, const struct gw_error *err, const char *function, const uint64_t *gas,
                 const char *backtrace);
/* That problem, whose words are the error's. */
struct problem reply_problem_of(const struct gw_error *err, const char *function, const uint64_t *gas);
/* The same of a trap, for who may not know where it was: that is for the log. */
void reply_trap(struct exchange *x, const struct gw_error *err, const char *function, const uint64_t *gas);
/* Consumes `json`. */
void reply_json(struct exchange *x, uint32_t status, cJSON *json);
/* The same of what an invocation has ended with: 200, with its gas and receipt. */
void reply_counted_json(struct exchange *x, uint64_t gas, cJSON *json);
/* The same with the strong tag "rREVISION" (RFC 9110 section 8.8.3); 0: none. */
void reply_tagged_json(struct exchange *x, uint32_t status, uint64_t revision, cJSON *json);
/* The same of JSON that is printed already, which it frees (cJSON_free). */
void reply_printed_json(struct exchange *x, uint32_t status, uint64_t revision, char *text);
/* Text of ours; `type` is its Content-Type. */
void reply_text(struct exchange *x, uint32_t status, const char *type, const struct buffer *text);
void reply_empty(struct exchange *x, uint32_t status);
/* Nothing but an Allow header. */
void reply_allow(struct exchange *x, uint32_t status, const char *allow);
/* What a function made of the request. `defaults` (NULL: none): header lines for those that it gave none of. */
void reply_function(struct exchange *x, const struct handler *h, const struct buffer *defaults, uint64_t gas);
/* A JSON string of any bytes: what is no UTF-8 is U+FFFD in it. */
cJSON *reply_json_text(const void *bytes, size_t size);
/* The reason phrase of a status, as people write it. */
const char *reply_title(uint32_t status, char *out, size_t size);

#endif
