# Prints the logs of things, and goes on as they grow: into the next start of a thing too.
# In: log_text.sh; r_folder, the folder of logs; r_things, those wanted, or nothing for all that there are;
# r_lines, how much of the end of each as `tail -n` takes it; r_follow, `yes` to go on.
# Out: `zone +0100`; then for each piece of a log `piece THING START`, its lines with a space before
# each, and `end`, or `open` where its last line has not ended yet; `read` once all were read.
LC_ALL=C
export LC_ALL

# Prints what a name is of, `THING START`, where it is that of a log.
r_read_name() {
  r_name=${1##*/}
  r_name=${r_name%.log}
  case ${r_name##*.} in '' | *[!0-9]*) return 1 ;; esac
  case ${r_name%.*} in '' | *[!A-Za-z0-9._-]*) return 1 ;; esac
  echo "${r_name%.*} ${r_name##*.}"
}

# Prints the things that there are logs of.
r_all() {
  for r_file in "$r_folder"/*.log; do
    [ -f "$r_file" ] && r_read_name "$r_file"
  done | cut -d ' ' -f 1 | sort -u
}

# Prints the starts of a thing that left logs, oldest first.
r_starts() {
  for r_file in "$r_folder/$1".*.log; do
    [ -f "$r_file" ] && r_read_name "$r_file"
  done | while read -r r_of r_start; do
    [ "$r_of" = "$1" ] && echo "$r_start"
  done | sort -n
}

# Prints a piece of the log of r_thing: what comes in, r_size being where it ends.
r_print() {
  echo "piece $r_thing $r_at"
  sed 's/^/ /'
  # What is no line end has no line break after it either.
  if [ -n "$(tail -c "+$r_size" -- "$r_path" | head -c 1 | tr '\000' x)" ]; then
    echo
    echo open
  else
    echo end
  fi
}

# Prints what the log of r_thing has grown by.
r_grow() {
  r_path=$r_folder/$r_thing.$r_at.log
  r_size=$(stat -c %s -- "$r_path" 2>/dev/null) || return 0
  [ "$r_size" -lt "$r_offset" ] && r_offset=0
  [ "$r_size" -gt "$r_offset" ] || return 0
  r_log_text "$r_path" "$r_offset" "$r_size" | r_print
  r_offset=$r_size
}

# Prints the end of the newest log of r_thing, as far as it is wanted.
r_begin() {
  r_at=$(r_starts "$r_thing" | tail -n 1)
  r_at=${r_at:-0}
  r_path=$r_folder/$r_thing.$r_at.log
  r_size=$(stat -c %s -- "$r_path" 2>/dev/null) || return 0
  r_offset=$r_size
  [ "$r_size" -gt 0 ] || return 0
  r_log_text "$r_path" 0 "$r_size" | tail -n "$r_lines" | r_print
}

# Goes on with r_thing from where it was: what it wrote last stands before its next start.
r_go_on() {
  # Whoever destroyed it removed its logs, and its starts are counted anew.
  [ -e "$r_folder/$r_thing.$r_at.log" ] || r_at=0
  r_grow
  for r_next in $(r_starts "$r_thing"); do
    [ "$r_next" -gt "$r_at" ] || continue
    [ "$r_at" -gt 0 ] && r_grow
    r_at=$r_next r_offset=0
    r_grow
  done
}

# Says where r_thing was left: r_at and r_offset.
r_recall() {
  r_at=0 r_offset=0
  while read -r r_known_thing r_known_at r_known_offset; do
    if [ "$r_known_thing" = "$r_thing" ]; then
      r_at=$r_known_at r_offset=$r_known_offset
    fi
  done <<END
$r_known
END
}

# Does something with each thing, and keeps where it was left.
r_each() {
  r_left=
  for r_thing in ${r_things:-$(r_all)}; do
    r_recall
    "$1"
    r_left="$r_left$r_thing $r_at $r_offset
"
  done
  r_known=$r_left
}

echo "zone $(date +%z)"
r_known=
r_each r_begin
echo read
while [ "$r_follow" = yes ]; do
  sleep 0.3 2>/dev/null || sleep 1
  r_each r_go_on
done
