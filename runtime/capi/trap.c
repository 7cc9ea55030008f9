/* Traps and where they happened. */
#include "base/heap.h"
#include "runtime/capi/capi.h"

#include <stdlib.h>

enum { MOST_FRAMES = 64 };

static wasm_trap_t *create(wasm_store_t *store, enum gw_trap code, const char *message, size_t size) {
  wasm_trap_t *trap = capi_new(store, CAPI_TRAP, sizeof *trap, NULL);
  trap->code = code;
  wasm_byte_vec_new(&trap->message, size, message);
  wasm_frame_vec_new_empty(&trap->trace);
  return trap;
}

wasm_trap_t *wasm_trap_new(wasm_store_t *store, const wasm_message_t *message) {
  bool has_end = message->size && !message->data[message->size - 1];
  wasm_trap_t *trap = create(store, GW_TRAP_HOST, NULL, 0);
  wasm_byte_vec_new_uninitialized(&trap->message, message->size + !has_end);
  if (message->size) memcpy(trap->message.data, message->data, message->size);
  return trap;
}

static wasm_frame_t *make_frame(wasm_store_t *store, const struct gw_frame *from) {
  wasm_frame_t *frame = heap_new(1, sizeof *frame);
  struct capi_ref *instance = from->instance ? capi_find(store, from->instance) : NULL;
  frame->instance = (wasm_instance_t *)instance;
  frame->func = from->func;
  if (from->offset != GW_NO_OFFSET) {
    frame->module_offset = from->offset;
    frame->func_offset = from->offset - from->start;
  }
  capi_delete(instance); /* it stays, as the store does */
  return frame;
}

wasm_trap_t *capi_trap(wasm_store_t *store) {
  wasm_trap_t *thrown = store->thrown;
  const struct gw_error *err = &store->last_error;
  store->thrown = NULL;
  if (thrown) return thrown;
  wasm_trap_t *trap = create(store, err->trap, err->message, strlen(err->message) + 1);
  if (err->code != GW_ERROR_TRAP) return trap;
  struct gw_frame *frames = heap_new(MOST_FRAMES, sizeof *frames);
  size_t n = gw_store_backtrace(store->store, frames, MOST_FRAMES);
  if (n > MOST_FRAMES) n = MOST_FRAMES;
  wasm_frame_vec_new_uninitialized(&trap->trace, n);
  for (size_t i = 0; i < n; i++) trap->trace.data[i] = make_frame(store, &frames[i]);
  free(frames);
  return trap;
}

void capi_trap_clear(wasm_trap_t *trap) {
  wasm_byte_vec_delete(&trap->message);
  wasm_frame_vec_delete(&trap->trace);
}

void wasm_trap_message(const wasm_trap_t *trap, wasm_message_t *out) { wasm_byte_vec_copy(out, &trap->message); }

wasm_frame_t *wasm_trap_origin(const wasm_trap_t *trap) { return trap->trace.size ? wasm_frame_copy(trap->trace.data[0]) : NULL; }

void wasm_trap_trace(const wasm_trap_t *trap, wasm_frame_vec_t *out) { wasm_frame_vec_copy(out, &trap->trace); }

enum gw_trap gw_wasm_trap_kind(const wasm_trap_t *trap) { return trap->code; }

wasm_frame_t *wasm_frame_copy(const wasm_frame_t *frame) {
  wasm_frame_t *copy = heap_new(1, sizeof *copy);
  *copy = *frame;
  return copy;
}

void wasm_frame_delete(wasm_frame_t *frame) { free(frame); }

wasm_instance_t *wasm_frame_instance(const wasm_frame_t *frame) { return frame->instance; }

uint32_t wasm_frame_func_index(const wasm_frame_t *frame) { return frame->func; }

size_t wasm_frame_func_offset(const wasm_frame_t *frame) { return frame->func_offset; }

size_t wasm_frame_module_offset(const wasm_frame_t *frame) { return frame->module_offset; }
