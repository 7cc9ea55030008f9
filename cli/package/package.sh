#!/bin/bash
# Makes the Debian package of a build: package.sh ROOT BUILD_DIR OUT_DIR. OUT_DIR then has gasworks_VERSION_amd64.deb.
set -euo pipefail
root=$(readlink -f "$1") build=$(readlink -f "$2")
mkdir -p "$3"
out=$(readlink -f "$3")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/gasworks"
cp -r "$root/cli/package/debian" "$work/gasworks/"
(cd "$work/gasworks" && GASWORKS_BUILD=$build dpkg-buildpackage --build=binary --no-sign --no-check-builddeps >"$work/log" 2>&1) || {
  cat "$work/log" >&2
  exit 1
}
mv "$work"/gasworks_*.deb "$out"
