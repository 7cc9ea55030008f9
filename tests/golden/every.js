// Writes a valid module in which every instruction of frontend/opcode.def stands once, but those of features that are off.
//   node every.js SOURCE_DIR OUT.wasm
// Behind `unreachable` operands are whatever is wanted, so each instruction needs only its immediate.
'use strict';
const fs = require('node:fs');
const path = require('node:path');

const root = process.argv[2];
const read = (name) => fs.readFileSync(path.join(root, 'frontend', name), 'utf8');

const on = new Set();
for (const [, id, state] of read('feature.def').matchAll(/^FEATURE\((\w+),\s*"[^"]*",\s*(\w+)\)/gm)) if (state === 'ON') on.add(id);

const leb = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...leb(n >> 7)]);
const sixteen = [...Array(16).keys()];
const log2 = (bytes) => Math.log2(Number(bytes));

// The bytes of an immediate, by its kind in opcode.h.
function immediate(kind) {
  const memory = /^MEM(\d+)(_LANE\d+)?$/.exec(kind);
  if (memory) return [log2(memory[1]), 8, ...(memory[2] ? [1] : [])];
  if (/^LANE\d+$/.test(kind)) return [1];
  const bytes = {
    NONE: [], BLOCK: [0x40], LABEL: [0], BR_TABLE: [1, 0, 0], FUNC: [0], CALL_INDIRECT: [0, 0], TYPE: [0], TAG: [0],
    TRY_TABLE: [0x40, 1, 2, 0], SELECT_T: [1, 0x7f], LOCAL: [0], GLOBAL: [0], TABLE: [0], TABLE_INIT: [0, 0], TABLE_COPY: [0, 0],
    ELEM: [0], MEMORY: [0], MEMORY_INIT: [0, 0], MEMORY_COPY: [0, 0], DATA: [0], I32: [0x7f], I64: [0x7f],
    F32: [0, 0, 0xc0, 0x3f], F64: [0, 0, 0, 0, 0, 0, 0xf8, 0x3f], V128: sixteen, SHUFFLE: sixteen, HEAP_TYPE: [0x70],
  }[kind];
  if (!bytes) throw new Error(`every.js knows no immediate ${kind}`);
  return bytes;
}

const END = 0x0b, UNREACHABLE = 0x00, TRY = [0x06, 0x40];
// What must stand around an instruction.
const before = { ELSE: [0x04, 0x40], END: [0x02, 0x40], CATCH: TRY, CATCH_ALL: TRY, DELEGATE: TRY, RETHROW: [...TRY, 0x19],
  BR_ON_NON_NULL: [0x02, 0x70, UNREACHABLE] };
const behind = { BR_ON_NON_NULL: [UNREACHABLE, END] };
for (const id of ['BLOCK', 'LOOP', 'IF', 'ELSE', 'TRY', 'TRY_TABLE', 'CATCH', 'CATCH_ALL', 'RETHROW']) behind[id] = [END];

const code = [];
const row = /^OP\((\w+),\s*(\w+),\s*(\w+),\s*"[^"]+",\s*(\w+),\s*\w+,\s*\w+,\s*\w+,\s*(\w+),/gm;
for (const [, id, prefix, number, kind, feature] of read('opcode.def').matchAll(row)) {
  if (!on.has(feature)) continue;
  const opcode = Number(prefix) ? [Number(prefix), ...leb(Number(number))] : [Number(number)];
  code.push(UNREACHABLE, ...(before[id] ?? []), ...opcode, ...immediate(kind), ...(behind[id] ?? []));
}
const body = [1, 1, 0x7f, ...code, UNREACHABLE, END]; // one local

const section = (id, bytes) => [id, ...leb(bytes.length), ...bytes];
fs.writeFileSync(process.argv[3], Uint8Array.from([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
  ...section(1, [1, 0x60, 0, 0]),
  ...section(3, [1, 0]),
  ...section(4, [1, 0x70, 0, 1]),
  ...section(5, [1, 0, 1]),
  ...section(13, [1, 0, 0]),
  ...section(6, [1, 0x7f, 1, 0x41, 0, END]),
  ...section(9, [1, 1, 0, 1, 0]),
  ...section(12, [1]),
  ...section(10, [1, ...leb(body.length), ...body]),
  ...section(11, [1, 1, 3, 0x61, 0x62, 0x63]),
]));
