/* What the control plane's requests about one function have in common: a task, done on a worker thread of libuv. */
#ifndef SERVER_API_CONTROL_H
#define SERVER_API_CONTROL_H

#include "server/api/route.h"
#include "server/function/registry.h"

#include <cjson/cJSON.h>
#include <uv.h>

struct control_task {
  uv_work_t work;
  struct exchange *exchange;
  struct registry *registry;
  struct access *access;
  struct log_store *logs;
  struct usage *usage; /* NULL: none is kept */
  char tenant[ACCESS_MAX_NAME + 1];
  char name[FUNCTION_MAX_FULL_NAME + 1]; /* full */
  char word[FUNCTION_MAX_NAME + 1];      /* an alias or a version */
  struct registry_wish wish;
  struct entry_alias alias;
  struct buffer body;
  cJSON *patch; /* of settings */
  bool with_state, ok;
  bool gate_may_be_empty;  /* the gate is passed where it has nothing to compare */
  uint32_t gate, gate_gas; /* invocations that the new version must pass, and how much more gas it may use, in percent */
  struct registry_outcome outcome;
  struct gw_engine *watching; /* of `function`, where it is to be profiled */
  struct function *function;  /* deployed */
  cJSON *json;                /* the answer */
  char *text;                 /* likewise, where it may be long: printed already, NULL-terminated */
  uint64_t revision;          /* of that */
  struct gw_error error;
};

struct control_task *control_create(struct exchange *x, const struct place *place);
void control_destroy(struct control_task *task);
/* `work` runs on a worker thread, `done` answers and destroys the task. */
void control_start(struct control_task *task, uv_work_cb work, uv_after_work_cb done);
/* For `done`: 204, or the task's error. */
void control_done(uv_work_t *work, int status);
/* The same for answers that may be long: `work` prints them with this one, which consumes `json`; `done` sends them, or 404 where
 * nothing was printed. */
void control_print(struct control_task *task, cJSON *json);
void control_printed(uv_work_t *work, int status);
/* Answers by the error that the task has, and destroys it. */
void control_refuse(struct control_task *task);
/* The function as it is now, or 404. */
void control_show(struct exchange *x, const char *name);

/* The tenant pays for the function's module to be decoded again. False: it may not now, which was answered, and the task is gone.
 */
bool control_pay_again(struct control_task *task);

/* If-Match and If-None-Match (RFC 9110 section 13.1), of requests that change something. GW_ERROR_REQUEST for what is none. */
bool control_read_condition(const struct request *request, struct registry_condition *condition, struct gw_error *err);

#endif
