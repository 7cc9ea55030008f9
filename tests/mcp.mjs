// Functions as tools: the official client lists and calls them; what is no message, by hand.
//   mcp.mjs MODULES BASE TOKEN FACTORS.wasm
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, base, token, factors] = process.argv.slice(2);
const sdk = (file) => import(pathToFileURL(join(modules, '@modelcontextprotocol/sdk/dist/esm', file)));
const { Client } = await sdk('client/index.js');
const { StreamableHTTPClientTransport } = await sdk('client/streamableHttp.js');
let n = 0;

async function test(what, body) {
  await body();
  n++;
  console.log(`ok   ${what}`);
}

const bearer = (t) => ({ Authorization: `Bearer ${t}` });

async function ask(method, path, body, headers = {}) {
  const reply = await fetch(base + path, { method, headers: { ...bearer(token), ...headers }, body });
  const text = await reply.text();
  return { status: reply.status, headers: reply.headers, text, json: text && JSON.parse(text) };
}

function wat(text) {
  const dir = mkdtempSync(join(tmpdir(), 'gasworks-mcp-'));
  writeFileSync(join(dir, 'm.wat'), text);
  execFileSync('wat2wasm', [join(dir, 'm.wat'), '-o', join(dir, 'm.wasm')]);
  const bytes = readFileSync(join(dir, 'm.wasm'));
  rmSync(dir, { recursive: true });
  return bytes;
}

// A module with a custom section behind it.
function withSection(module, text) {
  const leb = (v) => (v < 128 ? [v] : [(v & 127) | 128, ...leb(v >> 7)]);
  const name = Buffer.from('gasworks.tool');
  const content = Buffer.concat([Buffer.from(leb(name.length)), name, Buffer.from(text)]);
  return Buffer.concat([module, Buffer.from([0, ...leb(content.length)]), content]);
}

async function deploy(name, bytes, tool, query = '') {
  const put = await ask('PUT', `/v1/functions/${name}${query}`, bytes);
  assert.equal(put.status, 201, put.text);
  if (!tool) return;
  const patch = await ask('PATCH', `/v1/functions/${name}`, JSON.stringify({ tool }));
  assert.equal(patch.status, 200, patch.text);
}

async function connect(t, path = '/mcp') {
  const client = new Client({ name: 'test', version: '1' });
  await client.connect(new StreamableHTTPClientTransport(new URL(base + path), { requestInit: { headers: bearer(t) } }));
  return client;
}

const REPLY = '(import "gasworks" "reply" (func $reply (param i32 i32)))';
const BODY = '(import "gasworks" "request_body" (func $body (param i32 i32 i32) (result i32)))';
const echo = wat(`(module ${REPLY} ${BODY} (memory (export "memory") 32) (func (export "handle")
  (call $reply (i32.const 0) (call $body (i32.const 0) (i32.const 0) (i32.const 2097152)))))`);
const trap = wat('(module (func (export "handle") unreachable))');
const spin = wat('(module (func (export "handle") (loop $l (br $l))))');
const bytes = wat(`(module ${REPLY} (memory (export "memory") 1) (data (i32.const 0) "\\ff\\00\\01") (func (export "handle")
  (call $reply (i32.const 0) (i32.const 3))))`);
const huge = wat(`(module ${REPLY} (memory (export "memory") 81) (func (export "handle") (call $reply (i32.const 0) (i32.const 5242880))))`);
const plain = { description: 'one' };

await deploy('factors', readFileSync(factors));
await deploy('echo', echo, plain);
await deploy('trap', trap, plain);
await deploy('spin', spin, plain);
await deploy('bytes', bytes, plain);
await deploy('huge', huge, plain);
await deploy('liar', echo, { description: 'no object', outputSchema: { type: 'object', required: ['a'], properties: { a: {} } } });
await deploy('hidden', echo, plain, '?access=private');
await deploy('notool', echo);

const client = await connect(token);

await test('the client connects, and pings', async () => {
  assert.equal(client.getServerVersion().name, 'gasworks');
  await client.ping();
});

await test('tools are listed, with what the module says of itself', async () => {
  const { tools } = await client.listTools();
  assert.deepEqual(tools.map((t) => t.name), ['bytes', 'echo', 'factors', 'hidden', 'huge', 'liar', 'spin', 'trap']);
  const tool = tools.find((t) => t.name === 'factors');
  assert.equal(tool.title, 'Prime factors');
  assert.equal(tool.inputSchema.properties.n.type, 'integer');
  assert.equal(tool.annotations.readOnlyHint, true);
  assert.deepEqual(tools.find((t) => t.name === 'echo').inputSchema, { type: 'object' });
});

await test('a call gives text, what the schema says, gas and a receipt', async () => {
  const result = await client.callTool({ name: 'factors', arguments: { n: 360 } });
  assert.deepEqual(result.structuredContent, { factors: [2, 2, 2, 3, 3, 5] });
  assert.equal(result.content[0].text, '{"factors":[2,2,2,3,3,5]}');
  assert.equal(result.isError, false);
  assert.ok(result._meta['gasworks/gas'] > 0);
  const index = result._meta['gasworks/receipt'].split('/')[1];
  const receipt = await ask('GET', `/v1/receipts/${index}`);
  assert.equal(receipt.json.fields.function, 'factors');
  const large = await client.callTool({ name: 'factors', arguments: { n: 999979 * 999983 } });
  assert.deepEqual(large.structuredContent.factors, [999979, 999983]);
});

await test('what a function refuses, and what traps, are errors that the model reads', async () => {
  const refused = await client.callTool({ name: 'factors', arguments: { n: 1 } });
  assert.equal(refused.isError, true);
  assert.match(refused.content[0].text, /n is a whole number/);
  const trapped = await client.callTool({ name: 'trap', arguments: {} });
  assert.equal(trapped.isError, true);
  assert.match(trapped.content[0].text, /unreachable/);
  assert.match(trapped._meta['gasworks/receipt'], /^[0-9a-f]+\/\d+\//);
  const spent = await client.callTool({ name: 'spin', arguments: {} });
  assert.match(spent.content[0].text, /out of gas/);
  const lied = await ask('POST', '/mcp', JSON.stringify({ jsonrpc: '2.0', id: 'x', method: 'tools/call', params: { name: 'liar', arguments: {} } }));
  assert.equal(lied.json.id, 'x');
  assert.deepEqual(lied.json.result.structuredContent, {});
});

await test('large arguments and results', async () => {
  const text = 'ä"\\'.repeat(200000);
  const result = await client.callTool({ name: 'echo', arguments: { text } });
  assert.equal(JSON.parse(result.content[0].text).text, text);
  const long = await client.callTool({ name: 'huge' });
  assert.equal(long.isError, true);
  assert.match(long.content[0].text, /longer than the 4 MiB/);
});

await test('bytes that are no text are a resource', async () => {
  const result = await client.callTool({ name: 'bytes' });
  assert.equal(result.content[0].resource.blob, '/wAB');
});

await test('what is no tool of the tenant cannot be called', async () => {
  await assert.rejects(client.callTool({ name: 'notool', arguments: {} }), /no tool is called notool/);
  await assert.rejects(client.callTool({ name: '../x', arguments: {} }), /no tool is called/);
  assert.equal((await ask('PATCH', '/v1/functions/bytes', '{"tool": false}')).status, 200);
  await assert.rejects(client.callTool({ name: 'bytes' }), /no tool is called bytes/);
  assert.equal((await ask('PUT', '/v1/tenants/acme')).status, 201);
  const other = await connect(token, '/t/acme/mcp');
  assert.deepEqual((await other.listTools()).tools, []);
  await assert.rejects(other.callTool({ name: 'echo' }), /no tool is called echo/);
  await other.close();
});

await test('a token with invoke is enough, and one without is not', async () => {
  const made = async (scope) => (await ask('POST', '/t/default/v1/tokens', JSON.stringify({ scopes: [scope] }))).json.token;
  const caller = await connect(await made('invoke'));
  assert.equal((await caller.callTool({ name: 'hidden', arguments: { a: 1 } })).content[0].text, '{"a":1}');
  await caller.close();
  await assert.rejects(connect(await made('read')));
  await assert.rejects(connect('gw_000000000000_x'));
});

await test('the list comes in pages', async () => {
  for (let i = 0; i < 120; i++) {
    const put = await ask('PUT', `/t/acme/v1/functions/f${1000 + i}`, withSection(trap, JSON.stringify({ description: `number ${i}` })));
    assert.equal(put.status, 201, put.text);
  }
  const other = await connect(token, '/t/acme/mcp');
  const first = await other.listTools();
  assert.equal(first.tools.length, 100);
  const second = await other.listTools({ cursor: first.nextCursor });
  assert.equal(second.tools.length, 20);
  assert.equal(second.nextCursor, undefined);
  assert.equal(second.tools[0].name, 'f1100');
  await assert.rejects(other.listTools({ cursor: '../' }), /the cursor is none/);
  await other.close();
});

await test('descriptions that are none', async () => {
  for (const [text, why] of [['{', 'no JSON'], ['[]', 'is an object'], ['{}', 'description'], ['{"description":1}', 'description'], ['{"description":"","inputSchema":{}}', 'inputSchema'], ['{"description":"","more":1}', 'has no more'], ['['.repeat(5000), 'no JSON']]) {
    const put = await ask('PUT', '/v1/functions/bad', withSection(trap, text));
    assert.equal(put.status, 422, text);
    assert.ok(put.json.detail.includes(why), put.json.detail);
  }
  const patch = await ask('PATCH', '/v1/functions/echo', JSON.stringify({ tool: { description: 'x'.repeat(17000) } }));
  assert.equal(patch.status, 400);
});

await test('messages that are none', async () => {
  const call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":';
  for (const [body, status, code] of [
    ['', 400, -32700], ['{', 400, -32700], ['['.repeat(60000), 400, -32700], ['{"a":'.repeat(2000), 400, -32700], ['\xff\x00', 400, -32700],
    ['[{"jsonrpc":"2.0","id":1,"method":"ping"}]', 400, -32600], ['1', 400, -32600], ['{}', 400, -32600], ['{"jsonrpc":"1.0","method":"ping"}', 400, -32600],
    ['{"jsonrpc":"2.0","id":{},"method":"ping"}', 400, -32600], ['{"jsonrpc":"2.0","id":null,"method":"ping"}', 400, -32600],
    ['{"jsonrpc":"2.0","id":1,"method":"resources/list"}', 200, -32601], [`${call}[]}`, 200, -32602], [`${call}{"name":7}}`, 200, -32602],
    [`${call}{"name":"echo","arguments":[]}}`, 200, -32602], [`${call}{"name":"${'e'.repeat(5000)}"}}`, 200, -32602]]) {
    const reply = await ask('POST', '/mcp', body);
    assert.equal(reply.status, status, `${body.slice(0, 60)}: ${reply.text}`);
    assert.equal(reply.json.error.code, code, `${body.slice(0, 60)}: ${reply.text}`);
  }
  for (const body of ['{"jsonrpc":"2.0","method":"notifications/initialized"}', '{"jsonrpc":"2.0","id":1,"result":{}}', '{"jsonrpc":"2.0","method":"tools/call"}'])
    assert.equal((await ask('POST', '/mcp', body)).status, 202);
});

// A value of two bytes takes 64 when it is read: what is many of them is refused before. Text is one value, whatever is in it.
await test('messages of many values', async () => {
  const ping = (params) => `{"jsonrpc":"2.0","id":1,"method":"ping","params":${params}}`;
  for (const many of [`[${'1,'.repeat(70000)}1]`, '['.repeat(70000), `[${'[],'.repeat(40000)}1]`, `[${'"\\\\",'.repeat(70000)}1]`])
    assert.equal((await ask('POST', '/mcp', ping(many))).status, 413, many.slice(0, 20));
  for (const few of [`[${'1,'.repeat(60000)}1]`, `"${'[,{'.repeat(70000)}"`, `"${'\\"['.repeat(70000)}"`])
    assert.equal((await ask('POST', '/mcp', ping(few))).status, 200, few.slice(0, 20));
});

await test('ids come back as they were', async () => {
  for (const id of ['0', '-7', '1234567890123456', '9007199254740991', '-9007199254740991', '"9007199254740993"'])
    assert.ok((await ask('POST', '/mcp', `{"jsonrpc":"2.0","id":${id},"method":"ping"}`)).text.includes(`"id":${id},`), id);
  for (const id of ['9007199254740993', '1e400', '0.5', 'true'])
    assert.equal((await ask('POST', '/mcp', `{"jsonrpc":"2.0","id":${id},"method":"ping"}`)).status, 400, id);
});

await test('the transport', async () => {
  const get = await ask('GET', '/mcp', undefined, { Accept: 'text/event-stream' });
  assert.equal(get.status, 405);
  assert.equal(get.headers.get('allow'), 'POST');
  const ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}';
  assert.equal((await ask('POST', '/mcp', ping, { 'MCP-Protocol-Version': '2024-11-05' })).status, 400);
  assert.equal((await ask('POST', '/mcp', ping, { 'MCP-Protocol-Version': '2025-06-18' })).status, 200);
  assert.equal((await ask('POST', '/mcp', ping, { Origin: 'http://evil.example' })).status, 403);
  const hello = (version) => ask('POST', '/mcp', `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"${version}"}}`);
  assert.equal((await hello('2025-03-26')).json.result.protocolVersion, '2025-03-26');
  assert.equal((await hello('1999-01-01')).json.result.protocolVersion, '2025-11-25');
});

await client.close();
console.log(`${n} passed, 0 failed, 0 skipped`);
