#!/usr/bin/env python3
"""The SDKs against the table of host functions: each declares all of them, and a function in each language that calls them all replies
   the same and is a tool. Languages whose compiler is not there are skipped; with none, so is the test (77).
   sdk.py GASWORKS ROOT"""
import http.client, json, os, re, shutil, signal, subprocess, sys, tempfile, time

PROGRAM, ROOT = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
HOST = re.findall(r"^FUNCTION\((\w+),", open(ROOT + "/runtime/host/handler.def").read(), re.M)
DECLARED = {"c": ("sdk/c/gasworks_guest.h", r"GW_IMPORT\({}\)"), "rs": ("sdk/rust/gasworks.rs", r"pub fn {}\("),
            "ts": ("sdk/assemblyscript/gasworks.ts", r'@external\("gasworks", "{}"\)')}
ASC = os.environ.get("ASC", ROOT + "/build/tools/node_modules/.bin/asc")
RUSTC = os.environ.get("RUSTC", "/usr/bin/rustc")
BUILD = {"c": [os.environ.get("CLANG", "clang-22"), "--target=wasm32-wasi", "--sysroot=/usr", "-Wno-deprecated", "-O3", "-Wall", "-Wextra",
               "-Werror", "--no-wasm-opt", "-I", "sdk/c", "-nostartfiles", "-Wl,--no-entry"],
         "rs": [RUSTC, "--edition", "2021", "--target", "wasm32-unknown-unknown", "--crate-type", "cdylib", "-D", "warnings", "-C", "opt-level=3",
                "-C", "panic=abort"],
         "ts": [ASC, "-O3", "--debug", "--exportStart", "_initialize", "--runtime", "stub", "--transform", "./sdk/assemblyscript/tool.mjs"]}
WANTED = """method=POST
target=/f/{name}/rest?b=x&a=1%20y
path=/rest
query=b=x&a=1%20y
parameter=1%20y
header=first
missing=1
of all=first
of all=second
body size=12
body=a body: \u00fc 1
get=value
exists=1
deleted=1
added={added}
size=6
read=abc
resized=4
no size=1
scan=s1
with=one
scan=s2
with=twelve
last=s2
with=twelve
key=s1
of size=3
key=s2
of size=6
gas=1
clock=1
random=1
"""

failures = 0


def check(what, ok, got=""):
    global failures
    failures += not ok
    if not ok:
        print(f"FAIL {what}: {got}")


def build(language, work):
    """The module's path, or None where the compiler is not there."""
    command, out = BUILD[language], f"{work}/sdk-{language}.wasm"
    if not shutil.which(command[0]):
        print(f"skipped: no {command[0]}")
        return None
    if language == "rs":
        library = subprocess.run([RUSTC, "--print", "target-libdir", "--target", "wasm32-unknown-unknown"], capture_output=True, text=True)
        if not os.path.isdir(library.stdout.strip()):
            print("skipped: no Rust library for Wasm")
            return None
    done = subprocess.run([*command, f"tests/guest/sdk.{language}", "-o", out], cwd=ROOT, capture_output=True, text=True, timeout=200)
    check(f"sdk.{language} builds without a word", done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr)
    return out if done.returncode == 0 else None


def ask(port, method, path, body=None, headers=()):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest(method, path)
    for name, value in headers:
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body or b"")))
    connection.endheaders(body)
    reply = connection.getresponse()
    return reply.status, reply.getheader("X-Out"), reply.getheader("Content-Type"), reply.read()


def check_function(port, language, path):
    name = "sdk-" + language
    imports = re.findall(r"<- gasworks\.(\w+)", subprocess.run(["wasm-objdump", "-x", "-j", "Import", path], capture_output=True, text=True).stdout)
    check(f"sdk.{language} calls all", sorted(imports) == sorted(HOST), sorted(set(HOST) ^ set(imports)))
    with open(path, "rb") as file:
        got = ask(port, "PUT", "/v1/functions/" + name, file.read())
    check(f"{name} is deployed", got[0] == 201, got)
    for added in (5, 10):
        got = ask(port, "POST", f"/f/{name}/rest?b=x&a=1%20y", "a body: \u00fc 1".encode()[:12], [("x-in", "first"), ("x-in", "second")])
        check(f"what {name} replies", got[:3] == (201, "out", "text/plain") and got[3].decode() == WANTED.format(name=name, added=added), got)
    logged = json.loads(ask(port, "GET", f"/v1/functions/{name}/logs")[3].splitlines()[0])
    check(f"what {name} logs", "logged" in json.dumps(logged), logged)


def check_tools(port, languages):
    message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).encode()
    got = ask(port, "POST", "/mcp", message, [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")])
    tools = {tool["name"]: tool for tool in json.loads(got[3])["result"]["tools"]}
    for language in languages:
        tool = tools.get("sdk-" + language, {})
        check(f"sdk-{language} is a tool", tool.get("description") == "All of the SDK" and "a" in tool["inputSchema"]["properties"], tool)


def serve(work, built):
    log = work + "/log"
    with open(log, "w") as file:
        process = subprocess.Popen([PROGRAM, "serve", "--listen", "127.0.0.1:0", "--data", work + "/data", "--workers", "1", "--insecure"], stderr=file)
    try:
        for _ in range(600):
            found = re.search(r"serving on http://127\.0\.0\.1:(\d+)", open(log).read())
            if found:
                break
            time.sleep(0.05)
        for language, path in built.items():
            check_function(int(found[1]), language, path)
        check_tools(int(found[1]), built)
    finally:
        process.send_signal(signal.SIGINT)
        check("the server ends well", process.wait(60) == 0, open(log).read()[-2000:])


def main():
    for language, (path, pattern) in DECLARED.items():
        text = open(os.path.join(ROOT, path)).read()
        missing = [name for name in HOST if not re.search(pattern.format(name), text)]
        check(f"{path} has every host function", not missing, missing)
    work = tempfile.mkdtemp()
    built = {language: path for language in BUILD if (path := build(language, work))}
    if built:
        serve(work, built)
    shutil.rmtree(work)
    print(f"{len(HOST)} functions, {', '.join(built) or 'no language'}: {failures} failed")
    return 1 if failures else 0 if built else 77


sys.exit(main())
