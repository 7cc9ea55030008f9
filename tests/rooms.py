#!/usr/bin/env python3
"""What the linker sees of the rooms (docs/architecture.md), from the object files of a build:
  - no circle between rooms, that is folders, but by the references listed below, each with its reason;
  - no external name without a prefix of its room's, so that an embedder's names are safe;
  - every header can be included with all others;
  - files that comments and pages name are there.
  rooms.py SOURCE_DIR BUILD_DIR [--graph]     --graph prints who needs whom and ends
"""
import collections
import os
import re
import subprocess
import sys
import tempfile

source, build = sys.argv[1], sys.argv[2]

# FROM, TO, prefixes of the symbols, why. What is listed and not there is an error, too: the list only shrinks.
dispatch = [
    ("runtime", "runtime/precise", ("precise_",), "a store runs one tier or the other"),
    ("runtime", "runtime/debug", ("profile_", "record_", "source_destroy"), "what a store is told to note, it notes"),
    ("runtime", "runtime/debug", ("source_read_lines", "perf_map_add"), "code is shown to debuggers before it runs"),
    ("runtime/arch/x86_64", "runtime", ("gas_exhausted", "helper_touched"), "the assembly around a check or a touch calls the runtime"),
    ("runtime/arch/x86_64", "runtime/precise", ("compiled_leave",), "a call that leaves compiled code goes on in the runtime"),
]

# Words that external names begin with. `gw_` is the public interface; a room may use any word of its own file names, too.
words = {
    "base": "arena buffer error fd demangle file directory gw gasworks",
    "frontend": "read val type func op block ref validator",
    "frontend/lower": "lower ir value add begin open close",
    "instrument": "schedule cost gas fit find",
    "instrument/meter": "gas",
    "jit": "compiler machine link pipeline twin fixup gasworks",
    "jit/access": "access hidden nest",
    "jit/artifact": "artifact cache code cpu gw gasworks file",
    "runtime": "gw runtime module compiler gas",
    "runtime/arch/x86_64": "gas touched fiber gs crossing",
    "runtime/precise": "precise do",
    "runtime/debug": "gw",
    "runtime/capi": "wasm gw",
    "runtime/embed": "embed gw",
    "runtime/host": "",
    "runtime/host/wasi": "wasi gw",
    "runtime/state": "state snapshot",
    "runtime/state/postgres": "postgres pq answers state",
    "runtime/receipt": "receipt",
    "server": "server walls",
}


def objects():
    """Every object file of the program's own code, with its source."""
    for folder, _, names in os.walk(build):
        for name in names:
            if not name.endswith(".o") or "/CMakeFiles/" not in folder + "/":
                continue
            path = os.path.join(folder, name)
            base, rest = path[len(build) + 1:].split("/CMakeFiles/", 1)
            of = os.path.normpath(os.path.join(base, rest.split(".dir/", 1)[1][:-2].replace("__", "..")))
            top = of.split("/")[0]
            if top in ("tests", "bench") or base.split("/")[0] in ("tests", "bench") or not os.path.exists(os.path.join(source, of)):
                continue
            yield of, path


def read_symbols():
    defined, undefined = {}, collections.defaultdict(set)
    for of, path in objects():
        for line in subprocess.run(["nm", "-g", path], capture_output=True, text=True, check=True).stdout.splitlines():
            parts = line.split()
            if len(parts) == 2 and parts[0] == "U":
                undefined[of].add(parts[1])
            elif len(parts) == 3 and parts[1] in "TDBRC" and not parts[2].startswith("__"):  # sanitizers leave such names
                defined[parts[2]] = of
    return defined, undefined


def circles(graph):
    """Strongly connected components of more than one node (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for to in graph.get(node, ()):
            if to not in index:
                visit(to)
                low[node] = min(low[node], low[to])
            elif to in stack:
                low[node] = min(low[node], index[to])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def check_circles(defined, undefined):
    edges, used = collections.defaultdict(set), set()
    for of, names in undefined.items():
        room = os.path.dirname(of)
        for name in names:
            to = os.path.dirname(defined.get(name, of))
            if to == room:
                continue
            for row in dispatch:
                if (room, to) == row[:2] and name.startswith(row[2]):
                    used.add(row)
                    break
            else:
                edges[room].add(to)
    if "--graph" in sys.argv:
        for room in sorted(edges):
            print(room, "->", " ".join(sorted(edges[room])))
        sys.exit()
    failures = [f"a listed reference is not there any more: {row[0]} -> {row[1]}" for row in dispatch if row not in used]
    for found in circles(edges):
        failures.append("a circle of rooms: " + ", ".join(found))
    return failures


def check_names(defined):
    failures = []
    for name, of in sorted(defined.items()):
        room, stem = os.path.split(of)
        stem = stem.split(".")[0]
        allowed = {os.path.basename(room), *words.get(room, "").split(), *stem.split("_"), stem, stem + "s"}
        allowed |= {n.split(".")[0] for n in os.listdir(os.path.join(source, room)) if n.endswith(".h")}
        if not any(name.startswith(a + "_") or name == a for a in allowed if a):
            failures.append(f"{of}: the external name {name} has no prefix of its room's")
    return failures


def headers():
    for top in ("include", "base", "abi", "frontend", "instrument", "jit", "runtime", "server", "cli"):
        for folder, _, names in os.walk(os.path.join(source, top)):
            yield from (os.path.relpath(os.path.join(folder, n), source) for n in sorted(names) if n.endswith(".h"))


def compile_includes(names):
    flags = subprocess.run(["pkg-config", "--cflags", "libuv", "libcjson"], capture_output=True, text=True).stdout.split()
    llvm = subprocess.run(["llvm-config-22", "--includedir"], capture_output=True, text=True).stdout.strip()
    text = "".join(f'#include "{n[len("include/"):] if n.startswith("include/") else n}"\n' for n in names)
    with tempfile.NamedTemporaryFile("w", suffix=".c") as f:
        f.write(text)
        f.flush()
        command = ["clang-22", "-std=gnu17", "-fsyntax-only", "-Wall", "-Werror", "-I", source, "-I", source + "/include",
                   "-isystem", "/usr/share/include/llhttp", "-isystem", llvm, *flags, f.name]
        return subprocess.run(command, capture_output=True, text=True).stderr


def check_headers():
    """All together, in both orders. That each stands alone follows from its own source, which includes it first."""
    failures = []
    every = list(headers())
    for order in (every, every[::-1]):
        text = compile_includes(order)
        if text:
            failures.append("headers cannot be included together: " + next(l for l in text.splitlines() if "error" in l))
    return failures


def missing_files(text):
    """Paths of our own in a text that lead nowhere. Placeholders are in capitals."""
    tops = "abi|base|bench|cli|docs|examples|frontend|include|instrument|jit|runtime|sdk|server|tests"
    named = re.findall(r"(?<![\w/.$}-])((?:" + tops + r")/[\w/.]*\w\.(?:c|h|S|def|sh|py|js|cmake|md|svg))\b", text)
    return sorted(n for n in set(named) if not re.search("[A-Z]{2}", n) and not os.path.exists(os.path.join(source, n)))


def check_files():
    failures = []
    own = ("tests/layers.sh", "tests/rooms.py")  # they name what is not there, on purpose
    for top in ("README.md", "CONTRIBUTING.md", "abi", "base", "bench", "cli", "docs", "examples", "frontend", "include", "instrument", "jit",
                "runtime", "sdk", "server", "tests"):
        path = os.path.join(source, top)
        files = [path] if os.path.isfile(path) else [os.path.join(f, n) for f, _, names in os.walk(path) for n in names if "node_modules" not in f]
        for file in files:
            name = os.path.relpath(file, source)
            if not name.endswith((".c", ".h", ".S", ".def", ".md", ".py", ".sh", ".js", ".txt", ".cmake")) or name in own:
                continue
            text = open(file, encoding="utf-8", errors="replace").read()
            failures += [f"{name} names {missing}, which is not there" for missing in missing_files(text)]
    return failures


def self_test():
    """A check that cannot fail is none."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert check_names({"strange": "base/arena.c"})
    assert compile_includes(["base/no_such.h"])
    assert missing_files("see base/no_such.c") and not missing_files("see base/arena.c")


self_test()
defined, undefined = read_symbols()
failures = check_circles(defined, undefined) + check_names(defined) + check_headers() + check_files()
for failure in failures:
    print("FAIL", failure)
print(len(undefined), "units,", len(defined), "names,", len(list(headers())), "headers")
sys.exit(bool(failures) or len(undefined) < 100)
