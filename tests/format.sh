#!/bin/bash
# Every C file is as clang-format, in the version of Debian 12, leaves it, and every script may be run. Skipped where that version is
# not installed.
#   format.sh SOURCE_DIR [--fix]
set -u
cd "${1:?usage: format.sh SOURCE_DIR [--fix]}" || exit 1
command -v clang-format-14 >/dev/null || { echo "skipped: clang-format-14 is not installed"; exit 77; }
mapfile -t files < <(find abi base bench bindings cli examples frontend include instrument jit runtime sdk server tests -name '*.[ch]' -not -path '*/node_modules/*' | sort)
bad=$(find bench bindings docs examples sdk tests -type f -not -perm -u+x -not -path '*/node_modules/*' -exec grep -lm1 '^#!' {} + |
  while read -r file; do [[ $(head -c2 "$file") == '#!' ]] && echo "FAIL $file: a script that is not executable"; done)
[[ -z $bad ]] || { echo "$bad"; exit 1; }
if [[ ${2-} == --fix ]]; then exec clang-format-14 -i "${files[@]}"; fi

# A check that cannot fail is none.
if printf 'int  main( ){}\n' | clang-format-14 --dry-run -Werror --assume-filename=x.c 2>/dev/null; then
  echo "FAIL the checker itself"
  exit 1
fi
clang-format-14 --dry-run -Werror "${files[@]}" 2>&1 | grep -E 'error:' | cut -d: -f1 | sort | uniq -c |
  while read -r n file; do echo "FAIL $file: $n places, see ./dev fmt"; done
[[ ${PIPESTATUS[0]} == 0 ]] && echo "${#files[@]} files"
