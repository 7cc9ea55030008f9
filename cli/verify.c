/* gasworks verify: whether receipts and checkpoints are what they claim, by keys that the user names. What holds is said, a
 * sentence each; the first thing that does not is the error. */
#include "base/error.h"
#include "base/files.h"
#include "base/sha256.h"
#include "cli/cli.h"
#include "cli/evidence.h"
#include "cli/fetch.h"
#include "cli/gas.h"
#include "instrument/schedule.h"
#include "server/api/receipts.h"
#include "server/function/function.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAGE = 100, MAX_LEAF_FILE = LEAF_MAX, MAX_LIST_FILE = 64 << 20, MAX_SETTINGS_FILE = 1 << 20 };

struct verify {
  struct client client;
  struct cli_list key_options;
  const char *pin, *leaf, *proof, *receipts, *chain, *checkpoint, *old, *log, *schedule_path, *gas_text, *settings_path;
  bool is_json;
  bool has_id;
  struct evidence_id id;
  struct evidence_keys keys;
  struct evidence_chain links;
  struct evidence_heads heads; /* that were checked */
  struct schedule schedule;
  uint64_t gas; /* that the reply said */
  uint64_t n_priced, n_set;
  uint8_t settings[SHA256_SIZE];
  cJSON *held; /* sentences */
};

static void hold(struct verify *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void hold(struct verify *v, const char *format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (!v->is_json) puts(text);
  cJSON_AddItemToArray(v->held, cJSON_CreateString(text));
}

/* The whole file, with a 0 behind its end. */
static bool read_text(struct buffer *out, const char *path, size_t limit, struct gw_error *err) {
  bool ok = strcmp(path, "-") == 0 ? buffer_read_fd(out, STDIN_FILENO, "standard input", limit, err)
                                   : buffer_read_file(out, path, limit, err);
  if (ok) *buffer_reserve(out, 1) = 0;
  return ok;
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

static bool add_key_file(struct verify *v, const char *path, struct gw_error *err) {
  struct buffer text = {0};
  bool ok = read_text(&text, path, NOTE_MAX_SIZE, err);
  if (ok && memchr(text.bytes, 0, text.size)) ok = error_set(err, GW_ERROR_MALFORMED, "%s holds no text", path);
  ok = ok && evidence_add_keys(&v->keys, (char *)text.bytes, err);
  buffer_clear(&text);
  return ok;
}

static bool add_key(struct verify *v, const char *option, struct gw_error *err) {
  struct buffer text = {0};
  if (*option == '@') return add_key_file(v, option + 1, err);
  buffer_append(&text, option, strlen(option) + 1);
  bool ok = evidence_add_keys(&v->keys, (char *)text.bytes, err);
  buffer_clear(&text);
  return ok;
}

/* The first answer is believed, and kept: another log, or a key that was not there then, is refused from now on. */
static bool make_pin(struct verify *v, struct gw_error *err) {
  struct client_reply reply = {0};
  struct buffer text = {0};
  bool ok = fetch_get(&v->client, "/v1/log/keys", &reply, err);
  if (ok) buffer_append(&text, reply.body.bytes, reply.body.size);
  ok = ok && evidence_add_keys(&v->keys, (char *)reply.body.bytes, err) &&
       file_write_durably(v->pin, text.bytes, text.size, 0644, err);
  if (ok) hold(v, "%s keeps the keys of the log %s, believed this first time", v->pin, v->keys.keys[v->keys.n - 1].name);
  buffer_clear(&text);
  client_reply_clear(&reply);
  return ok;
}

static bool load_keys(struct verify *v, struct gw_error *err) {
  bool ok = true;
  for (size_t i = 0; ok && i < v->key_options.n; i++) ok = add_key(v, v->key_options.items[i], err);
  if (!ok || !v->pin) return ok;
  return access(v->pin, F_OK) == 0 ? add_key_file(v, v->pin, err) : make_pin(v, err);
}

/* --- receipts ----------------------------------------------------------------------------------------------------- */

/* NULL: none was checked yet. */
static const struct note_checkpoint *newest_head(const struct verify *v) {
  return v->heads.n ? &v->heads.items[v->heads.n - 1] : NULL;
}

/* By which prices, and how much: of what ran. What did not names no schedule and has no gas. */
static bool check_price(struct verify *v, const struct evidence_receipt *r, struct gw_error *err) {
  const struct leaf_value *schedule = &r->leaf.fields[FIELD_SCHEDULE];
  if (v->gas_text && v->gas != r->gas)
    return error_set(err, GW_ERROR_INVALID, "leaf %" PRIu64 " says %" PRIu64 " gas, and the reply said %" PRIu64, r->index,
                     r->gas, v->gas);
  if (!v->schedule_path || (!schedule->is_there && !r->gas)) return true;
  if (!schedule->is_there || memcmp(schedule->bytes, v->schedule.digest.bytes, DIGEST_SIZE) != 0)
    return error_set(err, GW_ERROR_INVALID, "leaf %" PRIu64 " was priced by another schedule than that of %s", r->index,
                     v->schedule_path);
  v->n_priced++;
  return true;
}

/* By the version whose settings they are. */
static bool check_settings(struct verify *v, const struct evidence_receipt *r, struct gw_error *err) {
  const struct leaf_value *settings = &r->leaf.fields[FIELD_SETTINGS];
  if (!v->settings_path || !r->leaf.fields[FIELD_MODULE].is_there) return true; /* it did not run */
  if (!settings->is_there || memcmp(settings->bytes, v->settings, sizeof v->settings) != 0)
    return error_set(err, GW_ERROR_INVALID, "leaf %" PRIu64 " ran with other settings than those of %s", r->index,
                     v->settings_path);
  v->n_set++;
  return true;
}

static bool load_settings(struct verify *v, struct gw_error *err) {
  struct buffer text = {0};
  struct sha256 s;
  if (!v->settings_path) return true;
  bool ok = read_text(&text, v->settings_path, MAX_SETTINGS_FILE, err);
  sha256_begin(&s);
  if (ok) sha256_add(&s, text.bytes, text.size);
  sha256_end(&s, v->settings);
  buffer_clear(&text);
  return ok;
}

static void say_price(struct verify *v) {
  if (v->gas_text) hold(v, "its gas is that of the reply, %" PRIu64, v->gas);
  if (v->schedule_path)
    hold(v, "%" PRIu64 " of them ran, each priced by version %" PRIu32 " of the schedule, which %s has", v->n_priced,
         v->schedule.version, v->schedule_path);
  if (v->settings_path) hold(v, "%" PRIu64 " of them ran, each with the settings that %s has", v->n_set, v->settings_path);
}

static void say_receipt(struct verify *v, const struct evidence_receipt *r) {
  const struct leaf_value *name = &r->leaf.fields[FIELD_FUNCTION];
  bool is_name = name->is_there && function_full_name_is_valid((const char *)name->bytes, name->size);
  hold(v, "leaf %" PRIu64 ": function %.*s, %s, status %" PRIu64 ", gas %" PRIu64, r->index, is_name ? (int)name->size : 1,
       is_name ? (const char *)name->bytes : "-", leaf_outcome_word(r->leaf.fields[FIELD_OUTCOME].number),
       r->leaf.fields[FIELD_STATUS].number, r->gas);
  hold(v, "it is in the tree of the %" PRIu64 " leaves of %s", r->head.size, r->head.origin);
}

/* What a server says beside the leaf, for people to read, must be what the leaf says. `json` may be NULL. */
static bool is_as_said(const cJSON *json, const struct evidence_receipt *r) {
  char hash[2 * TREE_HASH_SIZE + 1];
  if (!json) return true;
  sodium_bin2hex(hash, sizeof hash, r->hash.bytes, TREE_HASH_SIZE);
  cJSON *fields = receipts_fields(&r->leaf);
  bool ok = cJSON_Compare(fields, cJSON_GetObjectItem(json, "fields"), true) && strcmp(client_text(json, "hash"), hash) == 0 &&
            client_number(json, "index") == (double)r->index;
  cJSON_Delete(fields);
  return ok;
}

static bool check_evidence(struct verify *v, const struct evidence *e, const cJSON *json, struct gw_error *err) {
  struct evidence_receipt r;
  if (!evidence_check_receipt(e, &v->keys, &r, err)) return false;
  if (!is_as_said(json, &r))
    return error_set(err, GW_ERROR_INVALID, "what stands beside leaf %" PRIu64 " is not what it says", r.index);
  if (v->has_id && !evidence_check_id(&r, &v->id, err)) return false;
  if (v->chain && !evidence_chain_add(&v->links, &r, err)) return false;
  if (!check_price(v, &r, err) || !check_settings(v, &r, err) || !evidence_heads_add(&v->heads, &r.head, err)) return false;
  if (!v->chain) say_receipt(v, &r);
  return true;
}

static bool check_files(struct verify *v, struct gw_error *err) {
  struct buffer leaf = {0}, proof = {0};
  bool ok = read_text(&leaf, v->leaf, MAX_LEAF_FILE, err) && read_text(&proof, v->proof, NOTE_MAX_SIZE, err);
  struct evidence e = {leaf.bytes, proof.bytes, leaf.size, proof.size};
  ok = ok && check_evidence(v, &e, NULL, err);
  buffer_clear(&leaf);
  buffer_clear(&proof);
  return ok;
}

static bool check_json(struct verify *v, const cJSON *receipt, struct gw_error *err) {
  uint8_t leaf[LEAF_MAX];
  size_t size;
  const char *proof;
  if (!fetch_leaf(receipt, leaf, &size, &proof)) return error_set(err, GW_ERROR_INVALID, "this is no receipt: it has no leaf");
  if (!proof) return error_set(err, GW_ERROR_INVALID, "the receipt has no proof yet; ask for it again");
  struct evidence e = {leaf, proof, size, strlen(proof)};
  return check_evidence(v, &e, receipt, err);
}

/* One receipt, or a list of them. */
static bool check_all(struct verify *v, const cJSON *json, struct gw_error *err) {
  const cJSON *list = cJSON_GetObjectItem(json, "receipts"), *receipt;
  bool ok = true;
  if (!list) return check_json(v, json, err);
  cJSON_ArrayForEach(receipt, list) ok = ok && check_json(v, receipt, err);
  if (ok && !cJSON_GetArraySize(list)) return error_set(err, GW_ERROR_INVALID, "the list has no receipt");
  return ok;
}

static bool check_list_file(struct verify *v, struct gw_error *err) {
  struct buffer text = {0};
  bool ok = read_text(&text, v->receipts, MAX_LIST_FILE, err);
  cJSON *json = ok ? cJSON_ParseWithLength((const char *)text.bytes, text.size) : NULL;
  if (ok && !json) ok = error_set(err, GW_ERROR_INVALID, "%s is no JSON", v->receipts);
  ok = ok && check_all(v, json, err);
  cJSON_Delete(json);
  buffer_clear(&text);
  return ok;
}

static bool check_from_server(struct verify *v, struct gw_error *err) {
  cJSON *json = fetch_receipt(&v->client, v->id.index, true, err);
  bool ok = json && check_json(v, json, err);
  cJSON_Delete(json);
  return ok;
}

/* A receipt that no checkpoint covers yet cannot be checked: the newest one is waited for. */
static bool wait_for_newest(struct verify *v, uint64_t *newest, struct gw_error *err) {
  cJSON *json = fetch_receipts(&v->client, v->chain, 1, 0, err);
  double index = client_number(cJSON_GetArrayItem(cJSON_GetObjectItem(json, "receipts"), 0), "index");
  *newest = index > 0 && index < 1ull << 53 ? (uint64_t)index : 0;
  bool ok = json != NULL;
  cJSON_Delete(json);
  json = ok ? fetch_receipt(&v->client, *newest, true, err) : NULL;
  ok = json != NULL;
  cJSON_Delete(json);
  return ok;
}

static bool check_chain_from_server(struct verify *v, struct gw_error *err) {
  uint64_t newest = 0;
  bool ok = wait_for_newest(v, &newest, err);
  for (uint64_t before = newest + 1; ok && before;) {
    cJSON *json = fetch_receipts(&v->client, v->chain, PAGE, before, err);
    double next = client_number(json, "next");
    ok = json && check_all(v, json, err);
    if (ok && next && next >= (double)before) ok = error_set(err, GW_ERROR_UNAVAILABLE, "the server's list does not end");
    before = ok && next > 0 ? (uint64_t)next : 0;
    cJSON_Delete(json);
  }
  return ok;
}

static void say_chain(struct verify *v) {
  const struct evidence_chain *c = &v->links;
  char end[64] = "its first";
  if (c->has_previous) snprintf(end, sizeof end, "which names leaf %" PRIu64 ", not shown", c->previous);
  hold(v, "the chain of %s is unbroken: %" PRIu64 " leaves, from %" PRIu64 " back to %" PRIu64 ", %s", c->function, c->n,
       c->newest, c->oldest, c->is_gap ? "which is void" : end);
  hold(v, "they are in the trees of checkpoints of %s, the largest of %" PRIu64 " leaves", newest_head(v)->origin,
       newest_head(v)->size);
}

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

static bool load_head(struct verify *v, const char *path, struct note_checkpoint *head, struct gw_error *err) {
  struct buffer text = {0};
  bool ok = read_text(&text, path, NOTE_MAX_SIZE, err) && evidence_check_head(text.bytes, text.size, &v->keys, head, err);
  buffer_clear(&text);
  return ok;
}

static bool fetch_head(struct verify *v, struct gw_error *err) {
  struct client_reply reply = {0};
  struct note_checkpoint head;
  bool ok = fetch_get(&v->client, "/v1/log/checkpoint", &reply, err) &&
            evidence_check_head(reply.body.bytes, reply.body.size, &v->keys, &head, err) &&
            evidence_heads_add(&v->heads, &head, err);
  client_reply_clear(&reply);
  return ok;
}

static bool check_growth(struct verify *v, const struct note_checkpoint *old, const struct note_checkpoint *new,
                         struct gw_error *err) {
  struct fetch_tiles tiles = {.client = &v->client, .directory = v->log, .size = new->size, .err = err};
  struct tree_source source = {fetch_hashes, &tiles};
  if (!evidence_check_growth(&source, old, new, err)) return false;
  hold(v, "the log of %" PRIu64 " leaves continues the log of %" PRIu64 ": nothing was changed", new->size, old->size);
  return true;
}

/* All that were shown are of one log, which only grew between them: else who sees one is shown another log than who sees the
 * other. Where nobody may be asked for hashes, that is said. */
static bool compare_heads(struct verify *v, struct gw_error *err) {
  bool may_ask = v->log || v->checkpoint || (!v->leaf && !v->receipts);
  if (v->heads.n < 2) return true;
  if (!may_ask) {
    hold(v, "not compared: %zu checkpoints with each other, which takes the log's hashes (--log)", v->heads.n);
    return true;
  }
  if (v->heads.n == 2) return check_growth(v, &v->heads.items[0], &v->heads.items[1], err);
  struct fetch_tiles tiles = {.client = &v->client, .directory = v->log, .size = newest_head(v)->size, .err = err};
  if (!evidence_heads_check(&v->heads, &(struct tree_source){fetch_hashes, &tiles}, err)) return false;
  hold(v, "the newest of the %zu checkpoints continues each of the others: nothing was changed", v->heads.n);
  return true;
}

/* A checkpoint that is given must be the log of the receipts that are given, too: whichever is older begins the other. */
static bool check_heads(struct verify *v, struct gw_error *err) {
  struct note_checkpoint given, old;
  if (v->checkpoint) {
    if (!load_head(v, v->checkpoint, &given, err)) return false;
    hold(v, "the checkpoint of %" PRIu64 " leaves is signed by %s", given.size, given.origin);
    if (!evidence_heads_add(&v->heads, &given, err)) return false;
  }
  if (!compare_heads(v, err)) return false;
  if (!v->old) return true;
  if (!load_head(v, v->old, &old, err) || (!v->heads.n && !fetch_head(v, err))) return false;
  return check_growth(v, &old, newest_head(v), err);
}

/* --- the verb ----------------------------------------------------------------------------------------------------- */

static bool run(struct verify *v, struct gw_error *err) {
  bool ok =
      load_keys(v, err) && (!v->schedule_path || cli_read_schedule(v->schedule_path, &v->schedule, err)) && load_settings(v, err);
  if (ok && v->leaf) ok = check_files(v, err);
  if (ok && v->receipts) ok = check_list_file(v, err);
  if (ok && v->has_id && !v->leaf && !v->receipts) ok = check_from_server(v, err);
  if (ok && v->chain && !v->receipts) ok = check_chain_from_server(v, err);
  if (ok && v->chain) say_chain(v);
  if (ok) say_price(v);
  return ok && check_heads(v, err);
}

static int finish(struct verify *v, bool ok, const struct gw_error *err) {
  int exit_code = ok ? 0 : gw_error_exit_code(err);
  if (!v->is_json) {
    if (ok) puts("all holds");
    return ok ? 0 : cli_fail(err);
  }
  cJSON *json = cJSON_CreateObject();
  cJSON_AddBoolToObject(json, "holds", ok);
  cJSON_AddItemReferenceToObject(json, "held", v->held);
  if (!ok) cJSON_AddStringToObject(json, "wrong", err->message);
  cli_print_json(json, false);
  return exit_code;
}

/* NULL: it can be done. */
static const char *what_is_wrong(const struct verify *v) {
  if (!v->key_options.n && !v->pin) return "whose word counts? --key KEY or @FILE, or --pin FILE";
  if (!v->leaf != !v->proof) return "--leaf and --proof belong together";
  if (v->receipts && v->leaf) return "--receipts has leaves and proofs of its own";
  if (v->chain && (v->has_id || v->leaf)) return "--chain is about a list of receipts, not about one";
  if (v->chain && (!*v->chain || strlen(v->chain) > LEAF_MAX_TEXT)) return "--chain wants a function's name";
  bool has_one = v->leaf || (v->has_id && !v->receipts), has_some = has_one || v->receipts || v->chain;
  if (v->gas_text && (!has_one || v->chain)) return "--gas is what the reply of one receipt said";
  if ((v->schedule_path || v->settings_path) && !has_some) return "--schedule and --settings are about receipts";
  if (has_some || v->checkpoint || v->old) return NULL;
  return "there is nothing to verify";
}

static bool read_gas(struct verify *v, struct gw_error *err) {
  if (!v->gas_text) return true;
  size_t size = strlen(v->gas_text);
  v->gas = strtoull(v->gas_text, NULL, 10);
  return (size && size <= 19 && strspn(v->gas_text, "0123456789") == size) ||
         error_set(err, GW_ERROR_USAGE, "--gas wants a number, as Gasworks-Gas has it");
}

int cli_verify(int argc, char **argv) {
  struct verify v = {.client = client_default()};
  const struct cli_option options[] = {
      CLIENT_OPTIONS(&v.client),
      {"key", 'k', CLI_LIST, &v.key_options, "KEY|@FILE",
       "a public key of the log, ORIGIN+ID+KEY, or a file of some, one a line"},
      {"pin", 0, CLI_TEXT, &v.pin, "FILE", "a file of keys; where it is not there yet, the server's, which are kept in it"},
      {"leaf", 0, CLI_TEXT, &v.leaf, "FILE", "the receipt's bytes, as `receipts leaf` writes them; no server is asked"},
      {"proof", 0, CLI_TEXT, &v.proof, "FILE", "their proof, as `receipts proof` writes it"},
      {"receipts", 0, CLI_TEXT, &v.receipts, "FILE", "receipts, as `receipts get|list --json` writes them; no server is asked"},
      {"chain", 0, CLI_TEXT, &v.chain, "FUNCTION", "all receipts of the function, each the one that the next names"},
      {"checkpoint", 0, CLI_TEXT, &v.checkpoint, "FILE", "a checkpoint; receipts must be of its log"},
      {"old", 0, CLI_TEXT, &v.old, "FILE",
       "an older checkpoint, whose tree must begin that of the newer one; that is the server's unless told"},
      {"log", 0, CLI_TEXT, &v.log, "DIR", "a copy of the log's tile/..., asked for hashes instead of the server"},
      {"schedule", 0, CLI_TEXT, &v.schedule_path, "FILE",
       "the prices, as `gasworks schedule --text` prints them: by these what ran was priced"},
      {"settings", 0, CLI_TEXT, &v.settings_path, "FILE",
       "settings of a version, as `receipts settings` writes them: with these it ran"},
      {"gas", 0, CLI_TEXT, &v.gas_text, "N", "the reply's Gasworks-Gas, which the receipt's kinds of gas together are"},
      {"json", 0, CLI_FLAG, &v.is_json, NULL, "what holds, and what does not, as JSON"},
  };
  const struct cli_command command = {
      .name = "verify",
      .arguments = "[ID]",
      .description =
          "Checks the receipt ID of the server, or what files hold: that leaves are whole, that they are in the tree of a\n"
          "checkpoint, that the log's key has signed it, that logs only grow, that no leaf of a chain is missing.\n"
          "Exit code 0 says that all holds. docs/receipts.md says what is checked.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .max_operands = 1,
  };
  int exit_code;
  struct gw_error err = {0};
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  v.has_id = argc > 0;
  const char *wrong = what_is_wrong(&v);
  if (wrong) {
    exit_code = cli_misuse("verify", "%s", wrong);
  } else {
    v.held = cJSON_CreateArray();
    if (v.chain) snprintf(v.links.function, sizeof v.links.function, "%s", v.chain);
    bool ok = read_gas(&v, &err) && (!v.has_id || evidence_parse_id(&v.id, argv[0], &err)) && run(&v, &err);
    exit_code = finish(&v, ok, &err);
    cJSON_Delete(v.held);
    evidence_heads_clear(&v.heads);
  }
  cli_list_clear(&v.key_options);
  return exit_code;
}
