# In: r_mark, r_port, r_log.
# Out: `leader PID`, then each time that it changes `port` with what listens there: `ours/PID` or
# `other/PID/UID/NAME` (PID may be `-`), and `idle` or `busy`; at last `dead`, with `out-of-memory`
# where the kernel killed something for that meanwhile, or `gone` where nothing carries the mark.
# On the standard error: the log, as it grows; of what runs for long, from where its end begins.
{ read -r r_head r_offset <"${r_log%.log}.pruned"; } 2>/dev/null || r_offset=0

# Prints what the log has grown by.
r_show_log() {
  r_size=$(($(wc -c <"$r_log"))) || return
  [ "$r_size" -gt "$r_offset" ] || return
  # Progress bars go back to the beginning of their line.
  tail -c "+$((r_offset + 1))" -- "$r_log" | head -c "$((r_size - r_offset))" | tr '\r' '\n' >&2
  r_offset=$r_size
}

r_is_alive() {
  r_stat "$r_leader" && [ "$r_started" = "$r_birth" ] && [ "$r_state" != Z ]
}

# Prints the processes of the session.
r_members() {
  for r_dir in /proc/[0-9]*; do
    r_stat "${r_dir#/proc/}" && [ "$r_session" = "$r_leader" ] && echo "${r_dir#/proc/}"
  done
}

# Prints how often the kernel has killed a process because memory ran out.
r_killings() {
  { sed -n 's/^oom_kill //p' /proc/vmstat; } 2>/dev/null
}

# Says whether the session worked since this was asked last: it used a twentieth of a core, or waits
# for a disk. Ticks are hundredths of a second.
r_say_whether_idle() {
  r_before=$r_ticks
  r_ticks=0
  r_work=idle
  for r_dir in /proc/[0-9]*; do
    r_stat "${r_dir#/proc/}" && [ "$r_session" = "$r_leader" ] || continue
    [ "$r_state" = D ] && r_work=busy
    # User and system time are the 12th and 13th field behind the name.
    set -- $r_line
    shift 11
    r_ticks=$((r_ticks + $1 + $2))
  done
  [ $((r_ticks - r_before)) -lt 25 ] || r_work=busy
  [ "$r_work" = "$r_worked" ] || echo "$r_work"
  r_worked=$r_work
}

# Says who listens, given the sockets that do.
r_name_listeners() {
  printf port
  while read -r r_inode r_uid; do
    r_pid=$(r_owner "$r_inode" "$(r_members)")
    if [ -n "$r_pid" ]; then
      printf ' ours/%s' "$r_pid"
    else
      r_pid=$(r_owner "$r_inode" "$(cd /proc && echo [0-9]*)")
      printf ' other/%s/%s/%s' "${r_pid:--}" "$r_uid" "$(r_comm "${r_pid:--}" | tr ' ' '_')"
    fi
  done
  echo
}

# While a process becomes another program its environment cannot be read: it is looked for again.
r_looked=0
until r_find_leader "$r_mark"; do
  r_looked=$((r_looked + 1))
  if [ "$r_looked" -gt 4 ]; then
    [ -e "$r_log" ] && r_show_log
    echo gone
    exit 0
  fi
  sleep 0.1
done
echo "leader $r_leader"
r_killed=$(r_killings)
r_known=none
r_said=
r_seen=
r_worked=busy
r_ticks=0
r_turn=0
while :; do
  # Looked at before the log is: what it wrote last is shown too.
  r_alive=yes
  r_is_alive || r_alive=
  [ -e "$r_log" ] && r_show_log
  if [ -z "$r_alive" ]; then
    [ "$(r_killings)" = "$r_killed" ] && echo dead || echo dead out-of-memory
    exit 0
  fi
  r_sockets=$(r_listeners "$r_port")
  # A socket may go from one process to another, and is the same one still.
  case $r_said in *other/*) r_known=none ;; esac
  if [ "$r_sockets" != "$r_known" ]; then
    r_now=port
    [ -z "$r_sockets" ] || r_now=$(printf '%s\n' "$r_sockets" | r_name_listeners)
    # Whoever else holds it is told when it is seen twice: processes are looked at one after another, and
    # what is handed over meanwhile is seen at none of them, or where it is about to be no more.
    r_doubted=$r_seen
    r_seen=$r_now
    case $r_now in
      *other/*) [ "$r_now" = "$r_doubted" ] || r_now= ;;
    esac
    if [ -n "$r_now" ]; then
      [ "$r_now" = "$r_said" ] || echo "$r_now"
      r_said=$r_now
      r_known=$r_sockets
    fi
  fi
  # Every five seconds, while nobody listens.
  r_turn=$((r_turn + 1))
  [ -n "$r_sockets" ] || [ $((r_turn % 25)) -ne 0 ] || r_say_whether_idle
  sleep 0.2
done
