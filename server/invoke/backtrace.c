#include "server/invoke/backtrace.h"

#include "frontend/module.h"
#include "runtime/debug/source.h"
#include "runtime/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MOST_CALLS = 16, MOST_INLINED = 8, NAME_SIZE = 128 };

/* Names and paths are the module's: control characters stay out of terminals and logs. What is cut says so. */
static void append_safe(struct buffer *out, const char *text, size_t most) {
  size_t i = 0;
  for (; text[i] && i < most; i++) {
    unsigned char c = (unsigned char)text[i];
    buffer_append(out, c < 32 || c == 127 ? "?" : text + i, 1);
  }
  if (text[i]) buffer_append_string(out, "...");
}

static void append_line(struct buffer *out, const struct source_place *s) {
  enum { MOST_PATH = 200 };
  if (!s->file) return;
  buffer_append_string(out, ", ");
  append_safe(out, s->file, MOST_PATH);
  if (s->line) buffer_format(out, ":%" PRIu32, s->line);
  if (s->line && s->column) buffer_format(out, ":%" PRIu32, s->column);
}

/* Compilers' own spelling of C++ and Rust names: what the debug information calls the function reads better. */
static bool is_mangled(const struct name *name) {
  return name->size > 2 && (memcmp(name->bytes, "_ZN", 3) == 0 || memcmp(name->bytes, "_R", 2) == 0);
}

/* Without names a trace is numbers, and the reader should know why. */
static bool has_names(const struct module *m) {
  for (uint32_t i = m->n_imported_funcs; i < m->n_funcs; i++)
    if (m->funcs[i].name.size) return true;
  return false;
}

/* Whether a place is in a standard library or a package, not in what the user wrote: Rust's (as rustup and as Debian have it),
 * wasi-libc's, AssemblyScript's, those of cargo. Without debug information only AssemblyScript's names tell, by their file. */
static bool is_library(const char *file, const char *function) {
  static const char *const begins[] = {"library/",    "/rustc/", "/usr/src/rustc-", "./libc-", "./dlmalloc/",
                                       "./emmalloc/", "~lib/"};
  if (!file && !strchr(function, '/')) return true;
  if (!file) file = function;
  for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
    if (strncmp(file, begins[i], strlen(begins[i])) == 0) return true;
  return strstr(file, "/.cargo/registry/") != NULL;
}

struct report {
  struct buffer *out;
  struct buffer own; /* the first line of the user's code, unless that is where it trapped; of size 0 until it is found */
  bool is_in_own;    /* it trapped there */
};

/* A place of the user's behind places in libraries, where the reader wants to look first. */
static void note_own(struct report *r, const char *function, const struct source_place *source, bool is_first) {
  if (r->is_in_own || r->own.size || is_library(source ? source->file : NULL, function)) return;
  r->is_in_own = is_first;
  if (is_first) return;
  buffer_append_string(&r->own, "  your code: ");
  append_safe(&r->own, function, NAME_SIZE);
  if (source) append_line(&r->own, source);
  buffer_append_string(&r->own, "\n");
}

static void append_call(const struct precise_place *place, size_t index, struct report *r) {
  char name[NAME_SIZE + 2]; /* one more than is shown, so that a cut is seen */
  struct source_place sources[MOST_INLINED];
  struct gw_module *module = gw_instance_module(place->instance);
  const struct module *m = gw_module_decoded(module);
  size_t n = source_find(module, place->offset, sources, MOST_INLINED);
  func_display_name(m, place->func, name, sizeof name);
  bool is_named = m->funcs[place->func].name.size && !is_mangled(&m->funcs[place->func].name),
       is_inlined = n > 1 && sources[0].function;
  const char *function = is_inlined || (n == 1 && !is_named && sources[0].function) ? sources[0].function : name;
  buffer_format(r->out, "  %2zu: ", index);
  append_safe(r->out, function, NAME_SIZE);
  buffer_format(r->out, " at byte 0x%" PRIx64, place->offset);
  if (n) append_line(r->out, &sources[0]);
  buffer_append_string(r->out, "\n");
  note_own(r, function, n ? &sources[0] : NULL, index == 0);
  for (size_t i = 1; i < n; i++) {
    bool is_last = i + 1 == n;
    function = (is_last && is_named) || !sources[i].function ? name : sources[i].function;
    buffer_append_string(r->out, "      inlined into ");
    append_safe(r->out, function, NAME_SIZE);
    append_line(r->out, &sources[i]);
    buffer_append_string(r->out, "\n");
    note_own(r, function, &sources[i], false);
  }
}

void backtrace_append_source(const struct precise_place *place, struct buffer *out) {
  struct source_place source;
  if (source_find(gw_instance_module(place->instance), place->offset, &source, 1)) append_line(out, &source);
}

void backtrace_append(const struct gw_store *store, struct buffer *out) {
  struct precise_place places[MOST_CALLS];
  struct buffer calls = {0};
  struct report r = {.out = &calls};
  size_t n = precise_backtrace(store, places, MOST_CALLS);
  for (size_t i = 0; i < n && i < MOST_CALLS; i++) append_call(&places[i], i, &r);
  buffer_append(out, r.own.bytes, r.own.size);
  buffer_append(out, calls.bytes, calls.size);
  buffer_clear(&r.own);
  buffer_clear(&calls);
  if (n > MOST_CALLS) buffer_format(out, "  ... %zu more\n", n - MOST_CALLS);
  if (n && !has_names(gw_module_decoded(gw_instance_module(places[0].instance))))
    buffer_append_string(out,
                         "  (the module has no names: they were stripped, or wasm-opt dropped them; see docs/debugging.md)\n");
}

void backtrace_complete(const struct gw_store *store, struct gw_error *err) {
  struct gw_error full = {0};
  report_error(store, &full);
  if (full.code == err->code && full.trap == err->trap) *err = full;
}
