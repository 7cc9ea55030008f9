/* gasworks receipts: what a server's log says of invocations. Whether it is true says `gasworks verify`. */
#include "base/error.h"
#include "cli/cli.h"
#include "cli/evidence.h"
#include "cli/fetch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MAX_LIST = 100 };

struct command {
  struct client client;
  const char *operand; /* behind the command's name; NULL: there is none */
  uint32_t limit;
  bool is_json;
};

/* --- of functions ------------------------------------------------------------------------------------------------- */

static double gas_of(const cJSON *fields) {
  return client_number(fields, "gas_compute") + client_number(fields, "gas_host") + client_number(fields, "gas_bytes") +
         client_number(fields, "gas_storage");
}

static void print_time(double seconds, char out[32]) {
  time_t t = seconds > 0 && seconds < 253402300800 /* the year 10000 */ ? (time_t)seconds : 0;
  struct tm tm;
  strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
}

static void show_list(const cJSON *json) {
  const cJSON *receipt, *list = cJSON_GetObjectItem(json, "receipts");
  char when[32];
  if (cJSON_GetArraySize(list)) printf("%12s %-20s %-9s %6s %14s %s\n", "INDEX", "TIME", "OUTCOME", "STATUS", "GAS", "HASH");
  cJSON_ArrayForEach(receipt, list) {
    const cJSON *fields = cJSON_GetObjectItem(receipt, "fields");
    print_time(client_number(fields, "time"), when);
    printf("%12.0f %-20s %-9s %6.0f %14.0f %.16s\n", client_number(receipt, "index"), when, client_text(fields, "outcome"),
           client_number(fields, "status"), gas_of(fields), client_text(receipt, "hash"));
  }
  if (cJSON_IsTrue(cJSON_GetObjectItem(json, "forgotten"))) printf("those before were forgotten, as the server was told to\n");
}

static bool list(struct command *c, struct gw_error *err) {
  cJSON *json = fetch_receipts(&c->client, c->operand, c->limit, 0, err);
  if (!json) return false;
  if (c->is_json) {
    cli_print_json(json, false);
    return true;
  }
  cli_make_plain(json);
  show_list(json);
  cJSON_Delete(json);
  return true;
}

/* --- one receipt -------------------------------------------------------------------------------------------------- */

/* Of another log's receipt there may be one of the same index here. */
static cJSON *find(struct command *c, bool needs_proof, struct gw_error *err) {
  struct evidence_id id;
  if (!evidence_parse_id(&id, c->operand, err)) return NULL;
  cJSON *json = fetch_receipt(&c->client, id.index, needs_proof, err);
  if (!json || !*id.log || strcmp(id.log, client_text(json, "log")) == 0) return json;
  error_set(err, GW_ERROR_NOT_FOUND, "the server's log is %.40s, not that of the receipt", client_text(json, "log"));
  cJSON_Delete(json);
  return NULL;
}

static bool get(struct command *c, struct gw_error *err) {
  cJSON *json = find(c, c->is_json, err);
  const cJSON *field;
  if (!json) return false;
  if (c->is_json) {
    cli_print_json(json, false);
    return true;
  }
  cli_make_plain(json);
  printf("%-12s %s/%.0f/%s\n", "receipt", client_text(json, "log"), client_number(json, "index"), client_text(json, "hash"));
  cJSON_ArrayForEach(field, cJSON_GetObjectItem(json, "fields")) {
    if (cJSON_IsString(field))
      printf("%-12s %s\n", field->string, field->valuestring);
    else
      printf("%-12s %.0f\n", field->string, cJSON_IsNumber(field) ? field->valuedouble : 0);
  }
  cJSON_Delete(json);
  return true;
}

/* With --json, the receipt's member of that name. */
static bool print(const struct command *c, const char *name, const void *bytes, size_t size, const char *text) {
  if (!c->is_json) return fwrite(bytes, 1, size, stdout) == size;
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, name, text);
  cli_print_json(json, false);
  return true;
}

static bool show_part(struct command *c, bool is_proof, struct gw_error *err) {
  cJSON *json = find(c, is_proof, err);
  uint8_t leaf[LEAF_MAX];
  size_t size;
  const char *proof;
  if (!json) return false;
  bool ok = fetch_leaf(json, leaf, &size, &proof) && (proof || !is_proof);
  if (!ok) error_set(err, GW_ERROR_UNAVAILABLE, "the server's answer is no receipt");
  if (ok && is_proof)
    print(c, "proof", proof, strlen(proof), proof);
  else if (ok)
    print(c, "leaf", leaf, size, client_text(json, "leaf"));
  cJSON_Delete(json);
  return ok;
}

static bool leaf(struct command *c, struct gw_error *err) { return show_part(c, false, err); }
static bool proof(struct command *c, struct gw_error *err) { return show_part(c, true, err); }

/* --- the log ------------------------------------------------------------------------------------------------------ */

static bool show_text(struct command *c, const char *path, const char *name, struct gw_error *err) {
  struct client_reply reply = {0};
  bool ok = fetch_get(&c->client, path, &reply, err);
  if (ok) print(c, name, reply.body.bytes, reply.body.size, (const char *)reply.body.bytes);
  client_reply_clear(&reply);
  return ok;
}

static bool checkpoint(struct command *c, struct gw_error *err) { return show_text(c, "/v1/log/checkpoint", "checkpoint", err); }
static bool keys(struct command *c, struct gw_error *err) { return show_text(c, "/v1/log/keys", "keys", err); }

/* FUNCTION or FUNCTION@VERSION. */
static bool settings(struct command *c, struct gw_error *err) {
  char path[400];
  const char *at = strchr(c->operand, '@');
  int size = (int)(at ? at - c->operand : (long)strlen(c->operand));
  if (!client_check_name(c->operand, true, err)) return false;
  snprintf(path, sizeof path, "/v1/functions/%.*s/settings%s%.20s", size, c->operand, at ? "?version=" : "", at ? at + 1 : "");
  return show_text(c, path, "settings", err);
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

static const struct {
  const char *name;
  bool has_operand;
  bool (*run)(struct command *c, struct gw_error *err);
} commands[] = {
    {"list", true, list},
    {"get", true, get},
    {"leaf", true, leaf},
    {"proof", true, proof},
    {"checkpoint", false, checkpoint},
    {"keys", false, keys},
    {"settings", true, settings},
};

static int find_and_run(struct command *c, int argc, char **argv) {
  struct gw_error err = {0};
  size_t which = 0, n = sizeof commands / sizeof *commands;
  while (which < n && strcmp(commands[which].name, argv[0]) != 0) which++;
  if (which == n) return cli_misuse("receipts", "there is no command %s", argv[0]);
  if (commands[which].has_operand != (argc > 1))
    return cli_misuse("receipts", "%s does not take %d arguments", argv[0], argc - 1);
  c->operand = argc > 1 ? argv[1] : NULL;
  bool ok = commands[which].run(c, &err);
  if (ok && fflush(stdout)) ok = error_set(&err, GW_ERROR_IO, "cannot write to standard output");
  return ok ? 0 : cli_fail(&err);
}

int cli_receipts(int argc, char **argv) {
  struct command c = {.client = client_default(), .limit = 20};
  const struct cli_option options[] = {
      CLIENT_OPTIONS(&c.client),
      {"limit", 'n', CLI_U32, &c.limit, "N", "list: so many at most, 1 to 100; 20 unless told"},
      CLIENT_JSON_OPTION(&c.is_json),
  };
  static const struct cli_range ranges[] = {{"limit", 1, MAX_LIST}, {0}};
  const struct cli_command command = {
      .name = "receipts",
      .arguments = "list FUNCTION | get ID | leaf ID | proof ID | checkpoint | keys | settings FUNCTION[@VERSION]",
      .description =
          "Shows the newest receipts of a function; the fields of one, its bytes, or its proof (c2sp.org/tlog-proof);\n"
          "the log's checkpoint; its public keys; the settings that receipts of a version have a digest of. ID is what `invoke "
          "-v` shows, LOG/INDEX/HASH, or INDEX alone.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .ranges = ranges,
      .min_operands = 1,
      .max_operands = 2,
  };
  int exit_code;
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  return find_and_run(&c, argc, argv);
}
