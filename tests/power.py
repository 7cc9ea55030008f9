#!/usr/bin/env python3
"""Power failures, and disks that fail or are full, under load (power_shim.c). The server dies, and the disk has what was synced, and of
   the rest whatever chance leaves: no page of it, some, or all. What was acknowledged is there, nothing is there by half, and the log
   continues every checkpoint that was ever shown. With --receipts-sync on each receipt is there that a reply named; else those of
   invocations that wrote state. A client that got no answer asks again with the same key, and has counted once.
   power.py GASWORKS SHIM EXAMPLES [--count CUTS] [--seed N]"""
import argparse
import http.client
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import receipts  # noqa: E402
import verify_receipts as verifier  # noqa: E402

PAGE, HIDDEN = 4096, ".power"


# --- the disk ----------------------------------------------------------------------------------------------------------

def keys_below(folder):
    """As the shim names files, by path."""
    command = ["find", folder, "-name", HIDDEN, "-prune", "-o", "-exec", "stat", "-c", "%i|%W|%w|%n", "{}", "+"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    keys = {}
    for line in text.splitlines():
        inode, seconds, born, path = line.split("|", 3)
        keys[path] = f"{inode}-{seconds}.{born.partition('.')[2].split(' ')[0]}"
    return keys


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except FileNotFoundError:
        return None


class Disk:
    """A data directory, and beside it what of it is durable."""

    def __init__(self, work):
        self.data = os.path.join(work, "data")
        self.hidden = os.path.join(self.data, HIDDEN)  # the server may write nowhere else
        self.shadow, self.control = os.path.join(self.hidden, "shadow"), os.path.join(self.hidden, "control")
        os.mkdir(self.data)
        self.settle()

    def settle(self):
        """All that is there is durable."""
        shutil.rmtree(self.shadow, ignore_errors=True)
        os.makedirs(self.shadow)
        keys = keys_below(self.data)
        for path, key in keys.items():
            if os.path.isdir(path):
                with open(f"{self.shadow}/{key}.list", "w", encoding="utf-8") as f:
                    f.writelines(f"{keys[os.path.join(path, name)]} {name}\n" for name in os.listdir(path) if name != HIDDEN)
            else:
                shutil.copyfile(path, f"{self.shadow}/{key}.file")

    def listed(self, key):
        text = read(f"{self.shadow}/{key}.list") or b""
        return {name: k for k, name in (line.split(" ", 1) for line in text.decode().splitlines())}

    def content(self, key, path, share):
        """Of a file: what was synced, and each page that was written since or not."""
        durable, now = read(f"{self.shadow}/{key}.file") or b"", read(path) if path else None
        if now is None or share == 0:
            return durable
        out = bytearray(now if random.random() < share else now[:max(len(durable), 0)] if len(durable) < len(now) else now)
        for at in range(0, len(out), PAGE):
            if out[at:at + PAGE] != durable[at:at + PAGE] and random.random() >= share:
                out[at:at + PAGE] = durable[at:at + PAGE].ljust(len(out[at:at + PAGE]), b"\0")
        return bytes(out)

    def rebuild(self, path, into, keys, share):
        os.mkdir(into)
        paths = {key: p for p, key in keys.items()}
        durable = self.listed(keys[path])
        now = {name: keys[os.path.join(path, name)] for name in os.listdir(path) if os.path.join(path, name) in keys}
        for name in sorted(set(durable) | set(now)):
            chosen = now.get(name) if durable.get(name) == now.get(name) or random.random() < share else durable.get(name)
            if chosen is None:
                continue
            at = paths.get(chosen)
            if at and os.path.isdir(at):
                self.rebuild(at, os.path.join(into, name), keys, share)
            else:
                with open(os.path.join(into, name), "wb") as f:
                    f.write(self.content(chosen, at, share))
                os.chmod(os.path.join(into, name), 0o600)

    def fail(self, share):
        """A power failure: of what was not synced each piece is there with that probability."""
        self.rebuild(self.data, self.data + ".new", keys_below(self.data), share)
        shutil.rmtree(self.data)
        os.rename(self.data + ".new", self.data)
        self.settle()

    def say(self, word):
        with open(self.control, "w", encoding="ascii") as f:
            f.write(word)


# --- the load ----------------------------------------------------------------------------------------------------------

class Load:
    """What was told, by four clients, until the server is gone or it is enough."""

    def __init__(self, functions):
        self.functions = functions
        self.clients = [receipts.Client(f"client{i}") for i in range(4)]
        self.told, self.kept, self.checkpoints, self.failures = [], [], [], []

    def ask(self, server, client, until):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        try:
            while time.monotonic() < until:
                path = random.choice(self.functions)
                if path == "once":
                    receipt = client.ask(connection)
                    self.told.append(receipt)
                    if client.has_written:
                        self.kept.append(receipt)
                    continue
                connection.request("GET" if path.startswith("/v1") else "POST", path)
                reply = connection.getresponse()
                body = reply.read()
                if path.startswith("/v1"):
                    self.checkpoints.append(body.decode())
                elif reply.status >= 500:
                    self.failures.append((reply.status, body.decode()))
                self.told.append(None if path.startswith("/v1") else reply.getheader("Gasworks-Receipt"))
        except (OSError, http.client.HTTPException):
            pass

    def run(self, server, seconds, is_killed):
        until = time.monotonic() + seconds + (5 if is_killed else 0)
        threads = [threading.Thread(target=self.ask, args=(server, client, until)) for client in self.clients]
        for thread in threads:
            thread.start()
        if is_killed:
            time.sleep(seconds)
            server.kill()
        for thread in threads:
            thread.join()


def check(server, disk, load, work, is_synced):
    """What must be there is."""
    once = receipts.check_once(server, load.clients)
    status, text, _ = server.ask("GET", "/v1/log/keys")
    assert status == 200
    keys = [verifier.parse_key(line) for line in text.decode().splitlines()]
    mirror = os.path.join(work, "mirror")
    shutil.rmtree(mirror, ignore_errors=True)
    names = [name for name in (load.told if is_synced else load.kept) if name]
    for _ in range(100):  # until a checkpoint has what was told last
        status, note, _ = server.ask("GET", "/v1/log/checkpoint")
        if max(int(name.split("/")[1]) for name in names) < int(note.split(b"\n")[1]):
            break
        time.sleep(0.1)
    receipts.fetch_log(server, mirror)
    olds = []
    for i, checkpoint in enumerate(sorted(set(load.checkpoints))):
        olds.append(os.path.join(work, f"old{i}"))
        with open(olds[-1], "w", encoding="utf-8") as f:
            f.write(checkpoint)
    leaves = verifier.verify_log(keys, mirror, olds)
    for name in names:
        _, index, wanted = name.split("/")
        if int(index) >= len(leaves) or verifier.leaf_hash(leaves[int(index)]).hex() != wanted:
            sys.exit(f"FAIL the receipt {name} is lost: the log has {len(leaves)} leaves")
    return once, len(leaves), len(olds)


def start(args, disk, option):
    os.environ.update({"LD_PRELOAD": args.shim, "POWER_ROOT": disk.data, "POWER_SHADOW": disk.shadow, "POWER_CONTROL": disk.control})
    try:
        return receipts.Server(args.program, disk.data, ["--receipts-sync", option])
    finally:
        del os.environ["LD_PRELOAD"]


def metric(server, name):
    text = server.ask("GET", "/metrics")[1].decode()
    return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith("gasworks_" + name) and not line.startswith("#"))


def wait_with_slots_free(server, disk):
    """Replies that wait for the disk keep no instance: those that come later find the same ones."""
    for _ in range(8):  # on either worker, likely
        server.ask("GET", "/f/hello")
    cold, seen = metric(server, "cold_starts"), metric(server, "invocations")
    disk.say("hang")
    connections = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=20) for _ in range(8)]
    for i, connection in enumerate(connections):
        connection.request("GET", "/f/hello")
        for _ in range(1000):
            if metric(server, "invocations") > seen + i:
                break
            time.sleep(0.01)
        else:
            sys.exit("FAIL a request waits for the disk before its function runs")
    cold = metric(server, "cold_starts") - cold
    disk.say("")
    bodies = {(reply.status, reply.read(), bool(reply.getheader("Gasworks-Receipt")))
              for reply in (connection.getresponse() for connection in connections)}
    if len(bodies) != 1 or min(bodies)[0] != 200 or not min(bodies)[2]:
        sys.exit(f"FAIL replies that waited for the disk: {bodies}")
    if cold > 2:  # one for each worker
        sys.exit(f"FAIL {cold} of {len(connections)} instances were made while replies waited for the disk")


def until_it_runs(server, why):
    for _ in range(100):
        if server.ask("GET", "/f/hello")[0] == 200 and server.ask("POST", "/f/counter")[0] == 200:
            return
        time.sleep(0.1)
    sys.exit(f"FAIL {why}, and no function runs")


def cut(args, option):
    with tempfile.TemporaryDirectory(prefix="gasworks-power-") as work:
        disk, load = Disk(work), Load(["/f/hello", "once", "/f/counter", "/f/trap", "/v1/log/checkpoint"])
        server = start(args, disk, option)
        for name, file in (("hello", "hello"), ("counter", "counter-c"), ("trap", "trap")):
            with open(os.path.join(args.examples, file + ".wasm"), "rb") as f:
                assert server.ask("PUT", "/v1/functions/" + name, f.read())[0] in (200, 201)
        if option == "on":
            wait_with_slots_free(server, disk)
        for _ in range(args.count):
            load.run(server, random.uniform(0.1, 1.3), True)
            disk.fail(random.choice((0, 0.5, 0.9)))
            server = start(args, disk, option)
            once, n, n_olds = check(server, disk, load, work, option == "on")
        print(f"{args.count} power failures, receipts-sync {option}: {sum(map(bool, load.told))} receipts, {once} requests with a key, "
              f"{n} leaves, {n_olds} checkpoints: what was promised is there")

        load.failures.clear()
        disk.say("full")
        load.run(server, 1, False)
        disk.say("")
        full = load.failures[:]
        until_it_runs(server, "there is room again")
        check(server, disk, load, work, option == "on")
        load.failures.clear()
        disk.say("files")
        load.run(server, 2.5, False)
        disk.say("")
        until_it_runs(server, "the system has descriptors again")
        check(server, disk, load, work, option == "on")
        without_files = len(load.failures)
        load.failures.clear()
        disk.say("eio")
        load.run(server, 2.5, False)
        disk.say("")
        failed = load.failures[:]
        status, text, _ = server.ask("GET", "/f/hello")
        if status != 503 or b"disk has failed" not in text:
            sys.exit(f"FAIL behind a sync that failed: {status} {text}")
        for status, text in full + failed:
            if status not in (500, 503) or '"detail"' not in text or work in text:
                sys.exit(f"FAIL {status} {text}")
        if not full or not failed:
            sys.exit("FAIL nothing failed")
        server.kill()
        disk.fail(0)
        server = start(args, disk, option)
        check(server, disk, load, work, option == "on")
        server.stop()
        print(f"a full disk: {len(full)} refused, no descriptors: {without_files}, a failed disk: {len(failed)}: nothing is lost")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("shim")
    parser.add_argument("examples")
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    random.seed(args.seed)
    for option in ("on", "off"):
        cut(args, option)


if __name__ == "__main__":
    main()
