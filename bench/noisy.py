#!/usr/bin/env python3
"""A quiet function beside noisy ones: bench/noisy.py [--gasworks FILE] [--seconds N] [--json]

The server runs on core 0 with one worker; wrk makes the noise on another core, and this asks the quiet function, which works for
about a millisecond and logs a line, twenty times a second. Each noise runs for N seconds (10), then all together: endless loops,
floods of logs, giant replies, long readers of state, 256 calls at once, deep pipelining. Printed are the quiet function's median,
99th percentile and its ratio to that alone (the aim is 2), failed requests and lines missing in the log (the aim is none).
"""
import argparse, http.client, json, os, re, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAUSE = 0.05


def module(imports, body, pages=1):
    signatures = {"request_query": "(param i32 i32) (result i32)", "log": "(param i32 i32)", "reply": "(param i32 i32)",
                  "state_get": "(param i32 i32 i32 i32) (result i32)"}
    lines = "".join(f'(import "gasworks" "{i}" (func ${i} {signatures[i]}))' for i in imports)
    return f'(module {lines} (memory (export "memory") {pages}) (func (export "handle") (local $i i32) (local $x i64) {body}))'


def work(rounds):
    return f"""(loop $l (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
      (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const {rounds}))))
    (i64.store (i32.const 0) (local.get $x))"""


ENDLESS = "(loop $e (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1))) (br $e))"
MODULES = {
    "quiet": module(["request_query", "log"], work(700000) + "(call $log (i32.const 64) (call $request_query (i32.const 64) (i32.const 64)))"),
    "loop": module([], ENDLESS),
    "logs": module(["log"], "(memory.fill (i32.const 0) (i32.const 120) (i32.const 60000)) (call $log (i32.const 0) (i32.const 60000))"),
    "giant": module(["reply"], "(call $reply (i32.const 0) (i32.const 33554432))", 512),
    "reader": module(["state_get"], "(drop (call $state_get (i32.const 0) (i32.const 4) (i32.const 64) (i32.const 64)))" + ENDLESS),
    "calls": module([], work(700000)),
    "pipeline": module(["reply"], "(call $reply (i32.const 0) (i32.const 6))"),
}
# What wrk asks for, by how many connections; the pipeline's are 256 requests deep.
NOISES = {"loop": 64, "logs": 16, "giant": 8, "reader": 32, "calls": 256, "pipeline": 4}
PIPELINE = 'init = function() r = {} for i = 1, 256 do r[i] = wrk.format("GET", "/f/pipeline") end all = table.concat(r) end\n' \
           "request = function() return all end\n"


class Server:
    def __init__(self, program, folder):
        self.folder, self.log = folder, os.path.join(folder, "log")
        command = ["taskset", "-c", "0", program, "serve", "--insecure", "--listen", "127.0.0.1:0", "--workers", "1", "--tier", "fast", "--data",
                   os.path.join(folder, "data"), "--grace", "0"]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stderr=log)
        for _ in range(200):
            found = re.search(rb"serving on http://[^:]+:(\d+)", open(self.log, "rb").read())
            if found:
                break
            time.sleep(0.05)
        else:
            sys.exit("noisy: the server did not start")
        self.port = int(found.group(1))

    def deploy(self, name, text):
        source, binary = os.path.join(self.folder, "a.wat"), os.path.join(self.folder, "a.wasm")
        open(source, "w").write(text)
        subprocess.run(["wat2wasm", source, "-o", binary], check=True)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("PUT", "/v1/functions/" + name, open(binary, "rb").read())
        reply = connection.getresponse()
        if reply.status >= 300:
            sys.exit(f"noisy: {name}: {reply.read().decode()}")

    def noise(self, name):
        script = os.path.join(self.folder, "pipeline.lua")
        open(script, "w").write(PIPELINE)
        command = ["nice", "-n", "19", "taskset", "-c", "1", "wrk", "-t1", f"-c{NOISES[name]}", "-d3600s", "--timeout", "60s",
                   f"http://127.0.0.1:{self.port}/f/{name}"] + (["-s", script] if name == "pipeline" else [])
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def close(self):
        self.process.terminate()
        self.process.wait()


asked = 0


def ask(server, seconds):
    """The times of all requests, sorted, in milliseconds; how many failed; the lines that they should leave."""
    global asked
    times, lines, failed, end = [], [], 0, time.monotonic() + seconds
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    while time.monotonic() < end:
        asked += 1
        before = time.perf_counter()
        try:
            connection.request("GET", f"/f/quiet?line-{asked}-of-the-quiet-one")
            reply = connection.getresponse()
            reply.read()
            failed += reply.status != 200
        except (OSError, http.client.HTTPException):
            failed += 1
            connection.close()
        times.append((time.perf_counter() - before) * 1000)
        lines.append(b"line-%d-of-the-quiet-one" % asked)
        time.sleep(PAUSE)
    return sorted(times), failed, lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gasworks", default=os.path.join(ROOT, "build/release/gasworks"))
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.sched_setaffinity(0, set(range(1, os.cpu_count())) or {0})
    try:
        # before wrk, which has the same core; the server and wrk do not inherit it
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError:
        print("noisy: no real-time priority: times are those of a client that waits for its core", file=sys.stderr)
    results, alone = [], None
    with tempfile.TemporaryDirectory() as folder:
        server = Server(options.gasworks, folder)
        for name, text in MODULES.items():
            server.deploy(name, text)
        ask(server, 1)
        for what, names in [("alone", [])] + [(n, [n]) for n in NOISES] + [("all together", list(NOISES)), ("alone again", [])]:
            processes = [server.noise(name) for name in names]
            time.sleep(1)
            times, failed, lines = ask(server, options.seconds)
            for p in processes:
                p.terminate()
                p.wait()
            time.sleep(1)
            log = open(server.log, "rb").read()
            missing = sum(line + b"\n" not in log for line in lines)
            median, late = times[len(times) // 2], times[len(times) * 99 // 100]
            alone = alone or late
            results.append({"noise": what, "median_ms": median, "p99_ms": late, "ratio": late / alone, "requests": len(times),
                            "failed": failed, "missing": missing})
            if not options.json:
                print(f"{what:14} median {median:6.2f} ms, 99 % {late:7.2f} ms ({late / alone:5.2f} of alone), {len(times)} requests, "
                      f"{failed} failed, {missing} lines missing", flush=True)
        server.close()
    if options.json:
        print(json.dumps(results, indent=2))


main()
