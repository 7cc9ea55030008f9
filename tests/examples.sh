#!/bin/bash
# Builds the examples, once for all tests that want them, as ./dev does: only what changed is built again, by one at a time.
#   examples.sh SOURCE_DIR      prints their folder
set -eu
folder=$1/build/examples
mkdir -p "$folder"
flock "$folder" "$1/examples/build" "$folder" >/dev/null
echo "$folder"
