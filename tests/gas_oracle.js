#!/usr/bin/env node
'use strict';
// The gas oracle: what modules cost by docs/gas.md, counted instruction by instruction in V8, against what this engine charges.
const { spawnSync } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { gasOfInstance, instrument, readSchedule } = require('./gas_text.js');
const loops = require('./gas_loops.js');
const v8 = require('./gas_v8.js');

const help = `usage: gas_oracle.js PROGRAM KIND [OPTION...] [FILE...]
  PROGRAM            build/*/differential
  KIND               loops: generated loop shapes; random: modules by Binaryen; bench: bench/programs, one round each;
                     files: the exports of the modules FILE...; commands: FILE... as gasworks (beside PROGRAM) runs them,
                     WASI programs with the text of docs/gas.md as input, handlers with an empty request
  --count N          of shapes (200) or random modules (50)
  --seed N           where generating starts (1)
  --seconds N        no new batch after so many seconds
  --levels LIST      optimisation levels and tiers (0,1,2,3,precise,baseline,mixed)
  --slices LIST      gas per slice, 0 is unlimited (0,1000,77)
  --print            every row
Modules that differ stay in $TMPDIR/gasworks-oracle. Ends with 77 when a tool is missing.
`;

const root = path.dirname(__dirname);
const schedule = readSchedule();
for (const flag of ['type-reflection', 'return-call', 'memory64', 'extended-const'])
  require('node:v8').setFlagsFromString(`--experimental-wasm-${flag}`);
const features = ['--enable-tail-call', '--enable-memory64', '--enable-multi-memory', '--enable-exceptions', '--enable-extended-const'];

function die(message) {
  process.stderr.write(`gas_oracle: ${message}\n`);
  process.exit(1);
}

function parseArguments(argv) {
  const o = { seed: 1, levels: ['0', '1', '2', '3', 'precise', 'baseline', 'mixed'], slices: ['0', '1000', '77'], files: [], seconds: Infinity };
  const value = { '--count': (v) => (o.count = Number(v)), '--seed': (v) => (o.seed = Number(v)), '--seconds': (v) => (o.seconds = Number(v)),
    '--levels': (v) => (o.levels = v.split(',')), '--slices': (v) => (o.slices = v.split(',')) };
  const rest = [];
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === '--print') o.print = true;
    else if (value[argv[i]] && i + 1 < argv.length) value[argv[i]](argv[++i]);
    else if (argv[i].startsWith('-')) die(help);
    else rest.push(argv[i]);
  }
  [o.program, o.kind, ...o.files] = rest;
  if (!o.program || !Object.hasOwn(kinds, o.kind)) die(help);
  return o;
}

// --- modules ----------------------------------------------------------------------------------------------------------

// A tool's output, or an exception with what it said.
function tool(command, args, input) {
  const result = spawnSync(command, args, { input, maxBuffer: 1 << 28, encoding: 'utf8' });
  if (result.error?.code === 'ENOENT') {
    console.log(`gas_oracle: ${command} is not installed; nothing was tested`);
    process.exit(77);
  }
  if (result.status !== 0) throw new Error(`${command}: ${result.stderr.split('\n', 2).join(' ') || result.signal}`);
  return result.stdout;
}

// The module with counters, as bytes, and what its instance costs.
function instrumented(file) {
  const text = tool('wasm2wat', ['--no-debug-names', ...features, file]);
  const wat = `${file}.counted.wat`, wasm = `${file}.counted`;
  fs.writeFileSync(wat, instrument(text, schedule));
  tool('wat2wasm', [...features, wat, '-o', wasm]);
  return { bytes: fs.readFileSync(wasm), instanceGas: gasOfInstance(text, schedule) };
}

function* loopModules(o, work) {
  let i = 0;
  for (const { text, names } of loops.modules(o.count ?? 200, o.seed)) {
    const file = path.join(work, `loops-${o.seed}-${i++}.wasm`);
    fs.writeFileSync(`${file}.wat`, text);
    tool('wat2wasm', [`${file}.wat`, '-o', file]);
    yield { file, names };
  }
}

// Bytes that follow from the seed alone (as against_v8.js makes them).
function noise(seed, size) {
  return crypto.createCipheriv('aes-128-ctr', String(seed).padStart(16, '0'), Buffer.alloc(16)).update(Buffer.alloc(size));
}

const randomFeatures = ['--mvp-features', '--enable-mutable-globals', '--enable-sign-ext', '--enable-nontrapping-float-to-int', '--enable-multivalue',
  '--enable-bulk-memory'];

function* randomModules(o, work) {
  const input = path.join(work, 'input');
  for (let seed = o.seed; seed < o.seed + (o.count ?? 50); seed++) {
    const file = path.join(work, `random-${seed}.wasm`);
    fs.writeFileSync(input, noise(seed, 500 + (seed % 7) * 600));
    const more = seed % 5 === 0 ? ['--enable-reference-types'] : [];
    try {
      tool('wasm-opt', [input, '-ttf', '--denan', ...randomFeatures, ...more, '-o', file]);
    } catch {
      continue; // Binaryen gives up on some inputs
    }
    yield { file, names: {} };
  }
}

function givenModule(given, work) {
  const file = path.join(work, path.basename(given).replace(/\.wat$/, '.wasm'));
  if (given.endsWith('.wat')) tool('wat2wasm', [...features, given, '-o', file]);
  else fs.copyFileSync(given, file);
  return file;
}

function* givenModules(o, work) {
  for (const given of o.files) yield { file: givenModule(given, work), names: {} };
}

const benchFlags = ['-O3', '--target=wasm32-wasi', '--sysroot=/usr', '-Wno-deprecated', '-nostartfiles', '-Wl,--no-entry', '-DREACTOR_ROUNDS=1'];

function* benchModules(o, work) {
  const sources = path.join(root, 'bench', 'programs'), reactor = path.join(sources, 'reactor.c');
  const names = fs.readdirSync(sources).filter((f) => f.endsWith('.c') && f !== 'main.c' && f !== 'reactor.c');
  for (const name of names) {
    const file = path.join(work, name.replace('.c', '.wasm'));
    tool('clang-22', [...benchFlags, path.join(sources, name), reactor, '-o', file]);
    yield { file, names: {} };
  }
}

// Whole programs: the host functions are modelled too.
function* commands(o, work) {
  const input = path.join(root, 'docs', 'gas.md');
  for (const given of o.files) {
    const file = givenModule(given, work);
    yield { file, names: {}, command: { input, args: [file] } };
  }
}

const kinds = { loops: loopModules, random: randomModules, files: givenModules, bench: benchModules, commands };

// --- comparing --------------------------------------------------------------------------------------------------------

// V8 has one message where the suite has several.
const fold = (outcome) => outcome.replace(/(undefined|uninitialized) element|indirect call type mismatch|out of bounds table access/, 'table trap')
  .replace(/invalid conversion to integer/, 'integer overflow');

// Tiers other than compiled code are exact at every trap.
const isTier = (level) => level === 'precise' || level === 'baseline';

// Where functions are compiled by themselves, which ones and when follows from a seed, another one for every batch of files.
let batch = 0;
const tierOptions = (o, level) => level === 'mixed' ? ['--mixed', String(o.seed * 1000 + batch++)] : isTier(level) ? [`--${level}`] : ['-O', level];

// What this engine printed: { 'file slice': [{ name, outcome, gas }] }.
function engineRuns(o, level, files) {
  const slices = o.slices.flatMap((s) => ['--slice', s]);
  const result = spawnSync(o.program, [...tierOptions(o, level), '--show-gas', ...slices, ...files], { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (result.error) die(`${o.program}: ${result.error.message}`);
  const runs = {};
  let rows = runs[`${files[0]} ${o.slices[0]}`] = [];
  for (const line of result.stdout.split('\n')) {
    if (line.startsWith('@ ')) rows = runs[line.slice(2)] = [];
    else if (line) {
      const [, name, outcome, gas] = /^(\S+)(.*?)(?: gas (\d+))?$/.exec(line);
      rows.push({ name, outcome: outcome.trim(), gas: gas === undefined ? undefined : BigInt(gas) });
    }
  }
  if (result.signal) rows.push({ name: 'crash', outcome: `${result.signal} ${result.stderr.slice(-300)}` });
  return runs;
}

// The same for a whole program.
function commandRuns(o, level, m) {
  const input = fs.openSync(m.command.input, 'r'), output = fs.openSync(`${m.file}.out`, 'w+');
  const gasworks = path.join(path.dirname(o.program), 'gasworks');
  const result = spawnSync(gasworks, ['run', '--tier', ...(isTier(level) ? [level] : ['fast', '-O', level]), '--deterministic', '--stats', '--json', ...m.command.args], { stdio: [input, output, 'pipe'] });
  if (result.error) die(`${gasworks}: ${result.error.message}`);
  fs.closeSync(input);
  fs.closeSync(output);
  const gas = /"gas":\s*(\d+)/.exec(result.stderr);
  const isTrap = !gas || /^gasworks: /m.test(result.stderr);
  return [{ name: 'command', outcome: v8.outputOutcome(fs.readFileSync(`${m.file}.out`), isTrap), gas: BigInt(gas?.[1] ?? -1) }];
}

// What is wrong with this row, or null. An optimised store that faults may be left to a later one of the same place.
function compareRow(want, got, level) {
  if (!got) return 'this engine stopped before';
  if (want.name !== got.name || fold(want.outcome) !== fold(got.outcome)) return `V8: ${want.name} ${want.outcome}, this engine: ${got.name} ${got.outcome}`;
  if (want.isEnd) return null;
  const { gas, charged, floor } = want;
  if (!want.trap && gas !== charged) return `the oracle's own counts differ: ${gas} by instruction, ${charged} by block`;
  if (want.trap === 'out of bounds memory access' && !isTier(level)) {
    return got.gas < floor || (level === '0' && got.gas > charged) ? `gas ${got.gas} at a fault, it must be ${floor} to ${charged}` : null;
  }
  return got.gas === charged ? null : `gas ${got.gas}, it must be ${charged} (${got.gas - charged})${want.trap ? ` at ${want.trap}` : ''}`;
}

// How deep a stack goes is each engine's own affair; what it left behind differs from then on.
const isExhausted = (row) => row?.outcome === 'call stack exhausted';

function compareRuns(want, got, level, names, report) {
  let compared = 0;
  for (let i = 0; i < want.length; i++) {
    if (isExhausted(want[i]) || isExhausted(got[i])) break;
    const problem = compareRow(want[i], got[i], level);
    if (problem) {
      report(`${want[i].name}${names[want[i].name] ? ` (${names[want[i].name]})` : ''}: ${problem}`);
      return compared; // what follows may follow from it
    }
    compared++;
  }
  return compared;
}

const keepIn = path.join(process.env.TMPDIR ?? '/tmp', 'gasworks-oracle');

class Tally {
  constructor(o) {
    this.o = o;
    this.modules = this.compared = this.skipped = 0;
    this.failed = new Set();
    this.problems = 0;
  }

  fail(file, where, problem) {
    if (!this.failed.has(file)) {
      fs.mkdirSync(keepIn, { recursive: true });
      for (const end of ['', '.wat', '.counted.wat']) if (fs.existsSync(file + end)) fs.copyFileSync(file + end, path.join(keepIn, path.basename(file) + end));
      this.failed.add(file);
    }
    if (++this.problems <= 30) console.log(`FAIL ${path.basename(file)} ${where} ${problem}`);
  }

  expect(m) {
    if (!WebAssembly.validate(fs.readFileSync(m.file))) return null;
    const { bytes, instanceGas } = instrumented(m.file);
    return m.command ? v8.runCommand(bytes, schedule, { ...m.command, instanceGas }) : v8.run(bytes, schedule);
  }

  batch(list) {
    const known = [];
    for (const m of list) {
      let rows;
      try {
        rows = this.expect(m);
      } catch (error) {
        this.fail(m.file, '', error.message);
        continue;
      }
      if (rows) known.push({ ...m, rows });
      else this.skipped++; // Binaryen's references follow an older draft
      if (this.o.print && rows) for (const r of rows) console.log(`${m.names[r.name] ?? r.name} ${r.outcome} ${r.charged ?? ''}`);
    }
    this.modules += known.length;
    if (!known.length) return;
    for (const level of this.o.levels) {
      if (level === 'mixed' && known[0].command) continue;
      for (const m of known.filter((k) => k.command))
        this.compared += compareRuns(m.rows, commandRuns(this.o, level, m), level, m.names, (problem) => this.fail(m.file, `-O${level}`, problem));
      if (known[0].command) continue;
      const runs = engineRuns(this.o, level, known.map((m) => m.file));
      for (const m of known) for (const slice of this.o.slices) {
        const got = runs[`${m.file} ${slice}`] ?? [];
        this.compared += compareRuns(m.rows, got, level, m.names, (problem) => this.fail(m.file, `-O${level} slice ${slice}`, problem));
      }
    }
  }
}

function main() {
  const o = parseArguments(process.argv.slice(2));
  const work = fs.mkdtempSync(path.join(os.tmpdir(), 'gas-oracle-'));
  const tally = new Tally(o), start = Date.now();
  let batch = [];
  try {
    const flush = () => {
      tally.batch(batch);
      for (const { file } of batch) for (const end of ['', '.wat', '.counted', '.counted.wat', '.out']) fs.rmSync(file + end, { force: true });
      batch = [];
    };
    for (const m of kinds[o.kind](o, work)) {
      if (batch.push(m) === 10) flush();
      if ((Date.now() - start) / 1000 > o.seconds) break;
    }
    flush();
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
  console.log(`${o.kind}: ${tally.modules} modules, ${tally.compared} results compared, ${tally.failed.size} modules differ, ${tally.skipped} skipped`);
  process.exit(tally.failed.size || !tally.compared ? 1 : 0);
}

main();
