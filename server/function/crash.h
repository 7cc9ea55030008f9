/* Which function ran on the thread whose fault ended the process. The answer outlives the process in a mapped file of the data
 * directory, and the next one puts that function in quarantine (registry.c). Nothing is written there while all is well: threads
 * say in a variable of their own whose work they do, and the signal handler copies it. */
#ifndef SERVER_FUNCTION_CRASH_H
#define SERVER_FUNCTION_CRASH_H

#include "base/digest.h"
#include "gasworks/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct function;
struct crash_file;

enum { CRASH_NAME_SIZE = 128 };

/* One dying thread. */
struct crash_note {
  uint32_t signal;
  uint32_t is_complete;
  uint64_t time_ms; /* since 1970 */
  char name[CRASH_NAME_SIZE], digest[DIGEST_HEX_SIZE];
};

/* Maps `directory`/crash, made if missing, and catches the signals of faults from now on. NULL on failure. */
struct crash_file *crash_open(const char *directory, struct gw_error *err);
void crash_close(struct crash_file *file);
/* What earlier processes left, or NULL behind the last note. */
const struct crash_note *crash_note(const struct crash_file *file, size_t i);
/* Forgets the notes. */
void crash_clear(struct crash_file *file);

/* This thread works for `function` (NULL: for nobody) from now on; returns for whom it did. The handler reads the function, so it
 * must live until the next call. */
extern _Thread_local const struct function *crash_running __attribute__((tls_model("initial-exec")));
static inline const struct function *crash_enter(const struct function *function) {
  const struct function *before = crash_running;
  *(const struct function *volatile *)&crash_running = function;
  return before;
}

#endif
