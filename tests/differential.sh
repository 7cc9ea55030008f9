#!/bin/bash
# Random modules made by Binaryen: what V8 and this engine make of them must agree, and gas must not depend on the optimiser.
#   differential.sh PROGRAM [SECONDS] [SEED]      PROGRAM: build/*/differential; modules that differ stay in $TMPDIR/gasworks-differential
set -u
program=${1:?usage: differential.sh PROGRAM [SECONDS] [SEED]}
seconds=${2:-15}
seed=${3:-1}
here=$(dirname "$(readlink -f "$0")")
kept=${TMPDIR:-/tmp}/gasworks-differential
for tool in wasm-opt node; do
  command -v "$tool" >/dev/null && continue
  echo "differential: $tool is not installed; nothing was tested"
  exit 77
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0
features=(--mvp-features --enable-mutable-globals --enable-sign-ext --enable-nontrapping-float-to-int --enable-multivalue
  --enable-bulk-memory --enable-tail-call)

# Bytes that follow from the seed alone: make_input SEED SIZE FILE
make_input() {
  node -e 'const [seed, size, file] = process.argv.slice(1);
    const cipher = crypto.createCipheriv("aes-128-ctr", seed.padStart(16, "0"), Buffer.alloc(16));
    fs.writeFileSync(file, cipher.update(Buffer.alloc(Number(size))))' "$@"
}

# V8 has one message where the suite has several.
fold() {
  sed -E -e 's/(undefined|uninitialized) element|indirect call type mismatch|out of bounds table access/table trap/' \
    -e 's/invalid conversion to integer/integer overflow/' "$@"
}

keep() {
  mkdir -p "$kept" && cp "$1" "$kept/"
  echo "FAIL seed $(basename "$1" .wasm): $2 (kept as $kept/$(basename "$1"))"
  failed=$((failed + 1))
}

check() {
  local wasm=$1
  # Binaryen's references follow an older draft, so that some modules with them are invalid: then for us, too.
  if grep -qx rejected "$wasm.v8"; then
    if "$program" "$wasm" >/dev/null 2>&1; then keep "$wasm" "V8 rejects it, we do not"; else passed=$((passed + 1)); fi
    return
  fi
  "$program" -O 2 --show-gas "$wasm" >"$wasm.fast" 2>"$wasm.err" || { keep "$wasm" "-O2 failed: $(tail -n 1 "$wasm.fast")"; return; }
  "$program" -O 0 --show-gas "$wasm" >"$wasm.slow" 2>"$wasm.err" || { keep "$wasm" "-O0 failed: $(tail -n 1 "$wasm.slow")"; return; }
  # Gas at a memory access out of bounds is a lower bound until the precise tier is there (docs/gas.md, section 5).
  sed -i '/out of bounds memory access/s/ gas [0-9]*$//' "$wasm.fast" "$wasm.slow"
  if ! diff "$wasm.fast" "$wasm.slow" >"$wasm.diff"; then
    keep "$wasm" "-O2 and -O0 differ: $(sed -n 2p "$wasm.diff")"
  elif ! diff <(sed -E 's/ gas [0-9]+$//' "$wasm.fast" | fold) <(fold "$wasm.v8") >"$wasm.diff"; then
    keep "$wasm" "V8 differs: $(grep -m 2 '^[<>]' "$wasm.diff" | tr '\n' ' ')"
  else
    passed=$((passed + 1))
  fi
}

[[ -x $program ]] || { echo "differential: cannot run $program"; exit 1; }
while ((SECONDS < seconds && failed < 10)); do
  files=()
  for _ in 1 2 3 4 5; do
    wasm=$work/$seed.wasm
    more=()
    ((seed % 5 == 0)) && more=(--enable-reference-types)
    ((seed % 5 == 1)) && more=(--enable-simd)
    make_input "$seed" $((500 + seed % 7 * 600)) "$work/input"
    if wasm-opt "$work/input" -ttf --denan "${features[@]}" "${more[@]}" -o "$wasm" >/dev/null 2>&1; then files+=("$wasm"); else skipped=$((skipped + 1)); fi
    seed=$((seed + 1))
  done
  node --experimental-wasm-type-reflection "$here/differential.js" "${files[@]}" || exit 1
  for wasm in "${files[@]}"; do
    ((SECONDS < seconds)) || break
    check "$wasm"
    rm -f "$wasm".*
  done
done
echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0 && passed > 0))
