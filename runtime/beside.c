/* Translating a function of some megabytes takes a second. A server's loop must not wait for that, so the invocation parks, and
 * a thread is made for it: this happens once for a function, and who asks for much of it waits himself, as there is one lock for
 * each module. */
#include "runtime/beside.h"

#include "base/heap.h"
#include "runtime/engine.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { STACK = 1 << 20, NICENESS = 10 };

struct task {
  struct gw_engine *engine;
  void (*work)(void *arg);
  void *arg;
};

static void count(struct gw_engine *engine, int by) {
  pthread_mutex_lock(&engine->beside_lock);
  engine->n_beside += (uint32_t)by;
  if (!engine->n_beside) pthread_cond_broadcast(&engine->beside_done); /* under the lock: the engine may go then */
  pthread_mutex_unlock(&engine->beside_lock);
}

static void *run(void *arg) {
  struct task task = *(struct task *)arg;
  free(arg);
  setpriority(PRIO_PROCESS, 0, NICENESS); /* which is the thread's own, on Linux */
  task.work(task.arg);
  count(task.engine, -1);
  return NULL;
}

/* Signals are for other threads, except those that faults raise. */
static int start(struct task *task) {
  static const int for_faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
  pthread_t thread;
  pthread_attr_t attributes;
  sigset_t blocked, before;
  sigfillset(&blocked);
  for (size_t i = 0; i < sizeof for_faults / sizeof *for_faults; i++) sigdelset(&blocked, for_faults[i]);
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, STACK);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  int failed = pthread_create(&thread, &attributes, run, task);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  return failed;
}

bool beside_run(struct gw_engine *engine, void (*work)(void *arg), void *arg) {
  struct task *task = heap_new(1, sizeof *task);
  *task = (struct task){engine, work, arg};
  count(engine, 1);
  if (!start(task)) return true;
  count(engine, -1);
  free(task);
  return false;
}

void beside_wait(struct gw_engine *engine) {
  pthread_mutex_lock(&engine->beside_lock);
  while (engine->n_beside) pthread_cond_wait(&engine->beside_done, &engine->beside_lock);
  pthread_mutex_unlock(&engine->beside_lock);
}
