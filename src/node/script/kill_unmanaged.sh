# In: r_boot; r_processes, `PID:START` each; r_ports, those that they listen on; r_ticks.
# Out, tab-separated: `ours PID NAME`, `spared PID NAME` for one that is not to be ended, what ending.sh
# tells, and at last `done`.
#
# These carry no mark: each is known by its pid, its start and the boot, and those that it started
# by it. Their session may be somebody's shell, so it says nothing.

r_known=' ' # all that belong to it: PID:START

# After another boot nothing of it lives.
IFS= read -r r_line </proc/sys/kernel/random/boot_id
[ "$r_line" = "$r_boot" ] || r_processes=

r_has_mark() {
  { tr '\0' '\n' <"/proc/$1/environ" | grep -q '^REPLICA_MARK='; } 2>/dev/null
}

# Tells whether process $1, of session $2, is of this user and this process space, and not ours.
r_may_end() {
  [ -O "/proc/$1" ] && [ "/proc/$1/ns/pid" -ef /proc/self/ns/pid ] || return 1
  ! r_has_mark "$1" && ! r_has_mark "$2"
}

# Counts the process that was looked at last among those that belong to it.
r_take() {
  r_known="$r_known$r_pid:$r_started "
  r_living="$r_living$r_pid:$r_started:$r_parent "
  echo "ours$r_tab$r_pid$r_tab$(r_comm "$r_pid")"
}

# Tells whether $1 is still the pid of one that lived a moment ago.
r_is_parent() {
  case $r_living in
    *" $1:"*) ;;
    *) return 1 ;;
  esac
  r_birth=${r_living#*" $1:"}
  r_birth=${r_birth%%:*}
  (r_stat "$1" && [ "$r_started" = "$r_birth" ])
}

# Lists what lives of it, PID:START:PARENT, and takes what that has started, until there is no more.
r_look() {
  r_grew=yes
  while [ -n "$r_grew" ]; do
    r_grew=
    r_found=' '
    for r_dir in /proc/[0-9]*; do
      r_pid=${r_dir#/proc/}
      r_stat "$r_pid" || continue
      case $r_state in
        Z | X) continue ;;
      esac
      case $r_known in
        *" $r_pid:$r_started "*) ;;
        *)
          r_is_parent "$r_parent" && r_may_end "$r_pid" "$r_session" || continue
          r_take
          r_grew=yes
          ;;
      esac
      r_found="$r_found$r_pid:$r_started:$r_parent "
    done
    r_living=$r_found
  done
}

# Asks those to end whose parent is none of them, or none of them any more; each once.
r_ask() {
  for r_item in $r_living; do
    r_id=${r_item%:*}
    case $r_asked in
      *" $r_id "*) continue ;;
    esac
    case $r_living in
      *" ${r_item##*:}:"*) continue ;;
    esac
    r_asked="$r_asked$r_id "
    r_signal TERM "${r_id%:*}" "${r_id#*:}"
  done
}

# Prints the sockets on these ports that belong to it: PORT:INODE.
r_sockets() {
  for r_port in $r_ports; do
    r_listeners "$r_port" | while read -r r_inode r_uid; do
      r_pids=$(for r_item in $r_living; do echo "${r_item%%:*}"; done)
      [ -z "$(r_owner "$r_inode" "$r_pids")" ] || echo "$r_port:$r_inode"
    done
  done
}

# Prints the line of socket $2, if it listens on port $1 still.
r_still() { r_listeners "$1" | grep "^$2 "; }

for r_item in $r_processes; do
  r_pid=${r_item%%:*}
  r_stat "$r_pid" && [ "$r_started" = "${r_item#*:}" ] || continue
  case $r_state in
    Z | X) continue ;;
  esac
  if r_may_end "$r_pid" "$r_session"; then
    r_take
  else
    echo "spared$r_tab$r_pid$r_tab$(r_comm "$r_pid")"
  fi
done
r_look
r_open=$(r_sockets)

r_end
# Others may listen on the same port, so each socket is looked for, and not the port.
for r_item in $r_open; do r_free "${r_item%:*}" r_still "${r_item%:*}" "${r_item#*:}"; done
echo done
