/* For tests of what happens when the system has no memory. Include cmocka.h after it. */
#ifndef TESTS_SHORT_H
#define TESTS_SHORT_H

#include "base/buffer.h"
#include "gasworks/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

/* Of this process, writable. */
static inline uint64_t private_bytes(void) {
  struct buffer status = {0};
  struct gw_error err = {0};
  assert_true(buffer_read_file(&status, "/proc/self/status", 1 << 16, &err));
  buffer_append(&status, "", 1);
  const char *at = strstr((const char *)status.bytes, "VmData:");
  assert_non_null(at);
  uint64_t bytes = strtoull(at + 7, NULL, 10) << 10;
  buffer_clear(&status);
  return bytes;
}

/* From now on the system has no more than `spare` bytes to give, or as many as ever. */
static inline void be_short(uint64_t spare) {
  struct rlimit limit;
  getrlimit(RLIMIT_DATA, &limit);
  limit.rlim_cur = spare == UINT64_MAX ? limit.rlim_max : private_bytes() + spare;
  assert_int_equal(setrlimit(RLIMIT_DATA, &limit), 0);
}

#endif
