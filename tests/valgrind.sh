#!/usr/bin/env bash
# valgrind.sh PROGRAM: runs it under Valgrind; what that reports, warnings about switched stacks too, fails the test.
set -euo pipefail
command -v valgrind >/dev/null || { echo "skipped: valgrind is not installed"; exit 77; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
valgrind --error-exitcode=1 --log-file="$log" --child-silent-after-fork=yes "$1" || { cat "$log"; exit 1; }
if grep -E "client switching stacks|Invalid|uninitialised" "$log"; then exit 1; fi
