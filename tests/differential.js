'use strict';
// Arguments, results and traps in V8, in the words of differential.c: for gas_v8.js.

// V8's messages in the suite's words.
const traps = [
  [/unreachable/, 'unreachable'],
  [/memory access out of bounds|data segment/, 'out of bounds memory access'],
  [/(divide|remainder) by zero/, 'integer divide by zero'],
  [/unrepresentable/, 'integer overflow'],
  [/null function or function signature/, 'indirect call type mismatch'],
  [/table index is out of bounds|table (access )?out of bounds|element segment|table.* out of bounds/, 'out of bounds table access'],
  [/call stack/, 'call stack exhausted'],
];

function trapName(error) {
  if (WebAssembly.Exception && error instanceof WebAssembly.Exception) return 'uncaught exception';
  const row = traps.find(([pattern]) => pattern.test(error.message));
  return row ? row[1] : String(error);
}

const view = new DataView(new ArrayBuffer(8));
const show = {
  i32: (v) => v >>> 0,
  i64: (v) => BigInt.asUintN(64, v),
  f32: (v) => (view.setFloat32(0, v), Number.isNaN(v) ? 'nan' : view.getUint32(0)),
  f64: (v) => (view.setFloat64(0, v), Number.isNaN(v) ? 'nan' : view.getBigUint64(0)),
};
const showRef = (v) => (v === null ? 'null' : 'ref');
const make = { i32: (n) => n, i64: (n) => BigInt(n), f32: (n) => n, f64: (n) => n };

function digest(memory) {
  let hash = 2166136261;
  for (const word of new Uint32Array(memory.buffer)) hash = Math.imul(hash ^ word, 16777619);
  return hash >>> 0;
}

module.exports = { trapName, show, showRef, make, digest };
