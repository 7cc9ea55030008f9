'use strict';
// Signatures of functions with strings, bytes and JSON: text like "(str, i32) -> bytes!", from the module's custom section
// "gasworks.abi" or from whoever compiles it. A line of that section is
//   NAME SIGNATURE                     of an export
//   import MODULE.NAME SIGNATURE       of an import

const KINDS = new Map(Object.entries({ i32: 'i', u32: 'u', bool: 'b', i64: 'I', u64: 'U', f32: 'f', f64: 'F', str: 's', bytes: 'y', json: 'j' }));
const FLAT = { i: 'i', u: 'i', b: 'i', I: 'I', U: 'I', f: 'f', F: 'F', x: 'x' }; // x: does not cross

function fail(message) {
  const error = new TypeError(message);
  error.code = 'ERR_GASWORKS_TYPE';
  throw error;
}

const MOST = 32; // parameters

// What a module says may be long.
const cut = (text) => (text.length > 100 ? `${text.slice(0, 100)}...` : text);

function kind(text, whole) {
  return KINDS.get(text) ?? fail(`"${cut(text)}" in the signature "${cut(whole)}" is none of ${[...KINDS.keys()].join(', ')}`);
}

/** {params, results, mayFail}, a letter for each parameter and result. */
function parseSignature(text) {
  const whole = text.trim(), end = whole.indexOf(')'), behind = whole.slice(end + 1).trim();
  if (whole[0] !== '(' || end < 0 || (behind && !behind.startsWith('->'))) fail(`"${cut(text)}" is no signature like "(str, i32) -> bytes"`);
  const words = whole.slice(1, end).split(',').map((word) => word.trim());
  if (words.at(-1) === '') words.pop(); // none, or a comma behind the last
  if (words.length > MOST) fail(`"${cut(text)}" has more than ${MOST} parameters`);
  const params = words.map((word) => kind(word, text)).join('');
  const mayFail = behind.endsWith('!'), result = behind.slice(2, mayFail ? -1 : undefined).trim();
  const results = result ? kind(result, text) : '';
  if (mayFail && results && !'syj'.includes(results)) fail(`"${cut(text)}": only functions that give nothing, str, bytes or json may fail`);
  return { params, results, mayFail };
}

/** The Wasm type of a host function with that signature: what it gives is fetched, and it says how much that is. */
function flattenImport({ params, results }) {
  return { params: flatten({ params, results: '' }).params, results: [...results].map((letter) => FLAT[letter] ?? 'i').join('') };
}

/** The Wasm type of an export with that signature, a letter for each value. */
function flatten({ params, results, mayFail }) {
  return {
    params: [...params].map((letter) => FLAT[letter] ?? 'ii').join(''),
    results: mayFail ? 'I' : [...results].map((letter) => FLAT[letter] ?? 'I').join(''),
  };
}

/** The contents of custom sections with that name, in a valid module. */
function* customSections(bytes, wanted) {
  let at = 8;
  const leb = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (!(byte & 128)) return value;
    }
  };
  while (at < bytes.length) {
    const id = bytes[at++], end = leb() + at;
    if (id === 0) {
      const size = leb();
      if (bytes.toString('utf8', at, at + size) === wanted) yield bytes.subarray(at + size, end);
    }
    at = end;
  }
}

/** {exports, imports}: maps from names to signatures. */
function readSignatures(bytes) {
  const found = { exports: new Map(), imports: new Map() };
  for (const section of customSections(bytes, 'gasworks.abi'))
    for (const line of section.toString('utf8').split('\n')) {
      const match = /^(import )?([^\s(]+)\s*(\(.*)$/.exec(line);
      if (!match) { if (line.trim()) fail(`"${cut(line)}" in the section gasworks.abi is no signature`); continue; }
      found[match[1] ? 'imports' : 'exports'].set(match[2], parseSignature(match[3]));
    }
  return found;
}

module.exports = { parseSignature, flatten, flattenImport, readSignatures };
