# Keeps the log of a process from growing for ever, and loses no line of what it keeps: the file stays the
# same one, whoever writes into it, and the room of what stands in its middle is given back to the disk.
# In, as arguments: the process, when it started, the log, how many bytes there may be, how many of its
# beginning and of its end are kept then, and how many seconds pass between two looks.
# Beside the log, NAME.pruned says what is left: the bytes of the beginning, and where the end begins.
LC_ALL=C
export LC_ALL

r_lives() {
  { IFS= read -r r_line <"/proc/$1/stat"; } 2>/dev/null || return 1
  r_since=$2
  set -- ${r_line##*) }
  [ "$1" != Z ] && [ "${20}" = "$r_since" ]
}

# Prints how many bytes a piece of a log has up to where its last line ends, which comes in.
r_whole_lines() {
  awk '{ held = line; line = length($0) + 1; bytes += held } END { print bytes + 0 }'
}

# Gives back what is between the beginning and the end.
r_prune() {
  r_note=${r_log%.log}.pruned
  if ! { read -r r_head r_cut <"$r_note"; } 2>/dev/null; then
    r_head=$(head -c "$r_keep_head" -- "$r_log" | r_whole_lines)
    r_cut=$r_head
  fi
  [ $((r_size - r_cut)) -gt "$r_most" ] || return 0
  r_from=$((r_size - r_keep_end))
  r_rest=$(tail -c "+$((r_from + 1))" -- "$r_log" | head -c 1048576 | head -n 1 | wc -c)
  r_to=$((r_from + r_rest))
  # Who reads it meanwhile is told first what will be there.
  r_had=$(cat -- "$r_note" 2>/dev/null)
  r_tell "$r_head $r_to" || return
  fallocate -p -o "$r_cut" -l "$((r_to - r_cut))" -- "$r_log" && return
  # All of it is there still.
  if [ -n "$r_had" ]; then r_tell "$r_had"; else rm -f -- "$r_note"; fi
  return 1
}

r_tell() {
  (umask 077 && echo "$1" >"$r_note.new") && mv -f -- "$r_note.new" "$r_note"
}

r_watch() {
  cd /
  r_pid=$1 r_birth=$2 r_log=$3 r_most=$4 r_keep_head=$5 r_keep_end=$6 r_pause=$7
  while r_lives "$r_pid" "$r_birth" && r_size=$(stat -c %s -- "$r_log"); do
    if [ "$r_size" -gt "$r_most" ]; then
      r_said=$(r_prune 2>&1) || {
        echo "replica: this log is not kept short: $r_said" >>"$r_log"
        return
      }
    fi
    # Whoever looks for what is left of the process finds nothing of this either: it ends with it.
    timeout "$r_pause" tail -s 0.2 --pid="$r_pid" -f /dev/null || [ $? = 124 ] || sleep "$r_pause"
  done
}
r_watch "$@" </dev/null >/dev/null 2>&1
exit
