#include "server/http/observe.h"

#include "server/loop/loop.h"
#include "server/observe/tracer.h"

#include <string.h>

enum { CLIENT_GONE = 499 /* as nginx says it */ };

/* Without its alias or version. */
static const char *function_of(const struct exchange *x, char out[EXCHANGE_MAX_ADDRESS + 1]) {
  size_t size = strcspn(x->request.address, "@");
  if (!x->trail.is_call) return NULL;
  memcpy(out, x->request.address, size);
  out[size] = 0;
  return out;
}

void observe_end(struct exchange *x, uint32_t status, uint64_t sent) {
  const struct request *r = &x->request;
  struct loop *loop = x->loop;
  bool is_read = r->path != NULL; /* else there was no head, or none that can be believed */
  char function[EXCHANGE_MAX_ADDRESS + 1];
  const char *peer = x->ops->peer(x), *agent = is_read ? request_header(r, "user-agent") : NULL;
  if (loop->access_log) {
    struct access_request line = {.peer = *peer ? peer : "-",
                                  .method = r->method_name,
                                  .target = is_read ? r->target : NULL,
                                  .referer = is_read ? request_header(r, "referer") : NULL,
                                  .agent = agent,
                                  .function = function_of(x, function),
                                  .is_http10 = r->is_http10,
                                  .status = status ? status : CLIENT_GONE,
                                  .sent = sent,
                                  .received = r->body.size};
    access_log_add(loop->access_log, &loop->access_lines, &line, &x->trail);
  }
  if (x->trail.is_sampled && x->trail.is_call) {
    struct span_request span = {.method = r->method_name,
                                .target = r->target,
                                .agent = agent,
                                .peer = peer,
                                .address = r->address,
                                .function = function_of(x, function),
                                .is_http10 = r->is_http10,
                                .port = loop->port,
                                .status = status,
                                .sent = sent,
                                .received = r->body.size};
    tracer_add(loop->tracer, &span, &x->trail);
  }
}
