(module $vector
  (memory 1)
  (tag $t (param i32))
  (func (export "f") (param v128) (result i32)
    (v128.store8_lane 3 (i32.const 0) (local.get 0))
    (i8x16.extract_lane_u 15 (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 31 (local.get 0) (v128.const i32x4 1 2 3 4)))))
