'use strict';
// Loop shapes for the gas oracle: step x condition x first and last value x what the body does, each a function of its own.
// Bounds come from globals, which no compiler knows, or are constants.

// The same stream for the same seed (mulberry32).
function random(seed) {
  let a = seed >>> 0;
  return (n) => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

const types = ['i32', 'i64'];
const steps = [1n, 2n, 3n, 8n, 7n, -1n, -2n, -3n, -8n, 1000n, 1n << 29n, 0x30000001n, -0x30000001n, -(1n << 30n)];
const conditions = ['lt_s', 'lt_u', 'le_s', 'le_u', 'gt_s', 'gt_u', 'ge_s', 'ge_u', 'ne', 'eq'];
// Where the loop decides: at its end by the new or the old value, or at its start.
const forms = ['bottom-new', 'bottom-old', 'top', 'top-inverted'];
const sources = ['global', 'constant', 'mixed'];
const top = { i32: (1n << 31n) - 1n, i64: (1n << 63n) - 1n }; // INT_MAX
const ranges = (m) => [[0n, 0n], [0n, 1n], [0n, 10n], [0n, 100n], [0n, 1000n], [0n, 1024n], [5n, 3n], [-10n, 10n], [10n, 0n], [1000n, 0n], [100n, -100n],
  [m - 900n, m], [m - 900n, m - 3n], [m - 5n, -m + 20n], [-m - 1n, -m + 500n], [-900n, -1n], [-700n, 7n], [700n, -7n], [-1n, 0n], [m, -m - 1n],
  [-m - 1n + 600n, -m - 1n], [-m + 600n, -m], [0n, -1n], [3n, 3n], [0n, 100000n], [-70000n, 70000n], [65536n, 0n]];

const wrap = { i32: [(v) => BigInt.asIntN(32, v), (v) => BigInt.asUintN(32, v)], i64: [(v) => BigInt.asIntN(64, v), (v) => BigInt.asUintN(64, v)] };
const compare = { lt: (a, b) => a < b, le: (a, b) => a <= b, gt: (a, b) => a > b, ge: (a, b) => a >= b, ne: (a, b) => a !== b, eq: (a, b) => a === b };
const inverse = { lt_s: 'ge_s', lt_u: 'ge_u', le_s: 'gt_s', le_u: 'gt_u', gt_s: 'le_s', gt_u: 'le_u', ge_s: 'lt_s', ge_u: 'lt_u', ne: 'eq', eq: 'ne' };
const holds = (s, a, b) => {
  const [name, sign] = s.condition.split('_');
  const view = wrap[s.type][sign === 'u' ? 1 : 0];
  return compare[name](view(a), view(b));
};

// Times around, or null when it is more than `most`.
function count(s, most) {
  const signed = wrap[s.type][0];
  let i = signed(s.first), n = 0;
  const last = signed(s.last);
  if (s.form.startsWith('top')) {
    for (; holds(s, i, last); i = signed(i + s.step)) if (++n > most) return null;
    return n;
  }
  for (;;) {
    const old = i;
    i = signed(i + s.step);
    if (++n > most) return null;
    if (!holds(s, s.form === 'bottom-new' ? i : old, last)) return n;
  }
}

// Bodies: (i, acc, j are locals). `k` is the number of the iteration that something special happens in, counted by $n.
const accumulate = (t) => `(local.set $acc (i32.add (i32.mul (local.get $acc) (i32.const 3)) ${t === 'i64' ? '(i32.wrap_i64 (local.get $i))' : '(local.get $i)'}))`;
const low = (t) => t === 'i64' ? '(i32.wrap_i64 (local.get $i))' : '(local.get $i)';
const tick = '(local.set $n (i32.add (local.get $n) (i32.const 1)))';
const isTurn = (k) => `(i32.eq (local.get $n) (i32.const ${k}))`;
const odd = '(i32.and (local.get $acc) (i32.const 1))';
const address = '(i32.and (i32.shl (local.get $n) (i32.const 2)) (i32.const 0xfffc))';
const bodies = {
  plain: (t) => accumulate(t),
  empty: () => '',
  sum: () => '(local.set $acc (i32.add (local.get $acc) (i32.const 7)))',
  store: (t) => `${tick} (i32.store ${address} (i32.add (i32.load ${address}) (local.get $n))) ${accumulate(t)}`,
  load: () => `${tick} (local.set $acc (i32.add (local.get $acc) (i32.load8_u (i32.and (local.get $n) (i32.const 0xff)))))`,
  // What a compiler can vectorise: nothing goes round but counters and sums.
  'vector-sum': (t) => `(local.set $acc (i32.add (local.get $acc) (i32.mul (i32.const 5) ${low(t)})))`,
  'vector-store': () => `(i32.store ${address} (i32.add (i32.load offset=256 ${address}) (local.get $n))) ${tick}`,
  'vector-copy': () => `(i32.store8 offset=4096 (i32.and (local.get $n) (i32.const 0xfff)) (i32.load8_u (i32.and (local.get $n) (i32.const 0xfff)))) ${tick}`,
  'vector-if': (t) => `(if (i32.and ${low(t)} (i32.const 4)) (then (local.set $acc (i32.add (local.get $acc) (i32.const 3))))) ${tick}`,
  'vector-if-else': (t) => `(if (i32.and ${low(t)} (i32.const 4)) (then (local.set $acc (i32.xor (local.get $acc) ${low(t)}))) (else (local.set $acc (i32.xor (local.get $acc) (i32.const 9)))))`,
  'vector-previous': (t) => `(local.set $acc (i32.add (local.get $acc) (local.get $j))) (local.set $j (i32.load8_u (i32.and (local.get $n) (i32.const 0xff)))) ${tick}`,
  'vector-select': (t) => `(local.set $acc (i32.or (local.get $acc) (select (i32.const 64) ${low(t)} (i32.and ${low(t)} (i32.const 1)))))`,
  if: (t) => `${accumulate(t)} (if ${odd} (then (local.set $acc (i32.mul (local.get $acc) (i32.const 5)))))`,
  'if-else': (t) => `${accumulate(t)} (if ${odd} (then (local.set $acc (i32.rotl (local.get $acc) (i32.const 5)))) (else (global.set $seen (local.get $acc))))`,
  select: (t) => `${accumulate(t)} (local.set $acc (select (local.get $acc) (i32.const 77) ${odd}))`,
  'br-table': (t) => `${accumulate(t)} (block $c (block $b (block $a (br_table $a $b $c (i32.and (local.get $acc) (i32.const 3)))) ` +
    '(local.set $acc (i32.xor (local.get $acc) (i32.const 12345))) (br $c)) (local.set $acc (i32.div_u (local.get $acc) (i32.const 3))))',
  trap: (t, k) => `${tick} ${accumulate(t)} (if ${isTurn(k)} (then (unreachable))) (local.set $acc (i32.popcnt (local.get $acc)))`,
  divide: (t, k) => `${tick} ${accumulate(t)} (local.set $acc (i32.div_s (local.get $acc) (i32.sub (local.get $n) (i32.const ${k}))))`,
  fault: (t, k) => `${tick} ${accumulate(t)} (i32.store (i32.mul (i32.ge_u (local.get $n) (i32.const ${k})) (i32.const 0x7ffffff0)) (local.get $acc))`,
  truncate: (t, k) => `${tick} (local.set $acc (i32.trunc_f64_s (f64.div (f64.const 1000) (f64.convert_i32_s (i32.sub (local.get $n) (i32.const ${k}))))))`,
  break: (t, k) => `${tick} ${accumulate(t)} (br_if $out ${isTurn(k)}) (local.set $acc (i32.clz (local.get $acc)))`,
  'break-value': (t) => `${accumulate(t)} (br_if $out (i32.eq (i32.and (local.get $acc) (i32.const 127)) (i32.const 5)))`,
  return: (t, k) => `${tick} (if ${isTurn(k)} (then (return (local.get $n)))) ${accumulate(t)}`,
  nested: (t) => `${accumulate(t)} (local.set $j (i32.const 5)) (loop $in (local.set $acc (i32.xor (local.get $acc) (local.get $j))) ` +
    '(br_if $in (local.tee $j (i32.sub (local.get $j) (i32.const 1)))))',
  triangle: (t) => `${tick} ${accumulate(t)} (local.set $j (i32.const 0)) (loop $in (local.set $acc (i32.add (local.get $acc) (local.get $j))) ` +
    '(br_if $in (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (i32.and (local.get $n) (i32.const 15)))))',
  'nested-break': (t, k) => `${tick} ${accumulate(t)} (local.set $j (i32.const 9)) (loop $in (br_if $out (i32.and ${isTurn(k)} (i32.eq (local.get $j) (i32.const 4)))) ` +
    '(local.set $acc (i32.add (local.get $acc) (local.get $j))) (br_if $in (local.tee $j (i32.sub (local.get $j) (i32.const 1)))))',
  'nested-trap': (t, k) => `${tick} ${accumulate(t)} (local.set $j (i32.const 9)) (loop $in ` +
    `(local.set $acc (i32.add (local.get $acc) (i32.rem_u (i32.const 100) (i32.add (i32.xor (local.get $n) (i32.const ${k})) (i32.sub (local.get $j) (i32.const 4)))))) ` +
    '(br_if $in (local.tee $j (i32.sub (local.get $j) (i32.const 1)))))',
  call: (t) => `(local.set $acc (call $leaf (local.get $acc)))`,
  'call-loop': (t) => `(local.set $acc (call $looping (i32.and (local.get $acc) (i32.const 7))))`,
  'call-trap': (t, k) => `${tick} (local.set $acc (i32.add (local.get $acc) (call $divides (i32.sub (local.get $n) (i32.const ${k})))))`,
  'call-indirect': (t) => `(local.set $acc (call_indirect (type $unary) (local.get $acc) (i32.and (local.get $acc) (i32.const 1))))`,
  host: () => '(local.set $acc (i32.add (local.get $acc) (call $host)))',
  continue: (t) => `${accumulate(t)} (if (i32.and ${odd} (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 2000))) ` +
    '(then (br $again))) (local.set $acc (i32.shr_u (local.get $acc) (i32.const 1)))',
  // The counter itself takes another step now and then.
  irregular: (t) => `${tick} ${accumulate(t)} (br_if $out (i32.gt_u (local.get $n) (i32.const 1500))) ` +
    `(if ${odd} (then (local.set $i (${t}.add (local.get $i) (${t}.const 1)))))`,
  'moving-bound': (t) => `${tick} ${accumulate(t)} (br_if $out (i32.gt_u (local.get $n) (i32.const 900))) ` +
    `(if (i32.eqz (i32.and (local.get $n) (i32.const 63))) (then (local.set $last (${t}.add (local.get $last) (${t}.const 2)))))`,
  fill: () => `${tick} (memory.fill (i32.const 512) (local.get $n) (i32.and (local.get $n) (i32.const 63)))`,
  double: (t) => `(local.set $acc (i32.add (local.get $acc) (i32.trunc_sat_f64_s (f64.sqrt (f64.convert_${t}_u (local.get $i))))))`,
};

const constant = (s, value) => `(${s.type}.const ${wrap[s.type][0](value)})`;

// All of a shape in one function; $again is the loop, $out is behind it.
function shapeText(s, name, globals) {
  const give = (value, isGlobal) => {
    if (!isGlobal) return constant(s, value);
    globals.push(`(global $g${globals.length} (export "g${name}${globals.length}") (mut ${s.type}) ${constant(s, value)})`);
    return `(global.get $g${globals.length - 1})`;
  };
  const first = give(s.first, s.source !== 'constant'), last = give(s.last, s.source === 'global');
  const body = bodies[s.body](s.type, s.turn);
  const next = `(${s.type}.add (local.get $i) (${s.type}.const ${s.step}))`;
  const test = (condition, value) => `(${s.type}.${condition} ${value} (local.get $last))`;
  const loops = {
    'bottom-new': `(loop $again ${body} (br_if $again ${test(s.condition, `(local.tee $i ${next})`)}))`,
    'bottom-old': `(loop $again ${body} (local.set $old (local.get $i)) (local.set $i ${next}) (br_if $again ${test(s.condition, '(local.get $old)')}))`,
    top: `(loop $again (br_if $out (i32.eqz ${test(s.condition, '(local.get $i)')})) ${body} (local.set $i ${next}) (br $again))`,
    'top-inverted': `(br_if $out ${test(inverse[s.condition], '(local.get $i)')}) ` +
      `(loop $again ${body} (local.set $i ${next}) (br_if $again ${test(s.condition, '(local.get $i)')}))`,
  };
  return `(func (export "${name}") (result i32) (local $i ${s.type}) (local $last ${s.type}) (local $old ${s.type}) (local $acc i32) (local $n i32) (local $j i32)
    (local.set $i ${first}) (local.set $last ${last})
    (block $out ${loops[s.form]})
    (i32.xor (local.get $acc) ${s.type === 'i64' ? '(i32.wrap_i64 (local.get $i))' : '(local.get $i)'}))`;
}

const describe = (s) => `${s.type} ${s.first}..${s.last} step ${s.step} ${s.condition} ${s.form} ${s.source} body ${s.body} ${s.turn}`;

// `n` different shapes that end within `most` iterations.
function shapes(n, seed, most = 150000) {
  const pick = random(seed), chosen = new Map(), names = Object.keys(bodies);
  for (let tries = 0; chosen.size < n && tries < n * 200; tries++) {
    const type = types[pick(2)], all = ranges(top[type]);
    const [first, last] = all[pick(all.length)];
    const s = { type, first, last, step: steps[pick(steps.length)], condition: conditions[pick(conditions.length)], form: forms[pick(forms.length)],
      source: sources[pick(sources.length)], body: names[tries % names.length], turn: [1, 2, 9, 10, 100, 640, 100000][pick(7)] };
    const times = count(s, most);
    // Loops that do not turn are of interest, but not many of them.
    if (times !== null && (times > 2 || pick(4) === 0)) chosen.set(describe(s), s);
  }
  return [...chosen.values()];
}

const perModule = 25;

// Modules of several shapes each: [{ text, names: { export: description } }].
function modules(n, seed) {
  const all = shapes(n, seed), out = [];
  for (let at = 0; at < all.length; at += perModule) {
    const globals = [], names = {};
    const functions = all.slice(at, at + perModule).map((s, i) => {
      names[`f${i}`] = describe(s);
      return shapeText(s, `f${i}`, globals);
    });
    out.push({ names, text: `(module
  (type $unary (func (param i32) (result i32)))
  (import "env" "host" (func $host (result i32)))
  (memory (export "memory") 2)
  (table 2 funcref)
  (elem (i32.const 0) $leaf $looping-little)
  (global $seen (mut i32) (i32.const 0))
  (data (i32.const 0) "0123456789abcdef")
  ${globals.join('\n  ')}
  (func $leaf (param i32) (result i32) (i32.add (i32.mul (local.get 0) (i32.const 5)) (i32.const 3)))
  (func $looping (param i32) (result i32)
    (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (i32.gt_s (local.get 0) (i32.const 0)))) (local.get 0))
  (func $looping-little (param i32) (result i32) (call $looping (i32.and (local.get 0) (i32.const 3))))
  (func $divides (param i32) (result i32) (i32.div_s (i32.const 1000) (local.get 0)))
  ${functions.join('\n  ')})` });
  }
  return out;
}

module.exports = { modules, random };
