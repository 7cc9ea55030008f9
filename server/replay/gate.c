#include "server/replay/gate.h"

#include "base/clock.h"
#include "base/error.h"
#include "jit/artifact/file_kind.h"
#include "runtime/receipt/files.h"
#include "runtime/receipt/receipt.h"
#include "server/inputs/store.h"

#include <inttypes.h>
#include <stdlib.h>

/* One passage under way. */
struct passage {
  const struct gate *gate;
  struct inputs_reader *reader;
  struct gw_module *module; /* the new one */
  struct gw_module *first;  /* the last leaf's, which names the host functions that its record has */
  uint64_t n, n_different, n_output, n_state, n_gas, n_skipped;
  double gas_before, gas_now;
  uint64_t first_index;
  const char *first_field; /* of the first difference; NULL: there is none */
  bool is_cut;             /* time was over */
};

static double gas_of(const struct leaf *leaf) {
  double gas = 0;
  for (int i = FIELD_COMPUTE; i <= FIELD_STORAGE; i++) gas += (double)leaf->fields[i].number;
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
                          .cpu_limit_ns = UINT64_C(1000000000) * GATE_EACH_SECONDS};
  bool ok = can_repeat(leaf) && inputs_reader_find(p->reader, index, &in) == INPUTS_FOUND && replay_check(&in, leaf, &ignored) &&
            load_first(p, leaf);
  if (ok) {
    replay.first = gw_module_decoded(p->first);
    ok = replay_run(&replay, &result, &ignored);
  }
  if (ok)
    count(p, index, leaf, &result);
  else
    p->n_skipped++;
  replay_result_clear(&result);
}

static bool is_ending(const struct gate *gate) { return atomic_load_explicit(gate->is_ending, memory_order_relaxed); }

static bool is_of(const struct leaf *leaf, const char *function) {
  const struct leaf_value *name = &leaf->fields[FIELD_FUNCTION];
  return name->is_there && name->size == strlen(function) && memcmp(name->bytes, function, name->size) == 0;
}

/* From the function's newest leaf back. */
static void walk(struct passage *p) {
  const struct gate *gate = p->gate;
  const char *directory = receipt_log_directory(gate->receipts);
  uint64_t end = clock_ns(CLOCK_MONOTONIC) + UINT64_C(1000000000) * GATE_SECONDS, index, looked = 0;
  struct buffer bytes = {0};
  struct gw_error ignored = {0};
  bool goes_on = receipt_log_last(gate->receipts, gate->before->name, &index);
  while (goes_on && p->n < gate->most && looked++ < GATE_MOST && !is_ending(gate)) {
    struct leaf leaf;
    uint64_t at = index;
    if (files_read_leaf(directory, at, &bytes) != FILES_FOUND || !leaf_decode(&leaf, bytes.bytes, bytes.size, &ignored)) break;
    const struct leaf_value *previous = &leaf.fields[FIELD_PREVIOUS];
    if (is_of(&leaf, gate->before->name)) repeat(p, at, &leaf);
    bool is_known = is_of(&leaf, gate->before->name);
    goes_on = is_known ? previous->is_there && previous->number < at : at > 0; /* a void leaf leads nowhere */
    index = is_known ? previous->number : at - 1;
    if ((p->is_cut = goes_on && clock_ns(CLOCK_MONOTONIC) > end)) break;
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
  cJSON_AddNumberToObject(json, "gas_before", p->gas_before);
  cJSON_AddNumberToObject(json, "gas_now", p->gas_now);
  if (p->is_cut) cJSON_AddTrueToObject(json, "cut_short");
  return json;
}

static bool fail(const struct passage *p, struct gw_error *err) {
  return error_set(err, GW_ERROR_PRECONDITION,
                   "the gate is not passed: of %" PRIu64 " invocations %" PRIu64 " differ (output %" PRIu64 ", state %" PRIu64
                   ", gas %" PRIu64 "), the newest at leaf %" PRIu64 " in %s; nothing was deployed",
                   p->n, p->n_different, p->n_output, p->n_state, p->n_gas, p->first_index, p->first_field);
}

static bool pass(const struct gate *gate, cJSON **summary, struct gw_error *err) {
  struct passage p = {.gate = gate};
  struct buffer path = {0};
  if (!file_is_module(gate->bytes, gate->size, err)) return false;
  p.module = gw_module_create(gate->engine, gate->bytes, gate->size, err);
  if (!p.module) return false;
  buffer_format(&path, "%s/inputs", receipt_log_directory(gate->receipts));
  buffer_append(&path, "", 1);
  inputs_store_flush(gate->inputs);
  p.reader = inputs_reader_open((const char *)path.bytes);
  walk(&p);
  inputs_reader_close(p.reader);
  buffer_clear(&path);
  gw_module_release(p.first);
  gw_module_release(p.module);
  if (is_ending(gate)) return error_set(err, GW_ERROR_UNAVAILABLE, "the server ends; nothing was deployed");
  *summary = p.n_different ? NULL : summarise(&p);
  return !p.n_different || fail(&p, err);
}

bool gate_pass(const struct gate *gate, cJSON **summary, struct gw_error *err) {
  static atomic_flag is_passing = ATOMIC_FLAG_INIT; /* worker threads have other things to do */
  *summary = NULL;
  if (!gate->receipts || !gate->inputs)
    return error_set(err, GW_ERROR_PRECONDITION, "there is no gate: no inputs of invocations are kept here");
  if (atomic_flag_test_and_set(&is_passing)) return error_set(err, GW_ERROR_IN_USE, "another deployment is in the gate");
  bool ok = pass(gate, summary, err);
  atomic_flag_clear(&is_passing);
  return ok;
}
