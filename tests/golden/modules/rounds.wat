;; loops whose rounds are known: exactly, at most, and not; code that cannot be reached
(module
  (func $exact (export "exact") (local i32)
    (loop (br_if 0 (i32.ne (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 100)))))
  (func $most (export "most") (param i32) (local i32)
    (block (loop
      (br_if 1 (i32.eq (local.get 0) (local.get 1)))
      (br_if 0 (i32.ne (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (i32.const 100))))))
  (func $unknown (export "unknown") (param i32)
    (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func $dead (export "dead") (param i32) (result i32)
    (block (br 0) (drop (i32.div_u (i32.const 9) (i32.const 2))))
    (if (local.get 0) (then (return (i32.const 1)) nop) (else nop))
    (block (block (br_table 0 1 (local.get 0)) (block nop)) (return (i32.const 2)) nop)
    (loop (block nop))
    (unreachable) (i32.const 3)))
