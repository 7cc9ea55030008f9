/* What is said about a trap: on the host's side, behind the fiber, where one may allocate and search. */
#include "runtime/report.h"

#include "base/error.h"
#include "runtime/instance.h"

#include <stdio.h>

/* " in function $f (module m)" into `out`. */
static void describe_place(const struct gw_instance *instance, uint32_t func, char *out, size_t size) {
  char name[96], module_name[64];
  if (!instance || func == GW_NO_FUNC) return;
  const struct module *m = &instance->module->decoded;
  int n = snprintf(out, size, " in function %s", func_display_name(m, func, name, sizeof name));
  if (m->name.size && n > 0 && (size_t)n < size)
    snprintf(out + n, size - (size_t)n, " (module %s)", gw_module_name(instance->module, module_name, sizeof module_name));
}

/* An exception that nobody caught has its place from where it was thrown. */
static bool find_precise(const struct gw_store *store, bool is_brief, struct precise_place *at) {
  bool is_exception = store->trap.code == GW_TRAP_EXCEPTION;
  if (is_brief) return precise_find_func(store, is_exception ? store->trap.pc : 0, at);
  if (is_exception) return precise_find(store, store->trap.pc, at);
  return precise_backtrace(store, at, 1) > 0;
}

static void report(const struct gw_store *store, bool is_brief, struct gw_error *err) {
  const struct trap *t = &store->trap;
  const struct gw_instance *instance = t->instance;
  uint32_t func = instance ? t->func : GW_NO_FUNC;
  struct precise_place at = {.offset = GW_NO_OFFSET};
  if (store->options.tier == GW_TIER_MIXED && !instance && t->pc) instance = trap_find_instance(store, t->pc - 1, &func);
  if (store->options.tier != GW_TIER_FAST && !instance && find_precise(store, is_brief, &at)) {
    instance = at.instance;
    func = at.func;
  }
  if (!instance && t->pc) instance = trap_find_instance(store, t->pc - 1, &func); /* a return address: the call lies before it */
  char place[192] = "", offset[32] = "", address[80] = "";
  describe_place(instance, func, place, sizeof place);
  if (at.offset != GW_NO_OFFSET) snprintf(offset, sizeof offset, " at byte 0x%llx", (unsigned long long)at.offset);
  if (t->memory)
    snprintf(address, sizeof address, " at address 0x%llx, memory size %llu", (unsigned long long)t->address,
             (unsigned long long)t->memory->ctx.bytes);
  if (err && err->code != GW_ERROR_NONE) return; /* the first one wins */
  if (t->message[0])
    error_set(err, GW_ERROR_TRAP, "%s", t->message);
  else
    error_set(err, GW_ERROR_TRAP, "%s%s%s%s", gw_trap_message(t->code), place, offset, address);
  if (!err) return;
  err->trap = t->code;
  err->func = func;
  err->offset = at.offset;
}

void report_error(const struct gw_store *store, struct gw_error *err) { report(store, false, err); }

void report_briefly(const struct gw_store *store, struct gw_error *err) { report(store, true, err); }
