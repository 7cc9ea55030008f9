/* Pieces of the control plane's JSON. */
#ifndef SERVER_API_TEXT_H
#define SERVER_API_TEXT_H

#include <stdint.h>
#include <time.h>

enum { TEXT_TIME_SIZE = 40 };

/* Milliseconds since 1970 as RFC 3339 has them, in UTC. */
static inline const char *text_time(uint64_t ms, char out[TEXT_TIME_SIZE]) {
  time_t seconds = (time_t)(ms / 1000);
  struct tm tm;
  strftime(out, TEXT_TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &tm));
  return out;
}

#endif
