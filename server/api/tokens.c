/* The control plane: tokens and tenants. Changes are durable before they are answered, on libuv's worker threads. */
#include "base/clock.h"
#include "base/error.h"
#include "base/heap.h"
#include "runtime/receipt/receipt.h"
#include "server/api/body.h"
#include "server/api/route.h"
#include "server/api/text.h"
#include "server/function/registry.h"
#include "server/http/reply.h"
#include "server/isolate/supervisor.h"
#include "server/loop/loop.h"
#include "server/usage/account.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SECONDS = 1000000000 };

_Static_assert((int)TENURE_LOG_SIZE == (int)RECEIPT_ID_SIZE, "a tenure names a log");

/* A change under way. */
struct change {
  uv_work_t work;
  struct exchange *exchange;
  struct access *access;
  struct registry *registry;
  struct usage *usage; /* NULL: there is none, and no log of receipts */
  struct receipt_log *receipts;
  struct supervisor *supervisor;
  char tenant[ACCESS_MAX_NAME + 1]; /* whose tokens; "": the server's */
  char name[ACCESS_MAX_NAME + 1];   /* the path's segment */
  struct token token;
  uint64_t grace_ms;
  char text[TOKEN_SIZE];
  bool is_new, is_used, ok;
  struct gw_error error;
};

static struct change *change_create(struct exchange *x, const struct place *place) {
  struct change *change = heap_new(1, sizeof *change);
  change->work.data = change;
  change->exchange = x;
  change->access = x->loop->access;
  change->registry = x->loop->registry;
  change->usage = x->loop->usage;
  change->receipts = x->loop->receipts;
  change->supervisor = x->loop->supervisor;
  snprintf(change->tenant, sizeof change->tenant, "%s", place->is_server ? "" : place->tenant);
  snprintf(change->name, sizeof change->name, "%s", place->name);
  return change;
}

static void change_destroy(struct change *change) {
  explicit_bzero(change->text, sizeof change->text);
  free(change);
}

static void start(struct change *change, uv_work_cb work, uv_after_work_cb done) {
  uv_queue_work(&change->exchange->loop->uv, &change->work, work, done);
}

/* What there is to say of it, or its error. */
static void end(struct change *change, uint32_t status, cJSON *json) {
  struct exchange *x = change->exchange;
  struct gw_error err = change->error;
  bool ok = change->ok;
  change_destroy(change);
  if (!ok)
    reply_error(x, &err, NULL, NULL, NULL);
  else if (json)
    reply_json(x, status, json);
  else
    reply_empty(x, status);
}

/* Whose tokens a request may see and change; NULL: all. */
static const char *owner(const struct change *change) { return *change->tenant ? change->tenant : NULL; }

/* --- tokens as JSON ----------------------------------------------------------------------------------------------- */

static cJSON *token_json(const struct token *token) {
  char time[TEXT_TIME_SIZE];
  const char *scope;
  uint32_t bit;
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "id", token->id);
  cJSON_AddStringToObject(json, "name", token->name);
  if (*token->who.tenant)
    cJSON_AddStringToObject(json, "tenant", token->who.tenant);
  else
    cJSON_AddNullToObject(json, "tenant");
  cJSON *scopes = cJSON_AddArrayToObject(json, "scopes");
  for (unsigned i = 0; (scope = access_scope_text(i, &bit)); i++)
    if (token->who.scopes & bit) cJSON_AddItemToArray(scopes, cJSON_CreateString(scope));
  cJSON_AddStringToObject(json, "created", text_time(token->created_ms, time));
  if (token->expires_ms)
    cJSON_AddStringToObject(json, "expires", text_time(token->expires_ms, time));
  else
    cJSON_AddNullToObject(json, "expires");
  return json;
}

struct listing {
  const char *tenant; /* NULL: all */
  cJSON *array;
};

static void list_token(void *arg, const struct token *token) {
  const struct listing *listing = arg;
  if (!listing->tenant || strcmp(token->who.tenant, listing->tenant) == 0)
    cJSON_AddItemToArray(listing->array, token_json(token));
}

void route_list_tokens(struct exchange *x, const struct place *place) {
  cJSON *json = cJSON_CreateObject();
  struct listing listing = {place->is_server ? NULL : place->tenant, cJSON_AddArrayToObject(json, "tokens")};
  access_each_token(x->loop->access, list_token, &listing);
  reply_json(x, 200, json);
}

/* --- what a request says ------------------------------------------------------------------------------------------ */

static bool bad(struct gw_error *err, const char *why) { return error_set(err, GW_ERROR_REQUEST, "%s", why); }

#define WHY_EXPIRES "expires_in is a number of seconds, from 0.001 to 1,000,000,000"

static bool take_seconds(const cJSON *json, const char *key, const char *why, uint64_t *ms, struct gw_error *err) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
  if (!item || cJSON_IsNull(item)) return true;
  if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= MAX_SECONDS)) return bad(err, why);
  *ms = (uint64_t)(item->valuedouble * 1000);
  return true;
}

static bool take_scopes(const cJSON *json, uint32_t *scopes, struct gw_error *err) {
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "scopes"), *item;
  *scopes = 0;
  if (!cJSON_IsArray(list)) list = NULL;
  cJSON_ArrayForEach(item, list) {
    uint32_t bit = cJSON_IsString(item) ? access_scope_find(item->valuestring) : 0;
    if (!bit) return bad(err, "scopes are admin, deploy, invoke, run and read");
    *scopes |= bit;
  }
  return *scopes || bad(err, "scopes wants a list of admin, deploy, invoke, run and read, with one at least");
}

static bool take_name(const cJSON *json, struct token *token, struct gw_error *err) {
  const cJSON *name = cJSON_GetObjectItemCaseSensitive(json, "name");
  if (!name) return true;
  if (!cJSON_IsString(name) || strlen(name->valuestring) > ACCESS_MAX_NAME) return bad(err, "name has at most 63 bytes");
  for (const char *c = name->valuestring; *c; c++) /* whose terminal it is shown on is another's */
    if (*c < ' ' || *c > '~') return bad(err, "name holds visible ASCII characters and spaces");
  snprintf(token->name, sizeof token->name, "%s", name->valuestring);
  return true;
}

/* --- changing tokens ---------------------------------------------------------------------------------------------- */

static bool parse_creation(struct change *change) {
  static const char *const known[] = {"name", "scopes", "expires_in", NULL};
  struct gw_error *err = &change->error;
  struct token *token = &change->token;
  uint64_t lifetime_ms = 0;
  cJSON *json = body_parse(&change->exchange->request, err);
  bool ok = json && body_check_keys(json, known, err) && take_name(json, token, err) &&
            take_scopes(json, &token->who.scopes, err) && take_seconds(json, "expires_in", WHY_EXPIRES, &lifetime_ms, err);
  const cJSON *given = cJSON_GetObjectItemCaseSensitive(json, "expires_in");
  if (ok && cJSON_IsNumber(given) && !lifetime_ms) ok = bad(err, WHY_EXPIRES); /* 0 would be for ever */
  cJSON_Delete(json);
  snprintf(token->who.tenant, sizeof token->who.tenant, "%s", change->tenant);
  if (lifetime_ms) token->expires_ms = clock_ns(CLOCK_REALTIME) / 1000000 + lifetime_ms;
  return ok;
}

/* The only time that the token itself leaves the server. */
static void token_done(uv_work_t *work, int status) {
  struct change *change = work->data;
  (void)status;
  cJSON *json = change->ok ? token_json(&change->token) : NULL;
  if (json) cJSON_AddStringToObject(json, "token", change->text);
  end(change, change->is_new ? 201 : 200, json);
}

static void create_token_work(uv_work_t *work) {
  struct change *change = work->data;
  change->is_new = change->ok = access_create_token(change->access, &change->token, change->text, &change->error);
}

void route_create_token(struct exchange *x, const struct place *place) {
  struct change *change = change_create(x, place);
  if (parse_creation(change))
    start(change, create_token_work, token_done);
  else
    end(change, 0, NULL);
}

static bool parse_rotation(struct change *change) {
  static const char *const known[] = {"grace", NULL};
  struct gw_error *err = &change->error;
  cJSON *json = body_parse(&change->exchange->request, err);
  bool ok = json && body_check_keys(json, known, err) &&
            take_seconds(json, "grace", "grace is a number of seconds, at most 1,000,000,000", &change->grace_ms, err);
  cJSON_Delete(json);
  return ok;
}

static void rotate_token_work(uv_work_t *work) {
  struct change *change = work->data;
  change->ok = access_rotate_token(change->access, owner(change), change->name, change->grace_ms, &change->token, change->text,
                                   &change->error);
}

void route_rotate_token(struct exchange *x, const struct place *place) {
  struct change *change = change_create(x, place);
  if (parse_rotation(change))
    start(change, rotate_token_work, token_done);
  else
    end(change, 0, NULL);
}

static void revoke_token_work(uv_work_t *work) {
  struct change *change = work->data;
  change->ok = access_revoke_token(change->access, owner(change), change->name, &change->error);
}

static void empty_done(uv_work_t *work, int status) {
  (void)status;
  end(work->data, 204, NULL);
}

void route_revoke_token(struct exchange *x, const struct place *place) {
  start(change_create(x, place), revoke_token_work, empty_done);
}

/* --- tenants ------------------------------------------------------------------------------------------------------ */

static cJSON *tenant_json(const char *name) {
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "name", name);
  return json;
}

static void list_tenant(void *array, const char *name, uint64_t created_ms) {
  char created[TEXT_TIME_SIZE];
  cJSON *json = tenant_json(name);
  cJSON_AddStringToObject(json, "created", text_time(created_ms, created));
  cJSON_AddItemToArray(array, json);
}

void route_list_tenants(struct exchange *x, const struct place *place) {
  cJSON *json = cJSON_CreateObject(), *array = cJSON_AddArrayToObject(json, "tenants");
  (void)place;
  cJSON_AddItemToArray(array, tenant_json(DEFAULT_TENANT)); /* which is always there */
  access_each_tenant(x->loop->access, list_tenant, array);
  reply_json(x, 200, json);
}

/* Where the history of a tenant begins that gets its name now: what the log has of that name, and all that was used under it, was
 * another's. Nothing of that one may be under way, because it would end behind the mark. */
static bool begin_tenure(struct change *change, struct tenure *tenure) {
  *tenure = (struct tenure){0};
  if (!change->usage || access_has_tenant(change->access, change->name)) return true;
  if (!usage_hand_over(change->usage, change->name, &change->error)) return false;
  snprintf(tenure->log, sizeof tenure->log, "%s", receipt_log_id(change->receipts));
  tenure->first = receipt_log_end(change->receipts);
  return true;
}

/* One at a time is made, or deleted, with all that belongs to it: what is done for a name that somebody has already, or again,
 * would take that one's usage, budget and functions. */
static pthread_mutex_t tenants = PTHREAD_MUTEX_INITIALIZER;

static bool create_tenant(struct change *change) {
  struct tenure tenure;
  pthread_mutex_lock(&tenants);
  bool ok = begin_tenure(change, &tenure) &&
            access_create_tenant(change->access, change->name, &tenure, &change->is_new, &change->error);
  pthread_mutex_unlock(&tenants);
  return ok;
}

static void create_tenant_work(uv_work_t *work) {
  struct change *change = work->data;
  change->ok =
      create_tenant(change) && (!change->supervisor || supervisor_start(change->supervisor, change->name, &change->error));
}

static void create_tenant_done(uv_work_t *work, int status) {
  struct change *change = work->data;
  (void)status;
  end(change, change->is_new ? 201 : 200, change->ok ? tenant_json(change->name) : NULL);
}

void route_create_tenant(struct exchange *x, const struct place *place) {
  start(change_create(x, place), create_tenant_work, create_tenant_done);
}

/* Names of functions, or of state that is kept, of one tenant. */
struct found {
  const char *tenant;
  size_t n;
  char (*names)[FUNCTION_MAX_FULL_NAME + 1];
  bool has_groups; /* functions share state, or have */
};

static void find_name(struct found *found, const char *name) {
  if (!function_is_of(name, found->tenant)) return;
  found->names = heap_resize(found->names, found->n + 1, sizeof *found->names);
  snprintf(found->names[found->n++], sizeof *found->names, "%s", name);
}

static void find_function(void *arg, const struct entry *entry) { find_name(arg, entry->name); }

static void find_kept(void *arg, const char *name) { find_name(arg, name); }

static void find_group(void *arg, const char *name, const char *members) {
  (void)name, (void)members;
  ((struct found *)arg)->has_groups = true;
}

/* A tenant of the name that comes later must not find what this one had. */
static bool find_all(struct change *change, struct found *found) {
  *found = (struct found){.tenant = change->name};
  found->has_groups = false;
  registry_each(change->registry, find_function, found);
  return registry_each_kept(change->registry, find_kept, found, &change->error) &&
         registry_each_group(change->registry, change->name, find_group, found, &change->error);
}

static bool delete_access(void *arg) {
  struct change *change = arg;
  return access_delete_tenant(change->access, change->name, &change->error);
}

/* Where the tenant has a process of its own, that knows. */
static void delete_isolated(struct change *change) {
  char path[ACCESS_MAX_NAME + 32];
  struct buffer list = {0};
  bool is_there = access_has_tenant(change->access, change->name);
  snprintf(path, sizeof path, "/t/%s/v1/functions", change->name);
  if (is_there && !supervisor_ask(change->supervisor, change->name, path, &list)) {
    error_set(&change->error, GW_ERROR_UNAVAILABLE, "the process of this tenant does not answer");
  } else {
    cJSON *json = is_there ? cJSON_Parse((const char *)list.bytes) : NULL;
    change->is_used = cJSON_GetArraySize(cJSON_GetObjectItem(json, "functions")) ||
                      cJSON_GetArraySize(cJSON_GetObjectItem(json, "kept_state")) ||
                      cJSON_GetArraySize(cJSON_GetObjectItem(json, "state_groups"));
    cJSON_Delete(json);
    change->ok = !change->is_used && supervisor_remove(change->supervisor, change->name, delete_access, change);
  }
  buffer_clear(&list);
}

static void delete_tenant(struct change *change) {
  struct found found, late = {0};
  change->ok = find_all(change, &found);
  change->is_used = change->ok && (found.n || found.has_groups) && access_has_tenant(change->access, change->name);
  change->ok = change->ok && !change->is_used && access_delete_tenant(change->access, change->name, &change->error);
  if (change->ok && change->usage) usage_forget_budget(change->usage, change->name, &(struct gw_error){0});
  if (change->ok) find_all(change, &late); /* what was being deployed meanwhile */
  for (size_t i = 0; i < late.n; i++) registry_delete(change->registry, late.names[i], true, &(struct gw_error){0});
  free(found.names);
  free(late.names);
}

static void delete_tenant_work(uv_work_t *work) {
  struct change *change = work->data;
  if (change->supervisor) {
    delete_isolated(change);
    return;
  }
  pthread_mutex_lock(&tenants);
  delete_tenant(change);
  pthread_mutex_unlock(&tenants);
}

static void delete_tenant_done(uv_work_t *work, int status) {
  struct change *change = work->data;
  struct exchange *x = change->exchange;
  (void)status;
  if (!change->is_used) {
    end(change, 204, NULL);
    return;
  }
  change_destroy(change);
  reply_problem(x, PROBLEM(.status = 409, .detail = "the tenant has functions, or state that deleted ones or groups have left: "
                                                    "delete them first, with their state"));
}

void route_delete_tenant(struct exchange *x, const struct place *place) {
  if (strcmp(place->name, DEFAULT_TENANT) == 0) {
    reply_problem(x, PROBLEM(.status = 409, .detail = "the tenant default is always there"));
    return;
  }
  start(change_create(x, place), delete_tenant_work, delete_tenant_done);
}
