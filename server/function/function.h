/* One deployed function: what it is, how it is called, whether it may be, and who holds it. */
#ifndef SERVER_FUNCTION_FUNCTION_H
#define SERVER_FUNCTION_FUNCTION_H

#include "base/digest.h"
#include "base/sha256.h"
#include "gasworks.h"
#include "runtime/host/wasi/wasi.h"
#include "server/function/settings.h"
#include "server/tier.h"

#include <pthread.h>
#include <stdatomic.h>

struct crash_file;
struct tally;

/* A full name is "NAME" for functions of the default tenant, "TENANT/NAME" for others'. */
enum { FUNCTION_MAX_NAME = 63, FUNCTION_MAX_FULL_NAME = 2 * FUNCTION_MAX_NAME + 1 };
/* What stands in the name's place where a module runs that nobody deployed: no function is called so. */
#define FUNCTION_RUN "+run"
/* The same for the runs of a gate in front of a deployment, which have one receipt together. */
#define FUNCTION_GATE "+gate"
/* The same for what was decoded, validated and compiled for a tenant. */
#define FUNCTION_LOAD "+load"
/* An address is a full name, or one with "@ALIAS" or "@VERSION" behind it. */
enum { FUNCTION_MAX_ADDRESS = FUNCTION_MAX_FULL_NAME + 1 + FUNCTION_MAX_NAME, FUNCTION_PATH_SIZE = 224 };

enum interface { INTERFACE_HANDLE, INTERFACE_CGI };

/* Of a name from its first deployment to its deletion: a later one of the same name may be another's. */
struct fate {
  _Atomic uint32_t refs;
  _Atomic bool is_deleted;                    /* what still runs logs for nobody */
  struct tally *tally;                        /* what is counted of it */
  _Atomic uint64_t n_instances, memory_bytes; /* that are there now, and what they take */
};

/* What modules that are in memory take with their code, at most. */
struct code_room {
  _Atomic uint64_t bytes;
  _Atomic uint64_t going; /* of those whose function is another by now, and whose calls still run */
};

/* What slices have used. */
struct tier_use {
  _Atomic uint64_t gas, cpu_ns;
};

/* What every instance gets; the same for all functions today. */
struct function_limits {
  uint64_t gas_limit, slice; /* per invocation */
  uint64_t slice_ns, cpu_limit_ns;
  uint64_t (*clock)(void);
  uint64_t max_memory;          /* bytes of all memories and tables of an invocation */
  uint64_t memory_limit;        /* bytes of all memories and tables of the server; 0: none */
  size_t max_reply;             /* bytes a CGI program may print */
  uint32_t keep_versions;       /* of a function; those that an alias leads to are kept however many they are */
  enum tier_choice tier;        /* of functions */
  const uint8_t (*trusted)[32]; /* public keys: whose artifacts may be deployed */
  size_t n_trusted;
  bool has_fine_clocks; /* functions see the system's clocks; else those of runtime/guest_clock.h */
  bool has_bundles;     /* whether functions may have files: NAME in the directory `bundles` */
  int bundles;
  const struct allowed_directory *directories; /* what settings may name */
  size_t n_directories;
};

/* A directory of the host that the operator lets functions read. */
struct allowed_directory {
  const char *name; /* NAME, or TENANT/NAME: for this tenant alone */
  int fd;
};

/* How a function may be used, as its owner says. */
struct function_config {
  bool is_private;       /* only a token with the scope invoke may call it */
  bool shows_backtraces; /* to whoever calls it */
};

/* A change of that: what is not given stays as it was, or is as below for a new function. */
struct function_choice {
  bool has_private, has_backtraces;
  struct function_config config; /* public, and without backtraces */
};

/* One version of a function. Immutable and shared between threads once the registry has published it, except for the module,
 * which is loaded by the first registry_load. */
struct function {
  _Atomic uint32_t refs;
  char name[FUNCTION_MAX_FULL_NAME + 1]; /* full */
  struct function_config config;
  struct settings *settings;            /* NULL: none */
  char digest[DIGEST_HEX_SIZE];         /* of the module */
  uint8_t settings_digest[SHA256_SIZE]; /* of function_print_settings */
  uint64_t version;                     /* counts deployments of the name from 1 */
  uint64_t size;                        /* bytes of the module */
  uint64_t created_ms;                  /* since 1970 */
  double compile_ms;                    /* of the deployment */
  enum interface interface;             /* constant once it was published: records have it */
  char *tool;                           /* what the module says of itself, see tool.h; NULL: nothing */
  const struct function_limits *limits; /* the registry's, which outlives it */
  struct crash_file *crashes;           /* likewise: where a signal handler notes that this function ran */

  pthread_mutex_t lock;     /* held while loading */
  _Atomic int load_state;   /* enum load_state; what follows is constant once it is not LOAD_PENDING */
  struct gw_module *module; /* NULL after a failure */
  struct gw_error error;
  struct buffer given;         /* of one that nobody deployed: where its module is, until it is loaded */
  size_t given_at;             /* `size` bytes of that */
  bool is_loose;               /* it is one: in no record, and nothing of it is kept */
  struct code_room *code_room; /* NULL: it is not in memory */
  uint64_t code_bytes;         /* its part of that */
  bool may_load_again;         /* when it is LOAD_FAILED: its module could not be loaded; constant then */
  bool is_going;               /* also of those that go. Of the registry's writers */
  _Atomic uint64_t used_at;    /* loop time in ms, to a tenth of a second, when it was looked up last */
  bool uses_state, uses_wasi, has_initialize;
  bool has_files; /* it imports functions of paths, and so has /state */
  uint64_t initial_memory,
      initial_data; /* bytes: the least that an instance takes, and what is written into it when it is made, or takes as long */
  uint64_t initial_cells; /* globals and entries of tables */
  bool had_state;         /* one of its name before it may write state yet: invocations under way do. Of the registry's writers */
  struct wasi_preopen bundle;    /* its files, or host_fd -1 */
  struct wasi_preopen *preopens; /* that, and its settings' directories: what an instance gets */
  size_t n_preopens;

  struct tier_use usage[N_TIERS]; /* by enum gw_tier, since it was loaded */
  struct fate *fate;              /* shared by all versions of its name, those too that are in the entry no more */
  _Atomic uint32_t n_running;     /* invocations, on all loops; counted where settings limit them */

  _Atomic uint32_t quarantine; /* the signal that ended the process while it ran, 0: callable */
  uint64_t quarantine_ms;      /* since 1970; constant */

  _Atomic int code_state;     /* enum code_state */
  struct gw_error code_error; /* constant once it is CODE_FAILED */
};

enum load_state { LOAD_PENDING, LOAD_READY, LOAD_FAILED };

/* Whether there is compiled code: CODE_NONE before the module is loaded, and where functions are interpreted. */
enum code_state { CODE_NONE, CODE_WAITING, CODE_READY, CODE_FAILED };

/* Whether the name is one: [a-z0-9][a-z0-9_-]{0,62}. */
bool function_name_is_valid(const char *name, size_t size);
/* The same of a full name. */
bool function_full_name_is_valid(const char *name, size_t size);
/* `tenant` and `name` are valid. */
void function_full_name(const char *tenant, const char *name, char out[FUNCTION_MAX_FULL_NAME + 1]);
/* The name within its tenant, in the full name. */
const char *function_short_name(const char *full_name);
/* Whether the function is the tenant's. */
bool function_is_of(const char *full_name, const char *tenant);
/* The space of state that its invocations read and write: its own, which has its name, or that of a group. */
const char *function_space(const struct function *function);
/* The space of state where answers to requests with an Idempotency-Key are; no function is called so. */
enum { FUNCTION_ANSWERS_SIZE = FUNCTION_MAX_FULL_NAME + 16 };
const char *function_answers(const char *full_name, char out[FUNCTION_ANSWERS_SIZE]);
/* Where it is called: "/f/NAME" or "/t/TENANT/f/NAME", with what an address has behind the name. */
const char *function_path(const char *address, char out[FUNCTION_PATH_SIZE]);
/* Cuts an address in two: returns the word behind the @, or NULL where there is none. */
const char *function_split_address(const char *address, char name[FUNCTION_MAX_FULL_NAME + 1]);

/* With one reference, for the caller, and no module. `limits` and `crashes` must outlive it. */
struct function *function_create(const char *name, const struct function_limits *limits, struct crash_file *crashes);
/* What its receipts have a digest of, and making that digest: when name, version, configuration and settings are there. */
void function_print_settings(const struct function *function, const struct settings_key *key, struct buffer *out);
void function_seal_settings(struct function *function, const struct settings_key *key);
/* The same version, not loaded yet. */
struct function *function_copy(const struct function *function);
/* Before it is published: that `function` is a version of the same name as `other`. */
void function_share_fate(struct function *function, const struct function *other);
static inline bool function_is_deleted(const struct function *f) {
  return atomic_load_explicit(&f->fate->is_deleted, memory_order_relaxed);
}
/* Counts its module of so many bytes, with what the module's code may take, until the function goes. */
void function_count_code(struct function *function, struct code_room *room, uint64_t module_bytes);
/* It is to go from memory, once nobody holds it. */
void function_let_go(struct function *function);
/* It is looked up, at a loop's time in ms. */
static inline void function_touch(struct function *f, uint64_t now) {
  enum { STEP_MS = 100 }; /* loops share it */
  if (now - atomic_load_explicit(&f->used_at, memory_order_relaxed) >= STEP_MS)
    atomic_store_explicit(&f->used_at, now, memory_order_relaxed);
}
/* What the other, which it is a copy of, has used. */
void function_keep_usage(struct function *function, const struct function *other);
struct function *function_retain(struct function *function);
void function_release(struct function *function);

/* Finds out how the function's module is to be called and what it needs, and opens its files. */
bool function_classify(struct function *function, struct gw_error *err);
/* What it may read, when its settings are others: GW_ERROR_FORBIDDEN where these name what the operator does not allow. Of one
 * that nobody runs yet. */
bool function_open_directories(struct function *function, struct gw_error *err);

static inline enum load_state function_load_state(const struct function *f) {
  return (enum load_state)atomic_load_explicit(&f->load_state, memory_order_acquire);
}

static inline enum code_state function_code_state(const struct function *f) {
  return (enum code_state)atomic_load_explicit(&f->code_state, memory_order_acquire);
}

/* The settings' choice, as far as the server's leaves one: what it does not compile nobody can have compiled. */
static inline enum tier_choice function_tier_choice(const struct function *f) {
  enum tier_choice server = f->limits->tier, own = f->settings ? f->settings->tier : TIER_UNTOLD;
  bool is_open = server == TIER_AUTO || server == TIER_FAST || (server == TIER_BASELINE && own == TIER_PRECISE);
  return own != TIER_UNTOLD && is_open ? own : server;
}

/* What a new instance of a loaded function runs in. */
static inline enum gw_tier function_tier(const struct function *f) {
  if (function_code_state(f) == CODE_READY) return GW_TIER_FAST;
  return function_tier_choice(f) == TIER_PRECISE ? GW_TIER_PRECISE : GW_TIER_BASELINE;
}

/* As options, /metrics and the control plane say it. */
static inline const char *function_tier_name(enum gw_tier tier) {
  return tier == GW_TIER_FAST ? "fast" : tier == GW_TIER_BASELINE ? "baseline" : "precise";
}

/* The same for any function, loaded or not. Any thread. */
enum gw_tier function_next_tier(const struct function *f);

/* Whether invocations may write state of its name, after it is deleted, too: what they leave must be found. Registry's writers.
 */
bool function_may_write(const struct function *f);

/* A slice has run. Any thread. */
static inline void function_count(struct function *f, enum gw_tier tier, uint64_t gas, uint64_t ns) {
  atomic_fetch_add_explicit(&f->usage[tier].gas, gas, memory_order_relaxed);
  atomic_fetch_add_explicit(&f->usage[tier].cpu_ns, ns, memory_order_relaxed);
}

/* Limits of an invocation, of the settings and of the server; 0: none. */
static inline uint64_t function_gas_limit(const struct function *f, const struct function_limits *server) {
  return settings_limit(f->settings ? f->settings->gas_limit : 0, server->gas_limit);
}
static inline uint64_t function_max_memory(const struct function *f, const struct function_limits *server) {
  return settings_limit(f->settings ? f->settings->max_memory : 0, server->max_memory);
}
static inline uint64_t function_cpu_limit(const struct function *f, const struct function_limits *server) { /* nanoseconds */
  return settings_limit(f->settings ? f->settings->cpu_ms * UINT64_C(1000000) : 0, server->cpu_limit_ns);
}

/* Whether a GET may write no state. */
static inline bool function_gets_only_read(const struct function *f) { return f->settings && f->settings->is_get_read_only; }

/* One more invocation begins; false where as many run as may, of all loops. Whoever began ends. */
bool function_begin(struct function *f);
void function_end(struct function *f);

/* How many times as long a tier takes for the same gas as compiled code, about. */
uint64_t function_slowness(enum gw_tier tier);

/* Whether its gas and its time go together: not where a tier takes more than 20 times the time that gas stands for there, or less
 * than a 20th, over 100 ms and more of either. One that is slow in some tier is slow. */
enum band { BAND_INSIDE, BAND_SLOW, BAND_FAST };
enum band function_band(const struct function *f);

/* 0: it can be called; else the signal that it is in quarantine for. */
static inline int function_quarantine(const struct function *f) {
  return (int)atomic_load_explicit(&f->quarantine, memory_order_relaxed);
}

/* Its name, SIGSEGV and so on. */
const char *function_quarantine_signal(const struct function *f, char *out, size_t size);
/* Says that and why, for people. */
void function_describe_quarantine(const struct function *f, char *out, size_t size);

#endif
