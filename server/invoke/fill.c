#include "server/invoke/fill.h"

#include "base/error.h"
#include "runtime/host/cgi.h"

bool fill_slot_with(struct slot *slot, struct request *r, const struct asked *asked, struct state_txn *txn,
                    struct gw_error *err) {
  struct handler *h = &slot->handler;
  h->method = r->method_name;
  h->target = r->target;
  h->is_http10 = r->is_http10;
  h->path = r->rest;
  h->query = r->query;
  h->headers = r->headers;
  h->n_headers = r->n_headers;
  h->body = r->body.bytes;
  h->body_size = r->body.size;
  h->txn = txn;
  if (slot->wasi) wasi_use_state(slot->wasi, txn);
  if (slot->function->interface != INTERFACE_CGI) return true;
  const char **env;
  h->port = asked->port;
  h->remote_address = asked->peer;
  char script[FUNCTION_PATH_SIZE];
  const struct settings *settings = slot->function->settings;
  if (!cgi_build_env(&r->arena, h, function_path(r->address, script), settings ? settings->env : NULL, &env))
    return error_set(err, GW_ERROR_TOO_LARGE, "the request's headers do not fit an environment");
  const char *args[] = {function_short_name(slot->function->name), NULL};
  struct wasi_options options = {.args = args,
                                 .env = env,
                                 .preopens = slot->function->preopens,
                                 .n_preopens = slot->function->n_preopens,
                                 .has_state = slot->function->has_files,
                                 .stdin_fd = -1,
                                 .stdout_fd = -1,
                                 .stderr_fd = -1,
                                 .stdin_bytes = r->body.bytes,
                                 .stdin_size = r->body.size,
                                 .clock = h->clock,
                                 .output_limit = asked->max_reply};
  if (!wasi_reset(slot->wasi, &options, err)) return false;
  wasi_use_state(slot->wasi, txn);
  return true;
}

bool fill_take_reply(struct slot *slot, size_t max_reply, bool *has_failed, struct gw_error *err) {
  struct handler *h = &slot->handler;
  const char *name = slot->function->name;
  if (slot->function->interface == INTERFACE_CGI) {
    const struct buffer *out = wasi_stdout(slot->wasi);
    uint32_t code = wasi_exit_code(slot->wasi);
    if (wasi_stdout_was_cut(slot->wasi))
      return error_set(err, GW_ERROR_BAD_REPLY, "function %s replied with more bytes than the server's limit", name);
    cgi_parse_reply(h, out->bytes, out->size);
    /* what a program that failed has written is half of something, unless it says itself that it is an error */
    if (code && (!out->size || h->status < 400))
      return error_set(err, GW_ERROR_BAD_REPLY, "function %s exited with code %u", name, code);
    *has_failed = code != 0;
  }
  if (h->status < 200 || h->status > 599)
    return error_set(err, GW_ERROR_BAD_REPLY, "function %s replied with status %u", name, h->status);
  if (h->reply.size > max_reply)
    return error_set(err, GW_ERROR_BAD_REPLY, "function %s replied with %zu bytes, which is too much", name, h->reply.size);
  return true;
}
