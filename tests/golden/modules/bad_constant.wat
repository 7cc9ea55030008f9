(module (global i32 (i32.eqz (i32.const 0))))
