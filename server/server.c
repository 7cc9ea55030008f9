#include "server/server.h"

#include "base/arena.h"
#include "base/array.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/heap.h"
#include "runtime/receipt/receipt.h"
#include "runtime/state/state.h"
#include "runtime/host/wasi/wasi.h"
#include "server/access/access.h"
#include "server/api/logs.h"
#include "server/api/route.h"
#include "server/function/pool.h"
#include "server/function/registry.h"
#include "server/http/connection.h"
#include "server/inputs/store.h"
#include "server/isolate/supervisor.h"
#include "server/isolate/upstream.h"
#include "server/loop/log_store.h"
#include "server/loop/loop.h"
#include "server/others.h"
#include "server/observe/access_log.h"
#include "server/observe/tracer.h"
#include "server/usage/usage.h"
#include "server/walls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_LOOPS = 256 };

/* Options as a reload left them, with a message to each loop. Kept until the server ends: requests look at older ones. */
struct epoch {
  struct epoch *before;
  struct server_options options;
  struct function_limits limits;
  struct turnover {
    struct message message;
    struct loop *loop;
    const struct epoch *epoch;
  } turnovers[];
};

struct server {
  struct server_options options;
  struct function_limits limits;
  struct allowed_directory *allowed; /* what limits.directories are */
  struct epoch *epoch;               /* NULL: there was no reload */
  struct gw_cache *cache;            /* of the own engine, or NULL */
  struct gw_engine *engine;
  bool owns_engine;
  int lock_fd, stop_fd; /* -1: not open */
  uint16_t port;
  struct state_store *state;
  struct receipt_log *receipts;
  struct usage *usage;
  struct inputs_store *inputs;
  struct access *access;
  struct supervisor *supervisor;
  struct registry *registry;
  struct others *others; /* NULL: the store is this process's own */
  struct log_writer *log;
  struct log_store *logs;
  struct access_log *access_log;
  struct tracer *tracer;
  struct listener {
    struct log_writer *log;
    struct log_share lines;
  } of_access_log, of_tracer; /* what they tell */
  struct loop **loops;
  _Atomic uint32_t n_loops; /* started ones */
  atomic_bool is_draining;
};

void server_options_init(struct server_options *options) {
  *options = (struct server_options){
      .address = "127.0.0.1",
      .port = 8080,
      .data_dir = "gasworks-data",
      .opt_level = 2,
      .tier = TIER_AUTO,
      .sync = true,
      .store_connections = 16,
      .map_size = (size_t)16 << 30,
      .max_function_state = (uint64_t)2 << 30,
      .keep_versions = 10,
      .log_size = 1 << 20,
      .idempotency_keep = 86400,
      .idempotency_size = 64 << 20,
      .receipts = true,
      .receipts_size = (uint64_t)16 << 30,
      .inputs_size = 256 << 20,
      .inputs_keep = 172800,
      .inputs_each = 256 << 10,
      .gas_limit = 10000000000,
      .slice = 5000000,
      .slice_us = 500,
      .max_memory = 256 << 20,
      .max_running = 512,
      .max_wait_ms = 60000,
      .checkpoints = true,
      .max_idle = 64,
      .max_connections = 8192,
      .max_body = 16 << 20,
      .max_module = 64 << 20,
      .max_reply = 64 << 20,
      .max_waiting = 512 << 20,
      .header_timeout_ms = 10000,
      .body_timeout_ms = 60000,
      .idle_timeout_ms = 60000,
      .drain_ms = 1000,
      .grace_ms = 10000,
  };
}

/* --- sockets ----------------------------------------------------------------------------------------------------- */

union address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

static bool address_parse(union address *out, socklen_t *size, const char *text, uint16_t port, struct gw_error *err) {
  *out = (union address){0};
  if (inet_pton(AF_INET, text, &out->v4.sin_addr) == 1) {
    out->v4.sin_family = AF_INET;
    out->v4.sin_port = htons(port);
    *size = sizeof out->v4;
    return true;
  }
  if (inet_pton(AF_INET6, text, &out->v6.sin6_addr) == 1) {
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = htons(port);
    *size = sizeof out->v6;
    return true;
  }
  return error_set(err, GW_ERROR_USAGE, "%s is neither an IPv4 nor an IPv6 address", text);
}

/* A bound socket, or -1. */
static int bind_one(const union address *address, socklen_t size, bool is_shared) {
  int one = 1, fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (address->any.sa_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  bool ok = !is_shared || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) == 0;
  if (ok && bind(fd, &address->any, size) == 0) return fd;
  int saved = errno;
  close(fd);
  errno = saved;
  return -1;
}

/* One socket per loop on the same port. SO_REUSEPORT would let a second server of the same user share the port unnoticed, so a
 * socket without it looks first whether the port is free. */
static bool bind_all(struct server *server, int *fds, uint32_t n, struct gw_error *err) {
  const struct server_options *o = &server->options;
  union address address;
  socklen_t size;
  if (!address_parse(&address, &size, o->address, o->port, err)) return false;
  int probe = o->port ? bind_one(&address, size, false) : -1;
  if (o->port && probe < 0)
    return error_set(err, GW_ERROR_UNAVAILABLE, "cannot listen on %s port %u: %s", o->address, o->port, strerror(errno));
  if (probe >= 0) close(probe);
  for (uint32_t i = 0; i < n; i++) {
    fds[i] = bind_one(&address, size, true);
    if (fds[i] < 0)
      return error_set(err, GW_ERROR_UNAVAILABLE, "cannot listen on %s port %u: %s", o->address, o->port, strerror(errno));
    if (i == 0) getsockname(fds[0], &address.any, &size); /* for port 0, the others take the same */
  }
  server->port = ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
  return true;
}

/* The front's socket, once for each loop of a worker. */
static bool copy_channel(int *fds, uint32_t n, struct gw_error *err) {
  for (uint32_t i = 0; i < n; i++) {
    fds[i] = fcntl(WORKER_CHANNEL, F_DUPFD_CLOEXEC, WORKER_CHANNEL + 1);
    if (fds[i] < 0) return error_set(err, GW_ERROR_IO, "cannot copy the socket of the front: %s", strerror(errno));
  }
  close(WORKER_CHANNEL);
  return true;
}

/* --- start ------------------------------------------------------------------------------------------------------- */

/* Of "NAME=DIR". */
static const char *allowed_path(const char *text) { return strchr(text, '=') + 1; }

/* One that whoever rotates logs gives another name to. */
static bool has_access_file(const struct server_options *o) { return o->access_log && strcmp(o->access_log, "-") != 0; }

static const char *directory_of(struct arena *arena, const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash) return ".";
  return slash == path ? "/" : arena_format(arena, "%.*s", (int)(slash - path), path);
}

/* Before any thread, as each has its own Landlock. */
static bool close_walls(struct server *server, struct gw_error *err) {
  const struct server_options *o = &server->options;
  bool has_cache = o->cache_dir && strcmp(o->cache_dir, "off") != 0;
  struct arena arena = {0};
  const char **read = arena_alloc(&arena, (o->n_allowed_dirs + 3) * sizeof *read);
  size_t n = 0;
  if (o->bundles) read[n++] = o->bundles;
  if (o->config_dir) read[n++] = o->config_dir;
  for (size_t i = 0; i < o->n_allowed_dirs; i++) read[n++] = allowed_path(o->allowed_dirs[i]);
  read[n] = NULL;
  struct walls_paths paths = {
      .written = {o->data_dir, has_cache ? o->cache_dir : NULL}, .read = read, .connects = o->store != NULL};
  if (has_access_file(o)) paths.appended = directory_of(&arena, o->access_log);
  bool ok = !o->has_walls || (directory_make(o->data_dir, err) && (!has_cache || directory_make(o->cache_dir, err)) &&
                              walls_around_server(&paths, err));
  arena_clear(&arena);
  return ok;
}

static bool open_allowed(struct server *server, struct gw_error *err) {
  const struct server_options *o = &server->options;
  server->allowed = heap_new(o->n_allowed_dirs + 1, sizeof *server->allowed);
  server->limits.directories = server->allowed;
  for (size_t i = 0; i < o->n_allowed_dirs; i++) {
    const char *text = o->allowed_dirs[i], *path = allowed_path(text);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return error_set(err, GW_ERROR_IO, "cannot open the directory %s: %s", path, strerror(errno));
    server->allowed[i] = (struct allowed_directory){strndup(text, strcspn(text, "=")), fd};
    server->limits.n_directories = i + 1;
    if (!wasi_can_confine(fd, path, err)) return false;
  }
  return true;
}

static void close_allowed(struct server *server) {
  for (size_t i = 0; i < server->limits.n_directories; i++) {
    free((char *)server->allowed[i].name);
    close(server->allowed[i].fd);
  }
  free(server->allowed);
}

static void tell_log(void *arg, const char *text, size_t size) {
  struct listener *l = arg;
  log_function(l->log, &l->lines, clock_ns(CLOCK_MONOTONIC) / 1000000, "server", text, size);
}

static bool open_observers(struct server *server, struct gw_error *err) {
  const struct server_options *o = &server->options;
  server->of_access_log.log = server->of_tracer.log = server->log;
  struct tell of_log = {tell_log, &server->of_access_log}, of_tracer = {tell_log, &server->of_tracer};
  if (o->access_log) server->access_log = access_log_open(o->access_log, o->access_log_json, &of_log, err);
  if (o->access_log && !server->access_log) return false;
  return !server->tracer || tracer_start(server->tracer, &of_tracer, err);
}

static bool open_bundles(struct server *server, struct gw_error *err) {
  const char *path = server->options.bundles;
  if (!path) return true;
  server->limits.bundles = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  server->limits.has_bundles = server->limits.bundles >= 0;
  return server->limits.has_bundles || error_set(err, GW_ERROR_IO, "cannot open the directory %s: %s", path, strerror(errno));
}

/* Leaves that were committed with state. */
struct kept {
  struct arena arena;
  struct receipt_kept *items;
  size_t n, capacity;
};

static bool keep_leaf(void *arg, uint64_t index, const void *bytes, size_t size) {
  struct kept *kept = arg;
  if (size > LEAF_MAX) return true;
  if (kept->n == kept->capacity) array_grow(kept->items, kept->capacity, 64);
  kept->items[kept->n++] = (struct receipt_kept){.index = index, .bytes = arena_copy(&kept->arena, bytes, size), .size = size};
  return true;
}

enum { CHECKPOINT_MS = 1000, STORE_WAIT_MS = 10000 };

static bool open_receipts(struct server *server, struct gw_error *err) {
  const struct server_options *o = &server->options;
  struct kept kept = {0};
  if (!o->receipts || o->isolated) return true; /* a front runs no functions */
  struct receipt_options options = {.directory = arena_format(&kept.arena, "%s/receipts", o->data_dir),
                                    .origin = o->receipts_origin,
                                    .keep_bytes = o->receipts_size,
                                    .keep_seconds = o->receipts_keep,
                                    .period_ms = CHECKPOINT_MS};
  bool is_new = !receipt_log_exists(options.directory);
  if (is_new ? state_forget_seals(server->state, err) : state_each_seal(server->state, keep_leaf, &kept, err))
    server->receipts = receipt_log_open(&options, kept.items, kept.n, err);
  free(kept.items);
  arena_clear(&kept.arena);
  return server->receipts != NULL;
}

static bool open_inputs(struct server *server, struct gw_error *err) {
  const struct server_options *o = &server->options;
  struct arena arena = {0};
  if (!server->receipts || !o->inputs_size) return true;
  struct inputs_options options = {.directory = arena_format(&arena, "%s/receipts/inputs", o->data_dir),
                                   .keep_bytes = o->inputs_size,
                                   .keep_seconds = o->inputs_keep};
  server->inputs = inputs_store_open(&options, err);
  arena_clear(&arena);
  return server->inputs != NULL;
}

static bool has_function(void *arg, const char *name) {
  struct function *f = function_full_name_is_valid(name, strlen(name)) ? registry_find(arg, name) : NULL;
  function_release(f);
  return f != NULL;
}

struct name_teller {
  usage_tell_fn tell;
  void *to;
};

static void tell_entry(void *arg, const struct entry *entry) {
  const struct name_teller *teller = arg;
  teller->tell(teller->to, entry->name);
}

static void tell_kept(void *arg, const char *name) {
  const struct name_teller *teller = arg;
  teller->tell(teller->to, name);
}

static void tell_group(void *arg, const char *name, const char *members) {
  const struct name_teller *teller = arg;
  char space[SETTINGS_SPACE_SIZE];
  (void)members;
  teller->tell(teller->to, settings_group_space(name, space));
}

/* State costs whether its function is called, or there at all. */
static void tell_names(void *registry, usage_tell_fn tell, void *to) {
  struct name_teller teller = {tell, to};
  registry_each(registry, tell_entry, &teller);
  registry_each_kept(registry, tell_kept, &teller, &(struct gw_error){0});
  registry_each_group(registry, NULL, tell_group, &teller, &(struct gw_error){0});
}

static bool open_usage(struct server *server, struct gw_error *err) {
  struct usage_options options = {.log = server->receipts,
                                  .state = server->state,
                                  .names = tell_names,
                                  .names_arg = server->registry,
                                  .prices = server->options.prices};
  if (!server->receipts) return true;
  server->usage = usage_open(&options, err);
  return server->usage != NULL;
}

static struct state_store *open_state(const struct server_options *o, struct gw_error *err) {
  struct arena arena = {0};
  struct state_store *state = NULL;
  if (o->store) {
    struct state_postgres options = {
        .url = o->store, .connections = o->store_connections, .wait_ms = STORE_WAIT_MS, .is_durable = o->sync};
    if (state_node_read(arena_format(&arena, "%s/node", o->data_dir), options.node, err))
      state = state_store_open_postgres(&options, err);
  } else {
    const char *path = arena_format(&arena, "%s/state", o->data_dir);
    if (directory_make(path, err)) state = state_store_open(path, o->map_size, o->sync, err);
  }
  arena_clear(&arena);
  return state;
}

static bool open_data(struct server *server, struct gw_error *err) {
  const char *directory = server->options.data_dir;
  struct arena arena = {0};
  if (!open_bundles(server, err) || !open_allowed(server, err)) return false;
  server->lock_fd = directory_lock(directory, err);
  if (server->lock_fd < 0) return false;
  server->state = server->options.state;
  if (!server->state) server->state = open_state(&server->options, err);
  server->logs = log_store_open(arena_format(&arena, "%s/logs", directory), server->options.log_size, err);
  arena_clear(&arena);
  if (!server->state || !server->logs || !open_receipts(server, err) || !open_inputs(server, err)) return false;
  server->access = access_open(server->options.worker_of ? NULL : directory, server->state, err);
  if (!server->access) return false;
  server->registry = registry_open(directory, server->engine, server->state, &server->limits, err);
  if (server->registry) log_store_sweep(server->logs, has_function, server->registry);
  if (!server->registry || !open_usage(server, err)) return false;
  if (state_store_is_shared(server->state)) server->others = others_watch(server->state, server->access, server->registry, err);
  return server->others || !state_store_is_shared(server->state);
}

static bool open_cache(struct server *server, struct gw_error *err) {
  const struct server_options *o = &server->options;
  struct arena arena = {0};
  if (o->cache_dir && strcmp(o->cache_dir, "off") == 0) return true;
  const char *path = o->cache_dir ? o->cache_dir : arena_format(&arena, "%s/cache", o->data_dir);
  server->cache = gw_cache_open(path, o->cache_size, err);
  arena_clear(&arena);
  return server->cache != NULL;
}

static bool open_engine(struct server *server, struct gw_error *err) {
  const struct server_options *o = &server->options;
  if (!directory_make(o->data_dir, err)) return false;
  server->engine = o->engine;
  if (server->engine) return true;
  if (!open_cache(server, err)) return false;
  struct gw_engine_options options = {.opt_level = o->opt_level,
                                      .loose_traps = true, /* an instance that trapped serves nobody else */
                                      .gas = true,
                                      .schedule = o->schedule,
                                      .cache = server->cache,
                                      .compiler_program = o->compiler_program,
                                      .compile_seconds = o->compile_seconds,
                                      .compile_wall_seconds = o->compile_wall_seconds,
                                      .compile_memory = o->compile_memory};
  server->engine = gw_engine_create(&options, err);
  server->options.schedule = NULL; /* the caller's */
  server->owns_engine = server->engine != NULL;
  return server->owns_engine;
}

/* A worker's tenant is there; its tokens are the front's. */
static bool enter_worker(struct server *server, struct gw_error *err) {
  const char *tenant = server->options.worker_of;
  struct tenure all = {0}; /* that is in its directory */
  bool is_new;
  if (server->receipts) snprintf(all.log, sizeof all.log, "%s", receipt_log_id(server->receipts));
  return !tenant || access_create_tenant(server->access, tenant, &all, &is_new, err);
}

struct starting {
  struct supervisor *supervisor;
  struct gw_error *err;
  bool ok;
};

static void start_worker(void *arg, const char *tenant, uint64_t created_ms) {
  struct starting *starting = arg;
  (void)created_ms;
  starting->ok = starting->ok && supervisor_start(starting->supervisor, tenant, starting->err);
}

static void count_function(void *n, const struct entry *entry) {
  (void)entry;
  ++*(size_t *)n;
}

/* A process for each tenant. What was deployed into one process does not move into several, nor back. */
static bool start_workers(struct server *server, struct gw_error *err) {
  const struct server_options *o = &server->options;
  struct arena arena = {0};
  size_t n = 0;
  registry_each(server->registry, count_function, &n);
  bool was_isolated = faccessat(AT_FDCWD, arena_format(&arena, "%s/tenants", o->data_dir), F_OK, 0) == 0;
  arena_clear(&arena);
  if (!o->isolated)
    return !was_isolated ||
           error_set(err, GW_ERROR_USAGE, "the functions in %s have a process for each tenant: --isolate tenant", o->data_dir);
  if (n) return error_set(err, GW_ERROR_USAGE, "the functions in %s share one process: --isolate none", o->data_dir);
  server->supervisor = supervisor_create(o->data_dir, o->isolated, o->grace_ms, server->log, err);
  struct starting starting = {server->supervisor, err, server->supervisor != NULL};
  if (starting.ok) start_worker(&starting, DEFAULT_TENANT, 0);
  if (starting.ok) access_each_tenant(server->access, start_worker, &starting);
  if (starting.ok) supervisor_sweep(server->supervisor);
  return starting.ok;
}

static void orphaned(struct loop *loop) { server_stop((struct server *)loop->owner); }

static void stop(struct loop *loop) {
  connections_stop(loop);
  upstream_close_idle(loop);
}

static void sum_metrics(const struct loop *loop, struct metrics *sum) {
  const struct server *server = loop->owner;
  _Atomic uint64_t *to = (_Atomic uint64_t *)sum;
  uint32_t n = server->n_loops;
  for (uint32_t i = 0; i < n; i++) {
    _Atomic uint64_t *from = (_Atomic uint64_t *)&server->loops[i]->metrics;
    for (size_t k = 0; k < sizeof *sum / sizeof *to; k++)
      metrics_add(&to[k], atomic_load_explicit(&from[k], memory_order_relaxed));
  }
}

static void tick(struct loop *loop) {
  connections_tick(loop);
  logs_tick(loop);
}

static const struct loop_ops loop_ops = {.accept = connection_accept,
                                         .adopt = connection_adopt,
                                         .orphaned = orphaned,
                                         .tick = tick,
                                         .shed = connections_shed,
                                         .stop = stop,
                                         .cancel = connections_cancel,
                                         .clean = pools_clean,
                                         .trim = pools_trim,
                                         .sum = sum_metrics};

static bool start_loop(struct server *server, int fd, struct gw_error *err) {
  struct loop *loop = heap_new(1, sizeof *loop);
  loop->ops = &loop_ops;
  loop->service = &route_service;
  loop->owner = server;
  loop->is_draining = &server->is_draining;
  loop->port = server->port;
  loop->options = &server->options;
  loop->limits = &server->limits;
  fair_init(&loop->fair, server->limits.slice);
  loop->access = server->access;
  loop->supervisor = server->supervisor;
  loop->registry = server->registry;
  loop->log = server->log;
  loop->logs = server->logs;
  loop->access_log = server->access_log;
  loop->tracer = server->tracer;
  loop->state = server->state;
  loop->receipts = server->receipts;
  loop->usage = server->usage;
  loop->inputs = server->inputs;
  loop->engine = server->engine;
  loop->index = server->n_loops;
  server->loops[server->n_loops] = loop;
  server->n_loops++;
  return loop_start(loop, fd, server->options.worker_of != NULL, err);
}

static bool start_loops(struct server *server, struct gw_error *err) {
  int fds[MAX_LOOPS];
  uint32_t n = server->options.n_loops;
  if (n == 0) n = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
  if (n > MAX_LOOPS) n = MAX_LOOPS;
  for (uint32_t i = 0; i < n; i++) fds[i] = -1;
  server->loops = heap_new(n, sizeof(void *));
  bool ok = server->options.worker_of ? copy_channel(fds, n, err) : bind_all(server, fds, n, err);
  for (uint32_t i = 0; i < n; i++) {
    if (ok)
      ok = start_loop(server, fds[i], err); /* owns the socket now */
    else if (fds[i] >= 0)
      close(fds[i]);
  }
  return ok;
}

static void block_shutdown_signals(sigset_t *set, bool with_hangup) {
  sigset_t pipe;
  sigemptyset(set);
  sigaddset(set, SIGTERM);
  sigaddset(set, SIGINT);
  if (with_hangup) sigaddset(set, SIGHUP);
  pthread_sigmask(SIG_BLOCK, set, NULL);
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE); /* who has gone must not end the server, whichever thread writes */
  pthread_sigmask(SIG_BLOCK, &pipe, NULL);
}

/* What can change while the server runs is set here, what cannot is left alone. */
static void fill_limits(struct function_limits *limits, const struct server_options *o) {
  limits->gas_limit = o->gas_limit;
  limits->slice = o->slice;
  limits->slice_ns = (uint64_t)o->slice_us * 1000;
  limits->cpu_limit_ns = (uint64_t)o->cpu_limit_ms * 1000000;
  limits->max_memory = o->max_memory;
  limits->memory_limit = o->memory_limit ? o->memory_limit : pressure_default_limit();
  limits->max_reply = o->max_reply;
  limits->keep_versions = o->keep_versions;
  limits->has_fine_clocks = o->has_fine_clocks;
}

static uint32_t half(uint32_t n) { return n / 2 + n % 2; }

static bool hears_hangup(const struct server_options *o) { return o->hangup || has_access_file(o); }

struct server *server_start(const struct server_options *options, struct gw_error *err) {
  struct server *server = heap_new(1, sizeof *server);
  sigset_t set;
  block_shutdown_signals(&set, hears_hangup(options)); /* threads made from here on inherit it: only server_run takes the two */
  server->options = *options;
  if (!options->max_running_each) server->options.max_running_each = half(options->max_running);
  server->lock_fd = server->stop_fd = -1;
  if (options->tracer.endpoint) server->tracer = tracer_open(&options->tracer, err); /* it may connect, the server may not */
  if ((options->tracer.endpoint && !server->tracer) || !close_walls(server, err)) {
    server_destroy(server);
    return NULL;
  }
  server->limits = (struct function_limits){
      .clock = options->clock, .tier = options->tier, .trusted = options->trusted, .n_trusted = options->n_trusted};
  fill_limits(&server->limits, options);
  server->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  bool ok = server->stop_fd >= 0 || error_set(err, GW_ERROR_IO, "cannot make an eventfd: %s", strerror(errno));
  ok = ok && (server->log = log_writer_create(STDERR_FILENO, err));
  ok = ok && open_observers(server, err);
  if (ok && open_engine(server, err) && open_data(server, err) && enter_worker(server, err) && start_workers(server, err) &&
      start_loops(server, err))
    return server;
  server_destroy(server);
  return NULL;
}

uint16_t server_port(const struct server *server) { return server->port; }

/* --- run and stop ------------------------------------------------------------------------------------------------ */

void server_stop(struct server *server) {
  atomic_store_explicit(&server->is_draining, true, memory_order_relaxed); /* for who looks at that alone, on worker threads */
  for (uint32_t i = 0; i < server->n_loops; i++)
    if (server->loops[i]->has_thread) loop_stop(server->loops[i]);
  uint64_t one = 1;
  if (write(server->stop_fd, &one, sizeof one) < 0) {
  } /* full means it was said already */
}

static void join_loops(struct server *server) {
  for (uint32_t i = 0; i < server->n_loops; i++) loop_join(server->loops[i]);
}

/* Waits for a signal or server_stop, at most so long (-1: for ever); returns the signal, 0: none. */
static uint32_t wait_for_signal(struct server *server, int signals, int timeout_ms) {
  struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = server->stop_fd, .events = POLLIN}};
  struct signalfd_siginfo info;
  while (poll(fds, 2, timeout_ms) < 0 && errno == EINTR) {
  }
  /* Taken off, so that none is pending afterwards. */
  return read(signals, &info, sizeof info) == sizeof info ? info.ssi_signo : 0;
}

/* --- reload ------------------------------------------------------------------------------------------------------ */

static const struct server_options *options_now(const struct server *server) {
  return server->epoch ? &server->epoch->options : &server->options;
}

/* On the loop's thread, between two callbacks, so that no request sees some of both. Instances of other limits go. */
static void turn_over(struct message *message) {
  const struct turnover *turnover = (const struct turnover *)message;
  struct loop *loop = turnover->loop;
  loop->options = &turnover->epoch->options;
  loop->limits = &turnover->epoch->limits;
  fair_set_slice(&loop->fair, turnover->epoch->limits.slice);
}

void server_reload(struct server *server, const struct server_options *options, const char *const *arguments) {
  struct epoch *epoch = heap_new(1, sizeof *epoch + server->n_loops * sizeof *epoch->turnovers);
  epoch->before = server->epoch;
  epoch->options = *options_now(server);
#define LIVE(option, field) epoch->options.field = options->field;
#include "server/live.def"
#undef LIVE
  if (!options->max_running_each) epoch->options.max_running_each = half(options->max_running);
  epoch->limits = server->limits;
  fill_limits(&epoch->limits, &epoch->options);
  server->epoch = epoch;
  registry_limit(server->registry, &epoch->limits);
  for (uint32_t i = 0; i < server->n_loops; i++) {
    epoch->turnovers[i] = (struct turnover){.message.deliver = turn_over, .loop = server->loops[i], .epoch = epoch};
    loop_post(server->loops[i], &epoch->turnovers[i].message);
  }
  if (server->supervisor && arguments) supervisor_reload(server->supervisor, arguments, epoch->options.grace_ms);
}

bool server_run(struct server *server, struct gw_error *err) {
  sigset_t set;
  block_shutdown_signals(&set, hears_hangup(&server->options));
  int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) return error_set(err, GW_ERROR_IO, "cannot make a signalfd: %s", strerror(errno));
  uint32_t signal;
  while ((signal = wait_for_signal(server, signals, -1)) == SIGHUP) {
    if (server->access_log) access_log_reopen(server->access_log);
    if (server->options.hangup) server->options.hangup(server->options.hangup_arg, server);
  }
  atomic_store_explicit(&server->is_draining, true, memory_order_relaxed);
  if (signal == SIGTERM) wait_for_signal(server, signals, (int)options_now(server)->drain_ms);
  server_stop(server);
  join_loops(server);
  close(signals);
  return true;
}

/* What nobody uses any more. */
static void finish(void *arg) {
  struct server *server = arg;
  registry_close(server->registry);
  access_close(server->access);
  if (server->state != server->options.state) state_store_close(server->state);
  inputs_store_close(server->inputs);
  receipt_log_close(server->receipts);
  if (server->owns_engine) gw_engine_destroy(server->engine);
  gw_cache_close(server->cache);
  if (server->limits.has_bundles) close(server->limits.bundles);
  close_allowed(server);
  while (server->epoch) {
    struct epoch *before = server->epoch->before;
    free(server->epoch);
    server->epoch = before;
  }
  if (server->lock_fd >= 0) close(server->lock_fd);
  if (server->stop_fd >= 0) close(server->stop_fd);
  free(server);
}

void server_destroy(struct server *server) {
  if (!server) return;
  if (server->stop_fd >= 0) server_stop(server);
  join_loops(server);
  for (uint32_t i = 0; i < server->n_loops; i++) free(server->loops[i]);
  free(server->loops);
  supervisor_destroy(server->supervisor);
  log_store_close(server->logs);
  access_log_close(server->access_log);
  tracer_close(server->tracer);
  log_writer_destroy(server->log);
  others_end(server->others);
  if (usage_close(server->usage, finish, server)) finish(server);
}
