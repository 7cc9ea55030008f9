/* One event loop on one thread: its listener, connections, running invocations and idle instances. Everything here belongs
 * to the loop's thread, except loop_post and loop_stop. */
#ifndef SERVER_LOOP_LOOP_H
#define SERVER_LOOP_LOOP_H

#include "server/loop/fair.h"
#include "server/loop/rate.h"
#include "server/loop/log.h"
#include "server/loop/metrics.h"
#include "server/loop/pressure.h"
#include "server/observe/access_log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <uv.h>

/* A message from another thread; embedded in what it is about. */
struct message {
  struct message *next;
  void (*deliver)(struct message *message);
};

enum {
  POOL_BUCKETS = 1024,
  TENANT_BUCKETS = 256,
  ADDRESS_BUCKETS = 1024,
  READ_BUFFER_SIZE = 64 << 10,
  LOOP_MAX_BODY_BYTES = 512 << 20,
  LOOP_MAX_BEHIND = 64 << 20,
  LOOP_MAX_IDLE = 1024
};

/* How long an instance is kept that nobody uses. */
enum { IDLE_MS = 30000, IDLE_UNDER_PRESSURE_MS = 1000 };

struct access;
struct access_log;
struct connection;
struct exchange_service;
struct function_limits;
struct inputs_store;
struct pool;
struct receipt_log;
struct registry;
struct server_options;
struct slot;
struct state_store;
struct supervisor;
struct tenant;
struct tracer;
struct upstream;
struct usage;
struct watch;
struct loop;

/* What a loop does not know and calls: the protocol, and who keeps instances. */
struct loop_ops {
  void (*accept)(struct loop *loop);                         /* a client waits at the listener */
  void (*adopt)(struct loop *loop, int fd);                  /* of a worker: here is one */
  void (*orphaned)(struct loop *loop);                       /* likewise: the front is gone */
  void (*tick)(struct loop *loop);                           /* ten times a second: deadlines */
  void (*shed)(struct loop *loop);                           /* counts reply_bytes; brings them below options.max_waiting */
  void (*stop)(struct loop *loop);                           /* drops the clients that have no request under way */
  void (*cancel)(struct loop *loop, bool is_last);           /* ends requests, with a reply; is_last: without, and at once */
  void (*clean)(struct loop *loop);                          /* after replies: work that could wait */
  void (*trim)(struct loop *loop, uint64_t idle_ms);         /* drops instances that were idle as long; all there is with 0 */
  void (*sum)(const struct loop *loop, struct metrics *sum); /* of all loops. Thread-safe */
};

struct loop {
  const struct loop_ops *ops;
  const struct exchange_service *service; /* who answers requests */
  const void *owner;                      /* of all loops, for ops */
  const atomic_bool *is_draining;         /* of the server, see loop_is_ending */
  uint16_t port;
  const struct server_options *_Atomic options; /* changed by the loop's thread alone, read by workers of it, too */
  const struct function_limits *_Atomic limits; /* likewise */
  struct supervisor *supervisor;                /* NULL: tenants have no processes of their own */
  struct upstream *upstreams;                   /* idle connections to workers */
  uint32_t n_upstreams;
  struct access *access; /* the server's */
  struct registry *registry;
  struct state_store *state;
  struct receipt_log *receipts; /* NULL: none are kept */
  struct usage *usage;          /* NULL likewise */
  struct inputs_store *inputs;  /* likewise */
  struct gw_engine *engine;
  uint32_t index;
  bool has_loop, has_thread;
  pthread_t thread;
  pthread_t self; /* the same, set by the thread itself */

  uv_loop_t uv;
  uv_tcp_t listener;
  uv_poll_t channel; /* of a worker, in its place */
  int channel_fd;
  bool has_channel;
  uv_async_t wake;
  uv_timer_t tick, retry;           /* deadlines; delayed and throttled invocations */
  uv_idle_t run;                    /* active while an invocation waits for a slice */
  uv_prepare_t turn;                /* before each poll */
  uint64_t turn_began, idle_before; /* in nanoseconds: the last one, and how long polls had waited until then */
  uv_idle_t more;                   /* active while a connection waits for its turn */
  uint64_t ticks;
  bool is_stopping;
  uint64_t stop_at; /* loop time in ms when running requests are cancelled */

  struct connection *connections; /* list */
  uint32_t n_connections;
  uint32_t n_of_address[ADDRESS_BUCKETS];    /* of them, by what their clients' addresses are told apart by (share_key) */
  size_t coming_of_address[ADDRESS_BUCKETS]; /* bytes of bodies that are still received, likewise */
  struct connection *ready, *last_ready;     /* those with pipelined requests whose turn was over */
  size_t body_bytes;                         /* of requests being received or executed */
  size_t behind_bytes;                       /* that connections may keep beyond their limit behind running requests */

  struct fair fair;
  struct rate rate;                       /* of what runs */
  uint64_t busy_from;                     /* when its last slice ended, while something waits for one; 0: nothing does */
  struct waiter_queue delayed, throttled; /* both until `retry` finds that their time has come */
  uint32_t n_running;                     /* invocations between begin and end, but for `n_paused` */
  uint32_t n_paused;                      /* those whose tenant has used its gas for now, which take no place of others */
  uint64_t last_begin;                    /* loop time in ms of the last one */
  bool is_trimmed;                        /* what was freed since then has gone back to the system */
  size_t reply_bytes;                     /* that wait for clients, about: exact at every tick */
  struct pool *pools[POOL_BUCKETS];
  struct tenant *tenants[TENANT_BUCKETS];
  uint32_t n_loose;        /* of them for modules that nobody deployed */
  struct slot *used_slots; /* to be reset when the replies are out */
  uint32_t n_idle;
  struct pressure pressure;
  uint64_t random; /* state of loop_random */

  struct metrics metrics;
  struct log_writer *log;           /* the server's */
  struct log_store *logs;           /* of functions; likewise */
  struct access_log *access_log;    /* likewise; NULL: there is none */
  struct access_lines access_lines; /* that it has not got yet */
  struct tracer *tracer;            /* likewise; NULL: no spans are made */
  struct context_source traces;
  struct watch *watches;        /* requests that wait for lines of them */
  struct log_share other_lines; /* of failures of no function */
  uint64_t n_requests;          /* of functions; numbers them */
  time_t date_second;
  char date[32]; /* for the Date header, IMF-fixdate */
  char read_buffer[READ_BUFFER_SIZE];

  pthread_mutex_t inbox_lock;
  struct message *inbox; /* newest first */
  bool stop_requested;   /* under inbox_lock */
};

/* Takes over the descriptor: a listening socket, or a socket over which connections come (server/isolate/supervisor.h). What
 * points out of the loop is set. */
bool loop_start(struct loop *loop, int fd, bool is_channel, struct gw_error *err);
/* From any thread. */
void loop_post(struct loop *loop, struct message *message);
void loop_stop(struct loop *loop);
/* Waits for the loop to have ended after loop_stop, and frees what it holds. */
void loop_join(struct loop *loop);

/* Not for secrets: back-off. */
uint32_t loop_random(struct loop *loop);
/* Milliseconds, monotonic, taken once per turn. */
static inline uint64_t loop_now(const struct loop *loop) { return uv_now(&loop->uv); }

/* Whether the server takes no new work: it drains, or the loop stops. */
static inline bool loop_is_ending(const struct loop *loop) {
  return loop->is_stopping || atomic_load_explicit(loop->is_draining, memory_order_relaxed);
}

#endif
