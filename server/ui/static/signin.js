// Where somebody without a token lands.
import * as api from './api.js';
import { h, field, say } from './dom.js';

const exposedNote = () => api.isExposed() && h('div', { class: 'panel warning', role: 'note' }, h('p', {},
  'This address is plain HTTP, and functions share it: their pages may be able to read a token that you give here, and so may the network. ',
  'Type the address into a new tab yourself, or better use HTTPS, localhost through a tunnel, or a name of the dashboard\u2019s own (', h('code', {}, 'serve --ui-host'), ').'));

export function signInPage(word, enter) {
  const input = h('input', { type: 'password', name: 'token', autocomplete: 'off', spellcheck: 'false', required: true, placeholder: 'gw_…' });
  const keep = h('input', { type: 'checkbox', id: 'keep' });
  const problem = h('p', { class: 'problem', role: 'alert' }, word || '');
  const button = h('button', { class: 'primary wide', type: 'submit' }, 'Sign in');
  return h('main', { id: 'main', class: 'alone', tabindex: '-1' },
    h('img', { src: 'icon.svg', alt: '', width: 48, height: 48 }),
    h('h1', { tabindex: '-1' }, 'Gasworks'),
    exposedNote(),
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
      api.hasOwnOrigin() && h('div', { class: 'check' }, keep, h('label', { htmlFor: 'keep' }, 'Keep it while this tab is open'),
        h('p', { class: 'hint' }, 'Then it survives a reload.')),
      problem, button));
}

// Where an address brought a token: whose it is stands in its first part, which is no secret.
export function givenPage(token, hasOther, use, leave) {
  const id = token.split('_')[1], problem = h('p', { class: 'problem', role: 'alert' });
  const button = h('button', { class: 'primary wide', onclick: async () => {
    button.disabled = true;
    say(problem, '');
    try { await use(); } catch (e) { say(problem, e.status === 401 ? 'That token is not good here: wrong, expired or revoked.' : e.message); }
    button.disabled = false;
  } }, 'Sign in with it');
  return h('main', { id: 'main', class: 'alone', tabindex: '-1' },
    h('img', { src: 'icon.svg', alt: '', width: 48, height: 48 }),
    h('h1', { tabindex: '-1' }, 'Sign in?'),
    h('p', {}, 'The address brought the token ', h('code', {}, id), '. What you do here is then done as its owner, who can see it.',
      hasOther ? ' You are signed in with another one.' : ''),
    h('p', {}, 'Go on only if the address is your own, from gasworks ui.'),
    exposedNote(),
    problem, button, h('button', { class: 'wide', onclick: leave }, hasOther ? 'Stay as I am' : 'Do not'));
}
