/* The HTTP server: functions deployed over /v1/functions, called over /f/NAME/ (docs/http.md has the routes).
 *
 *   struct server_options options;
 *   server_options_init(&options);
 *   options.port = 8080;
 *   struct server *server = server_start(&options, &err);
 *   bool ok = server_run(server, &err);   // until SIGTERM, SIGINT or server_stop
 *   server_destroy(server);
 *
 * N event loops on N threads, each with its own listening socket on the same port; one registry and one state store. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "gasworks.h"
#include "server/observe/tracer.h"
#include "server/tier.h"

struct server;
struct state_store; /* runtime/state/state.h */

/* Fill with server_options_init, then change. Strings must live until server_start returns. */
struct server_options {
  const char *address;    /* numeric IPv4 or IPv6; 127.0.0.1 */
  uint16_t port;          /* 0: any free one, see server_port; 8080 */
  const char *data_dir;   /* made if missing: state/ (LMDB) and modules/; "gasworks-data" */
  const char *config_dir; /* what is read at server_hangup lies in it: a directory that has_walls leaves open; NULL: none */
  const char
      *bundles; /* its directory NAME holds the files of function NAME, as a read-only "/"; NULL: functions have no files */
  const char *const *allowed_dirs; /* "[TENANT/]NAME=DIR": directories that settings of functions may name, to read */
  size_t n_allowed_dirs;
  uint32_t n_loops; /* 0: one per core */
  bool is_insecure; /* nobody needs a token; false */
  const char *const
      *hosts; /* names that it answers to for those who manage it, besides addresses and localhost; must outlive the server */
  size_t n_hosts;
  const char *ui_host;         /* likewise: the dashboard's own, by which no page of a function has scripts; NULL: it has none */
  const char *const *isolated; /* a process for each tenant, started with these arguments, NULL-terminated; must outlive the
                                  server; NULL: all in this one */
  const char *worker_of;       /* this is such a process: the tenant; NULL: it is not */
  bool has_walls;              /* this process, all of it, loses what a server does not need, for ever (server/walls.h); false */

  struct gw_engine *engine;        /* NULL: the server makes its own with opt_level */
  uint32_t opt_level;              /* 2 */
  const struct schedule *schedule; /* prices, likewise; copied; NULL: the built-in ones */
  const char *compiler_program;    /* likewise: the gasworks program, which compiles as a child process; NULL: in this one */
  uint32_t compile_seconds;        /* the most CPU time of such a child; 600 */
  uint32_t compile_wall_seconds;   /* by the clock; 0: four times that */
  uint64_t compile_memory;         /* bytes of address space of such a child; 4 GiB */
  const char *cache_dir;           /* likewise: where compiled modules are kept, "off": nowhere; NULL: cache/ in data_dir */
  uint64_t cache_size;             /* bytes; 4 GiB */
  const uint8_t (*trusted)[32];    /* public keys of those whose artifacts may be deployed */
  size_t n_trusted;
  enum tier_choice tier;       /* of functions; TIER_AUTO */
  bool sync;                   /* state survives a power failure, not only kill -9; true */
  const char *store;           /* postgres://...: state is in that database (docs/cluster.md); NULL: in data_dir */
  uint32_t store_connections;  /* that read it; 16 */
  size_t map_size;             /* upper bound of the state store in bytes; 16 GiB */
  uint64_t max_function_state; /* likewise of one function's keys and values; 0: none; 2 GiB */
  uint32_t
      idempotency_keep; /* seconds that answers to requests with an Idempotency-Key are kept; 0: the header is ignored; 86,400 */
  uint64_t idempotency_size;   /* bytes of them for each function, beyond which the oldest go; 64 MiB */
  bool receipts;               /* each invocation has one, in receipts/ of data_dir (docs/receipts.md); true */
  bool receipts_sync;          /* a reply leaves when its receipt is on disk; false */
  const char *receipts_origin; /* the name of a new log; NULL: a random one */
  uint64_t receipts_size;      /* bytes of them that are kept, beyond which the oldest go; 0: all; 16 GiB */
  uint32_t receipts_keep;      /* seconds likewise; 0: for ever; 0 */
  const struct prices *prices; /* of what tenants use (server/usage/price.h); copied; NULL: all is free */
  uint64_t inputs_size;      /* bytes of inputs of invocations that are kept for replay; 0: none are; 256 MiB (docs/replay.md) */
  uint32_t inputs_keep;      /* seconds likewise; 0: for ever; two days */
  size_t inputs_each;        /* bytes of a request, reads or host answers, beyond which of them is kept a digest only; 256 KiB */
  struct state_store *state; /* instead of the own one, and the caller's to close; NULL */

  uint64_t gas_limit;    /* per invocation; 10^10, about one second */
  uint64_t slice;        /* gas an invocation runs before others of its loop get their turn; 5 * 10^6, about half a millisecond */
  uint32_t slice_us;     /* and time likewise, about; 0: gas alone; 500 */
  uint32_t cpu_limit_ms; /* CPU time of one invocation, beyond it is cancelled; 0: none */
  uint64_t (*clock)(void); /* of functions' CPU time; tests have their own, in nanoseconds; NULL: the system's */
  uint64_t max_memory;     /* bytes of all memories and tables of an invocation; 256 MiB */
  uint64_t
      memory_limit; /* bytes of all memories and tables together, beyond it requests get 503; 0: three quarters of the machine */
  const char *pressure_file; /* tells when memory is short, in PSI's format; NULL: the control group's, or the system's */
  uint32_t max_running;      /* invocations under way per loop, more get 503; 512 */
  uint32_t max_running_each; /* of one function, likewise; 0: half as many */
  uint32_t max_wait_ms;      /* that a request may likely wait for others of its caller; else it gets 429; 0: any time; 60,000 */
  bool has_fine_clocks;      /* functions see time as fine as the system does, not in milliseconds and slices; false */
  bool checkpoints;          /* commands begin where they first ask for something from outside; true */
  uint32_t max_idle;         /* idle instances kept per function and loop; 64 */
  uint32_t max_connections;  /* per loop; 8192 */

  const char *access_log;       /* a file that has a line of each request, "-": standard output; NULL: none does */
  bool access_log_json;         /* its lines are JSON, not the combined format; false */
  struct tracer_options tracer; /* where spans go; nowhere */

  uint64_t log_size;      /* bytes of lines that are kept of each function, about; 0: none; 1 MiB */
  uint32_t keep_versions; /* of each function, those included that no alias leads to; 10 */

  size_t max_body;    /* of a request to a function; 16 MiB */
  size_t max_module;  /* of a deployed module; 64 MiB */
  size_t max_waiting; /* of all replies of a loop that wait for their clients; 512 MiB */
  size_t max_reply;   /* of a function's reply; 64 MiB */

  uint32_t header_timeout_ms; /* from a request's first byte to its last header; 10,000 */
  uint32_t body_timeout_ms;   /* of each such time a body must bring 1,000 bytes a second; 60,000 */
  uint32_t idle_timeout_ms; /* keep-alive without a request; of each such time a client must read 1,000 bytes a second; 60,000 */
  uint32_t drain_ms;        /* at SIGTERM, /readyz says no for so long before the listeners close; 1,000 */
  uint32_t grace_ms;        /* at shutdown, before running requests are cancelled; 10,000 */
  bool quiet;               /* no lines on stderr except functions' logs */

  /* Called by server_run at SIGHUP, which ends the process where this is NULL; see server_reload. */
  void (*hangup)(void *arg, struct server *server);
  void *hangup_arg;
};

void server_options_init(struct server_options *options);

/* Opens the data directory, loads the registry, binds, and serves from this moment on. NULL on failure. SIGTERM and SIGINT are
 * blocked in the calling thread from here on: they wait for server_run. */
struct server *server_start(const struct server_options *options, struct gw_error *err);

/* The bound port. */
uint16_t server_port(const struct server *server);

/* Blocks until SIGTERM, SIGINT or server_stop, then until every loop has ended. After SIGTERM, /readyz says no for drain_ms,
 * unless another signal comes, while all else goes on. Then there are no new connections, running requests finish (after the
 * grace period they are cancelled), idle connections are closed. Call at most once. False when signals cannot be received. */
bool server_run(struct server *server, struct gw_error *err);

/* From now on the running server has these options, as far as it can (server/live.def); the others stay as they were. Requests
 * under way keep what they began with, connections stay. `arguments` are for workers that start from now on, with --isolate
 * tenant, and must outlive the server; NULL otherwise. Those that run get SIGHUP. From the hangup callback only. */
void server_reload(struct server *server, const struct server_options *options, const char *const *arguments);

/* Begins the shutdown. From any thread; not from a signal handler. Without server_run, server_destroy waits for it. */
void server_stop(struct server *server);

/* Stops if still running, and frees everything. NULL is allowed. A state store that does not answer is not waited for longer than
 * some seconds: then standard error says so, and the rest is freed when it does. Until then the data directory is in use, and
 * what the options borrow must live; a process that ends before loses nothing that was acknowledged. */
void server_destroy(struct server *server);

#endif
