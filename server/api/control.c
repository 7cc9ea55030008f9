/* The control plane: deploying, listing and deleting functions. What blocks runs on libuv's worker threads. */
#include "base/error.h"
#include "base/heap.h"
#include "server/api/query.h"
#include "server/api/route.h"
#include "server/api/text.h"
#include "server/function/registry.h"
#include "server/http/reply.h"
#include "server/loop/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One listing, deployment or deletion under way. */
struct task {
  uv_work_t work;
  struct exchange *exchange;
  struct registry *registry;
  struct access *access;
  char tenant[ACCESS_MAX_NAME + 1];
  char name[FUNCTION_MAX_FULL_NAME + 1]; /* full */
  struct function_choice choice;
  struct buffer body;
  bool with_state, is_new, ok;
  struct function *function; /* deployed */
  cJSON *json;               /* the list */
  struct gw_error error;
};

static cJSON *quarantine_json(const struct function *f) {
  char text[320];
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "since", text_time(f->quarantine_ms, text));
  cJSON_AddStringToObject(json, "signal", function_quarantine_signal(f, text, sizeof text));
  function_describe_quarantine(f, text, sizeof text);
  cJSON_AddStringToObject(json, "detail", text);
  return json;
}

/* Of slices since the function was loaded, in all tiers. */
static void add_usage(cJSON *json, const struct function *f) {
  static const char *const bands[] = {[BAND_INSIDE] = "inside", [BAND_SLOW] = "slow", [BAND_FAST] = "fast"};
  double gas = 0, ns = 0;
  for (size_t i = 0; i < sizeof f->usage / sizeof *f->usage; i++) {
    gas += (double)atomic_load_explicit(&f->usage[i].gas, memory_order_relaxed);
    ns += (double)atomic_load_explicit(&f->usage[i].cpu_ns, memory_order_relaxed);
  }
  cJSON_AddNumberToObject(json, "gas", gas);
  cJSON_AddNumberToObject(json, "cpu_ms", (double)(uint64_t)(ns * 1e-5) / 10);
  cJSON_AddStringToObject(json, "band", bands[function_band(f)]);
}

static cJSON *function_json(const struct function *f) {
  char created[TEXT_TIME_SIZE], path[FUNCTION_PATH_SIZE];
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "name", function_short_name(f->name));
  cJSON_AddNumberToObject(json, "version", (double)f->version);
  cJSON_AddStringToObject(json, "digest", f->digest);
  cJSON_AddNumberToObject(json, "size", (double)f->size);
  cJSON_AddStringToObject(json, "interface", f->interface == INTERFACE_HANDLE ? "handle" : "cgi");
  cJSON_AddStringToObject(json, "created", text_time(f->created_ms, created));
  cJSON_AddStringToObject(json, "path", function_path(f->name, path));
  cJSON_AddStringToObject(json, "access", f->config.is_private ? "private" : "public");
  cJSON_AddStringToObject(json, "backtraces", f->config.shows_backtraces ? "on" : "off");
  cJSON_AddStringToObject(json, "tier", function_tier_name(function_next_tier(f)));
  if (function_code_state(f) == CODE_WAITING) cJSON_AddTrueToObject(json, "is_compiling");
  if (function_code_state(f) == CODE_FAILED) cJSON_AddStringToObject(json, "compile_error", f->code_error.message);
  if (function_quarantine(f)) cJSON_AddItemToObject(json, "quarantine", quarantine_json(f));
  cJSON_AddNumberToObject(json, "compile_ms", (double)(uint64_t)(f->compile_ms * 10) / 10);
  return json;
}

static void not_found(struct exchange *x, const char *name) {
  char detail[192];
  snprintf(detail, sizeof detail, "no function is called %s", name);
  reply_problem(x, PROBLEM(.status = 404, .detail = detail, .function = name));
}

void route_get(struct exchange *x, const struct place *place) {
  char name[FUNCTION_MAX_FULL_NAME + 1];
  function_full_name(place->tenant, place->name, name);
  struct function *f = registry_find(x->loop->registry, name);
  if (!f) {
    not_found(x, name);
    return;
  }
  cJSON *json = function_json(f);
  add_usage(json, f);
  function_release(f);
  reply_json(x, 200, json);
}

static struct task *task_create(struct exchange *x, const struct place *place) {
  struct task *task = heap_new(1, sizeof *task);
  task->work.data = task;
  task->exchange = x;
  task->registry = x->loop->registry;
  task->access = x->loop->access;
  snprintf(task->tenant, sizeof task->tenant, "%s", place->tenant);
  function_full_name(place->tenant, place->name, task->name);
  return task;
}

static void task_destroy(struct task *task) {
  buffer_clear(&task->body);
  function_release(task->function);
  free(task);
}

/* --- listing ------------------------------------------------------------------------------------------------------ */

/* An array that gets what is the tenant's. */
struct listing {
  const char *tenant;
  cJSON *array;
};

static void list_one(void *arg, const struct function *f) {
  const struct listing *listing = arg;
  if (function_is_of(f->name, listing->tenant)) cJSON_AddItemToArray(listing->array, function_json(f));
}

static void list_kept(void *arg, const char *name) {
  const struct listing *listing = arg;
  if (function_is_of(name, listing->tenant)) cJSON_AddItemToArray(listing->array, cJSON_CreateString(function_short_name(name)));
}

/* Reads the state store, which may be far away. */
static void list_work(uv_work_t *work) {
  struct task *task = work->data;
  task->json = cJSON_CreateObject();
  cJSON_AddStringToObject(task->json, "tenant", task->tenant);
  struct listing functions = {task->tenant, cJSON_AddArrayToObject(task->json, "functions")};
  struct listing kept = {task->tenant, cJSON_AddArrayToObject(task->json, "kept_state")};
  registry_each(task->registry, list_one, &functions);
  registry_each_kept(task->registry, list_kept, &kept, NULL);
}

static void list_done(uv_work_t *work, int status) {
  struct task *task = work->data;
  (void)status;
  reply_json(task->exchange, 200, task->json);
  task_destroy(task);
}

void route_list(struct exchange *x, const struct place *place) {
  struct task *task = task_create(x, place);
  uv_queue_work(&x->loop->uv, &task->work, list_work, list_done);
}

/* --- changing ----------------------------------------------------------------------------------------------------- */

static void put_work(uv_work_t *work) {
  struct task *task = work->data;
  task->function =
      registry_put(task->registry, task->name, &task->choice, task->body.bytes, task->body.size, &task->is_new, &task->error);
  if (!task->function || access_has_tenant(task->access, task->tenant)) return;
  /* deleted meanwhile: whoever did that may have looked for functions before this one was there */
  function_release(task->function);
  task->function = NULL;
  registry_delete(task->registry, task->name, true, &(struct gw_error){0});
  error_set(&task->error, GW_ERROR_NOT_FOUND, "no tenant is called %s", task->tenant);
}

/* A trap here is one of the module's start function: the module's fault, not the server's. */
static void put_failed(struct exchange *x, const struct task *task) {
  const struct gw_error *err = &task->error;
  if (err->code != GW_ERROR_TRAP) {
    reply_error(x, err, task->name, NULL, NULL);
    return;
  }
  reply_problem(x, PROBLEM(.status = 422, .title = gw_error_title(err->code), .detail = err->message, .function = task->name,
                           .trap = gw_trap_message(err->trap)));
}

static void put_done(uv_work_t *work, int status) {
  struct task *task = work->data;
  struct exchange *x = task->exchange;
  (void)status;
  x->loop->body_bytes -= task->body.size;
  if (task->function)
    reply_json(x, task->is_new ? 201 : 200, function_json(task->function));
  else
    put_failed(x, task);
  task_destroy(task);
}

static const char *const no_yes_access[] = {"public", "private", NULL}, *const off_on[] = {"off", "on", NULL};

/* "access=private&backtraces=on". */
static bool take_choice(const char *query, struct function_choice *choice) {
  struct query_part part;
  while (query_next(&query, &part)) {
    int access = query_is(&part, "access") ? query_word(&part, no_yes_access) : -1;
    int backtraces = query_is(&part, "backtraces") ? query_word(&part, off_on) : -1;
    if (access < 0 && backtraces < 0) return false;
    if (access >= 0) choice->has_private = true, choice->config.is_private = access == 1;
    if (backtraces >= 0) choice->has_backtraces = true, choice->config.shows_backtraces = backtraces == 1;
  }
  return true;
}

void route_put(struct exchange *x, const struct place *place) {
  struct function_choice choice = {0};
  if (!take_choice(x->request.query, &choice)) {
    reply_problem(x, PROBLEM(.status = 400, .detail = "the parameters of PUT are access=public|private and backtraces=on|off"));
    return;
  }
  struct task *task = task_create(x, place);
  task->choice = choice;
  task->body = x->request.body; /* the task takes it over, and its share of body_bytes */
  x->request.body = (struct buffer){0};
  uv_queue_work(&x->loop->uv, &task->work, put_work, put_done);
}

static void lift_work(uv_work_t *work) {
  struct task *task = work->data;
  task->ok = registry_lift(task->registry, task->name, &task->error);
}

static void delete_work(uv_work_t *work) {
  struct task *task = work->data;
  task->ok = registry_delete(task->registry, task->name, task->with_state, &task->error);
}

static void empty_done(uv_work_t *work, int status) {
  struct task *task = work->data;
  struct exchange *x = task->exchange;
  (void)status;
  if (task->ok)
    reply_empty(x, 204);
  else
    reply_error(x, &task->error, task->name, NULL, NULL);
  task_destroy(task);
}

void route_lift(struct exchange *x, const struct place *place) {
  struct task *task = task_create(x, place);
  uv_queue_work(&x->loop->uv, &task->work, lift_work, empty_done);
}

void route_delete(struct exchange *x, const struct place *place) {
  const char *query = x->request.query;
  bool with_state = strcmp(query, "state=delete") == 0;
  if (*query && !with_state) {
    reply_problem(x, PROBLEM(.status = 400, .detail = "the only parameter of DELETE is state=delete"));
    return;
  }
  struct task *task = task_create(x, place);
  task->with_state = with_state;
  uv_queue_work(&x->loop->uv, &task->work, delete_work, empty_done);
}
