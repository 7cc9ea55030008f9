#!/bin/bash
# Types the lines of docs/quickstart.md, and compares what they print with what stands there.
#   quickstart.sh GASWORKS ROOT
set -u
program=$(readlink -f "$1") root=$2
dir=$(mktemp -d)
trap 'jobs -p | xargs -r kill 2>/dev/null; rm -rf "$dir"' EXIT
rustc=${RUSTC:-/usr/bin/rustc}
eval "$(sed -n '/^lacks()/,/^}/p' "$root/examples/build")"
missing=$(lacks rust-handler)
[[ $missing ]] && { echo "$missing"; exit 77; }
command -v curl >/dev/null || { echo "no curl"; exit 77; }

export HOME=$dir
unset GASWORKS_TOKEN GASWORKS_DATA GASWORKS_TENANT GASWORKS_SERVER
# Port 8080 may be another's.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export GASWORKS_SERVER=http://127.0.0.1:$port
curl() { command curl -sS "$@"; } # as on a terminal: no progress
cd "$root" || exit 1
passed=0 failed=0 begun=$SECONDS

# Each line of what is expected is a pattern, in which ... is anything, also several lines where it ends one.
is_as_told() { # EXPECTED GOT
  local pattern
  pattern=$(sed 's/[][*?\\]/\\&/g; s/\.\.\./*/g' <<<"$1")
  # shellcheck disable=SC2053
  [[ $2 == $pattern ]]
}

type_line() { # COMMAND EXPECTED
  local command=$1 got
  command=${command//127.0.0.1:8080/127.0.0.1:$port}
  case $command in
    './dev build') return ;;
    'export PATH'*) command="export PATH=$(dirname "$program"):\$PATH" ;;
    'gasworks serve'*) command="gasworks serve --listen 127.0.0.1:$port ${command#gasworks serve}" ;;
  esac
  eval "$command" >"$dir/out" 2>&1 </dev/null
  if [[ $command == *'&' ]]; then
    for ((i = 0; i < 200; i++)); do command curl -s -o /dev/null "http://127.0.0.1:$port/healthz" && break; sleep 0.05; done
  fi
  got=$(<"$dir/out")
  got=${got//127.0.0.1:$port/127.0.0.1:8080}
  if is_as_told "$2" "$got"; then passed=$((passed + 1)); return; fi
  failed=$((failed + 1))
  printf 'FAIL $ %s\n%s\n--- and not\n%s\n' "$1" "$got" "$2"
}

is_as_told 'a ... c' 'a b c' && ! is_as_told 'a ... c' 'a b d' && ! is_as_told 'a*' 'ab' || { echo "the comparison itself"; exit 1; }
command='' expected=''
while IFS= read -r line; do
  case $line in
    '$ '* | '```')
      [[ $command ]] && type_line "$command" "${expected%$'\n'}"
      command='' expected=''
      [[ $line == '$ '* ]] && command=${line#'$ '}
      ;;
    *) expected+=$line$'\n' ;;
  esac
  # The address that the last but one line prints opens a page.
  [[ $command == 'gasworks rollback greet' && ! ${page-} ]] && page=$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/ui/")
done < <(awk '/^```console$/ { on = 1; next } on { print } /^```$/ { on = 0 }' "$root/docs/quickstart.md")
[[ ${page-} == 200 ]] || { echo "FAIL the dashboard: ${page-}"; failed=$((failed + 1)); }
wait
echo "$passed passed, $failed failed, $((SECONDS - begun)) seconds behind the build"
((failed == 0 && passed > 12))
