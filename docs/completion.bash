# Bash completion of gasworks: `source docs/completion.bash`. Verbs, options and their values come from the program's own help, so
# that they cannot drift from it.

# The value that the help of a verb shows for an option: "on|off", "DIR".
_gasworks_value() { # PROGRAM VERB OPTION
  "$1" "$2" --help 2>/dev/null |
    awk -v option="$3" '/^  / { for (i = 1; i <= 2; i++) { gsub(/,$/, "", $i); if ($i == option) { print $(i + ($i !~ /^--/) + 1); exit } } }'
}

# The words of a choice, one a line; nothing where the value is not one.
_gasworks_choice() {
  case $1 in
    [0-9]..[0-9]) seq "${1%..*}" "${1#*..}" ;;
    *[A-Z]*) ;; # DIR|off: a file, most of the time
    *'|'*) tr '|' '\n' <<<"$1" ;;
  esac
}

# What may stand first behind a verb: "[list | create NAME]" of its usage line.
_gasworks_words() { # PROGRAM VERB
  "$1" "$2" --help 2>/dev/null | sed -n '1 { s/.*\[OPTION\.\.\.\] //; s/[][]//g; p; q }' | tr '|' '\n' | awk '{ print $1 }'
}

_gasworks() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} program=${COMP_WORDS[0]} verb=${COMP_WORDS[1]}
  local choice
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W "$("$program" help 2>/dev/null | sed -n 's/^  \([a-z]*\) .*/\1/p')" -- "$current")
    return
  fi
  if [[ $previous == -* ]]; then
    choice=$(_gasworks_choice "$(_gasworks_value "$program" "$verb" "$previous")")
    if [[ $choice ]]; then
      mapfile -t COMPREPLY < <(compgen -W "$choice" -- "$current")
      return
    fi
  fi
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$("$program" "$verb" --help 2>/dev/null | grep -o -- '  --[a-z-]*\|, --[a-z-]*' |
      grep -o -- '--[a-z-]*')" -- "$current")
    return
  fi
  case $verb in
    help) mapfile -t COMPREPLY < <(compgen -W "$("$program" help 2>/dev/null | sed -n 's/^  \([a-z]*\) .*/\1/p')" -- "$current") ;;
    tokens | receipts | tenants | cache) mapfile -t COMPREPLY < <(compgen -W "$(_gasworks_words "$program" "$verb")" -- "$current") ;;
    invoke | delete | lift | versions | alias | rollback | config | secrets | logs)
      mapfile -t COMPREPLY < <(compgen -W "$("$program" list --json 2>/dev/null | sed -n 's/.*"name":[^"]*"\([^"]*\)".*/\1/p')" \
        -- "$current")
      ;;
    *) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
  esac
}

complete -o filenames -F _gasworks gasworks
