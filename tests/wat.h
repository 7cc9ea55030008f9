/* For unit tests: modules in the text format, assembled by wat2wasm when the test runs. */
#ifndef TESTS_WAT_H
#define TESTS_WAT_H

#include "base/buffer.h"
#include "gasworks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAT_FEATURES                                                                                        \
  "--enable-extended-const --enable-exceptions --enable-tail-call --enable-relaxed-simd --enable-memory64 " \
  "--enable-multi-memory"

static inline void wat_fail(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

/* The bytes of `text`'s module, clear them; the program ends when it does not assemble. */
static inline struct buffer wat_bytes(const char *text) {
  char source[] = "/tmp/gasworks-wat-XXXXXX", binary[64], command[512];
  int fd = mkstemp(source);
  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) wat_fail("wat", "cannot write a temporary file");
  close(fd);
  snprintf(binary, sizeof binary, "%s.wasm", source);
  snprintf(command, sizeof command, "wat2wasm --debug-names " WAT_FEATURES " %s -o %s", source, binary);
  if (system(command) != 0) wat_fail("wat2wasm", text);
  struct buffer bytes = {0};
  struct gw_error err = {0};
  if (!buffer_read_file(&bytes, binary, 16 << 20, &err)) wat_fail("wat", err.message);
  unlink(source);
  unlink(binary);
  return bytes;
}

/* The module of `text`; the program ends when it does not assemble or validate. */
static inline struct gw_module *wat_module(struct gw_engine *engine, const char *text) {
  struct buffer bytes = wat_bytes(text);
  struct gw_error err = {0};
  struct gw_module *module = gw_module_create(engine, bytes.bytes, bytes.size, &err);
  if (!module) wat_fail(text, err.message);
  buffer_clear(&bytes);
  return module;
}

/* A trap's message without the offset that only the precise tier knows. */
static inline const char *wat_message(struct gw_error *err) {
  char *at = strstr(err->message, " at byte 0x");
  if (!at) return err->message;
  char *end = at + 11 + strspn(at + 11, "0123456789abcdef");
  memmove(at, end, strlen(end) + 1);
  return err->message;
}

/* Tests that are built again for the precise tier, or the baseline tier: every store they make is of it. */
#ifdef TEST_PRECISE
static inline struct gw_store *precise_store_create(struct gw_engine *engine, const struct gw_store_options *options,
                                                    struct gw_error *err) {
  struct gw_store_options precise = options ? *options : (struct gw_store_options){0};
#ifdef TEST_BASELINE
  precise.tier = GW_TIER_BASELINE;
#else
  precise.tier = GW_TIER_PRECISE;
#endif
  return gw_store_create(engine, &precise, err);
}
#define gw_store_create precise_store_create
enum { IS_PRECISE = 1 };
#else
enum { IS_PRECISE = 0 };
#endif

#endif
