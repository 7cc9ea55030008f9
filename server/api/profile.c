/* ANY /v1/functions/NAME/profile/...: the call that /f/NAME/... would be, answered by where its gas goes. */
#include "server/api/control.h"
#include "server/api/query.h"

#include "base/error.h"
#include "server/http/reply.h"
#include "server/invoke/flame.h"
#include "server/invoke/invoke.h"
#include "server/loop/loop.h"

#include <string.h>

/* On a worker thread: the module is decoded and validated again. */
static void load_work(uv_work_t *work) {
  struct control_task *task = work->data;
  struct function *live = registry_find(task->registry, task->name);
  if (!live)
    error_set(&task->error, GW_ERROR_NOT_FOUND, "no function is called %s", task->name);
  else if (function_quarantine(live))
    error_set(&task->error, GW_ERROR_UNAVAILABLE, "the function is in quarantine");
  else
    task->function = registry_load_watched(task->registry, live, &task->watching, &task->error);
  function_release(live);
}

static void refuse_more(struct exchange *x) {
  reply_problem(x, PROBLEM(.status = 503, .detail = "as many profiles are being made as may be at one time", .retry_after = 1));
}

static void load_done(uv_work_t *work, int status) {
  struct control_task *task = work->data;
  struct exchange *x = task->exchange;
  (void)status;
  struct flame *flame = task->function ? flame_create(task->watching, task->function) : NULL;
  if (!task->function) {
    control_refuse(task);
    return;
  }
  if (flame) task->function = NULL;
  control_destroy(task);
  if (flame)
    invoke_profile(x, flame);
  else
    refuse_more(x);
}

/* The function sees the target that a call would have. */
static void name_target(struct request *r, const char *full_name, const char *rest) {
  char path[FUNCTION_PATH_SIZE];
  const char *query = strchr(r->target, '?');
  r->target = arena_format(&r->arena, "%s%s%s", function_path(full_name, path), rest, query ? query : "");
}

void route_profile(struct exchange *x, const struct place *place) {
  struct request *r = &x->request;
  if (!flame_may_begin()) {
    refuse_more(x);
    return;
  }
  struct control_task *task = control_create(x, place);
  name_target(r, task->name, place->rest);
  if (!query_percent_decode(place->rest)) {
    control_destroy(task);
    reply_problem(x, PROBLEM(.status = 400, .detail = "the path holds a broken percent escape"));
    return;
  }
  if (!control_pay_again(task)) return;
  memcpy(r->address, task->name, strlen(task->name) + 1);
  r->rest = place->rest;
  control_start(task, load_work, load_done);
}
