'use strict';
const os = require('node:os');
const native = require('../build/gasworks.node');
const { readWorld, pollOneoff, WASI } = require('./wasi.js');
const { State, openState, readState } = require('./state.js');
const { readRequest, finishReply } = require('./request.js');
const { readSignatures, parseSignature, flatten, flattenImport } = require('./signature.js');

const WANTS_GAS = 1, IS_FRESH = 2; // flags of native.call
const MAX_VALUES = 32; // of a function, in and out

/** What goes wrong in a module, a call or the engine. */
class GasworksError extends Error {
  constructor(message, code, trap, gas) {
    super(message);
    this.code = code;
    if (trap !== undefined) this.trap = trap;
    if (gas) this.gas = gas;
  }
}
Object.defineProperty(GasworksError.prototype, 'name', { value: 'GasworksError', configurable: true, writable: true });

// Nothing of the promise is asked before the addon is done with the call: its `then` and `constructor` may be the user's.
async function attach(promise, answer) {
  await null;
  let value;
  try {
    value = await promise;
  } catch (reason) {
    native.settle(answer, false, reason);
    return;
  }
  native.settle(answer, true, value);
}

native.prepare(GasworksError, attach, () => { setImmediate(native.endTurn); });

// Functions that instances import: held by their instance, to which they may lead in turn.
const functions = new WeakMap();

// What `object` or its class has under that name, which a module chose: not what every object or function has.
function member(object, name) {
  for (let o = object; o !== null && o !== undefined && o !== Function.prototype; o = Object.getPrototypeOf(o)) {
    if (o !== object && Object.getPrototypeOf(o) === null) return undefined;
    if (o !== Object.prototype && Object.hasOwn(o, name)) return object[name];
  }
  return undefined;
}

function usage(message) {
  const error = new TypeError(message);
  error.code = 'ERR_GASWORKS_TYPE';
  return error;
}

function number(options, name, fallback, least, most) {
  const value = options[name] ?? fallback;
  const n = typeof value === 'bigint' ? Number(value) : value;
  if (typeof n !== 'number' || !(n >= least && n <= most)) throw usage(`${name} is a number from ${least} to ${most}`);
  return n;
}

function path(options, name) {
  const value = options[name] ?? undefined;
  if (value !== undefined && (typeof value !== 'string' || value.includes('\0'))) throw usage(`${name} is a path`);
  return value;
}

function signalOf({ signal }) {
  if (signal !== undefined && signal !== null && typeof signal.addEventListener !== 'function') throw usage('signal is an AbortSignal');
  return signal;
}

const gasOf = (options) => (options.gasLimit === undefined ? 0 : number(options, 'gasLimit', 0, 1, 2 ** 63));

// --- engine --------------------------------------------------------------------------------------------------------

/** Compiles modules and runs their functions on its worker threads. */
class Engine {
  #handle;

  constructor(options = {}) {
    const tier = options.tier ?? 'fast';
    if (tier !== 'fast' && tier !== 'precise') throw usage('tier is "fast" or "precise"');
    this.#handle = native.create({
      workers: number(options, 'workers', os.availableParallelism?.() ?? os.cpus().length, 1, 1024),
      optLevel: number(options, 'optLevel', 2, 0, 3),
      slice: number(options, 'slice', 1_000_000, 1000, 2 ** 53),
      niceness: number(options, 'niceness', 5, 0, 19),
      hostCallGas: number(options, 'hostCallGas', 10_000, 0, 2 ** 53),
      threads: number(options, 'compileThreads', 0, 0, 1024),
      startsHere: options.inline ?? true,
      isPrecise: tier === 'precise',
      looseTraps: options.looseTraps ?? false,
      cache: path(options, 'cache'),
      compiler: path(options, 'compiler'),
    });
  }

  /** Decodes, validates and compiles. */
  async compile(bytes, options = {}) {
    if (bytes instanceof ArrayBuffer) bytes = new Uint8Array(bytes);
    if (!ArrayBuffer.isView(bytes)) throw usage('a module is a typed array, Buffer or ArrayBuffer');
    const copy = Buffer.from(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)); // whatever happens to `bytes` meanwhile
    const handle = await native.compile(this.#handle, copy);
    return new Module(handle, readSignatures(copy), options.signatures ?? {});
  }
}

// --- module --------------------------------------------------------------------------------------------------------

class Module {
  #handle;
  #signatures;
  #plans = new Map();

  constructor(handle, signatures, given) {
    this.#handle = handle;
    this.#signatures = signatures;
    for (const [name, text] of Object.entries(given)) signatures.exports.set(name, parseSignature(text));
    const { imports, exports } = native.types(handle);
    this.imports = Object.freeze(imports.map(Object.freeze));
    this.exports = Object.freeze(exports.map(Object.freeze));
    exports.forEach((type, index) => {
      if (type.kind === 'function' && type.params.length <= MAX_VALUES && type.results.length <= MAX_VALUES) this.#plans.set(type.name, makePlan(type, index, signatures.exports.get(type.name)));
    });
    for (const name of signatures.exports.keys())
      if (!this.#plans.has(name)) throw usage(`the module exports no function ${name}, which a signature is for`);
  }

  #links(imports, memory, world) {
    return this.imports.filter((i) => i.kind === 'function').map((i) => {
      let f = member(member(imports, i.module), i.name);
      if (i.module === 'gasworks_abi' && i.name === 'take') f = (at) => memory.give(at);
      if (!f && world && world.seed === null && i.module === WASI && i.name === 'poll_oneoff') f = pollOneoff(memory);
      if (i.params.length > MAX_VALUES || i.results.length > MAX_VALUES) throw usage(`${i.name} has more than ${MAX_VALUES} parameters or results`);
      if (typeof f !== 'function') return null; // libgasworks says that it is missing
      const signature = this.#signatures.imports.get(`${i.module}.${i.name}`);
      return [i.module, i.name, i.params, i.results, signature ? memory.wrap(f, checkImport(i, signature)) : f];
    }).filter(Boolean);
  }

  #handles() { return this.exports.some((e) => e.name === 'handle' && e.kind === 'function' && !e.params && !e.results); }

  /** An instance: calls of its exports run one after another. */
  async instantiate(imports = {}, options = {}) {
    const memory = new Memory(), world = readWorld(options.wasi);
    const links = this.#links(imports, memory, world);
    const handle = await native.instantiate(this.#handle, links, gasOf(options), number(options, 'maxMemory', 0, 0, 2 ** 53), world,
      this.#handles(), ...readState(options));
    functions.set(handle, links);
    memory.open(handle);
    return new Instance(handle, memory, this.#plans);
  }

  /** Functions of which every call has a fresh instance. */
  pool(imports = {}, options = {}) {
    return new Pool(() => this.instantiate(imports, options), this.#plans, options);
  }
}

function checkImport(type, signature) {
  const flat = flattenImport(signature);
  if (flat.params !== type.params || flat.results !== type.results)
    throw usage(`${type.module}.${type.name} has the type ${type.params} -> ${type.results}, its signature says ${flat.params} -> ${flat.results}`);
  return signature;
}

function makePlan(type, index, signature) {
  const { name } = type;
  signature ??= { params: type.params, results: type.results, mayFail: false };
  const flat = flatten(signature);
  if (flat.params !== type.params || flat.results !== type.results)
    throw usage(`${name} has the type ${type.params} -> ${type.results}, its signature says ${flat.params} -> ${flat.results}`);
  return {
    handle: native.plan(name, index, signature.params, signature.results, signature.mayFail),
    json: [...signature.params].some((kind) => kind === 'j') ? [...signature.params].map((kind) => kind === 'j') : null,
    givesJson: signature.results === 'j',
  };
}

function lower(plan, args) {
  if (!plan.json) return args;
  return args.map((value, i) => {
    if (!plan.json[i]) return value;
    const text = JSON.stringify(value);
    if (text === undefined) throw usage('the value has no JSON');
    return text;
  });
}

function lift(plan, flags, promise) {
  if (!plan.givesJson) return promise;
  return promise.then(flags & WANTS_GAS ? (result) => ({ ...result, value: JSON.parse(result.value) }) : JSON.parse);
}

// --- instance ------------------------------------------------------------------------------------------------------

// An i32 of the guest's, or any offset or size.
function place(value) {
  const n = typeof value === 'bigint' ? Number(value) : value;
  if (Number.isSafeInteger(n) && n >= -(2 ** 31)) return n < 0 ? n + 2 ** 32 : n;
  throw usage('offsets and sizes are integers');
}

/** The instance's memory, as far as nobody runs: between its calls, and in host functions that it called. */
class Memory {
  #handle;
  #given = Buffer.alloc(0);

  open(handle) { this.#handle = handle; }

  get size() { return native.memorySize(this.#handle); }
  /** A copy. */
  read(offset, size) { return native.readMemory(this.#handle, place(offset), place(size)); }
  write(offset, bytes) { native.writeMemory(this.#handle, place(offset), bytes); }
  text(offset, size) { return this.read(offset, size).toString('utf8'); }

  // A host function with strings, bytes and JSON: these come as address and size; the guest fetches what it is given with `take`.
  wrap(f, signature) {
    const finish = (value) => this.#finish(signature.results, value);
    return (...flat) => {
      const args = [];
      let at = 0;
      for (const kind of signature.params) {
        if (!'syj'.includes(kind)) { args.push(kind === 'b' ? flat[at++] !== 0 : kind === 'u' ? flat[at++] >>> 0 : flat[at++]); continue; }
        const bytes = this.read(flat[at++], flat[at++]);
        args.push(kind === 'y' ? bytes : kind === 's' ? bytes.toString('utf8') : JSON.parse(bytes.toString('utf8')));
      }
      const result = f(...args);
      return result instanceof Promise ? result.then(finish) : finish(result);
    };
  }

  #finish(kind, value) {
    if (kind === 'b') return value ? 1 : 0;
    if (!kind || !'syj'.includes(kind)) return value;
    if (kind === 'y' ? !ArrayBuffer.isView(value) : kind === 's' && typeof value !== 'string')
      throw usage(`a host function gave no ${kind === 'y' ? 'bytes' : 'string'}`);
    this.#given = kind === 'y' ? value : Buffer.from(kind === 's' ? value : JSON.stringify(value));
    return this.#given.byteLength;
  }

  give(at) { this.write(at, this.#given); }
}

let nextId = 0;

// Starts a call that `signal` ends: begin(id) does.
function callWithSignal(handle, signal, begin) {
  if (signal.aborted) return Promise.reject(signal.reason);
  const id = (nextId = (nextId + 1) >>> 0 || 1);
  const promise = begin(id);
  const abort = () => native.abort(handle, id);
  if (signal.aborted) abort(); // by a host function, meanwhile
  signal.addEventListener('abort', abort, { once: true });
  return promise.then(
    (value) => { signal.removeEventListener('abort', abort); return value; },
    (error) => { signal.removeEventListener('abort', abort); throw error.trap === 'cancelled' && signal.aborted ? signal.reason : error; });
}

// Standard input of WASI programs.
function inputOf({ stdin }) {
  if (stdin === undefined) return null;
  if (typeof stdin !== 'string' && !ArrayBuffer.isView(stdin)) throw usage('stdin is a string or bytes');
  return typeof stdin === 'string' ? Buffer.from(stdin) : stdin;
}

function start(handle, plan, flags, args, options) {
  const gasLimit = gasOf(options), input = inputOf(options), signal = signalOf(options), flat = lower(plan, args);
  const begin = (id) => native.call(handle, plan.handle, gasLimit, flags, id, input, ...flat);
  return lift(plan, flags, signal ? callWithSignal(handle, signal, begin) : begin(0));
}

// One request: a fresh instance, a transaction.
function startRequest(handle, request, options) {
  const gasLimit = gasOf(options), input = inputOf(options), signal = signalOf(options), row = readRequest(request);
  const begin = (id) => native.handle(handle, row, gasLimit, id, input);
  return (signal ? callWithSignal(handle, signal, begin) : begin(0)).then(finishReply);
}

function find(plans, name) {
  const plan = plans.get(name);
  if (plan) return plan;
  const error = new GasworksError(`no function is exported as "${name}"`, 'ERR_GASWORKS_NOT_FOUND');
  throw error;
}

const NONE = Object.freeze({});

let callFresh, handleFresh, isBroken; // for Pool

class Instance {
  #handle;
  #plans;

  constructor(handle, memory, plans) {
    this.#handle = handle;
    this.#plans = plans;
    this.memory = memory;
    const exports = Object.create(null);
    for (const [name, plan] of plans)
      exports[name] = plan.json || plan.givesJson ? (...args) => start(handle, plan, 0, args, NONE)
        : (...args) => native.call(handle, plan.handle, 0, 0, 0, null, ...args);
    this.exports = Object.freeze(exports);
  }

  /** Calls an export: a promise of its result. */
  call(name, args = [], options = NONE) { return start(this.#handle, find(this.#plans, name), 0, args, options); }

  /** The same: a promise of {value, gas}. */
  run(name, args = [], options = NONE) { return start(this.#handle, find(this.#plans, name), WANTS_GAS, args, options); }

  /** Gives the export `handle` a request, in a fresh instance and a transaction: a promise of the reply. */
  async handle(request = NONE, options = NONE) { return startRequest(this.#handle, request, options); }

  /** Calls an export on this thread, which waits for it; wants a gas limit, here or of the instance. */
  callSync(name, args = [], options = NONE) {
    const plan = find(this.#plans, name);
    const value = native.callSync(this.#handle, plan.handle, gasOf(options), 0, 0, inputOf(options), ...lower(plan, args));
    return plan.givesJson ? JSON.parse(value) : value;
  }

  /** Gas of the last call that has ended. */
  get gasUsed() { return native.gasUsed(this.#handle); }

  /** Cancels its calls; it takes no more. */
  close() { native.close(this.#handle); }

  static {
    callFresh = (instance, plan, flags, args, options) => start(instance.#handle, plan, flags | IS_FRESH, args, options);
    handleFresh = (instance, request, options) => startRequest(instance.#handle, request, options);
    isBroken = (instance) => native.isBroken(instance.#handle);
  }
}

// --- pool ----------------------------------------------------------------------------------------------------------

class Pool {
  #create;
  #plans;
  #max;
  #instances = new Set();
  #n = 0; // of them, with those that are being made
  #idle = [];
  #waiting = []; // {resolve, reject}
  #isClosed = false;

  constructor(create, plans, options) {
    this.#create = create;
    this.#plans = plans;
    this.#max = number(options, 'max', 64, 1, 8192);
    const exports = Object.create(null);
    for (const [name, plan] of plans) exports[name] = (...args) => this.#start((instance) => callFresh(instance, plan, 0, args, NONE), NONE);
    this.exports = Object.freeze(exports);
  }

  call(name, args = [], options = NONE) { return this.#call(find(this.#plans, name), 0, args, options); }
  run(name, args = [], options = NONE) { return this.#call(find(this.#plans, name), WANTS_GAS, args, options); }
  async handle(request = NONE, options = NONE) { return this.#start((instance) => handleFresh(instance, request, options), options); }

  get size() { return this.#n; }

  close() {
    this.#isClosed = true;
    for (const instance of this.#instances) instance.close();
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#closed());
  }

  #closed() { return new GasworksError('the pool is closed', 'ERR_GASWORKS_CLOSED'); }

  #call(plan, flags, args, options) { return this.#start((instance) => callFresh(instance, plan, flags, args, options), options); }

  // begin(instance) starts the call.
  #start(begin, options) {
    if (this.#isClosed) return Promise.reject(this.#closed());
    const instance = this.#idle.pop();
    if (instance) return this.#use(instance, begin);
    return this.#take(signalOf(options)).then((taken) => this.#use(taken, begin));
  }

  #use(instance, begin) {
    let promise;
    try {
      promise = begin(instance);
    } catch (error) {
      this.#giveBack(instance, error);
      throw error;
    }
    promise.then(() => this.#giveBack(instance), (error) => this.#giveBack(instance, error));
    return promise;
  }

  async #make() {
    this.#n++;
    try {
      const instance = await this.#create();
      this.#instances.add(instance);
      if (this.#isClosed) instance.close();
      return instance;
    } catch (error) {
      this.#n--;
      this.#makeNext();
      throw error;
    }
  }

  // There is room for one more.
  #makeNext() {
    const next = this.#waiting.shift();
    if (next) this.#make().then(next.resolve, next.reject);
  }

  async #take(signal) {
    signal?.throwIfAborted();
    if (this.#n < this.#max) return this.#make();
    let abort;
    const taken = new Promise((resolve, reject) => {
      const waiting = { resolve, reject };
      this.#waiting.push(waiting);
      abort = () => {
        const at = this.#waiting.indexOf(waiting);
        if (at < 0) return;
        this.#waiting.splice(at, 1);
        reject(signal.reason);
      };
    });
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return await taken;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  #giveBack(instance, error) {
    if (error && isBroken(instance)) {
      this.#instances.delete(instance);
      this.#n--;
      this.#makeNext();
      return;
    }
    const next = this.#waiting.shift();
    if (next) next.resolve(instance);
    else this.#idle.push(instance);
  }
}

module.exports = { Engine, GasworksError, State, openState };
