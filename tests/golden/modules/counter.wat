;; a global and a host function
(module
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (global $n (mut i64) (i64.const 0))
  (func $count (export "count") (result i64)
    (global.set $n (i64.add (global.get $n) (i64.const 1)))
    (if (call $yield) (then unreachable))
    (global.get $n)))
