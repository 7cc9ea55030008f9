/* The control plane: deploying, listing and deleting functions. What blocks runs on libuv's worker threads. */
#include "server/api/control.h"

#include "base/error.h"
#include "base/heap.h"
#include "server/api/body.h"
#include "server/api/query.h"
#include "server/api/summary.h"
#include "server/api/toll.h"
#include "server/api/usage.h"
#include "server/function/pool.h"
#include "server/http/reply.h"
#include "server/loop/log_store.h"
#include "server/loop/loop.h"
#include "server/usage/account.h"
#include "server/replay/gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- tasks -------------------------------------------------------------------------------------------------------- */

struct control_task *control_create(struct exchange *x, const struct place *place) {
  struct control_task *task = heap_new(1, sizeof *task);
  task->work.data = task;
  task->exchange = x;
  task->registry = x->loop->registry;
  task->access = x->loop->access;
  task->logs = x->loop->logs;
  task->usage = x->loop->usage;
  snprintf(task->tenant, sizeof task->tenant, "%s", place->tenant);
  function_full_name(place->tenant, place->name, task->name);
  memcpy(task->word, place->word, sizeof task->word);
  return task;
}

void control_destroy(struct control_task *task) {
  buffer_clear(&task->body);
  function_release(task->function);
  cJSON_Delete(task->patch);
  free(task);
}

void control_start(struct control_task *task, uv_work_cb work, uv_after_work_cb done) {
  uv_queue_work(&task->exchange->loop->uv, &task->work, work, done);
}

void control_refuse(struct control_task *task) {
  reply_error(task->exchange, &task->error, task->name, NULL, NULL);
  control_destroy(task);
}

void control_done(uv_work_t *work, int status) {
  struct control_task *task = work->data;
  (void)status;
  if (!task->ok) {
    control_refuse(task);
    return;
  }
  reply_empty(task->exchange, 204);
  control_destroy(task);
}

/* --- one function ------------------------------------------------------------------------------------------------- */

struct view {
  struct usage *usage;
  cJSON *json;
  uint64_t revision;
};

/* Of all versions since ever: what a bill is made of. */
static void add_usage(const struct view *view, const char *name) {
  struct usage_sum sum = {0};
  uint64_t stored = 0;
  if (!view->usage) return;
  usage_of_function(view->usage, name, &sum, &stored);
  cJSON *json = cJSON_AddObjectToObject(view->json, "usage");
  usage_add_sum(json, &sum);
  cJSON_AddNumberToObject(json, "bytes_stored", (double)stored);
}

static void look(void *arg, const struct entry *entry) {
  struct view *view = arg;
  view->json = summary_of_entry(entry);
  view->revision = entry->revision;
  summary_add_usage(view->json, entry_live(entry));
  add_usage(view, entry->name);
}

static void reply_no_function(struct exchange *x, const char *name) {
  char detail[192];
  snprintf(detail, sizeof detail, "no function is called %s", name);
  reply_problem(x, PROBLEM(.status = 404, .detail = detail, .function = name));
}

void control_show(struct exchange *x, const char *name) {
  struct view view = {.usage = x->loop->usage};
  if (registry_with(x->loop->registry, name, look, &view)) {
    reply_tagged_json(x, 200, view.revision, view.json);
    return;
  }
  reply_no_function(x, name);
}

void route_get(struct exchange *x, const struct place *place) {
  char name[FUNCTION_MAX_FULL_NAME + 1];
  function_full_name(place->tenant, place->name, name);
  control_show(x, name);
}

/* --- listing ------------------------------------------------------------------------------------------------------ */

/* An array that gets what is the tenant's. */
struct listing {
  const char *tenant;
  cJSON *array;
};

static void list_one(void *arg, const struct entry *entry) {
  const struct listing *listing = arg;
  cJSON_AddItemToArray(listing->array, summary_of_entry(entry));
}

static void list_kept(void *arg, const char *name) {
  const struct listing *listing = arg;
  if (function_is_of(name, listing->tenant)) cJSON_AddItemToArray(listing->array, cJSON_CreateString(function_short_name(name)));
}

static void list_group(void *arg, const char *name, const char *members) {
  cJSON *json = cJSON_CreateObject(), *array;
  cJSON_AddStringToObject(json, "name", function_short_name(name));
  array = cJSON_AddArrayToObject(json, "members");
  for (size_t size; (size = strcspn(members, ",")); members += size + (members[size] == ',')) {
    char member[FUNCTION_MAX_NAME + 1] = "";
    memcpy(member, members, size);
    cJSON_AddItemToArray(array, cJSON_CreateString(member));
  }
  cJSON_AddItemToArray(arg, json);
}

/* Reads the state store, which may be far away. */
static void list_work(uv_work_t *work) {
  struct control_task *task = work->data;
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "tenant", task->tenant);
  struct listing functions = {task->tenant, cJSON_AddArrayToObject(json, "functions")};
  struct listing kept = {task->tenant, cJSON_AddArrayToObject(json, "kept_state")};
  cJSON *groups = cJSON_AddArrayToObject(json, "state_groups");
  registry_each_of(task->registry, task->tenant, list_one, &functions);
  registry_each_kept(task->registry, list_kept, &kept, NULL);
  registry_each_group(task->registry, task->tenant, list_group, groups, NULL);
  control_print(task, json);
}

void control_print(struct control_task *task, cJSON *json) {
  task->text = cJSON_PrintUnformatted(json);
  cJSON_Delete(json);
}

void control_printed(uv_work_t *work, int status) {
  struct control_task *task = work->data;
  (void)status;
  if (task->text)
    reply_printed_json(task->exchange, 200, task->revision, task->text);
  else
    reply_no_function(task->exchange, task->name);
  control_destroy(task);
}

void route_list(struct exchange *x, const struct place *place) {
  control_start(control_create(x, place), list_work, control_printed);
}

/* --- conditions --------------------------------------------------------------------------------------------------- */

/* "r17", with its quotes. 0: it is no tag of ours, so nothing has it. */
static uint64_t revision_of(const char *tag, size_t size) {
  char digits[24];
  if (size < 4 || size - 3 >= sizeof digits || memcmp(tag, "\"r", 2) != 0 || tag[size - 1] != '"') return 0;
  memcpy(digits, tag + 2, size - 3);
  digits[size - 3] = 0;
  return entry_version_of(digits);
}

static bool add_revision(struct registry_condition *c, uint64_t revision, struct gw_error *err) {
  enum { MOST = sizeof c->revisions / sizeof *c->revisions };
  if (c->n_revisions == MOST) return error_set(err, GW_ERROR_REQUEST, "If-Match has at most %d tags", MOST);
  c->revisions[c->n_revisions++] = revision;
  return true;
}

static bool read_tags(const char *text, struct registry_condition *c, struct gw_error *err) {
  if (strcmp(text, "*") == 0) return c->must_exist = true;
  for (;;) {
    text += strspn(text, " \t");
    size_t size = strcspn(text, ", \t");
    if (!size) return error_set(err, GW_ERROR_REQUEST, "If-Match is a list of tags, or *");
    if (!add_revision(c, revision_of(text, size), err)) return false;
    text += size + strspn(text + size, " \t");
    if (!*text) return true;
    if (*text++ != ',') return error_set(err, GW_ERROR_REQUEST, "If-Match is a list of tags, or *");
  }
}

bool control_read_condition(const struct request *r, struct registry_condition *c, struct gw_error *err) {
  *c = (struct registry_condition){0};
  for (uint32_t i = 0; i < r->n_headers; i++) {
    const struct handler_header *h = &r->headers[i];
    if (strcasecmp(h->name, "If-Match") == 0 && !read_tags(h->value, c, err)) return false;
    if (strcasecmp(h->name, "If-None-Match") != 0) continue;
    if (strcmp(h->value, "*") != 0) return error_set(err, GW_ERROR_REQUEST, "If-None-Match can be * here, and nothing else");
    c->must_be_new = true;
  }
  return true;
}

/* --- changing ----------------------------------------------------------------------------------------------------- */

/* What the live version was before, where its module can be read still. */
static void tell_changes(struct control_task *task, struct function *before) {
  if (before && registry_load(task->registry, before))
    cJSON_AddItemToObject(task->json, "changes", summary_of_changes(before, task->function));
}

struct census {
  const char *tenant;
  uint64_t n;
};

static void count_one(void *arg, const struct entry *entry) {
  struct census *census = arg;
  census->n += function_is_of(entry->name, census->tenant);
}

/* Whether the tenant may have `more` functions than there are. */
static bool may_have(struct control_task *task, uint64_t more) {
  struct account_view view;
  struct census census = {.tenant = task->tenant};
  if (!task->usage) return true;
  account_look(usage_account(task->usage, task->name), &view);
  if (!view.budget.functions) return true;
  registry_each(task->registry, count_one, &census);
  return census.n + more <= view.budget.functions || error_set(&task->error, GW_ERROR_LIMIT, "tenant %s may have %llu functions",
                                                               task->tenant, (unsigned long long)view.budget.functions);
}

/* Two may have been deployed at once, where one was allowed. */
static bool keep_new(struct control_task *task) {
  if (!task->function || !task->outcome.is_new || may_have(task, 0)) return true;
  registry_delete(task->registry, task->name, false, &(struct gw_error){0});
  return false;
}

/* Whether the new version does what the live one did. */
static bool pass_gate(struct control_task *task, const struct function *before, cJSON **summary) {
  const struct loop *loop = task->exchange->loop;
  struct gate gate = {.engine = loop->engine,
                      .receipts = loop->receipts,
                      .inputs = loop->inputs,
                      .registry = task->registry,
                      .usage = task->usage,
                      .limits = loop->limits,
                      .tenant = task->tenant,
                      .tenure = access_tenure(task->access, task->tenant),
                      .before = before,
                      .bytes = task->body.bytes,
                      .size = task->body.size,
                      .most = task->gate,
                      .gas_percent = task->gate_gas,
                      .may_be_empty = task->gate_may_be_empty,
                      .is_ending = loop->is_draining};
  return !task->gate || gate_pass(&gate, summary, &task->error);
}

static void put_work(uv_work_t *work) {
  struct control_task *task = work->data;
  struct function *before = registry_find(task->registry, task->name);
  if (!before)
    log_store_remove(task->logs, task->name); /* what invocations of an earlier one have left is not for this one's owner */
  task->wish.bytes = task->body.bytes;
  task->wish.size = task->body.size;
  cJSON *gate = NULL;
  if (pass_gate(task, before, &gate) && (before || may_have(task, 1)))
    task->function = registry_put(task->registry, task->name, &task->wish, &task->outcome, &task->error);
  if (!keep_new(task)) {
    /* the error says why */
  } else if (task->function && access_has_tenant(task->access, task->tenant)) {
    task->ok = true;
    task->json = summary_of_version(task->function);
    tell_changes(task, before);
    if (gate) cJSON_AddItemToObject(task->json, "gate", gate);
    gate = NULL;
  } else if (task->function) {
    /* deleted meanwhile: whoever did that may have looked for functions before this one was there */
    registry_delete(task->registry, task->name, true, &(struct gw_error){0});
    error_set(&task->error, GW_ERROR_NOT_FOUND, "no tenant is called %s", task->tenant);
  }
  cJSON_Delete(gate);
  function_release(before);
}

/* A trap here is one of the module's start function: the module's fault, not the server's. */
static void put_failed(struct exchange *x, const struct control_task *task) {
  const struct gw_error *err = &task->error;
  if (err->code != GW_ERROR_TRAP) {
    reply_error(x, err, task->name, NULL, NULL);
    return;
  }
  reply_problem(x, PROBLEM(.status = 422, .title = gw_error_title(err->code), .detail = err->message, .function = task->name,
                           .trap = gw_trap_message(err->trap)));
}

static void put_done(uv_work_t *work, int status) {
  struct control_task *task = work->data;
  struct exchange *x = task->exchange;
  (void)status;
  x->loop->body_bytes -= task->body.size;
  if (task->ok)
    reply_tagged_json(x, task->outcome.is_new ? 201 : 200, task->outcome.revision, task->json);
  else
    put_failed(x, task);
  control_destroy(task);
}

static const char *const no_yes_access[] = {"public", "private", NULL}, *const off_on[] = {"off", "on", NULL},
                         *const fail_pass[] = {"fail", "pass", NULL};

static bool take_alias(const struct query_part *part, struct registry_wish *wish) {
  if (!entry_alias_is_valid(part->word, part->word_size)) return false;
  memcpy(wish->alias, part->word, part->word_size);
  wish->alias[part->word_size] = 0;
  return true;
}

/* A setting; a group without a name is none. */
static bool take_setting(const struct query_part *part, cJSON *patch) {
  int word = query_is(part, "read_only_get") ? query_word(part, off_on) : -1;
  char name[FUNCTION_MAX_NAME + 1] = "";
  if (word >= 0) return cJSON_AddBoolToObject(patch, "read_only_get", word == 1);
  if (!query_is(part, "state_group") || part->word_size >= sizeof name) return false;
  memcpy(name, part->word, part->word_size);
  return *name ? cJSON_AddStringToObject(patch, "state_group", name) : cJSON_AddNullToObject(patch, "state_group");
}

/* Decimal digits, up to `most`. */
static bool take_count(const struct query_part *part, const char *name, uint32_t most, uint32_t *out) {
  uint64_t n = 0;
  if (!query_is(part, name) || !part->word_size || part->word_size > 9) return false;
  for (size_t i = 0; i < part->word_size; i++) {
    if (part->word[i] < '0' || part->word[i] > '9') return false;
    n = n * 10 + (uint64_t)(part->word[i] - '0');
  }
  *out = (uint32_t)n;
  return n <= most;
}

/* "access=private&backtraces=on&alias=beta&state_group=shop&read_only_get=on". */
static bool take_wish(struct control_task *task) {
  struct registry_wish *wish = &task->wish;
  struct function_choice *choice = &wish->choice;
  struct query_part part;
  const char *query = task->exchange->request.query;
  task->patch = cJSON_CreateObject();
  wish->settings = task->patch;
  while (query_next(&query, &part)) {
    int access = query_is(&part, "access") ? query_word(&part, no_yes_access) : -1;
    int backtraces = query_is(&part, "backtraces") ? query_word(&part, off_on) : -1;
    int empty = query_is(&part, "gate-empty") ? query_word(&part, fail_pass) : -1;
    bool is_other = (query_is(&part, "alias") && take_alias(&part, wish)) || take_setting(&part, task->patch) ||
                    take_count(&part, "gate", GATE_MOST, &task->gate) || take_count(&part, "gate-gas", 1000000, &task->gate_gas);
    if (access < 0 && backtraces < 0 && empty < 0 && !is_other) return false;
    if (empty >= 0) task->gate_may_be_empty = empty == 1;
    if (access >= 0) choice->has_private = true, choice->config.is_private = access == 1;
    if (backtraces >= 0) choice->has_backtraces = true, choice->config.shows_backtraces = backtraces == 1;
  }
  if (!task->patch->child) wish->settings = NULL;
  return true;
}

static bool pay(struct control_task *task, const struct toll *toll) {
  struct problem why = {0};
  struct exchange *x = task->exchange;
  if (toll_allows(x->loop, task->tenant, &why)) {
    toll_take(x->loop, task->tenant, toll);
    return true;
  }
  control_destroy(task);
  reply_problem(x, &why);
  return false;
}

bool control_pay_again(struct control_task *task) {
  const struct pool *pool = pool_find(task->exchange->loop, task->name);
  return pay(task, &(struct toll){.bytes = pool ? pool->function->size : 0});
}

/* For the module that comes with a deployment. */
static bool pay_for_body(struct control_task *task) {
  struct toll toll = toll_of(task->exchange->request.body.bytes, task->exchange->request.body.size);
  return pay(task, &toll);
}

void route_put(struct exchange *x, const struct place *place) {
  struct control_task *task = control_create(x, place);
  if (!take_wish(task)) {
    error_set(&task->error, GW_ERROR_REQUEST,
              "the parameters of PUT are access=public|private, backtraces=on|off, alias=NAME, state_group=NAME, "
              "read_only_get=on|off, gate=0 to 100000, gate-gas=PERCENT and gate-empty=fail|pass");
    control_refuse(task);
  } else if (!control_read_condition(&x->request, &task->wish.condition, &task->error)) {
    control_refuse(task);
  } else if (pay_for_body(task)) {
    task->body = x->request.body; /* the task takes it over, and its share of body_bytes */
    x->request.body = (struct buffer){0};
    control_start(task, put_work, put_done);
  }
}

/* --- settings ----------------------------------------------------------------------------------------------------- */

/* "access" and "backtraces" are no settings of invocations: they go to the wish. */
static bool take_word(cJSON *patch, const char *name, const char *const *words, bool *has, bool *is_second,
                      struct gw_error *err) {
  cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(patch, name);
  const char *word = cJSON_GetStringValue(item);
  bool ok = !item || (word && (strcmp(word, words[0]) == 0 || strcmp(word, words[1]) == 0));
  *has = item != NULL;
  *is_second = word && strcmp(word, words[1]) == 0;
  if (!ok) error_set(err, GW_ERROR_REQUEST, "%s is %s or %s", name, words[0], words[1]);
  cJSON_Delete(item);
  return ok;
}

static bool take_patch(struct control_task *task) {
  const struct request *r = &task->exchange->request;
  struct function_choice *choice = &task->wish.choice;
  struct gw_error *err = &task->error;
  struct query_part part;
  const char *query = r->query;
  while (query_next(&query, &part))
    if (!query_is(&part, "alias") || !take_alias(&part, &task->wish))
      return error_set(err, GW_ERROR_REQUEST, "the only parameter of PATCH is alias=NAME");
  task->patch = body_parse(r, err);
  return task->patch && control_read_condition(r, &task->wish.condition, err) &&
         take_word(task->patch, "access", no_yes_access, &choice->has_private, &choice->config.is_private, err) &&
         take_word(task->patch, "backtraces", off_on, &choice->has_backtraces, &choice->config.shows_backtraces, err);
}

static void configure_work(uv_work_t *work) {
  struct control_task *task = work->data;
  task->function = registry_configure(task->registry, task->name, &task->wish, task->patch, &task->outcome, &task->error);
  task->ok = task->function != NULL;
  if (task->ok) task->json = summary_of_version(task->function);
}

void route_configure(struct exchange *x, const struct place *place) {
  struct control_task *task = control_create(x, place);
  if (!take_patch(task))
    control_refuse(task);
  else if (control_pay_again(task))
    control_start(task, configure_work, put_done);
}

static void lift_work(uv_work_t *work) {
  struct control_task *task = work->data;
  task->ok = registry_lift(task->registry, task->name, &task->error);
}

void route_lift(struct exchange *x, const struct place *place) {
  control_start(control_create(x, place), lift_work, control_done);
}

static void delete_work(uv_work_t *work) {
  struct control_task *task = work->data;
  task->ok = registry_delete(task->registry, task->name, task->with_state, &task->error);
  if (task->ok) log_store_remove(task->logs, task->name);
}

void route_delete(struct exchange *x, const struct place *place) {
  const char *query = x->request.query;
  struct control_task *task = control_create(x, place);
  task->with_state = strcmp(query, "state=delete") == 0;
  if (*query && !task->with_state) {
    error_set(&task->error, GW_ERROR_REQUEST, "the only parameter of DELETE is state=delete");
    control_refuse(task);
  } else {
    control_start(task, delete_work, control_done);
  }
}

static void drop_group_work(uv_work_t *work) {
  struct control_task *task = work->data;
  task->ok = registry_drop_group(task->registry, task->name, &task->error);
}

void route_drop_group(struct exchange *x, const struct place *place) {
  control_start(control_create(x, place), drop_group_work, control_done);
}
