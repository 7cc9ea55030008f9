/* Every host function by the SDK, as sdk.rs and sdk.ts call them: all three reply the same. */
#include "gasworks_util.h"

GW_TOOL({"description" : "All of the SDK", "inputSchema" : {"type" : "object", "properties" : {"a" : {"type" : "string"}}}});

static char text[1 << 16];

static void line(const char *name, const void *bytes, size_t size) {
  gw_reply_text(name);
  gw_reply_text("=");
  gw_reply(bytes, size);
  gw_reply_text("\n");
}

static void number(const char *name, uint64_t value) {
  char digits[21];
  const char *at = gw_decimal(value, digits);
  line(name, at, strlen(at));
}

static void request(void) {
  line("method", text, gw_request_method(text, sizeof text));
  line("target", text, gw_request_target(text, sizeof text));
  line("path", text, gw_request_path(text, sizeof text));
  line("query", text, gw_request_query(text, sizeof text));
  bool is_there = gw_query("a", text, sizeof text);
  line("parameter", text, is_there ? strlen(text) : 0);
  line("header", text, gw_request_header("x-in", 4, text, sizeof text));
  number("missing", gw_request_header("x-none", 6, text, sizeof text) == GW_NONE);
  for (size_t i = 0, size; (size = gw_request_header_name(i, text, sizeof text)) != GW_NONE; i++) {
    if (size != 4 || memcmp(text, "x-in", 4) != 0) continue;
    line("of all", text, gw_request_header_value(i, text, sizeof text));
  }
  number("body size", gw_request_body_size());
  line("body", text, gw_request_body(0, text, sizeof text));
}

static void values(void) {
  gw_state_set("key", 3, "value", 5);
  line("get", text, gw_state_get("key", 3, text, sizeof text));
  number("exists", (uint64_t)gw_state_exists("key", 3));
  gw_state_delete("key", 3);
  number("deleted", gw_state_get("key", 3, text, sizeof text) == GW_NONE && !gw_state_exists("key", 3));
  gw_state_add("number", 6, 7);
  gw_state_add("number", 6, -2);
  gw_state_get("number", 6, text, sizeof text);
  number("added", (uint64_t)text[0]);
  gw_state_write("parts", 5, 3, "abc", 3);
  number("size", gw_state_size("parts", 5));
  line("read", text, gw_state_read("parts", 5, 3, text, sizeof text));
  gw_state_resize("parts", 5, 4);
  number("resized", gw_state_size("parts", 5));
  number("no size", gw_state_size("none", 4) == GW_NONE);
}

static void scan(const char *name, uint32_t flags, uint32_t limit) {
  static uint8_t page[16384];
  int32_t size = gw_state_scan("s", 1, "t", 1, flags, limit, page, sizeof page);
  struct gw_pair pair;
  for (const uint8_t *at = page; gw_next_pair(&at, page + size, flags, &pair);) {
    line(name, pair.key, pair.key_size);
    if (flags & GW_SCAN_KEYS)
      number("of size", pair.value_size);
    else
      line("with", pair.value, pair.value_size);
  }
}

GW_HANDLER(void) {
  uint8_t random[16] = {0}, zeros[16] = {0};
  gw_reply_status(201);
  gw_reply_header("X-Out", 5, "out", 3);
  gw_reply_type("text/plain");
  request();
  values();
  gw_state_set("s1", 2, "one", 3);
  gw_state_set("s2", 2, "twelve", 6);
  scan("scan", 0, 9);
  scan("last", GW_SCAN_BACKWARD, 1);
  scan("key", GW_SCAN_KEYS, 9);
  gw_log("logged", 6);
  number("gas", gw_gas_left() > 1000);
  number("clock", gw_clock_ms() > 1577836800000);
  gw_random(random, sizeof random);
  number("random", memcmp(random, zeros, sizeof random) != 0);
}
