'use strict';
// The same module in Node's own WebAssembly, with the same interface: what a program without Gasworks would have by hand.
const encoder = new TextEncoder(), decoder = new TextDecoder();

class V8Instance {
  constructor(bytes) {
    this.x = new WebAssembly.Instance(new WebAssembly.Module(bytes), {}).exports;
  }

  get bytes() {
    if (this.view?.buffer !== this.x.memory.buffer) this.view = new Uint8Array(this.x.memory.buffer);
    return this.view;
  }

  call(name, kinds, ...args) {
    const [params, result] = kinds.split('>');
    const flat = [], blocks = [];
    for (const [i, kind] of [...params].entries()) {
      if (kind !== 's' && kind !== 'y') { flat.push(args[i]); continue; }
      const most = kind === 's' ? args[i].length * 3 : args[i].length, place = this.x.gasworks_alloc(most) >>> 0;
      let size = most;
      if (kind === 's') size = encoder.encodeInto(args[i], this.bytes.subarray(place, place + most)).written;
      else this.bytes.set(args[i], place);
      blocks.push([place, most]);
      flat.push(place, size);
    }
    const value = this.x[name](...flat);
    for (const [place, size] of blocks) this.x.gasworks_free(place, size);
    if (result !== 's' && result !== 'y') return value;
    const place = Number(value & 0xffffffffn), size = Number((value >> 32n) & 0x7fffffffn);
    const given = this.bytes.subarray(place, place + size);
    const out = result === 's' ? decoder.decode(given) : Buffer.from(given);
    if (size) this.x.gasworks_free(place, size);
    if (BigInt.asIntN(64, value) < 0n) throw new Error(out);
    return out;
  }
}

module.exports = { V8Instance };
