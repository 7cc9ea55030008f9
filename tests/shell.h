/* For tests of programs: what a shell command prints, and files for them. */
#ifndef TESTS_SHELL_H
#define TESTS_SHELL_H

#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

/* Standard output and error of `sh -c COMMAND`, NUL-terminated; clear it. `exit_code` may be NULL. */
__attribute__((format(printf, 2, 3))) static inline struct buffer shell(int *exit_code, const char *format, ...) {
  struct buffer command = {0}, out = {0};
  char text[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  buffer_format(&command, "exec 2>&1; %s", text);
  buffer_append(&command, "", 1);
  FILE *pipe = popen((const char *)command.bytes, "r");
  if (!pipe) abort();
  for (size_t got = 1; got > 0; out.size += got) got = fread(buffer_reserve(&out, 4096), 1, 4096, pipe);
  int status = pclose(pipe);
  if (exit_code) *exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  buffer_append(&out, "", 1);
  buffer_clear(&command);
  return out;
}

/* Path of the file with these bytes, until the next call. */
static inline const char *write_file_in(const char *directory, const char *name, const void *bytes, size_t size) {
  static char path[128];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(bytes, 1, size, f) != size || fclose(f)) abort();
  return path;
}

#endif
