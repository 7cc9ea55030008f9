// The frame around the pages: who is signed in, where one is, and what is shown there.
import * as api from './api.js';
import { h, icon, clear, say, toast, freshId } from './dom.js';
import * as live from './live.js';
import { overview } from './overview.js';
import { functionPage } from './function.js';
import { deployPage } from './deploy.js';
import { receiptPage, receiptsPage } from './receipt.js';
import { usagePage } from './usage.js';
import { tokensPage } from './tokens.js';
import { toolsPage } from './tools.js';
import { signInPage, givenPage } from './signin.js';

const PAGES = [
  { path: /^\/$/, name: 'overview', make: overview },
  { path: /^\/deploy(?:\/([^/]+))?$/, name: 'deploy', make: deployPage },
  { path: /^\/f\/([^/]+)(?:\/(live|invoke|versions|logs|receipts|settings))?$/, name: 'overview', make: functionPage },
  { path: /^\/receipts$/, name: 'receipts', make: receiptsPage },
  { path: /^\/receipt\/(?:([0-9a-f]{16})\/)?(\d+)(?:\/([0-9a-f]{64}))?$/, name: 'receipts', make: receiptPage },
  { path: /^\/usage$/, name: 'usage', make: usagePage },
  { path: /^\/tools$/, name: 'tools', make: toolsPage },
  { path: /^\/tokens$/, name: 'tokens', make: tokensPage },
];
const LINKS = [['overview', '#/', 'Functions'], ['deploy', '#/deploy', 'Deploy'], ['receipts', '#/receipts', 'Receipts'], ['usage', '#/usage', 'Usage'], ['tools', '#/tools', 'Tools'], ['tokens', '#/tokens', 'Tokens']];
const LINK_ICONS = { overview: 'overview', deploy: 'deploy', receipts: 'receipt', usage: 'usage', tools: 'tool', tokens: 'token' };

const app = document.getElementById('app');
let frame = null, current = null, tabsOf = null, shown = 0;

// --- theme: the system's, or what the user chose

const THEMES = ['system', 'light', 'dark'];
function readTheme() { try { return localStorage.getItem('gasworks-theme') || 'system'; } catch { return 'system'; } }
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem('gasworks-theme', theme); } catch { /* private windows forbid it; the choice lasts as long as the page */ }
}

function themeButton() {
  const button = h('button', { class: 'plain', onclick: () => {
    setTheme(THEMES[(THEMES.indexOf(readTheme()) + 1) % THEMES.length]);
    label();
  } }, icon('theme'));
  const word = h('span', {});
  const label = () => { say(word, `Theme: ${readTheme()}`); };
  button.append(word);
  label();
  return button;
}

// --- the frame

function makeFrame(tenants, own) {
  const links = LINKS.map(([name, href, text]) => h('a', { href, 'data-page': name }, icon(LINK_ICONS[name]), h('span', {}, text)));
  const main = h('main', { id: 'main', tabindex: '-1' });
  const health = h('p', { class: 'health' });
  const select = tenants && tenants.length > 0 && h('select', { 'aria-label': 'Tenant', onchange: () => { api.useTenant(select.value === own ? null : select.value); live.start(); location.hash = '#/'; show(); } },
    [own, ...tenants.filter((t) => t !== own)].map((t) => h('option', { value: t }, t)));
  const element = h('div', { class: 'frame-all' },
    h('header', { class: 'side' },
      h('a', { href: '#/', class: 'brand' }, h('img', { src: 'icon.svg', alt: '', width: 28, height: 28 }), h('span', {}, 'Gasworks')),
      h('div', { class: 'tenant' }, select || h('span', { class: 'muted' }, own)),
      h('nav', { 'aria-label': 'Main' }, links),
      h('button', { class: 'find', onclick: () => openPalette() }, icon('search'), h('span', {}, 'Go to …'), h('kbd', {}, 'Ctrl K')),
      h('div', { class: 'foot' }, health, themeButton(), api.hasToken() && h('button', { class: 'plain', onclick: signOut }, icon('out'), h('span', {}, 'Sign out')))),
    main);
  return { element, main, health, mark(name) {
    for (const link of links) link.dataset.page === name ? link.setAttribute('aria-current', 'page') : link.removeAttribute('aria-current');
  } };
}

function showHealth({ error }) {
  if (!frame) return;
  frame.health.className = `health ${error && error.status !== 403 ? 'bad' : 'good'}`;
  say(frame.health, !error ? 'Live' : error.status === 404 ? 'This server has no live numbers' : error.status ? error.message : 'No answer, trying again');
}
live.watch(showHealth);

// --- pages

async function show() {
  if (!frame) return;
  const path = location.hash.replace(/^#/, '') || '/', mine = ++shown;
  const page = PAGES.find((p) => p.path.test(path));
  if (current?.leave) current.leave();
  current = null;
  if (!page) {
    document.title = 'Nothing here · Gasworks';
    clear(frame.main, h('h1', { tabindex: '-1' }, 'Nothing is here'), h('p', {}, h('a', { href: '#/' }, 'All functions')));
    return;
  }
  frame.mark(page.name);
  try {
    const made = await page.make(...(page.path.exec(path).slice(1).map((part) => part && decodeURIComponent(part))));
    if (mine !== shown) { made.leave?.(); return; }
    const isTab = made.tabsOf && made.tabsOf === tabsOf && frame.main.contains(document.activeElement);
    tabsOf = made.tabsOf;
    current = made;
    document.title = `${made.title} · Gasworks`;
    clear(frame.main, made.element);
    if (!isTab && mine > 1) frame.main.querySelector('h1')?.focus();
    if (!isTab) scrollTo(0, 0);
    else frame.main.querySelector('.tabs [aria-current]')?.focus();
    made.enter?.();
  } catch (e) {
    if (mine !== shown || e.status === 401) return;
    document.title = 'Error · Gasworks';
    clear(frame.main, h('h1', { tabindex: '-1' }, e.status === 404 ? 'Not found' : 'This did not work'), h('p', { class: 'problem' }, e.message),
      h('p', {}, h('button', { onclick: show }, 'Try again'), ' ', h('a', { href: '#/' }, 'All functions')));
    frame.main.querySelector('h1').focus();
  }
}
addEventListener('hashchange', () => { if (location.hash.startsWith('#token=')) begin(); else show(); });

// --- going anywhere by its name

async function openPalette() {
  const id = freshId(), list = h('ul', { role: 'listbox', id: `${id}-list`, 'aria-label': 'Places' });
  let places = LINKS.map(([, href, text]) => ({ text, href })), at = 0, found = [];
  const input = h('input', { type: 'text', role: 'combobox', 'aria-expanded': 'true', 'aria-controls': `${id}-list`, 'aria-label': 'Go to a function or page', placeholder: 'A function or page', autocomplete: 'off', spellcheck: 'false' });
  const dialog = h('dialog', { class: 'palette', 'aria-label': 'Go to', onclose: () => dialog.remove(), onclick: (e) => e.target === dialog && dialog.close() }, input, list);
  const go = (place) => { dialog.close(); location.hash = place.href; };
  const draw = () => {
    found = places.filter((p) => p.text.toLowerCase().includes(input.value.trim().toLowerCase())).slice(0, 9);
    at = Math.min(at, Math.max(0, found.length - 1));
    clear(list, found.map((p, i) => h('li', { role: 'option', id: `${id}-${i}`, 'aria-selected': String(i === at), onclick: () => go(p) }, p.text)));
    input.setAttribute('aria-activedescendant', found.length ? `${id}-${at}` : '');
  };
  input.addEventListener('input', () => { at = 0; draw(); });
  input.addEventListener('keydown', (e) => {
    if (e.key === 'ArrowDown') at = Math.min(at + 1, found.length - 1);
    else if (e.key === 'ArrowUp') at = Math.max(at - 1, 0);
    else if (e.key === 'Enter' && found[at]) { e.preventDefault(); go(found[at]); return; }
    else return;
    e.preventDefault();
    draw();
  });
  document.body.append(dialog);
  dialog.showModal();
  draw();
  try {
    const { functions } = await api.get('/v1/functions');
    places = [...functions.map((f) => ({ text: f.name, href: `#/f/${encodeURIComponent(f.name)}` })), ...places];
    draw();
  } catch { /* pages alone */ }
}
addEventListener('keydown', (e) => {
  if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === 'k' && frame && !document.querySelector('dialog[open]')) {
    e.preventDefault();
    openPalette();
  }
});

// --- who is there

function signOut() {
  api.useToken(null);
  api.useTenant(null);
  showSignIn();
}

function showSignIn(word) {
  live.stop();
  shown++;
  if (current?.leave) current.leave();
  current = frame = null;
  for (const dialog of document.querySelectorAll('dialog')) dialog.close();
  document.title = 'Sign in · Gasworks';
  clear(app, signInPage(word, enter));
  app.querySelector('input')?.focus();
}

// Tries what there is: a token, or a server that wants none.
async function enter() {
  const { tenant } = await api.get('/v1/functions', { isServers: true });
  api.useHome(tenant);
  let tenants = null;
  try { tenants = (await api.get('/v1/tenants', { isServers: true })).tenants.map((t) => t.name); } catch { /* a tenant's token */ }
  frame = makeFrame(tenants, tenant);
  clear(app, frame.element);
  live.start();
  show();
}

// A window of another page of this origin, which a function may be, could look into this one.
function isOpenedByOther() { return window.opener !== null || window.top !== window; }

// A token that an address brought is taken when the user says so.
function askFor(given) {
  live.stop();
  shown++;
  if (current?.leave) current.leave();
  current = frame = null;
  document.title = 'Sign in? · Gasworks';
  const use = async () => {
    api.useToken(given);
    api.useTenant(null);
    try { await enter(); } catch (e) { api.useToken(null); throw e; }
  };
  clear(app, givenPage(given, api.hasToken(), use, goOn));
  app.querySelector('h1').focus();
}

async function begin() {
  setTheme(readTheme());
  if (isOpenedByOther()) {
    clear(app, h('main', { id: 'main', class: 'alone' }, h('h1', {}, 'Open this page yourself'), h('p', {}, 'Another page has opened it, and could read your token here. Type its address into a new tab.')));
    return;
  }
  await api.learnOrigin();
  api.findKept();
  api.whenDenied(() => { if (frame) { api.useToken(null); showSignIn('The token is not good any more.'); } });
  const given = api.takeGiven();
  if (given) askFor(given);
  else await goOn();
}

// With what there is.
async function goOn() {
  try {
    await enter();
  } catch (e) {
    const had = api.hasToken();
    if (e.status === 401) api.useToken(null);
    showSignIn(e.status === 401 ? had && 'That token is not good here: wrong, expired or revoked.' : e.message);
  }
}

addEventListener('unhandledrejection', (e) => { if (e.reason?.name !== 'AbortError') toast(e.reason?.message || 'Something went wrong.', 'bad'); });
begin();
