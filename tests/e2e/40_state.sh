# State: kept over restarts, nothing acknowledged lost by kill -9, nothing counted twice.
start_server "$work/state"
for name in counter-c counter-rust; do deploy_example "$name"; done

for name in counter-c counter-rust; do
  for i in 1 2 3; do request POST "/f/$name/a"; done
  check "$name: three increments" test "$(tr -d '\n' <"$work/body")" = 3
  request GET "/f/$name/b"
  check "$name: another key is its own" test "$(tr -d '\n' <"$work/body")" = 0
done
stop_server
start_server "$work/state"
for name in counter-c counter-rust; do
  request GET "/f/$name/a"
  check "$name: the count survives a restart" test "$(tr -d '\n' <"$work/body")" = 3
  request POST "/f/$name/a"
  check "$name: and goes on" test "$(tr -d '\n' <"$work/body")" = 4
done

# Writers on one key and on keys of their own, cut off by kill -9.
# curl writes to stderr without a buffer: what it has seen is in the file when it is killed, too.
round() {
  local key acknowledged count writers=(shared shared first second) i=0
  pids=()
  rm -f "$work"/writer.*
  for key in "${writers[@]}"; do
    curl -s -m 20 --retry 0 -X POST -o /dev/null \
      -w '%{stderr}%{http_code}\n' "$base/f/counter-c/$key?n=[1-100000]" 2>"$work/writer.$i.$key" &
    pids+=($!)
    i=$((i + 1))
  done
  sleep "$1"
  kill -9 "$server_pid"
  wait "$server_pid" 2>/dev/null
  kill "${pids[@]}" 2>/dev/null
  wait "${pids[@]}" 2>/dev/null
  pids=()
  start_server "$work/state"
  for key in shared first second; do
    acknowledged=$(($(cat "$work"/writer.*."$key" | grep -c '^200$') + ${before[$key]:-0}))
    request GET "/f/counter-c/$key"
    count=$(tr -d '\n' <"$work/body")
    # Each writer may have had one request committed whose answer it never saw.
    check "kill -9: $key: $count counted, $acknowledged acknowledged" \
      test "$count" -ge "$acknowledged" -a "$count" -le $((acknowledged + 2)) -a "$acknowledged" -gt "${before[$key]:-0}"
    before[$key]=$count
  done
}
declare -A before=()
for seconds in 0.5 0.8 1.2; do round $seconds; done

request DELETE '/v1/functions/counter-c?state=delete'
deploy_example counter-c
request GET /f/counter-c/shared
check "state deleted with its function is gone" test "$(tr -d '\n' <"$work/body")" = 0
