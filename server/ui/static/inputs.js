// What an invocation was given, as GET /v1/receipts/INDEX/inputs has it (gasworks replay): "gwinput1", then fields of a key in one byte,
// a size in four, the least first, and bytes; behind them 8 bytes of checksum, which whoever runs it again looks at.

const NAMES = ['index', 'version', 'lost', 'gas_limit', 'max_memory', 'max_reply', 'http10', 'fine_clocks', 'port', 'peer', 'address', 'rest', 'space', 'only_reads', 'seed', 'repeat',
  'repeat_ms', 'reads', 'host', 'settings', 'request'];
const NUMBERS = new Set(['index', 'version', 'lost', 'gas_limit', 'max_memory', 'max_reply', 'http10', 'fine_clocks', 'port', 'only_reads', 'repeat_ms']);
const TEXTS = new Set(['peer', 'address', 'rest', 'space']);

const utf8 = (bytes) => new TextDecoder().decode(bytes);
const isText = (bytes) => { try { return !/[\0-\x08\x0e-\x1f]/.test(new TextDecoder('utf-8', { fatal: true }).decode(bytes)); } catch { return false; } };
const hex = (bytes) => [...bytes].map((b) => b.toString(16).padStart(2, '0')).join('');
const shown = (bytes) => (bytes.length > 400 ? `${shown(bytes.subarray(0, 400))} \u2026 (${bytes.length} bytes)` : isText(bytes) ? utf8(bytes) : `0x${hex(bytes)}`);

export function readInputs(buffer) {
  const all = new Uint8Array(buffer), view = new DataView(buffer), found = {};
  if (all.length < 16 || utf8(all.subarray(0, 8)) !== 'gwinput1') throw new Error('the inputs are in another form');
  for (let at = 8; at < all.length - 8;) {
    if (at + 5 > all.length - 8) throw new Error('the inputs end too early');
    const name = NAMES[all[at]], size = view.getUint32(at + 1, true), end = at + 5 + size;
    if (end > all.length - 8) throw new Error('the inputs end too early');
    const bytes = all.subarray(at + 5, end);
    if (name) found[name] = NUMBERS.has(name) ? bytes.reduceRight((n, b) => n * 256 + b, 0) : TEXTS.has(name) ? utf8(bytes) : bytes;
    at = end;
  }
  return found;
}

// METHOD TARGET, NAME:VALUE lines, an empty one, and the body.
export function splitRequest(bytes, rest) {
  let end = bytes.indexOf(10);
  const [method, target] = utf8(bytes.subarray(0, end)).split(' '), headers = [];
  for (let at = end + 1; at < bytes.length;) {
    end = bytes.indexOf(10, at);
    if (end === at || end < 0) { at = end + 1; end = at; break; }
    headers.push(utf8(bytes.subarray(at, end)).replace(':', ': '));
    at = end + 1;
  }
  const query = target.includes('?') ? target.slice(target.indexOf('?')) : '';
  return { method, target, headers: headers.join('\n'), body: shown(bytes.subarray(end)), rest: (rest || '').split('/').map(encodeURIComponent).join('/') + query };
}

const ANSWERS = ['none', null, 'a page of a scan', null, 'a value in chunks'];

// Records of the digest `read`: a byte, the key's size and the key, and for what has a value its size and the value. Sizes have 8 bytes.
// What does not follow that form ends the list: it is for looking at.
export function readRecords(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length), records = [];
  const size = (at) => (at + 8 <= bytes.length ? Number(view.getBigUint64(at, true)) : Infinity);
  for (let at = 0; at < bytes.length;) {
    const kind = bytes[at], keySize = size(at + 1), keyEnd = at + 9 + keySize;
    if (kind > 4 || keyEnd > bytes.length) break;
    const key = bytes.subarray(at + 9, keyEnd), hasValue = kind !== 0, valueSize = hasValue ? size(keyEnd) : 0, end = hasValue ? keyEnd + 8 + valueSize : keyEnd;
    if (end > bytes.length) break;
    records.push({ key: shown(key.length > 24 ? key.subarray(24) : key), answer: kind === 1 ? shown(bytes.subarray(keyEnd + 8, end)) : kind === 3 ? (bytes[end - 1] ? 'exists' : 'does not exist') : ANSWERS[kind] });
    at = end;
  }
  return records;
}
