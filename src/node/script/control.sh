# In: r_request; as arguments, the program that brings it to the one that it is for, and its words.
# A program that cannot be run may be brought anew just now: it is tried for as long as that may take.
r_tries=0
while :; do
  # `printf` is the shell's own: the request is in no process list.
  printf '%s\n' "$r_request" | "$@"
  r_status=$?
  case $r_status in 126 | 127) ;; *) exit "$r_status" ;; esac
  r_tries=$((r_tries + 1))
  [ "$r_tries" -lt 60 ] || exit "$r_status"
  sleep 0.5
done
