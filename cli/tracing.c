/* The variables are those of OpenTelemetry's specification ("SDK Environment Variables", "Protocol Exporter"); an empty one is
 * none. */
#include "cli/tracing.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/json_text.h"
#include "base/version.h"
#include "server/api/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { USUAL_TIMEOUT_MS = 10000, MAX_TIMEOUT_MS = 600000 };

static const char *variable(const char *name) {
  const char *value = getenv(name);
  return value && *value ? value : NULL;
}

/* The one for traces goes before the one for all signals. */
static const char *either(const char *first, const char *second) {
  const char *value = variable(first);
  return value ? value : variable(second);
}

static void pass_over(const char *name, const char *why) { fprintf(stderr, "gasworks: %s is passed over: %s\n", name, why); }

/* --- endpoint ------------------------------------------------------------------------------------------------------------ */

static bool is_url(const char *text) {
  size_t scheme = strncasecmp(text, "http://", 7) == 0 ? 7 : strncasecmp(text, "https://", 8) == 0 ? 8 : 0;
  if (!scheme || !text[scheme]) return false;
  for (; *text; text++)
    if (*text <= ' ' || *text > '~') return false;
  return true;
}

/* Of all signals: that of traces is below it. */
static const char *below(struct arena *arena, const char *base) {
  size_t size = strlen(base);
  return arena_format(arena, "%s%sv1/traces", base, base[size - 1] == '/' ? "" : "/");
}

static bool read_endpoint(struct tracer_options *o, const char *given, struct arena *arena, struct gw_error *err) {
  const char *of_traces = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), *of_all = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
  const char *exporter = variable("OTEL_TRACES_EXPORTER"), *disabled = variable("OTEL_SDK_DISABLED");
  o->endpoint = NULL;
  if (given && !is_url(given))
    return error_set(err, GW_ERROR_USAGE, "--otlp-endpoint wants a URL that begins with http:// or https://, not %.200s", given);
  if (given) {
    o->endpoint = below(arena, given);
    return true;
  }
  if ((exporter && strcmp(exporter, "none") == 0) || (disabled && strcasecmp(disabled, "true") == 0)) return true;
  if (of_traces && is_url(of_traces))
    o->endpoint = arena_format(arena, "%s", of_traces);
  else if (of_all && is_url(of_all))
    o->endpoint = below(arena, of_all);
  else if (of_traces || of_all)
    pass_over("OTEL_EXPORTER_OTLP_ENDPOINT", "it is no URL that begins with http:// or https://");
  return true;
}

/* --- lists: "key=value,key=value", with percent escapes in values (W3C Baggage) ------------------------------------------- */

static char *trim(char *text) {
  text += strspn(text, " \t");
  size_t size = strlen(text);
  while (size && strchr(" \t", text[size - 1])) text[--size] = 0;
  return text;
}

/* Takes a pair off `*list`, which it cuts; false at the end. `value` NULL: what stood there is no pair. */
static bool next_pair(char **list, char **key, char **value) {
  char *at = *list;
  if (!*at) return false;
  size_t size = strcspn(at, ",");
  *list = at + size + (at[size] != 0);
  at[size] = 0;
  char *equals = strchr(at, '=');
  if (equals) *equals = 0;
  *key = trim(at);
  *value = equals ? trim(equals + 1) : NULL;
  if (*value && (!**key || !query_percent_decode(*value))) *value = NULL;
  return true;
}

/* RFC 9110: a token, and no control characters. */
static bool is_header(const char *name, const char *value) {
  static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  if (strspn(name, token) != strlen(name)) return false;
  for (; *value; value++)
    if ((unsigned char)*value < ' ' || *value == 127) return false;
  return true;
}

static void read_headers(struct tracer_options *o, struct arena *arena) {
  const char *text = either("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS");
  struct buffer lines = {0};
  char *list = arena_format(arena, "%s", text ? text : ""), *key, *value;
  while (next_pair(&list, &key, &value)) {
    if (value && is_header(key, value))
      buffer_format(&lines, "%s: %s\n", key, value);
    else if (value || *key)
      pass_over("a member of OTEL_EXPORTER_OTLP_HEADERS", "it is not NAME=VALUE");
  }
  o->headers = arena_format(arena, "%.*s", (int)lines.size, (const char *)lines.bytes);
  buffer_clear(&lines);
}

static void add_attribute(struct buffer *out, const char *key, const char *value) {
  buffer_append_string(out, out->size > 1 ? ",{\"key\":\"" : "{\"key\":\"");
  json_text_append(out, key, strlen(key));
  buffer_append_string(out, "\",\"value\":{\"stringValue\":\"");
  json_text_append(out, value, strlen(value));
  buffer_append_string(out, "\"}}");
}

static void read_resource(struct tracer_options *o, struct arena *arena) {
  const char *text = variable("OTEL_RESOURCE_ATTRIBUTES"), *service = variable("OTEL_SERVICE_NAME");
  struct buffer out = {0};
  char *list = arena_format(arena, "%s", text ? text : ""), *key, *value;
  buffer_append(&out, "[", 1);
  while (next_pair(&list, &key, &value)) {
    if (value && strcmp(key, "service.name") == 0)
      service = service ? service : value;
    else if (value && strcmp(key, "service.version") != 0)
      add_attribute(&out, key, value);
    else if (!value && *key)
      pass_over("a member of OTEL_RESOURCE_ATTRIBUTES", "it is not KEY=VALUE");
  }
  add_attribute(&out, "service.name", service ? service : "gasworks");
  add_attribute(&out, "service.version", GASWORKS_VERSION);
  buffer_append(&out, "]", 1);
  o->resource = arena_format(arena, "%.*s", (int)out.size, (const char *)out.bytes);
  buffer_clear(&out);
}

/* --- sampler ------------------------------------------------------------------------------------------------------------- */

static double read_ratio(void) {
  const char *text = variable("OTEL_TRACES_SAMPLER_ARG");
  char *end;
  double ratio = text ? strtod(text, &end) : 1;
  if (text && (*end || !(ratio >= 0 && ratio <= 1))) {
    pass_over("OTEL_TRACES_SAMPLER_ARG", "it is no number from 0 to 1");
    return 1;
  }
  return ratio;
}

static void read_sampler(struct tracer_options *o) {
  static const char parent[] = "parentbased_";
  const char *text = variable("OTEL_TRACES_SAMPLER");
  o->is_parent_based = !text || strncmp(text, parent, sizeof parent - 1) == 0;
  const char *word = !text ? "always_on" : o->is_parent_based ? text + sizeof parent - 1 : text;
  o->sampler = SAMPLER_ON;
  if (strcmp(word, "traceidratio") == 0) {
    o->sampler = SAMPLER_RATIO;
    o->ratio = read_ratio();
  } else if (strcmp(word, "always_off") == 0) {
    o->sampler = SAMPLER_OFF;
  } else if (strcmp(word, "always_on") != 0) {
    o->is_parent_based = true;
    pass_over("OTEL_TRACES_SAMPLER", "there is always_on, always_off and traceidratio, and each of them behind parentbased_");
  }
}

/* --- all ----------------------------------------------------------------------------------------------------------------- */

static void read_timeout(struct tracer_options *o) {
  const char *text = either("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT");
  char *end;
  unsigned long ms = text ? strtoul(text, &end, 10) : USUAL_TIMEOUT_MS;
  bool ok = !text || (!*end && ms && ms <= MAX_TIMEOUT_MS);
  if (!ok) pass_over("OTEL_EXPORTER_OTLP_TIMEOUT", "it is no number of milliseconds from 1 to 600000");
  o->timeout_ms = ok ? (uint32_t)ms : USUAL_TIMEOUT_MS;
}

static void check_protocol(void) {
  const char *text = either("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL");
  if (text && strcmp(text, "http/json") != 0) pass_over("OTEL_EXPORTER_OTLP_PROTOCOL", "spans are sent as http/json");
}

bool tracing_read(struct tracer_options *o, const char *endpoint, struct arena *arena, struct gw_error *err) {
  *o = (struct tracer_options){.program = "/proc/self/exe"};
  if (!read_endpoint(o, endpoint, arena, err)) return false;
  if (!o->endpoint) return true;
  read_headers(o, arena);
  read_resource(o, arena);
  read_sampler(o);
  read_timeout(o);
  check_protocol();
  return true;
}
