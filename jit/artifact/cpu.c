#include "jit/artifact/cpu.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/platform/x86.h>

/* libc has asked the CPU at its start; asking again is slow under hypervisors. */
void cpu_host_name(char *out, size_t size) {
  enum { N_LEAVES = CPUID_INDEX_14_ECX_0 + 1 };
  unsigned active[N_LEAVES][4] = {0};
  unsigned char digest[16];
  char hex[2 * sizeof digest + 1];
  for (unsigned i = 0; i < N_LEAVES; i++) {
    const struct cpuid_feature *leaf = __x86_get_cpuid_feature_leaf(i);
    memcpy(active[i], leaf->active_array, sizeof active[i]);
  }
  crypto_generichash(digest, sizeof digest, (const unsigned char *)active, sizeof active, NULL, 0);
  sodium_bin2hex(hex, sizeof hex, digest, sizeof digest);
  snprintf(out, size, "host-%s", hex);
}

static int find(const char *name) {
  static const char *const names[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
  for (int i = 0; i < 3; i++)
    if (strcmp(name, names[i]) == 0) return i;
  return -1;
}

bool cpu_is_known(const char *name) { return find(name) >= 0; }

bool cpu_runs(const char *name) {
  switch (find(name)) {
  case 0: return __builtin_cpu_supports("x86-64-v2");
  case 1: return __builtin_cpu_supports("x86-64-v3");
  case 2: return __builtin_cpu_supports("x86-64-v4");
  default: return false;
  }
}
