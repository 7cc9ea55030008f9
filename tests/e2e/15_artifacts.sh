# Ahead of time: artifacts on the command line and deployed, the cache, and who maps the compiler.
artifact=$work/wordcount.gwa
run_wordcount() { "$program" run "$@" <<<'to be or not to be' 2>&1; }
maps_compiler() { grep -q 'libLLVM\|gasworks-compiler' "/proc/$1/maps"; }

# exits CODE COMMAND...: its output goes to $work/out.
exits() {
  local code=$1
  shift
  "$@" >"$work/out" 2>&1
  [[ $? == "$code" ]]
}

check "compile" exits 0 "$program" compile "$examples/wordcount.wasm" -o "$artifact"
check "the artifact runs as the module does" test "$(run_wordcount "$artifact")" = "$(run_wordcount "$examples/wordcount.wasm")"
check "an artifact with the wrong gas" exits 6 "$program" run --gas off "$artifact"
check "says so" grep -q 'compiled with gas on' "$work/out"
head -c 100000 "$artifact" >"$work/cut.gwa"
check "an artifact cut short" exits 6 "$program" run "$work/cut.gwa"
check "says so, too" grep -q 'the artifact is damaged' "$work/out"

check "inspect shows for whom an artifact is" exits 0 "$program" inspect "$artifact"
check "in a line" grep -q '^compiled  *-O2, gas on, for CPU host-' "$work/out"
check "and its module" grep -q '^interface  *command' "$work/out"
check "inspect --json, too" exits 0 "$program" inspect --json "$artifact"
check "with the same facts" node -e '
  const { artifact, exports } = JSON.parse(fs.readFileSync(process.argv[1]));
  process.exit(artifact.gas === true && artifact.opt_level === 2 && artifact.code_size > 0 && exports.length ? 0 : 1)' "$work/out"
check "inspect of one cut short" exits 6 "$program" inspect "$work/cut.gwa"
check "names the file" grep -q "^gasworks: $work/cut.gwa: the artifact is damaged" "$work/out"
check "an artifact is no module" exits 3 "$program" compile "$artifact" -o "$work/none.gwa"
check "which is said with the file's name" grep -q "^gasworks: $artifact: this is an artifact" "$work/out"
check "an empty file" exits 3 "$program" inspect /dev/null
check "is named, too" grep -q "^gasworks: /dev/null: unexpected end" "$work/out"
(umask 022 && "$program" compile -O0 "$examples/wordcount.wasm" -o "$work/open.gwa")
check "an artifact has the rights that the umask leaves" test "$(stat -c %a "$work/open.gwa")" = 644
check "a key that is none" exits 2 "$program" compile --sign "$examples/wordcount.wasm" "$examples/wordcount.wasm" -o "$work/none.gwa"
check "is called so" grep -q 'wordcount.wasm holds no secret key' "$work/out"

# A program that waits for its input shows what a run maps.
mkfifo "$work/input"
"$program" run "$artifact" <"$work/input" >"$work/out" &
pid=$!
exec 7>"$work/input"
sleep 0.3
check "running an artifact does not map the compiler" eval '! maps_compiler $pid'
echo 'one two' >&7
exec 7>&-
check "and goes on" wait $pid

cache=(--cache "$work/run-cache")
check "a run fills the cache" exits 0 run_wordcount --tier fast "${cache[@]}" "$examples/wordcount.wasm"
check "gasworks cache shows it" exits 0 "$program" cache "${cache[@]}" --json
check "as JSON" node -e 'process.exit(JSON.parse(fs.readFileSync(process.argv[1])).entries.length === 1 ? 0 : 1)' "$work/out"
"$program" run "${cache[@]}" "$examples/wordcount.wasm" <"$work/input" >"$work/out" &
pid=$!
exec 7>"$work/input"
sleep 0.3
check "the next run does not map the compiler" eval '! maps_compiler $pid'
exec 7>&-
wait $pid
check "gasworks cache prune" exits 0 "$program" cache prune "${cache[@]}"
check "leaves nothing" test -z "$(ls "$work/run-cache")"


# A program that is over long before its code is there: the interpreter's second slice, and a hundred and fifty functions.
node -e '
  const body = "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 1664525)) (i32.rotl (local.get 0) (i32.const 7))))".repeat(40);
  const funcs = [...Array(150).keys()].map((i) => `(func $f${i} (export "f${i}") (param i32) (result i32) ${body} (local.get 0))`);
  console.log(`(module ${funcs.join("\n")} (func (export "_start") (local i32)
    (loop (drop (call $f7 (local.get 0)))
      (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 30000))))))`)' >"$work/large.wat"
wat2wasm "$work/large.wat" -o "$work/large.wasm"
check "a run that ends before its module is compiled" exits 0 "$program" run --stats "${cache[@]}" "$work/large.wasm"
check "was in the baseline tier" grep -q 'tier *baseline' "$work/out"
for ((i = 0; i < 600; i++)); do
  [[ -n $(find "$work/run-cache" -name '*.gwa') ]] && break
  sleep 0.1
done
check "has its code compiled behind its back" exits 0 "$program" run --stats "${cache[@]}" "$work/large.wasm"
check "where the next one finds it" grep -q 'tier *fast' "$work/out"

check "gasworks key" exits 0 "$program" key "$work/key"
check "does not overwrite one" exits 7 "$program" key "$work/key"
check "signing" exits 0 "$program" compile "$examples/wordcount.wasm" -o "$work/signed.gwa" --sign "$work/key"
check "a signed artifact runs, too" exits 0 run_wordcount "$work/signed.gwa"
"$program" key "$work/stranger" >/dev/null
"$program" compile "$examples/wordcount.wasm" -o "$work/strange.gwa" --sign "$work/stranger"
"$program" compile "$examples/wordcount.wasm" -o "$work/other.gwa" --sign "$work/key" -O 1

start_server "$work/artifacts" --trust "$work/key.pub"
deploy stranger "$artifact"
check "an artifact that nobody signed" answers 403
deploy stranger "$work/strange.gwa"
check "one that a stranger signed" answers 403
check "with a reason" body_has 'a key signed it that this server trusts'
deploy stranger "$work/cut.gwa"
check "one cut short" answers 422
deploy stranger "$work/other.gwa"
check "one of another level" answers 422
deploy ahead "$work/signed.gwa"
check "one that the trusted key signed" answers 201
request POST /f/ahead -d 'to be or not to be'
check "answers" answers 200
request GET /v1/functions/ahead
check "in compiled code at once" body_has '"tier":"fast"'
deploy later "$examples/markdown.wasm"
for ((i = 0; i < 600; i++)); do
  request GET /v1/functions/later
  body_has '"tier":"fast"' && break
  sleep 0.1
done
check "another is compiled in the background" body_has '"tier":"fast"'
check "by a process of its own: the server does not map the compiler" eval '! maps_compiler $server_pid'
"$program" cache --cache "$work/artifacts/cache" --json >"$work/entries"
own=$(node -e '
  const [entries, f] = process.argv.slice(1).map((path) => JSON.parse(fs.readFileSync(path)));
  console.log(entries.entries.find((e) => e.module === f.digest).name)' "$work/entries" "$work/body")
deploy again "$work/artifacts/cache/$own.gwa"
check "what the server compiled itself is taken back" answers 201
stop_server
check "clean end" test "$stop_status" = 0

start_server "$work/artifacts" --trust "$work/key.pub"
request POST /f/later -d '# one'
check "after a restart it answers" answers 200
request GET /v1/functions/later
check "in the code that was kept" body_has '"tier":"fast"'
