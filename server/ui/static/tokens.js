// Tokens: who may do what.
import { get, change } from './api.js';
import { h, table, field, formDialog, ask, toast, copyButton } from './dom.js';
import { time, ago } from './format.js';

const SCOPES = { deploy: 'deploy, configure and delete functions', invoke: 'call private functions', run: 'run modules that nobody deployed', read: 'see functions, logs, receipts and numbers', admin: 'all of that, and tokens' };
const again = () => dispatchEvent(new HashChangeEvent('hashchange'));

function showSecret(token) {
  const code = h('code', { class: 'secret' }, token.token);
  formDialog('The new token', 'Done', [h('p', {}, 'Nobody can read it again. Copy it now.'), h('p', {}, code, copyButton(token.token, 'Copy the token'))], async () => { again(); });
}

function createDialog() {
  const name = h('input', { type: 'text', required: true, maxlength: '64', autocomplete: 'off', placeholder: 'ci' }), days = h('input', { type: 'number', min: '1', step: '1', placeholder: 'for ever' });
  const boxes = Object.entries(SCOPES).map(([scope, text]) => [scope, h('input', { type: 'checkbox', id: `scope-${scope}`, checked: scope === 'read' }), text]);
  formDialog('A new token', 'Create', [field('Name', name, 'What it is for.'), h('fieldset', {}, h('legend', {}, 'It may'), boxes.map(([scope, box, text]) => h('div', { class: 'check' }, box, h('label', { htmlFor: box.id }, `${scope}: ${text}`)))), field('Days', days, 'After these it is not good any more.')],
    async () => {
      const wish = { name: name.value, scopes: boxes.filter(([, box]) => box.checked).map(([scope]) => scope) };
      if (!wish.scopes.length) throw new Error('A token that may nothing is of no use.');
      if (days.value) wish.expires_in = Number(days.value) * 86400;
      const made = await change('POST', '/v1/tokens', wish);
      setTimeout(showSecret, 0, made);
    });
}

function row(t) {
  return h('tr', {}, h('th', { scope: 'row' }, t.name || t.id), h('td', {}, h('code', {}, t.id)), h('td', {}, t.tenant === null ? 'the server' : t.tenant), h('td', { class: 'badges' }, t.scopes.map((scope) => h('span', { class: 'badge' }, scope))),
    h('td', {}, ago(t.created)), h('td', {}, t.expires ? time(t.expires) : 'never'),
    h('td', { class: 'actions' }, h('button', { class: 'danger', onclick: async () => {
      if (!await ask(`Revoke ${t.name || t.id}?`, 'No request that comes after it can use the token.', 'Revoke')) return;
      await change('DELETE', `/v1/tokens/${encodeURIComponent(t.id)}`);
      toast('The token is revoked.');
      again();
    } }, 'Revoke')));
}

export async function tokensPage() {
  let tokens = null, why = '';
  try { ({ tokens } = await get('/v1/tokens')); } catch (e) { if (e.status !== 403) throw e; why = e.message; }
  return { title: 'Tokens', element: h('div', {}, h('div', { class: 'head' }, h('h1', { tabindex: '-1' }, 'Tokens'), tokens && h('button', { class: 'primary', onclick: createDialog }, 'New token …')),
    tokens ? h('div', { class: 'panel flush' }, table('Tokens', ['Name', 'ID', 'Of', 'Scopes', 'Made', 'Ends', h('span', { class: 'hidden' }, 'Actions')], tokens.map(row), 'none')) : h('p', { class: 'panel' }, `Tokens are for who has the scope admin: ${why}.`)) };
}
