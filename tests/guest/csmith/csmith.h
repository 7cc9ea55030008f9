/* What a program made by csmith stands on, in place of csmith's own header: nothing but an exported function that runs it and
 * returns a digest of its globals. Its arithmetic without undefined behaviour comes from csmith's safe_math.h. */
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define STATIC static
#define UNDEFINED(value) (value)
#define LOG_INDEX
#define LOG_EXEC
#define FUNC_NAME(name) (safe_##name)
#include <safe_math.h>
#undef FUNC_NAME

static uint64_t crc32_context;

static inline void platform_main_begin(void) {}
static inline void crc32_gentab(void) {}
static inline void platform_main_end(uint64_t digest, int flag) { (void)digest, (void)flag; }
static inline int printf(const char *format, ...) { return format[0]; }

static inline void transparent_crc(uint64_t value, char *name, int flag) {
  (void)name, (void)flag;
  crc32_context = (crc32_context ^ value) * 0x9e3779b97f4a7c15u;
  crc32_context ^= crc32_context >> 29;
}

static inline void transparent_crc_bytes(char *bytes, int size, char *name, int flag) {
  for (int i = 0; i < size; i++) transparent_crc((uint8_t)bytes[i], name, flag);
}

int main(int argc, char *argv[]);

__attribute__((export_name("%run"))) uint64_t run_main(void) {
  main(0, 0);
  return crc32_context;
}
