#!/usr/bin/env python3
"""Every number that `gasworks serve` takes, at the ends of what it may be and beyond them: on the command line, in the configuration
   file, and of a running server.
   ranges.py GASWORKS"""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

U32, I64, U64 = 2**32 - 1, 2**63 - 1, 2**64 - 1
# What may be said, least and most. 0 where that is a word for "none", or for "as much as there is".
RANGES = {
    "workers": (0, 256), "optimize": (0, 3), "cache-size": (1, U64), "compile-seconds": (1, 86400), "compile-wall-seconds": (1, 345600),
    "compile-memory": (64 << 20, U64), "gas-limit": (0, I64), "slice": (0, I64), "slice-time": (0, 10**6), "cpu-limit": (0, U32),
    "max-memory": (0, I64), "memory-limit": (0, I64), "max-running": (1, U32), "max-running-each": (0, U32), "max-wait": (0, U32),
    "max-idle": (0, U32), "max-connections": (1, U32), "max-body": (0, I64), "max-module": (0, I64), "max-reply": (1, I64),
    "max-state": (1 << 20, 1 << 46), "max-function-state": (0, I64), "log-size": (0, I64), "keep-versions": (0, U32),
    "idempotency-keep": (0, U32), "idempotency-size": (0, I64), "receipts-size": (0, I64), "receipts-keep": (0, U32),
    "keep-inputs": (0, I64), "keep-inputs-for": (0, U32), "keep-inputs-each": (0, I64), "drain": (0, 2**31 - 1), "grace": (0, 2**31 - 1),
    "store-connections": (2, 200),
}
NUMBERS = {"N", "MS", "US", "BYTES", "SECONDS", "0..3"}  # as --help calls values that are numbers
NEVER = ["-1", "1.5", "lots", '""', "99999999999999999999", "0x10", "1e3", "1 2"]


def check(program, values):
    """The places that --check finds fault with, by the option's name."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        f.writelines(f"{name}: {value}\n" for name, value in values.items())
        f.flush()
        answer = subprocess.run([program, "serve", "--check", "--json", "--config", f.name], capture_output=True, text=True, check=False)
    names = list(values)
    return {names[problem["line"] - 1]: problem["message"] for problem in json.loads(answer.stdout)["problems"]}


def expect(what, found, wanted):
    if found != wanted:
        sys.exit(f"FAIL {what}: {sorted(found ^ wanted)}")


def check_file(program):
    for what, value_of in {"the least": lambda r: r[0], "one more": lambda r: r[0] + 1, "the most": lambda r: r[1]}.items():
        found = check(program, {name: value_of(r) for name, r in RANGES.items()})
        expect(f"{what} is refused, by some", set(found), set())
    below = {name: r[0] - 1 for name, r in RANGES.items()}
    expect("less than the least is taken, by some", set(check(program, below)), set(RANGES))
    above = check(program, {name: r[1] + 1 for name, r in RANGES.items()})
    expect("more than the most is taken, by some", set(above), set(RANGES))
    for value in NEVER:
        expect(f"{value} is a number to some", set(check(program, {name: value for name in RANGES})), set(RANGES))
    for name, message in above.items():
        if not re.fullmatch(rf"{name} wants (a number|0, 1).*, not {RANGES[name][1] + 1}", message):
            sys.exit(f"FAIL {name}: {message}")


def check_line(program):
    for name in ("max-running", "max-connections"):
        answer = subprocess.run([program, "serve", "--check", f"--{name}", "0"], capture_output=True, text=True, check=False)
        if answer.returncode != 2 or f"--{name} wants a number from 1 to 4294967295, not 0" not in answer.stderr:
            sys.exit(f"FAIL --{name} 0: {answer.stderr}")


def check_reload(program):
    """A running server keeps what it has."""
    with tempfile.TemporaryDirectory() as work:
        path = os.path.join(work, "c.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write("max-connections: 5\n")
        server = subprocess.Popen([program, "serve", "--data", os.path.join(work, "data"), "--listen", "127.0.0.1:0", "--workers", "1",
                                   "--drain", "0", "--config", path], stderr=subprocess.PIPE, text=True)
        lines = []

        def wait_for(words):
            while True:
                lines.append(server.stderr.readline())
                if not lines[-1]:
                    sys.exit(f"FAIL the server has ended without '{words}': {lines}")
                if words in lines[-1]:
                    return

        try:
            wait_for("serving on")
            for name in ("max-connections", "max-running"):
                with open(path, "w", encoding="utf-8") as f:
                    f.write(f"{name}: 0\n")
                time.sleep(0.01)
                server.send_signal(signal.SIGHUP)
                wait_for("is not taken: everything stays as it was")
                if not any(f"1:{len(name) + 3}: {name} wants a number from 1 to 4294967295, not 0" in line for line in lines):
                    sys.exit(f"FAIL reload: {lines}")
        finally:
            server.kill()
            server.wait()


def main():
    program = sys.argv[1]
    text = subprocess.run([program, "serve", "--help"], capture_output=True, text=True, check=True).stdout
    numbers = {m[1] for m in re.finditer(r"--([a-z-]+) (\S+)", text.split("Options:")[1]) if m[2] in NUMBERS}
    expect("the options that are numbers, and those with a range here", numbers, set(RANGES))
    check_file(program)
    check_line(program)
    check_reload(program)
    print(f"{len(RANGES)} numbers, {len(NEVER) + 5} values each")


main()
