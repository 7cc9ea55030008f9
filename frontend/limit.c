#include "frontend/limit.h"

const struct limit_info limit_table[LIMIT_COUNT] = {
#define LIMIT(id, value_, words_) [LIMIT_##id] = {.value = value_, .words = words_},
#include "frontend/limit.def"
#undef LIMIT
};
