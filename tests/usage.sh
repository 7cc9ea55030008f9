#!/bin/bash
# Builds the examples and kills servers that run them (usage.py).
#   usage.sh GASWORKS SOURCE_DIR [OPTION...]
set -eu
program=$1 source=$2
shift 2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$source/examples/build" "$folder" >/dev/null
"$source/tests/usage.py" "$program" "$folder" "$@"
