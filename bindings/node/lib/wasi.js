'use strict';
// The world of a WASI program, as the addon wants it, and the one function of WASI that waits.
const WASI = 'wasi_snapshot_preview1';

function fail(message) {
  const error = new TypeError(message);
  error.code = 'ERR_GASWORKS_TYPE';
  throw error;
}

function text(value, what) {
  if (typeof value !== 'string' || value.includes('\0')) fail(`${what} is a string without NUL`);
  return value;
}

/** {args, env, directories, seed} from an instance's options; null: no WASI. */
function readWorld(options) {
  if (options === undefined || options === null) return null;
  const args = Array.from(options.args ?? [], (arg) => text(arg, 'an argument'));
  const env = Object.entries(options.env ?? {}).map(([name, value]) => {
    if (name.includes('=')) fail('a name in env has no "="');
    return `${text(name, 'a name in env')}=${text(value, 'a value in env')}`;
  });
  const directories = Object.entries(options.directories ?? {}).map(([guest, host]) => {
    const { path, readonly = false } = typeof host === 'string' ? { path: host } : host;
    return [text(guest, 'a directory'), text(path, 'a directory'), Boolean(readonly)];
  });
  const { seed = null } = options;
  if (seed !== null && !(Number.isSafeInteger(seed) && seed >= 0)) fail('seed is an integer from 0');
  return { args, env, directories, seed };
}

const SUBSCRIPTION = 48, EVENT = 32, MOST = 1024; // bytes, bytes, subscriptions
const INVAL = 28, CLOCK = 0, ABSOLUTE = 1;
const LONGEST = 2 ** 31 - 1; // ms of a timer

function nanoseconds(clock) { return clock === 0 ? BigInt(Date.now()) * 1000000n : process.hrtime.bigint(); }

// How long until a clock's subscription is due, in ns.
function left(row) {
  const timeout = row.readBigUInt64LE(24), isAbsolute = row.readUInt16LE(40) & ABSOLUTE;
  const ns = isAbsolute ? timeout - nanoseconds(row.readUInt32LE(16)) : timeout;
  return ns > 0n ? ns : 0n;
}

/**
 * poll_oneoff for a guest whose streams are buffers, and so are always ready. The native one would hold a worker while it sleeps;
 * here the guest parks.
 */
function pollOneoff(memory) {
  return async (from, to, n, count) => {
    n >>>= 0;
    if (n === 0 || n > MOST) return INVAL;
    const rows = [], bytes = memory.read(from, n * SUBSCRIPTION);
    for (let at = 0; at < bytes.length; at += SUBSCRIPTION) rows.push(bytes.subarray(at, at + SUBSCRIPTION));
    const waits = rows.map((row) => (row[8] === CLOCK ? left(row) : 0n));
    const least = waits.reduce((a, b) => (a < b ? a : b));
    if (least > 0n) await new Promise((done) => setTimeout(done, Math.min(LONGEST, Math.ceil(Number(least) / 1e6))));
    const events = rows.filter((row, i) => waits[i] === least).map((row) => {
      const event = Buffer.alloc(EVENT);
      row.copy(event, 0, 0, 8);
      event[10] = row[8];
      return event;
    });
    memory.write(to, Buffer.concat(events));
    const size = Buffer.alloc(4);
    size.writeUInt32LE(events.length);
    memory.write(count, size);
    return 0;
  };
}

module.exports = { readWorld, pollOneoff, WASI };
