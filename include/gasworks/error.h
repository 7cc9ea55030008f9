/* Errors and traps as values. */
#ifndef GASWORKS_ERROR_H
#define GASWORKS_ERROR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

enum gw_error_code {
#define ERROR(id, exit, http, title) GW_ERROR_##id,
#include "gasworks/error.def"
#undef ERROR
  GW_ERROR_COUNT
};

enum gw_trap {
#define TRAP(id, exit, http, message) GW_TRAP_##id,
#include "gasworks/trap.def"
#undef TRAP
  GW_TRAP_COUNT
};

#define GW_NO_OFFSET UINT64_MAX
#define GW_NO_FUNC UINT32_MAX

/* One error with its place. Zero-initialise before use; the first error recorded wins, so that a chain of
 * calls may be checked once at its end. `message` is one sentence and already names the place. */
struct gw_error {
  enum gw_error_code code;
  enum gw_trap trap; /* when code is GW_ERROR_TRAP */
  uint64_t offset;   /* byte offset in the module, or GW_NO_OFFSET */
  uint32_t func;     /* function index, or GW_NO_FUNC */
  char message[320];
};

/* Static strings and numbers from the tables; `code` must be in range. */
const char *gw_error_title(enum gw_error_code code);
int gw_error_exit_code(const struct gw_error *err);
int gw_error_http_status(const struct gw_error *err);
const char *gw_trap_message(enum gw_trap trap);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
