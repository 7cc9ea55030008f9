#include "jit/artifact/file_kind.h"

#include "base/error.h"

#include <string.h>

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

static const char *find_kind(const void *bytes, size_t size) {
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
      {8, "GASWORKS",
       "an artifact, which only `run`, `inspect` and `deploy` take: name the .wasm file that it was compiled from"},
      {4, "PK\3\4", "a zip archive: unpack it first"},
  };
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (begins(bytes, size, kinds[i].start, kinds[i].n)) return kinds[i].words;
  return is_text_form(bytes, size) ? "WebAssembly's text form: make a module of it with wat2wasm first" : NULL;
}

bool file_is_module(const void *bytes, size_t size, struct gw_error *err) {
  const char *kind = find_kind(bytes, size);
  return !kind || error_set(err, GW_ERROR_MALFORMED, "this is %s", kind);
}
