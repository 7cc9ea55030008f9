/* The `handle` interface: what a function that imports module "gasworks" sees of one request (docs/interface.md). */
#ifndef RUNTIME_HOST_HANDLER_H
#define RUNTIME_HOST_HANDLER_H

#include "base/buffer.h"
#include "gasworks.h"
#include "runtime/guest_clock.h"
#include "runtime/state/state.h"

/* One request and its reply. The request's strings belong to the caller. */
struct wasi;

struct handler {
  const char *method, *path, *query; /* NUL-terminated; path is what follows /f/NAME */
  const char *target;                /* path and query as they were sent, all of them */
  bool is_http10;
  const char *remote_address; /* numeric; NULL: not known */
  uint16_t port;              /* where the request came in */
  const struct handler_header *headers;
  size_t n_headers;
  const void *body;
  size_t body_size;
  struct state_txn *txn;     /* NULL: no state here, state calls trap with a message */
  struct guest_clock *clock; /* NULL: the system's */
  struct wasi *world;        /* of a deterministic guest: its clock and random numbers; else NULL */

  uint32_t status;             /* of the reply; 200 unless set */
  struct buffer reply_headers; /* "Name: value\r\n" lines, checked */
  struct buffer reply;
  struct buffer log; /* lines the function logged, bounded */
};

struct handler_header {
  const char *name, *value;
};

/* Forgets the reply of the last request and its state; keeps buffers' capacity. Does not touch txn. */
void handler_reset(struct handler *h);
void handler_clear(struct handler *h);

/* Resolves imports of module "gasworks"; env is the struct handler. */
bool handler_resolve(void *handler, const struct gw_import *import, struct gw_extern *out);

#endif
