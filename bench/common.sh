# shellcheck shell=bash disable=SC2154
# What the benches of the server share; to be sourced, with `program` set.
work=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# start_gasworks LOG OPTION...: a server with one event loop, on core 0. It says where it listens: sets `address`, and `pid`.
start_gasworks() {
  local log=$1
  shift
  taskset -c 0 "$program" serve --listen 127.0.0.1:0 --insecure --workers 1 "$@" 2>"$log" &
  pid=$!
  pids+=("$pid")
  for _ in $(seq 100); do
    address=$(sed -nE 's/.*serving on (http:[^ ]+).*/\1/p' "$log" | head -n 1)
    [[ -n $address ]] && return
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
  done
  echo "bench: no server: $(cat "$log")" >&2
  exit 1
}
