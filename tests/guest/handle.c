/* Guest of test_guest.c: uses every part of the handle interface. */
#include "gasworks_guest.h"

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
  uint64_t before = gw_gas_left();
  gw_log("a line", 6);
  uint64_t after = gw_gas_left();
  gw_reply_status(201);
  gw_reply_header("X-Count", 7, "many", 4);
  int n = snprintf(out, sizeof out, "%s %s?%s %s %d %zu/%zu %s %d %u %d\n", method, path, query, accept, missing == GW_NONE,
                   n_body, gw_request_body_size(), body, found == GW_NONE, (unsigned)count, before > after);
  gw_reply(out, (size_t)n);
}
