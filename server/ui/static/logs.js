// A function's log, followed. What a function logs is text, whatever it looks like.
import { get } from './api.js';
import { h, say } from './dom.js';
import { time } from './format.js';
import { place } from './function.js';

const MOST = 2000, WAIT = 20;

function lineOf(line) {
  const word = line.kind === 'log' ? '' : line.kind === 'failure' ? `failed ${line.status || ''}` : line.kind;
  return h('li', { class: `line ${line.kind}` }, h('time', { datetime: line.time, title: `request ${line.request}, version ${line.version}` }, time(line.time).slice(11)),
    h('span', { class: 'kind' }, word), h('span', { class: 'text' }, line.text ?? '', line.is_cut ? ' …' : ''));
}

export async function logsTab(f) {
  const list = h('ol', { class: 'log', tabindex: '0', 'aria-label': 'Lines of the log, the newest last' }), state = h('span', { class: 'muted', role: 'status' });
  const filter = h('input', { type: 'search', placeholder: 'Filter', 'aria-label': 'Show lines with this text' });
  const kind = h('select', { 'aria-label': 'Which lines' }, [['', 'All lines'], ['log', 'Logged by the function'], ['trap', 'Traps'], ['failure', 'Failures']].map(([value, text]) => h('option', { value }, text)));
  const follow = h('input', { type: 'checkbox', id: 'follow', checked: true });
  const lines = [];
  let ending = new AbortController(), after = 0;

  const fits = (line) => (!kind.value || line.kind === kind.value) && (!filter.value || `${line.text} ${line.request}`.toLowerCase().includes(filter.value.toLowerCase()));
  const down = () => { if (follow.checked) list.scrollTop = list.scrollHeight; };
  function draw() {
    list.replaceChildren(...lines.filter(fits).map(lineOf));
    down();
    tell();
  }
  function tell() { say(state, lines.length ? `${list.children.length} of ${lines.length} lines` : 'Nothing is logged yet. New lines appear by themselves.'); }
  function take(answer) {
    for (const line of answer.lines) {
      lines.push(line);
      if (fits(line)) list.append(lineOf(line));
    }
    while (lines.length > MOST) { if (fits(lines.shift())) list.firstChild?.remove(); }
    after = answer.next;
    down();
    tell();
  }
  async function watch() {
    const { signal } = ending;
    while (!signal.aborted) {
      try {
        take(await get(`${place(f.name)}/logs?after=${after}&wait=${WAIT}&limit=1000`, { signal }));
      } catch (e) {
        if (signal.aborted || e.status === 401 || e.status === 404) return;
        say(state, `${e.message}; trying again`);
        await new Promise((resolve) => setTimeout(resolve, 3000));
      }
    }
  }
  filter.addEventListener('input', draw);
  kind.addEventListener('change', draw);
  follow.addEventListener('change', down);
  list.addEventListener('wheel', () => { if (list.scrollTop + list.clientHeight < list.scrollHeight - 40) follow.checked = false; }, { passive: true });
  take(await get(`${place(f.name)}/logs?limit=500`));
  return { element: h('div', {}, h('div', { class: 'bar-above' }, filter, kind, h('span', { class: 'check' }, follow, h('label', { htmlFor: 'follow' }, 'Follow')), state), list),
    enter() { down(); watch(); }, leave() { ending.abort(); } };
}
