'use strict';
// What gas blocks cost, made from docs/gas.md, section 2, over a function's lines as wasm2wat prints them without names. Shares
// nothing with the compiler but the tables.
const fs = require('node:fs');
const path = require('node:path');

const root = path.dirname(__dirname);
const MOST_INSTRUCTIONS = 4096;
const FREE_LOCALS = 16;
const FAR_LOCALS = 256;
const THROWN_MOVES = 8;
const WINDOW = 512;
const LOCALS_OF_MOVE = 8;
const MOST_REGIONS = 8;

// How many operands and results, by name: what the table says by letters, and the rest.
const special = {
  drop: [1, 0], select: [3, 1], 'table.get': [1, 1], 'table.set': [2, 0], 'memory.size': [0, 1], 'memory.grow': [1, 1],
  'memory.init': [3, 0], 'memory.copy': [3, 0], 'memory.fill': [3, 0], 'table.init': [3, 0], 'table.copy': [3, 0], 'table.fill': [3, 0],
  'table.grow': [2, 1], 'table.size': [0, 1], 'ref.null': [0, 1], 'ref.is_null': [1, 1], 'ref.func': [0, 1], 'ref.as_non_null': [1, 1],
  'data.drop': [0, 0], 'elem.drop': [0, 0], throw_ref: [1, 0], nop: [0, 0], unreachable: [0, 0], return: [0, 0], rethrow: [0, 0], throw: [0, 0],
};

function readEffects() {
  const effects = { ...special };
  const row = /^OP\(\w+,\s*\w+,\s*\w+,\s*"([^"]+)",\s*\w+,\s*(\w+),/gm;
  for (const [, text, signature] of fs.readFileSync(path.join(root, 'frontend/opcode.def'), 'utf8').matchAll(row)) {
    if (signature === 'SPECIAL' || signature === '___') continue;
    const [results, operands] = signature.split('_');
    effects[text] = [operands.length, results.length];
  }
  return effects;
}
const effects = readEffects();

const words = (text, what) => [...text.matchAll(new RegExp(`\\(${what}([^()]*(?:\\([^()]*\\)[^()]*)*)\\)`, 'g'))]
  .flatMap(([, list]) => list.replace(/\([^()]*\)/g, 'ref').trim().split(/\s+/).filter((w) => w));

// [parameters, results] of a module's types, functions and tags, by index.
function readTypes(text) {
  const types = [], funcs = [], tags = [];
  const arity = (line) => {
    const named = /\(type (\d+)\)/.exec(line);
    return named ? types[named[1]] : [words(line, 'param').length, words(line, 'result').length];
  };
  for (const raw of text.split('\n')) {
    const line = raw.replace(/\(;\d+;\)/g, '');
    if (/^ {2,4}\(type\s/.test(line)) types.push([words(line, 'param').length, words(line, 'result').length]);
    else if (/^ {2}(\(import .*)?\(func /.test(line)) funcs.push(arity(line));
    else if (/^ {2}(\(import .*)?\(tag /.test(line)) tags.push(arity(line));
  }
  return { types, funcs, tags, arity };
}

class Graph {
  constructor() { this.nodes = []; }

  add(block, latency) { return this.nodes.push({ from: [], block, latency, cycle: 0, depth: 0, anyDepth: 0 }) - 1; }
  place() { return this.add(null, 0); }
  edge(from, to) { if (from !== null && to !== null) this.nodes[to].from.push(from); }

  // Numbers the cycles: nodes that reach each other (Kosaraju: an order by a first search, components by a second one the other way).
  findCycles() {
    const n = this.nodes.length, order = [], seen = new Uint8Array(n), forward = this.nodes.map(() => []);
    this.nodes.forEach(({ from }, to) => from.forEach((f) => forward[f].push(to)));
    for (let start = 0; start < n; start++) {
      if (seen[start]) continue;
      const stack = [[start, 0]];
      seen[start] = 1;
      while (stack.length) {
        const top = stack.at(-1), [node, i] = top;
        if (i === forward[node].length) { order.push(node); stack.pop(); continue; }
        top[1]++;
        const next = forward[node][i];
        if (!seen[next]) { seen[next] = 1; stack.push([next, 0]); }
      }
    }
    let number = 0;
    seen.fill(0);
    for (const start of order.reverse()) {
      if (seen[start]) continue;
      const members = [start];
      seen[start] = 1;
      for (let i = 0; i < members.length; i++)
        for (const from of this.nodes[members[i]].from) if (!seen[from]) { seen[from] = 1; members.push(from); }
      if (members.length > 1) { number++; for (const m of members) this.nodes[m].cycle = number; }
    }
  }
}

class Pricer {
  constructor(schedule, module, [parameters], nLocals) {
    Object.assign(this, { schedule, module, parameters });
    this.graph = new Graph();
    this.globals = parameters + nLocals; // as if they were one more local
    this.regions = [{ loop: 0, places: new Map() }]; // the function, and loops around; places by local
    this.allRegions = [...this.regions];
    this.last = new Map(); // what a place was set to last: { value, around, opened }
    this.opened = 0;       // constructs and arms so far
    this.stack = [];
    this.read = new Set(); // places
    this.isSet = new Set();
    this.declared = nLocals;
    this.constructs = [{ name: 'body', params: 0, results: 0, height: 0, isReached: false, number: 0, loop: 0 }];
    this.blocks = [];
    this.isDead = false;
    this.beginsBlock = true;
  }

  get block() { return this.blocks.at(-1); }
  push(n, node) { for (let i = 0; i < n; i++) this.stack.push(node); }
  move(n) { this.block.moves += n; }
  pass(n, to) { if (n) for (const operand of this.stack.slice(-n)) this.graph.edge(operand, to); }

  apply(latency, operands, results) {
    const taken = operands ? this.stack.splice(-operands) : [];
    let made = null;
    if (results && taken.some((t) => t !== null)) {
      made = this.graph.add(this.block, latency);
      for (const t of taken) this.graph.edge(t, made);
    }
    this.push(results, made);
  }

  // The last set, where its construct or arm is open still and `loop`, the innermost around, has not begun since.
  lastOf(local, loop = this.constructs.at(-1).loop) {
    const last = this.last.get(local);
    return last && this.constructs.some((c) => c.number === last.around) && loop <= last.opened ? last : null;
  }

  // The local's place in a region; a loop's begins with what the local was in front of it, and leads to the one around.
  placeOf(local, level = this.regions.length - 1) {
    const region = this.regions[level];
    if (region.places.has(local)) return region.places.get(local);
    const outer = level ? this.placeOf(local, level - 1) : null, node = this.graph.place();
    region.places.set(local, node);
    if (level) {
      const before = this.lastOf(local, this.regions[level - 1].loop);
      this.graph.edge(before ? before.value : outer, node);
      this.graph.edge(node, outer);
    }
    return node;
  }

  value(local) {
    const last = this.lastOf(local);
    if (last) return last.value;
    const place = this.placeOf(local);
    this.read.add(place);
    return place;
  }

  set(local, value) {
    const before = this.lastOf(local), place = this.placeOf(local);
    this.isSet.add(place);
    if (local === this.globals && before) {
      const both = this.graph.add(this.block, 0);
      this.graph.edge(before.value, both);
      this.graph.edge(value, both);
      value = both;
    } else if (local !== this.globals) {
      this.block.sets.set(place, { place, region: this.regions.at(-1) });
    }
    this.last.set(local, { value, around: this.constructs.at(-1).number, opened: this.opened });
    this.graph.edge(value, place);
  }

  open(name, line) {
    const number = ++this.opened, loop = name === 'loop' ? number : this.constructs.at(-1).loop;
    if (this.isDead) { this.constructs.push({ name, isDead: true, number, loop }); return; }
    const [params, results] = this.module.arity(line), { graph } = this;
    if (name === 'if') this.stack.pop();
    const c = { name, params, results, height: this.stack.length - params, isReached: false, number, loop };
    c.entry = params ? graph.place() : null;
    c.exit = results && name !== 'loop' ? graph.place() : null;
    this.pass(params, c.entry);
    this.move(params);
    this.stack.length = c.height;
    this.push(params, c.entry);
    this.constructs.push(c);
    if (name === 'loop' && this.regions.length <= MOST_REGIONS) {
      c.isRegion = true;
      this.regions.push({ loop: number, places: new Map() });
      this.allRegions.push(this.regions.at(-1));
    }
  }

  fallOut(c) {
    if (this.isDead || c.name === 'loop') return;
    c.isReached = true;
    this.pass(c.results, c.exit);
    this.move(c.results);
  }

  split(name, line) {
    const c = this.constructs.at(-1);
    if (c.isDead) return;
    this.fallOut(c);
    this.stack.length = c.height;
    if (name === 'else') this.push(c.params, c.entry);
    if (name === 'catch') this.push(this.module.tags[/^catch (\d+)/.exec(line)[1]][0], null);
    c.name = name;
    c.number = ++this.opened;
    this.isDead = false;
  }

  close() {
    const c = this.constructs.pop();
    if (c.isRegion) this.regions.pop();
    if (!this.constructs.length || c.isDead) return;
    this.fallOut(c);
    if (c.name === 'if') { this.graph.edge(c.entry, c.exit); c.isReached = true; }
    if (c.name === 'loop') return;
    this.isDead = !c.isReached;
    this.stack.length = c.height;
    this.push(c.results, c.exit);
  }

  branch(label) {
    const c = this.constructs.at(-1 - label), isLoop = c.name === 'loop', n = isLoop ? c.params : c.results;
    this.pass(n, isLoop ? c.entry : c.exit);
    c.isReached = true;
    return n;
  }

  branches(name, line) {
    const labels = line.slice(name.length).trim().split(/\s+/).map(Number);
    const condition = name === 'br' || name === 'br_on_non_null' ? null : this.stack.pop();
    let n;
    for (const label of labels) n = this.branch(label);
    this.move(n);
    if (name === 'br_on_null') this.stack.push(condition);
    if (name === 'br_on_non_null') this.stack.pop();
  }

  // Clauses pass nothing that is known; behind one that takes everything none is looked at.
  clauses(line) {
    for (const [, kind, label] of line.matchAll(/\((catch|catch_ref|catch_all|catch_all_ref)(?: \d+)? (\d+)\)/g)) {
      this.constructs.at(-1 - Number(label)).isReached = true;
      if (kind.startsWith('catch_all')) return;
    }
  }

  call(name, line) {
    const direct = /^(?:return_)?call (\d+)/.exec(line), ref = /call_ref (\d+)/.exec(line);
    const [params, results] = direct ? this.module.funcs[direct[1]] : ref ? this.module.types[ref[1]] : this.module.arity(line);
    this.move(params + results);
    this.apply(this.schedule.latencyOfText[name], params + !direct, results);
  }

  act(name, line) {
    const index = () => Number(/\s(\d+)/.exec(line)[1]);
    if (name === 'local.get') this.stack.push(this.value(index()));
    else if (name === 'local.set') this.set(index(), this.stack.pop());
    else if (name === 'local.tee') this.set(index(), this.stack.at(-1));
    else if (name === 'global.get') this.stack.push(this.value(this.globals));
    else if (name === 'global.set') this.set(this.globals, this.stack.pop());
    else if (/call/.test(name)) this.call(name, line);
    else if (/^br/.test(name)) this.branches(name, line);
    else if (name === 'throw') this.move(THROWN_MOVES * this.module.tags[index()][0]);
    else if (effects[name]) this.apply(this.schedule.latencyOfText[name], ...effects[name]);
    else throw new Error(`what does ${name} take and give?`);
  }

  add(line, i) {
    const name = line.split(/[\s(]/, 1)[0], { isDead } = this;
    if (!isDead && (this.beginsBlock || name === 'loop' || this.block.instructions === MOST_INSTRUCTIONS)) {
      this.blocks.push({ first: i, work: 0n, moves: 0, instructions: 0, sets: new Map(), waiting: 0 });
      this.beginsBlock = false;
    }
    if (!isDead) {
      this.block.work += this.schedule.ofText[name];
      this.block.instructions++;
    }
    const closes = name === 'end' || name === 'delegate', closed = closes && this.constructs.at(-1).name;
    if (name === 'try_table' && !isDead) this.clauses(line);
    if (['block', 'loop', 'if', 'try', 'try_table'].includes(name)) this.open(name, line);
    else if (['else', 'catch', 'catch_all'].includes(name)) this.split(name, line);
    else if (closes) this.close();
    else if (!isDead) this.act(name, line);
    if (/^(br|br_table|return.*|unreachable|throw|throw_ref|rethrow)$/.test(name)) this.isDead = true;
    if (['if', 'else', 'catch', 'catch_all'].includes(name) || /^(br|return|throw|rethrow|unreachable)/.test(name)) this.beginsBlock = true;
    if (closes && closed !== 'loop') this.beginsBlock = true;
  }

  // Of each block, by the number of its first instruction: { price, work }.
  finish() {
    const { nodes } = this.graph, prices = new Map();
    this.graph.findCycles();
    for (const node of nodes) {
      if (!node.block) continue;
      const { block } = node, before = node.from.map((f) => nodes[f]).filter((f) => f.block === block);
      node.anyDepth = node.latency + Math.max(0, ...before.map((f) => f.anyDepth));
      if (node.cycle) node.depth = node.latency + Math.max(0, ...before.filter((f) => f.cycle === node.cycle).map((f) => f.depth));
      const far = block.instructions > WINDOW ? Math.floor(node.anyDepth * (block.instructions - WINDOW) / block.instructions) : 0;
      block.waiting = Math.max(block.waiting, node.depth, far);
    }
    const outermost = new Set(this.allRegions[0].places.values());
    const isCarried = (place) => nodes[place].cycle > 0 || (!outermost.has(place) && this.isSet.has(place) && this.read.has(place));
    this.blocks[0].moves += Math.floor(this.declared / LOCALS_OF_MOVE);
    for (const r of this.allRegions) {
      const n = [...r.places].filter(([local, place]) => local !== this.globals && isCarried(place)).length;
      r.moves = n > FREE_LOCALS ? Math.ceil(n / FAR_LOCALS) : 0;
    }
    for (const b of this.blocks) {
      for (const { place, region } of b.sets.values()) if (isCarried(place)) b.moves += region.moves;
      const waiting = BigInt(b.waiting), least = BigInt(Math.floor(b.instructions / 4)) * this.schedule.ofClass.four_instructions;
      const own = b.work; // what the instructions count one by one
      if (b.work < least) b.work = least;
      prices.set(b.first, { price: (waiting > b.work ? waiting : b.work) + BigInt(b.moves) * this.schedule.ofClass.move, work: own });
    }
    return prices;
  }
}

// `lines`: the body's instructions; `func`: its index; `locals`: how many it declares.
function blockPrices(schedule, module, lines, func, locals) {
  const pricer = new Pricer(schedule, module, module.funcs[func], locals);
  [...lines, 'end'].forEach((line, i) => pricer.add(line, i)); // the text leaves out the body's own
  return pricer.finish();
}

module.exports = { blockPrices, readTypes, words };
