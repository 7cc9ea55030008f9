'use strict';
// What the benches share: building the programs, running them, and the statistics.
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const root = path.dirname(__dirname);
const sources = path.join(__dirname, 'programs');
const build = path.join(root, 'build', 'bench');
const interpShare = 300; // wasm-interp does one of so many rounds

process.env.GASWORKS_CACHE = 'off'; // compiling is part of what is measured

function die(message) {
  process.stderr.write(`bench: ${message}\n`);
  process.exit(1);
}

// --- building -------------------------------------------------------------------------------------------------------

// What the command prints; `both`: standard output and standard error.
function run(command, args, what, both) {
  const result = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 24 });
  if (result.error) die(`${what}: ${result.error.message}`);
  if (result.status !== 0) die(`${what}: ${result.stderr.trim() || `status ${result.status}`}`);
  return both ? [result.stdout, result.stderr] : result.stdout;
}

function newest(files) { return Math.max(...files.map((f) => fs.statSync(f).mtimeMs)); }

function compile(target, inputs, flags) {
  const all = [...inputs, path.join(sources, 'bench.h'), __filename];
  if (fs.existsSync(target) && fs.statSync(target).mtimeMs > newest(all)) return target;
  run('clang-22', ['-O3', ...flags, '-o', target, ...inputs], `compiling ${path.basename(target)}`);
  return target;
}

function prepare(name) {
  const source = path.join(sources, `${name}.c`);
  if (!fs.existsSync(source)) die(`no program ${name} in bench/programs`);
  const rounds = Number(/bench_rounds = (\d+)/.exec(fs.readFileSync(source, 'utf8'))[1]);
  const wasmFlags = ['--target=wasm32-wasi', '-Wno-deprecated', '--sysroot=/usr'];
  const main = [source, path.join(sources, 'main.c')];
  const p = { name, rounds, interpRounds: Math.ceil(rounds / interpShare), times: {}, checksums: {} };
  p.native = compile(path.join(build, name), main, ['-lm']);
  p.wasm = compile(path.join(build, `${name}.wasm`), main, wasmFlags);
  const reactor = (n) => compile(path.join(build, `${name}-${n}.wasm`), [source, path.join(sources, 'reactor.c')],
    [...wasmFlags, `-DREACTOR_ROUNDS=${n}`, '-nostartfiles', '-Wl,--no-entry']);
  p.reactor = reactor(p.interpRounds);
  p.reactorEmpty = reactor(0);
  return p;
}

// Every engine's results must be the same.
function checkSum(p, key, sum) {
  p.checksums[key] ??= sum;
  if (p.checksums[key] !== sum) die(`${p.name}: checksum ${sum}, others got ${p.checksums[key]}`);
}

// --- statistics -----------------------------------------------------------------------------------------------------

const median = (list) => {
  const sorted = [...list].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};
const geomean = (list) => Math.exp(list.reduce((sum, x) => sum + Math.log(x), 0) / list.length);

// --- programs -------------------------------------------------------------------------------------------------------

// Those of these names, or all, built.
function preparePrograms(names) {
  const aside = ['main', 'reactor'];
  const all = fs.readdirSync(sources).filter((f) => f.endsWith('.c')).map((f) => f.slice(0, -2)).filter((n) => !aside.includes(n));
  fs.mkdirSync(build, { recursive: true });
  return (names.length ? names : all).map(prepare);
}

// Calls measure(program) in `rounds` rounds over all programs, so that a slow moment of the machine hits all alike.
function interleave(programs, rounds, measure) {
  for (let round = 1; round <= rounds; round++) {
    for (const p of programs) {
      if (process.stderr.isTTY) process.stderr.write(`\r\x1b[Kround ${round} of ${rounds}: ${p.name}`);
      measure(p);
    }
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
}

module.exports = { root, die, run, checkSum, median, geomean, preparePrograms, interleave };
