#!/usr/bin/env python3
"""What a server tells of requests: its access log in both forms, W3C Trace Context, and spans at a collector (otlp.py).
   observe.py GASWORKS"""
import atexit
import concurrent.futures
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from http_server import HELLO, LOOP, SHOW, ENV  # noqa: E402
from isolate import COUNTER, ECHO  # noqa: E402
import otlp  # noqa: E402

passed = failed = 0
TRAP = '(module (memory (export "memory") 1) (func (export "handle") (drop (i32.div_u (i32.const 1) (i32.const 0)))))'
TALK = r'''(module (import "gasworks" "log" (func $log (param i32 i32))) (memory (export "memory") 1) (data (i32.const 0) "said")
  (func (export "handle") (call $log (i32.const 0) (i32.const 4))))'''
MODULES = {"hello": HELLO, "show": SHOW, "env": ENV, "trap": TRAP, "counter": COUNTER, "talk": TALK, "echo": ECHO, "loop": LOOP}


def check(what, ok, *more):
    global passed, failed
    passed += bool(ok)
    failed += not ok
    if not ok:
        print("FAIL", what, *more)


def until(condition, seconds=30):
    end = time.time() + seconds
    while time.time() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


class Server:
    def __init__(self, program, folder, *options, env=None, modules=MODULES, limit=None, stdout=None):
        self.folder = tempfile.mkdtemp(dir=folder)
        self.log = open(self.folder + "/log", "ab+")
        command = [program, "serve", "--listen", "127.0.0.1:0", "--data", self.folder + "/data", "--sync", "off", "--workers", "2",
                   "--drain", "0", *options]
        if limit:  # bytes that a file may have
            command = ["sh", "-c", f"trap '' XFSZ; ulimit -f {limit // 512}; exec \"$0\" \"$@\"", *command]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
        self.process = subprocess.Popen(command, stderr=self.log, stdout=stdout or subprocess.DEVNULL, env=dict(clean, **(env or {})))
        atexit.register(self.process.kill)
        until(lambda: self.find_port() or self.process.poll() is not None, 60)
        self.port = self.find_port()
        if not self.port:
            return
        with open(self.folder + "/data/admin-token") as file:
            self.token = file.read().strip()
        for name in modules:
            status, text = self.ask("PUT", f"/v1/functions/{name}", wasm[name])[:2]
            if status != 201:
                raise SystemExit(f"{name} is not deployed: {status} {text}")

    def text(self):
        with open(self.folder + "/log", errors="replace") as file:
            return file.read()

    def find_port(self):
        found = re.search(r"serving on http://127\.0\.0\.1:(\d+)", self.text())
        return int(found[1]) if found else None

    def ask(self, method, path, body=None, headers=(), token=True):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest(method, path)
        fields = list(headers.items() if isinstance(headers, dict) else headers)
        if token:
            fields.append(("Authorization", "Bearer " + self.token))
        if body is not None:
            fields.append(("Content-Length", str(len(body))))
        for name, value in fields:
            connection.putheader(name, value)
        connection.endheaders(body)
        reply = connection.getresponse()
        text = reply.read()
        connection.close()
        return reply.status, text, reply.headers

    def raw(self, data):
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            reply = b""
            while True:
                more = connection.recv(65536)
                if not more:
                    return reply
                reply += more

    def metric(self, name):
        text = self.ask("GET", "/metrics")[1].decode()
        return sum(float(value) for value in re.findall("^gasworks_" + re.escape(name) + r" (\S+)$", text, re.M))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        bad = re.findall("ERROR: .*|.*runtime error.*|WARNING: Thread.*", self.text())
        check("a server ends in good order", code == 0 and not bad, code, self.text()[-3000:])


def lines_of(path):
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8").splitlines()
    except FileNotFoundError:
        return []


# --- the access log ------------------------------------------------------------------------------------------------------------

COMBINED = re.compile(r'(\S+) - - \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000)\] "([^"]*)" (\d{3}) (\d+) "([^"]*)" "([^"]*)" '
                      r'(\d+|-) (\d+\.\d{6}) (\S+) (\S+)')


def test_combined(program, folder):
    path = folder + "/combined/access.log"
    os.mkdir(folder + "/combined")
    server = Server(program, folder, "--access-log", path, modules=["hello", "echo"])
    server.ask("GET", "/f/hello/a?b=c", headers={"User-Agent": "a browser", "Referer": "http://x/"}, token=False)
    server.ask("HEAD", "/f/hello")
    server.ask("POST", "/f/echo", b"12345")
    server.ask("GET", "/nothing")
    server.raw(b"GET /f/hello?a HTTP/1.1\r\nHost: x\r\nUser-Agent: \"quoted\\\xff\xc3\xa4\" 200 1\r\nConnection: close\r\n\r\n")
    server.raw(b"GET /f/hello HTTP/1.1\r\nHost: x\r\nReferer: a\tb\r\nConnection: close\r\n\r\n")
    server.raw(b"GET /f/hello HTTP/1.1\r\nHost: x\r\nUser-Agent: \x1b[31m\r\n\r\n")
    server.raw(b"NONSENSE\r\n\r\n")
    server.stop()
    lines = lines_of(path)
    found = [COMBINED.fullmatch(line) for line in lines]
    check("every line is one", all(found), lines)
    check("and there is one of each request", len(lines) == 10, lines)  # two deployments
    by = {m[3]: m for m in found if m}
    m = by.get("GET /f/hello/a?b=c HTTP/1.1")
    check("a request", m and m[1] == "127.0.0.1" and m[4] == "200" and m[5] == "6" and m[6] == "http://x/" and m[7] == "a browser", lines)
    check("with gas, time and number", m and int(m[8]) > 0 and float(m[9]) < 60 and re.fullmatch(r"\d+-\d+", m[10]) and m[11] == "-", lines)
    m = by.get("HEAD /f/hello HTTP/1.1")
    check("a reply without its body", m and m[4] == "200" and m[5] == "0", lines)
    check("one of no function", by.get("GET /nothing HTTP/1.1") and by["GET /nothing HTTP/1.1"][8] == "-", lines)
    check("what is no request", sum(m[3] == "" and m[4] in ("400", "501") and m[6] == m[7] == "-" for m in found if m) == 2, lines)
    check("bytes are plain ASCII", all(32 <= ord(c) < 127 for line in lines for c in line))
    agents = [m[7] for m in found if m]
    check("hostile bytes are escaped", r"\x22quoted\x5C\xFF\xC3\xA4\x22 200 1" in agents, agents)
    check("in each field", any(m and m[6] == r"a\x09b" for m in found), lines)


def test_json(program, folder):
    path = folder + "/json/access.log"
    os.mkdir(folder + "/json")
    server = Server(program, folder, "--access-log", path, "--access-log-format", "json", "--gas-limit", "100T",  # who leaves ends the loop
                    modules=["hello", "trap", "echo", "loop"])
    server.ask("GET", "/f/hello/x?y=1", headers={"User-Agent": "z", "Referer": "r", "traceparent": f"00-{1:032x}-{2:016x}-01"})
    server.ask("POST", "/f/echo", b"123")
    server.ask("GET", "/f/trap")
    server.ask("GET", "/f/none")
    server.raw(b"GET /f/hello HTTP/1.0\r\nUser-Agent: \xff\xc3\xa4\"\\\x01\r\n\r\n")
    server.raw(b"PURGE /f/hello HTTP/1.1\r\nHost: x\r\nUser-Agent: \xc3\xa4\"\\\xff\r\nConnection: close\r\n\r\n")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET /f/loop HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.3)
    check("a client that leaves has a line", until(lambda: any('"/f/loop"' in line for line in lines_of(path))))
    server.stop()
    lines = [json.loads(line) for line in lines_of(path)]
    for line in lines:
        check("what all have", isinstance(line["http.response.status_code"], int) and isinstance(line["http.server.request.duration"], float)
              and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["timestamp"]), line)
    by = {}
    for line in lines:
        by.setdefault((line.get("http.request.method"), line.get("url.path")), line)
    line = by[("GET", "/f/hello/x")]
    wanted = {"client.address": "127.0.0.1", "url.query": "y=1", "url.scheme": "http", "network.protocol.version": "1.1",
              "http.response.status_code": 200, "http.response.body.size": 6, "http.request.body.size": 0, "user_agent.original": "z",
              "http.request.header.referer": ["r"], "faas.name": "hello", "faas.version": "1", "gasworks.outcome": "replied",
              "trace_id": f"{1:032x}"}
    check("the names of the conventions", all(line.get(key) == value for key, value in wanted.items()), line)
    check("gas and more", line["gasworks.gas"] > 0 and line["gasworks.tier"] and isinstance(line["faas.coldstart"], bool) and
          re.fullmatch(r"\d+-\d+", line["faas.invocation_id"]), line)
    check("a body", by[("POST", "/f/echo")]["http.request.body.size"] == 3 and by[("POST", "/f/echo")]["http.response.body.size"] == 3)
    line = by[("GET", "/f/trap")]
    check("a trap", line["gasworks.outcome"] == "trapped" and "zero" in line["gasworks.trap"] and line["http.response.status_code"] == 500, line)
    check("no function", by[("GET", "/f/none")]["gasworks.outcome"] == "refused" and by[("GET", "/f/none")]["http.response.status_code"] == 404)
    check("who has gone", by[("GET", "/f/loop")]["http.response.status_code"] == 499 and by[("GET", "/f/loop")]["gasworks.outcome"] == "cancelled",
          by[("GET", "/f/loop")])


def test_rotation(program, folder):
    """Under load: every request has its line, in the old file or a new one."""
    os.mkdir(folder + "/rotated")
    path = folder + "/rotated/access.log"
    server = Server(program, folder, "--access-log", path, modules=["hello"])
    is_over, counts = threading.Event(), []

    def load():
        connection, n = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60), 0
        while not is_over.is_set():
            connection.request("GET", "/f/hello")
            connection.getresponse().read()
            n += 1
        counts.append(n)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(5):
        os.replace(path, f"{path}.{i}")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: os.path.exists(path), 20)
        time.sleep(0.1)
    is_over.set()
    for thread in threads:
        thread.join()
    lost = server.metric("access_log_lines_lost_total")
    server.stop()
    lines = [line for name in sorted(os.listdir(folder + "/rotated")) for line in lines_of(f"{folder}/rotated/{name}")]
    check("rotation loses no line", sum("/f/hello HTTP" in line for line in lines) == sum(counts) and lost == 0, len(lines), counts, lost)
    check("nor cuts one", all(COMBINED.fullmatch(line) for line in lines))
    check("all files have some", len(os.listdir(folder + "/rotated")) == 6)


def test_stalled(program, folder):
    """A reader that stops reads nothing of this server's time; what it does not take is counted and told."""
    path = folder + "/pipe"
    os.mkfifo(path)
    server = Server(program, folder, "--access-log", path, modules=["hello"])
    check("a pipe without a reader", server.ask("GET", "/f/hello")[0] == 200)
    lost = until(lambda: server.metric("access_log_lines_lost_total") > 0)
    check("loses lines", lost)
    check("and says so", until(lambda: "lines of the access log were lost" in server.text()), server.text())
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    long = "/f/hello?" + "x" * 7000

    def flood(n):
        slowest = 0
        for _ in range(n):
            began = time.time()
            connection.request("GET", long)
            connection.getresponse().read()
            slowest = max(slowest, time.time() - began)
        return slowest

    flood(40)
    check("a reader gets lines", until(lambda: os.read(reader, 100).startswith(b"127.0.0.1") if flood(1) >= 0 else False))
    before = server.metric("access_log_lines_lost_total")
    slowest = flood(1500)  # ten megabytes
    check("a reader that stops holds nobody up", slowest < 10, slowest)
    check("it loses lines", until(lambda: server.metric("access_log_lines_lost_total") > before))
    began = time.time()
    server.stop()
    check("nor the end", time.time() - began < 20)
    os.close(reader)


def test_full_disk(program, folder):
    """A file that may not grow any more, which is what a full disk is."""
    os.mkdir(folder + "/full")
    path = folder + "/full/access.log"

    server = Server(program, folder, "--access-log", path, "--max-state", "2M", "--receipts", "off", "--cache", "off", "--tier", "precise",
                    modules=["hello"], limit=4 << 20)
    if not server.port:
        check("a server with a limit of files starts", False, server.text())
        return
    with open(path, "ab") as file:
        file.truncate((4 << 20) - 1000)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for _ in range(60):
        connection.request("GET", "/f/hello?" + "y" * 200)
        check("requests go on", connection.getresponse().read() == b"hello\n")
    check("lines are lost", until(lambda: server.metric("access_log_lines_lost_total") > 0))
    check("and it is told why", until(lambda: "File too large" in server.text()), server.text()[-500:])
    os.truncate(path, 0)
    connection.request("GET", "/f/hello?behind")
    connection.getresponse().read()
    check("when there is room again, lines come", until(lambda: any("behind" in line for line in lines_of(path))))
    server.stop()
    lines = lines_of(path)
    check("and none is glued to what was torn", any(COMBINED.fullmatch(line) and "?behind" in line for line in lines), lines[:3])


def cpu_seconds(pid, thread):
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat") as file:
            name, _, rest = file.read().rpartition(")")
        if name.endswith("(" + thread):
            return sum(map(int, rest.split()[11:13])) / os.sysconf("SC_CLK_TCK")
    raise RuntimeError(f"there is no thread {thread}")


def test_standard_output(program, folder):
    with open(folder + "/config", "w") as file:
        file.write("drain: 0\n")
    with open(folder + "/stdout", "wb") as file:
        server = Server(program, folder, "--access-log", "-", "--config", folder + "/config", modules=["hello"], stdout=file)
        server.ask("GET", "/f/hello")
        server.process.send_signal(signal.SIGHUP)
        time.sleep(1)
        before = cpu_seconds(server.process.pid, "gw-access-log")
        time.sleep(2)
        spent = cpu_seconds(server.process.pid, "gw-access-log") - before
        check("which is not opened again, whatever was asked, nor tried for ever", spent < 0.1, spent)
        server.ask("GET", "/f/hello/behind")
        server.stop()
    check("lines go on", any("/f/hello/behind" in line for line in lines_of(folder + "/stdout")))
    check("standard output", any("/f/hello" in line for line in lines_of(folder + "/stdout")))
    server = Server(program, folder, "--access-log", folder + "/no/such/file", modules=[])
    check("a file that cannot be is told at once", server.process.wait(30) != 0 and "cannot open the access log" in server.text(), server.text())


# --- trace context --------------------------------------------------------------------------------------------------------------

TRACE, PARENT = "12345678901234567890123456789012", "1234567890123456"
GOOD = f"00-{TRACE}-{PARENT}-01"

# What the test suite of W3C Trace Context sends (level 1), and whether the trace must go on.
PARENTS = [
    (GOOD, True), (f"00-{TRACE}-{PARENT}-00", True), (f"cc-{TRACE}-{PARENT}-01", True),
    (f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like", True), (f" {GOOD}", True), (f"\t{GOOD}", True), (f"{GOOD} ", True),
    (f"{GOOD}\t", True), (f"\t {GOOD} \t", True),
    (f"{GOOD}.", False), (f"{GOOD}-what-the-future-will-be-like", False), (f"cc-{TRACE}-{PARENT}-01.what-the-future-will-be-like", False),
    (f"ff-{TRACE}-{PARENT}-01", False), (f".0-{TRACE}-{PARENT}-01", False), (f"0.-{TRACE}-{PARENT}-01", False),
    (f"000-{TRACE}-{PARENT}-01", False), (f"0000-{TRACE}-{PARENT}-01", False), (f"0-{TRACE}-{PARENT}-01", False),
    (f"00-{'0' * 32}-{PARENT}-01", False), (f"00-.{TRACE[1:]}-{PARENT}-01", False), (f"00-{TRACE[:-1]}.-{PARENT}-01", False),
    (f"00-{TRACE}3-{PARENT}-01", False), (f"00-{TRACE[:-1]}-{PARENT}-01", False), (f"00-{'ABCDEFAB' * 4}-{PARENT}-01", False),
    (f"00-{TRACE}-{'0' * 16}-01", False), (f"00-{TRACE}-.{PARENT[1:]}-01", False), (f"00-{TRACE}-{PARENT[:-1]}.-01", False),
    (f"00-{TRACE}-{PARENT}7-01", False), (f"00-{TRACE}-{PARENT[:-1]}-01", False), (f"00-{TRACE}-{'ABCDEF12' * 2}-01", False),
    (f"00-{TRACE}-{PARENT}-.0", False), (f"00-{TRACE}-{PARENT}-0.", False), (f"00-{TRACE}-{PARENT}-001", False),
    (f"00-{TRACE}-{PARENT}-1", False), ("", False), ("00", False), ("00-", False), (f"00-{TRACE}", False), (f"00-{TRACE}-{PARENT}", False),
    (f"00-{TRACE}-{PARENT}-", False), (f"{GOOD},{GOOD}", False), (f"00_{TRACE}_{PARENT}_01", False), ("\xff" * 55, False),
]

# Values of tracestate's headers, and what is passed on; None: nothing.
STATES = [
    (["foo=1"], "foo=1"), (["foo=1,bar=2"], "foo=1,bar=2"), (["foo=1", "bar=2"], "foo=1,bar=2"), (["foo=1,", "bar=2"], "foo=1,,bar=2"),
    (["foo=1 \t , \t bar=2, \t baz=3"], "foo=1 \t , \t bar=2, \t baz=3"), (["foo=1,,bar=2"], "foo=1,,bar=2"),
    (["foo@bar=1,0foo@bar=2"], "foo@bar=1,0foo@bar=2"), (["a" * 256 + "=1"], "a" * 256 + "=1"),
    (["t" * 241 + "@" + "v" * 14 + "=1"], "t" * 241 + "@" + "v" * 14 + "=1"), (["foo=" + "v" * 256], "foo=" + "v" * 256),
    (["abcdefghijklmnopqrstuvwxyz0123456789_-*/= !\"#$%&'()*+-./0123456789:;<>?@[\\]^_`{|}~"], "same"),
    ([",".join(f"bar{i:02}={i}" for i in range(32))], "same"), ([",".join(f"bar{i:02}={i}" for i in range(33))], None),
    (["foo =1"], None), (["FOO=1"], None), (["foo.bar=1"], None), (["foo@=1,bar=2"], None), (["@foo=1,bar=2"], None),
    (["foo@@bar=1,bar=2"], None), (["foo@bar@baz=1,bar=2"], None), (["foo=1,foo=2"], None), (["foo=1", "foo=2"], None), (["z" * 257 + "=1"], None),
    (["t" * 242 + "@v=1"], None), (["t@" + "v" * 15 + "=1"], None), (["foo=bar=baz"], None), (["foo=,bar=3"], None), (["0foo=1"], None),
    (["foo"], None), (["foo=" + "v" * 257], None), (["foo=\xe4"], None), (["=1"], None),
]
SPAN_OF = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def shown(server, headers):
    """What a handler sees of the two."""
    text = server.ask("GET", "/f/show", headers=headers, token=False)[1].decode("latin1")
    pairs = [line.split(": ", 1) for line in text.split("\n")[4:] if ": " in line]
    return [[value for name, value in pairs if name.lower() == wanted] for wanted in ("traceparent", "tracestate")]


def test_parents(server, is_ours):
    for value, is_good in PARENTS:
        parents, states = shown(server, [("traceparent", value), ("tracestate", "foo=1")])
        m = SPAN_OF.fullmatch(parents[0]) if len(parents) == 1 else None
        check(f"traceparent {value!r} becomes one that is good", m and int(m[1], 16) and int(m[2], 16), parents)
        if not m:
            continue
        check(f"traceparent {value!r} goes on", (m[1] == TRACE) == is_good, parents)
        check(f"with our span, if we make one: {value!r}", not is_good or (m[2] != PARENT) == is_ours, parents)
        check(f"tracestate goes on only with it: {value!r}", states == (["foo=1"] if is_good else []), states)
    parents, states = shown(server, [("traceparent", GOOD), ("traceparent", GOOD)])
    check("two of them are none", len(parents) == 1 and TRACE not in parents[0], parents)
    parents, states = shown(server, [("TrAcEpArEnT", GOOD), ("TraceState", "foo=1")])
    check("names are of any case", len(parents) == 1 and TRACE in parents[0] and states == ["foo=1"], parents, states)
    for name in ("trace-parent", "trace.parent"):
        parents, states = shown(server, [(name, GOOD)])
        check(f"{name} is another header", len(parents) == int(is_ours) and TRACE not in str(parents), parents)
    for values, wanted in STATES:
        parents, states = shown(server, [("traceparent", GOOD), *(("tracestate", value) for value in values)])
        wanted = values[0] if wanted == "same" else wanted
        check(f"tracestate {values!r}", states == ([wanted] if wanted else []) and TRACE in parents[0], states)


def test_page(program, folder):
    """docs/watching.md has every phase."""
    source = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with open(source + "/docs/watching.md") as page, open(source + "/server/observe/phase.def") as rows:
        text = page.read()
        phases = re.findall(r'^PHASE\(\w+,\s*"(\w+)",\s*"([^"]*)"\)', rows.read(), re.M)
    check("docs/watching.md has every phase", phases and all(f"| `{name}` | {help} |" in text for name, help in phases), phases)


def test_context(program, folder):
    server = Server(program, folder, modules=["show", "env", "talk", "trap"])
    test_parents(server, False)
    parents, states = shown(server, [])
    check("where nobody makes spans, none is made", parents == [] and states == [])
    check("a valid one is left as it is", shown(server, [("traceparent", GOOD), ("tracestate", "foo=1")]) == [[GOOD], ["foo=1"]])
    text = server.ask("GET", "/f/env", headers={"traceparent": GOOD, "tracestate": "a=b"}, token=False)[1].split(b"\0")
    check("programs have it in their environment", f"HTTP_TRACEPARENT={GOOD}".encode() in text and b"HTTP_TRACESTATE=a=b" in text, text)
    server.ask("GET", "/f/talk", headers={"traceparent": GOOD})
    server.ask("GET", "/f/trap", headers={"traceparent": GOOD})
    server.ask("GET", "/f/talk")
    for name, n in (("talk", 2), ("trap", 1)):
        lines = json.loads(server.ask("GET", f"/v1/functions/{name}/logs")[1])["lines"]
        check(f"lines of logs have the trace: {name}", [line.get("trace_id") for line in lines][0] == TRACE and len(lines) >= n, lines)
    lines = json.loads(server.ask("GET", "/v1/functions/talk/logs")[1])["lines"]
    check("and those of requests without one have none", "trace_id" not in lines[1], lines)
    server.stop()


# --- spans ----------------------------------------------------------------------------------------------------------------------

def attributes_of(spans, name):
    return [span["attributes"] for span in spans if span["name"] == name]


def test_spans(program, folder):
    collector = otlp.Receiver()
    os.mkdir(folder + "/spans")
    env = {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20secret, x-more = 2 ,broken,b\tad=1", "OTEL_SERVICE_NAME": "shop",
           "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test,service.name=other,odd=%22%C3%A4"}
    server = Server(program, folder, "--otlp-endpoint", collector.url, "--access-log", folder + "/spans/log", "--access-log-format", "json",
                    "--gas-limit", "10M", env=env, modules=["show", "counter", "trap", "echo", "loop"])
    test_parents(server, True)
    parents, _ = shown(server, [])
    check("who begins gets a trace", len(parents) == 1 and SPAN_OF.fullmatch(parents[0]) and parents[0].endswith("-03"), parents)
    parents, _ = shown(server, [("traceparent", GOOD)])
    ours = SPAN_OF.fullmatch(parents[0])[2]
    parents, _ = shown(server, [("traceparent", f"00-{TRACE}-{PARENT}-00")])
    unsampled = SPAN_OF.fullmatch(parents[0])
    check("what the caller did not sample is not sampled here", unsampled[3] == "00")
    server.ask("POST", "/f/counter/a?q=1", b"", headers={"User-Agent": "ua \xff\"\\", "traceparent": GOOD})
    server.ask("GET", "/f/trap")
    server.ask("GET", "/f/loop")
    server.ask("PURGE", "/f/echo")
    server.ask("GET", "/f/none")
    server.ask("GET", "/v1/functions")
    check("spans come", until(lambda: any(span["name"] == "GET /f/none" for span in collector.spans)), collector.wrong, server.text()[-800:])
    server.stop()
    check("all that comes is as the specification has it", not collector.wrong, collector.wrong[:1])
    spans = collector.spans
    path, headers, _, _ = collector.requests[0]
    check("at the path of traces", path == "/v1/traces", path)
    check("with the headers", headers.get("api-key") == "a secret" and headers.get("x-more") == "2", headers)
    check("what is no header is told", server.text().count("is passed over") == 2, server.text())
    check("the resource", all(s["resource"]["service.name"] == "shop" and s["resource"]["deployment.environment"] == "test" and
                              s["resource"]["odd"] == "\"ä" and s["resource"]["service.version"] for s in spans))
    mine = [span for span in spans if span["span"] == ours]
    check("the span that the function saw", len(mine) == 1 and mine[0]["trace"] == TRACE and mine[0]["parent"] == PARENT and mine[0]["kind"] == 2)
    check("is the one that was not sampled not there", not any(span["span"] == unsampled[2] for span in spans))
    counter = attributes_of(spans, "POST /f/counter")
    check("one span of each invocation", len(counter) == 1 and len(attributes_of(spans, "GET /f/trap")) == 1)
    wanted = {"http.request.method": "POST", "http.route": "/f/counter", "url.path": "/f/counter/a", "url.query": "q=1", "url.scheme": "http",
              "http.response.status_code": 200, "client.address": "127.0.0.1", "server.port": server.port, "faas.trigger": "http",
              "faas.name": "counter", "faas.version": "1", "gasworks.outcome": "replied", "network.protocol.version": "1.1",
              "user_agent.original": "ua ?\"\\"}
    check("its attributes", all(counter[0].get(key) == value for key, value in wanted.items()), counter)
    check("gas, tier, cold", counter[0]["gasworks.gas"] > 0 and counter[0]["gasworks.tier"] and isinstance(counter[0]["faas.coldstart"], bool))
    root = next(span for span in spans if span["name"] == "POST /f/counter")
    children = {span["name"]: span for span in spans if span["parent"] == root["span"]}
    check("execution and commit are its children", {"execute", "commit"} <= set(children), children)
    for child in children.values():
        check("a child is within it", root["begin"] <= child["begin"] <= child["end"] <= root["end"] and child["trace"] == root["trace"] and
              child["kind"] == 1, child, root)
    names = [span["span"] for span in spans]
    check("no number comes twice", len(set(names)) == len(names))
    trap = next(span for span in spans if span["name"] == "GET /f/trap")
    check("a trap is an error", trap["status"] == 2 and "zero" in trap["attributes"]["error.type"] and
          trap["attributes"]["gasworks.outcome"] == "trapped", trap)
    check("so is a loop without end", attributes_of(spans, "GET /f/loop")[0]["gasworks.outcome"] == "trapped", attributes_of(spans, "GET /f/loop"))
    other = attributes_of(spans, "HTTP /f/echo")
    check("a method that is not usual", other and other[0]["http.request.method"] == "_OTHER" and other[0]["http.request.method_original"] == "PURGE")
    none = next(span for span in spans if span["name"] == "GET /f/none")
    check("404 is the caller's fault", none["status"] == 0 and none["attributes"]["http.response.status_code"] == 404)
    lines = [json.loads(line) for line in lines_of(folder + "/spans/log")]
    check("the access log names the spans", any(line.get("span_id") == ours and line["trace_id"] == TRACE for line in lines))
    collector.close()


def test_refusals(program, folder):
    """503 and 429 with Retry-After are tried again then, 400 is not; what is lost is counted."""
    times = []

    def answer(n):
        times.append(time.time())
        return [(503, {}, b""), (429, {"Retry-After": "2"}, b""), (200, {}, b"{}"), (400, {}, b""), (302, {"Location": "http://127.0.0.1:1/"}, b""),
                (200, {}, b'{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}'), (200, {}, b"x" * 3000000)][min(n, 6)]

    collector = otlp.Receiver(answer)
    server = Server(program, folder, "--otlp-endpoint", collector.url + "/", modules=["hello"])
    server.ask("GET", "/f/hello")
    check("it is tried again", until(lambda: len(times) >= 3 and server.metric("spans_sent_total") == 1), times)
    check("a little later, and when the collector says", times[1] - times[0] > 0.4 and times[2] - times[1] > 1.9, times)
    for n, (text, dropped) in enumerate([("answered 400", 1), ("answered 302", 2), ("too old", 3)]):
        server.ask("GET", "/f/hello")
        check(f"{text} is for good", until(lambda: server.metric("spans_dropped_total") == dropped), text, server.metric("spans_dropped_total"))
    check("and told", "1 spans were dropped: the collector answered 400" in server.text(), server.text())
    check("once a minute", server.text().count("spans were dropped") == 1)
    check("three requests for three spans", len(times) == 6, times)
    check("nothing is wrong with them", not collector.wrong, collector.wrong[:1])
    server.ask("GET", "/f/hello")
    check("an answer without end is given up", until(lambda: server.metric("spans_dropped_total") == 4), server.metric("spans_dropped_total"))
    server.stop()
    collector.close()


def test_samplers(program, folder):
    for sampler, argument, wanted in (("always_off", None, lambda n: n == 0), ("traceidratio", "0.5", lambda n: 20 < n < 80),
                                      ("parentbased_traceidratio", "0", lambda n: n == 20), ("parentbased_always_off", None, lambda n: n == 20),
                                      ("always_on", None, lambda n: n == 100), ("nonsense", None, lambda n: n == 80)):
        collector = otlp.Receiver()
        env = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url + "/base"}
        if argument:
            env["OTEL_TRACES_SAMPLER_ARG"] = argument
        server = Server(program, folder, env=env, modules=["hello"])
        for i in range(100):
            flag = [[], [("traceparent", f"00-{i + 1:032x}-{PARENT}-01")], [("traceparent", f"00-{i + 1:032x}-{PARENT}-00")], [], []][i % 5]
            server.ask("GET", "/f/hello", headers=flag, token=False)
        server.stop()  # which sends what there is
        n = sum(span["kind"] == 2 for span in collector.spans)
        check(f"{sampler} {argument}", wanted(n) and not collector.wrong, n, collector.wrong[:1])
        check("below the endpoint", all(path == "/base/v1/traces" for path, *_ in collector.requests))
        collector.close()


def test_gone(program, folder):
    """Nobody listens, or nobody answers: the queue is bounded, requests go on, and the end comes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = Server(program, folder, "--otlp-endpoint", f"http://127.0.0.1:{silent.getsockname()[1]}", modules=["hello"])
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        for _ in range(3200):
            connection.request("GET", "/f/hello")
            connection.getresponse().read()
        check("what the queue has no room for is dropped", until(lambda: server.metric("spans_dropped_total") > 0), server.metric("spans_dropped_total"))
        server.ask("PUT", "/v1/tenants/other", b"{}")
        server.ask("PUT", "/t/other/v1/functions/hello", wasm["hello"])
        before = server.metric("spans_dropped_total")
        statuses = [server.ask("GET", "/t/other/f/hello")[0] for _ in range(20)]
        check("another tenant's spans have room", statuses == [200] * 20 and server.metric("spans_dropped_total") == before, statuses)
        children = [pid for pid in os.listdir("/proc") if pid.isdigit() and parent_of(pid) == str(server.process.pid)]
        began = time.time()
        server.stop()
        check("the end comes soon", time.time() - began < 20, time.time() - began)
        check("with the process that sends", until(lambda: not any(parent_of(pid) == str(server.process.pid) for pid in children)), children)
    server = Server(program, folder, "--otlp-endpoint", "ftp://x/", modules=[])
    check("what is no URL is refused", server.process.wait(30) == 2 and "--otlp-endpoint wants a URL" in server.text(), server.text())
    server = Server(program, folder, modules=[], env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"})
    check("it can be switched off", "span-sender" not in commands_below(server.process.pid))
    server.stop()


def parent_of(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[1]
    except OSError:
        return ""


def commands_below(parent):
    found = ""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if parent_of(pid) == str(parent):
            try:
                with open(f"/proc/{pid}/cmdline") as file:
                    found += file.read()
            except OSError:
                pass
    return found


def test_isolated(program, folder):
    collector = otlp.Receiver()
    os.mkdir(folder + "/isolated")
    path = folder + "/isolated/log"
    server = Server(program, folder, "--isolate", "tenant", "--otlp-endpoint", collector.url, "--access-log", path, "--access-log-format", "json",
                    modules=["show", "counter"])
    parents, _ = shown(server, [("traceparent", GOOD)])
    ours = SPAN_OF.fullmatch(parents[0])
    check("a worker's function sees the front's span", ours and ours[1] == TRACE and ours[2] != PARENT, parents)
    server.ask("GET", "/f/counter@live")
    check("spans of workers' functions", until(lambda: any(span["name"] == "GET /f/counter" for span in collector.spans)), server.text()[-800:])
    server.stop()
    span = next(span for span in collector.spans if span["name"] == "GET /f/counter")
    check("with gas", span["attributes"].get("gasworks.gas", 0) > 0, span)
    lines = [json.loads(line) for line in lines_of(path)]
    check("one line each, of the front", [line.get("faas.name") for line in lines if "faas.name" in line].count("counter") == 1, lines)
    check("with gas, too", any(line.get("gasworks.gas") for line in lines))
    check("nothing wrong", not collector.wrong, collector.wrong[:1])
    collector.close()


wasm = {}


def main():
    program = os.path.abspath(sys.argv[1])
    folder = tempfile.mkdtemp(prefix="gasworks-observe-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, text in MODULES.items():
        with open(f"{folder}/{name}.wat", "w") as file:
            file.write(text)
        subprocess.run(["wat2wasm", f"{folder}/{name}.wat", "-o", f"{folder}/{name}.wasm"], check=True)
        with open(f"{folder}/{name}.wasm", "rb") as file:
            wasm[name] = file.read()
    tests = [test_combined, test_json, test_rotation, test_stalled, test_full_disk, test_standard_output, test_page, test_context, test_spans,
             test_refusals, test_samplers, test_gone, test_isolated]
    chosen = [test for test in tests if len(sys.argv) < 3 or test.__name__ in sys.argv[2:]]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:  # most of the time all of them wait
        for test, future in [(test, pool.submit(test, program, folder)) for test in chosen]:
            try:
                future.result()
            except Exception as error:
                check(test.__name__, False, repr(error), traceback.format_exc())
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed != 0)


main()
