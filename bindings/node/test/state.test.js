'use strict';
// State: transactions of JavaScript, and functions each of whose calls is one.
const { test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { Engine, openState } = require('gasworks');
const { build, environment, out } = require('./build.js');

// Counts in the key "n", 8 bytes. By the path's second byte: t traps behind the write, l never ends, w waits for the host.
const counter = build('wat', `(module
  (import "gasworks" "request_path" (func $path (param i32 i32) (result i32)))
  (import "gasworks" "state_get" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "gasworks" "state_set" (func $set (param i32 i32 i32 i32)))
  (import "gasworks" "reply" (func $reply (param i32 i32)))
  (import "gasworks" "reply_status" (func $status (param i32)))
  (import "gasworks" "log" (func $log (param i32 i32)))
  (import "env" "wait" (func $wait))
  (memory (export "memory") 1) (data (i32.const 0) "n") (data (i32.const 128) "a line")
  (func $start (i32.store8 (i32.const 32) (i32.add (i32.load8_u (i32.const 32)) (i32.const 64)))) (start $start)
  (func (export "_initialize") (i32.store8 (i32.const 32) (i32.add (i32.load8_u (i32.const 32)) (i32.const 1))))
  (func (export "one") (result i32) (i32.const 1))
  (func $letter (result i32) (i32.load8_u (i32.const 65)))
  (func (export "handle")
    (drop (call $path (i32.const 64) (i32.const 64)))
    (drop (call $get (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 8)))
    (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (i64.const 1)))
    (call $set (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 8))
    (call $log (i32.const 128) (i32.const 6))
    (if (i32.eq (call $letter) (i32.const 116)) (then (unreachable)))
    (if (i32.eq (call $letter) (i32.const 108)) (then (loop (br 0))))
    (if (i32.eq (call $letter) (i32.const 119)) (then (call $wait)))
    (call $status (i32.const 201))
    (call $reply (i32.const 32) (i32.const 1))))`);
const wasm = path.join(out, 'counter.wasm');
fs.writeFileSync(wasm, counter);

const none = { env: { wait() {} } };
let state, engine, module_;
before(async () => {
  state = await openState(path.join(out, 'state'), { maxBytes: 1 << 28, sync: false });
  engine = new Engine({ workers: 2 });
  module_ = await engine.compile(counter);
});
after(() => state.close());

const numberIn = (space, of = state) => of.transact(space, async (txn) => (await txn.get('n'))?.readBigUInt64LE() ?? 0n);

test('a transaction reads and writes', async () => {
  const value = await state.transact('t', async (txn) => {
    assert.equal(await txn.get('a'), undefined);
    await txn.set('a', 'one');
    await txn.set(Buffer.from([0, 255]), new Uint8Array([1, 2]));
    assert.equal((await txn.get('a')).toString(), 'one');
    txn.set('b', ''); // not awaited, and part of it
    return 5;
  });
  assert.equal(value, 5);
  assert.deepEqual(await state.transact('t', (txn) => txn.scan()), [
    [Buffer.from([0, 255]), Buffer.from([1, 2])], [Buffer.from('a'), Buffer.from('one')], [Buffer.from('b'), Buffer.alloc(0)]]);
  const keys = async (range) => (await state.transact('t', (txn) => txn.scan(range))).map(([key]) => key.toString('latin1'));
  assert.deepEqual(await keys({ first: 'a' }), ['a', 'b']);
  assert.deepEqual(await keys({ first: 'a', end: 'b' }), ['a']);
  assert.deepEqual(await keys({ backward: true, limit: 2 }), ['b', 'a']);
  await state.transact('t', (txn) => txn.delete('a'));
  assert.deepEqual(await keys({ first: 'a' }), ['b']);
  assert.equal(await state.transact('other', (txn) => txn.get('b')), undefined);
});

test('what throws writes nothing, nor does what failed', async () => {
  await assert.rejects(state.transact('f', async (txn) => { await txn.set('k', 'v'); throw new Error('mine'); }), /mine/);
  await assert.rejects(state.transact('f', async (txn) => { await txn.set('k', 'v'); await txn.set('x'.repeat(481), 'v').catch(() => {}); }));
  assert.equal(await state.transact('f', (txn) => txn.get('k')), undefined);
  let kept;
  await state.transact('f', (txn) => { kept = txn; });
  await assert.rejects(kept.get('k'), { code: 'ERR_GASWORKS_USAGE' });
});

test('wrong arguments are refused', async () => {
  await assert.rejects(openState(''), TypeError);
  await assert.rejects(openState(path.join(out, 'x'), { maxBytes: -1 }), TypeError);
  await assert.rejects(openState('/proc/nothing'), { name: 'GasworksError' });
  for (const space of ['', 'a\0', 5, 'x'.repeat(129)]) await assert.rejects(state.transact(space, () => {}), TypeError);
  await assert.rejects(state.transact('s'), TypeError);
  await assert.rejects(state.transact('s', (txn) => txn.set(1, 'v')), TypeError);
  await assert.rejects(state.transact('s', (txn) => txn.add('k', 0.5)), TypeError);
  await assert.rejects(module_.instantiate(none, { state: {}, space: 's' }), TypeError);
  await assert.rejects(module_.instantiate(none, { state }), TypeError);
  const instance = await module_.instantiate(none, { state, space: 's' });
  for (const request of [{ path: 'a\0' }, { headers: { 'a b': 'c' } }, { headers: { a: 'b\r\nc: d' } }, { body: 5 }, { method: 1 }])
    await assert.rejects(instance.handle(request), TypeError);
  const plain = await (await engine.compile(build('wat', '(module)'))).instantiate();
  await assert.rejects(plain.handle({}), TypeError);
});

test('additions do not conflict, and 100 counters by hand come to the right sum', async () => {
  await Promise.all(Array.from({ length: 100 }, () => state.transact('add', (txn) => txn.add('n', 2))));
  assert.equal(await numberIn('add'), 200n);
  await Promise.all(Array.from({ length: 100 }, () => state.transact('hand', async (txn) => {
    const value = Buffer.alloc(8);
    value.writeBigUInt64LE(((await txn.get('n'))?.readBigUInt64LE() ?? 0n) + 1n);
    await txn.set('n', value);
  })));
  assert.equal(await numberIn('hand'), 100n);
});

test('a request is a fresh instance and a transaction', async () => {
  const pool = module_.pool(none, { state, space: 'p', max: 4 });
  for (let i = 1n; i < 4n; i++) {
    const reply = await pool.handle({ method: 'POST', path: '/count', headers: { 'X-A': ['1', '2'] }, body: 'b' });
    assert.deepEqual([reply.status, reply.body.toString(), reply.attempts, reply.headers], [201, 'A', 1, {}]);
    assert.match(reply.log, /a line/);
    assert.ok(reply.gas > 1000);
    assert.equal(await numberIn('p'), i);
  }
  assert.equal(await pool.call('one'), 1);
  await assert.rejects(pool.call('handle'), { code: 'ERR_GASWORKS_TRAP' }); // a call of an export has no transaction
});

test('100 concurrent requests on one counter', async () => {
  const pool = module_.pool(none, { state, space: 'many', max: 32 });
  const replies = await Promise.all(Array.from({ length: 100 }, () => pool.handle({ path: '/' })));
  assert.equal(await numberIn('many'), 100n);
  for (const reply of replies) assert.equal(reply.status, 201);
});

test('traps, gas and aborts write nothing', async () => {
  const pool = module_.pool({ env: { wait: () => new Promise(() => {}) } }, { state, space: 'nothing', max: 4 });
  await assert.rejects(pool.handle({ path: '/t' }), (error) => error.trap === 'unreachable' && error.gas > 0 && /a line/.test(error.log));
  await assert.rejects(pool.handle({ path: '/l' }, { gasLimit: 5e6 }), { trap: 'out of gas' });
  for (const at of ['/l', '/w']) {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 30);
    await assert.rejects(pool.handle({ path: at }, { signal: controller.signal }), { name: 'AbortError' });
  }
  await assert.rejects(pool.handle({}, { signal: AbortSignal.abort() }), { name: 'AbortError' });
  assert.equal(await numberIn('nothing'), 0n);
  await pool.handle({ path: '/' });
  assert.equal(await numberIn('nothing'), 1n);
});

test('aborts at any moment: what was told is what happened', async () => {
  const pool = module_.pool(none, { state, space: 'abort', max: 8 });
  let done = 0n;
  for (let i = 0; i < 40; i++) {
    const controller = new AbortController();
    const call = pool.handle({ path: '/' }, { signal: controller.signal }).then(() => { done++; }, (error) => assert.equal(error.name, 'AbortError'));
    if (i % 2) await new Promise((go) => (i % 4 === 1 ? setImmediate(go) : setTimeout(go, i % 3)));
    controller.abort();
    await call;
  }
  assert.equal(await numberIn('abort'), done);
});

test('host functions wait within a transaction', async () => {
  const instance = await module_.instantiate({ env: { wait: () => new Promise((go) => setTimeout(go, 5)) } }, { state, space: 'host' });
  const replies = await Promise.all(Array.from({ length: 3 }, () => instance.handle({ path: '/w' })));
  assert.equal(replies[1].gas, replies[2].gas); // the first finds no value
  assert.equal(await numberIn('host'), 3n);
});

test('without state a function that asks for it traps', async () => {
  await assert.rejects((await module_.instantiate(none)).handle({}), { code: 'ERR_GASWORKS_TRAP' });
});

test('close waits for what is under way, and nothing more begins', async () => {
  const own = await openState(path.join(out, 'own'), { sync: false });
  const pool = module_.pool({ env: { wait: () => new Promise((go) => setTimeout(go, 20)) } }, { state: own, space: 's' });
  const first = await pool.handle({ path: '/' });
  const call = pool.handle({ path: '/w' });
  const end = own.close();
  assert.equal(end, own.close());
  assert.equal((await call).status, first.status);
  await end;
  await assert.rejects(pool.handle({}), { code: 'ERR_GASWORKS_CLOSED' });
  await assert.rejects(own.transact('s', () => {}), { code: 'ERR_GASWORKS_CLOSED' });
  const again = await openState(path.join(out, 'own'));
  assert.equal(await numberIn('s', again), 2n);
  await again.close();
});

// A program with a `state`, a `pool` on it, and what an environment's end meets.
function program(name, text) {
  const file = path.join(out, `${name}.js`);
  fs.writeFileSync(file, `const { Engine, openState } = require('gasworks'); const { Worker } = require('node:worker_threads');
    const fs = require('node:fs');
    (async () => {
      const directory = ${JSON.stringify(path.join(out, name))}, wasm = ${JSON.stringify(wasm)};
      const worker = (body) => new Worker('const { Engine, openState } = require("gasworks"); (async () => {' +
        'const state = await openState(' + JSON.stringify(directory) + ');' +
        'const m = await new Engine({ workers: 2 }).compile(require("fs").readFileSync(' + JSON.stringify(wasm) + '));' +
        'const pool = m.pool({ env: { wait: () => new Promise(() => {}) } }, { state, space: "s" });' + body + '})()', { eval: true });
      ${text}
    })();`);
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8', timeout: 60000, env: environment });
  return { status, signal, stdout, stderr };
}

test('environments end with requests and transactions in flight', () => {
  const flood = 'const { parentPort } = require("worker_threads"); for (let i = 0; i < 60; i++) pool.handle({ path: ["/", "/l", "/w"][i % 3] }).catch(() => {});' +
    'for (let i = 0; i < 20; i++) state.transact("s", (txn) => txn.add("m", 1)).catch(() => {}); state.transact("s", () => new Promise(() => {}));' +
    'setTimeout(() => parentPort.postMessage(1), 20);';
  assert.deepEqual(program('terminated', `
    for (let i = 0; i < 4; i++) {
      const it = worker(${JSON.stringify(flood)} + (i % 2 ? 'setTimeout(() => state.close(), 10);' : ''));
      it.on('error', (error) => console.log(error));
      await new Promise((done) => it.once('message', done));
      await it.terminate();
    }
    const state = await openState(directory); // nobody has it any more
    await state.close();
    console.log('ended');`), { status: 0, signal: null, stdout: 'ended\n', stderr: '' });
  assert.deepEqual(program('exited', `
    const state = await openState(directory), m = await new Engine().compile(fs.readFileSync(wasm));
    const pool = m.pool({ env: { wait: () => new Promise(() => {}) } }, { state, space: 's' });
    for (let i = 0; i < 60; i++) pool.handle({ path: ['/', '/l', '/w'][i % 3] }).catch(() => {}); // a promise that is collected can never be settled
    for (let i = 0; i < 20; i++) state.transact('s', (txn) => txn.add('m', 1));
    setTimeout(() => process.exit(3), 20);`), { status: 3, signal: null, stdout: '', stderr: '' });
});
