"""Attacks on the server: what one request costs beside what it is billed. Handlers, called over HTTP."""
from attacks.wat import *

GROUP, HOST, ALONE = "resources", "host functions", "a request by itself"

GASWORKS = {"request_method": ("i i", "i"), "request_header": ("i i i i", "i"), "request_header_name": ("i i i", "i"), "request_body": ("i i i", "i"),
            "request_body_size": ("", "i"), "reply_status": ("i", ""), "reply_header": ("i i i i", ""), "reply": ("i i", ""), "state_get": ("i i i i", "i"),
            "state_set": ("i i i i", ""), "state_delete": ("i i", ""), "log": ("i i", ""), "gas_left": ("", "I"), "clock_ms": ("", "I"), "random": ("i i", "")}


def handler(body, names=(), module="", memory_text='(memory (export "memory") 64)', variables="(local $i i32) (local $x i64)"):
    kind = {"i": "(TYPE i32)", "I": "(TYPE i64)"}
    imports = "".join(f'(import "gasworks" "{n}" (func ${n} {" ".join(kind[c].replace("TYPE", "param") for c in GASWORKS[n][0].split())} {"".join(kind[c].replace("TYPE", "result") for c in GASWORKS[n][1])}))' for n in names)
    return f'(module {imports} {memory_text} {module} (func (export "handle") {variables} {body}))'


def repeat(n, body):
    return f"(loop $l {body} (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.ne (local.get $i) (i32.const {n}))))"


def serve(name, text, group=GROUP, **rest):
    return Attack(name, group, text, how="serve", **rest)


# --- modules as bytes, for what wabt's text has no words for ---------------------------------------------------------

def leb(n):
    out = b""
    while True:
        out += bytes([(n & 127) | (128 if n > 127 else 0)])
        n >>= 7
        if not n:
            return out


def section(number, *items):
    body = leb(len(items)) + b"".join(items)
    return bytes([number]) + leb(len(body)) + body


def initialised_table(entries, tables=1):
    table = b"\x40\x00\x70\x00" + leb(entries) + b"\xd2\x00\x0b"
    name = b"\x06memory\x02\x00"
    return (b"\0asm\1\0\0\0" + section(1, b"\x60\0\0") + section(3, b"\0") + section(4, *[table] * tables) + section(5, b"\0\1")
            + section(7, b"\x06handle\0\0", name) + section(10, b"\x02\0\x0b"))


# --- the attacks -----------------------------------------------------------------------------------------------------

def instances():
    yield serve("an empty request", handler(""), ALONE)
    yield serve("a trap at once", handler("unreachable"), ALONE)
    for n in (100_000, 10_000_000):
        yield serve(f"a table of {n:,} with an initialiser", initialised_table(n))
    yield serve("a table of 10,000,000", handler("", module="(table 10000000 funcref)"))
    yield serve("a table grown to 1,000,000", handler("(drop (table.grow $t (ref.null func) (i32.const 1000000)))", module="(table $t 1 1000000 funcref)"))
    yield serve("a table filled, 1,000,000", handler("(table.fill $t (i32.const 0) (ref.func $f) (i32.const 1000000))", module="(table $t 1000000 funcref) (func $f) (elem declare func $f)"))
    yield serve("100,000 elements of a segment", handler("", module="(table 100000 funcref) (func $f) (elem (i32.const 0) func " + "$f " * 100000 + ")"))
    yield serve("100,000 globals, one set", handler("(global.set 7 (i32.const 1))", module='(global (mut i32) (i32.const 5))' * 100000))
    yield serve("data of 1 MB, not touched", handler("", module='(data (i32.const 0) "' + "x" * MB + '")'))
    yield serve("data of 1 MB, all written", handler("(memory.fill (i32.const 0) (i32.const 1) (i32.const 1048576))", module='(data (i32.const 0) "' + "x" * MB + '")'))
    yield serve("16 memories of 256 MB, not touched", handler("", memory_text='(memory (export "memory") 4096)' + "(memory 4096)" * 15))
    for pages in (16, 256, 1024, 16384, 60000):
        size = 16 * ((pages + 15) // 16) // 16
        store = repeat(pages, "(i32.store (i32.shl (local.get $i) (i32.const 12)) (i32.const 7))")
        yield serve(f"{pages:,} pages stored to", handler(store, memory_text=f'(memory (export "memory") {size})'))
        load = repeat(pages, "(local.set $x (i64.add (local.get $x) (i64.load (i32.shl (local.get $i) (i32.const 12)))))")
        yield serve(f"{pages:,} pages read", handler(load + "(i64.store (i32.const 0) (local.get $x))", memory_text=f'(memory (export "memory") {size})'))
    for pages in (1, 100, 3000):
        yield serve(f"a memory grown by {pages:,} pages", handler(f"(drop (memory.grow (i32.const {pages})))", memory_text='(memory (export "memory") 1)'))
        store = repeat(pages * 16, "(i32.store offset=65536 (i32.shl (local.get $i) (i32.const 12)) (i32.const 7))")
        yield serve(f"a memory grown by {pages:,} pages, all stored to", handler(f"(drop (memory.grow (i32.const {pages})))" + store, memory_text='(memory (export "memory") 1)'))
    spin = repeat(1_000_000, "(local.set $x (i64.mul (i64.add (local.get $x) (i64.const 3)) (i64.const 7)))")
    yield serve("a start function", handler("(i64.store (i32.const 0) (local.get $x))", module=f"(func $s (local $i i32) (local $x i64) {spin} (i64.store (i32.const 0) (local.get $x))) (start $s)"))
    trap = "(i64.store (i32.const 0) (local.get $x)) (drop (i32.load (i32.const 0x7ffffff0)))"
    yield serve("a trap after 1,000,000 rounds", handler(spin + trap))
    deep = "(func $f (param i32) (result i32) (if (result i32) (local.get 0) (then (i32.add (call $f (i32.sub (local.get 0) (i32.const 1))) (i32.const 1))) (else (i32.const 0))))"
    yield serve("recursion 8,000 deep", handler("(drop (call $f (i32.const 8000)))", module=deep))


def host():
    key = "(i32.const 0) (i32.const 8)"
    counted = "(i32.store (i32.const 0) (local.get $i))"
    for n in (1, 1000):
        what = "1 call" if n == 1 else f"{n:,} calls"
        yield serve(f"state_get of a missing key, {what}", handler(repeat(n, f"(drop (call $state_get {key} (i32.const 64) (i32.const 64)))"), ["state_get"]), HOST)
        yield serve(f"state_get of missing keys, {what}", handler(repeat(n, f"{counted} (drop (call $state_get {key} (i32.const 64) (i32.const 64)))"), ["state_get"]), HOST)
        yield serve(f"state_set of one key, {what}", handler(repeat(n, f"(call $state_set {key} (i32.const 64) (i32.const 8))"), ["state_set"]), HOST)
        yield serve(f"state_set of keys, {what}", handler(repeat(n, f"{counted} (call $state_set {key} (i32.const 64) (i32.const 8))"), ["state_set"]), HOST)
        yield serve(f"state_delete of missing keys, {what}", handler(repeat(n, f"{counted} (call $state_delete {key})"), ["state_delete"]), HOST)
    big = "(call $state_set (i32.const 0) (i32.const 8) (i32.const 64) (i32.const 1000000))"
    yield serve("state_set of 1 MB", handler(big, ["state_set"]), HOST)
    yield serve("state_get of 1 MB, 64 bytes taken, 100 calls", handler("(if (i32.eqz (i32.add (i32.const 1) (call $state_get (i32.const 0) (i32.const 8) (i32.const 64) (i32.const 64)))) (then " + big + "))" + repeat(100, f"(drop (call $state_get {key} (i32.const 64) (i32.const 64)))"), ["state_get", "state_set"]), HOST)
    n = 10000
    for name, body in (("gas_left", "(drop (call $gas_left))"), ("clock_ms", "(drop (call $clock_ms))"), ("request_body_size", "(drop (call $request_body_size))"),
                       ("reply_status", "(call $reply_status (i32.const 200))")):
        yield serve(f"{name}, {n:,} calls", handler(repeat(n, body), [name]), HOST)
    for size in (1, 64, 65536):
        calls = n if size < 65536 else 100
        yield serve(f"random of {size:,} bytes, {calls:,} calls", handler(repeat(calls, f"(call $random (i32.const 64) (i32.const {size}))"), ["random"]), HOST)
    for size in (0, 1, 10000):
        calls = n if size < 10000 else 1000
        yield serve(f"log of {size:,} bytes, {calls:,} calls", handler(repeat(calls, f"(call $log (i32.const 64) (i32.const {size}))"), ["log"]), HOST)
    yield serve("reply of 1 byte, 10,000 calls", handler(repeat(n, "(call $reply (i32.const 64) (i32.const 1))"), ["reply"]), HOST)
    yield serve("reply of 1 MB", handler("(call $reply (i32.const 64) (i32.const 1000000))", ["reply"]), HOST)
    names = '(data (i32.const 64) "x-none") (data (i32.const 80) "x-h0")'
    yield serve("request_header: none of 60, 1,000 calls", handler(repeat(1000, "(drop (call $request_header (i32.const 64) (i32.const 6) (i32.const 128) (i32.const 8)))"), ["request_header"], names), HOST, headers=60)
    yield serve("request_header: 8,000 bytes, 1 taken, 1,000 calls", handler(repeat(1000, "(drop (call $request_header (i32.const 80) (i32.const 4) (i32.const 128) (i32.const 1)))"), ["request_header"], names), HOST, headers=-1)
    yield serve("reply_header of 20 bytes, 90 calls", handler(repeat(90, "(call $reply_header (i32.const 80) (i32.const 4) (i32.const 64) (i32.const 4))"), ["reply_header"], names), HOST)


def attacks():
    yield from instances()
    yield from host()
