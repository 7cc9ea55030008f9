# Receipts, checked by another implementation of transparency logs: sigstore's, where ./dev has installed it.
tlog_tools=$root/build/tools/tlog
if [[ -d $tlog_tools/node_modules ]]; then
  start_server "$work/logged"
  export GASWORKS_SERVER=$base
  deploy_example hello
  curl -s -o /dev/null -H 'Host: gasworks.test' "$base/f/hello/[1-600]"
  "$program" receipts proof 599 >/dev/null # waits until a checkpoint has them all
  "$program" receipts keys >"$work/keys"
  "$program" receipts list hello --limit 100 --json >"$work/list"
  node "$root/tests/tlog/check.js" "$tlog_tools" "$work/keys" "$work/list" >"$work/body" 2>"$work/errors"
  status=$?
  check 'sigstore finds the newest receipts in the log, and takes none that was changed' eval 'answers 0 && body_has "100 receipts"'
  curl -s -H 'Host: gasworks.test' -H "Authorization: Bearer $GASWORKS_TOKEN" -X POST -o /dev/null "$base/v1/log/rotate"
  "$program" receipts keys >"$work/keys"
  for index in 0 1 255 256 511 512; do "$program" receipts get "$index" --json >"$work/receipt$index"; done
  node -e 'const fs = require("fs"); console.log(JSON.stringify({receipts: process.argv.slice(1).map((file) => JSON.parse(fs.readFileSync(file)))}))' -- \
    "$work"/receipt[0-9]* >"$work/list"
  node "$root/tests/tlog/check.js" "$tlog_tools" "$work/keys" "$work/list" >"$work/body" 2>"$work/errors"
  status=$?
  check 'old ones, too, and with another key' eval 'answers 0 && body_has "6 receipts"'
  unset GASWORKS_SERVER
  stop_server
else
  echo 'skip receipts and sigstore: its packages are not here (./dev setup)'
  skipped=$((skipped + 1))
fi
