/* What WASI programs see of the world: arguments, environment and directories are the instance's, input is each call's. */
#include "addon.h"

#include <stdlib.h>

static napi_value at(napi_env env, napi_value array, uint32_t i) {
  napi_value value = NULL;
  napi_get_element(env, array, i, &value);
  return value;
}

static napi_value list_of(napi_env env, napi_value object, const char *key, uint32_t *n) {
  napi_value list = NULL;
  *n = 0;
  napi_get_named_property(env, object, key, &list);
  napi_get_array_length(env, list, n);
  return list;
}

static const char *const *read_strings(napi_env env, napi_value object, const char *key) {
  uint32_t n;
  napi_value list = list_of(env, object, key, &n);
  const char **out = allocate((n + 1) * sizeof *out);
  for (uint32_t i = 0; i < n; i++) out[i] = convert_string(env, at(env, list, i));
  return out;
}

static void read_directories(napi_env env, napi_value object, struct gw_wasi_options *o) {
  uint32_t n;
  napi_value list = list_of(env, object, "directories", &n);
  struct gw_wasi_directory *directories = allocate(n * sizeof *directories);
  for (uint32_t i = 0; i < n; i++) {
    napi_value row = at(env, list, i);
    directories[i].guest_path = convert_string(env, at(env, row, 0));
    directories[i].host_path = convert_string(env, at(env, row, 1));
    napi_get_value_bool(env, at(env, row, 2), &directories[i].is_readonly);
  }
  o->directories = directories;
  o->n_directories = n;
}

struct world *world_create(napi_env env, napi_value value, struct gw_error *err) {
  napi_valuetype type;
  napi_value seed;
  double number;
  if (napi_typeof(env, value, &type) || type != napi_object) return NULL;
  struct world *world = allocate(sizeof *world);
  world->options.args = read_strings(env, value, "args");
  world->options.env = read_strings(env, value, "env");
  read_directories(env, value, &world->options);
  napi_get_named_property(env, value, "seed", &seed);
  world->options.deterministic = napi_get_value_double(env, seed, &number) == napi_ok;
  if (world->options.deterministic) world->options.seed = (uint64_t)number;
  if (!err->code) world->wasi = gw_wasi_create(&world->options, err);
  return world;
}

static void free_strings(const char *const *strings) {
  for (size_t i = 0; strings[i]; i++) free((char *)strings[i]);
  free((void *)strings);
}

void world_destroy(struct world *world) {
  if (!world) return;
  gw_wasi_destroy(world->wasi);
  free_strings(world->options.args);
  free_strings(world->options.env);
  for (size_t i = 0; i < world->options.n_directories; i++) {
    free((char *)world->options.directories[i].guest_path);
    free((char *)world->options.directories[i].host_path);
  }
  free((void *)world->options.directories);
  free(world);
}

bool world_begin(struct world *world, const struct bytes *input, struct gw_error *err) {
  struct gw_wasi_options options = world->options;
  options.stdin_bytes = input->data;
  options.stdin_size = input->size;
  return gw_wasi_reset(world->wasi, &options, err);
}

static void set_buffer(napi_env env, napi_value object, const char *key, const void *bytes, size_t size) {
  napi_value buffer;
  if (napi_create_buffer_copy(env, size, bytes, NULL, &buffer) == napi_ok) napi_set_named_property(env, object, key, buffer);
}

void world_describe(napi_env env, const struct world *world, napi_value object) {
  size_t size;
  napi_value code;
  const void *bytes = gw_wasi_stdout(world->wasi, &size);
  set_buffer(env, object, "stdout", bytes, size);
  bytes = gw_wasi_stderr(world->wasi, &size);
  set_buffer(env, object, "stderr", bytes, size);
  napi_create_uint32(env, gw_wasi_exit_code(world->wasi), &code);
  napi_set_named_property(env, object, "exitCode", code);
}
