'use strict';
// Random C programs: csmith's, compiled by clang at any level, with and without vectors, some put through wasm-opt. They are
// modules as closed_module.js makes them: no imports, one function "%run" that returns a digest, a memory "%m0".
const fs = require('fs');
const path = require('path');
const { spawnSync } = require('child_process');

const headers = '/usr/include/csmith';
const levels = ['-O0', '-O1', '-O2', '-O3', '-Os'];
const features = [[], ['-msimd128'], ['-msimd128', '-mrelaxed-simd', '-mtail-call'], ['-mno-bulk-memory', '-mno-sign-ext']];
const shapes = [[], ['--no-pointers'], ['--max-array-len-per-dim', '32', '--max-array-dim', '1'], ['--no-volatiles', '--no-jumps'], ['--inline-function']];
const optimizers = [null, null, ['-O3'], ['--flatten', '--rereloop', '-Os'], ['--inlining-optimizing', '--licm', '--merge-locals']];

const hasCsmith = () => fs.existsSync(path.join(headers, 'safe_math.h')) && spawnSync('csmith', ['--version']).status === 0;

// The module, or null where a tool did not make it in time. `generate` is wasm-opt.
async function makeProgram(generate, directory, seed) {
  const any = (list, n) => list[Math.floor(seed / n) % list.length];
  const [source, output] = [`${seed}.c`, `${seed}.wasm`].map((name) => path.join(directory, name));
  const feature = any(features, levels.length);
  const made = spawnSync('csmith', ['--seed', seed, '-o', source, ...any(shapes, 3)], { cwd: directory, timeout: 10000 });
  if (made.status !== 0) return null;
  const flags = ['--target=wasm32-wasi', '--sysroot=/usr', '-Wno-deprecated', '-w', '--no-wasm-opt', '-nostartfiles', '-Wl,--no-entry,--export-memory=%m0'];
  const includes = ['-I', path.join(__dirname, 'guest/csmith'), '-isystem', headers];
  const built = spawnSync('clang-22', [...flags, ...feature, any(levels, 1), ...includes, source, '-o', output], { timeout: 60000 });
  fs.rmSync(source);
  if (built.status !== 0) throw new Error(`clang: ${built.stderr}`);
  const passes = any(optimizers, 7);
  if (passes && !(await generate([output, '--all-features', ...passes, '-o', output]))) return null;
  const profile = { isAlone: feature.includes('-mrelaxed-simd') };
  return { seed, profile, path: output, bytes: fs.readFileSync(output) };
}

module.exports = { hasCsmith, makeProgram };
