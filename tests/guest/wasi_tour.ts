// Guest of wasi_programs.sh: a tour in AssemblyScript, which has no library for it: the functions themselves.
@external("wasi_snapshot_preview1", "fd_write")
declare function fd_write(fd: u32, iovs: usize, n: u32, written: usize): u32;
@external("wasi_snapshot_preview1", "fd_read")
declare function fd_read(fd: u32, iovs: usize, n: u32, got: usize): u32;
@external("wasi_snapshot_preview1", "fd_close")
declare function fd_close(fd: u32): u32;
@external("wasi_snapshot_preview1", "fd_seek")
declare function fd_seek(fd: u32, delta: i64, whence: u32, at: usize): u32;
@external("wasi_snapshot_preview1", "fd_readdir")
declare function fd_readdir(fd: u32, buffer: usize, size: u32, cookie: u64, used: usize): u32;
@external("wasi_snapshot_preview1", "path_open")
declare function path_open(fd: u32, follow: u32, path: usize, size: u32, oflags: u32, rights: u64, inheriting: u64, flags: u32, out: usize): u32;
@external("wasi_snapshot_preview1", "path_create_directory")
declare function path_create_directory(fd: u32, path: usize, size: u32): u32;
@external("wasi_snapshot_preview1", "path_remove_directory")
declare function path_remove_directory(fd: u32, path: usize, size: u32): u32;
@external("wasi_snapshot_preview1", "path_unlink_file")
declare function path_unlink_file(fd: u32, path: usize, size: u32): u32;
@external("wasi_snapshot_preview1", "args_sizes_get")
declare function args_sizes_get(count: usize, size: usize): u32;
@external("wasi_snapshot_preview1", "clock_time_get")
declare function clock_time_get(id: u32, precision: u64, out: usize): u32;
@external("wasi_snapshot_preview1", "poll_oneoff")
declare function poll_oneoff(subscriptions: usize, events: usize, n: u32, out: usize): u32;

const WORK: u32 = 3;
const cell = memory.data(64);
const big = memory.data(1024);

function vector(at: usize, size: usize): usize {
  store<u32>(cell, <u32>at);
  store<u32>(cell, <u32>size, 4);
  return cell;
}

function print(text: string): void {
  const bytes = String.UTF8.encode(text + "\n");
  fd_write(1, vector(changetype<usize>(bytes), bytes.byteLength), 1, cell + 8);
}

function open(path: string, oflags: u32, rights: u64): u32 {
  const bytes = String.UTF8.encode(path);
  const code = path_open(WORK, 1, changetype<usize>(bytes), bytes.byteLength, oflags, rights, rights, 0, cell + 16);
  print("open " + path + " " + code.toString());
  return code ? u32.MAX_VALUE : load<u32>(cell, 16);
}

function on_path(what: string, code: u32): void {
  print(what + " " + code.toString());
}

function files(): void {
  const fd = open("as.txt", 1 | 8, 0x600066); // read, seek, tell, write, stat
  const text = String.UTF8.encode("from AssemblyScript");
  print("write " + fd_write(fd, vector(changetype<usize>(text), text.byteLength), 1, cell + 8).toString() + " " + load<u32>(cell, 8).toString());
  print("seek " + fd_seek(fd, 5, 0, cell + 24).toString() + " " + load<u64>(cell, 24).toString());
  print("read " + fd_read(fd, vector(big, 1024), 1, cell + 8).toString() + " " + String.UTF8.decodeUnsafe(big, load<u32>(cell, 8)));
  print("close " + fd_close(fd).toString() + " " + fd_close(fd).toString());
}

function directories(): void {
  const name = String.UTF8.encode("as.dir"), at = changetype<usize>(name), file = String.UTF8.encode("as.txt");
  on_path("mkdir", path_create_directory(WORK, at, 6));
  on_path("mkdir", path_create_directory(WORK, at, 6));
  on_path("rmdir", path_remove_directory(WORK, at, 6));
  on_path("rmdir", path_remove_directory(WORK, at, 6));
  print("readdir " + fd_readdir(WORK, big, 1024, 0, cell + 8).toString());
  on_path("unlink", path_unlink_file(WORK, changetype<usize>(file), 6));
}

function clocks(): void {
  clock_time_get(1, 0, cell + 32);
  memory.fill(big, 0, 96);
  store<u32>(big, 1, 16);
  store<u64>(big, 2000000, 24);
  print("poll " + poll_oneoff(big, big + 96, 1, cell + 8).toString() + " " + load<u32>(cell, 8).toString());
  clock_time_get(1, 0, cell + 40);
  print("slept " + (load<u64>(cell, 40) - load<u64>(cell, 32) >= 1000000).toString());
  print("poll nothing " + poll_oneoff(big, big + 96, 0, cell + 8).toString());
}

export function _start(): void {
  args_sizes_get(cell, cell + 4);
  print("arguments " + load<u32>(cell).toString());
  files();
  directories();
  open("../secret", 0, 2);
  open("out/secret", 0, 2);
  open("/etc/passwd", 0, 2);
  open("missing", 0, 2);
  clocks();
}
