#!/bin/bash
# Nothing includes upward (docs/architecture.md): every #include "..." and <...> of the tree against the table below.
#   layers.sh SOURCE_DIR
set -u
cd "${1:?usage: layers.sh SOURCE_DIR}" || exit 1
passed=0 failed=0 files=0

# PATTERN OF FILES | what their quoted includes may start with | what libraries <...> they may use besides libc
# The first row that matches a file counts.
rules=(
  'include/*|gasworks wasm.h|'
  'base/digest.c|base/|sodium.h'
  'base/*|base/ gasworks|'
  'abi/*|abi/ base/ gasworks|'
  'frontend/lower/*|frontend/ instrument/schedule.h instrument/blocks.h instrument/marker.h abi/ base/ gasworks|llvm-c/'
  'frontend/*|frontend/ abi/ base/ gasworks|'
  'instrument/meter/*|instrument/ frontend/lower/ir.h frontend/lower/values.h abi/ base/ gasworks|llvm-c/'
  'instrument/*|instrument/ frontend/ base/ gasworks|'
  'jit/artifact/*|jit/artifact/ jit/compiler.h instrument/schedule. frontend/ abi/ base/ gasworks|sodium.h sanitizer/'
  'jit/compiler.h|frontend/ instrument/schedule. instrument/blocks. gasworks|'
  'jit/access/*|jit/access/ base/ instrument/marker.h instrument/meter/meter.h frontend/module.h frontend/lower/ir.h frontend/lower/values.h gasworks|llvm-c/'
  'jit/orc.cpp|jit/orc.h|llvm/'
  'jit/*|jit/ instrument/ frontend/module.h frontend/instruction.h frontend/lower/lower.h frontend/lower/values.h abi/ base/ gasworks|llvm-c/ elf.h'
  'runtime/state/postgres/*|runtime/state/postgres/ runtime/state/store_ops.h base/ gasworks|postgresql/ sodium.h'
  'runtime/state/lmdb.c|runtime/state/store_ops.h base/ gasworks|lmdb.h'
  'runtime/state/*|runtime/state/ base/ gasworks|sodium.h'
  'runtime/receipt/leaf.c|runtime/receipt/ base/ gasworks|cbor/'
  'runtime/receipt/*|runtime/receipt/ base/ gasworks|sodium.h'
  'runtime/*|runtime/ jit/artifact/ jit/compiler.h instrument/schedule. frontend/ abi/ base/ gasworks|sodium.h sanitizer/ elfutils/ dwarf.h elf.h'
  'server/function/settings.c|server/function/settings.h server/function/tool.h runtime/host/header.h base/ gasworks|sodium.h cjson/'
  'server/access/*|server/access/ runtime/state/state.h base/ gasworks|sodium.h cjson/'
  'server/usage/*|server/usage/ server/access/access.h runtime/state/state.h runtime/receipt/ base/ gasworks|cjson/'
  'server/loop/share.c|server/loop/ server/observe/ base/ gasworks|uv.h sodium.h'
  'server/observe/*|server/observe/ base/ gasworks|'
  'server/loop/*|server/loop/ server/observe/ server/server.h base/ gasworks|uv.h'
  'server/function/*|server/function/ server/access/access.h server/observe/ server/loop/ server/server.h server/tier.h runtime/ jit/artifact/ frontend/ base/ gasworks|uv.h cjson/'
  'server/http/*|server/http/ server/access/ server/observe/ server/loop/ server/server.h runtime/host/ base/ gasworks|uv.h llhttp.h cjson/'
  'server/isolate/*|server/isolate/ server/http/ server/access/ server/loop/ server/server.h runtime/host/header.h base/ gasworks|uv.h llhttp.h'
  'server/invoke/flame.c|server/invoke/ server/function/ runtime/ frontend/ base/ gasworks|sodium.h'
  'server/invoke/*|server/invoke/ server/observe/ server/usage/ server/http/exchange.h server/http/reply.h server/http/credentials.h server/function/ server/inputs/ server/loop/ server/server.h runtime/ frontend/ instrument/schedule. base/ gasworks|uv.h'
  'server/inputs/*|server/inputs/ base/ gasworks|'
  'server/ui/*|server/ui/ runtime/receipt/leaf.def base/ gasworks|'
  'server/api/run.c|server/ base/ gasworks|uv.h sodium.h cjson/'
  'server/api/mcp.c|server/ runtime/host/ base/ gasworks|uv.h sodium.h cjson/'
  'server/*|server/ runtime/ jit/artifact/ instrument/schedule. frontend/ abi/ base/ gasworks|uv.h llhttp.h cjson/ sanitizer/'
  'cli/config_text.c|cli/config_text.h base/|yaml.h'
  'cli/dev.c|cli/ server/function/function.h base/ gasworks|uv.h cjson/'
  'cli/*|cli/ server/ runtime/ jit/artifact/ instrument/schedule. instrument/blocks.h instrument/fit. instrument/rounds.h frontend/ abi/ base/ gasworks|cjson/ sodium.h sanitizer/'
)
libraries='postgresql/|llvm-c/|llvm/|elfutils/|dwarf\.h|elf\.h|lmdb\.h|sodium|cbor/|uv\.h|llhttp|cjson/|yaml\.h|cmocka'

# Headers of one folder: HEADER | who may include it.
private=(
  'runtime/state/store_ops.h|runtime/state/*'
  'runtime/state/private.h|runtime/state/*'
  'runtime/state/postgres/pq.h|runtime/state/postgres/*'
  'runtime/state/postgres/private.h|runtime/state/postgres/*'
)

starts_with_any() {
  local text=$1 prefix
  shift
  for prefix in "$@"; do [[ $text == "$prefix"* ]] && return 0; done
  return 1
}

fail() {
  echo "FAIL $1"
  failed=$((failed + 1))
}

check_include() {
  local file=$1 kind=$2 name=$3 quoted=$4 system=$5 rule
  # An include of the own folder without its name would hide the layer.
  # shellcheck disable=SC2086
  if [[ $kind == '"' ]]; then
    starts_with_any "$name" $quoted || { fail "$file includes \"$name\""; return; }
    for rule in "${private[@]}"; do
      # shellcheck disable=SC2053
      [[ $name != "${rule%%|*}" || $file == ${rule#*|} ]] || { fail "$file includes \"$name\", which is private"; return; }
    done
  elif [[ $name =~ ^($libraries) ]]; then
    starts_with_any "$name" $system || { fail "$file includes <$name>"; return; }
  fi
  passed=$((passed + 1))
}

check_file() {
  local file=$1 rule pattern quoted system line
  for rule in "${rules[@]}"; do
    IFS='|' read -r pattern quoted system <<<"$rule"
    # shellcheck disable=SC2053
    [[ $file == $pattern ]] && break
  done
  while IFS= read -r line; do
    check_include "$file" "${line:0:1}" "${line:1}" "$quoted" "$system"
  done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*(["<])([^">]*)[">].*/\1\2/p' "$file")
}

# A check that cannot fail is none: the same functions on lines that break the rules.
self_test() {
  local before=$failed
  check_include frontend/decode.c '<' llvm-c/Core.h 'frontend/' '' >/dev/null
  check_include runtime/x.c '"' server/server.h 'runtime/ base/' '' >/dev/null
  check_include runtime/host/x.c '"' runtime/state/store_ops.h 'runtime/ base/' '' >/dev/null
  check_include runtime/state/txn.c '<' lmdb.h 'runtime/state/' 'sodium.h' >/dev/null
  ((failed == before + 4)) || { echo "FAIL the checker itself"; exit 1; }
  failed=$before
}

self_test
while IFS= read -r file; do
  check_file "$file"
  files=$((files + 1))
done < <(find include base abi frontend instrument jit runtime server cli -name '*.[chS]' -o -name '*.cpp' -o -name '*.def' | sort)
echo "$files files"
echo "$passed passed, $failed failed, 0 skipped"
((failed == 0 && files > 20))
