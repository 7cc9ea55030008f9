// What the server counts, asked for every two seconds: GET /v1/metrics. Counters become rates, and histograms quantiles, between two
// answers. All of it lives as long as the page.
import { get } from './api.js';

const EVERY_MS = 2000, HIDDEN_MS = 10000, KEPT = 300;

const listeners = new Set();
let timer = null, last = null, generation = 0;

// The newest state: { error, bounds, functions: Map(name -> series), total: series }. A series is a list of points.
export const live = { error: null, bounds: [], functions: new Map(), total: [], time: 0, started: 0 };

// The upper bound of the bucket in which the q-th part of what was counted lies, in microseconds; null where there was nothing.
export function quantile(histogram, q, bounds) {
  let n = 0;
  for (const count of histogram) n += count;
  if (!n) return null;
  let seen = 0;
  for (let i = 0; i < histogram.length; i++) {
    seen += histogram[i];
    if (seen >= q * n) return bounds[Math.min(i, bounds.length - 1)];
  }
  return bounds[bounds.length - 1];
}

function dense(sparse, size) {
  const counts = new Array(size).fill(0);
  for (const [bucket, count] of sparse) counts[bucket] = count;
  return counts;
}

// What happened between two answers. A counter that went down was that of a server that has started again.
function difference(now, before, seconds, size) {
  const d = (name) => { const was = before ? before[name] : 0; return now[name] >= was ? now[name] - was : now[name]; };
  const histogram = dense(now.latency, size);
  if (before && now.requests >= before.requests) for (const [bucket, count] of before.latency) histogram[bucket] = Math.max(0, histogram[bucket] - count);
  return { requests: d('requests'), errors: d('errors'), gas: d('gas'), cpu: d('cpu_ms'), cold: d('cold'), seconds, histogram };
}

function point(at, d, bounds) {
  return { at, ...d, rate: d.requests / d.seconds, gasRate: d.gas / d.seconds, errorRate: d.errors / d.seconds,
    p50: quantile(d.histogram, 0.5, bounds), p95: quantile(d.histogram, 0.95, bounds), p99: quantile(d.histogram, 0.99, bounds) };
}

function push(series, p) {
  series.push(p);
  if (series.length > KEPT) series.shift();
}

function addUp(parts, seconds, size) {
  const sum = { requests: 0, errors: 0, gas: 0, cpu: 0, cold: 0, seconds, histogram: new Array(size).fill(0) };
  for (const part of parts) {
    for (const name of ['requests', 'errors', 'gas', 'cpu', 'cold']) sum[name] += part[name];
    part.histogram.forEach((n, i) => { sum.histogram[i] += n; });
  }
  return sum;
}

function take(answer) {
  const seconds = last ? answer.time - last.time : 0, bounds = answer.bounds_us, size = bounds.length + 1;
  live.bounds = bounds;
  live.time = answer.time;
  live.now = new Map(answer.functions.map((f) => [f.name, f]));
  live.server = answer.server;
  if (last && seconds > 0) {
    const before = new Map(last.functions.map((f) => [f.name, f])), parts = [];
    for (const f of answer.functions) {
      const d = difference(f, before.get(f.name), seconds, size);
      parts.push(d);
      if (!live.functions.has(f.name)) live.functions.set(f.name, []);
      push(live.functions.get(f.name), point(answer.time, d, bounds));
    }
    for (const name of live.functions.keys()) if (!live.now.has(name)) live.functions.delete(name);
    push(live.total, point(answer.time, addUp(parts, seconds, size), bounds));
  }
  last = answer;
}

async function turn(mine) {
  try {
    const answer = await get('/v1/metrics');
    if (mine !== generation) return;
    take(answer);
    live.error = null;
  } catch (e) {
    if (mine !== generation) return;
    live.error = e;
  }
  for (const f of listeners) f(live);
  timer = setTimeout(turn, document.hidden ? HIDDEN_MS : EVERY_MS, mine);
}

export function start() {
  stop();
  turn(generation);
}

export function stop() {
  generation++;
  clearTimeout(timer);
  last = null;
  live.functions = new Map();
  live.total = [];
  live.now = null;
}

document.addEventListener('visibilitychange', () => { if (!document.hidden && timer) { clearTimeout(timer); turn(generation); } });

// `f` is called after every answer; returns what ends that.
export function watch(f) {
  listeners.add(f);
  if (live.now || live.error) f(live);
  return () => listeners.delete(f);
}
