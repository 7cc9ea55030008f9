#!/bin/bash
# Builds the examples and lets the power of servers that run them fail (power.py).
#   power.sh GASWORKS SHIM SOURCE_DIR [OPTION...]
set -eu
program=$1 shim=$2 source=$3
shift 3
folder=$("$source/tests/examples.sh" "$source")
"$source/tests/power.py" "$program" "$shim" "$folder" "$@"
