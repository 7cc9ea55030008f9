#include "runtime/host/abort.h"

#include <stdint.h>
#include <string.h>

enum { MOST_UNITS = 96, TEXT_SIZE = 3 * MOST_UNITS + 1 };

static size_t put_utf8(char *out, uint32_t c) {
  if (c < 0x80) {
    out[0] = (char)(c < 32 || c == 127 ? '?' : c);
    return 1;
  }
  if (c < 0x800) {
    out[0] = (char)(0xc0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3f));
    return 2;
  }
  out[0] = (char)(0xe0 | c >> 12);
  out[1] = (char)(0x80 | (c >> 6 & 0x3f));
  out[2] = (char)(0x80 | (c & 0x3f));
  return 3;
}

/* A string of AssemblyScript's: UTF-16, its size in bytes in the four bytes before it. Surrogates become "?". */
static const char *read_string(struct gw_instance *caller, uint32_t at, const char *otherwise, char *out) {
  const uint8_t *header = at < 4 ? NULL : gw_instance_memory(caller, at - 4, 4);
  uint32_t size;
  if (!header) return otherwise;
  memcpy(&size, header, sizeof size);
  size = size / 2 < MOST_UNITS ? size / 2 : MOST_UNITS;
  const uint8_t *units = gw_instance_memory(caller, at, 2 * (uint64_t)size);
  if (!units) return otherwise;
  size_t n = 0;
  for (uint32_t i = 0; i < size; i++) {
    uint32_t c = units[2 * i] | (uint32_t)units[2 * i + 1] << 8;
    n += put_utf8(out + n, c >= 0xd800 && c < 0xe000 ? '?' : c);
  }
  out[n] = 0;
  return out;
}

static enum gw_trap do_abort(struct gw_instance *caller, void *env, union gw_value *values) {
  char message[TEXT_SIZE], file[TEXT_SIZE];
  (void)env;
  gw_instance_fail(caller, "abort: %s, %s:%u:%u", read_string(caller, values[0].u32, "no message", message),
                   read_string(caller, values[1].u32, "?", file), values[2].u32, values[3].u32);
  return GW_TRAP_UNREACHABLE;
}

bool abort_resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func func = {"env", "abort", "_iiii", do_abort};
  (void)env;
  if (import->module_size != 3 || memcmp(import->module, "env", 3) != 0) return false;
  if (import->field_size != 5 || memcmp(import->field, "abort", 5) != 0) return false;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host.func = &func};
  return true;
}
