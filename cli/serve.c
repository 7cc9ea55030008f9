/* gasworks serve: fills the server's options and runs it in the foreground. */
#include "base/heap.h"
#include "cli/cli.h"

#include "base/error.h"
#include "cli/config_file.h"
#include "cli/gas.h"
#include "cli/key.h"
#include "cli/tracing.h"
#include "server/function/function.h"
#include "server/isolate/supervisor.h"
#include "server/server.h"
#include "server/usage/price.h"
#include "server/walls.h"

#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* ADDRESS:PORT, [IPv6]:PORT, or a port alone. Cuts `text` in place. */
static bool parse_listen(char *text, struct server_options *options) {
  char *colon = strrchr(text, ':'), *port = colon ? colon + 1 : text;
  uint64_t number;
  if (!cli_parse_number(port, 1, &number) || number > UINT16_MAX) return false;
  options->port = (uint16_t)number;
  if (!colon) return true;
  *colon = 0;
  size_t size = strlen(text);
  if (size >= 2 && text[0] == '[' && text[size - 1] == ']') {
    text[size - 1] = 0;
    text++;
  }
  options->address = *text ? text : options->address;
  return true;
}

/* It ends when the front does, whatever ended that. Its connections are the front's, which has limits of its own. */
static bool become_worker(struct server_options *o, struct gw_error *err) {
  int type;
  socklen_t size = sizeof type;
  if (getsockopt(WORKER_CHANNEL, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET)
    return error_set(err, GW_ERROR_USAGE, "there is no front: workers are started by --isolate tenant");
  o->is_insecure = false;
  o->drain_ms = 0;
  o->idle_timeout_ms = INT32_MAX;
  return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 || error_set(err, GW_ERROR_IO, "a worker cannot be bound to its front's life");
}

/* Every number that `serve` takes has a row (tested). Where 0 is a word for "none" or "as much as there is", its help says so;
 * with others nothing could be served. The most is what the server's own sums have room for. */
static const struct cli_range ranges[] = {
    {"workers", 0, 256},
    {"optimize", 0, 3},
    {"cache-size", 1, UINT64_MAX},
    {"compile-seconds", 1, 86400},
    {"compile-wall-seconds", 1, 4 * 86400},
    {"compile-memory", 64 << 20, UINT64_MAX},
    {"gas-limit", 0, INT64_MAX},
    {"slice", 0, INT64_MAX},
    {"slice-time", 0, 1000000},
    {"cpu-limit", 0, UINT32_MAX},
    {"max-memory", 0, INT64_MAX},
    {"memory-limit", 0, INT64_MAX},
    {"max-running", 1, UINT32_MAX},
    {"max-running-each", 0, UINT32_MAX},
    {"max-wait", 0, UINT32_MAX},
    {"max-idle", 0, UINT32_MAX},
    {"max-connections", 1, UINT32_MAX},
    {"max-body", 0, INT64_MAX},
    {"max-module", 0, INT64_MAX},
    {"max-reply", 1, INT64_MAX},
    {"max-state", 1 << 20, (uint64_t)1 << 46},
    {"max-function-state", 0, INT64_MAX},
    {"log-size", 0, INT64_MAX},
    {"keep-versions", 0, UINT32_MAX},
    {"idempotency-keep", 0, UINT32_MAX},
    {"idempotency-size", 0, INT64_MAX},
    {"receipts-size", 0, INT64_MAX},
    {"receipts-keep", 0, UINT32_MAX},
    {"keep-inputs", 0, INT64_MAX},
    {"keep-inputs-for", 0, UINT32_MAX},
    {"keep-inputs-each", 0, INT64_MAX},
    {"drain", 0, INT32_MAX},
    {"grace", 0, INT32_MAX},
    {"store-connections", 2, 200},
    {0},
};

/* What the command line and the configuration file say, and what the server's options point into. */
struct serving {
  struct server_options o;
  int argc; /* the command line, in its own order */
  char **argv;
  const char *listen, *schedule_path, *prices_path, *isolate;
  const char *config, *config_text;
  const char *access_log, *access_log_format, *otlp_endpoint;
  bool is_check, is_json;
  struct cli_list trusted, hosts, allowed;
  struct buffer text; /* of the file, NUL behind its end */
  struct config_file file;
  char *address, *directory;
  struct schedule schedule;
  struct prices prices;
  struct cli_list contents; /* of files, as options and their values: for workers, which no such file is open to */
  uint8_t (*keys)[32];
  size_t n_options;
  const char *names[CLI_MAX_OPTIONS], *values[CLI_MAX_OPTIONS]; /* of the table's rows */
  struct cli_list arguments;                                    /* of workers */
  struct gw_error err;                                          /* why a file that an option names cannot be read */
  struct serving *next;                                         /* of a later reload, the last one first */
};

static void serving_clear(struct serving *s) {
  cli_list_clear(&s->contents);
  free(s->argv);
  free(s->address);
  free(s->directory);
  free(s->keys);
  cli_list_clear(&s->trusted);
  cli_list_clear(&s->hosts);
  cli_list_clear(&s->allowed);
  cli_list_clear(&s->arguments);
  config_file_clear(&s->file);
  buffer_clear(&s->text);
}

/* --- checks ------------------------------------------------------------------------------------------------------ */

static size_t row_of(const struct serving *s, const char *name) {
  size_t row = 0;
  while (row < s->n_options && strcmp(s->names[row], name) != 0) row++;
  return row;
}

/* A value that no type refuses: it becomes a problem of the file's line. */
__attribute__((format(printf, 3, 4))) static void refuse(struct serving *s, const char *name, const char *format, ...) {
  char text[400];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  size_t row = row_of(s, name);
  config_file_problem(&s->file, row < s->n_options ? s->file.places[row] : (struct config_place){0}, "%s", text);
}

static void check_isolate(struct serving *s) {
  if (strcmp(s->isolate, "tenant") != 0 && strcmp(s->isolate, "none") != 0)
    refuse(s, "isolate", "--isolate wants none or tenant, not %s", s->isolate);
  if (s->o.store && strcmp(s->isolate, "tenant") == 0)
    refuse(s, "isolate", "--isolate tenant has a store for each tenant: it does not go with --store yet");
}

/* A worker's requests are the front's. */
static void check_access_log(struct serving *s) {
  const char *path = s->access_log, *format = s->access_log_format;
  s->o.access_log = s->o.worker_of || !path || strcmp(path, "off") == 0 ? NULL : path;
  s->o.access_log_json = strcmp(format, "json") == 0;
  if (path && !*path) refuse(s, "access-log", "--access-log wants a file, - or off");
  if (!s->o.access_log_json && strcmp(format, "combined") != 0)
    refuse(s, "access-log-format", "--access-log-format wants combined or json, not %s", format);
}

static void check_listen(struct serving *s) {
  s->address = strdup(s->listen);
  if (!s->address || !parse_listen(s->address, &s->o)) refuse(s, "listen", "--listen wants ADDRESS:PORT, not %s", s->listen);
}

/* NAME or TENANT/NAME, as functions and tenants are called, and a directory behind =. */
static void check_allowed(struct serving *s) {
  for (size_t i = 0; i < s->allowed.n; i++) {
    const char *text = s->allowed.items[i];
    size_t size = strcspn(text, "=");
    char name[FUNCTION_MAX_FULL_NAME + 1] = "";
    if (size < sizeof name) memcpy(name, text, size), name[size] = 0;
    if (!function_full_name_is_valid(name, strlen(name)) || !text[size] || !text[size + 1])
      refuse(s, "allow-dir", "--allow-dir wants NAME=DIR or TENANT/NAME=DIR, not %s", text);
    for (size_t j = 0; j < i; j++)
      if (strncmp(s->allowed.items[j], text, size + 1) == 0) refuse(s, "allow-dir", "--allow-dir has %s twice", name);
  }
}

static void add_contents(struct serving *s, const char *option, const char *text) {
  cli_list_add(&s->contents, option);
  cli_list_add(&s->contents, text);
}

/* A file, or for a worker what was in it. */
static bool read_prices(struct serving *s, struct gw_error *err) {
  enum { MOST = 64 << 10 };
  const char *path = s->prices_path;
  struct buffer text = {0};
  if (!path) return true;
  if (*path == '{')
    buffer_append_string(&text, path);
  else if (!buffer_read_file(&text, path, MOST, err))
    return false;
  bool ok = price_parse(&s->prices, text.bytes, text.size, err);
  if (ok) add_contents(s, "--prices", arena_format(&s->file.arena, "%.*s", (int)text.size, (const char *)text.bytes));
  buffer_clear(&text);
  return ok;
}

/* Likewise. */
static bool read_schedule(struct serving *s, struct gw_error *err) {
  static const char word[] = "gasworks-schedule ";
  const char *path = s->schedule_path;
  char text[8192];
  bool is_text = path && strncmp(path, word, sizeof word - 1) == 0;
  if (is_text ? !schedule_read(path, strlen(path), &s->schedule, err) : !cli_read_schedule(path, &s->schedule, err)) return false;
  schedule_print(&s->schedule, text, sizeof text);
  if (path) add_contents(s, "--schedule", arena_format(&s->file.arena, "%s", text));
  return true;
}

static void refuse_file(struct serving *s, const char *option, const struct gw_error *err) {
  refuse(s, option, "%s", err->message);
  if (!s->err.code) s->err = *err;
}

/* Likewise. A worker has the keys besides the names of their files. */
static void read_trusted(struct serving *s) {
  enum { SIZE = sizeof *s->keys };
  char text[2 * SIZE + 1];
  size_t n = 0;
  s->keys = heap_new(s->trusted.n + 1, SIZE);
  for (size_t i = 0; i < s->trusted.n; i++) {
    struct gw_error err = {0};
    const char *path = s->trusted.items[i];
    bool is_text = strlen(path) == 2 * SIZE && !sodium_hex2bin(s->keys[n], SIZE, path, 2 * SIZE, NULL, NULL, NULL);
    if (s->o.worker_of && !is_text) continue;
    if (!s->o.worker_of && !cli_read_public_key(path, s->keys[n], &err)) {
      refuse_file(s, "trust", &err);
      continue;
    }
    sodium_bin2hex(text, sizeof text, s->keys[n++], SIZE);
    add_contents(s, "--trust", arena_format(&s->file.arena, "%s", text));
  }
  s->o.trusted = (const uint8_t(*)[32])s->keys;
  s->o.n_trusted = n;
}

/* Files that options name, which a running server does not read again. */
static void check_files(struct serving *s) {
  struct gw_error err = {0};
  if (!read_schedule(s, &err)) refuse_file(s, "schedule", &err);
  err = (struct gw_error){0};
  if (!read_prices(s, &err)) refuse_file(s, "prices", &err);
  read_trusted(s);
  err = (struct gw_error){0};
  bool has_spans = !s->o.worker_of; /* a worker's are the front's */
  if (has_spans && !tracing_read(&s->o.tracer, s->otlp_endpoint, &s->file.arena, &err)) refuse_file(s, "otlp-endpoint", &err);
  s->o.schedule = &s->schedule;
  if (s->prices_path) s->o.prices = &s->prices;
}

/* --- options ----------------------------------------------------------------------------------------------------- */

/* The file's directory stays open to the server, which reads it again at SIGHUP; editors put a new file in its place. A pipe
 * there would keep a running server waiting, deaf to SIGTERM. */
static bool read_file(struct serving *s, bool is_again, struct gw_error *err) {
  if (s->config_text) {
    buffer_append_string(&s->text, s->config_text);
  } else if (is_again ? !buffer_read_plain_file(&s->text, s->config, CONFIG_MAX_SIZE, err)
                      : !buffer_read_file(&s->text, s->config, CONFIG_MAX_SIZE, err)) {
    return false;
  }
  const char *slash = strrchr(s->config, '/');
  s->directory = !slash ? strdup(".") : strndup(s->config, slash == s->config ? 1 : (size_t)(slash - s->config));
  return true;
}

/* Options with their own variables, which the command line fills, then the file. False: the verb is over, with the exit code.
 * What is wrong with a file is among its problems instead. */
static bool read_options(struct serving *s, int argc, char **argv, bool has_text, int *exit_code) {
  struct gw_error err = {0};
  uint64_t max_body, max_module, max_reply, map_size, inputs_each;
  bool given[CLI_MAX_OPTIONS];
  struct server_options o;
  server_options_init(&o);
  o.has_walls = true;
  s->isolate = "none", s->listen = "127.0.0.1:8080", s->access_log_format = "combined";
  max_body = o.max_body, max_module = o.max_module, max_reply = o.max_reply, map_size = o.map_size, inputs_each = o.inputs_each;
  const struct cli_option options[] = {
      {"listen", 'l', CLI_TEXT, &s->listen, "ADDRESS:PORT",
       "where to listen; 127.0.0.1:8080 unless told, port 0 is any free one"},
      {"data", 'd', CLI_TEXT, &o.data_dir, "DIR", "where functions and state are kept; gasworks-data unless told"},
      {"bundles", 0, CLI_TEXT, &o.bundles, "DIR",
       "let function NAME read the files in DIR/NAME (another tenant's: DIR/@TENANT/NAME), as its directory /; none unless told"},
      {"workers", 'w', CLI_U32, &o.n_loops, "N", "event loops; one per core unless told"},
      {"optimize", 'O', CLI_LEVEL, &o.opt_level, "0..3", "optimisation level; 2 unless told"},
      {"allow-dir", 0, CLI_LIST, &s->allowed, "NAME=DIR",
       "a directory that functions may read whose settings say so (`config --dir`); TENANT/NAME is for this tenant alone"},
      {"tier", 0, CLI_TIER, &o.tier, "fast|precise|baseline|auto",
       "compile functions before their first call, or interpret them, or run baseline code, or that until they are compiled; "
       "auto unless told"},
      {"cache", 0, CLI_TEXT, &o.cache_dir, "DIR|off",
       "where compiled functions are kept; cache in the data directory unless told"},
      {"cache-size", 0, CLI_SIZE, &o.cache_size, "BYTES",
       "limit of that (K M G allowed), the least recently used go; 4G unless told"},
      {"compile-seconds", 0, CLI_U32, &o.compile_seconds, "N",
       "the most CPU time that compiling a function may take: it has 20 seconds and one for each 16 KiB; 600 unless told"},
      {"compile-wall-seconds", 0, CLI_U32, &o.compile_wall_seconds, "N",
       "time by the clock that compiling a function may take; four times the CPU time unless told"},
      {"compile-memory", 0, CLI_SIZE, &o.compile_memory, "BYTES",
       "address space that compiling a function may take (K M G allowed); 4G unless told"},
      {"trust", 0, CLI_LIST, &s->trusted, "FILE.pub", "take compiled functions that this key signed (`gasworks key`)"},
      {"gas-limit", 0, CLI_NUMBER, &o.gas_limit, "N", "gas of one invocation (k M G T allowed); 10G unless told"},
      {"schedule", 0, CLI_TEXT, &s->schedule_path, "FILE",
       "prices, as `gasworks schedule --text` prints them; built in unless told"},
      {"slice", 0, CLI_NUMBER, &o.slice, "N", "gas before other invocations get their turn; 5M unless told"},
      {"slice-time", 0, CLI_U32, &o.slice_us, "US", "time likewise, in microseconds, 0 for gas alone; 500 unless told"},
      {"cpu-limit", 0, CLI_U32, &o.cpu_limit_ms, "MS",
       "CPU time of one invocation, beyond it is cancelled; unlimited unless told"},
      {"max-memory", 0, CLI_SIZE, &o.max_memory, "BYTES",
       "limit of all memories and tables of an invocation (K M G allowed); 256M unless told"},
      {"memory-limit", 0, CLI_SIZE, &o.memory_limit, "BYTES",
       "limit of all linear memories and tables together, beyond it requests get 503 (K M G allowed); three quarters of the "
       "machine's or "
       "control group's unless told"},
      {"max-running", 0, CLI_U32, &o.max_running, "N", "invocations under way per worker, more get 503; 512 unless told"},
      {"max-running-each", 0, CLI_U32, &o.max_running_each, "N", "those of one function, likewise; half as many unless told"},
      {"max-wait", 0, CLI_U32, &o.max_wait_ms, "MS",
       "requests that would likely wait longer for others of their caller get 429, 0: any time; 60000 unless told"},
      {"checkpoints", 0, CLI_ON_OFF, &o.checkpoints, "on|off",
       "do what a command does before it first asks for anything once per instance, not per request; on unless told"},
      {"max-idle", 0, CLI_U32, &o.max_idle, "N", "idle instances kept per function and worker; 64 unless told"},
      {"max-connections", 0, CLI_U32, &o.max_connections, "N", "connections per worker; 8192 unless told"},
      {"max-body", 0, CLI_SIZE, &max_body, "BYTES", "limit of a request's body; 16M unless told"},
      {"max-module", 0, CLI_SIZE, &max_module, "BYTES", "limit of a deployed module; 64M unless told"},
      {"max-reply", 0, CLI_SIZE, &max_reply, "BYTES", "limit of a function's reply; 64M unless told"},
      {"store", 0, CLI_TEXT, &o.store, "URL",
       "keep state in a PostgreSQL database, postgres://USER@HOST/DATABASE; in the data directory unless told"},
      {"store-connections", 0, CLI_U32, &o.store_connections, "N", "connections that read it, 2 to 200; 16 unless told"},
      {"max-state", 0, CLI_SIZE, &map_size, "BYTES", "limit of the whole state store; 16G unless told"},
      {"max-function-state", 0, CLI_SIZE, &o.max_function_state, "BYTES",
       "limit of one function's state; 2G unless told, 0 is none"},
      {"log-size", 0, CLI_SIZE, &o.log_size, "BYTES",
       "what is kept of each function's log, for `gasworks logs`; 0: nothing; 1M unless told"},
      {"access-log", 0, CLI_TEXT, &s->access_log, "FILE|-|off",
       "a line of each request, in a file that SIGHUP opens anew, or on standard output; off unless told"},
      {"access-log-format", 0, CLI_TEXT, &s->access_log_format, "combined|json",
       "as other servers have it, with gas, seconds, request and trace behind, or as JSON; combined unless told"},
      {"otlp-endpoint", 0, CLI_TEXT, &s->otlp_endpoint, "URL",
       "send a span of each invocation to URL/v1/traces (OTLP as JSON); where $OTEL_EXPORTER_OTLP_ENDPOINT says unless told"},
      {"keep-versions", 0, CLI_U32, &o.keep_versions, "N",
       "versions of each function that are kept; those that an alias leads to always are; 10 unless told"},
      {"idempotency-keep", 0, CLI_U32, &o.idempotency_keep, "SECONDS",
       "how long answers to requests with an Idempotency-Key are kept, 0: the header is ignored; 86400 unless told"},
      {"idempotency-size", 0, CLI_SIZE, &o.idempotency_size, "BYTES",
       "how much of them each function has, beyond which the oldest go; 64M unless told"},
      {"receipts", 0, CLI_ON_OFF, &o.receipts, "on|off", "keep a receipt of every invocation; on unless told"},
      {"receipts-sync", 0, CLI_ON_OFF, &o.receipts_sync, "on|off",
       "replies leave when their receipts survive power failures, not only kill -9; off unless told"},
      {"receipts-origin", 0, CLI_TEXT, &o.receipts_origin, "NAME",
       "what a new log of receipts is called, such as example.com/log; a random name unless told"},
      {"receipts-size", 0, CLI_SIZE, &o.receipts_size, "BYTES",
       "how much of receipts is kept, beyond which the oldest go (K M G allowed), 0: all; 16G unless told"},
      {"prices", 0, CLI_TEXT, &s->prices_path, "FILE",
       "what tenants pay: JSON with currency, gas, rent, requests and bytes_out (docs/usage.md); nothing unless told"},
      {"receipts-keep", 0, CLI_U32, &o.receipts_keep, "SECONDS", "how long, likewise; 0, for ever, unless told"},
      {"keep-inputs", 0, CLI_SIZE, &o.inputs_size, "BYTES",
       "how much of what `gasworks replay` needs is kept, beyond which the oldest goes (K M G allowed), 0: nothing; 256M unless "
       "told"},
      {"keep-inputs-for", 0, CLI_U32, &o.inputs_keep, "SECONDS", "how long, likewise, 0: for ever; 172800 unless told"},
      {"keep-inputs-each", 0, CLI_SIZE, &inputs_each, "BYTES",
       "of a request, of what it read, and of what the host answered more than so much is kept by digest only; 256K unless told"},
      {"sync", 0, CLI_ON_OFF, &o.sync, "on|off", "state survives power failures, not only kill -9; on unless told"},
      {"drain", 0, CLI_U32, &o.drain_ms, "MS",
       "how long /readyz says 503 after SIGTERM before no connections are taken; 1000 unless told"},
      {"grace", 0, CLI_U32, &o.grace_ms, "MS", "how long running requests may finish at shutdown; 10000 unless told"},
      {"fine-clocks", 0, CLI_ON_OFF, &o.has_fine_clocks, "on|off",
       "let functions see time in nanoseconds; off unless told: it goes in milliseconds, and not within a slice"},
      {"walls", 0, CLI_ON_OFF, &o.has_walls, "on|off",
       "give up files, system calls and privileges that a server does not need (Landlock, seccomp); on unless told"},
      {"insecure", 0, CLI_FLAG, &o.is_insecure, NULL,
       "ask nobody for a token: whoever reaches the server may deploy, delete and call all functions"},
      {"host", 0, CLI_LIST, &s->hosts, "NAME", "a name that the server is managed by, besides addresses and localhost"},
      {"ui-host", 0, CLI_TEXT, &o.ui_host, "NAME",
       "a name such as localhost that the dashboard has for itself: it is by no other, and functions' pages have no scripts "
       "there"},
      {"isolate", 0, CLI_TEXT, &s->isolate, "none|tenant",
       "tenant: run each tenant's functions in a process of its own, with its own data, walls and limits; none unless told"},
      {"worker-of", 0, CLI_TEXT, &o.worker_of, "TENANT", "be such a process; for --isolate, which starts it"},
      {"config", 'c', CLI_TEXT, &s->config, "FILE",
       "options of this page from a file in YAML or JSON, NAME: VALUE; the command line's go before it; SIGHUP reads it again"},
      {"check", 0, CLI_FLAG, &s->is_check, NULL, "say what is wrong with options and file, with line and column, and end"},
      {"json", 0, CLI_FLAG, &s->is_json, NULL, "with --check, as a JSON object"},
      {"config-text", 0, CLI_TEXT, &s->config_text, "TEXT", "what FILE says; for --isolate, which starts processes with it"},
      {"quiet", 'q', CLI_FLAG, &o.quiet, NULL, "nothing on standard error but errors and what functions log"},
  };
  const struct cli_command command = {
      .name = "serve",
      .arguments = "",
      .description =
          "Serves functions over HTTP until SIGTERM or SIGINT: PUT /v1/functions/NAME deploys one, /f/NAME/... calls it.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .ranges = ranges,
  };
  static const char *const refused[] = {"config", "check", "json", "config-text", "worker-of", NULL};
  s->argc = argc;
  s->argv = heap_new((size_t)argc + 1, sizeof *s->argv);
  memcpy(s->argv, argv, (size_t)argc * sizeof *argv); /* before parsing puts them in another order */
  char **rest = heap_new((size_t)argc + 1, sizeof *rest), **operands = rest;
  memcpy(rest, argv, (size_t)argc * sizeof *argv);
  bool ok = cli_parse_given(&command, &argc, &operands, exit_code, given);
  free(rest);
  if (!ok) return false;
  if (!has_text) s->config_text = NULL;
  if (s->config && !read_file(s, !has_text, &err)) {
    *exit_code = cli_fail(&err);
    return false;
  }
  if (s->config) config_file_read(&s->file, &s->text, &command, given, refused);
  for (; s->n_options < command.n_options; s->n_options++) {
    s->names[s->n_options] = options[s->n_options].name;
    s->values[s->n_options] = cli_option_text(&options[s->n_options], &s->file.arena);
  }
  o.max_body = max_body, o.max_module = max_module, o.max_reply = max_reply, o.map_size = map_size, o.inputs_each = inputs_each;
  o.hosts = s->hosts.items;
  o.n_hosts = s->hosts.n;
  o.allowed_dirs = s->allowed.items;
  o.n_allowed_dirs = s->allowed.n;
  o.compiler_program = "/proc/self/exe";
  o.config_dir = s->directory;
  s->o = o;
  check_isolate(s);
  check_listen(s);
  check_allowed(s);
  check_access_log(s);
  return true;
}

/* Workers have the same command line, and for a file what it says now, as it may be wrong by the time that one starts. */
static void make_arguments(struct serving *s) {
  static const char none[] = "";
  cli_list_add(&s->arguments, "gasworks");
  for (int i = 0; i < s->argc; i++) cli_list_add(&s->arguments, s->argv[i]);
  for (size_t i = 0; i < s->contents.n; i++) cli_list_add(&s->arguments, s->contents.items[i]);
  if (!s->config) return;
  buffer_append(&s->text, "", 1);
  cli_list_add(&s->arguments, "--config-text");
  cli_list_add(&s->arguments, s->text.size > 1 ? (const char *)s->text.bytes : none);
  if (s->o.cache_dir && strcmp(s->o.cache_dir, "off") == 0) cli_list_add(&s->arguments, "--cache=off");
}

/* --- reload ------------------------------------------------------------------------------------------------------ */

static bool is_live(const char *name) {
  static const char *const live[] = {
#define LIVE(option, field) option,
#include "server/live.def"
#undef LIVE
  };
  for (size_t i = 0; i < sizeof live / sizeof *live; i++)
    if (strcmp(live[i], name) == 0) return true;
  return false;
}

/* NUL behind its end. */
static void list_changes(const struct serving *before, const struct serving *now, bool are_live, struct buffer *out) {
  for (size_t i = 0; i < now->n_options; i++)
    if (is_live(now->names[i]) == are_live && strcmp(before->values[i], now->values[i]) != 0)
      buffer_format(out, "%s%s", out->size ? ", " : "", now->names[i]);
  buffer_append(out, "", 1);
}

/* What changed and counts from now on, then what wants a restart. Those keep the values that they had, for the next reload. */
static void tell_changes(const struct serving *before, struct serving *now, struct buffer *out) {
  struct buffer live = {0}, others = {0};
  list_changes(before, now, true, &live);
  list_changes(before, now, false, &others);
  buffer_format(out, "gasworks: %s is taken: %s%s\n", now->config, live.size > 1 ? "changed " : "nothing changed",
                (const char *)live.bytes);
  if (others.size > 1) buffer_format(out, "gasworks: changed, and waiting for a restart: %s\n", (const char *)others.bytes);
  for (size_t i = 0; i < now->n_options; i++)
    if (!is_live(now->names[i])) now->values[i] = arena_format(&now->file.arena, "%s", before->values[i]);
  buffer_clear(&live);
  buffer_clear(&others);
}

/* At SIGHUP. The file is taken whole or not at all. */
static void reload(void *arg, struct server *server) {
  struct serving *first = arg, *before = first->next ? first->next : first, *now = heap_new(1, sizeof *now);
  struct buffer out = {0};
  int exit_code;
  bool ok = read_options(now, first->argc, first->argv, false, &exit_code);
  if (ok && now->file.n_problems) {
    config_file_print(&now->file, now->config, &out);
    ok = false;
  }
  if (ok) {
    if (first->o.worker_of) now->o.drain_ms = 0; /* as in become_worker */
    for (size_t i = 0; i < first->contents.n; i++) cli_list_add(&now->contents, first->contents.items[i]);
    make_arguments(now);
    server_reload(server, &now->o, first->o.isolated ? now->arguments.items : NULL);
    tell_changes(before, now, &out);
    if (before != first && !first->o.isolated) { /* else workers are started with its arguments until the next one is there */
      first->next = before->next;
      serving_clear(before);
      free(before);
    }
    now->next = first->next;
    first->next = now;
  } else {
    buffer_format(&out, "gasworks: %s is not taken: everything stays as it was\n", first->config);
    serving_clear(now);
    free(now);
  }
  if (!first->o.worker_of || !ok) fd_write_all(STDERR_FILENO, out.bytes, out.size);
  buffer_clear(&out);
}

/* --- serving ----------------------------------------------------------------------------------------------------- */

static int serve(const struct server_options *options) {
  struct gw_error err = {0};
  struct server *server = server_start(options, &err);
  if (!server) return cli_fail(&err);
  if (options->is_insecure && !options->worker_of)
    fputs("gasworks: --insecure: no tokens are asked for: whoever reaches the server may deploy, delete and call all functions\n",
          stderr);
  if (options->has_walls && !options->worker_of && walls_missing()) fprintf(stderr, "gasworks: %s\n", walls_missing());
  bool is_ipv6 = strchr(options->address, ':') != NULL;
  if (!options->quiet && !options->worker_of)
    fprintf(stderr, "gasworks: serving on http://%s%s%s:%u\n", is_ipv6 ? "[" : "", options->address, is_ipv6 ? "]" : "",
            (unsigned)server_port(server));
  bool ok = server_run(server, &err);
  server_destroy(server);
  return ok ? 0 : cli_fail(&err);
}

static int tell_problems(struct serving *s) {
  struct buffer out = {0};
  bool ok = s->file.n_problems == 0;
  const char *path = s->config ? s->config : "gasworks serve";
  if (s->is_check && s->is_json) {
    cli_print_json(config_file_json(&s->file, s->config), false);
  } else if (ok) {
    printf("%s: nothing is wrong\n", path);
  } else if (!s->config && !s->is_check) {
    return s->err.code ? cli_fail(&s->err) : cli_misuse("serve", "%s", s->file.problems[0].message);
  } else {
    config_file_print(&s->file, path, &out);
    fwrite(out.bytes, 1, out.size, stderr);
    buffer_clear(&out);
  }
  return ok ? 0 : gw_error_exit_code(&(struct gw_error){.code = GW_ERROR_USAGE});
}

static int run(struct serving *s) {
  struct gw_error err = {0};
  if (s->file.n_problems || s->is_check) return tell_problems(s);
  if (s->o.worker_of && !become_worker(&s->o, &err)) return cli_fail(&err);
  make_arguments(s);
  s->o.isolated = strcmp(s->isolate, "tenant") == 0 && !s->o.worker_of ? s->arguments.items : NULL;
  if (s->config) s->o.hangup = reload, s->o.hangup_arg = s;
  return serve(&s->o);
}

int cli_serve(int argc, char **argv) {
  struct serving s = {0};
  int exit_code;
  if (read_options(&s, argc, argv, true, &exit_code)) {
    check_files(&s);
    exit_code = s.is_json && !s.is_check ? cli_misuse("serve", "--json is for --check") : run(&s);
  }
  while (s.next) {
    struct serving *next = s.next;
    s.next = next->next;
    serving_clear(next);
    free(next);
  }
  serving_clear(&s);
  return exit_code;
}
