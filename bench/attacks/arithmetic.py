"""Attacks on instructions that touch no memory, or hardly any."""
from attacks.wat import *

GROUP = "arithmetic"


def load(kind):
    return f"({kind}.load (i32.const 0))"


def data(kind_bytes):
    return f'(memory 1) (data (i32.const 0) "{kind_bytes}")'


ONE_F64, ONE_F32 = r"\00\00\00\00\00\00\f0\3f", r"\00\00\80\3f"
SMALL_F64, SMALL_F32 = r"\ff\ff\00\00\00\00\00\00", r"\ff\ff\00\00"  # denormal

INTEGERS = {
    "add": ("i64", "(i64.xor (i64.add X C) X)"),
    "multiply": ("i64", "(i64.mul X C)"),
    "multiply-i32": ("i32", "(i32.mul X C)"),
    "shift": ("i64", "(i64.shl (i64.rotl X C) (i64.const 1))"),
    "rotate": ("i64", "(i64.rotl X C)"),
    "compare": ("i64", "(i64.extend_i32_u (i64.lt_u X C))"),
    "divide-u64": ("i64", "(i64.add (i64.const 0x7fffffffffffffff) (i64.div_u (i64.const -5) (i64.or X (i64.const 3))))"),
    "divide-s64": ("i64", "(i64.sub (i64.const 0x7ffffffffffffff0) (i64.div_s (i64.const 0x7fffffffffffffff) (i64.or X (i64.const 3))))"),
    "remainder-u64": ("i64", "(i64.or (i64.rem_u (i64.const -59) (i64.or X (i64.const 3))) (i64.const 0x1000000001))"),
    "divide-u32": ("i32", "(i32.or (i32.div_u (i32.const -5) (i32.or X (i32.const 3))) (i32.const 3))"),
    "remainder-s32": ("i32", "(i32.or (i32.rem_s (i32.const 0x7ffffff1) (i32.or X (i32.const 3))) (i32.const 3))"),
    "popcnt": ("i64", "(i64.add (i64.popcnt X) C)"),
    "clz": ("i64", "(i64.add (i64.clz X) C)"),
    "ctz": ("i64", "(i64.add (i64.ctz X) C)"),
    "extend": ("i64", "(i64.add (i64.extend8_s X) C)"),
    "select": ("i64", "(select (i64.add X C) (i64.xor X C) (i64.lt_s X C))"),
    "convert-i64-f64": ("i64", "(i64.trunc_sat_f64_s (f64.convert_i64_s X))"),
    "convert-u64-f64": ("i64", "(i64.trunc_sat_f64_u (f64.convert_i64_u X))"),
    "convert-u64-f32": ("i64", "(i64.trunc_sat_f32_u (f32.convert_i64_u X))"),
    "convert-trapping": ("i64", "(i64.trunc_f64_u (f64.convert_i64_u (i64.shr_u X (i64.const 2))))"),
    "reinterpret": ("i64", "(i64.add (i64.reinterpret_f64 (f64.add (f64.reinterpret_i64 X) (f64.const 1))) C)"),
}

FLOATS = {
    "add": "(TYPE.add X C)", "multiply": "(TYPE.mul X C)", "divide": "(TYPE.div C X)", "sqrt": "(TYPE.add (TYPE.sqrt X) C)",
    "min": "(TYPE.add (TYPE.min X C) C)", "max": "(TYPE.max (TYPE.neg X) C)", "nearest": "(TYPE.add (TYPE.nearest X) C)",
    "floor": "(TYPE.add (TYPE.floor X) C)", "copysign": "(TYPE.copysign X (TYPE.add X C))", "abs": "(TYPE.sub (TYPE.abs X) C)",
    "compare": "(select (TYPE.add X C) (TYPE.sub X C) (TYPE.lt X C))",
}

DENORMALS = {"multiply": "(TYPE.mul X C)", "divide": "(TYPE.div X C)", "add": "(TYPE.add (TYPE.mul X C) X)", "sqrt": "(TYPE.mul (TYPE.sqrt X) (TYPE.sqrt X))"}

# Of the group's instructions one chain each; where the first operand alone counts, C is left out.
VECTORS = {
    "i8x16.add": "(i8x16.add X C)", "i8x16.avgr_u": "(i8x16.avgr_u X C)", "i8x16.swizzle": "(i8x16.swizzle X C)",
    "i8x16.shuffle": "(i8x16.shuffle 3 17 5 19 7 21 9 23 11 25 13 27 15 29 1 31 X C)",
    "i8x16.narrow": "(i8x16.narrow_i16x8_s X C)", "i16x8.narrow": "(i16x8.narrow_i32x4_u X C)", "i8x16.popcnt": "(i8x16.add (i8x16.popcnt X) C)",
    "i8x16.add_sat": "(i8x16.add_sat_s X C)", "i8x16.shr": "(i8x16.add (i8x16.shr_s X (i32.const 3)) C)", "i8x16.min": "(i8x16.min_u (i8x16.add X C) C)",
    "i8x16.abs": "(i8x16.sub (i8x16.abs X) C)", "i8x16.eq": "(i8x16.eq X C)", "i16x8.mul": "(i16x8.mul X C)",
    "i16x8.avgr_u": "(i16x8.avgr_u X C)", "i16x8.q15mulr": "(i16x8.q15mulr_sat_s X C)", "i16x8.extadd": "(i16x8.extadd_pairwise_i8x16_s X)",
    "i16x8.extmul": "(i16x8.extmul_low_i8x16_s X C)", "i32x4.dot": "(i32x4.dot_i16x8_s X C)", "i32x4.mul": "(i32x4.mul X C)",
    "i64x2.mul": "(i64x2.mul X C)", "i64x2.abs": "(i64x2.sub (i64x2.abs X) C)", "i64x2.shr_s": "(i64x2.add (i64x2.shr_s X (i32.const 7)) C)",
    "i64x2.extmul": "(i64x2.extmul_high_i32x4_u X C)", "i64x2.lt_s": "(i64x2.lt_s X C)", "i64x2.extend": "(i64x2.extend_high_i32x4_s X)",
    "v128.bitselect": "(v128.bitselect X C (v128.not X))", "i8x16.bitmask": "(i8x16.add (i32x4.splat (i8x16.bitmask X)) C)",
    "v128.any_true": "(i8x16.add (i32x4.splat (v128.any_true X)) C)", "i8x16.all_true": "(i8x16.add (i32x4.splat (i8x16.all_true X)) C)",
    "i8x16.lanes": "(i8x16.replace_lane 3 C (i8x16.extract_lane_u 5 X))",
    "f32x4.add": "(f32x4.add X C)", "f32x4.mul": "(f32x4.mul X C)", "f32x4.div": "(f32x4.div C X)", "f32x4.sqrt": "(f32x4.add (f32x4.sqrt X) C)",
    "f32x4.min": "(f32x4.min (f32x4.add X C) C)", "f32x4.pmax": "(f32x4.pmax (f32x4.sub X C) C)", "f32x4.nearest": "(f32x4.add (f32x4.nearest X) C)",
    "f64x2.add": "(f64x2.add X C)", "f64x2.div": "(f64x2.div C X)", "f64x2.sqrt": "(f64x2.add (f64x2.sqrt X) C)", "f64x2.max": "(f64x2.max (f64x2.sub X C) C)",
    "f64x2.ceil": "(f64x2.add (f64x2.ceil X) C)", "f32x4.convert": "(f32x4.convert_i32x4_u (i32x4.trunc_sat_f32x4_u X))",
    "f64x2.promote": "(f64x2.promote_low_f32x4 (f32x4.demote_f64x2_zero X))", "i32x4.trunc_sat": "(i32x4.trunc_sat_f64x2_u_zero (f64x2.convert_low_i32x4_u X))",
}

WIDE = ("i8x16.swizzle", "i8x16.narrow", "i8x16.avgr_u", "i16x8.mul", "i64x2.mul", "f32x4.div", "f64x2.sqrt", "f32x4.nearest", "i8x16.popcnt", "f64x2.max")


def scalar_chains():
    for name, (kind, template) in INTEGERS.items():
        yield Attack("chain " + name, GROUP, chain(kind, template))
    for kind, one, small in (("f64", ONE_F64, SMALL_F64), ("f32", ONE_F32, SMALL_F32)):
        for name, template in FLOATS.items():
            yield Attack(f"chain {kind}.{name}", GROUP, chain(kind, template.replace("TYPE", kind), load(kind), module=data(one)))
        for name, template in DENORMALS.items():
            yield Attack(f"denormals {kind}.{name}", GROUP, chain(kind, template.replace("TYPE", kind), load(kind), f"({kind}.load (i32.const 8))",
                         module=f'(memory 1) (data (i32.const 0) "{one}") (data (i32.const 8) "{small}")'))
    yield Attack("chain promote-demote", GROUP, chain("f64", "(f64.promote_f32 (f32.demote_f64 X))", load("f64"), module=data(ONE_F64)))
    for name in ("divide-u64", "popcnt", "multiply", "remainder-s32"):
        kind, template = INTEGERS[name]
        yield Attack("row " + name, GROUP, row(kind, template))
    for name in ("divide", "sqrt", "min", "nearest", "add"):
        yield Attack("row f64." + name, GROUP, row("f64", FLOATS[name].replace("TYPE", "f64"), load("f64"), module=data(ONE_F64)))


def vectors():
    ones = r'(memory 1) (data (i32.const 0) "\01\02\03\04\05\06\07\08\00\00\80\3f\00\00\f0\3f")'
    for name, template in VECTORS.items():
        yield Attack("chain " + name, GROUP, chain("v128", template, "(v128.load (i32.const 0))", module=ones))
        if name in WIDE:
            yield Attack("row " + name, GROUP, row("v128", template, "(v128.load (i32.const 0))", module=ones))


# --- control ---------------------------------------------------------------------------------------------------------

def cases(n, arm, index):
    """A br_table over n arms; each ends at $out."""
    text = "(block $out " + "".join(f"(block $b{i} " for i in reversed(range(n)))
    text += f"(br_table {' '.join(f'$b{i}' for i in range(n))} {index})"
    return text + "".join(f") {arm(i)} (br $out)" for i in range(n)) + ")"


def branches():
    r = "(local $r i64) (local $i i32)"
    seed = "(local.set $r (local.get $n))"
    arm = "(if (i64.lt_s (local.get $r) (i64.const 0)) (then (global.set $g (i64.add (global.get $g) (local.get $r)))) (else (i64.store (i32.const 8) (local.get $r))))"
    module = "(memory 1) (global $g (mut i64) (i64.const 0))"
    yield Attack("branches unpredictable", GROUP, program((RANDOM + arm) * 8, seed, r, module, "(global.get $g)"))
    xorshift = "(local.set $r (i64.xor (local.get $r) (i64.shl (local.get $r) (i64.const 13)))) (local.set $r (i64.xor (local.get $r) (i64.shr_u (local.get $r) (i64.const 7))))"
    yield Attack("br_if unpredictable", GROUP, program((xorshift + "(block $b (br_if $b (i32.wrap_i64 (i64.and (local.get $r) (i64.const 1)))) (global.set $g (local.get $r)))") * 8, seed, r, module, "(global.get $g)"))
    table = cases(64, lambda i: f"(global.set $g (i64.{('add', 'xor', 'sub', 'mul')[i % 4]} (global.get $g) (i64.const {i + 3})))", random_index(63, 33))
    yield Attack("br_table unpredictable", GROUP, program(RANDOM + table, seed, r, module, "(global.get $g)"))
    wide = cases(2000, lambda i: f"(global.set $g (i64.{('add', 'xor', 'sub', 'mul')[i % 4]} (global.get $g) (i64.const {i + 3})))", random_index(1023, 33))
    yield Attack("br_table of 2,000 arms", GROUP, program(RANDOM + wide, seed, r, module, "(global.get $g)"))


def indirect(n):
    bodies = "".join(f"(func $f{i} (type $t) (i64.add (local.get 0) (i64.const {i * 7 + 1})))" for i in range(n))
    return f"(memory 1) (type $t (func (param i64) (result i64))) {bodies} (table (export \"t\") {n} funcref) (elem (i32.const 0) func {' '.join(f'$f{i}' for i in range(n))})"


def calls():
    x = "(local $x i64) (local $r i64)"
    seed = "(local.set $r (local.get $n))"
    get = "(local.get $x)"
    yield Attack("call_indirect unpredictable", GROUP, program((RANDOM + f"(local.set $x (call_indirect (type $t) (local.get $x) {random_index(63, 33)}))") * 4, seed, x, indirect(64), get))
    yield Attack("call_indirect of 4,096 functions", GROUP, program((RANDOM + f"(local.set $x (call_indirect (type $t) (local.get $x) {random_index(4095, 33)}))") * 4, seed, x, indirect(4096), get))
    yield Attack("call_indirect predictable", GROUP, program("(local.set $x (call_indirect (type $t) (local.get $x) (i32.const 3)))" * 8, seed, x, indirect(64), get))
    deep = "(func $f (param i64) (result i64) (if (result i64) (i64.eqz (local.get 0)) (then (i64.const 1)) (else (i64.add (call $f (i64.sub (local.get 0) (i64.const 1))) (i64.const 3)))))"
    yield Attack("recursion 4,000 deep", GROUP, program("(local.set $x (i64.add (local.get $x) (call $f (i64.const 4000))))", seed, x, deep, get))
    tail = "(func $f (param i64 i64) (result i64) (if (i64.eqz (local.get 0)) (then (return (local.get 1)))) (return_call $g (i64.sub (local.get 0) (i64.const 1)) (local.get 1)))"
    tail += tail.replace("$f", "$h").replace("$g", "$f").replace("$h", "$g")
    yield Attack("return_call", GROUP, program("(local.set $x (call $f (i64.const 1000) (local.get $x)))", seed, x, tail, get))
    for n in (10, 100, 1000):
        params = "(param $k i64)" + "".join(f"(param $p{i} i64)" for i in range(n - 1))
        rotated = " ".join(f"(local.get $p{(i + 1) % (n - 1)})" for i in range(n - 1))
        many = f"(func $f {params} (result i64) (if (i64.eqz (local.get $k)) (then (return (local.get $p0)))) (i64.add (i64.const 1) (call $f (i64.sub (local.get $k) (i64.const 1)) {rotated})))"
        first = " ".join(["(local.get $n)"] * (n - 1))
        yield Attack(f"calls with {n:,} parameters", GROUP, program(f"(local.set $x (call $f (i64.const 50) {first}))", seed, x, many, get))
    for n in (10, 100, 1000):
        kind = "(result " + "i64 " * n + ")"
        # Rotates what comes back, through memory's address 0 so that the value is opaque.
        sets = "".join(f"(local.set $l{(i + 1) % n})" for i in reversed(range(n)))
        gets = "".join(f"(local.get $l{i})" for i in range(n))
        locals_ = "".join(f"(local $l{i} i64)" for i in range(n))
        callee = f"(func $f (param i64) {kind} {locals_} (if {kind} (i64.eqz (local.get 0)) (then {'(i64.load (i32.const 0))' * n}) (else (call $f (i64.sub (local.get 0) (i64.const 1))) {sets} {gets})))"
        yield Attack(f"calls with {n:,} results", GROUP, program(f"(call $f (i64.const 20)) (local.set $x) {'(drop)' * (n - 1)}", seed, x, "(memory 1)" + callee, get))


def rotations():
    for n in (50, 500, 10000):
        variables = "".join(f"(local $l{i} i64)" for i in range(n))
        setup = "".join(f"(local.set $l{i} (i64.add (local.get $n) (i64.const {i})))" for i in range(n))
        body = "".join(f"(local.get $l{i})" for i in range(n)) + "".join(f"(local.set $l{(i + 1) % n})" for i in reversed(range(n)))
        yield Attack(f"{n:,} locals rotated", GROUP, program(body, setup, variables, "", "(i64.xor (local.get $l0) (local.get $l7))"))
    n = 1000
    variables = "".join(f"(local $l{i} i64)" for i in range(n))
    sets, gets = "".join(f"(local.set $l{i})" for i in reversed(range(n))), "".join(f"(local.get $l{(i + 1) % n})" for i in range(n))
    kind = f"(param {'i64 ' * n}) (result {'i64 ' * n})"
    body = f"(loop $l {kind} {sets} (local.set $n (i64.sub (local.get $n) (i64.const 1))) {gets} (br_if $l (i64.ne (local.get $n) (i64.const 0))))"
    start = "".join(f"(i64.add (local.get $n) (i64.const {i}))" for i in range(n))
    yield Attack("loop with 1,000 parameters", GROUP, f'(module (func (export "run") (param $n i64) (result i64) {variables} {start} {body} {"(i64.xor)" * (n - 1)}))')
    block = f"(block $b {kind} (br_if $b (i32.wrap_i64 (local.get $n))) {sets} {gets})"
    body = "".join(f"(local.get $l{i})" for i in range(n)) + block + "".join(f"(local.set $l{i})" for i in reversed(range(n)))
    setup = "".join(f"(local.set $l{i} (i64.add (local.get $n) (i64.const {i})))" for i in range(n))
    yield Attack("block with 1,000 results", GROUP, program(body, setup, variables, "", "(i64.xor (local.get $l0) (local.get $l7))"))
    cut = "".join(f"(local.set $l{i} (select (local.get $l{(i + 1) % 500}) (local.get $l{(i + 7) % 500}) (i32.wrap_i64 (local.get $n))))" for i in range(500))
    variables = "".join(f"(local $l{i} i64)" for i in range(500))
    setup = "".join(f"(local.set $l{i} (i64.add (local.get $n) (i64.const {i})))" for i in range(500))
    yield Attack("500 selects", GROUP, program(cut, setup, variables, "", "(i64.xor (local.get $l0) (local.get $l7))"))


def globals_tables_references():
    module = "(memory 1) (global $g (mut i64) (i64.const 1)) (global $v (mut v128) (v128.const i64x2 1 2)) (func $f (result i64) (global.get $g)) (func $h) (elem declare func $h)"
    get = "(global.get $g)"
    yield Attack("globals in turn", GROUP, program("(global.set $g (i64.mul (global.get $g) (local.get $n)))" * 16, "", "", module, get))
    yield Attack("vector globals in turn", GROUP, program("(global.set $v (i64x2.add (global.get $v) (global.get $v)))" * 16, "", "", module, "(i64x2.extract_lane 0 (global.get $v))"))
    many = "".join(f"(global $g{i} (mut i64) (i64.const {i}))" for i in range(1000))
    rotate = "".join(f"(global.get $g{i})" for i in range(1000)) + "".join(f"(global.set $g{(i + 1) % 1000})" for i in reversed(range(1000)))
    yield Attack("1,000 globals rotated", GROUP, program(rotate, "", "", many, "(global.get $g5)"))
    table = '(table $t (export "t") 1000 10000000 funcref) (func $h) (elem declare func $h) (global $z (mut i32) (i32.const 0)) (elem $e func ' + "$h " * 1000 + ")"
    x = "(local $x i32)"
    yield Attack("table.get and table.set", GROUP, program("(table.set $t (i32.const 5) (table.get $t (local.get $x)))" * 16, "", x, table))
    yield Attack("table.get of null", GROUP, program("(local.set $x (i32.add (ref.is_null (table.get $t (local.get $x))) (local.get $x)))(local.set $x (i32.and (local.get $x) (i32.const 511)))" * 8, "", x, table, "(i64.extend_i32_u (local.get $x))"))
    yield Attack("ref.func and ref.is_null", GROUP, program("(table.set $t (i32.const 3) (ref.func $h))" * 16, "", x, table))
    yield Attack("table.size", GROUP, program("(local.set $x (i32.add (local.get $x) (table.size $t)))" * 16, "", x, table, "(i64.extend_i32_u (local.get $x))"))
    yield Attack("table.fill 1", GROUP, program("(table.fill $t (i32.const 5) (ref.null func) (i32.const 1))" * 16, "", x, table))
    yield Attack("table.fill 1,000", GROUP, program("(table.fill $t (i32.const 0) (ref.null func) (i32.const 1000))", "", x, table))
    yield Attack("table.copy 1", GROUP, program("(table.copy $t $t (i32.const 5) (i32.const 6) (i32.const 1))" * 16, "", x, table))
    yield Attack("table.copy 900", GROUP, program("(table.copy $t $t (i32.const 0) (i32.const 100) (i32.const 900))", "", x, table))
    yield Attack("table.init 1,000", GROUP, program("(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1000))", "", x, table))
    yield Attack("table.grow by 0", GROUP, program("(drop (table.grow $t (ref.null func) (i32.const 0)))" * 4, "", x, table))
    yield Attack("table.grow by 1", GROUP, program("(drop (table.grow $t (ref.null func) (i32.const 1)))", "", x, table), most=9_000_000)
    yield Attack("table.grow fails", GROUP, program("(drop (table.grow $t (ref.null func) (i32.const -1)))" * 4, "", x, table))


def exceptions():
    tag = "(tag $e (param i64))"
    x = "(local $x i64)"
    yield Attack("throw and catch", GROUP, program("(try (do (throw $e (local.get $n))) (catch $e (local.set $x)))", "", x, tag, "(local.get $x)"))
    deep = "(func $f (param i64) (result i64) (if (i64.eqz (local.get 0)) (then (throw $e (i64.const 1)))) (i64.add (call $f (i64.sub (local.get 0) (i64.const 1))) (i64.const 3)))"
    for n in (100, 4000):
        yield Attack(f"throw through {n:,} frames", GROUP, program(f"(try (do (drop (call $f (i64.const {n})))) (catch $e (local.set $x)))", "", x, tag + deep, "(local.get $x)"))
    tags = tag + "".join(f"(tag $t{i} (param i64))" for i in range(200))
    many = "(try (do (throw $e (local.get $n)))" + "".join(f"(catch $t{i} (local.set $x))" for i in range(200)) + "(catch $e (local.set $x)))"
    yield Attack("throw past 200 clauses", GROUP, program(many, "", x, tags, "(local.get $x)"))
    params = "i64 " * 500
    wide = f"(tag $w (param {params}))"
    yield Attack("throw of 500 values", GROUP, program(f"(try (do {'(local.get $n)' * 500} (throw $w)) (catch $w (local.set $x) {'(drop)' * 499}))", "", x, wide, "(local.get $x)"))


# --- the other way ---------------------------------------------------------------------------------------------------

def loops():
    """What compiled code does faster than gas says: loops that become vectors."""
    inner = "(local.set $i (i32.const 0)) (loop $l {} (local.set $i (i32.add (local.get $i) (i32.const {step}))) (br_if $l (i32.ne (local.get $i) (i32.const 8192))))"
    i = "(local $i i32) (local $x i64) (local $y i32)"
    bodies = {"bytes added": ("(i32.store8 (local.get $i) (i32.add (i32.load8_u offset=8192 (local.get $i)) (i32.load8_u offset=16384 (local.get $i))))", 1),
              "i32 multiplied": ("(i32.store (local.get $i) (i32.mul (i32.load offset=8192 (local.get $i)) (i32.load offset=16384 (local.get $i))))", 4),
              "f32 multiplied and added": ("(f32.store (local.get $i) (f32.add (f32.load (local.get $i)) (f32.mul (f32.load offset=8192 (local.get $i)) (f32.load offset=16384 (local.get $i)))))", 4),
              "f64 multiplied and added": ("(f64.store (local.get $i) (f64.add (f64.load (local.get $i)) (f64.mul (f64.load offset=8192 (local.get $i)) (f64.load offset=16384 (local.get $i)))))", 8),
              "i32 summed": ("(local.set $y (i32.add (local.get $y) (i32.load (local.get $i))))", 4)}
    for name, (body, step) in bodies.items():
        yield Attack("loop: " + name, "the other way", program(inner.format(body, step=step), "", i, "(memory 1)", "(i64.extend_i32_u (local.get $y))"))
    yield Attack("an empty loop", "the other way", program("", "", "", "", "(local.get $n)"))


def attacks():
    for family in (scalar_chains, vectors, branches, calls, rotations, globals_tables_references, exceptions, loops):
        yield from family()
