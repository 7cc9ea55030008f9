#!/bin/bash
# Builds the examples and lets everything happen to a server at once (churn.py).
#   churn.sh GASWORKS SOURCE_DIR [OPTION...]
set -eu
program=$1 source=$2
shift 2
folder=$("$source/tests/examples.sh" "$source")
"$source/tests/churn.py" "$program" "$folder" "$@"
