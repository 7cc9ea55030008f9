#define _GNU_SOURCE /* mempcpy */
#include "server/invoke/draft.h"

#include "instrument/schedule.h"
#include "runtime/host_api.h"

#include <string.h>
#include <time.h>

_Static_assert((int)SHA256_SIZE == (int)DIGEST_SIZE, "all digests of a leaf have one size");

enum { MOST_REUSED = 16 << 10 };

void draft_begin(struct draft *d, struct receipt_log *log) {
  d->log = log;
  d->chain = NULL;
  if (d->request_head.capacity > MOST_REUSED) buffer_clear(&d->request_head);
  d->is_due = d->is_made = d->is_stored = d->is_reserved = d->has_request = d->has_reply = d->has_read = false;
}

void draft_clear(struct draft *d) { buffer_clear(&d->request_head); }

/* --- digests ------------------------------------------------------------------------------------------------------ */

/* The text, and a byte behind it. */
static void add_text(struct buffer *out, const char *text, char end) {
  size_t size = strlen(text);
  uint8_t *at = buffer_reserve(out, size + 1);
  memcpy(at, text, size);
  at[size] = (uint8_t)end;
  out->size += size + 1;
}

static void print_head(const struct request *r, struct buffer *out) {
  out->size = 0;
  add_text(out, r->method_name, ' ');
  add_text(out, r->target, '\n');
  for (uint32_t i = 0; i < r->n_headers; i++) {
    add_text(out, r->headers[i].name, ':');
    add_text(out, r->headers[i].value, '\n');
  }
  add_text(out, "", '\n');
}

void draft_hash_request(struct draft *d, const struct request *r) {
  struct sha256 s;
  print_head(r, &d->request_head);
  sha256_begin(&s);
  sha256_add(&s, d->request_head.bytes, d->request_head.size);
  sha256_add(&s, r->body.bytes, r->body.size);
  sha256_end(&s, d->request);
  d->has_request = true;
}

void draft_hash_reply(struct draft *d, const struct handler *h) {
  struct sha256 s;
  char status[16], *first = status + sizeof status;
  uint32_t n = h->status;
  *--first = '\n';
  do *--first = (char)('0' + n % 10);
  while (n /= 10);
  sha256_begin(&s);
  sha256_add(&s, first, (size_t)(status + sizeof status - first));
  sha256_add(&s, h->reply_headers.bytes, h->reply_headers.size);
  sha256_add(&s, "\n", 1);
  sha256_add(&s, h->reply.bytes, h->reply.size);
  sha256_end(&s, d->reply);
  d->has_reply = true;
}

static uint8_t digit(char c) { return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10); }

static void read_hex(const char *hex, uint8_t out[SHA256_SIZE]) {
  for (int i = 0; i < SHA256_SIZE; i++) out[i] = (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
}

/* --- the leaf ----------------------------------------------------------------------------------------------------- */

static void set_digest(struct draft *d, enum leaf_field field, const uint8_t digest[SHA256_SIZE]) {
  leaf_set_bytes(&d->leaf, field, digest, SHA256_SIZE);
}

/* What each leaf of the slot's begins with. */
static void make_head(struct slot *slot) {
  struct leaf leaf = {0};
  uint8_t module[SHA256_SIZE];
  read_hex(slot->function->digest, module);
  leaf_set_number(&leaf, FIELD_FORMAT, LEAF_FORMAT);
  leaf_set_number(&leaf, FIELD_OUTCOME, OUTCOME_REPLIED);
  leaf_set_bytes(&leaf, FIELD_FUNCTION, slot->function->name, strlen(slot->function->name));
  leaf_set_bytes(&leaf, FIELD_MODULE, module, sizeof module);
  leaf_set_bytes(&leaf, FIELD_SCHEDULE, gw_instance_schedule(slot->instance)->digest.bytes, DIGEST_SIZE);
  leaf_set_number(&leaf, FIELD_SEMANTICS, LEAF_SEMANTICS);
  leaf_encode_head(&leaf, &slot->leaf_head);
}

static void set_slot(struct draft *d, struct slot *slot) {
  if (!slot->chain) slot->chain = receipt_log_chain(d->log, slot->function->name);
  if (!slot->leaf_head.size) make_head(slot);
  d->chain = slot->chain;
  d->head = &slot->leaf_head;
  set_digest(d, FIELD_SETTINGS, slot->function->settings_digest);
}

/* It ended while it had no slot. */
static void set_function(struct draft *d, const char *function) {
  leaf_set_number(&d->leaf, FIELD_FORMAT, LEAF_FORMAT);
  leaf_set_bytes(&d->leaf, FIELD_FUNCTION, function, strlen(function));
  leaf_set_number(&d->leaf, FIELD_SEMANTICS, LEAF_SEMANTICS);
  d->chain = receipt_log_chain(d->log, function);
  d->head = NULL;
}

/* Whatever no host function charged is what instructions did. */
static void set_gas(struct draft *d, const struct draft_facts *facts) {
  static const enum leaf_field fields[HOST_GAS_COUNT] = {FIELD_CALLS, FIELD_MOVED, FIELD_STORAGE};
  uint64_t rest = facts->gas;
  for (int i = 0; i < HOST_GAS_COUNT; i++) {
    uint64_t gas = facts->slot && facts->gas ? host_api_gas(facts->slot->store, (enum host_gas)i) : 0;
    if (gas > rest) gas = rest;
    rest -= gas;
    if (gas) leaf_set_number(&d->leaf, fields[i], gas);
  }
  leaf_set_number(&d->leaf, FIELD_COMPUTE, rest);
}

static void set_host(struct draft *d, const struct record *record) {
  struct sha256 s;
  if (!record || !record->log.size) return;
  sha256_begin(&s);
  sha256_add(&s, record->log.bytes, record->log.size);
  sha256_end(&s, d->host);
  set_digest(d, FIELD_HOST, d->host);
}

void draft_keep_read(struct draft *d, const struct state_txn *txn) {
  if (txn) d->has_read = state_txn_read_digest(txn, d->read);
}

static void set_read(struct draft *d, const struct state_txn *txn) {
  draft_keep_read(d, txn);
  if (d->has_read) set_digest(d, FIELD_READ, d->read);
}

static void make_leaf(struct draft *d, const struct draft_facts *facts, const struct state_txn *txn) {
  d->leaf = (struct leaf){0};
  if (!d->log)
    d->head = NULL;
  else if (facts->slot)
    set_slot(d, facts->slot);
  else
    set_function(d, facts->function);
  leaf_set_number(&d->leaf, FIELD_OUTCOME, facts->outcome);
  leaf_set_number(&d->leaf, FIELD_TIME, (uint64_t)time(NULL));
  if (facts->status) leaf_set_number(&d->leaf, FIELD_STATUS, facts->status);
  if (facts->outcome == OUTCOME_TRAPPED) leaf_set_number(&d->leaf, FIELD_TRAP, facts->trap);
  if (d->has_request) set_digest(d, FIELD_REQUEST, d->request);
  if (d->has_reply && facts->status) set_digest(d, FIELD_REPLY, d->reply);
  set_read(d, txn);
  set_host(d, facts->record);
  set_gas(d, facts);
  if (facts->slot) leaf_set_number(&d->leaf, FIELD_VERSION, facts->slot->function->version);
  if (facts->sent) leaf_set_number(&d->leaf, FIELD_SENT, facts->sent);
  if (facts->cpu_ns) leaf_set_number(&d->leaf, FIELD_CPU, facts->cpu_ns);
}

void draft_make(struct draft *d, const struct draft_facts *facts, struct state_txn *txn) {
  make_leaf(d, facts, txn);
  read_hex(facts->slot->function->digest, d->module);
  leaf_set_number(&d->leaf, FIELD_FORMAT, LEAF_FORMAT);
  leaf_set_bytes(&d->leaf, FIELD_FUNCTION, facts->function, strlen(facts->function));
  set_digest(d, FIELD_MODULE, d->module);
  set_digest(d, FIELD_SCHEDULE, gw_instance_schedule(facts->slot->instance)->digest.bytes);
  leaf_set_number(&d->leaf, FIELD_SEMANTICS, LEAF_SEMANTICS);
  bool has_written = facts->outcome == OUTCOME_REPLIED && txn && state_txn_written_digest(txn, d->written);
  if (has_written) set_digest(d, FIELD_WRITTEN, d->written);
}

/* --- into the log ------------------------------------------------------------------------------------------------- */

static bool reserve(struct draft *d) {
  size_t behind, size = leaf_encode_behind(d->head, &d->leaf, d->bytes, &behind);
  return receipt_log_reserve(d->log, d->chain, d->bytes, size, behind, &d->place);
}

static void fill_void(struct draft *d) {
  leaf_void(d->bytes);
  receipt_log_fill(&d->place, d->bytes);
  d->is_reserved = false;
}

/* In the commit, on the store's thread. What an earlier try was given is void. */
static bool seal(struct state_seal *seal, const uint8_t written[SHA256_SIZE]) {
  struct draft *d = (struct draft *)seal;
  if (d->is_reserved) fill_void(d);
  memcpy(d->written, written, SHA256_SIZE);
  set_digest(d, FIELD_WRITTEN, d->written);
  if (seal->rent) leaf_set_number(&d->leaf, FIELD_RENT, seal->rent);
  if (!reserve(d)) return false;
  d->is_reserved = true;
  seal->index = d->place.index;
  seal->bytes = d->bytes;
  seal->size = d->place.size;
  seal->settled = receipt_log_durable(d->log);
  return true;
}

void draft_prepare(struct draft *d, const struct draft_facts *facts, struct state_txn *txn) {
  if (!d->log) return;
  make_leaf(d, facts, txn);
  d->seal = (struct state_seal){.make = seal};
  if (txn) state_txn_seal(txn, &d->seal);
}

void draft_settle(struct draft *d, bool is_committed) {
  if (!d->is_reserved) return;
  if (!is_committed) {
    fill_void(d);
    return;
  }
  d->hash = receipt_log_fill(&d->place, d->bytes);
  d->is_reserved = false;
  d->is_made = d->is_stored = true;
}

bool draft_finish(struct draft *d, const struct draft_facts *facts, const struct state_txn *txn) {
  if (d->is_made || !d->log) return true;
  make_leaf(d, facts, txn);
  if (!reserve(d)) return false;
  d->hash = receipt_log_fill(&d->place, d->bytes);
  d->is_made = true;
  return true;
}

/* Four bytes in hexadecimal, all digits at once: each request prints 64 of them. */
static void put_hex(char *out, const uint8_t bytes[4]) {
  const uint64_t ones = 0x0101010101010101, low = 0x000f000f000f000f;
  uint32_t four;
  memcpy(&four, bytes, sizeof four);
  uint64_t x = (four | (uint64_t)four << 16) & 0x0000ffff0000ffff;
  x = (x | x << 8) & 0x00ff00ff00ff00ff;
  x = (x >> 4 & low) | (x & low) << 8;
  x += '0' * ones + ((x + 6 * ones) >> 4 & ones) * ('a' - '0' - 10);
  memcpy(out, &x, sizeof x);
}

void draft_print(const struct draft *d, char out[EXCHANGE_RECEIPT_SIZE]) {
  char *at = stpcpy(out, receipt_log_id(d->log)), number[20], *first = number + sizeof number;
  uint64_t n = d->place.index;
  do *--first = (char)('0' + n % 10);
  while (n /= 10);
  *at++ = '/';
  at = mempcpy(at, first, (size_t)(number + sizeof number - first));
  *at++ = '/';
  for (int i = 0; i < TREE_HASH_SIZE; i += 4, at += 8) put_hex(at, d->hash.bytes + i);
  *at = 0;
}
