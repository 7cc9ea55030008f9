/* gasworks logs: what a function has logged, and how its requests failed. */
#include "cli/cli.h"

#include "base/error.h"
#include "cli/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WAIT_S = 20 };

struct logs {
  struct client client;
  const char *name;
  uint32_t lines;
  bool follows, is_json, is_new;
};

static void show_line(const cJSON *line, bool has_colours) {
  bool is_failure = strcmp(client_text(line, "kind"), "log") != 0;
  printf("%s %s v%.0f ", client_text(line, "time"), client_text(line, "request"), client_number(line, "version"));
  if (is_failure && has_colours) printf("\033[31m");
  if (cJSON_GetObjectItem(line, "status")) printf("%.0f ", client_number(line, "status"));
  fputs(client_text(line, "text"), stdout);
  if (is_failure && has_colours) printf("\033[0m");
  printf("%s\n", cJSON_IsTrue(cJSON_GetObjectItem(line, "is_cut")) ? "... (cut)" : "");
}

static void show(const struct logs *l, const cJSON *json) {
  const cJSON *line;
  bool has_colours = isatty(STDOUT_FILENO);
  cJSON_ArrayForEach(line, cJSON_GetObjectItem(json, "lines")) {
    if (l->is_json)
      cli_print_json(cJSON_Duplicate(line, true), false);
    else
      show_line(line, has_colours);
  }
  fflush(stdout);
}

/* Those behind `*after`, which becomes the last one's number. */
static bool fetch(const struct logs *l, double *after, struct client_reply *reply, struct gw_error *err) {
  char path[400];
  snprintf(path, sizeof path, "/v1/functions/%.255s/logs?after=%.0f&limit=%u&wait=%d", l->name, *after, l->lines,
           l->follows && *after > 0 ? WAIT_S : 0);
  struct client_request request = {.client = &l->client, .method = "GET", .path = path};
  if (!client_ask(&request, reply, err)) return false;
  cJSON *json = client_json(reply, !l->is_json);
  if (!l->is_new || *after > 0) show(l, json);
  *after = client_number(json, "next");
  cJSON_Delete(json);
  return true;
}

/* Where nothing was logged yet there is no number to wait behind: 1 is before all. */
static int follow(struct logs *l) {
  double after = 0;
  for (;;) {
    struct client_reply reply = {0};
    struct gw_error err = {0};
    bool ok = fetch(l, &after, &reply, &err);
    if (!ok || !l->follows || ferror(stdout)) return client_finish(ok, &reply, &err);
    client_reply_clear(&reply);
    if (after == 0) after = 1;
    l->lines = 10000;
  }
}

int cli_logs(int argc, char **argv) {
  struct logs l = {.client = client_default(), .lines = 100};
  const struct cli_option options[] = {
      CLIENT_OPTIONS(&l.client),
      {"follow", 'f', CLI_FLAG, &l.follows, NULL, "go on as lines come, until interrupted"},
      {"new", 0, CLI_FLAG, &l.is_new, NULL, "with --follow, only what comes from now on"},
      {"lines", 'n', CLI_U32, &l.lines, "N", "the last N lines, 10000 at most; 100 unless told"},
      {"json", 0, CLI_FLAG, &l.is_json, NULL, "each line as JSON"},
  };
  static const struct cli_range ranges[] = {{"lines", 1, 10000}, {0}};
  const struct cli_command command = {
      .name = "logs",
      .arguments = "NAME",
      .description = "Shows what the function NAME has logged, where it trapped and how its requests failed: time, request,\n"
                     "version, and the text.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .ranges = ranges,
      .min_operands = 1,
      .max_operands = 1,
  };
  int exit_code;
  struct gw_error err = {0};
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  l.name = argv[0];
  if (!client_check_name(l.name, false, &err)) return cli_fail(&err);
  return follow(&l);
}
