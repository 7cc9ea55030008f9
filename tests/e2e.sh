#!/bin/bash
# End-to-end tests: starts the program as a server on a free loopback port and talks to it with curl.
#   e2e.sh GASWORKS [EXAMPLES] [PART...]    GASWORKS: the program; EXAMPLES: where examples/build put them; PART: files of tests/e2e
# The parts in tests/e2e run in the order of their names, in this shell: what stands below is theirs to use.
set -u
program=$(readlink -f "${1:?usage: e2e.sh GASWORKS [EXAMPLES] [PART...]}")
here=$(dirname "$(readlink -f "$0")")
root=$(dirname "$here")
examples=${2:-$root/build/examples}
shift $(($# < 2 ? $# : 2))

for tool in curl node wat2wasm; do
  command -v "$tool" >/dev/null || { echo "e2e: $tool is not installed"; exit 1; }
done
"$root/examples/build" "$examples" >&2 || { echo "e2e: building the examples failed"; exit 1; }

work=$(mktemp -d)
server_pid='' pids=()
passed=0 failed=0 skipped=0

# Only what was started here is ended.
cleanup() {
  local pid
  for pid in $server_pid "${pids[@]}"; do kill -9 "$pid" 2>/dev/null; done
  wait 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# --- checks -----------------------------------------------------------------------------------------------------------

# check WHAT COMMAND...: the command must succeed.
check() {
  local what=$1
  shift
  if "$@"; then
    echo "ok   $what"
    passed=$((passed + 1))
  else
    echo "FAIL $what: $*"
    echo "     status ${status:-}, body: $(head -c 600 "$work/body" 2>/dev/null)"
    failed=$((failed + 1))
  fi
}

body_has() { grep -qF -- "$1" "$work/body"; }
header_is() { [[ $(header "$1") == "$2"* ]]; }
answers() { [[ $status == "$1" ]]; }

# --- the server -------------------------------------------------------------------------------------------------------

# start_server DATA [OPTION...]: sets base and server_pid.
start_server() {
  local data=$1 tries
  shift
  : >"$work/server.log"
  "$program" serve --listen 127.0.0.1:0 --data "$data" --workers 2 --drain 0 --host gasworks.test "$@" 2>"$work/server.log" &
  server_pid=$!
  for ((tries = 0; tries < 200; tries++)); do
    base=$(sed -nE 's/.*serving on (http:[^ ]+).*/\1/p' "$work/server.log" | head -n 1)
    [[ -n $base ]] && { take_token "$data"; return 0; }
    kill -0 "$server_pid" 2>/dev/null || break
    sleep 0.05
  done
  echo "FAIL the server does not start: $(cat "$work/server.log")"
  exit 1
}

# The command line's, and that of `request`. The data may be on a disk that only the server sees.
take_token() {
  local file=$1/admin-token
  [[ -e $file ]] || file=/proc/$server_pid/root$file
  GASWORKS_TOKEN=$(<"$file")
  export GASWORKS_TOKEN
}

# Sets stop_status. Sanitizers report leaks and errors through it.
stop_server() {
  kill -TERM "$server_pid"
  wait "$server_pid"
  stop_status=$?
  server_pid=''
  ((stop_status == 0)) || tail -n 40 "$work/server.log"
}

is_running() { kill -0 "$server_pid" 2>/dev/null; }

# request METHOD PATH [CURL OPTION...]: sets status; the body is in $work/body. The Host header is part of a function's input, and
# must not depend on the port; the token is no part of it.
request() {
  local method=$1 path=$2
  shift 2
  : >"$work/body"
  status=$(curl -s -m 60 -X "$method" -H 'Host: gasworks.test' -H "Gasworks-Authorization: Bearer $GASWORKS_TOKEN" -D "$work/headers" -o "$work/body" -w '%{http_code}' "$@" "$base$path")
}

header() { sed -nE "s/^$1: (.*)\r$/\1/Ip" "$work/headers" | head -n 1; }
gas() { header Gasworks-Gas; }
deploy() { request PUT "/v1/functions/$1" --data-binary "@$2"; }
deploy_example() { deploy "$1" "$examples/$1.wasm"; }

# --- the parts --------------------------------------------------------------------------------------------------------

parts=("$@")
((${#parts[@]})) || parts=("$here"/e2e/*.sh)
for part in "${parts[@]}"; do
  [[ $part == */* ]] || part=$here/e2e/$part
  echo "# $(basename "$part" .sh)"
  # shellcheck disable=SC1090
  source "$part"
  [[ -n $server_pid ]] && stop_server
done
echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
