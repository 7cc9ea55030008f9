/* gasworks usage: what functions have used. */
#include "cli/cli.h"

#include "base/error.h"
#include "cli/client.h"

#include <stdio.h>
#include <string.h>

struct usage_verb {
  struct client client;
  const char *from, *to, *by, *function; /* NULL: not given */
  bool is_json, is_csv, is_focus;
};

/* What a query needs no escapes for, and whatever stands in it goes to the server, which says what is wrong. */
static bool add_part(struct buffer *path, const char *key, const char *word, struct gw_error *err) {
  if (!word) return true;
  if (strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789_-,") != strlen(word) || !*word)
    return error_set(err, GW_ERROR_USAGE, "--%s cannot be %.80s", key, *word ? word : "empty");
  buffer_format(path, "%c%s=%s", memchr(path->bytes, '?', path->size) ? '&' : '?', key, word);
  return true;
}

static const char *const columns[] = {"requests", "failures", "gas", "cpu_ns", "rent", "bytes_out", NULL};

static void print_number(double n, int width) {
  static const char units[] = " kMGTPE";
  int i = 0;
  char text[32];
  for (; n >= 99999.5 && units[i + 1]; i++) n /= 1000;
  snprintf(text, sizeof text, i ? "%.1f%c" : "%.0f", n, units[i]);
  printf(" %*s", width, text);
}

static void print_row(const cJSON *row, const char *by) {
  char name[160];
  bool has_tenant = cJSON_GetObjectItem(row, "tenant"), has_name = cJSON_GetObjectItem(row, "function");
  snprintf(name, sizeof name, "%s%s%s", has_tenant ? client_text(row, "tenant") : "", has_tenant && has_name ? "/" : "",
           has_name ? client_text(row, "function") : "");
  printf("%-10s %-32s", cJSON_GetObjectItem(row, "day") ? client_text(row, "day") : by, name);
  if (cJSON_GetObjectItem(row, "version"))
    printf(" %7.0f", client_number(row, "version"));
  else
    printf(" %7s", "");
  for (int i = 0; columns[i]; i++) print_number(client_number(row, columns[i]), 9);
  printf("\n");
}

static void print_table(const struct client_reply *reply) {
  cJSON *json = client_json(reply, true);
  const cJSON *row;
  printf("%-10s %-32s %7s %9s %9s %9s %9s %9s %9s\n", "DAY", "FUNCTION", "VERSION", "REQUESTS", "FAILURES", "GAS", "CPU NS",
         "BYTE-S", "BYTES OUT");
  cJSON_ArrayForEach(row, cJSON_GetObjectItem(json, "rows")) print_row(row, "");
  print_row(cJSON_GetObjectItem(json, "total"), "total");
  cJSON_Delete(json);
}

static bool ask(const struct usage_verb *v, struct client_reply *reply, struct gw_error *err) {
  struct buffer path = {0};
  buffer_append_string(&path, "/v1/usage");
  bool ok = add_part(&path, "from", v->from, err) && add_part(&path, "to", v->to, err) && add_part(&path, "by", v->by, err) &&
            add_part(&path, "function", v->function, err) &&
            add_part(&path, "format",
                     v->is_csv     ? "csv"
                     : v->is_focus ? "focus"
                                   : NULL,
                     err);
  buffer_append(&path, "", 1);
  struct client_request request = {.client = &v->client, .method = "GET", .path = (const char *)path.bytes};
  ok = ok && client_ask(&request, reply, err);
  buffer_clear(&path);
  if (!ok) return false;
  if (v->is_csv || v->is_focus || v->is_json) /* as it came: its numbers have more digits than a double */
    printf("%s%s", (const char *)reply->body.bytes, v->is_json ? "\n" : "");
  else
    print_table(reply);
  return true;
}

int cli_usage(int argc, char **argv) {
  struct usage_verb v = {.client = client_default()};
  const struct cli_option options[] = {
      CLIENT_OPTIONS(&v.client),
      {"from", 0, CLI_TEXT, &v.from, "DATE", "from this day on, as 2026-11-30, in UTC; the first of this month unless told"},
      {"to", 0, CLI_TEXT, &v.to, "DATE", "up to this day, which is included; today unless told"},
      {"by", 0, CLI_TEXT, &v.by, "WORD,...", "a row for each tenant, function, version and day: which of these; all unless told"},
      {"function", 0, CLI_TEXT, &v.function, "NAME", "of this function alone"},
      {"csv", 0, CLI_FLAG, &v.is_csv, NULL, "comma-separated values, with a line of names first"},
      {"focus", 0, CLI_FLAG, &v.is_focus, NULL, "what it costs, in the columns of FOCUS 1.2, as comma-separated values"},
      CLIENT_JSON_OPTION(&v.is_json),
  };
  const struct cli_command command = {
      .name = "usage",
      .arguments = "",
      .description = "Shows what functions have used, by day and version: requests, gas, CPU time, byte-seconds of state and\n"
                     "bytes of replies. It is the sum of receipts, up to the last reply.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 0,
      .max_operands = 0,
  };
  struct client_reply reply = {0};
  struct gw_error err = {0};
  int exit_code;
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  if (v.is_csv + v.is_focus + v.is_json > 1) return cli_misuse("usage", "--csv, --focus and --json exclude each other");
  return client_finish(ask(&v, &reply, &err), &reply, &err);
}
