#!/usr/bin/env python3
"""Three nodes and one PostgreSQL, which tests/postgres.sh has started. What one node is given, the others have: functions, new
   versions, tokens and their end. Then clients move money through all of them, with an Idempotency-Key each, and ask again elsewhere
   where they get no answer, while nodes are killed in turn and the database is. Nothing is lost and nothing happens twice.
   cluster.py GASWORKS [--kills N] [--clients N] [--within SECONDS]"""
import argparse
import atexit
import http.client
import json
import os
import random
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

N_ACCOUNTS, START = 8, 1000

# A body of two account numbers moves 1 from one to the other, and counts; without a body the reply is all balances, and the count.
BANK = """(module
  (import "gasworks" "request_body" (func $body (param i32 i32 i32) (result i32)))
  (import "gasworks" "state_get" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "gasworks" "state_set" (func $set (param i32 i32 i32 i32)))
  (import "gasworks" "reply" (func $reply (param i32 i32)))
  (memory (export "memory") 1) (data (i32.const 100) "abcdefgh#")
  (func $read (param $key i32) (result i64)
    (if (result i64) (i32.lt_s (call $get (local.get $key) (i32.const 1) (i32.const 64) (i32.const 8)) (i32.const 0))
      (then (if (result i64) (i32.eq (local.get $key) (i32.const 108)) (then (i64.const 0)) (else (i64.const 1000))))
      (else (i64.load (i32.const 64)))))
  (func $write (param $key i32) (param $value i64)
    (i64.store (i32.const 64) (local.get $value))
    (call $set (local.get $key) (i32.const 1) (i32.const 64) (i32.const 8)))
  (func $add (param $key i32) (param $by i64)
    (call $write (local.get $key) (i64.add (call $read (local.get $key)) (local.get $by))))
  (func (export "handle") (local $i i32)
    (if (i32.eqz (call $body (i32.const 0) (i32.const 0) (i32.const 2)))
      (then
        (loop $next
          (i64.store (i32.add (i32.const 200) (i32.mul (local.get $i) (i32.const 8)))
            (call $read (i32.add (i32.const 100) (local.get $i))))
          (br_if $next (i32.le_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8))))
        (call $reply (i32.const 200) (i32.const 72)))
      (else
        (call $add (i32.add (i32.const 100) (i32.load8_u (i32.const 0))) (i64.const -1))
        (call $add (i32.add (i32.const 100) (i32.load8_u (i32.const 1))) (i64.const 1))
        (call $add (i32.const 108) (i64.const 1))
        (call $reply (i32.const 108) (i32.const 1))))))"""
SAYS = """(module (import "gasworks" "reply" (func $reply (param i32 i32))) (memory (export "memory") 1) (data (i32.const 0) "%s")
  (func (export "handle") (call $reply (i32.const 0) (i32.const %d))))"""


def fail(text):
    print("FAIL", text)
    sys.exit(1)


def compile_text(work, text):
    path = os.path.join(work, "module")
    with open(path + ".wat", "w", encoding="utf-8") as f:
        f.write(text)
    subprocess.run(["wat2wasm", path + ".wat", "-o", path + ".wasm"], check=True)
    with open(path + ".wasm", "rb") as f:
        return f.read()


class Node:
    def __init__(self, program, work, number):
        self.program, self.number, self.port = program, number, 0
        self.data = os.path.join(work, f"node{number}")
        self.start()

    def start(self):
        self.process = subprocess.Popen([self.program, "serve", "--data", self.data, "--listen", f"127.0.0.1:{self.port}", "--workers", "1",
                                         "--tier", "precise", "--drain", "0", "--store", os.environ["GASWORKS_TEST_POSTGRES"],
                                         "--store-connections", "8"], stderr=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)
        line = ""
        while "serving on" not in line:
            line = self.process.stderr.readline()
            if not line:
                fail(f"node {self.number} does not start")
        self.port = int(line.rsplit(":", 1)[1])
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def ask(self, method, path, body=None, token=None, headers=None, timeout=30):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = "Bearer " + token
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()


def until(what, within, is_so):
    """How long it takes."""
    begin = time.monotonic()
    while not is_so():
        if time.monotonic() - begin > within:
            fail(f"{what}: not within {within} s")
        time.sleep(0.02)
    return time.monotonic() - begin


def says(node, path, text):
    status, body = node.ask("GET", path)
    return status == 200 and body == text


def check_changes(nodes, work, admin, within):
    """Seconds that each kind of change took to reach another node."""
    took = {}
    a, b, c = nodes
    for version, text in enumerate((b"one", b"two")):
        module = compile_text(work, SAYS % (text.decode(), len(text)))
        status, body = a.ask("PUT", "/v1/functions/says", module, admin)
        if status not in (200, 201):
            fail(f"deploy: {status} {body}")
        took["deploy" if not version else "new version"] = max(until("deploy", within, lambda n=n, t=text: says(n, "/f/says", t)) for n in (b, c))
    status, body = b.ask("POST", "/v1/tokens", json.dumps({"scopes": ["read"], "name": "t"}).encode(), admin)
    if status != 201:
        fail(f"token: {status} {body}")
    token = json.loads(body)
    took["token"] = until("token", within, lambda: all(n.ask("GET", "/v1/functions", None, token["token"])[0] == 200 for n in (a, c)))
    status, body = a.ask("DELETE", "/v1/tokens/" + token["id"], None, admin)
    if status not in (200, 204):
        fail(f"revoking on another node: {status} {body}")
    took["revoked"] = until("revoked token", within, lambda: c.ask("GET", "/v1/functions", None, token["token"])[0] == 401)
    status, body = c.ask("DELETE", "/v1/functions/says", None, admin)
    if status not in (200, 204):
        fail(f"delete: {status} {body}")
    took["deleted"] = until("deleted", within, lambda: a.ask("GET", "/f/says")[0] == 404)
    return took


class Client(threading.Thread):
    """Asks for each transfer until it is answered, at a node after the other."""

    def __init__(self, nodes, name, ended):
        super().__init__(daemon=True)
        self.nodes, self.name_of, self.ended = nodes, name, ended
        self.random, self.n, self.errors, self.longest = random.Random(name), 0, {}, 0.0

    def run(self):
        while not self.ended.is_set():
            accounts = bytes(self.random.sample(range(N_ACCOUNTS), 2))
            key = {"Idempotency-Key": f'"{self.name_of}-{self.n}"'}
            begin = time.monotonic()
            while True:
                node = self.random.choice(self.nodes)
                try:
                    status, body = node.ask("POST", "/f/bank", accounts, headers=key, timeout=60)
                except (OSError, http.client.HTTPException):
                    status = 0
                if status == 200:
                    break
                if status not in (0, 409, 429, 503, 404):
                    print(f"unexpected: {status} {body[:300]}")
                self.errors[status] = self.errors.get(status, 0) + 1
                time.sleep(0.05)
            self.n += 1
            self.longest = max(self.longest, time.monotonic() - begin)


def restart_database():
    run, folder = shlex.split(os.environ["GASWORKS_TEST_POSTGRES_RUN"]), os.environ["GASWORKS_TEST_POSTGRES_DIR"]
    subprocess.run([*run, "pg_ctl", "-D", folder + "/data", "-m", "immediate", "-w", "restart", "-l", folder + "/log"], check=True, cwd="/",
                   stdout=subprocess.DEVNULL)


def check_usage(nodes, admin, n):
    """Each node has counted what it has answered, also where it was killed: together at least all that was acknowledged."""
    counted = 0
    for node in nodes:
        status, body = node.ask("GET", "/v1/usage", None, admin)
        if status != 200:
            fail(f"usage of node {node.number}: {status} {body}")
        counted += json.loads(body)["total"]["requests"]
    if counted < n:
        fail(f"{counted} requests were counted, {n} acknowledged")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--within", type=float, default=5)
    options = parser.parse_args()
    work = tempfile.mkdtemp(prefix="gasworks-cluster-")
    atexit.register(shutil.rmtree, work, True)
    nodes = [Node(options.program, work, i) for i in range(3)]
    with open(os.path.join(nodes[0].data, "admin-token"), encoding="utf-8") as f:
        admin = f.read().strip()
    took = check_changes(nodes, work, admin, options.within)
    print("reached other nodes after", ", ".join(f"{what} {seconds * 1000:.0f} ms" for what, seconds in took.items()))

    status, body = nodes[0].ask("PUT", "/v1/functions/bank", compile_text(work, BANK), admin)
    if status != 201:
        fail(f"deploy: {status} {body}")
    until("deploy", options.within, lambda: all(n.ask("GET", "/f/bank")[0] == 200 for n in nodes))
    ended = threading.Event()
    clients = [Client(nodes, f"c{i}", ended) for i in range(options.clients)]
    for client in clients:
        client.start()
    for i in range(options.kills):
        time.sleep(0.5)
        node = nodes[i % len(nodes)]
        node.kill()
        time.sleep(0.3)
        node.start()
    time.sleep(0.5)
    restart_database()
    time.sleep(1)
    ended.set()
    for client in clients:
        client.join(90)
        if client.is_alive():
            fail("a client still waits for its answer")
    n = sum(client.n for client in clients)
    errors = {}
    for client in clients:
        for status, count in client.errors.items():
            errors[status] = errors.get(status, 0) + count
    for node in nodes:
        status, body = node.ask("GET", "/f/bank")
        if status != 200:
            fail(f"node {node.number}: {status} {body}")
        *balances, counted = struct.unpack("<9q", body)
        if sum(balances) != N_ACCOUNTS * START or counted != n:
            fail(f"node {node.number}: {balances} is {sum(balances)}, {counted} transfers of {n} acknowledged")
    check_usage(nodes, admin, n)
    print(f"{n} transfers through three nodes, {options.kills} nodes and the database killed: each once; not answered at first "
          f"{errors}, longest {max(c.longest for c in clients):.1f} s")


if __name__ == "__main__":
    main()
