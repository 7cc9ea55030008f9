/* Where an invocation trapped, for embedders. */
#include "runtime/debug/source.h"
#include "runtime/instance.h"

#include <stdio.h>

enum { MOST = 64 };

static void fill(struct gw_frame *frame, const struct precise_place *place) {
  struct source_place source = {0};
  const struct gw_instance *instance = place->instance;
  *frame = (struct gw_frame){.instance = instance, .func = place->func, .offset = place->offset};
  const struct func *func = &instance->module->decoded.funcs[place->func];
  frame->start = func->body ? (uint64_t)(func->body - instance->module->decoded.bytes) : GW_NO_OFFSET;
  func_display_name(&instance->module->decoded, place->func, frame->function, sizeof frame->function);
  if (place->offset == GW_NO_OFFSET || !source_find(instance->module, place->offset, &source, 1)) return;
  if (source.file) snprintf(frame->file, sizeof frame->file, "%s", source.file);
  frame->line = source.line;
  frame->column = source.column;
}

/* In compiled code. */
static bool find_innermost(const struct gw_store *store, struct precise_place *place) {
  const struct trap *t = &store->trap;
  *place = (struct precise_place){.instance = t->instance, .func = t->func, .offset = GW_NO_OFFSET};
  if (!place->instance && t->pc) place->instance = trap_find_instance(store, t->pc - 1, &place->func);
  return place->instance && place->func != GW_NO_FUNC;
}

size_t gw_store_backtrace(const struct gw_store *store, struct gw_frame *frames, size_t most) {
  struct precise_place places[MOST];
  size_t n;
  if (store->trap.code == GW_TRAP_NONE || store->state != RUN_NONE) return 0;
  if (store->options.tier != GW_TIER_FAST && !(store->options.tier == GW_TIER_MIXED && find_innermost(store, places)))
    n = precise_backtrace(store, places, most < MOST ? most : MOST);
  else
    n = find_innermost(store, places);
  for (size_t i = 0; i < n && i < most && i < MOST; i++) fill(&frames[i], &places[i]);
  return n;
}
