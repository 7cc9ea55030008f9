/* A tool for models: the prime factors of a number. What it is for, and what goes in and out, stands in GW_TOOL, and /mcp tells
 * it to clients of the Model Context Protocol. A call is a POST of the arguments as JSON. */
#include "gasworks_guest.h"

#include <string.h>

GW_TOOL({
  "title" : "Prime factors",
  "description" : "Finds the prime factors of a whole number from 2 to 9007199254740991, the smallest first.",
  "inputSchema" : {
    "type" : "object",
    "properties" : {"n" : {"type" : "integer", "minimum" : 2, "maximum" : 9007199254740991}},
    "required" : ["n"]
  },
  "outputSchema" : {
    "type" : "object",
    "properties" : {"factors" : {"type" : "array", "items" : {"type" : "integer"}}},
    "required" : ["factors"]
  },
  "annotations" : {"readOnlyHint" : true, "openWorldHint" : false}
});

static const uint64_t LARGEST = 9007199254740991; /* that a number of JSON holds exactly */

/* The number behind "n":, or 0. */
static uint64_t read_n(void) {
  char body[256];
  size_t size = gw_request_body(0, body, sizeof body - 1);
  body[size] = 0;
  const char *at = strstr(body, "\"n\"");
  if (!at) return 0;
  at += 3;
  at += strspn(at, " \t\r\n");
  if (*at++ != ':') return 0;
  at += strspn(at, " \t\r\n");
  uint64_t n = 0;
  while (*at >= '0' && *at <= '9' && n <= LARGEST) n = n * 10 + (uint64_t)(*at++ - '0');
  return *at == '.' || *at == 'e' || *at == 'E' || n > LARGEST ? 0 : n;
}

static void reply_text(const char *text) { gw_reply(text, strlen(text)); }

static void reply_number(uint64_t n) {
  char digits[20], *first = digits + sizeof digits;
  do *--first = (char)('0' + n % 10);
  while (n /= 10);
  gw_reply(first, (size_t)(digits + sizeof digits - first));
}

static void reply_factor(uint64_t factor, int *n_replied) {
  if ((*n_replied)++) reply_text(",");
  reply_number(factor);
}

GW_HANDLER(void) {
  uint64_t n = read_n();
  int n_replied = 0;
  if (n < 2) {
    gw_reply_status(400);
    reply_text("n is a whole number from 2 to 9007199254740991");
    return;
  }
  gw_reply_header("content-type", 12, "application/json", 16);
  reply_text("{\"factors\":[");
  for (uint64_t d = 2; d * d <= n; d += d == 2 ? 1 : 2)
    for (; n % d == 0; n /= d) reply_factor(d, &n_replied);
  if (n > 1) reply_factor(n, &n_replied);
  reply_text("]}");
}
