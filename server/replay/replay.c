#include "server/replay/replay.h"

#include "base/error.h"
#include "base/heap.h"
#include "runtime/debug/judge.h"
#include "runtime/store.h"
#include "server/invoke/fill.h"
#include "server/invoke/repeat.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct run {
  const struct replay *replay;
  struct replay_result *result;
  struct function_limits limits;
  struct function *function;
  struct request *request;
  char *head; /* the request's lines, cut in place */
  char peer[64];
  struct asked asked;
  struct repeat repeat;
  bool has_repeat;
  struct state_store *state; /* NULL: it has the caller's, or none */
  struct state_txn *txn;
  struct slot *slot;
  struct record host;
  uint64_t gas; /* of the run */
  bool has_failed;
};

static const struct input_value *input(const struct run *run, enum input_field field) {
  return &run->replay->inputs->fields[field];
}

/* --- whether the inputs are the first run's ----------------------------------------------------------------------------- */

static void digest_bytes(const void *bytes, size_t size, uint8_t out[SHA256_SIZE]) {
  struct sha256 s;
  sha256_begin(&s);
  if (size) sha256_add(&s, bytes, size);
  sha256_end(&s, out);
}

/* A field that is left out is the digest of nothing: additions to numbers are kept, and are no reads. */
static bool is_digest(const struct leaf_value *v, const uint8_t digest[SHA256_SIZE]) {
  uint8_t nothing[SHA256_SIZE];
  digest_bytes(NULL, 0, nothing);
  if (!v->is_there) return memcmp(nothing, digest, SHA256_SIZE) == 0;
  return v->size == SHA256_SIZE && memcmp(v->bytes, digest, SHA256_SIZE) == 0;
}

static bool check_piece(const struct inputs *in, const struct leaf *leaf, enum input_field piece, enum leaf_field field,
                        uint64_t lost, struct gw_error *err) {
  const struct input_value *v = &in->fields[piece];
  const char *word = inputs_word(piece);
  uint8_t digest[SHA256_SIZE];
  if (in->fields[INPUT_LOST].number & lost)
    return error_set(err, GW_ERROR_NOT_FOUND,
                     "of this invocation's %s only a digest was kept: it was more than --keep-inputs-each of the server", word);
  digest_bytes(v->bytes, v->size, digest);
  bool is_whole = piece != INPUT_READS || state_reads_digest(v->bytes, v->size, digest);
  return (is_whole && is_digest(&leaf->fields[field], digest)) ||
         error_set(err, GW_ERROR_INVALID, "the kept %s is not what the receipt has the digest of", word);
}

/* Those that an older server kept were no text that the leaf has a digest of. */
static bool check_settings(const struct inputs *in, const struct leaf *leaf, struct gw_error *err) {
  const struct input_value *v = &in->fields[INPUT_SETTINGS];
  bool is_old = !v->is_there || !v->bytes[v->size - 1];
  if (is_old && leaf->fields[FIELD_SETTINGS].is_there)
    return error_set(err, GW_ERROR_NOT_FOUND, "an older server kept this invocation's settings, in a way that cannot be checked");
  return check_piece(in, leaf, INPUT_SETTINGS, FIELD_SETTINGS, 0, err);
}

/* What was called, by whatever alias. */
static bool check_function(const struct inputs *in, const struct leaf *leaf, struct gw_error *err) {
  const struct input_value *address = &in->fields[INPUT_ADDRESS];
  const struct leaf_value *function = &leaf->fields[FIELD_FUNCTION];
  const uint8_t *at = address->size ? memchr(address->bytes, '@', address->size) : NULL;
  size_t size = at ? (size_t)(at - address->bytes) : address->size;
  return (size == function->size && size && memcmp(address->bytes, function->bytes, size) == 0) ||
         error_set(err, GW_ERROR_INVALID, "the kept address is not that of the receipt's function");
}

bool replay_check(const struct inputs *in, const struct leaf *leaf, struct gw_error *err) {
  if (in->fields[INPUT_LOST].number & INPUT_LOST_FILES)
    return error_set(err, GW_ERROR_NOT_FOUND, "the function had directories of the host, and what it read there is not kept");
  return check_function(in, leaf, err) && check_settings(in, leaf, err) &&
         check_piece(in, leaf, INPUT_REQUEST, FIELD_REQUEST, INPUT_LOST_REQUEST, err) &&
         check_piece(in, leaf, INPUT_READS, FIELD_READ, INPUT_LOST_READS, err) &&
         check_piece(in, leaf, INPUT_HOST, FIELD_HOST, INPUT_LOST_HOST, err);
}

/* --- the request -------------------------------------------------------------------------------------------------- */

static bool no_request(struct gw_error *err) { return error_set(err, GW_ERROR_INVALID, "the kept request is none"); }

/* Cuts at the first `c` before `end`; NULL: there is none. */
static char *cut(char *at, char *end, char c) {
  char *found = memchr(at, c, (size_t)(end - at));
  if (found) *found++ = 0;
  return found;
}

static char *copy_text(const struct input_value *v, char *out, size_t size) {
  size_t n = v->size < size ? v->size : size - 1;
  if (n) memcpy(out, v->bytes, n);
  out[n] = 0;
  return out;
}

static bool read_headers(struct request *r, char **at, char *end, struct gw_error *err) {
  while (*at && *at < end && **at != '\n') {
    char *name = *at, *value = cut(name, end, ':'), *next = value ? cut(value, end, '\n') : NULL;
    if (!next || r->n_headers == MAX_HEADERS + FRONT_HEADERS) return no_request(err);
    r->headers[r->n_headers++] = (struct handler_header){name, value};
    *at = next;
  }
  return (*at && *at < end) || no_request(err);
}

static bool read_request(struct run *run, struct gw_error *err) {
  const struct input_value *v = input(run, INPUT_REQUEST);
  struct request *r = run->request = heap_new(1, sizeof *r);
  if (!v->is_there) return no_request(err);
  run->head = heap_new(v->size + 1, 1);
  memcpy(run->head, v->bytes, v->size);
  char *end = run->head + v->size, *target = cut(run->head, end, ' '), *at = target ? cut(target, end, '\n') : NULL;
  if (!at) return no_request(err);
  r->method_name = run->head;
  r->target = target;
  if (!read_headers(r, &at, end, err)) return false;
  at++; /* the empty line */
  if (end > at) buffer_append(&r->body, at, (size_t)(end - at));
  const char *query = strchr(target, '?');
  r->query = query ? query + 1 : "";
  r->is_http10 = input(run, INPUT_HTTP10)->number;
  copy_text(input(run, INPUT_ADDRESS), r->address, sizeof r->address);
  const struct input_value *rest = input(run, INPUT_REST);
  r->rest = arena_format(&r->arena, "%.*s", (int)rest->size, rest->size ? (const char *)rest->bytes : "");
  run->asked = (struct asked){.port = (uint16_t)input(run, INPUT_PORT)->number,
                              .peer = copy_text(input(run, INPUT_PEER), run->peer, sizeof run->peer),
                              .max_reply = input(run, INPUT_MAX_REPLY)->number};
  return true;
}

/* --- the function -------------------------------------------------------------------------------------------------- */

static const char *find_secret(const char *const *secrets, const char *name) {
  size_t size = strlen(name);
  for (; secrets && *secrets; secrets++)
    if (strncmp(*secrets, name, size) == 0 && (*secrets)[size] == '=') return *secrets;
  return NULL;
}

struct environment {
  const struct run *run;
  struct settings *to;
  size_t n;
  struct gw_error *err;
};

static bool add_variable(void *arg, const char *name, const char *value) {
  struct environment *e = arg;
  struct buffer text = {0};
  const char *secret = value ? NULL : find_secret(e->run->replay->secrets, name);
  if (e->n == SETTINGS_MAX_VARIABLES) return false;
  if (!value && !secret)
    return error_set(e->err, GW_ERROR_USAGE, "the function had the secret %.128s, which is not kept: --secret %.128s=VALUE", name,
                     name);
  if (secret)
    buffer_append_string(&text, secret);
  else
    buffer_format(&text, "%s=%s", name, value);
  buffer_append(&text, "", 1);
  e->to->env[e->n++] = (const char *)text.bytes;
  return true;
}

static bool read_settings(struct run *run, struct gw_error *err) {
  const struct input_value *v = input(run, INPUT_SETTINGS);
  if (!v->is_there) return true;
  digest_bytes(v->bytes, v->size, run->result->settings);
  struct settings *s = run->function->settings = heap_new(1, sizeof *s);
  atomic_init(&s->refs, 1);
  s->env = heap_new(SETTINGS_MAX_VARIABLES + 1, sizeof *s->env);
  struct environment e = {.run = run, .to = s, .err = err};
  return settings_read_environment((const char *)v->bytes, v->size, add_variable, &e) ||
         error_set(err, GW_ERROR_INVALID, "the kept settings are none");
}

static bool make_function(struct run *run, struct gw_error *err) {
  const struct replay *replay = run->replay;
  if (!function_full_name_is_valid(replay->function, strlen(replay->function)))
    return error_set(err, GW_ERROR_INVALID, "%.100s is no name of a function", replay->function);
  run->limits = (struct function_limits){.gas_limit = input(run, INPUT_GAS_LIMIT)->number,
                                         .max_memory = input(run, INPUT_MAX_MEMORY)->number,
                                         .max_reply = input(run, INPUT_MAX_REPLY)->number,
                                         .cpu_limit_ns = replay->cpu_limit_ns,
                                         .slice = replay->slice,
                                         .slice_ns = replay->slice_ns,
                                         .has_fine_clocks = input(run, INPUT_FINE)->number};
  struct function *f = run->function = function_create(replay->function, &run->limits, NULL);
  struct digest digest;
  memcpy(digest.bytes, gw_module_digest(replay->module), sizeof digest.bytes);
  digest_print(&digest, f->digest);
  f->version = input(run, INPUT_VERSION)->number;
  f->module = gw_module_retain(replay->module);
  atomic_store(&f->load_state, LOAD_READY);
  if (!function_classify(f, err)) return false;
  if (replay->files >= 0) f->bundle.host_fd = fcntl(replay->files, F_DUPFD_CLOEXEC, 0);
  if (!function_open_directories(f, err)) return false;
  return read_settings(run, err);
}

/* --- what it reads ------------------------------------------------------------------------------------------------- */

static bool begin_state(struct run *run, struct gw_error *err) {
  const struct input_value *reads = input(run, INPUT_READS), *seed = input(run, INPUT_SEED);
  const struct input_value *repeat = input(run, INPUT_REPEAT);
  struct state_id_seed ids = {.is_there = seed->size == sizeof ids.bytes};
  if (ids.is_there) memcpy(ids.bytes, seed->bytes, sizeof ids.bytes);
  run->has_repeat = repeat->size == 2 * REPEAT_DIGEST;
  if (run->has_repeat) {
    run->repeat.has_key = true;
    memcpy(run->repeat.key, repeat->bytes, REPEAT_DIGEST);
    memcpy(run->repeat.request, repeat->bytes + REPEAT_DIGEST, REPEAT_DIGEST);
  }
  if (!run->function->uses_state && !run->has_repeat) return true;
  struct state_store *told = run->replay->told;
  if (!told && !(told = run->state = state_store_open_told(err))) return false;
  const struct input_value *space = input(run, INPUT_SPACE);
  char name[SETTINGS_SPACE_SIZE];
  run->txn = state_txn_begin(told, space->is_there ? copy_text(space, name, sizeof name) : run->replay->function);
  if (input(run, INPUT_ONLY_READS)->number) state_txn_only_reads(run->txn);
  state_txn_tell(run->txn, reads->bytes, reads->size, &ids, !run->replay->first);
  return true;
}

/* The server looks for an earlier answer first; the judge's run did not. */
static void look_for_answer(struct run *run) {
  char space[FUNCTION_ANSWERS_SIZE];
  const struct input_value *reads = input(run, INPUT_READS);
  struct gw_error ignored = {0};
  const void *value;
  size_t size;
  function_answers(run->replay->function, space);
  if (run->has_repeat && state_reads_begin_in(reads->bytes, reads->size, space))
    repeat_look(&run->repeat, run->txn, run->replay->function, &value, &size, &ignored);
}

static bool load_host(struct run *run, struct gw_error *err) {
  const struct input_value *v = input(run, INPUT_HOST);
  if (!record_load(&run->host, RECORD_UNREPEATABLE, v->bytes, v->size))
    return error_set(err, GW_ERROR_INVALID, "the kept host answers are none");
  if (run->replay->first) record_rename(&run->host, run->replay->first, gw_module_decoded(run->replay->module));
  record_replay(&run->host, RECORD_ENDS);
  if (run->replay->all) run->replay->all->source = &run->host;
  return true;
}

/* --- one run ------------------------------------------------------------------------------------------------------- */

/* What the slice used goes to who counts; whether there is to be another one. */
static bool count_slice(const struct run *run, uint64_t *counted) {
  const struct replay *replay = run->replay;
  uint64_t used = gw_store_gas_used(run->slot->store), more = used - *counted;
  *counted = used;
  return !replay->go_on || replay->go_on(replay->arg, more);
}

static bool end_run(struct run *run, struct gw_error *err) {
  gw_store_cancel(run->slot->store);
  run->result->is_ended = true;
  return error_set(err, GW_ERROR_UNAVAILABLE, "the run was ended");
}

static bool call(struct run *run, struct func_ref *func, uint64_t *gas, struct gw_error *err) {
  struct gw_store *store = run->slot->store;
  uint64_t counted = 0;
  uint64_t limit = run->limits.gas_limit ? run->limits.gas_limit : INT64_MAX, before = *gas;
  uint64_t owed = before < limit ? before : limit - 1;
  enum gw_status status;
  gw_store_set_gas_limit(store, limit - owed);
  gw_store_owe(store, before - owed);
  gw_store_start(store, func, run->slot->values);
  for (;;) {
    gw_store_wait(store);
    status = gw_store_resume(store, err);
    bool goes_on = count_slice(run, &counted), is_over = status != GW_STATUS_PARKED && status != GW_STATUS_YIELDED;
    if (is_over) break;
    if (!goes_on) return end_run(run, err);
  }
  *gas = owed + gw_store_gas_used(store);
  return status == GW_STATUS_DONE;
}

static bool call_all(struct run *run, struct gw_error *err) {
  struct slot *slot = run->slot;
  run->gas = slot->instance_gas;
  return (!slot->start || call(run, slot->start, &run->gas, err)) &&
         (!slot->initialize || call(run, slot->initialize, &run->gas, err)) && call(run, slot->entry, &run->gas, err);
}

/* False: there is no such slot. How the run went is in result->error. */
static bool run_in(struct run *run, enum gw_tier tier, struct gw_error *err) {
  struct gw_error *end = &run->result->error;
  *end = (struct gw_error){0};
  slot_destroy(run->slot);
  if (tier == GW_TIER_FAST && !gw_module_compile(run->replay->module, err)) return false;
  run->slot = slot_create(run->replay->engine, run->function, tier, &run->limits, err);
  if (!run->slot || !fill_slot_with(run->slot, run->request, &run->asked, run->txn, err)) return false;
  gw_store_set_record(run->slot->store, run->replay->all ? run->replay->all : &run->host);
  look_for_answer(run);
  bool ok = call_all(run, end) && fill_take_reply(run->slot, run->asked.max_reply, &run->has_failed, end);
  if (ok && !run->has_failed && run->has_repeat && run->txn && input(run, INPUT_REPEAT_MS)->is_there)
    repeat_record(&run->repeat, run->txn, run->replay->function, &run->slot->handler, input(run, INPUT_REPEAT_MS)->number, end);
  return true;
}

/* As the server has it: compiled code that trapped runs again in the precise tier, which says how. */
static bool judge_run(struct run *run, struct gw_error *err) {
  struct gw_error *end = &run->result->error;
  struct judged first = {.tier = run->slot->tier, .module = run->replay->module, .record = &run->host};
  struct judge trial = {0};
  if (run->replay->all || !judge_wants(&first, end)) return true;
  if (run->txn) state_txn_rewind(run->txn);
  judge_begin(&trial, &run->host, run->replay->cpu_limit_ns, end);
  if (!run_in(run, GW_TIER_PRECISE, err)) return false;
  run->result->is_judged = true;
  if (judge_end(&trial, gw_store_cpu_ns(run->slot->store), "", end) == JUDGE_DISAGREED)
    run->result->parted = "the tiers disagree";
  return true;
}

/* --- what came out -------------------------------------------------------------------------------------------------- */

static void note_parting(struct run *run) {
  const char **parted = &run->result->parted;
  bool is_whole = run->result->error.code == 0;
  if (*parted) return;
  if (run->host.has_parted)
    *parted = "it asked for a clock or random numbers where the first run did not";
  else if (run->txn && state_txn_has_parted(run->txn))
    *parted = "it read state that the first run did not read";
  else if (is_whole && !run->replay->first && !record_is_used_up(&run->host))
    *parted = "it asked less often for clocks and random numbers than the first run did";
  else if (is_whole && !run->replay->first && run->txn && !state_txn_is_told_all(run->txn))
    *parted = "it read less of state than the first run did";
}

static void make_leaf(struct run *run) {
  struct replay_result *out = run->result;
  const struct gw_error *end = &out->error;
  struct draft_facts facts = {.outcome = OUTCOME_REPLIED,
                              .function = run->replay->function,
                              .slot = run->slot,
                              .record = &run->host,
                              .gas = run->gas,
                              .cpu_ns = gw_store_cpu_ns(run->slot->store)};
  if (end->code) facts.outcome = end->code == GW_ERROR_TRAP ? OUTCOME_TRAPPED : OUTCOME_FAILED;
  if (facts.outcome == OUTCOME_TRAPPED) facts.trap = end->trap;
  draft_begin(&out->draft, NULL);
  draft_hash_request(&out->draft, run->request);
  if (facts.outcome == OUTCOME_REPLIED) {
    facts.status = run->slot->handler.status;
    facts.sent = run->slot->handler.reply_headers.size + run->slot->handler.reply.size;
    draft_hash_reply(&out->draft, &run->slot->handler);
    if (run->has_failed) facts.outcome = OUTCOME_FAILED;
  }
  draft_make(&out->draft, &facts, run->txn);
  if (input(run, INPUT_SETTINGS)->is_there) leaf_set_bytes(&out->draft.leaf, FIELD_SETTINGS, out->settings, SHA256_SIZE);
}

static void keep_reply(struct run *run) {
  struct handler *from = &run->slot->handler, *to = &run->result->reply;
  to->status = from->status;
  to->reply = from->reply;
  to->reply_headers = from->reply_headers;
  to->log = from->log;
  from->reply = from->reply_headers = from->log = (struct buffer){0};
}

static void release(struct run *run) {
  slot_destroy(run->slot);
  if (run->txn) state_txn_abort(run->txn);
  state_store_close(run->state);
  function_release(run->function);
  record_clear(&run->host);
  if (run->replay->all) run->replay->all->source = NULL;
  if (run->request) {
    buffer_clear(&run->request->body);
    arena_clear(&run->request->arena);
  }
  free(run->request);
  free(run->head);
}

bool replay_run(const struct replay *replay, struct replay_result *out, struct gw_error *err) {
  struct run run = {.replay = replay, .result = out};
  bool ok = read_request(&run, err) && make_function(&run, err) && begin_state(&run, err) && load_host(&run, err) &&
            run_in(&run, replay->tier, err) && judge_run(&run, err);
  if (ok) {
    note_parting(&run);
    make_leaf(&run);
    keep_reply(&run);
  }
  release(&run);
  return ok;
}

void replay_result_clear(struct replay_result *result) {
  handler_clear(&result->reply);
  draft_clear(&result->draft);
  *result = (struct replay_result){0};
}

/* --- comparing ----------------------------------------------------------------------------------------------------- */

/* What is measured, or follows from other invocations, is another in each run. A format has no fields of later ones. */
static bool is_of_run(const struct leaf *first, enum leaf_field field) {
  uint64_t format = first->fields[FIELD_FORMAT].number;
  switch (field) {
  case FIELD_FORMAT:
  case FIELD_TIME:
  case FIELD_PREVIOUS:
  case FIELD_PAD:
  case FIELD_RENT:
  case FIELD_CPU: return false;
  case FIELD_SETTINGS: return format >= 2;
  case FIELD_VERSION:
  case FIELD_SENT: return format >= 3;
  default: return true;
  }
}

static bool is_same(const struct leaf_value *a, const struct leaf_value *b) {
  if (a->is_there != b->is_there) return a->number == b->number && !a->size && !b->size; /* 0 is left out */
  return a->number == b->number && a->size == b->size && (!a->size || memcmp(a->bytes, b->bytes, a->size) == 0);
}

bool replay_compare(const struct leaf *first, const struct leaf *second, int *at, enum leaf_field *field) {
  for (; *at < FIELD_COUNT; ++*at) {
    *field = (enum leaf_field) * at;
    if (!is_of_run(first, *field) || is_same(&first->fields[*at], &second->fields[*at])) continue;
    ++*at;
    return true;
  }
  return false;
}
