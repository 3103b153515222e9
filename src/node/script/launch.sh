# In: r_mark, r_folder, r_log.
# Out: `running PID START` or `left PID`, and then nothing else is done. What looks after the process
# comes after this: it starts it, and says `started PID START`, or `failed STATUS` and the log's end.
if r_find_leader "$r_mark"; then
  echo "running $r_leader $r_birth"
  exit 0
fi
for r_pid in $(r_marked "$r_mark" ''); do
  r_stat "$r_pid" || continue
  echo "left $r_pid"
  exit 0
done
# Removes what the starts have left of the same thing that are ten starts ago or more.
r_forget() {
  r_stem=${r_log%.log}
  case ${r_stem##*.} in '' | *[!0-9]*) return ;; esac
  for r_old in "${r_stem%.*}".*.log; do
    r_old=${r_old%.log}
    # The name of another thing may go on where this one's ends.
    [ "${r_old%.*}" = "${r_stem%.*}" ] || continue
    case ${r_old##*.} in
      '' | *[!0-9]*) ;;
      *) [ "${r_old##*.}" -gt $((${r_stem##*.} - 10)) ] ||
        rm -f -- "$r_old.log" "$r_old.ready" "$r_old.again" "$r_old.pruned" ;;
    esac
  done
} 2>/dev/null
# What it writes there is nobody else's; of the files that it makes itself it decides.
(umask 077 && mkdir -p -- "$r_folder" "${r_log%/*}" && : >>"$r_log") || exit 1
cd -- "$r_folder" || exit 1
