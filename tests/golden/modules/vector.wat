;; four lanes at once; minimum and NaN
(module
  (memory 1)
  (func $scale (export "scale") (param $at i32) (param $by f32)
    (v128.store (local.get $at) (f32x4.mul (v128.load (local.get $at)) (f32x4.splat (local.get $by)))))
  (func $min (export "min") (param f32 f32) (result f32) (f32.min (local.get 0) (local.get 1))))
