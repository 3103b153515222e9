# Ends everything of this process group once the client is gone: its end of our input closes.
exec 3<&0
{
  while read -r r_ignored; do :; done
  # Not this one, that has to look after those that do not listen.
  trap '' TERM
  kill -TERM 0
  sleep 2
  kill -KILL 0
} <&3 >/dev/null 2>&1 &
r_lifeline=$!
