'use strict';
// The example services, by HTTP.
const { test } = require('node:test');
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { build, environment, out, root } = require('./build.js');

const wasm = path.join(out, 'functions.wasm');
fs.writeFileSync(wasm, build('rust', path.join(root, 'bindings/node/examples/functions.rs')));
const hits = path.join(out, 'hits.wasm');
fs.writeFileSync(hits, build('rust', path.join(root, 'bindings/node/examples/hits.rs')));

async function serve(t, name) {
  const script = path.join(__dirname, '../examples', name);
  const server = spawn(process.execPath, [script, wasm, '0', ...(name === 'service.js' ? [hits, path.join(out, 'hits')] : [])], { stdio: ['ignore', 'pipe', 'inherit'], env: environment });
  t.after(() => server.kill());
  const line = await new Promise((done, fail) => {
    server.stdout.once('data', (data) => done(String(data)));
    server.once('exit', () => fail(new Error(`${name} ended`)));
  });
  return /http:\S+/.exec(line)[0];
}

async function post(url, body, headers = {}) {
  const reply = await fetch(url, { method: 'POST', body, headers: { 'Content-Type': 'text/plain', ...headers } });
  return { status: reply.status, gas: Number(reply.headers.get('gasworks-gas')), body: await reply.json() };
}

for (const name of ['service.js', 'fastify.js'])
  test(name, { skip: name === 'fastify.js' && !has('fastify') && 'fastify is not installed' }, async (t) => {
    const url = await serve(t, name);
    const words = await post(`${url}/words`, 'To be or not to be', { Account: 'ann' });
    assert.deepEqual([words.status, words.body], [200, [['be', 2], ['to', 2], ['not', 1], ['or', 1]]]);
    assert.ok(words.gas > 1000);
    const prime = await post(`${url}/prime`, '100');
    assert.deepEqual([prime.status, prime.body], [200, '541']);
    const bad = await post(`${url}/prime`, 'x');
    assert.deepEqual([bad.status, bad.body], [400, { error: '"x" is not a number' }]);
    assert.equal((await post(`${url}/nothing`, '')).status, 404);
    const endless = post(`${url}/spin`, '', { Account: 'eve' });
    const many = await Promise.all(Array.from({ length: 50 }, () => post(`${url}/words`, 'a b a', { Account: 'ann' })));
    for (const reply of many) assert.deepEqual([reply.status, reply.body, reply.gas], [200, [['a', 2], ['b', 1]], many[0].gas]);
    assert.deepEqual([(await endless).status, (await endless).gas], [402, 20e9]);
    if (name === 'fastify.js') return;
    assert.deepEqual((await Promise.all(Array.from({ length: 30 }, () => post(`${url}/hits/page`, '')))).map(({ body }) => body).sort((a, b) => a - b),
      Array.from({ length: 30 }, (_, i) => i + 1));
    const read = await fetch(`${url}/hits/page`);
    assert.deepEqual([read.status, read.headers.get('content-type'), await read.json()], [200, 'application/json', 30]);
    const accounts = await (await fetch(`${url}/accounts`)).json();
    assert.equal(accounts.ann, words.gas + 50 * many[0].gas);
    assert.equal(accounts.eve, 20e9);
    assert.equal((await post(`${url}/words`, Buffer.alloc(2 << 20, 'x'))).status, 413);
  });

function has(name) {
  try { return Boolean(require.resolve(name)); } catch { return false; }
}
