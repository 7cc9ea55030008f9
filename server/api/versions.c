/* The control plane: versions of a function, and the aliases that lead to them. */
#include "base/error.h"
#include "server/api/body.h"
#include "server/api/control.h"
#include "server/api/summary.h"
#include "server/http/reply.h"
#include "server/loop/loop.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- versions ----------------------------------------------------------------------------------------------------- */

/* Of many versions with their settings: some megabytes at most. */
static void list_work(uv_work_t *work) {
  struct control_task *task = work->data;
  struct entry *entry = registry_entry(task->registry, task->name);
  if (!entry) return;
  cJSON *json = cJSON_CreateObject(), *array = cJSON_AddArrayToObject(json, "versions");
  for (size_t i = entry->n_versions; i-- > 0;) cJSON_AddItemToArray(array, summary_of_version(entry->versions[i]));
  cJSON_AddItemToObject(json, "aliases", summary_of_aliases(entry));
  task->revision = entry->revision;
  entry_destroy(entry);
  control_print(task, json);
}

void route_list_versions(struct exchange *x, const struct place *place) {
  control_start(control_create(x, place), list_work, control_printed);
}

/* --- aliases ------------------------------------------------------------------------------------------------------ */

static const char WHY_VERSION[] = "version is the number of one, or \"previous\"";
static const char WHY_CANARY[] = "canary is the number of a version, and percent from 0.01 to 99.99 says how many calls it gets";

static bool bad(struct gw_error *err, const char *why) { return error_set(err, GW_ERROR_REQUEST, "%s", why); }

/* 0: it is none. */
static uint64_t version_of(const cJSON *item) {
  double n = cJSON_IsNumber(item) ? item->valuedouble : 0;
  return n >= 1 && n < 9e15 && n == floor(n) ? (uint64_t)n : 0;
}

static bool take_version(const cJSON *item, struct entry_alias *alias, struct gw_error *err) {
  bool is_previous = cJSON_IsString(item) && strcmp(item->valuestring, "previous") == 0;
  alias->version = is_previous ? REGISTRY_PREVIOUS : version_of(item);
  return alias->version || bad(err, WHY_VERSION);
}

static bool take_canary(const cJSON *canary, const cJSON *percent, struct entry_alias *alias, struct gw_error *err) {
  if (!canary && !percent) return true;
  double share = cJSON_IsNumber(percent) ? percent->valuedouble * ENTRY_WHOLE / 100 : 0;
  alias->canary = version_of(canary);
  if (!alias->canary || !(share >= 1 && share <= ENTRY_WHOLE - 1)) return bad(err, WHY_CANARY);
  alias->share = (uint32_t)lround(share);
  return true;
}

static bool take_alias(struct control_task *task) {
  static const char *const known[] = {"version", "canary", "percent", NULL};
  const struct request *r = &task->exchange->request;
  struct gw_error *err = &task->error;
  if (!entry_alias_is_valid(task->word, strlen(task->word))) return bad(err, "an alias begins with a letter");
  memcpy(task->alias.name, task->word, sizeof task->alias.name);
  cJSON *json = body_parse(r, err);
  bool ok = json && body_check_keys(json, known, err) &&
            take_version(cJSON_GetObjectItemCaseSensitive(json, "version"), &task->alias, err) &&
            take_canary(cJSON_GetObjectItemCaseSensitive(json, "canary"), cJSON_GetObjectItemCaseSensitive(json, "percent"),
                        &task->alias, err) &&
            control_read_condition(r, &task->wish.condition, err);
  cJSON_Delete(json);
  return ok;
}

static void set_work(uv_work_t *work) {
  struct control_task *task = work->data;
  task->ok = registry_set_alias(task->registry, task->name, &task->alias, &task->wish.condition, &task->error);
}

static void set_done(uv_work_t *work, int status) {
  struct control_task *task = work->data;
  (void)status;
  if (!task->ok) {
    control_refuse(task);
    return;
  }
  control_show(task->exchange, task->name);
  control_destroy(task);
}

void route_set_alias(struct exchange *x, const struct place *place) {
  struct control_task *task = control_create(x, place);
  if (take_alias(task))
    control_start(task, set_work, set_done);
  else
    control_refuse(task);
}

/* --- taking away -------------------------------------------------------------------------------------------------- */

static void remove_work(uv_work_t *work) {
  struct control_task *task = work->data;
  task->ok = registry_remove(task->registry, task->name, task->word, &task->wish.condition, &task->error);
}

static void remove_word(struct control_task *task) {
  if (control_read_condition(&task->exchange->request, &task->wish.condition, &task->error))
    control_start(task, remove_work, control_done);
  else
    control_refuse(task);
}

void route_drop_alias(struct exchange *x, const struct place *place) {
  struct control_task *task = control_create(x, place);
  if (entry_alias_is_valid(task->word, strlen(task->word))) {
    remove_word(task);
    return;
  }
  bad(&task->error, "an alias begins with a letter");
  control_refuse(task);
}

void route_drop_version(struct exchange *x, const struct place *place) {
  struct control_task *task = control_create(x, place);
  if (entry_version_of(task->word)) {
    remove_word(task);
    return;
  }
  bad(&task->error, "a version is a number");
  control_refuse(task);
}
