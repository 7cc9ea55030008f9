#!/bin/bash
# What exceptions cost: nanoseconds per iteration of a loop around one call, medians of interleaved rounds.
#   bench/exceptions.sh [--gasworks FILE] [--rounds N] [--gas on|off]
set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
program=$root/build/release/gasworks
rounds=7 gas=on
while (($#)); do
  case $1 in
  --gasworks) program=$2 && shift 2 ;;
  --rounds) rounds=$2 && shift 2 ;;
  --gas) gas=$2 && shift 2 ;;
  *) sed -n '2,3s/^# *//p' "$0" >&2 && exit 2 ;;
  esac
done
command -v wat2wasm >/dev/null || { echo "bench: wat2wasm is not installed" >&2; exit 1; }
[[ -x $program ]] || { echo "bench: $program is not built (./dev build)" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A loop of n iterations around BODY, exported as NAME.
loop() {
  echo "(func (export \"$1\") (param \$n i32) (result i32) (local \$sum i32)
    (loop \$again $2 (br_if \$again (local.tee \$n (i32.sub (local.get \$n) (i32.const 1))))) (local.get \$sum))"
}

add() { echo "(local.set \$sum (i32.add (local.get \$sum) $1))"; }

work_function() {
  echo "(func \$work (param i32) (result i32)
    (if (i32.eq (local.get 0) (i32.const -1)) (then $1)) (i32.mul (local.get 0) (i32.const 3)))"
}

attempt() { echo "(try (do $1) (catch \$t (local.set \$sum)))"; }

{
  echo "(module"
  work_function "(unreachable)"
  loop call "$(add "(call \$work (local.get \$n))")"
  echo ")"
} >"$work/without.wat"
{
  echo "(module (tag \$t (param i32))"
  work_function "(throw \$t (i32.const 1))"
  echo "(func \$throw (param i32) (result i32) (throw \$t (local.get 0)))
    (func \$deep (param i32 i32) (result i32) (if (i32.eqz (local.get 1)) (then (throw \$t (local.get 0))))
    (i32.add (i32.const 1) (call \$deep (local.get 0) (i32.sub (local.get 1) (i32.const 1)))))"
  loop call "$(add "(call \$work (local.get \$n))")"
  loop try "$(attempt "$(add "(call \$work (local.get \$n))")")"
  loop throw "$(attempt "$(add "(call \$throw (local.get \$n))")")"
  loop throw10 "$(attempt "$(add "(call \$deep (local.get \$n) (i32.const 9))")")"
  echo ")"
} >"$work/with.wat"
wat2wasm "$work/without.wat" -o "$work/without.wasm"
wat2wasm --enable-exceptions "$work/with.wat" -o "$work/with.wasm"

measure() { # LABEL FILE EXPORT ITERATIONS
  "$program" run --tier fast --gas "$gas" --invoke "$3" --stats "$work/$2.wasm" "$4" 2>&1 >/dev/null |
    awk -v n="$4" '$1 == "run" { print $2 * 1e6 / n }' >>"$work/$1"
}

for ((i = 0; i < rounds; i++)); do
  measure 'call, no tags' without call 50000000
  measure call with call 50000000
  measure try with try 50000000
  measure throw with throw 2000000
  measure throw10 with throw10 2000000
done
for label in 'call, no tags' call try throw throw10; do
  sort -n "$work/$label" | awk -v l="$label" '{ t[NR] = $1 } END { printf "%-14s %7.2f ns\n", l, t[int((NR + 1) / 2)] }'
done
