/* Values that cross between host and guest. */
#ifndef GASWORKS_VALUE_H
#define GASWORKS_VALUE_H

#include <stdint.h>

/* One Wasm value; which member counts follows from its type. 16 bytes, little endian. */
union gw_value {
  int32_t i32;
  int64_t i64;
  float f32;
  double f64;
  void *ref; /* NULL is the null reference; funcref: a struct func_ref; externref: the host's own pointer;
                exnref: valid until the store's next invocation ends */
  uint32_t u32;
  uint64_t u64;
  uint8_t v128[16] __attribute__((aligned(16)));
};

#endif
