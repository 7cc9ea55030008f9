/* Faults come here from the handler of traps when they are no guest's (trap.c). The other deadly signals have handlers of their
 * own, which put the old one back, so that the process dies as it would have, with its core. Everything in a handler is safe
 * there: it reads structures that its own thread holds and writes to mapped memory. SIGKILL cannot be caught, and that is right:
 * it says nothing about the function. */
#include "server/function/crash.h"

#include "base/error.h"
#include "base/heap.h"
#include "runtime/trap.h"
#include "server/function/function.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MAX_NOTES = 16, MAX_PATH = 4096 };

static const char MAGIC[] = "gwcras2";

struct notes {
  char magic[8];
  _Atomic uint32_t n; /* taken, perhaps more than there are */
  struct crash_note notes[MAX_NOTES];
};

struct crash_file {
  struct notes *notes;
};

_Thread_local const struct function *crash_running;

/* In a signal handler. */
static void write_note(int number) {
  const struct function *f = crash_running;
  struct timespec now;
  crash_running = NULL;
  if (!f || !f->crashes || !f->digest[0]) return; /* one that is not deployed yet is not there after a restart */
  struct notes *notes = f->crashes->notes;
  uint32_t i = atomic_fetch_add(&notes->n, 1);
  if (i >= MAX_NOTES) return;
  struct crash_note *note = &notes->notes[i];
  clock_gettime(CLOCK_REALTIME, &now);
  note->signal = (uint32_t)number;
  note->time_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
  memcpy(note->name, f->name, sizeof note->name);
  memcpy(note->digest, f->digest, sizeof note->digest);
  note->is_complete = 1;
}

/* --- signals that are never a guest's -------------------------------------------------------------------------------- */

static const int others[] = {SIGABRT, SIGILL, SIGTRAP, SIGSYS};
enum { N_OTHERS = sizeof others / sizeof *others };
static struct sigaction previous[N_OTHERS];

/* Back to whoever handled it before: an instruction that faulted does it again, and what was sent is sent again. */
static void on_signal(int number, siginfo_t *info, void *context) {
  (void)context;
  write_note(number);
  for (size_t i = 0; i < N_OTHERS; i++)
    if (others[i] == number) sigaction(number, &previous[i], NULL);
  if (info->si_code <= 0) raise(number);
}

static void install(void) {
  struct sigaction ours = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigemptyset(&ours.sa_mask);
  for (size_t i = 0; i < N_OTHERS; i++) sigaction(others[i], &ours, &previous[i]);
  trap_on_crash(write_note);
}

/* --- the file -------------------------------------------------------------------------------------------------------- */

/* What is not of this version begins anew. */
static void prepare(struct notes *notes) {
  if (memcmp(notes->magic, MAGIC, sizeof MAGIC) == 0) return;
  memset(notes, 0, sizeof *notes);
  memcpy(notes->magic, MAGIC, sizeof MAGIC);
}

struct crash_file *crash_open(const char *directory, struct gw_error *err) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  char path[MAX_PATH];
  struct crash_file *file = heap_new(1, sizeof *file);
  snprintf(path, sizeof path, "%s/crash", directory);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  void *p = MAP_FAILED;
  if (fd >= 0 && posix_fallocate(fd, 0, sizeof *file->notes) == 0) /* a hole could have no room when it is written to */
    p = mmap(NULL, sizeof *file->notes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  int problem = errno;
  if (fd >= 0) close(fd);
  if (p == MAP_FAILED) {
    error_set(err, GW_ERROR_IO, "cannot map the file %.900s: %s", path, strerror(problem));
    free(file);
    return NULL;
  }
  file->notes = p;
  prepare(file->notes);
  pthread_once(&once, install);
  return file;
}

void crash_close(struct crash_file *file) {
  if (!file) return;
  munmap(file->notes, sizeof *file->notes);
  free(file);
}

const struct crash_note *crash_note(const struct crash_file *file, size_t i) {
  struct crash_note *note = &file->notes->notes[i];
  if (i >= MAX_NOTES || i >= atomic_load(&file->notes->n)) return NULL;
  note->name[sizeof note->name - 1] = note->digest[sizeof note->digest - 1] = 0;
  return note;
}

void crash_clear(struct crash_file *file) {
  memset(file->notes->notes, 0, sizeof file->notes->notes);
  atomic_store(&file->notes->n, 0);
}
