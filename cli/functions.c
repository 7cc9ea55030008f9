/* gasworks deploy, invoke, list, delete, lift: the verbs that talk to a server. */
#include "cli/cli.h"

#include "base/error.h"
#include "base/utf8.h"
#include "cli/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- until it is compiled ---------------------------------------------------------------------------------------------- */

enum { FIRST_PAUSE_MS = 5, MAX_PAUSE_MS = 250 };

/* The version's summary, as GET .../versions has it now. Delete it. */
static cJSON *ask_version(const struct client *client, const char *name, double version, struct gw_error *err) {
  char path[320];
  struct client_reply reply = {0};
  cJSON *found = NULL, *one;
  snprintf(path, sizeof path, "/v1/functions/%.255s/versions", name);
  struct client_request request = {.client = client, .method = "GET", .path = path};
  bool ok = client_ask(&request, &reply, err);
  cJSON *json = ok ? client_json(&reply, false) : NULL;
  cJSON_ArrayForEach(one, cJSON_GetObjectItem(json, "versions")) {
    if (client_number(one, "version") == version) found = cJSON_Duplicate(one, true);
  }
  if (ok && !found) error_set(err, GW_ERROR_NOT_FOUND, "version %.0f of function %s is gone", version, name);
  cJSON_Delete(json);
  client_reply_clear(&reply);
  return found;
}

/* Until the version has machine code, or never will have any, which is an error. Its summary; delete it. */
static cJSON *wait_for_code(const struct client *client, const char *name, double version, struct gw_error *err) {
  unsigned pause_ms = FIRST_PAUSE_MS;
  cJSON *json;
  while ((json = ask_version(client, name, version, err)) && cJSON_GetObjectItem(json, "is_compiling")) {
    cJSON_Delete(json);
    if (isatty(STDERR_FILENO)) fprintf(stderr, "\rcompiling version %.0f", version);
    usleep(pause_ms * 1000);
    if (pause_ms < MAX_PAUSE_MS) pause_ms *= 2;
  }
  if (isatty(STDERR_FILENO)) fputs("\r\033[K", stderr);
  const char *why = cJSON_GetStringValue(cJSON_GetObjectItem(json, "compile_error"));
  if (!why) return json;
  error_set(err, GW_ERROR_COMPILE, "version %.0f is deployed, but not compiled, so it runs slower: %.400s", version, why);
  cJSON_Delete(json);
  return NULL;
}

/* --- deploy ------------------------------------------------------------------------------------------------------ */

static void show_imports(const char *word, const cJSON *list) {
  const cJSON *name;
  if (cJSON_GetArraySize(list)) printf("  %s:", word);
  cJSON_ArrayForEach(name, list) printf(" %s", name->valuestring);
  if (cJSON_GetArraySize(list)) printf("\n");
}

/* Against the version that was live before. */
static void show_changes(const cJSON *changes) {
  if (!changes) return;
  printf("  against version %.0f: %+.0f bytes\n", client_number(changes, "from"), client_number(changes, "size"));
  show_imports("imports now", cJSON_GetObjectItem(changes, "imports_added"));
  show_imports("no longer imports", cJSON_GetObjectItem(changes, "imports_removed"));
}

static void show_deployed(const struct client_reply *reply, const char *name, cJSON *json, bool is_json) {
  if (is_json)
    cli_print_json(json, false);
  else
    printf("%s %s: version %.0f, %.0f bytes, %s, digest %.16s, %s at %s\n", reply->status == 201 ? "created" : "updated", name,
           client_number(json, "version"), client_number(json, "size"), client_text(json, "interface"),
           client_text(json, "digest"), client_text(json, "access"), client_text(json, "path"));
  if (is_json) return;
  show_changes(cJSON_GetObjectItem(json, "changes"));
  const cJSON *gate = cJSON_GetObjectItem(json, "gate");
  if (gate && client_number(gate, "run"))
    printf("the gate is passed: %.0f invocations are the same, gas %.0f, before %.0f; %.0f could not be repeated\n",
           client_number(gate, "run"), client_number(gate, "gas_now"), client_number(gate, "gas_before"),
           client_number(gate, "not_repeatable"));
  else if (gate)
    puts("the gate has compared nothing, and was told to let that pass");
  cJSON_Delete(json);
}

/* What changes until the code is there, which the reply could not know yet. */
static bool wait_deployed(const struct client *client, const char *name, cJSON *json, struct gw_error *err) {
  static const char *const changing[] = {"tier", "is_compiling", "compile_ms"};
  cJSON *version = wait_for_code(client, name, client_number(json, "version"), err);
  for (size_t i = 0; version && i < sizeof changing / sizeof *changing; i++) {
    cJSON_DeleteItemFromObject(json, changing[i]);
    cJSON *item = cJSON_DetachItemFromObject(version, changing[i]);
    if (item) cJSON_AddItemToObject(json, changing[i], item);
  }
  cJSON_Delete(version);
  return version != NULL;
}

static bool deploy(const struct client *client, const char *name, const char *file, const char *query, struct client_reply *reply,
                   struct gw_error *err) {
  char path[800];
  struct buffer bytes = {0};
  static const char *const headers[] = {"Content-Type: application/wasm", NULL};
  if (!client_check_name(name, false, err) || !cli_read_file(&bytes, file, err)) return false;
  snprintf(path, sizeof path, "/v1/functions/%.255s%s", name, query);
  struct client_request request = {.client = client, .method = "PUT", .path = path, .headers = headers, .body = &bytes};
  bool ok = client_ask(&request, reply, err);
  buffer_clear(&bytes);
  return ok;
}

static bool check_choice(const char *option, const char *word, const char *one, const char *other, int *exit_code) {
  if (!word || strcmp(word, one) == 0 || strcmp(word, other) == 0) return true;
  *exit_code = cli_misuse("deploy", "--%s wants %s or %s, not %s", option, one, other, word);
  return false;
}

/* `word` may be NULL: nothing. */
static void add_parameter(char *query, size_t size, const char *name, const char *word) {
  size_t n = strlen(query);
  if (word) snprintf(query + n, size - n, "%c%s=%.100s", n ? '&' : '?', name, word);
}

int cli_deploy(int argc, char **argv) {
  struct client client = client_default();
  bool is_json = false, waits = false, may_be_empty = false;
  const char *access = NULL, *backtraces = NULL, *alias = NULL, *group = NULL, *read_only_get = NULL;
  const char *gate = NULL, *gate_gas = NULL;
  const struct cli_option options[] = {
      CLIENT_OPTIONS(&client),
      {"access", 0, CLI_TEXT, &access, "public|private",
       "whether everybody may call it, or who has a token with the scope invoke; public unless told, or as before"},
      {"backtraces", 0, CLI_TEXT, &backtraces, "on|off",
       "show everybody who calls it where it trapped, not only its owner; off unless told, or as before"},
      {"alias", 0, CLI_TEXT, &alias, "ALIAS",
       "what leads to the new version, at NAME@ALIAS; callers of NAME stay where they are; `live`, which is NAME, unless told"},
      {"state-group", 0, CLI_TEXT, &group, "GROUP",
       "share the state of this group with its other functions; '' has its own; as before unless told"},
      {"read-only-get", 0, CLI_TEXT, &read_only_get, "on|off",
       "GET may write no state, and meets no conflicts; as before unless told"},
      {"gate", 0, CLI_TEXT, &gate, "N",
       "deploy only if the last N invocations that are kept, run again with it, give the same replies and write the same state"},
      {"gate-gas", 0, CLI_TEXT, &gate_gas, "P", "with --gate: and use at most P percent more gas; 0 unless told"},
      {"gate-empty", 0, CLI_FLAG, &may_be_empty, NULL, "with --gate: deploy also where it has nothing to compare"},
      {"wait", 'w', CLI_FLAG, &waits, NULL,
       "end when its code is compiled, not when it can be called, in slower code until then; fail where it cannot be compiled"},
      CLIENT_JSON_OPTION(&is_json),
  };
  const struct cli_command command = {
      .name = "deploy",
      .arguments = "NAME FILE.wasm",
      .description = "Makes the module the function NAME of the server, or its next version. FILE - is standard input.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 2,
      .max_operands = 2,
  };
  int exit_code;
  struct client_reply reply = {0};
  struct gw_error err = {0};
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  char query[400] = "";
  if (!check_choice("access", access, "public", "private", &exit_code) ||
      !check_choice("backtraces", backtraces, "on", "off", &exit_code) ||
      !check_choice("read-only-get", read_only_get, "on", "off", &exit_code))
    return exit_code;
  if (alias && !client_check_name(alias, false, &err)) return cli_fail(&err);
  if (group && *group && !client_check_name(group, false, &err)) return cli_fail(&err);
  if ((gate && !*gate) || (gate && strspn(gate, "0123456789") < strlen(gate)))
    return cli_misuse("deploy", "--gate wants a number, not %s", gate);
  if (gate_gas && (!*gate_gas || strspn(gate_gas, "0123456789") < strlen(gate_gas)))
    return cli_misuse("deploy", "--gate-gas wants a number, not %s", gate_gas);
  add_parameter(query, sizeof query, "gate", gate);
  add_parameter(query, sizeof query, "gate-gas", gate_gas);
  add_parameter(query, sizeof query, "gate-empty", may_be_empty ? "pass" : NULL);
  add_parameter(query, sizeof query, "access", access);
  add_parameter(query, sizeof query, "backtraces", backtraces);
  add_parameter(query, sizeof query, "alias", alias);
  add_parameter(query, sizeof query, "state_group", group);
  add_parameter(query, sizeof query, "read_only_get", read_only_get);
  bool ok = deploy(&client, argv[0], argv[1], query, &reply, &err);
  cJSON *json = ok ? client_json(&reply, !is_json) : NULL;
  bool is_deployed = ok;
  if (ok && waits) ok = wait_deployed(&client, argv[0], json, &err);
  if (is_deployed) show_deployed(&reply, argv[0], json, is_json);
  return client_finish(ok, &reply, &err);
}

/* --- invoke ------------------------------------------------------------------------------------------------------ */

struct invocation {
  struct client client;
  const char *data, *method, *path;
  struct cli_list headers;
  bool wants_headers, is_verbose, is_json;
  struct buffer body;
};

/* -d BODY, -d @FILE or -d - for standard input. */
static bool read_body(struct invocation *v, struct gw_error *err) {
  if (!v->data) return true;
  if (*v->data == '@') return cli_read_file(&v->body, v->data + 1, err);
  if (strcmp(v->data, "-") == 0) return cli_read_file(&v->body, "-", err);
  buffer_append_string(&v->body, v->data);
  return true;
}

/* What no request's line may hold is percent-encoded: blanks, control characters, what is no ASCII, a fragment's mark. A `%`
 * stays: the user may have encoded what else needs it. */
static void append_path(struct buffer *out, const char *path) {
  for (const char *c = path; *c; c++) {
    bool is_plain = *c > ' ' && *c <= '~' && !strchr("#\"<>\\^`{|}", *c);
    if (is_plain)
      buffer_append(out, c, 1);
    else
      buffer_format(out, "%%%02X", (unsigned char)*c);
  }
}

static bool invoke(struct invocation *v, const char *name, struct client_reply *reply, struct gw_error *err) {
  if (!client_check_name(name, true, err) || !read_body(v, err)) return false;
  struct buffer path = {0};
  buffer_format(&path, "/f/%s%s", name, *v->path && *v->path != '/' && *v->path != '?' ? "/" : "");
  append_path(&path, v->path);
  *buffer_reserve(&path, 1) = 0;
  struct client_request request = {
      .client = &v->client,
      .method = v->method ? v->method
                : v->data ? "POST"
                          : "GET",
      .path = (const char *)path.bytes,
      .headers = v->headers.items,
      .body = v->data ? &v->body : NULL,
      .wants_headers = v->wants_headers || v->is_json,
  };
  bool ok = client_send(&request, reply, err);
  buffer_clear(&path);
  return ok;
}

/* Line by line, as pairs; what comes before the last status line was of interim replies. */
static cJSON *headers_json(struct buffer *headers) {
  cJSON *list = cJSON_CreateArray();
  char *rest = NULL;
  buffer_append(headers, "", 1);
  for (char *line = strtok_r((char *)headers->bytes, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
    char *colon = strchr(line, ':');
    bool is_status = strncmp(line, "HTTP/", 5) == 0;
    while (is_status && list->child) cJSON_DeleteItemFromArray(list, 0);
    if (is_status || !colon || !utf8_is_text(line, strlen(line))) continue;
    *colon = 0;
    const char *pair[] = {line, colon + 1 + strspn(colon + 1, " \t")};
    cJSON_AddItemToArray(list, cJSON_CreateStringArray(pair, 2));
  }
  return list;
}

/* With the members that `try --json` has. */
static void show_invoked_json(struct client_reply *reply) {
  cJSON *json = cJSON_CreateObject();
  const char *body = reply->body.size ? (const char *)reply->body.bytes : "";
  cJSON_AddNumberToObject(json, "status", (double)reply->status);
  cJSON_AddItemToObject(json, "headers", headers_json(&reply->headers));
  if (utf8_is_text(body, reply->body.size))
    cJSON_AddStringToObject(json, "body", body);
  else
    cli_json_base64(json, "body_base64", body, reply->body.size);
  if (reply->has_gas) cli_json_count(json, "gas", reply->gas);
  if (*reply->receipt) cJSON_AddStringToObject(json, "receipt", reply->receipt);
  cli_print_json(json, false);
}

/* A problem document is the server's word and becomes a sentence; any other body is the function's and is shown. */
static bool show_invoked(const struct invocation *v, struct client_reply *reply, struct gw_error *err) {
  if (v->is_json) {
    show_invoked_json(reply);
    return reply->status < 400 || client_problem(reply, err);
  }
  fwrite(reply->headers.bytes, 1, reply->headers.size, stdout);
  bool is_sentence = reply->status >= 400 && reply->is_problem && !v->wants_headers;
  if (!is_sentence) fwrite(reply->body.bytes, 1, reply->body.size, stdout);
  fflush(stdout);
  if (reply->has_gas && (v->is_verbose || isatty(STDERR_FILENO))) fprintf(stderr, "gas %llu\n", (unsigned long long)reply->gas);
  if (*reply->receipt && v->is_verbose) fprintf(stderr, "receipt %s\n", reply->receipt);
  return reply->status < 400 || client_problem(reply, err);
}

int cli_invoke(int argc, char **argv) {
  struct invocation v = {.client = client_default(), .path = ""};
  const struct cli_option options[] = {
      CLIENT_OPTIONS(&v.client),
      {"data", 'd', CLI_TEXT, &v.data, "BODY", "the request's body; @FILE reads a file, - standard input"},
      {"method", 'X', CLI_TEXT, &v.method, "METHOD", "POST with a body, else GET, unless told"},
      {"path", 'p', CLI_TEXT, &v.path, "PATH", "what follows the function's name: /rest?query; what needs it is percent-encoded"},
      {"header", 'H', CLI_LIST, &v.headers, "LINE", "a header line, 'Name: value'"},
      {"include", 'i', CLI_FLAG, &v.wants_headers, NULL, "show the reply's headers too"},
      {"verbose", 'v', CLI_FLAG, &v.is_verbose, NULL, "show gas and receipt on standard error, even if that is no terminal"},
      {"json", 0, CLI_FLAG, &v.is_json, NULL, "status, headers, body, gas and receipt as JSON"},
  };
  const struct cli_command command = {
      .name = "invoke",
      .arguments = "NAME[@ALIAS|@VERSION]",
      .description = "Calls the function NAME of the server and prints the reply's body.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 1,
      .max_operands = 1,
  };
  int exit_code;
  struct client_reply reply = {0};
  struct gw_error err = {0};
  if (cli_parse(&command, &argc, &argv, &exit_code)) {
    bool ok = invoke(&v, argv[0], &reply, &err) && show_invoked(&v, &reply, &err);
    exit_code = client_finish(ok, &reply, &err);
  }
  cli_list_clear(&v.headers);
  buffer_clear(&v.body);
  return exit_code;
}

/* --- list -------------------------------------------------------------------------------------------------------- */

/* A group and who is in it. */
static void show_group(const cJSON *group) {
  const cJSON *members = cJSON_GetObjectItem(group, "members"), *member;
  const char *name = client_text(group, "name");
  if (!cJSON_GetArraySize(members)) {
    printf("group %-18s has no function any more, its state is kept: gasworks delete --group %s\n", name, name);
    return;
  }
  printf("group %-18s is shared by", name);
  cJSON_ArrayForEach(member, members) printf(" %s", member->valuestring);
  printf("\n");
}

static void show_list(const struct client_reply *reply, bool is_json) {
  cJSON *json = client_json(reply, !is_json);
  const cJSON *functions = cJSON_GetObjectItem(json, "functions"), *f;
  if (is_json) {
    cli_print_json(json, false);
    return;
  }
  if (cJSON_GetArraySize(functions))
    printf("%-24s %7s %10s %-9s %-7s %-20s %s\n", "NAME", "VERSION", "BYTES", "INTERFACE", "ACCESS", "CREATED", "DIGEST");
  cJSON_ArrayForEach(f, functions) {
    printf("%-24s %7.0f %10.0f %-9s %-7s %-20s %.16s\n", client_text(f, "name"), client_number(f, "version"),
           client_number(f, "size"), client_text(f, "interface"), client_text(f, "access"), client_text(f, "created"),
           client_text(f, "digest"));
    const cJSON *quarantine = cJSON_GetObjectItem(f, "quarantine");
    if (quarantine) printf("  in quarantine since %s: %s\n", client_text(quarantine, "since"), client_text(quarantine, "detail"));
  }
  const cJSON *kept = cJSON_GetObjectItem(json, "kept_state");
  cJSON_ArrayForEach(f, kept)
      printf("%-24s is deleted, its state is kept: gasworks delete --state %s\n", f->valuestring, f->valuestring);
  cJSON_ArrayForEach(f, cJSON_GetObjectItem(json, "state_groups")) show_group(f);
  cJSON_Delete(json);
}

int cli_list(int argc, char **argv) {
  struct client client = client_default();
  bool is_json = false;
  const struct cli_option options[] = {CLIENT_OPTIONS(&client), CLIENT_JSON_OPTION(&is_json)};
  const struct cli_command command = {
      .name = "list",
      .arguments = "",
      .description = "Lists the functions of the server.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
  };
  int exit_code;
  struct client_reply reply = {0};
  struct gw_error err = {0};
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  struct client_request request = {.client = &client, .method = "GET", .path = "/v1/functions"};
  bool ok = client_ask(&request, &reply, &err);
  if (ok) show_list(&reply, is_json);
  return client_finish(ok, &reply, &err);
}

/* --- delete ------------------------------------------------------------------------------------------------------ */

/* What is to be deleted. */
struct removal {
  struct client client;
  bool is_json;
  const char *kind; /* functions or groups */
  char *name;
  const char *what; /* of it, behind its name */
};

/* The answer has no body. */
static void show_removal(const char *member, const char *name) {
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, member, name);
  cli_print_json(json, false);
}

static int remove_it(const struct removal *r, const char *member, const char *shown) {
  char path[320];
  struct client_reply reply = {0};
  struct gw_error err = {0};
  snprintf(path, sizeof path, "/v1/%s/%.255s%s", r->kind, r->name, r->what);
  struct client_request request = {.client = &r->client, .method = "DELETE", .path = path};
  bool ok = client_check_name(r->name, false, &err) && client_ask(&request, &reply, &err);
  if (ok && r->is_json) show_removal(member, shown);
  return client_finish(ok, &reply, &err);
}

/* NAME@VERSION or NAME@ALIAS. */
static int delete_word(struct removal *r) {
  char what[300], shown[320], *word = strchr(r->name, '@');
  snprintf(shown, sizeof shown, "%.310s", r->name);
  *word++ = 0;
  struct gw_error err = {0};
  if (!client_check_name(word, false, &err)) return cli_fail(&err);
  bool is_version = strspn(word, "0123456789") == strlen(word);
  snprintf(what, sizeof what, "/%s/%.255s", is_version ? "versions" : "aliases", word);
  r->what = what;
  return remove_it(r, "deleted", shown);
}

int cli_delete(int argc, char **argv) {
  struct removal r = {.client = client_default(), .kind = "functions", .what = ""};
  bool with_state = false, is_group = false;
  const struct cli_option options[] = {
      CLIENT_OPTIONS(&r.client),
      {"state", 0, CLI_FLAG, &with_state, NULL, "delete its state, too, and that of a group that it is the last one of"},
      {"group", 0, CLI_FLAG, &is_group, NULL, "NAME is a group that no function is in any more: delete its state"},
      {"json", 0, CLI_FLAG, &r.is_json, NULL, "what was deleted as JSON"},
  };
  const struct cli_command command = {
      .name = "delete",
      .arguments = "NAME[@VERSION|@ALIAS]",
      .description =
          "Deletes the function NAME of the server. Its state stays, and a later function of this name finds it, unless\n"
          "--state deletes it, too. With @, deletes one version that no alias leads to, or an alias.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 1,
      .max_operands = 1,
  };
  int exit_code;
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  bool is_word = strchr(argv[0], '@') != NULL;
  r.name = argv[0];
  if (is_group && (is_word || with_state)) return cli_misuse("delete", "--group wants the name of a group, and no --state");
  if (is_word && with_state) return cli_misuse("delete", "--state is for functions: all versions have one state");
  if (is_group) r.kind = "groups";
  if (with_state) r.what = "?state=delete";
  return is_word ? delete_word(&r) : remove_it(&r, "deleted", r.name);
}

/* --- lift -------------------------------------------------------------------------------------------------------- */

int cli_lift(int argc, char **argv) {
  struct removal r = {.client = client_default(), .kind = "functions", .what = "/quarantine"};
  const struct cli_option options[] = {CLIENT_OPTIONS(&r.client),
                                       {"json", 0, CLI_FLAG, &r.is_json, NULL, "what was lifted as JSON"}};
  const struct cli_command command = {
      .name = "lift",
      .arguments = "NAME",
      .description = "Ends the quarantine of the function NAME, which ran when the server crashed: it can be called again.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 1,
      .max_operands = 1,
  };
  int exit_code;
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  r.name = argv[0];
  return remove_it(&r, "lifted", r.name);
}
