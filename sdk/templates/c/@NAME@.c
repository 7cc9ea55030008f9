/* Greets, and counts its visits in its state. */
#include "gasworks_util.h"

GW_HANDLER(void) {
  char name[64] = "world", digits[21];
  uint64_t visits = 0;
  gw_query("name", name, sizeof name);
  gw_state_get("visits", 6, &visits, sizeof visits);
  gw_state_add("visits", 6, 1); /* visitors at the same time do not wait for each other */
  gw_reply_type("text/plain; charset=utf-8");
  gw_reply_text("hello, ");
  gw_reply_text(name);
  gw_reply_text(": visit ");
  gw_reply_text(gw_decimal(visits + 1, digits));
  gw_reply_text("\n");
}
