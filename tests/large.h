/* For tests of compiling: modules in the text format that are large. */
#ifndef TESTS_LARGE_H
#define TESTS_LARGE_H

#include "base/buffer.h"

/* Functions that call one another; twelve are several parts, sixty take more than a second to compile. */
static inline struct buffer make_large(int n_funcs) {
  struct buffer text = {0};
  buffer_append_string(&text, "(module (memory 1)");
  for (int f = 0; f < n_funcs; f++) {
    buffer_format(&text, "(func $f%d (export \"f%d\") (param i32) (result i32)", f, f);
    for (int i = 0; i < 300; i++)
      buffer_format(
          &text,
          "(local.set 0 (i32.xor (i32.mul (local.get 0) (i32.const %d)) (i32.load (i32.and (local.get 0) (i32.const 4095)))))",
          100 * f + i);
    buffer_format(&text, "(call $f%d (local.get 0)))", (f * 7 + 13) % n_funcs);
  }
  buffer_append_string(&text, ")");
  buffer_append(&text, "", 1);
  return text;
}

#endif
