# In: $1, `condition` where it is only asked whether it may be started; r_own, the beginning of the names of
# its files; r_port, which it listens on once it has loaded, or nothing where others may load beside it; r_secrets,
# the file of its secrets, and r_memory, `yes` where that goes with the boot; r_ready, the note that it was seen to serve; r_floor, in KiB; r_address, or nothing; r_most, how
# often it is started in a day; what log_keeper.sh takes; r_begin, which becomes the process.

{ IFS= read -r r_boot </proc/sys/kernel/random/boot_id; } 2>/dev/null
r_now=$(date +%s)

# Prints what is lacking for a start.
r_lacking() {
  r_available=$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)
  [ "${r_available:-$r_floor}" -ge "$r_floor" ] ||
    echo "$((r_available / 1024)) MiB of memory can be had of the $((r_floor / 1024)) MiB that it takes"
  [ -z "$r_address" ] || awk -v address="$r_address" '
    $1 == "|--" || $2 == "|--" { at = $NF }
    /host LOCAL/ && at == address { has = 1 }
    END { exit has }' /proc/net/fib_trie || return 0
  [ -z "$r_address" ] || echo "this machine has no address $r_address"
} 2>/dev/null

# Where the name of what began last to load stands, with its port and its log: gone with the boot.
r_turn=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/replica-loading

# Tells whether the unit $1 loads still: it runs, and does not listen on the port $2. One whose log $3 stands
# still for ten minutes does not come to its end.
r_is_loading() {
  case $(systemctl --user show -p SubState --value "$1.service") in
    condition | start-pre | start) return 0 ;;
    running) ;;
    *) return 1 ;;
  esac
  cat /proc/net/tcp /proc/net/tcp6 | awk -v port="$(printf ':%04X' "$2")" '
    $4 == "0A" && substr($2, length($2) - 4) == port { listens = 1 }
    END { exit listens }' || return 1
  [ -n "$(find "$3" -mmin -10)" ]
} 2>/dev/null

# Waits until nothing else loads, and notes that this does. What memory a server finds while another loads
# is not what it will have. Whoever applies has looked, and starts one after another.
r_take_turn() {
  [ -n "$r_port" ] && [ -w "${r_turn%/*}" ] || return 0
  while :; do
    {
      flock 9
      r_name=
      [ ! -e "$r_turn" ] || read -r r_name r_its_port r_its_log <"$r_turn"
      if [ -e "$r_own.first" ] || [ "$r_name" = "${r_own##*/}" ] || [ -z "$r_name" ] ||
        ! r_is_loading "$r_name" "$r_its_port" "$r_its_log"; then
        echo "${r_own##*/} $r_port $r_log" >"$r_turn"
        return 0
      fi
    } 9>>"$r_turn.lock"
    sleep 1
  done
}

case ${1-} in
  condition)
    if [ -n "$r_memory" ] && [ ! -e "$r_secrets" ]; then
      echo 'replica: it is not started again: its secrets were kept in memory, and went with the last boot; `replica apply` starts it'
      exit 1
    fi
    if [ ! -e "$r_own.first" ] && [ ! -e "$r_ready" ]; then
      echo 'replica: it is not started again: it was never seen to become ready'
      exit 1
    fi
    # systemd counts too, but from the start each time that it reads its units anew.
    if [ -e "$r_own.starts" ] && ! awk -v boot="$r_boot" -v now="$r_now" -v most="$r_most" '
      $1 == boot && now - $2 < 86400 { starts++ }
      END { exit starts >= most }' "$r_own.starts"; then
      echo "replica: it is not started again: it was started $r_most times within a day"
      exit 1
    fi
    r_take_turn
    # What has just ended gives its memory back in its own time; after a boot, addresses come late.
    r_tries=0
    while r_said=$(r_lacking) && [ -n "$r_said" ]; do
      r_tries=$((r_tries + 1))
      [ "$r_tries" -lt 60 ] || {
        echo "replica: it is not started: $r_said"
        exit 1
      }
      sleep 1
    done
    exit 0
    ;;
esac
rm -f -- "$r_own.first"
echo "$r_boot $r_now" >>"$r_own.starts"
# Until it says something, it is not one whose log stands still.
touch -- "$r_log"
[ ! -e "$r_ready" ] || (umask 077 && printf . >>"${r_ready%.ready}.again")
{ IFS= read -r r_line <"/proc/$$/stat"; } 2>/dev/null
set -- ${r_line##*) }
r_keep_log_short $$ "${20}"
[ ! -e "$r_secrets" ] || . "$r_secrets"
# What moves memory over RDMA pins it, and may pin all that the node allows, not what a login begins with.
ulimit -S -l "$(ulimit -H -l)" 2>/dev/null
r_setsid=
r_begin
