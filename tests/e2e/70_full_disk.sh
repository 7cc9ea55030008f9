# A data directory on a file system that is full: one of its own, in a mount namespace of the server's. Requests that need no room go on, others fail and say
# why, nothing that was there is lost, and all goes on when there is room again.

cat >"$work/on_small_disk" <<EOF
#!/bin/bash
mount -t tmpfs -o size=3m none "$work/small" && exec "$program" "\$@"
EOF
cat >"$work/small_disk_server" <<EOF
#!/bin/bash
exec unshare -m "$work/on_small_disk" "\$@"
EOF
chmod +x "$work/on_small_disk" "$work/small_disk_server"
mkdir -p "$work/small"
echo '(module (func (export "f")))' >"$work/small.wat"
wat2wasm "$work/small.wat" -o "$work/small.wasm"
body_lacks() { ! body_has "$1"; }

if unshare -m mount -t tmpfs none "$work/small" 2>/dev/null; then
  real_program=$program program=$work/small_disk_server
  start_server "$work/small/data" --tier fast
  program=$real_program
  small=/proc/$server_pid/root$work/small
  fill_disk() { dd if=/dev/zero of="$small/fill" bs=4k count=10000 2>/dev/null; }

  deploy counter "$examples/counter-c.wasm"
  check 'full disk: deploys before' answers 201
  request POST /f/counter/a
  check 'full disk: counts before' body_has 1
  fill_disk
  request GET /f/counter/a
  check 'full disk: reading goes on' answers 200
  check 'full disk: reading says what was written' body_has 1
  # pages that the store has given up take the first ones
  for ((n = 0; n < 500; n++)); do
    request POST "/f/counter/more$n"
    [[ $status == 200 ]] || break
  done
  check 'full disk: writing fails' answers 500
  check 'full disk: and says what failed' body_has 'state store failed'
  check 'full disk: and not where' body_lacks "$work"
  # LMDB calls it an error of input and output when the first of several pages still fit
  check 'full disk: the log says why' grep -qE 'cannot write to the state store .*: (No space left on device|Input/output error)' "$work/server.log"
  deploy_example hello
  check 'full disk: deploying fails' answers 500
  check 'full disk: and says nothing of paths' body_lacks "$work"
  request GET /f/hello/
  check 'full disk: what was not deployed is not there' answers 404
  request GET /f/counter/a
  check 'full disk: what was there is' body_has 1

  rm "$small/fill"
  request POST /f/counter/a
  check 'room again: counts on' body_has 2
  request GET "/f/counter/more$n"
  check 'room again: what failed did not happen' body_has 0
  deploy_example hello
  check 'room again: deploys' answers 201
  request GET /f/hello/
  check 'room again: answers' answers 200
  # the log of receipts uses what room it has, and then no function runs; what it told stays true
  request GET /f/hello/
  before=$(header Gasworks-Receipt)
  fill_disk
  curl -s -m 100 -o /dev/null -H 'Host: gasworks.test' -w '%{http_code}\n' "$base/f/hello/[1-20000]" >"$work/codes"
  check 'full log: first it goes on' grep -q 200 "$work/codes"
  check 'full log: then 503, and nothing else' test "$(uniq "$work/codes" | tr '\n' ' ')" = '200 503 '
  request GET /f/hello/
  check 'full log: no function runs' answers 503
  check 'full log: and it says why' body_has 'no room for receipts'
  check 'full log: no receipt is named' test -z "$(header Gasworks-Receipt)"
  last=$(grep -c 200 "$work/codes")
  index=${before#*/} index=${index%/*}
  request GET "/v1/receipts/$((index + last))"
  check 'full log: the last receipt is there' answers 200
  request GET "/v1/receipts/$((index + last + 1))"
  check 'full log: and none behind it' answers 404
  request GET /metrics
  check 'full log: each invocation has its receipt' body_has 'gasworks_invocations_without_receipt_total 0'
  rm "$small/fill"
  for ((n = 0; n < 100; n++)); do
    request GET /f/hello/
    [[ $status == 503 ]] || break
    sleep 0.1
  done
  check 'room again: functions run' answers 200
  after=$(header Gasworks-Receipt) after=${after#*/}
  check 'room again: receipts go on without a hole' test "${after%/*}" = $((index + last + 1))
  check 'full disk: an artifact is not left half written' unshare -m sh -c '
    mount -t tmpfs -o size=4k none "$3" && ! "$1" compile -o "$3/program.gwa" "$2" 2>"$4" && grep -q "No space left on device" "$4" && [ -z "$(ls "$3")" ]
  ' sh "$program" "$examples/sieve.wasm" "$work/small" "$work/out"
  check 'full disk: a cache that is full is no reason not to run' unshare -m sh -c '
    mount -t tmpfs -o size=16k none "$3" && "$1" run --tier fast --cache "$3/cache" --invoke f "$2" && head -c 99999 /dev/zero >"$3/fill" 2>/dev/null
    "$1" run --tier fast --cache "$3/cache" "$4" </dev/null >/dev/null && "$1" cache --cache "$3/cache" | grep -q "1 artifacts"
  ' sh "$program" "$work/small.wasm" "$work/small" "$examples/wordcount.wasm"
else
  echo 'skip full disk: mount namespaces are not allowed here, so no disk was filled'
  skipped=$((skipped + 1))
fi
