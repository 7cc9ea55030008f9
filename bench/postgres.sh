#!/bin/bash
# Transfers a second between two of N accounts, CLIENTS (32) at one time: the store in LMDB, the store in PostgreSQL, and the same by pgbench, in SQL
# of its own with SERIALIZABLE, run again where it fails. In turn, on one machine, with all synced to the disk.
#   tests/postgres.sh bench/postgres.sh BENCH_POSTGRES [SECONDS [ROUNDS]]      POSTGRES_OPTIONS="fsync = on" before it
set -eu
program=$1 seconds=${2:-5} rounds=${3:-3} clients=${CLIENTS:-32}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
url=$GASWORKS_TEST_POSTGRES
read -ra run <<<"$GASWORKS_TEST_POSTGRES_RUN"
sql() { "${run[@]}" psql -q -v ON_ERROR_STOP=1 "$url" -c "$1"; }

sql "CREATE TABLE bank (key bytea PRIMARY KEY, value bytea NOT NULL)"
cat >"$dir/transfer.sql" <<'END'
\set a random(1, :accounts)
\set b random(1, :accounts)
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT value FROM bank WHERE key = int4send(:a);
SELECT value FROM bank WHERE key = int4send(:b);
INSERT INTO bank VALUES (int4send(:a), int8send(1)) ON CONFLICT (key) DO UPDATE SET value = excluded.value;
INSERT INTO bank VALUES (int4send(:b), int8send(1)) ON CONFLICT (key) DO UPDATE SET value = excluded.value;
COMMIT;
END
pgbench() {
  (cd / && "${run[@]}" pgbench "$url" -n -M prepared -c "$clients" -j "$((clients < 2 ? clients : 2))" -T "$seconds" -D accounts="$1" --max-tries=100 -f "$dir/transfer.sql") 2>/dev/null |
    sed -n 's/^tps = \([0-9]*\).*/\1/p'
}
for accounts in 100000 100; do
  for ((i = 0; i < rounds; i++)); do
    rm -rf "$dir/lmdb"
    mkdir "$dir/lmdb"
    lmdb=$("$program" "$dir/lmdb" "$clients" "$seconds" $accounts) store=$("$program" "$url" "$clients" "$seconds" $accounts) raw=$(pgbench $accounts)
    echo "$accounts accounts: LMDB ${lmdb% *}/s, PostgreSQL ${store% *}/s (${store#* } conflicts/s), pgbench SERIALIZABLE $raw/s"
  done
done
