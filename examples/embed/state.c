/* State from C: counts its own runs, durably. cc state.c $(pkg-config --cflags --libs gasworks); ./a.out DIRECTORY */
#include <gasworks_state.h>
#include <stdio.h>
#include <string.h>

static bool count(void *env, struct gw_txn *txn, struct gw_error *err) {
  uint64_t *n = (uint64_t *)env;
  const void *value;
  size_t size;
  int found = gw_txn_get(txn, "runs", 4, &value, &size, err);
  if (found < 0) return false;
  *n = 0;
  if (found && size == sizeof *n) memcpy(n, value, size);
  ++*n;
  return gw_txn_set(txn, "runs", 4, n, sizeof *n, err); /* where somebody else counts meanwhile, this runs again */
}

int main(int argc, char **argv) {
  struct gw_error err = {};
  uint64_t n = 0;
  struct gw_state *state = gw_state_open(argc > 1 ? argv[1] : "counter-data", NULL, &err);
  bool ok = state && gw_state_transact(state, "example", count, &n, &err);
  gw_state_close(state);
  if (!ok) return fprintf(stderr, "%s\n", err.message), 1;
  return printf("run %llu\n", (unsigned long long)n) < 0;
}
