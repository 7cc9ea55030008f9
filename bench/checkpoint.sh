#!/bin/bash
# Commands with and without checkpoints: the server's CPU time for a request, requests per second, and the time of a request in the median
# and at the 99th percentile.
#   bench/checkpoint.sh [--gasworks FILE] [--rounds N] [--seconds N] [--connections N]
# "spend N" does N gas of work in registers before it looks at its request, "table" makes a table of 1 MiB, "sort" sorts one of 64 KiB
# on the heap. Server on core 0, wrk on core 1; medians of the rounds are reported. Loopback only.
# shellcheck disable=SC2034,SC2154 # some variables are used by names that are put together
set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
program=$root/build/release/gasworks
rounds=3 seconds=3 connections=8
while (($#)); do
  case $1 in
  --gasworks) program=$2 && shift 2 ;;
  --rounds) rounds=$2 && shift 2 ;;
  --seconds) seconds=$2 && shift 2 ;;
  --connections) connections=$2 && shift 2 ;;
  *) sed -n '2,6s/^# *//p' "$0" >&2 && exit 2 ;;
  esac
done
for tool in wrk curl taskset clang-22; do command -v "$tool" >/dev/null || { echo "bench: $tool is not installed" >&2; exit 1; }; done
[[ -x $program ]] || { echo "bench: $program is not built (./dev build)" >&2; exit 1; }

# shellcheck source=bench/common.sh
source "$root/bench/common.sh"

cat >"$work/command.c" <<'END'
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static volatile uint32_t seed = 12345;
static uint32_t table[TABLE];

static int compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static uint32_t next(uint32_t x) { return x * 1664525 + 1013904223; }

int main(void) {
  uint32_t x = seed, *list = calloc(SORT + 1, sizeof *list);
  for (int i = 0; i < SPEND; i++) x = next(x) ^ x >> 15;
  for (int i = 0; i < TABLE; i++) table[i] = x = next(x);
  for (int i = 0; i < SORT; i++) list[i] = x = next(x);
  qsort(list, SORT, sizeof *list, compare);
  const char *query = getenv("QUERY_STRING");
  uint32_t at = query ? (uint32_t)atoi(query) : 0;
  printf("Content-Type: text/plain\n\n%u\n", x + table[at % TABLE] + list[at % (SORT + 1)]);
  return 0;
}
END

# build NAME SPEND TABLE SORT
build() {
  clang-22 --target=wasm32-wasi -Wno-deprecated --sysroot=/usr -O2 -DSPEND="$2" -DTABLE="$3" -DSORT="$4" "$work/command.c" -o "$work/$1.wasm"
}

start() { start_gasworks "$work/log-$1" --checkpoints "$1" --data "$work/data-$1" --tier fast; }

median() { printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

# Clock ticks, of which a second has a hundred.
cpu() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

# measure URL PID [SECONDS]: "CPU requests/s p50 p99" of one round, times in us.
measure() {
  local before
  before=$(cpu "$2")
  taskset -c 1 wrk -t1 -c"$connections" -d"${3:-$seconds}s" --latency "$1" >"$work/wrk"
  if grep -E 'Non-2xx|Socket errors' "$work/wrk" >&2; then exit 1; fi
  awk -v ticks="$(($(cpu "$2") - before))" 'function us(t) { return t ~ /us$/ ? t + 0 : t ~ /ms$/ ? t * 1000 : t * 1000000 }
    /^ +50%/ { p50 = us($2) } /^ +99%/ { p99 = us($2) } / requests in / { n = $1 }
    /^Requests\/sec/ { print ticks * 10000 / n, $2, p50, p99 }' "$work/wrk"
}

names=(nothing "spend 25k" "spend 100k" "spend 1M" table sort)
build nothing 0 1 0
build spend25k 4000 1 0
build spend100k 16000 1 0
build spend1M 160000 1 0
build table 0 262144 0
build sort 0 1 16384

start on
on=$address pid_on=$pid
start off
off=$address pid_off=$pid
for name in "${names[@]}"; do
  name=${name// /}
  for address in "$on" "$off"; do
    curl -sf -o /dev/null -X PUT --data-binary "@$work/$name.wasm" "$address/v1/functions/${name,,}"
    measure "$address/f/${name,,}?7" "$pid" 1 >/dev/null
  done
done
printf '%-12s %10s %44s %44s\n' '' gas 'with: CPU, requests/s, p50, p99' without
for name in "${names[@]}"; do
  path=/f/${name// /}
  path="${path,,}?7"
  gas=$(curl -sf -o /dev/null -D - "$on$path" | sed -nE 's/^Gasworks-Gas: ([0-9]+).*/\1/p')
  for kind in on off; do
    cpus=() rates=() p50s=() p99s=() pid=pid_$kind
    for ((round = 0; round < rounds; round++)); do
      read -r cpu rate p50 p99 <<<"$(measure "${!kind}$path" "${!pid}")"
      cpus+=("$cpu") rates+=("$rate") p50s+=("$p50") p99s+=("$p99")
    done
    declare "row_$kind=$(printf '%.1f us %.0f/s %.0f us %.0f us' "$(median "${cpus[@]}")" "$(median "${rates[@]}")" "$(median "${p50s[@]}")" "$(median "${p99s[@]}")")"
  done
  printf '%-12s %10s %44s %44s\n' "$name" "$gas" "$row_on" "$row_off"
done
