#!/usr/bin/env python3
"""What strangers wrote does not reach the terminal as commands: names in modules, and all that a hostile server says, to each verb
   that shows some of it. With --json, errors are UTF-8 whatever the arguments were.
   plain.py GASWORKS"""
import http.server, json, os, re, subprocess, sys, tempfile, threading

EVIL = "a\x1b]0;title\x07\x1b[31m\x7f\x9b31mb"
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")

# Members of all answers at once, for whichever verb asks.
ROW = {name: EVIL for name in ("name", "created", "digest", "access", "path", "interface", "backtraces", "text", "time", "kind", "request",
                               "id", "tenant", "expires", "function", "day", "outcome", "hash", "log", "alias", "since", "detail", "token")}
ROW.update(version=1, index=1, scopes=[EVIL], settings={"env": {EVIL: EVIL}, "headers": {EVIL: EVIL}, "directories": {EVIL: EVIL},
                                                        "secrets": [EVIL], "tier": EVIL, "state_group": EVIL})
ROW.update(quarantine=dict(ROW), fields={EVIL: EVIL, "outcome": EVIL})
ANSWER = dict(ROW, deleted=[EVIL], groups={EVIL: [EVIL]}, total=ROW, next=2, currency=EVIL, credit=EVIL,
              **{name: [ROW] for name in ("functions", "versions", "aliases", "lines", "tokens", "tenants", "rows", "receipts")})
PROBLEM = {"type": "urn:gasworks:problem:function-trapped", "title": EVIL, "status": 400, "detail": EVIL, "backtrace": ["0: " + EVIL]}
VERBS = ("list", "versions f", "config f", "secrets f", "logs f", "usage", "usage --by function", "tokens", "tenants", "top --once", "deploy f ok.wasm",
         "alias f a 1", "rollback f", "receipts list f", "receipts get 1", "tenants budget t", "replay 1", "trace 1", "delete f", "lift f")


class Hostile(http.server.BaseHTTPRequestHandler):
    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fails = self.server.fails
        body = json.dumps(PROBLEM if fails else ANSWER, ensure_ascii=False).encode()
        self.send_response(400 if fails else 200)
        self.send_header("Content-Type", "application/problem+json" if fails else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer
    log_message = lambda *_: None


def name(text):
    return bytes([len(text)]) + text


def section(number, body):
    return bytes([number, len(body)]) + body


def module(with_import, readable):
    """Exports handle, which traps in a function with a name of ours."""
    evil = EVIL.encode()
    imports = section(2, b"\1" + name(evil) + name(evil) + b"\0\0") if with_import else b""
    first = int(with_import)
    exports = section(7, b"\2" + name(b"handle") + bytes([0, first]) + name(evil) + bytes([0, first + 1]))
    code = section(10, b"\2\4\0\x10" + bytes([first + 1]) + b"\x0b\3\0\0\x0b")
    functions = b"\1" + bytes([first + 1]) + name(readable)
    names = section(0, name(b"name") + b"\0" + name(name(readable)) + b"\1" + name(functions))
    return b"\0asm\1\0\0\0" + section(1, b"\1\x60\0\0") + imports + section(3, b"\2\0\0") + exports + code + names + section(0, name(evil))


def main():
    gasworks, n = os.path.abspath(sys.argv[1]), 0
    folder = tempfile.TemporaryDirectory()
    os.chdir(folder.name)

    def look(arguments):
        nonlocal n
        done = subprocess.run([gasworks, *arguments], capture_output=True, timeout=60, env=dict(os.environ, GASWORKS_TOKEN="gw_000000000000_x"))
        for bytes_ in (done.stdout, done.stderr):
            found = COMMANDS.search(bytes_.decode())
            assert not found, f"{arguments}: {found[0]!r} in {bytes_!r}"
        assert done.returncode < 128 or b"unreachable" in done.stderr, (arguments, done)
        n += 1
        return done

    modules = {"plain.wasm": module(False, EVIL.encode()), "import.wasm": module(True, EVIL.encode()), "bytes.wasm": module(False, b"\xff\x1b[31m\xc2"),
               "ok.wasm": b"\0asm\1\0\0\0"}
    for file, made in modules.items():
        open(file, "wb").write(made)
        for verb in ("inspect", "inspect --gas", "inspect --wat", "run", "run --tier precise", "run --trace=calls", "run --invoke " + EVIL, "run --cache off -O0"):
            look([*verb.split(" "), file])
    for arguments in (["run", "--json", b"\xff\xc2.wasm"], ["run", b"\xff\xc2.wasm"], ["inspect", "--json", b"\x9b"], ["list", "--json", b"--\xff\xc2"]):
        done = look(arguments)
        if "--json" in arguments:
            assert json.loads(done.stderr.splitlines()[-1])["error"]["exit_code"] == done.returncode, done

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for server.fails in (False, True):
        for verb in VERBS + ("invoke f",) * server.fails:  # what a function replied is passed on as it is
            look([*verb.split(" "), "--server", f"http://127.0.0.1:{server.server_port}"])
    print(f"{n} outputs without a control character")


main()
