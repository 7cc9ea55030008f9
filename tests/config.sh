#!/bin/bash
# The configuration file of `gasworks serve`: what is wrong with one, with its place; reloads, under load, too.
#   config.sh GASWORKS SOURCE_DIR
set -u
program=$1 source=$2
dir=$(mktemp -d)
server=''
passed=0 failed=0
end_server() {
  [[ $server ]] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null
  server=''
}
trap 'end_server; rm -rf "$dir"' EXIT
check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@"; then passed=$((passed + 1)); else echo "FAIL $what"; failed=$((failed + 1)); fi
}
file=$dir/etc/gasworks.yaml
mkdir "$dir/etc"

# --- what is wrong ---------------------------------------------------------------------------------------------------

# says EXPECTED: --check of standard input prints that behind the file's name, and ends with 2.
says() {
  local code=0
  cat >"$file"
  "$program" serve --check --config "$file" >"$dir/out" 2>&1 || code=$?
  sed -i "s|^$file:||" "$dir/out"
  [[ $code == 2 && $(<"$dir/out") == "$1" ]] || { echo "exit $code: $(<"$dir/out")"; return 1; }
}
check "all errors of a file, in order" says "1:1: there is no option listn; is it listen?
2:10: data wants a string, not 5
3:14: max-memory wants a number of bytes, or a string such as \"64M\", not \"lots\"
4:16: max-running wants a number from 1 to 4294967295, not -1
5:1: there is no option max_body; is it max-body?
6:1: there is no option frobnicate; see gasworks serve --help
7:7: tier wants \"fast\", \"precise\", \"baseline\" or \"auto\", not \"slow\"
8:1: config is for the command line alone
9:14: receipts wants true or false, not 1
10:1: gas-limit wants a number, or a string such as \"10G\", not a list
11:13: trust wants a string, not a mapping
12:8: grace wants a number from 0 to 2147483647, not \"1.5\"
13:1: --isolate wants none or tenant, not all
14:8: cache wants a string, not nothing" <<'END'
listn: 127.0.0.1:8080
data:    5
max-memory:  lots
max-running:   -1
max_body: 16M
frobnicate: 1
tier: slow
config: other
receipts:    1
gas-limit: [1]
trust: [    {a: 1}]
grace: 1.5
isolate: "all"
cache: ~
END
check "the same in JSON" says "2:11: data wants a string, not 5
3:3: there is no option max_body; is it max-body?" <<'END'
{ "listen": "127.0.0.1:8080", "host": ["a.example", "b.example"],
  "data": 5,
  "max_body": "16M" }
END
check "a file that is no YAML" says "3:1: while scanning a quoted scalar found unexpected end of stream" <<'END'
quiet: true
listen: "127
END
check "a file of something else" says "1:1: the file is options with their values, NAME: VALUE" <<'END'
- quiet
END
check "the syntax of others" says "1:1: the file is options with their values, NAME: VALUE" <<'END'
quiet = true
END
check "a second document" says "3:1: the file has one document, this is another" <<'END'
quiet: true
---
quiet: false
END
check "an option twice" says "2:1: grace is there a second time, after line 1" <<'END'
grace: 1
grace: 2
END
check "a name that is none" says "1:3: the name of an option is a string" <<'END'
? [grace]
: 2
END
check "zero bytes" says "1:7: data wants a string, not a string with a zero byte" <<'END'
data: "a\0b"
END
check "what is no UTF-8" bash -c "printf 'data: \"\\xff\"\n' >'$file'; '$program' serve --check --config '$file' 2>&1 | grep -qx '$file: invalid leading UTF-8 octet at byte 7'"
check "values that stand for each other" says "2:1: data wants a string, not a list" <<'END'
host: &a [x.example, x.example]
data: *a
END
check "a value that no type refuses" says "2:1: --listen wants ADDRESS:PORT, not nowhere" <<'END'

listen: nowhere
END
check "a file that an option names" says "1:1: cannot open /nonexistent: No such file or directory" <<'END'
schedule: /nonexistent
END
check "characters that a terminal would obey" says '1:1: there is no option ?[2J; see gasworks serve --help' <<'END'
"\u001b[2J": 1
END
check "a file of comments is right" bash -c "echo '# nothing' >'$file'; '$program' serve --check --config '$file'"
deep() { head -c 60000 /dev/zero | tr '\0' '[' >"$file"; "$program" serve --check --config "$file" >"$dir/out" 2>&1; [[ $? == 2 ]]; }
check "a file that is all brackets" deep
head -c 70000 /dev/zero | tr '\0' '#' >"$file"
check "a file that is too large" bash -c "'$program' serve --check --config '$file' 2>&1 | grep -q 'too large\|larger'"
check "a file that is not there" bash -c "'$program' serve --check --config /nonexistent 2>&1 | grep -q 'cannot open /nonexistent'"
printf 'listen: 1\n' >"$file"
check "as JSON" bash -c "'$program' serve --check --json --config '$file' | tr -d ' \n\t' | grep -qF '\"valid\":false,\"problems\":[{\"line\":1,\"column\":9,\"message\":\"listenwantsastring,not1\"}]'"

# Every option of --help can be in a file, but for those of the command line.
"$program" serve --help | sed -n '/^Options/,/^Exit/s/^  .*--\([a-z-]*\)\( .*\|$\)/\1/p' | grep -vxE 'help|config|check|json|config-text|worker-of' >"$dir/names"
sed 's/$/: {}/' "$dir/names" >"$file"
"$program" serve --check --config "$file" 2>"$dir/out"
check "every option is known to the file" test "$(grep -c 'wants .*not a mapping' "$dir/out")" = "$(wc -l <"$dir/names")"

# What a reload takes is a list of its own, of names that are options.
sed -n 's/^LIVE("\([a-z-]*\)".*/\1/p' "$source/server/live.def" >"$dir/live"
check "what is live is an option" bash -c "[[ -s '$dir/live' ]] && ! grep -vxF -f '$dir/names' '$dir/live'"

# --- a server --------------------------------------------------------------------------------------------------------

hello=$dir/hello.wasm
if ! "${CLANG:-clang-22}" --target=wasm32-wasi -Wno-deprecated --sysroot=/usr -O2 --no-wasm-opt -nostartfiles -Wl,--no-entry -I "$source/sdk/c" \
  "$source/examples/hello.c" -o "$hello" 2>/dev/null; then
  echo "skipped: reloads, which want an example in C"
  echo "$passed passed, $failed failed"
  exit $((failed > 0))
fi

# start OPTION...: a server with the file; sets url.
start() {
  : >"$dir/log"
  "$program" serve --config "$file" "$@" 2>"$dir/log" &
  server=$!
  until url=$(sed -n 's/.*serving on //p' "$dir/log") && [[ $url ]]; do
    kill -0 $server 2>/dev/null || { cat "$dir/log"; exit 1; }
    sleep 0.05
  done
  export GASWORKS_SERVER=$url GASWORKS_TOKEN=@$dir/data/admin-token
}
# Waits until the log has so many lines with these words.
logged() { # COUNT WORDS
  local i
  for ((i = 0; i < 200; i++)); do
    (($(grep -cF -- "$2" "$dir/log") >= $1)) && return 0
    sleep 0.05
  done
  cat "$dir/log"
  return 1
}
write() { # LINE...
  printf '%s\n' "listen: \"127.0.0.1:0\"" "data: \"$dir/data\"" "workers: 2" "$@" >"$file.new"
  mv "$file.new" "$file" # as editors do
}
status() { curl -s -o /dev/null -w '%{http_code}' "$@"; }

write 'max-body: 100' 'sync: false' 'compile-seconds: 30'
start
"$program" deploy hello "$hello" >/dev/null
head -c 150 /dev/zero >"$dir/body"
check "the file's limit counts" test "$(status --data-binary "@$dir/body" "$url/f/hello")" = 413
write 'max-body: "1K"' 'sync: false' 'compile-seconds: 40'
kill -HUP $server
check "a reload is told" logged 1 "$file is taken: changed max-body"
check "what waits is told" logged 1 'waiting for a restart: compile-seconds'
check "the new limit counts" test "$(status --data-binary "@$dir/body" "$url/f/hello")" = 200

write 'max-body: 100' 'max-idle: "x"'
kill -HUP $server
check "a bad file is told" logged 1 "$file is not taken: everything stays as it was"
check "with the place" logged 1 "$file:5:11: max-idle wants a number"
check "none of it counts" test "$(status --data-binary "@$dir/body" "$url/f/hello")" = 200
rm "$file"
kill -HUP $server
check "no file is told" logged 2 'not taken'
mkfifo "$file"
kill -HUP $server
check "a pipe in its place keeps nobody waiting" logged 1 "$file is no plain file"
ln -sf /dev/zero "$file"
kill -HUP $server
check "nor does a link to a device" logged 4 'not taken'
rm "$file"
write 'max-body: "1K"' 'max-running: 4294967295'
kill -HUP $server
check "the largest number is taken" logged 1 "$file is taken: changed max-running"
check "half of it is not nothing" test "$(status "$url/f/hello")" = 200

# Every instance is made again, limits change, and no request fails.
write 'max-body: "1K"'
if command -v wrk >/dev/null; then
  wrk -t1 -c8 -d3s "$url/f/hello" >"$dir/wrk" &
  load=$!
  for ((i = 0; i < 40; i++)); do
    write "max-memory: \"$((64 + i % 2))M\"" "gas-limit: \"$((1 + i % 3))G\"" "slice: \"$((1 + i % 2))M\"" "max-idle: $((i % 3))"
    kill -HUP $server
    sleep 0.05
  done
  wait $load
  check "reloads under load are taken" logged 30 'is taken'
  check "requests were answered" grep -q 'requests in' "$dir/wrk"
  check "none of them failed" bash -c "! grep -qE 'Non-2xx|Socket errors' '$dir/wrk'"
  grep -E 'Non-2xx|Socket errors' "$dir/wrk"
else
  echo "skipped: reloads under load, which want wrk"
fi
end_server
check "the server ended well" bash -c "! grep -qE 'Sanitizer|runtime error' '$dir/log'"

# The command line goes before the file, after a reload, too.
write 'max-body: 100'
start --max-body 1K
check "the command line goes first" test "$(status --data-binary "@$dir/body" "$url/f/hello")" = 200
write 'max-body: 50'
kill -HUP $server
check "nothing changed" logged 1 'nothing changed'
check "after a reload, too" test "$(status --data-binary "@$dir/body" "$url/f/hello")" = 200
end_server

# Tenants' processes take it on, whether they run already or are started later.
rm -rf "$dir/data"
write 'isolate: "tenant"' 'max-body: "1M"' 'gas-limit: "1G"' 'cache: "off"'
start
"$program" deploy hello "$hello" >/dev/null
check "isolated" test "$(status "$url/f/hello")" = 200
write 'isolate: "tenant"' 'max-body: "1M"' 'gas-limit: 10' 'cache: "off"'
kill -HUP $server
logged 1 'is taken: changed gas-limit' || failed=$((failed + 1))
out_of_gas() { for ((i = 0; i < 100; i++)); do [[ $(status "$1") == 200 ]] || return 0; sleep 0.05; done; return 1; }
check "the running worker has the new limit" out_of_gas "$url/f/hello"
"$program" tenants create other >/dev/null
"$program" deploy --tenant other hello "$hello" >"$dir/out" 2>&1
check "a new worker has the new limit" bash -c "[[ \$(curl -s -o /dev/null -w '%{http_code}' '$url/t/other/f/hello') != 200 ]] || grep -q gas '$dir/out'"
check "no cache where the file has none" test ! -e "$dir/data/tenants/default/cache"
echo 'broken' >"$file"
"$program" tenants create third >/dev/null
check "a worker starts though the file is broken by now" bash -c "'$program' list --tenant third"
end_server

echo "$passed passed, $failed failed"
((failed == 0 && passed > 10))
