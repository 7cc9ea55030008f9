#include "cli/progress.h"

#include "base/clock.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* `env` points to the time of the start. The bar goes when all is done. */
static void show(void *env, uint64_t done, uint64_t total) {
  enum { WIDTH = 40 };
  const double patience = 0.5;
  const double *start = env;
  if (clock_seconds(CLOCK_MONOTONIC) - *start < patience) return;
  int filled = total ? (int)(done * WIDTH / total) : WIDTH;
  fprintf(stderr, "\rcompiling [%.*s%*s] %3d %%", filled, "########################################", WIDTH - filled, "",
          total ? (int)(100 * done / total) : 100);
  if (done == total) fputs("\r\033[K", stderr);
  fflush(stderr);
}

void cli_show_progress(struct gw_engine_options *options) {
  static double start;
  if (!isatty(STDERR_FILENO)) return;
  start = clock_seconds(CLOCK_MONOTONIC);
  options->progress = show;
  options->progress_env = &start;
}
