/* What walls add to a request: bench_walls. A served request is an epoll_wait, a read and a write; here a process makes those
 * three on a socket pair, with walls and without, each in a process of its own, in turn. Prints CPU nanoseconds of one such
 * round: the median of the rounds, and the median of each pair's difference. */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include "server/walls.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 41, WARM_UP = 20000, REQUESTS = 200000, REQUEST = 100, REPLY = 200 };

static double cpu_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void serve(int epoll, const int ends[2], int n) {
  char bytes[REPLY] = {0};
  struct epoll_event event;
  for (int i = 0; i < n; i++) { /* the other end is written to by us, too: that costs the same with and without */
    if (write(ends[1], bytes, REQUEST) != REQUEST || epoll_wait(epoll, &event, 1, -1) != 1 ||
        read(ends[0], bytes, sizeof bytes) != REQUEST)
      _exit(1);
  }
}

/* In a process of its own. */
static void measure(bool has_walls, double *out) {
  struct gw_error err = {0};
  int ends[2], epoll = epoll_create1(0);
  struct epoll_event wanted = {.events = EPOLLIN};
  if (epoll < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) || epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &wanted)) _exit(1);
  if (has_walls && !walls_around_server(&(struct walls_paths){.written = {"/tmp"}}, &err)) {
    fprintf(stderr, "%s\n", err.message);
    _exit(1);
  }
  serve(epoll, ends, WARM_UP);
  double start = cpu_ns();
  serve(epoll, ends, REQUESTS);
  *out = (cpu_ns() - start) / REQUESTS;
  _exit(0);
}

static bool run(bool has_walls, double *out) {
  int status;
  pid_t pid = fork();
  if (pid == 0) measure(has_walls, out);
  return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values) {
  qsort(values, ROUNDS, sizeof *values, compare);
  return values[ROUNDS / 2];
}

int main(void) {
  double *out = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  double with[ROUNDS], without[ROUNDS], more[ROUNDS];
  if (out == MAP_FAILED) return 1;
  if (walls_missing()) printf("%s\n", walls_missing());
  for (int i = 0; i < ROUNDS; i++) {
    bool is_first = i % 2;
    if (!run(is_first, out) || !run(!is_first, out + 1)) return 1;
    with[i] = out[!is_first];
    without[i] = out[is_first];
    more[i] = with[i] - without[i];
  }
  double difference = median(more);
  printf("three system calls: %.0f ns with walls, %.0f without, %.0f more\n", median(with), median(without), difference);
  return 0;
}
