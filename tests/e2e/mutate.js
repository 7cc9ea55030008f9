'use strict';
// node mutate.js FILE COUNT PREFIX SEED: writes mutants PREFIX.0, PREFIX.1, ...: a few bytes changed, cut out or doubled.
const fs = require('fs');
const [file, count, prefix, seed] = process.argv.slice(2);
const original = fs.readFileSync(file);
let state = Number(seed) >>> 0 || 1;

function random(limit) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % limit;
}

function mutate(bytes) {
  const at = 8 + random(bytes.length - 8), size = 1 + random(8);
  switch (random(4)) {
    case 0: return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + size)]);
    case 1: return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at, at + size), bytes.subarray(at)]);
    default: {
      const copy = Buffer.from(bytes);
      copy[at] = random(2) ? random(256) : copy[at] ^ (1 << random(8));
      return copy;
    }
  }
}

for (let i = 0; i < Number(count); i++) {
  let bytes = original;
  for (let n = 1 + random(3); n > 0; n--) bytes = mutate(bytes);
  fs.writeFileSync(`${prefix}.${i}`, bytes);
}
