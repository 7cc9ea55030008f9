#!/usr/bin/env python3
"""Overload: one tenant asks for N times of what the server can do, at a fixed rate whatever comes back. Goodput must stay at its peak, and
   another tenant, with a function of about a millisecond at 50 requests a second, must not notice much.
   overload.py GASWORKS [--seconds S] [--max-wait MS] [--json]
The server has one worker on core 0; both tenants' clients are processes of their own on the others, before all else, where that is allowed. All is
measured twice: by the clock, and in CPU time of the server, which goes on as it works. Other programs on the machine change the first
one only. An idle server's CPU time stands still, so what is alone waits for its own work there.
Prints a table: load as a multiple of the capacity; requests per second that were sent; answers with 200 per second, and per second of CPU
time; refusals; p99 of those with 200 and of refusals; p99 of the other tenant. In milliseconds, by the clock and in CPU time.
Then ratios: goodput at 5x to the peak, p99 of accepted requests to --max-wait, and of the other tenant at 5x to that alone."""
import argparse
import asyncio
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time

# Compiled code that no compiler can do without: some milliseconds, or about one.
WORK = """(module (memory (export "memory") 1) (func (export "handle") (local i32 i32)
  (loop $again
    (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 1664525)) (i32.const 1013904223)))
    (br_if $again (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const ROUNDS))))
  (i32.store (i32.const 0) (local.get 1))))"""
CONNECTIONS, CLOSED = 200, 8


class Server:
    def __init__(self, program, work, options):
        self.process = subprocess.Popen(["taskset", "-c", "0", program, "serve", "--data", os.path.join(work, "data"), "--insecure",
                                         "--listen", "127.0.0.1:0", "--tier", "fast", "--drain", "0", "--workers", "1", *options],
                                        stderr=subprocess.PIPE, text=True)
        line = ""
        while "serving on" not in line:
            line = self.process.stderr.readline()
            if not line:
                sys.exit("the server does not start")
        self.port = int(line.rsplit(":", 1)[1])
        self.sink = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)
        self.clock = (~self.process.pid << 3) | 2  # of its CPU time: clock_getcpuclockid(3)


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


async def caller(server, path, times, until, results):
    """Sends at each of `times`, or as soon as it is free; without them one request after the other until a moment."""
    port, cpu = server
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    while True:
        due = next(times, None) if times else time.monotonic()
        if due is None or due > until:
            break
        if due > time.monotonic():
            await asyncio.sleep(due - time.monotonic())
        began, worked = time.monotonic(), time.clock_gettime(cpu)
        writer.write(request)
        status = await read_reply(reader)
        results.append((status, time.monotonic() - began, time.clock_gettime(cpu) - worked))
    writer.close()


def client(out, server, path, rate, connections, begin, seconds, is_first):
    os.sched_setaffinity(0, set(range(1, os.cpu_count())) or {0})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2 if is_first else 1))
    except PermissionError:
        pass

    async def run():
        results = []
        times = iter([begin + i / rate for i in range(int(rate * seconds))]) if rate else None
        await asyncio.gather(*(caller(server, path, times, begin + seconds, results) for _ in range(connections)))
        return results

    out.send(asyncio.run(run()))


def run(server, rate, seconds):
    """The loud tenant at `rate`, None: not at all, 0: one request after the other; the quiet one at its own."""
    begin, jobs = time.monotonic() + 0.3, []
    both = [("/t/quiet/f/small", 50, 4, True)]
    if rate is not None:
        both.append(("/t/loud/f/work", rate, CONNECTIONS if rate else CLOSED, False))
    worked = time.clock_gettime(server.clock)
    for path, each, connections, is_first in both:
        here, there = multiprocessing.Pipe(False)
        job = multiprocessing.Process(target=client, args=(there, (server.port, server.clock), path, each, connections, begin, seconds,
                                                           is_first))
        job.start()
        jobs.append((here, job))
    results = [here.recv() for here, job in jobs]
    took = time.monotonic() - begin, time.clock_gettime(server.clock) - worked
    for _, job in jobs:
        job.join()
    return results[0], results[1] if len(results) > 1 else [], took


def part(results, at, n):
    values = sorted(r[at] for r in results)
    return values[int(len(values) * n)] * 1000 if values else float("nan")


def p99(results, at):
    return part(results, at, 0.99)


def row(loud, quiet, took, small):
    """`small`: CPU seconds of a request of the quiet tenant, which are not the loud one's."""
    good, bad = [r for r in loud if r[0] == 200], [r for r in loud if r[0] in (429, 503)]
    other = [r for r in quiet if r[0] == 200]
    return {"sent": len(loud) / took[0], "good": len(good) / took[0], "good_cpu": len(good) / (took[1] - small * len(quiet)),
            "small": took[1] / len(quiet), "refused": len(bad) / took[0],
            "p99": p99(good, 1), "p99_cpu": p99(good, 2), "p99_refused": p99(bad, 1), "p99_refused_cpu": p99(bad, 2),
            "other": p99(other, 1), "other_cpu": p99(other, 2), "other_median_cpu": part(other, 2, 0.5),
            "other_refused": len(quiet) - len(other)}


def show(name, r):
    print(f"{name:>6} {r['sent']:8.0f} {r['good']:7.0f} {r['good_cpu']:9.0f} {r['refused']:10.0f} {r['p99']:8.1f} {r['p99_cpu']:8.1f} "
          f"{r['p99_refused']:8.2f} {r['p99_refused_cpu']:8.2f} {r['other']:8.2f} {r['other_cpu']:8.2f}", flush=True)


def measure(args, server):
    rows = {}

    def take(name, rate):
        quiet, loud, took = run(server, rate, args.seconds)
        rows[name] = row(loud, quiet, took, rows["alone"]["small"] if rows else 0)
        if not args.json:
            show(name, rows[name])
        time.sleep(0.5)

    if not args.json:
        print(f"{'load':>6} {'sent/s':>8} {'200/s':>7} {'200/cpu-s':>9} {'refused/s':>10} {'p99':>8} {'cpu':>8} {'refusal':>8} {'cpu':>8} "
              f"{'other':>8} {'cpu':>8}")
    take("alone", None)
    take("full", 0)
    for factor in (0.5, 1, 2, 5):
        take(f"{factor}x", rows["full"]["good"] * factor)
    best = max(r["good_cpu"] for r in rows.values())
    ratios = {"goodput at 5x to the peak, per CPU second": rows["5x"]["good_cpu"] / best,
              "p99 of accepted requests at 5x to --max-wait, by the clock": rows["5x"]["p99"] / float(args.max_wait),
              "p99 of the other tenant at 5x to that alone, in CPU time": rows["5x"]["other_cpu"] / rows["alone"]["other_cpu"],
              "the same of the median": rows["5x"]["other_median_cpu"] / rows["alone"]["other_median_cpu"],
              "the same of p99 by the clock": rows["5x"]["other"] / rows["alone"]["other"]}
    if args.json:
        print(json.dumps({"rows": rows, "ratios": ratios}))
    else:
        print("\n".join(f"{name}: {ratio:.2f}" for name, ratio in ratios.items()))


async def deploy(server, work):
    for tenant, name, rounds in (("loud", "work", 2000000), ("quiet", "small", 500000)):
        await put(server.port, "/v1/tenants/" + tenant, b"")
        subprocess.run(["wat2wasm", "-", "-o", os.path.join(work, name)], input=WORK.replace("ROUNDS", str(rounds)), text=True, check=True)
        with open(os.path.join(work, name), "rb") as f:
            await put(server.port, f"/t/{tenant}/v1/functions/{name}", f.read())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gasworks")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--max-wait", default="200")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    work = tempfile.mkdtemp(prefix="gasworks-overload-")
    server = Server(args.gasworks, work, ["--max-wait", args.max_wait])
    try:
        asyncio.run(deploy(server, work))
        measure(args, server)
    finally:
        server.process.kill()
        server.process.wait()
        shutil.rmtree(work)


main()
