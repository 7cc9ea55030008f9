#!/usr/bin/env python3
"""Everything at the same time: many connections call functions that count, transfer, trap, run out of time and gas, while these are
   deployed, gated, rolled back, deleted, moved between groups of state and unloaded, clients go away, tenants come and go, the log of
   receipts, inputs and usage are read, and what was run is run again. A build with sanitizers sees the races and the errors; any build
   has to keep its promises: a bank's sum holds at every read, a request with a key counts once, usage is the sum of the receipts, the
   log verifies against every checkpoint that was handed out, no invocation is without a receipt, and the server ends in good order.
   With --kills the server is killed at random moments of it and started again, instead of --seconds: what was acknowledged is there.
   churn.py GASWORKS EXAMPLES [--seconds N | --kills N] [--seed N] [--workers N] [--option OPTION]..."""
import argparse
import collections
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import receipts  # noqa: E402
import usage  # noqa: E402
import verify_receipts as verifier  # noqa: E402

# "?37" moves one from account 3 to 7; without a query the sum of ten accounts is the reply. They begin with 1000.
BANK = """(module
  (import "gasworks" "request_query" (func $query (param i32 i32) (result i32)))
  (import "gasworks" "state_get" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "gasworks" "state_set" (func $set (param i32 i32 i32 i32)))
  (import "gasworks" "reply" (func $reply (param i32 i32)))
  (memory (export "memory") 1)
  (func $balance (param $key i32) (result i64)
    (i64.store (i32.const 64) (i64.const 1000))
    (drop (call $get (local.get $key) (i32.const 1) (i32.const 64) (i32.const 8)))
    (i64.load (i32.const 64)))
  (func $put (param $key i32) (param $n i64)
    (i64.store (i32.const 64) (local.get $n))
    (call $set (local.get $key) (i32.const 1) (i32.const 64) (i32.const 8)))
  (func $transfer
    (if (i32.eq (i32.load8_u (i32.const 0)) (i32.load8_u (i32.const 1))) (then (return)))
    (call $put (i32.const 0) (i64.sub (call $balance (i32.const 0)) (i64.const 1)))
    (call $put (i32.const 1) (i64.add (call $balance (i32.const 1)) (i64.const 1))))
  (func $sum (local $n i64) (local $i i32)
    (loop $next
      (i32.store8 (i32.const 2) (i32.add (local.get $i) (i32.const 48)))
      (local.set $n (i64.add (local.get $n) (call $balance (i32.const 2))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10))))
    (i64.store (i32.const 64) (local.get $n)))
  (func (export "handle")
    (if (i32.eq (call $query (i32.const 0) (i32.const 2)) (i32.const 2)) (then (call $transfer)) (else (call $sum)))
    (call $reply (i32.const 64) (i32.const 8))))"""
SUM = (10_000).to_bytes(8, "little")
# Grows a value by parts, adds to a number, scans, asks for time and random bytes.
GREEDY = """(module
  (import "gasworks" "state_add" (func $add (param i32 i32 i64)))
  (import "gasworks" "state_write" (func $write (param i32 i32 i64 i32 i32)))
  (import "gasworks" "state_read" (func $read (param i32 i32 i64 i32 i32) (result i32)))
  (import "gasworks" "random" (func $random (param i32 i32)))
  (import "gasworks" "clock_ms" (func $clock (result i64)))
  (import "gasworks" "reply" (func $reply (param i32 i32)))
  (memory (export "memory") 2) (data (i32.const 0) "kn")
  (func (export "handle")
    (call $random (i32.const 8) (i32.const 8))
    (i64.store (i32.const 16) (call $clock))
    (call $add (i32.const 1) (i32.const 1) (i64.load (i32.const 8)))
    (call $write (i32.const 0) (i32.const 1) (i64.extend_i32_u (i32.load16_u (i32.const 8))) (i32.const 8) (i32.const 9000))
    (drop (call $read (i32.const 0) (i32.const 1) (i64.const 4000) (i32.const 30000) (i32.const 9000)))
    (call $reply (i32.const 0) (i32.const 40))))"""
# What ThreadSanitizer does not see: libuv closes descriptors by bare system calls, and baseline code finds functions that others have
# translated by loads of its own. So half of the runs interpret, where nothing of the latter is left out.
UNSEEN = {"auto": "race:closedir\nrace:epoll_ctl\nrace:interceptor_close\nrace:^baseline_compile$\nrace:^precise_translate$\n",
          "precise": "race:closedir\nrace:epoll_ctl\nrace:interceptor_close\n"}
PRICES = {"currency": "EUR", "gas": "0.50", "rent": "0.02", "requests": "0.2", "bytes_out": "0.09"}


class Churn:
    """The server, and what clients were told."""

    def __init__(self, args, work):
        self.args, self.work, self.data, self.log = args, work, os.path.join(work, "data"), open(work + "/log", "ab+")
        self.modules = {}
        for name in ("hello", "counter-c", "counter-rust", "ledger", "trap", "wordcount"):
            path = os.path.join(args.examples, name + ".wasm")
            if os.path.exists(path):
                with open(path, "rb") as f:
                    self.modules[name] = f.read()
        for name, text in (("bank", BANK), ("greedy", GREEDY), ("burn", usage.BURN)):
            self.modules[name] = assemble(work, name, text)
        with open(work + "/prices", "w", encoding="utf-8") as f:
            json.dump(PRICES, f)
        self.wrong, self.statuses, self.done, self.refusals = [], collections.Counter(), collections.Counter(), collections.Counter()
        self.receipts, self.checkpoints = [], []
        self.asked, self.once = set(), {}  # keys, and their answers
        self.kept = {}  # by client: what its counter was last
        self.is_killed = False
        with open(args.program, "rb") as f:
            self.has_tsan = b"__tsan_init" in f.read()
        self.tier = ("auto", "precise")[args.seed % 2]
        with open(work + "/unseen", "w", encoding="ascii") as f:
            f.write(UNSEEN[self.tier])
        self.environment = {"TSAN_OPTIONS": f"suppressions={work}/unseen"} if self.has_tsan else {}
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.start()

    def start(self):
        begin = os.path.getsize(self.work + "/log")
        self.configure(5)
        command = [self.args.program, "serve", "--data", self.data, "--insecure", "--listen", "127.0.0.1:0", "--workers", str(self.args.workers),
                   "--sync", "off", "--drain", "0", "--config", self.work + "/config.yaml", "--memory-limit", "96M", "--keep-inputs", "4M" if not self.args.kills else "1G",
                   "--idempotency-keep", "3600", "--keep-versions", "4", "--log-size", "65536", "--prices", self.work + "/prices", *self.args.option]
        if self.has_tsan:
            command += ["--tier", self.tier, "--walls", "off"]  # the sanitizer starts a program that knows the names of functions
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log, env=dict(os.environ, **self.environment))
        for _ in range(1200):
            found = re.search(r"serving on http://127\.0\.0\.1:(\d+)", self.text()[begin:])
            if found or self.process.poll() is not None:
                break
            time.sleep(0.05)
        if not found:
            sys.exit("FAIL the server does not start: " + self.text()[-4000:])
        self.port = int(found[1])

    def text(self):
        with open(self.work + "/log", errors="replace", encoding="utf-8") as f:
            return f.read()

    def fail(self, text):
        self.wrong.append(text)
        self.over.set()

    def configure(self, megagas):
        """The server reads it at its start and at SIGHUP."""
        new = f"{self.work}/config.{threading.get_ident()}"
        with open(new, "w", encoding="utf-8") as f:
            f.write(f"gas-limit: {megagas}M\n")
        os.rename(new, self.work + "/config.yaml")

    def kill(self):
        self.is_killed = True
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.over.set()

    def exchange(self, connection, method, path, body=None, headers=None):
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        text = reply.read()
        self.statuses[reply.status] += 1
        if reply.status == 503:
            self.refusals[json.loads(text)["detail"][:60]] += 1
        return reply, text

    def ask(self, method, path, body=None):
        """As receipts.Server has it, for its checks."""
        reply, text = self.exchange(http.client.HTTPConnection("127.0.0.1", self.port, timeout=300), method, path, body)
        return reply.status, text, reply.getheader("Gasworks-Receipt")


def assemble(work, name, text):
    path = os.path.join(work, name)
    with open(path + ".wat", "w", encoding="utf-8") as f:
        f.write(text)
    subprocess.run(["wat2wasm", path + ".wat", "-o", path + ".wasm"], check=True)
    with open(path + ".wasm", "rb") as f:
        return f.read()


# --- who calls ----------------------------------------------------------------------------------------------------------

def any_call(dice):
    number = dice.randrange(1000)
    kind = dice.choice(("unreachable", "oob", "div", "stack", "grow", "loop"))
    return dice.choice((
        ("GET", f"/f/hello?x={number}", None), ("POST", f"/f/counter/{number % 3}", None), ("GET", f"/f/counter/{number % 3}", None),
        ("POST", f"/f/counter@beta/{number % 3}", None), ("POST", f"/f/second/{number % 3}", None), ("POST", f"/f/brief/{number % 3}", None),
        ("GET", f"/f/trap?kind={kind}", None), ("POST", "/f/greedy", None), ("POST", "/f/burn", None), ("POST", "/f/words", "a b c " * (number % 90)),
        ("POST", f"/f/ledger/n{number % 5}?balance=100", None), ("POST", f"/f/ledger?from=n{number % 5}&to=n1&amount=3", None), ("GET", "/f/ledger", None),
        ("POST", f"/f/{dice.choice(('bank', 'till'))}?{number % 10}{number // 10 % 10}", None),
        ("POST", f"/f/{dice.choice(('bank', 'till'))}?{number % 2}{number // 10 % 2}", None)))


def leave(churn, dice):
    """A client that goes away, with half of a request or before its reply."""
    method, path, _ = any_call(dice)
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n12345".encode()
    with socket.create_connection(("127.0.0.1", churn.port), timeout=60) as connection:
        connection.sendall(head[:dice.randrange(len(head))] if dice.random() < 0.3 else head)
        time.sleep(dice.random() * 0.02)
        if dice.random() < 0.5:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def count_once(churn, connection, dice):
    """With a key, at times from several clients at once: each gets the same answer."""
    key = f'"{dice.randrange(1 << 40) if dice.random() < 0.7 else dice.randrange(20)}"'
    churn.asked.add(key)
    ask_once(churn, connection, key)


def ask_once(churn, connection, key):
    reply, text = churn.exchange(connection, "POST", "/f/once/n", headers={"Idempotency-Key": key})
    if reply.status != 200:
        return
    with churn.lock:
        known = churn.once.setdefault(key, text)
    if known != text:
        churn.fail(f"the key {key} was answered with {known} and {text}")


def check_sum(churn, connection, dice):
    reply, text = churn.exchange(connection, "GET", dice.choice(("/f/bank", "/f/till")))
    if reply.status == 200 and text != SUM:
        churn.fail(f"the bank has {int.from_bytes(text, 'little')} and not 10000")


def count_for_itself(churn, connection, _):
    """Each client has a counter of its own in the bank's group: what it was told last is there, and at most one more."""
    name = threading.current_thread().name
    last, unknown = churn.kept.get(name, (0, 0))
    churn.kept[name] = last, unknown + 1
    reply, text = churn.exchange(connection, "POST", "/f/kept/" + name)
    if reply.status != 200:
        return
    churn.kept[name] = int(text), 0
    if not last < int(text) <= last + unknown + 1:
        churn.fail(f"a counter that was {last}, or up to {unknown} more, is {int(text)}")


def call(churn, connection, dice):
    kind = dice.random()
    if kind < 0.05:
        leave(churn, dice)
    elif kind < 0.15:
        count_once(churn, connection, dice)
    elif kind < 0.25:
        check_sum(churn, connection, dice)
    elif kind < 0.35:
        count_for_itself(churn, connection, dice)
    else:
        reply, _ = churn.exchange(connection, *any_call(dice))
        name = reply.getheader("Gasworks-Receipt")
        if name:
            churn.receipts.append(name)


# --- who changes --------------------------------------------------------------------------------------------------------

def deploy(churn, connection, name, module, query=""):
    return churn.exchange(connection, "PUT", f"/v1/functions/{name}{query}", churn.modules[module])


def patch(churn, connection, name, **settings):
    return churn.exchange(connection, "PATCH", "/v1/functions/" + name, json.dumps(settings))


def deploy_all(churn, connection):
    deploy(churn, connection, "till", "bank", "?state_group=money")
    deploy(churn, connection, "kept", "counter-c", "?state_group=money")
    for name, module in (("hello", "hello"), ("counter", "counter-c"), ("once", "counter-c"), ("second", "counter-c"), ("brief", "counter-c"),
                         ("trap", "trap"), ("greedy", "greedy"), ("burn", "burn"), ("ledger", "ledger"), ("words", "wordcount")):
        if module in churn.modules:
            deploy(churn, connection, name, module)
    deploy(churn, connection, "bank", "bank", "?state_group=money&read_only_get=on")
    patch(churn, connection, "brief", deadline_ms=100)
    patch(churn, connection, "burn", deadline_ms=200)


def change(churn, connection, dice):
    counters = [name for name in ("counter-c", "counter-rust") if name in churn.modules]
    number = dice.randrange(1000)
    other = dict(churn.modules, hello=churn.modules["hello"] + bytes((0, 3, 1, 97, number % 256)))  # a custom section
    actions = (
        lambda: deploy(churn, connection, "counter", dice.choice(counters), dice.choice(("", "?alias=beta"))),
        lambda: deploy(churn, connection, "counter", dice.choice(counters), f"?gate={dice.randrange(1, 20)}&gate-gas={dice.choice((0, 1000))}"),
        lambda: churn.exchange(connection, "PUT", "/v1/functions/hello", other["hello"]),
        lambda: deploy(churn, connection, "ledger", "ledger") if "ledger" in churn.modules else None,
        lambda: deploy(churn, connection, "till", "bank", "?state_group=money"),
        lambda: churn.exchange(connection, "DELETE", "/v1/functions/" + dice.choice(("till", "second", "greedy", "burn", "hello"))),
        lambda: deploy(churn, connection, "second", dice.choice(counters), f"?state_group={dice.choice(('', 'shop', 'park'))}"),
        lambda: deploy(churn, connection, dice.choice(("greedy", "burn", "hello")), "greedy" if number % 2 else "hello", "?alias=odd"),
        lambda: [deploy(churn, connection, name, name) for name in ("greedy", "burn", "hello")],
        lambda: patch(churn, connection, dice.choice(("counter", "second")), state_group=dice.choice(("", "shop", "park"))),
        lambda: patch(churn, connection, dice.choice(("brief", "greedy")), deadline_ms=dice.choice((100, 300, None)), env={"A": str(number)}),
        lambda: churn.exchange(connection, "PUT", "/v1/functions/counter/aliases/live", json.dumps({"version": "previous"})),
        lambda: churn.exchange(connection, "PUT", "/v1/functions/hello/aliases/live", json.dumps({"version": "previous"})),
        lambda: churn.exchange(connection, "PUT", "/v1/functions/counter/aliases/beta", json.dumps({"version": number % 9 + 1})),
        lambda: churn.exchange(connection, "PUT", "/v1/functions/counter/aliases/live",
                               json.dumps({"version": number % 9 + 1, "canary": number % 7 + 1, "percent": 30})),
        lambda: churn.exchange(connection, "DELETE", "/v1/functions/counter/aliases/beta"),
        lambda: churn.exchange(connection, "DELETE", f"/v1/functions/counter/versions/{number % 20 + 1}"),
        lambda: churn.exchange(connection, "DELETE", "/v1/groups/" + dice.choice(("shop", "park"))),
        lambda: come_and_go(churn, connection, f"t{number % 3}"),
        lambda: churn.exchange(connection, "PATCH", "/v1/budget", json.dumps({"gas_per_second": dice.choice((None, 10**12)), "concurrency": 400})),
        lambda: churn.exchange(connection, "POST", "/v1/log/rotate") if number % 10 == 0 else None,
        lambda: [churn.configure(number % 3 + 4), churn.process.send_signal(signal.SIGHUP)])
    dice.choice(actions)()


def come_and_go(churn, connection, tenant):
    churn.exchange(connection, "PUT", "/v1/tenants/" + tenant, "{}")
    churn.exchange(connection, "PUT", f"/t/{tenant}/v1/functions/counter", churn.modules["counter-c"])
    for _ in range(5):
        churn.exchange(connection, "POST", f"/t/{tenant}/f/counter/a")
    churn.exchange(connection, "GET", f"/t/{tenant}/v1/usage")
    churn.exchange(connection, "DELETE", "/v1/tenants/" + tenant)


# --- who reads ----------------------------------------------------------------------------------------------------------

def look(churn, connection, dice):
    index = dice.choice(churn.receipts).split("/")[1] if churn.receipts else "0"
    name = dice.choice(("counter", "bank", "till", "greedy", "second", "trap"))
    kind = dice.randrange(9)
    if kind == 0:
        reply, text = churn.exchange(connection, "GET", "/v1/log/checkpoint")
        if reply.status == 200:
            churn.checkpoints.append(text.decode())
    elif kind == 1:
        churn.exchange(connection, "GET", "/v1/usage?from=1970-01-01" + dice.choice(("", "&format=focus", "&by=function")))
    elif kind == 2:
        churn.exchange(connection, "GET", f"/v1/receipts/{index}" + dice.choice(("", "/inputs", "/module")))
    elif kind == 3:
        churn.exchange(connection, "GET", f"/v1/functions/{name}/receipts")
    elif kind == 4:
        churn.exchange(connection, "GET", dice.choice(("/metrics", "/v1/metrics", "/v1/functions", "/v1/budget", "/v1/tenants", "/v1/log/keys")))
    elif kind == 5:
        churn.exchange(connection, "GET", f"/v1/functions/{name}" + dice.choice(("", "/logs", "/versions", "/settings")))
    elif kind == 6:
        churn.exchange(connection, "GET", f"/v1/functions/{name}/profile?seconds=1")
    elif kind == 7:
        number = int(index) // 256
        churn.exchange(connection, "GET", "/v1/log/tile/" + dice.choice(("0/", "entries/")) + verifier.tile_path(number))
    elif dice.random() < 0.3 and not churn.args.kills:
        where = dice.choice((["--server", f"http://127.0.0.1:{churn.port}", index], ["--data", churn.data, index],
                             ["--server", f"http://127.0.0.1:{churn.port}", "--function", name, "--limit", "5"]))
        again = subprocess.run([churn.args.program, "replay", "--tier", dice.choice(("precise", "baseline")), *where], capture_output=True, text=True, check=False)
        churn.done[f"replay {again.returncode}"] += 1
        if again.returncode not in (0, 2, 8, 9) or "ThreadSanitizer" in again.stderr:  # a repeated answer, or what is not kept any more
            churn.fail(f"replay {where}: {again.returncode} {again.stdout} {again.stderr}")


def work_on(churn, what, seed):
    dice, connection = random.Random(seed), None
    while not churn.over.is_set():
        try:
            connection = connection or http.client.HTTPConnection("127.0.0.1", churn.port, timeout=300)
            what(churn, connection, dice)
            churn.done[what.__name__] += 1
        except (http.client.HTTPException, ConnectionError, BrokenPipeError):
            connection = None
            if churn.is_killed:
                return
            if churn.process.poll() is not None:
                churn.fail(f"the server has ended with {churn.process.returncode}")
        except OSError as error:
            if churn.is_killed:
                return
            churn.fail(f"{what.__name__}: {error}")
        except Exception as error:  # a thread that ends would go unnoticed
            churn.fail(f"{what.__name__}: {error!r}")
            raise


# --- what was promised ------------------------------------------------------------------------------------------------------

def check_log(churn):
    mirror, olds = os.path.join(churn.work, "mirror"), []
    status, text, _ = churn.ask("GET", "/v1/log/keys")
    keys = [verifier.parse_key(line) for line in text.decode().splitlines()]
    receipts.fetch_log(churn, mirror)
    for i, checkpoint in enumerate(sorted(set(churn.checkpoints))):
        olds.append(os.path.join(churn.work, f"old{i}"))
        with open(olds[-1], "w", encoding="utf-8") as f:
            f.write(checkpoint)
    leaves = verifier.verify_log(keys, mirror, olds)
    for name in churn.receipts:
        _, index, wanted = name.split("/")
        if verifier.leaf_hash(leaves[int(index)]).hex() != wanted:
            churn.fail(f"the receipt {name} is not in the log")
    return len(leaves), len(olds)


def await_checkpoint(churn):
    """Until one has all that was told."""
    last = max(int(name.split("/")[1]) for name in churn.receipts)
    for _ in range(300):
        if last < int(churn.ask("GET", "/v1/log/checkpoint")[1].split(b"\n")[1]):
            return
        time.sleep(0.1)
    churn.fail("no checkpoint has the last receipts")


def check_once(churn):
    """Keys that got no answer are asked again: then each has counted once."""
    connection = http.client.HTTPConnection("127.0.0.1", churn.port, timeout=300)
    for key in random.sample(sorted(churn.once), min(50, len(churn.once))) + sorted(churn.asked - set(churn.once)):
        for _ in range(100):
            ask_once(churn, connection, key)
            if key in churn.once:
                break
            time.sleep(0.1)
    status, text, _ = churn.ask("GET", "/f/once/n")
    numbers = sorted(int(answer) for answer in churn.once.values())
    if status != 200 or numbers != list(range(1, int(text) + 1)):
        churn.fail(f"{len(numbers)} keys of {len(churn.asked)} have counted to {text}: {numbers[:3]} to {numbers[-3:]}")


def check_all(churn):
    churn.is_killed = False
    await_checkpoint(churn)
    check_once(churn)
    check_sum(churn, http.client.HTTPConnection("127.0.0.1", churn.port, timeout=300), random)
    await_checkpoint(churn)
    sizes = check_log(churn)
    usage.compare(churn, "after all", has_groups=True)
    if not re.search(rb"^gasworks_invocations_without_receipt_total 0$", churn.ask("GET", "/metrics")[1], re.M):
        churn.fail("an invocation has no receipt")
    return sizes


def replay_all(churn):
    """What the server has kept, behind its end."""
    again = subprocess.run([churn.args.program, "replay", "--data", churn.data, "--all", "--json", "--tier", "baseline"], capture_output=True, text=True,
                           check=False)
    if again.returncode != 0:
        churn.fail(f"replay: {again.returncode} {again.stdout} {again.stderr}")
    return {word: n for word, n in json.loads(again.stdout or "{}").items() if n}


def run(churn, round_number):
    """All clients, until the time is over or the server is killed."""
    churn.over.clear()
    churn.is_killed = False
    threads = [threading.Thread(target=work_on, args=(churn, what, churn.args.seed + 100 * round_number + i), name=f"c{i}", daemon=True)
               for i, what in enumerate([call] * 12 + [change] * 3 + [look] * 3)]
    for thread in threads:
        thread.start()
    if churn.args.kills:
        churn.over.wait(random.uniform(0.1, 3))
        churn.kill()
    else:
        churn.over.wait(churn.args.seconds)
        churn.over.set()
    for thread in threads:
        thread.join(150)
    if any(thread.is_alive() for thread in threads):
        churn.fail("a client has had no answer for minutes")


def run_all(churn):
    deploy_all(churn, http.client.HTTPConnection("127.0.0.1", churn.port, timeout=300))
    for kill in range(max(churn.args.kills, 1)):
        run(churn, kill)
        if churn.wrong:
            break
        if churn.args.kills:
            churn.start()
        if kill % 5 == 4 or kill == max(churn.args.kills, 1) - 1:
            found = check_all(churn)
    if churn.process.poll() is None:
        churn.process.terminate()
    if churn.process.wait(120) != 0 and not churn.is_killed:
        churn.fail(f"the server ends with {churn.process.returncode}")
    return None if churn.wrong else (found, replay_all(churn))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("examples")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--option", action="append", default=[], help="of the server")
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    work = tempfile.mkdtemp(prefix="gasworks-churn-")
    churn = Churn(args, work)
    random.seed(args.seed)
    found = None
    try:
        found = run_all(churn)
    finally:
        churn.process.kill()
    complaints = re.findall(r"ERROR: .*|WARNING: ThreadSanitizer.*|.*runtime error.*|.*Assertion.*", churn.text())
    if churn.wrong or complaints:
        keep = f"/tmp/gasworks-churn-{args.seed}.log"
        shutil.copyfile(work + "/log", keep)
        print(f"FAIL {churn.wrong[:3]} {complaints[:3]}: the server's words are in {keep}")
    else:
        print(f"ok: {args.kills} kills, {dict(churn.done)}, {len(churn.receipts)} receipts, {len(churn.once)} keys; leaves, checkpoints and "
              f"what ran again: {found}; statuses {dict(sorted(churn.statuses.items()))}, refused {dict(churn.refusals)}")
    shutil.rmtree(work, ignore_errors=True)
    sys.exit(bool(churn.wrong or complaints))


if __name__ == "__main__":
    main()
