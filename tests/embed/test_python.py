#!/usr/bin/env python3
"""The Python binding: calls, host functions, exceptions through the guest, gas, memory, interrupts.
   test_python.py SOURCE_DIR"""
import gc
import os
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(sys.argv[1], "bindings/python"))
import gasworks

WAT = """(module (import "env" "twice" (func $twice (param i32 f64) (result f64)))
  (memory (export "memory") 1) (data (i32.const 8) "hello")
  (func (export "add") (param i64 i64) (result i64) (i64.add (local.get 0) (local.get 1)))
  (func (export "host") (param i32 f64) (result f64) (call $twice (local.get 0) (local.get 1)))
  (func (export "pair") (result i32 f32) (i32.const 7) (f32.const 1.5))
  (func (export "spin") (loop (br 0))) (func (export "trap") (drop (i32.load (i32.const 65536)))))"""


def assemble(text):
    with tempfile.TemporaryDirectory() as d:
        with open(d + "/m.wat", "w") as f:
            f.write(text)
        subprocess.run(["wat2wasm", d + "/m.wat", "-o", d + "/m.wasm"], check=True)
        with open(d + "/m.wasm", "rb") as f:
            return f.read()


def twice(i, x):
    if i < 0:
        raise KeyError("from Python")
    return i * x


def raises(kind, f, *args):
    try:
        f(*args)
    except kind as e:
        return e
    raise AssertionError("it raised nothing")


engine = gasworks.Engine()
module = gasworks.Module(engine, assemble(WAT))
instance = gasworks.Instance(module, {("env", "twice"): twice}, gas_limit=10**12)
assert instance.call("add", 2**62, -3) == 2**62 - 3
assert 0 < instance.gas_used < 1000
assert instance.call("host", 2, 1.25) == 2.5
assert instance.call("pair") == (7, 1.5)
assert bytes(instance.memory()[8:13]) == b"hello" and len(instance.memory()) == 65536
assert raises(KeyError, instance.call, "host", -1, 1.0).args == ("from Python",)
assert raises(gasworks.Error, instance.call, "trap").trap == 5
assert "no function is exported" in str(raises(gasworks.Error, instance.call, "none"))
assert "takes 2 parameters" in str(raises(gasworks.Error, instance.call, "add", 1))
assert "unknown import env.twice" in str(raises(gasworks.Error, gasworks.Instance, module))
assert "magic" in str(raises(gasworks.Error, gasworks.Module, engine, b"nonsense"))
poor = gasworks.Instance(module, {("env", "twice"): twice}, gas_limit=100000)
assert raises(gasworks.Error, poor.call, "spin").trap == 16 and poor.gas_used == 100000
timer = threading.Timer(0.05, instance.interrupt)
timer.start()
assert raises(gasworks.Error, instance.call, "spin").trap == 17
timer.join()
assert instance.call("host", 3, 2.0) == 6.0

# A view keeps what it shows; values that do not fit are told, not cut.
view = gasworks.Instance(module, {("env", "twice"): twice}).memory()
gc.collect()
view[0] = 5
assert bytes(view[8:13]) == b"hello" and view[0] == 5
odd = gasworks.Module(engine, assemble("""(module (import "env" "f" (func $f (result i32))) (import "env" "g" (func $g (result i32 i32)))
  (func (export "f") (result i32) (call $f)) (func (export "g") (result i32 i32) (call $g))
  (func (export "v") (param v128)) (func (export "w") (param i32)))"""))


def answer(x):
    return gasworks.Instance(odd, {("env", "f"): lambda: x, ("env", "g"): lambda: x})


assert len(answer(1).memory()) == 0
assert answer(2**32 - 1).call("f") == -1 and answer((1, 2)).call("g") == (1, 2)
raises(OverflowError, answer(2**40).call, "f")
raises(TypeError, answer((1, 2, 3)).call, "g")
raises(TypeError, answer(1).call, "v", 1)
raises(OverflowError, answer(1).call, "w", 2**32)
raises(ValueError, answer(1).call, "f\0more")
print("all passed")
