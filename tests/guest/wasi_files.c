/* Guest of test_guest.c: what C programs do with arguments, files and streams. /data holds a file, a directory and two links. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void print_open(const char *path, int flags) {
  int fd = open(path, flags, 0600);
  printf("%s: %s\n", path, fd >= 0 ? "open" : strerror(errno));
  if (fd >= 0) close(fd);
}

int main(int argc, char **argv) {
  printf("%d arguments, %s, KEY=%s\n", argc, argv[1], getenv("KEY"));
  char text[64] = "";
  FILE *file = fopen("/data/file", "r");
  if (file && fgets(text, sizeof text, file) && fseek(file, 2, SEEK_SET) == 0) printf("%s, third byte %c\n", text, fgetc(file));
  if (file) fclose(file);
  struct stat st;
  if (stat("/data/link", &st) == 0) printf("%d bytes\n", (int)st.st_size);
  int entries = 0;
  DIR *directory = opendir("/data");
  while (directory && readdir(directory)) entries++;
  if (directory) closedir(directory);
  printf("%d entries\n", entries);
  print_open("/data/link", O_RDONLY);
  print_open("/data/sub/../../secret", O_RDONLY);
  print_open("/data/up", O_RDONLY);
  print_open("/other", O_RDONLY);
  print_open("/data/new", O_WRONLY | O_CREAT);
  printf("unlink: %s\n", unlink("/data/file") ? strerror(errno) : "done");
  while (fgets(text, sizeof text, stdin)) printf("> %s", text);
  fprintf(stderr, "done\n");
  return 7;
}
