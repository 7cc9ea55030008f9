#!/usr/bin/env python3
"""Fairness of one event loop: bench/fair.py [--gasworks FILE] [--seconds N] [--within N] [--attackers PATTERN...]

The server runs on core 0 with one worker, this on the others. Printed are
 - the median and the 99th percentile of a function of about a millisecond, alone and while 100 endless loops run, of one function and of
   a hundred functions; the aim is twice the percentile alone. Of a hundred, its share is a hundredth of the core: it is called at a rate
   beyond that (every 20 ms), and N times within it (every 400 ms);
 - the gas that two functions get which both have endless work, one with 8 requests in flight and one with 40.
With --attackers, instead: the same function beside each attack of bench/attacks/ whose name or group matches, 4 requests of it in flight
all the time; the worst first. The aim is three times the percentile alone, and 10 ms.
"""
import argparse, fnmatch, http.client, multiprocessing, os, re, socket, subprocess, sys, tempfile, threading, time

from attacks import arithmetic, host, memory, resources

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

PAUSE = 0.4
FEATURES = ("exceptions", "threads", "tail-call", "memory64", "multi-memory")

LOOP = """(module (memory (export "memory") 1) (global $x (mut i64) (i64.const 0))
  (func (export "handle") (loop $l (global.set $x (i64.add (global.get $x) (i64.const 1))) (br $l))))"""
WORK = """(module (memory (export "memory") 1)
  (func (export "handle") (local $i i32) (local $x i64)
    (loop $l (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
      (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const ROUNDS))))
    (i64.store (i32.const 0) (local.get $x))))"""


def assemble(text, folder):
    source, binary = os.path.join(folder, "a.wat"), os.path.join(folder, "a.wasm")
    with open(source, "w") as f:
        f.write(text)
    subprocess.run(["wat2wasm", *(f"--enable-{f}" for f in FEATURES), source, "-o", binary], check=True)
    with open(binary, "rb") as f:
        return f.read()


def request(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request(method, path, body)
    reply = connection.getresponse()
    text = reply.read()
    gas = int(reply.getheader("Gasworks-Gas") or 0)
    connection.close()
    return reply.status, gas, text


class Server:
    def __init__(self, program, folder, *options):
        command = ["taskset", "-c", "0", program, "serve", "--insecure",
                   "--listen", "127.0.0.1:0", "--workers", "1", "--tier", "fast", "--data",
                   os.path.join(folder, "data"), "--grace", "0", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            found = re.search(r"serving on http://[^:]+:(\d+)", line)
            if found:
                self.port = int(found.group(1))
                break
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def deploy(self, name, module):
        status, _, text = request(self.port, "PUT", "/v1/functions/" + name, module)
        if status >= 300:
            sys.exit(f"fair: {text.decode()}")

    def start(self, name):
        """A request that is not waited for; closing the socket cancels it."""
        s = socket.create_connection(("127.0.0.1", self.port))
        s.sendall(f"POST /f/{name} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        return s

    def close(self):
        self.process.terminate()
        self.process.wait()


def latencies(server, seconds, pause=0.02):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    times, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        before = time.perf_counter()
        connection.request("POST", "/f/work")
        reply = connection.getresponse()
        reply.read()
        times.append((time.perf_counter() - before) * 1000)
        time.sleep(pause)
    times.sort()
    return times[len(times) // 2], times[len(times) * 99 // 100], len(times)


def show(what, measured):
    print(f"{what:38} median {measured[0]:6.2f} ms, 99 % {measured[1]:6.2f} ms, {measured[2]} requests")


def measure_latency(program, seconds, within):
    with tempfile.TemporaryDirectory() as folder:
        server = Server(program, folder, "--gas-limit", "1000T")
        loop = assemble(LOOP, folder)
        server.deploy("work", assemble(WORK.replace("ROUNDS", "700000"), folder))
        for i in range(100):
            server.deploy(f"loop{i}", loop)
        latencies(server, 0.5)
        print(f"the function uses {request(server.port, 'POST', '/f/work')[1]} gas")
        show("alone", latencies(server, seconds))
        if within:
            show("alone, every 400 ms", latencies(server, within * PAUSE / 4, PAUSE))
        for what, names in (("100 loops of one function", ["loop0"] * 100), ("100 loops of 100 functions", [f"loop{i}" for i in range(100)])):
            sockets = [server.start(name) for name in names]
            time.sleep(1)
            show(what, latencies(server, seconds))
            if len(set(names)) > 1 and within:
                show(what + ", within", latencies(server, within * PAUSE, PAUSE))
            for s in sockets:
                s.close()
            time.sleep(1)
        server.close()


def measure_share(program, seconds):
    """Requests that end when their gas does. Of those under way at the end half is counted: on average so much is done."""
    limit, in_flight = 20_000_000, {"few": 8, "many": 40}
    with tempfile.TemporaryDirectory() as folder:
        server = Server(program, folder, "--gas-limit", str(limit))
        for name in in_flight:
            server.deploy(name, assemble(LOOP, folder))
        used, end = {name: n * limit // 2 for name, n in in_flight.items()}, time.monotonic() + seconds

        def client(name):
            while time.monotonic() < end:
                _, gas, _ = request(server.port, "POST", "/f/" + name)
                if time.monotonic() < end:
                    used[name] += gas

        threads = [threading.Thread(target=client, args=(name,)) for name, n in in_flight.items() for _ in range(n)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        server.close()
        total = sum(used.values())
        print("share of gas: " + ", ".join(f"{n} requests in flight {used[name] / total:.3f}" for name, n in in_flight.items()))


# --- attackers -------------------------------------------------------------------------------------------------------

def attack_module(attack, folder):
    """A handler as it is, or `run` with a count that never ends, as one."""
    if isinstance(attack.text, bytes):
        return attack.text
    if attack.how == "serve":
        return assemble(attack.text, folder)
    text = attack.text.replace('(func (export "run")', '(func $run (export "run")', 1)
    end = text.rindex(")")
    return assemble(text[:end] + ' (func (export "handle") (drop (call $run (i64.const -1)))))', folder)


def attack_at_full_rate(port):
    """A process of its own: requests one after another, in four threads, until it is terminated."""
    def repeat():
        while True:
            try:
                request(port, "POST", "/f/attack")
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)

    os.nice(10)  # it shares its core with who measures
    threads = [threading.Thread(target=repeat) for _ in range(4)]
    for t in threads:
        t.start()


def longest_turn(server):
    """The power of two of microseconds that 99.9 % of the loop's turns did not exceed."""
    turns = re.findall(r'gasworks_turns_total\{microseconds="(\w+)"\} (\d+)', request(server.port, "GET", "/metrics")[2].decode())
    total, seen = sum(int(n) for _, n in turns), 0
    for kind, n in turns:
        seen += int(n)
        if seen >= total * 0.999:
            return kind
    return "?"


def measure_attack(program, attack, seconds):
    with tempfile.TemporaryDirectory() as folder:
        server = Server(program, folder)
        process = None
        try:
            server.deploy("work", assemble(WORK.replace("ROUNDS", "700000"), folder))
            if attack:
                server.deploy("attack", attack_module(attack, folder))
                process = multiprocessing.Process(target=attack_at_full_rate, args=(server.port,), daemon=True)
                process.start()
            latencies(server, 0.5)
            return latencies(server, seconds), longest_turn(server)
        finally:
            if process:
                process.kill()
                process.join()
            server.close()


def show_attack(name, measured):
    (median, late, n), turn = measured
    print(f"{name:34} median {median:7.2f} ms, 99 % {late:7.2f} ms, {n:4} requests, 99.9 % of turns up to {turn} us", flush=True)


def measure_attackers(program, seconds, patterns):
    chosen = [a for module in (arithmetic, host, memory, resources) for a in module.attacks()
              if not a.files and not a.headers
              and any(fnmatch.fnmatch(a.name, p) or fnmatch.fnmatch(a.group, p) for p in patterns)]
    show_attack("alone", measure_attack(program, None, seconds))
    results = []
    for attack in chosen:
        try:
            results.append((attack.name, measure_attack(program, attack, seconds)))
        except (SystemExit, subprocess.CalledProcessError) as e:
            print(f"{attack.name}: {e}", file=sys.stderr)
    for name, measured in sorted(results, key=lambda r: -r[1][0][1]):
        show_attack(name, measured)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gasworks", default=os.path.join(ROOT, "build/release/gasworks"))
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--within", type=int, default=100)
    parser.add_argument("--attackers", nargs="+", metavar="PATTERN")
    options = parser.parse_args()
    os.sched_setaffinity(0, set(range(1, os.cpu_count())) or {0})
    if options.attackers:
        measure_attackers(options.gasworks, options.seconds, options.attackers)
        return
    measure_latency(options.gasworks, options.seconds, options.within)
    measure_share(options.gasworks, options.seconds)


if __name__ == "__main__":
    main()
