#!/bin/bash
# The Debian package: lintian has nothing to say, systemd understands the unit, and what is in it serves a function.
#   package.sh ROOT BUILD_DIR
set -u
root=$1 build=$2
dir=$(mktemp -d)
server=''
passed=0 failed=0
trap '[[ $server ]] && kill $server 2>/dev/null; rm -rf "$dir"' EXIT
check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@" >"$dir/out" 2>&1; then passed=$((passed + 1)); else echo "FAIL $what: $(<"$dir/out")"; failed=$((failed + 1)); fi
}
for tool in dpkg-buildpackage dh fakeroot; do command -v $tool >/dev/null || { echo "there is no $tool (./dev package installs it)"; exit 77; }; done

check "the package is made" "$root/cli/package/package.sh" "$root" "$build" "$dir"
package=$(ls "$dir"/gasworks_*.deb)
if grep -q '^GASWORKS_SANITIZE:STRING=.' "$build/CMakeCache.txt"; then
  echo "skipped: lintian, which a build with sanitizers is not for"
elif command -v lintian >/dev/null; then
  check "lintian is content" lintian --allow-root --fail-on warning "$package"
else
  echo "skipped: lintian is not installed"
fi
dpkg -x "$package" "$dir/root"
check "its access log is rotated" test -f "$dir/root/etc/logrotate.d/gasworks"
program=$dir/root/usr/bin/gasworks
etc=$dir/root/etc/gasworks/gasworks.yaml

if command -v systemd-analyze >/dev/null; then
  # Units of the system are not in this root, nor are the pages and programs that it names elsewhere.
  complaints() { ! systemd-analyze verify --root="$dir/root" gasworks.service 2>&1 | grep -v 'sysinit.target not found\|Command .man\|/bin/kill is not'; }
  check "systemd understands the unit" complaints
  check "systemd finds it safe" systemd-analyze security --offline=true --root="$dir/root" --threshold=20 gasworks.service
else
  echo "skipped: systemd-analyze is not installed"
fi

check "the file for /etc is right" "$program" serve --check --config "$etc"
"$program" help | sed -n 's/^  \([a-z]*\) .*/\1/p' | grep -vx help >"$dir/verbs"
pages() { local verb; while read -r verb; do [[ -s $dir/root/usr/share/man/man1/gasworks-$verb.1.gz ]] || { echo "$verb"; return 1; }; done <"$dir/verbs"; }
check "each verb has a page" pages
check "completion is there" bash -c ". '$dir/root/usr/share/bash-completion/completions/gasworks' && complete -p gasworks"

# As the unit starts it, but for the user and the places.
PATH=$dir/root/usr/bin:$PATH gasworks serve --config "$etc" --listen 127.0.0.1:0 --data "$dir/data" 2>"$dir/log" &
server=$!
until url=$(sed -n 's/.*serving on //p' "$dir/log") && [[ $url ]]; do
  kill -0 $server 2>/dev/null || { cat "$dir/log"; exit 1; }
  sleep 0.05
done
export GASWORKS_SERVER=$url GASWORKS_DATA=$dir/data
printf '(module (import "gasworks" "reply" (func $reply (param i32 i32))) (memory (export "memory") 1)
  (data (i32.const 0) "hello") (func (export "handle") (call $reply (i32.const 0) (i32.const 5))))' >"$dir/hello.wat"
if command -v wat2wasm >/dev/null && wat2wasm "$dir/hello.wat" -o "$dir/hello.wasm"; then
  compiles() { "$program" deploy --wait --json hello "$dir/hello.wasm" | tee /dev/stderr | grep -q '"tier":.*"fast"'; }
  check "it compiles with its own compiler" compiles
  check "it answers" bash -c "[[ \$(curl -sS '$url/f/hello') == hello ]]"
else
  echo "skipped: a function, which wants wat2wasm"
fi
check "it reloads" kill -HUP $server
check "it ends" bash -c "sleep 0.5; kill -TERM $server; while kill -0 $server 2>/dev/null; do sleep 0.1; done"
server=''
check "it has reloaded" grep -q 'is taken' "$dir/log"
echo "$passed passed, $failed failed"
((failed == 0 && passed > 5))
