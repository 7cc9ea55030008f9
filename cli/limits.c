#define _GNU_SOURCE /* RUSAGE_SELF and the like */
#include "cli/limits.h"

#include "base/error.h"

#include <sys/resource.h>

enum { LARGEST_ARTIFACT = 1 << 30, NICE = 10, UNTIL_KILL_SECONDS = 5 };

/* Sanitizers reserve terabytes of addresses, and then nothing at all could be compiled. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || __has_feature(address_sanitizer) || \
    __has_feature(thread_sanitizer)
static const bool has_shadow_memory = true;
#else
static const bool has_shadow_memory = false;
#endif

static bool limit(int resource, rlim_t value, struct gw_error *err) {
  struct rlimit l = {value, value};
  return setrlimit(resource, &l) == 0 ||
         error_set(err, GW_ERROR_USAGE, "the limits cannot be set: they are above this process's own");
}

/* The signal at the limit tells it from SIGKILL, which may also come from elsewhere. */
bool cli_limit_time(uint32_t seconds, struct gw_error *err) {
  struct rlimit l;
  struct rusage used;
  getrlimit(RLIMIT_CPU, &l);
  getrusage(RUSAGE_SELF, &used);
  rlim_t at = (rlim_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + seconds;
  if (at + UNTIL_KILL_SECONDS > l.rlim_max)
    return error_set(err, GW_ERROR_USAGE, "--max-seconds is above this process's own limit");
  l.rlim_cur = at;
  return setrlimit(RLIMIT_CPU, &l) == 0 || error_set(err, GW_ERROR_USAGE, "the limit of CPU time cannot be set");
}

bool cli_limit_memory(uint64_t bytes, struct gw_error *err) {
  if (!limit(RLIMIT_CORE, 0, err)) return false;
  return has_shadow_memory || (limit(RLIMIT_AS, bytes, err) && limit(RLIMIT_FSIZE, LARGEST_ARTIFACT, err));
}

void cli_be_nice(void) { setpriority(PRIO_PROCESS, 0, NICE); }
