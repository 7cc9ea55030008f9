/* For bench/contention/bank: ten accounts. POST moves a random amount between two of them, if that much is there; GET replies the
 * sum of all. Balances are 1000 at first. */
#include "gasworks_util.h"

enum { N_ACCOUNTS = 10, START = 1000 };

static int64_t balance(uint32_t account) {
  int64_t n = START;
  return gw_state_get(&account, sizeof account, &n, sizeof n) == GW_NONE ? START : n;
}

GW_HANDLER(void) {
  char method[8] = "", digits[21];
  uint32_t r[3];
  gw_request_method(method, sizeof method - 1);
  if (strcmp(method, "POST") != 0) {
    int64_t sum = 0;
    for (uint32_t i = 0; i < N_ACCOUNTS; i++) sum += balance(i);
    gw_reply_text("sum ");
    gw_reply_text(gw_decimal((uint64_t)sum, digits));
    return;
  }
  gw_random(r, sizeof r);
  uint32_t from = r[0] % N_ACCOUNTS, to = (from + 1 + r[1] % (N_ACCOUNTS - 1)) % N_ACCOUNTS;
  int64_t amount = 1 + r[2] % 50, a = balance(from), b = balance(to);
  if (a < amount) {
    gw_reply_text("poor");
    return;
  }
  a -= amount, b += amount;
  gw_state_set(&from, sizeof from, &a, sizeof a);
  gw_state_set(&to, sizeof to, &b, sizeof b);
  gw_reply_text("moved");
}
