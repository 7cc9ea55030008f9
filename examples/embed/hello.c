/* Embeds Gasworks, in C and as C++: cc hello.c $(pkg-config --cflags --libs gasworks) */
#include <gasworks.h>
#include <stdio.h>

/* (module (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))) */
static const char add[] = "\0asm\1\0\0\0\1\7\1\x60\2\x7f\x7f\1\x7f\3\2\1\0\7\7\1\3add\0\0\12\11\1\7\0\40\0\40\1\x6a\13";

int main(void) {
  struct gw_error err = {};
  struct gw_engine_options options = {};
  union gw_value values[2] = {{20}, {22}};
  struct gw_engine *engine = gw_engine_create(&options, &err);
  struct gw_module *module = gw_module_create(engine, add, sizeof add - 1, &err);
  struct gw_store *store = gw_store_create(engine, NULL, &err);
  struct gw_instance *instance = module ? gw_instance_create(store, module, NULL, NULL, &err) : NULL;
  if (!instance || !gw_call_export(instance, "add", values, 2, &err)) return fprintf(stderr, "%s\n", err.message), 1;
  return printf("20 + 22 = %d\n", values[0].i32) < 0;
}
