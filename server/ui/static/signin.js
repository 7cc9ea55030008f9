// Where somebody without a token lands.
import * as api from './api.js';
import { h, field, say } from './dom.js';

export function signInPage(word, enter) {
  const input = h('input', { type: 'password', name: 'token', autocomplete: 'off', spellcheck: 'false', required: true, placeholder: 'gw_…' });
  const keep = h('input', { type: 'checkbox', id: 'keep' });
  const problem = h('p', { class: 'problem', role: 'alert' }, word || '');
  const button = h('button', { class: 'primary wide', type: 'submit' }, 'Sign in');
  return h('main', { id: 'main', class: 'alone', tabindex: '-1' },
    h('img', { src: 'icon.svg', alt: '', width: 48, height: 48 }),
    h('h1', { tabindex: '-1' }, 'Gasworks'),
    h('form', { onsubmit: async (event) => {
      event.preventDefault();
      button.disabled = true;
      say(problem, '');
      api.useToken(input.value.trim(), keep.checked);
      try {
        await enter();
      } catch (e) {
        api.useToken(null);
        say(problem, e.status === 401 ? 'That token is not good here: wrong, expired or revoked.' : e.message);
        input.focus();
      }
      button.disabled = false;
    } },
      field('Token', input, 'gasworks ui opens this page with one. The server\u2019s first one is in admin-token of its data directory.'),
      h('div', { class: 'check' }, keep, h('label', { htmlFor: 'keep' }, 'Keep it while this tab is open'),
        h('p', { class: 'hint' }, 'Then it survives a reload, but pages of functions opened in this same tab could read it.')),
      problem, button));
}
