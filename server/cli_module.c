#include "server/cli_module.h"

#include "base/error.h"
#include "frontend/module.h"

#include <stdio.h>
#include <string.h>

/* --- files -------------------------------------------------------------------------------------------------------- */

static bool begins(const void *bytes, size_t size, const char *start, size_t n) {
  return size >= n && memcmp(bytes, start, n) == 0;
}

/* "(module" or "(component", behind blanks and line comments. */
static bool is_text_form(const char *text, size_t size) {
  size_t i = 0;
  while (i < size && (memchr(" \t\r\n", text[i], 4) || (text[i] == ';' && i + 1 < size && text[i + 1] == ';')))
    if (text[i] != ';')
      i++;
    else
      while (i < size && text[i] != '\n') i++;
  return begins(text + i, size - i, "(module", 7) || begins(text + i, size - i, "(component", 10);
}

const char *cli_file_kind(const void *bytes, size_t size) {
  static const struct {
    size_t n;
    const char *start, *words;
  } kinds[] = {
      {8, "\0asm\x0d\0\1\0",
       "a WebAssembly component, and Gasworks runs core modules: build for wasm32-wasip1 (WASI preview 1), without a component "
       "step"},
      {4,
       "\x7f"
       "ELF",
       "a native program or object (ELF), not WebAssembly: compile it for a target like wasm32-wasip1"},
      {2, "\x1f\x8b", "compressed with gzip: unpack it with gunzip first"},
      {4, "\x28\xb5\x2f\xfd", "compressed with zstd: unpack it with zstd -d first"},
      {4, "PK\3\4", "a zip archive: unpack it first"},
  };
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (begins(bytes, size, kinds[i].start, kinds[i].n)) return kinds[i].words;
  return is_text_form(bytes, size) ? "WebAssembly's text form: make a module of it with wat2wasm first" : NULL;
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
