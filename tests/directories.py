#!/usr/bin/env python3
"""Directories of the host that settings of functions name: who may have which, that there is no way out of them, and that what was read
   there is not repeatable.
   directories.py GASWORKS"""
import json, os, re, shutil, signal, subprocess, sys, tempfile, threading, time, urllib.error, urllib.request

# Opens the path in its query, percent-encoding aside, with the flags in its first digit, in descriptor 3: 0 to read, 1 to make it.
# Replies what is there, or "errno N".
READER = """(module
  (import "gasworks" "request_query" (func $query (param i32 i32) (result i32)))
  (import "gasworks" "reply" (func $reply (param i32 i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $name (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "errno ??")
  (func $fail (param $errno i32)
    (i32.store8 (i32.const 6) (i32.add (i32.const 48) (i32.div_u (local.get $errno) (i32.const 10))))
    (i32.store8 (i32.const 7) (i32.add (i32.const 48) (i32.rem_u (local.get $errno) (i32.const 10))))
    (call $reply (i32.const 0) (i32.const 8)))
  (func (export "handle") (local $n i32) (local $errno i32)
    (local.set $n (call $query (i32.const 1024) (i32.const 4096)))
    (if (i32.eqz (local.get $n)) (then
      (local.set $errno (call $name (i32.const 3) (i32.const 2048) (i32.const 7)))
      (if (local.get $errno) (then (call $fail (local.get $errno)) (return)))
      (call $reply (i32.const 2048) (i32.const 7)) (return)))
    (local.set $errno (call $open (i32.const 3) (i32.const 1) (i32.const 1025) (i32.sub (local.get $n) (i32.const 1))
      (i32.sub (i32.load8_u (i32.const 1024)) (i32.const 48)) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 64)))
    (if (local.get $errno) (then (call $fail (local.get $errno)) (return)))
    (i32.store (i32.const 72) (i32.const 8192)) (i32.store (i32.const 76) (i32.const 4096))
    (local.set $errno (call $read (i32.load (i32.const 64)) (i32.const 72) (i32.const 1) (i32.const 80)))
    (if (local.get $errno) (then (call $fail (local.get $errno)) (return)))
    (call $reply (i32.const 8192) (i32.load (i32.const 80)))))"""
# Opens "big" and reads all of it into the same megabyte, by one call with 60 vectors.
GREEDY = """(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "gasworks" "reply" (func $reply (param i32 i32)))
  (memory (export "memory") 32)
  (data (i32.const 0) "big")
  (func (export "handle") (local $at i32)
    (loop $more
      (i32.store (i32.add (i32.const 1024) (local.get $at)) (i32.const 65536))
      (i32.store (i32.add (i32.const 1028) (local.get $at)) (i32.const 1048576))
      (br_if $more (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 480))))
    (if (call $open (i32.const 3) (i32.const 1) (i32.const 0) (i32.const 3) (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 64))
      (then (unreachable)))
    (if (call $read (i32.load (i32.const 64)) (i32.const 1024) (i32.const 60) (i32.const 72)) (then (unreachable)))
    (call $reply (i32.const 75) (i32.const 1))))"""
NOENT, NOTCAPABLE, ROFS, BADF = "errno 44", "errno 76", "errno 69", "errno 08"

failures = 0


def check(what, ok, got=""):
    global failures
    failures += not ok
    if not ok:
        print(f"FAIL {what}: {got}")


class Server:
    def __init__(self, program, *more):
        self.program, self.log = program, "log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([program, "serve", "--listen", "127.0.0.1:0", "--data", "data", "--workers", "1", *more], stderr=log)
        for _ in range(600):
            found = re.search(r"serving on (http://\S+)", open(self.log).read())
            if found:
                break
            time.sleep(0.05)
        else:
            raise SystemExit("the server does not start: " + open(self.log).read())
        self.url = found[1]
        self.token = open("data/admin-token").read().strip()

    def ask(self, method, path, body=None):
        request = urllib.request.Request(self.url + path, body, {"Authorization": "Bearer " + self.token}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, reply.read().decode(), reply.headers.get("Gasworks-Receipt", "")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), ""

    def patch(self, where, directories):
        return self.ask("PATCH", where, json.dumps({"directories": directories}).encode())

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        code, text = self.process.wait(60), open(self.log).read()
        check("the server ends well", code == 0 and "ERROR:" not in text and "runtime error" not in text, text[-2000:])


# Of a patch: its status.
PATCHES = [
    ({"/assets": "assets"}, 200), ({"/a/b.c/d_e-f": "assets"}, 200), ({"/assets": "other"}, 403), ({"/assets": "models"}, 403),
    ({"/assets": "acme/models"}, 400), ({"/assets": "../assets"}, 400), ({"/assets": "/etc"}, 400), ({"/assets": ""}, 400),
    ({"/assets": 1}, 400), ({"/": "assets"}, 400), ({"": "assets"}, 400), ({"assets": "assets"}, 400), ({"/state": "assets"}, 400),
    ({"/state/x": "assets"}, 400), ({"/a/../b": "assets"}, 400), ({"/..": "assets"}, 400), ({"/./a": "assets"}, 400),
    ({"/a/": "assets"}, 400), ({"//a": "assets"}, 400), ({"/a\u0001": "assets"}, 400), ({"/" + "a" * 200: "assets"}, 400),
    ({f"/d{i}": "assets" for i in range(9)}, 422), ("assets", 400), ([], 400), ({"/assets": None}, 200), (None, 200),
]
# Of a path: what is replied.
PATHS = [
    ("0file", "the file\n"), ("0inner/deep", "deep\n"), ("0inner/../file", "the file\n"), ("0link-in", "the file\n"),
    ("0nothing", NOENT), ("0../secret", NOTCAPABLE), ("0inner/../../secret", NOTCAPABLE), ("0/etc/passwd", NOTCAPABLE),
    ("0link-out", NOTCAPABLE), ("0link-up", NOTCAPABLE), ("0link-root", NOTCAPABLE), ("0folder-out/secret", NOTCAPABLE), ("1new", ROFS),
]


def try_patches(server):
    for directories, status in PATCHES:
        got = server.patch("/v1/functions/reader", directories)
        check(f"directories {directories}", got[0] == status, got)
        if status == 200:
            server.patch("/v1/functions/reader", None)
    got = server.patch("/t/acme/v1/functions/reader", {"/models": "models"})
    check("a tenant's own directory is the tenant's", got[0] == 200, got)
    check("who finds it", server.ask("GET", "/t/acme/f/reader?0model")[1] == "a model\n")


def try_paths(server):
    check("without a directory", server.ask("GET", "/f/reader")[1] != "/assets")
    got = server.patch("/v1/functions/reader", {"/assets": "assets"})
    check("with one", got[0] == 200 and json.loads(got[1])["settings"]["directories"] == {"/assets": "assets"}, got)
    check("it has its name", server.ask("GET", "/f/reader")[1] == "/assets")
    for path, wanted in PATHS:
        got = server.ask("GET", "/f/reader?" + path)
        check(path, got[1] == wanted, got)
    check("nothing was made", not os.path.exists("assets/new"))


def try_races(server, seconds=1.5):
    """Somebody swaps a folder for a link that leads out, again and again: what is outside is never read."""
    is_over = threading.Event()

    def swap():
        while not is_over.is_set():
            os.rename("assets/swapped", "assets/aside")
            os.symlink("..", "assets/swapped")
            os.unlink("assets/swapped")
            os.rename("assets/aside", "assets/swapped")
    os.mkdir("assets/swapped")
    with open("assets/swapped/secret", "w") as file:
        file.write("inner\n")
    thread, seen, until = threading.Thread(target=swap), set(), time.monotonic() + seconds
    thread.start()
    while time.monotonic() < until:
        seen.add(server.ask("GET", "/f/reader?0swapped/secret")[1])
    is_over.set()
    thread.join()
    check("a race leads nowhere", seen <= {"inner\n", NOENT, NOTCAPABLE, "errno 06"}, seen)


def try_replay(server):
    receipt = server.ask("GET", "/f/reader?0file")[2]
    env = {**os.environ, "GASWORKS_SERVER": server.url, "GASWORKS_TOKEN": server.token}
    done = subprocess.run([server.program, "replay", receipt], env=env, capture_output=True, text=True, timeout=60)
    check("it is not repeatable, which replay says", done.returncode == 8 and "directories of the host" in done.stderr, done)
    done = subprocess.run([server.program, "config", "reader", "--no-dir", "/assets", "--dir", "/more=assets"], env=env, capture_output=True, text=True, timeout=60)
    check("config changes them", "directory    /more: assets" in done.stdout and "/assets" not in done.stdout, done)


def try_price(server):
    """What is read is paid for: who has no gas for it does not make the server read it."""
    def bytes_read():
        with open(f"/proc/{server.process.pid}/io") as file:
            return int(re.search(r"rchar: (\d+)", file.read())[1])
    subprocess.run(["wat2wasm", "-", "-o", "greedy.wasm"], input=GREEDY.encode(), check=True)
    with open("assets/big", "wb") as file:
        file.truncate(60 << 20)
    with open("greedy.wasm", "rb") as file:
        server.ask("PUT", "/v1/functions/greedy", file.read())
    server.patch("/v1/functions/greedy", {"/assets": "assets"})
    got = server.ask("GET", "/f/greedy")
    check("a call reads as much as its vectors have", got[0] == 200 and got[1] == chr((60 << 20) >> 24), got)
    server.ask("PATCH", "/v1/functions/greedy", b'{"gas_limit": 5000000}')
    server.ask("GET", "/f/greedy")
    before, got = bytes_read(), server.ask("GET", "/f/greedy")
    n = bytes_read() - before
    check("it ends without gas", got[0] == 402, got)
    check("it reads no more than its gas, in both tiers that run it", n < 12000000, n)


def main():
    program, work = os.path.abspath(sys.argv[1]), tempfile.mkdtemp()
    os.chdir(work)
    for name in ("assets/inner", "models"):
        os.makedirs(name)
    for name, text in {"secret": "secret\n", "assets/file": "the file\n", "assets/inner/deep": "deep\n", "models/model": "a model\n"}.items():
        with open(name, "w") as file:
            file.write(text)
    for name, target in {"link-in": "file", "link-out": "../secret", "link-up": "..", "link-root": "/etc/passwd", "folder-out": ".."}.items():
        os.symlink(target, "assets/" + name)
    with open("reader.wat", "w") as file:
        file.write(READER)
    subprocess.run(["wat2wasm", "reader.wat", "-o", "reader.wasm"], check=True)
    allowed = ["--allow-dir", f"assets={work}/assets", "--allow-dir", f"acme/models={work}/models"]
    server = Server(program, *allowed)
    try:
        with open("reader.wasm", "rb") as file:
            module = file.read()
        server.ask("PUT", "/v1/tenants/acme")
        for where in ("/v1/functions/reader", "/t/acme/v1/functions/reader"):
            got = server.ask("PUT", where, module)
            check("it is deployed", got[0] == 201, got)
        try_patches(server)
        try_paths(server)
        try_races(server)
        try_replay(server)
        try_price(server)
        check("a deployment keeps them", server.ask("PUT", "/v1/functions/reader", module)[0] == 200 and server.ask("GET", "/f/reader?0file")[1] == "the file\n")
        server.stop()
        server = Server(program)
        got = server.ask("GET", "/f/reader?0file")
        check("what is not allowed any more is not had after a restart", got[0] in (403, 500, 503) and "the file" not in got[1], got)
        server.stop()
        shutil.rmtree("data")
        server = Server(program, *allowed, "--isolate", "tenant")
        server.ask("PUT", "/v1/tenants/acme")
        server.ask("PUT", "/t/acme/v1/functions/reader", module)
        server.patch("/t/acme/v1/functions/reader", {"/models": "models"})
        got = server.ask("GET", "/t/acme/f/reader?0model")
        check("a process of the tenant's own has it, too", got[1] == "a model\n", got)
        server.stop()
        bad = subprocess.run([program, "serve", "--check", "--allow-dir", "a=/x", "--allow-dir", "a=/y", "--allow-dir", "../b=/z", "--allow-dir", "c"], capture_output=True, text=True)
        check("the option is checked", bad.returncode == 2 and bad.stderr.count("--allow-dir") + bad.stdout.count("--allow-dir") >= 3, bad)
        bad = subprocess.run([program, "serve", "--listen", "127.0.0.1:0", "--data", "data", "--allow-dir", "a=/nowhere"], capture_output=True, text=True, timeout=60)
        check("a directory that is not there is told at the start", bad.returncode == 7 and "/nowhere" in bad.stderr, bad)
    finally:
        if server.process.poll() is None:
            server.process.kill()
        os.chdir("/")
        shutil.rmtree(work)
    print(f"{failures} failed")
    return failures > 0


sys.exit(main())
