"""For tests of the protocol: a gasworks server as a child, functions to call, and replies, read as strictly as written."""
import os, re, shutil, signal, socket, subprocess, tempfile, time, urllib.request

# A CGI program that prints its environment: "K=V" strings, each ended by NUL.
ENV = r'''(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (drop (call $sizes (i32.const 0) (i32.const 12)))
    (drop (call $get (i32.const 1024) (i32.const 65536)))
    (i32.store (i32.const 8) (i32.const 65536))
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)))))'''

# A handler that replies, a line each: method, target, path, query, its headers in their order, and then the body.
SHOW = r'''(module
  (import "gasworks" "request_method" (func $method (param i32 i32) (result i32)))
  (import "gasworks" "request_target" (func $target (param i32 i32) (result i32)))
  (import "gasworks" "request_path" (func $path (param i32 i32) (result i32)))
  (import "gasworks" "request_query" (func $query (param i32 i32) (result i32)))
  (import "gasworks" "request_header_name" (func $name (param i32 i32 i32) (result i32)))
  (import "gasworks" "request_header_value" (func $value (param i32 i32 i32) (result i32)))
  (import "gasworks" "request_body" (func $body (param i32 i32 i32) (result i32)))
  (import "gasworks" "reply" (func $reply (param i32 i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "\n: ")
  (func $line (param $size i32)
    (call $reply (i32.const 1024) (local.get $size))
    (call $reply (i32.const 0) (i32.const 1)))
  (func (export "handle") (local $i i32) (local $n i32)
    (call $line (call $method (i32.const 1024) (i32.const 60000)))
    (call $line (call $target (i32.const 1024) (i32.const 60000)))
    (call $line (call $path (i32.const 1024) (i32.const 60000)))
    (call $line (call $query (i32.const 1024) (i32.const 60000)))
    (block $end (loop $next
      (local.set $n (call $name (local.get $i) (i32.const 1024) (i32.const 60000)))
      (br_if $end (i32.lt_s (local.get $n) (i32.const 0)))
      (call $reply (i32.const 1024) (local.get $n))
      (call $reply (i32.const 1) (i32.const 2))
      (call $line (call $value (local.get $i) (i32.const 1024) (i32.const 60000)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (call $line (call $body (i32.const 0) (i32.const 1024) (i32.const 60000)))))'''

# A handler that replies the status in its query, a Content-Type, headers that are the server's, and the body "body".
STATUS = r'''(module
  (import "gasworks" "request_query" (func $query (param i32 i32) (result i32)))
  (import "gasworks" "reply_status" (func $status (param i32)))
  (import "gasworks" "reply_header" (func $header (param i32 i32 i32 i32)))
  (import "gasworks" "reply" (func $reply (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "Content-Typetext/htmlContent-Length99DateyesterdayTransfer-EncodinggzipbodyX-OwnConnectionGasworks-Gas")
  (func $digit (param $at i32) (result i32) (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
  (func (export "handle")
    (drop (call $query (i32.const 1024) (i32.const 3)))
    (call $status (i32.add (i32.mul (call $digit (i32.const 1024)) (i32.const 100))
      (i32.add (i32.mul (call $digit (i32.const 1025)) (i32.const 10)) (call $digit (i32.const 1026)))))
    (call $header (i32.const 0) (i32.const 12) (i32.const 12) (i32.const 9))
    (call $header (i32.const 21) (i32.const 14) (i32.const 35) (i32.const 2))
    (call $header (i32.const 37) (i32.const 4) (i32.const 41) (i32.const 9))
    (call $header (i32.const 50) (i32.const 17) (i32.const 67) (i32.const 4))
    (call $header (i32.const 80) (i32.const 10) (i32.const 67) (i32.const 4))
    (call $header (i32.const 90) (i32.const 12) (i32.const 67) (i32.const 4))
    (call $header (i32.const 75) (i32.const 5) (i32.const 71) (i32.const 4))
    (call $reply (i32.const 71) (i32.const 4))))'''

HELLO = r'''(module (import "gasworks" "reply" (func $reply (param i32 i32))) (memory (export "memory") 1)
  (data (i32.const 16) "hello\n") (func (export "handle") (call $reply (i32.const 16) (i32.const 6))))'''

# Like HELLO, but replies nothing to HEAD.
LAZY = r'''(module (import "gasworks" "reply" (func $reply (param i32 i32)))
  (import "gasworks" "request_method" (func $method (param i32 i32) (result i32))) (memory (export "memory") 1)
  (data (i32.const 16) "hello\n") (func (export "handle") (drop (call $method (i32.const 0) (i32.const 1)))
    (if (i32.ne (i32.load8_u (i32.const 0)) (i32.const 72)) (then (call $reply (i32.const 16) (i32.const 6))))))'''

LOOP = '(module (func (export "handle") (loop $l (br $l))))'

FUNCTIONS = {"hello": HELLO, "env": ENV, "show": SHOW, "status": STATUS, "lazy": LAZY, "loop": LOOP}


class Server:
    """A server with FUNCTIONS deployed; `options` are those of `gasworks serve`."""

    def __init__(self, program, options=()):
        self.work = tempfile.mkdtemp(prefix="gasworks-http-")
        self.log = open(self.work + "/log", "wb+")
        command = [program, "serve", "--listen", "127.0.0.1:0", "--data", self.work + "/data", "--sync", "off", "--insecure", "--host", "x", *options]
        self.process = subprocess.Popen(command, stderr=self.log)
        self.port = self.find_port()
        for name, text in FUNCTIONS.items():
            self.deploy(name, text)

    def text(self):
        with open(self.work + "/log", errors="replace") as file:
            return file.read()

    def find_port(self):
        for _ in range(600):
            found = re.search(r"serving on http://127\.0\.0\.1:(\d+)", self.text())
            if found:
                return int(found[1])
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise SystemExit("the server does not start: " + self.text())

    def deploy(self, name, text):
        path = f"{self.work}/{name}"
        with open(path + ".wat", "w") as file:
            file.write(text)
        subprocess.run(["wat2wasm", path + ".wat", "-o", path + ".wasm"], check=True)
        with open(path + ".wasm", "rb") as file:
            put = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/functions/{name}", file.read(), method="PUT")
        try:
            urllib.request.urlopen(put, timeout=60).read()
        except urllib.error.HTTPError as error:
            print(f"{name} is not deployed: {error.read().decode()}")

    def stop(self, kill=signal.SIGINT):
        """Ends it; True when that went well and it has nothing to complain about."""
        self.process.send_signal(kill)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = "none within 60 seconds"
        text = self.text()
        bad = code != 0 or "ERROR: " in text or "runtime error" in text
        if bad:
            print(f"the server ended with {code}:\n{text[-4000:]}")
        shutil.rmtree(self.work)
        return not bad


def dial(port, timeout=5):
    connection = socket.create_connection(("127.0.0.1", port), timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Malformed(Exception):
    pass


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def values(self, name):
        return [value for key, value in self.headers if key == name.lower()]


HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([\x20-\x7e\x80-\xff\t]*)")


def read_head(head):
    """A Reply without its body, of the bytes before an empty line."""
    lines = head.split(b"\r\n")
    start = re.fullmatch(rb"HTTP/1\.1 ([1-5]\d\d) [ -~]*", lines[0])
    if not start:
        raise Malformed(f"status line {lines[0]!r}")
    headers = []
    for line in lines[1:]:
        field = HEADER.fullmatch(line)
        if not field:
            raise Malformed(f"header {line!r}")
        headers.append((field[1].decode().lower(), field[2].decode("latin1")))
    reply = Reply(int(start[1]), headers, b"")
    check_head(reply)
    return reply


def check_head(reply):
    """What RFC 9110 says of headers, whatever the request was."""
    status, length = reply.status, reply.values("Content-Length")
    if len(length) > 1 or any(not value.isdigit() for value in length):
        raise Malformed(f"Content-Length {length}")
    if reply.values("Transfer-Encoding"):
        raise Malformed("a Transfer-Encoding")
    if status < 200 or status in (204, 304):
        if length or reply.values("Content-Type"):
            raise Malformed(f"{status} with length or type")
    elif status == 205 and (length not in (["0"], []) or reply.values("Content-Type")):
        raise Malformed("205 with content")
    if status >= 200 and len(reply.values("Date")) != 1:
        raise Malformed("not one Date")


class Reader:
    """Replies from a connection, in their order."""

    def __init__(self, connection):
        self.connection, self.bytes = connection, b""

    def more(self):
        data = self.connection.recv(65536)
        self.bytes += data
        return len(data) > 0

    def reply(self, is_head=False):
        """The next one, or None at the end. is_head: of a request that asked for no body."""
        while b"\r\n\r\n" not in self.bytes:
            if not self.more():
                if self.bytes:
                    raise Malformed(f"half a reply {self.bytes[:80]!r}")
                return None
        head, self.bytes = self.bytes.split(b"\r\n\r\n", 1)
        reply = read_head(head)
        if reply.status < 200 or reply.status in (204, 304) or is_head:
            return reply
        length = reply.values("Content-Length")
        if not length:
            raise Malformed(f"{reply.status} without Content-Length")
        while len(self.bytes) < int(length[0]):
            if not self.more():
                raise Malformed("half a body")
        reply.body, self.bytes = self.bytes[:int(length[0])], self.bytes[int(length[0]):]
        return reply

    def is_closed(self):
        """Whether the other side ends the connection, without another byte."""
        try:
            return not self.bytes and not self.more()
        except (TimeoutError, socket.timeout):
            return False
        except ConnectionError:
            return True
