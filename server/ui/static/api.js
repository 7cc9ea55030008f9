// Requests to the server that this page came from, and the token they show. The token is kept in this module, so it ends with the
// page. Where the dashboard has an origin of its own, it is in sessionStorage, too, if the user wishes: elsewhere pages of functions
// opened in the same tab could read that.

const ROOT = new URL('..', import.meta.url);
const KEPT = 'gasworks-token';
let token = null, tenant = null, home = null, isOwn = false, onDenied = () => {};

export class Problem extends Error {
  constructor(status, document) {
    super(document.detail || document.title || `HTTP ${status}`);
    this.status = status;
    this.document = document;
  }
}

export const hasToken = () => token !== null;
export const getTenant = () => tenant;
export const useTenant = (name) => { tenant = name; };
// The tenant that paths without one are about.
export const homeTenant = () => home;
export const useHome = (name) => { home = name; };
export const whenDenied = (f) => { onDenied = f; };

// Whether nobody else has pages with scripts here (`serve --ui-host`).
export const hasOwnOrigin = () => isOwn;
// Browsers heed Cross-Origin-Opener-Policy by HTTPS and on the machine itself alone. Elsewhere a page of a function that has opened
// this one can read it, and hide from `window.opener` that it did.
export const isExposed = () => !isOwn && !window.isSecureContext;
export async function learnOrigin() {
  try { isOwn = (await fetch(new URL('.', import.meta.url), { method: 'HEAD', credentials: 'omit' })).headers.get('Gasworks-Origin') === 'own'; } catch { /* nothing is kept */ }
}

export function useToken(value, isKept) {
  token = value || null;
  if (token && isKept && isOwn) sessionStorage.setItem(KEPT, token);
  else sessionStorage.removeItem(KEPT);
}

export const findKept = () => { if (isOwn && !token) token = sessionStorage.getItem(KEPT); };

// A token that came behind the '#' (gasworks ui), which no server sees; it leaves the address bar at once. It is not used yet: whoever
// made the link may want somebody else to work as him.
export function takeGiven() {
  const given = /^#token=(gw_[A-Za-z0-9_-]+)$/.exec(location.hash);
  if (given) history.replaceState(null, '', location.pathname);
  return given && given[1];
}

// Where a path of the API is; of a tenant's functions behind /t/TENANT.
export const address = (path, isServers) => new URL((tenant && !isServers ? `t/${tenant}` : '.') + path, ROOT);

// Sends; `headers`, `body`, `signal` as fetch has them.
export function send(method, path, options = {}) {
  const headers = new Headers(options.headers);
  if (token) headers.set('Gasworks-Authorization', `Bearer ${token}`); // Authorization stays the function's own, where one is called
  return fetch(address(path, options.isServers), { method, headers, body: options.body, signal: options.signal, redirect: options.redirect || 'error',
    credentials: 'omit', cache: 'no-store', referrerPolicy: 'no-referrer' });
}

async function problemOf(response) {
  const text = await response.text();
  try { return new Problem(response.status, JSON.parse(text)); } catch { return new Problem(response.status, { detail: `the server answered ${response.status}` }); }
}

async function checked(method, path, options) {
  let response;
  try {
    response = await send(method, path, options);
  } catch (e) {
    if (e.name === 'AbortError') throw e;
    throw new Problem(0, { detail: 'the server does not answer' });
  }
  if (response.status === 401) onDenied();
  if (!response.ok) throw await problemOf(response);
  return response;
}

export async function json(method, path, options) {
  const response = await checked(method, path, options);
  return response.status === 204 ? null : response.json();
}

export const get = (path, options) => json('GET', path, options);
export const bytes = async (path, options) => (await checked('GET', path, options)).arrayBuffer();
export const text = async (path, options) => (await checked('GET', path, options)).text();
export const change = (method, path, body, options = {}) => json(method, path,
  { ...options, headers: { 'Content-Type': 'application/json', ...options.headers }, body: body === undefined ? undefined : JSON.stringify(body) });

// A module on its way to the server: `onProgress` hears the part that was sent, from 0 to 1.
export function upload(path, file, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('PUT', address(path));
    if (token) request.setRequestHeader('Authorization', `Bearer ${token}`);
    request.setRequestHeader('Content-Type', 'application/wasm');
    request.upload.onprogress = (e) => e.lengthComputable && onProgress(e.loaded / e.total);
    request.onerror = () => reject(new Problem(0, { detail: 'the server does not answer, or refused a module of this size' }));
    request.onload = () => {
      let document = {};
      try { document = JSON.parse(request.responseText); } catch { /* no JSON: the status says it */ }
      if (request.status === 401) onDenied();
      if (request.status < 300) resolve({ isNew: request.status === 201, document });
      else reject(new Problem(request.status, document));
    };
    request.send(file);
  });
}
