'use strict';
// Random modules by Binaryen's generator, made self-contained (closed_module.js). A seed always gives the same one.
const fs = require('fs');
const path = require('path');
const crypto = require('crypto');
const { closeModule } = require('./closed_module.js');

// Which features a module may use: by its seed, in turn. `pass` runs on what was generated.
const base = ['sign-ext', 'mutable-globals', 'nontrapping-float-to-int', 'bulk-memory', 'multivalue', 'extended-const'];
const references = [...base, 'reference-types', 'tail-call'];
const profiles = [
  {features : base},
  {features : [...base, 'simd' ]},
  {features : references},
  {features : [...references, 'simd', 'exception-handling' ], pass : '--translate-to-exnref'},
  {features : [...references, 'memory64', 'multimemory' ]},
  {features : [...references, 'simd', 'exception-handling', 'memory64', 'multimemory' ], pass : '--translate-to-exnref'},
  // Modules with both forms of exception handling are refused by V8: only the levels are compared then.
  {features : [...references, 'exception-handling' ]},
  // V8 does what the CPU does, or lacks the feature: only the levels are compared.
  {features : [...references, 'simd', 'relaxed-simd', 'custom-page-sizes', 'wide-arithmetic' ], isAlone : true},
  {features : base, isAlone : true, hasNanBits : true},
  {features : [...references, 'simd', 'relaxed-simd', 'exception-handling' ], isAlone : true, hasNanBits : true},
];
const nanProfiles = profiles.map((p) => ({...p, isAlone : true, hasNanBits : true}));

// --- generating: wasm-opt many times in this process, compiled once

// Tools of Binaryen print modules that they refuse past `print`, straight to the descriptor.
const quietFs = Object.create(fs, {
  writeSync: { value: (fd, data, ...rest) => (fd === 1 || fd === 2 ? rest[1] ?? data.length : fs.writeSync(fd, data, ...rest)) },
});
const quietRequire = (name) => (name === 'fs' || name === 'node:fs' ? quietFs : require(name));

function loadGenerator(script) {
  const source = fs.readFileSync(script, 'utf8').replace(/^#!.*\n/, '');
  const names = ['Module', 'WebAssembly', 'require', 'module', 'exports', '__filename', '__dirname'];
  const start = new Function(...names, source);
  let compiled;
  const instantiate = async (bytes, imports) => {
    compiled ??= new WebAssembly.Module(bytes);
    return { instance: new WebAssembly.Instance(compiled, imports) };
  };
  const api = Object.create(WebAssembly, { instantiate: { value: instantiate } });
  const fromCompiled = (imports, done) => done(new WebAssembly.Instance(compiled, imports));
  // Resolves to whether it succeeded; the script reports its status as this process's.
  return (args) => new Promise((resolve) => {
    process.exitCode = 0;
    const options = { arguments: args, print() {}, printErr() {} };
    options.postRun = () => {
      resolve(!process.exitCode);
      process.exitCode = 0;
    };
    if (compiled) options.instantiateWasm = fromCompiled;
    start(options, api, quietRequire, {}, {}, script, path.dirname(script));
  });
}

function randomBytes(seed, size) {
  const cipher = crypto.createCipheriv('aes-128-ctr', String(seed).padStart(16, '0'), Buffer.alloc(16));
  return cipher.update(Buffer.alloc(size));
}

async function makeModule(generate, directory, seed, hasNanBits) {
  const profile = (hasNanBits ? nanProfiles : profiles)[seed % profiles.length];
  const [input, output] = ['input', `${seed}.wasm`].map((name) => path.join(directory, name));
  fs.writeFileSync(input, randomBytes(seed, 100 + ((seed * 37) % 11) * 110));
  const features = ['--mvp-features', ...profile.features.map((f) => `--enable-${f}`)];
  const more = [...(profile.hasNanBits ? [] : [ '--denan' ]), ...(profile.pass ? [ profile.pass ] : []) ];
  if (!(await generate([ input, '-ttf', ...features, ...more, '-o', output ]))) return null;
  const { bytes, probes } = closeModule(fs.readFileSync(output), {seed, ...profile});
  fs.writeFileSync(output, bytes);
  return { seed, profile, path: output, bytes, probes };
}

module.exports = { loadGenerator, makeModule };
