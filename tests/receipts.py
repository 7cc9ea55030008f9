#!/usr/bin/env python3
"""Kills a server under load, again and again: every receipt that a reply named is there afterwards, whole, in every later
   checkpoint, and the verifier that knows docs/receipts.md alone agrees. Then one bit is changed here and there. Before that, what a
   client sent and got is what its receipt says, and the key rotates.
   A client that gets no answer asks again with the same Idempotency-Key: then all it asked for has happened once.
   receipts.py GASWORKS EXAMPLES [--count KILLS] [--seed N] [--option OPTION]..."""
import argparse
import atexit
import hashlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import verify_receipts as verifier  # noqa: E402


# Sets a value of 100,000 bytes and reads it again; and a program of CGI that replies and fails.
LARGE = """(module (import "gasworks" "state_get" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "gasworks" "state_set" (func $set (param i32 i32 i32 i32))) (memory (export "memory") 4) (data (i32.const 0) "k")
  (func (export "handle")
    (memory.fill (i32.const 8) (i32.const 120) (i32.const 100000))
    (drop (call $get (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 100000)))
    (call $set (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 100000))))"""
FAILS = """(module (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\13\\00\\00\\00") (data (i32.const 16) "Status: 422\\0a\\0asorry\\0a")
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $exit (i32.const 3))))"""


def deploy_text(server, work, name, text):
    path = os.path.join(work, name)
    with open(path + ".wat", "w", encoding="utf-8") as f:
        f.write(text)
    subprocess.run(["wat2wasm", path + ".wat", "-o", path + ".wasm"], check=True)
    with open(path + ".wasm", "rb") as f:
        status, body, _ = server.ask("PUT", "/v1/functions/" + name, f.read())
    assert status == 201, body


class Server:
    def __init__(self, program, data, options=()):
        self.process = subprocess.Popen([program, "serve", "--data", data, "--insecure", "--listen", "127.0.0.1:0", "--workers", "2",
                                         "--tier", "precise", "--drain", "0", *options], stderr=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)
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


class Client:
    """Asks for things once each, however often it must ask; `answers` has what it was told by key."""

    def __init__(self, name):
        self.name, self.n, self.answers = name, 0, {}
        self.has_written = False  # the last time

    def ask(self, connection):
        key = f"{self.name}-{self.n}"
        connection.request("POST", "/f/counter/once", headers={"Idempotency-Key": f'"{key}"'})
        reply = connection.getresponse()
        body = reply.read()
        if reply.status == 200:
            self.n += 1
            self.answers[key] = body
        self.has_written = reply.status == 200 and not reply.getheader("Idempotency-Replayed")
        return reply.getheader("Gasworks-Receipt")


def check_once(server, clients):
    """Each key has counted once; its answer is still the one that was given."""
    for client in clients:  # what it has asked for and not heard of
        client.ask(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20))
    status, body, _ = server.ask("GET", "/f/counter/once")
    numbers = sorted(int(answer) for client in clients for answer in client.answers.values())
    if status != 200 or numbers != list(range(1, len(numbers) + 1)) or int(body) != len(numbers):
        sys.exit(f"FAIL {len(numbers)} keys counted to {body}: {numbers[:3]} to {numbers[-3:]}")
    for client in clients:
        for key, answer in random.sample(sorted(client.answers.items()), min(20, len(client.answers))):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            connection.request("POST", "/f/counter/once", headers={"Idempotency-Key": f'"{key}"'})
            if connection.getresponse().read() != answer:
                sys.exit(f"FAIL the answer to {key} has changed")
    return len(numbers)


def load(server, functions, client, told, checkpoints, is_over):
    """Calls until the server is gone; what it was told is what must be there."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        while not is_over.is_set():
            path = random.choice(functions)
            if path == "once":
                told.append(client.ask(connection))
                continue
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


def exchange(server, method, target, headers, body):
    """As bytes, so that what was sent is known to the last one: status, headers, body, and the receipt once a checkpoint has it."""
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head.encode() + b"\r\n" + body)
        reply = http.client.HTTPResponse(connection, method=method)
        reply.begin()
        content = reply.read()
    name = reply.getheader("Gasworks-Receipt")
    for _ in range(200):
        _, text, _ = server.ask("GET", "/v1/receipts/" + name.split("/")[1])
        receipt = json.loads(text)
        if "proof" in receipt:
            break
        time.sleep(0.05)
    _, keys, _ = server.ask("GET", "/v1/log/keys")
    keys = [verifier.parse_key(line) for line in keys.decode().splitlines()]
    return reply, content, verifier.verify_receipt(keys, name, receipt)


def sized(data):
    return len(data).to_bytes(8, "little") + data


def stored(data):
    return sized(data) if len(data) <= 65536 else sized(data)[:8] + hashlib.blake2b(data, digest_size=32).digest()


def expect(fields, key, wanted, what):
    if fields.get(key) != wanted:
        sys.exit(f"FAIL {what}: field {key} is {fields.get(key)!r} and not {wanted!r}")


def check_digests(server):
    """All of it computed from what the client sent and got, as docs/receipts.md says."""
    for name, body, target in (("hello", b"", "/f/hello?a=%20b"), ("hello", b"x" * 300000, "/f/hello/"), ("counter", b"", "/f/counter/k")):
        method = "POST" if body or name == "counter" else "GET"
        headers = [("host", "127.0.0.1"), ("x-word", "a  b"), ("content-length", str(len(body)))]
        for count in (1, 2) if name == "counter" else (0,):
            reply, content, fields = exchange(server, method, target, headers, body)
            what = f"{method} {target}"
            sent = f"{method} {target}\n" + "".join(f"{n}:{v}\n" for n, v in headers) + "\n"
            expect(fields, 9, hashlib.sha256(sent.encode() + body).digest(), what)
            own = [header for header in reply.getheaders() if name == "counter" and header[0].lower() == "content-type"]
            got = f"{reply.status}\n" + "".join(f"{n}: {value}\r\n" for n, value in own) + "\n"
            expect(fields, 12, hashlib.sha256(got.encode() + content).digest(), what)
            expect(fields, 1, 0, what)
            expect(fields, 2, name.encode(), what)
            expect(fields, 7, 200, what)
            gas = sum(fields.get(kind, 0) for kind in (14, 15, 16, 17))
            if gas != int(reply.getheader("Gasworks-Gas")) or not fields.get(16) or (name == "counter") != (17 in fields):
                sys.exit(f"FAIL {what}: gas of all kinds is {gas} and not {reply.getheader('Gasworks-Gas')}")
            if name == "counter":
                key = hashlib.blake2b(b"counter", digest_size=24).digest() + b"/k"
                read = b"\0" + sized(key) if count == 1 else b"\1" + sized(key) + stored(b"1")
                expect(fields, 10, hashlib.sha256(read).digest(), what)
                expect(fields, 11, hashlib.sha256(b"\1" + sized(key) + stored(b"%d" % count)).digest(), what)
    _, _, fields = exchange(server, "POST", "/f/trap?kind=div", [("host", "127.0.0.1"), ("content-length", "0")], b"")
    if fields[1] != 1 or 8 not in fields or 12 in fields or 7 in fields:
        sys.exit(f"FAIL the receipt of a trap: {fields}")


def check_ends(server, work):
    """A value that is named by its digest; a program that says that it failed."""
    headers = [("host", "127.0.0.1"), ("content-length", "0")]
    deploy_text(server, work, "large", LARGE)
    deploy_text(server, work, "fails", FAILS)
    record = sized(hashlib.blake2b(b"large", digest_size=24).digest() + b"k")
    value = record + stored(b"x" * 100000)
    for read in (b"\0" + record, b"\1" + value):
        _, _, fields = exchange(server, "POST", "/f/large", headers, b"")
        expect(fields, 10, hashlib.sha256(read).digest(), "a large value")
        expect(fields, 11, hashlib.sha256(b"\1" + value).digest(), "a large value")
    reply, content, fields = exchange(server, "POST", "/f/fails", headers, b"")
    assert reply.status == 422 and content == b"sorry\n", content
    expect(fields, 1, 2, "a program that fails with a reply")
    expect(fields, 7, 422, "a program that fails with a reply")
    expect(fields, 12, hashlib.sha256(b"422\n\n" + content).digest(), "a program that fails with a reply")


def rotate(server):
    """Both keys sign the next checkpoint, the new one alone those behind it, and the old one is still known."""
    _, before, _ = server.ask("GET", "/v1/log/keys")
    status, body, _ = server.ask("POST", "/v1/log/rotate")
    assert status == 200, body
    _, after, _ = server.ask("GET", "/v1/log/keys")
    old, both = before.decode().splitlines(), after.decode().splitlines()
    if len(both) != len(old) + 1 or both[:-1] != old:
        sys.exit("FAIL the log has no new key")
    _, note, _ = server.ask("GET", "/v1/log/checkpoint")
    for key in (both[-1], both[-2]):
        verifier.open_checkpoint(note.decode(), [verifier.parse_key(key)])
    server.ask("GET", "/f/hello")
    for _ in range(200):
        _, note, _ = server.ask("GET", "/v1/log/checkpoint")
        if note.count("\u2014".encode()) == 1:
            break
        time.sleep(0.05)
    verifier.open_checkpoint(note.decode(), [verifier.parse_key(both[-1])])
    try:
        verifier.open_checkpoint(note.decode(), [verifier.parse_key(both[-2])])
    except verifier.Wrong:
        return
    sys.exit("FAIL the old key goes on to sign")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("examples")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--option", action="append", default=[], help="of the server")
    args = parser.parse_args()
    random.seed(args.seed)
    work = tempfile.mkdtemp(prefix="gasworks-receipts-")
    data, mirror = os.path.join(work, "data"), os.path.join(work, "mirror")
    told, checkpoints = [], []
    clients = [Client(f"client{i}") for i in range(4)]
    functions = ["/f/hello", "once", "/f/counter", "/f/trap", "/f/trap?kind=oob", "/v1/log/checkpoint"]
    server = Server(args.program, data, args.option)
    for name, file in (("hello", "hello"), ("counter", "counter-c"), ("trap", "trap")):
        with open(os.path.join(args.examples, file + ".wasm"), "rb") as f:
            status, body, _ = server.ask("PUT", "/v1/functions/" + name, f.read())
            assert status in (200, 201), body
    check_digests(server)
    check_ends(server, work)
    rotate(server)
    for kill in range(args.count):
        is_over = threading.Event()
        threads = [threading.Thread(target=load, args=(server, functions, client, told, checkpoints, is_over)) for client in clients]
        for thread in threads:
            thread.start()
        time.sleep(random.uniform(0.05, 1.5 if kill % 4 == 0 else 0.4))
        server.kill()
        is_over.set()
        for thread in threads:
            thread.join()
        server = Server(args.program, data, args.option)
    once = check_once(server, clients)
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
    print(f"{args.count} kills, {len(told)} receipts, {len(olds)} checkpoints, {len(leaves)} leaves, {voids} of them void, "
          f"{once} requests with a key: all there")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
