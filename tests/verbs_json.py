#!/usr/bin/env python3
"""Every verb's --json: what it prints is JSON, and so is the last line on standard error when it fails. The verbs are those that
   `gasworks help --json` has; each needs a line here.
   verbs_json.py GASWORKS"""
import json, os, re, shutil, signal, subprocess, sys, tempfile, time

HELLO = """(module
  (import "gasworks" "reply" (func $reply (param i32 i32)))
  (import "gasworks" "reply_header" (func $header (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "hello\\n\\ffX-One1")
  (func (export "handle")
    (call $header (i32.const 7) (i32.const 5) (i32.const 12) (i32.const 1))
    (call $reply (i32.const 0) (i32.const 6))))"""
BYTES = HELLO.replace("(i32.const 6))))", "(i32.const 7))))")
TRAP = '(module (memory (export "memory") 1) (func $inner unreachable) (func (export "handle") (call $inner)))'
ADD = '(module (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))'

# What is typed, its standard input, and what must hold of the JSON: in this order, as some depend on others. "lines": JSON Lines;
# "stderr": there, as standard output may be the artifact or the program's.
ROWS = [
    ("version", "", lambda j: j["version"]),
    ("help", "", lambda j: len(j["verbs"]) > 30),
    ("help deploy", "", lambda j: any(o["name"] == "alias" for o in j["options"])),
    ("run --invoke add add.wasm 2 3", "", lambda j: j == [5]),
    ("run --stats --invoke add add.wasm 2 3", "", lambda j: j["gas"] > 0, "stderr"),
    ("debug --invoke add add.wasm 2 3", "step\nprint\ncontinue\n",
     lambda j: j[0]["number"] == 1 and j[0]["function"] and "offset" in j[0] and len(j) == 4 and j[-1]["has_ended"], "lines"),
    ("compile -o add.gwa add.wasm", "", lambda j: j["artifact_bytes"] > 0, "stderr"),
    ("cache --cache kept", "", lambda j: j["entries"] == []),
    ("cache --cache kept prune", "", lambda j: j["removed"] == 0),
    ("key signer", "", lambda j: len(j["public_key"]) == 64),
    ("inspect add.wasm", "", lambda j: j),
    ("inspect --gas add.wasm", "", lambda j: j),
    ("schedule", "", lambda j: j),
    ("init fresh", "", lambda j: j),
    ("serve --check --config server.json", "", lambda j: j["valid"]),
    ("deploy hello hello.wasm --wait", "", lambda j: j["version"] == 1),
    ("deploy hello bytes.wasm", "", lambda j: j["version"] == 2),
    ("deploy trap trap.wasm", "", lambda j: j["version"] == 1),
    ("list", "", lambda j: len(j["functions"]) == 2),
    ("invoke hello", "", lambda j: j["status"] == 200 and j["gas"] > 0 and j["receipt"] and j["body_base64"] == "aGVsbG8K/w=="),
    ("rollback hello", "", lambda j: j),
    ("invoke hello", "", lambda j: j["body"] == "hello\n" and ["X-One", "1"] in j["headers"]),
    ("versions hello", "", lambda j: len(j["versions"]) == 2),
    ("alias hello next 2", "", lambda j: j),
    ("config hello --env A=b", "", lambda j: j),
    ("secrets hello set KEY", "value", lambda j: j == ["KEY"]),
    ("secrets hello", "", lambda j: j == ["KEY"]),
    ("logs trap", "", None, "lines"),
    ("top --interval 1", "", lambda j: [f["instances"] >= 0 and f["memory_bytes"] >= 0 for f in j["functions"]] == [True, True]),
    ("usage", "", lambda j: j["rows"]),
    ("try hello.wasm", "", lambda j: j["status"] == 200),
    ("receipts list hello", "", lambda j: j),
    ("receipts checkpoint", "", lambda j: j),
    ("receipts keys", "", lambda j: j),
    ("verify 0 --pin pin", "", lambda j: j),
    ("replay 0", "", lambda j: j),
    ("trace 0", "", lambda j: j[-1]["has_ended"] and any("reply" in line.get("text", "") for line in j), "lines"),
    ("trace 0 --kind instructions", "", lambda j: len(j) > 4 and j[1]["gas"] > 0, "lines"),
    ("ui", "", lambda j: "#" in j["url"]),
    ("tokens", "", lambda j: j["tokens"]),
    ("tokens create --scopes read", "", lambda j: j["token"]),
    ("tokens revoke {id}", "", lambda j: j["revoked"]),
    ("tenants create acme", "", lambda j: j),
    ("tenants", "", lambda j: j["tenants"]),
    ("tenants budget acme --concurrency 3", "", lambda j: j["concurrency"] == 3),
    ("tenants delete acme", "", lambda j: j["deleted"] == "acme"),
    ("delete hello@next", "", lambda j: j["deleted"] == "hello@next"),
    ("delete trap", "", lambda j: j["deleted"] == "trap"),
    ("state -d data stat", "", lambda j: j is not None),
    ("dev fresh --once", "", lambda j: j["version"] == 1),
]
# Verbs of which no run is a success here: a calibration takes minutes, and no function is in quarantine.
ONLY_FAIL = {"calibrate", "lift"}
# What fails, with its exit code.
FAILURES = [
    ("invoke nobody", 8, lambda e: "HTTP 404" in e["detail"]),
    ("delete nobody", 8, lambda e: e["title"] == "not found"),
    ("deploy hello server.json", 3, lambda e: e["title"] == "malformed module"),
    ("run nothing.wasm", 7, lambda e: "nothing.wasm" in e["detail"]),
    ("run --tier precise trap.wasm", 134, lambda e: e["trap"] == "unreachable" and len(e["backtrace"]) >= 2),
    ("run --tier slow trap.wasm", 2, lambda e: "slow" in e["detail"]),
    ("lift hello", 8, lambda e: "quarantine" in e["detail"]),
    ("calibrate nothing.wasm", 7, lambda e: e["detail"]),
]

failures = 0


def fail(what):
    global failures
    failures += 1
    print(f"FAIL {what}")


def call(program, line, given=""):
    return subprocess.run([program, *line.split(), "--json"] if not line.startswith(("run", "debug")) else
                          [program, line.split()[0], "--json", *line.split()[1:]],
                          input=given, capture_output=True, text=True, timeout=120)


def parse(text, form):
    return [json.loads(line) for line in text.splitlines()] if form == "lines" else json.loads(text)


def check_row(program, line, given, holds, form="one"):
    done = call(program, line, given)
    text = done.stderr if form == "stderr" else done.stdout
    try:
        value = parse(text, form)
        if done.returncode != 0 or (holds and not holds(value)):
            fail(f"{line}: exit code {done.returncode}, {text[:500]}{done.stderr[:500]}")
        return value
    except (ValueError, KeyError, IndexError, TypeError) as error:
        fail(f"{line}: {error!r}: {text[:500]!r} {done.stderr[:500]}")


def check_failure(program, line, code, holds):
    done = call(program, line)
    try:
        error = json.loads(done.stderr.splitlines()[-1])["error"]
        if done.returncode != code or error["exit_code"] != code or not error["title"] or not holds(error):
            fail(f"{line}: exit code {done.returncode}, {error}")
    except (ValueError, KeyError, IndexError) as problem:
        fail(f"{line}: {problem!r}: {done.stderr[:500]!r}")


def start(program):
    log = open("log", "w")
    process = subprocess.Popen([program, "serve", "--listen", "127.0.0.1:0", "--data", "data", "--workers", "1"], stderr=log)
    for _ in range(600):
        found = re.search(r"serving on (http://\S+)", open("log").read())
        if found:
            return process, found[1]
        time.sleep(0.05)
    process.kill()
    raise SystemExit("the server does not start: " + open("log").read())


def check_all(program):
    verbs = [verb["name"] for verb in json.loads(call(program, "help").stdout)["verbs"]]
    seen, made = {row[0].split()[0] for row in ROWS}, None
    for verb in verbs:
        if not any(o["name"] == "json" for o in json.loads(call(program, "help " + verb).stdout)["options"]):
            fail(f"{verb} has no --json")
        if verb not in seen and verb not in ONLY_FAIL:
            fail(f"no line of this test is about {verb}")
        check_failure(program, f"{verb} --frobnicate", 2, lambda e: "--frobnicate" in e["detail"])
    for row in ROWS:
        if row[0].startswith("dev") and not shutil.which("clang"):
            continue
        value = check_row(program, row[0].format(id=made), *row[1:])
        if row[0].startswith("tokens create") and value:
            made = value.get("id")
    for row in FAILURES:
        check_failure(program, *row)


def main():
    program, work = os.path.abspath(sys.argv[1]), tempfile.mkdtemp()
    os.chdir(work)
    for name, text in {"hello": HELLO, "bytes": BYTES, "trap": TRAP, "add": ADD}.items():
        with open(name + ".wat", "w") as file:
            file.write(text)
        subprocess.run(["wat2wasm", "--debug-names", name + ".wat", "-o", name + ".wasm"], check=True)
    with open("server.json", "w") as file:
        file.write('{"workers": 1}')
    for name in ("GASWORKS_TOKEN", "GASWORKS_TENANT"):
        os.environ.pop(name, None)
    os.environ["GASWORKS_CACHE"] = work + "/cache"
    process, url = start(program)
    os.environ.update(GASWORKS_SERVER=url, GASWORKS_DATA=work + "/data")
    try:
        check_all(program)
    finally:
        process.send_signal(signal.SIGINT)
        if process.wait(60):
            fail(f"the server: {open('log').read()[-2000:]}")
        os.chdir("/")
        shutil.rmtree(work)
    print(f"{len(ROWS) + len(FAILURES)} lines, {failures} failed")
    return failures > 0


sys.exit(main())
