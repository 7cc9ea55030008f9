#!/usr/bin/env python3
"""Kills a server under load, again and again: every receipt that a reply named is there afterwards, whole, in every later
   checkpoint, and the verifier that knows docs/receipts.md alone agrees. Then one bit is changed here and there.
   receipts.py GASWORKS EXAMPLES [--count KILLS] [--seed N]"""
import argparse
import http.client
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import verify_receipts as verifier  # noqa: E402


class Server:
    def __init__(self, program, data):
        self.process = subprocess.Popen([program, "serve", "--data", data, "--insecure", "--listen", "127.0.0.1:0", "--workers", "2",
                                         "--tier", "precise", "--drain", "0"], stderr=subprocess.PIPE, text=True)
        line = ""
        while "serving on" not in line:
            line = self.process.stderr.readline()
            if not line:
                sys.exit("FAIL the server does not start")
        self.port = int(line.rsplit(":", 1)[1])
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body)
        reply = connection.getresponse()
        return reply.status, reply.read(), reply.getheader("Gasworks-Receipt")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait()


def load(server, functions, told, checkpoints, is_over):
    """Calls until the server is gone; what it was told is what must be there."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        while not is_over.is_set():
            path = random.choice(functions)
            connection.request("GET" if path.startswith("/v1") else "POST", path)
            reply = connection.getresponse()
            body = reply.read()
            if path.startswith("/v1"):
                checkpoints.append(body.decode())
            else:
                told.append(reply.getheader("Gasworks-Receipt"))
    except (OSError, http.client.HTTPException):
        pass


def fetch_log(server, folder):
    """As a mirror of tlog-tiles would."""
    status, checkpoint, _ = server.ask("GET", "/v1/log/checkpoint")
    assert status == 200
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "checkpoint"), "wb") as f:
        f.write(checkpoint)
    size = int(checkpoint.split(b"\n")[1])
    for n in range((size + 255) // 256):
        width = min(256, size - n * 256)
        name = "tile/entries/" + verifier.tile_path(n) + ("" if width == 256 else f".p/{width}")
        status, data, _ = server.ask("GET", "/v1/log/" + name)
        if status != 200:
            sys.exit(f"FAIL {name}: {status}")
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)


def refuses(keys, folder):
    try:
        verifier.verify_log(keys, folder, [])
    except (verifier.Wrong, ValueError, KeyError, IndexError):
        return True
    return False


def change_bits(keys, folder, receipt, name):
    """Each of them is found."""
    files = [os.path.join(at, f) for at, _, names in os.walk(folder) for f in names]
    for _ in range(40):
        path = random.choice(files)
        with open(path, "r+b") as f:
            data = bytearray(f.read())
            at = random.randrange(len(data))
            data[at] ^= 1 << random.randrange(8)
            f.seek(0)
            f.write(data)
        if not refuses(keys, folder):
            sys.exit(f"FAIL a changed bit of byte {at} of {path} is not found")
        data[at] ^= 0
        shutil.rmtree(folder)
        shutil.copytree(folder + ".good", folder)
    for field in ("leaf", "proof"):
        text = receipt[field]
        for _ in range(40):
            at = random.randrange(len(text))
            other = dict(receipt, **{field: text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1:]})
            try:
                verifier.verify_receipt(keys, name, other)
            except (verifier.Wrong, ValueError, KeyError, IndexError, UnicodeError):
                continue
            sys.exit(f"FAIL a changed bit of character {at} of the receipt's {field} is not found")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("examples")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    random.seed(args.seed)
    work = tempfile.mkdtemp(prefix="gasworks-receipts-")
    data, mirror = os.path.join(work, "data"), os.path.join(work, "mirror")
    told, checkpoints = [], []
    functions = ["/f/hello", "/f/counter", "/f/trap", "/v1/log/checkpoint"]
    server = Server(args.program, data)
    for name, file in (("hello", "hello"), ("counter", "counter-c"), ("trap", "trap")):
        with open(os.path.join(args.examples, file + ".wasm"), "rb") as f:
            status, body, _ = server.ask("PUT", "/v1/functions/" + name, f.read())
            assert status in (200, 201), body
    for kill in range(args.count):
        is_over = threading.Event()
        threads = [threading.Thread(target=load, args=(server, functions, told, checkpoints, is_over)) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(random.uniform(0.05, 1.5 if kill % 4 == 0 else 0.4))
        server.kill()
        is_over.set()
        for thread in threads:
            thread.join()
        server = Server(args.program, data)
    status, text, _ = server.ask("GET", "/v1/log/keys")
    keys = [verifier.parse_key(line) for line in text.decode().splitlines()]
    fetch_log(server, mirror)
    olds = []
    for i, checkpoint in enumerate(sorted(set(checkpoints))):
        olds.append(os.path.join(work, f"old{i}"))
        with open(olds[-1], "w", encoding="utf-8") as f:
            f.write(checkpoint)
    leaves = verifier.verify_log(keys, mirror, olds)
    if None in told or not told:
        sys.exit("FAIL a reply had no receipt")
    for name in told:
        _, index, wanted = name.split("/")
        if int(index) >= len(leaves) or verifier.leaf_hash(leaves[int(index)]).hex() != wanted:
            sys.exit(f"FAIL the receipt {name} is not in the log")
    if len({name.split("/")[1] for name in told}) != len(told):
        sys.exit("FAIL two replies had the same index")
    name = random.choice(told)
    status, body, _ = server.ask("GET", "/v1/receipts/" + name.split("/")[1])
    receipt = json.loads(body)
    verifier.verify_receipt(keys, name, receipt)
    status, text, _ = server.ask("GET", "/metrics")
    assert re.search(rb"^gasworks_invocations_without_receipt_total 0$", text, re.M)
    server.stop()
    shutil.copytree(mirror, mirror + ".good")
    change_bits(keys, mirror, receipt, name)
    voids = sum(verifier.decode_leaf(leaf)[1] == 5 for leaf in leaves)
    print(f"{args.count} kills, {len(told)} receipts, {len(olds)} checkpoints, {len(leaves)} leaves, {voids} of them void: all there")
    shutil.rmtree(work)


main()
