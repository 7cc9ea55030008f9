#!/bin/bash
# Functions as tools, called by the protocol's official client, or skips (77) where npm's packages are missing: mcp.sh GASWORKS
set -u
here=$(dirname "$(readlink -f "$0")")
program=$(readlink -f "${1:?usage: mcp.sh GASWORKS}")
modules=${GASWORKS_TOOLS:-$here/../build/tools}/tests/node_modules
examples=$here/../build/examples
if [[ ! -d $modules/@modelcontextprotocol/sdk ]]; then
  echo "skipped: no @modelcontextprotocol/sdk in $modules (./dev test installs it)"
  exit 77
fi
for tool in node wat2wasm; do
  command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
"$here/../examples/build" "$examples" >&2
[[ -e $examples/factors.wasm ]] || { echo "skipped: the example factors is not built here"; exit 77; }
work=$(mktemp -d)
server=''
trap '[[ -n $server ]] && kill -9 "$server" 2>/dev/null; rm -rf "$work"' EXIT
"$program" serve --listen 127.0.0.1:0 --data "$work/data" --workers 1 --drain 0 2>"$work/log" &
server=$!
for ((i = 0; i < 200; i++)); do
  base=$(sed -nE 's/.*serving on (http:[^ ]+).*/\1/p' "$work/log" | head -n 1)
  [[ -n $base ]] && break
  sleep 0.05
done
[[ -n $base ]] || { cat "$work/log"; exit 1; }
node --no-warnings "$here/mcp.mjs" "$modules" "$base" "$(<"$work/data/admin-token")" "$examples/factors.wasm"
status=$?
kill -TERM "$server"
wait "$server" || { status=1; tail -n 40 "$work/log"; } # sanitizers report through it
server=''
exit $status
