// Writes N files PREFIX.I.sql of ten statements each, the same every time: tables, indices, triggers, views, transactions, rows.
// node sqlite_statements.js PREFIX N
'use strict';
const fs = require('fs');
const [prefix, n] = [process.argv[2], Number(process.argv[3])];
let seed = 12345;
const below = (k) => {
  seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
  return (seed >>> 8) % k;
};
const pick = (list) => list[below(list.length)];
const text = () => `'${'abcdefghij'.slice(below(9))}${below(1000)}'`;
const value = () => pick([() => `${below(1000)}`, () => `${below(1000) / 8}`, text, () => 'NULL', () => `x'${below(256).toString(16).padStart(2, '0')}'`])();
const condition = () => pick([`a > ${below(500)}`, `b LIKE '%${below(10)}%'`, `c IS NULL`, `a BETWEEN ${below(200)} AND ${below(900)}`, `id % ${2 + below(5)} = 0`]);

const setup = [
  'CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, b TEXT, c)',
  'CREATE TABLE u(k TEXT PRIMARY KEY, n INTEGER DEFAULT 0, t_id REFERENCES t(id)) WITHOUT ROWID',
  'CREATE INDEX t_a ON t(a)',
  'CREATE INDEX t_bc ON t(b, c) WHERE c IS NOT NULL',
  'CREATE VIEW v AS SELECT a / 10 AS tens, count(*) AS n, total(a) AS s FROM t GROUP BY 1',
  'CREATE TRIGGER log AFTER DELETE ON t BEGIN INSERT INTO u(k, n) VALUES (\'deleted\', 1) ON CONFLICT(k) DO UPDATE SET n = n + 1; END',
  'CREATE TABLE blobs(id INTEGER PRIMARY KEY, bytes BLOB)',
];
const statements = [
  () => `INSERT INTO t(a, b, c) VALUES ${Array.from({ length: 1 + below(20) }, () => `(${below(1000)}, ${text()}, ${value()})`).join(', ')}`,
  () => `INSERT INTO u(k, n) VALUES (${text()}, ${below(100)}) ON CONFLICT(k) DO UPDATE SET n = n + excluded.n`,
  () => `UPDATE t SET a = a + ${below(10)}, c = ${value()} WHERE ${condition()}`,
  () => `DELETE FROM t WHERE id IN (SELECT id FROM t WHERE ${condition()} ORDER BY id LIMIT ${below(6)})`,
  () => `SELECT id, a, b, typeof(c), quote(c) FROM t WHERE ${condition()} ORDER BY a, id LIMIT ${below(20)}`,
  () => 'SELECT * FROM v ORDER BY tens LIMIT 12',
  () => 'SELECT k, n FROM u ORDER BY n DESC, k LIMIT 8',
  () => `SELECT x.id, y.id FROM t x JOIN t y ON x.a = y.a AND x.id < y.id ORDER BY 1, 2 LIMIT ${below(10)}`,
  () => 'SELECT id, sum(a) OVER (ORDER BY id ROWS 2 PRECEDING) FROM t ORDER BY id LIMIT 9',
  () => `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${below(20) + 1}) SELECT group_concat(i) FROM n`,
  () => `BEGIN; INSERT INTO t(a, b) VALUES (${below(1000)}, ${text()}); ${pick(['COMMIT', 'ROLLBACK'])}`,
  () => `SAVEPOINT s; UPDATE t SET b = ${text()} WHERE ${condition()}; ROLLBACK TO s; RELEASE s`,
  () => `INSERT INTO blobs(bytes) VALUES (zeroblob(${below(30000)})); SELECT id, length(bytes) FROM blobs ORDER BY id DESC LIMIT 3`,
  () => `DELETE FROM blobs WHERE id % ${2 + below(3)} = 0; SELECT count(*), total(length(bytes)) FROM blobs`,
  () => `SELECT json_group_array(json_object('a', a, 'b', b)) FROM (SELECT * FROM t WHERE ${condition()} ORDER BY id LIMIT 4)`,
  () => `SELECT count(*), min(a), max(a), CAST(avg(a) * 1000 AS INTEGER), sum(length(b)) FROM t`,
  () => pick(['VACUUM', 'REINDEX', 'PRAGMA integrity_check', 'ANALYZE; SELECT count(*) > 0 FROM sqlite_stat1']),
];
for (let i = 0; i < n; i++) {
  const batch = i === 0 ? [...setup, statements[0](), statements[0](), statements[1]()] : Array.from({ length: 10 }, () => pick(statements)());
  fs.writeFileSync(`${prefix}.${i}.sql`, batch.join(';\n') + ';\n');
}
