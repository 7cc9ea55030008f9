#include "server/http/propagate.h"

#include "server/loop/loop.h"
#include "server/observe/tracer.h"

#include <string.h>
#include <strings.h>

static const char PARENT[] = "traceparent", STATE[] = "tracestate";

static bool is_named(const struct handler_header *header, const char *name) {
  return (*header->name | 32) == 't' && strcasecmp(header->name, name) == 0;
}

/* What the head holds of it. */
struct found {
  const char *parent, *state; /* the first ones */
  uint32_t n_parents, n_states;
};

static struct found find(const struct request *r) {
  struct found f = {0};
  for (uint32_t i = 0; i < r->n_headers; i++) {
    const struct handler_header *h = &r->headers[i];
    if (is_named(h, PARENT) && f.n_parents++ == 0) f.parent = h->value;
    if (is_named(h, STATE) && f.n_states++ == 0) f.state = h->value;
  }
  return f;
}

/* Several headers are one list (RFC 9110, 5.3). */
static const char *join_states(struct request *r, const struct found *f) {
  struct buffer all = {0};
  if (f->n_states < 2) return f->state;
  for (uint32_t i = 0; i < r->n_headers; i++) {
    if (!is_named(&r->headers[i], STATE)) continue;
    if (all.size) buffer_append(&all, ",", 1);
    buffer_append_string(&all, r->headers[i].value);
  }
  const char *text = arena_format(&r->arena, "%.*s", (int)all.size, (const char *)all.bytes);
  buffer_clear(&all);
  return text;
}

/* In place of what there is. `state` NULL: none. */
static void replace(struct request *r, const char *parent, const char *state) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < r->n_headers; i++)
    if (!is_named(&r->headers[i], PARENT) && !is_named(&r->headers[i], STATE)) r->headers[kept++] = r->headers[i];
  r->n_headers = kept;
  r->headers[r->n_headers++] = (struct handler_header){PARENT, parent};
  if (state) r->headers[r->n_headers++] = (struct handler_header){STATE, state};
}

void propagate_take(struct exchange *x) {
  struct request *r = &x->request;
  struct trail *trail = &x->trail;
  struct loop *loop = x->loop;
  struct found f = find(r);
  if (!f.n_parents && !loop->tracer) return;
  bool is_valid = f.n_parents == 1 && context_parse(&trail->context, f.parent);
  const char *state = is_valid ? join_states(r, &f) : NULL;
  if (state && !context_state_is_valid(state)) state = NULL;
  if (!is_valid) context_begin(&trail->context, &loop->traces);
  if (loop->tracer) tracer_begin(loop->tracer, trail, &loop->traces);
  context_print(&trail->context, trail->traceparent);
  if (is_valid && strcmp(trail->traceparent, f.parent) == 0 && f.n_states == (state != NULL)) return;
  replace(r, trail->traceparent, state);
}
