# Holds the lock of a topology for as long as the standard input stays open. In: the file, and the
# folder that it is in; the holder.
command -v flock >/dev/null || {
  echo 'there is no flock on this node (it is part of util-linux)' >&2
  exit 1
}
mkdir -p "$folder" || exit 1
while :; do
  exec 9<>"$lock" || exit 1
  flock -n 9
  status=$?
  # A run that was killed a moment ago holds it for as long as this node needs to notice.
  [ "$status" != 1 ] || { sleep 1; flock -n 9; status=$?; }
  # Any other number says that nobody can have it: this file system knows no locks.
  [ "$status" -le 1 ] || exit 1
  if [ "$status" = 1 ]; then
    [ -e "$lock" ] || continue
    echo "$(cat "$lock")"
    exit 0
  fi
  # Whoever let it go removed the file: a lock on a file without a name locks out nobody.
  [ "$lock" -ef /proc/self/fd/9 ] && break
done
printf '%s\n' "$holder" > "$lock"
echo held
cat >/dev/null
rm -f "$lock"
rmdir "$folder" 2>/dev/null
true
