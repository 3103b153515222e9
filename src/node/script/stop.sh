# In: r_prefix, the beginning of a mark; r_ports; r_ticks, or nothing where they end by themselves.
# Out, tab-separated: `ours PID NAME`, what ending.sh tells, and at last `done`.
#
# systemd stops what it looks after, and forgets it; what it does not come to is ended like all else.
#
# A process is found by its mark, or by its session: the leader of ours carries the mark, and a
# child that overwrote its environment is in its session still.

r_newline='
'
r_sessions=' ' # ours, all of them
r_single=' '   # marked processes in sessions of others: PID:START
r_shown=' '
r_stat $$ && r_own=$r_session

# Tells whether everything in session $1 is ours: its leader is marked, or gone, or has overwritten
# its environment. A leader with an environment but without the mark is somebody's shell.
r_is_ours() {
  case $1 in
    0 | 1) return 1 ;;
  esac
  [ -e "/proc/$1/stat" ] || return 0
  r_is_marked "$1" "$r_prefix" '*' && return 0
  case $(sed -n 's/^.*) \(.\) .*/\1/p' "/proc/$1/stat" 2>/dev/null) in
    '' | Z | X) return 0 ;;
  esac
  r_text=$(tr '\0' '\n' 2>/dev/null <"/proc/$1/environ") || return 1
  case $r_newline$r_text in
    *"${r_newline}PATH="* | *"${r_newline}HOME="*) return 1 ;;
  esac
  return 0
}

# Learns of what carries the mark now; never of what runs this script.
r_learn() {
  for r_pid in $(r_marked "$r_prefix" '*'); do
    r_stat "$r_pid" && [ "$r_session" != "$r_own" ] || continue
    r_id="$r_pid:$r_started"
    case "$r_sessions|$r_single" in
      *" $r_session "*"|"* | *"|"*" $r_id "*) continue ;;
    esac
    if r_is_ours "$r_session"; then
      r_sessions="$r_sessions$r_session "
    else
      r_single="$r_single$r_id "
    fi
  done
}

# Lists what lives of ours: PID:START:SESSION. A session that is empty is forgotten: its number may
# be given to another.
r_look() {
  r_learn
  r_living=' '
  r_kept=' '
  for r_dir in /proc/[0-9]*; do
    r_pid=${r_dir#/proc/}
    r_stat "$r_pid" || continue
    case $r_state in
      Z | X) continue ;;
    esac
    case $r_sessions in
      *" $r_session "*)
        case $r_kept in
          *" $r_session "*) ;;
          *) r_kept="$r_kept$r_session " ;;
        esac
        ;;
      *)
        case $r_single in
          *" $r_pid:$r_started "*) ;;
          *) continue ;;
        esac
        ;;
    esac
    r_living="$r_living$r_pid:$r_started:$r_session "
    case $r_shown in
      *" $r_pid:$r_started "*) ;;
      *)
        r_shown="$r_shown$r_pid:$r_started "
        echo "ours$r_tab$r_pid$r_tab$(r_comm "$r_pid")"
        ;;
    esac
  done
  r_sessions=$r_kept
}

# Asks the leaders to end, and those that have no leader any more; each once.
r_ask() {
  [ -n "$r_ticks" ] || return 0
  for r_item in $r_living; do
    r_pid=${r_item%%:*}
    r_rest=${r_item#*:}
    r_leader=${r_item##*:}
    case $r_asked in
      *" $r_item "*) continue ;;
    esac
    case $r_sessions in
      *" $r_leader "*)
        case $r_living in
          *" $r_leader:"*) [ "$r_pid" = "$r_leader" ] || continue ;;
        esac
        ;;
    esac
    r_asked="$r_asked$r_item "
    ! r_is_in_unit "$r_pid" || continue
    r_signal TERM "$r_pid" "${r_rest%:*}"
  done
}

# Tells whether systemd was told to stop what the process $1 is part of.
r_is_in_unit() {
  for r_unit in $r_told; do
    grep -q "/$r_unit.service\$" "/proc/$1/cgroup" 2>/dev/null && return 0
  done
  return 1
}

# What systemd ends at once is listed too.
r_look
r_found=$(r_list_units)
r_told=
if [ -n "$r_ticks" ]; then
  for r_unit in $r_found; do
    ! r_systemctl --no-block stop "$r_unit.service" 2>/dev/null || r_told="$r_told $r_unit"
  done
fi
r_end
for r_unit in $r_found; do
  r_systemctl stop "$r_unit.service" 2>/dev/null
  r_drop_units "$r_unit"
done
r_forget_failed
for r_port in $r_ports; do r_free "$r_port" r_listeners "$r_port"; done
echo done
