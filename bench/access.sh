#!/bin/bash
# What a token and a process for each tenant cost the hello function: CPU time of the server's processes for a request.
#   bench/access.sh [--gasworks FILE] [--rounds N]
# Three ways in turn, a second each, in alternating order: a public function (with a header as long as a token, which is the function's), a
# private one with a token, and a public one of a server with --isolate tenant. Server on core 0, wrk on core 1; loopback only.
set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
program=$root/build/release/gasworks rounds=10
while (($#)); do
  case $1 in
  --gasworks) program=$2 && shift 2 ;;
  --rounds) rounds=$2 && shift 2 ;;
  *) sed -n '2,5s/^# *//p' "$0" >&2 && exit 2 ;;
  esac
done
for tool in wrk taskset; do command -v "$tool" >/dev/null || { echo "bench: $tool is not installed" >&2; exit 1; }; done
"$root/examples/build" "$root/build/examples" >&2
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait; rm -rf "$work"' EXIT

# start NAME [OPTION...]: a server whose address is in the file $work/NAME.at.
start() {
  local name=$1
  shift
  taskset -c 0 "$program" serve --listen 127.0.0.1:0 --workers 1 --tier fast --data "$work/$name" "$@" 2>"$work/$name.log" &
  pids+=($!)
  for _ in $(seq 100); do
    sed -nE 's/.*serving on (http:[^ ]+).*/\1/p' "$work/$name.log" >"$work/$name.at"
    [[ -s $work/$name.at ]] && return
    sleep 0.1
  done
  echo "bench: no server: $(cat "$work/$name.log")" >&2
  exit 1
}

# deploy SERVER NAME [OPTION...]
deploy() {
  local at=$1
  "$program" deploy --server "$(<"$work/$at.at")" --token "@$work/$at/admin-token" "$2" "$root/build/examples/hello.wasm" "${@:3}" >/dev/null
}

# Nanoseconds of CPU time of a process and of those that it started.
cpu_ns() { cat $(for p in $1 $(pgrep -P "$1"); do echo "/proc/$p/task/*/schedstat"; done) | awk '{ s += $1 } END { printf "%.0f", s }'; }

# measure PID URL TOKEN: microseconds of CPU time for a request.
measure() {
  local before n after
  before=$(cpu_ns "$1")
  n=$(taskset -c 1 wrk -t1 -c32 -d1s -H "Authorization: Bearer $3" "$2" | awk '/Non-2xx/ { bad = 1 } /requests in/ { n = $1 } END { print bad ? 0 : n }')
  after=$(cpu_ns "$1")
  awk -v t=$((after - before)) -v n="$n" 'BEGIN { if (!n) exit 1; printf "%.3f", t / 1000 / n }'
}

start one
start many --isolate tenant
deploy one hello
deploy one own --access private
deploy many hello
token=$(<"$work/one/admin-token")
way() {
  case $1 in
  0) measure "${pids[0]}" "$(<"$work/one.at")/f/hello" "zz${token:2}" ;;
  1) measure "${pids[0]}" "$(<"$work/one.at")/f/own" "$token" ;;
  2) measure "${pids[1]}" "$(<"$work/many.at")/f/hello" "zz${token:2}" ;;
  esac
}
for ((round = 0; round < rounds; round++)); do
  order=(0 1 2)
  ((round % 2)) && order=(2 1 0)
  for i in "${order[@]}"; do took[i]=$(way "$i"); done
  echo "${took[@]}"
done >"$work/rounds"
# median COLUMN [OF]: of a column, or of its ratios to another.
median() { awk -v a="$1" -v b="${2:-0}" '{ print b ? $a / $b : $a }' "$work/rounds" | sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }
echo "public    $(median 1) us of CPU time for a request (medians of $rounds rounds)"
echo "private   $(median 2) us, ratio $(median 2 1)"
echo "isolated  $(median 3) us, ratio $(median 3 1)"
