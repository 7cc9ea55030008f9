// One function: its numbers, versions, logs, receipts, settings, and a console to call it.
import { get, change, Problem } from './api.js';
import { h, say, clear, icon, ask, field, formDialog, toast, copyButton, table } from './dom.js';
import { si, whole, bytes, microseconds, percent, time, ago } from './format.js';
import { timeChart, histogramChart } from './chart.js';
import { watch } from './live.js';
import { badges, recent } from './overview.js';
import { consoleTab } from './console.js';
import { logsTab } from './logs.js';
import { settingsTab } from './settings.js';
import { receiptsOf } from './receipt.js';

const TABS = [['live', 'Live'], ['invoke', 'Invoke'], ['versions', 'Versions'], ['logs', 'Logs'], ['receipts', 'Receipts'], ['settings', 'Settings']];

export const place = (name) => `/v1/functions/${encodeURIComponent(name)}`;
const again = () => dispatchEvent(new HashChangeEvent('hashchange'));

// --- live

function facts(f) {
  const fact = (name, value) => [h('dt', {}, name), h('dd', {}, value)];
  return h('dl', { class: 'facts' },
    fact('Version', `v${f.version}, ${ago(f.created)}`), fact('Module', [bytes(f.size), ' ', h('code', { title: f.digest }, f.digest.slice(0, 12)), copyButton(f.digest, 'Copy the digest')]),
    fact('Interface', f.interface === 'cgi' ? 'CGI program' : 'handler'), fact('Runs in', f.is_compiling ? `${f.tier}, being compiled` : f.tier),
    fact('Access', f.access), fact('Gas since the server started', whole(f.gas)), fact('CPU time', `${si(f.cpu_ms / 1000)} s`),
    f.band !== 'inside' && fact('Time for its gas', f.band === 'slow' ? 'more than 20 times what gas stands for' : 'less than a 20th of what gas stands for'));
}

function liveTab(f) {
  const charts = [
    timeChart('Requests/s', [{ kind: 'rate', label: 'all', of: (p) => p.rate }, { kind: 'errors', label: 'errors', of: (p) => p.errorRate }], si),
    timeChart('Latency', [{ kind: 'p50', label: 'p50', of: (p) => p.p50 }, { kind: 'p95', label: 'p95', of: (p) => p.p95 }, { kind: 'latency', label: 'p99', of: (p) => p.p99 }], microseconds),
    timeChart('Gas/s', [{ kind: 'gas', label: 'gas', of: (p) => p.gasRate }], si),
  ];
  const spread = histogramChart('How long requests took, since the server started', microseconds);
  const numbers = h('dl', { class: 'numbers' }), shown = {};
  for (const name of ['Requests/s', 'Gas/s', 'Gas per request', 'p50', 'p99', 'Errors', 'Cold starts']) numbers.append(h('div', {}, h('dt', {}, name), (shown[name] = h('dd', {}, '–'))));
  const unwatch = watch((data) => {
    const series = data.functions.get(f.name) || [], r = recent(series), now = data.now?.get(f.name);
    for (const chart of charts) chart.update(series);
    if (now) {
      const counts = new Array(data.bounds.length + 1).fill(0);
      for (const [bucket, n] of now.latency) counts[bucket] = n;
      spread.update(counts, data.bounds);
      say(shown['Cold starts'], `${whole(now.cold)} of ${whole(now.requests)}`);
    }
    if (!r) return;
    say(shown['Requests/s'], si(r.rate));
    say(shown['Gas/s'], si(r.gasRate));
    say(shown['Gas per request'], r.rate ? si(r.gasRate / r.rate) : '–');
    say(shown.p50, microseconds(r.p50));
    say(shown.p99, microseconds(r.p99));
    say(shown.Errors, percent(...r.errorPart));
  });
  return { element: h('div', {}, numbers, h('div', { class: 'charts' }, charts.map((c) => c.element), spread.element),
    h('section', { class: 'panel', 'aria-label': 'Facts' }, h('h2', {}, 'This version'), facts(f))), leave: unwatch };
}

// --- versions

async function lead(f, alias, body, word) {
  await change('PUT', `${place(f.name)}/aliases/${encodeURIComponent(alias)}`, body, { headers: { 'If-Match': `"r${f.revision}"` } });
  toast(word);
  again();
}

function canaryDialog(f, version) {
  const share = h('input', { type: 'number', min: '0.01', max: '99.99', step: '0.01', value: '5', required: true });
  formDialog(`Send a part of the calls to v${version}`, 'Start', field('Percent of calls', share, `The others stay with v${f.version}. State is shared by all versions.`),
    () => lead(f, 'live', { version: f.version, canary: version, percent: Number(share.value) }, `v${version} gets ${share.value} % of the calls.`));
}

function aliasDialog(f, versions) {
  const name = h('input', { type: 'text', pattern: '[a-z][a-z0-9_\\-]{0,62}', required: true, placeholder: 'beta', autocomplete: 'off' });
  const to = h('select', {}, versions.map((v) => h('option', { value: String(v.version) }, `v${v.version}`)));
  formDialog('A name of its own for a version', 'Save', [field('Alias', name, 'It is called as NAME@ALIAS.'), field('Version', to)],
    () => lead(f, name.value, { version: Number(to.value) }, `${f.name}@${name.value} leads to v${to.value}.`));
}

function versionRow(f, v, aliases) {
  const names = aliases.filter((a) => a.version === v.version).map((a) => h('span', { class: `badge ${a.alias === 'live' ? 'good' : ''}` }, a.alias));
  const canaries = aliases.filter((a) => a.canary === v.version).map((a) => h('span', { class: 'badge warn' }, `${a.alias} ${a.percent} %`));
  const isLive = f.version === v.version, isLed = names.length + canaries.length > 0;
  const buttons = [
    !isLive && h('button', { onclick: async () => { if (await ask(`Make v${v.version} live?`, `Calls of ${f.name} go to v${v.version} from now on. v${f.version} stays and can be live again.`, 'Make live', false)) await lead(f, 'live', { version: v.version }, `v${v.version} is live.`); } }, 'Make live'),
    !isLive && !f.canary && h('button', { onclick: () => canaryDialog(f, v.version) }, 'Canary …'),
    f.canary === v.version && h('button', { onclick: () => lead(f, 'live', { version: f.version }, 'The canary has ended.') }, 'End canary'),
    !isLed && h('button', { class: 'danger', onclick: async () => {
      if (!await ask(`Delete v${v.version}?`, 'Its module is gone then.', 'Delete')) return;
      await change('DELETE', `${place(f.name)}/versions/${v.version}`);
      toast(`v${v.version} is deleted.`);
      again();
    } }, 'Delete'),
  ];
  return h('tr', {}, h('th', { scope: 'row' }, `v${v.version}`), h('td', { class: 'badges' }, names, canaries, v.quarantine && h('span', { class: 'badge bad' }, 'quarantine')),
    h('td', {}, h('time', { datetime: v.created, title: time(v.created) }, ago(v.created))), h('td', { class: 'number' }, bytes(v.size)), h('td', {}, h('code', { title: v.digest }, v.digest.slice(0, 12))),
    h('td', { class: 'actions' }, buttons));
}

async function versionsTab(f) {
  const { versions, aliases } = await get(`${place(f.name)}/versions`);
  const others = aliases.filter((a) => a.alias !== 'live');
  return { element: h('div', {},
    h('div', { class: 'head' }, h('h2', {}, 'Versions'), h('div', { class: 'actions' },
      f.previous && h('button', { onclick: async () => { if (await ask(`Roll back to v${f.previous}?`, `v${f.version} stays and can be live again.`, 'Roll back', false)) await lead(f, 'live', { version: 'previous' }, `v${f.previous} is live again.`); } }, icon('back'), `Roll back to v${f.previous}`),
      h('a', { class: 'button primary', href: `#/deploy/${encodeURIComponent(f.name)}` }, icon('deploy'), 'New version'))),
    h('div', { class: 'panel flush' }, table('Versions, the newest first', ['Version', 'Leads here', 'Deployed', { text: 'Size', class: 'number' }, 'Module', h('span', { class: 'hidden' }, 'Actions')], versions.map((v) => versionRow(f, v, aliases)), 'none')),
    h('div', { class: 'head' }, h('h2', {}, 'Aliases'), h('button', { onclick: () => aliasDialog(f, versions) }, 'Add alias …')),
    h('div', { class: 'panel flush' }, table('Aliases', ['Alias', 'Version', 'Canary', h('span', { class: 'hidden' }, 'Actions')], aliases.map((a) => h('tr', {}, h('th', { scope: 'row' }, a.alias), h('td', {}, `v${a.version}`), h('td', {}, a.canary ? `v${a.canary}, ${a.percent} %` : 'none'),
      h('td', { class: 'actions' }, others.includes(a) && h('button', { class: 'danger', onclick: async () => {
        if (!await ask(`Delete the alias ${a.alias}?`, `${f.name}@${a.alias} is no address any more then.`, 'Delete')) return;
        await change('DELETE', `${place(f.name)}/aliases/${encodeURIComponent(a.alias)}`);
        toast(`The alias ${a.alias} is deleted.`);
        again();
      } }, 'Delete')))), 'none'))) };
}

// --- the page

function quarantineNote(f) {
  if (!f.quarantine) return null;
  return h('div', { class: 'panel warning', role: 'note' }, h('h2', {}, 'In quarantine'), h('p', {}, f.quarantine.detail),
    h('button', { onclick: async () => {
      if (!await ask('Let it be called again?', 'It ran when the server crashed, and may do that again.', 'Lift the quarantine')) return;
      await change('DELETE', `${place(f.name)}/quarantine`);
      toast('It can be called again.');
      again();
    } }, 'Lift the quarantine'));
}

export async function functionPage(name, tab = 'live') {
  const f = await get(place(name));
  if (!f) throw new Problem(404, { detail: 'no such function' });
  const make = { live: liveTab, invoke: consoleTab, versions: versionsTab, logs: logsTab, settings: settingsTab, receipts: (g) => receiptsOf(g.name) }[tab];
  const part = await make(f), url = new URL(`..${f.path}`, location.href.replace(/[#?].*$/, '')).href;
  const note = h('div', {});
  clear(note, quarantineNote(f), f.compile_error && h('div', { class: 'panel warning', role: 'note' }, h('h2', {}, 'It could not be compiled'), h('p', {}, f.compile_error), h('p', {}, 'It runs in the baseline tier, several times slower.')));
  return { title: f.name, tabsOf: f.name, leave: () => part.leave?.(), enter: () => part.enter?.(),
    element: h('div', {},
      h('p', { class: 'crumbs' }, h('a', { href: '#/' }, 'Functions'), ' / ', f.name),
      h('div', { class: 'head' }, h('h1', { tabindex: '-1' }, f.name), h('span', { class: 'badges' }, h('span', { class: 'badge' }, `v${f.version}`), badges(f))),
      h('p', { class: 'url' }, h('a', { href: url, target: '_blank', rel: 'noopener noreferrer' }, url), copyButton(url, 'Copy the address')), note,
      h('nav', { class: 'tabs', 'aria-label': `Parts of ${f.name}` }, TABS.map(([id, text]) => h('a', { href: `#/f/${encodeURIComponent(f.name)}/${id}`, 'aria-current': id === tab ? 'page' : null }, text))),
      part.element) };
}
