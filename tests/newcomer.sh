#!/usr/bin/env bash
# newcomer.sh ROOT GASWORKS: examples are built with what is there, and what is not is skipped with a word; npm that is missing or
# fails stops nothing; the build lines of the documentation work, and print nothing.
set -euo pipefail
root=$1 gasworks=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "newcomer: $*" >&2; exit 1; }

# Without AssemblyScript, Rust, or clang.
ASC=$dir/none "$root/examples/build" "$dir/a" >"$dir/log" 2>&1 || fail "without asc: $(<"$dir/log")"
grep -q '^example json is skipped: no AssemblyScript compiler' "$dir/log" || fail "says nothing of asc"
[[ -e $dir/a/hello.wasm && ! -e $dir/a/json.wasm ]] || fail "built the wrong examples without asc"
ASC=$dir/none RUSTC=$dir/none CLANG=$dir/none "$root/examples/build" "$dir/b" >"$dir/log" 2>&1 || fail "without anything: $(<"$dir/log")"
[[ $(grep -c 'is skipped: no ' "$dir/log") == 12 ]] || fail "twelve examples should be skipped: $(<"$dir/log")"

# ./dev with an npm that fails, and with none: the functions of the script, in a copy of it that runs no verb.
mkdir "$dir/bin"
printf '#!/bin/sh\necho "certificate is not trusted" >&2\nexit 1\n' >"$dir/bin/npm"
chmod +x "$dir/bin/npm"
sed '/^verb=/,$d' "$root/dev" >"$dir/dev"
mkdir -p "$dir/examples/assemblyscript"
cp "$root"/examples/assemblyscript/package*.json "$dir/examples/assemblyscript/"
cat >>"$dir/dev" <<'END'
install_packages() { [[ $1 == clang-22 ]]; } # extras are not to be had
setup
echo served
END
PATH=$dir/bin:$PATH bash "$dir/dev" >"$dir/log" 2>&1 || fail "npm that fails stops setup: $(<"$dir/log")"
grep -q 'skipping the AssemblyScript compiler: npm could not install it' "$dir/log" || fail "$(<"$dir/log")"
grep -q '^served' "$dir/log" || fail "$(<"$dir/log")"
rm "$dir/bin/npm"
for tool in bash cat cmp cp dirname env mkdir node sed; do ln -s "$(command -v $tool || command -v true)" "$dir/bin/$tool"; done
PATH=$dir/bin bash "$dir/dev" >"$dir/log" 2>&1 || fail "no npm stops setup: $(<"$dir/log")"
grep -q 'skipping the AssemblyScript compiler: there is no npm' "$dir/log" || fail "$(<"$dir/log")"

# What ./dev test says of tests that were skipped: before ctest's summary, which stays last.
sed '/^verb=/,$d' "$root/dev" >"$dir/dev"
cat >"$dir/results.xml" <<'END'
	<testcase name="one" status="run">
		<system-out>skipped: a part &amp; another
ok
</system-out>
	</testcase>
	<testcase name="two" status="notrun">
		<skipped message="SKIP_RETURN_CODE=77"/>
		<system-out>no node here
</system-out>
	</testcase>
END
echo "printf 'ran\n100%% tests passed, 0 tests failed out of 2\n\nTotal\n' | with_skips $dir/results.xml" >>"$dir/dev"
bash "$dir/dev" >"$dir/log" 2>&1 || fail "with_skips: $(<"$dir/log")"
printf 'ran\nskipped in one: a part & another\nskipped: two: no node here\n100%% tests passed, 0 tests failed out of 2\n\nTotal\n' |
  cmp -s - "$dir/log" || fail "skipped tests are not told: $(<"$dir/log")"

# The build lines and the smallest functions of docs/interface.md: a warning, or anything else that is printed, makes one stumble.
doc=$root/docs/interface.md
mkdir "$dir/mine"
ln -s "$root/sdk" "$root/build" "$dir/mine/"
take() { awk -v fence="\`\`\`$1" '$0 == "```" { on = 0 } on { print } $0 == fence { on = 1 }' "$doc" >"$dir/mine/mine.$1"; }
take c && mv "$dir/mine/mine.c" "$dir/mine/handler.c"
take rust && mv "$dir/mine/mine.rust" "$dir/mine/handler.rs"
take ts && mv "$dir/mine/mine.ts" "$dir/mine/handler.ts"
printf '#include <stdio.h>\nint main(void) { puts("hello"); }\n' >"$dir/mine/command.c"
printf 'fn main() { println!("hello"); }\n' >"$dir/mine/command.rs"

# build_line LANGUAGE COLUMN: what the table has between backquotes.
build_line() { awk -F '`' -v row="| $1 |" -v n=$((2 * $2)) 'index($0, row) == 1 { print $n }' "$doc"; }
# What a tool lacks on this machine, as examples/build has it.
eval "$(sed -n '/^clang=/p; /^rustc=/p; /^asc=/p; /^lacks()/,/^}/p' "$root/examples/build")"
# try HOW NAME.EXTENSION LINE: in place of mine.c and the like; the function says "hello".
try() {
  local how=$1 file=$2 line=${3//mine./${2%.*}.} missing
  [[ -n $line && -s $dir/mine/$file ]] || fail "docs/interface.md has no $file"
  missing=$(lacks "$how")
  [[ -z $missing ]] || { echo "skipped: docs/interface.md's $file: $missing"; return 0; }
  (cd "$dir/mine" && eval "$line") >"$dir/log" 2>&1 || fail "$line: $(<"$dir/log")"
  [[ ! -s $dir/log ]] || fail "$line says: $(<"$dir/log")"
  [[ $(GASWORKS_CACHE=off "$gasworks" run "$dir/mine/${file%.*}.wasm" 2>&1) == hello ]] || fail "$file does not say hello"
}
c=$(build_line C 1)
try c-handler handler.c "$c"
try c-command command.c "${c/-nostartfiles -Wl,--no-entry /}"
try rust-handler handler.rs "$(build_line Rust 1)"
try rust-command command.rs "$(build_line Rust 2)"
try asc-handler handler.ts "$(build_line AssemblyScript 1)"
