/* Feature groups and which of them this engine accepts. */
#ifndef FRONTEND_FEATURE_H
#define FRONTEND_FEATURE_H

#include <stdbool.h>

enum feature {
#define FEATURE(id, name, state) FEATURE_##id,
#include "frontend/feature.def"
#undef FEATURE
  FEATURE_COUNT
};

const char *feature_name(enum feature f);
bool feature_is_on(enum feature f);

#endif
