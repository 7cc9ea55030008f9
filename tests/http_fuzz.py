#!/usr/bin/env python3
"""Random requests: rows of http_rows.py, mutated, one behind the other, in random packets.

  http_fuzz.py GASWORKS [--seconds N] [--seed N]

No crash, no hang, every answer a well-formed one, and the same whatever the packets are. A failure prints its bytes."""
import argparse, errno, random, socket, sys, threading, time

from http_rows import GET, ROWS
from http_server import Malformed, Reader, Server, dial

SEEDS = [b"".join(row.packets) for row in ROWS if sum(map(len, row.packets)) < 4000]
PIECES = [
    b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b"0", b"/", b"?", b"#", b"%", b"*", b"\r\n\r\n", b"\r\n ", b"\xff",
    b"chunked", b"gzip", b"0\r\n\r\n", b"1\r\na\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n",
    b"Host: t\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n", b"HTTP/1.1", b"HTTP/1.0", b"http://t", b"HEAD",
    b"POST", b"OPTIONS", b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"ffffffffffffffff", b"-1", b"A: b\r\n", b"/f/env",
    b"/f/status?205", GET,
]


def mutate(rng, data):
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + rng.choice([1, 1, 2, 5, 20]))
    kind = rng.randrange(6)
    if kind == 0:
        return data[:at] + rng.choice(PIECES) + data[at:]
    if kind == 1:
        return data[:at] + data[end:]
    if kind == 2:
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1:]
    if kind == 3:
        return data[:end] + data[at:]
    if kind == 4:
        other = rng.choice(SEEDS)
        return data[:at] + other[rng.randrange(len(other)):]
    return data[:at] + rng.choice(PIECES) + data[end:]


def make(rng):
    data = b"".join(rng.choice(SEEDS + [GET] * 40) for _ in range(rng.choice([1, 1, 2, 3])))
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        data = mutate(rng, data) or GET
    return data


def split(rng, data):
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice([1, 2, 5, 20])))
    return [data[a:b] for a, b in zip([0] + cuts, cuts + [len(data)]) if a < b]


def read_all(connection):
    """The replies until the end. A reply to HEAD is known by what follows its head: another, or nothing."""
    reader, replies = Reader(connection), []
    while reader.more():
        pass
    while reader.bytes:
        head, behind, rest = reader.bytes.partition(b"\r\n\r\n")
        is_head = behind and (not rest or rest.startswith(b"HTTP/1.1 "))
        replies.append(reader.reply(is_head))
    return replies


def exchange(port, packets, pause):
    connection = dial(port, 20)
    with connection:
        try:
            for packet in packets:
                connection.sendall(packet)
                if pause:
                    time.sleep(pause)
            connection.shutdown(socket.SHUT_WR)
            return read_all(connection)
        except OSError as error:
            if error.errno not in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN):
                raise
            return None  # it was closed while there was more to send


def summary(replies):
    """What must not depend on packets: replies until the first refusal; which of several faults is met first may."""
    result = []
    for reply in replies:
        refused = reply.status >= 400 and reply.values("Connection") == ["close"]
        result.append("refused" if refused else (reply.status, reply.body))
        if refused:
            break
    return result


def try_one(port, seed):
    """None, or what is wrong."""
    rng = random.Random(seed)
    data = make(rng)
    packets = split(rng, data)
    try:
        whole, pieces = exchange(port, [data], 0), exchange(port, packets, rng.choice([0, 0.0005]))
    except (Malformed, OSError) as error:
        return f"{error!r}\n  {data!r}"
    if whole is not None and pieces is not None and summary(whole) != summary(pieces):
        return f"the answer depends on packets: {summary(whole)} and {summary(pieces)}\n  {packets!r}"
    return None


class Worker(threading.Thread):
    def __init__(self, port, first, step, end):
        super().__init__()
        self.port, self.seed, self.step, self.end, self.n, self.failures = port, first, step, end, 0, []

    def run(self):
        while time.time() < self.end and len(self.failures) < 3:
            wrong = try_one(self.port, self.seed)
            if wrong:
                self.failures.append(f"seed {self.seed}: {wrong}")
            self.seed += self.step
            self.n += 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    server = Server(options.program, ["--max-body", "1M", "--gas-limit", "1M", "--workers", "2"])
    end = time.time() + options.seconds
    workers = [Worker(server.port, options.seed + i, 4, end) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    failures = [failure for worker in workers for failure in worker.failures]
    print("\n".join(failures))
    print(f"{sum(worker.n for worker in workers)} requests, {len(failures)} failures")
    sys.exit(0 if server.stop() and not failures else 1)


if __name__ == "__main__":
    main()
