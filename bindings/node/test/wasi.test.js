'use strict';
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { Engine } = require('gasworks');
const { build, functions, out } = require('./build.js');

let module_;
before(async () => { module_ = await new Engine({ workers: 1 }).compile(build('wasi', functions('command.rs'))); });

const run = async (wasi, options) => (await module_.instantiate({}, { wasi })).run('_start', [], options);

test('arguments, environment, input, output, exit code', async () => {
  const { stdout, stderr, exitCode, gas } = await run({ args: ['prog', 'ü'], env: { NAME: 'value' } }, { stdin: 'in' });
  assert.equal(stdout.toString(), 'value IN\n');
  assert.equal(stderr.toString(), '["prog", "ü"]\n');
  assert.equal(exitCode, 0);
  assert.ok(gas > 1000);
  assert.equal((await run({}, { stdin: Buffer.from('bytes') })).stdout.toString(), ' BYTES\n');
  assert.equal((await run({ args: ['p', 'exit', '7'] })).exitCode, 7);
});

test('a pool gives each call a fresh program with its own input', async () => {
  const pool = module_.pool({}, { max: 3, wasi: { env: { NAME: 'n' }, seed: 1 } });
  const results = await Promise.all(Array.from({ length: 20 }, (_, i) => pool.run('_start', [], { stdin: `input ${i}` })));
  results.forEach(({ stdout, exitCode }, i) => assert.deepEqual([stdout.toString(), exitCode], [`n INPUT ${i}\n`, 0]));
  assert.equal((await pool.run('_start')).gas, (await pool.run('_start')).gas);
});

test('directories: what is beneath, and nothing else', async () => {
  const directory = path.join(out, 'data');
  fs.mkdirSync(directory);
  fs.writeFileSync(path.join(directory, 'file'), 'content');
  fs.writeFileSync(path.join(out, 'secret'), 'secret');
  const text = async (wasi) => (await run(wasi)).stdout.toString();
  assert.equal(await text({ args: ['p', 'read', '/data/file'], directories: { '/data': directory } }), 'content');
  assert.notEqual(await text({ args: ['p', 'read', '/data/../secret'], directories: { '/data': directory } }), 'secret');
  assert.equal(await text({ args: ['p', 'write', '/data/new'], directories: { '/data': directory } }), 'ok\n');
  assert.equal(fs.readFileSync(path.join(directory, 'new'), 'utf8'), 'written');
  assert.match(await text({ args: ['p', 'write', '/data/no'], directories: { '/data': { path: directory, readonly: true } } }), /Some/);
  assert.ok(!fs.existsSync(path.join(directory, 'no')));
  await assert.rejects(run({ directories: { '/data': path.join(out, 'none') } }), /none/);
});

test('a program that sleeps holds no worker', async () => {
  const sleeping = run({ args: ['p', 'sleep', '300'] });
  let isAwake = false;
  sleeping.then(() => { isAwake = true; });
  const { stdout } = await run({}, { stdin: 'meanwhile' }); // the engine has one worker
  assert.equal(stdout.toString(), ' MEANWHILE\n');
  assert.equal(isAwake, false);
  assert.equal((await sleeping).stdout.toString(), 'slept\n');
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 20);
  await assert.rejects(run({ args: ['p', 'sleep', '60000'] }, { signal: controller.signal }), { name: 'AbortError' });
});

test('a trap comes with what the program said, and where it was', async () => {
  await assert.rejects(run({ args: ['p', 'panic'] }), (error) => {
    assert.equal(error.trap, 'unreachable');
    assert.match(error.stderr.toString(), /on purpose/);
    assert.ok(error.frames.length >= 1 && error.frames[0].function);
    return true;
  });
  const precise = await new Engine({ tier: 'precise' }).compile(build('wasi', functions('command.rs')));
  await assert.rejects((await precise.instantiate({}, { wasi: { args: ['p', 'panic'] } })).run('_start'), (error) => {
    assert.ok(error.frames.length > 3, 'the precise tier knows them all');
    assert.ok(error.frames.every((frame) => frame.offset > 0));
    return true;
  });
});

test('wrong worlds are refused', async () => {
  for (const wasi of [{ args: [1] }, { env: { 'a=b': 'c' } }, { env: { a: 'b\0' } }, { seed: -1 }, { directories: { a: 1 } }])
    await assert.rejects(run(wasi), TypeError);
  await assert.rejects(module_.instantiate({}), { code: 'ERR_GASWORKS_LINK' });
  await assert.rejects(run({}, { stdin: 5 }), TypeError);
});
