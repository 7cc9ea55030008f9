#!/bin/bash
# Builds the examples and lets everything happen to a server at once (churn.py).
#   churn.sh GASWORKS SOURCE_DIR [OPTION...]
set -eu
program=$1 source=$2
shift 2
folder=$source/build/examples # as ./dev has it: only what changed is built again, by one at a time
mkdir -p "$folder"
flock "$folder" "$source/examples/build" "$folder" >/dev/null
"$source/tests/churn.py" "$program" "$folder" "$@"
