'use strict';
// Test functions, compiled here. What a compiler is missing for is skipped, with a word.
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const root = process.env.GASWORKS_SOURCE ?? path.resolve(__dirname, '../../..'); // the project, for its sdk/
const out = fs.mkdtempSync(path.join(os.tmpdir(), 'gasworks-node-'));
process.on('exit', () => fs.rmSync(out, { recursive: true, force: true }));

function run(program, args, cwd) {
  const result = spawnSync(program, args, { encoding: 'utf8', cwd, env: { ...process.env, LD_PRELOAD: '' } }); // a sanitizer's runtime
  if (result.status !== 0) throw new Error(`${program} ${args.join(' ')}: ${result.error ?? result.stderr}`);
}

const rust = (flags) => (source, target) => run(process.env.RUSTC ?? '/usr/bin/rustc',
  [...flags, '-C', 'opt-level=3', '-C', 'panic=abort', '-C', 'strip=debuginfo', source, '-o', target]);

const compilers = {
  rust: rust(['--target', 'wasm32-unknown-unknown', '--crate-type', 'cdylib']),
  wasi: rust(['--target', 'wasm32-wasi']),
  c: (source, target) => run(process.env.CLANG ?? 'clang-22', ['--target=wasm32-wasi', '--sysroot=/usr', '-Wno-deprecated', '-O3', '-Wall', '-Wextra',
    '-Werror', '--no-wasm-opt', '-Wl,--strip-debug', '-mexec-model=reactor', '-I', path.join(root, 'sdk/c'), source, '-o', target]),
  asc: (source, target) => run(path.join(root, 'build/tools/node_modules/.bin/asc'),
    [path.relative(root, source), '-o', target, '-O3', '--debug', '--exportStart', '_initialize', '--runtime', 'stub'], root),
  wat: (source, target) => run('wat2wasm', [source, '-o', target]),
};

/** Bytes of the module that `source` (a path, or text with `language` wat) is compiled to. */
function build(language, source) {
  const name = path.join(out, `${language}-${Math.random().toString(36).slice(2)}`);
  if (language === 'wat') {
    fs.writeFileSync(`${name}.wat`, source);
    source = `${name}.wat`;
  }
  compilers[language](source, `${name}.wasm`);
  return fs.readFileSync(`${name}.wasm`);
}

const functions = (name) => path.join(root, 'bindings/node/test/functions', name);

/** Environment in which a program anywhere finds the package that is tested. */
const environment = { ...process.env, NODE_TEST_CONTEXT: '',
  NODE_PATH: [path.dirname(path.dirname(require.resolve('gasworks/package.json'))), process.env.NODE_PATH].filter(Boolean).join(':') };

module.exports = { build, functions, environment, root, out };
