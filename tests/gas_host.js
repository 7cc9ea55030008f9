'use strict';
// What host functions do and cost, for programs that the oracle runs in V8: WASI as far as command-line examples use it, and the
// handler interface with an empty request and no state (docs/interface.md). Made from docs/gas.md section 3, as gas_text.js is.

class Exit extends Error {}
class HostTrap extends Error {}

const EBADF = 8, ESPIPE = 70;

class Host {
  constructor(meter, schedule, { args = [], input = Buffer.alloc(0) }) {
    Object.assign(this, { meter, schedule, args, input, inputAt: 0, out: [], error: [] });
  }

  attach(instance) { this.memory = instance.exports.memory; }

  get view() { return new DataView(this.memory.buffer); }

  bytes(ptr, size) { return Buffer.from(this.memory.buffer, ptr >>> 0, size >>> 0); }

  put(ptr, ...words) { words.forEach((w, i) => this.view.setUint32((ptr >>> 0) + 4 * i, w, true)); }

  moved(bytes) { this.meter.charge(BigInt(bytes) * this.schedule.ofClass.host_byte); }

  of(name, count) { this.meter.charge(BigInt(count) * this.schedule.ofClass[name]); }

  // Every call costs its base, then what the function charges.
  imports() {
    const wrap = (functions) => Object.fromEntries(Object.entries(functions).map(([name, f]) => [name, (...args) => {
      this.meter.charge(this.schedule.ofClass.host_call);
      return f.apply(this, args);
    }]));
    return { wasi_snapshot_preview1: wrap(wasi), gasworks: wrap(handler), env: {} };
  }

  strings(list, pointers, bytes) {
    const all = list.map((s) => Buffer.from(`${s}\0`));
    this.of('host_item', list.length);
    this.moved(all.reduce((n, s) => n + s.length + 4, 0));
    for (const [i, s] of all.entries()) {
      this.put(pointers + 4 * i, bytes);
      s.copy(this.bytes(bytes, s.length));
      bytes += s.length;
    }
    return 0;
  }

  sizes(list, count, size) {
    this.of('host_item', list.length);
    this.put(count, list.length);
    this.put(size, list.reduce((n, s) => n + Buffer.byteLength(s) + 1, 0));
    return 0;
  }

  vectors(ptr, n) {
    this.of('host_item', n >>> 0);
    return Array.from({ length: n }, (_, i) => this.bytes(this.view.getUint32((ptr >>> 0) + 8 * i, true), this.view.getUint32((ptr >>> 0) + 8 * i + 4, true)));
  }

  // As many bytes as fit; the whole number is the result.
  give(bytes, ptr, size) {
    const n = Math.min(bytes.length, size >>> 0);
    this.moved(n);
    bytes.copy(this.bytes(ptr, n), 0, 0, n);
    return bytes.length;
  }
}

const wasi = {
  args_sizes_get(count, size) { return this.sizes(this.args, count, size); },
  args_get(pointers, bytes) { return this.strings(this.args, pointers, bytes); },
  environ_sizes_get(count, size) { return this.sizes([], count, size); },
  environ_get(pointers, bytes) { return this.strings([], pointers, bytes); },
  fd_close: () => 0,
  fd_seek: () => ESPIPE,
  fd_prestat_get: () => EBADF,
  fd_fdstat_get(fd, out) { // a regular file that may do everything
    this.bytes(out, 24).fill(0);
    this.view.setUint8(out >>> 0, 4);
    this.bytes(out + 8, 16).fill(255);
    return 0;
  },
  fd_read(fd, vectors, n, out) {
    let got = 0;
    for (const v of this.vectors(vectors, n)) {
      const size = this.input.copy(v, 0, this.inputAt);
      this.inputAt += size;
      got += size;
    }
    this.moved(got);
    this.put(out, got);
    return 0;
  },
  fd_write(fd, vectors, n, out) {
    const all = Buffer.concat(this.vectors(vectors, n));
    this.moved(all.length);
    (fd === 1 ? this.out : this.error).push(all);
    this.put(out, all.length);
    return 0;
  },
  clock_time_get(id, precision, out) { // clocks of CPU time are asked of the system
    if (id >= 2) this.of('host_system_call', 1);
    this.view.setBigUint64(out >>> 0, 0n, true);
    return 0;
  },
  proc_exit() { throw new Exit(); },
};

const noState = () => { throw new HostTrap('this invocation has no state'); };

const handler = {
  request_method(ptr, size) { return this.give(Buffer.from('GET'), ptr, size); },
  request_target(ptr, size) { return this.give(Buffer.alloc(0), ptr, size); },
  request_path(ptr, size) { return this.give(Buffer.alloc(0), ptr, size); },
  request_query(ptr, size) { return this.give(Buffer.alloc(0), ptr, size); },
  request_header(name, size) { this.moved(size >>> 0); return -1; },
  request_header_name: () => -1,
  request_header_value: () => -1,
  request_body_size: () => 0,
  request_body(offset, ptr, size) { return this.give(Buffer.alloc(0), ptr, size); },
  reply_status: () => {},
  reply_header(name, nameSize, value, valueSize) { this.moved((nameSize >>> 0) + (valueSize >>> 0)); },
  reply(ptr, size) { this.moved(size >>> 0); this.out.push(Buffer.from(this.bytes(ptr, size))); },
  log(ptr, size) { this.moved(size >>> 0); },
  state_get: noState,
  state_set: noState,
  state_delete: noState,
  state_exists: noState,
  state_add: noState,
  state_size: noState,
  state_read: noState,
  state_write: noState,
  state_resize: noState,
  state_scan: noState,
};

module.exports = { Host, Exit };
