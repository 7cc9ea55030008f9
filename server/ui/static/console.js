// Calls a function and shows all that comes back: reply, gas and where it went, receipt, trap with its source line, flame graph.
// A reply is shown as text and never rendered: what a function sends is not this page's.
import { send, get } from './api.js';
import { h, say, clear, icon, field } from './dom.js';
import { whole, bytes, si, microseconds } from './format.js';
import { splitBar, flameGraph, unfold } from './chart.js';
import { place } from './function.js';

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];
const SHOWN = 64 << 10;
const drafts = new Map(); // what was typed, by function, as long as the page lives

// What the console of a function begins with when it is opened next.
export const putDraft = (name, draft) => drafts.set(name, draft);

function parseHeaders(text) {
  return text.split('\n').filter((line) => line.trim()).map((line) => {
    const at = line.indexOf(':');
    if (at < 1) throw new Error(`This is no header: ${line}`);
    return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  });
}

// --- what came back

// "  0: name at byte 0x1f, file.c:12:3": the place in the source stands out.
function traceLine(line) {
  const found = /^(.*?)(, )([^,]*:\d+(?::\d+)?)$/.exec(line);
  return h('li', {}, found ? [found[1], found[2], h('strong', {}, found[3])] : line);
}

function problemPart(problem) {
  const trace = Array.isArray(problem.backtrace) ? problem.backtrace.map(String) : [];
  return h('section', { class: 'panel trap', 'aria-label': 'What went wrong' }, h('h2', {}, problem.trap ? `Trap: ${problem.trap}` : String(problem.title || 'Error')),
    problem.detail && problem.detail !== problem.trap && h('p', {}, String(problem.detail)),
    trace.length > 0 && h('ol', { class: 'trace' }, trace.map(traceLine)));
}

function asText(buffer) {
  const part = buffer.slice(0, SHOWN);
  try { return new TextDecoder('utf-8', { fatal: buffer.byteLength <= SHOWN }).decode(part); } catch { /* no text */ }
  const out = [], all = new Uint8Array(part).subarray(0, 4096);
  for (let i = 0; i < all.length; i += 16) {
    const row = [...all.subarray(i, i + 16)];
    out.push(`${i.toString(16).padStart(6, '0')}  ${row.map((b) => b.toString(16).padStart(2, '0')).join(' ').padEnd(47)}  ${row.map((b) => (b > 31 && b < 127 ? String.fromCharCode(b) : '.')).join('')}`);
  }
  return out.join('\n');
}

function pretty(text, type) {
  if (!/\bjson\b/.test(type || '')) return text;
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

async function gasPart(id) {
  const index = /^[0-9a-f]{16}\/(\d+)\/[0-9a-f]{64}$/.exec(id)?.[1];
  if (!index) return null;
  const element = h('section', { class: 'panel', 'aria-label': 'Gas' });
  try {
    const { fields } = await get(`/v1/receipts/${index}`);
    clear(element, h('h2', {}, 'Gas'), splitBar('Gas', [['instructions', fields.gas_compute || 0, 'compute'], ['host calls', fields.gas_host || 0, 'host'], ['bytes', fields.gas_bytes || 0, 'bytes'], ['state', fields.gas_storage || 0, 'storage']], whole));
  } catch { return null; }
  element.append(h('p', {}, 'Receipt ', h('a', { href: `#/receipt/${id}` }, h('code', {}, `${id.slice(0, 16)}/${index}`))));
  return element;
}

function replyPart(response, buffer, ms) {
  const type = response.headers.get('Content-Type'), size = buffer.byteLength, rows = [...response.headers];
  return h('section', { class: 'panel reply', 'aria-label': 'Reply' },
    h('h2', {}, h('span', { class: `status ${response.status < 400 ? 'good' : 'bad'}` }, String(response.status)), ' ', h('span', { class: 'muted' }, `${microseconds(ms * 1000)}, ${bytes(size)}`),
      response.headers.get('Gasworks-Gas') && h('span', { class: 'muted' }, `, ${whole(Number(response.headers.get('Gasworks-Gas')))} gas`)),
    h('pre', { class: 'body', tabindex: '0', 'aria-label': 'Body of the reply' }, size ? pretty(asText(buffer), type) : '(no content)'),
    size > SHOWN && h('p', { class: 'hint' }, `The first ${bytes(SHOWN)} of ${bytes(size)}.`),
    h('details', {}, h('summary', {}, `${rows.length} headers`), h('dl', { class: 'headers' }, rows.map(([name, value]) => [h('dt', {}, name), h('dd', {}, value)]))));
}

// --- the tab

export async function consoleTab(f) {
  const draft = drafts.get(f.name) || { method: 'GET', path: '/', headers: '', body: '', at: '' };
  drafts.set(f.name, draft);
  const keep = (name) => (event) => { draft[name] = event.target.value; };
  const method = h('select', { 'aria-label': 'Method', onchange: keep('method') }, METHODS.map((m) => h('option', { value: m }, m)));
  const targets = [['', 'live'], ...f.aliases.filter((a) => a.alias !== 'live').map((a) => [a.alias, a.alias])];
  const at = h('select', { 'aria-label': 'Version', onchange: keep('at') }, targets.map(([value, text]) => h('option', { value }, text)));
  const path = h('input', { type: 'text', value: draft.path, 'aria-label': 'Path and query behind the name', spellcheck: 'false', autocomplete: 'off', oninput: keep('path') });
  const headers = h('textarea', { rows: '3', value: draft.headers, spellcheck: 'false', placeholder: 'Content-Type: application/json', oninput: keep('headers') });
  const body = h('textarea', { rows: '6', value: draft.body, spellcheck: 'false', oninput: keep('body') });
  const out = h('div', { class: 'answer' }), state = h('p', { class: 'muted', role: 'status' });
  const run = h('button', { class: 'primary', type: 'submit' }, icon('play'), 'Send'), profile = h('button', { type: 'button' }, 'Flame graph');
  method.value = draft.method;
  at.value = draft.at;
  let ending = null;

  const hasBody = () => !['GET', 'HEAD'].includes(method.value) && body.value !== '';
  const tail = () => (path.value.startsWith('/') || path.value.startsWith('?') ? path.value : path.value && `/${path.value}`);

  // A token of ours goes beside whatever Authorization the function wants.
  function request(base) {
    const all = new Headers(parseHeaders(headers.value));
    return { path: base + tail(), options: { method: method.value, headers: all, body: hasBody() ? body.value : undefined } };
  }
  async function busy(work) {
    ending?.abort();
    ending = new AbortController();
    const mine = ending;
    run.disabled = profile.disabled = true;
    say(state, 'Running …');
    clear(out);
    try { await work(mine.signal); say(state, ''); } catch (e) { if (!mine.signal.aborted) { say(state, ''); clear(out, h('p', { class: 'problem', role: 'alert' }, e.message === 'Failed to fetch' ? 'The server does not answer, or the browser refused the request.' : e.message)); } }
    run.disabled = profile.disabled = false;
  }
  async function invoke(signal) {
    const { path: target, options } = request(f.path + (at.value ? `@${at.value}` : ''));
    const began = performance.now(), response = await send(options.method, target, { ...options, signal, isServers: true, redirect: 'manual' });
    if (response.type === 'opaqueredirect') { clear(out, h('p', {}, 'It replied with a redirect, which browsers do not show to pages.')); return; }
    const buffer = await response.arrayBuffer(), ms = performance.now() - began;
    let problem = null;
    if (response.headers.get('Content-Type') === 'application/problem+json') try { problem = JSON.parse(new TextDecoder().decode(buffer)); } catch { /* a function's own, and none */ }
    const id = response.headers.get('Gasworks-Receipt');
    clear(out, problem && problemPart(problem), replyPart(response, buffer, ms), id && await gasPart(id));
  }
  async function draw(signal) {
    const { options } = request('');
    const response = await send(options.method, `${place(f.name)}/profile${tail()}`, { ...options, signal });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail || answer.title);
    const root = unfold(answer.folded);
    clear(out, h('section', { class: 'panel', 'aria-label': 'Flame graph in gas' }, h('h2', {}, `Where ${whole(answer.gas)} gas went`),
      answer.trap && h('p', { class: 'problem' }, `It trapped: ${answer.trap}`),
      root.all ? flameGraph(root, si) : h('p', {}, 'It used no gas.'),
      h('p', { class: 'hint' }, 'To the last unit of gas. What it wrote to state was dropped.')));
  }
  profile.addEventListener('click', () => busy(draw));
  const form = h('form', { class: 'panel console', onsubmit: (event) => { event.preventDefault(); busy(invoke); } },
    h('div', { class: 'request-line' }, method, targets.length > 1 && at, path, run, profile),
    h('details', { open: draft.headers !== '' || draft.body !== '' }, h('summary', {}, 'Headers and body'), field('Headers', headers, 'One a line. Browsers refuse some: Host, Cookie, Origin and their like.'), field('Body', body)));
  body.addEventListener('keydown', (e) => { if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) form.requestSubmit(); });
  body.addEventListener('input', () => { if (method.value === 'GET') { method.value = draft.method = 'POST'; } });
  return { element: h('div', {}, form, state, out), leave: () => ending?.abort() };
}
