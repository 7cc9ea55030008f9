#!/usr/bin/env python3
"""Reads a jitdump as the kernel's tools/perf/Documentation/jitdump-specification.txt describes it, and nothing else of ours.
  jitdump.py FILE PREFIX     lists the functions whose names begin with PREFIX, each with its bytes of code and its lines
A file that ends in the middle of a record, as that of a killed process may, is an error: writers write records as a whole.
"""
import struct
import sys

MAGIC, HEADER = 0x4A695444, struct.Struct("<IIIIIIQQ")
RECORD = struct.Struct("<IIQ")  # id, size with this header, time
LOAD, MOVE, DEBUG_INFO, CLOSE, UNWINDING_INFO = range(5)
ELF_MACHINE_X86_64 = 62


def text_at(data, at):
    end = data.index(0, at)
    return data[at:end].decode(), end + 1


def read_debug_info(body):
    """Address of the code, and its rows: address, line, column, file."""
    address, n = struct.unpack_from("<QQ", body)
    at, rows = 16, []
    for _ in range(n):
        place, line, _ = struct.unpack_from("<QII", body, at)
        name, at = text_at(body, at + 16)
        rows.append((place, line, name))
    assert at <= len(body)
    return address, rows


def read_load(body):
    pid, tid, vma, address, size, index = struct.unpack_from("<IIQQQQ", body)
    name, at = text_at(body, 40)
    assert len(body) - at == size, "the code has another size than the record says"
    return address, size, index, name


def main(path, prefix):
    data = open(path, "rb").read()
    magic, version, size, machine, _, pid, _, _ = HEADER.unpack_from(data)
    assert (magic, version, machine) == (MAGIC, 1, ELF_MACHINE_X86_64), (hex(magic), version, machine)
    assert f"jit-{pid}.dump" in path, "the process is another one"
    at, pending, indices, time = size, {}, set(), 0
    while at < len(data):
        kind, size, now = RECORD.unpack_from(data, at)
        body = data[at + RECORD.size:at + size]
        assert len(body) == size - RECORD.size, "the file ends within a record"
        assert now >= time, "records are not in the order of time"
        at, time = at + size, now
        if kind == DEBUG_INFO:
            address, rows = read_debug_info(body)
            pending[address] = rows
        elif kind == LOAD:
            address, size, index, name = read_load(body)
            assert index not in indices, "two functions have one index"
            indices.add(index)
            rows = pending.pop(address, [])
            assert all(address <= place <= address + size for place, _, _ in rows), f"{name} has lines elsewhere"
            if name.startswith(prefix):
                print(name, size, *(f"{file}:{line}" for _, line, file in rows))
    assert not pending, "lines without a function"


main(*sys.argv[1:])
