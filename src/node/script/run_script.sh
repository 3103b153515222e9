# In: r_lock; r_do, what is done while the lock is held.
# What r_do starts inherits the lock: it is free again only when all of that has ended.
mkdir -p -- "${r_lock%/*}" || exit
exec 8>>"$r_lock" || exit
# It says that it waits as long as it does, and more often than anybody's patience ends: what is
# silent counts as stalled, and the attempt before this one may be slow to let go.
until flock -n 8; do
  echo "waiting for another run that holds $r_lock"
  sleep 1
done
r_do
