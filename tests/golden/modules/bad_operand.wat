(module (func $f (param f32) (result i32) (i32.add (local.get 0) (i32.const 2))))
