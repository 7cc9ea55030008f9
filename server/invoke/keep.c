#include "server/invoke/keep.h"

#include "server/function/registry.h"
#include "server/inputs/store.h"
#include "server/invoke/invoke.h"
#include "server/server.h"

#include <string.h>

enum { REUSED = 64 << 10 };

static size_t limit_of(const struct invocation *inv) { return inv->exchange->loop->options->inputs_each; }

void keep_begin(struct invocation *inv) {
  inv->keep.has_reads = inv->keep.has_lost_reads = false;
  if (inv->exchange->loop->inputs && inv->txn) state_txn_keep_reads(inv->txn, limit_of(inv));
}

void keep_reads(struct invocation *inv) {
  struct keep *k = &inv->keep;
  if (!inv->exchange->loop->inputs || !inv->txn || k->has_reads) return;
  k->has_reads = true;
  k->has_lost_reads = !state_txn_take_reads(inv->txn, &k->reads, &k->seed);
}

static void set_text(struct inputs *in, enum input_field field, const char *text) {
  inputs_set_bytes(in, field, text, text ? strlen(text) : 0);
}

/* That it ran with: the server's may be others by now. */
static void set_limits(struct inputs *in, const struct invocation *inv) {
  const struct function *f = inv->slot->function;
  inputs_set_number(in, INPUT_GAS_LIMIT, function_gas_limit(f, inv->limits));
  inputs_set_number(in, INPUT_MAX_MEMORY, function_max_memory(f, inv->limits));
  inputs_set_number(in, INPUT_FINE, inv->limits->has_fine_clocks);
  inputs_set_number(in, INPUT_MAX_REPLY, inv->limits->max_reply);
}

static uint64_t set_request(struct inputs *in, struct invocation *inv) {
  const struct request *r = &inv->exchange->request;
  struct buffer *text = &inv->draft.request_head;
  set_text(in, INPUT_ADDRESS, r->address);
  set_text(in, INPUT_REST, r->rest);
  inputs_set_number(in, INPUT_HTTP10, r->is_http10);
  if (r->body.size > limit_of(inv)) return INPUT_LOST_REQUEST;
  buffer_append(text, r->body.bytes, r->body.size);
  inputs_set_bytes(in, INPUT_REQUEST, text->bytes, text->size);
  return 0;
}

static uint64_t set_reads(struct inputs *in, const struct invocation *inv, uint8_t repeat[2 * REPEAT_DIGEST]) {
  const struct keep *k = &inv->keep;
  if (!k->has_reads) return 0;
  const struct function *f = inv->slot->function;
  if (function_space(f) != f->name) set_text(in, INPUT_SPACE, function_space(f));
  inputs_set_number(in, INPUT_ONLY_READS, function_gets_only_read(f) && request_is_safe(&inv->exchange->request));
  if (k->seed.is_there) inputs_set_bytes(in, INPUT_SEED, k->seed.bytes, sizeof k->seed.bytes);
  if (inv->repeat.has_key) {
    memcpy(repeat, inv->repeat.key, REPEAT_DIGEST);
    memcpy(repeat + REPEAT_DIGEST, inv->repeat.request, REPEAT_DIGEST);
    inputs_set_bytes(in, INPUT_REPEAT, repeat, 2 * REPEAT_DIGEST);
    inputs_set_number(in, INPUT_REPEAT_MS, inv->repeat_ms);
  }
  if (k->has_lost_reads) return INPUT_LOST_READS;
  inputs_set_bytes(in, INPUT_READS, k->reads.bytes, k->reads.size);
  return 0;
}

static uint64_t set_host(struct inputs *in, const struct invocation *inv) {
  const struct record *record = &inv->record;
  if (record->is_full || record->log.size > limit_of(inv)) return INPUT_LOST_HOST;
  inputs_set_bytes(in, INPUT_HOST, record->log.bytes, record->log.size);
  return 0;
}

void keep_inputs(struct invocation *inv, const struct asked *asked) {
  struct loop *loop = inv->exchange->loop;
  struct inputs in = {0};
  uint8_t repeat[2 * REPEAT_DIGEST];
  if (!loop->inputs || !inv->slot) return;
  const struct function *f = inv->slot->function;
  if (f->is_loose) return; /* nobody has its module to run it again with */
  keep_reads(inv);
  inputs_set_number(&in, INPUT_INDEX, inv->draft.place.index);
  inputs_set_number(&in, INPUT_VERSION, f->version);
  set_limits(&in, inv);
  inputs_set_number(&in, INPUT_PORT, asked->port);
  set_text(&in, INPUT_PEER, asked->peer);
  struct buffer *settings = &inv->slot->settings;
  if (!settings->size) registry_print_settings(loop->registry, f, settings);
  inputs_set_bytes(&in, INPUT_SETTINGS, settings->bytes, settings->size);
  uint64_t lost = set_request(&in, inv);
  lost |= set_reads(&in, inv, repeat);
  lost |= set_host(&in, inv);
  if (f->settings && cJSON_GetArraySize(f->settings->directories)) lost |= INPUT_LOST_FILES;
  inputs_set_number(&in, INPUT_LOST, lost);
  inputs_store_keep(loop->inputs, &in, inv->draft.request, f->settings_digest);
  if (inv->keep.reads.capacity > REUSED) buffer_clear(&inv->keep.reads);
}

void keep_clear(struct keep *k) { buffer_clear(&k->reads); }
