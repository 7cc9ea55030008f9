;; What an invocation pays for its instance: every kind of thing that a module may define (docs/gas.md, section 3).
(module
  (memory (export "memory") 3)
  (table 10 funcref) (table 5 20 externref)
  (global (mut i32) (i32.const 1)) (global i64 (i64.const 3))
  (elem (i32.const 2) func $f $f $s) (elem (table 0) (i32.const 0) funcref (ref.func $f) (ref.null func))
  (elem func $f) (elem declare func $s)
  (data (i32.const 8) "abc\00\ff\22 \5c0123456789") (data "passive") (data (i32.const 0) "")
  (func $f) (func $s (global.set 0 (i32.mul (global.get 0) (i32.const 3)))) (start $s)
  (func (export "_initialize") (drop (i32.load (i32.const 0))))
  (func (export "handle") (loop (drop (i32.load (i32.const 0)))) (call $f)))
