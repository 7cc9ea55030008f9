/* Processes that compile, from start to end: private to child.c and child_batch.c. */
#ifndef JIT_ARTIFACT_CHILD_PROCESS_H
#define JIT_ARTIFACT_CHILD_PROCESS_H

#include "jit/artifact/child.h"
#include "jit/artifact/child_protocol.h"

struct child_process {
  struct child_process *next;      /* in pool.processes while the process's number is its own */
  struct child_process *next_idle; /* in pool.idle */
  pid_t pid;
  int pidfd; /* -1: kernels before 5.3 have none */
  int socket;
  int said; /* its standard output and error, a file in memory */
  uint32_t n_jobs;
};

/* Starts one, which waits for a request. NULL with `err` set, also when the pool is stopping. */
struct child_process *child_process_create(struct child_pool *pool, struct gw_error *err);

enum child_word {
  CHILD_SPOKE,  /* and said anything */
  CHILD_GONE,   /* it had ended before it was asked */
  CHILD_SILENT, /* it ends without an answer, or keeps nothing open to give one */
  CHILD_LATE    /* no answer for as long as a compilation may take */
};

struct child_reply {
  enum child_word word;
  size_t size; /* of what was said; `answer` holds the beginning */
  struct compile_answer answer;
};

/* Sends it the request and waits for the answer. */
void child_process_ask(const struct child_pool *pool, struct child_process *p, const struct compile_request *request,
                       const int fds[CHILD_FILES], struct child_reply *reply);

/* Waits for its end, no longer than a compilation may take; false: it goes on. */
bool child_process_wait(const struct child_pool *pool, const struct child_process *p);
/* The last line that it has written, without the program's name before it. */
void child_process_last_words(const struct child_process *p, char *out, size_t size);
/* Kills it if it has not ended, and frees it. Returns its wait status. */
int child_process_destroy(struct child_pool *pool, struct child_process *p);

bool child_pool_is_stopping(struct child_pool *pool);
/* How long a compilation may take. */
uint32_t child_pool_wall_seconds(const struct child_pool *pool);

/* child_batch.c. One that was idle, or NULL. */
struct child_process *child_batch_take(struct child_pool *pool);
/* It waits for the next small module, or has seen enough of them. */
void child_batch_return(struct child_pool *pool, struct child_process *p);

#endif
