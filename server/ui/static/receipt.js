// Receipts: lists of them, and one, checked in this browser.
import { get, text, bytes as fetchBytes } from './api.js';
import { h, say, clear, icon, table, copyButton } from './dom.js';
import { whole, time, ago, bytes } from './format.js';
import { splitBar } from './chart.js';
import { verifyReceipt, fieldsOfLeaf } from './verify.js';
import { place } from './function.js';
import { readInputs, splitRequest, readRecords } from './inputs.js';
import { putDraft } from './console.js';

const gasOf = (f) => (f.gas_compute || 0) + (f.gas_host || 0) + (f.gas_bytes || 0) + (f.gas_storage || 0);
const outcomeBadge = (f) => h('span', { class: `badge ${f.outcome === 'replied' || f.outcome === 'repeated' ? 'good' : f.outcome === 'void' ? '' : 'bad'}` }, f.outcome);

function row(r) {
  const f = r.fields;
  return h('tr', {}, h('th', { scope: 'row' }, h('a', { href: `#/receipt/${r.index}` }, String(r.index))), h('td', {}, outcomeBadge(f)), h('td', { class: 'number' }, f.status ?? ''),
    h('td', { class: 'number' }, whole(gasOf(f))), h('td', {}, f.time ? h('time', { datetime: new Date(f.time * 1000).toISOString(), title: ago(f.time * 1000) }, time(f.time * 1000)) : ''), h('td', {}, h('code', {}, r.hash.slice(0, 12))));
}

export async function receiptsOf(name) {
  const body = h('div', {}), more = h('button', {}, 'Older ones'), state = h('p', { class: 'muted', role: 'status' });
  const rows = [];
  let before = null;
  async function load() {
    const answer = await get(`${place(name)}/receipts?limit=50${before ? `&before=${before}` : ''}`);
    rows.push(...answer.receipts.map(row));
    before = answer.next ?? null;
    more.hidden = before === null;
    clear(body, table(`Receipts of ${name}, the newest first`, ['Index', 'Outcome', { text: 'Status', class: 'number' }, { text: 'Gas', class: 'number' }, 'Time', 'Hash'], rows, 'none'));
    say(state, answer.forgotten ? 'Older ones were forgotten, as the server was told to.' : '');
  }
  try { await load(); } catch (e) {
    if (e.status !== 404) throw e;
    more.hidden = true;
    clear(body, h('p', { class: 'empty' }, 'No receipts yet: each call of the function leaves one.'));
  }
  more.addEventListener('click', load);
  return { element: h('div', {}, h('div', { class: 'panel flush' }, body), state, h('div', { class: 'actions' }, more)) };
}

// --- one

function fieldRows(f) {
  const names = { module: 'Module', schedule: 'Gas schedule', semantics: 'Semantics', request: 'Digest of the request', reply: 'Digest of the reply', read: 'Digest of what it read of state', written: 'Digest of what it wrote', host: 'Digest of clocks and random numbers', settings: 'Digest of its settings', bytes_out: 'Bytes of the reply', rent: 'Byte-seconds of state', cpu_ns: 'CPU time in ns' };
  return Object.entries(names).filter(([key]) => f[key] !== undefined).map(([key, label]) => [h('dt', {}, label), h('dd', {}, h('code', {}, String(f[key])), typeof f[key] === 'string' && copyButton(f[key], `Copy: ${label}`))]);
}

function stepList(steps) {
  const words = { good: 'holds', bad: 'does not hold', unknown: 'not known' };
  return h('ol', { class: 'steps' }, steps.map((step) => h('li', { class: step.state }, icon(step.state === 'good' ? 'check' : step.state === 'bad' ? 'cross' : 'search'),
    h('div', {}, h('strong', {}, step.title), h('span', { class: 'hidden' }, `: ${words[step.state]}`), h('p', {}, h('code', {}, step.detail))))));
}

async function checkedPart(receipt, asked) {
  const steps = await verifyReceipt(receipt, (await text('/v1/log/keys')).trim().split('\n'), asked);
  const isBad = steps.some((step) => step.state === 'bad'), isOpen = steps.some((step) => step.state === 'unknown');
  return h('section', { class: `panel verdict ${isBad ? 'bad' : isOpen ? 'unknown' : 'good'}`, 'aria-label': 'Verification' },
    h('h2', {}, icon(isBad ? 'cross' : isOpen ? 'search' : 'check'), isBad ? 'This receipt does not hold' : isOpen ? 'As far as could be checked, it holds' : 'Checked here, in your browser: all holds'),
    stepList(steps), h('p', { class: 'hint' }, 'The keys come from this server. Compare them once with those that its operator publishes, or use gasworks verify --key.'));
}

// --- what went in: to look at, and to run again

const lostWords = [[1, 'the request'], [2, 'what it read of state'], [4, 'clocks and random numbers']];

function requestPart(request, name) {
  const again = h('button', { onclick: () => {
    putDraft(name, { method: request.method, path: request.rest, headers: request.headers, body: request.body, at: '' });
    location.hash = `#/f/${encodeURIComponent(name)}/invoke`;
  } }, icon('play'), 'Put it into the console');
  return h('div', {}, h('h3', {}, 'The request'), h('pre', { class: 'body', tabindex: '0', 'aria-label': 'The request' }, `${request.method} ${request.target}\n${request.headers}\n\n${request.body}`), name && again);
}

function readsPart(records) {
  if (!records.length) return null;
  return h('div', {}, h('h3', {}, 'What it read of state'), table('What it read of state', ['Key', 'Answer'], records.slice(0, 200).map((r) => h('tr', {}, h('th', { scope: 'row' }, h('code', {}, r.key)), h('td', {}, h('code', {}, r.answer)))), 'nothing'),
    records.length > 200 && h('p', { class: 'hint' }, `The first 200 of ${whole(records.length)}.`));
}

async function travelPart(receipt, name) {
  const command = `gasworks replay ${receipt.log}/${receipt.index}/${receipt.hash}`;
  const element = h('section', { class: 'panel travel', 'aria-label': 'Time travel' }, h('h2', {}, 'Time travel'));
  let inputs;
  try {
    inputs = readInputs(await fetchBytes(`/v1/receipts/${receipt.index}/inputs`));
  } catch (e) {
    element.append(h('p', {}, e.status === 404 ? 'This server keeps no inputs, so it cannot be run again.' : e.status === 403 ? 'What went in is for who may deploy the function.' : `What went in cannot be shown: ${e.message}`));
    return element;
  }
  const request = inputs.request && splitRequest(inputs.request, inputs.rest), lost = lostWords.filter(([bit]) => inputs.lost & bit).map(([, word]) => word);
  element.append(h('p', {}, 'All that went in is kept, so it runs again to the same last byte, step by step and backwards too: '), h('p', { class: 'url' }, h('code', {}, command), copyButton(command, 'Copy the command')),
    h('dl', { class: 'facts' }, h('dt', {}, 'Version'), h('dd', {}, `v${inputs.version}`), h('dt', {}, 'Gas limit'), h('dd', {}, whole(inputs.gas_limit)), h('dt', {}, 'Clocks and random numbers'), h('dd', {}, bytes(inputs.host?.length || 0)),
      inputs.peer && [h('dt', {}, 'From'), h('dd', {}, inputs.peer)]));
  if (lost.length) element.append(h('p', { class: 'hint' }, `Too large to be kept: ${lost.join(', ')}.`));
  if (request) element.append(requestPart(request, name));
  const reads = inputs.reads && readsPart(readRecords(inputs.reads));
  if (reads) element.append(reads);
  return element;
}

export async function receiptPage(log, index, hash) {
  const receipt = await get(`/v1/receipts/${index}`), f = fieldsOfLeaf(receipt.leaf) || { outcome: 'void' }, last = (f.function || '').split('/').pop();
  const name = last.startsWith('+') ? '' : last; // of what nobody deployed there is no page
  const id = `${receipt.log}/${receipt.index}/${receipt.hash}`, verdict = h('div', { 'aria-live': 'polite' }, h('p', { class: 'muted' }, 'Checking …'));
  let timer = null;
  async function checkAgain() {
    let now = receipt;
    for (let tries = 0; tries < 4 && !now.proof; tries++) {
      await new Promise((resolve) => { timer = setTimeout(resolve, tries ? 1000 : 0); });
      now = await get(`/v1/receipts/${index}`);
    }
    clear(verdict, await checkedPart({ ...receipt, proof: now.proof }, { log, index, hash }));
  }
  return { title: `Receipt ${index}`, leave: () => clearTimeout(timer), enter: () => checkAgain().catch((e) => clear(verdict, h('p', { class: 'problem' }, e.message))), element: h('div', {},
    h('p', { class: 'crumbs' }, h('a', { href: '#/receipts' }, 'Receipts'), name && [' / ', h('a', { href: `#/f/${encodeURIComponent(name)}/receipts` }, name)], ` / ${index}`),
    h('div', { class: 'head' }, h('h1', { tabindex: '-1' }, `Receipt ${index}`), h('span', { class: 'badges' }, outcomeBadge(f), f.status && h('span', { class: 'badge' }, String(f.status)), f.trap !== undefined && h('span', { class: 'badge bad' }, `trap ${f.trap}`))),
    h('p', { class: 'url' }, h('code', {}, id), copyButton(id, 'Copy the receipt')), verdict,
    h('section', { class: 'panel', 'aria-label': 'What it says' }, h('h2', {}, 'What it says'),
      splitBar(`${whole(gasOf(f))} gas`, [['instructions', f.gas_compute || 0, 'compute'], ['host calls', f.gas_host || 0, 'host'], ['bytes', f.gas_bytes || 0, 'bytes'], ['state', f.gas_storage || 0, 'storage']], whole),
      h('dl', { class: 'facts wide' }, h('dt', {}, 'Function'), h('dd', {}, name ? h('a', { href: `#/f/${encodeURIComponent(name)}` }, f.function) : f.function || 'none'),
        f.time && [h('dt', {}, 'Ended'), h('dd', {}, `${time(f.time * 1000)}, ${ago(f.time * 1000)}`)],
        f.previous !== undefined && [h('dt', {}, 'The one before it'), h('dd', {}, h('a', { href: `#/receipt/${f.previous}` }, `Receipt ${f.previous}`))], fieldRows(f))),
    await travelPart(receipt, name)) };
}

export async function receiptsPage() {
  const input = h('input', { type: 'text', placeholder: 'LOG/INDEX/HASH, or the index', 'aria-label': 'Receipt', autocomplete: 'off', spellcheck: 'false', required: true }), problem = h('p', { class: 'problem', role: 'alert' });
  const { functions } = await get('/v1/functions');
  let checkpoint = null;
  try { checkpoint = await text('/v1/log/checkpoint'); } catch { /* no receipts are kept */ }
  const lines = checkpoint?.split('\n');
  return { title: 'Receipts', element: h('div', {}, h('h1', { tabindex: '-1' }, 'Receipts'),
    h('p', { class: 'lead' }, 'Every invocation is a leaf of a signed log. A receipt proves which function ran, on what, and what it cost.'),
    h('form', { class: 'panel row', onsubmit: (event) => {
      event.preventDefault();
      const found = /^(?:[0-9a-f]{16}\/\d+\/[0-9a-f]{64}|\d+)$/.exec(input.value.trim());
      if (found) location.hash = `#/receipt/${found[0]}`;
      else say(problem, 'This is no receipt: it is the text of a Gasworks-Receipt header, or an index.');
    } }, input, h('button', { class: 'primary', type: 'submit' }, 'Show'), problem),
    lines?.length > 3 ? h('section', { class: 'panel', 'aria-label': 'The log' }, h('h2', {}, 'The log'), h('dl', { class: 'facts wide' }, h('dt', {}, 'Origin'), h('dd', {}, lines[0]), h('dt', {}, 'Leaves'), h('dd', {}, whole(Number(lines[1]))), h('dt', {}, 'Root'), h('dd', {}, h('code', {}, lines[2])))) : h('p', { class: 'muted' }, 'This server keeps no receipts, or has signed none yet.'),
    functions.length > 0 && h('section', { class: 'panel', 'aria-label': 'By function' }, h('h2', {}, 'By function'), h('ul', { class: 'names' }, functions.map((f) => h('li', {}, h('a', { href: `#/f/${encodeURIComponent(f.name)}/receipts` }, f.name)))))) };
}
