'use strict';
const { test } = require('node:test');
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

function find(name) {
  try { return require.resolve(name); } catch { return null; }
}

const compiler = find('typescript/package.json');

test('the types are what TypeScript programs need', { skip: !compiler && 'typescript is not installed' }, () => {
  const directory = path.join(__dirname, 'types');
  const types = path.dirname(path.dirname(path.dirname(find('@types/node/package.json'))));
  const result = spawnSync(process.execPath, [path.join(path.dirname(compiler), 'bin', 'tsc'), '--noEmit', '--strict', '--module', 'nodenext',
    '--target', 'es2022', '--types', 'node', '--typeRoots', path.join(types, '@types'), '--skipLibCheck',
    path.join(directory, 'program.ts')], { encoding: 'utf8', cwd: directory });
  assert.equal(result.status, 0, result.stdout + result.stderr);
});

test('what the types declare is there', async () => {
  const { Engine, GasworksError, State } = require('gasworks');
  const text = fs.readFileSync(path.join(path.dirname(require.resolve('gasworks/package.json')), 'lib/index.d.ts'), 'utf8');
  const bytes = Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  const module_ = await new Engine({ workers: 1 }).compile(bytes);
  const objects = { Engine: Engine.prototype, Module: module_, Instance: await module_.instantiate(), Pool: module_.pool(), Callable: module_.pool(), State: State.prototype };
  objects.Memory = objects.Instance.memory;
  for (const [name, object] of Object.entries(objects)) {
    const body = new RegExp(`(?:class|interface) ${name}\\b[^{]*\\{([\\s\\S]*?)\\n\\}`).exec(text)[1];
    const members = [...body.matchAll(/^  (?:readonly )?(\w+)[(<:]/gm)].map((match) => match[1]).filter((member) => member !== 'constructor');
    assert.ok(members.length > 0);
    for (const member of members) assert.ok(member in object, `${name}.${member}`);
  }
  assert.equal(new GasworksError('m', 'c').name, 'GasworksError');
});
