# In: r_log; r_pruner, the text of prune_log.sh; r_limits, its last four arguments. What keeps a log short is
# no part of the process that writes it: it carries no mark, and ends by itself a few seconds later.

# Keeps the log of process $1, which started at $2, short from now on.
r_keep_log_short() {
  (
    exec setsid sh -s -- "$1" "$2" "$r_log" $r_limits >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- <<END &
$r_pruner
END
  )
}
