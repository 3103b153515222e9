# Ends processes, and believes it only when it was seen. In: r_look, which lists in r_living those that
# live (` PID:START:… ` each); r_ask, which asks those of them to end that are to be asked by now;
# r_ticks, the grace in fifths of a second, or nothing for as long as it takes.
# Out, tab-separated: `waiting COUNT`, `killed PID NAME`, `stuck PID STATE NAME`, and of sockets
# `taken PORT PID UID NAME` (PID may be `-`).
#
# A process is only ever signalled after its start time was looked at once more.

r_tab=$(printf '\t')
r_living=' '
r_asked=' '
r_killed=' '

r_kill() {
  for r_item in $r_living; do
    r_pid=${r_item%%:*}
    r_birth=${r_item#*:}
    r_birth=${r_birth%%:*}
    r_name=$(r_comm "$r_pid")
    r_signal KILL "$r_pid" "$r_birth"
    case $r_killed in
      *" $r_pid:$r_birth "*) ;;
      *)
        r_killed="$r_killed$r_pid:$r_birth "
        echo "killed$r_tab$r_pid$r_tab$r_name"
        ;;
    esac
  done
}

r_end() {
  r_tick=0
  while r_look && [ "$r_living" != ' ' ] && [ "$r_tick" -le "${r_ticks:-$r_tick}" ]; do
    r_ask
    if [ $((r_tick % 5)) = 4 ]; then
      set -- $r_living
      echo "waiting$r_tab$#"
    fi
    r_tick=$((r_tick + 1))
    sleep 0.2
  done
  r_tick=0
  while [ "$r_living" != ' ' ] && [ "$r_tick" -lt 50 ]; do
    r_kill
    sleep 0.2
    r_look
    r_tick=$((r_tick + 1))
  done
  for r_item in $r_living; do
    r_stat "${r_item%%:*}" || continue
    echo "stuck$r_tab${r_item%%:*}$r_tab$r_state$r_tab$(r_comm "${r_item%%:*}")"
  done
}

# Waits until nothing listens on port $1 of what the command behind it lists: INODE UID each.
r_free() {
  r_port=$1
  shift
  r_tick=0
  while [ "$r_tick" -lt 10 ] && [ -n "$("$@")" ]; do
    r_tick=$((r_tick + 1))
    sleep 0.2
  done
  "$@" | while read -r r_inode r_uid; do
    r_pid=$(r_owner "$r_inode" "$(cd /proc && echo [0-9]*)")
    echo "taken$r_tab$r_port$r_tab${r_pid:--}$r_tab$r_uid$r_tab$(r_comm "${r_pid:--}")"
  done
}
