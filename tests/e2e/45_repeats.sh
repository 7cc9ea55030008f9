# Requests with an Idempotency-Key: one effect and one answer, however often they are sent.
start_server "$work/repeats"
for name in counter-c hello trap; do deploy_example "$name"; done

body_is() { test "$(tr -d '\n' <"$work/body")" = "$1"; }
# post KEY PATH [CURL OPTION...]
post() {
  local key=$1 path=$2
  shift 2
  request POST "$path" -H "Idempotency-Key: $key" "$@"
}

post first /f/counter-c/a
check "the first is answered by the function" body_is 1
check "and says nothing of a repetition" test -z "$(header Idempotency-Replayed)"
post first /f/counter-c/a
check "the second gets the answer" body_is 1
check "with its headers" header_is Content-Type "text/plain; charset=utf-8"
check "and says so" header_is Idempotency-Replayed true
check "and cost nothing" test "$(gas)" = 0
post '"first"' /f/counter-c/a
check "a key may be a string of a structured field" body_is 1
request GET /f/counter-c/a
check "it had one effect" body_is 1
post first /f/counter-c/a -d "another body"
check "another body is refused" answers 422
check "and says why" body_has "another request had this Idempotency-Key"
post first /f/counter-c/b
check "another path, too" answers 422
post first /f/counter-c/a -H "Authorization: Bearer somebody"
check "somebody else's key is another one" body_is 2
post second /f/counter-c/a
check "another key is another request" body_is 3
post "$(printf 'x%.0s' {1..256})" /f/counter-c/a
check "a key has at most 255 characters" answers 400
request POST /f/counter-c/a -H "Idempotency-Key: one" -H "Idempotency-Key: two"
check "there is one key" answers 400
request GET /f/counter-c/a -H "Idempotency-Key: get"
request POST /f/counter-c/a
request GET /f/counter-c/a -H "Idempotency-Key: get"
check "a GET is made again" test -z "$(header Idempotency-Replayed)"
post stateless /f/hello
check "a function without state answers" answers 200
post stateless /f/hello
check "and is repeated, too" header_is Idempotency-Replayed true
post traps "/f/trap?kind=unreachable"
check "a trap has no effect" answers 500
post traps "/f/trap?kind=unreachable"
check "so it is tried again" answers 500

# Many at one time.
pids=()
for i in {1..24}; do
  curl -s -m 60 -X POST -H "Idempotency-Key: crowd" -o "$work/crowd.$i" "$base/f/counter-c/crowd" &
  pids+=($!)
done
wait "${pids[@]}"
pids=()
check "while the first one runs, others wait and get its answer" test "$(cat "$work"/crowd.* | sort -u | tr -d '\n')" = 1
request GET /f/counter-c/crowd
check "and there was one effect" body_is 1

# kill -9 while one client sends each request until it is answered.
for round in 1 2 3; do
  (
    for ((n = 1; n <= 400; n++)); do
      until curl -sf -m 5 -X POST -H "Idempotency-Key: $round-$n" -o /dev/null "$(<"$work/base")/f/counter-c/killed"; do
        [[ -e $work/stop ]] && exit
        sleep 0.02
      done
      echo $n >"$work/sent.$round"
      [[ -e $work/stop ]] && exit
    done
  ) &
  pids=($!)
  echo "$base" >"$work/base"
  sleep 0.$((3 + round))
  kill -9 "$server_pid"
  wait "$server_pid" 2>/dev/null
  start_server "$work/repeats"
  echo "$base" >"$work/base"
  sleep 0.3
  touch "$work/stop"
  wait "${pids[@]}"
  rm "$work/stop"
  pids=()
  sent=0
  for file in "$work"/sent.*; do sent=$((sent + $(<"$file"))); done
  request GET /f/counter-c/killed
  count=$(tr -d '\n' <"$work/body")
  check "kill -9: $count counted, $sent answered" test "$count" -ge "$sent" -a "$count" -le $((sent + round))
done
post first /f/counter-c/a
check "answers survive" body_is 1
stop_server
check "the server ends well" test "$stop_status" = 0

start_server "$work/repeats" --idempotency-keep 1
sleep 1.5
post first /f/counter-c/a
check "what is older than --idempotency-keep is forgotten" test -z "$(header Idempotency-Replayed)"
stop_server
start_server "$work/repeats" --idempotency-keep 0
post off /f/counter-c/off
post off /f/counter-c/off
check "--idempotency-keep 0 turns it off" body_is 2
stop_server

start_server "$work/repeats"
post gone /f/counter-c/gone
request DELETE '/v1/functions/counter-c?state=delete'
deploy_example counter-c
post gone /f/counter-c/gone
check "answers go with the state" test -z "$(header Idempotency-Replayed)"
stop_server
