# Tokens and tenants, as somebody uses them on the command line.
start_server "$work/tokens"
unset GASWORKS_TOKEN
export GASWORKS_SERVER=$base
as() { local token=$1; shift; GASWORKS_TOKEN=$token "$program" "$@" >"$work/body" 2>&1; status=$?; }
own() { GASWORKS_DATA=$work/tokens "$program" "$@" >"$work/body" 2>&1; status=$?; }

own deploy hello "$examples/hello.wasm"
check 'the command line finds the token in the data directory' answers 0
(cd "$work" && ln -sfn tokens gasworks-data && "$program" list >"$work/body" 2>&1)
check 'and where the server keeps its data unless told' body_has hello
as '' list
check 'without it, it is told what is missing' answers 9
check 'and how to say it' body_has 'this needs a token, in a header: Authorization: Bearer TOKEN (HTTP 401); --token TOKEN or @FILE, or $GASWORKS_TOKEN'
as "@$work/tokens/admin-token" list
check 'a token from a file' answers 0
as "@$work/none" list
check 'a file that is not there' answers 7
as 'gw_a b' list
check 'what is no token is not sent' answers 2
as "$(printf 'gw_x\r\nX-Other: 1')" list
check 'nor are header lines' answers 2
GASWORKS_SERVER=http://gasworks.test:1 own list
check 'the token of this machine is for this machine' body_has 'no answer from http://gasworks.test:1'
GASWORKS_SERVER=http://localhost:x@127.0.0.1:${base##*:} own list
check 'and not for whoever puts its name before his own' body_has 'this needs a token'
http_proxy=http://127.0.0.1:1 own list
check 'nor for a proxy' answers 0

own tenants create acme
check 'a tenant' body_has 'its functions are at /t/acme/f/'
own tenants list --json
check 'is listed' body_has '"acme"'
ci=$(GASWORKS_DATA=$work/tokens "$program" tokens create --tenant acme --scopes deploy,read --name ci --expires 30d 2>/dev/null)
check 'a token of it, alone on standard output' eval '[[ $ci == gw_????????????_* && $ci != *[[:space:]]* ]]'
own tokens list
check 'is listed by its name' eval 'grep -qE "^$(cut -d_ -f2 <<<"$ci") +acme +deploy,read +[^ ]+Z +[^ ]+Z +ci$" "$work/body"'
check 'without its secret' eval '! body_has "${ci##*_}"'
as "$ci" deploy echo "$examples/hello.wasm" --access private
check 'it deploys, into its tenant' body_has 'private at /t/acme/f/echo'
as "$ci" invoke echo --tenant acme
check 'it may not call' answers 8
own invoke echo --tenant acme
check 'the administrator may' body_has hello
as "$ci" list
check 'it lists its functions' body_has echo
check 'and no others' eval '! body_has "hello  "'
as "$ci" list --tenant default
check 'there are no other tenants for it' body_has 'no tenant is called default'
as "$ci" tokens create --scopes admin
check 'nor does it make tokens' body_has 'this needs a token with the scope admin'
as "$ci" tenants create more
check 'or tenants' eval '((status)) && body_has "HTTP 403"'
own tokens create --scopes root
check 'scopes are known' body_has 'scopes are admin, deploy, invoke, run and read'
own tokens create --scopes read --expires 3w
check 'times are, too' answers 2
own tokens rotate
check 'a rotation wants an id' answers 2
id=$(cut -d_ -f2 <<<"$ci")
next=$(GASWORKS_DATA=$work/tokens "$program" tokens rotate "$id" --grace 1h --json 2>/dev/null | sed -n 's/.*"token":[^"]*"\([^"]*\)".*/\1/p')
as "$next" list
check 'a rotated token is good' answers 0
as "$ci" list
check 'and so is the old one for an hour' answers 0
own tokens revoke "$id"
check 'a token is revoked' answers 0
as "$next" list
check 'it is good no more' body_has 'wrong, expired or revoked'
own tokens revoke "$id"
check 'nor is it there' answers 8
own tenants delete acme
check 'a tenant with functions stays' body_has 'the tenant has functions'
own delete echo --tenant acme
own tenants delete acme
check 'one without goes' answers 0
own tokens rotate admin
check 'the token of the data directory is rotated' answers 0
own list
check 'and the file has the new one' answers 0
check 'the file is for its owner' test "$(stat -c %a "$work/tokens/admin-token")" = 600
# --- the dashboard
own ui
check 'the address of the dashboard, with a token behind the #' eval 'grep -qE "^$base/ui/#token=gw_[A-Za-z0-9_-]+$" "$work/body"'
ui=$(grep -oE 'gw_[A-Za-z0-9_-]+' "$work/body" | head -n 1)
as "$ui" list
check 'the token is good' answers 0
as "$ui" tokens list
check 'for functions, not for tokens' answers 9
own ui --tenant default --expires 1h --scopes read --json
check 'of a tenant, as JSON' eval 'body_has "\"default\"" && body_has "/ui/#token=gw_"'
own ui --expires soon
check 'a time that is none' answers 2
own ui now
check 'nothing stands behind it' answers 2

unset GASWORKS_SERVER
stop_server

start_server "$work/tokens" --insecure
check '--insecure says what it does' grep -q 'no tokens are asked for: whoever reaches the server may deploy' "$work/server.log"
check 'and does' test "$(curl -s -o /dev/null -w '%{http_code}' "$base/v1/functions")" = 200
check 'but not for web pages' test "$(curl -s -o /dev/null -w '%{http_code}' -H 'Origin: http://evil.example' "$base/v1/functions")" = 403
check 'or names that point here' test "$(curl -s -o /dev/null -w '%{http_code}' -H 'Host: evil.example' "$base/v1/functions")" = 421
