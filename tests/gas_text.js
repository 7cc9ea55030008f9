'use strict';
// The oracle's half that knows docs/gas.md: adds counters to a module's text form, as wasm2wat prints it without names. Made from
// the page, and shares nothing with the compiler but the prices.
//
//   gas      what every single instruction costs, counted in front of it, and dynamic charges when they happened
//   charged  the same by gas blocks, counted when one is entered: what an invocation pays that ends in the middle of one
//   floor    what was charged when the last call began that is surely made, not one of a leaf or of the function itself: the least
//            that a fault of a memory access may cost
//
// Host calls are counted by the host (gas_v8.js).
const fs = require('node:fs');
const path = require('node:path');

const { blockPrices, readTypes, words } = require('./gas_price.js');

const root = path.dirname(__dirname);

// Prices by the instructions' names and by class, from the tables themselves.
function readSchedule() {
  const price = {}, latency = {}, ofClass = {}, ofText = {}, latencyOfText = {};
  const table = fs.readFileSync(path.join(root, 'frontend/cost.def'), 'utf8');
  for (const [, id, name, gas, wait] of table.matchAll(/^COST\((\w+),\s*"(\w+)",\s*(\d+),\s*(\d+),/gm)) {
    price[id] = BigInt(gas);
    latency[id] = Number(wait);
    ofClass[name] = BigInt(gas);
  }
  const row = /^OP\(\w+,\s*\w+,\s*\w+,\s*"([^"]+)",\s*\w+,\s*\w+,\s*(\w+),/gm;
  for (const [, text, cost] of fs.readFileSync(path.join(root, 'frontend/opcode.def'), 'utf8').matchAll(row)) {
    if (!(cost in price)) throw new Error(`opcode.def: no cost class ${cost}`);
    ofText[text] = price[cost];
    latencyOfText[text] = latency[cost];
  }
  return { ofClass, ofText, latencyOfText };
}

const endsBlock = new Set(['loop', 'if', 'else', 'br', 'br_if', 'br_table', 'return', 'unreachable', 'br_on_null', 'br_on_non_null',
  'throw', 'throw_ref', 'rethrow', 'return_call', 'return_call_indirect', 'return_call_ref', 'catch', 'catch_all', 'delegate']);
const neverGoesOn = new Set(['br', 'br_table', 'return', 'unreachable', 'throw', 'throw_ref', 'rethrow', 'return_call',
  'return_call_indirect', 'return_call_ref']);
const mostInstructions = 4096; // of a block; `loop` begins a new one anyway
const opens = new Set(['block', 'loop', 'if', 'try', 'try_table']);
const splits = new Set(['else', 'catch', 'catch_all']);
const closes = new Set(['end', 'delegate']);

const add = (global, gas) => `i64.const ${gas} global.get $${global} i64.add global.set $${global}`;

// One function's lines: [instruction, ...], comments gone, the parenthesis that closes the function too.
class Body {
  // `isSure`: whether a call of this line may not be replaced by the body.
  constructor(schedule, prices, helpers, isSure) {
    this.schedule = schedule;
    this.prices = prices; // of blocks, by the number of their first instruction
    this.line = 0;
    this.helpers = helpers;
    this.isSure = isSure;
    this.out = [];
    this.controls = [];
    this.isDead = false;
    this.openBlock();
  }

  openBlock() {
    this.closeBlock();
    if (!this.isDead) this.block = { at: this.out.push('') - 1, gas: 0n, instructions: 0 };
  }

  closeBlock() {
    if (this.block?.gas) this.out[this.block.at] = add('charged', this.block.gas);
    this.block = null;
  }

  count(name) {
    const gas = this.schedule.ofText[name];
    if (gas === undefined) throw new Error(`no instruction is called ${name}`);
    if (!this.block) return;
    if (this.block.instructions++ === 0) this.begin();
    if (gas) this.out.push(add('gas', gas));
  }

  // Waiting and moves count as soon as the block begins; what nobody reaches has no price.
  begin() {
    const { price = 0n, work = 0n } = this.prices.get(this.line) ?? {};
    this.block.gas = price;
    if (price > work) this.out.push(add('gas', price - work));
  }

  add(line) {
    const name = line.split(/[\s(]/, 1)[0];
    if (name !== 'loop') {
      if (this.block?.instructions === mostInstructions) this.openBlock();
      this.count(name);
    }
    if (/^(return_)?call/.test(name) && this.isSure(line) && !this.isDead) this.out.push('global.get $charged global.set $floor');
    if (name === 'end') this.missAll(this.controls.at(-1));
    this.out.push(this.isDead ? line : this.helpers.replace(name, line));
    if (opens.has(name)) this.controls.push({ name, wasDead: this.isDead, clauses: 0 });
    const control = this.controls.at(-1);
    if (closes.has(name)) this.controls.pop();
    if (neverGoesOn.has(name)) { this.closeBlock(); this.isDead = true; }
    // Where a branch may arrive counts as reached: what nobody reaches counts nothing anyway.
    const isLoopEnd = name === 'end' && control?.name === 'loop';
    if (splits.has(name) || (closes.has(name) && !isLoopEnd)) {
      this.closeBlock();
      this.isDead = control ? control.wasDead : true;
      this.openBlock();
    } else if (endsBlock.has(name) && !neverGoesOn.has(name)) {
      this.openBlock();
    }
    if (name === 'loop') this.count('loop');
    if (name === 'catch_all') control.hasAll = true;
    if (name.startsWith('catch')) this.pass(++control.clauses);
    this.line++;
  }

  // An exception looked at so many clauses.
  pass(clauses) {
    if (!this.isDead) this.out.push(...['gas', 'charged'].map((g) => add(g, this.schedule.ofText.br_if * BigInt(clauses))));
  }

  // Before the end of a legacy try none of whose clauses may take an exception: that was looked at, too.
  missAll(control) {
    if (!control?.clauses || control.hasAll) return;
    this.out.push('catch_all');
    this.isDead = control.wasDead;
    this.pass(control.clauses);
    this.out.push('rethrow 0');
  }

  lines() {
    if (this.block?.instructions === 0) this.begin(); // of nothing but the body's end
    this.closeBlock();
    return this.out.filter((line) => line);
  }
}

// Section 3 of the page: instructions that pay by size become calls of functions that do the same and count what was done.
class Helpers {
  constructor(schedule, types) {
    this.schedule = schedule;
    this.types = types; // { memories: ['i32'], tables: [['i32', 'funcref']] }
    this.functions = new Map();
  }

  replace(name, line) {
    const rule = rules[name];
    if (!rule) return line;
    const immediates = line.slice(name.length).trim().split(/\s+/).filter((x) => x !== '');
    const key = [name, ...immediates].join('_');
    if (!this.functions.has(key)) this.functions.set(key, rule(this, line, immediates.map(Number)));
    return `call $__${key}`;
  }

  memory(i = 0) { return this.types.memories[i]; }
  table(i = 0) { return this.types.tables[i]; }

  // `units`: an i64 on the stack; `per`: gas of each.
  charge(units, per) {
    return ['gas', 'charged'].map((g) => `${units} i64.const ${this.schedule.ofClass[per]} i64.mul global.get $${g} i64.add global.set $${g}`).join(' ');
  }

  text() {
    return [...this.functions].map(([key, body]) => `  (func $__${key} ${body})`).join('\n');
  }
}

const wide = (type, i) => (type === 'i64' ? `local.get ${i}` : `local.get ${i} i64.extend_i32_u`);
const smaller = (a, b) => (a === 'i64' && b === 'i64' ? 'i64' : 'i32');
const isNotMinusOne = (type, i) => `local.get ${i} ${type}.const -1 ${type}.ne`;

function bulk(h, line, params, per, scale) {
  const pass = params.map((_, i) => `local.get ${i}`).join(' ');
  const last = params.length - 1;
  return `(param ${params.join(' ')}) ${pass} ${line} ${h.charge(`${wide(params[last], last)} ${scale}`, per)}`;
}
const by16 = 'i64.const 15 i64.add i64.const 4 i64.shr_u';

function grow(h, line, params, per) {
  const type = params.at(-1), n = params.length - 1, pass = params.map((_, i) => `local.get ${i}`).join(' ');
  return `(param ${params.join(' ')}) (result ${type}) (local ${type}) ${pass} ${line} local.set ${params.length} ` +
    `${isNotMinusOne(type, params.length)} if ${h.charge(wide(type, n), per)} end local.get ${params.length}`;
}

const rules = {
  'memory.fill': (h, line, [m]) => bulk(h, line, [h.memory(m), 'i32', h.memory(m)], 'memory_16_bytes', by16),
  'memory.copy': (h, line, [to = 0, from = 0]) =>
    bulk(h, line, [h.memory(to), h.memory(from), smaller(h.memory(to), h.memory(from))], 'memory_16_bytes', by16),
  // wasm2wat prints `memory.init DATA`, or `memory.init MEMORY DATA`.
  'memory.init': (h, line, [a, b]) => bulk(h, line, [h.memory(b === undefined ? 0 : a), 'i32', 'i32'], 'memory_16_bytes', by16),
  'memory.grow': (h, line, [m]) => grow(h, line, [h.memory(m)], 'memory_page'),
  'table.grow': (h, line, [t]) => grow(h, line, [h.table(t)[1], h.table(t)[0]], 'table_entry'),
  'table.fill': (h, line, [t]) => bulk(h, line, [h.table(t)[0], h.table(t)[1], h.table(t)[0]], 'table_entry', ''),
  'table.copy': (h, line, [to = 0, from = 0]) =>
    bulk(h, line, [h.table(to)[0], h.table(from)[0], smaller(h.table(to)[0], h.table(from)[0])], 'table_entry', ''),
  'table.init': (h, line, [a, b]) => bulk(h, line, [h.table(b === undefined ? 0 : a)[0], 'i32', 'i32'], 'table_entry', ''),
};

function typesOf(text) {
  const types = { memories: [], tables: [] };
  for (const [, limits] of text.matchAll(/^ {2}(?:\(import .*)?\(memory \(;\d+;\) ([^()]*)/gm)) types.memories.push(/^i64/.test(limits) ? 'i64' : 'i32');
  for (const [, is64, type] of text.matchAll(/^ {2}(?:\(import .*)?\(table \(;\d+;\) (i64 )?\d+ (?:\d+ )?(\w+)/gm)) types.tables.push([is64 ? 'i64' : 'i32', type]);
  return types;
}

const openings = (line) => (line.match(/\(/g) ?? []).length - (line.match(/\)/g) ?? []).length;

// The header of a function ends where its first instruction begins.
const isHeader = (line) => /^\s*\((func|local)\b/.test(line);

const indexOf = (line) => Number(/^\s*\(func \(;(\d+);\)/.exec(line)[1]);

// The functions that call something, by their indices; imported ones are not among them.
function findCallers(lines) {
  const callers = new Set();
  let current;
  for (const line of lines) {
    if (line.startsWith('  (func ')) current = indexOf(line);
    if (/^\s*(return_)?call/.test(line)) callers.add(current);
  }
  return callers;
}

function instrumentFunction(lines, schedule, module, helpers, callers) {
  const text = lines.map((line) => line.replace(/\(;.*?;\)/g, '').replace(/;;.*/, '').trim()).filter((line) => line);
  text[text.length - 1] = text.at(-1).slice(0, -1);
  const header = [];
  const self = indexOf(lines[0]);
  const isSure = (line) => {
    const direct = /^call (\d+)/.exec(line);
    return !direct || (callers.has(Number(direct[1])) && Number(direct[1]) !== self);
  };
  const instructions = [];
  for (const line of text) (isHeader(line) ? header : instructions).push(line);
  const nLocals = words(header.join(' '), 'local').length;
  const body = new Body(schedule, blockPrices(schedule, module, instructions, self, nLocals), helpers, isSure);
  for (const line of instructions) body.add(line);
  return [...header, ...body.lines(), ')'];
}

// The text with counters.
function instrument(text, schedule = readSchedule()) {
  const helpers = new Helpers(schedule, typesOf(text));
  const out = [];
  const lines = text.trimEnd().split('\n');
  if (lines[0] === '(module)') lines.splice(0, 1, '(module', '  )');
  const callers = findCallers(lines), module = readTypes(text);
  for (let i = 0; i < lines.length; i++) {
    if (!lines[i].startsWith('  (func ')) { out.push(lines[i]); continue; }
    const body = [];
    for (let depth = 0; ; i++) {
      body.push(lines[i]);
      depth += openings(lines[i].replace(/\(;.*?;\)/g, '').replace(/;;.*/, ''));
      if (depth <= 0) { // the last function's line also closes the module
        if (depth < 0) { body.push(body.pop().slice(0, -1)); out.push(...instrumentFunction(body, schedule, module, helpers, callers), ')'); }
        else out.push(...instrumentFunction(body, schedule, module, helpers, callers));
        break;
      }
    }
  }
  const end = out.pop();
  const globals = ['gas', 'charged', 'floor'].map((g) => `  (global $${g} (mut i64) (i64.const 0))\n  (export "${exported(g)}" (global $${g}))`);
  return [...out, end.replace(/\)\s*$/, ''), helpers.text(), ...globals, ')'].join('\n') + '\n';
}

const bytesOf = (line) => [...line.matchAll(/"((?:[^"\\]|\\.)*)"/g)]
  .reduce((n, [, s]) => n + s.replace(/\\([0-9a-f]{2}|.)/gi, '.').length, 0);
const partsOf = (n, size) => (n + size - 1n) / size;

// What an invocation pays for its instance, by the lines of the module's own memories, tables, globals and active segments.
const instanceGas = {
  memory: (line, price) => { // the first number is the initial size
    const [, min, , log] = /^(?:i64 )?(\d+)( \d+)?(?: \(pagesize (\d+)\))?/.exec(line) ?? [];
    return partsOf(BigInt(min) * BigInt(log ?? 65536) * price.memory_initial_page, 65536n);
  },
  table: (line, price) => BigInt(/^(?:i64 )?(\d+)/.exec(line)[1]) * price.table_initial_entry,
  global: (line, price) => price.global_initial,
  data: (line, price) => (line[0] !== '(' ? 0n : price.bulk + partsOf(BigInt(bytesOf(line)), 16n) * price.memory_16_bytes),
  elem: (line, price) => {
    const active = /^(?:\(table \d+\) )?\((?:offset |i(?:32|64)\.const |global\.get )[^)]*\)(.*)/.exec(line);
    return active ? price.bulk + BigInt((active[1].match(/\bref\.\w+|\b\d+/g) ?? []).filter((w) => w !== 'ref.func').length) * price.table_entry : 0n;
  },
};

function gasOfInstance(text, schedule = readSchedule()) {
  let sum = 0n;
  for (const [, kind, rest] of text.matchAll(/^  \((memory|table|global|data|elem) (?:\$\S+ )?\(;\d+;\) (.*)$/gm))
    sum += instanceGas[kind](rest, schedule.ofClass);
  return sum;
}

const exported = (name) => `gasworks oracle ${name}`;

module.exports = { gasOfInstance, instrument, readSchedule, exported };
