# Prints what can look after processes here, and the units of ours that the systemd of this user has. One
# fact a line, a word first; reads only.
[ -d /run/systemd/system ] || exit 0
echo systemd
user=$(id -un)
echo "user $user"
if [ -e "/var/lib/systemd/linger/$user" ]; then
  echo lingers
elif [ "$(id -u)" = 0 ] ||
  timeout 5 pkcheck --action-id org.freedesktop.login1.set-self-linger --process $$ > /dev/null 2>&1; then
  echo may-linger
fi
runtime=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}
[ ! -S "$runtime/systemd/private" ] || echo manager
cd "$HOME/.config/systemd/user" 2> /dev/null || exit 0
# Machines that share a home have these files in common.
set -- $(grep -ls "^ConditionHost=$(cat /etc/machine-id 2> /dev/null)\$" replica-*.service)
[ $# -gt 0 ] || exit 0
# What was given up is known to be so for as long as systemd remembers it.
grep -s '^Mark=' /dev/null "$@" | sed 's/^\(.*\)\.service:Mark=/unit \1 /'
for unit; do
  unit=${unit%.service}
  [ ! -e "$unit.secrets" ] || echo "secrets $unit disk"
  [ ! -e "$runtime/replica-secrets/$unit.secrets" ] || echo "secrets $unit memory"
done
XDG_RUNTIME_DIR=$runtime timeout 5 systemctl --user show -p Id -p SubState -p Result "$@" 2> /dev/null |
  awk -F= '
    function tell() { if (id != "") print "state", id, sub_, result; id = "" }
    $1 == "" { tell() }
    $1 == "Id" { id = $2; sub(/\.service$/, "", id) }
    $1 == "SubState" { sub_ = $2 }
    $1 == "Result" { result = $2 }
    END { tell() }'
true
