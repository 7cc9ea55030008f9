#!/bin/bash
# Requests per second of the hello function on one core, against the floor: the same libuv and llhttp answering a constant.
#   bench/server.sh [--gasworks FILE] [--rounds N] [--seconds N] [--connections N] [--json]
# Server on core 0, wrk on core 1; rounds are interleaved, medians are reported. Loopback only.
set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
program=$root/build/release/gasworks
rounds=3 seconds=5 connections=32 json=''
while (($#)); do
  case $1 in
  --gasworks) program=$2 && shift 2 ;;
  --rounds) rounds=$2 && shift 2 ;;
  --seconds) seconds=$2 && shift 2 ;;
  --connections) connections=$2 && shift 2 ;;
  --json) json=1 && shift ;;
  *) sed -n '2,4s/^# *//p' "$0" >&2 && exit 2 ;;
  esac
done
for tool in wrk curl taskset; do command -v "$tool" >/dev/null || { echo "bench: $tool is not installed" >&2; exit 1; }; done
[[ -x $program ]] || { echo "bench: $program is not built (./dev build)" >&2; exit 1; }
"$root/examples/build" "$root/build/examples" >&2

build=$root/build/bench
mkdir -p "$build"
# shellcheck disable=SC2046
clang-22 -O2 -w -DLLHTTP_STRICT_MODE=1 -o "$build/http_floor" -isystem /usr/share/include/llhttp "$root/bench/http_floor.c" \
  /usr/share/llhttp/{llhttp,api,http}.c $(pkg-config --cflags --libs libuv)

# shellcheck source=bench/common.sh
source "$root/bench/common.sh"

# wait_for URL PID: until it answers.
wait_for() {
  for _ in $(seq 100); do
    curl -s -o /dev/null "$1" && return
    kill -0 "$2" 2>/dev/null || break
    sleep 0.05
  done
  echo "bench: no answer from $1: $(cat "$work/log")" >&2
  exit 1
}

start_floor() {
  local port=$((20000 + $$ % 10000))
  floor=http://127.0.0.1:$port/
  taskset -c 0 "$build/http_floor" "$port" 2>"$work/log" &
  pids+=($!)
  wait_for "$floor" $!
}

start_server() {
  start_gasworks "$work/log" --data "$work/data"
  hello=$address/f/hello
  wait_for "$address/healthz" "$pid"
  curl -sf -o /dev/null -X PUT --data-binary "@$root/build/examples/hello.wasm" "$address/v1/functions/hello"
}

# Requests per second; any answer that is not a success ends the bench.
measure() {
  taskset -c 1 wrk -t1 -c"$connections" -d"${2:-$seconds}s" "$1" >"$work/wrk"
  if grep -E 'Non-2xx|Socket errors' "$work/wrk" >&2; then exit 1; fi
  awk '/^Requests\/sec/ { print $2 }' "$work/wrk"
}

median() { printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

start_floor
start_server
measure "$hello" 1 >/dev/null
floors=() hellos=()
for ((round = 0; round < rounds; round++)); do
  floors+=("$(measure "$floor")")
  hellos+=("$(measure "$hello")")
done
a=$(median "${hellos[@]}") b=$(median "${floors[@]}")
share=$(awk -v a="$a" -v b="$b" 'BEGIN { printf "%.3f", a / b }')
if [[ $json ]]; then
  echo "{\"hello\": $a, \"floor\": $b, \"share\": $share, \"rounds\": $rounds, \"seconds\": $seconds, \"connections\": $connections}"
else
  echo "hello  $a requests/s (medians of $rounds rounds of $seconds s, $connections connections, one core)"
  echo "floor  $b requests/s"
  echo "share  $share"
fi
