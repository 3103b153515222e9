# In: r_lock; r_do, what is done while the lock is held.
# What r_do starts inherits the lock: it is free again only when all of that has ended.
mkdir -p -- "$(dirname -- "$r_lock")" || exit
exec 8>>"$r_lock" || exit
if ! flock -n 8; then
  echo "waiting for another run that holds $r_lock"
  flock 8 || exit
fi
r_do
