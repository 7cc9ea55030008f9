# Every way to fail: the right status, a document that names the function, nothing kept, the server goes on.
start_server "$work/traps" --tier fast --gas-limit 2G
deploy_example trap
check "trap is deployed" answers 201
deploy_example hello

# kind, status, what the message says, the function in it
while read -r kind wanted function message; do
  request GET "/f/trap?kind=$kind"
  check "$kind: status $wanted" answers "$wanted"
  check "$kind: a problem document" header_is Content-Type application/problem+json
  check "$kind: JSON" node -e 'JSON.parse(fs.readFileSync(process.argv[1]))' "$work/body"
  check "$kind: says \"$message\"" body_has "$message"
  check "$kind: names $function" body_has "$function"
  check "$kind: states the gas" test -n "$(gas)"
  request GET /f/hello
  check "$kind: others are served" answers 200
done <<'END'
unreachable 500 hit_unreachable unreachable
oob 500 read_out_of_bounds out of bounds memory access
div 500 divide integer divide by zero
stack 500 recurse call stack exhausted
loop 402 loop_for_ever out of gas
END
request GET "/f/trap?kind=loop"
check "out of gas costs the limit" test "$(gas)" = 2000000000
request GET "/f/trap?kind=grow"
check "memory.grow beyond the limit gives -1" body_has 'memory.grow gave -1'
request GET /f/trap
check "trapped invocations left no state" body_has '2 invocations succeeded'

# Source lines, the same in the reply, in the log and from the command line.
cat >"$work/lines.c" <<'END'
static inline __attribute__((always_inline)) int load(volatile int *p) {
  return *p;
}
__attribute__((export_name("handle"))) void handle(void) {
  load((volatile int *)0x7ffffffc);
}
END
clang-22 --target=wasm32 -g -O1 --no-wasm-opt -nostdlib -Wl,--no-entry "$work/lines.c" -o "$work/lines.wasm"
deploy lines "$work/lines.wasm"
check "a function with debug information is deployed" answers 201
request GET /f/lines
cp "$work/body" "$work/reply"
"$program" invoke --server "$base" lines >"$work/shown" 2>&1
for place in "load at byte 0x" "/lines.c:2:10" "inlined into handle, " "/lines.c:5:3"; do
  check "the reply's backtrace has $place" grep -qF "$place" "$work/reply"
  check "the log has $place" grep -qF "$place" "$work/server.log"
  check "gasworks invoke shows $place" grep -qF "$place" "$work/shown"
done

# A library's trap: the user's own place comes first, and all three show the same lines.
cat >"$work/own.rs" <<'END'
#[no_mangle]
pub extern "C" fn handle() {
    let text = String::from("abc");
    text.parse::<i32>().unwrap();
}
END
if /usr/bin/rustc --target wasm32-unknown-unknown --crate-type cdylib -C opt-level=1 -C panic=abort -g "$work/own.rs" -o "$work/own.wasm"; then
  deploy own "$work/own.wasm"
  request GET /f/own
  check "a panic's backtrace begins with the user's place" body_has '"backtrace":["your code: handle, '
  "$program" invoke --server "$base" own 2>&1 | tail -n +2 >"$work/shown"
  "$program" run --cache off "$work/own.wasm" 2>&1 | tail -n +2 >"$work/shown-by-run"
  check "gasworks invoke shows the lines that run shows" cmp "$work/shown" "$work/shown-by-run"
else
  echo "skip a panic's backtrace: no Rust library for Wasm"
  skipped=$((skipped + 1))
fi

# AssemblyScript's abort, which has a place of its own.
cat >"$work/throws.ts" <<'END'
function check(n: i32): void {
  if (n > 3) throw new Error("too much");
}
export function handle(): void {
  check(9);
}
END
(cd "$work" && "$root/build/tools/node_modules/.bin/asc" throws.ts -o throws.wasm --debug --runtime stub)
deploy throws "$work/throws.wasm"
request GET /f/throws
check "abort: status 500" answers 500
check "abort: its message and place" body_has "abort: too much, throws.ts:2:14"
check "abort: the calls" body_has "throws/check at byte 0x"
check "abort: in the log" grep -qF "abort: too much, throws.ts:2:14" "$work/server.log"

# Endless loops beside other requests.
for i in 1 2 3 4; do
  curl -s -m 60 -o /dev/null -w '%{http_code}\n' "$base/f/trap?kind=loop" >"$work/loop.$i" &
  pids+=($!)
done
sleep 0.1
slowest=0
for ((i = 0; i < 20; i++)); do
  took=$(curl -s -m 60 -o "$work/body" -w '%{http_code} %{time_total}' "$base/f/hello")
  [[ $took == 200* ]] || slowest=99
  slowest=$(awk -v a="$slowest" -v b="${took#* }" 'BEGIN { print (a > b ? a : b) }')
done
check "hello is answered beside endless loops (slowest: $slowest s)" awk -v s="$slowest" 'BEGIN { exit !(s > 0 && s < 0.5) }'
wait "${pids[@]}"
pids=()
check "all loops ran out of gas" test "$(cat "$work"/loop.* | sort -u)" = 402
check "the server is still up" is_running
stop_server
check "clean end after traps" test "$stop_status" = 0
