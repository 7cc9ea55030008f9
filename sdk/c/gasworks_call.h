/* Functions in C that a host calls by name with strings and bytes, as Gasworks' Node.js package does:
 *
 *   #include "gasworks_call.h"
 *   GW_EXPORT(greet, "(str)->str") uint64_t greet(const char *name, size_t size) { ... return gw_give(text, text_size); }
 *
 * Signatures are of i32 u32 bool i64 u64 f32 f64 str bytes json. A str, bytes or json parameter is an address and a size, without
 * a terminating zero, valid until the function returns. Such a result is what gw_give returned, or gw_give_error where the
 * signature ends in "!" (results may be none then: "(str)->!").
 *
 * Functions of the host that take strings or bytes: GW_HOST(env, fetch, "(str)->str") size_t fetch(const char *url, size_t size);
 * what returns a str, bytes or json returns its size, and gw_take copies it.
 *
 *   clang-22 --target=wasm32-wasi -Wno-deprecated --sysroot=/usr -O3 --no-wasm-opt -mexec-model=reactor -I sdk/c FILE.c -o
 * FILE.wasm
 *
 * A file of the program that includes this defines gasworks_alloc and gasworks_free; only one may. */
#ifndef GASWORKS_CALL_H
#define GASWORKS_CALL_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define GW_LINE(text) __asm__(".section .custom_section.gasworks.abi,\"\",@\n.ascii \"" text "\\n\"\n");
#define GW_EXPORT(name, signature) GW_LINE(#name signature) __attribute__((export_name(#name)))
#define GW_HOST(module, name, signature) \
  GW_LINE("import " #module "." #name signature) __attribute__((import_module(#module), import_name(#name)))

/* Copies what the last call of a host function gave, all of it, to `out`. */
__attribute__((import_module("gasworks_abi"), import_name("take"))) void gw_take(void *out);

__attribute__((export_name("gasworks_alloc"))) void *gasworks_alloc(size_t size) {
  void *place = malloc(size);
  if (!place) __builtin_trap();
  return place;
}

__attribute__((export_name("gasworks_free"))) void gasworks_free(void *place, size_t size) {
  (void)size;
  free(place);
}

/* Hands over `size` bytes that malloc made; the caller of the function frees them. */
static inline uint64_t gw_give(void *bytes, size_t size) { return (uint64_t)size << 32 | (uintptr_t)bytes; }

/* The function has failed: the text of its error, copied. */
static inline uint64_t gw_give_error(const char *text) {
  size_t size = strlen(text);
  return gw_give(memcpy(gasworks_alloc(size), text, size), size) | UINT64_C(1) << 63;
}

#endif
