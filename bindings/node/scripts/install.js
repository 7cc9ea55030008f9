'use strict';
// Builds the addon with the system's compiler, against Node's headers and an installed libgasworks, which pkg-config finds.
//   CC                        the compiler (cc)
//   PKG_CONFIG_PATH           where gasworks.pc lies, unless it is installed for the system
//   GASWORKS_NODE_HEADERS     the directory of node_api.h, unless it is beside Node or the system's
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const root = path.dirname(__dirname);
const output = path.join(root, 'build', 'gasworks.node');

function die(message) {
  console.error(`gasworks: ${message}`);
  process.exit(1);
}

function run(program, args, missing) {
  const result = spawnSync(program, args, { encoding: 'utf8' });
  if (result.error) die(`${program} cannot be started (${result.error.code}); ${missing}`);
  if (result.status !== 0) die(`${program} ${args.join(' ')} failed: ${result.stderr.trim()}\n${missing}`);
  return result.stdout.trim();
}

function headers() {
  const beside = path.join(path.dirname(path.dirname(fs.realpathSync(process.execPath))), 'include', 'node');
  const named = process.env.GASWORKS_NODE_HEADERS;
  const places = named ? [named] : [beside, '/usr/include/node', '/usr/include/nodejs/src'];
  const found = places.find((place) => fs.existsSync(path.join(place, 'node_api.h')));
  return found ?? die(`no node_api.h in ${places.join(', ')}; install Node's headers (Debian: libnode-dev) or set GASWORKS_NODE_HEADERS`);
}

function library() {
  const missing = 'install libgasworks (cmake --install), and set PKG_CONFIG_PATH where its prefix is not the system\'s';
  const words = run('pkg-config', ['--cflags', '--libs', 'gasworks'], missing).split(/\s+/).filter(Boolean);
  const directory = run('pkg-config', ['--variable=libdir', 'gasworks'], missing);
  return [...words, ...(directory ? [`-Wl,-rpath,${directory}`] : [])];
}

const sources = fs.readdirSync(path.join(root, 'src')).filter((name) => name.endsWith('.c')).map((name) => path.join(root, 'src', name));
fs.mkdirSync(path.dirname(output), { recursive: true });
run(process.env.CC || 'cc', ['-std=gnu17', '-O2', '-g', '-fPIC', '-shared', '-fvisibility=hidden', '-Wall', '-Wextra', '-Wshadow', '-Werror',
  ...(process.env.CFLAGS ?? '').split(/\s+/).filter(Boolean), `-I${headers()}`, ...sources, '-o', output, ...library(), '-pthread'],
  'a C compiler is needed');
