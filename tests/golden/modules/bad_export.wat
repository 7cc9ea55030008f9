(module (func $f) (export "f" (func 0)) (export "f" (func 0)))
