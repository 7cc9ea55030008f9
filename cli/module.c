#include "cli/module.h"

#include "base/error.h"
#include "frontend/module.h"

#include <stdio.h>
#include <string.h>

static bool begins(const void *bytes, size_t size, const char *start, size_t n) {
  return size >= n && memcmp(bytes, start, n) == 0;
}

void cli_name_file(struct gw_error *err, const char *path) {
  struct gw_error named = *err;
  if (err->code == GW_ERROR_NONE || err->code == GW_ERROR_USAGE || err->code == GW_ERROR_IO) return;
  snprintf(named.message, sizeof named.message, "%.100s: %.200s", strcmp(path, "-") ? path : "standard input", err->message);
  *err = named;
}

/* --- imports ------------------------------------------------------------------------------------------------------ */

/* By the beginning of the import's module and of its name; the first that fits. */
static const struct {
  const char *module, *field, *words;
} toolchains[] = {
    {"env", "__syscall_", "Emscripten's; build with -sSTANDALONE_WASM, or for WASI with wasi-sdk"},
    {"env", "invoke_", "Emscripten's; build with -sSTANDALONE_WASM and -fwasm-exceptions"},
    {"env", "emscripten_", "Emscripten's; build with -sSTANDALONE_WASM, or for WASI with wasi-sdk"},
    {"env", "_emscripten_", "Emscripten's; build with -sSTANDALONE_WASM, or for WASI with wasi-sdk"},
    {"gojs", "", "Go's for a JavaScript host; build with GOOS=wasip1 GOARCH=wasm"},
    {"go", "", "Go's for a JavaScript host; build with GOOS=wasip1 GOARCH=wasm"},
    {"__wbindgen_", "", "wasm-bindgen's for a JavaScript host; build for wasm32-wasip1 without it"},
    {"wbg", "", "wasm-bindgen's for a JavaScript host; build for wasm32-wasip1 without it"},
    {"", "__wbindgen_", "wasm-bindgen's for a JavaScript host; build for wasm32-wasip1 without it"},
    {"", "__wbg_", "wasm-bindgen's for a JavaScript host; build for wasm32-wasip1 without it"},
    {"wasi:", "", "WASI preview 2's; build for wasm32-wasip1 (preview 1)"},
    {"wasi_unstable", "", "no function of WASI preview 0; build for wasm32-wasip1 (preview 1)"},
    {"wasi_snapshot_preview1", "", "no function of WASI preview 1"},
    {"gasworks", "", "no function of this version of Gasworks (docs/interface.md)"},
};

static bool name_begins(struct name name, const char *start) { return begins(name.bytes, name.size, start, strlen(start)); }

/* "go" and the like are whole names: only what ends in a mark is a beginning. */
static bool module_fits(struct name name, const char *wanted) {
  size_t n = strlen(wanted);
  bool is_beginning = !n || strchr(":_", wanted[n - 1]);
  return name_begins(name, wanted) && (is_beginning || name.size == n);
}

static const char *find_toolchain(const struct import *i) {
  for (size_t k = 0; k < sizeof toolchains / sizeof *toolchains; k++)
    if (module_fits(i->module, toolchains[k].module) && name_begins(i->field, toolchains[k].field)) return toolchains[k].words;
  return NULL;
}

static bool refuse(const struct import *first, uint32_t n, const char *words, struct gw_error *err) {
  char more[48] = "";
  if (n > 1) snprintf(more, sizeof more, " and %u more", n - 1);
  return error_at(err, GW_ERROR_LINK, first->offset, "unknown import %.*s.%.*s%s%s%s",
                  first->module.size < 48 ? (int)first->module.size : 48, first->module.bytes,
                  first->field.size < 64 ? (int)first->field.size : 64, first->field.bytes, more, words ? ": " : "",
                  words ? words : "");
}

bool cli_check_imports(const struct gw_module *module, gw_resolve_fn resolve, void *env, struct gw_error *err) {
  const struct module *m = gw_module_decoded(module);
  const struct import *first = NULL;
  const char *words = NULL;
  uint32_t n = 0;
  for (uint32_t i = 0; i < m->n_imports; i++) {
    const struct import *import = &m->imports[i];
    struct gw_import asked = {import->module.bytes, import->field.bytes, import->module.size, import->field.size};
    struct gw_extern found = {0};
    if (resolve(env, &asked, &found)) continue;
    if (!n++) first = import;
    if (!words) words = find_toolchain(import);
  }
  return !n || refuse(first, n, words, err);
}
