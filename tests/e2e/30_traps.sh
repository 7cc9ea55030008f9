# Every way to fail: the right status, a document that names the function, nothing kept, the server goes on.
start_server "$work/traps" --gas-limit 2G
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
