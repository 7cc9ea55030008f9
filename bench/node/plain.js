'use strict';
// What functions.rs does, as a JavaScript programmer would write it: Maps, JSON, RegExp, typed arrays.

function words(text) {
  const counts = new Map();
  let total = 0;
  for (const word of text.split(/\s+/)) {
    if (!word) continue;
    counts.set(word, (counts.get(word) ?? 0) + 1);
    total++;
  }
  let most = '', best = 0;
  for (const [word, n] of counts) if (n > best || (n === best && word < most)) [most, best] = [word, n];
  return `${total} ${counts.size} ${most}`;
}

function blur(image, width) {
  const out = Buffer.from(image), height = Math.floor(image.length / width);
  for (let y = 1; y < height - 1; y++)
    for (let x = 1; x < width - 1; x++) {
      let sum = 0;
      for (let at = (y - 1) * width + x; at <= (y + 1) * width + x; at += width) sum += image[at - 1] + image[at] + image[at + 1];
      out[y * width + x] = sum / 9;
    }
  return out;
}

const json = (text) => JSON.stringify(JSON.parse(text));

const patterns = new Map();
function regex(pattern, text) {
  if (!patterns.has(pattern)) patterns.set(pattern, new RegExp(pattern, 'g'));
  return text.match(patterns.get(pattern))?.length ?? 0;
}

const primes = [2];
for (let c = 3; primes.length < 64; c += 2) if (primes.every((p) => c % p)) primes.push(c);
const bits = (x) => ((x % 1) * 2 ** 32) | 0;
const K = Int32Array.from(primes, (p) => bits(Math.cbrt(p)));
const H = Int32Array.from(primes.slice(0, 8), (p) => bits(Math.sqrt(p)));

function digest(message) {
  const h = Int32Array.from(H), w = new Int32Array(64);
  const padded = Buffer.alloc(Math.ceil((message.length + 9) / 64) * 64);
  padded.set(message);
  padded[message.length] = 0x80;
  padded.writeBigUInt64BE(BigInt(message.length) * 8n, padded.length - 8);
  const rotate = (x, n) => (x >>> n) | (x << (32 - n));
  for (let at = 0; at < padded.length; at += 64) {
    for (let i = 0; i < 16; i++) w[i] = padded.readInt32BE(at + 4 * i);
    for (let i = 16; i < 64; i++) {
      const a = w[i - 15], b = w[i - 2];
      w[i] = (w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ (a >>> 3)) + w[i - 7] + (rotate(b, 17) ^ rotate(b, 19) ^ (b >>> 10))) | 0;
    }
    let [a, b, c, d, e, f, g, z] = h;
    for (let i = 0; i < 64; i++) {
      const t1 = (z + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
      const t2 = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [z, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
    }
    h[0] += a; h[1] += b; h[2] += c; h[3] += d; h[4] += e; h[5] += f; h[6] += g; h[7] += z;
  }
  const out = Buffer.alloc(32);
  for (let i = 0; i < 8; i++) out.writeInt32BE(h[i], 4 * i);
  return out;
}

module.exports = { words, blur, json, regex, digest };
