// Checks receipts with another implementation of RFC 6962 and of signed notes: that of sigstore, as npm has it.
//   node check.js TOOLS KEYS RECEIPTS.json    TOOLS: where package.json's packages are; RECEIPTS: as `receipts list --json` writes them
'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const [tools, keysPath, receiptsPath] = process.argv.slice(2);
const at = (file) => require(path.join(path.resolve(tools), 'node_modules/@sigstore/verify/dist/tlog', file));
const {verifyCheckpoint} = at('checkpoint.js');
const {verifyMerkleInclusion} = at('merkle.js');

// A key of a note, ORIGIN+ID+BASE64, as sigstore knows logs.
function logOf(line) {
  const [origin, id, text] = line.split(/\+(.{8})\+/);
  const key = Buffer.from(text, 'base64').subarray(1);
  const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), key]);
  return {logID: Buffer.from(id, 'hex'), baseURL: origin, publicKey: crypto.createPublicKey({key: der, format: 'der', type: 'spki'})};
}

// Throws unless the leaf is in the tree that a log has signed.
function check(logs, leaf, proof) {
  const [head, ...note] = proof.split('\n\n');
  const [, index, ...hashes] = head.split('\n');
  const inclusionProof = {logIndex: index.replace('index ', ''), hashes: hashes.map((hash) => Buffer.from(hash, 'base64')),
                          checkpoint: {envelope: note.join('\n\n')}};
  const entry = {canonicalizedBody: leaf, inclusionProof};
  verifyMerkleInclusion(entry, verifyCheckpoint(entry, logs));
}

function isRefused(...what) {
  try {
    check(...what);
  } catch (e) {
    if (e.code === 'TLOG_INCLUSION_PROOF_ERROR') return true;
    throw e;
  }
  return false;
}

// Another bit in each place that counts.
function refusesChanges(logs, leaf, proof) {
  const other = Buffer.from(leaf);
  other[leaf.length >> 1] ^= 1;
  const [head, text, signatures] = proof.split('\n\n');
  const letter = (s, i) => s.slice(0, i) + (s[i] === 'A' ? 'B' : 'A') + s.slice(i + 1);
  const lines = text.split('\n');
  const join = (h, t, s) => [h, t, s].join('\n\n');
  return isRefused(logs, other, proof) && isRefused(logs, leaf, join(letter(head, head.length - 20), text, signatures)) &&
    isRefused(logs, leaf, join(head, [lines[0], lines[1], letter(lines[2], 9)].join('\n'), signatures)) &&
    isRefused(logs, leaf, join(head, text, signatures.replace(/.{20}$/gm, (end) => letter(end, 0)))); // one good one is enough for it
}

const logs = fs.readFileSync(keysPath, 'utf8').trim().split('\n').map(logOf);
const receipts = JSON.parse(fs.readFileSync(receiptsPath)).receipts;
for (const {index, leaf, proof} of receipts) {
  const bytes = Buffer.from(leaf, 'hex');
  check(logs, bytes, proof);
  if (!refusesChanges(logs, bytes, proof)) throw new Error(`a change of receipt ${index} is taken`);
}
console.log(`${receipts.length} receipts`);
