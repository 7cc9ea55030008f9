#!/bin/bash
# Would the comparison with V8 notice a wrong instruction? For each of some, the precise tier is made to do another one instead, and
# random modules must show it.
#   mutations.sh AGAINST_V8 [INSTRUCTION...]
set -u
here=$(dirname "$(readlink -f "$0")")
program=${1:?usage: mutations.sh AGAINST_V8 [INSTRUCTION...]}
shift
instructions=("$@")
[[ $# == 0 ]] && instructions=(i32.add i64.mul i32.lt_s i64.shr_u i32.load16_u i64.extend_i32_s i32.eqz f64.sub f32.min i32.trunc_sat_f64_u i32x4.add)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
missed=0
for instruction in "${instructions[@]}"; do
  TMPDIR=$work GASWORKS_BREAK_OPCODE=$instruction "$here/v8.sh" against_v8 "$program" --seed 1 --count 400 --seconds 600 --failures 1 >"$work/out" 2>&1
  case $? in
    77) cat "$work/out"; exit 77 ;;
    1) echo "$instruction: noticed, $(tail -1 "$work/out")" ;;
    *) echo "$instruction: NOT NOTICED, $(tail -1 "$work/out")"; missed=$((missed + 1)) ;;
  esac
done
echo "$((${#instructions[@]} - missed)) of ${#instructions[@]} wrong instructions were noticed"
exit $((missed != 0))
