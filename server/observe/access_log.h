/* A line of each request for those who read such logs: the combined format of Apache and nginx, or JSON with the names of
 * OpenTelemetry's conventions for HTTP. Loops keep lines for some of their turns and hand them over; a thread writes them. Nobody
 * waits for it: what a full disk or a reader that stalls has no room for is lost, counted and told. */
#ifndef SERVER_OBSERVE_ACCESS_LOG_H
#define SERVER_OBSERVE_ACCESS_LOG_H

#include "base/buffer.h"
#include "gasworks/error.h"
#include "server/observe/tell.h"
#include "server/observe/trail.h"

#include <time.h>

struct access_log;

/* Lines of one loop that were not handed over. All zero at first. */
struct access_lines {
  struct buffer text;
  uint32_t n;
  time_t second; /* that `when` is of */
  char when[32];
};

/* What a line says besides the trail. Strings of strangers: they are escaped here. */
struct access_request {
  const char *peer, *method, *target, *referer, *agent; /* NULL: none, or never arrived */
  const char *function;                                 /* of a call, without alias */
  bool is_http10;
  uint32_t status;
  uint64_t sent, received; /* bytes of the bodies */
};

/* `path`: a file that is made, mode 0640, or "-" for standard output. A pipe that nobody reads is fine: its reader may come.
 * `log` hears of losses, and must outlive it. */
struct access_log *access_log_open(const char *path, bool is_json, const struct tell *tell, struct gw_error *err);
/* Writes what was handed over, but waits no longer than a second for a reader that stalls. NULL is allowed. */
void access_log_close(struct access_log *log);
/* Before the next line the file is opened again by its name: who rotates logs has given it another. Standard output
 * stays. Any thread. */
void access_log_reopen(struct access_log *log);

/* A request has ended. */
void access_log_add(struct access_log *log, struct access_lines *lines, const struct access_request *request,
                    const struct trail *trail);
/* Hands the lines over: now and then, and at the end. */
void access_log_flush(struct access_log *log, struct access_lines *lines);
/* Lines that were lost. Any thread. */
uint64_t access_log_lost(const struct access_log *log);

/* One line with its line feed, at a time in nanoseconds since 1970, which took so many nanoseconds. `lines` remembers how it
 * prints the second. */
void access_log_print(struct access_lines *lines, const struct access_request *request, const struct trail *trail, bool is_json,
                      uint64_t now_ns, uint64_t took_ns);

#endif
