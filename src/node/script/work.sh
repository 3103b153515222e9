# In: r_lock; r_do, what is done while the lock is held.
# What r_do starts inherits the lock: it is free again only when all of that has ended.
mkdir -p -- "$(dirname -- "$r_lock")" || exit
exec 8>>"$r_lock" || exit
# It says that it waits as long as it does: what is silent counts as stalled.
until flock -n 8; do
  echo "waiting for another run that holds $r_lock"
  sleep 5
done
r_do
