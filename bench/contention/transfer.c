/* For bench/contention/run. POST /zipf or /uniform, then /add or /set: moves 1 between two of 100,000 accounts. */
#include "gasworks_util.h"

/* Of Zipf's distribution with exponent 1.5, about. */
static uint32_t pick(int zipf) {
  uint32_t r;
  gw_random(&r, 4);
  if (!zipf) return r % 100000;
  double u = (r + 1.0) / 4294967297.0, rank = 1.0 / (u * u);
  return rank > 100000 ? 99999 : (uint32_t)rank - 1;
}
GW_HANDLER(void) {
  char path[32] = "";
  gw_request_path(path, 31);
  int zipf = strstr(path, "zipf") != NULL, adds = strstr(path, "add") != NULL;
  uint32_t a = pick(zipf), b = pick(zipf);
  if (a == b) b = (b + 1) % 100000;
  if (adds) {
    gw_state_add(&a, 4, -1);
    gw_state_add(&b, 4, 1);
    gw_reply_text("ok\n");
    return;
  }
  if (a > b) {
    uint32_t t = a;
    a = b;
    b = t;
  }
  int64_t x = 0, y = 0;
  gw_state_get(&a, 4, &x, 8);
  gw_state_get(&b, 4, &y, 8);
  x--, y++;
  gw_state_set(&a, 4, &x, 8);
  gw_state_set(&b, 4, &y, 8);
  gw_reply_text("ok\n");
}
