# Holds the lock of a topology for as long as its holder shows life. In: the file, and the folder that it
# is in; the holder in words, and the process that it is; ended, the process of a holder that is known to
# have ended, or nothing; lease, how many seconds a holder may be silent; as arguments, the folders of
# the topology that go with what was in them.
# Out: `boot` of this machine; then `held` and each beat as it came, at last `lapsed` where the next one
# did not come; or `taken` and what the file says of its holder.
for tool in flock:util-linux timeout:coreutils; do
  command -v "${tool%:*}" >/dev/null || {
    echo "there is no ${tool%:*} on this node (it is part of ${tool#*:})" >&2
    exit 1
  }
done
# Ends the connection over which process $1 was started, and with it all that goes on over it.
cut_off() {
  read -r stat <"/proc/$1/stat" || return
  set -- ${stat##*) }
  read -r name <"/proc/$2/comm" || return
  # On this machine it is replica itself, which reads what became of its lock.
  case $name in sshd* | dropbear*) kill "$2" ;; esac
} 2>/dev/null
# Ends the shell that the file names, if that still holds it open: for a holder that has ended.
take_over() {
  pid=$(sed -n 3p "$lock")
  for open in "/proc/$pid/fd/"*; do
    [ "$open" -ef "$lock" ] || continue
    cut_off "$pid"
    kill "$pid"
    break
  done
} 2>/dev/null
echo "boot $(cat /proc/sys/kernel/random/boot_id)"
# What it is told of runs, and what is kept of them, is nobody else's.
umask 077
[ ! -O "$folder" ] || chmod go-rwx "$folder" 2>/dev/null
tries=0 waited=
while :; do
  # Whoever let it go a moment ago removes the file, and then the folder.
  if ! { mkdir -p "$folder" && command exec 9<>"$lock"; }; then
    tries=$((tries + 1))
    [ "$tries" -lt 5 ] || exit 1
    sleep 0.1
    continue
  fi
  flock -n 9
  status=$?
  # Any other number says that nobody can have it: this file system knows no locks.
  [ "$status" -le 1 ] || exit 1
  if [ "$status" = 1 ]; then
    [ -z "$ended" ] || [ "$(sed -n 2p "$lock")" != "$ended" ] || take_over
    # A run that was killed a moment ago holds it for as long as this node needs to notice.
    [ -n "$waited" ] || { waited=yes; sleep 1; continue; }
    [ -e "$lock" ] || continue
    echo taken
    cat "$lock"
    exit 0
  fi
  # Whoever let it go removed the file: a lock on a file without a name locks out nobody.
  [ "$lock" -ef /proc/self/fd/9 ] && break
done
printf '%s\n%s\n%s\n' "$holder" "$process" $$ >"$lock"
echo held
until
  timeout "$lease" sh -c 'read -r beat && echo "$beat"' 9>&-
  status=$?
  [ "$status" != 0 ]
do :; done
# At the end of its input it was let go. Else nothing of this holder goes on before another one has it.
[ "$status" = 1 ] || cut_off $$
rm -f "$lock"
# A run that was killed may have made some, and nothing in them.
rmdir "$@" "$folder" 2>/dev/null
[ "$status" = 1 ] || echo lapsed
true
