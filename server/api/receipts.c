/* Receipts and their log: one receipt with its proof, the checkpoint, and tiles as C2SP tlog-tiles has them (docs/receipts.md).
 * Files are read on libuv's worker threads. */
#include "server/api/receipts.h"

#include "base/digest.h"
#include "base/error.h"
#include "base/heap.h"
#include "runtime/receipt/files.h"
#include "runtime/receipt/receipt.h"
#include "server/api/query.h"
#include "server/api/route.h"
#include "server/function/registry.h"
#include "server/http/reply.h"
#include "server/inputs/store.h"
#include "server/loop/loop.h"
#include "server/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USUAL_LIST = 20, MAX_LIST = 100, MAX_LOOKS = 1000 /* leaves that a list looks at */ };

/* One question under way. */
struct question {
  uv_work_t work;
  struct exchange *exchange;
  struct receipt_log *log;
  struct inputs_store *inputs; /* NULL: none are kept */
  struct registry *registry;
  char tenant[ACCESS_MAX_NAME + 1]; /* "": who asks may see all */
  struct tenure tenure;             /* of that tenant */
  uint64_t index;
  struct files_tile tile;
  char function[FUNCTION_MAX_FULL_NAME + 1]; /* whose receipts, from `index` down */
  uint32_t limit;
  /* the answer */
  uint32_t status;
  const char *detail; /* of a problem; static */
  const char *type;
  struct buffer text;
  cJSON *json;
};

static struct question *question_new(struct exchange *x, const struct place *place) {
  struct question *q = heap_new(1, sizeof *q);
  q->work.data = q;
  q->exchange = x;
  q->log = x->loop->receipts;
  q->inputs = x->loop->inputs;
  q->registry = x->loop->registry;
  snprintf(q->tenant, sizeof q->tenant, "%s", place->is_server ? "" : place->tenant);
  if (*q->tenant) q->tenure = access_tenure(x->loop->access, q->tenant);
  return q;
}

static void answered(uv_work_t *work, int status) {
  struct question *q = work->data;
  struct exchange *x = q->exchange;
  struct question answer = *q;
  (void)status;
  free(q);
  if (answer.status != 200)
    reply_problem(x, PROBLEM(.status = answer.status, .detail = answer.detail));
  else if (answer.json)
    reply_json(x, 200, answer.json);
  else
    reply_text(x, 200, answer.type, &answer.text);
  buffer_clear(&answer.text);
}

static void ask(struct question *q, uv_work_cb work) { uv_queue_work(&q->exchange->loop->uv, &q->work, work, answered); }

/* False: it has been answered that there is no log. */
static bool has_log(struct exchange *x) {
  if (x->loop->receipts) return true;
  reply_problem(x, PROBLEM(.status = 404, .detail = "no receipts are kept here"));
  return false;
}

/* --- one receipt -------------------------------------------------------------------------------------------------- */

static void add_hex(cJSON *json, const char *name, const uint8_t *bytes, size_t size) {
  char *text = heap_new(size + 1, 2), *at = text;
  for (size_t i = 0; i < size; i++) at += snprintf(at, 3, "%02x", bytes[i]);
  cJSON_AddStringToObject(json, name, text);
  free(text);
}

static void add_field(cJSON *json, enum leaf_field field, const struct leaf_value *value) {
  const char *word = leaf_field_word(field);
  char text[LEAF_MAX_TEXT + 1];
  switch (leaf_field_kind(field)) {
  case LEAF_NUMBER:
    if (field == FIELD_OUTCOME && leaf_outcome_word(value->number))
      cJSON_AddStringToObject(json, word, leaf_outcome_word(value->number));
    else
      cJSON_AddNumberToObject(json, word, (double)value->number);
    break;
  case LEAF_TEXT:
    snprintf(text, sizeof text, "%.*s", (int)value->size, (const char *)value->bytes);
    cJSON_AddStringToObject(json, word, text);
    break;
  case LEAF_DIGEST:
  case LEAF_BYTES: add_hex(json, word, value->bytes, value->size); break;
  }
}

cJSON *receipts_fields(const struct leaf *leaf) {
  cJSON *json = cJSON_CreateObject();
  for (int i = 0; i < FIELD_COUNT; i++)
    if (leaf->fields[i].is_there) add_field(json, (enum leaf_field)i, &leaf->fields[i]);
  return json;
}

/* Not what another did who had the tenant's name. */
static bool is_within(const struct question *q, uint64_t index, const struct leaf *leaf) {
  return access_is_within(&q->tenure, receipt_log_id(q->log), index, leaf->fields[FIELD_TIME].number);
}

static bool may_see(const struct question *q, uint64_t index, const struct leaf *leaf) {
  char name[LEAF_MAX_TEXT + 1];
  const struct leaf_value *function = &leaf->fields[FIELD_FUNCTION];
  if (!*q->tenant) return true;
  if (!function->is_there) return false;
  snprintf(name, sizeof name, "%.*s", (int)function->size, (const char *)function->bytes);
  return function_is_of(name, q->tenant) && is_within(q, index, leaf);
}

/* NULL: the last checkpoint does not cover it yet. */
static char *proof_text(const struct question *q, uint64_t index) {
  struct buffer head = {0}, text = {0};
  struct note_checkpoint checkpoint;
  struct tree_proof proof;
  struct gw_error ignored = {0};
  struct tree_source source = {files_read_hashes, (void *)receipt_log_directory(q->log)};
  receipt_log_checkpoint(q->log, &head);
  bool ok = note_parse_checkpoint(&checkpoint, head.bytes, head.size, &ignored) && index < checkpoint.size &&
            tree_prove_inclusion(&source, index, checkpoint.size, &proof);
  if (ok) {
    note_append_proof(&text, index, &proof, head.bytes, head.size);
    buffer_append(&text, "", 1);
  }
  buffer_clear(&head);
  return (char *)text.bytes;
}

/* What is not filled yet has no hash. */
static bool read_leaf(const struct question *q, uint64_t index, struct buffer *bytes, struct tree_hash *hash, struct leaf *leaf) {
  struct tree_hash stored;
  struct gw_error ignored = {0};
  const char *directory = receipt_log_directory(q->log);
  if (files_read_leaf(directory, index, bytes) != FILES_FOUND) return false;
  *hash = tree_leaf(bytes->bytes, bytes->size);
  return files_read_hashes((void *)directory, 0, index, 1, &stored) && tree_hash_is(hash, &stored) &&
         leaf_decode(leaf, bytes->bytes, bytes->size, &ignored);
}

/* What it can be that a leaf of the last checkpoint cannot be read. */
static bool is_gone(const struct question *q, uint64_t index, struct buffer *bytes, enum files_answer how) {
  struct tree_hash hash;
  struct leaf leaf;
  if (index >= receipt_log_durable(q->log)) return false;
  if (how == FILES_PRUNED) return files_read_leaf(receipt_log_directory(q->log), index, bytes) == how;
  return !read_leaf(q, index, bytes, &hash, &leaf);
}

static cJSON *receipt_json(const struct question *q, uint64_t index, const struct buffer *bytes, const struct tree_hash *hash,
                           const struct leaf *leaf) {
  char *proof = proof_text(q, index);
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "log", receipt_log_id(q->log));
  cJSON_AddNumberToObject(json, "index", (double)index);
  add_hex(json, "hash", hash->bytes, sizeof hash->bytes);
  add_hex(json, "leaf", bytes->bytes, bytes->size);
  cJSON_AddItemToObject(json, "fields", receipts_fields(leaf));
  if (proof) cJSON_AddStringToObject(json, "proof", proof);
  free(proof);
  return json;
}

static void receipt_work(uv_work_t *work) {
  struct question *q = work->data;
  struct buffer bytes = {0};
  struct tree_hash hash;
  struct leaf leaf;
  q->status = 404;
  q->detail = "there is no such receipt";
  if (read_leaf(q, q->index, &bytes, &hash, &leaf) && may_see(q, q->index, &leaf)) {
    q->status = 200;
    q->json = receipt_json(q, q->index, &bytes, &hash, &leaf);
  } else if (is_gone(q, q->index, &bytes, FILES_PRUNED)) {
    q->status = 410;
    q->detail = "this leaf was forgotten, as the server was told to; its hash is still in the tree";
  } else if (is_gone(q, q->index, &bytes, FILES_DAMAGED)) {
    q->status = 500;
    q->detail = "the log is damaged: this leaf is not what its hash says";
  }
  buffer_clear(&bytes);
}

static void ask_by_index(struct exchange *x, const struct place *place, uv_work_cb work) {
  char *end;
  if (!has_log(x)) return;
  struct question *q = question_new(x, place);
  q->index = strtoull(place->name, &end, 10);
  if (!*end && place->name[0] >= '0' && place->name[0] <= '9' && strlen(place->name) < 19) {
    ask(q, work);
    return;
  }
  free(q);
  reply_problem(x, PROBLEM(.status = 400, .detail = "a receipt is asked for by its index, the number in Gasworks-Receipt"));
}

void route_receipt(struct exchange *x, const struct place *place) { ask_by_index(x, place, receipt_work); }

/* --- what it needs to run again ------------------------------------------------------------------------------------ */

/* Into q->text, for who may see the leaf. */
static void find_inputs(struct question *q) {
  struct buffer path = {0};
  struct inputs in;
  buffer_format(&path, "%s/inputs", receipt_log_directory(q->log));
  buffer_append(&path, "", 1);
  inputs_store_flush(q->inputs);
  struct inputs_reader *reader = inputs_reader_open((const char *)path.bytes);
  enum inputs_answer answer = inputs_reader_find(reader, q->index, &in);
  q->status = answer == INPUTS_FOUND ? 200 : answer == INPUTS_NONE ? 410 : 500;
  q->detail = answer == INPUTS_NONE ? "the inputs of this invocation are not kept, or not any more"
                                    : "the file with the inputs of this invocation is damaged";
  if (answer == INPUTS_FOUND) inputs_print(&in, &q->text);
  inputs_reader_close(reader);
  buffer_clear(&path);
}

static void find_module(struct question *q, const struct leaf *leaf) {
  struct gw_error ignored = {0};
  const struct leaf_value *module = &leaf->fields[FIELD_MODULE];
  char digest[DIGEST_HEX_SIZE] = "";
  if (module->size == DIGEST_SIZE) digest_print((const struct digest *)module->bytes, digest);
  bool ok = registry_read_module(q->registry, digest, &q->text, &ignored);
  q->status = ok ? 200 : 410;
  q->detail = "no version of a function here has this module any more";
}

static void ask_for_more(struct question *q, bool is_module) {
  struct buffer bytes = {0};
  struct tree_hash hash;
  struct leaf leaf;
  q->status = 404;
  q->detail = "there is no such receipt";
  q->type = "application/octet-stream";
  if (read_leaf(q, q->index, &bytes, &hash, &leaf) && may_see(q, q->index, &leaf)) {
    q->detail = "no inputs are kept here";
    if (is_module)
      find_module(q, &leaf);
    else if (q->inputs)
      find_inputs(q);
  }
  buffer_clear(&bytes);
}

static void inputs_work(uv_work_t *work) { ask_for_more(work->data, false); }
static void module_work(uv_work_t *work) { ask_for_more(work->data, true); }

void route_inputs(struct exchange *x, const struct place *place) { ask_by_index(x, place, inputs_work); }
void route_module(struct exchange *x, const struct place *place) { ask_by_index(x, place, module_work); }

/* --- the receipts of a function ------------------------------------------------------------------------------------ */

#define NO_RECEIPT "no function of this name has a receipt"

/* From leaf to leaf of one function, the newest first. */
struct walk {
  const struct question *q;
  cJSON *list;
  uint64_t at;
  bool is_linked; /* a leaf of the function led here, or the client */
  bool is_over, is_forgotten;
  bool is_others; /* over, because what comes next was done by another tenant of the name */
  struct buffer bytes;
};

static bool is_of(const struct leaf *leaf, const char *function) {
  const struct leaf_value *name = &leaf->fields[FIELD_FUNCTION];
  return name->is_there && name->size == strlen(function) && memcmp(name->bytes, function, name->size) == 0;
}

/* Down by one, where no leaf says how far. */
static void step_down(struct walk *w) {
  w->is_linked = false;
  if (w->at)
    w->at--;
  else
    w->is_over = true;
}

/* A void leaf that names no function is shown where a chain leads to it, so that whoever checks the chain sees why it goes on
 * elsewhere. */
static void look(struct walk *w) {
  struct tree_hash hash;
  struct leaf leaf;
  if (!read_leaf(w->q, w->at, &w->bytes, &hash, &leaf)) {
    w->is_over = w->is_forgotten = is_gone(w->q, w->at, &w->bytes, FILES_PRUNED);
    step_down(w);
    return;
  }
  bool is_ours = is_of(&leaf, w->q->function);
  bool is_gap = w->is_linked && leaf.fields[FIELD_OUTCOME].number == OUTCOME_VOID && !leaf.fields[FIELD_FUNCTION].is_there;
  const struct leaf_value *previous = &leaf.fields[FIELD_PREVIOUS];
  if (is_ours && !is_within(w->q, w->at, &leaf)) {
    w->is_over = w->is_others = true;
    return;
  }
  if (is_ours || is_gap) cJSON_AddItemToArray(w->list, receipt_json(w->q, w->at, &w->bytes, &hash, &leaf));
  if (!is_ours) {
    step_down(w);
  } else if (previous->is_there && previous->number < w->at) {
    w->is_linked = true;
    w->at = previous->number;
  } else {
    w->is_over = true;
  }
}

static void list_work(uv_work_t *work) {
  struct question *q = work->data;
  struct walk w = {.q = q, .list = cJSON_CreateArray(), .at = q->index, .is_linked = true};
  for (uint32_t i = 0, n = 0; i < MAX_LOOKS && n < q->limit && !w.is_over; i++, n = (uint32_t)cJSON_GetArraySize(w.list))
    look(&w);
  buffer_clear(&w.bytes);
  q->status = w.is_others && !cJSON_GetArraySize(w.list) ? 404 : 200;
  q->detail = NO_RECEIPT;
  if (q->status != 200) {
    cJSON_Delete(w.list);
    return;
  }
  q->json = cJSON_CreateObject();
  cJSON_AddStringToObject(q->json, "log", receipt_log_id(q->log));
  cJSON_AddItemToObject(q->json, "receipts", w.list);
  if (!w.is_over) cJSON_AddNumberToObject(q->json, "next", (double)w.at + 1);
  if (w.is_forgotten) cJSON_AddTrueToObject(q->json, "forgotten");
}

/* Decimal digits and nothing else, from 1 to `most`. */
static bool take_number(const struct query_part *part, uint64_t most, uint64_t *out) {
  *out = 0;
  for (size_t i = 0; i < part->word_size; i++) {
    if (part->word[i] < '0' || part->word[i] > '9' || *out > most) return false;
    *out = *out * 10 + (uint64_t)(part->word[i] - '0');
  }
  return *out && *out <= most;
}

/* `before` stays as it is where the query does not say it. */
static bool take_parameters(struct question *q, const char *query, uint64_t *before) {
  struct query_part part;
  uint64_t limit = USUAL_LIST;
  while (query_next(&query, &part)) {
    bool is_limit = query_is(&part, "limit");
    if (!is_limit && !query_is(&part, "before")) return false;
    if (!take_number(&part, is_limit ? MAX_LIST : 1ull << 53, is_limit ? &limit : before)) return false;
  }
  q->limit = (uint32_t)limit;
  return true;
}

void route_receipts(struct exchange *x, const struct place *place) {
  uint64_t before = 0, last;
  if (!has_log(x)) return;
  struct question *q = question_new(x, place);
  function_full_name(place->tenant, place->name, q->function);
  bool is_good = take_parameters(q, x->request.query, &before);
  if (is_good && receipt_log_last(q->log, q->function, &last)) {
    q->index = before && before <= last ? before - 1 : last;
    ask(q, list_work);
    return;
  }
  free(q);
  if (is_good)
    reply_problem(x, PROBLEM(.status = 404, .detail = NO_RECEIPT));
  else
    reply_problem(x, PROBLEM(.status = 400, .detail = "the parameters are limit=1 to 100 and before=INDEX"));
}

/* --- settings ----------------------------------------------------------------------------------------------------- */

/* Of the version that is called by the name alone, or of the one that the query names. */
void route_settings(struct exchange *x, const struct place *place) {
  struct query_part part;
  const char *query = x->request.query;
  char address[FUNCTION_MAX_ADDRESS + 1];
  uint64_t version = 0;
  bool is_good = true;
  while (query_next(&query, &part)) is_good = is_good && query_is(&part, "version") && take_number(&part, 1ull << 53, &version);
  if (!is_good) {
    reply_problem(x, PROBLEM(.status = 400, .detail = "the parameter is version=N"));
    return;
  }
  function_full_name(place->tenant, place->name, address);
  if (version) snprintf(address + strlen(address), sizeof address - strlen(address), "@%" PRIu64, version);
  struct function *f = registry_find(x->loop->registry, address);
  struct buffer text = {0};
  if (f) registry_print_settings(x->loop->registry, f, &text);
  if (f)
    reply_text(x, 200, "text/plain; charset=utf-8", &text);
  else
    reply_problem(x, PROBLEM(.status = 404, .detail = "there is no function of this name, or no such version of it"));
  function_release(f);
  buffer_clear(&text);
}

/* --- the log ------------------------------------------------------------------------------------------------------ */

void route_checkpoint(struct exchange *x, const struct place *place) {
  struct buffer text = {0};
  (void)place;
  if (!has_log(x)) return;
  receipt_log_checkpoint(x->loop->receipts, &text);
  reply_text(x, 200, "text/plain; charset=utf-8", &text);
  buffer_clear(&text);
}

static void keys_work(uv_work_t *work) {
  struct question *q = work->data;
  struct note_key keys[FILES_MAX_KEYS];
  char line[NOTE_MAX_VKEY];
  struct gw_error err = {0};
  size_t n = files_read_keys(receipt_log_directory(q->log), keys, &err);
  q->status = n ? 200 : 500;
  q->detail = "the log's keys cannot be read";
  q->type = "text/plain; charset=utf-8";
  for (size_t i = 0; i < n; i++) {
    note_print_key(&keys[i], line);
    buffer_format(&q->text, "%s\n", line);
  }
}

void route_log_keys(struct exchange *x, const struct place *place) {
  if (has_log(x)) ask(question_new(x, place), keys_work);
}

static void rotate_work(uv_work_t *work) {
  struct question *q = work->data;
  struct gw_error err = {0};
  q->status = 500;
  q->detail = "the log of receipts cannot get a new key";
  if (receipt_log_rotate(q->log, &err)) keys_work(work);
}

void route_rotate_log(struct exchange *x, const struct place *place) {
  if (has_log(x)) ask(question_new(x, place), rotate_work);
}

static void tile_work(uv_work_t *work) {
  struct question *q = work->data;
  const struct files_tile *t = &q->tile;
  const char *directory = receipt_log_directory(q->log);
  enum files_answer answer = FILES_DAMAGED;
  q->type = "application/octet-stream";
  if (t->is_entries) {
    answer = files_read_bundle(directory, t->n, t->width, &q->text);
  } else {
    size_t size = t->width * sizeof(struct tree_hash);
    void *out = buffer_reserve(&q->text, size);
    if (files_read_hashes((void *)directory, t->level, t->n * TREE_TILE, t->width, out)) answer = FILES_FOUND;
    q->text.size = size;
  }
  q->status = answer == FILES_FOUND ? 200 : answer == FILES_PRUNED ? 410 : 500;
  q->detail = answer == FILES_PRUNED
                  ? "these leaves were forgotten, as the server was told to; their hashes are still in the tree"
                  : "the log cannot be read";
}

/* Leaves name functions: those of a tenant's own process are its own, others only the server's tokens may read. */
static bool may_read_entries(const struct exchange *x, const struct place *place) {
  return place->is_server || x->loop->options->worker_of;
}

void route_tile(struct exchange *x, const struct place *place) {
  struct files_tile tile;
  if (!has_log(x)) return;
  if (!files_parse_tile(place->rest, &tile) || !files_has_tile(&tile, receipt_log_durable(x->loop->receipts))) {
    reply_problem(x, PROBLEM(.status = 404, .detail = "the tree of the last checkpoint has no such tile"));
  } else if (tile.is_entries && !may_read_entries(x, place)) {
    reply_problem(x, PROBLEM(.status = 403, .detail = "this needs a token of the server, not of a tenant"));
  } else {
    struct question *q = question_new(x, place);
    q->tile = tile;
    ask(q, tile_work);
  }
}
