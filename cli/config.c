/* gasworks config, secrets: how a function's invocations run. */
#include "cli/cli.h"

#include "base/error.h"
#include "cli/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct config {
  struct client client;
  const char *alias, *access, *backtraces, *group, *read_only_get, *tier;
  struct cli_list env, unset, headers, no_headers, dirs, no_dirs;
  uint64_t gas_limit, max_memory;
  uint32_t cpu_ms, max_running, deadline_ms;
  bool is_json;
};

/* What a number has that was not given; 0 takes a limit away. */
#define NOT_GIVEN UINT64_MAX
enum { NOT_GIVEN_U32 = UINT32_MAX };

/* --- showing ------------------------------------------------------------------------------------------------------ */

static void show_map(const char *title, const cJSON *map) {
  const cJSON *item;
  cJSON_ArrayForEach(item, map)
      printf("%-12s %s%s%s\n", title, item->string, strcmp(title, "env") ? ": " : "=", item->valuestring);
}

static void show(const char *name, const struct client_reply *reply, bool is_json) {
  static const char *const limits[] = {"gas_limit", "max_memory", "cpu_ms", "max_running", "deadline_ms"};
  cJSON *json = client_json(reply, !is_json);
  const cJSON *settings = cJSON_GetObjectItem(json, "settings"), *item;
  if (is_json) {
    cli_print_json(json, false);
    return;
  }
  printf("%-12s %s, version %.0f\n", "function", name, client_number(json, "version"));
  printf("%-12s %s\n%-12s %s\n", "access", client_text(json, "access"), "backtraces", client_text(json, "backtraces"));
  for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
    if (cJSON_GetObjectItem(settings, limits[i])) printf("%-12s %.0f\n", limits[i], client_number(settings, limits[i]));
  if ((item = cJSON_GetObjectItem(settings, "tier"))) printf("%-12s %s\n", "tier", item->valuestring);
  if ((item = cJSON_GetObjectItem(settings, "state_group"))) printf("%-12s %s\n", "state group", item->valuestring);
  if (cJSON_GetObjectItem(settings, "read_only_get")) printf("%-12s read-only\n", "GET");
  show_map("env", cJSON_GetObjectItem(settings, "env"));
  show_map("directory", cJSON_GetObjectItem(settings, "directories"));
  show_map("header", cJSON_GetObjectItem(settings, "headers"));
  cJSON_ArrayForEach(item, cJSON_GetObjectItem(settings, "secrets")) printf("%-12s %s\n", "secret", item->valuestring);
  cJSON_Delete(json);
}

/* Sends the patch, which is consumed; one without members only asks. */
static bool exchange(const struct client *client, const char *name, const char *alias, cJSON *patch, struct client_reply *reply,
                     struct gw_error *err) {
  char path[700];
  static const char *const headers[] = {"Content-Type: application/merge-patch+json", NULL};
  struct buffer body = {0};
  bool is_change = patch && patch->child;
  bool ok = client_check_name(name, false, err) && (!alias || client_check_name(alias, false, err));
  snprintf(path, sizeof path, "/v1/functions/%.255s%s%.255s", name, is_change && alias ? "?alias=" : "",
           is_change && alias ? alias : "");
  char *text = cJSON_PrintUnformatted(patch);
  if (is_change && text) buffer_append_string(&body, text);
  struct client_request request = {.client = client, .method = is_change ? "PATCH" : "GET", .path = path};
  if (is_change) request.headers = headers, request.body = &body;
  ok = ok && client_ask(&request, reply, err);
  cJSON_free(text);
  cJSON_Delete(patch);
  buffer_clear(&body);
  return ok;
}

/* --- config ------------------------------------------------------------------------------------------------------- */

/* "NAME=VALUE" or "Name: value". */
static bool add_pair(cJSON *map, const char *text, char separator, struct gw_error *err) {
  char name[300];
  const char *at = strchr(text, separator);
  if (!at || at == text || (size_t)(at - text) >= sizeof name)
    return error_set(err, GW_ERROR_USAGE, "%s is not %s", text, separator == '=' ? "NAME=VALUE" : "Name: value");
  memcpy(name, text, (size_t)(at - text));
  name[at - text] = 0;
  at++;
  cJSON_AddStringToObject(map, name, separator == ':' ? at + strspn(at, " ") : at);
  return true;
}

static bool add_map(cJSON *patch, const char *name, const struct cli_list *set, const struct cli_list *unset, char separator,
                    struct gw_error *err) {
  bool ok = true;
  cJSON *map = set->n || unset->n ? cJSON_AddObjectToObject(patch, name) : NULL;
  for (size_t i = 0; i < unset->n; i++) cJSON_AddNullToObject(map, unset->items[i]);
  for (size_t i = 0; i < set->n; i++) ok = ok && add_pair(map, set->items[i], separator, err);
  return ok;
}

static void add_limit(cJSON *patch, const char *name, uint64_t value) {
  if (value == NOT_GIVEN) return;
  if (value)
    cJSON_AddNumberToObject(patch, name, (double)value);
  else
    cJSON_AddNullToObject(patch, name);
}

static bool make_patch(cJSON *patch, const struct config *c, struct gw_error *err) {
  if (c->access) cJSON_AddStringToObject(patch, "access", c->access);
  if (c->backtraces) cJSON_AddStringToObject(patch, "backtraces", c->backtraces);
  if (c->group && *c->group) cJSON_AddStringToObject(patch, "state_group", c->group);
  if (c->group && !*c->group) cJSON_AddNullToObject(patch, "state_group");
  if (c->read_only_get && strcmp(c->read_only_get, "on") != 0 && strcmp(c->read_only_get, "off") != 0)
    return error_set(err, GW_ERROR_USAGE, "--read-only-get wants on or off, not %s", c->read_only_get);
  if (c->read_only_get) cJSON_AddBoolToObject(patch, "read_only_get", strcmp(c->read_only_get, "on") == 0);
  add_limit(patch, "gas_limit", c->gas_limit);
  add_limit(patch, "max_memory", c->max_memory);
  add_limit(patch, "cpu_ms", c->cpu_ms == (uint32_t)NOT_GIVEN_U32 ? NOT_GIVEN : c->cpu_ms);
  add_limit(patch, "max_running", c->max_running == (uint32_t)NOT_GIVEN_U32 ? NOT_GIVEN : c->max_running);
  add_limit(patch, "deadline_ms", c->deadline_ms == (uint32_t)NOT_GIVEN_U32 ? NOT_GIVEN : c->deadline_ms);
  if (c->tier && strcmp(c->tier, "auto") != 0) cJSON_AddStringToObject(patch, "tier", c->tier);
  if (c->tier && strcmp(c->tier, "auto") == 0) cJSON_AddNullToObject(patch, "tier");
  return add_map(patch, "env", &c->env, &c->unset, '=', err) && add_map(patch, "directories", &c->dirs, &c->no_dirs, '=', err) &&
         add_map(patch, "headers", &c->headers, &c->no_headers, ':', err);
}

static int configure(const struct config *c, const char *name) {
  struct client_reply reply = {0};
  struct gw_error err = {0};
  cJSON *patch = cJSON_CreateObject();
  bool ok = make_patch(patch, c, &err);
  if (!ok) cJSON_Delete(patch);
  ok = ok && exchange(&c->client, name, c->alias, patch, &reply, &err);
  if (ok) show(name, &reply, c->is_json);
  return client_finish(ok, &reply, &err);
}

int cli_config(int argc, char **argv) {
  struct config c = {.client = client_default(),
                     .gas_limit = NOT_GIVEN,
                     .max_memory = NOT_GIVEN,
                     .cpu_ms = (uint32_t)NOT_GIVEN_U32,
                     .max_running = (uint32_t)NOT_GIVEN_U32,
                     .deadline_ms = (uint32_t)NOT_GIVEN_U32};
  const struct cli_option options[] = {
      CLIENT_OPTIONS(&c.client),
      {"env", 'e', CLI_LIST, &c.env, "NAME=VALUE", "a variable of its environment"},
      {"unset", 0, CLI_LIST, &c.unset, "NAME", "takes a variable away"},
      {"header", 'H', CLI_LIST, &c.headers, "LINE", "a header that replies have unless the function gives it, 'Name: value'"},
      {"no-header", 0, CLI_LIST, &c.no_headers, "NAME", "takes a header away"},
      {"dir", 0, CLI_LIST, &c.dirs, "PATH=NAME",
       "where it finds a directory, to read; NAME is one that the operator allows (`serve --allow-dir`)"},
      {"no-dir", 0, CLI_LIST, &c.no_dirs, "PATH", "takes a directory away"},
      {"gas-limit", 0, CLI_NUMBER, &c.gas_limit, "N", "the most gas of an invocation, within the server's limit; 0: that"},
      {"max-memory", 0, CLI_SIZE, &c.max_memory, "BYTES", "the most memory of an invocation, likewise"},
      {"cpu-ms", 0, CLI_U32, &c.cpu_ms, "MS", "the most CPU time of an invocation, likewise"},
      {"max-running", 0, CLI_U32, &c.max_running, "N", "invocations at one time, beyond which callers get 503; 0: no limit"},
      {"deadline-ms", 0, CLI_U32, &c.deadline_ms, "MS",
       "how long a request may wait for its answer, beyond which it gets 504; 0: no limit"},
      {"tier", 0, CLI_TEXT, &c.tier, "fast|baseline|precise|auto",
       "compiled before the first call, never, or interpreted; auto: as the server does"},
      {"access", 0, CLI_TEXT, &c.access, "public|private", "whether everybody may call it"},
      {"backtraces", 0, CLI_TEXT, &c.backtraces, "on|off", "show everybody who calls it where it trapped"},
      {"state-group", 0, CLI_TEXT, &c.group, "GROUP", "share the state of this group with its other functions; '' has its own"},
      {"read-only-get", 0, CLI_TEXT, &c.read_only_get, "on|off", "GET may write no state, and meets no conflicts"},
      {"alias", 0, CLI_TEXT, &c.alias, "ALIAS", "whose version changes, and what leads to the new one; `live` unless told"},
      CLIENT_JSON_OPTION(&c.is_json),
  };
  const struct cli_command command = {
      .name = "config",
      .arguments = "NAME",
      .description = "Shows how the function NAME runs, or changes that: a change is a new version with the same module.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 1,
      .max_operands = 1,
  };
  int exit_code;
  if (cli_parse(&command, &argc, &argv, &exit_code)) exit_code = configure(&c, argv[0]);
  cli_list_clear(&c.env);
  cli_list_clear(&c.unset);
  cli_list_clear(&c.headers);
  cli_list_clear(&c.no_headers);
  cli_list_clear(&c.dirs);
  cli_list_clear(&c.no_dirs);
  return exit_code;
}

/* --- secrets ------------------------------------------------------------------------------------------------------ */

/* The value is standard input, without the line feed at its end: a command line is seen by others. */
static bool read_value(struct buffer *value, struct gw_error *err) {
  if (!cli_read_file(value, "-", err)) return false;
  if (value->size && value->bytes[value->size - 1] == '\n') value->size--;
  *buffer_reserve(value, 1) = 0;
  return !memchr(value->bytes, 0, value->size) || error_set(err, GW_ERROR_USAGE, "a secret holds no NUL");
}

static bool make_secret(cJSON *patch, const char *what, const char *name, struct gw_error *err) {
  struct buffer value = {0};
  cJSON *map = cJSON_AddObjectToObject(patch, "secrets");
  bool is_set = strcmp(what, "set") == 0;
  if (!is_set && strcmp(what, "unset") != 0) return error_set(err, GW_ERROR_USAGE, "%s is neither set nor unset", what);
  if (!name) return error_set(err, GW_ERROR_USAGE, "%s wants the name of a secret", what);
  bool ok = !is_set || read_value(&value, err);
  if (ok && is_set)
    cJSON_AddStringToObject(map, name, (const char *)value.bytes);
  else if (ok)
    cJSON_AddNullToObject(map, name);
  if (value.bytes) explicit_bzero(value.bytes, value.size);
  buffer_clear(&value);
  return ok;
}

static void show_secrets(const struct client_reply *reply, bool is_json) {
  cJSON *json = client_json(reply, !is_json), *settings = cJSON_GetObjectItem(json, "settings");
  cJSON *names = cJSON_DetachItemFromObject(settings, "secrets");
  const cJSON *item;
  cJSON_Delete(json);
  if (is_json) {
    cli_print_json(names, false);
    return;
  }
  cJSON_ArrayForEach(item, names) printf("%s\n", item->valuestring);
  cJSON_Delete(names);
}

int cli_secrets(int argc, char **argv) {
  struct client client = client_default();
  bool is_json = false;
  const char *alias = NULL;
  const struct cli_option options[] = {
      CLIENT_OPTIONS(&client),
      {"alias", 0, CLI_TEXT, &alias, "ALIAS", "whose version changes, and what leads to the new one; `live` unless told"},
      CLIENT_JSON_OPTION(&is_json),
  };
  const struct cli_command command = {
      .name = "secrets",
      .arguments = "NAME [set SECRET | unset SECRET]",
      .description = "Lists the names of the function's secrets, which it finds in its environment, or changes one: `set` reads\n"
                     "the value from standard input. The server keeps secrets encrypted, and shows them to nobody.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 1,
      .max_operands = 3,
  };
  int exit_code;
  struct client_reply reply = {0};
  struct gw_error err = {0};
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  cJSON *patch = cJSON_CreateObject();
  bool ok = argc == 1 || make_secret(patch, argv[1], argc > 2 ? argv[2] : NULL, &err);
  if (!ok) cJSON_Delete(patch);
  ok = ok && exchange(&client, argv[0], alias, patch, &reply, &err);
  if (ok) show_secrets(&reply, is_json);
  return client_finish(ok, &reply, &err);
}
