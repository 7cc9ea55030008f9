/* Built with: clang-22 --target=wasm32-wasi --sysroot=/usr -O2 -o program.wasm program.c */
#include <stdio.h>
#include <string.h>

__attribute__((noinline)) static int hash(const char *s) {
  int h = 5381;
  for (size_t i = 0; i < strlen(s); i++) h = h * 33 ^ s[i];
  return h;
}

int main(int argc, char **argv) {
  for (int i = 0; i < argc; i++)
    if (hash(argv[i]) & 1) puts(argv[i]);
  return argc % 3;
}
