#include "server/replay/gate.h"

#include "base/clock.h"
#include "base/error.h"
#include "jit/artifact/file_kind.h"
#include "runtime/receipt/files.h"
#include "runtime/receipt/receipt.h"
#include "server/inputs/store.h"
#include "server/usage/account.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SECOND UINT64_C(1000000000)

/* SHORT, LONGEST_SLEEP: nanoseconds. */
enum { GAS_KINDS = FIELD_STORAGE - FIELD_COMPUTE + 1, SHORT = 1000000, LONGEST_SLEEP = 50000000 };

/* One passage under way. */
struct passage {
  const struct gate *gate;
  struct inputs_reader *reader;
  struct gw_module *module; /* the new one */
  struct gw_module *first;  /* the last leaf's, which names the host functions that its record has */
  uint64_t n, n_different, n_output, n_state, n_gas, n_skipped, n_damaged;
  double gas_before, gas_now;
  uint64_t first_index;
  const char *first_field; /* of the first difference; NULL: there is none */
  bool is_cut;             /* time was over */
  bool is_spent;           /* the tenant's balance */

  struct account *account; /* NULL: nobody pays */
  uint64_t charged;
  uint64_t until, slept_at; /* CLOCK_MONOTONIC: when time is over, and when it slept last */
  uint64_t used[GAS_KINDS]; /* gas of all runs, from FIELD_COMPUTE on */
  uint64_t cpu_ns;
  uint8_t schedule[DIGEST_SIZE]; /* that they ran by */
};

static bool is_ending(const struct gate *gate) { return atomic_load_explicit(gate->is_ending, memory_order_relaxed); }

/* --- time, and who pays for it -------------------------------------------------------------------------------------- */

static void sleep_ns(uint64_t ns) {
  struct timespec t = {.tv_sec = (time_t)(ns / SECOND), .tv_nsec = (long)(ns % SECOND)};
  nanosleep(&t, NULL);
}

static bool must_end(struct passage *p) {
  p->is_cut |= clock_ns(CLOCK_MONOTONIC) > p->until;
  p->is_spent = p->account && account_is_spent(p->account);
  return p->is_cut || p->is_spent || is_ending(p->gate);
}

/* As long as what came before took, and as long as the tenant's rate of gas wants. */
static void give_way(struct passage *p) {
  uint64_t took = clock_ns(CLOCK_MONOTONIC) - p->slept_at, wait;
  sleep_ns(took < LONGEST_SLEEP ? took : LONGEST_SLEEP);
  while (p->account && !must_end(p) && (wait = account_wait_ns(p->account)))
    sleep_ns(wait < LONGEST_SLEEP ? wait : LONGEST_SLEEP);
  p->slept_at = clock_ns(CLOCK_MONOTONIC);
}

/* Behind each leaf: what cannot be repeated has no slices, but looking for its inputs takes time, too. */
static void give_way_at_times(struct passage *p) {
  if (clock_ns(CLOCK_MONOTONIC) - p->slept_at >= SHORT) give_way(p);
}

/* Behind each slice. */
static bool go_on(void *arg, uint64_t gas) {
  struct passage *p = arg;
  if (p->account) account_charge(p->account, gas);
  p->charged += gas;
  give_way(p);
  return !must_end(p);
}

static bool begin_to_pay(struct passage *p, uint64_t *claim, struct gw_error *err) {
  const struct gate *gate = p->gate;
  struct account_refusal why;
  if (!gate->usage) return true;
  struct account *account = usage_account(gate->usage, gate->before->name);
  *claim = function_max_memory(gate->before, gate->limits);
  if (!account_begin(account, *claim, &why))
    return error_set(err, GW_ERROR_LIMIT, "the gate does not run: %s; nothing was deployed", why.detail);
  p->account = account;
  return true;
}

static struct leaf leaf_of(const struct passage *p, const char *function) {
  struct leaf leaf = {0};
  bool is_passed = !p->n_different && !p->is_spent && !is_ending(p->gate);
  leaf_set_number(&leaf, FIELD_FORMAT, LEAF_FORMAT);
  leaf_set_number(&leaf, FIELD_OUTCOME, is_passed ? OUTCOME_REPLIED : OUTCOME_FAILED);
  leaf_set_bytes(&leaf, FIELD_FUNCTION, function, strlen(function));
  leaf_set_bytes(&leaf, FIELD_MODULE, gw_module_digest(p->module), DIGEST_SIZE);
  leaf_set_bytes(&leaf, FIELD_SCHEDULE, p->schedule, DIGEST_SIZE);
  leaf_set_number(&leaf, FIELD_SEMANTICS, LEAF_SEMANTICS);
  leaf_set_number(&leaf, FIELD_TIME, clock_ns(CLOCK_REALTIME) / SECOND);
  for (int i = 0; i < GAS_KINDS; i++) leaf_set_number(&leaf, (enum leaf_field)(FIELD_COMPUTE + i), p->used[i]);
  if (p->cpu_ns) leaf_set_number(&leaf, FIELD_CPU, p->cpu_ns);
  return leaf;
}

/* One receipt of all runs, and the bill of that. False: there is no room for it. */
static bool pay(struct passage *p, uint64_t claim) {
  struct receipt_log *log = p->gate->receipts;
  struct receipt_place place;
  char function[FUNCTION_MAX_FULL_NAME + 1];
  uint8_t bytes[LEAF_MAX];
  size_t behind;
  function_full_name(p->gate->tenant, FUNCTION_GATE, function);
  struct leaf leaf = leaf_of(p, function);
  size_t size = leaf_encode_behind(NULL, &leaf, bytes, &behind);
  bool has_run = p->n || p->charged;
  bool ok = !has_run || receipt_log_reserve(log, receipt_log_chain(log, function), bytes, size, behind, &place);
  if (ok && has_run) receipt_log_fill(&place, bytes);
  struct usage_sum sum = usage_of_leaf(&leaf);
  if (p->account) account_bill(p->account, p->charged, ok && has_run ? &sum : NULL);
  if (p->account) account_end(p->account, claim);
  return ok;
}

/* --- one invocation ------------------------------------------------------------------------------------------------- */

static double gas_of(const struct leaf *leaf) {
  double gas = 0;
  for (int i = 0; i < GAS_KINDS; i++) gas += (double)leaf->fields[FIELD_COMPUTE + i].number;
  return gas;
}

static bool has_digest(const struct gw_module *module, const struct leaf_value *digest) {
  return module && digest->size == DIGEST_SIZE && memcmp(gw_module_digest(module), digest->bytes, DIGEST_SIZE) == 0;
}

/* False: no version has it any more. */
static bool load_first(struct passage *p, const struct leaf *leaf) {
  const struct leaf_value *wanted = &leaf->fields[FIELD_MODULE];
  struct buffer bytes = {0};
  struct gw_error ignored = {0};
  char digest[DIGEST_HEX_SIZE] = "";
  if (has_digest(p->first, wanted)) return true;
  gw_module_release(p->first);
  p->first = NULL;
  if (wanted->size == DIGEST_SIZE) digest_print((const struct digest *)wanted->bytes, digest);
  if (registry_read_module(p->gate->registry, digest, &bytes, &ignored) && file_is_module(bytes.bytes, bytes.size, &ignored))
    p->first = gw_module_create(p->gate->engine, bytes.bytes, bytes.size, &ignored);
  buffer_clear(&bytes);
  return p->first != NULL;
}

static bool can_repeat(const struct leaf *leaf) {
  uint64_t outcome = leaf->fields[FIELD_OUTCOME].number;
  bool was_refused = outcome == OUTCOME_FAILED && !leaf->fields[FIELD_STATUS].is_there; /* perhaps by the server */
  return (outcome == OUTCOME_REPLIED || outcome == OUTCOME_TRAPPED || outcome == OUTCOME_FAILED) && !was_refused;
}

/* What it used, whether it came to its end or not. */
static void add_used(struct passage *p, const struct leaf *run) {
  const struct leaf_value *schedule = &run->fields[FIELD_SCHEDULE];
  for (int i = 0; i < GAS_KINDS; i++) p->used[i] += run->fields[FIELD_COMPUTE + i].number;
  p->cpu_ns += run->fields[FIELD_CPU].number;
  if (schedule->size == DIGEST_SIZE) memcpy(p->schedule, schedule->bytes, DIGEST_SIZE);
}

static void count(struct passage *p, uint64_t index, const struct leaf *before, const struct replay_result *now) {
  const struct leaf *after = &now->draft.leaf;
  const char *word = now->parted ? "read" : NULL;
  bool has_output = now->parted != NULL, has_state = false;
  enum leaf_field field;
  for (int at = 0; replay_compare(before, after, &at, &field);) {
    bool is_output = field == FIELD_OUTCOME || field == FIELD_STATUS || field == FIELD_TRAP || field == FIELD_REPLY;
    has_output |= is_output;
    has_state |= field == FIELD_WRITTEN;
    if (!word && (is_output || field == FIELD_WRITTEN)) word = leaf_field_word(field);
  }
  bool has_gas = gas_of(after) > gas_of(before) * (1 + p->gate->gas_percent / 100.0);
  if (!word && has_gas) word = "gas";
  p->n++;
  p->n_output += has_output;
  p->n_state += has_state;
  p->n_gas += has_gas;
  p->n_different += word != NULL;
  p->gas_before += gas_of(before);
  p->gas_now += gas_of(after);
  if (!word || p->first_field) return;
  p->first_field = word;
  p->first_index = index;
}

/* False: its inputs are not there, which is counted. */
static bool find_inputs(struct passage *p, uint64_t index, const struct leaf *leaf, struct inputs *in) {
  struct gw_error err = {0};
  enum inputs_answer answer = inputs_reader_find(p->reader, index, in);
  bool ok = answer == INPUTS_FOUND && replay_check(in, leaf, &err);
  p->n_damaged += answer == INPUTS_DAMAGED || err.code == GW_ERROR_INVALID;
  return ok;
}

/* What cannot be repeated is skipped, and counted. */
static void repeat(struct passage *p, uint64_t index, const struct leaf *leaf) {
  const struct gate *gate = p->gate;
  const struct settings *settings = gate->before->settings;
  struct inputs in;
  struct gw_error ignored = {0};
  struct replay_result result = {0};
  struct replay replay = {.engine = gate->engine,
                          .module = p->module,
                          .tier = GW_TIER_BASELINE,
                          .function = gate->before->name,
                          .inputs = &in,
                          .secrets = settings ? settings->env : NULL,
                          .files = gate->before->bundle.host_fd,
                          .cpu_limit_ns = SECOND * GATE_EACH_SECONDS,
                          .slice = gate->limits->slice,
                          .slice_ns = gate->limits->slice_ns,
                          .go_on = go_on,
                          .arg = p};
  bool ok = can_repeat(leaf) && find_inputs(p, index, leaf, &in) && load_first(p, leaf);
  if (ok) {
    replay.first = gw_module_decoded(p->first);
    ok = replay_run(&replay, &result, &ignored);
  }
  if (ok) add_used(p, &result.draft.leaf);
  if (ok && !result.is_ended)
    count(p, index, leaf, &result);
  else if (!ok)
    p->n_skipped++;
  replay_result_clear(&result);
}

/* --- all of them ---------------------------------------------------------------------------------------------------- */

static bool is_of(const struct leaf *leaf, const char *function) {
  const struct leaf_value *name = &leaf->fields[FIELD_FUNCTION];
  return name->is_there && name->size == strlen(function) && memcmp(name->bytes, function, name->size) == 0;
}

static bool is_within(const struct gate *gate, uint64_t index, const struct leaf *leaf) {
  return access_is_within(&gate->tenure, receipt_log_id(gate->receipts), index, leaf->fields[FIELD_TIME].number);
}

/* From the function's newest leaf back. */
static void walk(struct passage *p) {
  const struct gate *gate = p->gate;
  const char *directory = receipt_log_directory(gate->receipts);
  uint64_t index, looked = 0;
  struct buffer bytes = {0};
  struct gw_error ignored = {0};
  bool goes_on = receipt_log_last(gate->receipts, gate->before->name, &index);
  while (goes_on && p->n < gate->most && looked++ < GATE_MOST && !must_end(p)) {
    struct leaf leaf;
    uint64_t at = index;
    if (files_read_leaf(directory, at, &bytes) != FILES_FOUND || !leaf_decode(&leaf, bytes.bytes, bytes.size, &ignored)) break;
    const struct leaf_value *previous = &leaf.fields[FIELD_PREVIOUS];
    bool is_known = is_of(&leaf, gate->before->name);
    if (is_known && !is_within(gate, at, &leaf)) break;
    goes_on = is_known ? previous->is_there && previous->number < at : at > 0; /* a void leaf leads nowhere */
    index = is_known ? previous->number : at - 1;
    if (is_known) repeat(p, at, &leaf);
    give_way_at_times(p);
  }
  buffer_clear(&bytes);
}

static cJSON *summarise(const struct passage *p) {
  cJSON *json = cJSON_CreateObject();
  cJSON_AddNumberToObject(json, "run", (double)p->n);
  cJSON_AddNumberToObject(json, "different", (double)p->n_different);
  cJSON_AddNumberToObject(json, "output", (double)p->n_output);
  cJSON_AddNumberToObject(json, "state", (double)p->n_state);
  cJSON_AddNumberToObject(json, "gas", (double)p->n_gas);
  cJSON_AddNumberToObject(json, "not_repeatable", (double)p->n_skipped);
  cJSON_AddNumberToObject(json, "damaged", (double)p->n_damaged);
  cJSON_AddNumberToObject(json, "gas_before", p->gas_before);
  cJSON_AddNumberToObject(json, "gas_now", p->gas_now);
  if (p->is_cut) cJSON_AddTrueToObject(json, "cut_short");
  return json;
}

static bool is_empty(const struct passage *p, struct gw_error *err) {
  return error_set(err, GW_ERROR_PRECONDITION,
                   "the gate has compared nothing: %" PRIu64 " invocations cannot be run again, %" PRIu64 " of them damaged%s; "
                   "nothing was deployed (gate-empty=pass takes that for passed)",
                   p->n_skipped, p->n_damaged, p->is_cut ? ", and its time is over" : "");
}

/* How it came out. */
static bool judge(const struct passage *p, struct gw_error *err) {
  if (is_ending(p->gate)) return error_set(err, GW_ERROR_UNAVAILABLE, "the server ends; nothing was deployed");
  if (p->n_different)
    return error_set(err, GW_ERROR_DIFFERS,
                     "the gate is not passed: of %" PRIu64 " invocations %" PRIu64 " differ (output %" PRIu64 ", state %" PRIu64
                     ", gas %" PRIu64 "), the newest at leaf %" PRIu64 " in %s; nothing was deployed",
                     p->n, p->n_different, p->n_output, p->n_state, p->n_gas, p->first_index, p->first_field);
  if (p->is_spent) return error_set(err, GW_ERROR_LIMIT, "the gate has used up the tenant's balance; nothing was deployed");
  return p->n || p->gate->may_be_empty || is_empty(p, err);
}

static bool run(struct passage *p, struct gw_error *err) {
  const struct gate *gate = p->gate;
  struct buffer path = {0};
  uint64_t claim = 0;
  if (!file_is_module(gate->bytes, gate->size, err)) return false;
  p->module = gw_module_create(gate->engine, gate->bytes, gate->size, err);
  if (!p->module || !begin_to_pay(p, &claim, err)) return false;
  buffer_format(&path, "%s/inputs", receipt_log_directory(gate->receipts));
  buffer_append(&path, "", 1);
  inputs_store_flush(gate->inputs);
  p->reader = inputs_reader_open((const char *)path.bytes);
  p->slept_at = clock_ns(CLOCK_MONOTONIC);
  p->until = p->slept_at + SECOND * GATE_SECONDS;
  walk(p);
  inputs_reader_close(p->reader);
  buffer_clear(&path);
  if (!pay(p, claim))
    return error_set(err, GW_ERROR_UNAVAILABLE, "there is no room for the gate's receipt; nothing was deployed");
  return judge(p, err);
}

static bool pass(const struct gate *gate, cJSON **summary, struct gw_error *err) {
  struct passage p = {.gate = gate};
  bool ok = run(&p, err);
  if (ok) *summary = summarise(&p);
  gw_module_release(p.first);
  gw_module_release(p.module);
  return ok;
}

/* --- one for each tenant --------------------------------------------------------------------------------------------- */

static struct {
  pthread_mutex_t mutex;
  char tenants[GATES_AT_ONCE][ACCESS_MAX_NAME + 1]; /* "": it is free */
} gates = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* Its place among them; NULL: err says why there is none. */
static char *take_place(const char *tenant, struct gw_error *err) {
  char *place = NULL;
  bool is_other = false;
  pthread_mutex_lock(&gates.mutex);
  for (int i = 0; i < GATES_AT_ONCE; i++) {
    is_other |= strcmp(gates.tenants[i], tenant) == 0;
    if (!*gates.tenants[i]) place = gates.tenants[i];
  }
  if (place && !is_other) snprintf(place, sizeof *gates.tenants, "%s", tenant);
  pthread_mutex_unlock(&gates.mutex);
  if (is_other)
    error_set(err, GW_ERROR_IN_USE, "another deployment of the tenant is in the gate");
  else if (!place)
    error_set(err, GW_ERROR_UNAVAILABLE, "as many deployments are in gates as may be at one time: try again");
  return is_other ? NULL : place;
}

static void return_place(char *place) {
  pthread_mutex_lock(&gates.mutex);
  *place = 0;
  pthread_mutex_unlock(&gates.mutex);
}

bool gate_pass(const struct gate *gate, cJSON **summary, struct gw_error *err) {
  *summary = NULL;
  if (!gate->before && gate->may_be_empty) return true;
  if (!gate->before)
    return error_set(err, GW_ERROR_PRECONDITION,
                     "the gate has nothing to compare with: the function has no version yet; nothing was deployed "
                     "(gate-empty=pass takes that for passed)");
  if (!gate->receipts || !gate->inputs)
    return error_set(err, GW_ERROR_PRECONDITION, "there is no gate: no inputs of invocations are kept here");
  char *place = take_place(gate->tenant, err);
  if (!place) return false;
  bool ok = pass(gate, summary, err);
  return_place(place);
  return ok;
}
