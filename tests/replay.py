#!/usr/bin/env python3
"""Calls ten functions of a server: C, Rust, AssemblyScript, floats and NaNs, traps, clocks, random numbers, SQLite, large values.
   Then what it kept of them runs again from its data directory, in every tier, without optimisation and for another kind of CPU:
   each field of each receipt must be the same. Then one bit is changed here and there, and each is found.
   replay.py GASWORKS EXAMPLES [--count CALLS] [--bits N] [--seed N] [--levels all|few] [--jobs N] [--server-tier TIER] [--small]"""
import argparse
import atexit
import concurrent.futures
import http.client
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading

from verify_receipts import decode_leaf

# Clocks and random numbers of both interfaces, NaNs whose bits go into the reply, every trap, and endless gas.
WORLD = """(module (import "gasworks" "clock_ms" (func $clock (result i64)))
  (import "gasworks" "random" (func $random (param i32 i32)))
  (import "gasworks" "reply" (func $reply (param i32 i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (memory (export "memory") 1) (global $n (mut i32) (i32.const 0))
  (func (export "_initialize") (global.set $n (i32.const 7)))
  (func (export "handle")
    (i64.store (i32.const 0) (call $clock))
    (call $random (i32.const 8) (i32.const 40))
    (drop (call $time (i32.const 0) (i64.const 1) (i32.const 48)))
    (drop (call $time (i32.const 1) (i64.const 1) (i32.const 56)))
    (drop (call $random_get (i32.const 64) (i32.const 100)))
    (i32.store (i32.const 164) (global.get $n))
    (if (i32.eqz (i32.and (i32.load (i32.const 8)) (i32.const 7))) (then (unreachable)))
    (call $reply (i32.const 0) (i32.const 168))))"""
FLOATS = """(module (import "gasworks" "reply" (func $reply (param i32 i32)))
  (import "gasworks" "random" (func $random (param i32 i32)))
  (memory (export "memory") 1)
  (func $put (param i32 f64) (f64.store (local.get 0) (local.get 1)))
  (func (export "handle") (local $a f64) (local $b f64) (local $i i32)
    (call $random (i32.const 0) (i32.const 16))
    (local.set $a (f64.load (i32.const 0))) (local.set $b (f64.load (i32.const 8)))
    (call $put (i32.const 16) (f64.add (local.get $a) (local.get $b)))
    (call $put (i32.const 24) (f64.mul (local.get $a) (local.get $b)))
    (call $put (i32.const 32) (f64.div (local.get $a) (local.get $b)))
    (call $put (i32.const 40) (f64.sqrt (local.get $a)))
    (call $put (i32.const 48) (f64.div (f64.const 0) (f64.const 0)))
    (call $put (i32.const 56) (f64.min (local.get $a) (f64.const nan:0x4)))
    (call $put (i32.const 64) (f64.promote_f32 (f32.demote_f64 (local.get $b))))
    (call $put (i32.const 72) (f64.nearest (local.get $a)))
    (call $put (i32.const 80) (f64.sub (f64.const inf) (f64.const inf)))
    (call $reply (i32.const 0) (i32.const 88))))"""
GREEDY = """(module (import "gasworks" "state_get" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "gasworks" "state_set" (func $set (param i32 i32 i32 i32)))
  (import "gasworks" "state_add" (func $add (param i32 i32 i64)))
  (import "gasworks" "random" (func $random (param i32 i32)))
  (import "gasworks" "reply" (func $reply (param i32 i32)))
  (memory (export "memory") 8) (data (i32.const 0) "kn")
  (func (export "handle") (local $n i32)
    (local.set $n (call $get (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 200000)))
    (call $random (i32.const 8) (i32.const 4))
    (call $add (i32.const 1) (i32.const 1) (i64.extend_i32_u (i32.load (i32.const 8))))
    (call $set (i32.const 0) (i32.const 1) (i32.const 8) (i32.and (i32.load (i32.const 8)) (i32.const 0x1ffff)))
    (drop (call $get (i32.const 1) (i32.const 1) (i32.const 300000) (i32.const 8)))
    (if (i32.eqz (i32.and (i32.load (i32.const 8)) (i32.const 15))) (then (loop $l (br $l))))
    (call $reply (i32.const 300000) (i32.const 8))))"""


def fail(text):
    sys.exit("FAIL " + text)


class Server:
    def __init__(self, program, data, options):
        self.process = subprocess.Popen([program, "serve", "--data", data, "--insecure", "--listen", "127.0.0.1:0", "--workers", "2",
                                         "--drain", "0", "--sync", "off", "--gas-limit", "20M"] + options, stderr=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)
        line = ""
        while "serving on" not in line:
            line = self.process.stderr.readline()
            if not line:
                fail("the server does not start")
        self.port = int(line.rsplit(":", 1)[1])
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def ask(self, method, path, body=None, headers=None, connection=None):
        connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        return reply.status, reply.read(), reply.getheader("Gasworks-Receipt")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def deploy(server, name, data):
    status, body, _ = server.ask("PUT", "/v1/functions/" + name, data)
    if status != 201:
        fail(f"deploying {name}: {body}")


def deploy_all(server, examples, work, is_small):
    for name in ("hello", "counter-c", "json", "sql", "trap", "wordcount") if is_small else ("hello", "counter-c", "counter-rust", "json", "ledger", "sql", "trap", "wordcount"):
        path = os.path.join(examples, name + ".wasm")
        if os.path.exists(path):
            with open(path, "rb") as f:
                deploy(server, name, f.read())
    for name, text in (("world", WORLD), ("floats", FLOATS), ("greedy", GREEDY)):
        path = os.path.join(work, name)
        with open(path + ".wat", "w", encoding="utf-8") as f:
            f.write(text)
        subprocess.run(["wat2wasm", path + ".wat", "-o", path + ".wasm"], check=True)
        with open(path + ".wasm", "rb") as f:
            deploy(server, name, f.read())
    config = {"env": {"COLOUR": "blue"}, "secrets": {"TOKEN": "s3cret-word"}}
    status, body, _ = server.ask("PATCH", "/v1/functions/wordcount", json.dumps(config))
    if status != 200:
        fail(f"configuring: {body}")


def requests(functions, dice):
    """What is asked: every function, in ways that fail, too."""
    word = "".join(dice.choice("abcdefgh \n") for _ in range(dice.randrange(400)))
    kind = dice.choice(("unreachable", "oob", "div", "stack", "grow", "loop"))
    statements = dice.choice(("create table if not exists t(a, b); insert into t values (random(), '" + word.replace("'", "") + "')",
                              "create table if not exists t(a, b); select count(*), max(length(b)) from t", "select * from nothing", "select 1/0, 0.1 + 0.2"))
    number = dice.randrange(1000)
    calls = {
        "hello": ("GET", f"/f/hello/a%20b?x={number}", None), "counter-c": ("POST", f"/f/counter-c/{number % 3}", None),
        "counter-rust": ("POST", f"/f/counter-rust/{number % 3}", None), "json": ("POST", "/f/json", json.dumps({"a": [number, word]})),
        "ledger": dice.choice((("POST", f"/f/ledger/n{number % 5}?balance=100", None), ("POST", f"/f/ledger?from=n{number % 5}&to=n1&amount=3", None),
                               ("GET", "/f/ledger", None))),
        "sql": ("POST", "/f/sql", statements), "trap": ("GET", f"/f/trap?kind={kind}", None), "wordcount": ("POST", "/f/wordcount", word),
        "world": ("GET", "/f/world", None), "floats": ("GET", "/f/floats", None), "greedy": ("POST", "/f/greedy", None)}
    name = dice.choice(functions)
    method, path, body = calls[name]
    headers = {"X-Word": "a  b", "Cookie": f"c={number}"}
    if method == "POST" and dice.random() < 0.2:
        headers["Idempotency-Key"] = f"key-{number % 50}"
    return method, path, body, headers


def load(server, functions, count, seed):
    """How many of them have a receipt, as what is refused before it runs has none; and how many replies did not arrive."""
    dice = random.Random(seed)
    n = n_lost = 0
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for _ in range(count):
        try:
            n += server.ask(*requests(functions, dice), connection=connection)[2] is not None
        except (OSError, http.client.HTTPException):
            n_lost += 1
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    return n, n_lost


def replay(program, data, *options):
    done = subprocess.run([program, "replay", "--data", data, "--secret", "TOKEN=s3cret-word", *options], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def replay_everywhere(program, data, count, n_lost, levels, jobs):
    ways = [["--tier", "precise"], ["--tier", "baseline"], ["--tier", "fast", "-O", "0", "--cpu", "x86-64-v2"]]
    if levels == "all":
        ways += [["--tier", "fast"], ["--tier", "fast", "-O", "0"], ["--tier", "fast", "--cpu", "x86-64-v2"]]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for way, (code, text) in zip(ways, pool.map(lambda way: replay(program, data, "--all", "--json", *way), ways)):
            check_way(way, code, text, count, n_lost)


def check_way(way, code, text, count, n_lost):
    if code != 0:
        fail(f"{' '.join(way)}: {code} {text}")
    found = json.loads(text)
    if not count <= found["run"] + found["not_repeatable"] <= count + n_lost:
        fail(f"{' '.join(way)}: {count} were told of a receipt: {text}")
    if found["not_kept"] or found["damaged"] or found["same"] != found["run"]:
        fail(f"{' '.join(way)}: not all are kept and identical: {text}")
    print(f"ok   {found['run']} invocations again, {' '.join(way)}: identical; {found['not_repeatable']} were repeated requests", flush=True)


def files_of(folder):
    return [os.path.join(at, f) for at, _, names in os.walk(folder) for f in names]


def change_bits(program, data, work, receipt, bits, dice):
    """Each changed bit of leaf, inputs and module is found, by one sentence and not by a crash."""
    one = os.path.join(work, "one")
    index = receipt.split("/")[1]
    code, text = replay(program, data, "--save", one, index)
    if code != 0:
        fail("saving: " + text)
    code, text = replay(program, data, "--from", one, receipt)
    if code != 0 or "identical" not in text:
        fail("from a directory: " + text)
    for name in ("leaf", "inputs", "module.wasm"):
        path = os.path.join(one, name)
        with open(path, "rb") as f:
            whole = f.read()
        places = range(8 * len(whole)) if 8 * len(whole) <= bits else [dice.randrange(8 * len(whole)) for _ in range(bits)]
        for place in places:
            changed = bytearray(whole)
            changed[place // 8] ^= 1 << place % 8
            with open(path, "wb") as f:
                f.write(changed)
            code, text = replay(program, data, "--from", one, receipt)
            if code <= 0 or "identical" in text or text.count("\n") > 3:
                fail(f"bit {place} of {name} is changed, and replay ends with {code}: {text}")
        with open(path, "wb") as f:
            f.write(whole)
        print(f"ok   {len(places)} changed bits of {name} are found")


def encode(value):
    """Canonical CBOR (RFC 8949 section 4.2.1) of what leaves hold."""
    def head(kind, n):
        if n < 24:
            return bytes([kind << 5 | n])
        size = next(i for i in (1, 2, 4, 8) if n < 1 << 8 * i)
        return bytes([kind << 5 | 24 + (1, 2, 4, 8).index(size)]) + n.to_bytes(size, "big")
    if isinstance(value, dict):
        return head(5, len(value)) + b"".join(encode(k) + encode(value[k]) for k in sorted(value))
    if isinstance(value, int):
        return head(0, value)
    return head(3, len(value.encode())) + value.encode() if isinstance(value, str) else head(2, len(value)) + value


PREVIOUS, NOT_REPEATED = 19, {6: "time", 23: "rent", 24: "cpu_ns"}


def change_fields(program, data, work, receipt):
    """A leaf that says something else in one field, whoever has signed it, is found by running it again; but for those fields that
       docs/replay.md says no run can repeat, and `previous`, for which the log is asked."""
    one, index = os.path.join(work, "one"), receipt.split("/")[1]
    path = os.path.join(one, "leaf")
    with open(path, "rb") as f:
        whole = f.read()
    leaf = decode_leaf(whole)
    leaf[2] = leaf[2].decode()
    if encode(leaf) != whole:
        fail("the leaf, encoded again, is another")
    fields = {22, 20, PREVIOUS} | set(NOT_REPEATED) - {23}
    if not fields <= set(leaf):
        fail(f"the leaf has only {sorted(leaf)}")
    for key, value in leaf.items():
        other = value + 1 if isinstance(value, int) else value + "x" if isinstance(value, str) else bytes([value[0] ^ 1]) + value[1:]
        with open(path, "wb") as f:
            f.write(encode({**leaf, key: other}))
        code, text = replay(program, data, "--from", one, index)
        if (code == 0) != (key in NOT_REPEATED or key == PREVIOUS):
            fail(f"field {key} is {other} in place of {value}, and replay ends with {code}: {text}")
    with open(path, "wb") as f:
        f.write(whole)
    print(f"ok   another value in each of {len(leaf)} fields")
    change_previous(program, data, index, whole, leaf)


def change_previous(program, data, index, whole, leaf):
    """In the log itself: the leaf before is another function's."""
    path = os.path.join(data, "receipts", "0.leaves")
    if not os.path.exists(path):
        path = next(f for f in sorted(files_of(os.path.join(data, "receipts"))) if f.endswith(".leaves"))
    others = [n for n in range(int(index)) if len(encode({**leaf, PREVIOUS: n})) == len(whole)]
    with open(path, "r+b") as f:
        place = f.read().index(whole)
        found = set()
        for n in others[-40:]:
            f.seek(place)
            f.write(encode({**leaf, PREVIOUS: n}))
            f.flush()
            code, text = replay(program, data, index)
            found.add(code)
            if (code == 1) != ("first difference: previous" in text):
                fail(f"previous is {n}: {code} {text}")
        f.seek(place)
        f.write(whole)
    if found != {0, 1}:
        fail(f"of {len(others)} other leaves before it all were {found}")
    code, text = replay(program, data, index)
    if code:
        fail(f"the log as it was: {code} {text}")
    print("ok   the leaf before it is another function's")


def change_store(program, data, index, bits, dice):
    """The same in the files of inputs: the entry that is asked for is the one that is changed, or another, or its request."""
    folder = os.path.join(data, "receipts", "inputs")
    n_found = 0
    for _ in range(bits):
        path = dice.choice(files_of(folder))
        with open(path, "r+b") as f:
            whole = bytearray(f.read())
            place = dice.randrange(8 * len(whole))
            f.seek(place // 8)
            f.write(bytes([whole[place // 8] ^ 1 << place % 8]))
            f.flush()
            code, text = replay(program, data, index)
            if code == 0 and "identical" not in text:
                fail(f"bit {place} of {path}: {text}")
            if code < 0 or code == 1:
                fail(f"bit {place} of {path} is changed and passes for an input: {text}")
            n_found += code != 0
            f.seek(0)
            f.write(whole)
    path = dice.choice(files_of(folder))
    with open(path, "r+b") as f:
        whole = f.read()
        f.seek(len(whole) // 2)
        f.write(bytes([whole[len(whole) // 2] ^ 1]))
        f.flush()
        code, text = replay(program, data, "--all", "--json")
        found, _ = json.JSONDecoder().raw_decode(text)  # behind it is the error, as JSON, too
        if code <= 1 or not found["damaged"] or not found["run"] or found["same"] != found["run"]:
            fail(f"one byte of the store is changed: what is not damaged is to run again: {code} {text}")
        f.seek(0)
        f.write(whole)
    print(f"ok   {found['run']} run again where {found['damaged']} are damaged")
    print(f"ok   {bits} changed bits of the store: {n_found} were before or in the entry, none passed for another input")


def no_gate(program, data, work):
    """Nothing is compared where there is nothing."""
    code, said = replay(program, data, "--function", "nobody", "--with", os.path.join(work, "world.wasm"))
    if code != 9 or "nothing was compared" not in said:
        fail(f"nobody: {code} {said}")
    code, said = replay(program, data, "--tenant", "nobody", "--function", "world", "--with", os.path.join(work, "world.wasm"))
    if code != 9 or "nothing was compared" not in said:
        fail(f"world of nobody, which is another's: {code} {said}")
    print("ok   nothing to compare: exit code 9")


def gate(program, data, work):
    """A version that does the same, one that replies otherwise, and one that uses more gas."""
    with open(os.path.join(work, "world.wat"), encoding="utf-8") as f:
        text = f.read()
    versions = {"same": (text.replace("(i32.const 7))", "(i32.add (i32.const 3) (i32.const 4)))", 1), 0, []),
                "other": (text.replace("(i32.const 168)", "(i32.const 167)"), 1, []),
                "costly": (text.replace('(func (export "handle")', '(func (export "handle") (memory.fill (i32.const 4096) (i32.const 0) (i32.const 60000))'), 1, []),
                "allowed": (text.replace('(func (export "handle")', '(func (export "handle") (memory.fill (i32.const 4096) (i32.const 0) (i32.const 60000))'), 0,
                            ["--gas-percent", "1000000"])}
    versions["same"] = (versions["same"][0], 0, ["--gas-percent", "5"])
    for name, (source, wanted, options) in versions.items():
        path = os.path.join(work, name)
        with open(path + ".wat", "w", encoding="utf-8") as f:
            f.write(source)
        subprocess.run(["wat2wasm", path + ".wat", "-o", path + ".wasm"], check=True)
        code, said = replay(program, data, "--function", "world", "--since", "1h", "--with", path + ".wasm", *options)
        if code != wanted:
            fail(f"gate with {name}: {code} {said}")
        print(f"ok   gate, {name}: exit code {code}")


GATES = 3 + 2  # that run something, and so have a receipt


def deploy_with_gate(program, server, path, wanted, *options):
    """The command line ends as `replay --with` does."""
    done = subprocess.run([program, "deploy", "--server", f"http://127.0.0.1:{server.port}", "world", path, "--gate", "20", *options],
                          capture_output=True, text=True, check=False)
    if done.returncode != wanted:
        fail(f"deploy --gate with {path}: {done.returncode} {done.stdout} {done.stderr}")
    print(f"ok   deploy --gate with {os.path.basename(path)}: exit code {wanted}")


def server_gate(program, server, work):
    """What differs is not deployed, what does the same is, with a summary."""
    with open(os.path.join(work, "world.wat"), encoding="utf-8") as f:
        text = f.read()
    before = json.loads(server.ask("GET", "/v1/functions/world")[1])["version"]
    for name, source, query, wanted in (("other", text.replace("(i32.const 168)", "(i32.const 167)"), "?gate=20", 412),
                                        ("same", text.replace("(i32.const 7))", "(i32.add (i32.const 3) (i32.const 4)))", 1), "?gate=20", 412),
                                        ("same", text.replace("(i32.const 7))", "(i32.add (i32.const 3) (i32.const 4)))", 1), "?gate=20&gate-gas=5", 200),
                                        ("same", text, "?gate=x", 400)):
        path = os.path.join(work, "gate-" + name)
        with open(path + ".wat", "w", encoding="utf-8") as f:
            f.write(source)
        subprocess.run(["wat2wasm", path + ".wat", "-o", path + ".wasm"], check=True)
        with open(path + ".wasm", "rb") as f:
            status, body, _ = server.ask("PUT", "/v1/functions/world" + query, f.read())
        found = json.loads(body)
        after = json.loads(server.ask("GET", "/v1/functions/world")[1])["version"]
        if status != wanted or (after != before) != (status == 200):
            fail(f"PUT{query}: {status} {found}, version {before}, then {after}")
        if status == 200 and (not found["gate"]["run"] or found["gate"]["different"]):
            fail(f"PUT{query}: {found}")
        before = after
        print(f"ok   PUT{query}: {status} {found.get('detail', found.get('gate'))}")
    deploy_with_gate(program, server, os.path.join(work, "gate-other.wasm"), 1)
    deploy_with_gate(program, server, os.path.join(work, "world.wasm"), 0, "--gate-gas", "100")


def look_inside(program, data, receipt):
    """A trace ends with the receipt's gas; the debugger goes forwards and back; a stop is where it was wanted."""
    index = receipt.split("/")[1]
    found = json.loads(replay(program, data, "--json", index)[1])["receipt"]
    gas = sum(found.get(name, 0) for name in ("gas_compute", "gas_host", "gas_bytes", "gas_storage"))
    options = ["--data", data, "--secret", "TOKEN=s3cret-word"]
    done = subprocess.run([program, "trace", *options, index], capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1].split()
    if done.returncode or int(last[0]) != gas or "gasworks.clock_ms()" not in done.stderr:
        fail(f"trace: {done.returncode}, gas {gas}: {done.stderr}")
    done = subprocess.run([program, "replay", *options, "--until-gas", str(gas // 2), index], capture_output=True, text=True, check=False)
    if done.returncode or not done.stderr.startswith("stopped at "):
        fail(f"--until-gas: {done.returncode} {done.stderr}")
    commands = "step 20\nprint\nback 20\nwhere\ncontinue\nback\nquit\n"
    done = subprocess.run([program, "debug", *options, "--receipt", index], input=commands, capture_output=True, text=True, check=False)
    if done.returncode or f"and {gas} gas" not in done.stdout or "[1, gas" not in done.stdout:
        fail(f"debug: {done.returncode} {done.stdout} {done.stderr}")
    print(f"ok   trace, --until-gas and debug: {gas} gas")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("examples")
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--bits", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--levels", default="few")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="ways at the same time")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--server-tier", default="auto")
    o = parser.parse_args()
    work = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, work, True)
    data = os.path.join(work, "data")
    server = Server(o.program, data, ["--tier", o.server_tier, "--keep-inputs", "8G"])
    deploy_all(server, o.examples, work, o.small)
    functions = [f["name"] for f in json.loads(server.ask("GET", "/v1/functions")[1])["functions"]]
    if len(functions) < 9:
        fail(f"only {functions} are here")
    n, n_lost = load(server, functions, o.count, o.seed)
    status = 0
    while status != 200:  # one of eight calls traps, and its leaf has fewer fields
        status, _, receipt = server.ask("GET", "/f/world")
    server_gate(o.program, server, work)
    status, inputs, _ = server.ask("GET", f"/v1/receipts/{receipt.split('/')[1]}/inputs")
    if status != 200 or b"s3cret" in inputs:
        fail(f"inputs of {receipt}: {status}")
    code = subprocess.run([o.program, "replay", "--server", f"http://127.0.0.1:{server.port}", receipt], check=False).returncode
    if code:
        fail("a receipt of the server's")
    server.stop()
    for path in files_of(os.path.join(data, "receipts", "inputs")):
        with open(path, "rb") as f:
            if b"s3cret-word" in f.read():
                fail("a secret is on disk")
    replay_everywhere(o.program, data, n + 1 + GATES, n_lost, o.levels, o.jobs)
    dice = random.Random(o.seed)
    change_bits(o.program, data, work, receipt, o.bits, dice)
    change_fields(o.program, data, work, receipt)
    change_store(o.program, data, receipt.split("/")[1], o.bits, dice)
    gate(o.program, data, work)
    no_gate(o.program, data, work)
    look_inside(o.program, data, receipt)
    print("passed")


main()
