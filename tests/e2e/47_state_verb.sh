# gasworks state: beside a server and without one.
start_server "$work/kept"
deploy_example counter-c
for i in 1 2 3; do request POST /f/counter-c/a; done
request POST /f/counter-c/b

# state COMMAND [ARGS...]: sets code; standard output is in $work/body.
state() {
  "$program" state --data "$work/kept" "$@" >"$work/body" 2>"$work/errors"
  code=$?
}
exits() { test "$code" = "$1"; }
says() { grep -qF -- "$1" "$work/errors"; }

state get counter-c /a
check "a value beside the server" test "$(<"$work/body")" = 3
state get counter-c /c
check "one that is not there" exits 8
check "and says so" says "function counter-c has no key /c"
state scan counter-c
check "a scan" test "$(<"$work/body")" = $'/a\t3\n/b\t1'
state scan counter-c --backward --limit 1
check "backwards, one" test "$(<"$work/body")" = $'/b\t1'
state scan counter-c --first /b
check "from a key on" test "$(<"$work/body")" = $'/b\t1'
state scan counter-c --json
check "as JSON" test "$(node -p 'JSON.parse(require("fs").readFileSync(0)).map((p) => atob(p.key) + atob(p.value)).join()' <"$work/body")" = /a3,/b1
state stat counter-c --json
check "its size" body_has '{"keys":2,"bytes":6}'
state stat
check "the file's" body_has "bytes in the file"
state export counter-c
cp "$work/body" "$work/exported"
check "what is exported" test "$(wc -l <"$work/exported")" = 2
state put counter-c /a 7
check "no writing beside a server" exits 9
check "and says why" says "is in use by another process"
state backup "$work/backup"
check "a backup beside the server" exits 0
state backup "$work/backup"
check "over no other file" says "cannot write $work/backup: File exists"
request POST /f/counter-c/a

# Functions that share state, by the command line.
gw() { GASWORKS_SERVER=$base GASWORKS_TOKEN=@$work/kept/admin-token "$program" "$@" >"$work/body" 2>"$work/errors"; code=$?; }
gw deploy one "$examples/counter-c.wasm" --state-group shop
check "deployed into a group" exits 0
gw deploy two "$examples/counter-c.wasm"
gw config two --state-group shop --read-only-get on
check "joined" body_has "state group  shop"
check "and GET is read-only" body_has "GET          read-only"
request POST /f/one/x
request POST /f/two/x
check "two functions count together" test "$(tr -d '\n' <"$work/body")" = 2
state get --group shop /x
check "in the group's state" test "$(tr -d '\n' <"$work/body")" = 2
state get two /x
check "not in one's own" exits 8
gw list
check "the list shows it" body_has "is shared by one two"
gw delete --group shop
check "a group in use stays" says "one,two shares the state of group shop"
gw delete one
gw delete two
gw list
check "without functions it is kept" body_has "gasworks delete --group shop"
gw delete --group shop
check "until it is deleted" exits 0
gw delete --group shop --state
check "--group takes no --state" exits 2
gw config counter-c --state-group No
check "a group is called as functions are" says "state_group is a name such as functions have, or null"
gw config counter-c --read-only-get maybe
check "on or off" exits 2
stop_server
state get stat --group
check "of no group" exits 2

state put counter-c /a 7
state get counter-c /a
check "put" test "$(<"$work/body")" = 7
state put counter-c "" x
check "a key has a byte" says "a state key has 1 to 480 bytes"
state put ../x /a 7
check "a function has a name" exits 2
state delete counter-c /b
state scan counter-c
check "delete a key" test "$(<"$work/body")" = $'/a\t7'
state delete counter-c
state scan counter-c
check "delete all" test -z "$(<"$work/body")"
state import counter-c <"$work/exported"
state scan counter-c
check "import" test "$(<"$work/body")" = $'/a\t3\n/b\t1'

# A gibibyte that is one byte of state: its export is as small, and what it is imported over is gone.
{ echo '{"key":"YQ==","value":"","size":1073741824,"offset":0}'; echo '{"key":"YQ==","value":"eA==","size":1073741824,"offset":536870912}'
  echo '{"key":"YQ==","value":"","size":1073741824,"offset":1073741824}'; } >"$work/sparse"
state import sparse <"$work/sparse"
check "a value that is mostly not there" exits 0
state export sparse
cp "$work/body" "$work/exported_sparse"
check "is exported without that" test "$(wc -l <"$work/body")" = 3
check "in little room" test "$(wc -c <"$work/body")" -lt 2000000
state import sparse <"$work/exported_sparse"
state export sparse
check "and is the same when it is imported" cmp "$work/body" "$work/exported_sparse"
echo '{"key":"YQ==","value":"","size":9,"offset":0}
{"key":"YQ==","value":"","size":9,"offset":9}' >"$work/sparse"
state import sparse <"$work/sparse"
state get sparse a
check "where nothing is stored there are zeros" test "$(od -An -tx1 <"$work/body" | tr -d ' ')" = 000000000000000000
state delete sparse
echo '{"key":"@"}' >"$work/bad.json"
state import counter-c <"$work/bad.json"
check "a line that is none" says "line 1 is none that export prints"
echo '{"key":"Lw==","value":"éAAA"}' >"$work/bad.json"
state import counter-c <"$work/bad.json"
check "Base64 is ASCII" says "line 1 is none that export prints"
for ((n = 0; n < 3000; n++)); do printf '{"key":"%s","value":"YQ=="}\n' "$(printf 'k%07d' $n | base64)"; done >"$work/many"
state import counter-c <"$work/many"
state stat counter-c
check "thousands" body_has "3002 keys"
for ((n = 0; n < 2000; n++)); do printf '{"key":"%s","value":"%s"}\n' "$(printf 'k%07d' $n | base64)" "$(printf '%0300d' $n | base64 -w 0)"; done >"$work/large"
state import counter-c <"$work/large"
state delete counter-c
state import counter-c <"$work/exported"
before=$(stat -c %s "$work/kept/state/data.mdb")
state compact
after=$(stat -c %s "$work/kept/state/data.mdb")
check "compact: $before bytes, then $after" test "$after" -lt $((before / 2))
state scan counter-c
check "and all is there" test "$(<"$work/body")" = $'/a\t3\n/b\t1'
state put counter-c /a 9
state restore "$work/backup"
check "restore asks for --force" says "--force replaces it"
head -c 5000 /dev/urandom >"$work/garbage"
state restore "$work/garbage" --force
check "no garbage is restored" test "$code" != 0
state get counter-c /a
check "and nothing is lost" test "$(<"$work/body")" = 9
state restore "$work/backup" --force
state get counter-c /a
check "restore" test "$(<"$work/body")" = 3
start_server "$work/kept"
request POST /f/counter-c/a
check "a server goes on with it" test "$(tr -d '\n' <"$work/body")" = 4
stop_server
state frobnicate
check "no such command" exits 2
