#!/bin/sh
# Runs the gas oracle, or skips where there is no node: gas_oracle.sh --help
command -v node >/dev/null || { echo "gas_oracle: node is not installed; nothing was tested"; exit 77; }
exec node --no-warnings "$(dirname "$0")/gas_oracle.js" "$@"
