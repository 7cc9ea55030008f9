;; Exceptions that a clause takes, the first or a later one, and one that none takes.
(module
  (tag $a (param i32)) (tag $b) (tag $c)
  (func $throw (param i32)
    (if (i32.eq (local.get 0) (i32.const 1)) (then (throw $a (i32.const 7))))
    (if (i32.eq (local.get 0) (i32.const 2)) (then (throw $b)))
    (if (i32.eq (local.get 0) (i32.const 3)) (then (throw $c))))
  (func $f (param i32) (result i32)
    (try (result i32) (do (call $throw (local.get 0)) (i32.const 0)) (catch $b (i32.const 2)) (catch $a (i32.const 5) (i32.add))))
  (func (export "none") (result i32) (call $f (i32.const 0)))
  (func (export "second") (result i32) (call $f (i32.const 1)))
  (func (export "first") (result i32) (call $f (i32.const 2)))
  (func (export "all") (result i32) (try (result i32) (do (call $f (i32.const 3))) (catch_all (i32.const 9))))
  (func (export "missed") (result i32) (call $f (i32.const 3))))
