/* Options of fuzzers of random modules: --seed N, --count N, --seconds N, and one of its own. */
#ifndef TESTS_FUZZ_OPTIONS_H
#define TESTS_FUZZ_OPTIONS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct fuzz_options {
  uint64_t seed, count, seconds; /* 1, all and 20 unless told; seconds 0 with a count: no limit */
  const char *own;               /* the value of `name`, or NULL */
};

/* Ends the program, with a word, at what is none. */
static inline struct fuzz_options fuzz_parse(int argc, char **argv, const char *name) {
  struct fuzz_options o = {.seed = 1, .count = UINT64_MAX};
  for (int i = 1; i < argc; i += 2) {
    const char *value = argv[i + 1];
    if (value && !strcmp(argv[i], "--seed")) {
      o.seed = strtoull(value, NULL, 10);
    } else if (value && !strcmp(argv[i], "--count")) {
      o.count = strtoull(value, NULL, 10);
    } else if (value && !strcmp(argv[i], "--seconds")) {
      o.seconds = strtoull(value, NULL, 10);
    } else if (value && !strcmp(argv[i], name)) {
      o.own = value;
    } else {
      fprintf(stderr, "usage: %s [--seed N] [--count N] [--seconds N] [%s VALUE]\n", argv[0], name);
      exit(2);
    }
  }
  if (!o.seconds && o.count == UINT64_MAX) o.seconds = 20;
  return o;
}

/* When to stop; 0: never. */
static inline time_t fuzz_end(const struct fuzz_options *o) { return o->seconds ? time(NULL) + (time_t)o->seconds : 0; }

#endif
