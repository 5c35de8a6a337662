# bash completion of capstan. All that is known about commands and options comes from
# `capstan __complete`, so that this file needs no change when they change.
# SPDX-License-Identifier: BSD-3-Clause
_capstan ()
{
  local cur=${COMP_WORDS[COMP_CWORD]} words line kind
  words=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
  # readline makes words of their own of "=" and ":"
  [ "$cur" = = ] && cur=
  if [ "${#words[@]}" -gt 0 ] && [ "${words[${#words[@]}-1]}" = = ]; then
    unset "words[${#words[@]}-1]"
  fi
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :file | :dir)
        compopt -o filenames 2>/dev/null
        kind=-f
        [ "$line" = :dir ] && kind=-d
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen $kind -- "$cur")
        ;;
      "$cur"*) COMPREPLY+=("$line") ;;
    esac
  done < <("${COMP_WORDS[0]}" __complete "${words[@]}" "$cur" 2>/dev/null)
}
complete -F _capstan capstan
