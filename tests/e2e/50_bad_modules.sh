# Hostile modules: a clear answer with the place, and nothing else lost.
start_server "$work/bad"
deploy_example hello

# rejected WHAT FILE STATUS...: one of the statuses, a problem document, a byte offset.
rejected() {
  local what=$1 file=$2
  shift 2
  deploy bad "$file"
  check "$what: status $status" grep -qw "$status" <<<"$*"
  check "$what: a problem document" header_is Content-Type application/problem+json
  check "$what: names the byte" grep -qE 'at byte 0x[0-9a-f]+' "$work/body"
}

size=$(stat -c %s "$examples/wordcount.wasm")
for part in 5 9 100 $((size / 2)) $((size - 1)); do
  head -c "$part" "$examples/wordcount.wasm" >"$work/bad.wasm"
  rejected "truncated to $part bytes" "$work/bad.wasm" 400
done
head -c 3000 /dev/urandom >"$work/bad.wasm"
rejected "random bytes" "$work/bad.wasm" 400
: >"$work/bad.wasm"
rejected "nothing" "$work/bad.wasm" 400
echo '(module (func (export "handle") i32.const 1 i64.add drop))' >"$work/bad.wat"
wat2wasm --no-check -o "$work/bad.wasm" "$work/bad.wat"
rejected "a type error" "$work/bad.wasm" 422
printf '\0asm\1\0\0\0\1\3\1\x5f\0' >"$work/bad.wasm" # (type (struct)): garbage collection
rejected "a feature that is off" "$work/bad.wasm" 422
echo '(module (import "nowhere" "f" (func)) (func (export "handle")))' >"$work/bad.wat"
wat2wasm -o "$work/bad.wasm" "$work/bad.wat"
deploy bad "$work/bad.wasm"
check "an unknown import" answers 422
check "an unknown import is named" body_has nowhere
echo '(module (func (export "nothing")))' >"$work/bad.wat"
wat2wasm -o "$work/bad.wasm" "$work/bad.wat"
deploy bad "$work/bad.wasm"
check "no interface" answers 422

# What is no module is told for what it is.
told() { # told WORDS FORMAT: bytes as printf makes them
  # shellcheck disable=SC2059
  printf "$2" >"$work/bad.wasm"
  deploy bad "$work/bad.wasm"
  check "$1" answers 400
  check "$1: so it is called" body_has "$1"
}
told "WebAssembly component" '\0asm\x0d\0\1\0'
told "text form" '(module)'
told "native program" '\x7fELF'
told "compressed with gzip" '\x1f\x8b\x08'

# Mutants may also be valid.
node "$here/e2e/mutate.js" "$examples/counter-c.wasm" 80 "$work/mutant" 1
strange=0
for ((i = 0; i < 80; i++)); do
  deploy mutant "$work/mutant.$i"
  [[ $status =~ ^(200|201|400|422)$ ]] || strange=$((strange + 1))
  [[ $status =~ ^20 ]] && request POST "/f/mutant"
done
check "80 mutants: all answered with a verdict" test "$strange" = 0
request GET /v1/functions/bad
check "nothing bad was deployed" answers 404
request GET /f/hello
check "the others still answer" answers 200
stop_server
check "clean end after bad modules" test "$stop_status" = 0
