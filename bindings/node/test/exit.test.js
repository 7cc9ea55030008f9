'use strict';
// How programs end: each is a process of its own.
const { test } = require('node:test');
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { build, environment, functions, out } = require('./build.js');

const wasm = path.join(out, 'exit.wasm');
fs.writeFileSync(wasm, build('wat', `(module (import "env" "wait" (func $wait)) (func (export "loop") (loop (br 0)))
  (func (export "one") (result i32) (i32.const 1)) (func (export "wait") (call $wait)))`));

// Runs a program that has an `instance`; its output.
function program(text) {
  const script = `const { Engine } = require('gasworks'); const { Worker, isMainThread, parentPort } = require('worker_threads');
    const fs = require('fs');
    (async () => {
      const module_ = await new Engine().compile(fs.readFileSync(${JSON.stringify(wasm)}));
      const instance = await module_.instantiate({ env: { wait: () => new Promise(() => {}) } });
      ${text}
    })();`;
  const file = path.join(out, `program-${Math.random().toString(36).slice(2)}.js`);
  fs.writeFileSync(file, script);
  const result = spawnSync(process.execPath, [...process.execArgv.filter((a) => !a.startsWith('--test')), file],
    { encoding: 'utf8', timeout: 60000, env: environment });
  return { status: result.status, signal: result.signal, stdout: result.stdout, stderr: result.stderr };
}

const ended = (status, stdout) => ({ status, signal: null, stdout, stderr: '' });

test('a program ends by itself when its calls have', () => {
  assert.deepEqual(program('console.log(await instance.exports.one());'), ended(0, '1\n'));
});

test('a call under way keeps it alive', () => {
  assert.deepEqual(program(`instance.call('loop', [], { gasLimit: 1e8 }).catch((error) => console.log(error.trap));`), ended(0, 'out of gas\n'));
});

test('a call that waits for a promise nobody settles does not', () => {
  assert.deepEqual(program(`instance.exports.wait(); console.log('end');`), ended(0, 'end\n'));
});

test('process.exit with calls in flight', () => {
  assert.deepEqual(program(`
    for (let i = 0; i < 20; i++) (await module_.instantiate({ env: { wait: () => new Promise(() => {}) } })).exports[i % 2 ? 'loop' : 'wait']();
    setTimeout(() => process.exit(3), 50);`), ended(3, ''));
});

const large = path.join(out, 'large.wasm');
fs.writeFileSync(large, build('c', functions('text.c')));

test('while a large module is compiled: process.exit, and the end of a worker', () => {
  assert.deepEqual(program(`
    new Engine().compile(fs.readFileSync(${JSON.stringify(large)}));
    setTimeout(() => process.exit(5), 20);`), ended(5, ''));
  assert.deepEqual(program(`
    const text = 'const { Engine } = require("gasworks"); new Engine().compile(require("fs").readFileSync(' + ${JSON.stringify(JSON.stringify(large))} + '))';
    const worker = new Worker(text, { eval: true });
    setTimeout(() => worker.terminate().then(() => console.log('ended')), 100);`), ended(0, 'ended\n'));
});

test('process.exit in a host function', () => {
  for (const how of ['instance', 'later', 'worker'])
    assert.equal(program(`
      const own = await module_.instantiate({ env: { wait: () => { if ('${how}' === 'later') return new Promise(() => setTimeout(() => process.exit(6), 5)); process.exit(6); } } });
      if ('${how}' === 'worker') for (let i = 0; i < 100; i++) own.exports.loop();
      own.exports.wait();
      if ('${how}' === 'worker') process.exit(6);`).status, 6);
});

test('process.exit while modules are compiled and instances made', () => {
  assert.deepEqual(program(`
    for (let i = 0; i < 8; i++) { module_.instantiate({ env: { wait() {} } }); new Engine().compile(fs.readFileSync(${JSON.stringify(wasm)})); }
    process.exit(4);`), ended(4, ''));
});

test('an exception that nobody catches', () => {
  const result = program(`instance.exports.loop(); setTimeout(() => { throw new Error('mine'); }, 20);`);
  assert.equal(result.status, 1);
  assert.match(result.stderr, /Error: mine/);
});

test('worker_threads: engines of their own, ended by themselves and by terminate()', () => {
  assert.deepEqual(program(`
    const text = 'const { Engine } = require("gasworks"); const { parentPort, workerData } = require("worker_threads");' +
      '(async () => { const m = await new Engine({ workers: 1 }).compile(workerData);' +
      'const i = await m.instantiate({ env: { wait: () => new Promise(() => {}) } });' +
      'parentPort.postMessage(await i.exports.one()); if (%) { i.exports.loop(); (await m.instantiate({ env: { wait() {} } })).exports.loop(); } })()';
    const bytes = fs.readFileSync(${JSON.stringify(wasm)});
    let sum = 0;
    await Promise.all([0, 1, 0, 1, 0, 1].map((isEndless) => new Promise((done) => {
      const worker = new Worker(text.replace('%', isEndless), { eval: true, workerData: bytes });
      worker.on('message', (value) => { sum += value; if (isEndless) setTimeout(() => worker.terminate(), 20); });
      worker.on('error', (error) => { console.log(error); done(); });
      worker.on('exit', done);
    })));
    console.log(sum, await instance.exports.one());`), ended(0, '6 1\n'));
});

test('instances that are forgotten are collected', () => {
  assert.deepEqual(program(`
    for (let i = 0; i < 300; i++) {
      const own = await module_.instantiate({ env: { wait() {} } });
      await own.exports.one();
      if (i % 50 === 0) { global.gc?.(); await new Promise(setImmediate); }
    }
    console.log('end');`), ended(0, 'end\n'));
});
