/* POST /mcp: functions as tools of the Model Context Protocol, by its Streamable HTTP transport: JSON-RPC 2.0, one message a
 * request, one JSON reply. There are no sessions and no streams: all that a client has to know is in its messages.
 *
 * A worker thread reads the message and answers what needs no function. `tools/call` becomes an invocation like any other, a POST
 * of the arguments, with its budget, log, gas and receipt; exchange.word makes a result of how it ended. */
#include "base/error.h"
#include "base/heap.h"
#include "base/utf8.h"
#include "base/version.h"
#include "server/access/access.h"
#include "server/api/route.h"
#include "server/function/registry.h"
#include "server/function/tool.h"
#include "server/http/reply.h"
#include "server/invoke/invoke.h"
#include "server/loop/loop.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 100, MAX_RESULT = 4 << 20, MAX_NAME = FUNCTION_MAX_NAME, MAX_VALUES = 1 << 16 };
enum { BAD_JSON = -32700, BAD_REQUEST = -32600, NO_METHOD = -32601, BAD_PARAMS = -32602 };

static const char *const versions[] = {"2025-11-25", "2025-06-18", "2025-03-26"}; /* the newest first */
enum { N_VERSIONS = sizeof versions / sizeof *versions };

struct message_task {
  struct pending pending;
  uv_work_t work;
  struct exchange *exchange;
  struct registry *registry;
  char tenant[ACCESS_MAX_NAME + 1];
  struct buffer body;
  cJSON *message;
  const cJSON *id; /* of it; NULL: it wants no answer */
  char *text;      /* the answer; NULL: 202, unless there is a function to be called */
  uint32_t status; /* of that */
  bool is_call;    /* of the function below */
  bool has_output; /* the tool says what it replies */
  char name[MAX_NAME + 1];
  char *arguments;
};

/* What is left of it while its function runs: exchange.wording. */
struct call {
  cJSON *id;
  bool has_output;
};

static const cJSON *member(const cJSON *json, const char *key) { return cJSON_GetObjectItemCaseSensitive(json, key); }

/* cJSON takes 64 bytes for a value of 2, and nobody counts them: so what strangers send has MAX_VALUES. */
static bool has_many_values(const struct buffer *json) {
  size_t n = 0;
  bool is_text = false;
  for (size_t i = 0; i < json->size; i++) {
    uint8_t c = json->bytes[i];
    if (c == '"')
      is_text = !is_text;
    else if (is_text)
      i += c == '\\';
    else
      n += c == ',' || c == '[' || c == '{';
  }
  return n > MAX_VALUES;
}

/* cJSON prints numbers with 15 digits. */
static bool is_id(const cJSON *id) {
  double most = 9007199254740991.0, n = cJSON_IsNumber(id) ? id->valuedouble : 0.5;
  return cJSON_IsString(id) || (n >= -most && n <= most && n == (double)(int64_t)n);
}

static cJSON *copy_id(const cJSON *id) {
  char text[32];
  if (!cJSON_IsNumber(id)) return id ? cJSON_Duplicate(id, true) : cJSON_CreateNull();
  snprintf(text, sizeof text, "%lld", (long long)id->valuedouble);
  return cJSON_CreateRaw(text);
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

/* `id` is copied, `value` taken over. */
static cJSON *message_of(const cJSON *id, const char *key, cJSON *value) {
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "jsonrpc", "2.0");
  cJSON_AddItemToObject(json, "id", copy_id(id));
  cJSON_AddItemToObject(json, key, value);
  return json;
}

static void say(struct message_task *t, uint32_t status, cJSON *message) {
  t->text = cJSON_PrintUnformatted(message);
  t->status = status;
  cJSON_Delete(message);
}

static void say_error(struct message_task *t, uint32_t status, int code, const char *text) {
  cJSON *error = cJSON_CreateObject();
  cJSON_AddNumberToObject(error, "code", code);
  cJSON_AddStringToObject(error, "message", text);
  say(t, status, message_of(t->id, "error", error));
}

static void say_result(struct message_task *t, cJSON *result) { say(t, 200, message_of(t->id, "result", result)); }

/* --- what needs no function --------------------------------------------------------------------------------------- */

static const char *version_of(const char *text) {
  for (size_t i = 0; text && i < N_VERSIONS; i++)
    if (strcmp(text, versions[i]) == 0) return versions[i];
  return NULL;
}

static void initialize(struct message_task *t, const cJSON *params) {
  const char *version = version_of(cJSON_GetStringValue(member(params, "protocolVersion")));
  cJSON *result = cJSON_CreateObject();
  cJSON_AddStringToObject(result, "protocolVersion", version ? version : versions[0]);
  cJSON_AddObjectToObject(cJSON_AddObjectToObject(result, "capabilities"), "tools");
  cJSON *server = cJSON_AddObjectToObject(result, "serverInfo");
  cJSON_AddStringToObject(server, "name", "gasworks");
  cJSON_AddStringToObject(server, "version", GASWORKS_VERSION);
  say_result(t, result);
}

struct listing {
  cJSON *tools;
  const char *after; /* "": from the beginning */
  size_t n;
  char last[MAX_NAME + 1], next[MAX_NAME + 1]; /* next: the last of this page, where there are more */
};

static cJSON *tool_json(const struct function *f) {
  cJSON *tool = tool_of(f);
  if (!tool) return NULL;
  cJSON_AddStringToObject(tool, "name", function_short_name(f->name));
  if (member(tool, "inputSchema")) return tool;
  cJSON_AddStringToObject(cJSON_AddObjectToObject(tool, "inputSchema"), "type", "object");
  return tool;
}

static void list_one(void *arg, const struct entry *entry) {
  struct listing *l = arg;
  const struct function *f = entry_live(entry);
  const char *name = f ? function_short_name(f->name) : "";
  if (!f || *l->next || strcmp(name, l->after) <= 0) return;
  cJSON *tool = tool_json(f);
  if (tool && l->n == PAGE) {
    memcpy(l->next, l->last, sizeof l->next);
    cJSON_Delete(tool);
  } else if (tool) {
    cJSON_AddItemToArray(l->tools, tool);
    snprintf(l->last, sizeof l->last, "%s", name);
    l->n++;
  }
}

static void list(struct message_task *t, const cJSON *params) {
  const cJSON *cursor = member(params, "cursor");
  const char *after = cJSON_GetStringValue(cursor);
  if (cursor && !cJSON_IsNull(cursor) && (!after || !function_name_is_valid(after, strlen(after)))) {
    say_error(t, 200, BAD_PARAMS, "the cursor is none of tools/list");
    return;
  }
  cJSON *result = cJSON_CreateObject();
  struct listing l = {.tools = cJSON_AddArrayToObject(result, "tools"), .after = after ? after : ""};
  registry_each_of(t->registry, t->tenant, list_one, &l);
  if (*l.next) cJSON_AddStringToObject(result, "nextCursor", l.next);
  say_result(t, result);
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

/* False: it is none of the tenant's tools. */
static bool find_tool(struct message_task *t, const char *name) {
  char full[FUNCTION_MAX_FULL_NAME + 1];
  if (!name || !function_name_is_valid(name, strlen(name))) return false;
  function_full_name(t->tenant, name, full);
  struct function *f = registry_find(t->registry, full);
  cJSON *tool = f ? tool_of(f) : NULL;
  bool is_tool = tool != NULL;
  t->has_output = member(tool, "outputSchema") != NULL;
  cJSON_Delete(tool);
  function_release(f);
  if (is_tool) memcpy(t->name, name, strlen(name) + 1);
  return is_tool;
}

static void call(struct message_task *t, const cJSON *params) {
  const cJSON *arguments = member(params, "arguments");
  const char *name = cJSON_GetStringValue(member(params, "name"));
  char text[160];
  if (!find_tool(t, name)) {
    snprintf(text, sizeof text, "no tool is called %.63s", name ? name : "so: params.name is its name");
    say_error(t, 200, BAD_PARAMS, text);
  } else if (arguments && !cJSON_IsObject(arguments)) {
    say_error(t, 200, BAD_PARAMS, "a tool's arguments are an object");
  } else {
    t->arguments = arguments ? cJSON_PrintUnformatted(arguments) : strdup("{}");
    t->is_call = t->arguments != NULL;
  }
}

/* --- on a worker thread ------------------------------------------------------------------------------------------- */

static void obey(struct message_task *t, const char *method) {
  const cJSON *params = member(t->message, "params");
  char text[96];
  if (strcmp(method, "initialize") == 0) {
    initialize(t, params);
  } else if (strcmp(method, "ping") == 0) {
    say_result(t, cJSON_CreateObject());
  } else if (strcmp(method, "tools/list") == 0) {
    list(t, params);
  } else if (strcmp(method, "tools/call") == 0) {
    call(t, params);
  } else {
    snprintf(text, sizeof text, "there is no method %.60s here", method);
    say_error(t, 200, NO_METHOD, text);
  }
}

static void read_work(uv_work_t *work) {
  struct message_task *t = (struct message_task *)work->data;
  if (has_many_values(&t->body)) {
    say_error(t, 413, BAD_REQUEST, "a message has at most 65,536 values");
    return;
  }
  t->message = cJSON_ParseWithLength((const char *)t->body.bytes, t->body.size);
  const char *version = cJSON_GetStringValue(member(t->message, "jsonrpc"));
  const char *method = cJSON_GetStringValue(member(t->message, "method"));
  const cJSON *id = member(t->message, "id");
  bool is_answer = member(t->message, "result") || member(t->message, "error");
  if (!t->message) {
    say_error(t, 400, BAD_JSON, "the body is no JSON");
  } else if (cJSON_IsArray(t->message)) {
    say_error(t, 400, BAD_REQUEST, "one message a request: batches are not taken here");
  } else if (!version || strcmp(version, "2.0") != 0 || (!method && !is_answer)) {
    say_error(t, 400, BAD_REQUEST, "the body is no message of JSON-RPC 2.0");
  } else if (id && !is_id(id)) {
    say_error(t, 400, BAD_REQUEST, "an id is a text, or a whole number below 2^53");
  } else if (method && id) {
    t->id = id;
    obey(t, method);
  }
}

/* --- results ------------------------------------------------------------------------------------------------------ */

static void add_text(cJSON *content, const void *bytes, size_t size) {
  cJSON *item = cJSON_CreateObject();
  cJSON_AddStringToObject(item, "type", "text");
  cJSON_AddItemToObject(item, "text", reply_json_text(bytes, size));
  cJSON_AddItemToArray(content, item);
}

static bool is_text(const uint8_t *bytes, size_t size) {
  for (size_t i = 0, n; i < size; i += n)
    if (!bytes[i] || !(n = utf8_sequence(bytes + i, size - i))) return false;
  return true;
}

/* Bytes that are no text are a resource. */
static void add_bytes(cJSON *content, const struct buffer *reply) {
  size_t room = sodium_base64_encoded_len(reply->size, sodium_base64_VARIANT_ORIGINAL);
  char *text = heap_new(room, 1);
  cJSON *item = cJSON_CreateObject();
  cJSON_AddStringToObject(item, "type", "resource");
  cJSON *resource = cJSON_AddObjectToObject(item, "resource");
  sodium_bin2base64(text, room, reply->bytes, reply->size, sodium_base64_VARIANT_ORIGINAL);
  cJSON_AddStringToObject(resource, "uri", "gasworks:reply");
  cJSON_AddStringToObject(resource, "blob", text);
  cJSON_AddItemToArray(content, item);
  free(text);
}

/* Why the result is an error, for the model; NULL: it is none, or says so itself. */
static const char *take_reply(cJSON *result, cJSON *content, const struct handler *h, const struct call *call) {
  const struct buffer *reply = &h->reply;
  if (reply->size > MAX_RESULT) return "the function's reply is longer than the 4 MiB that a tool's result may have";
  if (!is_text(reply->bytes, reply->size))
    add_bytes(content, reply);
  else
    add_text(content, reply->bytes, reply->size);
  if (!call->has_output || h->status >= 400) return NULL;
  if (has_many_values(reply)) return "the function's reply has more than the 65,536 values that a tool's result may have";
  cJSON *json = reply->size ? cJSON_ParseWithLength((const char *)reply->bytes, reply->size) : NULL;
  if (!cJSON_IsObject(json)) {
    cJSON_Delete(json);
    return "the function's reply is no JSON object, which its outputSchema says";
  }
  cJSON_AddItemToObject(result, "structuredContent", json);
  return NULL;
}

static const char *failure_of(const struct outcome *o) {
  if (o->problem) return o->problem->detail ? o->problem->detail : "the function cannot be called";
  return o->is_hidden ? gw_trap_message(o->err->trap) : o->err->message;
}

static cJSON *result_of(struct exchange *x, const struct outcome *o, const struct call *call) {
  cJSON *result = cJSON_CreateObject(), *content = cJSON_AddArrayToObject(result, "content");
  const char *failure = o->reply ? take_reply(result, content, o->reply, call) : failure_of(o);
  if (failure) add_text(content, failure, strlen(failure));
  cJSON_AddBoolToObject(result, "isError", failure || (o->reply && o->reply->status >= 400));
  cJSON *meta = cJSON_AddObjectToObject(result, "_meta");
  if (o->reply) cJSON_AddNumberToObject(meta, "gasworks/status", o->reply->status);
  if (o->gas) cJSON_AddNumberToObject(meta, "gasworks/gas", (double)*o->gas);
  if (*x->receipt) cJSON_AddStringToObject(meta, "gasworks/receipt", x->receipt);
  return result;
}

static void word_result(struct exchange *x, const struct outcome *o) {
  struct call *call = x->wording;
  x->wording = NULL;
  if (o->reply || o->err || o->problem) {
    cJSON *message = message_of(call->id, "result", result_of(x, o, call));
    uint64_t gas = o->gas ? *o->gas : 0;
    cJSON_Delete(call->id);
    free(call);
    reply_counted_json(x, gas, message);
    return;
  }
  cJSON_Delete(call->id);
  free(call);
  x->ops->leave(x);
}

/* --- on the loop -------------------------------------------------------------------------------------------------- */

static void task_destroy(struct message_task *t) {
  t->exchange->pending = NULL;
  buffer_clear(&t->body);
  cJSON_Delete(t->message);
  cJSON_free(t->text);
  free(t->arguments);
  free(t);
}

/* What the function gets: the arguments as a POST's body. */
static void launch(struct message_task *t) {
  struct exchange *x = t->exchange;
  struct request *r = &x->request;
  struct call *call = heap_new(1, sizeof *call);
  char path[FUNCTION_PATH_SIZE];
  *call = (struct call){.id = cJSON_Duplicate(t->id, true), .has_output = t->has_output};
  function_full_name(t->tenant, t->name, r->address);
  r->target = arena_format(&r->arena, "%s", function_path(r->address, path));
  r->query = r->rest = "";
  r->n_headers = 1;
  r->headers[0] = (struct handler_header){.name = "content-type", .value = "application/json"};
  buffer_append(&r->body, t->arguments, strlen(t->arguments));
  x->loop->body_bytes += r->body.size;
  x->wording = call;
  x->word = word_result;
  task_destroy(t);
  invoke_begin(x);
}

static void answer(struct message_task *t) {
  struct exchange *x = t->exchange;
  char *text = t->text;
  uint32_t status = t->status;
  t->text = NULL;
  task_destroy(t);
  if (text)
    reply_printed_json(x, status, 0, text);
  else
    reply_empty(x, 202);
}

static void was_read(uv_work_t *work, int status) {
  struct message_task *t = (struct message_task *)work->data;
  struct exchange *x = t->exchange;
  (void)status;
  x->loop->body_bytes -= t->body.size;
  if (t->is_call && !t->pending.is_cancelled)
    launch(t);
  else if (!t->is_call)
    answer(t);
  else {
    bool wants_reply = t->pending.wants_reply;
    task_destroy(t);
    if (wants_reply)
      reply_problem(x, PROBLEM(.status = 503, .detail = "the server is shutting down", .retry_after = 1));
    else
      x->ops->leave(x);
  }
}

void route_mcp(struct exchange *x, const struct place *place) {
  const char *version = request_header(&x->request, "mcp-protocol-version");
  if (version && !version_of(version)) {
    reply_problem(x, PROBLEM(.status = 400, .detail = "MCP-Protocol-Version is none that is spoken here: 2025-11-25, 2025-06-18, "
                                                      "2025-03-26"));
    return;
  }
  struct message_task *t = heap_new(1, sizeof *t);
  t->work.data = t;
  t->exchange = x;
  t->registry = x->loop->registry;
  snprintf(t->tenant, sizeof t->tenant, "%s", place->tenant);
  t->body = x->request.body; /* the task takes it over, and its share of body_bytes */
  x->request.body = (struct buffer){0};
  x->pending = &t->pending;
  uv_queue_work(&x->loop->uv, &t->work, read_work, was_read);
}
