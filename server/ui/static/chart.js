// Charts, as SVG. Each has a sentence for who cannot see it.
import { h, s, clear, say } from './dom.js';

const last = (list) => list[list.length - 1];

function path(values, width, height, most, from = 0) {
  const step = width / Math.max(1, values.length - 1);
  let d = '', isOpen = false;
  values.forEach((v, i) => {
    if (v === null || v === undefined) { isOpen = false; return; }
    d += `${isOpen ? 'L' : 'M'}${(from + i * step).toFixed(1)} ${(height - (most ? (v / most) * height : 0)).toFixed(1)}`;
    isOpen = true;
  });
  return d;
}

// A small line without axes. update(values) draws; `kind` is its colour's class.
export function sparkline(kind, width = 112, height = 28) {
  const area = s('path', { class: 'area' }), line = s('path', { class: 'line' });
  const svg = s('svg', { class: `spark ${kind}`, viewBox: `0 0 ${width} ${height + 2}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' }, area, line);
  return { element: svg, update(values, mostSlots = 60) {
    const shown = values.slice(-mostSlots), slots = Math.max(20, shown.length), w = (width * Math.max(1, shown.length - 1)) / (slots - 1), from = width - w;
    const most = Math.max(...shown.map((v) => v ?? 0), 1e-9), d = path(shown, w, height, most, from).replace(/ (-?[\d.]+)/g, (_, y) => ` ${Number(y) + 1}`);
    line.setAttribute('d', d);
    area.setAttribute('d', d && shown.every((v) => v !== null) ? `${d}L${width} ${height + 2}L${from.toFixed(1)} ${height + 2}Z` : '');
  } };
}

// A round number at or above n: 1, 2 or 5 times a power of ten.
function roundUp(n) {
  const power = 10 ** Math.floor(Math.log10(n || 1)), part = n / power;
  return (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10) * power;
}

// A chart of one or several lines over time: lines [{ kind, label, of: point -> number or null }]; `show` prints a value.
export function timeChart(title, lines, show) {
  const W = 560, H = 150, LEFT = 58, MOST = 150, FEWEST = 30, TOP = 10;
  let slots = FEWEST; // the chart grows with what it shows
  const grid = s('g', { class: 'grid' }), drawn = lines.map((l) => ({ ...l, line: s('path', { class: `line ${l.kind}` }), area: s('path', { class: `area ${l.kind}` }) }));
  const cursor = s('line', { class: 'cursor', y1: TOP, y2: H + TOP, visibility: 'hidden' });
  const svg = s('svg', { viewBox: `0 0 ${W} ${H + TOP + 20}`, role: 'img', class: 'chart' }, grid, drawn.map((l) => [l.area, l.line]), cursor);
  const legend = h('ul', { class: 'legend' }), values = drawn.map(() => h('strong', {}));
  drawn.forEach((l, i) => legend.append(h('li', {}, h('span', { class: `dot ${l.kind}`, 'aria-hidden': 'true' }), `${l.label} `, values[i])));
  const when = h('span', { class: 'when muted' });
  let points = [], at = null;
  const width = W - LEFT - 6;

  function showValues() {
    const p = at === null ? last(points) : points[at];
    drawn.forEach((l, i) => say(values[i], p ? show(l.of(p)) : '–'));
    say(when, at === null || !p ? '' : new Date(p.at * 1000).toLocaleTimeString());
  }
  function update(series) {
    points = series.slice(-MOST);
    slots = Math.max(FEWEST, points.length);
    if (at !== null && at >= points.length) at = null;
    const all = points.flatMap((p) => drawn.map((l) => l.of(p) ?? 0)), most = roundUp(Math.max(...all, 1e-9) <= 1e-9 ? 1 : Math.max(...all));
    const w = (width * Math.max(1, points.length - 1)) / (slots - 1), from = W - 6 - w;
    clear(grid, [0, 0.5, 1].map((part) => [s('line', { x1: LEFT, x2: W - 6, y1: TOP + H * (1 - part), y2: TOP + H * (1 - part) }),
      s('text', { x: LEFT - 8, y: TOP + 4 + H * (1 - part), 'text-anchor': 'end' }, show(most * part))]),
    s('text', { x: LEFT, y: H + TOP + 16 }, slots < 60 ? `${slots * 2} s ago` : `${Math.round((slots * 2) / 60)} min ago`), s('text', { x: W - 6, y: H + TOP + 16, 'text-anchor': 'end' }, 'now'));
    for (const l of drawn) {
      const d = path(points.map(l.of), w, H, most, from).replace(/([ML])([\d.]+) (-?[\d.]+)/g, (_, c, x, y) => `${c}${x} ${Number(y) + TOP}`);
      l.line.setAttribute('d', d);
      l.area.setAttribute('d', d && drawn.length <= 2 && points.every((p) => l.of(p) !== null) ? `${d}L${W - 6} ${H + TOP}L${from.toFixed(1)} ${H + TOP}Z` : '');
    }
    showValues();
    const p = last(points);
    svg.setAttribute('aria-label', p ? `${title}: ${drawn.map((l) => `${l.label} ${show(l.of(p))}`).join(', ')} now; at most ${show(Math.max(...all))} in this chart` : `${title}: nothing yet`);
  }
  svg.addEventListener('pointermove', (event) => {
    if (points.length < 2) return;
    const box = svg.getBoundingClientRect(), x = ((event.clientX - box.left) / box.width) * W, w = (width * (points.length - 1)) / (slots - 1);
    at = Math.min(points.length - 1, Math.max(0, Math.round(((x - (W - 6 - w)) / w) * (points.length - 1))));
    const line = W - 6 - w + (w * at) / (points.length - 1);
    cursor.setAttribute('x1', line);
    cursor.setAttribute('x2', line);
    cursor.setAttribute('visibility', 'visible');
    showValues();
  });
  svg.addEventListener('pointerleave', () => { at = null; cursor.setAttribute('visibility', 'hidden'); showValues(); });
  return { element: h('figure', { class: 'panel' }, h('figcaption', {}, h('h2', {}, title), when, legend), svg), update };
}

// How often each latency was, since the page is open.
export function histogramChart(title, show) {
  const W = 560, H = 130, bars = s('g', {});
  const svg = s('svg', { viewBox: `0 0 ${W} ${H + 24}`, role: 'img', class: 'chart' }, bars);
  return { element: h('figure', { class: 'panel' }, h('figcaption', {}, h('h2', {}, title)), svg), update(counts, bounds) {
    const first = counts.findIndex((n) => n > 0);
    if (first < 0) {
      clear(bars, s('text', { x: W / 2, y: H / 2, 'text-anchor': 'middle' }, 'no requests yet'));
      svg.setAttribute('aria-label', `${title}: no requests yet`);
      return;
    }
    let end = counts.length;
    while (counts[end - 1] === 0) end--;
    const from = Math.max(0, first - 1), to = Math.min(counts.length, Math.max(end + 1, from + 12)), n = to - from, w = W / n;
    const most = Math.max(...counts), sum = counts.reduce((a, b) => a + b, 0);
    const name = (i) => show(bounds[Math.min(i, bounds.length - 1)]);
    clear(bars, counts.slice(from, to).map((count, i) => {
      const height = count ? Math.max(2, (count / most) * H) : 0;
      return s('rect', { class: 'bar', x: i * w + 1, y: H - height, width: Math.max(1, w - 2), height, rx: 2 }, s('title', {}, `up to ${name(from + i)}: ${count}`));
    }), s('line', { class: 'base', x1: 0, x2: W, y1: H, y2: H }),
    s('text', { x: 0, y: H + 18 }, name(from)), s('text', { x: W / 2, y: H + 18, 'text-anchor': 'middle' }, name(from + Math.floor(n / 2))),
    s('text', { x: W, y: H + 18, 'text-anchor': 'end' }, name(to - 1)));
    svg.setAttribute('aria-label', `${title}: ${sum} requests between ${name(first)} and ${name(end - 1)}`);
  } };
}

// Parts of a whole, side by side: [[label, number, kind]].
export function splitBar(title, parts, show) {
  const sum = parts.reduce((all, [, n]) => all + n, 0) || 1;
  return h('div', { class: 'split' },
    h('div', { class: 'bar', role: 'img', 'aria-label': `${title}: ${parts.map(([label, n]) => `${label} ${show(n)}`).join(', ')}` },
      parts.filter(([, n]) => n > 0).map(([, n, kind]) => { const part = h('span', { class: kind }); part.style.flexGrow = String(n / sum); return part; })),
    h('ul', { class: 'legend' }, parts.map(([label, n, kind]) => h('li', {}, h('span', { class: `dot ${kind}`, 'aria-hidden': 'true' }), `${label} `, h('strong', {}, show(n))))));
}

// Folded stacks, "a;b;c NUMBER" a line, as a tree: { name, own, all, children }.
export function unfold(text) {
  const root = { name: 'all', own: 0, all: 0, children: new Map() };
  for (const line of text.split('\n')) {
    const at = line.lastIndexOf(' '), n = Number(line.slice(at + 1));
    if (at < 1 || !(n > 0)) continue;
    let node = root;
    node.all += n;
    for (const name of line.slice(0, at).split(';')) {
      if (!node.children.has(name)) node.children.set(name, { name, own: 0, all: 0, children: new Map() });
      node = node.children.get(name);
      node.all += n;
    }
    node.own += n;
  }
  return root;
}

// A flame graph: who was called stands below who called. A frame is a button that makes it the whole width.
export function flameGraph(root, show) {
  const element = h('div', { class: 'flame', role: 'group', 'aria-label': 'Flame graph' }), note = h('p', { class: 'muted', 'aria-live': 'polite' });
  const about = (node) => `${node.name}: ${show(node.all)} gas, ${((100 * node.all) / root.all).toFixed(1)} % of all, ${show(node.own)} of its own`;
  function draw(top, way) {
    const rows = [];
    const place = (node, from, depth, isAbove) => {
      const part = isAbove ? 1 : node.all / top.all;
      if (part < 0.002 || depth > 40) return;
      const frame = h('button', { class: `frame hue${depth % 6}${isAbove ? ' above' : ''}`, title: about(node), 'aria-label': about(node), onclick: () => {
        const to = isAbove || node !== top ? node : root;
        draw(to, wayTo(to));
        element.querySelector('[data-top]')?.focus();
      }, onfocus: () => say(note, about(node)), onpointerenter: () => say(note, about(node)) }, node.name);
      if (node === top) frame.dataset.top = '';
      frame.style.left = `${100 * from}%`;
      frame.style.width = `${100 * part}%`;
      frame.style.top = `${depth * 24}px`;
      rows.push(frame);
      element.style.height = `${Math.max(parseFloat(element.style.height) || 0, (depth + 1) * 24)}px`;
      if (isAbove) return;
      let at = from;
      for (const child of [...node.children.values()].sort((a, b) => b.all - a.all)) {
        place(child, at, depth + 1, false);
        at += child.all / top.all;
      }
    };
    element.style.height = '0px';
    way.forEach((node, i) => place(node, 0, i, true));
    place(top, 0, way.length, false);
    clear(element, rows);
    say(note, about(top));
  }
  function wayTo(node) {
    const find = (at, way) => {
      if (at === node) return way;
      for (const child of at.children.values()) { const found = find(child, [...way, at]); if (found) return found; }
      return null;
    };
    return find(root, []) || [];
  }
  draw(root, []);
  return h('div', {}, element, note);
}
