/* Guest of test_guest.c: uses every part of the handle interface. */
#include "gasworks_util.h"

#include <stdio.h>
#include <string.h>

GW_HANDLER(void) {
  char method[16] = "", path[64] = "", query[64] = "", accept[64] = "", body[64] = "", out[512];
  gw_request_method(method, sizeof method - 1);
  gw_request_path(path, sizeof path - 1);
  gw_request_query(query, sizeof query - 1);
  gw_request_header("Accept", 6, accept, sizeof accept - 1);
  size_t missing = gw_request_header("Missing", 7, NULL, 0);
  size_t n_body = gw_request_body(1, body, sizeof body - 1);
  uint32_t count = 0;
  size_t found = gw_state_get("count", 5, &count, sizeof count);
  count++;
  gw_state_set("count", 5, &count, sizeof count);
  gw_state_set("gone", 4, "x", 1);
  gw_state_delete("gone", 4);
  gw_state_add("sum", 3, 2);
  uint8_t pairs[64];
  int32_t n_pairs = gw_state_scan("count", 5, NULL, 0, GW_SCAN_BACKWARD, 0, pairs, sizeof pairs);
  const uint8_t *at = pairs;
  struct gw_pair pair;
  uint64_t sum = 0;
  while (gw_next_pair(&at, pairs + n_pairs, 0, &pair)) {
    for (uint32_t i = pair.value_size; i-- > 0;) sum = 256 * sum + pair.value[i];
    sum = 100 * sum + pair.key_size; /* sum, then count */
  }
  if (gw_state_exists("gone", 4) || !gw_state_exists("sum", 3)) sum = 0;
  uint64_t before = gw_gas_left();
  gw_log("a line", 6);
  uint64_t after = gw_gas_left();
  gw_reply_status(201);
  gw_reply_header("X-Count", 7, "many", 4);
  int n =
      snprintf(out, sizeof out, "%s %s?%s %s %d %zu/%zu %s %d %u %llu %d\n", method, path, query, accept, missing == GW_NONE,
               n_body, gw_request_body_size(), body, found == GW_NONE, (unsigned)count, (unsigned long long)sum, before > after);
  gw_reply(out, (size_t)n);
}
