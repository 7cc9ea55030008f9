'use strict';
// Random modules made by Binaryen: what V8 and this engine make of them must agree, and -O2, -O0 and the precise tier must agree
// in gas too, and the baseline tier with the precise tier in all. What memories hold after an access out of bounds must be the same in V8 and in the precise tier.
//
// V8's NaNs are others than ours: where it is asked, there are none (--denan). Modules in which NaNs have bits are compared
// between the tiers, all levels, and two CPUs; with --nan-bits, all are such.
//
// With --csmith, the modules are C programs made by csmith (csmith.js), in all levels and CPU levels, and with a profile.
//
//   against_v8.js PROGRAM WASM_OPT [--seconds S] [--count N] [--seed N] [--failures N] [--keep-going] [--nan-bits | --csmith]
//
// PROGRAM is build/*/against_v8, WASM_OPT the script of that name in npm's binaryen. A seed always gives the same module.
// Modules on which somebody disagrees stay in $TMPDIR/gasworks-against-v8. What is known to differ: docs/fuzzing.md.
const fs = require('fs');
const os = require('os');
const path = require('path');
const { spawn } = require('child_process');
const { parseArgs } = require('util');
const { hasCsmith, makeProgram } = require('./csmith.js');
const { loadGenerator, makeModule } = require('./random_module.js');

const BATCH = 25, PROGRAMS = 5; // a program takes seconds

// --- V8

// V8's messages in our words. Where one of both has one message for several traps, they are one here.
const v8Traps = [
  [/unreachable/, 'unreachable'],
  [/memory access out of bounds|data segment/, 'out of bounds memory access'],
  [/(divide|remainder) by zero/, 'integer divide by zero'],
  [/divide result unrepresentable|float unrepresentable/, 'integer overflow'],
  [/function signature mismatch|table index is out of bounds|table (access )?out of bounds|element segment/, 'table trap'],
  [/dereferencing a null pointer/, 'null reference'],
  [/rethrowing null/, 'null exception reference'],
  [/call stack/, 'call stack exhausted'],
];
const ourTraps = [
  [/(undefined|uninitialized) element|indirect call type mismatch|out of bounds table access/, 'table trap'],
  [/invalid conversion to integer/, 'integer overflow'],
  [/null function reference/, 'null reference'],
];

function trapName(error) {
  if (error instanceof WebAssembly.Exception) return 'uncaught exception';
  return v8Traps.find(([pattern]) => pattern.test(error.message))?.[1] ?? String(error);
}

const unsigned = (value) => (typeof value === 'bigint' ? BigInt.asUintN(64, value) : value >>> 0);

function digest(buffer) {
  let hash = 2166136261;
  for (const word of new Uint32Array(buffer, 0, buffer.byteLength >>> 2)) hash = Math.imul(hash ^ word, 16777619);
  return hash >>> 0;
}

const memories = (instance, names) => names.filter((name) => name[1] === 'm').map((name) => {
  const { buffer } = instance.exports[name];
  return `${name} ${buffer.byteLength} ${digest(buffer)}`;
});

function runInV8(bytes) {
  let compiled, instance;
  try {
    compiled = new WebAssembly.Module(bytes);
  } catch (error) {
    return { refusal: error.message };
  }
  const lines = [];
  const renew = () => {
    try {
      instance = new WebAssembly.Instance(compiled);
    } catch (error) {
      lines.push(`instantiation ${trapName(error)}`);
    }
    return instance;
  };
  const names = WebAssembly.Module.exports(compiled).map((e) => e.name).filter((name) => name[0] === '%');
  if (!renew()) return { lines };
  for (const name of names.filter((n) => n[1] !== 'm')) {
    try {
      const result = instance.exports[name]();
      const results = result === undefined ? [] : Array.isArray(result) ? result : [result];
      lines.push([name, ...results.map(unsigned)].join(' '));
    } catch (error) {
      lines.push(`${name} ${trapName(error)}`);
      if (!lines.at(-1).endsWith('out of bounds memory access')) continue;
      for (const line of memories(instance, names)) lines.push(`at trap ${line}`);
      instance = undefined;
      if (!renew()) return { lines };
    }
  }
  lines.push(...memories(instance, names));
  return { lines };
}

// --- this engine

function runEngine(program, directory, modules, configs) {
  const output = path.join(directory, 'engine.txt');
  const file = fs.openSync(output, 'w');
  return new Promise((resolve, reject) => {
    const child = spawn(program, modules.flatMap((m) => ['--more', configs(m), m.path]),
                        {stdio : [ 'ignore', file, file ]});
    child.on('error', reject);
    child.on('close', () => {
      fs.closeSync(file);
      const texts = fs.readFileSync(output, 'latin1').split(/^module .*\n/m).slice(1);
      resolve(texts.map((text) => {
        const parts = text.split(/^(-O\d.*|precise|baseline|end)$/m).slice(1);
        const runs = [];
        for (let i = 0; i + 1 < parts.length; i += 2) runs.push([ parts[i], parts[i + 1].split('\n').filter((line) => line) ]);
        if (runs.pop()?.[0] !== 'end') return {crash : text};
        const [[, fast ], [, slow ], [, precise ], [, baseline ], ...others] = runs;
        return {fast, slow, precise, baseline, others};
      }));
    });
  });
}

function fold(line) {
  for (const [pattern, name] of ourTraps) line = line.replace(pattern, name);
  return line.replace(/ gas \d+$/, '');
}

// Gas at a memory access out of bounds is a lower bound in compiled code (docs/gas.md, section 5).
const withoutUnsureGas = (line) => (line.includes('out of bounds memory access') ? fold(line) : line);

// How deep recursion may go is each engine's own affair; what comes after is not comparable.
function untilExhaustion(lines) {
  const at = lines.findIndex((line) => line.includes('call stack exhausted'));
  return at < 0 ? lines : lines.slice(0, at);
}

function firstDifference(left, right) {
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    if (left[i] !== right[i]) return `"${left[i]}", "${right[i]}"`;
  }
  return null;
}

const isAtTrap = (line) => line.startsWith('at trap ');
const withoutMemoriesAtTraps = (lines) => lines.filter((line) => !isAtTrap(line));

// Up to where both exhaust the stack, which each engine does at a depth of its own.
function comparable(left, right, tally) {
  if (!left.concat(right).some((line) => line.includes('call stack exhausted'))) return [left, right];
  const most = Math.min(untilExhaustion(left).length, untilExhaustion(right).length);
  tally.exhausted++;
  return [left.slice(0, most), right.slice(0, most)];
}

// More than -O2, -O0 and the two other tiers.
const levelsOfNans = (module) => (module.profile.hasNanBits ? 'O1,O3,v2,mixed' : 'mixed');
const levelsOfPrograms = (module) => ['O1,v2,profile', 'O3,v3,mixed', 'v2,v4,mixed', 'O1,O3,profile'][module.seed % 4];

// Compiled code notices late that gas ran out (docs/gas.md, section 4), and has gone on writing by then.
function sure(lines) {
  const end = lines.findIndex((line) => line.includes('out of gas'));
  return (end < 0 ? lines : lines.slice(0, end + 1)).map(withoutUnsureGas);
}

// Why the module fails, or null.
function judge(module, ours, tally) {
  if (ours.crash !== undefined) return `the engine ended early: ${ours.crash.slice(-500)}`;
  const levels = firstDifference(sure(ours.fast), sure(ours.slow));
  if (levels) return `-O2 and -O0 differ: ${levels}`;
  const tiers = firstDifference(sure(ours.slow), sure(withoutMemoriesAtTraps(ours.precise)));
  if (tiers) return `-O0 and the precise tier differ: ${tiers}`;
  const exact = firstDifference(ours.baseline, ours.precise); // with memories and gas, at traps too
  if (exact) return `the baseline and the precise tier differ: ${exact}`;
  for (const [name, lines] of ours.others) {
    const other = firstDifference(sure(withoutMemoriesAtTraps(lines)), sure(ours.slow));
    if (other) return `${name} and -O0 differ: ${other}`;
  }
  if (module.profile.hasNanBits) tally.nans++;
  if (ours.fast[0]?.startsWith('error: ')) return ours.fast[0];
  if (module.profile.isAlone || ours.precise.some((line) => line.includes('out of gas'))) return null;
  const { lines, refusal } = runInV8(module.bytes);
  if (refusal && !/mix of legacy and new exception handling/.test(refusal)) return `V8 refuses the module: ${refusal}`;
  if (refusal) return null;
  const [v8, precise] = comparable(lines, ours.precise.map(fold), tally);
  tally.compared++;
  tally.calls += v8.length;
  tally.trapped += v8.filter((line) => /[a-z]{4}/.test(line)).length;
  const difference = firstDifference(v8, precise);
  return difference && `V8 and the precise tier differ: ${difference}`;
}

function keep(module, reason) {
  const directory = path.join(os.tmpdir(), 'gasworks-against-v8');
  fs.mkdirSync(directory, { recursive: true });
  const kept = path.join(directory, path.basename(module.path));
  fs.writeFileSync(kept, module.bytes);
  console.log(`FAIL seed ${module.seed}: ${reason} (kept as ${kept})`);
}

async function main() {
  const {values, positionals : [ program, script ]} = parseArgs({
    allowPositionals : true,
    options : {
      seconds : {type : 'string', default : '15'},
      count : {type : 'string', default : 'Infinity'},
      seed : {type : 'string', default : '1'},
      failures : {type : 'string', default : '10'},
      'keep-going' : {type : 'boolean', default : false},
      'nan-bits' : {type : 'boolean', default : false},
      csmith : {type : 'boolean', default : false},
    },
  });
  if (values.csmith && !hasCsmith()) {
    console.log('against_v8: no csmith (Debian packages csmith and libcsmith-dev); nothing was tested');
    process.exit(77);
  }
  const end = Date.now() + Number(values.seconds) * 1000;
  const last = Number(values.seed) + Number(values.count);
  const generate = loadGenerator(path.resolve(script));
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'against-v8-'));
  const tally = {passed : 0, failed : 0, skipped : 0, compared : 0, nans : 0, calls : 0, trapped : 0, exhausted : 0};
  for (let seed = Number(values.seed); seed < last && Date.now() < end && (values['keep-going'] || tally.failed < Number(values.failures));) {
    const modules = [], batch = values.csmith ? PROGRAMS : BATCH;
    for (const stop = Math.min(seed + batch, last); seed < stop; seed++) {
      const module = values.csmith ? await makeProgram(generate, directory, seed) : await makeModule(generate, directory, seed, values['nan-bits']);
      if (module) modules.push(module);
      else tally.skipped++;
    }
    const answers = await runEngine(program, directory, modules, values.csmith ? levelsOfPrograms : levelsOfNans);
    modules.forEach((module, i) => {
      const reason = judge(module, answers[i] ?? { crash: 'no answer' }, tally);
      tally[reason ? 'failed' : 'passed']++;
      if (reason) keep(module, reason);
      fs.rmSync(module.path);
    });
    if (tally.passed % 1000 < BATCH && tally.passed > BATCH) console.log(`seed ${seed}: ${JSON.stringify(tally)}`);
  }
  fs.rmSync(directory, { recursive: true });
  console.log(`${tally.compared} modules compared with V8: ${tally.calls} calls, of which ${tally.trapped} trapped; in ${tally.exhausted} the stack was exhausted`);
  console.log(`${tally.nans} modules whose NaNs' bits were compared`);
  console.log(`${tally.passed} passed, ${tally.failed} failed, ${tally.skipped} skipped`);
  process.exit(tally.failed === 0 && tally.passed > 0 ? 0 : 1);
}

main();
