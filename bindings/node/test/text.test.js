'use strict';
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const { Engine } = require('gasworks');
const { build, functions } = require('./build.js');

const engine = new Engine();
const env = {
  fetch: async (url) => { await new Promise((done) => setTimeout(done, 5)); return `<${url}>`; },
  digest: (bytes, rounds) => Buffer.from([bytes.length, rounds]),
  note: (line) => notes.push(line),
  half: (x) => x / 2,
};
const notes = [];
let module_;
let f;

before(async () => {
  module_ = await engine.compile(build('rust', functions('text.rs')));
  f = (await module_.instantiate({ env })).exports;
});

test('strings go in and out of Rust', async () => {
  assert.equal(await f.upper('grüße'), 'GRÜSSE');
  assert.equal(await f.upper(''), '');
  assert.equal(await f.count('añ😀'), 3);
  assert.equal(await f.join('a', -7, new Uint8Array([1, 2]), 'ß'), 'a|-7|[1, 2]|ß');
  assert.equal(await f.count('\ud800'), 1); // half a character becomes one that says so
});

test('bytes of every kind of view', async () => {
  assert.deepEqual(await f.reverse(Buffer.from('abc')), Buffer.from('cba'));
  assert.deepEqual(await f.reverse(new Uint8Array([1, 2, 3, 4]).subarray(1, 3)), Buffer.from([3, 2]));
  assert.deepEqual(await f.reverse(new Uint16Array([0x0102])), Buffer.from([1, 2]));
  assert.deepEqual(await f.reverse(new DataView(new ArrayBuffer(3), 1)), Buffer.from([0, 0]));
  assert.deepEqual(await f.reverse(new ArrayBuffer(2)), Buffer.from([0, 0]));
  assert.deepEqual(await f.reverse(new Uint8Array()), Buffer.alloc(0));
});

test('ten megabytes', async () => {
  const bytes = Buffer.alloc(10 << 20, 'xyz');
  const back = await f.reverse(bytes);
  assert.equal(back.length, bytes.length);
  assert.ok(back.reverse().equals(bytes));
  assert.equal((await f.repeat('ab', 5 << 20)).length, 10 << 20);
});

test('what is sent is what it was when the call was made', async () => {
  const bytes = Buffer.alloc(8 << 20, 1);
  const promise = f.reverse(bytes);
  bytes.fill(2);
  assert.equal((await promise).indexOf(2), -1);
});

test('numbers of every type', async () => {
  assert.equal(await f.is_even(2n ** 64n - 2n), true);
  assert.equal(await f.is_even(3n), false);
  assert.equal(await f.scale(1.5, 2), 3);
  assert.equal(await f.negate(5n), -5n);
  assert.equal(await f.nothing(), undefined);
});

test('JSON', async () => {
  assert.deepEqual(await f.wrap({ a: [1, null, 'ü'] }), { wrapped: { a: [1, null, 'ü'] } });
  assert.throws(() => f.wrap(undefined), /no JSON/);
});

test('errors of a function are exceptions with its text', async () => {
  assert.equal(await f.parse('21'), '42');
  await assert.rejects(f.parse('x'), { name: 'GasworksError', code: 'ERR_GASWORKS_FUNCTION', message: 'invalid digit found in string' });
  assert.equal(await f.check(1), undefined);
  await assert.rejects(f.check(-3), { message: '-3 is not positive' });
});

test('a panic is a trap', async () => {
  const instance = await module_.instantiate({ env });
  await assert.rejects(instance.exports.fail(), { code: 'ERR_GASWORKS_TRAP', trap: 'unreachable' });
});

test('wrong arguments are refused, with the reason', async () => {
  assert.throws(() => f.upper(1), { name: 'TypeError', message: 'the value is not a string' });
  assert.throws(() => f.upper(), /upper takes 1 arguments, 0 are given/);
  assert.throws(() => f.reverse('text'), /not a typed array/);
  assert.throws(() => f.negate(1), /not a BigInt/);
  assert.throws(() => f.scale('1', 2), /not a number/);
});

test('host functions take and give strings and bytes, at once or later', async () => {
  assert.equal(await f.page('here'), '<here> [6, 2] 1.5');
  assert.deepEqual(notes, ['here']);
});

test('synchronously', async () => {
  const instance = await module_.instantiate({ env }, { gasLimit: 1e8 });
  assert.equal(instance.callSync('upper', ['sync']), 'SYNC');
  assert.ok(instance.gasUsed > 100);
  assert.throws(() => instance.callSync('parse', ['x']), { code: 'ERR_GASWORKS_FUNCTION' });
});

test('a thousand calls leave the memory as it is', async () => {
  const instance = await module_.instantiate({ env });
  const text = 'x'.repeat(10000);
  for (let i = 0; i < 10; i++) await instance.exports.upper(text);
  const { size } = instance.memory;
  for (let i = 0; i < 1000; i++) await instance.exports.upper(text);
  assert.equal(instance.memory.size, size);
});

test('C: the same interface', async () => {
  const c = await (await engine.compile(build('c', functions('text.c')))).instantiate({ env: { shout: (text) => `${text}!` } });
  assert.equal(await c.exports.upper('abc'), 'ABC');
  assert.equal(await c.exports.sum(new Uint8Array([1, 2, 250])), 253);
  assert.equal(await c.exports.loud('hey'), 'hey!');
  await assert.rejects(c.exports.reject('no'), { code: 'ERR_GASWORKS_FUNCTION', message: 'not no' });
});

test('AssemblyScript: signatures come from who compiles', async () => {
  const as = await engine.compile(build('asc', functions('text.ts')), { signatures: { upper: '(str) -> str', sum: '(bytes) -> u32' } });
  const instance = await as.instantiate({ env: { abort: () => { throw new Error('abort'); } } });
  assert.equal(await instance.exports.upper('grün'), 'GRÜN');
  assert.equal(await instance.exports.sum(Buffer.from([5, 6])), 11);
});

test('signatures that are wrong are refused', async () => {
  const bytes = build('wat', '(module (func (export "f") (param i32) (result i32) (local.get 0)))');
  await assert.rejects(engine.compile(bytes, { signatures: { f: '(str) -> str' } }), /f has the type i -> i/);
  await assert.rejects(engine.compile(bytes, { signatures: { g: '()' } }), /no function g/);
  await assert.rejects(engine.compile(bytes, { signatures: { f: '(text)' } }), /"text" in the signature/);
  await assert.rejects(engine.compile(bytes, { signatures: { f: 'i32' } }), /no signature/);
});

test('a guest whose addresses are wrong gets an error', async () => {
  const source = (alloc, result) => `(module (memory (export "memory") 1)
    (func (export "gasworks_alloc") (param i32) (result i32) (i32.const ${alloc})) (func (export "gasworks_free") (param i32 i32))
    (func (export "f") (param i32 i32) (result i64) (i64.const ${result})))`;
  const call = async (alloc, result) => (await (await engine.compile(build('wat', source(alloc, result)), { signatures: { f: '(str) -> str' } }))
    .instantiate()).exports.f('text');
  assert.equal(await call(0, 0x0000000400000000n), 'text');
  await assert.rejects(call(65534, 0), /gasworks_alloc gave an address outside/);
  await assert.rejects(call(0, 0x000100000000ffffn), /bytes outside of the memory/);
  await assert.rejects(call(0, 0xffffffffffffffffn), /bytes outside of the memory/);
});
