/* gasworks tokens, ui, tenants: who may do what on a server. */
#include "cli/cli.h"

#include "base/error.h"
#include "cli/client.h"

#include <stdio.h>
#include <string.h>

/* --- both --------------------------------------------------------------------------------------------------------------- */

struct access_verb {
  struct client client;
  bool is_json;
  const char *scopes, *expires, *name, *grace; /* NULL: not given */
  const char *credit, *limits[5];              /* of a budget, likewise; the limits as in budget_words */
};

/* What a request says and what comes back. */
struct access_call {
  const char *method;
  char path[160];
  cJSON *body; /* NULL: none; goes with the request */
  bool is_of_server;
};

/* Ids and names need no escaping; what does leads to another place. */
static bool check_word(const char *word, const char *what, struct gw_error *err) {
  size_t size = strlen(word);
  if (size && size <= 63 && strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789_-") == size) return true;
  return error_set(err, GW_ERROR_USAGE, "%.80s is no %s", size ? word : "the empty string", what);
}

static bool send(const struct access_verb *v, struct access_call *call, struct client_reply *reply, struct gw_error *err) {
  static const char *const headers[] = {"Content-Type: application/json", NULL};
  struct buffer body = {0};
  char *text = call->body ? cJSON_PrintUnformatted(call->body) : NULL;
  struct client_request request = {
      .client = &v->client, .method = call->method, .path = call->path, .headers = headers, .is_of_server = call->is_of_server};
  if (text) buffer_append_string(&body, text);
  if (text) request.body = &body;
  cJSON_free(text);
  cJSON_Delete(call->body);
  bool ok = client_ask(&request, reply, err);
  buffer_clear(&body);
  return ok;
}

/* Every verb has a word for what is to be done, and perhaps an operand. */
struct action {
  const char *word;
  bool has_operand;
  bool (*run)(const struct access_verb *v, const char *operand, struct client_reply *reply, struct gw_error *err);
};

static int run_action(const char *verb, const struct action *actions, const struct access_verb *v, int argc, char **argv) {
  const char *word = argc ? argv[0] : "list";
  struct client_reply reply = {0};
  struct gw_error err = {0};
  for (const struct action *a = actions; a->word; a++) {
    if (strcmp(a->word, word) != 0) continue;
    int n = argc ? argc - 1 : 0;
    if (n < a->has_operand) return cli_misuse(verb, "%s %s wants one more word", verb, word);
    if (n > a->has_operand) return cli_misuse(verb, "unexpected argument %s", argv[1 + a->has_operand]);
    return client_finish(a->run(v, a->has_operand ? argv[1] : NULL, &reply, &err), &reply, &err);
  }
  return cli_misuse(verb, "%s does not know %s", verb, word);
}

/* --- tokens ------------------------------------------------------------------------------------------------------------- */

/* Seconds, or a number with s, m, h or d. */
static bool parse_duration(const char *text, const char *option, double *seconds, struct gw_error *err) {
  static const struct {
    char letter;
    uint32_t seconds;
  } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
  char digits[16] = "";
  size_t n = strspn(text, "0123456789");
  uint64_t number;
  uint32_t unit = text[n] ? 0 : 1;
  for (size_t i = 0; i < sizeof units / sizeof *units; i++)
    if (text[n] && text[n] == units[i].letter && !text[n + 1]) unit = units[i].seconds;
  if (n && n < sizeof digits) memcpy(digits, text, n);
  if (!unit || !cli_parse_number(digits, 1, &number))
    return error_set(err, GW_ERROR_USAGE, "--%s wants a number of seconds, or one with m, h or d, not %.64s", option, text);
  *seconds = (double)number * unit;
  return true;
}

/* "deploy,read" as an array. */
static cJSON *scopes_json(const char *text) {
  cJSON *array = cJSON_CreateArray();
  char word[64];
  for (size_t size; *text; text += size + (text[size] == ',')) {
    size = strcspn(text, ",");
    snprintf(word, sizeof word, "%.*s", (int)size, text);
    cJSON_AddItemToArray(array, cJSON_CreateString(word));
  }
  return array;
}

/* The answer, for whoever shows it in words and deletes it. With --json it is shown as it is, and there is nothing left to do:
 * NULL. */
static cJSON *show_json(const struct access_verb *v, const struct client_reply *reply) {
  cJSON *json = client_json(reply, !v->is_json);
  if (!v->is_json) return json;
  cli_print_json(json, false);
  return NULL;
}

/* The token, alone on standard output so that a script can take it. */
static void show_token(const struct access_verb *v, const struct client_reply *reply) {
  cJSON *json = show_json(v, reply);
  if (v->is_json) return;
  printf("%s\n", client_text(json, "token"));
  fflush(stdout);
  fprintf(stderr, "gasworks: token %s; it is shown this once\n", client_text(json, "id"));
  cJSON_Delete(json);
}

static void print_token(const cJSON *token) {
  const cJSON *scope;
  char scopes[64] = "";
  cJSON_ArrayForEach(scope, cJSON_GetObjectItem(token, "scopes")) {
    size_t n = strlen(scopes);
    const char *text = cJSON_GetStringValue(scope);
    snprintf(scopes + n, sizeof scopes - n, "%s%s", n ? "," : "", text ? text : "");
  }
  printf("%-13s %-16s %-26s %-20s %-20s %s\n", client_text(token, "id"), client_text(token, "tenant"), scopes,
         client_text(token, "created"), client_text(token, "expires"), client_text(token, "name"));
}

static bool list_tokens(const struct access_verb *v, const char *operand, struct client_reply *reply, struct gw_error *err) {
  struct access_call call = {.method = "GET", .path = "/v1/tokens"};
  const cJSON *token;
  (void)operand;
  if (!send(v, &call, reply, err)) return false;
  cJSON *json = show_json(v, reply);
  if (v->is_json) return true;
  printf("%-13s %-16s %-26s %-20s %-20s %s\n", "ID", "TENANT", "SCOPES", "CREATED", "EXPIRES", "NAME");
  cJSON_ArrayForEach(token, cJSON_GetObjectItem(json, "tokens")) print_token(token);
  cJSON_Delete(json);
  return true;
}

static bool create_token(const struct access_verb *v, const char *operand, struct client_reply *reply, struct gw_error *err) {
  struct access_call call = {.method = "POST", .path = "/v1/tokens"};
  double seconds = 0;
  (void)operand;
  if (!v->scopes) return error_set(err, GW_ERROR_USAGE, "tokens create wants --scopes, of admin, deploy, invoke, run and read");
  if (v->expires && !parse_duration(v->expires, "expires", &seconds, err)) return false;
  call.body = cJSON_CreateObject();
  cJSON_AddItemToObject(call.body, "scopes", scopes_json(v->scopes));
  if (v->name) cJSON_AddStringToObject(call.body, "name", v->name);
  if (v->expires) cJSON_AddNumberToObject(call.body, "expires_in", seconds);
  if (!send(v, &call, reply, err)) return false;
  show_token(v, reply);
  return true;
}

static bool rotate_token(const struct access_verb *v, const char *id, struct client_reply *reply, struct gw_error *err) {
  struct access_call call = {.method = "POST"};
  double seconds = 0;
  if (!check_word(id, "id of a token", err)) return false;
  if (v->grace && !parse_duration(v->grace, "grace", &seconds, err)) return false;
  snprintf(call.path, sizeof call.path, "/v1/tokens/%s/rotate", id);
  call.body = cJSON_CreateObject();
  if (v->grace) cJSON_AddNumberToObject(call.body, "grace", seconds);
  if (!send(v, &call, reply, err)) return false;
  show_token(v, reply);
  return true;
}

/* The answer to a deletion has no body. */
static bool show_gone(const struct access_verb *v, const char *member, const char *id) {
  if (!v->is_json) return true;
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, member, id);
  cli_print_json(json, false);
  return true;
}

static bool revoke_token(const struct access_verb *v, const char *id, struct client_reply *reply, struct gw_error *err) {
  struct access_call call = {.method = "DELETE"};
  snprintf(call.path, sizeof call.path, "/v1/tokens/%.63s", id);
  return check_word(id, "id of a token", err) && send(v, &call, reply, err) && show_gone(v, "revoked", id);
}

int cli_tokens(int argc, char **argv) {
  static const struct action actions[] = {{"list", false, list_tokens},
                                          {"create", false, create_token},
                                          {"rotate", true, rotate_token},
                                          {"revoke", true, revoke_token},
                                          {0}};
  struct access_verb v = {.client = client_default()};
  const struct cli_option options[] = {
      CLIENT_OPTIONS(&v.client),
      {"scopes", 0, CLI_TEXT, &v.scopes, "SCOPE,...", "create: what it is for, of admin, deploy, invoke, run and read"},
      {"expires", 0, CLI_TEXT, &v.expires, "TIME",
       "create: how long it is good, in seconds or with m, h or d; always unless told"},
      {"name", 0, CLI_TEXT, &v.name, "TEXT", "create: what `tokens list` calls it"},
      {"grace", 0, CLI_TEXT, &v.grace, "TIME", "rotate: how long the old one is good beside the new one; not at all unless told"},
      {"json", 0, CLI_FLAG, &v.is_json, NULL, "the server's answer as JSON"},
  };
  const struct cli_command command = {
      .name = "tokens",
      .arguments = "[list | create | rotate ID | revoke ID]",
      .description =
          "Lists the tokens of the server, makes one, gives one a new secret, or ends one at once. With --tenant those of a\n"
          "tenant, which are good for its functions only.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 0,
      .max_operands = 2,
  };
  int exit_code;
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  return run_action("tokens", actions, &v, argc, argv);
}

/* --- the dashboard ------------------------------------------------------------------------------------------------------ */

/* The token stands behind the #, which browsers send to nobody, and which the page takes out of its address. */
static bool open_dashboard(const struct access_verb *v, const char *operand, struct client_reply *reply, struct gw_error *err) {
  struct access_call call = {.method = "POST", .path = "/v1/tokens"};
  const char *server = v->client.server;
  size_t size = strlen(server);
  double seconds = 0;
  (void)operand;
  if (!parse_duration(v->expires, "expires", &seconds, err)) return false;
  call.body = cJSON_CreateObject();
  cJSON_AddItemToObject(call.body, "scopes", scopes_json(v->scopes));
  cJSON_AddStringToObject(call.body, "name", v->name);
  cJSON_AddNumberToObject(call.body, "expires_in", seconds);
  if (!send(v, &call, reply, err)) return false;
  cJSON *json = client_json(reply, !v->is_json);
  while (size && server[size - 1] == '/') size--;
  struct buffer url = {0};
  buffer_format(&url, "%.*s/ui/#token=%s", (int)size, server, client_text(json, "token"));
  buffer_append(&url, "", 1);
  if (v->is_json) {
    cJSON_AddStringToObject(json, "url", (const char *)url.bytes);
    cli_print_json(json, false);
  } else {
    printf("%s\n", (const char *)url.bytes);
    fflush(stdout);
    fprintf(stderr,
            "gasworks: whoever has this address may do what token %s may, until %s; `gasworks tokens revoke %s` ends it\n",
            client_text(json, "id"), client_text(json, "expires"), client_text(json, "id"));
    cJSON_Delete(json);
  }
  buffer_clear(&url);
  return true;
}

int cli_ui(int argc, char **argv) {
  static const struct action actions[] = {{"list", false, open_dashboard}, {0}};
  struct access_verb v = {.client = client_default(), .scopes = "deploy,invoke,read", .expires = "12h", .name = "dashboard"};
  const struct cli_option options[] = {
      CLIENT_OPTIONS(&v.client),
      {"scopes", 0, CLI_TEXT, &v.scopes, "SCOPE,...",
       "what it is for, of admin, deploy, invoke and read; all but admin unless told"},
      {"expires", 0, CLI_TEXT, &v.expires, "TIME", "how long it is good, in seconds or with m, h or d; 12h unless told"},
      {"json", 0, CLI_FLAG, &v.is_json, NULL, "the server's answer and the url as JSON"},
  };
  const struct cli_command command = {
      .name = "ui",
      .arguments = "",
      .description =
          "Makes a token that ends by itself, and prints the address of the server's dashboard with it. With --tenant it is\n"
          "good for that tenant's functions only.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 0,
      .max_operands = 0,
  };
  int exit_code;
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  return run_action("ui", actions, &v, 0, NULL);
}

/* --- tenants ------------------------------------------------------------------------------------------------------------ */

static bool list_tenants(const struct access_verb *v, const char *operand, struct client_reply *reply, struct gw_error *err) {
  struct access_call call = {.method = "GET", .path = "/v1/tenants", .is_of_server = true};
  const cJSON *tenant;
  (void)operand;
  if (!send(v, &call, reply, err)) return false;
  cJSON *json = show_json(v, reply);
  if (v->is_json) return true;
  printf("%-24s %s\n", "NAME", "CREATED");
  cJSON_ArrayForEach(tenant, cJSON_GetObjectItem(json, "tenants"))
      printf("%-24s %s\n", client_text(tenant, "name"), client_text(tenant, "created"));
  cJSON_Delete(json);
  return true;
}

static bool change_tenant(const struct access_verb *v, const char *method, const char *name, struct client_reply *reply,
                          struct gw_error *err) {
  struct access_call call = {.method = method, .is_of_server = true};
  snprintf(call.path, sizeof call.path, "/v1/tenants/%.63s", name);
  return check_word(name, "name for a tenant", err) && send(v, &call, reply, err);
}

static bool create_tenant(const struct access_verb *v, const char *name, struct client_reply *reply, struct gw_error *err) {
  if (!change_tenant(v, "PUT", name, reply, err)) return false;
  cJSON *json = show_json(v, reply);
  if (!v->is_json) printf("%s %s; its functions are at /t/%s/f/\n", reply->status == 201 ? "created" : "is there:", name, name);
  cJSON_Delete(json);
  return true;
}

static bool delete_tenant(const struct access_verb *v, const char *name, struct client_reply *reply, struct gw_error *err) {
  return change_tenant(v, "DELETE", name, reply, err) && show_gone(v, "deleted", name);
}

/* --- budgets */

static const struct {
  const char *word, *option;
  uint64_t kilo;
} budget_words[] = {{"gas_per_second", "gas-per-second", 1000},
                    {"concurrency", "concurrency", 1000},
                    {"functions", "functions", 1000},
                    {"memory", "memory", 1024},
                    {"storage", "storage", 1024}};

enum { N_BUDGET_WORDS = sizeof budget_words / sizeof *budget_words };
_Static_assert(N_BUDGET_WORDS == sizeof((struct access_verb *)0)->limits / sizeof(char *), "all have a place");

/* A number, or "none". */
static bool add_limit(cJSON *json, size_t i, const char *text, struct gw_error *err) {
  uint64_t n;
  if (!text) return true;
  if (strcmp(text, "none") == 0) return cJSON_AddNullToObject(json, budget_words[i].word) != NULL;
  if (!cli_parse_number(text, budget_words[i].kilo, &n) || !n || n > UINT64_C(1) << 53)
    return error_set(err, GW_ERROR_USAGE, "--%s wants a number (K M G allowed) or none, not %.64s", budget_words[i].option, text);
  cJSON_AddNumberToObject(json, budget_words[i].word, (double)n);
  return true;
}

/* The merge patch, or NULL where nothing is to be changed. */
static bool budget_patch(const struct access_verb *v, cJSON **patch, struct gw_error *err) {
  cJSON *json = cJSON_CreateObject();
  bool ok = true;
  if (v->credit && strcmp(v->credit, "none") == 0)
    cJSON_AddNullToObject(json, "credit");
  else if (v->credit)
    cJSON_AddStringToObject(json, "credit", v->credit);
  for (size_t i = 0; i < N_BUDGET_WORDS && ok; i++) ok = add_limit(json, i, v->limits[i], err);
  *patch = ok && json->child ? json : NULL;
  if (!*patch) cJSON_Delete(json);
  return ok;
}

static void show_budget(const cJSON *json) {
  const cJSON *used = cJSON_GetObjectItem(json, "used"), *item;
  printf("tenant          %s\n", client_text(json, "tenant"));
  for (size_t i = 0; i < N_BUDGET_WORDS; i++) {
    if (cJSON_IsNumber(cJSON_GetObjectItem(json, budget_words[i].word)))
      printf("%-15s %.0f\n", budget_words[i].option, client_number(json, budget_words[i].word));
    else
      printf("%-15s no limit\n", budget_words[i].option);
  }
  if (cJSON_IsString(cJSON_GetObjectItem(json, "credit")))
    printf("%-15s %s %s, of which %s are spent and %s left\n", "credit", client_text(json, "credit"),
           client_text(json, "currency"), client_text(json, "spent"), client_text(json, "left"));
  else
    printf("%-15s not prepaid\n", "credit");
  printf("%-15s %.0f\n%-15s %.0f\n", "running", client_number(json, "running"), "bytes stored",
         client_number(json, "bytes_stored"));
  cJSON_ArrayForEach(item, used) printf("used: %-9s %.0f\n", item->string, item->valuedouble);
}

static bool change_budget(const struct access_verb *v, const char *name, struct client_reply *reply, struct gw_error *err) {
  struct access_verb of = *v;
  struct access_call call = {.method = "GET", .path = "/v1/budget"};
  of.client.tenant = name;
  if (!check_word(name, "name for a tenant", err) || !budget_patch(v, &call.body, err)) return false;
  if (call.body) call.method = "PATCH";
  if (!send(&of, &call, reply, err)) return false;
  cJSON *json = show_json(v, reply);
  if (json) show_budget(json);
  cJSON_Delete(json);
  return true;
}

int cli_tenants(int argc, char **argv) {
  static const struct action actions[] = {{"list", false, list_tenants},
                                          {"create", true, create_tenant},
                                          {"delete", true, delete_tenant},
                                          {"budget", true, change_budget},
                                          {0}};
  struct access_verb v = {.client = client_default()};
  const struct cli_option options[] = {
      CLIENT_OPTIONS(&v.client),
      {"credit", 0, CLI_TEXT, &v.credit, "AMOUNT", "budget: what all that it uses from now on may cost, such as 12.50; or none"},
      {"gas-per-second", 0, CLI_TEXT, &v.limits[0], "GAS", "budget: the most gas in a second (K M G allowed); or none"},
      {"concurrency", 0, CLI_TEXT, &v.limits[1], "N", "budget: the most invocations at once; or none"},
      {"functions", 0, CLI_TEXT, &v.limits[2], "N", "budget: the most functions; or none"},
      {"memory", 0, CLI_TEXT, &v.limits[3], "BYTES", "budget: the most memory of all that runs (K M G allowed); or none"},
      {"storage", 0, CLI_TEXT, &v.limits[4], "BYTES", "budget: the most state of all functions (K M G allowed); or none"},
      {"json", 0, CLI_FLAG, &v.is_json, NULL, "the server's answer as JSON"},
  };
  const struct cli_command command = {
      .name = "tenants",
      .arguments = "[list | create NAME | delete NAME | budget NAME]",
      .description = "Lists the tenants of the server, makes one, or deletes one that has no functions and no state any more, "
                     "with its tokens. `budget` shows what one may use and has left, and changes it by the options below.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 0,
      .max_operands = 2,
  };
  int exit_code;
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  return run_action("tenants", actions, &v, argc, argv);
}
