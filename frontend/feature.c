#include "frontend/feature.h"

enum { OFF, ON };

static const struct {
  const char *name;
  bool is_on;
} features[FEATURE_COUNT] = {
#define FEATURE(id, name, state) [FEATURE_##id] = {name, state},
#include "frontend/feature.def"
#undef FEATURE
};

const char *feature_name(enum feature f) { return features[f].name; }

bool feature_is_on(enum feature f) { return features[f].is_on; }
