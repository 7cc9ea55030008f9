'use strict';
// Random modules through whole servers: Binaryen's generator makes a module, glue makes a function of it that uses the request,
// state, logs and random numbers, and shapes.c deploys, calls, redeploys and deletes it on servers of all tiers, which must agree.
//
//   server_fuzz.js PROGRAM WASM_OPT [--seconds S] [--count N] [--seed N]
//
// PROGRAM is build/*/shapes, WASM_OPT the script of that name in npm's binaryen, with wasm-merge beside it. Modules on which
// servers disagree stay in $TMPDIR/gasworks-server-fuzz-*.
const fs = require('fs');
const os = require('os');
const path = require('path');
const { spawn } = require('child_process');
const { parseArgs } = require('util');
const { loadGenerator, makeModule } = require('./random_module.js');

const I32 = 0x7f, RESULTS = 1024, MOST_RESULTS = 2048;
const typeName = (type) => (type === I32 ? 'i32' : 'i64');

// Calls one probe where the request's size says so, and stores its results.
function callProbe({ name, results }, i, at) {
  const stores = results.map((type, k) => {
    const local = type === I32 ? '$i' : '$l';
    return `(local.set ${local}) (${typeName(type)}.store offset=${at + 8 * k} (i32.const 0) (local.get ${local}))`;
  }).reverse(); // the last result is on top
  return `(if (i32.rem_u (i32.add (call $size) (i32.const ${i})) (i32.const 3)) (then (call $p${i}) ${stores.join('\n')}))`;
}

// The function around the probes: what they gave is stored as state, read again with what an earlier request stored, and replied.
function makeGlue(probes) {
  let at = RESULTS;
  const calls = [], imports = [];
  probes.forEach((probe, i) => {
    if (at + 8 * probe.results.length > RESULTS + MOST_RESULTS) return;
    const results = probe.results.map(typeName).join(' ');
    imports.push(`(import "m" "${probe.name}" (func $p${i} ${results && `(result ${results})`}))`);
    calls.push(callProbe(probe, i, at));
    at += 8 * probe.results.length;
  });
  const used = at - RESULTS;
  return `(module
    (import "gasworks" "request_body_size" (func $size (result i32)))
    (import "gasworks" "request_body" (func $body (param i32 i32 i32) (result i32)))
    (import "gasworks" "request_path" (func $path (param i32 i32) (result i32)))
    (import "gasworks" "state_get" (func $get (param i32 i32 i32 i32) (result i32)))
    (import "gasworks" "state_set" (func $set (param i32 i32 i32 i32)))
    (import "gasworks" "state_delete" (func $delete (param i32 i32)))
    (import "gasworks" "log" (func $log (param i32 i32)))
    (import "gasworks" "random" (func $random (param i32 i32)))
    (import "gasworks" "reply" (func $reply (param i32 i32)))
    ${imports.join('\n')}
    (memory 1)
    (func (export "handle") (local $i i32) (local $l i64)
      (drop (call $body (i32.const 0) (i32.const 0) (i32.const 256)))
      (drop (call $path (i32.const 256) (i32.const 256)))
      (call $random (i32.const 512) (i32.const 8))
      (drop (call $get (i32.const 0) (i32.const 1) (i32.const 8192) (i32.const ${MOST_RESULTS})))
      ${calls.join('\n')}
      (call $log (i32.const 256) (i32.const 8))
      (if (i32.and (call $size) (i32.const 1))
        (then (call $set (i32.const 0) (i32.const 1) (i32.const ${RESULTS}) (i32.const ${used})))
        (else (call $delete (i32.const 0) (i32.const 1))))
      (call $reply (i32.const 8192) (i32.const ${used}))
      (call $reply (i32.const ${RESULTS}) (i32.const ${used}))))`;
}

async function wrap(merge, directory, module) {
  const [glue, output] = ['wat', 'wasm'].map((kind) => path.join(directory, `glued-${module.seed}.${kind}`));
  fs.writeFileSync(glue, makeGlue(module.probes));
  const features = new Set([...module.profile.features, 'multimemory', 'bulk-memory', 'extended-const']); // not all: some are encodings that nobody reads yet
  const flags = ['--mvp-features', ...[...features].map((f) => `--enable-${f}`), '--rename-export-conflicts'];
  const merged = await merge([glue, 'glue', module.path, 'm', ...flags, '-o', output]);
  fs.rmSync(glue);
  fs.rmSync(module.path);
  return merged ? output : null;
}

async function main() {
  const { values, positionals: [program, script] } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: 'string', default: '15' },
      count: { type: 'string', default: 'Infinity' },
      seed: { type: 'string', default: '1' },
    },
  });
  const end = Date.now() + Number(values.seconds) * 1000;
  const last = Number(values.seed) + Number(values.count);
  const generate = loadGenerator(path.resolve(script));
  const merge = loadGenerator(path.join(path.dirname(path.resolve(script)), 'wasm-merge'));
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'gasworks-server-fuzz-'));
  const child = spawn(program, ['--files'], { stdio: ['pipe', 'inherit', 'ignore'] });
  const over = new Promise((resolve) => child.on('close', resolve));
  let made = 0, skipped = 0, isOver = false;
  over.then(() => { isOver = true; });
  child.stdin.on('error', () => {});
  for (let seed = Number(values.seed); seed < last && Date.now() < end && !isOver; seed++) {
    const module = await makeModule(generate, directory, seed, false);
    const file = module && (await wrap(merge, directory, module));
    if (!file) {
      skipped++;
      continue;
    }
    made++;
    if (!child.stdin.write(`${file}\n`)) await new Promise((resolve) => child.stdin.once('drain', resolve));
    while (fs.readdirSync(directory).length > 20 && !isOver && Date.now() < end) await new Promise((r) => setTimeout(r, 50));
  }
  child.stdin.end();
  const status = await over;
  console.log(`${made} modules, ${skipped} skipped`);
  if (status === 0) fs.rmSync(directory, { recursive: true });
  else console.log(`what was not done or failed is in ${directory}`);
  process.exit(status === 0 && made > 0 ? 0 : 1);
}

main();
