(module (func $f (drop (i32.load (i32.const 0)))))
