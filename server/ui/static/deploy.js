// A module is dropped, and is a function.
import { get, upload } from './api.js';
import { h, say, clear, icon, field } from './dom.js';
import { bytes } from './format.js';
import { place } from './function.js';

const nameOf = (file) => file.name.replace(/\.(wasm|gwa|cwasm)$/i, '').toLowerCase().replace(/[^a-z0-9_-]+/g, '-').replace(/^[-_]+/, '').slice(0, 63);
const MAGIC = [0, 0x61, 0x73, 0x6d];

const list = (title, names) => names?.length > 0 && h('div', {}, h('h3', {}, title), h('ul', { class: 'names' }, names.map((n) => h('li', {}, h('code', {}, n)))));

function changesPart(changes, version) {
  if (!changes) return null;
  const size = changes.size === 0 ? 'the same size' : `${bytes(Math.abs(changes.size))} ${changes.size > 0 ? 'larger' : 'smaller'}`;
  return h('div', {}, h('p', {}, `Against v${changes.from}: v${version} is ${size}${changes.imports_added?.length || changes.imports_removed?.length ? '' : ', with the same imports'}.`),
    list('It imports now', changes.imports_added), list('It imports no more', changes.imports_removed));
}

export async function deployPage(forName) {
  const { functions } = await get('/v1/functions');
  const known = new Map(functions.map((f) => [f.name, f]));
  const file = h('input', { type: 'file', accept: '.wasm,.gwa,application/wasm', id: 'module' });
  const chosen = h('p', { class: 'chosen' }, 'or choose one'), problem = h('p', { class: 'problem', role: 'alert' }), result = h('div', { role: 'status' });
  const name = h('input', { type: 'text', value: forName || '', required: true, pattern: '[a-z0-9][a-z0-9_\\-]{0,62}', autocomplete: 'off', spellcheck: 'false', list: 'known' });
  const alias = h('input', { type: 'text', placeholder: 'live', pattern: '[a-z][a-z0-9_\\-]{0,62}', autocomplete: 'off', spellcheck: 'false' });
  const access = h('select', {}, [['', 'as before, or public'], ['public', 'public'], ['private', 'private']].map(([value, text]) => h('option', { value }, text)));
  const progress = h('progress', { max: '1', 'aria-label': 'Progress of the upload', hidden: true }), word = h('p', { class: 'muted' });
  const send = h('button', { class: 'primary', type: 'submit' }, icon('deploy'), 'Deploy');
  const note = h('p', { class: 'hint' });
  let module = null;

  function tell() {
    const before = known.get(name.value);
    say(note, !name.value ? '' : before ? `v${before.version} of ${name.value} is live; this becomes the next version.` : `${name.value} is a new function.`);
  }
  async function take(given) {
    if (!given) return;
    module = given;
    say(problem, '');
    clear(result);
    const head = new Uint8Array(await given.slice(0, 4).arrayBuffer());
    clear(chosen, h('strong', {}, given.name), `, ${bytes(given.size)}`);
    if (!MAGIC.every((b, i) => head[i] === b)) say(problem, 'This does not begin as a WebAssembly module does. A signed artifact is taken, anything else refused.');
    if (!forName) name.value = nameOf(given);
    tell();
    send.focus();
  }
  const zone = h('label', { class: 'drop', htmlFor: 'module' }, icon('deploy'), h('strong', {}, 'Drop a WebAssembly module here'), chosen, file);
  for (const event of ['dragenter', 'dragover']) zone.addEventListener(event, (e) => { e.preventDefault(); zone.classList.add('over'); });
  for (const event of ['dragleave', 'drop']) zone.addEventListener(event, (e) => { e.preventDefault(); zone.classList.remove('over'); });
  zone.addEventListener('drop', (e) => take(e.dataTransfer.files[0]));
  file.addEventListener('change', () => take(file.files[0]));
  name.addEventListener('input', tell);
  tell();

  async function deploy(event) {
    event.preventDefault();
    clear(result);
    if (!module) { say(problem, 'Choose a module first.'); file.focus(); return; }
    const query = new URLSearchParams();
    if (access.value) query.set('access', access.value);
    if (alias.value) query.set('alias', alias.value);
    const rest = query.size ? `?${query}` : '';
    say(problem, '');
    send.disabled = true;
    progress.hidden = false;
    try {
      const { isNew, document } = await upload(place(name.value) + rest, module, (part) => { progress.value = part; say(word, part < 1 ? `Sending, ${Math.round(100 * part)} %` : 'Checking and storing it …'); });
      const here = `#/f/${encodeURIComponent(document.name)}`;
      clear(result, h('div', { class: 'panel done' }, h('h2', {}, icon('check'), isNew ? `${document.name} is deployed` : `v${document.version} of ${document.name} is deployed`),
        h('p', {}, `It is called at ${document.path}${alias.value ? `@${alias.value}` : ''}, and runs in the ${document.tier} tier${document.is_compiling ? ' while it is compiled' : ''}.`),
        changesPart(document.changes, document.version),
        h('div', { class: 'actions' }, h('a', { class: 'button primary', href: `${here}/invoke` }, icon('play'), 'Call it'), h('a', { class: 'button', href: here }, 'See it live'))));
      known.set(document.name, document);
      tell();
    } catch (e) {
      const at = e.document?.offset !== undefined ? ` (at byte ${e.document.offset})` : '';
      say(problem, e.message + at);
    }
    send.disabled = false;
    progress.hidden = true;
    say(word, '');
  }
  return { title: 'Deploy', element: h('div', { class: 'narrow' }, h('h1', { tabindex: '-1' }, forName ? `New version of ${forName}` : 'Deploy'),
    h('form', { class: 'panel', onsubmit: deploy }, zone, field('Function', name), note,
      h('div', { class: 'columns' }, field('Alias that leads to it', alias, 'Another than live gets no callers but those of NAME@ALIAS.'), field('Who may call it', access)),
      h('datalist', { id: 'known' }, functions.map((f) => h('option', { value: f.name }))), problem, progress, word, send), result) };
}
