// What has been used, and what it costs.
import { get } from './api.js';
import { h, table } from './dom.js';
import { whole, si, percent } from './format.js';

async function sinceStart() {
  const [{ functions }, metrics] = await Promise.all([get('/v1/functions'), get('/v1/metrics')]);
  const counted = new Map(metrics.functions.map((f) => [f.name, f])), all = metrics.functions.reduce((n, f) => n + f.gas, 0);
  const rows = functions.map((f) => [f, counted.get(f.name) || { gas: 0, requests: 0, cancelled_gas: 0, cpu_ms: 0 }]).sort((a, b) => b[1].gas - a[1].gas);
  return h('section', { 'aria-label': 'Since the server started' }, h('h2', {}, 'Since the server started'), h('div', { class: 'panel flush' },
    table('Use by function', ['Function', { text: 'Requests', class: 'number' }, { text: 'Gas', class: 'number' }, { text: 'Part', class: 'number' }, { text: 'Gas of cancelled ones', class: 'number' }, { text: 'CPU time', class: 'number' }],
      rows.map(([f, n]) => h('tr', {}, h('th', { scope: 'row' }, h('a', { href: `#/f/${encodeURIComponent(f.name)}` }, f.name)), h('td', { class: 'number' }, whole(n.requests)), h('td', { class: 'number', title: whole(n.gas) }, si(n.gas)),
        h('td', { class: 'number' }, percent(n.gas, all)), h('td', { class: 'number' }, si(n.cancelled_gas)), h('td', { class: 'number' }, `${si(n.cpu_ms / 1000)} s`))), 'No functions yet.')));
}

export async function usagePage() {
  return { title: 'Usage', element: h('div', {}, h('h1', { tabindex: '-1' }, 'Usage'), await sinceStart(),
    h('p', { class: 'muted' }, 'This server has no bill: usage over months is not kept.')) };
}
