;; traps: division by zero and overflow, conversion
(module
  (func $divide (export "divide") (param i64 i64) (result i64) (i64.div_s (local.get 0) (local.get 1)))
  (func $truncate (export "truncate") (param f64) (result i32) (i32.trunc_f64_s (local.get 0))))
