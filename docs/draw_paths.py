#!/usr/bin/env python3
"""Draws docs/path-request.svg, path-trap.svg and path-deploy.svg: a column for every room, a box for every step, from top to bottom.
   draw_paths.py SOURCE_DIR [--check]     --check compares with the files that are there
Each step is looked up in the tree: its file must define the function, and the file of the step that leads to it must say its name,
or that of the table's entry or hook behind which it stands. So a picture that is no longer true fails."""
import html
import os
import re
import sys

source = sys.argv[1]

# (file, function, what happens there, how the step before comes here when it is not by that name; "back": it returns)
paths = {
    "request": [
        ("server/http/connection.c", "on_read", "bytes of a client", ""),
        ("server/http/request.c", "request_parse", "llhttp, strict; the head is checked", ""),
        ("server/api/route.c", "begin", "who answers this path?", "service->begin"),
        ("server/invoke/invoke.c", "invoke_begin", "finds the function, perhaps loads it", ""),
        ("server/function/pool.c", "pool_take", "an instance as new as the first", ""),
        ("runtime/state/txn.c", "state_txn_begin", "only of functions that use state", "back"),
        ("server/invoke/invoke.c", "start_run", "the request in the instance's hands", "back"),
        ("server/loop/fair.c", "fair_may_begin", "is it this function's turn?", ""),
        ("runtime/invocation.c", "gw_store_resume", "until it ends, or its slice of gas", "back"),
        ("runtime/fiber.c", "fiber_resume", "on the guest's own stack: compiled code", ""),
        ("runtime/helper.c", "helper_host_call", "a call out of the guest, paid", "abi/helper.def"),
        ("runtime/host/handler.c", "state_get", "a host function; it reads", "back"),
        ("runtime/state/txn.c", "state_txn_get", "own writes, else the snapshot", ""),
        ("server/invoke/invoke.c", "run_slice", "it has ended, with a reply", "back"),
        ("runtime/state/commit.c", "state_txn_commit", "checks what was read, writes; one sync for many", ""),
        ("server/invoke/invoke.c", "on_commit", "durable: back on its loop", "back"),
        ("server/invoke/invoke.c", "finish", "the one exit: counts, logs", "end_with_reply"),
        ("server/http/reply.c", "reply_function", "status, headers, gas", ""),
        ("server/http/http1.c", "end", "onto the connection", "ops->end"),
    ],
    "trap": [
        ("runtime/invocation.c", "gw_store_resume", "compiled code runs; a load faults", ""),
        ("runtime/trap.c", "handle_signal", "SIGSEGV: is it the guest's?", "back"),
        ("runtime/trap.c", "classify", "which function, which memory", ""),
        ("runtime/fiber.c", "fiber_end", "the guest's frames are dropped", ""),
        ("runtime/invocation.c", "settle", "gas that ran out before comes first", "back"),
        ("runtime/report.c", "report_error", "one sentence", ""),
        ("server/invoke/invoke.c", "judge", "compiled code cannot say where", "back"),
        ("runtime/debug/judge.c", "judge_begin", "the same host answers once more", ""),
        ("server/function/pool.c", "pool_take_precise", "an instance of the interpreter", "back"),
        ("runtime/precise/control.c", "precise_call", "the same run, exact", "back"),
        ("runtime/debug/judge.c", "judge_end", "do both agree? its verdict stands", "back"),
        ("server/invoke/invoke.c", "finish", "the one exit", "back"),
        ("server/invoke/backtrace.c", "backtrace_append", "calls with their source lines", ""),
        ("server/loop/log.c", "log_function", "for the owner", "back"),
        ("server/http/reply.c", "reply_problem", "problem+json with the trap's status", "back"),
    ],
    "deploy": [
        ("server/api/control.c", "route_put", "PUT /v1/functions/NAME", ""),
        ("server/function/registry.c", "registry_put", "on a thread of libuv's pool", ""),
        ("runtime/module.c", "gw_module_create", "the same bytes once more? from the cache", ""),
        ("frontend/decode.c", "module_decode", "bytes to a module", ""),
        ("frontend/validate.c", "module_validate", "all that the specification asks", "back"),
        ("server/function/function.c", "function_classify", "handler or WASI program? its imports", "back"),
        ("server/function/registry.c", "publish", "one at a time", "back"),
        ("base/files.c", "file_write_durably", "the bytes, named by their digest", ""),
        ("runtime/state/wait.c", "state_put", "the record, durable", "back"),
        ("server/function/registry.c", "table_replace", "from here on requests find it", "back"),
        ("server/function/background.c", "background_compile", "it runs already, in the interpreter", ""),
        ("runtime/compile.c", "gw_module_compile", "on the thread that compiles", ""),
        ("jit/artifact/child.c", "child_compile", "a process with limits and walls", ""),
        ("jit/compiler.c", "compile", "there: IR, gas, machine code", "back"),
        ("jit/artifact/cache.c", "cache_store", "an artifact, for every later start", "back"),
        ("server/function/pool.c", "pool_take", "next requests: compiled instances", "back"),
    ],
}
column, row, box_w, box_h, margin, head = 186, 62, 172, 46, 16, 30


def read(file):
    with open(os.path.join(source, file), encoding="utf-8") as f:
        return f.read()


def room_of(file):
    return os.path.dirname(file)


def check(name, steps):
    failures = []
    before = None
    for file, function, _, via in steps:
        if not os.path.exists(os.path.join(source, file)):
            failures.append(f"path {name}: {file} is not there")
            before = file
            continue
        if not re.search(rf"^[a-z_].*\b{function}\(.*\{{\s*$|^\w[^;]*\b{function}\([^;{{]*\{{", read(file), re.M):
            failures.append(f"path {name}: {file} does not define {function}")
        if before and via != "back" and os.path.exists(os.path.join(source, before)):
            said = re.escape(via) if via and not via.endswith(".def") else rf"\b{function.removeprefix('helper_')}\b"
            where = via if via.endswith(".def") else before
            if not re.search(said, read(where)):
                failures.append(f"path {name}: {where} does not lead to {function}")
        before = file
    return failures


def draw(steps):
    rooms = []
    for file, *_ in steps:
        if room_of(file) not in rooms:
            rooms.append(room_of(file))
    w, h = margin * 2 + column * len(rooms), margin * 2 + head + row * len(steps)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" font-family="sans-serif">',
           '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
           '<path d="M0 0L8 4L0 8z" fill="#446"/></marker></defs>', f'<rect width="{w}" height="{h}" fill="#fff"/>']
    for i, room in enumerate(rooms):
        x = margin + i * column + box_w / 2
        out.append(f'<text x="{x:.0f}" y="{margin + 12}" text-anchor="middle" font-size="13" font-weight="bold">{room}/</text>')
        out.append(f'<line x1="{x:.0f}" y1="{margin + head - 8}" x2="{x:.0f}" y2="{h - margin}" stroke="#dde" stroke-width="2"/>')
    places = []
    for i, (file, *_) in enumerate(steps):
        places.append((margin + rooms.index(room_of(file)) * column, margin + head + i * row))
    for (x1, y1), (x2, y2), step in zip(places, places[1:], steps[1:]):
        dash = ' stroke-dasharray="5 4"' if step[3] == "back" else ""
        a = x1 + box_w / 2 + (18 if x2 > x1 else -18 if x2 < x1 else 0)
        out.append(f'<line x1="{a:.0f}" y1="{y1 + box_h}" x2="{x2 + box_w / 2:.0f}" y2="{y2}" stroke="#446"{dash} marker-end="url(#tip)"/>')
    for (x, y), (file, function, said, _) in zip(places, steps):
        lines, words = [""], said.split()
        for word in words:
            if len(lines[-1]) + len(word) > 28:
                lines.append("")
            lines[-1] = (lines[-1] + " " + word).strip()
        out.append(f'<rect x="{x}" y="{y}" width="{box_w}" height="{box_h}" rx="6" fill="#eef3fa" stroke="#446"/>')
        out.append(f'<text x="{x + box_w / 2:.0f}" y="{y + 15}" text-anchor="middle" font-size="12" font-family="monospace">{function}</text>')
        for k, line in enumerate(lines[:2]):
            out.append(f'<text x="{x + box_w / 2:.0f}" y="{y + 28 + 12 * k}" text-anchor="middle" font-size="10.5" fill="#445">{html.escape(line)}</text>')
    return "\n".join(out) + "\n</svg>\n"


failures = [f for name, steps in paths.items() for f in check(name, steps)]
for name, steps in paths.items():
    file = os.path.join(source, f"docs/path-{name}.svg")
    if "--check" not in sys.argv:
        with open(file, "w", encoding="utf-8") as f:
            f.write(draw(steps))
    elif not os.path.exists(file) or read(f"docs/path-{name}.svg") != draw(steps):
        failures.append(f"docs/path-{name}.svg is not what docs/draw_paths.py draws")
for failure in failures:
    print("FAIL", failure)
sys.exit(bool(failures))
