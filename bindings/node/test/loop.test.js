'use strict';
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const { Engine } = require('gasworks');
const { build, functions } = require('./build.js');

let module_;
const env = { fetch: (url) => url, digest: (bytes) => bytes, note: () => {}, half: (x) => x };

before(async () => { module_ = await new Engine({ workers: 2 }).compile(build('rust', functions('text.rs'))); });

test('a thousand calls beside two endless ones: the others finish, the endless ones end by gas', async () => {
  const pool = module_.pool({ env }, { max: 16 });
  let turns = 0, isOver = false;
  const turn = () => { turns++; if (!isOver) setImmediate(turn); };
  setImmediate(turn);
  let endless = 0;
  const ends = [1, 2].map(() => pool.call('spin', [], { gasLimit: 3e10 }).catch((error) => { endless++; return error; }));
  const results = await Promise.all(Array.from({ length: 1000 }, (_, i) => pool.call('upper', [`text ${i}`])));
  assert.deepEqual(results, Array.from({ length: 1000 }, (_, i) => `TEXT ${i}`));
  assert.equal(endless, 0, 'the endless ones still run');
  assert.ok(turns > 10, 'the event loop went on');
  for (const error of await Promise.all(ends)) assert.equal(error.trap, 'out of gas');
  isOver = true;
});

test('without the first moment on the caller\'s thread it is the same', async () => {
  const module2 = await new Engine({ workers: 1, inline: false }).compile(build('rust', functions('text.rs')));
  const pool = module2.pool({ env }, { max: 4 });
  const spin = pool.call('spin', [], { signal: AbortSignal.timeout(300) }).catch((error) => error.name);
  assert.deepEqual(await Promise.all(Array.from({ length: 100 }, () => pool.call('count', ['añ']))), Array(100).fill(2));
  assert.equal(await spin, 'TimeoutError');
});
