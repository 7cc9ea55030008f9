// Runs a WASI command in Node.js with a directory as /work: node wasi_node.mjs FILE.wasm DIRECTORY [ARG...]
import { WASI } from 'node:wasi';
import { readFileSync } from 'node:fs';

const [file, work, ...args] = process.argv.slice(2);
const wasi = new WASI({ version: 'preview1', args: ['program', ...args], env: { KEY: 'value' }, preopens: { '/work': work }, returnOnExit: true });
const instance = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(file)), wasi.getImportObject());
process.exitCode = wasi.start(instance);
