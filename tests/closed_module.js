'use strict';
// Makes a random module self-contained and its state visible, so that two engines need no glue that could differ:
//   - imports become definitions: functions that return zeros ("throw" throws, where there is a tag for it), globals of zeros,
//   tags;
//     they come first in their index spaces either way, so no index changes;
//   - for every exported function there is one, "%f0", ..., without parameters: it passes constants and returns integers only
//     (floats as their bits, any NaN as one, vectors as two i64, references as whether they are null);
//   - one more, "%a", does random arithmetic (arithmetic.js), and "%g" returns all globals; every memory is exported as "%m0",
//   ...
// Only what Binaryen's generator makes without GC is understood. With `hasNanBits` every NaN is returned as the bits that it has.

const { makeArithmetic } = require('./arithmetic.js');

const STEPS = 300;
const SECTION = { type: 1, import: 2, func: 3, memory: 5, tag: 13, global: 6, export: 7, code: 10 };
const ORDER = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11];
const KIND = { func: 0, table: 1, memory: 2, global: 3, tag: 4 };
const [I32, I64, F32, F64, V128] = [0x7f, 0x7e, 0x7d, 0x7c, 0x7b];
const REF_NULLABLE = 0x63, REF = 0x64;

// --- reading

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }
  byte() {
    return this.bytes[this.at++];
  }
  u32() {
    let value = 0, shift = 0, byte;
    do {
      byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      shift += 7;
    } while (byte & 0x80);
    return value;
  }
  skipLeb() {
    while (this.byte() & 0x80);
  }
  take(n) {
    this.at += n;
    return this.bytes.subarray(this.at - n, this.at);
  }
  // The bytes that `read` passes over.
  raw(read) {
    const start = this.at;
    read();
    return [...this.bytes.subarray(start, this.at)];
  }
  list(read) {
    return Array.from({ length: this.u32() }, read);
  }
  name() {
    return Buffer.from(this.take(this.u32())).toString();
  }
  valueType() {
    return this.raw(() => {
      const byte = this.byte();
      if (byte === REF_NULLABLE || byte === REF) this.skipLeb();
    });
  }
  limits() {
    const flags = this.byte();
    this.skipLeb();
    if (flags & 1) this.skipLeb();
    if (flags & 8) this.skipLeb();
  }
  constantExpression() {
    const skip = { 0x41: 'leb', 0x42: 'leb', 0x43: 4, 0x44: 8, 0x23: 'leb', 0xd0: 'leb', 0xd2: 'leb', 0xfd: 17 };
    for (let op = this.byte(); op !== 0x0b; op = this.byte()) {
      if (skip[op] === 'leb') this.skipLeb();
      else this.at += skip[op] ?? 0;
    }
  }
}

function readSections(bytes) {
  const r = new Reader(bytes);
  const sections = new Map();
  r.take(8);
  while (r.at < bytes.length) {
    const id = r.byte();
    const content = r.take(r.u32());
    if (id !== 0) sections.set(id, content);
  }
  return sections;
}

// Function types by index; null for others. `groups` counts entries of the section, which are groups of types.
function readTypes(content) {
  const types = [];
  if (!content) return { types, groups: 0, raw: [] };
  const r = new Reader(content);
  const groups = r.u32();
  const start = r.at;
  const field = () => (r.valueType(), r.byte());
  const one = () => {
    let form = r.byte();
    if (form === 0x50 || form === 0x4f) {
      r.list(() => r.u32());
      form = r.byte();
    }
    if (form === 0x60) types.push({ params: r.list(() => r.valueType()), results: r.list(() => r.valueType()) });
    else types.push((form === 0x5f ? r.list(field) : field(), null));
  };
  for (let i = 0; i < groups; i++) {
    if (content[r.at] === 0x4e) r.byte(), r.list(one);
    else one();
  }
  return { types, groups, raw: [...content.subarray(start)] };
}

function readImports(content) {
  if (!content) return [];
  const r = new Reader(content);
  return r.list(() => {
    const [from, name, kind] = [r.name(), r.name(), r.byte()];
    if (kind === KIND.func) return { name, kind, type: r.u32() };
    if (kind === KIND.tag) return { name, kind, type: (r.byte(), r.u32()) };
    if (kind === KIND.global) return { name, kind, type: r.valueType(), isMutable: r.byte() };
    throw new Error(`import of kind ${kind} from ${from}`);
  });
}

// A section that is a list, as its count and its bytes.
function readList(content) {
  if (!content) return { count: 0, raw: [] };
  const r = new Reader(content);
  const count = r.u32();
  return { count, raw: [...content.subarray(r.at)] };
}

function readGlobalTypes(content) {
  if (!content) return [];
  const r = new Reader(content);
  return r.list(() => {
    const type = r.valueType();
    r.byte();
    r.constantExpression();
    return type;
  });
}

const readIndices = (content) => (content ? new Reader(content) : { list: () => [] });

// --- writing

function u32(value) {
  const out = [];
  do {
    const low = value & 0x7f;
    value >>>= 7;
    out.push(value ? low | 0x80 : low);
  } while (value);
  return out;
}

function s32(value) {
  const out = [];
  for (;;) {
    const low = value & 0x7f;
    value >>= 7;
    if ((value === 0 && !(low & 0x40)) || (value === -1 && low & 0x40)) return [...out, low];
    out.push(low | 0x80);
  }
}

const string = (text) => [...u32(Buffer.byteLength(text)), ...Buffer.from(text)];
const vector = (items) => [...u32(items.length), ...items.flat()];
const sized = (bytes) => [...u32(bytes.length), ...bytes];
const float = (size, value) => {
  const view = Buffer.alloc(size);
  if (size === 4) view.writeFloatLE(value);
  else view.writeDoubleLE(value);
  return [...view];
};

// A constant of a type made of a small number; null where there is none (references that cannot be null).
function constant(type, n) {
  switch (type[0]) {
    case I32: return [0x41, ...s32(n)];
    case I64: return [0x42, ...s32(n)];
    case F32: return [0x43, ...float(4, n)];
    case F64: return [0x44, ...float(8, n)];
    case V128: return [0xfd, 0x0c, ...Array.from({ length: 16 }, (_, i) => (n * (i + 1)) & 0xff)];
    case REF: return null;
    case REF_NULLABLE: return [0xd0, ...type.slice(1)];
    default: return [0xd0, type[0]];
  }
}

let keepsNans = false; // of the module under way

// Code that turns the value pushed by `get` into integers, and their types.
function asIntegers(type, get) {
  switch (type[0]) {
    case I32: return { types: [I32], code: get };
    case I64: return { types: [I64], code: get };
    case F32:
      return {
        types : [ I32 ],
        code : keepsNans ? [...get, 0xbc ] : [...get, 0xbc, 0x41, ...s32(0x7fc00000), ...get, ...get, 0x5b, 0x1b ]
      };
    case F64:
      return {types : [ I64 ], code : keepsNans ? [...get, 0xbd ] : [...get, 0xbd, 0x42, 0x7f, ...get, ...get, 0x61, 0x1b ]};
    case V128: return { types: [I64, I64], code: [...get, 0xfd, 0x1d, 0, ...get, 0xfd, 0x1d, 1] };
    default: return { types: [I32], code: [...get, 0xd1] };
  }
}

const body = (locals, code) => sized([...vector(locals.map((type) => [1, ...type])), ...code, 0x0b]);

function importBody(imported, types, tags) {
  const { params, results } = types[imported.type];
  const tag = tags.findIndex((type) => types[type].params.length === 1 && types[type].params[0][0] === I32);
  if (imported.name === 'throw' && params[0]?.[0] === I32 && tag >= 0) return body([], [0x20, 0, 0x08, ...u32(tag)]);
  return body([], results.flatMap((type) => constant(type, 0) ?? [0x00]));
}

// A function that calls another with constants; null when a parameter has none.
function caller({ params, results }, index, position) {
  const args = params.map((type, i) => constant(type, position * 7 + i));
  if (args.includes(null)) return null;
  const keep = results.map((_, i) => [0x21, ...u32(results.length - 1 - i)]);
  const values = results.map((type, i) => asIntegers(type, [0x20, ...u32(i)]));
  const code = [...args.flat(), 0x10, ...u32(index), ...keep.flat(), ...values.flatMap((v) => v.code)];
  return { body: body(results, code), results: values.flatMap((v) => v.types) };
}

function getter(globals) {
  const values = globals.map((type, i) => asIntegers(type, [0x23, ...u32(i)]));
  return { body: body([], values.flatMap((v) => v.code)), results: values.flatMap((v) => v.types) };
}

// --- the whole

// Whether memory 0 has 32-bit indices and a page of 64 KiB at least.
function startsWithPage(content) {
  if (!content) return false;
  const r = new Reader(content);
  return r.u32() > 0 && r.byte() < 4 && r.u32() > 0;
}

function readModule(bytes) {
  const sections = readSections(bytes);
  const { types, groups, raw } = readTypes(sections.get(SECTION.type));
  const imports = readImports(sections.get(SECTION.import));
  const of = (kind) => imports.filter((i) => i.kind === kind);
  const funcs = readIndices(sections.get(SECTION.func));
  const tags = readIndices(sections.get(SECTION.tag));
  const exports = readIndices(sections.get(SECTION.export));
  return {
    sections, types, groups, rawTypes: raw,
    imported: { funcs: of(KIND.func), tags: of(KIND.tag), globals: of(KIND.global) },
    funcs: [...of(KIND.func).map((i) => i.type), ...funcs.list(() => funcs.u32())],
    tags: [...of(KIND.tag).map((i) => i.type), ...tags.list(() => (tags.byte(), tags.u32()))],
    globals: [...of(KIND.global).map((i) => i.type), ...readGlobalTypes(sections.get(SECTION.global))],
    exports: exports.list(() => ({ name: exports.name(), kind: exports.byte(), index: exports.u32() })),
    memories: readList(sections.get(SECTION.memory)).count,
    has32BitMemory: startsWithPage(sections.get(SECTION.memory)),
  };
}

// A function of random arithmetic, which returns all of its locals in the end.
function storm({seed, features, hasNanBits}, m) {
  const {code, locals} = makeArithmetic(seed, STEPS, features, m.has32BitMemory, hasNanBits);
  const values = locals.map((type, i) => asIntegers(type, [0x20, ...u32(i)]));
  return { name: '%a', body: body(locals, [...code, ...values.flatMap((v) => v.code)]), results: values.flatMap((v) => v.types) };
}

// The functions added for the outside: [{name, body, results}].
function makeProbes(m, options) {
  const calls = m.exports
    .filter((e) => e.kind === KIND.func)
    .map((e, i) => ({ name: `%f${i}`, ...caller(m.types[m.funcs[e.index]], e.index, i) }))
    .filter((probe) => probe.body);
  if (options?.features.includes('multivalue')) calls.push(storm(options, m));
  return [...calls, { name: '%g', ...getter(m.globals) }];
}

// `options`: { seed, features, hasNanBits } for random arithmetic, or nothing. Returns { bytes, probes }, the probes with the types
// of their results.
function closeModule(bytes, options) {
  keepsNans = Boolean(options?.hasNanBits);
  const m = readModule(bytes);
  const probes = makeProbes(m, options);
  const more = (id, before, after = []) => {
    const { count, raw } = readList(m.sections.get(id));
    if (before.length + after.length + count === 0) return;
    m.sections.set(id, [...u32(before.length + count + after.length), ...before.flat(), ...raw, ...after.flat()]);
  };
  m.sections.delete(SECTION.import);
  m.sections.set(SECTION.type, [
    ...u32(m.groups + probes.length), ...m.rawTypes,
    ...probes.flatMap((p) => [0x60, 0, ...vector(p.results.map((type) => [type]))]),
  ]);
  more(SECTION.func, m.imported.funcs.map((i) => u32(i.type)), probes.map((_, i) => u32(m.types.length + i)));
  more(SECTION.tag, m.imported.tags.map((i) => [0, ...u32(i.type)]));
  more(SECTION.global, m.imported.globals.map((i) => [...i.type, i.isMutable, ...constant(i.type, 0), 0x0b]));
  more(SECTION.export, [], [
    ...probes.map((p, i) => [...string(p.name), KIND.func, ...u32(m.funcs.length + i)]),
    ...Array.from({ length: m.memories }, (_, i) => [...string(`%m${i}`), KIND.memory, ...u32(i)]),
  ]);
  more(SECTION.code, m.imported.funcs.map((i) => importBody(i, m.types, m.tags)), probes.map((p) => p.body));
  const present = ORDER.filter((id) => m.sections.has(id));
  const all = present.flatMap((id) => [id, ...sized(Array.from(m.sections.get(id)))]);
  return { bytes: Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...all]), probes: probes.map(({ name, results }) => ({ name, results })) };
}

module.exports = { closeModule };
