'use strict';
// Straight-line arithmetic from a seed, because Binaryen's generator makes hardly any: a function that takes random values
// through random instructions of the core, sign extension, saturating conversions, vectors, loads and stores of integers.
//
// What may differ between engines is left out: NaN bits never get into integers, so there is no reinterpretation of floats, no
// copysign, and lanes that are NaN become zero after each vector instruction that makes floats. With `hasNanBits`, for a
// comparison of this engine's own tiers and levels, all of that is in, and constants are NaNs with payloads, too.

// "first-last operands_result" of opcodes in hexadecimal; i I f F v are i32 i64 f32 f64 v128, n is a v128 that may have NaN lanes.
const CORE = `45-45 i_i 46-4f ii_i 50-50 I_i 51-5a II_i 5b-60 ff_i 61-66 FF_i 67-69 i_i 6a-6c ii_i 6d-70 id_i 71-78 ii_i
  79-7b I_I 7c-7e II_I 7f-82 ID_I 83-8a II_I 8b-91 f_f 92-97 ff_f 99-9f F_F a0-a5 FF_F a7-a7 I_i ac-ad i_I b2-b3 i_f b4-b5 I_f
  b6-b6 F_f b7-b8 i_F b9-ba I_F bb-bb f_F be-be i_f bf-bf I_F`;
const SIGN_EXTENSION = 'c0-c1 i_i c2-c4 I_I';
const SATURATING = '0-1 f_i 2-3 F_i 4-5 f_I 6-7 F_I';
const VECTORS = `e-e vv_v f-11 i_v 12-12 I_v 23-4c vv_v 4d-4d v_v 4e-51 vv_v 52-52 vvv_v 53-53 v_i 60-62 v_v 63-64 v_i 65-66 vv_v
  6b-6d vi_v 6e-73 vv_v 76-79 vv_v 7b-7b vv_v 7c-81 v_v 82-82 vv_v 83-84 v_i 85-86 vv_v 87-8a v_v 8b-8d vi_v 8e-93 vv_v 95-99 vv_v
  9b-9f vv_v a0-a1 v_v a3-a4 v_i a7-aa v_v ab-ad vi_v ae-ae vv_v b1-b1 vv_v b5-ba vv_v bc-bf vv_v c0-c1 v_v c3-c4 v_i c7-ca v_v
  cb-cd vi_v ce-ce vv_v d1-d1 vv_v d5-df vv_v e0-e1 v_n e3-e3 v_n e4-eb vv_n ec-ed v_N ef-ef v_N f0-f7 vv_N f8-f9 v_v fa-fb v_n fc-fd v_v
  fe-ff v_N`;
const MEMORY = '28-28 a_i 29-29 a_I 2c-2f a_i 30-35 a_I 36-36 ai_ 37-37 aI_ 3a-3b ai_ 3c-3e aI_';

const NAN_BITS = 'bc-bc f_i bd-bd F_I be-be i_f bf-bf I_F 98-98 ff_f a6-a6 FF_F';
const NAN_MEMORY = '2a-2a a_f 2b-2b a_F 38-38 af_ 39-39 aF_';
const NAN_VECTORS = '13-13 f_v 14-14 F_v e0-e1 v_v e4-eb vv_v ec-ed v_v f0-f7 vv_v 5e-5f v_v 67-6a v_v';
const NAN_VECTOR_MEMORY = '0-0 a_v b-b av_';
const RELAXED = '105-108 vvv_v 10d-110 vv_v';

const TYPES = { i: 0x7f, I: 0x7e, f: 0x7d, F: 0x7c, v: 0x7b };
const EACH = 4; // locals of a type

function parse(text, prefix) {
  const words = text.trim().split(/\s+/);
  const rows = [];
  for (let i = 0; i < words.length; i += 2) {
    const [first, last] = words[i].split('-').map((hex) => parseInt(hex, 16));
    const [operands, result] = words[i + 1].split('_');
    for (let op = first; op <= last; op++) rows.push({ code: prefix ? [prefix, ...leb(op)] : [op], operands, result, isAccess: operands[0] === 'a' });
  }
  return rows;
}

const leb = (n) => (n < 0x80 ? [n] : [(n & 0x7f) | 0x80, ...leb(n >>> 7)]);

// xorshift32
function random(seed) {
  let x = (seed * 2654435761 + 0x9e3779b9) >>> 0 || 1;
  return (n) => {
    x ^= x << 13;
    x >>>= 0;
    x ^= x >>> 17;
    x ^= x << 5;
    x >>>= 0;
    return x % n;
  };
}

const INTERESTING = [0, 1, 2, 7, 31, 32, 33, 63, 64, 127, 128, 255, 32767, 32768, 65535, 0x7fffffff, 0x80000000, 0xffffffff, 0xdeadbeef];

function bytesOf(next, size) {
  const out = Buffer.alloc(size);
  for (let i = 0; i < size; i += 4) out.writeUInt32LE(next(3) ? INTERESTING[next(INTERESTING.length)] : next(0x7fffffff) * 2, i);
  return [...out];
}

// Of a NaN with a payload, quiet or signalling, of either sign.
function nanBytes(next, size) {
  const out = Buffer.alloc(size), high = [ 0x7fc, 0xffc, 0x7fa, 0xff8, 0x7f8 ][next(5)], low = 1 + next(0xfffff);
  if (size === 4)
    out.writeUInt32LE(high * 0x100000 + low);
  else
    out.writeBigUInt64LE((BigInt([ 0x7ff8, 0xfff8, 0x7ff4, 0xfff0, 0x7ff0 ][next(5)]) << 48n) + BigInt(low));
  return [...out ];
}

function floatBytes(next, size) {
  const values = [0, -0, 1, -1, 0.5, 1.5, 2.5, -2.5, 1e10, -1e10, 3e38, 1e-40, 4294967296, 2147483648, -2147483649, 9.3e18, Infinity, -Infinity, NaN];
  const out = Buffer.alloc(size), value = next(2) ? values[next(values.length)] : (next(2000000) - 1000000) / 64;
  if (size === 4) out.writeFloatLE(value);
  else out.writeDoubleLE(value);
  return [...out];
}

function signedLeb(value) {
  const out = [];
  for (;;) {
    const low = Number(value & 0x7fn);
    value >>= 7n;
    if ((value === 0n && !(low & 0x40)) || (value === -1n && low & 0x40)) return [...out, low];
    out.push(low | 0x80);
  }
}

function constantOf(next, type) {
  const wide = Buffer.from(bytesOf(next, 8)).readBigInt64LE();
  switch (type) {
    case 'i': return [0x41, ...signedLeb(BigInt.asIntN(32, wide))];
    case 'I': return [0x42, ...signedLeb(wide)];
    case 'f': return [0x43, ...floatBytes(next, 4)];
    case 'F': return [0x44, ...floatBytes(next, 8)];
    default: return [0xfd, 0x0c, ...bytesOf(next, 16)];
  }
}

// { locals: [[type, ...]], code, results: value types of all locals, read at the end by the caller }.
// `steps` instructions; `features` as Binaryen calls them; `hasMemory`: memory 0 has 32-bit indices and a page at least.
function makeArithmetic(seed, steps, features, hasMemory, hasNanBits) {
  const next = random(seed), hasVectors = features.includes('simd');
  const more = !hasNanBits ? [] : [
    parse(NAN_BITS), hasMemory ? parse(NAN_MEMORY) : [], hasVectors ? parse(NAN_VECTORS, 0xfd) : [],
    hasVectors && hasMemory ? parse(NAN_VECTOR_MEMORY, 0xfd) : [], features.includes('relaxed-simd') ? parse(RELAXED, 0xfd) : []
  ].flat();
  const rows = [
    parse(CORE), hasMemory ? parse(MEMORY) : [], features.includes('sign-ext') ? parse(SIGN_EXTENSION) : [],
    features.includes('nontrapping-float-to-int') ? parse(SATURATING, 0xfc) : [], hasVectors ? parse(VECTORS, 0xfd) : [], more,
    more, more
  ].flat();
  const letters = features.includes('simd') ? [...'iIfFv'] : [...'iIfF'];
  const constant = (type) =>
      (hasNanBits && 'fF'.includes(type) && !next(3) ? [ type === 'f' ? 0x43 : 0x44, ...nanBytes(next, type === 'f' ? 4 : 8) ]
                                                     : constantOf(next, type));
  const index = (type) => letters.indexOf(type) * EACH + next(EACH);
  const get = (type) => {
    const local = next(6) ? [ 0x20, index(type === 'd' || type === 'a' ? 'i'
                                          : type === 'D'               ? 'I'
                                                                       : type) ]
                          : constant(type === 'd' || type === 'a' ? 'i'
                                     : type === 'D'               ? 'I'
                                                                  : type);
    if (type === 'a') return [...local, 0x41, ...leb(0x3f), 0x71]; // within the page, few places
    if (type === 'd') return [...local, 0x41, 1, 0x72]; // a divisor: odd
    if (type === 'D') return [...local, 0x42, 1, 0x84];
    return local;
  };
  const code = [];
  for (const type of letters)
    for (let i = 0; i < EACH; i++) code.push(...constant(type), 0x21, letters.indexOf(type) * EACH + i);
  for (let i = 0; i < steps; i++) {
    const row = rows[next(rows.length)];
    for (const type of row.operands) code.push(...get(type));
    code.push(...row.code);
    if (row.isAccess) code.push(0, next(64));
    if (!row.result) continue;
    const to = index(row.result === 'n' || row.result === 'N' ? 'v' : row.result);
    code.push(0x21, to);
    const equal = { n: [0xfd, 0x41], N: [0xfd, 0x47] }[row.result];
    if (equal && !hasNanBits)
      code.push(0x20, to, 0x20, to, 0x20, to, ...equal, 0xfd, 0x4e, 0x21, to); // f32x4.eq or f64x2.eq with itself, v128.and
  }
  return { code, locals: letters.flatMap((type) => Array(EACH).fill([TYPES[type]])) };
}

module.exports = { makeArithmetic };
