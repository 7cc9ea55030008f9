// Checks a receipt here, in the browser: nothing of it is taken on the server's word but the log's keys. docs/receipts.md says what
// is checked; tests/verify_receipts.py is the same in Python.

import { FIELDS } from './fields.js';

const check = (ok, what) => { if (!ok) throw new Error(what); };

export const toHex = (bytes) => [...bytes].map((b) => b.toString(16).padStart(2, '0')).join('');
const fromHex = (text) => {
  check(/^([0-9a-f]{2})*$/.test(text), 'the leaf is not in hexadecimal');
  return Uint8Array.from(text.match(/../g) || [], (pair) => parseInt(pair, 16));
};
function fromBase64(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  check(btoa(String.fromCharCode(...bytes)) === text, 'Base64 that is not in its standard form');
  return bytes;
}
const join = (...parts) => {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) { out.set(part, at); at += part.length; }
  return out;
};
const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);
const utf8 = (text) => new TextEncoder().encode(text);

async function sha256(...parts) {
  check(globalThis.crypto?.subtle, 'the browser computes no digests for pages that came over plain HTTP from another machine');
  return new Uint8Array(await crypto.subtle.digest('SHA-256', join(...parts)));
}
const leafHash = (leaf) => sha256([0], leaf);
const nodeHash = (left, right) => sha256([1], left, right);

// --- the leaf: one canonical map in CBOR

export const OUTCOMES = ['replied', 'trapped', 'failed', 'cancelled', 'repeated', 'void'];
const TYPES = { NUMBER: 0, TEXT: 3, DIGEST: 2, BYTES: 2 }; // of CBOR

export function decodeLeaf(bytes) {
  let at = 0;
  const head = () => {
    check(at < bytes.length, 'the leaf ends too early');
    const first = bytes[at++], major = first >> 5, info = first & 31;
    if (info < 24) return [major, info];
    check(info < 28, 'the leaf has an indefinite length');
    const size = 1 << (info - 24);
    check(at + size <= bytes.length, 'the leaf ends too early');
    let value = 0n;
    for (let i = 0; i < size; i++) value = (value << 8n) | BigInt(bytes[at++]);
    check(value >= (size === 1 ? 24n : 1n << BigInt(4 * size)), 'a number of the leaf is longer than needed');
    return [major, value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value];
  };
  const [major, n] = head(), fields = {};
  check(major === 5, 'the leaf is no map');
  let before = -1;
  for (let i = 0; i < n; i++) {
    const [kind, key] = head();
    check(kind === 0 && key > before && key < FIELDS.length, 'keys of the leaf do not ascend, or are unknown');
    before = key;
    const [name, is] = FIELDS[key], [type, value] = head();
    check(type === TYPES[is], `${name} has another kind`);
    if (type === 0) {
      fields[name] = value;
      continue;
    }
    check(at + value <= bytes.length, `${name} ends too early`);
    const part = bytes.slice(at, at + value);
    at += value;
    check(is !== 'DIGEST' || part.length === 32, `${name} has not 32 bytes`);
    fields[name] = is === 'TEXT' ? new TextDecoder('utf-8', { fatal: true }).decode(part) : toHex(part);
  }
  check(at === bytes.length, 'something stands behind the leaf');
  check(fields.format >= 1 && fields.outcome in OUTCOMES, 'the leaf has an unknown format or outcome');
  return fields;
}

// What the leaf says, in the words that GET /v1/receipts/INDEX has for it, so that what is shown is what is checked. Null: it says nothing.
export function fieldsOfLeaf(leaf) {
  try {
    const fields = decodeLeaf(fromHex(leaf));
    return { ...Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, typeof value === 'bigint' ? Number(value) : value])), outcome: OUTCOMES[fields.outcome] };
  } catch { return null; }
}

// --- the tree and its checkpoint

async function rootByProof(leaf, index, size, proof) {
  check(index < size, 'the index is not in the tree');
  let i = index, last = size - 1, hash = leaf;
  for (const sibling of proof) {
    check(last > 0, 'the proof is too long');
    if (i % 2 || i === last) {
      hash = await nodeHash(sibling, hash);
      while (i && i % 2 === 0) { i /= 2; last = Math.floor(last / 2); }
    } else {
      hash = await nodeHash(hash, sibling);
    }
    i = Math.floor(i / 2);
    last = Math.floor(last / 2);
  }
  check(last === 0, 'the proof is too short');
  return hash;
}

async function parseKey(line) {
  const [, name, id, text] = /^([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(line) || [];
  check(name, 'a key of the log is none');
  const bytes = fromBase64(text);
  check(bytes.length === 33 && bytes[0] === 1, 'a key of another kind');
  check(toHex((await sha256(utf8(name), [10], bytes)).slice(0, 4)) === id, "a key with another's id");
  return { name, id: fromHex(id), bytes: bytes.slice(1) };
}

// Which of the keys have signed; null where this browser has no Ed25519.
async function signers(text, signatures, keys) {
  const found = [];
  for (const line of signatures) {
    const [, name, encoded] = /^\u2014 (\S+) (\S+)$/.exec(line) || [];
    check(name, 'a line of signatures is none');
    const data = fromBase64(encoded);
    for (const key of keys) {
      if (key.name !== name || !same(key.id, data.slice(0, 4))) continue;
      let imported;
      try { imported = await crypto.subtle.importKey('raw', key.bytes, { name: 'Ed25519' }, false, ['verify']); } catch { return null; }
      check(await crypto.subtle.verify({ name: 'Ed25519' }, imported, data.slice(4), utf8(text)), 'a signature of the checkpoint is wrong');
      found.push(`${name}+${toHex(key.id)}`);
    }
  }
  check(found.length, 'no key of the log has signed the checkpoint');
  return found;
}

function parseProof(text) {
  const lines = text.split('\n');
  check(lines[0] === 'c2sp.org/tlog-proof@v1', 'this is no proof');
  let at = 1;
  if (lines[1].startsWith('extra ')) at = 2;
  const index = /^index (\d+)$/.exec(lines[at]), end = lines.indexOf('', at);
  check(index && end > 0, 'the proof has no index');
  const note = lines.slice(end + 1).join('\n'), middle = note.lastIndexOf('\n\n');
  check(middle > 0 && note.endsWith('\n'), 'the checkpoint has no signatures');
  const body = note.slice(0, middle + 1), [origin, size, root] = body.split('\n');
  check(/^(0|[1-9]\d*)$/.test(size || ''), 'the size of the checkpoint is no number');
  return { index: Number(index[1]), hashes: lines.slice(at + 1, end).map(fromBase64), body, signatures: note.slice(middle + 2, -1).split('\n'),
    origin, size: Number(size), root: fromBase64(root || '') };
}

// All of it, step by step: [{ title, detail, state }], state 'good', 'bad' or 'unknown'. Each step stands on those before it. `asked`: what
// the reader knows of it already: `index`, and where it was named in full `log` and `hash`.
export async function verifyReceipt(receipt, keyLines, asked) {
  const steps = [];
  const step = async (title, work) => {
    try {
      const [detail, state] = [].concat(await work());
      steps.push({ title, detail, state: state || 'good' });
    } catch (e) {
      steps.push({ title, detail: e.message, state: 'bad' });
      throw e;
    }
  };
  let leaf, hash, proof, fields;
  try {
    await step('It is the one that was asked for', () => {
      for (const [key, value] of Object.entries(asked)) check(value === undefined || String(receipt[key]) === value, `the server sent another ${key}, ${receipt[key]}`);
      return asked.hash ? 'with this hash' : `by its index, ${asked.index}`;
    });
    await step('The leaf is in the one form that leaves have', () => {
      leaf = fromHex(receipt.leaf);
      fields = decodeLeaf(leaf);
      return `${leaf.length} bytes of canonical CBOR, of the function ${fields.function}`;
    });
    await step("Its SHA-256 is the receipt's", async () => {
      hash = await leafHash(leaf);
      check(toHex(hash) === receipt.hash, 'the leaf is another than the receipt names');
      return toHex(hash);
    });
    if (!receipt.proof) {
      steps.push({ title: 'The log has not signed it yet', detail: 'a checkpoint follows within a second or so', state: 'unknown' });
      return steps;
    }
    await step("The proof leads from it to the checkpoint's root", async () => {
      proof = parseProof(receipt.proof);
      check(proof.index === receipt.index, 'the proof is of another index');
      check(same(await rootByProof(hash, proof.index, proof.size, proof.hashes), proof.root), "the proof does not lead to the checkpoint's root");
      return `${proof.hashes.length} ${proof.hashes.length === 1 ? 'hash' : 'hashes'}, tree of ${proof.size} leaves`;
    });
    await step('The checkpoint is of this log', async () => {
      check(toHex(await sha256(utf8(proof.origin))).slice(0, 16) === receipt.log, 'the receipt is of another log');
      return proof.origin;
    });
    await step("The log's key has signed it", async () => {
      const keys = [];
      for (const line of keyLines) keys.push(await parseKey(line));
      const found = await signers(proof.body, proof.signatures, keys);
      return found ? found.join(', ') : ['this browser has no Ed25519: gasworks verify checks it', 'unknown'];
    });
  } catch { /* the last step says what is wrong */ }
  return steps;
}
