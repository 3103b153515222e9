# In: as launch.sh; r_prefix, the beginning of the marks of the thing; r_beside, `yes` where the units of former
# starts that run stay; r_begin, which becomes the process.
# Out: as launch.sh.
r_setsid=$(command -v setsid) || {
  echo 'there is no setsid on this node (it is part of util-linux)' >&2
  exit 1
}
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
    r_keep_log_short "$r_pid" "$r_started"
    r_forget
    r_retire_units '' "$r_beside"
    exit 0
  fi
  r_looks=$((r_looks + 1))
  sleep 0.01
done
wait "$r_pid"
echo "failed $?"
tail -n 20 -- "$r_log"
