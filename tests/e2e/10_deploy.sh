# Deploying, calling, listing, deleting.
start_server "$work/deploy"

request GET /healthz
check "healthz answers" answers 200
deploy_example wordcount
check "wordcount is deployed" answers 201
deploy_example wordcount
check "deploying again replaces" answers 200
request POST /f/wordcount -d 'to be or not to be'
check "wordcount answers" answers 200
check "six words" grep -qE '(^|[^0-9])6([^0-9]|$)' "$work/body"
check "the gas is stated" grep -qE '^[1-9][0-9]*$' <<<"$(gas)"
request POST '/f/wordcount?format=json' -d 'to be or not to be'
check "as JSON, too" node -e 'process.exit(JSON.parse(fs.readFileSync(process.argv[1])).words === 6 ? 0 : 1)' "$work/body"

deploy_example hello
deploy_example counter-c
request GET /v1/functions
check "the list is JSON with all three" node -e '
  const names = JSON.parse(fs.readFileSync(process.argv[1])).functions.map((f) => f.name).sort();
  process.exit(names.join() === "counter-c,hello,wordcount" ? 0 : 1)' "$work/body"
request GET /v1/functions/hello
check "one function's description" body_has '"hello"'

request DELETE /v1/functions/hello
check "delete" answers 204
request GET /v1/functions/hello
check "deleted: not found" answers 404
request GET /f/hello
check "deleted: not callable" answers 404
check "as a problem document" header_is Content-Type application/problem+json
request DELETE /v1/functions/hello
check "deleting what is not there" answers 404
request POST /v1/functions/wordcount
check "a wrong method" answers 405
request GET /nowhere
check "an unknown path" answers 404
request PUT '/v1/functions/No%20Name' --data-binary "@$examples/hello.wasm"
check "a bad name" answers 400

stop_server
check "clean end" test "$stop_status" = 0

start_server "$work/deploy"
request POST /f/wordcount -d 'one two three'
check "functions survive a restart" answers 200
request GET /f/hello
check "deleted ones do not come back" answers 404
