#!/usr/bin/env python3
"""Many functions on one server: bench/many.py [--gasworks FILE] [--functions N] [--tier precise|fast] [--same] [--address-space GiB]

Deploys N functions, each of other bytes (a custom section differs; --same: the same bytes under N names), calls each once, and prints what
the server's process takes for each function: when all are deployed, when the last 1,024 are idle, and when these have been given up.
With --address-space the server has only so much of it, and the first refusal is printed.
"""
import argparse, http.client, os, re, resource, subprocess, sys, tempfile, threading, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def leb(n):
    out = b""
    while n >= 128:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def variant(module, i):
    """The module with a custom section that holds a number."""
    payload = leb(6) + b"number" + str(i).encode()
    return module + b"\0" + leb(len(payload)) + payload


class Server:
    def __init__(self, options, folder):
        command = [options.gasworks, "serve", "--insecure", "--listen", "127.0.0.1:0", "--workers", "1", "--tier", options.tier, "--sync", "off", "--data",
                   os.path.join(folder, "data"), "--grace", "0"]
        limit = options.address_space << 30
        limits = (lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))) if limit else None
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=limits)
        for line in self.process.stderr:
            found = re.search(r"serving on http://[^:]+:(\d+)", line)
            if found:
                break
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.connection = http.client.HTTPConnection("127.0.0.1", int(found.group(1)), timeout=600)

    def request(self, method, path, body=None):
        self.connection.request(method, path, body)
        reply = self.connection.getresponse()
        return reply.status, reply.read().decode()

    def show(self, what, n):
        with open(f"/proc/{self.process.pid}/status") as f:
            status = dict(line.split(":", 1) for line in f)
        with open(f"/proc/{self.process.pid}/maps") as f:
            mappings = len(f.readlines())
        resident, size = (int(status[key].split()[0]) for key in ("VmRSS", "VmSize"))
        print(f"{what:22} {resident / 1024:8.1f} MB resident, {(resident - self.base) / max(n, 1):6.1f} KB for each function, "
              f"{size / 2**20:8.1f} GiB of addresses, {mappings} mappings", flush=True)
        return resident

    def close(self):
        self.process.terminate()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gasworks", default=os.path.join(ROOT, "build/release/gasworks"))
    parser.add_argument("--functions", type=int, default=10000)
    parser.add_argument("--tier", default="precise", choices=("precise", "fast"))
    parser.add_argument("--same", action="store_true")
    parser.add_argument("--address-space", type=int, default=0, metavar="GiB")
    options = parser.parse_args()
    with open(os.path.join(ROOT, "build/examples/hello.wasm"), "rb") as f:
        hello = f.read()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(options, folder)
        server.base = 0
        server.base = server.show("empty", 0)
        begin, n, refused = time.monotonic(), options.functions, 0
        for i in range(n):
            status, text = server.request("PUT", f"/v1/functions/f{i}", hello if options.same else variant(hello, i))
            if status != 201:
                sys.exit(f"many: f{i}: {status} {text}")
        print(f"{n} deployed in {time.monotonic() - begin:.1f} s")
        server.show("deployed", n)
        for i in range(n):
            status, text = server.request("POST", f"/f/f{i}")
            if status != 200 and not refused:
                print(f"f{i}: {status} {text}")
            refused += status != 200
        print(f"{n - refused} answered, {refused} refused, the server {'lives' if server.process.poll() is None else 'has ended'}")
        server.show("called once each", n)
        time.sleep(36)
        server.show("idle ones given up", n)
        server.close()


main()
