"""Attacks on host functions of WASI: what one call costs beside what it does. A directory of files.FILES is descriptor 3."""
from attacks.wat import *

GROUP = "host functions"

WASI = {"path_filestat_get": "i i i i i", "path_open": "i i i i i I I i i", "path_readlink": "i i i i i i", "poll_oneoff": "i i i i",
        "fd_readdir": "i i i I i", "random_get": "i i", "fd_write": "i i i i", "fd_read": "i i i i", "fd_pread": "i i i I i", "fd_pwrite": "i i i I i",
        "clock_time_get": "i I i", "clock_res_get": "i i", "fd_close": "i", "fd_seek": "i I i i", "fd_tell": "i i", "fd_fdstat_get": "i i",
        "fd_filestat_get": "i i", "fd_prestat_get": "i i", "fd_prestat_dir_name": "i i i", "args_get": "i i", "environ_get": "i i",
        "args_sizes_get": "i i", "sched_yield": "", "fd_advise": "i I I i", "fd_sync": "i", "fd_datasync": "i", "fd_renumber": "i i", "path_create_directory": "i i i",
        "path_remove_directory": "i i i", "path_unlink_file": "i i i", "path_rename": "i i i i i i", "path_symlink": "i i i i i",
        "path_link": "i i i i i i i", "fd_filestat_set_size": "i I", "fd_filestat_set_times": "i I I i", "fd_fdstat_set_flags": "i i",
        "path_filestat_set_times": "i i i i I I i", "fd_allocate": "i I I"}


def imports(names):
    kind = {"i": "i32", "I": "i64"}
    return "".join(f'(import "wasi_snapshot_preview1" "{n}" (func ${n} (param {" ".join(kind[c] for c in WASI[n].split())}) (result i32)))' for n in names)


def i32(*values):
    return " ".join(v if isinstance(v, str) else f"(i32.const {v})" for v in values)


def call(name, *args):
    kind = {"i": "i32", "I": "i64"}
    given = " ".join(a if isinstance(a, str) else f"({kind[k]}.const {a})" for k, a in zip(WASI[name].split(), args, strict=True))
    return f"(local.set $e (i32.or (local.get $e) (call ${name} {given})))"


def text(at, s):
    return f'(data (i32.const {at}) "{s}")'


def words(at, *values):
    return text(at, "".join("".join(f"\\{b:02x}" for b in v.to_bytes(4, "little")) for v in values))


def subscriptions(at, n, kind, tag=0, flags=0, timeout=0):
    one = (7).to_bytes(8, "little") + bytes([tag]) + bytes(7) + kind.to_bytes(4, "little") + bytes(4) + timeout.to_bytes(8, "little") + bytes(8) + flags.to_bytes(2, "little") + bytes(6)
    return text(at, "".join(f"\\{b:02x}" for b in one) * n)


PATH, OUT, LIST, BUFFER = 1024, 16, 65536, 1 << 20


def attack(name, names, body, data="", setup="", files="", most=1 << 40, pages=64):
    module = imports(names) + f'(memory (export "memory") {pages})' + data
    return Attack(name, GROUP, program(body, setup, "(local $e i32) (local $k i32) (local $p i64)", module, "(i64.extend_i32_u (local.get $e))"), files=files, most=most)


READ = 2 | 4 | 32  # rights to read, to seek and to tell


def command(name, names, body, data, count):
    """The same as a command on a server, whose standard streams are buffers."""
    module = imports(names) + '(memory (export "memory") 64)' + data
    loop = f"(loop $again {body} (local.set $k (i32.add (local.get $k) (i32.const 1))) (br_if $again (i32.ne (local.get $k) (i32.const {count}))))"
    return Attack(name, GROUP, f'(module {module} (func (export "_start") (local $e i32) (local $k i32) {loop}))', how="serve")


def paths():
    deep, files = "d/../" * 800 + "d", "tree"
    stat = lambda path: call("path_filestat_get", 3, 1, PATH, len(path), OUT)
    for name, path in (("d/../ x 800", deep), ("one component", "d"), ("that is missing", "none"), ("4,000 bytes", "x" * 4000), ("d/ x 40", "d/" * 40 + "d"),
                       ("slashes x 4,000", "d" + "/" * 4000), ("./ x 2,000", "./" * 2000 + "d"), ("20 links", "l19")):
        yield attack(f"path_filestat_get: {name}", ["path_filestat_get"], stat(path), text(PATH, path), files=files)
    opened = lambda path, flags=0: call("path_open", 3, 1, PATH, len(path), flags, READ, 0, 0, OUT) + "(drop (call $fd_close (i32.load (i32.const 16))))"
    for name, path in (("a file, closed", "f"), ("d/../ x 800", deep), ("a directory", "d"), ("that is missing", "none"), ("20 links", "l19")):
        yield attack(f"path_open: {name}", ["path_open", "fd_close"], opened(path, 2 if path == "d" else 0), text(PATH, path), files=files)
    for name, path in (("of 1 byte", "l0"), ("of 4,000 bytes", "long")):
        yield attack(f"path_readlink: {name}", ["path_readlink"], call("path_readlink", 3, PATH, len(path), BUFFER, 4096, OUT), text(PATH, path), files=files)
    yield attack("path_readlink: d/../ x 800", ["path_readlink"], call("path_readlink", 3, PATH, 4002, BUFFER, 4096, OUT), text(PATH, "d/../" * 800 + "l0"), files=files)
    yield attack("path_create_directory and remove", ["path_create_directory", "path_remove_directory"], call("path_create_directory", 3, PATH, 3) + call("path_remove_directory", 3, PATH, 3), text(PATH, "new"), files=files)
    yield attack("path_create_directory that exists", ["path_create_directory"], call("path_create_directory", 3, PATH, 1), text(PATH, "d"), files=files)
    yield attack("path_open: create, unlink", ["path_open", "fd_close", "path_unlink_file"], call("path_open", 3, 1, PATH, 3, 1, READ, 0, 0, OUT) + "(drop (call $fd_close (i32.load (i32.const 16))))" + call("path_unlink_file", 3, PATH, 3), text(PATH, "new"), files=files)
    yield attack("path_rename", ["path_rename"], call("path_rename", 3, PATH, 1, 3, PATH + 8, 1) + call("path_rename", 3, PATH + 8, 1, 3, PATH, 1), text(PATH, "q") + text(PATH + 8, "w"), files=files)
    yield attack("path_symlink and unlink", ["path_symlink", "path_unlink_file"], call("path_symlink", PATH, 1, 3, PATH + 8, 1) + call("path_unlink_file", 3, PATH + 8, 1), text(PATH, "d") + text(PATH + 8, "s"), files=files)
    yield attack("path_link and unlink", ["path_link", "path_unlink_file"], call("path_link", 3, 0, PATH, 1, 3, PATH + 8, 1) + call("path_unlink_file", 3, PATH + 8, 1), text(PATH, "f") + text(PATH + 8, "s"), files=files)
    yield attack("path_filestat_set_times", ["path_filestat_set_times"], call("path_filestat_set_times", 3, 1, PATH, 1, 0, 0, 5), text(PATH, "f"), files=files)


def directories():
    yield attack("fd_readdir: 5,000 files, all", ["fd_readdir"], call("fd_readdir", 3, BUFFER, 1 << 20, 0, OUT), files="many")
    yield attack("fd_readdir: 5,000 files, the first 24 bytes", ["fd_readdir"], call("fd_readdir", 3, BUFFER, 24, 0, OUT), files="many")
    yield attack("fd_readdir: 5,000 files, from the middle", ["fd_readdir"], call("fd_readdir", 3, BUFFER, 24, 2500, OUT), files="many")
    yield attack("fd_readdir: 5,000 files, 64 bytes at a time", ["fd_readdir"],
                 call("fd_readdir", 3, BUFFER, 64, "(local.get $p)", OUT) + f"(local.set $p (i64.add (local.get $p) (i64.const 1))) (if (i64.gt_u (local.get $p) (i64.const 4900)) (then (local.set $p (i64.const 0))))", files="many")
    yield attack("fd_readdir: a directory of none", ["fd_readdir"], call("fd_readdir", 3, BUFFER, 4096, 0, OUT), files="none")


def streams():
    opened = f"(drop (call $path_open {i32(3, 1, PATH, 1, 0)} (i64.const {READ | 64 | (1 << 22) | 256 | (1 << 21) | (1 << 23) | 1 | 16 | 8 | 128}) (i64.const 0) {i32(0, OUT)})) (local.set $k (i32.load (i32.const 16)))"
    f = "(local.get $k)"
    empty = words(LIST, *([BUFFER, 0] * 1024))
    single = words(LIST, *([BUFFER, 1] * 1024))
    null = "(local.set $k (i32.const 1))"
    def on_file(name, names, body, data="", most=1 << 40):
        return attack(name, ["path_open"] + names, body, data + text(PATH, "f"), opened, "tree", most)
    for what in ("fd_read", "fd_write"):
        yield on_file(f"{what}: 1,024 empty vectors", [what], call(what, f, LIST, 1024, OUT), empty)
        yield on_file(f"{what}: no vectors", [what], call(what, f, LIST, 0, OUT), empty)
        yield on_file(f"{what}: 1 byte", [what, "fd_seek"], call(what, f, LIST, 1, OUT) + call("fd_seek", f, 0, 0, OUT), single)
        yield on_file(f"{what}: 1,024 vectors of 1 byte", [what, "fd_seek"], call(what, f, LIST, 1024, OUT) + call("fd_seek", f, 0, 0, OUT), single)
        at = "fd_pread" if what == "fd_read" else "fd_pwrite"
        yield on_file(f"{at}: 1,024 empty vectors", [at], call(at, f, LIST, 1024, 0, OUT), empty)
        yield on_file(f"{at}: 1,024 vectors of 1 byte", [at], call(at, f, LIST, 1024, 0, OUT), single)
        yield on_file(f"{at}: 1 MB", [at], call(at, f, LIST, 1, 0, OUT), words(LIST, BUFFER, 1 << 20))
    yield command("fd_write to stdout: 1,024 empty vectors", ["fd_write"], call("fd_write", 1, LIST, 1024, OUT), empty, 1000)
    yield command("fd_write to stdout: 1 byte", ["fd_write"], call("fd_write", 1, LIST, 1, OUT), single, 100000)
    yield command("fd_write to stdout: 64 KB", ["fd_write"], call("fd_write", 1, LIST, 1, OUT), words(LIST, BUFFER, 65536), 100)
    yield command("fd_read of stdin at its end", ["fd_read"], call("fd_read", 0, LIST, 1, OUT), single, 100000)
    yield on_file("fd_seek", ["fd_seek"], call("fd_seek", f, 1, 0, OUT))
    yield on_file("fd_tell", ["fd_tell"], call("fd_tell", f, OUT))
    yield on_file("fd_filestat_get", ["fd_filestat_get"], call("fd_filestat_get", f, OUT))
    yield on_file("fd_filestat_set_size", ["fd_filestat_set_size"], call("fd_filestat_set_size", f, 1 << 20) + call("fd_filestat_set_size", f, 0))
    yield on_file("fd_filestat_set_times", ["fd_filestat_set_times"], call("fd_filestat_set_times", f, 0, 0, 5))
    yield on_file("fd_allocate", ["fd_allocate", "fd_filestat_set_size"], call("fd_allocate", f, 0, 1 << 20) + call("fd_filestat_set_size", f, 0))
    yield on_file("fd_advise", ["fd_advise"], call("fd_advise", f, 0, 0, 0))
    yield on_file("fd_sync", ["fd_sync"], call("fd_sync", f))
    yield on_file("fd_datasync", ["fd_datasync"], call("fd_datasync", f))
    yield on_file("fd_fdstat_set_flags", ["fd_fdstat_set_flags"], call("fd_fdstat_set_flags", f, 1) + call("fd_fdstat_set_flags", f, 0))
    yield attack("fd_close of none", ["fd_close"], call("fd_close", 77))


def rest():
    yield attack("poll_oneoff: 1,024 CPU clocks", ["poll_oneoff"], call("poll_oneoff", LIST, BUFFER, 1024, OUT), subscriptions(LIST, 1024, 2))
    yield attack("poll_oneoff: 1,024 clocks", ["poll_oneoff"], call("poll_oneoff", LIST, BUFFER, 1024, OUT), subscriptions(LIST, 1024, 1))
    yield attack("poll_oneoff: 1,024 descriptors", ["poll_oneoff"], call("poll_oneoff", LIST, BUFFER, 1024, OUT), subscriptions(LIST, 1024, 1, tag=2))
    yield attack("poll_oneoff: 1 clock", ["poll_oneoff"], call("poll_oneoff", LIST, BUFFER, 1, OUT), subscriptions(LIST, 1, 1))
    for i, name in enumerate(("realtime", "monotonic", "process CPU", "thread CPU")):
        yield attack(f"clock_time_get: {name}", ["clock_time_get"], call("clock_time_get", i, 0, OUT))
    yield attack("clock_res_get", ["clock_res_get"], call("clock_res_get", 2, OUT))
    for n in (1, 64, 65536):
        yield attack(f"random_get: {n:,} bytes", ["random_get"], call("random_get", BUFFER, n))
    yield attack("sched_yield", ["sched_yield"], call("sched_yield"))
    yield attack("args_get", ["args_get"], call("args_get", BUFFER, BUFFER + 65536))
    yield attack("args_sizes_get", ["args_sizes_get"], call("args_sizes_get", BUFFER, BUFFER + 65536))
    yield attack("environ_get: 1,000 variables", ["environ_get"], call("environ_get", BUFFER, BUFFER + 65536), files="environment")
    yield attack("fd_fdstat_get", ["fd_fdstat_get"], call("fd_fdstat_get", 3, OUT), files="tree")
    yield attack("fd_prestat_get", ["fd_prestat_get"], call("fd_prestat_get", 3, OUT), files="tree")
    yield attack("fd_prestat_dir_name", ["fd_prestat_dir_name"], call("fd_prestat_dir_name", 3, BUFFER, 1), files="tree")


def attacks():
    for family in (paths, directories, streams, rest):
        yield from family()


# --- the directories -------------------------------------------------------------------------------------------------

def make_tree(root):
    (root / "d").mkdir()
    (root / "d" / "d").mkdir()
    deep = root
    for _ in range(42):
        deep = deep / "d"
        deep.mkdir(exist_ok=True)
    (root / "f").write_bytes(b"x" * (1 << 20))
    (root / "q").write_bytes(b"")
    (root / "l0").symlink_to("f")
    for i in range(1, 20):
        (root / f"l{i}").symlink_to(f"l{i - 1}")
    (root / "long").symlink_to("./" * 2000 + "f")


def make_many(root):
    for i in range(5000):
        (root / f"file{i:05}").write_bytes(b"")


FILES = {"tree": make_tree, "many": make_many, "none": lambda root: None, "environment": lambda root: None}
