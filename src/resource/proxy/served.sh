# In: r_socket; r_mark, how the mark of what serves begins; as arguments, the programs that there are.
# Out: what the proxy answers that is asked over the socket, if any does.
r_ask() { echo '"status"' | "$1" proxy-control "$r_socket" --timeout 5 2>/dev/null; }
tool=
for one; do
  # What an upload that was cut off has left there is no program.
  case $one in *.new) ;; *) [ ! -x "$one" ] || tool=$one ;; esac
done
[ -z "$tool" ] || ! r_ask "$tool" || exit 0
# What is there cannot be run; what runs is as it was when it began.
for one in $(grep -las -e "REPLICA_MARK=$r_mark" /proc/[0-9]*/environ); do
  ! r_ask "${one%environ}exe" || exit 0
done
true
