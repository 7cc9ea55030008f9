'use strict';
// The dashboard as somebody uses it: Chromium, without a window, on a server of its own.
//   ui.js MODULES BROWSER GASWORKS [--shots DIR]     --shots: pictures of all pages, in both themes and at a phone's width
// What functions send, log and are called in their modules is hostile here: a mark in the page tells when any of it ran.
const fs = require('fs');
const os = require('os');
const path = require('path');
const { once } = require('events');
const { spawn, execFileSync } = require('child_process');
const [modules, browserPath, program, ...options] = process.argv.slice(2);
const { chromium } = require(path.join(modules, 'playwright-core'));
const axeSource = fs.readFileSync(path.join(modules, 'axe-core/axe.min.js'), 'utf8');
const shots = options[0] === '--shots' ? options[1] : null;

const work = fs.mkdtempSync(path.join(os.tmpdir(), 'gasworks-ui-'));
let passed = 0, failed = 0, server = null, browser = null, base = '';

function check(what, ok, detail = '') {
  if (ok) passed++; else failed++;
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${what}${ok || !detail ? '' : `: ${detail}`}`);
}

// --- the server and its functions

const BAD = '<img src=x onerror=window.pwned=1><script>window.pwned=1</script>';
const data = (text) => [...Buffer.from(text)].map((b) => `\\${b.toString(16).padStart(2, '0')}`).join('');
const IMPORTS = `(import "gasworks" "reply" (func $reply (param i32 i32))) (import "gasworks" "log" (func $log (param i32 i32)))
  (import "gasworks" "reply_header" (func $header (param i32 i32 i32 i32))) (memory (export "memory") 1)`;
const reply = (text, type) => `(module ${IMPORTS} (data (i32.const 0) "${data(text)}") (data (i32.const 4096) "${data('Content-Type')}") (data (i32.const 4200) "${data(type)}")
  (func (export "handle") (call $header (i32.const 4096) (i32.const 12) (i32.const 4200) (i32.const ${type.length})) (call $reply (i32.const 0) (i32.const ${Buffer.byteLength(text)}))))`;

const FUNCTIONS = {
  hello: reply('hello\n', 'text/plain'),
  // Replies, logs and header values that are HTML.
  hostile: `(module ${IMPORTS} (data (i32.const 0) "${data(BAD)}") (data (i32.const 4096) "X-Bad")
    (func (export "handle") (call $header (i32.const 4096) (i32.const 5) (i32.const 0) (i32.const ${BAD.length}))
      (call $log (i32.const 0) (i32.const ${BAD.length})) (call $reply (i32.const 0) (i32.const ${BAD.length}))))`,
  // Traps in a function whose name is HTML; the name section is written by --debug-names.
  trap: `(module ${IMPORTS} (func $<img/src=x/onerror=window.pwned=1> (unreachable)) (func (export "handle") (call $<img/src=x/onerror=window.pwned=1>)))`,
  // A page of a function that would like to have the dashboard.
  page: reply(`<!doctype html><title>page</title><script>
    window.results = {};
    navigator.serviceWorker.register('/f/worker', { scope: '/' }).then(() => { results.worker = 'registered'; }, () => { results.worker = 'refused'; });
    try { results.storage = sessionStorage.length; } catch { results.storage = 'refused'; }
    window.openUi = () => { window.opened = window.open('/ui/', 'w'); };
    const frame = document.createElement('iframe'); frame.src = '/ui/'; frame.onload = () => { try { results.frame = frame.contentDocument && frame.contentDocument.querySelector('#app') ? 'seen' : 'hidden'; } catch { results.frame = 'hidden'; } };
    document.documentElement.append(frame);
  </script>`, 'text/html'),
  worker: reply('self.addEventListener("fetch", () => {})', 'text/javascript'),
};

function assemble(name, text) {
  const [source, out] = [path.join(work, `${name}.wat`), path.join(work, `${name}.wasm`)];
  fs.writeFileSync(source, text);
  execFileSync('wat2wasm', ['--debug-names', source, '-o', out]);
  return out;
}

async function startServer(...more) {
  const data_dir = path.join(work, `data${more.length}`);
  server = spawn(program, ['serve', '--listen', '127.0.0.1:0', '--data', data_dir, '--workers', '2', '--drain', '0', '--max-state', '256M', ...more], { stdio: ['ignore', 'ignore', 'pipe'] });
  let text = '';
  base = await new Promise((resolve, reject) => {
    server.stderr.on('data', (chunk) => { text += chunk; const found = /http:\/\/127\.0\.0\.1:\d+/.exec(text); if (found) resolve(found[0]); });
    server.on('exit', (code) => reject(new Error(`the server ended with ${code}: ${text}`)));
  });
  return fs.readFileSync(path.join(data_dir, 'admin-token'), 'utf8').trim();
}

let token = '';
async function api(method, where, body) {
  const response = await fetch(base + where, { method, body, headers: { Authorization: `Bearer ${token}` } });
  if (!response.ok) throw new Error(`${method} ${where}: ${response.status} ${await response.text()}`);
  return response;
}

// --- pages

const strangers = [], errors = [];

async function newPage(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30000);
  context.on('request', (request) => { if (![base, base.replace('127.0.0.1', 'localhost')].some((b) => request.url().startsWith(b)) && !request.url().startsWith('data:')) strangers.push(request.url()); });
  page.on('pageerror', (e) => errors.push(`${page.url()}: ${e.message}`));
  page.on('console', (m) => { if (m.type() === 'error' && !/Failed to load resource/.test(m.text())) errors.push(m.text()); });
  return page;
}

async function go(page, hash) {
  const before = await page.title();
  await page.evaluate((h) => { location.hash = h; }, hash);
  await page.waitForFunction((b) => document.title !== b, before).catch(() => {});
  await page.waitForSelector('main h1');
}

async function signIn(page) {
  await page.goto(`${base}/ui/#token=${token}`);
  await page.getByRole('button', { name: 'Sign in with it' }).click();
  await page.waitForSelector('.frame-all');
}

const untouched = async (page) => (await page.evaluate(() => window.pwned)) === undefined;
const see = (page, text) => page.getByText(text).first().waitFor();

// --- tests

async function signingIn() {
  const page = await newPage();
  await page.goto(`${base}/ui`);
  await page.getByRole('heading', { name: 'Gasworks' }).waitFor();
  check('/ui leads to the page, which asks for a token', page.url() === `${base}/ui/`);
  await page.keyboard.type('gw_000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA');
  await page.keyboard.press('Enter');
  await see(page, 'That token is not good here');
  check('a wrong token is refused, with a word', await page.evaluate(() => document.activeElement.name === 'token'));
  await page.keyboard.press('Control+A');
  await page.keyboard.type(token);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Functions' }).waitFor();
  check('a good one is taken, and kept in the page alone', await page.evaluate(() => sessionStorage.length === 0 && document.cookie === ''));
  await page.reload();
  await page.getByLabel('Token').waitFor();
  check('so a reload asks again', true);
  check('as functions have the same origin, nothing is kept', await page.getByLabel('Keep it while this tab is open').count() === 0);
  await page.goto('about:blank');
  await page.goto(`${base}/ui/#token=${token}`);
  await page.getByRole('heading', { name: 'Sign in?' }).waitFor();
  check('an address signs nobody in by itself', await page.locator('.frame-all').count() === 0 && (await page.locator('main code').textContent()) === token.split('_')[1]);
  await page.getByRole('button', { name: 'Do not' }).click();
  await page.getByLabel('Token').waitFor();
  check('and what the user does not want is not taken', true);
  await page.goto('about:blank');
  await signIn(page);
  check('a token behind the # leaves the address', !page.url().includes('token'));
  await page.evaluate(() => { location.hash = '#token=gw_000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'; });
  await see(page, 'You are signed in with another one');
  await page.getByRole('button', { name: 'Stay as I am' }).click();
  await page.waitForSelector('.frame-all');
  check('nor does it change who is signed in', !page.url().includes('token'));
  const last = await page.evaluate(() => document.querySelector('.tenant').textContent);
  check('the tenant is named', last.includes('default'), last);
  await page.context().close();
}

async function deploying() {
  const page = await newPage();
  await signIn(page);
  await page.keyboard.press('Control+K');
  await page.keyboard.type('deploy');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Deploy' }).waitFor();
  await page.setInputFiles('#module', assemble('fresh', FUNCTIONS.hello));
  const named = page.getByLabel('Function', { exact: true }); // once the page has read the file
  for (let i = 0; i < 50 && await named.inputValue() !== 'fresh'; i++) await page.waitForTimeout(100);
  check('a file names its function', await named.inputValue() === 'fresh');
  await page.keyboard.press('Enter');
  await see(page, 'fresh is deployed');
  // dropped, as a mouse does it
  const bytes = [...fs.readFileSync(assemble('fresh', FUNCTIONS.hostile))];
  await page.evaluate((list) => {
    const all = new DataTransfer();
    all.items.add(new File([new Uint8Array(list)], 'fresh.wasm'));
    document.querySelector('.drop').dispatchEvent(new DragEvent('drop', { dataTransfer: all, bubbles: true, cancelable: true }));
  }, bytes);
  await page.waitForFunction(() => document.querySelector('.chosen').textContent.includes('fresh.wasm'));
  await page.getByRole('button', { name: 'Deploy' }).click();
  await see(page, 'v2 of fresh is deployed');
  check('a dropped one is the next version, with what changed', await page.getByText(/Against v1: v2 is .* larger/).isVisible());
  await page.setInputFiles('#module', { name: 'broken.wasm', mimeType: 'application/wasm', buffer: Buffer.from('no module') });
  await page.getByLabel('Function', { exact: true }).fill('broken');
  await page.getByRole('button', { name: 'Deploy' }).click();
  await page.getByText(/at byte 0/).waitFor();
  check('what is no module is refused, with its byte', true);

  await go(page, '/f/fresh/versions');
  await page.getByRole('button', { name: 'Roll back to v1' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Roll back' }).click();
  await see(page, 'v1 is live again');
  check('a version is rolled back', (await (await api('GET', '/v1/functions/fresh')).json()).version === 1);
  await page.getByRole('button', { name: 'Canary …' }).click();
  await page.getByLabel('Percent of calls').fill('25');
  await page.keyboard.press('Enter');
  await page.getByRole('cell', { name: 'v2, 25 %' }).waitFor();
  check('a canary gets its part', (await (await api('GET', '/v1/functions/fresh')).json()).percent === 25);
  await page.getByRole('button', { name: 'End canary' }).click();
  await page.waitForFunction(() => !document.querySelector('main').textContent.includes('25 %'));

  await go(page, '/f/fresh/settings');
  await page.getByRole('button', { name: 'Add variable' }).click();
  await page.keyboard.type('GREETING');
  await page.keyboard.press('Tab');
  await page.keyboard.type(BAD);
  await page.getByRole('button', { name: 'Add secret' }).click();
  await page.keyboard.type('KEY');
  await page.keyboard.press('Tab');
  await page.keyboard.type('hush-hush');
  await page.getByLabel('Gas limit').fill('5000000');
  await page.getByLabel('Deadline in ms').fill('30000');
  await page.getByRole('button', { name: 'Save as a new version' }).click();
  await see(page, 'has these settings');
  const saved = (await (await api('GET', '/v1/functions/fresh')).json()).settings;
  check('settings are saved', saved.env?.GREETING === BAD && saved.gas_limit === 5000000 && saved.deadline_ms === 30000 && saved.secrets[0] === 'KEY', JSON.stringify(saved));
  await page.waitForFunction(() => document.querySelector('[aria-label="Value of GREETING"]'));
  check('a secret is never shown', !(await page.content()).includes('hush-hush') && await page.evaluate(() => ![...document.querySelectorAll('input')].some((i) => i.value.includes('hush'))));
  check('nothing of that ran', await untouched(page));
  await page.context().close();
}

async function calling() {
  const page = await newPage();
  await signIn(page);
  await go(page, '/f/hostile/invoke');
  await page.getByLabel('Path and query behind the name').fill('/a?b=c');
  await page.keyboard.press('Enter');
  await page.locator('.reply').waitFor();
  check('a reply is text, whatever is in it', (await page.locator('.reply pre').textContent()) === BAD);
  await page.locator('.reply summary').click();
  check('so are its headers', (await page.locator('.headers').textContent()).includes(BAD));
  await page.getByRole('region', { name: 'Gas' }).waitFor();
  check('gas is split', /instructions \d/.test(await page.getByRole('region', { name: 'Gas' }).textContent()));
  await page.getByRole('region', { name: 'Gas' }).getByRole('link').click();
  await see(page, 'all holds');
  check('its receipt is checked in the browser', await page.locator('.steps li.good').count() === 6, await page.locator('.steps').textContent());
  check('nothing of the reply ran', await untouched(page));

  await go(page, '/f/hostile/logs');
  await page.locator('.log .line').first().waitFor();
  await api('GET', '/f/hostile');
  await page.waitForFunction(() => document.querySelectorAll('.log .line').length >= 2);
  check('new lines of the log come by themselves, as text', (await page.locator('.log .text').last().textContent()) === BAD && await untouched(page));

  await go(page, '/f/trap/invoke');
  await page.getByRole('button', { name: 'Send' }).click();
  await page.locator('.trap').waitFor();
  const trace = await page.locator('.trap').textContent();
  check('a trap has its place, as text', trace.includes('onerror=window.pwned=1') && await untouched(page), trace);

  // a receipt that somebody changed on the way
  const { receipts } = await (await api('GET', '/v1/functions/hostile/receipts')).json();
  await page.route('**/v1/receipts/*', async (route) => {
    const response = await route.fetch(), json = await response.json();
    json.leaf = json.leaf.replace(/.$/, (c) => (c === '0' ? '1' : '0'));
    await route.fulfill({ response, json });
  });
  await go(page, `/receipt/${receipts[0].index}`);
  await see(page, 'does not hold');
  check('a receipt that was changed does not hold', true);
  await page.unroute('**/v1/receipts/*');

  // what a server says beside the leaf, and another receipt than the one that was named
  await page.route('**/v1/receipts/*', async (route) => {
    const response = await route.fetch(), json = await response.json();
    json.fields = { ...json.fields, function: 'invented', gas_compute: 123456789 };
    await route.fulfill({ response, json });
  });
  await go(page, '/receipts');
  await go(page, `/receipt/${receipts[0].index}`);
  await see(page, 'all holds');
  const said = await page.locator('main').textContent();
  check('what is shown of a receipt is what was checked', said.includes('hostile') && !said.includes('invented') && !said.includes('123,456,789'), said);
  await page.unroute('**/v1/receipts/*');
  const [one, other] = receipts, name = (hash) => `${one.log}/${one.index}/${hash}`;
  for (const [hash, word] of [[one.hash, 'all holds'], [other.hash, 'does not hold']]) {
    await go(page, '/receipts');
    await page.getByLabel('Receipt', { exact: true }).fill(name(hash));
    await page.keyboard.press('Enter');
    await see(page, word);
  }
  check('a receipt with the hash of another does not hold', true);
  await page.context().close();
}

// Routes that a server may not have are answered here, in the form that their pages in docs/ say.
async function recording() {
  const page = await newPage();
  await signIn(page);
  const day = new Date().toISOString().slice(0, 10), row = { day, tenant: 'default', function: 'hello', gas: 3e9, requests: 1234, failures: 2, gas_compute: 2e9, gas_host: 1, gas_bytes: 0, gas_storage: 1e9 };
  await page.route('**/v1/usage**', (route) => route.fulfill({ json: { tenant: 'default', rows: [row, { ...row, function: 'hostile', gas: 1e9 }], total: { ...row, gas: 4e9 } } }));
  await page.route('**/v1/budget', (route) => route.fulfill({ json: { credit: '12.50', spent: '3.25', concurrency: null } }));
  await go(page, '/usage');
  await page.getByRole('row', { name: /Together/ }).waitFor();
  const text = await page.locator('main').textContent();
  check('usage by day, function and budget', text.includes('75.0 %') && text.includes('12.50') && await page.locator('.chart .part').count() >= 2, text);

  const field = (key, bytes) => { const head = Buffer.alloc(5); head[0] = key; head.writeUInt32LE(bytes.length, 1); return Buffer.concat([head, bytes]); };
  const record = (key, value) => { const size = (n) => { const b = Buffer.alloc(8); b.writeBigUInt64LE(BigInt(n)); return b; }; const k = Buffer.concat([Buffer.alloc(24), Buffer.from(key)]); return Buffer.concat([Buffer.from([1]), size(k.length), k, size(value.length), Buffer.from(value)]); };
  const inputs = Buffer.concat([Buffer.from('gwinput1'), field(1, Buffer.from([3])), field(3, Buffer.from([0, 1])), field(11, Buffer.from('/a b')), field(17, record('visits', BAD)), field(20, Buffer.from(`POST /f/hello/a%20b?q=1\nX-Mine:${BAD}\n\nthe body`)), Buffer.alloc(8)]);
  await page.route('**/v1/receipts/*/inputs', (route) => route.fulfill({ body: inputs, contentType: 'application/octet-stream' }));
  await go(page, '/receipt/0');
  const travel = page.getByRole('region', { name: 'Time travel' });
  await travel.getByText('visits').waitFor();
  check('what an invocation was given is shown', (await travel.textContent()).includes(`X-Mine: ${BAD}`) && (await travel.textContent()).includes('256') && await untouched(page), await travel.textContent());
  await travel.getByRole('button', { name: 'Put it into the console' }).click();
  await page.locator('.console').waitFor();
  check('and goes into the console', await page.getByLabel('Path and query behind the name').inputValue() === '/a%20b?q=1' && await page.getByLabel('Body', { exact: true }).inputValue() === 'the body');
  await page.unrouteAll();

  await page.getByLabel('Headers', { exact: true }).fill('');
  await page.getByRole('button', { name: 'Flame graph' }).click();
  await page.locator('.frame').first().waitFor();
  const frames = await page.locator('.frame').allTextContents();
  check('a flame graph in gas', frames.includes('all') && frames.includes('handle'), frames.join(' '));
  await page.locator('.frame', { hasText: 'handle' }).click();
  check('whose frames can be the whole', (await page.locator('.frame[data-top]').textContent()) === 'handle');
  await page.context().close();
}

async function livening() {
  const page = await newPage();
  await signIn(page);
  for (let i = 0; i < 30; i++) await api('GET', '/f/hello');
  await page.waitForFunction(() => document.querySelector('.tile.rate .value').textContent !== '–' && document.querySelector('.tile.rate .value').textContent !== '0');
  check('rates are live', true);
  await page.getByRole('button', { name: 'Sort by Requests/s' }).click();
  await page.waitForFunction(() => document.querySelector('.functions tbody th a').textContent === 'hello');
  check('and sort functions', await page.locator('th[aria-sort="descending"]').count() === 1);
  await page.getByLabel('Filter functions by name').fill('hos');
  check('a filter finds them', await page.locator('.functions tbody tr').count() === 1);
  await page.context().close();
}

// By keys alone: from the first link to a call and its answer.
async function typing() {
  const page = await newPage();
  await page.goto(`${base}/ui/`);
  await page.getByLabel('Token').waitFor();
  await page.keyboard.press('Shift+Tab');
  check('in front of all is a way to the content', (await page.evaluate(() => document.activeElement.className)) === 'skip');
  await signIn(page);
  await page.keyboard.press('Control+K');
  await page.keyboard.type('hello');
  await page.waitForFunction(() => document.querySelector('[role=option]')?.textContent === 'hello');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.activeElement.tagName === 'H1' && document.activeElement.textContent === 'hello');
  check('a page that opens has the focus', true);
  const tabTo = async (test) => { for (let i = 0; i < 40; i++) { await page.keyboard.press('Tab'); if (await page.evaluate(test)) return true; } return false; };
  check('Tab leads to a function\'s parts', await tabTo(() => document.activeElement.textContent === 'Invoke'));
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.activeElement.textContent === 'Invoke' && document.querySelector('.console'));
  check('which keep the focus', await tabTo(() => document.activeElement.matches('.console button.primary')));
  await page.keyboard.press('Enter');
  await page.locator('.reply').waitFor();
  check('and a call is made', (await page.locator('.reply pre').textContent()) === 'hello\n');
  await page.keyboard.press('Control+K');
  await page.locator('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('dialog').waitFor({ state: 'detached' });
  check('Escape closes what is above', true);
  await page.context().close();
}

// Functions as tools for models: one is made, called, and taken back.
async function tooling() {
  const page = await newPage();
  await signIn(page);
  await go(page, '/tools');
  check('the endpoint is shown', (await page.locator('main code').first().textContent()) === `${base}/mcp`);
  await page.getByRole('button', { name: 'New tool …' }).click();
  await page.getByLabel('Function', { exact: true }).selectOption('hello');
  await page.getByLabel('Description').fill(`Says hello ${BAD}`);
  await page.getByLabel('Schema of its arguments').fill('[]');
  await page.getByRole('button', { name: 'Make it one' }).click();
  await see(page, 'Schema: a JSON object is wanted.');
  await page.getByLabel('Schema of its arguments').fill('{"type": "object", "properties": {"who": {"type": "string", "default": "you"}}}');
  await page.getByRole('button', { name: 'Make it one' }).click();
  await page.getByRole('button', { name: 'Call …' }).click();
  check('arguments are filled in by the schema', (await page.getByLabel('Arguments').inputValue()).includes('"you"'));
  await page.getByRole('button', { name: 'Call', exact: true }).click();
  await see(page, 'An answer');
  check('a tool answers, with a receipt', (await page.locator('dialog pre').textContent()) === 'hello\n' && await page.locator('dialog a').count() === 1);
  await page.getByRole('button', { name: 'Done' }).click();
  await page.getByRole('button', { name: 'No tool' }).click();
  await page.getByRole('button', { name: 'Take it back' }).click();
  await see(page, 'No function is a tool yet.');
  check('and is none any more; nothing of its text ran', await untouched(page));
  await page.context().close();
}

// With a name of its own the dashboard has an origin of its own: localhost, where functions are at 127.0.0.1.
async function apart() {
  const port = new URL(base).port, own = `http://localhost:${port}`;
  const page = await newPage();
  await page.goto(`${base}/ui/#token=${token}`);
  await page.getByRole('button', { name: 'Sign in with it' }).click();
  await page.waitForSelector('.frame-all');
  check('the dashboard is led to its own name', page.url().startsWith(`${own}/ui/`));
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Token').fill(token);
  await page.getByLabel('Keep it while this tab is open').check();
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForSelector('.frame-all');
  await page.reload();
  await page.waitForSelector('.frame-all');
  check('where a token may outlive a reload', true);
  const other = await page.context().newPage(); // whose errors are expected
  await other.goto(`${own}/f/page`);
  check('as pages of functions have no scripts there', await other.evaluate(() => window.results === undefined && window.origin === 'null'));
  await other.goto(`${base}/f/page`);
  await other.waitForFunction(() => window.results && window.results.storage !== undefined);
  check('they do elsewhere, but not its storage', await other.evaluate(() => window.results.storage === 0));
  const statuses = await other.evaluate(async (t) => Promise.all(['GET', 'POST'].map(async (method) => (await fetch('/v1/tokens', { method, headers: { 'Gasworks-Authorization': `Bearer ${t}` } })).status)), token);
  check('and may not manage the server, whatever token they have', statuses.every((s) => s === 403), statuses.join(' '));
  await page.context().close();
}

// Functions are of the same origin: what their pages get hold of.
async function neighbours() {
  const page = await newPage({ serviceWorkers: 'allow' });
  await signIn(page);
  const context = page.context(), other = await context.newPage();
  await other.goto(`${base}/f/page`);
  await other.waitForFunction(() => window.results.worker && window.results.frame);
  const results = await other.evaluate(() => window.results);
  check("a function's page puts no worker before the dashboard", results.worker === 'refused', JSON.stringify(results));
  check('nor a frame around it, nor sees its storage', results.frame === 'hidden' && results.storage === 0, JSON.stringify(results));
  const [popup] = await Promise.all([context.waitForEvent('page'), other.evaluate(() => window.openUi())]);
  await popup.waitForLoadState();
  await popup.waitForSelector('main');
  const held = await other.evaluate(() => { try { return window.opened && !window.opened.closed && window.opened.document.querySelector('input') ? 'held' : 'gone'; } catch { return 'gone'; } });
  check('nor keeps a hold of one that it opens', held === 'gone', held);
  await context.close();
}

// By plain HTTP browsers do not keep pages apart: then it says so.
async function plainly() {
  const context = await browser.newContext(), page = await context.newPage(), warning = page.getByText('This address is plain HTTP');
  for (const [host, n] of [['127.0.0.1', 0], ['gasworks.test', 1]])
    for (const given of ['', `#token=${token}`]) {
      await page.goto('about:blank');
      await page.goto(`${base.replace('127.0.0.1', host)}/ui/${given}`);
      await page.getByRole('button', { name: 'Sign in' }).waitFor();
      check(`${host} ${given ? 'with' : 'without'} a token: ${n ? 'a' : 'no'} warning`, (await warning.count()) === n);
    }
  await context.close();
}

const PLACES = [['', 'sign-in'], ['/', 'functions'], ['/f/hello', 'live'], ['/f/trap/invoke', 'invoke'], ['/f/fresh/versions', 'versions'], ['/f/hostile/logs', 'logs'], ['/f/hello/receipts', 'receipts-of'],
  ['/f/fresh/settings', 'settings'], ['/deploy', 'deploy'], ['/receipts', 'receipts'], ['/receipt/1', 'receipt'], ['/usage', 'usage'], ['/tools', 'tools'], ['/tokens', 'tokens'], ['/nothing', 'nothing']];

async function looking(theme, width) {
  const page = await newPage({ colorScheme: theme, viewport: { width, height: 844 }, bypassCSP: true, reducedMotion: 'reduce' }); // axe is a script from elsewhere
  const bad = [], wide = [];
  await page.goto(`${base}/ui/`);
  await page.getByLabel('Token').waitFor();
  for (const [place, name] of PLACES) {
    if (place === '/') await signIn(page);
    else if (place) await go(page, place);
    if (name === 'invoke') { await page.getByRole('button', { name: 'Send' }).click(); await page.locator('.reply').waitFor(); }
    if (name === 'live' || name === 'functions') await page.waitForTimeout(shots ? 8000 : 300);
    if (name === 'receipt') await page.locator('.verdict').waitFor();
    await page.evaluate(axeSource);
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
    for (const v of violations) bad.push(`${name}: ${v.impact} ${v.id} ${v.nodes.map((n) => n.target.join(' ')).slice(0, 3).join(', ')}`);
    if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) wide.push(name);
    if (shots) await page.screenshot({ path: path.join(shots, `${name}-${theme}-${width}.png`), fullPage: true });
  }
  check(`axe finds nothing, ${theme}, ${width} wide`, bad.length === 0, `\n     ${bad.join('\n     ')}`);
  check(`no page is wider than the window, ${theme}, ${width} wide`, wide.length === 0, wide.join(', '));
  await page.context().close();
}

async function main() {
  token = await startServer('--host', 'gasworks.test');
  for (const [name, text] of Object.entries(FUNCTIONS)) await api('PUT', `/v1/functions/${name}`, fs.readFileSync(assemble(name, text)));
  await api('GET', '/f/hello');
  await api('GET', '/f/hostile');
  browser = await chromium.launch({ executablePath: browserPath, args: ['--host-resolver-rules=MAP gasworks.test 127.0.0.1', ...(process.getuid() === 0 ? ['--no-sandbox'] : [])] });
  for (const test of [signingIn, deploying, calling, recording, livening, typing, tooling, neighbours, plainly]) {
    try { await test(); } catch (e) { check(test.name, false, e.stack); }
  }
  for (const [theme, width] of [['light', 1280], ['dark', 1280], ['light', 390], ['dark', 390]]) {
    try { await looking(theme, width); } catch (e) { check(`looking ${theme} ${width}`, false, e.stack); }
  }
  server.removeAllListeners('exit');
  server.kill('SIGKILL');
  await once(server, 'exit'); // it has the data directory until then
  token = await startServer('--ui-host', 'localhost');
  await api('PUT', '/v1/functions/page', fs.readFileSync(assemble('page', FUNCTIONS.page)));
  try { await apart(); } catch (e) { check('apart', false, e.stack); }
  check('no request left the origin', strangers.length === 0, strangers.join(' '));
  check('no page met an error, or broke its policy', errors.length === 0, errors.join('\n     '));
}

main().catch((e) => check('the test itself', false, e.stack)).finally(async () => {
  if (browser) await browser.close();
  if (server) { server.removeAllListeners('exit'); server.kill('SIGKILL'); }
  fs.rmSync(work, { recursive: true, force: true });
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
});
