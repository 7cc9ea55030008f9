/* What test/text.test.js calls in C. */
#include "gasworks_call.h"

#include <ctype.h>

GW_HOST(env, shout, "(str)->str") size_t shout(const char *text, size_t size);

GW_EXPORT(upper, "(str)->str") uint64_t upper(const char *text, size_t size) {
  char *out = malloc(size);
  for (size_t i = 0; i < size; i++) out[i] = (char)toupper((unsigned char)text[i]);
  return gw_give(out, size);
}

GW_EXPORT(sum, "(bytes)->u32") uint32_t sum(const uint8_t *bytes, size_t size) {
  uint32_t total = 0;
  for (size_t i = 0; i < size; i++) total += bytes[i];
  return total;
}

GW_EXPORT(loud, "(str)->str") uint64_t loud(const char *text, size_t size) {
  size_t loud_size = shout(text, size);
  void *out = malloc(loud_size);
  gw_take(out);
  return gw_give(out, loud_size);
}

GW_EXPORT(reject, "(str)->!") uint64_t reject(const char *text, size_t size) {
  char message[64] = "not ";
  if (size > sizeof message - 5) return 0;
  memcpy(message + 4, text, size);
  return gw_give_error(message);
}
