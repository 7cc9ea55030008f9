#!/bin/bash
# A function from nothing: gasworks init, dev and top.
#   develop.sh GASWORKS ROOT
set -u
program=$1 root=$2
dir=$(mktemp -d)
export GASWORKS_CACHE=$dir/cache # whoever runs this may have no home, and tests have none
server='' dev=''
passed=0 failed=0
trap '[[ $dev ]] && kill $dev 2>/dev/null; [[ $server ]] && kill $server 2>/dev/null; rm -rf "$dir"' EXIT
check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@" >"$dir/out" 2>&1; then passed=$((passed + 1)); else echo "FAIL $what: $(<"$dir/out")"; failed=$((failed + 1)); fi
}
fails() { # CODE WORDS COMMAND...
  local code=0 expected=$1 words=$2
  shift 2
  "$@" >"$dir/err" 2>&1 || code=$?
  cat "$dir/err"
  echo "code $code"
  [[ $code == "$expected" ]] && grep -qF -- "$words" "$dir/err"
}
until_true() { # COMMAND...: within ten seconds
  local i
  for ((i = 0; i < 200; i++)); do "$@" && return 0; sleep 0.05; done
  cat "$dir/dev.log"
  return 1
}
# What examples/build says that a language lacks here.
clang=${CLANG:-clang-22} rustc=${RUSTC:-/usr/bin/rustc} asc=${ASC:-$root/build/tools/node_modules/.bin/asc}
eval "$(sed -n '/^lacks()/,/^}/p' "$root/examples/build")"
export ASC=$asc
cd "$dir" || exit 1

"$program" serve --listen 127.0.0.1:0 --data "$dir/gasworks-data" --workers 1 2>"$dir/log" &
server=$!
until url=$(sed -n 's/.*serving on //p' "$dir/log") && [[ $url ]]; do
  kill -0 $server 2>/dev/null || { cat "$dir/log"; exit 1; }
  sleep 0.05
done
export GASWORKS_SERVER=$url

# --- init ------------------------------------------------------------------------------------------------------------

check "no such language" fails 2 "--lang wants" "$program" init mine --lang cobol
check "no name" fails 2 "no name for a function" "$program" init Mine
check "no way out" fails 2 "no name for a function" "$program" init ../mine
mkdir there
check "nothing is written over" fails 7 "cannot make the folder there: File exists" "$program" init there
check "as JSON" bash -c "'$program' init as-json --json | tr -d ' \n\t' | grep -q '^{\"name\":\"as-json\",\"directory\":\"as-json\",\"files\":\[\"as-json/'"
for language in c rust assemblyscript; do
  case $language in c) how=c-handler ;; rust) how=rust-handler ;; *) how=asc-handler ;; esac
  check "init in $language" "$program" init "in-$language" --lang $language
  check "no mark is left" bash -c "! grep -r '@NAME@' 'in-$language' && ! find 'in-$language' | grep '@'"
  missing=$(lacks $how)
  [[ $missing ]] && { echo "skipped: $language: $missing"; continue; }
  check "$language builds, and says nothing" bash -c "'in-$language/build' >said 2>&1; cat said; [[ ! -s said && -s 'in-$language/in-$language.wasm' ]]"
  check "$language is deployed" "$program" dev --once "in-$language"
  check "$language answers" bash -c "[[ \$(curl -sS '$url/f/in-$language?name=you'; curl -sS '$url/f/in-$language') == \$'hello, you: visit 1\nhello, world: visit 2' ]]"
done

# --- dev -------------------------------------------------------------------------------------------------------------

check "no project" fails 7 "cannot open there/function.yaml" "$program" dev there
mkfifo there/function.yaml
check "a pipe instead of one" fails 7 "there/function.yaml is no plain file" timeout 10 "$program" dev there
rm there/function.yaml
printf 'name: x\nbiuld: make\n' >there/function.yaml
check "a wrong key" fails 2 "there/function.yaml:2:1: biuld is not known; there are name, build and module" "$program" dev there
printf '"\\e[31mX": 1\n' >there/function.yaml
check "a key that would colour the terminal" fails 2 "there/function.yaml:1:1: ?[31mX is not known" "$program" dev there
printf 'name: \033[31m\n' >there/function.yaml
check "a byte that has no line" fails 2 "there/function.yaml: control characters are not allowed" "$program" dev there
printf 'name: x\nbuild: make\n' >there/function.yaml
check "a missing key" fails 2 "wants name, build and module" "$program" dev there

# A build that needs no compiler: the module's text is a file.
if command -v wat2wasm >/dev/null; then
  mkdir -p watched/src
  say() { # TEXT: a function that logs and replies it
    printf '(module (import "gasworks" "reply" (func $reply (param i32 i32))) (import "gasworks" "log" (func $log (param i32 i32)))
      (memory (export "memory") 1) (data (i32.const 0) "%s") (func (export "handle") (call $log (i32.const 0) (i32.const %d))
      (call $reply (i32.const 0) (i32.const %d))))' "$1" ${#1} ${#1} >"$dir/watched/src/new.wat" && mv "$dir/watched/src/new.wat" "$dir/watched/src/main.wat"
  }
  printf 'name: watched\nbuild: echo built >>../builds; date +%%N >output; wat2wasm src/main.wat -o out.wasm\nmodule: out.wasm\n' >watched/function.yaml
  say one
  "$program" dev watched >"$dir/dev.log" 2>&1 &
  dev=$!
  answers() { [[ $(curl -sS "$url/f/watched") == "$1" ]]; }
  check "dev deploys" until_true answers one
  check "and shows the log" until_true bash -c "curl -s '$url/f/watched' >/dev/null; grep -q ' one\$' '$dir/dev.log'"
  sleep 0.5
  check "a build that writes into its folder ends" bash -c "(( \$(wc -l <builds) <= 2 ))"
  say two
  check "a change is deployed" until_true answers two
  mkdir -p watched/src/inner
  say three
  check "another one, too" until_true answers three
  echo '(module' >watched/src/main.wat
  check "a build that fails is told" until_true grep -q 'the build ended with 1' "$dir/dev.log"
  check "and changes nothing" answers three
  say four
  check "and the next one works" until_true answers four
  sed -i 's/: watched/: elsewhere/' watched/function.yaml
  check "the project may change" until_true bash -c "[[ \$(curl -s '$url/f/elsewhere') == four ]]"
  check "the log is that one's" until_true bash -c "curl -s '$url/f/elsewhere' >/dev/null; tail -n 1 '$dir/dev.log' | grep -q ' v1 four\$'"
  kill -INT $dev
  wait $dev
  check "dev ends" test $? = 0
  dev=''
  check "once says how it ended" fails 1 "the build ended with 1" bash -c "echo '(' >watched/src/main.wat; '$program' dev --once watched"
  say five
  check "deployments as JSON" bash -c "'$program' dev --once --json watched | grep -q '\"version\"'"
else
  echo "skipped: dev, which wants wat2wasm"
fi

# --- top -------------------------------------------------------------------------------------------------------------

check "a wrong interval" fails 2 "--interval wants" "$program" top --interval 0
check "a wrong order" fails 2 "--sort wants" "$program" top --sort size
check "no server" fails 9 "no answer from" "$program" top -s http://127.0.0.1:1
if command -v wat2wasm >/dev/null; then
  (while curl -sS "$url/f/elsewhere" >/dev/null; do sleep 0.01; done) &
  load=$!
  check "one table" bash -c "'$program' top --interval 1 | grep -qE '^elsewhere +[0-9]+ +[1-9][0-9.]* '"
  check "JSON" bash -c "'$program' top --json --interval 1 | grep -q '\"p99_us\"'"
  command -v script >/dev/null && check "a terminal, until q" bash -c "(sleep 2.5; printf q) | script -qec '$program top --interval 1' /dev/null | grep -q 'q ends it'"
  # What is drawn on a terminal of so many rows and columns fits, and no row is too long for it.
  fits() { # ROWS COLUMNS
    (sleep 2.5; printf q) | script -qec "stty rows $1 cols $2; '$program' top --interval 1" /dev/null >"$dir/screen"
    sed 's/.*\x1b\[H//' "$dir/screen" | sed 's/\x1b\[[?0-9]*[a-zA-Z]//g; s/\r//g' >"$dir/drawn"
    awk -v rows="$1" -v columns="$2" '/q ends it/ { n = 0 } { if (++n >= rows && NF) bad = bad "row " n; if (/^elsewhere/ && length > columns) bad = bad $0 }
      END { print bad; exit bad != "" }' "$dir/drawn"
  }
  if command -v script >/dev/null; then
    check "a terminal of 80 columns" fits 24 80
    check "one of two rows" fits 2 80
    check "a large one" fits 300 500
    check "long lines are cut, and no longer afterwards" bash -c "grep -q '\\[?7l' '$dir/screen' && grep -q '\\[?7h' '$dir/screen'"
  fi
  kill $load
fi

# --- output that cannot be written ------------------------------------------------------------------------------------

printf '(module (func (export "f") (result i32) i32.const 7))' >seven.wat
for verb in 'version' 'help' 'init --help' 'schedule' 'list' 'list --json' 'usage --csv' 'tokens' 'tenants' 'logs elsewhere' 'top --once --interval 1' \
  'receipts keys' 'versions in-c' 'config in-c' 'cache' 'serve --check'; do
  read -ra words <<<"$verb"
  [[ $verb == *in-c && ! -e in-c/in-c.wasm ]] && continue
  [[ $verb == *elsewhere ]] && ! command -v wat2wasm >/dev/null && continue
  code=0
  "$program" "${words[@]}" >/dev/full 2>"$dir/err" || code=$?
  check "$verb to a full disk" bash -c "cat '$dir/err'; echo 'code $code'; [[ $code == 7 ]] && grep -q 'cannot write to standard output' '$dir/err'"
  code=0
  "$program" "${words[@]}" >&- 2>"$dir/err" || code=$?
  check "$verb without standard output" bash -c "cat '$dir/err'; echo 'code $code'; [[ $code == 7 ]] && grep -q 'cannot write to standard output' '$dir/err'"
done
if command -v wat2wasm >/dev/null; then
  wat2wasm seven.wat -o seven.wasm
  for tier in auto fast; do
    check "run's results to a full disk ($tier)" fails 7 "cannot write to standard output" bash -c "'$program' run --tier $tier --invoke f seven.wasm >/dev/full"
  done
fi

echo "$passed passed, $failed failed"
((failed == 0 && passed > 15))
