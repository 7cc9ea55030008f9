/* Loads libgasworks and interprets; LLVM comes into the process with the first compilation, and not before. */
#include <gasworks.h>
#include <stdio.h>
#include <string.h>

static const char add[] = "\0asm\1\0\0\0\1\7\1\x60\2\x7f\x7f\1\x7f\3\2\1\0\7\7\1\3add\0\0\12\11\1\7\0\40\0\40\1\x6a\13";

static int is_mapped(const char *name) {
  char line[4096];
  int found = 0;
  FILE *f = fopen("/proc/self/maps", "r");
  while (fgets(line, sizeof line, f)) found |= strstr(line, name) != NULL;
  fclose(f);
  return found;
}

static int run(enum gw_tier tier) {
  struct gw_error err = {0};
  struct gw_engine_options options = {.gas = true};
  struct gw_store_options store_options = {.tier = tier};
  union gw_value values[2] = {{.i32 = 20}, {.i32 = 22}};
  struct gw_engine *engine = gw_engine_create(&options, &err);
  struct gw_module *module = gw_module_create(engine, add, sizeof add - 1, &err);
  struct gw_store *store = gw_store_create(engine, &store_options, &err);
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
  int sum = instance && gw_call_export(instance, "add", values, 2, &err) ? values[0].i32 : -1;
  if (sum < 0) fprintf(stderr, "%s\n", err.message);
  gw_store_destroy(store);
  gw_module_release(module);
  gw_engine_destroy(engine);
  return sum;
}

/* With an argument there is no compiler, and a compilation fails. */
int main(int argc, char **argv) {
  (void)argv;
  if (run(GW_TIER_PRECISE) != 42 || is_mapped("libLLVM")) return 1;
  if (argc > 1) return run(GW_TIER_FAST) != -1;
  return run(GW_TIER_FAST) != 42 || !is_mapped("libLLVM");
}
