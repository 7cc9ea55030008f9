#!/usr/bin/env python3
"""What a receipt costs a request of the hello function: two servers on core 0, one with receipts and one without, and wrk on core 1,
   for one and for the other in turns. Medians of requests/s and of CPU time for each request: of the event loop's thread, and of all
   threads, those of the log included. CPU time does not count who else uses the core.
   receipts.py [--gasworks FILE] [--rounds N] [--seconds N] [--connections N] [--option OPTION]... [--json]"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Server:
    def __init__(self, program, data, options):
        self.process = subprocess.Popen(["taskset", "-c", "0", program, "serve", "--data", data, "--insecure", "--listen", "127.0.0.1:0",
                                         "--workers", "1", *options], stderr=subprocess.PIPE, text=True)
        line = ""
        while "serving on" not in line:
            line = self.process.stderr.readline()
            if not line:
                sys.exit("bench: the server does not start")
        self.url = line.split("serving on ", 1)[1].split()[0]
        with open(os.path.join(ROOT, "build/examples/hello.wasm"), "rb") as f:
            request = urllib.request.Request(self.url + "/v1/functions/hello", f.read(), method="PUT")
        urllib.request.urlopen(request).read()
        self.rates, self.loop, self.all = [], [], []

    def cpu_ns(self):
        """Of the loop, and of all threads."""
        folder = f"/proc/{self.process.pid}/task"
        loop = total = 0
        for task in os.listdir(folder):
            with open(f"{folder}/{task}/schedstat", encoding="ascii") as f:
                ns = int(f.read().split()[0])
            with open(f"{folder}/{task}/comm", encoding="ascii") as f:
                is_loop = f.read().startswith("gw-loop")
            total += ns
            loop += ns if is_loop else 0
        return loop, total

    def load(self, args, seconds):
        before = self.cpu_ns()
        text = subprocess.run(["taskset", "-c", "1", "wrk", "-t1", f"-c{args.connections}", f"-d{seconds}s", self.url + "/f/hello"],
                              capture_output=True, text=True, check=True).stdout
        time.sleep(0.2)  # the last checkpoint
        after = self.cpu_ns()
        n = int(re.search(r"(\d+) requests in", text)[1])
        if "Non-2xx" in text:
            sys.exit("bench: some requests failed")
        return float(re.search(r"Requests/sec:\s*([\d.]+)", text)[1]), (after[0] - before[0]) / n, (after[1] - before[1]) / n

    def measure(self, args):
        rate, loop, total = self.load(args, args.seconds)
        self.rates.append(rate)
        self.loop.append(loop)
        self.all.append(total)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gasworks", default=os.path.join(ROOT, "build/release/gasworks"))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--option", action="append", default=[], help="of the server with receipts")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        servers = {"on": Server(args.gasworks, os.path.join(work, "on"), args.option),
                   "off": Server(args.gasworks, os.path.join(work, "off"), ["--receipts", "off"])}
        try:
            for server in servers.values():
                server.load(args, 1)  # compiled by then
            for i in range(args.rounds):
                for name in ("on", "off") if i % 2 else ("off", "on"):
                    servers[name].measure(args)
        finally:
            for server in servers.values():
                server.process.terminate()
                server.process.wait()
    rows = {}
    for what in ("rates", "loop", "all"):
        on, off = getattr(servers["on"], what), getattr(servers["off"], what)
        ratios = [a / b for a, b in zip(on, off)]
        rows[what] = {"on": statistics.median(on), "off": statistics.median(off), "ratio": statistics.median(ratios),
                      "quartiles": statistics.quantiles(ratios, n=4)[::2]}
    if args.json:
        print(json.dumps(rows))
        return
    print("| | receipts | none | by pairs | middle half of the pairs |\n|---|---:|---:|---:|---|")
    for what, text in (("rates", "requests/s"), ("loop", "ns of the loop's CPU time for a request"), ("all", "ns of all CPU time for a request")):
        row = rows[what]
        print(f"| {text} | {row['on']:,.0f} | {row['off']:,.0f} | {100 * (row['ratio'] - 1):+.1f} % | "
              f"{100 * (row['quartiles'][0] - 1):+.1f} to {100 * (row['quartiles'][1] - 1):+.1f} % |")


if __name__ == "__main__":
    main()
