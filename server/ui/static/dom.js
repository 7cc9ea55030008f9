// Making elements. Text only ever becomes text: nothing here, nor anywhere else in the dashboard, parses HTML, and the page's
// Content-Security-Policy (Trusted Types) would refuse it.

const SVG = 'http://www.w3.org/2000/svg';

function set(element, name, value) {
  if (value === undefined || value === null || value === false) return;
  if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
  else if (name === 'text') element.textContent = value;
  else if (name === 'value' || name === 'checked' || name === 'disabled' || name === 'htmlFor' || name === 'readOnly') element[name] = value;
  else element.setAttribute(name, value === true ? '' : String(value));
}

function add(element, child) {
  if (Array.isArray(child)) child.forEach((c) => add(element, c));
  else if (child !== undefined && child !== null && child !== false) element.append(child instanceof Node ? child : String(child));
}

function make(element, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) set(element, name, value);
  add(element, children);
  return element;
}

// h('p', { class: 'note' }, 'text', child): an element of HTML. `on...` are listeners.
export const h = (tag, properties, ...children) => make(document.createElement(tag), properties, children);
// The same of SVG.
export const s = (tag, properties, ...children) => make(document.createElementNS(SVG, tag), properties, children);

// Sets text only where it changes, so that a selection survives and nothing is laid out again.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const clear = (element, ...children) => { element.replaceChildren(); add(element, children); return element; };

let labels = 0;
export const freshId = () => `id${++labels}`;

// A labelled control: field('Name', input, 'hint').
export function field(label, control, hint) {
  const id = control.id || (control.id = freshId());
  const hintId = hint && `${id}-hint`;
  if (hint) control.setAttribute('aria-describedby', hintId);
  return h('div', { class: 'field' }, h('label', { htmlFor: id }, label), control, hint && h('p', { class: 'hint', id: hintId }, hint));
}

const ICONS = {
  overview: 'M3 12h4l3-8 4 16 3-8h4', deploy: 'M12 16V4m0 0L7 9m5-5 5 5M4 20h16', receipt: 'M6 3h12v18l-3-2-3 2-3-2-3 2zM9 8h6M9 12h6',
  usage: 'M4 20V10m6 10V4m6 16v-7m4 7H2', theme: 'M12 3a9 9 0 1 0 9 9 7 7 0 0 1-9-9z', out: 'M15 4h4v16h-4M10 8l-4 4 4 4m-4-4h10',
  copy: 'M9 9h10v11H9zM5 15V4h10', play: 'M7 4l12 8-12 8z', search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zm5 12 5 5', check: 'M5 12l5 5 9-11',
  tool: 'M14 6a4 4 0 0 0 5 5L9 21l-4-4L15 7a4 4 0 0 1-1-1zM15 3l-1 3 4 4 3-1', cross: 'M6 6l12 12M18 6 6 18', back: 'M15 5l-7 7 7 7', token: 'M14 10a5 5 0 1 0-2 3l7 7m-3-3 2-2', server: 'M4 5h16v6H4zM4 13h16v6H4zM8 8h.01M8 16h.01',
};

export const icon = (name) => s('svg', { class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true', focusable: 'false' }, s('path', { d: ICONS[name] }));

// A word at the edge of the window, read out by screen readers. Errors stay until they are closed.
export function toast(text, kind = 'good') {
  const box = h('div', { class: `toast ${kind}` }, h('span', {}, text),
    h('button', { class: 'plain', 'aria-label': 'Close', onclick: () => box.remove() }, icon('cross')));
  document.getElementById('toasts').append(box);
  if (kind === 'good') setTimeout(() => box.remove(), 6000);
}

// Asks before something that cannot be taken back. Resolves to true or false.
export function ask(title, text, action, danger = true) {
  return new Promise((resolve) => {
    const id = freshId();
    const dialog = h('dialog', { 'aria-labelledby': id, onclose: () => { dialog.remove(); resolve(dialog.returnValue === 'yes'); } },
      h('h2', { id }, title), h('p', {}, text),
      h('div', { class: 'actions' },
        h('button', { onclick: () => dialog.close('no') }, 'Cancel'),
        h('button', { class: danger ? 'danger' : 'primary', onclick: () => dialog.close('yes') }, action)));
    document.body.append(dialog);
    dialog.showModal();
  });
}

// A dialog with a form in it; `submit` may fail, then it stays and says why.
export function formDialog(title, action, content, submit) {
  const id = freshId(), problem = h('p', { class: 'problem', role: 'alert' });
  const send = h('button', { class: 'primary', type: 'submit' }, action);
  const dialog = h('dialog', { 'aria-labelledby': id, onclose: () => dialog.remove() },
    h('form', { onsubmit: async (event) => {
      event.preventDefault();
      send.disabled = true;
      say(problem, '');
      try { await submit(); dialog.close(); } catch (e) { say(problem, e.message); }
      send.disabled = false;
    } },
      h('h2', { id }, title), content, problem,
      h('div', { class: 'actions' }, h('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel'), send)));
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export function copyButton(text, label) {
  return h('button', { class: 'plain', 'aria-label': label, title: label, onclick: async () => {
    try { await navigator.clipboard.writeText(text); toast('Copied.'); } catch { toast('The browser does not let pages copy here.', 'bad'); }
  } }, icon('copy'));
}

// table(['Name', { text: 'Gas', class: 'number' }], rows of cells)
export function table(caption, heads, rows, empty) {
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
    h('table', {}, h('caption', { class: 'hidden' }, caption),
      h('thead', {}, h('tr', {}, heads.map((head) => h('th', { scope: 'col', class: head.class }, head.text ?? head)))),
      h('tbody', {}, rows.length ? rows : h('tr', {}, h('td', { colspan: heads.length, class: 'empty' }, empty)))));
}
