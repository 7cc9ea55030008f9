/* Values that cross between host and guest. */
#ifndef GASWORKS_VALUE_H
#define GASWORKS_VALUE_H

#include <stdint.h>

/* Types of values. References to typed functions, exceptions and what else engines may add are GW_REF. */
enum gw_type { GW_I32, GW_I64, GW_F32, GW_F64, GW_V128, GW_FUNCREF, GW_EXTERNREF, GW_REF };

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

/* One that says its type. */
struct gw_typed_value {
  enum gw_type type;
  union gw_value of;
};

#endif
