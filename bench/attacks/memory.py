"""Attacks on memory: caches, page faults, what the processor guesses about addresses, bulk instructions."""
from attacks.wat import *

SMALL, LARGE = "memory up to 256 MB", "memory of any size"
SIZES = {"16 KB": 16 << 10, "256 KB": 256 << 10, "16 MB": 16 * MB, "256 MB": 256 * MB, "2 GB": 2 * GB}


def group(size):
    return SMALL if size <= 256 * MB else LARGE


def chase(size, shift=6):
    """A cycle through all lines of a memory, in the order of a linear congruence, which no processor foresees."""
    cells = size >> shift
    setup = f"""(loop $fill
      (i64.store (i32.shl (local.get $i) (i32.const {shift}))
        (i64.extend_i32_u (i32.shl (i32.and (i32.add (i32.mul (local.get $i) (i32.const 1664525)) (i32.const 1013904223)) (i32.const {cells - 1})) (i32.const {shift}))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $fill (i32.ne (local.get $i) (i32.const {cells})))) (local.set $i (i32.const 0))"""
    return program("(local.set $i (i32.wrap_i64 (i64.load (local.get $i))))\n" * 16, setup, "(local $i i32)", memory(size), "(i64.extend_i32_u (local.get $i))")


def touch(size):
    """Stores to every page, so that no fault is left to measure."""
    return f"(loop $t (i64.store (local.get $i) (i64.const 1)) (local.set $i (i32.add (local.get $i) (i32.const 4096))) (br_if $t (i32.ne (local.get $i) (i32.const {size & 0xffffffff})))) (local.set $i (i32.const 0)) (local.set $r (local.get $n))"


def random_loads(size):
    load = RANDOM + f"(local.set $x (i64.add (local.get $x) (i64.load {random_index(size - 8)})))\n"
    return program(load * 8, touch(size), "(local $i i32) (local $r i64) (local $x i64)", memory(size), "(local.get $x)")


def random_stores(size):
    store = RANDOM + f"(i64.store {random_index(size - 8)} (local.get $r))\n"
    return program(store * 8, touch(size), "(local $i i32) (local $r i64) (local $x i64)", memory(size))


def strided(size, step, body):
    """Accesses at one stride, around and around."""
    one = body.replace("ADDRESS", "(local.get $i)") + f"(local.set $i (i32.and (i32.add (local.get $i) (i32.const {step})) (i32.const {size - 128})))\n"
    return program(one * 8, touch(size), "(local $i i32) (local $r i64) (local $x i64)", memory(size), "(local.get $x)")


def caches():
    for name, size in SIZES.items():
        yield Attack(f"pointer chasing, {name}", group(size), chase(size))
        yield Attack(f"random loads, {name}", group(size), random_loads(size))
        yield Attack(f"random stores, {name}", group(size), random_stores(size))
    for name, size in (("16 MB", 16 * MB), ("256 MB", 256 * MB)):
        for what, body in (("loads", "(local.set $x (i64.add (local.get $x) (i64.load ADDRESS)))"), ("stores", "(i64.store ADDRESS (local.get $n))"),
                           ("loads across lines", "(local.set $x (i64.add (local.get $x) (i64.load offset=60 ADDRESS)))")):
            yield Attack(f"{what} a page and a line apart, {name}", SMALL, strided(size, 4096 + 64, body))
    step = f"(local.set $i (i32.and (i32.add (local.get $i) (i32.add (i32.const 4160) (i32.wrap_i64 (i64.load8_u offset=8 (local.get $i))))) (i32.const {256 * MB - 64})))"
    yield Attack("chained loads a page and a line apart, 256 MB", SMALL, program(step * 8, touch(256 * MB), "(local $i i32) (local $r i64)", memory(256 * MB), "(i64.extend_i32_u (local.get $i))"))


def pipelines():
    i = "(local $i i32) (local $x i64) (local $a i32)"
    get = "(i64.add (local.get $x) (i64.extend_i32_u (local.get $i)))"
    # The address is kept opaque, or the compiler forwards the value itself: memory holds zeros, whatever is loaded.
    stall = "(i32.store8 (local.get $a) (i32.wrap_i64 (local.get $x))) (local.set $x (i64.add (local.get $x) (i64.load (i32.add (local.get $a) (i32.load8_u offset=4096 (local.get $a))))))\n"
    yield Attack("store-forwarding stalls", SMALL, program(stall * 8, "(local.set $a (i32.wrap_i64 (i64.load offset=1024 (i32.const 0))))", i, "(memory 1)", get))
    chained = "(i32.store8 (local.get $a) (i32.const 0)) (i32.store8 offset=3 (local.get $a) (i32.const 0)) (local.set $a (i32.load (local.get $a)))\n"
    yield Attack("store-forwarding stalls, chained", SMALL, program(chained * 8, "(local.set $a (i32.load offset=1024 (i32.const 0)))", i, "(memory 1)", "(i64.extend_i32_u (local.get $a))"))
    vector = "(i64.store (local.get $a) (i64.const 0)) (i64.store offset=8 (local.get $a) (local.get $x)) (local.set $a (i32.wrap_i64 (i64x2.extract_lane 0 (v128.load (local.get $a)))))\n"
    yield Attack("store-forwarding stalls, vectors", SMALL, program(vector * 8, "(local.set $a (i32.load offset=1024 (i32.const 0)))", i, "(memory 1)", "(i64.extend_i32_u (local.get $a))"))
    forward = "(i32.store (local.get $a) (local.get $a)) (local.set $a (i32.load (i32.add (local.get $a) (i32.load8_u offset=4096 (local.get $a)))))\n"
    yield Attack("store, then load, chained", SMALL, program(forward * 8, "(local.set $a (i32.load offset=1024 (i32.const 0)))", i, "(memory 1)", "(i64.extend_i32_u (local.get $a))"))
    yield Attack("chain of loads, one line", SMALL, program("(local.set $a (i32.load (local.get $a)))" * 32, "(local.set $a (i32.load offset=1024 (i32.const 0)))", i, "(memory 1)", "(i64.extend_i32_u (local.get $a))"))
    yield Attack("chain of loads of bytes", SMALL, program("(local.set $a (i32.load8_u (local.get $a)))" * 32, "(local.set $a (i32.load offset=1024 (i32.const 0)))", i, "(memory 1)", "(i64.extend_i32_u (local.get $a))"))
    pages = "(i64.store offset=4092 (local.get $a) (local.get $x)) (local.set $x (i64.add (local.get $x) (i64.load offset=8188 (local.get $a)))) (local.set $a (i32.and (i32.add (local.get $a) (i32.const 4096)) (i32.const 0xf000)))\n"
    yield Attack("accesses across pages", SMALL, program(pages * 8, "", i, "(memory 2)", get))
    alias = "(i64.store (local.get $a) (local.get $x)) (local.set $x (i64.add (local.get $x) (i64.load offset=4096 (local.get $a)))) (local.set $a (i32.and (i32.add (local.get $a) (i32.const 8)) (i32.const 0xff8)))\n"
    yield Attack("loads 4 KB behind stores", SMALL, program(alias * 8, "", i, "(memory 2)", get))
    wide = "(local.set $p (i64.load (local.get $p)))"
    yield Attack("memory64: chain of loads", SMALL, program(wide * 16, "(local.set $p (i64.load offset=1024 (i64.const 0)))", "(local $p i64)", "(memory i64 1)", "(local.get $p)"))
    wide = "(i64.store (i64.and (local.get $p) (i64.const 0xfff8)) (local.get $p)) (local.set $p (i64.add (local.get $p) (i64.load offset=8 (i64.and (local.get $p) (i64.const 0xff8)))))"
    yield Attack("memory64: loads and stores", SMALL, program(wide * 8, "", "(local $p i64)", "(memory i64 2)", "(local.get $p)"))
    lanes = "(local.set $v (v128.load8_lane 3 (local.get $a) (local.get $v))) (v128.store16_lane offset=64 2 (local.get $a) (local.get $v))"
    yield Attack("lanes loaded and stored", SMALL, program(lanes * 8, "", "(local $a i32) (local $v v128)", "(memory 1)", "(i64x2.extract_lane 0 (local.get $v))"))


def fresh():
    """Each page once. The memory is as large as that allows; the count is bounded by it. It is paid for when it is made."""
    a = "(local $a i32) (local $x i64)"
    get = "(local.get $x)"
    step = "(local.set $a (i32.add (local.get $a) (i32.const 4096)))"
    for name, size in (("256 MB", 256 * MB), ("3.9 GB", 3900 * MB)):
        most = size // 4096 - 8
        for what, body in (("stores", "(i64.store (local.get $a) (i64.const 1))"), ("loads", "(local.set $x (i64.add (local.get $x) (i64.load (local.get $a))))")):
            yield Attack(f"{what} to fresh pages, {name}", group(size), program(body + step, "", a, memory(size), get), most=most, is_whole=True)
    size = 256 * MB
    wide = "(local.set $a (i32.add (local.get $a) (i32.const 65536)))"
    yield Attack("memory.fill of fresh pages", SMALL, program("(memory.fill (local.get $a) (i32.const 1) (i32.const 65536))" + wide, "", a, memory(size)), most=4090, is_whole=True)
    yield Attack("memory.fill of 1 byte of fresh pages", SMALL, program("(memory.fill (local.get $a) (i32.const 1) (i32.const 1))" + step, "", a, memory(size)), most=65500, is_whole=True)
    yield Attack("memory.copy from fresh to fresh pages", SMALL, program("(memory.copy (local.get $a) (i32.add (local.get $a) (i32.const 134217728)) (i32.const 65536))" + wide, "", a, memory(size)), most=2040, is_whole=True)
    yield Attack("memory.grow by a page", SMALL, program("(drop (memory.grow (i32.const 1)))", "", a, "(memory 1 65535)"), most=65000)
    yield Attack("memory.grow by a page that is stored to", SMALL, program("(i64.store (i32.shl (memory.grow (i32.const 1)) (i32.const 16)) (i64.const 1))", "", a, "(memory 1 65535)"), most=16000)
    pages = "".join(f"(i64.store offset={i * 4096} (local.get $a) (i64.const 1))" for i in range(16))
    yield Attack("memory.grow by a page that is stored to all over", SMALL, program("(local.set $a (i32.shl (memory.grow (i32.const 1)) (i32.const 16)))" + pages, "", a, "(memory 1 65535)"), most=4000)
    yield Attack("memory.grow by 0", SMALL, program("(drop (memory.grow (i32.const 0)))" * 4, "", a, "(memory 1 65535)"))
    yield Attack("memory.grow fails", SMALL, program("(drop (memory.grow (i32.const -1)))" * 4, "", a, "(memory 1 65535)"))
    many = " ".join(memory(size, f"$m{i}") for i in range(16))
    stores = "".join(f"(i64.store $m{i} (local.get $a) (i64.const 1))" for i in range(16)) + step
    yield Attack("stores to fresh pages of 16 memories", LARGE, program(stores, "", a, many), most=65500, is_whole=True)


def bulk():
    a = "(local $a i32)"
    two = memory(64 * MB)
    yield Attack("memory.copy of 1 byte", SMALL, program("(memory.copy (i32.const 64) (i32.const 4096) (i32.const 1))" * 8, "", a, two))
    yield Attack("memory.copy of 4 KB", SMALL, program("(memory.copy (i32.const 64) (i32.const 8192) (i32.const 4096))", "", a, two))
    yield Attack("memory.copy of 4 KB, overlapping by bytes", SMALL, program("(memory.copy (i32.const 65) (i32.const 64) (i32.const 4096))", "", a, two))
    yield Attack("memory.copy of 16 MB", SMALL, program("(memory.copy (i32.const 0) (i32.const 33554432) (i32.const 16777216))", "", a, two))
    yield Attack("memory.copy of 16 MB, unaligned", SMALL, program("(memory.copy (i32.const 33) (i32.const 1) (i32.const 16777216))", "", a, two))
    yield Attack("memory.fill of 1 byte", SMALL, program("(memory.fill (i32.const 64) (i32.const 1) (i32.const 1))" * 8, "", a, two))
    yield Attack("memory.fill of 16 MB", SMALL, program("(memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216))", "", a, two))
    far = RANDOM + f"(memory.fill {random_index(256 * MB - 64)} (i32.const 1) (i32.const 1))"
    yield Attack("memory.fill of 1 byte anywhere, 256 MB", SMALL, program(far * 4, touch(256 * MB), "(local $i i32) (local $r i64)", memory(256 * MB)))
    data = two + '(data $d "' + "x" * 1000 + '")'
    yield Attack("memory.init of 1,000 bytes", SMALL, program("(memory.init $d (i32.const 64) (i32.const 0) (i32.const 1000))" * 4, "", a, data))
    yield Attack("data.drop", SMALL, program("(data.drop $d)" * 4, "", a, data))
    yield Attack("memory.size", SMALL, program("(local.set $a (i32.add (local.get $a) (memory.size)))" * 8, "", a, two, "(i64.extend_i32_u (local.get $a))"))


def attacks():
    for family in (caches, pipelines, fresh, bulk):
        yield from family()
