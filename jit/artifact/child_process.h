/* Processes that compile, from start to end: private to child.c and child_batch.c. */
#ifndef JIT_ARTIFACT_CHILD_PROCESS_H
#define JIT_ARTIFACT_CHILD_PROCESS_H

#include "jit/artifact/child.h"

#include <sys/types.h>

/* What a process has open, by the descriptor that each has there. */
enum child_file { CHILD_MODULE, CHILD_ARTIFACT, CHILD_ERROR, CHILD_SCHEDULE, CHILD_SOCKET, CHILD_FILES };

struct compile_child {
  struct compile_child *next; /* in pool.children while the process's number is its own */
  pid_t pid;
  int pidfd;
  bool is_late; /* it was ended because it took too long */
};

/* Opens files in memory for all but the socket, which is -1, with the module (size 0: none) and the schedule in theirs. */
bool process_open_files(const struct child_pool *pool, const void *bytes, size_t size, int fds[CHILD_FILES]);
void process_close_files(const int fds[CHILD_FILES]);

/* Starts `gasworks compile` at an optimisation level. With a socket it takes jobs from there, else it compiles the module. False
 * with `err` set, also when the pool is stopping. `child` must stay where it is until process_wait. */
bool process_start(struct child_pool *pool, uint32_t opt_level, int fds[CHILD_FILES], struct compile_child *child,
                   struct gw_error *err);
/* Waits for its end, at most as long as a compilation may take, then kills it. Returns its wait status. */
int process_wait(struct child_pool *pool, struct compile_child *child);
/* Kills it, and waits. */
int process_kill(struct child_pool *pool, struct compile_child *child);
bool process_pool_is_stopping(struct child_pool *pool);
/* How long a compilation may take, in milliseconds. */
int process_wall_ms(const struct child_pool *pool);

/* What was last said in a file, without the program's name before it. */
void process_read_message(int fd, char *out, size_t size);

/* child_batch.c: small modules are sent to processes that stay. BATCH_NONE: none of them could say anything about the module,
 * it needs a process of its own. `fds` are those of the module, of `size` bytes. */
enum batch_result { BATCH_NONE, BATCH_DONE, BATCH_FAILED };
enum batch_result batch_compile(struct child_pool *pool, size_t size, const int fds[CHILD_FILES], struct gw_error *err);
/* Ends those that are idle. */
void batch_stop(struct child_pool *pool);

#endif
