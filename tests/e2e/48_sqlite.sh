# SQLite as it is, in a function, with its database in /state: the same rows as the native one, and transactions that hold.
if [[ ! -e $examples/ledger.wasm ]] || ! command -v sqlite3 >/dev/null; then
  echo "skip SQLite: the examples were built without it, or there is no native one"
  skipped=$((skipped + 1))
else

start_server "$work/sqlite"
for name in sql ledger; do deploy_example "$name"; done

# Statements of every kind, in batches of ten; each batch is a request here and a process there.
node "$here/e2e/sqlite_statements.js" "$work/batch" 40
for i in $(seq 0 39); do
  request POST /f/sql --data-binary "@$work/batch.$i.sql"
  cat "$work/body" >>"$work/rows"
  sqlite3 -batch "$work/native.db" <"$work/batch.$i.sql" >>"$work/native.rows"
done
check "the rows of 400 statements are those of native SQLite" cmp "$work/rows" "$work/native.rows"
check "of which there are many" test "$(wc -l <"$work/rows")" -gt 500
request POST /f/sql --data-binary 'pragma integrity_check; select 1/0; selekt'
check "what is no statement is said, and the database is whole" test "$(<"$work/body")" = $'ok\n\nerror: near "selekt": syntax error'

# What a transaction writes costs its pages, not the file.
request POST /f/sql --data-binary 'create table big(id integer primary key, text); with recursive n(i) as (select 1 union all select i + 1 from n where i < 4000) insert into big select i, hex(zeroblob(400)) from n'
request POST /f/sql --data-binary 'select page_count * page_size > 3000000 from pragma_page_count, pragma_page_size'
check "a large database" test "$(<"$work/body")" = 1
request POST /f/sql --data-binary 'update big set text = 1 where id = 2000'
check "a row of it costs few pages" test "$(header Gasworks-Gas)" -lt 6000000

for account in 0 1 2 3 4 5 6 7 8 9; do request POST "/f/ledger/$account?balance=1000"; done
check "accounts" test "$(<"$work/body")" = '{"name":"9","balance":1000}'
request POST '/f/ledger?from=1&to=nobody&amount=5'
check "a transfer that fails behind its first statement" answers 404
request GET /f/ledger/1
check "leaves nothing" test "$(<"$work/body")" = '{"name":"1","balance":1000,"entries":[]}'
request POST '/f/ledger?from=1&to=2&amount=1001'
check "no more than there is" answers 409
check "100 clients move money" node "$here/e2e/ledger_clients.js" "$base" gasworks.test 100 3
request GET /f/ledger
sum=$(node -p 'JSON.parse(require("fs").readFileSync(0)).reduce((s, a) => s + a.balance, 0)' <"$work/body")
check "none of it is lost" test "$sum" = 10000
cp "$work/body" "$work/accounts"
status=$(curl -s -o "$work/body" -w '%{http_code}' -X PATCH -H 'Host: gasworks.test' -H "Authorization: Bearer $(<"$work/sqlite/admin-token")" \
  -d '{"read_only_get":true}' "$base/v1/functions/ledger")
request GET /f/ledger
check "GET on a file system to be read" cmp "$work/body" "$work/accounts"
request POST '/f/ledger?from=1&to=2&amount=0'

stop_server
"$program" state --data "$work/sqlite" export ledger >"$work/exported"
check "a database is exported" grep -q '"offset":0' "$work/exported"
"$program" state --data "$work/sqlite" import ledger2 <"$work/exported"
start_server "$work/sqlite"
deploy ledger2 "$examples/ledger.wasm"
request GET /f/ledger2
check "and imported" cmp "$work/body" "$work/accounts"
"$program" state --data "$work/sqlite" get ledger2 ledger.db >"$work/copy.db"
check "and is a file for native SQLite" test "$(sqlite3 "$work/copy.db" 'select sum(balance) from account')" = 10000
fi
