;; a branch table with values
(module
  (func $name (export "name") (param i32) (result i32)
    (block $other (block $two (block $one (block $zero
      (br_table $zero $one $two $other (local.get 0)))
      (return (i32.const 48)))
      (return (i32.const 49)))
      (return (i32.const 50)))
    (i32.const 63)))
