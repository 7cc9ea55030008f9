#!/bin/bash
# Runs a command beside a PostgreSQL server of its own, in a temporary directory, and ends both.
#   postgres.sh COMMAND [ARGUMENT...]
# The command finds the server's address in GASWORKS_TEST_POSTGRES, its directory in GASWORKS_TEST_POSTGRES_DIR, and `pg_ctl` and others
# by `$GASWORKS_TEST_POSTGRES_RUN PROGRAM ...` (the server does not run as root). POSTGRES_OPTIONS are more of its settings.
# 77: PostgreSQL is not installed.
set -u
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[[ -n $bin && -x $bin/initdb ]] || { echo "skipped: PostgreSQL is not installed (./dev setup)"; exit 77; }

dir=$(mktemp -d /tmp/gasworks-pg-XXXXXX)
run="env LC_ALL=C PATH=$bin:/usr/bin:/bin"
if [[ $EUID == 0 ]]; then
  user=postgres
  id "$user" >/dev/null 2>&1 || user=nobody
  chown "$user" "$dir"
  run="setpriv --reuid=$user --regid=$(id -g "$user") --clear-groups $run"
fi
chmod 755 "$dir"

stop() {
  [[ -f $dir/data/postmaster.pid ]] && (cd "$dir" && $run pg_ctl -D "$dir/data" -m immediate -w stop) >/dev/null 2>&1
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 1' INT TERM

cd "$dir" || exit 1
$run initdb -D "$dir/data" -U postgres -A trust --no-sync -E UTF8 >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log"; exit 1; }
cat >>"$dir/data/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$dir'
max_connections = 100
shared_buffers = 32MB
fsync = off
full_page_writes = off
autovacuum_naptime = 5s
logging_collector = off
${POSTGRES_OPTIONS:-}
END
$run pg_ctl -D "$dir/data" -l "$dir/log" -w -t 60 start >"$dir/start.log" 2>&1 || { cat "$dir/start.log" "$dir/log"; exit 1; }
cd "$OLDPWD" || exit 1
export GASWORKS_TEST_POSTGRES="postgres:///postgres?host=$dir&user=postgres" GASWORKS_TEST_POSTGRES_DIR=$dir GASWORKS_TEST_POSTGRES_RUN=$run
"$@"
status=$?
# What the server did not expect, whoever ran it should see: 08: connections of those who were killed.
grep -E 'PANIC|WARNING' "$dir/log" | grep -v -e 'terminating connection' | head -5
exit $status
