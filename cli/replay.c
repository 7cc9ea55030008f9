/* gasworks replay: what a server ran, run again here, and every field of its receipt compared. */
#include "base/error.h"
#include "base/heap.h"
#include "cli/cache.h"
#include "cli/gas.h"
#include "cli/retrace.h"
#include "server/api/receipts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { EXIT_DIFFERS = 1, MAX_MODULES = 64 };

struct verb {
  struct rerun rerun;
  enum tier_choice tier;
  uint32_t opt_level, limit;
  const char *cpu, *schedule_path, *save, *function, *since, *with;
  uint32_t gas_percent;
  uint64_t until_gas;
  bool is_json, all;

  struct schedule schedule;
  struct gw_cache *cache;
  struct gw_engine *engine;
  struct gw_module *module;               /* that is run */
  struct gw_module *modules[MAX_MODULES]; /* made so far */
  size_t n_modules;
  struct gw_module *first;  /* that was run, where another is to take its place; else NULL */
  struct state_store *told; /* where many are run; else NULL */
  struct replay_result result;
};

/* --- what can be repeated ------------------------------------------------------------------------------------------ */

static bool check_outcome(const struct rerun *r, struct gw_error *err) {
  const struct leaf *leaf = &r->leaf;
  if (strcmp(function_short_name(r->function), FUNCTION_GATE) == 0)
    return error_set(err, GW_ERROR_USAGE, "the leaf has the gas of a gate's runs, which were those of other leaves");
  if (strcmp(function_short_name(r->function), FUNCTION_LOAD) == 0)
    return error_set(err, GW_ERROR_USAGE, "the leaf has the gas of a module that was sent, in which nothing ran");
  switch (leaf->fields[FIELD_OUTCOME].number) {
  case OUTCOME_REPLIED:
  case OUTCOME_TRAPPED:
  case OUTCOME_FAILED: return true;
  case OUTCOME_CANCELLED:
    return error_set(err, GW_ERROR_USAGE,
                     "the invocation was cancelled: where, nobody can repeat; `gasworks debug --receipt` looks into it");
  case OUTCOME_REPEATED:
    return error_set(err, GW_ERROR_USAGE, "nothing ran: the answer was that of an earlier request with the same Idempotency-Key");
  default: return error_set(err, GW_ERROR_USAGE, "the leaf is void: its index was given out for a commit that did not happen");
  }
}

/* --- the module ---------------------------------------------------------------------------------------------------- */

static bool make_engine(struct verb *v, struct gw_error *err) {
  if (!cli_read_schedule(v->schedule_path, &v->schedule, err)) return false;
  struct gw_engine_options options = {.opt_level = v->opt_level, .gas = true, .loose_traps = true, .schedule = &v->schedule};
  v->engine = gw_engine_create(&options, err);
  return v->engine != NULL;
}

/* Compiled for another kind of CPU: through the file that such a machine would get. */
static struct gw_module *compile_for(struct verb *v, struct gw_module *module, struct gw_error *err) {
  size_t size;
  void *bytes = gw_module_make_artifact(module, v->cpu, &size, err);
  gw_module_release(module);
  module = bytes ? gw_module_load_artifact(v->engine, bytes, size, err) : NULL;
  free(bytes);
  return module;
}

static struct gw_module *make_module_of(struct verb *v, const struct buffer *bytes, struct gw_error *err) {
  struct gw_module *module = gw_module_create(v->engine, bytes->bytes, bytes->size, err);
  return module && v->cpu ? compile_for(v, module, err) : module;
}

static bool make_module(struct verb *v, struct gw_error *err) {
  gw_module_release(v->module);
  v->module = make_module_of(v, &v->rerun.module, err);
  return v->module != NULL;
}

/* --- the answer ---------------------------------------------------------------------------------------------------- */

/* A reply that could not be stored or sent was one of the server's, not of the run. */
static bool is_comparable(const struct leaf *first, const struct leaf *second, enum leaf_field field) {
  bool was_refused = first->fields[FIELD_OUTCOME].number == OUTCOME_FAILED && !first->fields[FIELD_STATUS].is_there &&
                     second->fields[FIELD_OUTCOME].number == OUTCOME_REPLIED;
  return !was_refused || (field != FIELD_OUTCOME && field != FIELD_STATUS && field != FIELD_REPLY && field != FIELD_WRITTEN &&
                          field != FIELD_SENT);
}

static void add_difference(cJSON *list, const char *field, const cJSON *receipt, const cJSON *run) {
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "field", field);
  cJSON_AddItemToObject(json, "receipt", receipt ? cJSON_Duplicate(receipt, true) : cJSON_CreateNull());
  cJSON_AddItemToObject(json, "run", run ? cJSON_Duplicate(run, true) : cJSON_CreateNull());
  cJSON_AddItemToArray(list, json);
}

/* The receipt that this one names as its function's one before, where it can be had: whether it is. */
static void check_previous(const struct verb *v, cJSON *list) {
  char function[LEAF_MAX_TEXT + 64];
  if (rerun_has_previous(&v->rerun, function, sizeof function)) return;
  cJSON *fields = receipts_fields(&v->rerun.leaf), *found = cJSON_CreateString(function);
  add_difference(list, leaf_field_word(FIELD_PREVIOUS), cJSON_GetObjectItem(fields, leaf_field_word(FIELD_PREVIOUS)), found);
  cJSON_Delete(fields);
  cJSON_Delete(found);
}

static cJSON *differences(const struct verb *v) {
  const struct leaf *first = &v->rerun.leaf, *second = &v->result.draft.leaf;
  cJSON *list = cJSON_CreateArray(), *here = NULL, *there = NULL;
  enum leaf_field field;
  for (int at = 0; replay_compare(first, second, &at, &field);) {
    if (!is_comparable(first, second, field)) continue;
    if (!here) here = receipts_fields(first), there = receipts_fields(second);
    add_difference(list, leaf_field_word(field), cJSON_GetObjectItem(here, leaf_field_word(field)),
                   cJSON_GetObjectItem(there, leaf_field_word(field)));
  }
  check_previous(v, list);
  cJSON_Delete(here);
  cJSON_Delete(there);
  return list;
}

static char *print_value(const cJSON *value) { return cJSON_IsNull(value) ? strdup("nothing") : cJSON_PrintUnformatted(value); }

static const char *tier_word(enum tier_choice tier) {
  return tier == TIER_FAST ? "fast" : tier == TIER_BASELINE ? "baseline" : "precise";
}

static void say(const struct verb *v, const cJSON *list) {
  const struct replay_result *r = &v->result;
  uint64_t gas = 0;
  for (int i = FIELD_COMPUTE; i <= FIELD_STORAGE; i++) gas += r->draft.leaf.fields[i].number;
  bool is_same = !cJSON_GetArraySize(list) && !r->parted;
  printf("leaf %" PRIu64 ": function %s, %s, status %" PRIu64 ", gas %" PRIu64 ", in the %s tier: %s\n", v->rerun.id.index,
         v->rerun.function, leaf_outcome_word(r->draft.leaf.fields[FIELD_OUTCOME].number),
         r->draft.leaf.fields[FIELD_STATUS].number, gas, tier_word(v->tier), is_same ? "identical" : "it differs");
  if (r->parted) printf("%s\n", r->parted);
  const cJSON *first = cJSON_GetArrayItem(list, 0);
  if (first) {
    char *a = print_value(cJSON_GetObjectItem(first, "receipt")), *b = print_value(cJSON_GetObjectItem(first, "run"));
    printf("first difference: %s: the receipt has %s, this run %s\n", client_text(first, "field"), a, b);
    free(a);
    free(b);
  }
  if (!is_same && r->error.code) printf("this run: %s\n", r->error.message);
}

static void say_json(const struct verb *v, cJSON *list) {
  const struct replay_result *r = &v->result;
  cJSON *json = cJSON_CreateObject();
  cJSON_AddNumberToObject(json, "index", (double)v->rerun.id.index);
  cJSON_AddStringToObject(json, "tier", tier_word(v->tier));
  cJSON_AddBoolToObject(json, "identical", !cJSON_GetArraySize(list) && !r->parted);
  cJSON_AddItemToObject(json, "receipt", receipts_fields(&v->rerun.leaf));
  cJSON_AddItemToObject(json, "run", receipts_fields(&r->draft.leaf));
  cJSON_AddItemToObject(json, "differences", cJSON_Duplicate(list, true));
  if (r->parted) cJSON_AddStringToObject(json, "parted", r->parted);
  if (r->error.code) cJSON_AddStringToObject(json, "error", r->error.message);
  cli_print_json(json, false);
}

static int answer(const struct verb *v) {
  cJSON *list = differences(v);
  bool is_same = !cJSON_GetArraySize(list) && !v->result.parted;
  if (v->is_json)
    say_json(v, list);
  else
    say(v, list);
  cJSON_Delete(list);
  return is_same ? 0 : EXIT_DIFFERS;
}

static bool run(struct verb *v, struct gw_error *err) {
  static const enum gw_tier tiers[] = {
      [TIER_FAST] = GW_TIER_FAST, [TIER_PRECISE] = GW_TIER_PRECISE, [TIER_BASELINE] = GW_TIER_BASELINE};
  struct replay replay = {.engine = v->engine, .module = v->module, .tier = tiers[v->tier], .told = v->told};
  if (v->first) replay.first = gw_module_decoded(v->first);
  rerun_fill(&v->rerun, &replay);
  return replay_run(&replay, &v->result, err);
}

static int replay_one(struct verb *v, const char *id) {
  struct gw_error err = {0};
  bool ok = rerun_load_leaf(&v->rerun, id, &err) && check_outcome(&v->rerun, &err) && rerun_load_rest(&v->rerun, &err) &&
            (!v->save || rerun_save(&v->rerun, v->save, &err)) && make_engine(v, &err) && make_module(v, &err) && run(v, &err);
  return ok ? answer(v) : cli_fail(&err);
}

/* --- many ---------------------------------------------------------------------------------------------------------- */

/* What came of them. */
struct sum {
  uint64_t n, n_same, n_different, n_output, n_state, n_gas; /* of those that ran, by what is different */
  uint64_t n_not_run, n_lost;                                /* nothing ran to repeat; what it needs is not kept */
  uint64_t n_damaged;                                        /* what was kept is not what the receipt has digests of */
  struct gw_error damaged;                                   /* the first of these */
  double gas_first, gas_second;
  cJSON *first;   /* the first difference */
  char lost[256]; /* why the first was lost */
};

static double gas_of(const struct leaf *leaf) {
  double gas = 0;
  for (int i = FIELD_COMPUTE; i <= FIELD_STORAGE; i++) gas += (double)leaf->fields[i].number;
  return gas;
}

static bool is_gas(enum leaf_field field) { return field >= FIELD_COMPUTE && field <= FIELD_STORAGE; }

/* What a new version must not change: what who asks gets, and what is stored. */
static bool is_output(enum leaf_field field) {
  return field == FIELD_OUTCOME || field == FIELD_STATUS || field == FIELD_TRAP || field == FIELD_REPLY;
}

/* Which of these are different, for a new version; and whether that is a difference, as the user has it. */
static bool judge_version(const struct verb *v, struct sum *sum, cJSON *list) {
  const struct leaf *first = &v->rerun.leaf, *second = &v->result.draft.leaf;
  bool has_output = v->result.parted != NULL, has_state = false;
  enum leaf_field field;
  for (int at = 0; replay_compare(first, second, &at, &field);) {
    if (!is_comparable(first, second, field)) continue;
    has_output |= is_output(field);
    has_state |= field == FIELD_WRITTEN;
    if (!is_output(field) && field != FIELD_WRITTEN && !is_gas(field))
      for (int i = 0; i < cJSON_GetArraySize(list); i++)
        if (strcmp(client_text(cJSON_GetArrayItem(list, i), "field"), leaf_field_word(field)) == 0)
          cJSON_DeleteItemFromArray(list, i--);
  }
  bool has_gas = gas_of(second) > gas_of(first) * (1 + v->gas_percent / 100.0);
  sum->n_output += has_output;
  sum->n_state += has_state;
  sum->n_gas += has_gas;
  return has_output || has_state || has_gas;
}

static void note_difference(const struct verb *v, struct sum *sum, cJSON *list) {
  sum->n_different++;
  if (sum->first) {
    cJSON_Delete(list);
    return;
  }
  sum->first = cJSON_CreateObject();
  cJSON_AddNumberToObject(sum->first, "index", (double)v->rerun.id.index);
  cJSON_AddStringToObject(sum->first, "function", v->rerun.function);
  if (v->result.parted) cJSON_AddStringToObject(sum->first, "parted", v->result.parted);
  if (v->result.error.code) cJSON_AddStringToObject(sum->first, "error", v->result.error.message);
  cJSON_AddItemToObject(sum->first, "differences", list);
}

/* With the reference, unless it is remembered already. */
static void remember(struct verb *v, struct gw_module *module) {
  for (size_t i = 0; i < v->n_modules; i++)
    if (v->modules[i] == module) return;
  if (v->n_modules == MAX_MODULES) gw_module_release(v->modules[--v->n_modules]);
  v->modules[v->n_modules++] = module;
}

/* The module of the leaf, if another leaf had it; else NULL. */
static struct gw_module *known_module(const struct verb *v) {
  const struct leaf_value *digest = &v->rerun.leaf.fields[FIELD_MODULE];
  for (size_t i = 0; i < v->n_modules; i++)
    if (digest->size == DIGEST_SIZE && !memcmp(gw_module_digest(v->modules[i]), digest->bytes, DIGEST_SIZE)) return v->modules[i];
  return NULL;
}

static bool load_rest(struct verb *v, struct gw_error *err) {
  return rerun_load_inputs(&v->rerun, err) && (known_module(v) || rerun_load_module(&v->rerun, err));
}

static bool choose_module(struct verb *v, struct gw_error *err) {
  struct gw_module **which = v->with ? &v->first : &v->module, *found = known_module(v);
  if (!found && !(found = make_module_of(v, &v->rerun.module, err))) return false;
  bool is_known = *which == found;
  if (!is_known) {
    gw_module_release(*which);
    *which = gw_module_retain(found);
  }
  remember(v, found);
  return true;
}

/* False: it cannot go on. */
static bool repeat(struct verb *v, struct sum *sum, struct gw_error *err) {
  struct gw_error why = {0};
  if (check_outcome(&v->rerun, &why), why.code) {
    sum->n_not_run++;
    return true;
  }
  if (!load_rest(v, &why)) {
    if (why.code == GW_ERROR_INVALID) {
      if (!sum->n_damaged++) sum->damaged = why;
      return true;
    }
    if (why.code != GW_ERROR_NOT_FOUND) return *err = why, false;
    if (!sum->n_lost++) snprintf(sum->lost, sizeof sum->lost, "%s", why.message);
    return true;
  }
  replay_result_clear(&v->result);
  if (!choose_module(v, err) || !run(v, err)) return false;
  cJSON *list = differences(v);
  sum->n++;
  sum->gas_first += gas_of(&v->rerun.leaf);
  sum->gas_second += gas_of(&v->result.draft.leaf);
  bool is_different = v->with ? judge_version(v, sum, list) : cJSON_GetArraySize(list) || v->result.parted;
  if (is_different) {
    note_difference(v, sum, list);
  } else {
    sum->n_same++;
    cJSON_Delete(list);
  }
  return true;
}

/* "90", "90s", "5m", "1h", "2d". */
static bool parse_age(const char *text, uint64_t *seconds) {
  char *end;
  static const char units[] = "smhd";
  static const uint64_t sizes[] = {1, 60, 3600, 86400};
  *seconds = strtoull(text, &end, 10);
  if (end == text || *text == '-' || *seconds > UINT32_MAX) return false;
  const char *unit = *end ? strchr(units, *end) : units;
  if (!unit || (*end && end[1])) return false;
  *seconds *= sizes[unit - units];
  return true;
}

static bool say_many(const struct verb *v, const struct sum *sum) {
  printf("%" PRIu64 " invocations run again in the %s tier%s%s: %" PRIu64 " %s, %" PRIu64 " differ\n", sum->n, tier_word(v->tier),
         v->with ? " with " : "", v->with ? v->with : "", sum->n_same, v->with ? "the same" : "identical", sum->n_different);
  if (v->with)
    printf("differences: output %" PRIu64 ", state %" PRIu64 ", gas %" PRIu64
           " (more than %u %%); gas of all %.0f, now %.0f (%+.2f %%)\n",
           sum->n_output, sum->n_state, sum->n_gas, v->gas_percent, sum->gas_first, sum->gas_second,
           sum->gas_first ? 100 * (sum->gas_second / sum->gas_first - 1) : 0);
  if (sum->n_not_run) printf("%" PRIu64 " cannot be repeated: cancelled, repeated, void or of a gate\n", sum->n_not_run);
  if (sum->n_damaged) printf("%" PRIu64 " are damaged: %s\n", sum->n_damaged, sum->damaged.message);
  if (sum->n_lost) printf("%" PRIu64 " are not kept: %s\n", sum->n_lost, sum->lost);
  if (!sum->first) return true;
  printf("first: leaf %.0f of function %s\n", client_number(sum->first, "index"), client_text(sum->first, "function"));
  if (cJSON_GetObjectItem(sum->first, "parted")) printf("%s\n", client_text(sum->first, "parted"));
  const cJSON *one;
  cJSON_ArrayForEach(one, cJSON_GetObjectItem(sum->first, "differences")) {
    char *a = print_value(cJSON_GetObjectItem(one, "receipt")), *b = print_value(cJSON_GetObjectItem(one, "run"));
    printf("  %s: the receipt has %s, this run %s\n", client_text(one, "field"), a, b);
    free(a);
    free(b);
  }
  return true;
}

static void say_many_json(const struct verb *v, struct sum *sum) {
  cJSON *json = cJSON_CreateObject();
  cli_json_count(json, "run", sum->n);
  cli_json_count(json, "same", sum->n_same);
  cli_json_count(json, "different", sum->n_different);
  if (v->with) {
    cli_json_count(json, "output", sum->n_output);
    cli_json_count(json, "state", sum->n_state);
    cli_json_count(json, "gas", sum->n_gas);
  }
  cJSON_AddNumberToObject(json, "gas_before", sum->gas_first);
  cJSON_AddNumberToObject(json, "gas_now", sum->gas_second);
  cli_json_count(json, "not_repeatable", sum->n_not_run);
  cli_json_count(json, "not_kept", sum->n_lost);
  cli_json_count(json, "damaged", sum->n_damaged);
  if (sum->first) cJSON_AddItemToObject(json, "first", cJSON_Duplicate(sum->first, true));
  cli_print_json(json, false);
}

static bool load_version(struct verb *v, struct gw_error *err) {
  struct buffer bytes = {0};
  if (!v->with) return true;
  bool ok = cli_read_file(&bytes, v->with, err) && (v->module = make_module_of(v, &bytes, err));
  buffer_clear(&bytes);
  return ok;
}

static int replay_many(struct verb *v) {
  struct gw_error err = {0};
  struct sum sum = {0};
  struct rerun_walk walk = {.function = v->all ? NULL : v->function};
  uint64_t age = 0, n = 0;
  if (v->since && !parse_age(v->since, &age)) return cli_misuse("replay", "--since wants a time such as 90s, 5m, 1h or 2d");
  if (v->since) walk.not_before = (uint64_t)time(NULL) > age ? (uint64_t)time(NULL) - age : 0;
  bool ok = make_engine(v, &err) && load_version(v, &err) && (v->told = state_store_open_told(&err));
  while (ok && (!v->limit || n < v->limit) && rerun_walk_next(&v->rerun, &walk, &err)) {
    n++;
    ok = repeat(v, &sum, &err);
  }
  ok = ok && !err.code;
  struct gw_error nothing = {0};
  if (!sum.n) error_set(&nothing, GW_ERROR_PRECONDITION, "nothing was compared: no invocation could be run again");
  if (ok && v->is_json) say_many_json(v, &sum);
  if (ok && !v->is_json) say_many(v, &sum);
  const struct gw_error *why = !ok ? &err : sum.n_damaged ? &sum.damaged : &nothing;
  int exit_code = ok && sum.n_different ? EXIT_DIFFERS : why->code ? cli_fail(why) : 0;
  cJSON_Delete(sum.first);
  rerun_walk_clear(&walk);
  return exit_code;
}

static int replay(struct verb *v, int argc, char **argv) {
  bool is_many = v->function || v->all;
  if (v->cpu && v->tier != TIER_FAST) return cli_misuse("replay", "--cpu goes with --tier fast only");
  if (v->tier == TIER_AUTO) return cli_misuse("replay", "--tier wants fast, precise or baseline");
  if (is_many ? argc > 0 : argc != 1) return cli_misuse("replay", "it wants the ID of one receipt, or --function NAME");
  if (!is_many && (v->since || v->with || v->limit))
    return cli_misuse("replay", "--since, --limit and --with go with --function only");
  if (is_many && (v->save || v->rerun.from)) return cli_misuse("replay", "--save and --from are for one receipt");
  if (v->all && !v->rerun.data) return cli_misuse("replay", "--all goes with --data only");
  if (v->until_gas && (is_many || v->tier != TIER_PRECISE || v->save))
    return cli_misuse("replay", "--until-gas is for one receipt, in the precise tier");
  if (v->until_gas) return retrace(&v->rerun, argv[0], &(struct retrace){.until_gas = v->until_gas, .is_json = v->is_json});
  return is_many ? replay_many(v) : replay_one(v, argv[0]);
}

int cli_replay(int argc, char **argv) {
  struct verb *v = heap_new(1, sizeof *v);
  v->rerun.client = client_default();
  v->rerun.files = -1;
  v->tier = TIER_PRECISE;
  v->opt_level = 2;
  const struct cli_option options[] = {
      RERUN_OPTIONS(&v->rerun),
      {"save", 0, CLI_TEXT, &v->save, "DIR", "keep leaf, inputs and module here, for --from"},
      {"tier", 0, CLI_TIER, &v->tier, "fast|precise|baseline", "what it runs in; precise unless told"},
      {"optimize", 'O', CLI_LEVEL, &v->opt_level, "0..3", "optimisation level of compiled code; 2 unless told"},
      {"cpu", 0, CLI_TEXT, &v->cpu, "NAME", "x86-64-v2 to x86-64-v4: compiled code for all machines of that level"},
      {"schedule", 0, CLI_TEXT, &v->schedule_path, "FILE",
       "prices, as `gasworks schedule --text` prints them; built in unless told"},
      {"function", 0, CLI_TEXT, &v->function, "NAME", "in place of one receipt: those of this function, the newest first"},
      {"all", 0, CLI_FLAG, &v->all, NULL, "those of all functions, with --data"},
      {"since", 0, CLI_TEXT, &v->since, "AGE", "not those that are older, such as 90s, 5m, 1h, 2d"},
      {"limit", 'n', CLI_U32, &v->limit, "N", "so many at most; any number unless told"},
      {"with", 0, CLI_TEXT, &v->with, "FILE.wasm",
       "run this version instead, and tell what it does otherwise: replies, writes to state, more gas"},
      {"gas-percent", 0, CLI_U32, &v->gas_percent, "P", "with --with: so much more gas is no difference; 0 unless told"},
      {"until-gas", 0, CLI_NUMBER, &v->until_gas, "N", "stop there and show calls, locals, operands, memory; compares nothing"},
      {"json", 0, CLI_FLAG, &v->is_json, NULL, "all fields of receipt and run, and all differences, as JSON"},
  };
  const struct cli_command command = {
      .name = "replay",
      .arguments = "ID | --function NAME",
      .description =
          "Runs again what a server ran, on what it was asked, read and heard, and compares all fields of the receipt with\n"
          "this run's: exit code 0 if all are the same, 1 and the first difference if not. ID is what `invoke -v` shows,\n"
          "LOG/INDEX/HASH, or INDEX alone. With --function and --with it says what a new version would have done.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .max_operands = 1,
  };
  int exit_code;
  if (cli_parse(&command, &argc, &argv, &exit_code)) exit_code = replay(v, argc, argv);
  replay_result_clear(&v->result);
  gw_module_release(v->module);
  gw_module_release(v->first);
  for (size_t i = 0; i < v->n_modules; i++) gw_module_release(v->modules[i]);
  state_store_close(v->told);
  gw_engine_destroy(v->engine);
  rerun_clear(&v->rerun);
  free(v);
  return exit_code;
}
