"""What the attacks are written with: programs whose export `run` repeats a body as often as its parameter says.

Numbers that a compiler must not know come from the parameter or from memory. What a body computes is part of the result.
"""
import dataclasses

MB, GB = 1 << 20, 1 << 30
UNROLL = 32


@dataclasses.dataclass
class Attack:
    """One way to spend time. `how` is "run" (the command line, by slope between two counts) or "serve" (requests beside an empty one)."""
    name: str
    group: str
    text: object  # text of the module, or its bytes
    how: str = "run"
    most: int = 1 << 40  # greatest count
    files: str = ""  # what the directory holds: a key of host.FILES
    headers: int = 0
    floor: int = 1  # a count at which the time of starting is over
    is_whole: bool = False  # what its instance costs and is billed counts as well


def program(body, setup="", variables="", module="", result="(i64.const 0)"):
    return f"""(module {module}
  (func (export "run") (param $n i64) (result i64) {variables} {setup}
    (loop $again {body}
      (local.set $n (i64.sub (local.get $n) (i64.const 1)))
      (br_if $again (i64.ne (local.get $n) (i64.const 0))))
    {result}))"""


def memory(size, index=""):
    pages = max(1, size // 65536)
    return f"(memory {index} {pages})"


# How to start a value of each type from the count, and how to make an i64 of it.
START = {"i32": "(i32.wrap_i64 (local.get $n))", "i64": "(local.get $n)", "f32": "(f32.convert_i64_u (local.get $n))",
         "f64": "(f64.convert_i64_u (local.get $n))", "v128": "(i64x2.splat (local.get $n))"}
END = {"i32": "(i64.extend_i32_u {})", "i64": "{}", "f32": "(i64.extend_i32_u (i32.reinterpret_f32 {}))",
       "f64": "(i64.reinterpret_f64 {})", "v128": "(i64.add (i64x2.extract_lane 0 {0}) (i64x2.extract_lane 1 {0}))"}


def fill(template, x, c="(local.get $c)"):
    return template.replace("X", x).replace("C", c)


def chain(kind, template, c=None, x=None, unroll=UNROLL, module="(memory 1)"):
    """Operations of which each needs the one before: X is the value, C something opaque of its type."""
    step = f"(local.set $x {fill(template, '(local.get $x)')})\n"
    start = f"(local.set $x {x or START[kind]}) (local.set $c {c or START[kind]})"
    return program(step * unroll, start, f"(local $x {kind}) (local $c {kind})", module, END[kind].format("(local.get $x)"))


def row(kind, template, c=None, x=None, width=8, unroll=4, module="(memory 1)"):
    """Operations side by side: `width` chains of the same."""
    names = [f"$x{i}" for i in range(width)]
    start = f"(local.set $c {c or START[kind]})" + "".join(f"(local.set {v} {x or START[kind]})" for v in names)
    body = "".join(f"(local.set {v} {fill(template, f'(local.get {v})')})\n" for v in names) * unroll
    variables = f"(local $c {kind})" + "".join(f"(local {v} {kind})" for v in names)
    result = END[kind].format(f"(local.get {names[0]})")
    for v in names[1:]:
        result = f"(i64.xor {result} {END[kind].format(f'(local.get {v})')})"
    return program(body, start, variables, module, result)


RANDOM = "(local.set $r (i64.add (i64.mul (local.get $r) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))\n"


def random_index(mask, shift=20):
    """An i32 address below a power of two, from the upper bits of $r."""
    return f"(i32.and (i32.wrap_i64 (i64.shr_u (local.get $r) (i64.const {shift}))) (i32.const {mask & 0xffffffff}))"
