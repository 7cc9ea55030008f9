#!/usr/bin/env python3
"""A server under everything at once for a long time: deployments, rollbacks, deletions, canaries, traps, endless loops, clients that
   leave or stop reading, followers of logs, event streams, receipts, metrics, SIGHUP. It must find nothing to complain about (build it
   with ASan or TSan), answer nothing with 500, and keep its memory, descriptors and threads flat.
   Its access log is rotated, and its spans go to a collector that refuses some.
   soak.py GASWORKS [--seconds N] [--seed N] [--report FILE] [-- OPTION...]      options of gasworks serve"""
import argparse
import atexit
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
import http_server  # noqa: E402
import otlp  # noqa: E402
from isolate import COUNTER, ECHO  # noqa: E402

TRAP = r'''(module (import "gasworks" "log" (func $log (param i32 i32))) (memory (export "memory") 1)
  (data (i32.const 16) "about to divide by zero\n")
  (func (export "handle") (call $log (i32.const 16) (i32.const 24)) (drop (i32.div_u (i32.const 1) (i32.const 0)))))'''

TALK = r'''(module (import "gasworks" "log" (func $log (param i32 i32))) (import "gasworks" "reply" (func $reply (param i32 i32)))
  (memory (export "memory") 1) (data (i32.const 16) "a line that says little\n")
  (func (export "handle") (local $i i32)
    (loop $more (call $log (i32.const 16) (i32.const 24)) (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.const 20))))
    (call $reply (i32.const 16) (i32.const 24))))'''

# A megabyte, for clients that do not read it.
LARGE = r'''(module (import "gasworks" "reply" (func $reply (param i32 i32))) (memory (export "memory") 16)
  (func (export "handle") (call $reply (i32.const 0) (i32.const 1000000))))'''

STEADY = {"hello": http_server.HELLO, "env": http_server.ENV, "show": http_server.SHOW, "counter": COUNTER, "echo": ECHO, "trap": TRAP,
          "talk": TALK, "large": LARGE, "loop": http_server.LOOP}
# What the deployer changes all the time.
CHANGING = ["hello", "counter", "talk", "trap", "show"]
N_CHANGING = 6

COMPLAINTS = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error|LeakSanitizer|assertion|Assertion")


def complaints(text):
    """What a sanitizer or an assertion has said. libuv closes descriptors by the system call alone, which TSan does not see: whoever gets
       the number next seems to race with who had it."""
    reports = []
    for found in COMPLAINTS.finditer(text):
        end = text.find("SUMMARY: ", found.start())
        report = text[found.start():end if end >= 0 else found.start() + 4000]
        if "Location is file descriptor" not in report:
            reports.append(report)
    return reports


def compile_all(folder):
    modules = {}
    for name, text in STEADY.items():
        with open(f"{folder}/{name}.wat", "w") as file:
            file.write(text)
        subprocess.run(["wat2wasm", f"{folder}/{name}.wat", "-o", f"{folder}/{name}.wasm"], check=True)
        with open(f"{folder}/{name}.wasm", "rb") as file:
            modules[name] = file.read()
    return modules


class Soak:
    def __init__(self, program, seconds, seed, options):
        self.work = tempfile.mkdtemp(prefix="gasworks-soak-")
        atexit.register(shutil.rmtree, self.work, ignore_errors=True)
        self.modules = compile_all(self.work)
        self.program, self.seconds, self.seed = program, seconds, seed
        self.is_over = threading.Event()
        self.lock = threading.Lock()
        self.statuses, self.problems, self.samples = {}, [], []
        self.config = self.work + "/etc/gasworks.yaml"
        os.mkdir(self.work + "/etc")
        self.write_config(5000000)
        self.log = open(self.work + "/log", "ab+")
        self.access_log = self.work + "/access/access.log"
        os.mkdir(self.work + "/access")
        self.collector = otlp.Receiver(lambda n: (503, {"Retry-After": "1"}, b"") if n % 5 == 4 else (200, {}, b"{}"))
        self.collector.keep = False
        command = [program, "serve", "--listen", "127.0.0.1:0", "--data", self.work + "/data", "--sync", "off", "--workers", "2",
                   "--config", self.config, "--keep-versions", "3", "--keep-inputs", "4M", "--receipts-size", "8M", "--drain", "0",
                   "--grace", "2000", "--max-state", "256M", "--idempotency-size", "1M", "--log-size", "64K", "--access-log", self.access_log,
                   "--access-log-format", "json", "--otlp-endpoint", self.collector.url, *options]
        environment = dict(os.environ, ASAN_OPTIONS="quarantine_size_mb=8:malloc_context_size=5", TSAN_OPTIONS="history_size=4 exitcode=0")
        self.process = subprocess.Popen(command, stderr=self.log, stdout=subprocess.DEVNULL, env=environment)
        atexit.register(self.process.kill)
        self.port = self.find_port()
        with open(self.work + "/data/admin-token") as file:
            self.token = file.read().strip()

    def write_config(self, gas_slice):
        with open(self.config + ".new", "w") as file:
            file.write(f"slice: {gas_slice}\ngas-limit: 3G\n")
        os.replace(self.config + ".new", self.config)

    def text(self):
        with open(self.work + "/log", errors="replace") as file:
            return file.read()

    def find_port(self):
        for _ in range(1200):
            found = re.search(r"serving on http://127\.0\.0\.1:(\d+)", self.text())
            if found:
                return int(found[1])
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise SystemExit("the server does not start: " + self.text())

    # --- asking ---

    def count(self, what):
        with self.lock:
            self.statuses[what] = self.statuses.get(what, 0) + 1

    def problem(self, text):
        with self.lock:
            if len(self.problems) < 50:
                self.problems.append(text)

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def ask(self, connection, method, path, body=None, headers=()):
        """Status and body; (0, b"") when the connection went, which ends it."""
        fields = {"Authorization": "Bearer " + self.token, **dict(headers)}
        try:
            connection.request(method, path, body, fields)
            reply = connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            self.count("gone")
            return 0, b""
        self.count(f"{method} {reply.status}")
        if reply.status == 500 and "trap" not in path and b"division" not in text and b"divide" not in text:
            self.problem(f"{method} {path} is answered with 500: {text[:300]!r}")
        return reply.status, text

    # --- who asks: each until time is over ---

    def deploy_and_delete(self, random):
        connection, versions = self.connect(), {}
        while not self.is_over.is_set():
            name = f"soak-{random.randrange(N_CHANGING)}"
            path, dice = f"/v1/functions/{name}", random.random()
            if dice < 0.45:
                status, text = self.ask(connection, "PUT", path, self.modules[random.choice(CHANGING)])
                if status in (200, 201):
                    versions.setdefault(name, []).append(json.loads(text)["version"])
            elif dice < 0.65 and versions.get(name):
                self.ask(connection, "PUT", path + "/aliases/live", json.dumps({"version": random.choice(versions[name][-3:])}))
            elif dice < 0.75 and len(versions.get(name, ())) > 1:
                now, canary = versions[name][-1], versions[name][-2]
                self.ask(connection, "PUT", path + "/aliases/live", json.dumps({"version": now, "canary": canary, "percent": 20}))
            elif dice < 0.85:
                self.ask(connection, "PATCH", path, json.dumps({"deadline_ms": random.choice([200, 1000, None])}))
            elif dice < 0.95:
                self.ask(connection, "DELETE", path)
                versions.pop(name, None)
            else:
                self.ask(connection, "GET", path + "/versions")
            self.is_over.wait(random.random() * 0.2)

    def call(self, random):
        connection = self.connect()
        while not self.is_over.is_set():
            dice = random.random()
            name = random.choice(list(STEADY)[:8]) if dice < 0.7 else f"soak-{random.randrange(N_CHANGING)}"
            headers = {}
            if random.random() < 0.1:
                headers["Idempotency-Key"] = f"key-{random.randrange(1000)}"
            if random.random() < 0.5:
                headers["traceparent"] = random.choice([f"00-{random.getrandbits(127) + 1:032x}-{random.getrandbits(63) + 1:016x}-01", "00-0-0-0"])
            body = bytes(random.randrange(1, 200000)) if name == "echo" else b""
            self.ask(connection, random.choice(["GET", "POST", "POST"]), f"/f/{name}/path?n={random.randrange(1 << 32)}", body, headers)
            if random.random() < 0.02:
                connection.close()

    def leave(self, random):
        """Clients that go in the middle of things, or send half a request."""
        while not self.is_over.is_set():
            try:
                connection = socket.create_connection(("127.0.0.1", self.port), 5)
                what = random.choice([b"GET /f/loop HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /f/counter HTTP/1.1\r\nHo", b"\x16\x03\x01\x02\x00",
                                      b"POST /f/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nhalf",
                                      b"GET /f/counter HTTP/1.1\r\nHost: x\r\n\r\n" * 20])
                connection.sendall(what)
                self.is_over.wait(random.random() * 0.3)
                connection.close()
                self.count("left")
            except OSError:
                self.count("gone")

    def stop_reading(self, random):
        """Clients that ask for much, or for an event stream, and do not read."""
        while not self.is_over.is_set():
            try:
                connection = socket.create_connection(("127.0.0.1", self.port), 5)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                stream = (f"GET /v1/functions/talk/logs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\n"
                          "Accept: text/event-stream\r\n\r\n").encode()
                connection.sendall(random.choice([stream, b"GET /f/large HTTP/1.1\r\nHost: x\r\n\r\n" * 4]))
                self.is_over.wait(1 + random.random() * 3)
                connection.close()
                self.count("unread")
            except OSError:
                self.count("gone")

    def follow(self, random):
        connection, after = self.connect(), 0
        while not self.is_over.is_set():
            name = random.choice(["talk", "trap", "soak-1"])
            if random.random() < 0.3:
                self.ask(connection, "GET", f"/v1/functions/{name}/logs", headers={"Accept": "text/event-stream", "Last-Event-ID": "1"})
                continue
            status, text = self.ask(connection, "GET", f"/v1/functions/talk/logs?after={after}&wait=2&limit=50")
            if status == 200:
                after = json.loads(text)["next"]

    def look(self, random):
        connection = self.connect()
        paths = ["/metrics", "/v1/metrics", "/v1/functions", "/v1/usage", "/v1/functions/counter/receipts", "/v1/log/checkpoint",
                 "/v1/functions/hello/versions", "/healthz", "/ui/", "/nothing"]
        while not self.is_over.is_set():
            self.ask(connection, "GET", random.choice(paths))
            self.is_over.wait(random.random() * 0.2)

    def hang_up(self, random):
        while not self.is_over.wait(2):
            self.write_config(random.choice([1000000, 5000000]))
            try:
                os.replace(self.access_log, self.access_log + ".1")
            except FileNotFoundError:
                pass  # of the time before was none opened yet
            self.process.send_signal(signal.SIGHUP)

    # --- what it takes ---

    def sample(self):
        pid = self.process.pid
        with open(f"/proc/{pid}/status") as file:
            status = dict(re.findall(r"^(\w+):\s+(\d+)", file.read(), re.M))
        with open(f"/proc/{pid}/smaps_rollup") as file:
            rollup = dict(re.findall(r"^(\w+):\s+(\d+) kB", file.read(), re.M))
        return {"time": time.time(), "anonymous": int(rollup["Anonymous"]), "resident": int(status["VmRSS"]),
                "threads": int(status["Threads"]), "descriptors": len(os.listdir(f"/proc/{pid}/fd"))}

    def watch(self):
        while not self.is_over.is_set():
            try:
                self.samples.append(self.sample())
            except (OSError, KeyError):
                self.problem("the server has gone")
                self.is_over.set()
                return
            self.is_over.wait(max(0.25, min(5, self.seconds / 100)))

    def check_flat(self):
        """The last quarter against the one behind the warm-up. A short run has no warm-up worth the name."""
        n = len(self.samples)
        if self.seconds < 120 or n < 40:
            return
        middle = lambda part, what: sorted(s[what] for s in part)[len(part) // 2]
        # TSan remembers more and more of addresses and stacks: there the memory says little.
        with open(self.program, "rb") as file:
            slack = 2 if b"__tsan_init" in file.read() else 1
        early, late = self.samples[n // 3:n // 3 + n // 4], self.samples[-(n // 4):]
        for what, factor, more in (("anonymous", 1.05, 8192), ("resident", 1.05, 16384), ("threads", 1, 4), ("descriptors", 1.1, 16)):
            before, now = middle(early, what), middle(late, what)
            print(f"{what}: {before} behind the warm-up, {now} at the end")
            if now > before * factor * (slack if what in ("anonymous", "resident") else 1) + more:
                self.problem(f"{what} grows: {before} behind the warm-up, {now} at the end")

    def check_quiet(self):
        """When nobody asks any more, what was opened is closed."""
        first = self.samples[0]
        for _ in range(200):
            now = self.sample()
            if now["descriptors"] <= first["descriptors"] + 24:
                return
            time.sleep(0.1)
        self.problem(f"descriptors stay open: {first['descriptors']} at first, {now['descriptors']} at rest")

    # --- all of it ---

    def run(self):
        connection = self.connect()
        for name, module in self.modules.items():
            status, text = self.ask(connection, "PUT", f"/v1/functions/{name}", module)
            if status not in (200, 201):
                raise SystemExit(f"{name} is not deployed: {status} {text}")
        self.ask(connection, "PATCH", "/v1/functions/loop", json.dumps({"deadline_ms": 300}))
        connection.close()
        self.samples.append(self.sample())
        tasks = [self.deploy_and_delete] * 2 + [self.call] * 4 + [self.leave] * 2 + [self.stop_reading] * 2 + [self.follow] * 2
        tasks += [self.look, self.hang_up]
        threads = [threading.Thread(target=self.guard, args=(task, i), daemon=True) for i, task in enumerate(tasks)]
        threads.append(threading.Thread(target=self.watch, daemon=True))
        for thread in threads:
            thread.start()
        self.is_over.wait(self.seconds)
        self.is_over.set()
        for thread in threads:
            thread.join(150)
        if self.process.poll() is None:
            self.check_quiet()
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(120)
        except subprocess.TimeoutExpired:
            code = "none within two minutes"
        if code != 0:
            self.problem(f"the server ended with {code}")
        text = self.text()
        for report in complaints(text)[:5]:
            self.problem("the server says: " + report)
        self.check_flat()
        for text in self.collector.wrong[:3]:
            self.problem("a request to the collector: " + text)
        if not self.collector.n:
            self.problem("the collector got nothing")
        self.check_access_log()

    def check_access_log(self):
        n = 0
        for path in (self.access_log, self.access_log + ".1"):
            try:
                with open(path) as file:
                    lines = file.read().splitlines()
            except FileNotFoundError:
                lines = []
            for line in lines:
                n += 1
                if not isinstance(json.loads(line).get("http.response.status_code"), int):
                    self.problem("a line of the access log: " + line)
        if not n:
            self.problem("the access log is empty")

    def guard(self, task, i):
        try:
            task(random.Random(self.seed * 1000 + i))
        except Exception as error:  # whatever it is, the soak must not go on without it
            self.problem(f"{task.__name__}: {error!r}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100000)
    parser.add_argument("--report", help="samples and counts, as JSON")
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    arguments = parser.parse_args(words[:end])
    print(f"seed {arguments.seed}")
    soak = Soak(arguments.program, arguments.seconds, arguments.seed, words[end + 1:])
    soak.run()
    if arguments.report:
        with open(arguments.report, "w") as file:
            json.dump({"statuses": soak.statuses, "samples": soak.samples, "problems": soak.problems}, file)
    print(" ".join(f"{what}: {n};" for what, n in sorted(soak.statuses.items())))
    for text in soak.problems:
        print("FAIL", text)
    if soak.problems:
        print(soak.text()[-2000:])
    n = sum(soak.statuses.values())
    print(f"{n} passed, {len(soak.problems)} failed")
    sys.exit(bool(soak.problems) or n < 20)


main()
