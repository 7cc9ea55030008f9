/* Guest of wasi_programs.sh: changes files so that a second time would show, computes for a while, changes them again, and then
 * traps if it is told so. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void append(const char *line) {
  int fd = open("/work/log", O_CREAT | O_WRONLY | O_APPEND, 0600);
  if (write(fd, line, strlen(line)) < 0) abort();
  close(fd);
}

static int compute(void) {
  unsigned sum = 1;
  for (int i = 0; i < 20000000; i++) sum = sum * 1664525 + 1013904223 + (sum >> 16);
  return (int)sum & 1;
}

int main(int argc, char **argv) {
  int fd = open("/work/once", O_CREAT | O_EXCL | O_WRONLY, 0600);
  if (fd < 0) append("again!\n");
  append("one\n");
  append(compute() ? "odd\n" : "even\n");
  if (rename("/work/once", "/work/moved")) append("moved again!\n");
  if (argc > 1) __builtin_trap();
  (void)argv;
  return 0;
}
