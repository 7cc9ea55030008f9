/* agreement: what the decoder and the validator say about many modules, for comparison with V8.
 *
 *   agreement FILE      FILE: modules one behind the other, each after its size as 4 bytes, little endian
 *
 * One line per module: "ok" or the error's message. */
#include "base/buffer.h"
#include "frontend/module.h"

#include <stdio.h>
#include <string.h>

enum { MAX_FILE = 256 << 20 };

static void judge(const uint8_t *bytes, size_t size) {
  struct gw_error err = {0};
  struct module m;
  bool is_decoded = module_decode(&m, bytes, size, &err);
  if (is_decoded && module_validate(&m, &err))
    puts("ok");
  else
    puts(err.message);
  if (is_decoded) module_clear(&m);
}

int main(int argc, char **argv) {
  struct buffer file = {0};
  struct gw_error err = {0};
  uint32_t size;
  if (argc != 2 || !buffer_read_file(&file, argv[1], MAX_FILE, &err)) {
    fprintf(stderr, "agreement: %s\n", argc == 2 ? err.message : "usage: agreement FILE");
    return 2;
  }
  for (size_t at = 0; file.size - at >= sizeof size; at += size) {
    memcpy(&size, file.bytes + at, sizeof size);
    at += sizeof size;
    if (size > file.size - at) break;
    judge(file.bytes + at, size);
  }
  buffer_clear(&file);
  return 0;
}
