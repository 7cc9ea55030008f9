# Versions and aliases, as somebody uses them on the command line.
start_server "$work/versions"
export GASWORKS_SERVER=$base
use() { "$program" "$@" >"$work/body" 2>&1; status=$?; }

letter() { # letter FILE TEXT: a function that replies the text
  printf '(module (import "gasworks" "reply" (func $r (param i32 i32))) (memory (export "memory") 1) (data (i32.const 16) "%s")
    (func (export "handle") (call $r (i32.const 16) (i32.const %d))))' "$2" "${#2}" >"$work/letter.wat"
  wat2wasm "$work/letter.wat" -o "$1"
}
letter "$work/one.wasm" one
letter "$work/two.wasm" second
letter "$work/three.wasm" three

use deploy v "$work/one.wasm"
check 'a first version' answers 0
use deploy v "$work/two.wasm"
check 'a second one says what it changed' body_has 'against version 1: +3 bytes'
use deploy v "$work/three.wasm" --alias beta
check 'a third one for some' answers 0
use versions v
check 'the list' eval 'grep -qE "^ +2 .* live$" "$work/body" && grep -qE "^ +3 .* beta$" "$work/body" && grep -qE "^ +1 .* -$" "$work/body"'
use versions v --json
check 'as JSON' node -e '
  const { versions, aliases } = JSON.parse(fs.readFileSync(process.argv[1]));
  process.exit(versions.map((v) => v.version).join() === "3,2,1" && aliases[0].alias === "live" ? 0 : 1)' "$work/body"
use invoke v
check 'callers of the name stay where they are' body_has second
use invoke v@beta
check 'those of the alias get the new one' body_has three
use invoke v@1
check 'who has a token may call any version' body_has one
GASWORKS_TOKEN= use invoke v@1
check 'to others there is none' answers 8
use rollback v
check 'going back' body_has 'v@live: version 1'
use invoke v
check 'works at once' body_has one
use rollback v 3
check 'or to any version' answers 0
use rollback v 9
check 'that is there' body_has 'function v has no version 9'
use alias v live 2 --canary 3 --percent 12.5
check 'a canary' body_has 'v@live: version 2, 12.5% of the calls version 3'
use versions v
check 'is shown' eval 'grep -qE "^ +3 .* live 12.5%, beta$" "$work/body"'
use alias v live 2 --canary 3
check 'wants a part of the calls' answers 2
use alias v live x
check 'a version is a number' answers 2
use delete v@3
check 'what is needed stays' body_has 'an alias of function v leads to version 3'
use alias v live 2
use delete v@beta
check 'an alias goes' answers 0
use delete v@3
check 'and then its version' answers 0
use config v --env PLACE=here --gas-limit 1M --header 'X-Place: here'
check 'settings' body_has 'PLACE=here'
printf 'hush\n' | use secrets v set KEY
check 'a secret, by its name' eval '[[ $(<"$work/body") == KEY ]]'
use config v
check 'is shown to nobody' eval 'body_has KEY && ! body_has hush && ! grep -rq hush "$work/versions"'
request GET /f/v
check 'a header of all replies' header_is X-Place here
use secrets v unset KEY
use config v --unset PLACE --gas-limit 0
check 'all of it goes again' eval '! body_has PLACE && ! body_has KEY && ! body_has gas_limit'
use config v --env PLACE
check 'a variable has a value' answers 2
request GET "/f/v"
use logs v
check 'nothing was logged' eval '[[ ! -s $work/body ]]'
printf '(module (func (export "handle") unreachable))' >"$work/trap.wat"
wat2wasm "$work/trap.wat" -o "$work/trap.wasm"
use deploy v "$work/trap.wasm" --alias broken
request GET "/f/v@broken"
use logs v
check 'a trap, with its version' eval 'grep -qE "^[^ ]+Z [0-9]+-[0-9]+ v[0-9]+ trap: unreachable" "$work/body"'
check 'and the failure' body_has ' 500 '
(timeout 10 "$program" logs v -f -n 1 >"$work/followed" 2>&1; true) &
sleep 1
request GET "/f/v@broken"
for ((tries = 0; tries < 50; tries++)); do [[ $(grep -c ' 500 ' "$work/followed") -ge 2 ]] && break; sleep 0.1; done
check 'whoever follows sees the next one' eval '[[ $(grep -c " 500 " "$work/followed") -ge 2 ]]'
use delete v@broken
use delete v@1 --state
check 'the state is the function'"'"'s' answers 2
stop_server
check 'a clean end' test "$stop_status" = 0
start_server "$work/versions"
GASWORKS_SERVER=$base use invoke v
check 'all of it survives a restart' body_has second
stop_server
unset GASWORKS_SERVER
