#!/usr/bin/env python3
"""What tokens, budgets, logs and metrics together cost a request of the hello function: a private function of a tenant that has a rate of
   gas, called with a token, logs kept, /metrics read each second; against a public one of an --insecure server without logs. Both write
   receipts. Measured is CPU time of the server for a request, in pairs that take turns, so that other programs change both alike.
   control.py [--gasworks FILE] [--rounds N] [--requests N] [--instructions] [--json]
With --instructions instead: what the event loop's thread does, by callgrind, which does not depend on what else runs; without SHA-256."""
import argparse
import glob
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import receipts_instructions as callgrind

ROOT = callgrind.ROOT
WAYS = {"without": ["--insecure", "--log-size", "0"], "with": []}


class Server:
    def __init__(self, way, work, module, program, in_front=()):
        self.data = os.path.join(work, way)
        self.process = subprocess.Popen([*in_front, program, "serve", "--data", self.data, "--listen", "127.0.0.1:0", "--workers", "1",
                                         "--tier", "precise", "--walls", "off", *WAYS[way]], stderr=subprocess.PIPE, text=True)
        line = ""
        while "serving on" not in line:
            line = self.process.stderr.readline()
            if not line:
                sys.exit("bench: the server does not start")
        self.host = line.split("://", 1)[1].split()[0]
        self.clock = (~self.process.pid << 3) | 2  # of its CPU time: clock_getcpuclockid(3)
        self.admin = self.token = None
        if way == "with":
            with open(os.path.join(self.data, "admin-token"), encoding="utf-8") as f:
                self.admin = f.read().strip()
        path = "/t/acme/f/hello" if self.admin else "/f/hello"
        with open(module, "rb") as f:
            text = f.read()
        if self.admin:
            self.ask("PUT", "/v1/tenants/acme", b"")
            self.ask("PUT", "/t/acme/v1/functions/hello?access=private", text)
            self.ask("PATCH", "/t/acme/v1/budget", b'{"gas_per_second":1000000000000,"concurrency":1000,"memory":1000000000000}')
            self.token = json.loads(self.ask("POST", "/t/acme/v1/tokens", b'{"scopes":["invoke"]}'))["token"]
        else:
            self.ask("PUT", "/v1/functions/hello", text)
        more = f"Authorization: Bearer {self.token}\r\n" if self.token else "Authorization: Bearer zz_" + "x" * 45 + "\r\n"
        self.text = f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\n{more}\r\n".encode()
        self.client = socket.create_connection(self.host.split(":"))
        self.scraped = 0
        callgrind.ask(self.client, 300, self.text)

    def ask(self, method, path, body):
        headers = {"Authorization": "Bearer " + self.admin} if self.admin else {}
        return urllib.request.urlopen(urllib.request.Request(f"http://{self.host}{path}", body, headers, method=method)).read()

    def run(self, n):
        """Nanoseconds of CPU time for each of so many requests."""
        before = time.clock_gettime_ns(self.clock)
        for _ in range(n // 100):
            callgrind.ask(self.client, 100, self.text)
            if self.admin and time.monotonic() - self.scraped > 1:
                self.ask("GET", "/metrics", None)
                self.scraped = time.monotonic()
        return (time.clock_gettime_ns(self.clock) - before) / (n // 100 * 100)

    def close(self):
        self.process.terminate()
        self.process.stderr.read()
        self.process.wait()


def count(way, args, work):
    program, out = os.path.join(work, "gasworks"), os.path.join(work, way + ".out")
    subprocess.run(["strip", "--strip-debug", "-o", program, args.gasworks], check=True)  # Valgrind does not read Clang's DWARF 5
    server = Server(way, work, args.module, program, ["valgrind", "--tool=callgrind", "--separate-threads=yes", "--instr-atstart=no",
                                                      f"--callgrind-out-file={out}"])
    switch = lambda word: subprocess.run(["callgrind_control", "-i", word, str(server.process.pid)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    switch("on")
    server.run(args.requests)
    switch("off")
    server.close()
    for name in glob.glob(out + "*"):
        rows = callgrind.rows_of(name)
        if "invoke_begin" in rows:
            return (callgrind.total_of(name) - rows.get(callgrind.SHA, 0)) / (args.requests // 100 * 100)
    sys.exit("bench: callgrind has nothing of the loop")


def measure(args, work):
    if args.instructions:
        return {way: count(way, args, work) for way in WAYS}
    servers = {way: Server(way, work, args.module, args.gasworks) for way in WAYS}
    took = {way: [] for way in WAYS}
    for i in range(args.rounds):
        for way in list(WAYS)[::1 if i % 2 else -1]:
            took[way].append(servers[way].run(args.requests))
    for server in servers.values():
        server.close()
    ratio = statistics.median(b / a for a, b in zip(took["without"], took["with"]))
    return {**{way: statistics.median(values) for way, values in took.items()}, "ratio": ratio}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gasworks", default=os.path.join(ROOT, "build/release/gasworks"))
    parser.add_argument("--module", default=os.path.join(ROOT, "build/examples/hello.wasm"))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    work = tempfile.mkdtemp()
    try:
        found = measure(args, work)
    finally:
        shutil.rmtree(work)
    found.setdefault("ratio", found["with"] / found["without"])
    if args.json:
        print(json.dumps(found))
        return
    unit = "instructions" if args.instructions else "ns of CPU time"
    for way in WAYS:
        print(f"{way}: {found[way]:,.0f} {unit} a request")
    print(f"ratio {found['ratio']:.3f}")


main()
