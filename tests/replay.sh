#!/bin/bash
# Builds the examples and replays what a server ran of them (replay.py).
#   replay.sh GASWORKS SOURCE_DIR [OPTION...]
set -eu
program=$1 source=$2
shift 2
folder=$source/build/examples # as ./dev has it: only what changed is built again, by one at a time
mkdir -p "$folder"
flock "$folder" "$source/examples/build" "$folder" >/dev/null
"$source/tests/replay.py" "$program" "$folder" "$@"
