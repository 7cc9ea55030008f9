// hostile.js DIR < OUTPUT: what V8 says about the modules that `hostile --write DIR` kept, whose lines it printed. Compared are
// results and whether, and by what kind of end, a run ended. Exhaustion is each engine's own: those runs are left out.
'use strict';
const fs = require('fs');
const dir = process.argv[2];

const mask = (1n << 64n) - 1n;
let n = 0, skipped = 0, failed = 0, exhausted = 0;

function resultCounts(bytes) { // of function types, in order, from the type section
  let at = 8;
  const leb = () => { let v = 0, s = 0, b; do { b = bytes[at++]; v |= (b & 127) << s; s += 7; } while (b & 128); return v; };
  at++;
  leb();
  const counts = [];
  for (let k = leb(); k > 0; k--) {
    at++;
    const params = leb();
    at += params;
    const results = leb();
    at += results;
    counts.push([params, results]);
  }
  return counts;
}

function firstType(bytes) {
  let at = 8;
  const leb = () => { let v = 0, s = 0, b; do { b = bytes[at++]; v |= (b & 127) << s; s += 7; } while (b & 128); return v; };
  for (;;) {
    const id = bytes[at++], size = leb();
    if (id === 3) { leb(); return leb(); }
    at += size;
  }
}

function runModule(seed, bytes) {
  const types = resultCounts(bytes), imports = {};
  for (let i = 0; i < 8; i++) {
    const count = types[i][1];
    imports[String.fromCharCode(97 + i)] = fuel => {
      const values = [];
      for (let k = 0; k < count; k++) values.push(BigInt.asIntN(64, BigInt(fuel >>> 0) * 31n + BigInt(k)));
      return count === 0 ? undefined : count === 1 ? values[0] : values;
    };
  }
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), {h: imports});
  const [params] = types[firstType(bytes)], args = [Number(BigInt(seed) % 7n)];
  for (let i = 1; i < params; i++) args.push(BigInt(i));
  const result = instance.exports.f(...args);
  return result === undefined ? [] : Array.isArray(result) ? result : [result];
}

function digest(values) {
  let d = 14695981039346656037n;
  for (const v of values) d = ((d ^ BigInt.asUintN(64, v)) * 1099511628211n) & mask;
  return d.toString(16).padStart(16, '0');
}

for (const line of fs.readFileSync(0, 'utf8').split('\n')) {
  const match = /^@ (\d+) ([01]) (.*) ([0-9a-f]{16})$/.exec(line);
  if (!match) continue;
  const [, seed, ok, trap, expected] = match, bytes = fs.readFileSync(`${dir}/${seed}.wasm`);
  if (/exhausted|gas/.test(trap)) { exhausted++; continue; }
  let end = '';
  try {
    const got = digest(runModule(seed, bytes));
    end = ok === '1' && got === expected ? '' : `finished with ${got}`;
  } catch (e) {
    if (e instanceof WebAssembly.CompileError) { skipped++; continue; } // both forms of exceptions, large frames
    if (e instanceof RangeError) { exhausted++; continue; }
    const isException = e instanceof WebAssembly.Exception;
    if (ok === '1' || isException !== (trap === 'uncaught exception')) end = `ended by ${e}`;
  }
  n++;
  if (!end) continue;
  failed++;
  console.log(`seed ${seed}: V8 ${end}; here ${ok === '1' ? 'finished with ' + expected : trap}`);
}
console.log(`${n} modules compared with V8, ${exhausted} ran out of stack or gas, ${skipped} V8 does not take; ${failed} differ`);
process.exit(failed ? 1 : 0);
