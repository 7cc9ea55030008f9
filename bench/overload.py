#!/usr/bin/env python3
"""Overload: one tenant asks for N times of what the server can do, at a fixed rate whatever comes back. Goodput must stay at its peak,
   and another tenant must not notice much.
   overload.py GASWORKS [--seconds S] [--max-wait MS] [--workers N]
Prints a table: load as a multiple of the capacity, requests per second that were sent, answered with 200 and with 429 or 503, the p99 of
those with 200, and of the other tenant's, in milliseconds."""
import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time

# Some milliseconds of compiled code, which no compiler can do without.
WORK = """(module (memory (export "memory") 1) (func (export "handle") (local i32 i32)
  (loop $again
    (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 1664525)) (i32.const 1013904223)))
    (br_if $again (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 1000000))))
  (i32.store (i32.const 0) (local.get 1))))"""
HELLO = """(module (memory (export "memory") 1) (func (export "handle")))"""
CONNECTIONS = 200


class Server:
    def __init__(self, program, work, options):
        self.process = subprocess.Popen([program, "serve", "--data", os.path.join(work, "data"), "--insecure", "--listen", "127.0.0.1:0",
                                         "--tier", "fast", "--drain", "0", *options], stderr=subprocess.PIPE, text=True)
        line = ""
        while "serving on" not in line:
            line = self.process.stderr.readline()
            if not line:
                sys.exit("the server does not start")
        self.port = int(line.rsplit(":", 1)[1])
        self.sink = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)


async def put(port, path, body):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    line = await reader.readline()
    if b" 20" not in line:
        sys.exit(f"PUT {path}: {line}")
    writer.close()


async def read_reply(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    size = int(next((line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), b"0"))
    if size:
        await reader.readexactly(size)
    return int(head.split(b" ", 2)[1])


async def caller(port, path, times, results, closed_until=None):
    """Open loop: sends at each of `times`, or as soon as it is free; latency is from when it was due. Closed loop: until a moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    clock = time.monotonic
    while True:
        if closed_until is None:
            due = next(times, None)
            if due is None:
                break
            if due > clock():
                await asyncio.sleep(due - clock())
        else:
            due = clock()
            if due > closed_until:
                break
        writer.write(request)
        status = await read_reply(reader)
        results.append((status, clock() - due))
    writer.close()


async def run(port, rate, seconds, quiet_rate):
    """The loud tenant at `rate`, 0: closed loop; the quiet one at its own."""
    begin = time.monotonic() + 0.1
    loud, quiet = [], []
    times = iter([begin + i / rate for i in range(int(rate * seconds))]) if rate else None
    quiet_times = iter([begin + i / quiet_rate for i in range(int(quiet_rate * seconds))])
    n = CONNECTIONS if rate else 8
    calls = [caller(port, "/t/loud/f/work", times, loud, None if rate else begin + seconds) for _ in range(n)]
    await asyncio.gather(*calls, *(caller(port, "/t/quiet/f/hello", quiet_times, quiet) for _ in range(4)))
    return loud, quiet, time.monotonic() - begin


def p99(latencies):
    return sorted(latencies)[int(len(latencies) * 0.99)] * 1000 if latencies else float("nan")


async def measure(args, port):
    loud, quiet, took = await run(port, 0, args.seconds, 50)
    capacity = sum(status == 200 for status, _ in loud) / took
    print(f"capacity: {capacity:.0f} requests/s, 8 at a time")
    print(f"{'load':>6} {'sent/s':>8} {'200/s':>8} {'refused/s':>10} {'p99 ms':>8} {'other p99':>10}")
    for factor in (0.5, 1, 2, 5):
        loud, quiet, took = await run(port, capacity * factor, args.seconds, 50)
        good = [latency for status, latency in loud if status == 200]
        bad = sum(status in (429, 503) for status, _ in loud)
        print(f"{factor:>5}x {len(loud) / took:8.0f} {len(good) / took:8.0f} {bad / took:10.0f} {p99(good):8.1f} "
              f"{p99([latency for _, latency in quiet]):10.1f}", flush=True)
        await asyncio.sleep(1)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gasworks")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--max-wait", default="200")
    parser.add_argument("--workers", default="2")
    args = parser.parse_args()
    work = tempfile.mkdtemp(prefix="gasworks-overload-")
    server = Server(args.gasworks, work, ["--max-wait", args.max_wait, "--workers", args.workers])
    try:
        for tenant, name, text in (("loud", "work", WORK), ("quiet", "hello", HELLO)):
            await put(server.port, "/v1/tenants/" + tenant, b"")
            subprocess.run(["wat2wasm", "-", "-o", os.path.join(work, name)], input=text, text=True, check=True)
            with open(os.path.join(work, name), "rb") as f:
                await put(server.port, f"/t/{tenant}/v1/functions/{name}", f.read())
        await measure(args, server.port)
    finally:
        server.process.kill()
        server.process.wait()
        shutil.rmtree(work)


asyncio.run(main())
