/* bench_bombs DIR: writes the compile bombs of tests/bombs.h there, as text. */
#include "tests/bombs.h"

#include <stdio.h>

int main(int argc, char **argv) {
  if (argc != 2) return fputs("usage: bench_bombs DIR\n", stderr), 2;
  for (size_t i = 0; i < BOMBS; i++) {
    char path[512];
    struct buffer text = bomb_text(i);
    snprintf(path, sizeof path, "%s/%s.wat", argv[1], bombs[i].name);
    FILE *f = fopen(path, "w");
    if (!f || fputs((const char *)text.bytes, f) < 0 || fclose(f)) return perror(path), 1;
    buffer_clear(&text);
  }
  return 0;
}
