/* One request and its reply, between the protocol that brought it (struct exchange_ops: http1.c) and those who answer it (struct
 * exchange_service: api/route.c). Neither side knows the other. All of it belongs to the loop's thread. */
#ifndef SERVER_HTTP_EXCHANGE_H
#define SERVER_HTTP_EXCHANGE_H

#include "base/arena.h"
#include "base/buffer.h"
#include "runtime/host/handler.h"
#include "server/access/access.h"
#include "server/observe/trail.h"

#include <llhttp.h>

#include <strings.h>

struct exchange;
struct invocation;
struct loop;
struct outcome;
struct upstream;
struct watch;

/* FRONT_HEADERS: what a front adds to a client's head on the way to a worker, or we where an absolute target names the host, or a
 * span is made. */
enum { MAX_HEADERS = 100, FRONT_HEADERS = 5, EXCHANGE_MAX_ADDRESS = 191, EXCHANGE_RECEIPT_SIZE = 104 };

struct request {
  llhttp_method_t method;
  const char *method_name, *query;
  const char *target; /* path and query as sent */
  char *path;         /* without the query; percent-encoded as sent */
  bool is_asterisk;   /* the target is "*" */
  bool is_http10;
  uint32_t n_headers;
  struct handler_header headers[MAX_HEADERS + FRONT_HEADERS];
  struct buffer body;
  const char *token;                      /* of ours, in the head; NULL: none */
  uint32_t scopes;                        /* of a worker: what the front says that who sent it has in the tenant */
  uint16_t port;                          /* likewise: where the client came to */
  const char *peer;                       /* likewise: its address; NULL: not a worker */
  char address[EXCHANGE_MAX_ADDRESS + 1]; /* of the function called, see server/function/function.h */
  const char *rest;                       /* of the path behind it, decoded */
  struct arena arena;                     /* empty for most requests */
};

/* The value of the first header of this name, in any case; NULL: there is none. */
static inline const char *request_header(const struct request *r, const char *name) {
  for (uint32_t i = 0; i < r->n_headers; i++)
    if (strcasecmp(r->headers[i].name, name) == 0) return r->headers[i].value;
  return NULL;
}

/* Whether it is not meant to change anything (RFC 9110 section 9.2.1). */
static inline bool request_is_safe(const struct request *r) {
  return r->method == HTTP_GET || r->method == HTTP_HEAD || r->method == HTTP_OPTIONS;
}

/* The protocol's side. What is called last ends the exchange: it may be gone, or be the client's next one, when that returns. */
struct exchange_ops {
  /* Begins the reply. "Name: value\r\n" lines may be appended to what it returns, until `end`. */
  struct buffer *(*begin)(struct exchange *x, uint32_t status);
  /* The reply is complete. `has_length`: whether a GET would have this body too. */
  void (*end)(struct exchange *x, uint32_t status, const void *body, size_t size, bool has_length);
  /* No reply: the client has gone. */
  void (*leave)(struct exchange *x);
  /* The client's numeric address. */
  const char *(*peer)(struct exchange *x);
};

/* The side of those who answer; of a loop. */
struct exchange_service {
  size_t (*body_limit)(const struct exchange *x); /* bytes; the head is there */
  bool (*admit)(struct exchange *x);              /* the head is there: whether its body is worth reading, else begin follows */
  void (*begin)(struct exchange *x);              /* the request is complete: to be answered now or later */
  void (*cancel)(struct exchange *x, bool with_reply); /* ends it as soon as it can: the client has gone, or time is over */
  void (*tick)(struct exchange *x);                    /* ten times a second, while it is to be answered */
  void (*forget)(struct exchange *x);                  /* no request will follow in this place */
  void (*note)(struct exchange *x, uint32_t status, const char *function, const char *text); /* it ends with this failure */
};

/* Of a request that is looked at elsewhere: its client may leave, and time may be over. */
struct pending {
  bool is_cancelled, wants_reply;
};

struct exchange {
  const struct exchange_ops *ops;
  struct loop *loop;
  struct request request;
  bool is_sandboxed;         /* what it replies has no scripts, as a page */
  struct pass pass;          /* of the token that the connection showed last */
  uint64_t caller;           /* what its client's address is told apart by (loop/share.h) */
  struct upstream *upstream; /* where a worker answers it; NULL: nowhere */
  struct watch *watch;       /* where it waits for lines of a log (server/api/logs.c); NULL: nowhere */
  struct pending *pending;   /* what a worker thread does for it before it can be answered; NULL: nothing */
  void (*word)(struct exchange *x, const struct outcome *outcome); /* who replies for its invocation; NULL: as usual */
  void *wording;                                                   /* for that */
  char receipt[EXCHANGE_RECEIPT_SIZE];                             /* for the reply; "": none */
  struct trail trail;                                              /* for the access log, and for a span */
  struct invocation *invocation; /* invoke's, kept from request to request; NULL: there was none */
};

#endif
