(module (func $f (block i32.const 1)))
