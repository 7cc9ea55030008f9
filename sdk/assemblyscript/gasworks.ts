// Gasworks functions in AssemblyScript: the host functions of module "gasworks" and wrappers over bytes and strings.
//
//   import { replyText } from "../../sdk/assemblyscript/gasworks";
//   export function handle(): void { replyText("hello\n"); }
//
// Build with `asc FILE.ts -o FILE.wasm -O3 --debug --exportStart _initialize --runtime stub`: --debug keeps names, and with an
// exported start the server lets the interpreter say exactly where a request trapped. The host's `env.abort` tells the message.

@external("gasworks", "request_method") declare function hostMethod(out: usize, capacity: usize): usize;
@external("gasworks", "request_target") declare function hostTarget(out: usize, capacity: usize): usize;
@external("gasworks", "request_path") declare function hostPath(out: usize, capacity: usize): usize;
@external("gasworks", "request_query") declare function hostQuery(out: usize, capacity: usize): usize;
@external("gasworks", "request_header")
declare function hostHeader(name: usize, nameSize: usize, out: usize, capacity: usize): usize;
@external("gasworks", "request_header_name")
declare function hostHeaderName(index: u32, out: usize, capacity: usize): usize;
@external("gasworks", "request_header_value")
declare function hostHeaderValue(index: u32, out: usize, capacity: usize): usize;
@external("gasworks", "request_body_size") declare function hostBodySize(): usize;
@external("gasworks", "request_body") declare function hostBody(offset: usize, out: usize, capacity: usize): usize;
@external("gasworks", "reply_status") declare function hostReplyStatus(status: u32): void;
@external("gasworks", "reply_header")
declare function hostReplyHeader(name: usize, nameSize: usize, value: usize, valueSize: usize): void;
@external("gasworks", "reply") declare function hostReply(bytes: usize, size: usize): void;
@external("gasworks", "state_get")
declare function hostStateGet(key: usize, keySize: usize, out: usize, capacity: usize): usize;
@external("gasworks", "state_set")
declare function hostStateSet(key: usize, keySize: usize, value: usize, valueSize: usize): void;
@external("gasworks", "state_delete") declare function hostStateDelete(key: usize, keySize: usize): void;
@external("gasworks", "state_exists") declare function hostStateExists(key: usize, keySize: usize): i32;
@external("gasworks", "state_add") declare function hostStateAdd(key: usize, keySize: usize, delta: i64): void;
@external("gasworks", "state_size") declare function hostStateSize(key: usize, keySize: usize): usize;
@external("gasworks", "state_read")
declare function hostStateRead(key: usize, keySize: usize, offset: u64, out: usize, capacity: usize): usize;
@external("gasworks", "state_write")
declare function hostStateWrite(key: usize, keySize: usize, offset: u64, bytes: usize, size: usize): void;
@external("gasworks", "state_resize") declare function hostStateResize(key: usize, keySize: usize, size: u64): void;
@external("gasworks", "state_scan")
declare function hostStateScan(first: usize, firstSize: usize, end: usize, endSize: usize, flags: u32, limit: u32,
  out: usize, capacity: usize): i32;
@external("gasworks", "log") declare function hostLog(text: usize, size: usize): void;
@external("gasworks", "gas_left") declare function hostGasLeft(): u64;
@external("gasworks", "clock_ms") declare function hostClock(): u64;
@external("gasworks", "random") declare function hostRandom(out: usize, size: usize): void;

/** What the host answers when there is no such item. */
const NONE: usize = usize.MAX_VALUE;

function pointer(bytes: Uint8Array): usize {
  return bytes.dataStart;
}

function encode(text: string): Uint8Array {
  return Uint8Array.wrap(String.UTF8.encode(text));
}

function decode(bytes: Uint8Array): string {
  return String.UTF8.decodeUnsafe(bytes.dataStart, bytes.length);
}

/** The request's method, like "GET". */
export function method(): string {
  const out = new Uint8Array(<i32>hostMethod(0, 0));
  hostMethod(pointer(out), out.length);
  return decode(out);
}

/** The path and the query as they were sent, from "/f/NAME" on. */
export function target(): string {
  const out = new Uint8Array(<i32>hostTarget(0, 0));
  hostTarget(pointer(out), out.length);
  return decode(out);
}

/** What follows the function's name in the path. */
export function path(): string {
  const out = new Uint8Array(<i32>hostPath(0, 0));
  hostPath(pointer(out), out.length);
  return decode(out);
}

/** The query string without the question mark, as it was sent. */
export function query(): string {
  const out = new Uint8Array(<i32>hostQuery(0, 0));
  hostQuery(pointer(out), out.length);
  return decode(out);
}

/** The value of NAME=VALUE in the query string, or null. */
export function queryParameter(name: string): string | null {
  const pairs = query().split("&");
  for (let i = 0; i < pairs.length; i++) {
    if (pairs[i].startsWith(name + "=")) return pairs[i].substring(name.length + 1);
  }
  return null;
}

export function header(name: string): string | null {
  const key = encode(name);
  const size = hostHeader(pointer(key), key.length, 0, 0);
  if (size == NONE) return null;
  const out = new Uint8Array(<i32>size);
  hostHeader(pointer(key), key.length, pointer(out), out.length);
  return decode(out);
}

/** The name of a header by its place among all, from 0 on; null behind the last. */
export function headerName(index: u32): string | null {
  const size = hostHeaderName(index, 0, 0);
  if (size == NONE) return null;
  const out = new Uint8Array(<i32>size);
  hostHeaderName(index, pointer(out), out.length);
  return decode(out);
}

/** The value of the header at that place. */
export function headerValue(index: u32): string | null {
  const size = hostHeaderValue(index, 0, 0);
  if (size == NONE) return null;
  const out = new Uint8Array(<i32>size);
  hostHeaderValue(index, pointer(out), out.length);
  return decode(out);
}

export function body(): Uint8Array {
  const out = new Uint8Array(<i32>hostBodySize());
  hostBody(0, pointer(out), out.length);
  return out;
}

/** Status of the reply; 200 unless said otherwise. */
export function replyStatus(status: u32): void {
  hostReplyStatus(status);
}

export function replyHeader(name: string, value: string): void {
  const n = encode(name), v = encode(value);
  hostReplyHeader(pointer(n), n.length, pointer(v), v.length);
}

/** Appends the first `size` bytes to the reply's body. */
export function reply(bytes: Uint8Array, size: i32 = bytes.length): void {
  hostReply(pointer(bytes), min(size, bytes.length));
}

export function replyText(text: string): void {
  reply(encode(text));
}

export function replyType(mediaType: string): void {
  replyHeader("Content-Type", mediaType);
}

/** A reply that is an error: the status and one sentence. */
export function replyError(status: u32, sentence: string): void {
  replyStatus(status);
  replyType("text/plain; charset=utf-8");
  replyText(sentence + "\n");
}

/** Reads the function's own state; one invocation is one transaction. */
export function stateGet(key: string): Uint8Array | null {
  const k = encode(key);
  const size = hostStateGet(pointer(k), k.length, 0, 0);
  if (size == NONE) return null;
  const out = new Uint8Array(<i32>size);
  hostStateGet(pointer(k), k.length, pointer(out), out.length);
  return out;
}

/** Kept only if the invocation succeeds. */
export function stateSet(key: string, value: Uint8Array): void {
  const k = encode(key);
  hostStateSet(pointer(k), k.length, pointer(value), value.length);
}

export function stateDelete(key: string): void {
  const k = encode(key);
  hostStateDelete(pointer(k), k.length);
}

export function stateExists(key: string): bool {
  const k = encode(key);
  return hostStateExists(pointer(k), k.length) != 0;
}

/** Adds to the number that the value's 8 bytes are, least first, modulo 2^64; no value is 0. Never conflicts with other adds. */
export function stateAdd(key: string, delta: i64): void {
  const k = encode(key);
  hostStateAdd(pointer(k), k.length, delta);
}

/** The size of a value; -1: there is none. */
export function stateSize(key: string): i64 {
  const k = encode(key), size = hostStateSize(pointer(k), k.length);
  return size == NONE ? -1 : <i64>size;
}

/** Reads a part of a value, up to 1 GiB of which are stored in chunks; how many bytes that were, or -1. */
export function stateRead(key: string, offset: u64, out: Uint8Array): i32 {
  const k = encode(key);
  return <i32>hostStateRead(pointer(k), k.length, offset, pointer(out), out.length);
}

/** Writes a part of a value, which is made when there is none, and grows. */
export function stateWrite(key: string, offset: u64, bytes: Uint8Array): void {
  const k = encode(key);
  hostStateWrite(pointer(k), k.length, offset, pointer(bytes), bytes.length);
}

/** Cuts a value off, or adds zeros. */
export function stateResize(key: string, size: u64): void {
  const k = encode(key);
  hostStateResize(pointer(k), k.length, size);
}

export class Pair {
  constructor(public key: string, public value: Uint8Array) {}
}

/** A key, and the size of its value. */
export class Key {
  constructor(public key: string, public size: u32) {}
}

const SCAN_BACKWARD: u32 = 1, SCAN_KEYS: u32 = 2;

/** What of a scan fits in 64 KiB, but one pair at least. */
function scanPage(first: string, end: string, flags: u32, limit: u32): Uint8Array {
  const a = encode(first), b = encode(end);
  let page = new Uint8Array(65536);
  let size = hostStateScan(pointer(a), a.length, pointer(b), b.length, flags, limit, pointer(page), page.length);
  if (size < 0) {
    page = new Uint8Array(-size);
    size = hostStateScan(pointer(a), a.length, pointer(b), b.length, flags, limit, pointer(page), page.length);
  }
  return page.subarray(0, size);
}

/** The first pairs with keys from `first` to before `end` in order, or backwards; an empty bound is none. As many as fit in 64 KiB,
 * but one at least and `limit` at most; 0: any number. An empty array: there are none. A value stored in chunks comes empty. */
export function stateScan(first: string, end: string, isBackward: bool = false, limit: u32 = 0): Pair[] {
  const page = scanPage(first, end, isBackward ? SCAN_BACKWARD : 0, limit);
  const pairs: Pair[] = [];
  for (let at = 0; at < page.length;) {
    const size = load<u32>(pointer(page) + at + 4), key = at + 8 + load<u32>(pointer(page) + at);
    const value = key + (size >> 31 ? 0 : size);
    pairs.push(new Pair(decode(page.slice(at + 8, key)), page.slice(key, value)));
    at = value;
  }
  return pairs;
}

/** The same keys, and the sizes of their values, which are not read. */
export function stateKeys(first: string, end: string, isBackward: bool = false, limit: u32 = 0): Key[] {
  const page = scanPage(first, end, SCAN_KEYS | (isBackward ? SCAN_BACKWARD : 0), limit);
  const keys: Key[] = [];
  for (let at = 0; at < page.length;) {
    const key = at + 8 + load<u32>(pointer(page) + at);
    keys.push(new Key(decode(page.slice(at + 8, key)), load<u32>(pointer(page) + at + 4) & 0x7fffffff));
    at = key;
  }
  return keys;
}

/** A line for the function's log. */
export function log(text: string): void {
  const line = encode(text);
  hostLog(pointer(line), line.length);
}

export function gasLeft(): u64 {
  return hostGasLeft();
}

/** Milliseconds since 1970. */
export function clock(): u64 {
  return hostClock();
}

export function random(out: Uint8Array): void {
  hostRandom(pointer(out), out.length);
}

/** For `--use abort=PATH/TO/sdk/assemblyscript/gasworks/trap`, where `env.abort` is not wanted: the message goes to the log, then
 * the function traps. */
export function trap(message: string | null, file: string | null, line: u32, column: u32): void {
  log((message ? message : "abort") + " in " + (file ? file : "?") + ":" + line.toString() + ":" + column.toString());
  unreachable();
}
