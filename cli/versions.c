/* gasworks versions, alias, rollback: which version of a function its callers get. */
#include "cli/cli.h"

#include "base/error.h"
#include "cli/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_version(const char *text) {
  return *text && strlen(text) <= 15 && strspn(text, "0123456789") == strlen(text) && strtoull(text, NULL, 10);
}

/* What of the function, behind its name. */
static bool ask(const struct client *client, const char *method, const char *name, const char *what, const struct buffer *body,
                struct client_reply *reply, struct gw_error *err) {
  char path[400];
  static const char *const headers[] = {"Content-Type: application/json", NULL};
  if (!client_check_name(name, false, err)) return false;
  snprintf(path, sizeof path, "/v1/functions/%.255s%s", name, what);
  struct client_request request = {
      .client = client, .method = method, .path = path, .headers = body ? headers : NULL, .body = body};
  return client_ask(&request, reply, err);
}

/* --- versions ----------------------------------------------------------------------------------------------------- */

static void add_word(char *out, size_t size, const char *name, double percent) {
  size_t n = strlen(out);
  n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "", name);
  if (percent < 100 && n < size) snprintf(out + n, size - n, " %g%%", percent);
}

/* "live, beta 5%": the aliases that lead to the version. */
static const char *aliases_of(const cJSON *aliases, double version, char *out, size_t size) {
  const cJSON *alias;
  *out = 0;
  cJSON_ArrayForEach(alias, aliases) {
    double percent = client_number(alias, "percent");
    if (client_number(alias, "version") == version) add_word(out, size, client_text(alias, "alias"), 100 - percent);
    if (percent > 0 && client_number(alias, "canary") == version) add_word(out, size, client_text(alias, "alias"), percent);
  }
  return *out ? out : "-";
}

static void show_versions(const struct client_reply *reply, bool is_json) {
  char words[1024];
  cJSON *json = client_json(reply, !is_json);
  const cJSON *f, *aliases = cJSON_GetObjectItem(json, "aliases");
  if (is_json) {
    cli_print_json(json, false);
    return;
  }
  printf("%7s %10s %-9s %-7s %-20s %-16s %s\n", "VERSION", "BYTES", "INTERFACE", "ACCESS", "CREATED", "DIGEST", "ALIASES");
  cJSON_ArrayForEach(f, cJSON_GetObjectItem(json, "versions"))
      printf("%7.0f %10.0f %-9s %-7s %-20s %.16s %s\n", client_number(f, "version"), client_number(f, "size"),
             client_text(f, "interface"), client_text(f, "access"), client_text(f, "created"), client_text(f, "digest"),
             aliases_of(aliases, client_number(f, "version"), words, sizeof words));
  cJSON_Delete(json);
}

int cli_versions(int argc, char **argv) {
  struct client client = client_default();
  bool is_json = false;
  const struct cli_option options[] = {CLIENT_OPTIONS(&client), CLIENT_JSON_OPTION(&is_json)};
  const struct cli_command command = {
      .name = "versions",
      .arguments = "NAME",
      .description = "Lists the versions of the function NAME, the newest first, and the aliases that lead to them.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 1,
      .max_operands = 1,
  };
  int exit_code;
  struct client_reply reply = {0};
  struct gw_error err = {0};
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  bool ok = ask(&client, "GET", argv[0], "/versions", NULL, &reply, &err);
  if (ok) show_versions(&reply, is_json);
  return client_finish(ok, &reply, &err);
}

/* --- alias and rollback ------------------------------------------------------------------------------------------- */

struct change {
  struct client client;
  const char *name, *alias, *version, *canary, *percent;
  bool is_json;
};

static bool add_percent(cJSON *json, const char *text, struct gw_error *err) {
  char *end;
  double percent = strtod(text, &end);
  if (end == text || *end) return error_set(err, GW_ERROR_USAGE, "%s is no percentage", text);
  cJSON_AddNumberToObject(json, "percent", percent);
  return true;
}

static bool add_versions(cJSON *json, const struct change *c, struct gw_error *err) {
  bool is_previous = strcmp(c->version, "previous") == 0;
  const char *bad = !is_previous && !is_version(c->version) ? c->version : c->canary && !is_version(c->canary) ? c->canary : NULL;
  if (bad) return error_set(err, GW_ERROR_USAGE, "%s is no version", bad);
  if (!c->canary != !c->percent) return error_set(err, GW_ERROR_USAGE, "--canary and --percent belong together");
  if (is_previous)
    cJSON_AddStringToObject(json, "version", c->version);
  else
    cJSON_AddNumberToObject(json, "version", strtod(c->version, NULL));
  if (!c->canary) return true;
  cJSON_AddNumberToObject(json, "canary", strtod(c->canary, NULL));
  return add_percent(json, c->percent, err);
}

static void show_alias(const struct change *c, const struct client_reply *reply) {
  cJSON *json = client_json(reply, !c->is_json);
  const cJSON *alias;
  if (c->is_json) {
    cli_print_json(json, false);
    return;
  }
  cJSON_ArrayForEach(alias, cJSON_GetObjectItem(json, "aliases")) {
    double percent = client_number(alias, "percent");
    if (strcmp(client_text(alias, "alias"), c->alias) != 0) continue;
    printf("%s@%s: version %.0f", c->name, c->alias, client_number(alias, "version"));
    if (percent > 0) printf(", %g%% of the calls version %.0f", percent, client_number(alias, "canary"));
    printf("\n");
  }
  cJSON_Delete(json);
}

static int change(struct change *c) {
  char what[300];
  struct client_reply reply = {0};
  struct gw_error err = {0};
  struct buffer body = {0};
  cJSON *json = cJSON_CreateObject();
  bool ok = client_check_name(c->alias, false, &err) && add_versions(json, c, &err);
  char *text = cJSON_PrintUnformatted(json);
  buffer_append_string(&body, text);
  snprintf(what, sizeof what, "/aliases/%.255s", c->alias);
  ok = ok && ask(&c->client, "PUT", c->name, what, &body, &reply, &err);
  if (ok) show_alias(c, &reply);
  cJSON_free(text);
  cJSON_Delete(json);
  buffer_clear(&body);
  return client_finish(ok, &reply, &err);
}

int cli_alias(int argc, char **argv) {
  struct change c = {.client = client_default()};
  const struct cli_option options[] = {
      CLIENT_OPTIONS(&c.client),
      {"canary", 0, CLI_TEXT, &c.canary, "VERSION", "another version, which gets a part of the calls"},
      {"percent", 0, CLI_TEXT, &c.percent, "P", "how many of 100 calls the canary gets, from 0.01 to 99.99"},
      CLIENT_JSON_OPTION(&c.is_json),
  };
  const struct cli_command command = {
      .name = "alias",
      .arguments = "NAME ALIAS VERSION",
      .description = "Makes NAME@ALIAS lead to a version of the function NAME. The alias `live` is what NAME alone leads to.\n"
                     "`gasworks delete NAME@ALIAS` takes an alias away.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 3,
      .max_operands = 3,
  };
  int exit_code;
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  c.name = argv[0], c.alias = argv[1], c.version = argv[2];
  return change(&c);
}

int cli_rollback(int argc, char **argv) {
  struct change c = {.client = client_default(), .alias = "live", .version = "previous"};
  const struct cli_option options[] = {CLIENT_OPTIONS(&c.client), CLIENT_JSON_OPTION(&c.is_json)};
  const struct cli_command command = {
      .name = "rollback",
      .arguments = "NAME [VERSION]",
      .description = "Makes the function NAME the version again that it was before, or the one that is given. No call fails or\n"
                     "waits meanwhile.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 1,
      .max_operands = 2,
  };
  int exit_code;
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  c.name = argv[0];
  if (argc > 1) c.version = argv[1];
  return change(&c);
}
