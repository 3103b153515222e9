# Looks at processes by /proc alone: no tool for it is the same everywhere.

# Reads what /proc says of a process: r_state, r_parent, r_session, r_started. Fails when there is none.
r_stat() {
  { IFS= read -r r_line <"/proc/$1/stat"; } 2>/dev/null || return 1
  # The name may hold blanks and brackets; what follows the last one does not.
  r_line=${r_line##*) }
  r_state=${r_line%% *}
  set -- $r_line
  r_parent=$2
  r_session=$4
  r_started=${20}
}

# Prints the name of a process.
r_comm() {
  { IFS= read -r r_line <"/proc/$1/comm"; } 2>/dev/null || r_line='?'
  printf '%s\n' "$r_line"
}

# Tells whether the mark of a process is $2, or begins with it where $3 is `*`.
r_is_marked() {
  tr '\0' '\n' 2>/dev/null <"/proc/$1/environ" | {
    while IFS= read -r r_line; do
      case $r_line in
        "REPLICA_MARK=$2"$3) exit 0 ;;
      esac
    done
    exit 1
  }
} 2>/dev/null

# Prints the environments that may hold the mark $1. The grep of busybox sees nothing after a NUL.
if printf 'a\0b' | grep -qF b; then
  r_candidates() { grep -lsF -e "REPLICA_MARK=$1" /proc/[0-9]*/environ 2>/dev/null; }
else
  r_candidates() { echo /proc/[0-9]*/environ; }
fi

# Prints the processes whose mark is $1, or begins with it where $2 is `*`.
r_marked() {
  for r_file in $(r_candidates "$1"); do
    r_file=${r_file#/proc/}
    if r_is_marked "${r_file%/environ}" "$1" "$2"; then
      echo "${r_file%/environ}"
    fi
  done
}

# Finds the process that leads its session and has the mark $1: r_leader, and r_birth, when it
# started. A child that leads a session of its own has the mark too; it is younger.
r_find_leader() {
  r_leader=
  for r_pid in $(r_marked "$1" ''); do
    r_stat "$r_pid" && [ "$r_session" = "$r_pid" ] || continue
    case $r_state in
      Z | X) continue ;;
    esac
    if [ -z "$r_leader" ] || [ "$r_started" -lt "$r_birth" ]; then
      r_leader=$r_pid
      r_birth=$r_started
    fi
  done
  [ -n "$r_leader" ]
}

# Prints inode and user of each socket that listens on port $1.
r_listeners() {
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
    grep -E "^ *[0-9]+: [0-9A-F]+:$(printf %04X "$1") [0-9A-F]+:[0-9A-F]+ 0A " |
    while read -r r_sl r_local r_remote r_st r_queues r_timer r_retries r_uid r_timeout r_inode r_more; do
      echo "$r_inode $r_uid"
    done
}

# Prints the first process of those in $2 (`123`, `[0-9]*`) that holds the socket with inode $1.
r_owner() {
  r_socket=$1
  set -- $(for r_pid in $2; do echo "/proc/$r_pid/fd"; done)
  [ $# -gt 0 ] || return 0
  # `-R`, for a single folder would go without its heading.
  ls -lR "$@" 2>/dev/null | awk -v socket="socket:[$r_socket]" '
    /^\/proc\/[0-9]+\/fd:$/ { split($0, path, "/"); pid = path[3] }
    index($0, socket) { print pid; exit }'
}

# Sends signal $1 to process $2 if it still is the one that started at $3.
r_signal() {
  r_stat "$2" && [ "$r_started" = "$3" ] && kill "-$1" "$2" 2>/dev/null
}
