#!/bin/bash
# The dashboard in a browser, or skips (77) where there is none: ui.sh GASWORKS [--shots DIR]
set -u
here=$(dirname "$(readlink -f "$0")")
modules=${GASWORKS_TOOLS:-$here/../build/tools}/tests/node_modules
browser=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome)}
if [[ ! -d $modules/playwright-core || ! -d $modules/axe-core ]]; then
  echo "skipped: no playwright-core and axe-core in $modules (./dev test installs them)"
  exit 77
fi
[[ -x $browser ]] || { echo "skipped: there is no Chromium (Debian's package chromium)"; exit 77; }
for tool in node wat2wasm; do
  command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
exec node --no-warnings "$here/ui.js" "$modules" "$browser" "$@"
