/* libFuzzer target: arbitrary bytes through the decoder and the validator. Start it with tests/corpus as its corpus. */
#include "frontend/module.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  struct gw_error err = {0};
  struct module m;
  if (!module_decode(&m, bytes, size, &err)) return 0;
  if (module_validate(&m, &err))
    for (uint32_t i = 0; i < m.n_funcs; i++) func_frame_cost(&m, i);
  module_clear(&m);
  return 0;
}
