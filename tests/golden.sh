#!/bin/bash
# What the command line prints, against tests/golden/*.txt. Each of them is a list of commands and their output:
#   $ gasworks inspect --gas sum.wasm
#   ... standard output and error
#   exit 3          where it is not 0
# NAME.wasm comes from golden/modules/NAME.wat or NAME.hex (bytes and # comments); every.wasm from golden/every.js.
#   golden.sh PROGRAM [NAME...]            compares; exit code 77: a tool was not there, and nothing else failed
#   golden.sh PROGRAM --update [NAME...]   writes what is printed now into the files: look at the difference before you commit it
set -u -o pipefail
here=$(dirname "$(readlink -f "$0")")
program=$(readlink -f "${1:?usage: golden.sh PROGRAM [--update] [NAME...]}")
shift
[[ -f $program && -x $program ]] || { echo "golden.sh: no program $program"; exit 1; }
is_update=
if [[ ${1:-} == --update ]]; then is_update=1 && shift; fi
work=$(mktemp -d /tmp/gasworks-golden-XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir "$work/modules" "$work/new"
export GASWORKS_CACHE=off LC_ALL=C COLUMNS=100
gasworks() { "$program" "$@"; }

passed=0 failed=0 skipped=0
skip() {
  echo "SKIPPED $1"
  skipped=$((skipped + 1))
}

# --- modules -------------------------------------------------------------------------------------------------------

write_bytes() { # FILE.hex OUT
  local byte escaped=
  # shellcheck disable=SC2013 # words are what is wanted
  for byte in $(sed 's/#.*//' "$1"); do escaped+="\\x$byte"; done
  printf '%b' "$escaped" >"$2"
}

assemble() { # FILE.wat OUT; ours is the judge of what is valid
  wat2wasm --no-check --debug-names --enable-tail-call "$1" -o "$2" || { echo "FAIL wat2wasm $1"; failed=$((failed + 1)); }
}

make_modules() {
  local file name has_wat=
  command -v wat2wasm >/dev/null && has_wat=1
  [[ $has_wat ]] || skip "modules in text: wat2wasm is not installed"
  for file in "$here"/golden/modules/*; do
    name=$(basename "${file%.*}")
    case $file in
      *.hex) write_bytes "$file" "$work/modules/$name.wasm" ;;
      *.wat) [[ $has_wat ]] && assemble "$file" "$work/modules/$name.wasm" ;;
    esac
  done
  if ! command -v node >/dev/null; then
    skip "every instruction: node is not installed"
  elif ! node "$here/golden/every.js" "$here/.." "$work/modules/every.wasm"; then
    echo "FAIL golden/every.js"
    failed=$((failed + 1))
  fi
}

# --- commands ------------------------------------------------------------------------------------------------------

# Whether the modules that a command names could be made.
has_modules() {
  local word source
  for word in $1; do
    source=$here/golden/modules/${word%.wasm}
    [[ $word == *.wasm ]] || continue
    [[ -e $source.wat || -e $source.hex || $word == every.wasm ]] || continue # one that shall be missing
    [[ -e $work/modules/$word ]] || return 1
  done
}

run_command() { # what a golden file says of it
  local code
  echo "\$ $1"
  (cd "$work/modules" && eval "$1" 2>&1 </dev/null)
  code=$?
  ((code == 0)) || echo "exit $code"
  echo
}

run_file() { # FILE OUT; false: a module of it could not be made
  local line
  while IFS= read -r line; do
    [[ $line == '$ '* ]] || continue
    has_modules "$line" || return 1
    run_command "${line:2}"
  done <"$1" >"$2"
}

check_file() {
  local file=$1 name new
  name=$(basename "$file" .txt) new=$work/new/$(basename "$file")
  run_file "$file" "$new" || { skip "$name: a module is missing"; return; }
  if [[ $is_update ]]; then
    cmp -s "$new" "$file" || { cp "$new" "$file" && echo "updated $name"; }
  elif ! diff -u --label "$name, expected" --label "$name, now" "$file" "$new"; then
    echo "FAIL $name (is it meant to be so? $0 $program --update $name)"
    failed=$((failed + 1))
    return
  fi
  passed=$((passed + 1))
}

make_modules
if (($# == 0)); then
  for file in "$here"/golden/*.txt; do check_file "$file"; done
else
  for name in "$@"; do check_file "$here/golden/$name.txt"; done
fi
echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0)) || exit 1
((skipped == 0)) || exit 77
((passed > 0))
