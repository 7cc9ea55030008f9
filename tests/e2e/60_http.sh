# The protocol: keep-alive, pipelining, limits, shutdown.
start_server "$work/http" --tier fast --gas-limit 3G --max-body 100K # the loop at the end is to fit into the grace period
for name in hello trap wordcount; do deploy_example "$name"; done

connects=$(curl -s -o /dev/null -o /dev/null -o /dev/null -w '%{num_connects}\n' "$base/f/hello" "$base/healthz" "$base/f/hello" | awk "{ n += \$1 } END { print n }")
check "three requests, one connection" test "$connects" = 1

# raw TEXT: sends it as it is (\r\n written out) and prints what comes back until the server closes or 30 s pass.
raw() {
  local port=${base##*:}
  exec 3<>"/dev/tcp/127.0.0.1/$port"
  printf '%b' "$1" >&3
  timeout 30 cat <&3 | tr -d '\r' >"$work/body"
  exec 3>&-
}

get='GET /f/hello HTTP/1.1\r\nHost: x\r\n\r\n'
post='POST /f/wordcount?format=json HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\n\r\nto be or not to be'
last='GET /f/hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
raw "$get$post$get$get$last"
check "five pipelined requests, five answers" test "$(grep -c '^HTTP/1.1 200' "$work/body")" = 5
check "in their order" test "$(grep -cE '^hello' "$work/body")" = 4
raw 'NONSENSE\r\n\r\n'
check "nonsense gets 400" grep -q '^HTTP/1.1 400' "$work/body"
raw 'POST /f/wordcount HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n6\r\nto be \r\n3\r\nor \r\n0\r\n\r\n'
check "a chunked body" grep -q '^HTTP/1.1 200' "$work/body"
request GET /f/hello --http1.0
check "HTTP/1.0" answers 200
head -c 200000 /dev/zero >"$work/big"
request POST /f/wordcount --data-binary "@$work/big"
check "a body beyond the limit" answers 413

# Paths that the command line takes as people write them.
for path in '/a b' '/ü?q=1 2#x' "$(printf '/a\r\nX: y')" 'a%20b'; do
  check "invoke -p '$path'" test "$("$program" invoke --server "$base" -p "$path" hello 2>&1 | head -c 5)" = hello
done

# Shutdown: what runs ends in peace, nothing new is taken.
curl -s -m 60 -o /dev/null -w '%{http_code}' "$base/f/trap?kind=loop" >"$work/last" &
pids=($!)
sleep 0.1
stop_server
check "SIGTERM: clean end" test "$stop_status" = 0
wait "${pids[@]}"
pids=()
check "SIGTERM: the running request was answered" test "$(cat "$work/last")" = 402
request GET /f/hello
check "nobody listens any more" answers 000
