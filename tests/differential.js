'use strict';
// What V8 does with modules, in the words of differential.c. Usage: node --experimental-wasm-type-reflection differential.js FILE.wasm...
// writes FILE.wasm.v8 for each.
const fs = require('fs');

// V8's messages in the suite's words. Where V8 has one message for several traps, differential.sh folds ours.
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

// JavaScript cannot take or give vectors: functions with them are stubbed in Wasm, and exported ones are not called.
const hasVector = (type) => type.parameters.concat(type.results).includes('v128');
const codes = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b, funcref: 0x70, externref: 0x6f };
const zeroes = {
  i32: [0x41, 0], i64: [0x42, 0], f32: [0x43, ...Array(4).fill(0)], f64: [0x44, ...Array(8).fill(0)],
  v128: [0xfd, 0x0c, ...Array(16).fill(0)], funcref: [0xd0, 0x70], externref: [0xd0, 0x6f],
};

function vectorStub(type) {
  const list = (types) => [types.length, ...types.map((t) => codes[t])];
  const sized = (bytes) => [bytes.length, ...bytes]; // below 128 bytes
  const section = (id, bytes) => [id, ...sized([1, ...bytes])];
  const body = [0, ...type.results.flatMap((t) => zeroes[t]), 0x0b];
  const bytes = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...section(1, [0x60, ...list(type.parameters), ...list(type.results)]),
    ...section(3, [0]), ...section(7, [1, 0x66, 0, 0]), ...section(10, sized(body))];
  return new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(bytes))).exports.f;
}

function stubs(module) {
  const imports = {};
  for (const { module: from, name, kind, type } of WebAssembly.Module.imports(module)) {
    if (kind !== 'function') throw new Error(`import of a ${kind}`);
    const zeros = type.results.map((t) => (t === 'i64' ? 0n : make[t] ? 0 : null));
    imports[from] ??= {};
    imports[from][name] = hasVector(type) ? vectorStub(type) : () => (zeros.length === 1 ? zeros[0] : zeros);
  }
  return imports;
}

function digest(memory) {
  let hash = 2166136261;
  for (const word of new Uint32Array(memory.buffer)) hash = Math.imul(hash ^ word, 16777619);
  return hash >>> 0;
}

function call(instance, { name, type }, position) {
  if (hasVector(type)) return `${name} has vectors`;
  const args = type.parameters.map((t, i) => (make[t] ? make[t](position * 7 + i) : null));
  try {
    let results = instance.exports[name](...args);
    if (type.results.length < 2) results = type.results.length ? [results] : [];
    return [name, ...Array.from(results, (v, i) => (show[type.results[i]] ?? showRef)(v))].join(' ');
  } catch (error) {
    return `${name} ${trapName(error)}`;
  }
}

function run(file) {
  const bytes = fs.readFileSync(file);
  if (!WebAssembly.validate(bytes)) return ['rejected'];
  const module = new WebAssembly.Module(bytes);
  let instance;
  try {
    instance = new WebAssembly.Instance(module, stubs(module));
  } catch (error) {
    return [`instantiation: ${trapName(error)}`];
  }
  const exported = WebAssembly.Module.exports(module);
  const lines = exported.map((e, i) => (e.kind === 'function' ? call(instance, e, i) : null)).filter((line) => line !== null);
  const memory = exported.find((e) => e.kind === 'memory');
  if (memory) lines.push(`memory ${instance.exports[memory.name].buffer.byteLength} ${digest(instance.exports[memory.name])}`);
  else lines.push('memory 0 2166136261');
  return lines;
}

if (require.main === module) for (const file of process.argv.slice(2)) fs.writeFileSync(`${file}.v8`, run(file).join('\n') + '\n');
module.exports = { trapName, show, showRef, make, digest };
