/* Guest of wasi_programs.sh: what C programs do with files, directories, clocks and poll. What it prints depends on nothing but
 * the rules, so that every implementation must print the same. Runs in an empty directory /work that holds only "given" and
 * "out", a link to the directory above. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void say(const char *what, int result) { printf("%s: %s\n", what, result < 0 ? strerror(errno) : "done"); }

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void list(const char *path) {
  char *names[64];
  int n = 0;
  DIR *d = opendir(path);
  if (!d) {
    say(path, -1);
    return;
  }
  for (struct dirent *e; (e = readdir(d)) && n < 64;)
    if (e->d_name[0] != '.') names[n++] = strdup(e->d_name);
  closedir(d);
  qsort(names, (size_t)n, sizeof *names, compare);
  printf("%s:", path);
  for (int i = 0; i < n; i++) printf(" %s", names[i]);
  puts("");
}

static void write_and_read(void) {
  char text[64] = "";
  FILE *f = fopen("/work/a.txt", "w+");
  if (!f) {
    say("fopen", -1);
    return;
  }
  fprintf(f, "line %d\nline %d\n", 1, 2);
  rewind(f);
  while (fgets(text, sizeof text, f)) printf("read %s", text);
  printf("at %ld\n", ftell(f));
  fclose(f);
  f = fopen("/work/a.txt", "a");
  if (f) fputs("line 3\n", f), fclose(f);
  int fd = open("/work/a.txt", O_RDWR);
  say("pwrite", (int)pwrite(fd, "LINE", 4, 7));
  printf("pread %d %.4s\n", (int)pread(fd, text, 4, 7), text);
  printf("lseek %d\n", (int)lseek(fd, -1, SEEK_END));
  say("lseek", (int)lseek(fd, -100, SEEK_CUR));
  say("ftruncate", ftruncate(fd, 10));
  say("fsync", fsync(fd));
  struct stat st;
  if (fstat(fd, &st) == 0) printf("%d bytes, %d\n", (int)st.st_size, S_ISREG(st.st_mode));
  close(fd);
  fd = open("/work/a.txt", O_RDONLY);
  say("write to what is read", (int)write(fd, "x", 1));
  close(fd);
}

static void directories(void) {
  struct stat st;
  char target[64] = "";
  say("mkdir", mkdir("/work/dir", 0700));
  say("mkdir again", mkdir("/work/dir", 0700));
  say("create", close(open("/work/dir/file", O_CREAT | O_EXCL | O_WRONLY, 0600)));
  say("create again", open("/work/dir/file", O_CREAT | O_EXCL | O_WRONLY, 0600));
  say("rmdir", rmdir("/work/dir"));
  say("unlink a directory", unlink("/work/dir"));
  say("rename", rename("/work/dir/file", "/work/dir/other"));
  say("link", link("/work/dir/other", "/work/dir/third"));
  if (stat("/work/dir/third", &st) == 0) printf("%d links\n", (int)st.st_nlink);
  say("symlink", symlink("dir/other", "/work/soft"));
  printf("readlink %d %s\n", (int)readlink("/work/soft", target, sizeof target), target);
  if (lstat("/work/soft", &st) == 0) printf("a link: %d\n", S_ISLNK(st.st_mode));
  if (stat("/work/soft", &st) == 0) printf("a file: %d\n", S_ISREG(st.st_mode));
  list("/work");
  list("/work/dir");
  list("/work/given");
  struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1100000000}};
  say("utimens", utimensat(AT_FDCWD, "/work/dir/other", times, 0));
  say("unlink", unlink("/work/dir/other"));
  say("unlink", unlink("/work/dir/third"));
  say("open the dangling", open("/work/soft", O_RDONLY));
  say("unlink", unlink("/work/soft"));
  say("rmdir", rmdir("/work/dir"));
  say("rmdir again", rmdir("/work/dir"));
}

static void ways_out(void) {
  say("../secret", open("/work/../secret", O_RDONLY));
  say("out/secret", open("/work/out/secret", O_RDONLY));
  say("create out/x", open("/work/out/x", O_CREAT | O_WRONLY, 0600));
  say("mkdir out/x", mkdir("/work/out/x", 0700));
  say("rename to out/given", rename("/work/given", "/work/out/given"));
  say("/etc/passwd", open("/etc/passwd", O_RDONLY));
  say("a/../given", close(open("/work/./given", O_RDONLY)));
}

static void clocks_and_poll(void) {
  struct timespec before, after, pause = {.tv_nsec = 2000000};
  unsigned char bytes[2][16] = {{0}, {0}};
  clock_gettime(CLOCK_MONOTONIC, &before);
  say("nanosleep", nanosleep(&pause, NULL));
  clock_gettime(CLOCK_MONOTONIC, &after);
  long long ns = (after.tv_sec - before.tv_sec) * 1000000000ll + after.tv_nsec - before.tv_nsec;
  printf("slept: %d\n", ns >= 1000000);
  clock_gettime(CLOCK_REALTIME, &after);
  printf("this century: %d\n", after.tv_sec >= 946684800);
  say("getentropy", getentropy(bytes[0], 16) | getentropy(bytes[1], 16));
  printf("random: %d\n", memcmp(bytes[0], bytes[1], 16) != 0);
  struct pollfd input = {.fd = 0, .events = POLLIN};
  printf("poll: %d\n", poll(&input, 1, 10000));
  printf("nothing to poll: %d\n", poll(NULL, 0, 1));
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) printf("argument %s\n", argv[i]);
  printf("KEY=%s\n", getenv("KEY") ? getenv("KEY") : "");
  write_and_read();
  directories();
  ways_out();
  clocks_and_poll();
  return 3;
}
