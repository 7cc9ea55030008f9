'use strict';
// Runs instrumented modules in V8 and counts what the host charges. Calls are those of differential.c, in its order and words.
const fs = require('node:fs');
const { Host, Exit } = require('./gas_host.js');
const { exported } = require('./gas_text.js');
const { trapName, show, showRef, make, digest } = require('./differential.js');

const counters = ['gas', 'charged', 'floor'];

// What an invocation cost by each counter, with the gas of host calls added.
class Meter {
  constructor() { this.host = 0n; }

  attach(instance) {
    this.globals = counters.map((c) => instance.exports[exported(c)]);
  }

  // Called when a host function begins: `gas` is what it costs.
  charge(gas) { this.host += gas; }

  reset() {
    this.host = 0n;
    for (const g of this.globals ?? []) g.value = 0n;
  }

  read() {
    const [gas, charged, floor] = this.globals.map((g) => g.value);
    return { gas: gas + this.host, charged: charged + this.host, floor: floor + this.host };
  }
}

// Imported functions that do nothing and give zeros.
function stubs(module, meter, hostCall) {
  const imports = {};
  for (const { module: from, name, kind, type } of WebAssembly.Module.imports(module)) {
    if (kind !== 'function') throw new Error(`import of a ${kind}`);
    const zeros = type.results.map((t) => (t === 'i64' ? 0n : make[t] ? 0 : null));
    imports[from] ??= {};
    imports[from][name] = () => {
      meter.charge(hostCall);
      return zeros.length === 1 ? zeros[0] : zeros;
    };
  }
  return imports;
}

function call(instance, meter, { name, type }, position) {
  const args = type.parameters.map((t, i) => (make[t] ? make[t](position * 7 + i) : null));
  meter.reset();
  let words = [], trap = null;
  try {
    let results = instance.exports[name](...args);
    if (type.results.length < 2) results = type.results.length ? [results] : [];
    words = Array.from(results, (v, i) => (show[type.results[i]] ?? showRef)(v));
  } catch (error) {
    trap = trapName(error);
  }
  return { name, outcome: trap ?? words.join(' '), trap, ...meter.read() };
}

// One row per exported function: { name, outcome, trap, gas, charged, floor }, then the memory's.
function run(bytes, schedule) {
  const module = new WebAssembly.Module(bytes), meter = new Meter();
  let instance;
  try {
    instance = new WebAssembly.Instance(module, stubs(module, meter, schedule.ofClass.host_call));
  } catch (error) {
    return [{ name: 'instantiation:', outcome: trapName(error), isEnd: true }];
  }
  meter.attach(instance);
  const all = WebAssembly.Module.exports(module);
  const rows = all.map((e, i) => (e.kind === 'function' ? call(instance, meter, e, i) : null)).filter((row) => row);
  const memory = all.find((e) => e.kind === 'memory');
  const outcome = memory ? `${instance.exports[memory.name].buffer.byteLength} ${digest(instance.exports[memory.name])}` : '0 2166136261';
  return [...rows, { name: 'memory', outcome, isEnd: true }];
}

// How a whole program ended, in a word: what it wrote, and whether it trapped.
const outputOutcome = (output, isTrap) => `${isTrap ? 'trap' : 'ok'} ${output.length} ${Buffer.from(output).toString('latin1').slice(0, 60)}`;

// A WASI command, or a handler behind its initialiser: one invocation, with its instance.
function runCommand(bytes, schedule, { args, input, instanceGas }) {
  const meter = new Meter(), host = new Host(meter, schedule, { args, input: fs.readFileSync(input) });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), host.imports());
  host.attach(instance);
  meter.attach(instance);
  const { _initialize: initialize, _start: start, handle } = instance.exports;
  meter.charge(instanceGas);
  if (!start) initialize?.();
  let trap = null;
  try {
    (start ?? handle)();
  } catch (error) {
    if (!(error instanceof Exit)) trap = trapName(error);
  }
  return [{ name: 'command', outcome: outputOutcome(Buffer.concat(host.out), trap !== null), trap, ...meter.read() }];
}

module.exports = { run, runCommand, outputOutcome };
