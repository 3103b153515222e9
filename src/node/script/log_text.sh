# Prints the bytes of the log $1 from $2 on up to $3, but for what was given back of them.
r_log_text() {
  r_from=$2
  if { read -r r_head r_cut <"${1%.log}.pruned"; } 2>/dev/null && [ "$r_cut" -le "$3" ]; then
    [ "$r_from" -ge "$r_head" ] || tail -c "+$((r_from + 1))" -- "$1" | head -c "$((r_head - r_from))"
    [ "$r_from" -ge "$r_cut" ] || r_from=$r_cut
  fi
  tail -c "+$((r_from + 1))" -- "$1" | head -c "$(($3 - r_from))"
}
