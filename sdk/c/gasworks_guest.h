/* Gasworks functions in C: the host functions of module "gasworks". A function exports `handle`:
 *
 *   #include "gasworks_guest.h"
 *   GW_HANDLER(void) { gw_reply("hello\n", 6); }
 *
 * Build with
 *
 *   clang-22 --target=wasm32-wasi -Wno-deprecated --sysroot=/usr -O3 -g --no-wasm-opt -nostartfiles -Wl,--no-entry -I sdk/c \
 *     FILE.c -o FILE.wasm
 *
 * -g names the source line of a trap; wasm-opt, which clang calls where it is installed, would drop names. clang 22 calls
 * Debian's target by a newer name, hence -Wno-deprecated.
 *
 * Pointers are into the function's own memory; sizes are in bytes. Functions that copy out return the full size of the item and
 * copy at most `capacity` bytes of it; GW_NONE says that there is no such item. A wrong pointer traps. */
#ifndef GASWORKS_GUEST_H
#define GASWORKS_GUEST_H

#include <stddef.h>
#include <stdint.h>

#define GW_IMPORT(name) __attribute__((import_module("gasworks"), import_name(#name)))
#define GW_NONE ((size_t)-1)

/* Makes the function a tool for models (docs/mcp.md): GW_TOOL({"description": "...", "inputSchema": {...}}). Once, outside of
 * functions. */
#define GW_TEXT_(...) #__VA_ARGS__
#define GW_TEXT(...) GW_TEXT_(__VA_ARGS__)
#define GW_TOOL(...) __asm__(".section .custom_section.gasworks.tool,\"\",@\n.ascii " GW_TEXT(GW_TEXT_(__VA_ARGS__)) "\n")

/* The request. */
GW_IMPORT(request_method) size_t gw_request_method(char *out, size_t capacity);
GW_IMPORT(request_target) size_t gw_request_target(char *out, size_t capacity); /* path and query as they were sent */
GW_IMPORT(request_path) size_t gw_request_path(char *out, size_t capacity);
GW_IMPORT(request_query) size_t gw_request_query(char *out, size_t capacity);
GW_IMPORT(request_header) size_t gw_request_header(const char *name, size_t name_size, char *out, size_t capacity);
/* All headers, in their order: index 0 and on, until GW_NONE. */
GW_IMPORT(request_header_name) size_t gw_request_header_name(size_t index, char *out, size_t capacity);
GW_IMPORT(request_header_value) size_t gw_request_header_value(size_t index, char *out, size_t capacity);
GW_IMPORT(request_body_size) size_t gw_request_body_size(void);
/* Copies body[offset ...]; returns the bytes copied. */
GW_IMPORT(request_body) size_t gw_request_body(size_t offset, void *out, size_t capacity);

/* The reply: 200 and an empty body unless said otherwise. gw_reply may be called again to append. */
GW_IMPORT(reply_status) void gw_reply_status(uint32_t status);
GW_IMPORT(reply_header) void gw_reply_header(const char *name, size_t name_size, const char *value, size_t value_size);
GW_IMPORT(reply) void gw_reply(const void *bytes, size_t size);

/* State: the function's own key-value space; one invocation is one transaction. Keys of 1 to 480 bytes, values up to 1 MiB. */
GW_IMPORT(state_get) size_t gw_state_get(const void *key, size_t key_size, void *out, size_t capacity);
GW_IMPORT(state_set) void gw_state_set(const void *key, size_t key_size, const void *value, size_t value_size);
GW_IMPORT(state_delete) void gw_state_delete(const void *key, size_t key_size);
GW_IMPORT(state_exists) int32_t gw_state_exists(const void *key, size_t key_size); /* 1 or 0 */
/* Adds to the number that the value's 8 bytes are, least first, modulo 2^64; no value is 0. Never conflicts with other adds. */
GW_IMPORT(state_add) void gw_state_add(const void *key, size_t key_size, int64_t delta);
/* Values by parts, up to 1 GiB, stored in chunks of 4 KiB: what is read and written is looked at, and nothing else. */
GW_IMPORT(state_size) size_t gw_state_size(const void *key, size_t key_size); /* or GW_NONE */
/* Copies value[offset ...]; returns the bytes copied, or GW_NONE. */
GW_IMPORT(state_read) size_t gw_state_read(const void *key, size_t key_size, uint64_t offset, void *out, size_t capacity);
/* The value is made when there is none, and grows; what lies between is zeros. */
GW_IMPORT(state_write)
void gw_state_write(const void *key, size_t key_size, uint64_t offset, const void *bytes, size_t size);
GW_IMPORT(state_resize) void gw_state_resize(const void *key, size_t key_size, uint64_t size);
/* Pairs with keys from `first` to before `end` (0 bytes: no bound), at most `limit` (0: any number): for each the sizes of key
 * and value as uint32_t, then key and value, as many as have room. Returns their bytes; 0: there are none; below 0: the first one
 * needs so many. Flags: GW_SCAN_BACKWARD, GW_SCAN_KEYS (sizes of values, not the values). Of a value in chunks there is the size,
 * with GW_SCAN_LARGE, and no bytes. */
GW_IMPORT(state_scan)
int32_t gw_state_scan(const void *first, size_t first_size, const void *end, size_t end_size, uint32_t flags, uint32_t limit,
                      void *out, size_t capacity);
#define GW_SCAN_BACKWARD 1u
#define GW_SCAN_KEYS 2u
#define GW_SCAN_LARGE 0x80000000u

/* The rest. */
GW_IMPORT(log) void gw_log(const char *text, size_t size);
GW_IMPORT(gas_left) uint64_t gw_gas_left(void);
GW_IMPORT(clock_ms) uint64_t gw_clock_ms(void); /* milliseconds since 1970 */
GW_IMPORT(random) void gw_random(void *out, size_t size);

#define GW_HANDLER(arguments) __attribute__((export_name("handle"))) void handle(arguments)

#endif
