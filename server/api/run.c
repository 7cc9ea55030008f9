/* POST /v1/run: a module with its input, run once and forgotten, but for the receipt. What is asked for comes in one of three
 * forms: multipart/form-data with the parts `module` and `input`; the module as the body, without input; or, with
 * ?module=DIGEST, the input as the body, for a module of the tenant or one that was run a moment ago.
 *
 * A worker thread takes the body apart and makes the digest, or reads the module from its file. The loop then makes a function of
 * it that is in no table, and a pool whose address has the digest and the limits: who runs the same again soon finds it
 * there. From then on it is an invocation like any other (server/invoke/invoke.c), which loads, waits, is cancelled and gets its
 * receipt. */
#include "base/error.h"
#include "base/heap.h"
#include "base/utf8.h"
#include "server/api/parts.h"
#include "server/api/query.h"
#include "server/api/route.h"
#include "server/api/toll.h"
#include "server/function/pool.h"
#include "server/http/reply.h"
#include "server/invoke/invoke.h"
#include "server/server.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RUNS = 16 /* of a tenant on a loop */, USUAL_CPU_MS = 10000, MAX_SHOWN = 1 << 20 };
static const uint64_t USUAL_GAS = 10000000000;     /* about a second in compiled code */
static const uint64_t USUAL_MEMORY = 256ull << 20; /* bytes */

struct trial {
  struct pending pending;
  uv_work_t work;
  struct exchange *exchange;
  struct registry *registry;
  struct pool *runs; /* the tenant's, which counts it */
  char tenant[ACCESS_MAX_NAME + 1], name[FUNCTION_MAX_FULL_NAME + 1];
  char digest[DIGEST_HEX_SIZE];
  bool has_digest; /* the body is the input */
  bool wants_report;
  uint64_t gas, memory, cpu_ms;
  struct buffer body; /* the request's, then the module's file */
  char boundary[PARTS_MAX_BOUNDARY + 1];
  struct part module, input; /* where they are in the body */
  struct gw_error error;
};

static void trial_destroy(struct trial *t) {
  t->exchange->pending = NULL;
  t->runs->n_running--;
  buffer_clear(&t->body);
  free(t);
}

static void refuse(struct trial *t) {
  struct exchange *x = t->exchange;
  struct gw_error err = t->error;
  trial_destroy(t);
  reply_error(x, &err, NULL, NULL, NULL);
}

/* --- what is asked for -------------------------------------------------------------------------------------------- */

static bool take_number(const struct query_part *part, const char *key, uint64_t most, uint64_t *out, struct gw_error *err) {
  char word[20] = "", *end;
  if (part->word_size < sizeof word) memcpy(word, part->word, part->word_size);
  uint64_t n = *word >= '0' && *word <= '9' ? strtoull(word, &end, 10) : 0;
  if (!n || *end) return error_set(err, GW_ERROR_REQUEST, "%s is a whole number from 1 on", key);
  if (n > most) return error_set(err, GW_ERROR_REQUEST, "%s is at most %llu here", key, (unsigned long long)most);
  *out = n;
  return true;
}

static bool take_digest(const struct query_part *part, struct trial *t, struct gw_error *err) {
  bool ok = part->word_size == DIGEST_HEX_SIZE - 1;
  for (size_t i = 0; ok && i < part->word_size; i++) ok = strchr("0123456789abcdef", part->word[i]) && part->word[i];
  if (!ok) return error_set(err, GW_ERROR_REQUEST, "module is a digest, of %d hexadecimal digits", DIGEST_HEX_SIZE - 1);
  memcpy(t->digest, part->word, part->word_size);
  return t->has_digest = true;
}

/* What a limit of the server leaves, where 0 is none. */
static uint64_t most_of(uint64_t limit) { return limit ? limit : (uint64_t)1 << 53; }

static uint64_t usual(uint64_t n, uint64_t limit) { return limit && limit < n ? limit : n; }

static bool take_query(struct trial *t, struct gw_error *err) {
  static const char *const reports[] = {"reply", "json", NULL};
  const struct function_limits *limits = t->exchange->loop->limits;
  uint64_t cpu_limit_ms = limits->cpu_limit_ns / 1000000;
  const char *query = t->exchange->request.query;
  struct query_part part;
  t->gas = usual(USUAL_GAS, limits->gas_limit);
  t->memory = usual(USUAL_MEMORY, limits->max_memory);
  t->cpu_ms = usual(USUAL_CPU_MS, cpu_limit_ms);
  while (query_next(&query, &part)) {
    bool ok;
    if (query_is(&part, "gas"))
      ok = take_number(&part, "gas", most_of(limits->gas_limit), &t->gas, err);
    else if (query_is(&part, "memory"))
      ok = take_number(&part, "memory", most_of(limits->max_memory), &t->memory, err);
    else if (query_is(&part, "cpu_ms"))
      ok = take_number(&part, "cpu_ms", cpu_limit_ms ? cpu_limit_ms : INT32_MAX, &t->cpu_ms, err);
    else if (query_is(&part, "module"))
      ok = take_digest(&part, t, err);
    else if (query_is(&part, "as") && query_word(&part, reports) >= 0)
      ok = true, t->wants_report = query_word(&part, reports) == 1;
    else
      ok = error_set(err, GW_ERROR_REQUEST,
                     "the parameters of a run are gas=N, memory=BYTES, cpu_ms=N, module=DIGEST and "
                     "as=reply|json");
    if (!ok) return false;
  }
  return true;
}

/* --- on a worker thread ------------------------------------------------------------------------------------------- */

/* Each of both once, in any order. */
static bool take_parts(struct trial *t, struct gw_error *err) {
  struct part parts[2];
  size_t n;
  if (!parts_read(t->boundary, t->body.bytes, t->body.size, parts, 2, &n, err)) return false;
  for (size_t i = 0; i < n; i++) {
    struct part *to = strcmp(parts[i].name, "module") == 0 ? &t->module : strcmp(parts[i].name, "input") == 0 ? &t->input : NULL;
    if (!to || to->bytes) return error_set(err, GW_ERROR_REQUEST, "the parts of a run are module and input, each once");
    *to = parts[i];
  }
  return t->module.bytes || error_set(err, GW_ERROR_REQUEST, "the part module is missing");
}

static bool take_body(struct trial *t, struct gw_error *err) {
  static const uint8_t MAGIC[] = {0, 'a', 's', 'm'};
  if (*t->boundary) return take_parts(t, err);
  if (t->body.size < sizeof MAGIC || memcmp(t->body.bytes, MAGIC, sizeof MAGIC) != 0)
    return error_set(err, GW_ERROR_REQUEST,
                     "a run wants a module as its body, or multipart/form-data with the parts module and input, or its "
                     "?module=DIGEST: curl -F module=@FILE.wasm -F input=@FILE");
  t->module = (struct part){.bytes = t->body.bytes, .size = t->body.size};
  return true;
}

static void look_work(uv_work_t *work) {
  struct trial *t = work->data;
  if (t->has_digest) {
    if (!registry_read_module_of(t->registry, t->tenant, t->digest, &t->body, &t->error)) return;
    t->module = (struct part){.bytes = t->body.bytes, .size = t->body.size};
  } else if (take_body(t, &t->error)) {
    struct digest digest = digest_of(t->module.bytes, t->module.size);
    digest_print(&digest, t->digest);
  }
}

/* --- the reply ---------------------------------------------------------------------------------------------------- */

static void add_log(const struct outcome *o, struct buffer *log) {
  if (!o->slot) return;
  buffer_append(log, o->slot->handler.log.bytes, o->slot->handler.log.size);
  if (!o->slot->wasi) return;
  const struct buffer *more = wasi_stderr(o->slot->wasi);
  buffer_append(log, more->bytes, more->size);
}

/* A function's reply as it is; else a problem, with what it logged. */
static void word_plain(struct exchange *x, const struct outcome *o) {
  if (o->reply) {
    reply_function(x, o->reply, NULL, *o->gas);
    return;
  }
  if (!o->err && !o->problem) {
    x->ops->leave(x);
    return;
  }
  struct buffer log = {0};
  char name[FUNCTION_MAX_FULL_NAME + 1];
  struct problem p = o->problem ? *o->problem : reply_problem_of(o->err, NULL, o->gas);
  function_split_address(x->request.address, name);
  add_log(o, &log);
  p.function = name;
  p.backtrace = o->backtrace;
  p.log = &log;
  reply_problem(x, &p);
  buffer_clear(&log);
}

/* Text as text, else in base64. What is beyond MAX_SHOWN is left out. */
static void add_body(cJSON *json, const struct buffer *body) {
  size_t size = body->size < MAX_SHOWN ? body->size : MAX_SHOWN;
  if (body->size > size) cJSON_AddTrueToObject(json, "is_cut");
  if (utf8_is_text(body->bytes, size)) {
    cJSON_AddItemToObject(json, "body", reply_json_text(body->bytes, size));
    return;
  }
  size_t room = sodium_base64_encoded_len(size, sodium_base64_VARIANT_ORIGINAL);
  char *text = heap_new(room, 1);
  sodium_bin2base64(text, room, body->bytes, size, sodium_base64_VARIANT_ORIGINAL);
  cJSON_AddStringToObject(json, "body_base64", text);
  free(text);
}

/* [["Name", "value"], ...] */
static void add_headers(cJSON *json, const struct buffer *headers) {
  cJSON *array = cJSON_AddArrayToObject(json, "headers");
  const char *at = (const char *)headers->bytes, *end = at + headers->size;
  while (at < end) {
    const char *newline = memchr(at, '\r', (size_t)(end - at)), *colon = memchr(at, ':', (size_t)(end - at));
    if (!newline || !colon || colon > newline) return;
    cJSON *pair = cJSON_CreateArray();
    cJSON_AddItemToArray(pair, reply_json_text(at, (size_t)(colon - at)));
    cJSON_AddItemToArray(pair, reply_json_text(colon + 2, (size_t)(newline - colon - 2)));
    cJSON_AddItemToArray(array, pair);
    at = newline + 2;
  }
}

/* All of it as JSON; what failed is a problem in any case. */
static void word_report(struct exchange *x, const struct outcome *o) {
  if (!o->reply) {
    word_plain(x, o);
    return;
  }
  struct buffer log = {0};
  cJSON *json = cJSON_CreateObject();
  add_log(o, &log);
  cJSON_AddNumberToObject(json, "status", o->reply->status);
  add_headers(json, &o->reply->reply_headers);
  add_body(json, &o->reply->reply);
  cJSON_AddItemToObject(json, "log", reply_json_text(log.bytes, log.size));
  cJSON_AddNumberToObject(json, "gas", (double)*o->gas);
  cJSON_AddStringToObject(json, "module", o->slot->function->digest);
  if (*x->receipt) cJSON_AddStringToObject(json, "receipt", x->receipt);
  buffer_clear(&log);
  reply_counted_json(x, *o->gas, json);
}

/* --- on the loop -------------------------------------------------------------------------------------------------- */

/* Another one for other limits: they are the function's. An @ and a letter: no path leads there. */
static void address_of(const struct trial *t, char out[EXCHANGE_MAX_ADDRESS + 1]) {
  snprintf(out, EXCHANGE_MAX_ADDRESS + 1, "%s@m%s-%llx-%llx-%llx", t->name, t->digest, (unsigned long long)t->gas,
           (unsigned long long)t->memory, (unsigned long long)t->cpu_ms);
}

/* The module becomes a function, unless it is one already. */
static bool find_pool(struct trial *t, const char *address) {
  struct loop *loop = t->exchange->loop;
  if (pool_find(loop, address)) return true;
  struct registry_run run = {.name = t->name, .digest = t->digest, .bytes = &t->body, .size = t->module.size};
  run.at = (size_t)(t->module.bytes - t->body.bytes);
  run.gas = t->gas, run.memory = t->memory, run.cpu_ms = t->cpu_ms;
  struct function *f = registry_make(t->registry, &run, &t->error);
  if (f) pool_add_loose(loop, address, f);
  return f != NULL;
}

/* What the function gets: the input, and of what kind it is. */
static void make_request(struct trial *t) {
  struct request *r = &t->exchange->request;
  const char *type = t->has_digest ? request_header(r, "content-type") : t->input.type;
  r->n_headers = 0;
  if (type && *type)
    r->headers[r->n_headers++] = (struct handler_header){.name = "content-type", .value = arena_format(&r->arena, "%s", type)};
  r->target = "/v1/run";
  r->query = "";
  r->rest = "";
  if (t->has_digest) return;
  struct buffer input = {0};
  buffer_append(&input, t->input.bytes, t->input.size);
  t->exchange->loop->body_bytes += input.size;
  t->exchange->loop->body_bytes -= t->body.size;
  r->body = input;
}

static void launch(struct trial *t) {
  struct exchange *x = t->exchange;
  char address[EXCHANGE_MAX_ADDRESS + 1];
  address_of(t, address);
  struct problem why = {0};
  if (!toll_allows(x->loop, t->tenant, &why)) {
    if (!t->has_digest) x->loop->body_bytes -= t->body.size;
    trial_destroy(t);
    reply_problem(x, &why);
    return;
  }
  make_request(t);
  bool is_new = !pool_find(x->loop, address);
  if (!find_pool(t, address)) {
    refuse(t);
    return;
  }
  memcpy(x->request.address, address, sizeof address);
  x->word = t->wants_report ? word_report : word_plain;
  struct loop *loop = x->loop;
  struct toll toll = {.bytes = t->module.size};
  char tenant[ACCESS_MAX_NAME + 1];
  memcpy(tenant, t->tenant, sizeof tenant);
  trial_destroy(t);
  invoke_begin(x);
  /* a toll taken before would be what the invocation is refused for; the exchange may be the next one by now */
  const struct pool *pool = pool_find(loop, address);
  if (is_new && pool && pool->loading) toll_take(loop, tenant, &toll);
}

static void looked(uv_work_t *work, int status) {
  struct trial *t = work->data;
  struct exchange *x = t->exchange;
  (void)status;
  bool is_over = t->pending.is_cancelled, wants_reply = t->pending.wants_reply;
  if (!is_over && !t->error.code) {
    launch(t);
    return;
  }
  if (!t->has_digest) x->loop->body_bytes -= t->body.size;
  if (!is_over) {
    refuse(t);
    return;
  }
  trial_destroy(t);
  if (wants_reply)
    reply_problem(x, PROBLEM(.status = 503, .detail = "the server is shutting down", .retry_after = 1));
  else
    x->ops->leave(x);
}

static void look(struct trial *t) {
  struct request *r = &t->exchange->request;
  t->exchange->pending = &t->pending;
  if (!t->has_digest) {
    parts_boundary(request_header(r, "content-type"), t->boundary);
    t->body = r->body; /* the trial takes it over, and its share of body_bytes */
    r->body = (struct buffer){0};
  }
  uv_queue_work(&t->exchange->loop->uv, &t->work, look_work, looked);
}

void route_run(struct exchange *x, const struct place *place) {
  char name[FUNCTION_MAX_FULL_NAME + 1], address[EXCHANGE_MAX_ADDRESS + 1];
  function_full_name(place->tenant, FUNCTION_RUN, name);
  struct pool *runs = pool_of_runs(x->loop, name);
  if (runs->n_running >= MAX_RUNS) {
    reply_problem(x, PROBLEM(.status = 429, .detail = "as many modules of the tenant are running as may", .retry_after = 1));
    return;
  }
  struct trial *t = heap_new(1, sizeof *t);
  t->work.data = t;
  t->exchange = x;
  t->registry = x->loop->registry;
  t->runs = runs;
  runs->n_running++;
  snprintf(t->tenant, sizeof t->tenant, "%s", place->tenant);
  memcpy(t->name, name, sizeof name);
  if (!take_query(t, &t->error)) {
    refuse(t);
    return;
  }
  if (t->has_digest) address_of(t, address);
  if (t->has_digest && pool_find(x->loop, address))
    launch(t);
  else
    look(t);
}
