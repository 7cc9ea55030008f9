/* gasworks top: what functions do just now, by what the server has counted between two looks. */
#include "base/heap.h"
#include "cli/cli.h"

#include "base/error.h"
#include "cli/client.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

struct top {
  struct client client;
  const char *sort;
  uint32_t seconds;
  bool is_once, is_json;
};

struct row {
  const char *name;
  double version, requests, errors, gas, cpu; /* of a second; cpu: cores */
  double memory, instances;                   /* now; bytes */
  double p50_us, p99_us;                      /* at most; 0: no request, -1: beyond what is counted */
};

struct rows {
  struct row *items;
  size_t n;
};

/* --- two looks --------------------------------------------------------------------------------------------------- */

/* GET /v1/metrics. Delete it. */
static cJSON *look(const struct client *client, struct gw_error *err) {
  struct client_reply reply = {0};
  struct client_request request = {.client = client, .method = "GET", .path = "/v1/metrics"};
  cJSON *json = client_ask(&request, &reply, err) ? client_json(&reply, true) : NULL;
  if (!json && !err->code) error_set(err, GW_ERROR_IO, "the server's numbers are no JSON");
  client_reply_clear(&reply);
  return json;
}

enum { MAX_BUCKETS = 256 };

static void add_latency(const cJSON *function, double sign, double counts[MAX_BUCKETS]) {
  const cJSON *pair;
  cJSON_ArrayForEach(pair, cJSON_GetObjectItem(function, "latency")) {
    const cJSON *bucket = cJSON_GetArrayItem(pair, 0), *count = cJSON_GetArrayItem(pair, 1);
    if (cJSON_IsNumber(bucket) && cJSON_IsNumber(count) && bucket->valueint >= 0 && bucket->valueint < MAX_BUCKETS)
      counts[bucket->valueint] += sign * count->valuedouble;
  }
}

/* What a share of the requests took at most. */
static double percentile(const double counts[MAX_BUCKETS], const cJSON *bounds, double share) {
  double sum = 0, all = 0;
  for (int i = 0; i < MAX_BUCKETS; i++) all += counts[i];
  if (all <= 0) return 0;
  for (int i = 0; i < cJSON_GetArraySize(bounds) && i < MAX_BUCKETS; i++) {
    sum += counts[i];
    const cJSON *bound = cJSON_GetArrayItem(bounds, i);
    if (sum >= share * all) return cJSON_IsNumber(bound) ? bound->valuedouble : -1;
  }
  return -1;
}

/* NULL: the function was not there before. Counters begin at 0 when the server starts again, or another function has the name. */
static struct row row_of(const cJSON *before, const cJSON *now, const cJSON *bounds, double seconds) {
  double counts[MAX_BUCKETS] = {0};
  if (before && client_number(before, "requests") > client_number(now, "requests")) before = NULL;
  add_latency(now, 1, counts);
  if (before) add_latency(before, -1, counts);
#define RATE(name) ((client_number(now, name) - (before ? client_number(before, name) : 0)) / seconds)
  struct row row = {.name = client_text(now, "name"),
                    .version = client_number(now, "version"),
                    .requests = RATE("requests"),
                    .errors = RATE("errors"),
                    .gas = RATE("gas"),
                    .cpu = RATE("cpu_ms") / 1000,
                    .memory = client_number(now, "memory_bytes"),
                    .instances = client_number(now, "instances"),
                    .p50_us = percentile(counts, bounds, 0.5),
                    .p99_us = percentile(counts, bounds, 0.99)};
#undef RATE
  return row;
}

static int by_name(const void *a, const void *b) { return strcmp(((const struct row *)a)->name, ((const struct row *)b)->name); }

/* Most first, then by name. */
#define BY(field)                                                                        \
  static int by_##field(const void *a, const void *b) {                                  \
    double one = ((const struct row *)a)->field, other = ((const struct row *)b)->field; \
    return one != other ? (one < other ? 1 : -1) : by_name(a, b);                        \
  }
BY(requests)
BY(errors)
BY(gas)
BY(cpu)
BY(memory)
BY(p99_us)
#undef BY

static const struct {
  const char *name;
  int (*compare)(const void *, const void *);
} sorts[] = {{"requests", by_requests}, {"errors", by_errors}, {"gas", by_gas},  {"cpu", by_cpu},
             {"memory", by_memory},     {"p99", by_p99_us},    {"name", by_name}};

static int (*find_sort(const char *name))(const void *, const void *) {
  for (size_t i = 0; i < sizeof sorts / sizeof *sorts; i++)
    if (strcmp(sorts[i].name, name) == 0) return sorts[i].compare;
  return NULL;
}

/* Both lists are sorted by name. */
static struct rows compare(const cJSON *before, const cJSON *now, const char *sort) {
  const cJSON *functions = cJSON_GetObjectItem(now, "functions"), *one, *old = cJSON_GetObjectItem(before, "functions");
  struct rows rows = {.items = heap_new((size_t)cJSON_GetArraySize(functions) + 1, sizeof *rows.items)};
  double seconds = client_number(now, "time") - client_number(before, "time");
  if (seconds < 1e-3) seconds = 1e-3;
  old = old ? old->child : NULL;
  cJSON_ArrayForEach(one, functions) {
    while (old && strcmp(client_text(old, "name"), client_text(one, "name")) < 0) old = old->next;
    bool is_same = old && strcmp(client_text(old, "name"), client_text(one, "name")) == 0;
    rows.items[rows.n++] = row_of(is_same ? old : NULL, one, cJSON_GetObjectItem(now, "bounds_us"), seconds);
  }
  qsort(rows.items, rows.n, sizeof *rows.items, find_sort(sort));
  return rows;
}

/* --- showing ----------------------------------------------------------------------------------------------------- */

/* In at most 6 characters. */
static const char *short_number(double n, char out[32]) {
  static const char units[] = " kMGTP";
  int unit = 0;
  for (; n >= 999.5 && units[unit + 1]; unit++) n /= 1000;
  snprintf(out, 32, unit ? "%.*f%c" : "%.*f", n < 9.95 && (unit || n > 0) ? 1 : 0, n, units[unit]);
  return out;
}

static const char *short_time(double us, char out[32]) {
  if (us == 0) return "-";
  if (us < 0) return "longer";
  if (us < 1000)
    snprintf(out, 32, "%.0fus", us);
  else
    snprintf(out, 32, us < 1e6 ? "%.3gms" : "%.3gs", us < 1e6 ? us / 1e3 : us / 1e6);
  return out;
}

enum { NUMBERS_WIDTH = 68, LEAST_NAME_WIDTH = 8 }; /* the last column stays free */

/* So that the longest fits, where `columns` have room for it. */
static int name_width(const struct rows *rows, size_t columns) {
  size_t width = LEAST_NAME_WIDTH, most = columns > NUMBERS_WIDTH + LEAST_NAME_WIDTH ? columns - NUMBERS_WIDTH : LEAST_NAME_WIDTH;
  for (size_t i = 0; i < rows->n; i++)
    if (strlen(rows->items[i].name) > width) width = strlen(rows->items[i].name);
  return (int)(width < most ? width : most);
}

/* At most `lines` of them, the heading included. */
static void print_rows(const struct rows *rows, size_t lines, size_t columns, const char *end) {
  char a[32], b[32], c[32], d[32], e[32], f[32];
  int width = name_width(rows, columns);
  printf("%-*s %7s %8s %8s %8s %6s %6s %8s %8s%s", width, "FUNCTION", "VERSION", "CALLS/S", "ERRORS/S", "GAS/S", "CPU %",
         "MEMORY", "P50", "P99", end);
  for (size_t i = 0; i < rows->n && i + 1 < lines; i++) {
    const struct row *r = &rows->items[i];
    printf("%-*.*s %7.0f %8s %8s %8s %6.1f %6s %8s %8s%s", width, width, r->name, r->version, short_number(r->requests, a),
           short_number(r->errors, b), short_number(r->gas, c), 100 * r->cpu, short_number(r->memory, d),
           short_time(r->p50_us, e), short_time(r->p99_us, f), end);
  }
  fflush(stdout);
}

static void print_json(const struct rows *rows, const cJSON *now) {
  cJSON *json = cJSON_CreateObject(), *list;
  cJSON_AddNumberToObject(json, "time", client_number(now, "time"));
  cJSON_AddStringToObject(json, "tenant", client_text(now, "tenant"));
  list = cJSON_AddArrayToObject(json, "functions");
  for (size_t i = 0; i < rows->n; i++) {
    const struct row *r = &rows->items[i];
    cJSON *one = cJSON_CreateObject();
    cJSON_AddStringToObject(one, "name", r->name);
    cJSON_AddNumberToObject(one, "version", r->version);
    cJSON_AddNumberToObject(one, "requests_per_second", r->requests);
    cJSON_AddNumberToObject(one, "errors_per_second", r->errors);
    cJSON_AddNumberToObject(one, "gas_per_second", r->gas);
    cJSON_AddNumberToObject(one, "cores", r->cpu);
    cJSON_AddNumberToObject(one, "instances", r->instances);
    cJSON_AddNumberToObject(one, "memory_bytes", r->memory);
    if (r->p50_us > 0) cJSON_AddNumberToObject(one, "p50_us", r->p50_us);
    if (r->p99_us > 0) cJSON_AddNumberToObject(one, "p99_us", r->p99_us);
    cJSON_AddItemToArray(list, one);
  }
  cli_print_json(json, false);
}

/* --- the terminal ------------------------------------------------------------------------------------------------ */

static volatile sig_atomic_t is_over;

static void end(int signal) {
  (void)signal;
  is_over = 1;
}

/* Keys come one by one and unseen, until leave. */
static bool enter(struct termios *before) {
  struct sigaction action = {.sa_handler = end};
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGHUP, &action, NULL);
  if (tcgetattr(STDIN_FILENO, before) != 0) return false;
  struct termios now = *before;
  now.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
  tcsetattr(STDIN_FILENO, TCSANOW, &now);
  return true;
}

/* A terminal that does not know its size is taken for one of 24 lines and 80 columns. */
static struct winsize terminal_size(void) {
  struct winsize size = {0};
  ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
  if (!size.ws_row) size.ws_row = 24;
  if (!size.ws_col) size.ws_col = 80;
  return size;
}

/* False: it was told to end. Any other key shows the numbers at once. */
static bool wait_for_key(bool has_keys, uint32_t seconds) {
  struct pollfd keys = {.fd = has_keys ? STDIN_FILENO : -1, .events = POLLIN};
  char key = 0;
  if (poll(&keys, 1, (int)seconds * 1000) > 0 && read(STDIN_FILENO, &key, 1) <= 0) return false;
  return !is_over && key != 'q';
}

static void show(const struct top *top, const cJSON *before, const cJSON *now, bool is_live) {
  struct rows rows = compare(before, now, top->sort);
  if (top->is_json) {
    print_json(&rows, now);
  } else if (!is_live) {
    print_rows(&rows, SIZE_MAX, SIZE_MAX, "\n");
  } else {
    struct winsize size = terminal_size();
    printf("\033[H%s, tenant %s: %zu functions, every %u s; q ends it\033[K\n", top->client.server, client_text(now, "tenant"),
           rows.n, top->seconds);
    if (size.ws_row > 2) print_rows(&rows, (size_t)size.ws_row - 2, size.ws_col, "\033[K\n");
    printf("\033[J");
    fflush(stdout);
  }
  free(rows.items);
}

static bool run(const struct top *top, bool is_live, struct gw_error *err) {
  struct termios terminal;
  bool has_keys = is_live && enter(&terminal), goes_on = true;
  cJSON *before = look(&top->client, err), *now = NULL;
  if (is_live && before) fputs("\033[?1049h\033[?25l\033[?7l", stdout); /* another screen, no cursor, long lines are cut */
  while (before && goes_on && (goes_on = wait_for_key(has_keys, top->seconds)) && (now = look(&top->client, err))) {
    show(top, before, now, is_live);
    cJSON_Delete(before);
    before = now;
    if (!is_live) break;
  }
  if (is_live) fputs("\033[?7h\033[?25h\033[?1049l", stdout);
  fflush(stdout);
  if (has_keys) tcsetattr(STDIN_FILENO, TCSANOW, &terminal);
  cJSON_Delete(before);
  return !err->code;
}

int cli_top(int argc, char **argv) {
  struct top top = {.client = client_default(), .sort = "requests", .seconds = 2};
  const struct cli_option options[] = {
      CLIENT_OPTIONS(&top.client),
      {"interval", 'n', CLI_U32, &top.seconds, "SECONDS", "from one look to the next; 2 unless told"},
      {"sort", 0, CLI_TEXT, &top.sort, "requests|errors|gas|cpu|memory|p99|name", "which come first; requests unless told"},
      {"once", 0, CLI_FLAG, &top.is_once, NULL, "one table, of one interval; so it is where the output is no terminal"},
      {"json", 0, CLI_FLAG, &top.is_json, NULL, "the same as JSON"},
  };
  static const struct cli_range ranges[] = {{"interval", 1, 3600}, {0}};
  const struct cli_command command = {
      .name = "top",
      .arguments = "",
      .description =
          "Shows what the functions of the server do just now: calls, errors and gas in a second, CPU time, memory of\n"
          "its instances, and how long half and 99 of 100 calls took at most.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .ranges = ranges,
  };
  int exit_code;
  struct gw_error err = {0};
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  if (!find_sort(top.sort))
    return cli_misuse("top", "--sort wants requests, errors, gas, cpu, memory, p99 or name, not %s", top.sort);
  bool is_live = !top.is_once && !top.is_json && isatty(STDOUT_FILENO);
  return run(&top, is_live, &err) ? 0 : cli_fail(&err);
}
