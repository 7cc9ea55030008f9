/* What a tenant may use, and what is left of its balance (docs/usage.md). */
#include "base/error.h"
#include "base/heap.h"
#include "server/api/body.h"
#include "server/api/route.h"
#include "server/api/usage.h"
#include "server/function/registry.h"
#include "server/http/reply.h"
#include "server/loop/loop.h"
#include "server/usage/account.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The limits, by the words of JSON. */
static const struct {
  const char *word;
  size_t at;
} limits[] = {{"gas_per_second", offsetof(struct budget, gas_per_second)},
              {"concurrency", offsetof(struct budget, concurrency)},
              {"functions", offsetof(struct budget, functions)},
              {"memory", offsetof(struct budget, memory)},
              {"storage", offsetof(struct budget, storage)}};

enum { N_LIMITS = sizeof limits / sizeof *limits };

static uint64_t *limit_of(struct budget *budget, size_t i) { return (uint64_t *)(void *)((char *)budget + limits[i].at); }

/* A change under way. */
struct change {
  uv_work_t work;
  struct exchange *exchange;
  struct usage *usage;
  char tenant[ACCESS_MAX_NAME + 1];
  struct budget budget; /* what it says, of what is given */
  bool has_limit[N_LIMITS], has_credit;
  struct gw_error error;
};

/* --- as JSON ------------------------------------------------------------------------------------------------------ */

static void add_cost(cJSON *json, const char *name, cost amount) {
  struct buffer text = {0};
  price_append_cost(&text, amount);
  buffer_append(&text, "", 1);
  cJSON_AddStringToObject(json, name, (const char *)text.bytes);
  buffer_clear(&text);
}

static void add_balance(cJSON *json, const struct account_view *view, const struct prices *prices) {
  const struct budget *b = &view->budget;
  cost credit = b->credit * COST_OF_MONEY;
  if (!b->has_credit) {
    cJSON_AddNullToObject(json, "credit");
    return;
  }
  add_cost(json, "credit", credit);
  add_cost(json, "spent", view->spent);
  add_cost(json, "left", credit > view->spent ? credit - view->spent : 0);
  cJSON_AddStringToObject(json, "currency", prices->currency);
}

static cJSON *budget_json(struct usage *usage, const char *tenant) {
  struct account_view view;
  char name[ACCESS_MAX_NAME + 2];
  snprintf(name, sizeof name, "%s/", tenant);
  account_look(usage_account(usage, name), &view);
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "tenant", tenant);
  for (size_t i = 0; i < N_LIMITS; i++) {
    uint64_t limit = *limit_of(&view.budget, i);
    if (limit)
      usage_add_exact(json, limits[i].word, limit);
    else
      cJSON_AddNullToObject(json, limits[i].word);
  }
  add_balance(json, &view, usage_prices(usage));
  usage_add_exact(json, "running", view.n_running);
  usage_add_exact(json, "bytes_stored", view.stored);
  cJSON *used = cJSON_AddObjectToObject(json, "used");
  for (int i = 0; i < PRICE_COUNT; i++) usage_add_exact(used, price_word(i), view.used.n[i]);
  return json;
}

static bool has_usage(struct exchange *x) {
  if (x->loop->usage) return true;
  reply_problem(x, PROBLEM(.status = 404, .detail = "no receipts are kept here, and without them there are no budgets"));
  return false;
}

void route_budget(struct exchange *x, const struct place *place) {
  if (has_usage(x)) reply_json(x, 200, budget_json(x->loop->usage, place->tenant));
}

/* --- a change ----------------------------------------------------------------------------------------------------- */

static bool take_limit(const cJSON *item, uint64_t *limit, struct gw_error *err) {
  const double most = 9007199254740992; /* 2^53: what a JSON number is exact to */
  bool ok = cJSON_IsNull(item) || (cJSON_IsNumber(item) && item->valuedouble >= 1 && item->valuedouble <= most &&
                                   item->valuedouble == (double)(uint64_t)item->valuedouble);
  *limit = cJSON_IsNumber(item) && ok ? (uint64_t)item->valuedouble : 0;
  return ok || error_set(err, GW_ERROR_REQUEST, "%.64s is a whole number from 1 to 2^53, or null: no limit", item->string);
}

static bool take_credit(struct change *change, const cJSON *item) {
  struct budget *b = &change->budget;
  const char *text = cJSON_GetStringValue(item);
  change->has_credit = true;
  b->has_credit = !cJSON_IsNull(item);
  b->credit = 0;
  if (!b->has_credit) return true;
  if (!text || !price_parse_money(text, &b->credit))
    return error_set(&change->error, GW_ERROR_REQUEST,
                     "credit is an amount as a string such as \"12.50\", with nine digits behind the point at most, or null");
  return !price_is_free(usage_prices(change->usage)) ||
         error_set(&change->error, GW_ERROR_REQUEST, "all is free on this server, so no credit is ever used: it has no --prices");
}

static bool take_member(struct change *change, const cJSON *item) {
  if (strcmp(item->string, "credit") == 0) return take_credit(change, item);
  for (size_t i = 0; i < N_LIMITS; i++) {
    if (strcmp(item->string, limits[i].word) != 0) continue;
    change->has_limit[i] = true;
    return take_limit(item, limit_of(&change->budget, i), &change->error);
  }
  return error_set(&change->error, GW_ERROR_REQUEST,
                   "%.64s is no part of a budget: those are credit, gas_per_second, concurrency, functions, memory and storage",
                   item->string);
}

static bool take_patch(struct change *change) {
  cJSON *json = body_parse(&change->exchange->request, &change->error), *item;
  bool ok = json != NULL;
  cJSON_ArrayForEach(item, json) ok = ok && take_member(change, item);
  cJSON_Delete(json);
  return ok;
}

static void edit(const void *arg, struct budget *budget) {
  const struct change *change = arg;
  struct budget given = change->budget;
  for (size_t i = 0; i < N_LIMITS; i++)
    if (change->has_limit[i]) *limit_of(budget, i) = *limit_of(&given, i);
  if (!change->has_credit) return;
  budget->has_credit = given.has_credit;
  budget->credit = given.credit;
}

static void work(uv_work_t *work) {
  struct change *change = work->data;
  usage_change_budget(change->usage, change->tenant, edit, change, &change->error);
}

static void done(uv_work_t *work, int status) {
  struct change *change = work->data;
  struct exchange *x = change->exchange;
  (void)status;
  if (change->error.code)
    reply_error(x, &change->error, NULL, NULL, NULL);
  else
    reply_json(x, 200, budget_json(change->usage, change->tenant));
  free(change);
}

void route_set_budget(struct exchange *x, const struct place *place) {
  if (!has_usage(x)) return;
  struct change *change = heap_new(1, sizeof *change);
  *change = (struct change){.work.data = change, .exchange = x, .usage = x->loop->usage};
  snprintf(change->tenant, sizeof change->tenant, "%s", place->tenant);
  if (take_patch(change)) {
    uv_queue_work(&x->loop->uv, &change->work, work, done);
    return;
  }
  reply_error(x, &change->error, NULL, NULL, NULL);
  free(change);
}
