/* Guest of wasi_programs.sh: prints what usually differs from run to run and from machine to machine. */
#include <dirent.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int main(void) {
  unsigned char bytes[8];
  struct timespec now;
  struct stat st;
  for (int id = 0; id < 2; id++) {
    clock_gettime(id ? CLOCK_MONOTONIC : CLOCK_REALTIME, &now);
    printf("%lld.%09ld\n", (long long)now.tv_sec, now.tv_nsec);
  }
  getentropy(bytes, sizeof bytes);
  for (int i = 0; i < 8; i++) printf("%02x", bytes[i]);
  puts("");
  DIR *d = opendir("/work");
  for (struct dirent *e; d && (e = readdir(d));) {
    char path[300];
    snprintf(path, sizeof path, "/work/%s", e->d_name);
    if (lstat(path, &st)) continue;
    printf("%s %llu %llu %llu %lld %lld\n", e->d_name, (unsigned long long)e->d_ino, (unsigned long long)st.st_ino,
           (unsigned long long)st.st_dev, (long long)st.st_mtime, (long long)st.st_size);
  }
  fstat(0, &st);
  printf("%d %d %d\n", isatty(0), isatty(1), (int)st.st_mode);
  for (char text[1000]; (st.st_size = read(0, text, sizeof text)) > 0;) printf("%d bytes\n", (int)st.st_size);
  return 0;
}
