'use strict';
// State: an ordered key-value store, and transactions on it.
const native = require('../build/gasworks.node');

const MOST_ATTEMPTS = 16, LONGEST_WAIT = 1000; // ms that one which has conflicted waits for those before it
const GET = 0, SET = 1, DELETE = 2, ADD = 3, SCAN = 4, COMMIT = 5; // enum op of src/state.c
const NOTHING = Buffer.alloc(0);

function fail(message, code = 'ERR_GASWORKS_TYPE') {
  const error = code === 'ERR_GASWORKS_TYPE' ? new TypeError(message) : new Error(message);
  error.code = code;
  throw error;
}

function bytes(value, what) {
  if (typeof value === 'string') return Buffer.from(value);
  if (!ArrayBuffer.isView(value)) fail(`${what} is a string or bytes`);
  return Buffer.from(new Uint8Array(value.buffer, value.byteOffset, value.byteLength)); // a copy: it may change before its turn
}

function readSpace(space) {
  if (typeof space !== 'string' || space.includes('\0') || space === '' || Buffer.byteLength(space) > 128) fail('a space has a name of 1 to 128 bytes');
  return space;
}

/** Reads and writes of one attempt, one after another. */
class Transaction {
  #handle;
  #last = Promise.resolve(); // the operation before
  #isOver = false;
  #error; // of an operation: it commits no more

  constructor(handle) { this.#handle = handle; }

  #run(op, key, value = NOTHING, delta = 0n, isBackward = false, limit = 0) {
    if (this.#isOver) fail('the transaction is over', 'ERR_GASWORKS_USAGE');
    const done = this.#last.then(() => native.txnOp(this.#handle, op, key, value, delta, isBackward, limit));
    this.#last = done.then(() => {}, (error) => { this.#error ??= error; });
    return done;
  }

  /** A Buffer, or undefined. */
  async get(key) { return this.#run(GET, bytes(key, 'a key')); }
  async set(key, value) { return this.#run(SET, bytes(key, 'a key'), bytes(value, 'a value')); }
  async delete(key) { return this.#run(DELETE, bytes(key, 'a key')); }

  /** To the number that 8 bytes are, least first; no value is 0. It conflicts with no other addition. */
  async add(key, delta) {
    if (typeof delta !== 'bigint' && !Number.isSafeInteger(delta)) fail('what is added is an integer');
    return this.#run(ADD, bytes(key, 'a key'), NOTHING, BigInt.asIntN(64, BigInt(delta)));
  }

  /** [[key, value]] from `first` to before `end`. A value that was written by parts is null. */
  async scan({ first = NOTHING, end = NOTHING, backward = false, limit = 0 } = {}) {
    if (!Number.isInteger(limit) || limit < 0 || limit > 2 ** 31) fail('limit is a number of pairs');
    return this.#run(SCAN, bytes(first, 'first'), bytes(end, 'end'), 0n, Boolean(backward), limit);
  }

  // What was not awaited belongs to it, too. Whether it was committed; false: it met a conflict.
  static async commit(txn) {
    const committed = txn.#last.then(() => {
      if (txn.#error) throw txn.#error;
      return native.txnOp(txn.#handle, COMMIT, NOTHING, NOTHING, 0n, false, 0);
    });
    txn.#isOver = true;
    try {
      return await committed;
    } finally {
      if (txn.#error) native.abortTxn(txn.#handle);
    }
  }

  static async abort(txn) {
    txn.#isOver = true;
    await txn.#last;
    native.abortTxn(txn.#handle);
  }
}

// A turn in a row of them: until those before it have ended, but not for ever, as they may wait for this one.
async function takeTurn(rows, space) {
  let end, timer;
  const before = rows.get(space), mine = new Promise((done) => { end = done; });
  rows.set(space, mine);
  await Promise.race([before, new Promise((done) => { timer = setTimeout(done, LONGEST_WAIT); })]);
  clearTimeout(timer);
  return () => {
    if (rows.get(space) === mine) rows.delete(space);
    end();
  };
}

let handleOf;

/** A directory of keys and values. */
class State {
  #handle;
  #rows = new Map(); // by space: the last of those that have met a conflict
  #end;

  constructor(handle) { this.#handle = handle; }

  async #attempt(space, callback) {
    const txn = new Transaction(native.beginTxn(this.#handle, space));
    let value;
    try {
      value = await callback(txn);
    } catch (error) {
      await Transaction.abort(txn);
      throw error;
    }
    return { value, isCommitted: await Transaction.commit(txn) };
  }

  /** Runs the callback in a transaction, again where that met a conflict; what it gave. */
  async transact(space, callback) {
    readSpace(space);
    if (typeof callback !== 'function') fail('transact wants a function');
    for (let i = 0; i < MOST_ATTEMPTS; i++) {
      const end = i ? await takeTurn(this.#rows, space) : null;
      try {
        const { value, isCommitted } = await this.#attempt(space, callback);
        if (isCommitted) return value;
      } finally {
        end?.();
      }
    }
    return fail(`space ${space} met conflicting writes in each of ${MOST_ATTEMPTS} attempts`, 'ERR_GASWORKS_CONFLICT');
  }

  /** Takes nothing more, and closes when what is under way has ended. */
  close() { return (this.#end ??= native.closeState(this.#handle)); }

  static { handleOf = (state) => state.#handle; }
}

async function openState(directory, { maxBytes = 0, sync = true } = {}) {
  if (typeof directory !== 'string' || directory === '' || directory.includes('\0')) fail('the directory is a path');
  if (typeof maxBytes !== 'number' || !(maxBytes >= 0 && maxBytes <= 2 ** 46)) fail('maxBytes is a number of bytes');
  return new State(await native.openState(directory, maxBytes, Boolean(sync)));
}

/** [handle, space] of an instance's options, or [null, null]. */
function readState({ state, space }) {
  if (state === undefined || state === null) {
    if (space !== undefined) fail('a space is one of a state');
    return [null, null];
  }
  if (!(state instanceof State)) fail('state is what openState gave');
  return [handleOf(state), readSpace(space)];
}

module.exports = { State, openState, readState };
