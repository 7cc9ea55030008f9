#include "server/api/toll.h"

#include "base/clock.h"
#include "runtime/receipt/leaf.h"
#include "runtime/receipt/receipt.h"
#include "server/function/function.h"
#include "server/http/reply.h"
#include "server/loop/loop.h"
#include "server/server.h"
#include "server/usage/account.h"

#include <string.h>

/* Decoding and validating take some nanoseconds a byte, LLVM some microseconds a byte of code; gas is a tenth of a nanosecond. */
enum { GAS_OF_BYTE = 100, GAS_OF_CODE = 60000 };

/* What the module says that its code section takes, as far as it has bytes for that. No module is decoded here. */
struct toll toll_of(const void *module, size_t size) {
  enum { HEAD = 8, CODE = 10, MORE = 0x80, BITS = 7, MOST_BITS = 35 };
  const uint8_t *bytes = module;
  struct toll toll = {.bytes = size};
  for (size_t at = HEAD; at < size;) {
    uint8_t id = bytes[at++];
    uint64_t length = 0;
    for (unsigned shift = 0; at < size && shift < MOST_BITS; shift += BITS) {
      length |= (uint64_t)(bytes[at] & (MORE - 1)) << shift;
      if (!(bytes[at++] & MORE)) break;
    }
    if (length > size - at) length = size - at;
    if (id == CODE) toll.code += length;
    at += length;
  }
  return toll;
}

static bool is_compiled(const struct loop *loop) { return loop->limits->tier == TIER_AUTO || loop->limits->tier == TIER_FAST; }

static struct leaf leaf_of(const char *function, uint64_t gas) {
  struct leaf leaf = {0};
  leaf_set_number(&leaf, FIELD_FORMAT, LEAF_FORMAT);
  leaf_set_number(&leaf, FIELD_OUTCOME, OUTCOME_REPLIED);
  leaf_set_bytes(&leaf, FIELD_FUNCTION, function, strlen(function));
  leaf_set_number(&leaf, FIELD_SEMANTICS, LEAF_SEMANTICS);
  leaf_set_number(&leaf, FIELD_TIME, clock_ns(CLOCK_REALTIME) / 1000000000);
  leaf_set_number(&leaf, FIELD_COMPUTE, gas);
  return leaf;
}

/* Where the log has no room, nothing runs either, and there is no bill. */
static bool write_receipt(struct receipt_log *log, const char *function, const struct leaf *leaf) {
  struct receipt_place place;
  uint8_t bytes[LEAF_MAX];
  size_t behind, size = leaf_encode_behind(NULL, leaf, bytes, &behind);
  bool ok = receipt_log_reserve(log, receipt_log_chain(log, function), bytes, size, behind, &place);
  if (ok) receipt_log_fill(&place, bytes);
  return ok;
}

/* NULL: it has no limits. */
static struct account *account_of(struct loop *loop, const char *tenant, char function[FUNCTION_MAX_FULL_NAME + 1]) {
  if (!loop->usage) return NULL;
  function_full_name(tenant, FUNCTION_LOAD, function);
  struct account *account = usage_account(loop->usage, function);
  return account_has_limits(account) ? account : NULL;
}

bool toll_allows(struct loop *loop, const char *tenant, struct problem *why) {
  char function[FUNCTION_MAX_FULL_NAME + 1];
  const struct account *account = account_of(loop, tenant, function);
  struct account_refusal no;
  if (!account || account_may_spend(account, &no)) return true;
  metrics_add(&loop->metrics.refused, 1);
  *why = *PROBLEM(.status = no.status, .title = no.title, .detail = no.detail, .retry_after = no.retry_after);
  return false;
}

void toll_take(struct loop *loop, const char *tenant, const struct toll *toll) {
  char function[FUNCTION_MAX_FULL_NAME + 1];
  struct account *account = account_of(loop, tenant, function);
  uint64_t gas = toll->bytes * GAS_OF_BYTE + (is_compiled(loop) ? toll->code * GAS_OF_CODE : 0);
  if (!account) return;
  struct leaf leaf = leaf_of(function, gas);
  struct usage_sum sum = usage_of_leaf(&leaf);
  if (!write_receipt(loop->receipts, function, &leaf)) return;
  account_charge(account, gas);
  account_bill(account, gas, &sum);
}
