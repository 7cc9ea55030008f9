#include "base/error.h"

#include <stdio.h>

static const struct {
  int exit_code, http;
  const char *title;
} errors[] = {
#define ERROR(id, exit, http, title) [GW_ERROR_##id] = {exit, http, title},
#include "gasworks/error.def"
#undef ERROR
};

static const struct {
  int exit_code, http;
  const char *message;
} traps[] = {
#define TRAP(id, exit, http, message) [GW_TRAP_##id] = {exit, http, message},
#include "gasworks/trap.def"
#undef TRAP
};

const char *gw_error_title(enum gw_error_code code) { return errors[code].title; }

const char *gw_trap_message(enum gw_trap trap) { return traps[trap].message; }

int gw_error_exit_code(const struct gw_error *err) {
  return err->code == GW_ERROR_TRAP ? traps[err->trap].exit_code : errors[err->code].exit_code;
}

int gw_error_http_status(const struct gw_error *err) {
  return err->code == GW_ERROR_TRAP ? traps[err->trap].http : errors[err->code].http;
}

bool error_vset(struct gw_error *err, enum gw_error_code code, uint64_t offset, const char *format, va_list args) {
  if (!err || err->code != GW_ERROR_NONE) return false;
  err->code = code;
  err->offset = offset;
  err->func = GW_NO_FUNC;
  int n = vsnprintf(err->message, sizeof err->message, format, args);
  if (offset != GW_NO_OFFSET && n >= 0 && (size_t)n < sizeof err->message)
    snprintf(err->message + n, sizeof err->message - n, " (at byte 0x%llx)", (unsigned long long)offset);
  return false;
}

bool error_set(struct gw_error *err, enum gw_error_code code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  error_vset(err, code, GW_NO_OFFSET, format, args);
  va_end(args);
  return false;
}

bool error_at(struct gw_error *err, enum gw_error_code code, uint64_t offset, const char *format, ...) {
  va_list args;
  va_start(args, format);
  error_vset(err, code, offset, format, args);
  va_end(args);
  return false;
}
