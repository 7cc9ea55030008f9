// For bench/contention/run: the same transfers and counters in SQLite, behind Node's HTTP server: node sqlite.mjs FILE. It wants
// node:sqlite (Node.js 22). Write-ahead log, synchronous FULL: each transaction is durable before its reply, as there.
import { createServer } from 'node:http';
import { DatabaseSync } from 'node:sqlite';

const N_ACCOUNTS = 100000;
const db = new DatabaseSync(process.argv[2]);
db.exec('pragma journal_mode = wal; pragma synchronous = full; create table kv(k primary key, v integer) without rowid');
const get = db.prepare('select v from kv where k = ?');
const set = db.prepare('insert into kv values(?, ?) on conflict do update set v = excluded.v');
const add = db.prepare('insert into kv values(?, ?) on conflict do update set v = v + excluded.v');

function pick(zipf) {
  if (!zipf) return Math.floor(Math.random() * N_ACCOUNTS);
  const u = 1 - Math.random();
  return Math.min(Math.floor(1 / (u * u)) - 1, N_ACCOUNTS - 1);
}

function transfer(zipf, adds) {
  const a = pick(zipf);
  let b = pick(zipf);
  if (a === b) b = (b + 1) % N_ACCOUNTS;
  if (adds) {
    add.run(a, -1);
    add.run(b, 1);
    return;
  }
  const x = get.get(a)?.v ?? 0, y = get.get(b)?.v ?? 0;
  set.run(a, x - 1);
  set.run(b, y + 1);
}

const server = createServer((request, response) => {
  const url = request.url;
  db.exec('begin immediate');
  if (url.includes('counter')) set.run('hot', (get.get('hot')?.v ?? 0) + 1);
  else transfer(url.includes('zipf'), url.includes('add'));
  db.exec('commit');
  response.end('ok\n');
});
server.listen(0, '127.0.0.1', () => console.log(`serving on http://127.0.0.1:${server.address().port}`));
