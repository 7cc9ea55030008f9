#!/usr/bin/env python3
"""What a request of the hello function costs the event loop's thread, in instructions, which do not depend on what else runs: by
   callgrind, with and without receipts and kept inputs. SHA-256 is counted in blocks of 64 bytes, since Valgrind has no SHA instructions.
   receipts_instructions.py [--gasworks FILE] [--requests N] [--option OPTION]... [--keep DIR] [--json]"""
import argparse
import glob
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHA = "sha256_plain"  # with all that it calls
WAYS = {"none": ["--receipts", "off"], "receipts": ["--keep-inputs", "0"], "receipts and inputs": []}


def ask(client, n, text):
    for _ in range(n):
        client.sendall(text)
        reply = b""
        while b"\r\n\r\n" not in reply:
            reply += client.recv(65536)
        head, body = reply.split(b"\r\n\r\n", 1)
        size = int(re.search(rb"content-length: (\d+)", head, re.I)[1])
        while len(body) < size:
            body += client.recv(65536)
        if b" 200 " not in head:
            sys.exit("bench: a request failed")


def rows_of(name):
    """Instructions of each function, with all that it calls."""
    text = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", name], capture_output=True, text=True).stdout
    rows = {}
    for line in text.splitlines():
        m = re.match(r"\s*([\d,]+) \([^)]*\)\s+\S*?:(\S+)", line)
        if m:
            rows.setdefault(m[2].split("'")[0], int(m[1].replace(",", "")))
    return rows


def total_of(name):
    with open(name, encoding="utf-8") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("totals:"))


def measure(args, way, work):
    """Of all functions: their name and inclusive instructions, the loop's only; and calls of SHA-256 by blocks."""
    os.makedirs(work)
    program = os.path.join(work, "gasworks")
    subprocess.run(["strip", "--strip-debug", "-o", program, args.gasworks], check=True)  # Valgrind does not read Clang's DWARF 5
    out = os.path.join(work, "callgrind.out")
    process = subprocess.Popen(["valgrind", "--tool=callgrind", "--separate-threads=yes", "--instr-atstart=no", f"--callgrind-out-file={out}",
                                program, "serve", "--data", os.path.join(work, "data"), "--insecure", "--listen", "127.0.0.1:0",
                                "--workers", "1", "--tier", "precise", "--walls", "off", *WAYS[way], *args.option],
                               stderr=subprocess.PIPE, text=True)
    line = ""
    while "serving on" not in line:
        line = process.stderr.readline()
        if not line:
            sys.exit("bench: the server does not start")
    url = line.split("serving on ", 1)[1].split()[0]
    with open(args.module, "rb") as f:
        request = urllib.request.Request(url + "/v1/functions/hello", f.read(), method="PUT")
    urllib.request.urlopen(request).read()
    host = url.split("//")[1]
    text = f"GET /f/hello HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    with socket.create_connection(host.split(":")) as client:
        ask(client, 300, text)
        time.sleep(0.2)
        subprocess.run(["callgrind_control", "-i", "on", str(process.pid)], check=True, stdout=subprocess.DEVNULL)
        ask(client, args.requests, text)
        subprocess.run(["callgrind_control", "-i", "off", str(process.pid)], check=True, stdout=subprocess.DEVNULL)
    process.terminate()
    process.wait()
    for name in glob.glob(out + "*"):
        rows = rows_of(name)
        if "invoke_begin" in rows or "begin" in rows:
            return total_of(name), rows
    sys.exit("bench: callgrind has nothing of the loop")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gasworks", default=os.path.join(ROOT, "build/release/gasworks"))
    parser.add_argument("--module", default=os.path.join(ROOT, "build/examples/hello.wasm"))
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--way", action="append", choices=WAYS)
    parser.add_argument("--option", action="append", default=[], help="of all servers")
    parser.add_argument("--keep", help="where callgrind's files are kept")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    work = args.keep or tempfile.mkdtemp()
    found = {}
    try:
        for way in args.way or WAYS:
            total, rows = measure(args, way, os.path.join(work, way.replace(" ", "_")))
            sha = rows.get(SHA, 0)
            found[way] = {"all": total / args.requests, "sha": sha / args.requests, "rows": rows}
    finally:
        if not args.keep:
            shutil.rmtree(work)
    if args.json:
        print(json.dumps(found))
        return
    for way, row in found.items():
        print(f"{way}: {row['all'] - row['sha']:,.0f} without SHA-256, {row['sha']:,.0f} of that")


if __name__ == "__main__":
    main()
