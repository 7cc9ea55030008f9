'use strict';
// Requests for functions that export `handle`, and their replies, as the addon wants and gives them.
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

function fail(message) {
  const error = new TypeError(message);
  error.code = 'ERR_GASWORKS_TYPE';
  throw error;
}

// No control characters: functions may pass it on where they mean something.
function line(value, fallback, what) {
  if (value === undefined || value === null) return fallback;
  if (typeof value !== 'string' || /[\0-\x1f\x7f]/.test(value)) fail(`${what} is a string without control characters`);
  return value;
}

function readHeaders(headers) {
  const rows = Array.isArray(headers) || typeof headers?.[Symbol.iterator] === 'function' ? [...headers] : Object.entries(headers ?? {});
  return rows.flatMap(([name, value]) => (Array.isArray(value) ? value : [value]).map((one) => {
    if (typeof name !== 'string' || !TOKEN.test(name)) fail('a header has no such name');
    return [name, line(typeof one === 'number' ? String(one) : one, '', 'a header')];
  }));
}

function readBody(body) {
  if (body === undefined || body === null) return null;
  if (typeof body === 'string') return Buffer.from(body);
  if (!ArrayBuffer.isView(body) && !(body instanceof ArrayBuffer)) fail('a body is a string or bytes');
  return ArrayBuffer.isView(body) ? Buffer.from(body.buffer, body.byteOffset, body.byteLength) : body;
}

/** What native.handle wants. */
function readRequest({ method, path, query, target, headers, body, readonly = false } = {}) {
  path = line(path, '/', 'the path');
  query = line(query, '', 'the query');
  target = line(target, query ? `${path}?${query}` : path, 'the target');
  return [line(method, 'GET', 'the method'), path, query, target, readHeaders(headers), readBody(body), Boolean(readonly)];
}

/** Headers by name in small letters; those with several values have an array of them. */
function finishReply(reply) {
  const headers = {};
  for (const row of reply.headers.split('\r\n').filter(Boolean)) {
    const at = row.indexOf(':'), name = row.slice(0, at).toLowerCase(), value = row.slice(at + 1).trim();
    const before = Object.hasOwn(headers, name) ? headers[name] : undefined;
    const all = before === undefined ? value : [before, value].flat();
    Object.defineProperty(headers, name, { value: all, enumerable: true, configurable: true, writable: true });
  }
  reply.headers = headers;
  return reply;
}

module.exports = { readRequest, finishReply };
