#!/bin/bash
# Builds the examples and replays what a server ran of them (replay.py).
#   replay.sh GASWORKS SOURCE_DIR [OPTION...]
set -eu
program=$1 source=$2
shift 2
folder=$("$source/tests/examples.sh" "$source")
"$source/tests/replay.py" "$program" "$folder" "$@"
