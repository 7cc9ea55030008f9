/* A command that does much before it looks at its request, in constructors and in main, and then spoils all of it. Says "fresh"
 * and a sum, unless it meets what an earlier request has left. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint32_t table[16384];
static volatile uint32_t seed = 12345;
static int n_requests;

__attribute__((constructor)) static void build_table(void) {
  uint32_t x = seed;
  for (uint32_t i = 0; i < 16384; i++) {
    x = x * 1664525 + 1013904223;
    table[i] = x >> 7;
  }
}

static int compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

/* The request is looked at below some calls, which go on with what they have. */
static __attribute__((noinline)) uint64_t look(int depth, const char **query, double x) {
  if (depth == 0) {
    *query = getenv("QUERY_STRING");
    return 1;
  }
  return look(depth - 1, query, x * 1.25) + (uint64_t)x;
}

static void act(const char *query, uint32_t *copy) {
  uint64_t noise = 0;
  if (!strcmp(query, "trap")) __builtin_trap();
  if (!strcmp(query, "fault")) noise += *(volatile uint32_t *)(uintptr_t)0x7ffffff0;
  if (!strcmp(query, "random")) {
    getentropy(&noise, sizeof noise);
    noise = *(volatile uint32_t *)(uintptr_t)(0x70000000 + (noise & 0xffffff));
  }
  if (!strcmp(query, "loop"))
    for (;;) seed++;
  if (!strcmp(query, "exit")) exit(3);
  if (!strcmp(query, "long"))
    for (int i = 0; i < 30000; i++) puts("X-Line: 0123456789012345678901234567890123456789");
  if (!strcmp(query, "file")) {
    FILE *file = fopen("/file", "r");
    char line[40] = "";
    if (file && fgets(line, sizeof line, file)) printf("X-File: %s", line);
  }
  if (!strcmp(query, "grow")) memset(malloc(1 << 20), 7, 1 << 20);
  if (!strcmp(query, "all")) memset(copy, 9, sizeof table);
}

int main(int argc, char **argv) {
  uint32_t *copy = malloc(sizeof table);
  const char *query = NULL;
  char body[100];
  if (!copy || argc != 1) return 1;
  memcpy(copy, table, sizeof table);
  qsort(copy, 16384, sizeof *copy, compare);
  uint64_t sum = look(10, &query, 3.5);
  for (uint32_t i = 0; i < 16384; i += 7) sum = sum * 31 + copy[i] + table[i];
  size_t n = fread(body, 1, sizeof body, stdin);
  act(query ? query : "", copy);
  printf("Content-Type: text/plain\n\n%s %s %llu %.*s\n", n_requests++ || seed != 12345 ? "used" : "fresh", argv[0],
         (unsigned long long)sum, (int)n, body);
  for (uint32_t i = 0; i < 16384; i += 999) table[i] = copy[i] = 0;
  seed++;
  fprintf(stderr, "%d\n", n_requests);
  return 0;
}
