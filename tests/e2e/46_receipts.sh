# Receipts, as somebody uses them on the command line.
start_server "$work/receipted"
export GASWORKS_SERVER=$base
deploy_example counter-c
deploy_example hello
cli() { "$program" "$@" >"$work/body" 2>"$work/errors"; status=$?; }
says() { grep -qF -- "$1" "$work/errors"; }

# one_byte FILE AT [BYTE]: the file with another byte there, in $work/changed: that one, or the next one where that is there.
one_byte() {
  node -e 'const fs = require("fs"), [file, at, out, byte] = process.argv.slice(1), b = fs.readFileSync(file);
    const i = at < 0 ? b.length + Number(at) : Number(at);
    b[i] = byte === "" ? b[i] ^ 1 : b[i] === Number(byte) ? Number(byte) + 1 : Number(byte); fs.writeFileSync(out, b)' -- "$1" "$2" "$work/changed" "${3:-}"
}

cli invoke -v counter-c --path /a
check 'invoke -v names the receipt' eval '[[ $(<"$work/errors") =~ receipt\ ([0-9a-f]{16}/[0-9]+/[0-9a-f]{64}) ]]'
id=${BASH_REMATCH[1]}
for n in 1 2 3; do "$program" invoke counter-c --path /b -d x >/dev/null; "$program" invoke hello >/dev/null; done
cli invoke counter-c --path /a
check 'but not without -v' eval '! says receipt'
cli receipts list counter-c
check 'the newest receipts of a function' test "$(grep -c ' replied .* 200 ' "$work/body")" = 5
cli receipts list counter-c --limit 2
check 'so many' test "$(wc -l <"$work/body")" = 3
cli receipts list counter-c --limit 0
check 'one at least' answers 2
cli receipts list nobody
check 'of a function that has none' says 'no function of this name has a receipt (HTTP 404)'
cli receipts get "$id"
check 'one of them' eval 'body_has "receipt      $id" && body_has "function     counter-c" && body_has "outcome      replied"'
cli receipts get "0000000000000000/${id#*/}"
check 'which must be of this log' says 'not that of the receipt'
cli receipts get "${id%/*}"
check 'an ID has three parts, or one' answers 2
"$program" receipts keys >"$work/keys"
"$program" receipts leaf "$id" >"$work/leaf"
"$program" receipts proof "$id" >"$work/proof"
"$program" receipts checkpoint >"$work/first"
cli invoke -v hello
"$program" receipts proof "$(sed -n 's/^receipt //p' "$work/errors")" >/dev/null # waits until a checkpoint has more leaves than the first
check 'a proof is that of tlog-proof' test "$(head -n 1 "$work/proof")" = c2sp.org/tlog-proof@v1
check 'a key is that of signed notes' grep -qE '^[^ +]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}$' "$work/keys"

# --- online
"$program" schedule --text >"$work/schedule"
sed '0,/ [0-9][0-9]* /s// 77 /' "$work/schedule" >"$work/cheaper"
cli verify "$id"
check 'somebody must be believed' eval 'answers 2 && says "whose word counts?"'
cli verify "$id" --key "@$work/keys"
check 'a receipt of the server holds' eval 'answers 0 && body_has "function counter-c, replied, status 200" && body_has "all holds"'
cli verify "$id" --key "$(<"$work/keys")" --json
check 'also as JSON' eval 'answers 0 && body_has "\"holds\":"'
cli verify "$id" --pin "$work/pin"
check 'a pin is made once' eval 'answers 0 && body_has "believed this first time" && cmp -s "$work/pin" "$work/keys"'
cli verify "$id" --pin "$work/pin"
check 'and believed from then on' eval 'answers 0 && ! body_has believed'
cli verify "${id%/*}/$(printf '0%.0s' {1..64})" --key "@$work/keys"
check 'a receipt of another leaf' eval 'answers 3 && says "the leaf is not the one that the receipt names"'
cli verify --chain counter-c --key "@$work/keys"
check 'a chain' eval 'answers 0 && body_has "the chain of counter-c is unbroken: 5 leaves, from" && body_has "its first"'
cli verify "$id" --key "@$work/keys" --schedule "$work/schedule"
check 'what ran was priced by the schedule' eval 'answers 0 && body_has "1 of them ran, each priced by version"'
cli verify "$id" --key "@$work/keys" --schedule "$work/cheaper"
check 'another schedule' eval 'answers 3 && says "was priced by another schedule than that of $work/cheaper"'
gas=$("$program" receipts get "$id" --json | node -e 'const f = JSON.parse(require("fs").readFileSync(0)).fields;
  console.log(["compute", "host", "bytes", "storage"].reduce((sum, kind) => sum + (f["gas_" + kind] || 0), 0))')
cli verify "$id" --key "@$work/keys" --gas "$gas"
check 'its gas is that of the reply' eval 'answers 0 && body_has "its gas is that of the reply, $gas"'
cli verify "$id" --key "@$work/keys" --gas $((gas + 1))
check 'another gas' eval 'answers 3 && says "says $gas gas, and the reply said $((gas + 1))"'
cli verify "$id" --key "@$work/keys" --gas -1
check 'gas that is no number' answers 2
cli verify --chain counter-c --key "@$work/keys" --gas 1
check 'the gas of many' answers 2
cli verify --old "$work/first" --key "@$work/keys" --schedule "$work/schedule"
check 'the schedule of no receipt' answers 2
"$program" config counter-c --env WORD=hush >/dev/null
echo -n open-sesame | "$program" secrets counter-c set PASS >/dev/null
"$program" receipts settings counter-c@1 >"$work/settings1"
"$program" receipts settings counter-c >"$work/settings"
check 'settings say what is set' grep -q '^settings .*"WORD":"hush"' "$work/settings"
check 'and nothing of a secret but its name' eval 'grep -qE "^secret PASS [0-9a-f]{64}$" "$work/settings" && ! grep -q sesame "$work/settings"'
check 'each version has a salt of its own' eval '[[ $(grep ^salt "$work/settings") != $(grep ^salt "$work/settings1") ]]'
cli verify "$id" --key "@$work/keys" --settings "$work/settings1"
check 'what ran had the settings of its version' eval 'answers 0 && body_has "1 of them ran, each with the settings"'
cli verify "$id" --key "@$work/keys" --settings "$work/settings"
check 'and no others' eval 'answers 3 && says "ran with other settings"'
cli invoke -v counter-c --path /a
cli receipts get "$(sed -n 's/^receipt //p' "$work/errors")"
check 'the digest is that of the text' body_has "settings     $(sha256sum <"$work/settings" | cut -d' ' -f1)"
cli receipts settings counter-c@99
check 'a version that is not there' eval '! answers 0 && says "no such version"'
cli verify --old "$work/first" --key "@$work/keys"
check 'the log has only grown' eval 'answers 0 && body_has "nothing was changed"'

# --- offline
export GASWORKS_SERVER=http://127.0.0.1:1
cli verify "$id" --leaf "$work/leaf" --proof "$work/proof" --key "@$work/keys"
check 'no server is needed' eval 'answers 0 && body_has "all holds"'
# refused WHAT SENTENCE OPTION...: exit code 3, one sentence, nothing said to hold.
refused() {
  local what=$1 sentence=$2
  shift 2
  cli verify --key "@$work/keys" "$@"
  check "$what" eval 'answers 3 && says "$sentence" && ! body_has "all holds" && (($(wc -l <"$work/errors") == 1))'
}
size=$(stat -c %s "$work/leaf")
one_byte "$work/leaf" $((size / 2))
refused 'a changed leaf' 'the proof leads to another root' --leaf "$work/changed" --proof "$work/proof"
one_byte "$work/leaf" 0
refused 'a leaf that is none' 'this is no leaf of the log' --leaf "$work/changed" --proof "$work/proof"
one_byte "$work/proof" 40 65 # a letter of Base64, whatever is there
refused 'a changed proof' 'the proof leads to another root' --leaf "$work/leaf" --proof "$work/changed"
one_byte "$work/proof" 3
refused 'a proof that is none' 'this is no proof of a log' --leaf "$work/leaf" --proof "$work/changed"
one_byte "$work/proof" -20
refused 'a changed signature' 'the signature of ' --leaf "$work/leaf" --proof "$work/changed"
one_byte "$work/first" -20
refused 'a checkpoint with another signature' 'the signature of ' --checkpoint "$work/changed"
sed 2s/^/1/ "$work/first" >"$work/changed"
refused 'a checkpoint with another size' 'the signature of ' --checkpoint "$work/changed"
sed '1s/./x/' "$work/first" >"$work/changed"
refused 'a checkpoint of another log' 'which none of the keys is for' --checkpoint "$work/changed"
head -c 100 "$work/proof" >"$work/changed"
refused 'half a proof' 'this is no ' --leaf "$work/leaf" --proof "$work/changed"
head -c 50000 /dev/urandom >"$work/changed"
refused 'noise' 'this is no proof of a log' --leaf "$work/leaf" --proof "$work/changed"
refused 'what belongs elsewhere' 'this is no proof of a log' --leaf "$work/leaf" --proof "$work/first"
sed 's/^index .*/index 18446744073709551615/' "$work/proof" >"$work/changed"
refused 'an index that is not in the tree' 'the proof is of leaf 18446744073709551615, and the checkpoint has' --leaf "$work/leaf" --proof "$work/changed"
sed 's/^index .*/index 99999999999999999999/' "$work/proof" >"$work/changed"
refused 'an index that is no number' 'this is no proof of a log' --leaf "$work/leaf" --proof "$work/changed"
truncate -s 1G "$work/huge"
cli verify --leaf "$work/leaf" --proof "$work/huge" --key "@$work/keys"
check 'a huge file is not read' eval 'answers 9 && says "is larger than the limit"'
one_byte "$work/keys" -4
cli verify --leaf "$work/leaf" --proof "$work/proof" --key "@$work/changed"
check 'a changed key' eval 'answers 3 && says "this is no key of a log"'
cli verify --leaf "$work/leaf" --proof "$work/proof" --key 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'
check 'a key of somebody else' eval 'answers 3 && says "which none of the keys is for"'
cli verify --leaf "$work/leaf" --key "@$work/keys"
check 'a leaf without a proof' answers 2
cli verify --key "@$work/keys"
check 'nothing to verify' answers 2

# --- lists and copies of the log
export GASWORKS_SERVER=$base
"$program" receipts list counter-c --json >"$work/list"
"$program" receipts checkpoint >"$work/last"
leaves=$(sed -n 2p "$work/last")
mkdir -p "$work/copy/tile/0"
curl -s -H "Authorization: Bearer $GASWORKS_TOKEN" -o "$work/copy/tile/0/000.p" "$base/v1/log/tile/0/000.p/$leaves"
export GASWORKS_SERVER=http://127.0.0.1:1
cli verify --chain counter-c --receipts "$work/list" --key "@$work/keys"
check 'a chain from a file' eval 'answers 0 && body_has "is unbroken: 6 leaves"'
node -e 'const fs = require("fs"), l = JSON.parse(fs.readFileSync(process.argv[1])); l.receipts.splice(2, 1);
  fs.writeFileSync(process.argv[2], JSON.stringify(l))' -- "$work/list" "$work/changed"
refused 'a chain that lacks one' 'the chain is broken' --chain counter-c --receipts "$work/changed"
refused 'a chain of another function' ' is not of hello' --chain hello --receipts "$work/list"
sed 's/"outcome":\s*"replied"/"outcome":"trapped"/' "$work/list" >"$work/changed"
refused 'what is written beside a leaf' 'is not what it says' --receipts "$work/changed"
echo '{"leaf":"00' >"$work/changed"
refused 'JSON that is none' 'is no JSON' --receipts "$work/changed"
mv "$work/copy/tile/0/000.p" "$work/tile"
mkdir "$work/copy/tile/0/000.p"
cp "$work/tile" "$work/copy/tile/0/000.p/$leaves"
cli verify --old "$work/first" --checkpoint "$work/last" --log "$work/copy" --key "@$work/keys"
check 'two checkpoints, with a copy of the hashes' eval 'answers 0 && body_has "continues the log of"'
refused 'in the wrong order' 'so it is no later one' --old "$work/last" --checkpoint "$work/first" --log "$work/copy"
one_byte "$work/tile" -1
cp "$work/changed" "$work/copy/tile/0/000.p/$leaves"
refused 'a changed hash' 'does not continue that of' --old "$work/first" --checkpoint "$work/last" --log "$work/copy"
head -c 40 "$work/tile" >"$work/copy/tile/0/000.p/$leaves"
cli verify --old "$work/first" --checkpoint "$work/last" --log "$work/copy" --key "@$work/keys"
check 'hashes that are cut off' eval 'answers 9 && says "cannot be had"'
unset GASWORKS_SERVER
stop_server

# --- another log, with a key of its own
start_server "$work/receipted2"
export GASWORKS_SERVER=$base
deploy_example hello
"$program" invoke hello >/dev/null
"$program" receipts proof 0 >"$work/other"
refused 'a proof of another log' 'which none of the keys is for' --leaf "$work/leaf" --proof "$work/other"
cli verify 0 --pin "$work/pin"
check 'another log than that of the pin' eval 'answers 3 && says "which none of the keys is for"'
unset GASWORKS_SERVER
stop_server
