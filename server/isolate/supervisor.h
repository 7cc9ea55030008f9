/* A process for each tenant, as `serve --isolate tenant` has them: started, watched, started again when it dies, and over when
 * this process is. A worker is a whole server with a data directory of its own below this one's, DIR/tenants/NAME, and walls
 * around it; its connections come as descriptors over a socket, one end of a pair each, so neither side has to connect to
 * anything. */
#ifndef SERVER_ISOLATE_SUPERVISOR_H
#define SERVER_ISOLATE_SUPERVISOR_H

#include "gasworks/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct supervisor;

/* The descriptor that a worker has its end of that socket at. */
enum { WORKER_CHANNEL = 3, SUPERVISOR_NAME_SIZE = 64 };

struct log_writer;

/* `arguments` (NULL-terminated, must outlive it) start a server; a worker gets more of them, which count. One that should end and
 * has not, some time after `grace_ms`, is killed. `log` must outlive it. */
struct supervisor *supervisor_create(const char *data_dir, const char *const *arguments, uint32_t grace_ms,
                                     struct log_writer *log, struct gw_error *err);
/* Ends all workers, as a server's end is, and waits for them. */
void supervisor_destroy(struct supervisor *supervisor);

/* Starts the tenant's worker unless it is there; waits for one that is being removed. Blocks on disk. */
bool supervisor_start(struct supervisor *supervisor, const char *tenant, struct gw_error *err);
/* No connections to it are made any more; then, when `decide` says so, it ends for good, which is waited for, and its data are
 * removed. Returns what that said. Threads that may block only. */
bool supervisor_remove(struct supervisor *supervisor, const char *tenant, bool (*decide)(void *arg), void *arg);
/* Removes data of tenants without a worker: what a removal left that a crash cut short. */
void supervisor_sweep(struct supervisor *supervisor);

/* Workers that start from now on have these arguments, which must outlive it; those that run get SIGHUP. */
void supervisor_reload(struct supervisor *supervisor, const char *const *arguments, uint32_t grace_ms);

/* A connection to the tenant's worker, the caller's to close; -1: there is no such tenant, or its worker is being started. Any
 * thread. */
int supervisor_connect(struct supervisor *supervisor, const char *tenant);

/* Those that have a worker; the caller frees them. Any thread. */
size_t supervisor_tenants(struct supervisor *supervisor, char (**names)[SUPERVISOR_NAME_SIZE]);

/* Asks the worker for a path, and waits: the body of a 200. Threads that may block only. */
struct buffer;
bool supervisor_ask(struct supervisor *supervisor, const char *tenant, const char *path, struct buffer *body);

#endif
