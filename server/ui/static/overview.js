// All functions, and how they are.
import { get } from './api.js';
import { h, say, clear, icon } from './dom.js';
import { si, microseconds, percent } from './format.js';
import { sparkline } from './chart.js';
import { watch } from './live.js';

const SORTS = { name: (r) => r.f.name, rate: (r) => -(r.last?.rate || 0), gas: (r) => -(r.last?.gasRate || 0), p99: (r) => -(r.last?.p99 || 0), errors: (r) => -(r.last?.errorRate || 0) };

// Over the last ten seconds, so that numbers can be read.
export function recent(series, n = 5) {
  const points = series.slice(-n);
  if (!points.length) return null;
  const sum = (f) => points.reduce((all, p) => all + f(p), 0), seconds = sum((p) => p.seconds);
  const known = (f) => points.map(f).filter((v) => v !== null);
  return { rate: sum((p) => p.requests) / seconds, gasRate: sum((p) => p.gas) / seconds, errorRate: sum((p) => p.errors) / seconds,
    errorPart: [sum((p) => p.errors), sum((p) => p.requests)], p50: known((p) => p.p50).sort((a, b) => a - b)[Math.floor(known((p) => p.p50).length / 2)] ?? null,
    p99: known((p) => p.p99).length ? Math.max(...known((p) => p.p99)) : null };
}

function tile(title, kind) {
  const value = h('p', { class: 'value' }, '–'), spark = sparkline(kind, 220, 40);
  return { element: h('section', { class: `tile ${kind}`, 'aria-label': title }, h('h2', {}, title), value, spark.element), update(text, values) { say(value, text); spark.update(values, 90); } };
}

export function badges(f) {
  return [
    f.quarantine && h('span', { class: 'badge bad', title: f.quarantine.detail }, 'quarantine'),
    f.compile_error && h('span', { class: 'badge warn', title: f.compile_error }, 'not compiled'),
    f.is_compiling && h('span', { class: 'badge' }, 'compiling'),
    !f.compile_error && !f.is_compiling && h('span', { class: `badge ${f.tier === 'fast' ? 'good' : ''}` }, f.tier),
    f.access === 'private' && h('span', { class: 'badge' }, 'private'),
    f.canary && h('span', { class: 'badge warn' }, `canary ${f.percent} %`),
  ].filter(Boolean);
}

function makeRow(f) {
  const cells = { rate: h('strong', {}), gas: h('strong', {}), p50: h('span', {}), p99: h('strong', {}), errors: h('strong', {}), state: h('span', { class: 'badges' }), version: h('span', { class: 'muted' }) };
  const sparks = { rate: sparkline('rate'), gas: sparkline('gas'), p99: sparkline('latency'), errors: sparkline('errors') };
  const both = (name) => h('div', { class: 'with-spark' }, sparks[name].element, cells[name]);
  const element = h('tr', {},
    h('th', { scope: 'row' }, h('a', { href: `#/f/${encodeURIComponent(f.name)}` }, f.name), h('div', { class: 'under' }, cells.version, cells.state)),
    h('td', { class: 'number', 'data-label': 'Requests/s' }, both('rate')), h('td', { class: 'number', 'data-label': 'Gas/s' }, both('gas')),
    h('td', { class: 'number', 'data-label': 'p50' }, cells.p50), h('td', { class: 'number', 'data-label': 'p99' }, both('p99')),
    h('td', { class: 'number', 'data-label': 'Errors' }, both('errors')));
  const row = { f, element, last: null, tell(now) {
    row.f = now;
    say(cells.version, `v${now.version}`);
    clear(cells.state, badges(now));
  }, update(series) {
    row.last = recent(series);
    const r = row.last;
    say(cells.rate, r ? si(r.rate) : '–');
    say(cells.gas, r ? si(r.gasRate) : '–');
    say(cells.p50, r ? microseconds(r.p50) : '–');
    say(cells.p99, r ? microseconds(r.p99) : '–');
    say(cells.errors, r ? percent(...r.errorPart) : '–');
    cells.errors.className = r && r.errorPart[0] ? 'bad' : '';
    sparks.rate.update(series.map((p) => p.rate));
    sparks.gas.update(series.map((p) => p.gasRate));
    sparks.p99.update(series.map((p) => p.p99 ?? 0));
    sparks.errors.update(series.map((p) => p.errorRate));
  } };
  row.tell(f);
  return row;
}

export async function overview() {
  let { functions } = await get('/v1/functions');
  const rows = new Map(), body = h('tbody', {}), tiles = { rate: tile('Requests/s', 'rate'), gas: tile('Gas/s', 'gas'), p99: tile('p99 latency', 'latency'), errors: tile('Errors', 'errors') };
  let sort = 'name', filter = '', data = null, order = '';
  const count = h('span', { class: 'muted', role: 'status' });
  const heads = {};
  const head = (name, text, label) => (heads[name] = h('th', { scope: 'col', class: name === 'name' ? '' : 'number' }, h('button', { class: 'sort', onclick: () => { sort = name; draw(); }, 'aria-label': `Sort by ${label || text}` }, text)));
  const grid = h('table', { class: 'functions' }, h('caption', { class: 'hidden' }, 'Functions with their rates over the last ten seconds'),
    h('thead', {}, h('tr', {}, head('name', 'Function'), head('rate', 'Requests/s'), head('gas', 'Gas/s'), h('th', { scope: 'col', class: 'number' }, 'p50'), head('p99', 'p99'), head('errors', 'Errors'))), body);
  const empty = h('div', { class: 'panel nothing' }, h('h2', {}, 'No functions yet'), h('p', {}, 'Drop a WebAssembly module to make one.'), h('p', {}, h('a', { class: 'button primary', href: '#/deploy' }, icon('deploy'), 'Deploy a function')));
  const search = h('input', { type: 'search', placeholder: 'Filter', 'aria-label': 'Filter functions by name', oninput: () => { filter = search.value.trim().toLowerCase(); draw(); } });

  function draw() {
    for (const [name, th] of Object.entries(heads)) name === sort ? th.setAttribute('aria-sort', name === 'name' ? 'ascending' : 'descending') : th.removeAttribute('aria-sort');
    const list = [...rows.values()].filter((r) => r.f.name.includes(filter));
    list.sort((a, b) => { const x = SORTS[sort](a), y = SORTS[sort](b); return x < y ? -1 : x > y ? 1 : a.f.name < b.f.name ? -1 : 1; });
    const names = list.map((r) => r.f.name).join(' ');
    if (names !== order) { if (!body.contains(document.activeElement)) { body.replaceChildren(...list.map((r) => r.element)); order = names; } }
    grid.hidden = rows.size === 0;
    search.parentElement.hidden = rows.size === 0;
    empty.hidden = rows.size > 0;
    say(count, `${list.length} of ${rows.size}`);
  }
  function take(list) {
    functions = list;
    const names = new Set(list.map((f) => f.name));
    for (const name of [...rows.keys()]) if (!names.has(name)) rows.delete(name);
    for (const f of list) rows.has(f.name) ? rows.get(f.name).tell(f) : rows.set(f.name, makeRow(f));
    if (data) update(data);
    draw();
  }
  function update(now) {
    data = now;
    for (const [name, row] of rows) row.update(now.functions.get(name) || []);
    const all = recent(now.total);
    tiles.rate.update(all ? si(all.rate) : '–', now.total.map((p) => p.rate));
    tiles.gas.update(all ? si(all.gasRate) : '–', now.total.map((p) => p.gasRate));
    tiles.p99.update(all ? microseconds(all.p99) : '–', now.total.map((p) => p.p99 ?? 0));
    tiles.errors.update(all ? percent(...all.errorPart) : '–', now.total.map((p) => p.errorRate));
    if (sort !== 'name') draw();
  }
  const element = h('div', {},
    h('div', { class: 'head' }, h('h1', { tabindex: '-1' }, 'Functions'), h('a', { class: 'button primary', href: '#/deploy' }, icon('deploy'), 'Deploy')),
    h('div', { class: 'tiles' }, Object.values(tiles).map((t) => t.element)),
    h('div', { class: 'bar-above' }, search, count), h('div', { class: 'panel flush' }, grid), empty);
  take(functions);
  const unwatch = watch(update);
  const timer = setInterval(async () => { if (!document.hidden) try { take((await get('/v1/functions')).functions); } catch { /* the live numbers say so */ } }, 10000);
  return { title: 'Functions', element, leave() { unwatch(); clearInterval(timer); } };
}
