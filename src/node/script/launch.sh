# In: r_mark, r_folder, r_log; r_begin, which becomes the process.
# Out: `started PID START`, `running PID START`, `left PID`, or `failed STATUS` and the log's end.
r_setsid=$(command -v setsid) || {
  echo 'there is no setsid on this node (it is part of util-linux)' >&2
  exit 1
}
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
      *) [ "${r_old##*.}" -gt $((${r_stem##*.} - 10)) ] || rm -f -- "$r_old.log" "$r_old.ready" ;;
    esac
  done
} 2>/dev/null
# What it writes there is nobody else's; of the files that it makes itself it decides.
(umask 077 && mkdir -p -- "$r_folder" "$(dirname -- "$r_log")" && : >>"$r_log") || exit 1
cd -- "$r_folder" || exit 1
# `dash` cannot name a descriptor above 9. An SSH session has none; on this machine those stay open
# that whoever ran us left open.
# What moves memory over RDMA pins it, and may pin all that the node allows, not what a login begins with.
(
  ulimit -S -l "$(ulimit -H -l)" 2>/dev/null
  r_begin
) </dev/null >>"$r_log" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
r_pid=$!
r_looks=0
# First it is a shell, then setsid, then itself: only then is it known to have started.
while [ "$r_looks" -lt 1000 ] && r_stat "$r_pid" && [ "$r_state" != Z ]; do
  if [ "$r_session" = "$r_pid" ] && [ "$(r_comm "$r_pid")" != setsid ]; then
    # Still there, or else what was read belongs to its end.
    r_stat "$r_pid" && [ "$r_state" != Z ] || break
    echo "started $r_pid $r_started"
    r_forget
    exit 0
  fi
  r_looks=$((r_looks + 1))
  sleep 0.01
done
wait "$r_pid"
echo "failed $?"
tail -n 20 -- "$r_log"
