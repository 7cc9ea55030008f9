/* Whether the system is short of memory, as the kernel tells it (PSI: Documentation/accounting/psi.rst). */
#ifndef SERVER_LOOP_PRESSURE_H
#define SERVER_LOOP_PRESSURE_H

#include <stdbool.h>
#include <stdint.h>

/* What one loop has seen. */
struct pressure {
  int fd;         /* of a file in PSI's format, or -1: never under pressure */
  uint64_t total; /* microseconds that some task has waited for memory, when it was looked at */
  uint64_t at_ms;
};

/* `path`, or where that is NULL this process's own control group's file, or else the whole system's. */
void pressure_open(struct pressure *p, const char *path);
void pressure_close(struct pressure *p);
/* Whether tasks have waited for memory for a twentieth of the time since the last look. `now_ms` is of any clock that goes on. */
bool pressure_is_high(struct pressure *p, uint64_t now_ms);

/* Three quarters of what this process may use: of the machine's memory, or of the tightest limit of its control groups. */
uint64_t pressure_default_limit(void);

#endif
