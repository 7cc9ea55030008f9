/* How large a module may be (limit.def). */
#ifndef FRONTEND_LIMIT_H
#define FRONTEND_LIMIT_H

#include <stdint.h>

enum limit {
#define LIMIT(id, value, words) LIMIT_##id,
#include "frontend/limit.def"
#undef LIMIT
  LIMIT_COUNT
};

struct limit_info {
  uint32_t value;
  const char *words; /* for "too many ..." */
};

extern const struct limit_info limit_table[LIMIT_COUNT];

#endif
