#!/usr/bin/env node
'use strict';
// Rust functions as a service, billed by gas: node service.js FUNCTIONS.wasm [PORT [HITS.wasm DIRECTORY]]
//   /usr/bin/rustc --target wasm32-unknown-unknown --crate-type cdylib -C opt-level=3 -C panic=abort functions.rs -o functions.wasm
//   curl -d 'to be or not to be' -H 'Account: ann' http://127.0.0.1:8081/words
//   curl http://127.0.0.1:8081/accounts
// With HITS.wasm, which is hits.rs compiled in the same way, it keeps a counter for every path in the directory:
//   curl -d '' http://127.0.0.1:8081/hits/page
const http = require('node:http');
const fs = require('node:fs');
const { Engine, openState } = require('gasworks');

const MOST_BYTES = 1 << 20, GAS_OF_A_REQUEST = 20e9, GAS_OF_AN_ACCOUNT = 100e9;
const accounts = new Map(); // name: gas used

async function readBody(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    if ((size += part.length) > MOST_BYTES) throw Object.assign(new Error('the body is too large'), { status: 413 });
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function statusOf(error) {
  if (error.trap) return error.trap === 'out of gas' ? 402 : 500;
  return error.status ?? { ERR_GASWORKS_FUNCTION: 400, ERR_GASWORKS_NOT_FOUND: 404 }[error.code] ?? 500;
}

// What a function for the `handle` interface replies, its state written.
async function count(hits, request, body, options) {
  const { pathname, search } = new URL(request.url, 'http://localhost');
  const path = pathname.slice('/hits'.length);
  return hits.handle({ method: request.method, path, query: search.slice(1), headers: request.headers, body }, options);
}

async function call(pool, request, body, options) {
  const { value, gas } = await pool.run(request.url.slice(1), [body], options);
  return { status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(value), gas };
}

async function answer(run, pool, request, reply) {
  const account = request.headers.account ?? 'anonymous', used = accounts.get(account) ?? 0;
  const gone = new AbortController();
  let gas = 0;
  reply.on('close', () => gone.abort());
  try {
    const body = await readBody(request);
    if (used >= GAS_OF_AN_ACCOUNT) throw Object.assign(new Error('the account is used up'), { status: 402 });
    const gasLimit = Math.min(GAS_OF_A_REQUEST, GAS_OF_AN_ACCOUNT - used);
    const result = await run(pool, request, body, { gasLimit, signal: gone.signal });
    gas = result.gas;
    reply.writeHead(result.status, { ...result.headers, 'Gasworks-Gas': gas }).end(result.body);
  } catch (error) {
    gas = error.gas ?? 0;
    if (!reply.destroyed) reply.writeHead(statusOf(error), { 'Content-Type': 'application/json', 'Gasworks-Gas': gas }).end(JSON.stringify({ error: error.message }));
  } finally {
    accounts.set(account, (accounts.get(account) ?? 0) + gas);
  }
}

async function main(file, port, hitsFile, directory) {
  const engine = new Engine();
  const module_ = await engine.compile(fs.readFileSync(file));
  const hits = directory && (await engine.compile(fs.readFileSync(hitsFile))).pool({}, { state: await openState(directory), space: 'hits' });
  const pool = module_.pool({}, { max: 32, maxMemory: 64 << 20 });
  const server = http.createServer((request, reply) => {
    if (request.url === '/accounts') reply.end(JSON.stringify(Object.fromEntries(accounts)));
    else if (hits && request.url.startsWith('/hits/')) answer(count, hits, request, reply);
    else answer(call, pool, request, reply);
  });
  server.listen(port, '127.0.0.1', () => console.log(`serving on http://127.0.0.1:${server.address().port}`));
}

if (!process.argv[2]) {
  console.error('usage: node service.js FUNCTIONS.wasm [PORT [HITS.wasm DIRECTORY]]');
  process.exit(2);
}
main(process.argv[2], Number(process.argv[3] ?? 8081), process.argv[4], process.argv[5]);
