/* Values between JavaScript and Wasm. Numbers are converted as WebAssembly's JavaScript API does, but nothing is guessed: an i32
 * wants a number, an i64 a BigInt, text a string. */
#include "addon.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool throw_type_error(napi_env env, const char *format, ...) {
  char message[256];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  napi_throw_type_error(env, "ERR_GASWORKS_TYPE", message);
  return false;
}

/* --- to Wasm ------------------------------------------------------------------------------------------------------ */

static const char *wanted(char kind) {
  switch (kind) {
  case 'I':
  case 'U': return "a BigInt";
  case 's': return "a string";
  case 'y': return "a typed array, Buffer or ArrayBuffer";
  case 'b': return "a boolean";
  default: return "a number";
  }
}

char *convert_string(napi_env env, napi_value value) {
  size_t size;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &size)) return NULL;
  char *text = allocate(size + 1);
  napi_get_value_string_utf8(env, value, text, size + 1, &size);
  return text;
}

bool convert_to_wasm(napi_env env, char kind, napi_value value, union gw_value *out) {
  napi_status status = napi_generic_failure;
  double number;
  bool flag;
  switch (kind) {
  case 'i':
  case 'u': status = napi_get_value_int32(env, value, &out->i32); break;
  case 'b':
    status = napi_get_value_bool(env, value, &flag);
    if (status == napi_ok) out->u32 = flag;
    break;
  case 'I':
  case 'U': status = napi_get_value_bigint_int64(env, value, &out->i64, &flag); break;
  case 'f':
    status = napi_get_value_double(env, value, &number);
    if (status == napi_ok) out->f32 = (float)number;
    break;
  case 'F': status = napi_get_value_double(env, value, &out->f64); break;
  default: return throw_type_error(env, "values of this type do not cross between JavaScript and Wasm");
  }
  return status == napi_ok || throw_type_error(env, "the value is not %s", wanted(kind));
}

const void *convert_view(napi_env env, napi_value value, size_t *size, bool *ok) {
  bool is = false;
  void *data = NULL;
  *size = 0;
  *ok = true;
  if (napi_is_buffer(env, value, &is) == napi_ok && is && napi_get_buffer_info(env, value, &data, size) == napi_ok) return data;
  if (napi_is_arraybuffer(env, value, &is) == napi_ok && is && napi_get_arraybuffer_info(env, value, &data, size) == napi_ok)
    return data;
  *ok = false;
  return NULL;
}

/* Room for `size` more bytes, at *at of the block. */
static uint8_t *more_block(struct call *call, size_t size, uint32_t *at) {
  struct bytes *block = &call->block;
  if (size > INT32_MAX - block->size) return NULL;
  uint8_t *data = realloc(block->data, block->size + size + 1); /* a terminating zero, which text comes with */
  if (!data) return NULL;
  *at = (uint32_t)block->size;
  block->data = data;
  block->size += size;
  return data + *at;
}

static bool add_flat(struct call *call, uint32_t at, size_t size) {
  call->pointers |= UINT64_C(1) << call->n_flat;
  call->arguments[call->n_flat++].u64 = at;
  call->arguments[call->n_flat++].u64 = size;
  return true;
}

static bool add_text(napi_env env, struct call *call, napi_value value) {
  size_t size;
  uint32_t at;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &size)) return throw_type_error(env, "the value is not a string");
  uint8_t *to = more_block(call, size, &at);
  if (!to) return throw_type_error(env, "strings and bytes of a call are more than 2 GiB");
  napi_get_value_string_utf8(env, value, (char *)to, size + 1, &size);
  return add_flat(call, at, size);
}

static bool add_bytes(napi_env env, struct call *call, napi_value value) {
  size_t size;
  uint32_t at;
  bool ok;
  const void *from = convert_view(env, value, &size, &ok);
  if (!ok) return throw_type_error(env, "the value is not %s", wanted('y'));
  uint8_t *to = more_block(call, size, &at);
  if (!to) return throw_type_error(env, "strings and bytes of a call are more than 2 GiB");
  if (size) memcpy(to, from, size);
  return add_flat(call, at, size);
}

static bool add_argument(napi_env env, struct call *call, char kind, napi_value value) {
  if (kind == 's' || kind == 'j') return add_text(env, call, value);
  if (kind == 'y') return add_bytes(env, call, value);
  return convert_to_wasm(env, kind, value, &call->arguments[call->n_flat++]);
}

bool convert_arguments(napi_env env, struct call *call, const napi_value *values, size_t n) {
  const char *params = call->plan->params;
  size_t n_params = strlen(params);
  if (n != n_params) return throw_type_error(env, "%.100s takes %zu arguments, %zu are given", call->plan->name, n_params, n);
  for (size_t i = 0; i < n; i++)
    if (!add_argument(env, call, params[i], values[i])) return false;
  return true;
}

/* --- to JavaScript ------------------------------------------------------------------------------------------------ */

napi_value convert_to_js(napi_env env, char kind, union gw_value value) {
  napi_value out = NULL;
  switch (kind) {
  case 'i': napi_create_int32(env, value.i32, &out); break;
  case 'u': napi_create_uint32(env, value.u32, &out); break;
  case 'b': napi_get_boolean(env, value.u32 != 0, &out); break;
  case 'I': napi_create_bigint_int64(env, value.i64, &out); break;
  case 'U': napi_create_bigint_uint64(env, value.u64, &out); break;
  case 'f': napi_create_double(env, (double)value.f32, &out); break;
  case 'F': napi_create_double(env, value.f64, &out); break;
  default: throw_type_error(env, "values of this type do not cross between JavaScript and Wasm"); break;
  }
  return out;
}

static void free_bytes(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  free(data);
}

enum { SMALL = 4096 };

static napi_value take_buffer(napi_env env, struct call *call) {
  napi_value out = NULL;
  struct bytes *r = &call->result;
  if (r->size > SMALL && napi_create_external_buffer(env, r->size, r->data, free_bytes, NULL, &out) == napi_ok)
    r->data = NULL;
  else
    napi_create_buffer_copy(env, r->size, r->data, NULL, &out);
  return out;
}

static napi_value take_text(napi_env env, struct call *call) {
  napi_value out = NULL;
  if (napi_create_string_utf8(env, (const char *)call->result.data, call->result.size, &out) != napi_ok)
    throw_type_error(env, "the function's text of %zu bytes is longer than a string can be", call->result.size);
  return out;
}

napi_value convert_results(napi_env env, struct call *call) {
  const char *results = call->plan->results;
  size_t n = strlen(results);
  napi_value out = NULL;
  if (n == 0) napi_get_undefined(env, &out);
  if (n == 1) {
    if (results[0] == 'y') return take_buffer(env, call);
    if (results[0] == 's' || results[0] == 'j') return take_text(env, call);
    return convert_to_js(env, results[0], call->arguments[0]);
  }
  if (n > 1) napi_create_array_with_length(env, n, &out);
  for (uint32_t i = 0; n > 1 && i < n; i++) {
    napi_value item = convert_to_js(env, results[i], call->arguments[i]);
    if (!item) return NULL;
    napi_set_element(env, out, i, item);
  }
  return out;
}

/* --- errors ------------------------------------------------------------------------------------------------------- */

static const char *const codes[GW_ERROR_COUNT] = {
#define ERROR(id, exit, http, title) [GW_ERROR_##id] = "ERR_GASWORKS_" #id,
#include "gasworks/error.def"
#undef ERROR
};

static napi_value make_error(napi_env env, const char *message, size_t size, const char *code, const char *trap, double gas) {
  struct shared *shared;
  napi_value class, argv[4], error = NULL;
  napi_get_instance_data(env, (void **)&shared);
  napi_get_reference_value(env, shared->error_class, &class);
  napi_create_string_utf8(env, message, size, &argv[0]);
  napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &argv[1]);
  if (trap)
    napi_create_string_utf8(env, trap, NAPI_AUTO_LENGTH, &argv[2]);
  else
    napi_get_undefined(env, &argv[2]);
  napi_create_double(env, gas, &argv[3]);
  napi_new_instance(env, class, 4, argv, &error);
  return error;
}

napi_value convert_error(napi_env env, const struct gw_error *err, double gas) {
  const char *trap = err->code == GW_ERROR_TRAP ? gw_trap_message(err->trap) : NULL;
  return make_error(env, err->message, NAPI_AUTO_LENGTH, codes[err->code], trap, gas);
}

napi_value convert_failure(napi_env env, const struct bytes *text, double gas) {
  return make_error(env, (const char *)text->data, text->size, "ERR_GASWORKS_FUNCTION", NULL, gas);
}

static void set(napi_env env, napi_value object, const char *key, const char *text) {
  napi_value value;
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
  napi_set_named_property(env, object, key, value);
}

static void set_number(napi_env env, napi_value object, const char *key, double number) {
  napi_value value;
  napi_create_double(env, number, &value);
  napi_set_named_property(env, object, key, value);
}

napi_value convert_frames(napi_env env, const struct gw_frame *frames, size_t n) {
  napi_value list, frame;
  napi_create_array_with_length(env, n, &list);
  for (uint32_t i = 0; i < n; i++) {
    napi_create_object(env, &frame);
    set(env, frame, "function", frames[i].function);
    if (frames[i].offset != GW_NO_OFFSET) set_number(env, frame, "offset", (double)frames[i].offset);
    if (frames[i].file[0]) set(env, frame, "file", frames[i].file);
    if (frames[i].line) set_number(env, frame, "line", frames[i].line);
    napi_set_element(env, list, i, frame);
  }
  return list;
}
