/* A host's life with libgasworks opened by dlopen: handlers of its own, engines that come and go, forks, threads. One part for
 * each name on the command line. */
#define _GNU_SOURCE
#include "../check.h"

#include <dlfcn.h>
#include <gasworks.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* (module (memory 1) (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))) */
static const char module_bytes[] =
    "\0asm\1\0\0\0\1\6\1\x60\1\x7f\1\x7f\3\2\1\0\5\3\1\0\1\7\10\1\4load\0\0\12\11\1\7\0\40\0\50\2\0\13";

#define NAMES(X)       \
  X(gw_engine_create)  \
  X(gw_engine_destroy) \
  X(gw_module_create) X(gw_module_release) X(gw_store_create) X(gw_store_destroy) X(gw_instance_create) X(gw_call_export)

#define POINTER(name) static __typeof__(name) *p_##name;
NAMES(POINTER)

static void *library;

static void open_library(void) {
  library = dlopen("libgasworks.so.0", RTLD_NOW | RTLD_LOCAL);
  if (!library) fprintf(stderr, "%s\n", dlerror());
  CHECK(library);
#define FIND(name) CHECK((*(void **)&p_##name = dlsym(library, #name)));
  NAMES(FIND)
}

struct guest {
  struct gw_engine *engine;
  struct gw_module *module;
  struct gw_store *store;
  struct gw_instance *instance;
};

static struct guest open_guest(enum gw_tier tier) {
  struct gw_error err = {0};
  struct gw_engine_options options = {.gas = true, .opt_level = 1};
  struct gw_store_options store_options = {.tier = tier};
  struct guest g = {0};
  g.engine = p_gw_engine_create(&options, &err);
  g.module = p_gw_module_create(g.engine, module_bytes, sizeof module_bytes - 1, &err);
  if (!g.module) fprintf(stderr, "%s\n", err.message);
  CHECK(g.module);
  g.store = p_gw_store_create(g.engine, &store_options, &err);
  g.instance = p_gw_instance_create(g.store, g.module, NULL, NULL, &err);
  if (!g.instance) fprintf(stderr, "%s\n", err.message);
  CHECK(g.instance);
  return g;
}

static void close_guest(struct guest *g) {
  p_gw_store_destroy(g->store);
  p_gw_module_release(g->module);
  p_gw_engine_destroy(g->engine);
}

/* A load that works, and one whose fault becomes a trap. */
static void use(struct guest *g) {
  struct gw_error err = {0};
  union gw_value values[1] = {{.i32 = 8}};
  CHECK(p_gw_call_export(g->instance, "load", values, 1, &err) && values[0].i32 == 0);
  values[0].i32 = 65533;
  CHECK(!p_gw_call_export(g->instance, "load", values, 1, &err) && err.trap == GW_TRAP_MEMORY_OUT_OF_BOUNDS);
}

static void run_guest(void) {
  struct guest g = open_guest(GW_TIER_FAST);
  use(&g);
  close_guest(&g);
}

/* --- faults of the host's --- */

static sigjmp_buf back;
static volatile sig_atomic_t n_faults;
static volatile int *volatile hole;

static void on_fault(int number) {
  (void)number;
  n_faults++;
  siglongjmp(back, 1);
}

static void on_fault_with_info(int number, siginfo_t *info, void *context) {
  (void)context;
  CHECK(info->si_addr == (void *)hole);
  on_fault(number);
}

static void fault(void) {
  int before = n_faults;
  if (!sigsetjmp(back, 1)) *hole = 1;
  CHECK(n_faults == before + 1);
}

static void make_hole(void) {
  hole = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(hole != MAP_FAILED);
}

/* A handler that was there before: the guest's faults are not its business, the host's are. */
static void handler_before(void) {
  make_hole();
  struct sigaction action = {.sa_sigaction = on_fault_with_info, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  fault();
  open_library();
  struct guest g = open_guest(GW_TIER_FAST);
  for (int i = 0; i < 3; i++) {
    use(&g);
    fault();
  }
  CHECK(n_faults == 4);
  close_guest(&g);
  fault();
}

/* One that comes later and passes on what is not its own: both work. */
static struct sigaction ours;

static void pass_on(int number, siginfo_t *info, void *context) {
  if (info->si_addr == (void *)hole) on_fault(number);
  ours.sa_sigaction(number, info, context);
}

static void handler_after(void) {
  make_hole();
  open_library();
  struct guest g = open_guest(GW_TIER_FAST);
  struct sigaction action = {.sa_sigaction = pass_on, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaction(SIGSEGV, &action, &ours);
  for (int i = 0; i < 3; i++) {
    use(&g);
    fault();
  }
  close_guest(&g);
}

/* Without a handler a host's fault ends the process as it always did. */
static void no_handler(void) {
  pid_t child = fork();
  if (child == 0) {
    make_hole();
    signal(SIGSEGV, SIG_DFL); /* sanitizers have one */
    open_library();
    run_guest();
    *hole = 1;
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* --- engines, closing, forks, threads --- */

static void two_engines(void) {
  open_library();
  struct guest a = open_guest(GW_TIER_FAST), b = open_guest(GW_TIER_PRECISE);
  for (int i = 0; i < 10; i++) {
    use(&a);
    use(&b);
  }
  close_guest(&a);
  struct guest c = open_guest(GW_TIER_FAST);
  use(&b);
  use(&c);
  close_guest(&b);
  use(&c);
  close_guest(&c);
}

static void closed(void) {
  make_hole();
  signal(SIGSEGV, on_fault);
  for (int i = 0; i < 3; i++) {
    open_library();
    run_guest();
    CHECK(dlclose(library) == 0);
    fault(); /* its handler is still there, and passes it on */
  }
}

static void run_in_child(struct guest *g) {
  pid_t child = fork();
  if (child == 0) {
    if (g) use(g);
    run_guest();
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void forks(void) {
  open_library();
  run_in_child(NULL); /* before anything */
  struct guest g = open_guest(GW_TIER_FAST);
  use(&g);
  run_in_child(&g);
  use(&g);
  run_in_child(&g);
  close_guest(&g);
}

static void *thread(void *arg) {
  if (arg) use(arg);
  run_guest();
  return NULL;
}

/* More threads than there could be signal stacks, if they were kept; a store that goes from one to the next. */
static void threads(void) {
  open_library();
  struct guest g = open_guest(GW_TIER_FAST);
  for (int i = 0; i < 40; i++) {
    pthread_t t[4];
    for (int k = 0; k < 4; k++) CHECK(pthread_create(&t[k], NULL, thread, k == 0 ? &g : NULL) == 0);
    for (int k = 0; k < 4; k++) pthread_join(t[k], NULL);
  }
  close_guest(&g);
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    void (*run)(void);
  } parts[] = {{"handler_before", handler_before},
               {"handler_after", handler_after},
               {"no_handler", no_handler},
               {"two_engines", two_engines},
               {"closed", closed},
               {"forks", forks},
               {"threads", threads}};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
    if (argc != 2 || strcmp(argv[1], parts[i].name) != 0) continue;
    parts[i].run();
    return 0;
  }
  return 2;
}
