/* gasworks serve: fills the server's options and runs it in the foreground. */
#include "base/heap.h"
#include "cli/cli.h"

#include "base/error.h"
#include "cli/gas.h"
#include "cli/key.h"
#include "server/isolate/supervisor.h"
#include "server/server.h"
#include "server/walls.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

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

static bool read_keys(const struct cli_list *files, uint8_t (**keys)[32], struct server_options *o, struct gw_error *err) {
  *keys = heap_new(files->n + 1, sizeof **keys);
  for (size_t i = 0; i < files->n; i++)
    if (!cli_read_public_key(files->items[i], (*keys)[i], err)) return false;
  o->trusted = (const uint8_t(*)[32]) * keys;
  o->n_trusted = files->n;
  return true;
}

int cli_serve(int argc, char **argv) {
  struct server_options o;
  const char *listen = NULL, *schedule_path = NULL, *isolate = "none";
  struct schedule schedule;
  struct cli_list trusted = {0}, hosts = {0};
  uint8_t(*keys)[32] = NULL;
  struct gw_error err = {0};
  uint64_t max_body, max_module, max_reply, map_size;
  server_options_init(&o);
  o.has_walls = true;
  max_body = o.max_body, max_module = o.max_module, max_reply = o.max_reply, map_size = o.map_size;
  const struct cli_option options[] = {
      {"listen", 'l', CLI_TEXT, &listen, "ADDRESS:PORT", "where to listen; 127.0.0.1:8080 unless told, port 0 is any free one"},
      {"data", 'd', CLI_TEXT, &o.data_dir, "DIR", "where functions and state are kept; gasworks-data unless told"},
      {"bundles", 0, CLI_TEXT, &o.bundles, "DIR",
       "let function NAME read the files in DIR/NAME (another tenant's: DIR/@TENANT/NAME), as its directory /; none unless told"},
      {"workers", 'w', CLI_U32, &o.n_loops, "N", "event loops; one per core unless told"},
      {"optimize", 'O', CLI_LEVEL, &o.opt_level, "0..3", "optimisation level; 2 unless told"},
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
      {"trust", 0, CLI_LIST, &trusted, "FILE.pub", "take compiled functions that this key signed (`gasworks key`)"},
      {"gas-limit", 0, CLI_NUMBER, &o.gas_limit, "N", "gas of one invocation (k M G T allowed); 10G unless told"},
      {"schedule", 0, CLI_TEXT, &schedule_path, "FILE",
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
      {"checkpoints", 0, CLI_ON_OFF, &o.checkpoints, "on|off",
       "do what a command does before it first asks for anything once per instance, not per request; on unless told"},
      {"max-idle", 0, CLI_U32, &o.max_idle, "N", "idle instances kept per function and worker; 64 unless told"},
      {"max-connections", 0, CLI_U32, &o.max_connections, "N", "connections per worker; 8192 unless told"},
      {"max-body", 0, CLI_SIZE, &max_body, "BYTES", "limit of a request's body; 16M unless told"},
      {"max-module", 0, CLI_SIZE, &max_module, "BYTES", "limit of a deployed module; 64M unless told"},
      {"max-reply", 0, CLI_SIZE, &max_reply, "BYTES", "limit of a function's reply; 64M unless told"},
      {"max-state", 0, CLI_SIZE, &map_size, "BYTES", "limit of the whole state store; 16G unless told"},
      {"max-function-state", 0, CLI_SIZE, &o.max_function_state, "BYTES",
       "limit of one function's state; 2G unless told, 0 is none"},
      {"log-size", 0, CLI_SIZE, &o.log_size, "BYTES",
       "what is kept of each function's log, for `gasworks logs`; 0: nothing; 1M unless told"},
      {"keep-versions", 0, CLI_U32, &o.keep_versions, "N",
       "versions of each function that are kept; those that an alias leads to always are; 10 unless told"},
      {"idempotency-keep", 0, CLI_U32, &o.idempotency_keep, "SECONDS",
       "how long answers to requests with an Idempotency-Key are kept, 0: the header is ignored; 86400 unless told"},
      {"idempotency-size", 0, CLI_SIZE, &o.idempotency_size, "BYTES",
       "how much of them each function has, beyond which the oldest go; 64M unless told"},
      {"receipts", 0, CLI_ON_OFF, &o.receipts, "on|off", "keep a receipt of every invocation; on unless told"},
      {"receipts-origin", 0, CLI_TEXT, &o.receipts_origin, "NAME",
       "what a new log of receipts is called, such as example.com/log; a random name unless told"},
      {"receipts-size", 0, CLI_SIZE, &o.receipts_size, "BYTES",
       "how much of receipts is kept, beyond which the oldest go (K M G allowed), 0: all; 16G unless told"},
      {"receipts-keep", 0, CLI_U32, &o.receipts_keep, "SECONDS", "how long, likewise; 0, for ever, unless told"},
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
      {"host", 0, CLI_LIST, &hosts, "NAME", "a name that the server is managed by, besides addresses and localhost"},
      {"isolate", 0, CLI_TEXT, &isolate, "none|tenant",
       "tenant: run each tenant's functions in a process of its own, with its own data, walls and limits; none unless told"},
      {"worker-of", 0, CLI_TEXT, &o.worker_of, "TENANT", "be such a process; for --isolate, which starts it"},
      {"quiet", 'q', CLI_FLAG, &o.quiet, NULL, "nothing on standard error but errors and what functions log"},
  };
  const struct cli_command command = {
      .name = "serve",
      .arguments = "",
      .description =
          "Serves functions over HTTP until SIGTERM or SIGINT: PUT /v1/functions/NAME deploys one, /f/NAME/... calls it.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
  };
  int exit_code;
  struct cli_list arguments = {0};
  cli_list_add(&arguments, "gasworks");
  for (int i = 0; i < argc; i++) cli_list_add(&arguments, argv[i]); /* before parsing puts them in another order */
  if (!cli_parse(&command, &argc, &argv, &exit_code)) {
    cli_list_clear(&arguments);
    return exit_code;
  }
  bool is_isolated = strcmp(isolate, "tenant") == 0 && !o.worker_of;
  o.isolated = is_isolated ? arguments.items : NULL;
  char *address = strdup(listen ? listen : "127.0.0.1:8080");
  o.max_body = max_body, o.max_module = max_module, o.max_reply = max_reply, o.map_size = map_size;
  o.schedule = &schedule;
  o.hosts = hosts.items;
  o.n_hosts = hosts.n;
  o.compiler_program = "/proc/self/exe";
  if (!cli_read_schedule(schedule_path, &schedule, &err) || !read_keys(&trusted, &keys, &o, &err))
    exit_code = cli_fail(&err);
  else if (strcmp(isolate, "tenant") != 0 && strcmp(isolate, "none") != 0)
    exit_code = cli_usage("serve", "--isolate wants none or tenant, not %s", isolate);
  else if (o.worker_of && !become_worker(&o, &err))
    exit_code = cli_fail(&err);
  else if (address && parse_listen(address, &o))
    exit_code = serve(&o);
  else
    exit_code = cli_usage("serve", "--listen wants ADDRESS:PORT, not %s", listen);
  free(address);
  free(keys);
  cli_list_clear(&trusted);
  cli_list_clear(&hosts);
  cli_list_clear(&arguments);
  return exit_code;
}
