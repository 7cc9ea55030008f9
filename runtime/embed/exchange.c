/* gasworks_state.h: requests for the `handle` interface, by runtime/host/handler. */
#include "base/error.h"
#include "runtime/embed/embed.h"
#include "runtime/host/abort.h"
#include "runtime/host/handler.h"

#include <stdlib.h>

struct gw_exchange {
  struct handler handler;
  struct handler_header *headers; /* the request's */
  struct gw_txn *txn;             /* of the run that is under way */
};

/* One run. */
struct run {
  struct gw_exchange *exchange;
  struct gw_instance *instance;
};

struct gw_exchange *gw_exchange_create(struct gw_error *err) {
  struct gw_exchange *exchange = calloc(1, sizeof *exchange);
  if (!exchange) error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for an exchange");
  return exchange;
}

void gw_exchange_destroy(struct gw_exchange *exchange) {
  if (!exchange) return;
  handler_clear(&exchange->handler);
  free(exchange->headers);
  free(exchange);
}

bool gw_exchange_resolve(void *exchange, const struct gw_import *import, struct gw_extern *out) {
  return handler_resolve(&((struct gw_exchange *)exchange)->handler, import, out) || abort_resolve(NULL, import, out);
}

struct gw_txn *gw_exchange_txn(struct gw_exchange *exchange) {
  return exchange->txn;
}

static bool take_request(struct gw_exchange *exchange, const struct gw_request *request, struct gw_error *err) {
  struct handler_header *headers = realloc(exchange->headers, (request->n_headers + 1) * sizeof *headers);
  if (!headers) return error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for %zu headers", request->n_headers);
  exchange->headers = headers;
  for (size_t i = 0; i < request->n_headers; i++)
    headers[i] = (struct handler_header){request->headers[i].name, request->headers[i].value};
  struct handler *h = &exchange->handler;
  h->method = request->method ? request->method : "GET";
  h->path = request->path ? request->path : "/";
  h->query = request->query ? request->query : "";
  h->target = h->path;
  h->headers = headers;
  h->n_headers = request->n_headers;
  h->body = request->body;
  h->body_size = request->body_size;
  return true;
}

/* Calls an export without parameters and results, with so much gas spent before; the gas spent behind it. */
static bool call(struct gw_instance *instance, const char *name, uint64_t *gas, struct gw_error *err) {
  struct gw_store *store = gw_instance_store(instance);
  gw_store_owe(store, *gas);
  bool ok = gw_call_export(instance, name, NULL, 0, err);
  *gas = gw_store_gas_used(store);
  return ok;
}

/* Reactors want their initialiser called before anything else. */
static bool initialize(struct gw_instance *instance, uint64_t *gas, struct gw_error *err) {
  static const char name[] = "_initialize";
  struct gw_extern found;
  struct gw_extern_type type;
  if (!gw_instance_export(instance, name, sizeof name - 1, &found) || !gw_extern_type(&found, &type)) return true;
  if (type.kind != GW_EXTERN_FUNC || type.n_params || type.n_results) return true;
  return call(instance, name, gas, err);
}

/* A gw_transact_fn; without state txn is NULL. */
static bool run_once(void *env, struct gw_txn *txn, struct gw_error *err) {
  const struct run *run = env;
  struct gw_exchange *exchange = run->exchange;
  handler_reset(&exchange->handler);
  exchange->txn = txn;
  exchange->handler.txn = txn ? txn->txn : NULL;
  uint64_t gas = gw_instance_gas(run->instance);
  bool ok =
      gw_instance_reset(run->instance, err) && initialize(run->instance, &gas, err) && call(run->instance, "handle", &gas, err);
  exchange->txn = NULL;
  exchange->handler.txn = NULL;
  return ok;
}

static void show_reply(const struct handler *h, struct gw_reply *reply) {
  reply->status = h->status;
  reply->headers = (const char *)h->reply_headers.bytes;
  reply->headers_size = h->reply_headers.size;
  reply->body = h->reply.bytes;
  reply->body_size = h->reply.size;
  reply->log = h->log.bytes;
  reply->log_size = h->log.size;
}

bool gw_exchange_run(struct gw_exchange *exchange, struct gw_instance *instance, struct gw_state *state, const char *space,
                     const struct gw_request *request, struct gw_reply *reply, struct gw_error *err) {
  struct run run = {exchange, instance};
  *reply = (struct gw_reply){.n_attempts = 1};
  if (!take_request(exchange, request, err)) return false;
  bool ok = state ? embed_transact(state, space, request->only_reads, run_once, &run, &reply->n_attempts, err)
                  : run_once(&run, NULL, err);
  show_reply(&exchange->handler, reply);
  return ok;
}
