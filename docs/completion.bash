# Bash completion of gasworks: `source docs/completion.bash`. Verbs and options come from the program's own help, so that they
# cannot drift from it.

_gasworks() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} program=${COMP_WORDS[0]} verb=${COMP_WORDS[1]}
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W "$("$program" help 2>/dev/null | sed -n 's/^  \([a-z]*\) .*/\1/p')" -- "$current")
    return
  fi
  case $previous in
    --gas | --meter | --sync | --judge)
      if [[ $verb != inspect || $previous != --gas ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'on off' -- "$current")
        return
      fi
      ;;
    --tier)
      mapfile -t COMPREPLY < <(compgen -W 'fast precise auto' -- "$current")
      return
      ;;
    -O | --optimize)
      mapfile -t COMPREPLY < <(compgen -W '0 1 2 3' -- "$current")
      return
      ;;
  esac
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$("$program" "$verb" --help 2>/dev/null | grep -o -- '  --[a-z-]*\|, --[a-z-]*' |
      grep -o -- '--[a-z-]*')" -- "$current")
    return
  fi
  case $verb in
    help) mapfile -t COMPREPLY < <(compgen -W "$("$program" help 2>/dev/null | sed -n 's/^  \([a-z]*\) .*/\1/p')" -- "$current") ;;
    invoke | delete | lift)
      mapfile -t COMPREPLY < <(compgen -W "$("$program" list --json 2>/dev/null | sed -n 's/.*"name":[^"]*"\([^"]*\)".*/\1/p')" \
        -- "$current")
      ;;
    *) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
  esac
}

complete -o filenames -F _gasworks gasworks
