/* GET /v1/functions/NAME/logs: what a function has logged. Who wants more waits in a list of the loop, which looks at it ten
 * times a second. A reply is JSON, or a part of an event stream, whose reader comes back by itself and says where it was
 * (Last-Event-ID); so no reply lasts for ever. */
#include "server/api/logs.h"

#include "base/error.h"
#include "base/heap.h"
#include "server/api/control.h"
#include "server/api/query.h"
#include "server/http/credentials.h"
#include "server/http/reply.h"
#include "server/loop/log_store.h"
#include "server/loop/loop.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_LINES = 10000, USUAL_LINES = 100, MAX_WAIT_S = 60, STREAM_WAIT_S = 20 };

struct watch {
  struct watch *next;
  uv_work_t work;
  struct exchange *exchange; /* NULL while reading: the client has gone */
  struct log_store *store;
  char name[FUNCTION_MAX_FULL_NAME + 1]; /* full */
  uint64_t after, ends;                  /* ends: loop time in ms */
  uint32_t limit;
  bool is_stream, is_reading, ok;
  struct buffer lines;
  struct gw_error error;
};

/* --- answering ---------------------------------------------------------------------------------------------------- */

/* Each line is a JSON object of ours. */
static uint64_t number_of(const char *line) { return strtoull(line + sizeof "{\"seq\":" - 1, NULL, 10); }

static void append_event(struct buffer *out, const char *line, size_t size) {
  buffer_format(out, "id: %llu\ndata: %.*s\n\n", (unsigned long long)number_of(line), (int)size, line);
}

/* `next` becomes the number of the last line. */
static void append_lines(const struct watch *w, struct buffer *out, uint64_t *next) {
  const char *at = (const char *)w->lines.bytes, *end = at + w->lines.size;
  for (const char *newline; at < end && (newline = memchr(at, '\n', (size_t)(end - at))); at = newline + 1) {
    if (w->is_stream)
      append_event(out, at, (size_t)(newline - at));
    else
      buffer_format(out, "%s%.*s", out->bytes[out->size - 1] == '[' ? "" : ",", (int)(newline - at), at);
    *next = number_of(at);
  }
}

static void answer(struct watch *w) {
  struct buffer out = {0};
  uint64_t next = w->after;
  buffer_append_string(&out, w->is_stream ? "retry: 100\n\n" : "{\"lines\":[");
  append_lines(w, &out, &next);
  if (!w->is_stream) buffer_format(&out, "],\"next\":%llu}", (unsigned long long)next);
  reply_text(w->exchange, 200, w->is_stream ? "text/event-stream\r\nCache-Control: no-store" : "application/json", &out);
  buffer_clear(&out);
}

static void watch_free(struct watch *w) {
  buffer_clear(&w->lines);
  free(w);
}

static void unlist(struct watch *w) {
  struct watch **at = &w->exchange->loop->watches;
  while (*at != w) at = &(*at)->next;
  *at = w->next;
  w->exchange->watch = NULL;
}

static void read_work(uv_work_t *work) {
  struct watch *w = work->data;
  w->ok = log_store_read(w->store, w->name, w->after, w->limit, &w->lines, &w->error);
}

static bool must_wait(const struct watch *w) {
  const struct loop *loop = w->exchange->loop;
  return !w->lines.size && loop_now(loop) < w->ends && !loop_is_ending(loop);
}

static void read_done(uv_work_t *work, int status) {
  struct watch *w = work->data;
  (void)status;
  w->is_reading = false;
  if (w->exchange && w->ok && must_wait(w)) return; /* the loop looks again */
  if (w->exchange) {
    unlist(w);
    if (!credentials_allow(w->exchange, w->name, SCOPE_READ))
      reply_problem(w->exchange, PROBLEM(.status = 401, .detail = "the token is not good any more"));
    else if (w->ok)
      answer(w);
    else
      reply_error(w->exchange, &w->error, w->name, NULL, NULL);
  }
  watch_free(w);
}

static void start_reading(struct watch *w) {
  w->is_reading = true;
  uv_queue_work(&w->exchange->loop->uv, &w->work, read_work, read_done);
}

void logs_tick(struct loop *loop) {
  for (struct watch *w = loop->watches; w; w = w->next)
    if (!w->is_reading && (!must_wait(w) || log_store_last(w->store, w->name) > w->after)) start_reading(w);
}

void logs_cancel(struct exchange *x, bool with_reply) {
  struct watch *w = x->watch;
  if (with_reply) {
    w->ends = 0; /* the next tick answers it */
    return;
  }
  unlist(w);
  w->exchange = NULL;
  if (!w->is_reading) watch_free(w);
  x->ops->leave(x);
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

/* Decimal digits and nothing else. */
static bool take_number(const char *text, size_t size, uint64_t most, uint64_t *out) {
  *out = 0;
  for (size_t i = 0; i < size; i++) {
    if (text[i] < '0' || text[i] > '9' || *out > most) return false;
    *out = *out * 10 + (uint64_t)(text[i] - '0');
  }
  return size && *out <= most;
}

static bool take_parameters(struct watch *w, const char *query, uint64_t *wait_s) {
  struct query_part part;
  while (query_next(&query, &part)) {
    uint64_t n = 0;
    uint64_t most = query_is(&part, "after") ? UINT64_MAX / 16 : query_is(&part, "wait") ? MAX_WAIT_S : MAX_LINES;
    if (!take_number(part.word, part.word_size, most, &n)) return false;
    if (query_is(&part, "after"))
      w->after = n;
    else if (query_is(&part, "wait"))
      *wait_s = n;
    else if (query_is(&part, "limit") && n)
      w->limit = (uint32_t)n;
    else
      return false;
  }
  return true;
}

void route_logs(struct exchange *x, const struct place *place) {
  struct watch *w = heap_new(1, sizeof *w);
  uint64_t wait_s = 0;
  function_full_name(place->tenant, place->name, w->name);
  struct function *f = registry_find(x->loop->registry, w->name);
  const char *accept = request_header(&x->request, "Accept"), *last = request_header(&x->request, "Last-Event-ID");
  w->is_stream = accept && strstr(accept, "text/event-stream");
  w->limit = USUAL_LINES;
  if (w->is_stream) wait_s = STREAM_WAIT_S;
  if (!f) {
    control_show(x, w->name);
    free(w);
  } else if (!take_parameters(w, x->request.query, &wait_s) ||
             (last && *last && !take_number(last, strlen(last), UINT64_MAX / 16, &w->after))) {
    reply_problem(x, PROBLEM(.status = 400, .detail = "the parameters are after=NUMBER, limit=1 to 10000 and wait=SECONDS, 60 at "
                                                      "most"));
    free(w);
  } else {
    w->work.data = w;
    w->exchange = x;
    w->store = x->loop->logs;
    w->ends = loop_now(x->loop) + wait_s * 1000;
    w->next = x->loop->watches;
    x->loop->watches = x->watch = w;
    start_reading(w);
  }
  function_release(f);
}
