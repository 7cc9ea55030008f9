#!/bin/bash
# Builds the examples and kills servers that run them (usage.py).
#   usage.sh GASWORKS SOURCE_DIR [OPTION...]
set -eu
program=$1 source=$2
shift 2
folder=$("$source/tests/examples.sh" "$source")
"$source/tests/usage.py" "$program" "$folder" "$@"
