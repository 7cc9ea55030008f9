# Modules that run once, by curl's forms and by the command line; --isolate tenant among it.
try() { "$program" try -s "$base" "$@"; }
printf 'to be or not to be' >"$work/text"

for isolate in none tenant; do
  start_server "$work/try-$isolate" --isolate "$isolate"
  request POST /v1/run -F "module=@$examples/wordcount.wasm" -F "input=@$work/text"
  check "a form is run ($isolate)" answers 200
  check "its input is counted" body_has '6 words'
  check "its gas is told" grep -qE '^[1-9][0-9]*$' <<<"$(gas)"
  request POST '/v1/run?as=json' --data-binary "@$examples/counter-c.wasm"
  check "a body is run" body_has '"body":"1'
  request POST '/v1/run?as=json' --data-binary "@$examples/counter-c.wasm"
  check "its state is gone" body_has '"body":"1'
  check "by the command line" grep -q '6 words' <<<"$(try "$examples/wordcount.wasm" -d "@$work/text")"
  check "as JSON" grep -q '"status":[[:space:]]*200' <<<"$(try "$examples/hello.wasm" --json)"
  try "$examples/hello.wasm" --gas 5 >"$work/out" 2>"$work/err"
  check "out of gas: one sentence" grep -q 'out of gas' "$work/err"
  try "$work/text" >"$work/out" 2>"$work/err"
  check "no module: one sentence" grep -q 'malformed module\|this is\|magic' "$work/err"
  request GET /v1/functions
  check "nothing is deployed" body_has '"functions":[]'
  stop_server
done
