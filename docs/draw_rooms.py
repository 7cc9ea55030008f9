#!/usr/bin/env python3
"""Draws docs/rooms.svg from the tree: a box for every room with its lines of code, an arrow from each room to those that it includes.
   draw_rooms.py SOURCE_DIR [--check]     --check compares with the file that is there
"""
import collections
import os
import re
import sys

source = sys.argv[1]

# From top to bottom, as docs/architecture.md tells it.
rows = [
    ["cli"],
    ["server"],
    ["server/replay"],
    ["server/http", "server/api", "server/invoke", "server/inputs", "server/isolate", "server/access", "server/usage", "server/function", "server/loop", "server/observe", "server/ui"],
    ["runtime/capi", "runtime/embed", "runtime/host", "runtime/host/wasi", "runtime/debug", "runtime/state/postgres", "runtime/state", "runtime/receipt"],
    ["runtime", "runtime/precise", "runtime/arch/x86_64"],
    ["jit/artifact", "jit"],
    ["jit/access", "instrument/meter", "frontend/lower"],
    ["instrument"],
    ["frontend"],
    ["abi", "base"],
]
width, height, gap, margin = 170, 44, 64, 20


def rooms():
    """Room -> (lines, rooms included)."""
    known = {room for row in rows for room in row}
    found = collections.defaultdict(lambda: [0, set()])
    for top in ("abi", "base", "frontend", "instrument", "jit", "runtime", "server", "cli"):
        for folder, _, names in os.walk(os.path.join(source, top)):
            room = os.path.relpath(folder, source)
            room = "runtime/arch/x86_64" if room == "runtime/arch" else room
            for name in names:
                if not name.endswith((".c", ".h", ".S", ".def")):
                    continue
                if room not in known:
                    sys.exit(f"draw_rooms.py: {room} has no place in the picture")
                text = open(os.path.join(folder, name), encoding="utf-8").read()
                found[room][0] += text.count("\n")
                for target in re.findall(r'^#include "([^"]+)/[^/"]+"', text, re.M):
                    target = "runtime/arch/x86_64" if target == "runtime/arch" else target
                    if target in known and target != room:
                        found[room][1].add(target)
    return found


def place():
    at = {}
    widest = max(len(row) for row in rows)
    for y, row in enumerate(rows):
        left = margin + (widest - len(row)) * (width + 24) / 2
        for x, room in enumerate(row):
            at[room] = (left + x * (width + 24), margin + y * (height + gap))
    return at, margin * 2 + widest * (width + 24) - 24, margin * 2 + len(rows) * (height + gap) - gap


def draw():
    found, (at, w, h) = rooms(), place()
    level = {room: y for y, row in enumerate(rows) for room in row}
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:.0f} {h:.0f}" font-family="sans-serif">',
           '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
           '<path d="M0 0L8 4L0 8z" fill="#667"/></marker></defs>',
           f'<rect width="{w:.0f}" height="{h:.0f}" fill="#fff"/>']
    for room, (_, targets) in sorted(found.items()):
        for target in sorted(targets):
            far = level[target] - level[room]
            if target in ("base", "abi") or far > 2:
                continue  # everybody's: lines would hide the rest
            (x1, y1), (x2, y2) = at[room], at[target]
            if far == 0:
                a, b = ((x1 + width, y1 + height / 2), (x2, y2 + height / 2)) if x1 < x2 else ((x1, y1 + height / 2), (x2 + width, y2 + height / 2))
            else:
                a, b = ((x1 + width / 2, y1 + height), (x2 + width / 2, y2)) if far > 0 else ((x1 + width / 2, y1), (x2 + width / 2, y2 + height))
            colour = "#99a" if far >= 0 else "#c33"
            out.append(f'<line x1="{a[0]:.0f}" y1="{a[1]:.0f}" x2="{b[0]:.0f}" y2="{b[1]:.0f}" stroke="{colour}" marker-end="url(#tip)"/>')
    for room, (x, y) in at.items():
        out.append(f'<rect x="{x:.0f}" y="{y:.0f}" width="{width}" height="{height}" rx="6" fill="#eef3fa" stroke="#446"/>')
        out.append(f'<text x="{x + width / 2:.0f}" y="{y + 19:.0f}" text-anchor="middle" font-size="14">{room}/</text>')
        lines = round(found[room][0], -2)
        out.append(f'<text x="{x + width / 2:.0f}" y="{y + 35:.0f}" text-anchor="middle" font-size="11" fill="#556">{lines:,} lines</text>')
    return "\n".join(out) + "\n</svg>\n"


def shape(text):
    """Without the numbers of lines, which change with every commit."""
    return re.sub(r">[\d,]+ lines<", "><", text)


path = os.path.join(source, "docs/rooms.svg")
if "--check" in sys.argv:
    if not os.path.exists(path) or shape(open(path, encoding="utf-8").read()) != shape(draw()):
        sys.exit("FAIL docs/rooms.svg is not what docs/draw_rooms.py draws")
else:
    open(path, "w", encoding="utf-8").write(draw())
