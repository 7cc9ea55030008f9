'use strict';
// Hostile modules, and host functions and callers that do what nobody expects.
const test = require('node:test');
const assert = require('node:assert');
const v8 = require('node:v8');
const vm = require('node:vm');
const fs = require('node:fs');
const { Engine } = require('gasworks');
const { build } = require('./build.js');

v8.setFlagsFromString('--expose-gc');
const gc = vm.runInNewContext('gc');
const engine = new Engine();
const turn = () => new Promise((done) => setImmediate(done));
const repeat = (n, text) => Array(n).fill(text).join(' ');

async function collect() {
  for (let i = 0; i < 10; i++) {
    gc();
    await turn();
  }
}

function leb(n) {
  const bytes = [];
  do bytes.push((n & 127) | (n > 127 ? 128 : 0)); while ((n = Math.floor(n / 128)));
  return Buffer.from(bytes);
}

// The module with a custom section gasworks.abi.
function signed(wasm, text) {
  const name = Buffer.from('gasworks.abi'), body = Buffer.concat([leb(name.length), name, Buffer.from(text)]);
  return Buffer.concat([wasm, Buffer.from([0]), leb(body.length), body]);
}

const asks = build('wat', '(module (import "h" "f" (func $f (result i32))) (func (export "g") (result i32) (call $f)))');

async function withHost(f) { return (await engine.compile(asks)).instantiate({ h: { f } }); }

// Their results would be written behind the room for a call's values.
test('exports that have the name of an allocator, and another type', async () => {
  const wide = `(result ${repeat(900, 'i64')}) ${repeat(900, '(i64.const -1)')}`;
  const text = (alloc, free) => `(module (memory (export "memory") 1) (func (export "gasworks_alloc") ${alloc})
    (func (export "gasworks_free") ${free}) (func (export "g") (param i32 i32)) (func (export "_initialize") ${wide}))`;
  for (const [alloc, free] of [[`(param i32) ${wide}`, '(param i32 i32)'], ['(param i64) (result i64) local.get 0', '(param i32 i32)']]) {
    const module = await engine.compile(signed(build('wat', text(alloc, free)), 'g(str)'));
    await assert.rejects((await module.instantiate()).call('g', ['text']), { code: 'ERR_GASWORKS_NOT_FOUND' });
  }
});

test('an export whose name goes on behind a NUL is another export', async () => {
  const module = await engine.compile(build('wat', `(module (func (export "g") (result ${repeat(900, 'i64')}) ${repeat(900, '(i64.const -1)')})
    (func (export "g\\00x") (result i32) i32.const 3))`));
  assert.strictEqual(await (await module.instantiate()).call('g\0x'), 3);
});

test('gasworks_abi.take with too many parameters', async () => {
  const module = await engine.compile(build('wat', `(module (import "gasworks_abi" "take" (func (param ${repeat(400, 'i32')}))))`));
  await assert.rejects(module.instantiate(), { code: 'ERR_GASWORKS_TYPE' });
});

test('sections gasworks.abi that say nothing sensible are refused at once, in few words', async () => {
  const wasm = build('wat', '(module (func (export "g") (param i32)))');
  const texts = [`g(i32)->${' '.repeat(100000)}?`, `g(${'('.repeat(1e6)}`, `g(${'i32,'.repeat(1e6)})`, 'g(constructor)', 'g()->toString',
    'x'.repeat(1e7), 'g(i32)->str str', 'g(i32) i32', `g(${'\ufffd'.repeat(1e6)})`];
  for (const text of texts)
    await assert.rejects(engine.compile(signed(wasm, text)), (error) => error.code === 'ERR_GASWORKS_TYPE' && error.message.length < 400, text.slice(0, 40));
  await assert.rejects(engine.compile(signed(wasm, Buffer.from([0x67, 0x28, 0xff, 0x29]))), { code: 'ERR_GASWORKS_TYPE' });
  await engine.compile(signed(wasm, '\ng ( i32 , )  \n'));
});

test('a signature of an import that does not fit its type', async () => {
  const wasm = build('wat', '(module (import "h" "f" (func (param i32))))');
  const module = await engine.compile(signed(wasm, 'import h.f(str,str)->str'));
  await assert.rejects(module.instantiate({ h: { f() {} } }), { code: 'ERR_GASWORKS_TYPE' });
});

test('modules import what the host gives, not what every object has', async () => {
  for (const [module, name] of [['constructor', 'assign'], ['__proto__', 'toString'], ['h', 'hasOwnProperty'], ['k', 'call']]) {
    const compiled = await engine.compile(build('wat', `(module (import "${module}" "${name}" (func)))`));
    await assert.rejects(compiled.instantiate({ h: {}, k() {} }), { code: 'ERR_GASWORKS_LINK' }, `${module}.${name}`);
  }
  class Host { f() { return 7; } }
  assert.strictEqual(await (await (await engine.compile(asks)).instantiate({ h: new Host() })).call('g'), 7);
});

test('host functions throw anything', async () => {
  for (const thrown of [Symbol('s'), undefined, null, 5n, 'text', Object.freeze({})])
    for (const f of [() => { throw thrown; }, () => Promise.reject(thrown)]) {
      const instance = await withHost(f);
      await assert.rejects(instance.call('g'), () => true, String(thrown));
      assert.throws(() => instance.callSync('g', [], { gasLimit: 1e6 }), () => true);
    }
});

test('a call that its host function aborts ends, whatever the function promises', { timeout: 20000 }, async () => {
  const controller = new AbortController();
  const instance = await withHost(() => { controller.abort(new Error('mine')); return new Promise(() => {}); });
  await assert.rejects(instance.call('g', [], { signal: controller.signal }), /mine/);
  const closed = await withHost(() => { closed.close(); return new Promise(() => {}); });
  await assert.rejects(closed.call('g'), { trap: 'cancelled' });
});

test('a call whose answer nobody can give any more ends', { timeout: 20000 }, async () => {
  const call = assert.rejects((await withHost(() => new Promise(() => {}))).call('g'), { trap: 'host function failed', message: /never be settled/ });
  const alive = setInterval(gc, 5);
  await call;
  clearInterval(alive);
});

// As `await` does, which asks for neither.
test('a promise with a `then` of its own', async () => {
  const withThen = (then) => Object.assign(Promise.resolve(4), { then });
  const instance = await withHost(() => withThen((done) => done(8)));
  assert.strictEqual(await instance.call('g'), 4);
  assert.throws(() => instance.callSync('g', [], { gasLimit: 1e6 }), { code: 'ERR_GASWORKS_USAGE' });
  await turn();
  assert.strictEqual(await instance.call('g'), 4);
  assert.strictEqual(await (await withHost(() => withThen(() => { throw new Error('no'); }))).call('g'), 4);
});

test('results of several values that are no array', async () => {
  const module = await engine.compile(build('wat', `(module (import "h" "f" (func $f (result i32 i32)))
    (func (export "g") (result i32) (call $f) i32.add))`));
  for (const value of [3, undefined, null, 'ab', { 0: 1, 1: 2 }])
    await assert.rejects((await module.instantiate({ h: { f: () => value } })).call('g'), { code: 'ERR_GASWORKS_TYPE', message: /array of 2/ });
});

test('instances that their own host functions lead to are collected', async () => {
  const wasm = build('wat', `(module (import "env" "log" (func $l (param i32 i32))) (memory (export "memory") 1)
    (func (export "g") (call $l (i32.const 0) (i32.const 3))))`);
  const module = await engine.compile(signed(wasm, 'import env.log(str)'));
  const mappings = () => fs.readFileSync('/proc/self/maps', 'latin1').split('\n').length;
  async function use(n) {
    for (let i = 0; i < n; i++) {
      const instance = await module.instantiate({ env: { log() { return instance; } } });
      await instance.call('g');
    }
    await collect();
  }
  await use(10);
  const before = mappings();
  await use(300);
  assert.ok(mappings() < before + 150, `${before} mappings, then ${mappings()}`);
});

test('a pool whose instances cannot be made tells every call', { timeout: 20000 }, async () => {
  const pool = (await engine.compile(asks)).pool({}, { max: 1 });
  for (const call of [pool.call('g'), pool.call('g'), pool.call('g')]) await assert.rejects(call, { code: 'ERR_GASWORKS_LINK' });
});

test('a signal outlives many calls of a pool', async () => {
  const pool = (await engine.compile(asks)).pool({ h: { f: () => 5 } }, { max: 1 }), { signal } = new AbortController();
  let n = 0;
  const { addEventListener, removeEventListener } = EventTarget.prototype;
  signal.addEventListener = (...args) => { n++; return addEventListener.apply(signal, args); };
  signal.removeEventListener = (...args) => { n--; return removeEventListener.apply(signal, args); };
  await Promise.all(Array.from({ length: 20 }, () => pool.call('g', [], { signal })));
  assert.strictEqual(n, 0);
});

test('offsets and sizes of memory do not wrap around', async () => {
  const module = await engine.compile(build('wat', '(module (memory (export "memory") 1) (data (i32.const 0) "abcd") (func (export "g")))'));
  const { memory } = await module.instantiate();
  assert.strictEqual(memory.text(0, 4), 'abcd');
  assert.strictEqual(memory.text(0n, 4), 'abcd');
  for (const [offset, size] of [[2 ** 32, 4], [0, 2 ** 32], [-1, 1], [65536, 1], [-(2 ** 31), 1]])
    assert.throws(() => memory.read(offset, size), { code: 'ERR_GASWORKS_MEMORY' }, `${offset} ${size}`);
  for (const offset of [NaN, 1.5, '1', {}, 2 ** 53, -(2 ** 32)]) assert.throws(() => memory.read(offset, 1), { code: 'ERR_GASWORKS_TYPE' });
  assert.throws(() => memory.write(2 ** 32, Buffer.from('x')), { code: 'ERR_GASWORKS_MEMORY' });
});

test('options of wrong types are refused', async () => {
  for (const options of [{ cache: 5 }, { cache: '/tmp/a\0b' }, { compiler: {} }]) assert.throws(() => new Engine(options), { code: 'ERR_GASWORKS_TYPE' });
  let n = 0;
  const instance = await withHost(() => ++n);
  for (const signal of [{}, 5]) assert.throws(() => instance.call('g', [], { signal }), { code: 'ERR_GASWORKS_TYPE' });
  assert.strictEqual(n, 0);
});
