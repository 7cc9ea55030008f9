// A version's settings: PATCH makes the next version with what was changed here.
import { change } from './api.js';
import { h, field, icon, say, toast, ask } from './dom.js';
import { place } from './function.js';

const again = () => dispatchEvent(new HashChangeEvent('hashchange'));

// Rows of a name and a value; `read` gives a merge patch against what was there: null for what is gone.
function pairs(title, what, given, isSecret) {
  const rows = [], list = h('div', { class: 'pairs' });
  function add(name = '', value = '', isKept = false) {
    const key = h('input', { type: 'text', value: name, 'aria-label': `Name of ${what}`, placeholder: 'NAME', readOnly: isKept && isSecret, autocomplete: 'off', spellcheck: 'false' });
    const input = h('input', { type: isSecret ? 'password' : 'text', value, 'aria-label': `Value of ${name || what}`, placeholder: isKept && isSecret ? 'unchanged' : 'value', autocomplete: 'new-password', spellcheck: 'false' });
    const row = { key, input, name, value, isKept };
    const element = h('div', { class: 'pair' }, key, input, h('button', { type: 'button', class: 'plain', 'aria-label': `Remove ${name || what}`, onclick: () => { rows.splice(rows.indexOf(row), 1); element.remove(); more.focus(); } }, icon('cross')));
    rows.push(row);
    list.append(element);
    return key;
  }
  const more = h('button', { type: 'button', onclick: () => add().focus() }, `Add ${what}`);
  for (const [name, value] of Object.entries(given)) add(name, value, true);
  return { element: h('fieldset', {}, h('legend', {}, title), list, more), read() {
    const patch = {}, now = new Map();
    for (const row of rows) if (row.key.value.trim()) now.set(row.key.value.trim(), row);
    for (const name of Object.keys(given)) if (!now.has(name)) patch[name] = null;
    for (const [name, row] of now) {
      const isSame = row.isKept && name === row.name && (isSecret ? row.input.value === '' : row.input.value === row.value);
      if (!isSame) patch[name] = row.input.value;
    }
    return Object.keys(patch).length ? patch : undefined;
  } };
}

function number(label, hint, name, settings, unit = 1) {
  const was = settings[name] === undefined ? '' : String(settings[name] / unit);
  const input = h('input', { type: 'number', min: '1', step: 'any', value: was, placeholder: 'the server\u2019s' });
  return { element: field(label, input, hint), name, read: () => (input.value === was ? undefined : input.value === '' ? null : Math.round(Number(input.value) * unit)) };
}

// words: what PATCH takes, or [what it takes, what is shown]; null is what the server does unless told.
function choice(label, name, words, now, hint) {
  const pairs = words.map((w) => (Array.isArray(w) ? w : [w, w])), before = pairs.findIndex(([value]) => value === (now ?? null));
  const select = h('select', {}, pairs.map(([, text], i) => h('option', { value: String(i) }, text)));
  select.value = String(before);
  return { element: field(label, select, hint), name, read: () => (select.value === String(before) ? undefined : pairs[Number(select.value)][0]) };
}

function word(label, hint, name, settings) {
  const was = settings[name] || '', input = h('input', { type: 'text', value: was, pattern: '[a-z0-9][a-z0-9_\\-]{0,62}', placeholder: 'none', autocomplete: 'off', spellcheck: 'false' });
  return { element: field(label, input, hint), name, read: () => (input.value === was ? undefined : input.value || null) };
}

async function remove(f) {
  const withState = h('input', { type: 'checkbox', id: 'with-state' });
  if (!await ask(`Delete ${f.name}?`, 'All its versions are gone then. Its state stays for a later function of this name, unless that is deleted, too.', 'Delete')) return;
  withState.checked = await ask(`Delete the state of ${f.name}, too?`, 'It cannot be had back. Cancel keeps it.', 'Delete the state');
  await change('DELETE', place(f.name) + (withState.checked ? '?state=delete' : ''));
  toast(`${f.name} is deleted.`);
  location.hash = '#/';
}

export async function settingsTab(f) {
  const s = f.settings, problem = h('p', { class: 'problem', role: 'alert' });
  const env = pairs('Environment', 'variable', s.env || {}), headers = pairs('Headers of replies', 'header', s.headers || {}), directories = pairs('Directories, by where they are', 'directory', s.directories || {});
  const secrets = pairs('Secrets', 'secret', Object.fromEntries((s.secrets || []).map((name) => [name, ''])), true);
  const plain = [
    number('Gas limit', 'of an invocation', 'gas_limit', s), number('Memory in MiB', 'of an invocation', 'max_memory', s, 1 << 20),
    number('CPU time in ms', 'of an invocation; beyond it, 503', 'cpu_ms', s), number('Deadline in ms', 'from the request to its answer; beyond it, 504', 'deadline_ms', s), number('At one time', 'invocations; more get 503', 'max_running', s),
    choice('Tier', 'tier', [[null, 'the server\u2019s'], 'fast', 'baseline', 'precise'], s.tier), word('State group', 'whose state it shares', 'state_group', s),
    choice('GET may write state', 'read_only_get', [[null, 'yes'], [true, 'no']], s.read_only_get || null), choice('Access', 'access', ['public', 'private'], f.access), choice('Backtraces for callers', 'backtraces', ['off', 'on'], f.backtraces),
  ];
  const send = h('button', { class: 'primary', type: 'submit' }, 'Save as a new version');
  const form = h('form', { class: 'panel settings', onsubmit: async (event) => {
    event.preventDefault();
    const patch = { env: env.read(), secrets: secrets.read(), headers: headers.read(), directories: directories.read() };
    for (const p of plain) patch[p.name] = p.read();
    for (const name of Object.keys(patch)) if (patch[name] === undefined) delete patch[name];
    if (!Object.keys(patch).length) { say(problem, 'Nothing was changed.'); return; }
    send.disabled = true;
    try {
      const next = await change('PATCH', place(f.name), patch, { headers: { 'If-Match': `"r${f.revision}"` } });
      toast(`v${next.version} has these settings and is live.`);
      again();
    } catch (e) { say(problem, e.status === 412 ? 'Somebody else has changed the function meanwhile. Load this page again.' : e.message); }
    send.disabled = false;
  } },
    h('div', { class: 'columns' }, plain.map((p) => p.element)), env.element, secrets.element,
    h('p', { class: 'hint' }, 'Secrets are write-only: nobody can read them again, here or elsewhere.'), headers.element,
    directories.element, h('p', { class: 'hint' }, 'Read-only, and by a name that the operator allows: /assets, and assets.'), problem, send);
  return { element: h('div', {}, form, h('section', { class: 'panel danger-zone' }, h('h2', {}, 'Delete the function'), h('p', {}, 'Callers get 404 from then on.'), h('button', { class: 'danger', onclick: () => remove(f) }, `Delete ${f.name} …`))) };
}
