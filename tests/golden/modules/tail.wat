;; tail calls, a loop that one of them leaves, and what comes behind
(module
  (func $even (export "even") (param i32) (result i32)
    (if (i32.eqz (local.get 0)) (then (return (i32.const 1))))
    (return_call $odd (i32.sub (local.get 0) (i32.const 1))))
  (func $odd (param i32) (result i32)
    (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
    (return_call $even (i32.sub (local.get 0) (i32.const 1))))
  (func $search (export "search") (param $x i32) (result i32) (local $i i32)
    (loop $next
      (if (i32.eq (local.get $i) (local.get $x)) (then (return_call $even (local.get $x))))
      (br_if $next (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 30))))
    (i32.const -1)))
