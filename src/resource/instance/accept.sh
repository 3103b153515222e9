# In: r_ask, which asks vLLM; r_note, a file that says that it took these once.
# Out: what vLLM said; `outcome: ...` where it could not be asked. Fails where it refuses them.
[ ! -e "$r_note" ] || exit 0
# Where a start looks for files that its arguments name.
cd -- "${r_note%/*}" || exit
r_said=$(r_ask </dev/null 2>&1)
r_status=$?
case $r_status in
  0)
    # It is asked again where this cannot be noted.
    { umask 077 && : >"$r_note"; } 2>/dev/null
    find "${r_note%/*}" -name 'arguments.*' -mtime +30 -exec rm -f -- {} + 2>/dev/null
    ;;
  65)
    printf '%s\n' "$r_said"
    exit 1
    ;;
  *)
    printf '%s\n' "$r_said"
    printf 'outcome: vLLM could not be asked whether it takes its arguments: %s\n' \
      "$(printf '%s\n' "$r_said" | sed '/^[[:space:]]*$/d' | tail -n 1 | grep . || echo "status $r_status")"
    ;;
esac
true
