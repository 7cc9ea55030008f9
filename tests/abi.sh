#!/bin/bash
# Programs that were built against the library before run with this one: functions and structures are what tests/abi/libgasworks.abi says.
#   abi.sh SOURCE_DIR LIBRARY             compares; new functions may come
#   abi.sh SOURCE_DIR LIBRARY --update    writes that file, when a release may break with the one before
set -u
source=$1 library=$2 file=$1/tests/abi/libgasworks.abi
types=(--headers-dir "$source/include" --drop-private-types)
if ! command -v abidiff >/dev/null; then
  echo "abi.sh: abidiff (abigail-tools) is not installed; nothing was compared"
  exit 77
fi
dump() {
  abidw "${types[@]}" --exported-interfaces-only --no-show-locs --no-comp-dir-path --no-corpus-path --no-elf-needed "$library"
}
if [[ ${3:-} == --update ]]; then
  dump >"$file"
  exit
fi
dump >"${TMPDIR:-/tmp}/gasworks-abi.$$" && trap 'rm -f "${TMPDIR:-/tmp}/gasworks-abi.$$"' EXIT
if ! grep -q "class-decl name='gw_store_options' size" "${TMPDIR:-/tmp}/gasworks-abi.$$"; then
  echo "abi.sh: this build has no types in its debug information; nothing was compared"
  exit 77
fi
abidiff --no-added-syms --suppressions "$source/tests/abi/opaque.abignore" "$file" "${TMPDIR:-/tmp}/gasworks-abi.$$"
code=$?
# Of the bits of abidiff, 4 is a change, 1 and 2 are errors. Compatible ones are filtered out.
((code == 0)) && echo "functions and structures are as they were"
exit $code
