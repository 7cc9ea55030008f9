'use strict';
// Damaged modules: V8 and our decoder and validator must agree on which are valid.
//
//   agreement.js PROGRAM DIRECTORY... [--seconds S] [--count N] [--seed N] [--keep-going]
//
// PROGRAM is build/*/agreement; modules to damage come from the directories. A seed always gives the same module.
// What is known to differ is a row of `known`, and explained in docs/fuzzing.md. Other modules stay in $TMPDIR/gasworks-agreement.
const fs = require('fs');
const os = require('os');
const path = require('path');
const { execFileSync } = require('child_process');
const { parseArgs } = require('util');

const BATCH = 1000, LARGEST_SEED = 3000, MOST_FAILURES = 10;

// What V8 says ("ok" or its message), what we say, and why. docs/fuzzing.md has an example of each.
const known = [
  [/^ok$/, /^unsupported feature: gc/, 'garbage-collected types are not there yet'],
  [/^ok$/, /^unsupported feature: threads/, 'shared memories and atomic accesses are not there yet'],
  [/invalid (memory|table) limits flags/, /^ok$/, 'V8 lacks custom page sizes'],
  [/invalid numeric opcode: 0xfc1[3-6]/, /^ok$/, 'V8 lacks wide arithmetic'],
  [/mix of legacy and new exception handling/, /^ok$/, 'V8 wants one form of exception handling per module'],
  [/(initial|maximum) memory size .* larger than implementation limit/, /^ok$/, 'V8 limits 64-bit memories when it validates, we when we instantiate'],
  [/initial table size .* larger than implementation limit/, /^ok$/, 'V8 limits tables when it validates, we when we instantiate'],
  [/length overflow while decoding (initial|maximum) size/, /^ok$/, 'limits are u64 in the binary format, whatever the index type; V8 reads u32'],
  [/^ok$/, /^type mismatch: (expected|the label takes) ([if](32|64)|v128)\b.* \(ref bottom\)/, 'V8 takes the reference of unreachable code for a number'],
  [/^ok$/, /^type mismatch: br_on_non_null needs a label that takes a reference/, 'V8 does not check the label of br_on_non_null in unreachable code'],
];

// --- damage

// xorshift32
function makeRandom(seed) {
  let state = (Math.imul(seed, 2654435761) ^ 0x9e3779b9) >>> 0 || 1;
  return (n) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
}

const likely = [
  0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x18, 0x19,
  0x1a, 0x1b, 0x1c, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x28, 0x36, 0x3f, 0x40, 0x41, 0x42, 0x43, 0x44, 0x4e, 0x4f, 0x50,
  0x60, 0x63, 0x64, 0x69, 0x6a, 0x6f, 0x70, 0x71, 0x72, 0x73, 0x74, 0x7b, 0x7c, 0x7d, 0x7e, 0x7f, 0x80, 0xd0, 0xd1, 0xd2, 0xd4, 0xd5, 0xd6,
  0xfc, 0xfd, 0xff,
];

const replace = (bytes, random) => {
  const copy = Buffer.from(bytes);
  for (let n = 1 + (random(4) === 0); n > 0; n--) {
    const at = 8 + random(copy.length - 8);
    const kind = random(4);
    copy[at] = kind === 0 ? copy[at] ^ (1 << random(8)) : kind === 1 ? copy[at] + random(5) - 2 : likely[random(likely.length)];
  }
  return copy;
};

function readSize(bytes, at) {
  let value = 0, shift = 0;
  for (;;) {
    const byte = bytes[at++];
    value += (byte & 0x7f) * 2 ** shift;
    if (!(byte & 0x80) || shift > 28) return { value, at };
    shift += 7;
  }
}

function writeSize(value) {
  const out = [];
  for (; value > 0x7f; value >>>= 7) out.push((value & 0x7f) | 0x80);
  return [...out, value];
}

// Where things with a size begin and end: [{start, from, to}], the size being between start and from.
function sections(bytes) {
  const found = [];
  for (let at = 8; at < bytes.length;) {
    const size = readSize(bytes, at + 1);
    found.push({ id: bytes[at], start: at + 1, from: size.at, to: size.at + size.value });
    at = size.at + size.value;
  }
  return found;
}

function bodies(bytes, code) {
  const found = [];
  let { value: count, at } = readSize(bytes, code.from);
  for (; count > 0 && at < code.to; count--) {
    const size = readSize(bytes, at);
    found.push({ start: at, from: size.at, to: size.at + size.value });
    at = size.at + size.value;
  }
  return found;
}

const resized = (bytes, { start, from, to }, content) =>
  Buffer.concat([bytes.subarray(0, start), Buffer.from(writeSize(content.length)), content, bytes.subarray(to)]);

// Inserts, removes or repeats a few bytes; sizes around it stay right.
function edit(content, random) {
  if (content.length === 0) return content;
  const at = random(content.length), n = 1 + random(4);
  const piece = random(2) ? Buffer.from([likely[random(likely.length)]]) : content.subarray(random(content.length)).subarray(0, n);
  const gone = random(3) === 0 ? 0 : random(3);
  return Buffer.concat([content.subarray(0, at), random(4) === 0 ? Buffer.alloc(0) : piece, content.subarray(at + gone)]);
}

function editSection(bytes, random) {
  const all = sections(bytes).filter((s) => s.to <= bytes.length);
  if (all.length === 0) return bytes;
  const section = all[random(all.length)];
  return resized(bytes, section, edit(bytes.subarray(section.from, section.to), random));
}

function editBody(bytes, random) {
  const code = sections(bytes).find((s) => s.id === 10 && s.to <= bytes.length);
  const all = code ? bodies(bytes, code) : [];
  if (all.length === 0) return editSection(bytes, random);
  const body = all[random(all.length)];
  const content = resized(bytes.subarray(0, code.to), body, edit(bytes.subarray(body.from, body.to), random)).subarray(code.from);
  return resized(bytes, code, content);
}

function truncate(bytes, random) {
  return bytes.subarray(0, 8 + random(bytes.length - 7));
}

function damage(bytes, seed) {
  const random = makeRandom(seed);
  const kinds = [replace, replace, replace, editBody, editBody, editBody, editSection, editSection, truncate];
  const rounds = 1 + (random(4) === 0);
  let result = bytes;
  for (let i = 0; i < rounds && result.length > 9; i++) result = kinds[random(kinds.length)](result, random);
  return result;
}

// --- verdicts

function inV8(bytes) {
  if (WebAssembly.validate(bytes)) return 'ok';
  try {
    new WebAssembly.Module(bytes);
    return 'ok';
  } catch (error) {
    return error.message;
  }
}

function here(program, modules) {
  const file = path.join(os.tmpdir(), `agreement-${process.pid}`);
  const size = (module) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(module.length);
    return bytes;
  };
  fs.writeFileSync(file, Buffer.concat(modules.flatMap((m) => [size(m), m])));
  try {
    return execFileSync(program, [file], { maxBuffer: 1 << 28 }).toString('latin1').trimEnd().split('\n');
  } finally {
    fs.rmSync(file);
  }
}

function keep(seed, bytes, v8, ours) {
  const directory = path.join(os.tmpdir(), 'gasworks-agreement');
  fs.mkdirSync(directory, { recursive: true });
  const kept = path.join(directory, `${seed}.wasm`);
  fs.writeFileSync(kept, bytes);
  console.log(`FAIL seed ${seed}: V8 says "${v8}", we say "${ours}" (kept as ${kept})`);
}

// Counts the verdict; false when they differ in a way that is not known.
function compare(v8, ours, tally) {
  const isValid = ours === 'ok';
  if ((v8 === 'ok') === isValid) {
    tally[isValid ? 'valid' : 'invalid']++;
    return true;
  }
  const rule = known.find(([theirs, own]) => theirs.test(v8) && own.test(ours));
  if (!rule) return false;
  tally.known.set(rule, (tally.known.get(rule) ?? 0) + 1);
  return true;
}

function readSeeds(directories) {
  const files = directories.flatMap((directory) =>
    fs.readdirSync(directory, { recursive: true }).filter((f) => f.endsWith('.wasm')).sort().map((f) => path.join(directory, f)));
  const seeds = files.map((file) => fs.readFileSync(file));
  // Modules of either verdict, but for those that are damaged in their frame already.
  return seeds.filter((bytes) => bytes.length > 12 && bytes.length <= LARGEST_SEED && bytes.readUInt32LE(4) === 1);
}

function main() {
  const { values, positionals: [program, ...directories] } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: 'string', default: '15' }, count: { type: 'string', default: 'Infinity' },
      seed: { type: 'string', default: '1' }, 'keep-going': { type: 'boolean', default: false },
    },
  });
  const end = Date.now() + Number(values.seconds) * 1000, last = Number(values.seed) + Number(values.count);
  const seeds = readSeeds(directories);
  const tally = { valid: 0, invalid: 0, failed: 0, known: new Map() };
  for (let seed = Number(values.seed); seed < last && Date.now() < end && (values['keep-going'] || tally.failed < MOST_FAILURES);) {
    const first = seed, modules = [];
    for (const stop = Math.min(seed + BATCH, last); seed < stop; seed++) modules.push(damage(seeds[makeRandom(seed ^ 0x5555)(seeds.length)], seed));
    const ours = here(program, modules);
    modules.forEach((bytes, i) => {
      const v8 = inV8(bytes);
      if (compare(v8, ours[i], tally)) return;
      tally.failed++;
      keep(first + i, bytes, v8, ours[i]);
    });
  }
  let n_known = 0;
  for (const [[, , why], n] of tally.known) {
    console.log(`${String(n).padStart(6)} known: ${why}`);
    n_known += n;
  }
  console.log(`${seeds.length} seeds; ${tally.valid} valid and ${tally.invalid} invalid for both, ${n_known} known differences`);
  console.log(`${tally.valid + tally.invalid + n_known} passed, ${tally.failed} failed, 0 skipped`);
  process.exit(tally.failed === 0 && tally.valid > 0 ? 0 : 1);
}

main();
