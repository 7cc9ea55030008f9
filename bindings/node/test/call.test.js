'use strict';
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const { Engine, GasworksError } = require('gasworks');
const { build } = require('./build.js');

const source = `(module
  (import "env" "twice" (func $twice (param i32) (result i32)))
  (import "env" "pair" (func $pair (param i64 f32) (result f64 i32)))
  (import "env" "say" (func $say))
  (memory (export "memory") 1 4)
  (global $g (mut i32) (i32.const 0))
  (data (i32.const 8) "data")
  (func $fib (export "fib") (param i32) (result i32)
    (if (result i32) (i32.lt_s (local.get 0) (i32.const 2)) (then (local.get 0))
      (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
  (func (export "loop") (loop (br 0)))
  (func (export "twice") (param i32) (result i32) (call $twice (local.get 0)))
  (func (export "pair") (param i64 f32) (result f64 i32) (call $pair (local.get 0) (local.get 1)))
  (func (export "say") (call $say))
  (func (export "say_forever") (loop (call $say) (br 0)))
  (func (export "swap") (param i64 f64) (result f64 i64) (local.get 1) (local.get 0))
  (func (export "many") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)
    (result i32) (local.get 31))
  (func (export "next") (result i32) (global.set $g (i32.add (global.get $g) (i32.const 1))) (global.get $g))
  (func (export "divide") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
  (func (export "grow") (result i32) (memory.grow (i32.const 1)))
  (func (export "vector") (param v128))
  (func (export "ref") (param externref)))`;

const env = {
  twice: (x) => x * 2,
  pair: (a, b) => [Number(a) + b, 7],
  say: () => {},
};
const engine = new Engine();
let module_, instance;

before(async () => {
  module_ = await engine.compile(build('wat', source));
  instance = await module_.instantiate({ env });
});

test('a module says what it imports and exports', () => {
  assert.deepEqual(module_.imports[0], { module: 'env', name: 'twice', kind: 'function', params: 'i', results: 'i' });
  assert.deepEqual(module_.exports[0], { name: 'memory', kind: 'memory' });
  assert.deepEqual(module_.exports.find((e) => e.name === 'swap'), { name: 'swap', kind: 'function', params: 'IF', results: 'FI' });
});

test('numbers and BigInts', async () => {
  assert.equal(await instance.exports.fib(20), 6765);
  assert.deepEqual(await instance.exports.swap(-(2n ** 63n), 0.1), [0.1, -(2n ** 63n)]);
  assert.equal(await instance.exports.many(...Array(32).keys()), 31);
  assert.throws(() => instance.exports.fib('20'), TypeError);
  assert.throws(() => instance.exports.swap(1, 2), TypeError);
  assert.throws(() => instance.exports.fib(1, 2), TypeError);
  assert.throws(() => instance.exports.vector(1), TypeError);
  assert.throws(() => instance.exports.ref({}), TypeError);
  assert.throws(() => instance.call('none'), { code: 'ERR_GASWORKS_NOT_FOUND' });
});

test('gas is exact and the same every time, however the call is made', async () => {
  const { value, gas } = await instance.run('fib', [25]);
  assert.equal(value, 75025);
  assert.ok(gas > 1e6);
  assert.equal((await instance.run('fib', [25])).gas, gas);
  assert.equal(instance.callSync('fib', [25], { gasLimit: gas }), 75025);
  assert.equal(instance.gasUsed, gas);
  await assert.rejects(instance.call('fib', [25], { gasLimit: gas - 1 }), { code: 'ERR_GASWORKS_TRAP', trap: 'out of gas', gas: gas - 1 });
  const slow = await (await new Engine({ tier: 'precise', inline: false }).compile(build('wat', source))).instantiate({ env });
  assert.equal((await slow.run('fib', [25])).gas, gas);
});

test('a limit of the instance, and of a call', async () => {
  const limited = await module_.instantiate({ env }, { gasLimit: 1000n });
  await assert.rejects(limited.exports.fib(25), { trap: 'out of gas' });
  assert.equal(await limited.call('fib', [25], { gasLimit: 1e9 }), 75025);
  await assert.rejects(limited.exports.fib(25), { trap: 'out of gas', gas: 1000 });
  assert.throws(() => limited.call('fib', [1], { gasLimit: -1 }), TypeError);
  assert.throws(() => limited.call('fib', [1], { gasLimit: 'x' }), TypeError);
  assert.throws(() => instance.callSync('fib', [1]), /gas limit/);
});

test('traps are errors with their name', async () => {
  await assert.rejects(instance.exports.divide(1, 0), (error) => {
    assert.ok(error instanceof GasworksError && error instanceof Error);
    assert.equal(error.trap, 'integer divide by zero');
    assert.match(error.message, /integer divide by zero in function divide/);
    return true;
  });
  assert.equal(await instance.exports.divide(6, 3), 2);
});

test('calls of an instance run in their order; state stays', async () => {
  const own = await module_.instantiate({ env });
  assert.deepEqual(await Promise.all([own.exports.next(), own.exports.next(), own.exports.next()]), [1, 2, 3]);
});

test('a pool gives every call a fresh instance', async () => {
  const pool = module_.pool({ env }, { max: 2 });
  assert.deepEqual(await Promise.all(Array.from({ length: 20 }, () => pool.exports.next())), Array(20).fill(1));
  assert.equal(pool.size, 2);
  await assert.rejects(pool.call('divide', [1, 0]), { trap: 'integer divide by zero' });
  assert.throws(() => pool.call('divide', ['1', 0]), TypeError);
  assert.equal(await pool.call('divide', [4, 2]), 2);
  const { gas } = await pool.run('next');
  assert.equal((await pool.run('next')).gas, gas);
  assert.ok(gas > (await instance.run('next')).gas, 'a fresh instance has its price');
  pool.close();
  await assert.rejects(pool.call('next'), { code: 'ERR_GASWORKS_CLOSED' });
});

test('host functions: results, several results, exceptions', async () => {
  assert.equal(await instance.exports.twice(21), 42);
  assert.deepEqual(await instance.exports.pair(3n, 0.5), [3.5, 7]);
  const thrown = new RangeError('mine');
  const other = await module_.instantiate({ env: { ...env, twice: () => { throw thrown; }, pair: () => 1, say: () => { throw 'text'; } } });
  await assert.rejects(other.exports.twice(1), (error) => error === thrown);
  await assert.rejects(other.exports.pair(1n, 1), TypeError);
  await assert.rejects(other.exports.say(), /text/);
  await assert.rejects((await module_.instantiate({ env: { ...env, twice: () => 'x' } })).exports.twice(1), TypeError);
  assert.throws(() => other.callSync('twice', [1], { gasLimit: 1e6 }), (error) => error === thrown);
});

test('host functions may be asynchronous', async () => {
  const later = (value) => new Promise((done) => setTimeout(done, 5, value));
  const own = await module_.instantiate({ env: { twice: async (x) => later(x * 2), pair: async () => later([1, 2]), say: () => Promise.reject(new Error('no')) } });
  const results = await Promise.all([own.exports.twice(1), own.exports.twice(2), own.exports.pair(1n, 2)]);
  assert.deepEqual(results, [2, 4, [1, 2]]);
  await assert.rejects(own.exports.say(), /^Error: no$/);
  await assert.rejects((await module_.instantiate({ env: { ...env, twice: async () => 'x' } })).exports.twice(1), TypeError);
  assert.throws(() => own.callSync('twice', [1], { gasLimit: 1e6 }), /promise/);
  assert.equal(await own.exports.twice(5), 10);
});

test('calls of a host function cost gas, so they end, too', async () => {
  await assert.rejects(instance.call('say_forever', [], { gasLimit: 5e6 }), { trap: 'out of gas', gas: 5e6 });
  assert.throws(() => instance.callSync('say_forever', [], { gasLimit: 5e6 }), { trap: 'out of gas' });
});

test('a host function may call the engine', async () => {
  const own = await module_.instantiate({ env: { ...env, twice: (x) => instance.exports.fib(x), say: () => own.callSync('next', [], { gasLimit: 1e6 }) } });
  assert.equal(await own.exports.twice(10), 55);
  await assert.rejects(own.exports.say(), /another call of the instance is under way/);
});

test('missing imports are named', async () => {
  await assert.rejects(module_.instantiate({}), { code: 'ERR_GASWORKS_LINK', message: /twice/ });
});

// AbortSignal.timeout alone keeps no process alive, and neither does a call that waits for a promise.
function abortIn(ms) {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), ms);
  return controller.signal;
}

test('AbortSignal: before, while it runs, while it waits', async () => {
  const own = await module_.instantiate({ env: { ...env, say: () => new Promise(() => {}) } });
  const reason = new Error('enough');
  await assert.rejects(own.call('fib', [1], { signal: AbortSignal.abort(reason) }), (error) => error === reason);
  await assert.rejects(own.call('loop', [], { signal: AbortSignal.timeout(20) }), { name: 'TimeoutError' });
  const first = new AbortController(), second = new AbortController();
  const running = own.call('loop', [], { signal: first.signal }), waiting = own.call('loop', [], { signal: second.signal });
  second.abort(reason);
  await assert.rejects(waiting, (error) => error === reason);
  first.abort();
  await assert.rejects(running, { name: 'AbortError' });
  await assert.rejects(own.call('say', [], { signal: abortIn(20) }), { name: 'AbortError' });
  assert.equal(await own.exports.fib(10), 55);
  const pool = module_.pool({ env }, { max: 1 });
  const held = pool.call('loop', [], { signal: AbortSignal.timeout(60) });
  await assert.rejects(pool.call('next', [], { signal: AbortSignal.timeout(10) }), { name: 'TimeoutError' });
  await assert.rejects(held, { name: 'TimeoutError' });
  assert.equal(await pool.exports.next(), 1);
});

test('an answer that comes after the call was cancelled is forgotten', async () => {
  let answer;
  const own = await module_.instantiate({ env: { ...env, twice: () => new Promise((done) => { answer = done; }) } });
  await assert.rejects(own.call('twice', [1], { signal: abortIn(10) }), { name: 'AbortError' });
  answer(2);
  await new Promise(setImmediate);
  assert.equal(await own.exports.fib(10), 55);
});

test('memory is read and written between calls', async () => {
  const own = await module_.instantiate({ env: { ...env, say: () => { seen = own.memory.text(8, 4); } } });
  let seen;
  assert.equal(own.memory.size, 65536);
  assert.equal(own.memory.text(8, 4), 'data');
  own.memory.write(8, Buffer.from('DATA'));
  await own.exports.say();
  assert.equal(seen, 'DATA');
  assert.throws(() => own.memory.read(65530, 10), RangeError);
  assert.throws(() => own.memory.write(65535, new Uint8Array(2)), RangeError);
  assert.throws(() => own.memory.write(0, 'text'), TypeError);
  await own.exports.grow();
  assert.equal(own.memory.size, 131072);
  const looping = own.call('loop', [], { signal: AbortSignal.timeout(20) });
  assert.throws(() => own.memory.read(0, 1), /under way/);
  await assert.rejects(looping);
});

test('close ends what is under way', async () => {
  const own = await module_.instantiate({ env });
  const calls = Promise.allSettled([own.exports.loop(), own.exports.next()]);
  own.close();
  for (const { reason } of await calls) assert.equal(reason.trap, 'cancelled');
  assert.throws(() => own.exports.next(), { code: 'ERR_GASWORKS_CLOSED' });
  assert.throws(() => own.memory.read(0, 1), { code: 'ERR_GASWORKS_CLOSED' });
});

test('modules that are wrong are refused, with the place', async () => {
  await assert.rejects(engine.compile(Buffer.from('nonsense')), { code: 'ERR_GASWORKS_MALFORMED' });
  await assert.rejects(engine.compile(Buffer.alloc(0)), { name: 'GasworksError' });
  await assert.rejects(engine.compile('text'), TypeError);
  const invalid = Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7f, 3, 2, 1, 0, 0x0a, 4, 1, 2, 0, 0x0b]);
  await assert.rejects(engine.compile(invalid), { code: 'ERR_GASWORKS_INVALID' });
});

test('options that are wrong are refused', () => {
  assert.throws(() => new Engine({ workers: 0 }), /workers is a number from 1/);
  assert.throws(() => new Engine({ optLevel: 4 }), TypeError);
  assert.throws(() => new Engine({ tier: 'slow' }), TypeError);
  assert.throws(() => new Engine({ cache: '/proc/none' }), GasworksError);
});

test('a start function runs in slices, before the first call', async () => {
  const endless = await engine.compile(build('wat', '(module (func $s (loop (br 0))) (start $s) (func (export "f")))'));
  const own = await endless.instantiate({}, { gasLimit: 1e7 });
  await assert.rejects(own.exports.f(), { trap: 'out of gas' });
  assert.throws(() => own.exports.f(), { code: 'ERR_GASWORKS_CLOSED', message: 'the instance did not start' });
  const others = endless.pool({}, { max: 1, gasLimit: 1e7 });
  for (let i = 0; i < 3; i++) await assert.rejects(others.exports.f(), { trap: 'out of gas' });
  const once = await engine.compile(build('wat', `(module (global $g (mut i32) (i32.const 0))
    (func $s (global.set $g (i32.add (global.get $g) (i32.const 5)))) (start $s) (func (export "f") (result i32) (global.get $g)))`));
  const good = await once.instantiate();
  assert.deepEqual([await good.exports.f(), await good.exports.f()], [5, 5]);
  const pool = once.pool({}, { max: 1 });
  assert.deepEqual([await pool.exports.f(), await pool.exports.f()], [5, 5]);
});
