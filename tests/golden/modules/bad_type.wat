(module (func $f (result i32) (i64.add (i64.const 1) (i64.const 2))))
