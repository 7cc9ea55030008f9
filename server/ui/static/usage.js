// What has been used, day by day, and what it costs; where the server has no such record, what it counted since it started.
import { get, getTenant, homeTenant } from './api.js';
import { h, s, clear, field, table, say } from './dom.js';
import { whole, si, percent, bytes } from './format.js';

const KINDS = [['gas_compute', 'instructions', 'compute'], ['gas_host', 'host calls', 'host'], ['gas_bytes', 'bytes', 'bytes'], ['gas_storage', 'state', 'storage']];
const day = (date) => date.toISOString().slice(0, 10);
const where = (path) => [`/t/${encodeURIComponent(getTenant() || homeTenant())}${path}`, { isServers: true }];

function daysBetween(from, to) {
  const days = [];
  for (let at = new Date(`${from}T00:00:00Z`); day(at) <= to && days.length < 400; at.setUTCDate(at.getUTCDate() + 1)) days.push(day(at));
  return days;
}

// A bar for each day, of the four kinds of gas.
function dayChart(days, rows) {
  const W = 900, H = 150, TOP = 8, w = W / days.length, sums = new Map(days.map((d) => [d, [0, 0, 0, 0]]));
  for (const row of rows) KINDS.forEach(([kind], i) => { if (sums.has(row.day)) sums.get(row.day)[i] += row[kind] || 0; });
  const most = Math.max(1, ...[...sums.values()].map((kinds) => kinds.reduce((a, b) => a + b, 0)));
  const bars = days.map((d, i) => {
    let y = H + TOP;
    return s('g', {}, s('title', {}, `${d}: ${whole(sums.get(d).reduce((a, b) => a + b, 0))} gas`), sums.get(d).map((n, k) => {
      const height = (n / most) * H;
      y -= height;
      return n > 0 && s('rect', { class: `part ${KINDS[k][2]}`, x: i * w + 1, y, width: Math.max(1, w - 2), height: Math.max(0.5, height) });
    }));
  });
  const all = [...sums.values()].flat().reduce((a, b) => a + b, 0);
  return h('figure', { class: 'panel' }, h('figcaption', {}, h('h2', {}, 'Gas by day'), h('ul', { class: 'legend' }, KINDS.map(([, label, kind]) => h('li', {}, h('span', { class: `dot ${kind}`, 'aria-hidden': 'true' }), label)))),
    s('svg', { viewBox: `0 0 ${W} ${H + TOP + 22}`, role: 'img', class: 'chart wide', 'aria-label': `${whole(all)} gas from ${days[0]} to ${days[days.length - 1]}; at most ${whole(most)} on a day` }, bars,
      s('line', { class: 'base', x1: 0, x2: W, y1: H + TOP, y2: H + TOP }), s('text', { x: 0, y: H + TOP + 17 }, days[0]), s('text', { x: W, y: H + TOP + 17, 'text-anchor': 'end' }, days[days.length - 1])));
}

const number = (n, show = si) => h('td', { class: 'number', title: typeof n === 'number' ? whole(n) : '' }, n === undefined ? '\u2013' : show(n));
const head = (text) => ({ text, class: 'number' });

function usageTable(rows, total) {
  const byName = new Map();
  for (const row of rows) {
    const sum = byName.get(row.function) || {};
    for (const [key, value] of Object.entries(row)) if (typeof value === 'number' && key !== 'version') sum[key] = (sum[key] || 0) + value;
    byName.set(row.function, sum);
  }
  const all = total.gas || 0, sorted = [...byName].sort((a, b) => (b[1].gas || 0) - (a[1].gas || 0));
  const line = (name, r, isTotal) => h('tr', { class: isTotal ? 'total' : null }, h('th', { scope: 'row' }, isTotal ? 'Together' : /^[a-z0-9_-]+$/.test(name) ? h('a', { href: `#/f/${encodeURIComponent(name)}` }, name) : name),
    number(r.requests, whole), number(r.failures, whole), number(r.gas), h('td', { class: 'number' }, isTotal ? '' : percent(r.gas || 0, all)), number(r.gas_storage), number(r.bytes_out, bytes), number(r.rent), number(r.cost, String));
  return table('Use by function', ['Function', head('Requests'), head('Failures'), head('Gas'), head('Part'), head('Gas of state'), head('Bytes out'), head('Byte-seconds'), head('Cost')], sorted.length ? [...sorted.map(([name, r]) => line(name, r, false)), line('', total, true)] : [], 'Nothing was used in this time.');
}

async function budgetPart() {
  let budget;
  try { budget = await get(...where('/v1/budget')); } catch { return null; }
  const names = { credit: 'Credit', spent: 'Spent', left: 'Left', gas_per_second: 'Gas per second', concurrency: 'Invocations at once', memory: 'Memory', storage: 'Storage', functions: 'Functions', running: 'Running now', bytes_stored: 'Stored now', currency: 'Currency' };
  const rows = Object.entries(names).filter(([key]) => budget[key] !== undefined && budget[key] !== null);
  return rows.length > 0 && h('section', { class: 'panel', 'aria-label': 'Budget' }, h('h2', {}, 'Budget'), h('dl', { class: 'facts' },
    rows.map(([key, label]) => [h('dt', {}, label), h('dd', {}, typeof budget[key] === 'number' ? (/memory|storage|bytes/.test(key) ? bytes(budget[key]) : whole(budget[key])) : String(budget[key]))])));
}

async function kept() {
  const now = new Date(), from = h('input', { type: 'date', value: day(new Date(now - 29 * 864e5)), max: day(now) }), to = h('input', { type: 'date', value: day(now), max: day(now) });
  const out = h('div', {}), problem = h('p', { class: 'problem', role: 'alert' });
  async function draw() {
    say(problem, '');
    if (!from.value || !to.value || from.value > to.value) { say(problem, 'The first day comes before the last.'); return; }
    try {
      const answer = await get(...where(`/v1/usage?from=${from.value}&to=${to.value}&by=function,day`));
      clear(out, dayChart(daysBetween(from.value, to.value), answer.rows), h('div', { class: 'panel flush' }, usageTable(answer.rows, answer.total || {})));
    } catch (e) { say(problem, e.message); }
  }
  await get(...where('/v1/usage')); // 404 where there is no such route
  await draw();
  from.addEventListener('change', draw);
  to.addEventListener('change', draw);
  return h('div', {}, h('div', { class: 'bar-above dates' }, field('From', from), field('To', to)), problem, out, await budgetPart());
}

async function sinceStart() {
  const [{ functions }, metrics] = await Promise.all([get('/v1/functions'), get('/v1/metrics')]);
  const counted = new Map(metrics.functions.map((f) => [f.name, f])), all = metrics.functions.reduce((n, f) => n + f.gas, 0);
  const rows = functions.map((f) => [f, counted.get(f.name) || { gas: 0, requests: 0, cancelled_gas: 0, cpu_ms: 0 }]).sort((a, b) => b[1].gas - a[1].gas);
  return h('section', { 'aria-label': 'Since the server started' }, h('h2', {}, 'Since the server started'), h('div', { class: 'panel flush' },
    table('Use by function since the server started', ['Function', head('Requests'), head('Gas'), head('Part'), head('Gas of cancelled ones'), head('CPU time')],
      rows.map(([f, n]) => h('tr', {}, h('th', { scope: 'row' }, h('a', { href: `#/f/${encodeURIComponent(f.name)}` }, f.name)), number(n.requests, whole), number(n.gas),
        h('td', { class: 'number' }, percent(n.gas, all)), number(n.cancelled_gas), number(n.cpu_ms, (ms) => `${si(ms / 1000)} s`))), 'No functions yet.')));
}

export async function usagePage() {
  let record = null;
  try { record = await kept(); } catch (e) { if (e.status !== 404) throw e; }
  return { title: 'Usage', element: h('div', {}, h('h1', { tabindex: '-1' }, 'Usage'),
    record || h('p', { class: 'lead' }, 'This server keeps no record of usage by day.'), await sinceStart()) };
}
