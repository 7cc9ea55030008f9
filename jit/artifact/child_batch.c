/* Processes that compile one small module after another: starting one takes longer than such a module. Whoever waits has the
 * process for himself, so there is one for each thread that compiles.
 *
 * A process that dies takes no other module with it than the one it had. It is replaced after MAX_JOBS, so that it cannot grow
 * for ever, and ends by itself when it was idle for a while (cli/compile_child.c). */
#include "jit/artifact/child_process.h"

enum { MAX_JOBS = 256 };

struct child_process *child_batch_take(struct child_pool *pool) {
  pthread_mutex_lock(&pool->lock);
  struct child_process *p = pool->idle;
  if (p) pool->idle = p->next_idle;
  pthread_mutex_unlock(&pool->lock);
  return p;
}

void child_batch_return(struct child_pool *pool, struct child_process *p) {
  if (++p->n_jobs >= MAX_JOBS) {
    child_process_destroy(pool, p);
    return;
  }
  pthread_mutex_lock(&pool->lock);
  p->next_idle = pool->idle;
  pool->idle = p;
  pthread_mutex_unlock(&pool->lock);
}
