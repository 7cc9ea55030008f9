/* against_v8: what this engine makes of modules, for comparison with another engine and between optimisation levels.
 *
 *   against_v8 [--gas on|off] [--more LIST] FILE.wasm...
 *
 * For modules that closed_module.js made: no imports; functions "%..." without parameters that return integers; memories "%m...".
 * Every file is run at -O2, at -O0 and in the precise and in the baseline tier, in a process of its own, then in those of LIST,
 * names parted by commas: O1, O3, v2 (-O2 for x86-64-v2), v3, v4, profile (-O2 with a profile). Output:
 *
 *   module FILE
 *   -O2
 *   %f0 1 2 gas 30                a call and its results, or the trap's name
 *   %m0 65536 123456              at the end, each memory's size and digest
 *   -O0
 *   ...
 *   precise
 *   ...
 *   end                           absent after a crash, of which the process speaks on the next line
 *
 * What a memory holds after an access out of bounds is defined in the precise and the baseline tier only (docs/architecture.md),
 * where it is shown
 * ("at trap %m0 65536 123456"); calls after such a trap get a new instance. */
#include "base/buffer.h"
#include "frontend/module.h"
#include "gasworks.h"
#include "jit/artifact/cpu.h"
#include "runtime/instance.h"
#include "tests/break_opcode.h"
#include "tests/for_cpu.h"
#include "tests/mixed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_MODULE = 16 << 20, MAX_VALUES = 2048, GAS_LIMIT = 100000000, CHILD_SECONDS = 60 };

struct driver {
  struct gw_engine *engine;
  struct gw_store *store;
  struct gw_module *module;
  struct gw_instance *instance;
  enum gw_tier tier;
  union gw_value values[MAX_VALUES];
};

static const struct module *decoded(const struct driver *d) { return gw_module_decoded(d->module); }

static bool is_probe(const struct export *e, enum extern_kind kind) {
  return e->kind == kind && e->name.size > 0 && e->name.bytes[0] == '%';
}

static void print_failure(const struct gw_error *err) {
  printf(" %s", err->code == GW_ERROR_TRAP ? gw_trap_message(err->trap) : err->message);
}

/* A new instance in a new store, in place of the old ones. False: it said why. */
static bool renew(struct driver *d, const struct gw_store_options *options) {
  struct gw_error err = {0};
  gw_store_destroy(d->store);
  d->instance = NULL;
  d->store = gw_store_create(d->engine, options, &err);
  if (d->store) d->instance = gw_instance_create(d->store, d->module, NULL, NULL, &err);
  if (d->instance) return true;
  printf("instantiation");
  print_failure(&err);
  printf("\n");
  return false;
}

/* FNV-1a by words of 4 bytes, so that JavaScript can do it with Math.imul. */
static uint32_t digest(const uint8_t *bytes, uint64_t size) {
  uint32_t hash = 2166136261u, word;
  for (uint64_t i = 0; i + 4 <= size; i += 4) {
    memcpy(&word, bytes + i, 4);
    hash = (hash ^ word) * 16777619u;
  }
  return hash;
}

static void print_memories(const struct driver *d, const char *when) {
  for (uint32_t i = 0; i < decoded(d)->n_exports; i++) {
    const struct export *e = &decoded(d)->exports[i];
    if (!is_probe(e, EXTERN_MEMORY)) continue;
    const struct memory_ctx *memory = &d->instance->memories[e->index]->ctx;
    printf("%s%.*s %" PRIu64 " %" PRIu32 "\n", when, (int)e->name.size, e->name.bytes, memory->bytes,
           digest(memory->base, memory->bytes));
  }
}

/* Whether the instance can be used further. */
static bool call(struct driver *d, const struct export *e) {
  const struct func_type *type = &decoded(d)->types[decoded(d)->funcs[e->index].type].func;
  struct gw_extern export;
  struct gw_error err = {0};
  printf("%.*s", (int)e->name.size, e->name.bytes);
  if (type->n_params > 0 || type->n_results > MAX_VALUES ||
      !gw_instance_export(d->instance, e->name.bytes, e->name.size, &export)) {
    printf(" no call\n");
    return true;
  }
  if (gw_call(d->store, export.of.func, d->values, &err)) {
    for (uint32_t i = 0; i < type->n_results; i++) {
      bool is_long = val_kind(type->results[i]) == VAL_I64;
      printf(" %" PRIu64, is_long ? d->values[i].u64 : d->values[i].u32);
    }
  } else {
    print_failure(&err);
  }
  printf(" gas %" PRIu64 "\n", gw_store_gas_used(d->store));
  bool is_usable = !(err.code == GW_ERROR_TRAP && err.trap == GW_TRAP_MEMORY_OUT_OF_BOUNDS);
  if (!is_usable && d->tier != GW_TIER_FAST) print_memories(d, "at trap ");
  return is_usable;
}

static void run(struct driver *d) {
  const struct gw_store_options options = {.gas_limit = GAS_LIMIT, .tier = d->tier};
  const struct module *m = decoded(d);
  if (!renew(d, &options)) return;
  for (uint32_t i = 0; i < m->n_exports; i++) {
    if (is_probe(&m->exports[i], EXTERN_FUNC) && !call(d, &m->exports[i]) && !renew(d, &options)) return;
  }
  print_memories(d, "");
}

/* A tier, or a level of compiled code. */
struct config {
  const char *name; /* of --more */
  uint32_t level;
  const char *cpu;
  enum gw_tier tier;
  bool is_profile;
};

static void run_config(const struct buffer *bytes, const struct config *c, bool gas) {
  static struct driver driver;
  struct driver *d = &driver;
  struct gw_error err = {0};
  if (c->tier != GW_TIER_FAST)
    printf("%s\n", c->tier == GW_TIER_PRECISE ? "precise" : c->tier == GW_TIER_BASELINE ? "baseline" : "-O2 mixed");
  else
    printf("-O%u%s%s%s\n", c->level, c->cpu ? " " : "", c->cpu ? c->cpu : "", c->is_profile ? " profile" : "");
  const struct gw_engine_options options = {
      .loose_traps = true, .opt_level = c->level, .gas = gas, .verify = true, .profile = c->is_profile};
  *d = (struct driver){.tier = c->tier, .engine = gw_engine_create(&options, &err)};
  if (d->engine) d->module = gw_module_create(d->engine, bytes->bytes, bytes->size, &err);
  if (d->module && c->cpu) d->module = module_for_cpu(d->engine, d->module, c->cpu, &err);
  uint64_t random = bytes->size;
  if (d->module && c->tier == GW_TIER_MIXED) mixed_compile(d->module, &random);
  if (d->module) run(d);
  if (err.code != GW_ERROR_NONE) printf("error: %s\n", err.message);
  gw_store_destroy(d->store);
  gw_module_release(d->module);
  gw_engine_destroy(d->engine);
}

static const struct config always[] = {
    {.level = 2},
    {.level = 0},
    {.tier = GW_TIER_PRECISE},
    {.tier = GW_TIER_BASELINE},
};
static const struct config more_configs[] = {
    {.name = "O1", .level = 1},
    {.name = "O3", .level = 3},
    {.name = "v2", .level = 2, .cpu = "x86-64-v2"},
    {.name = "v3", .level = 2, .cpu = "x86-64-v3"},
    {.name = "v4", .level = 2, .cpu = "x86-64-v4"},
    {.name = "mixed", .level = 2, .tier = GW_TIER_MIXED},
    {.name = "profile", .level = 2, .is_profile = true},
};

/* Whether the list, names parted by commas, has this one. */
static bool lists(const char *list, const char *name) {
  size_t size = strlen(name);
  for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
    if (strncmp(at, name, size) == 0 && (at[size] == ',' || !at[size])) return true;
  return false;
}

static int run_file(const char *path, bool gas, const char *more) {
  struct buffer bytes = {0};
  struct gw_error err = {0};
  setrlimit(RLIMIT_CPU, &(struct rlimit){CHILD_SECONDS, CHILD_SECONDS});
  if (buffer_read_file(&bytes, path, MAX_MODULE, &err)) {
    for (size_t i = 0; i < sizeof always / sizeof *always; i++) run_config(&bytes, &always[i], gas);
    for (size_t i = 0; i < sizeof more_configs / sizeof *more_configs; i++) {
      const struct config *c = &more_configs[i];
      if (lists(more, c->name) && (!c->cpu || cpu_runs(c->cpu))) run_config(&bytes, c, gas);
    }
  } else {
    printf("error: %s\n", err.message);
  }
  printf("end\n");
  buffer_clear(&bytes);
  return 0;
}

/* Loads the compiler, so that the children need not. */
static void warm_up(void) {
  static const uint8_t empty[] = {0, 'a', 's', 'm', 1, 0, 0, 0};
  struct gw_error err = {0};
  struct gw_engine *engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = 2}, &err);
  struct gw_module *module = engine ? gw_module_create(engine, empty, sizeof empty, &err) : NULL;
  if (module) gw_module_compile(module, &err);
  if (err.code != GW_ERROR_NONE) fprintf(stderr, "against_v8: %s\n", err.message);
  gw_module_release(module);
  gw_engine_destroy(engine);
}

static void run_child(const char *path, bool gas, const char *more) {
  int status = -1;
  printf("module %s\n", path);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) exit(run_file(path, gas, more));
  if (pid > 0) waitpid(pid, &status, 0);
  if (status != 0)
    printf("\ncrash: %s %d\n", WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : status);
}

int main(int argc, char **argv) {
  bool gas = true;
  const char *more = "";
  const char *broken = getenv("GASWORKS_BREAK_OPCODE");
  if (broken && !break_opcode(broken)) /* a fault on purpose: mutations.sh */
    return fprintf(stderr, "against_v8: %s cannot be broken\n", broken), 2;
  warm_up();
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--gas") == 0 && i + 1 < argc)
      gas = strcmp(argv[++i], "off") != 0;
    else if (strcmp(argv[i], "--more") == 0 && i + 1 < argc)
      more = argv[++i];
    else
      run_child(argv[i], gas, more);
  }
  return 0;
}
