// Functions as tools for models: what a client of the Model Context Protocol sees, and how to make it see it.
import { address, change, get } from './api.js';
import { h, table, field, formDialog, ask, toast, copyButton, clear, icon } from './dom.js';
import { whole } from './format.js';

const VERSION = '2025-11-25', again = () => dispatchEvent(new HashChangeEvent('hashchange'));
let n = 0;

// The answer to a message; an error of the protocol's is one here.
async function call(method, params) {
  const answer = await change('POST', '/mcp', { jsonrpc: '2.0', id: ++n, method, params },
    { headers: { Accept: 'application/json, text/event-stream', 'MCP-Protocol-Version': VERSION } });
  if (answer.error) throw new Error(answer.error.message);
  return answer.result;
}

async function listTools() {
  const tools = [];
  let cursor;
  do {
    const page = await call('tools/list', cursor ? { cursor } : {});
    tools.push(...page.tools);
    cursor = page.nextCursor;
  } while (cursor);
  return tools;
}

const EXAMPLES = { string: '', integer: 0, number: 0, boolean: false, array: [], object: {} };
const example = (schema) => Object.fromEntries(Object.entries(schema?.properties || {}).map(([name, of]) => [name, of.default ?? of.examples?.[0] ?? EXAMPLES[of.type] ?? null]));

function parsed(text, what) {
  let value;
  try { value = JSON.parse(text); } catch (e) { throw new Error(`${what}: ${e.message}`); }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new Error(`${what}: a JSON object is wanted.`);
  return value;
}

function resultPart(result) {
  const texts = result.content.map((c) => (c.type === 'text' ? c.text : `(${c.type})`)), meta = result._meta || {};
  const receipt = /^([0-9a-f]+)\/(\d+)\/([0-9a-f]+)$/.exec(meta['gasworks/receipt'] || '');
  return h('div', {}, h('p', {}, h('span', { class: `badge ${result.isError ? 'bad' : 'good'}` }, result.isError ? 'An error' : 'An answer'),
    meta['gasworks/gas'] !== undefined && ` ${whole(meta['gasworks/gas'])} gas `, receipt && h('a', { href: `#/receipt/${receipt[0]}` }, 'receipt')),
  texts.map((text) => h('pre', {}, text)));
}

function tryDialog(tool) {
  const input = h('textarea', { rows: '8', spellcheck: 'false', class: 'code' }), result = h('div', { role: 'status' });
  input.value = JSON.stringify(example(tool.inputSchema), null, 2);
  formDialog(`Call ${tool.name}`, 'Done', [h('p', {}, tool.description), field('Arguments', input, 'A JSON object, as a model would send it.'),
    h('p', {}, h('button', { type: 'button', onclick: async (event) => {
      event.target.disabled = true;
      try { clear(result, resultPart(await call('tools/call', { name: tool.name, arguments: parsed(input.value, 'Arguments') }))); } catch (e) { clear(result, h('p', { class: 'problem' }, e.message)); }
      event.target.disabled = false;
    } }, icon('play'), 'Call')), result], async () => {});
}

function makeDialog(names) {
  const name = h('select', {}, names.map((f) => h('option', { value: f }, f))), description = h('textarea', { rows: '3', required: true }), schema = h('textarea', { rows: '8', spellcheck: 'false', class: 'code' });
  schema.value = JSON.stringify({ type: 'object', properties: { text: { type: 'string' } }, required: ['text'] }, null, 2);
  formDialog('Make a function a tool', 'Make it one', [field('Function', name), field('Description', description, 'For the model: what it does, and when to use it.'), field('Schema of its arguments', schema, 'JSON schema of the type object.')],
    async () => {
      await change('PATCH', `/v1/functions/${encodeURIComponent(name.value)}`, { tool: { description: description.value, inputSchema: parsed(schema.value, 'Schema') } }, { headers: { 'Content-Type': 'application/merge-patch+json' } });
      toast(`${name.value} is a tool.`);
      again();
    });
}

function row(tool) {
  const { properties = {}, required = [] } = tool.inputSchema || {};
  return h('tr', {}, h('th', { scope: 'row' }, h('a', { href: `#/f/${encodeURIComponent(tool.name)}` }, tool.name), tool.title && h('div', { class: 'muted' }, tool.title)), h('td', {}, tool.description),
    h('td', { class: 'badges' }, Object.keys(properties).map((p) => h('code', { class: 'badge', title: required.includes(p) ? 'must be there' : 'may be left out' }, required.includes(p) ? p : `${p}?`))),
    h('td', { class: 'actions' }, h('button', { onclick: () => tryDialog(tool) }, 'Call …'), h('button', { class: 'danger', onclick: async () => {
      if (!await ask(`Is ${tool.name} no tool any more?`, 'It stays a function. Clients see the change when they ask next.', 'Take it back')) return;
      await change('PATCH', `/v1/functions/${encodeURIComponent(tool.name)}`, { tool: false }, { headers: { 'Content-Type': 'application/merge-patch+json' } });
      toast(`${tool.name} is no tool any more.`);
      again();
    } }, 'No tool')));
}

function connectPart() {
  const url = address('/mcp').href, config = JSON.stringify({ mcpServers: { gasworks: { type: 'http', url, headers: { Authorization: 'Bearer gw_…' } } } }, null, 2);
  return h('section', { class: 'panel' }, h('h2', {}, 'Connect a client'),
    h('p', {}, 'The endpoint is ', h('code', {}, url), copyButton(url, 'Copy the address'), '. A client needs a ', h('a', { href: '#/tokens' }, 'token'), ' with the scope invoke, and nothing else. Most take a file like this one:'),
    h('pre', {}, config), h('p', {}, copyButton(config, 'Copy the file')));
}

export async function toolsPage() {
  let tools = [], why = '';
  const { functions } = await get('/v1/functions');
  try { tools = await listTools(); } catch (e) { if (e.status !== 403) throw e; why = e.message; }
  const names = functions.map((f) => f.name).filter((name) => !tools.some((t) => t.name === name));
  return { title: 'Tools', element: h('div', {},
    h('div', { class: 'head' }, h('h1', { tabindex: '-1' }, 'Tools'), names.length > 0 && !why && h('button', { class: 'primary', onclick: () => makeDialog(names) }, 'New tool …')),
    h('p', {}, 'A function with a description and a JSON schema is a tool of the Model Context Protocol: models list it and call it. Each call is an invocation, with its gas and its receipt.'),
    why ? h('p', { class: 'panel' }, `Tools are for who has the scope invoke: ${why}.`)
      : h('div', { class: 'panel flush' }, table('Tools', ['Name', 'What it does', 'Arguments', h('span', { class: 'hidden' }, 'Actions')], tools.map(row), 'No function is a tool yet.')),
    connectPart()) };
}
