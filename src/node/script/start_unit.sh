# In: $1, `condition` where it is only asked whether it may be started; r_own, the beginning of the names of
# its files; r_secrets, the file of its secrets, and r_memory, `yes` where that goes with the boot; r_ready, the note that it was seen to serve; r_floor, in KiB; r_address, or nothing; r_most, how
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
[ ! -e "$r_ready" ] || (umask 077 && printf . >>"${r_ready%.ready}.again")
{ IFS= read -r r_line <"/proc/$$/stat"; } 2>/dev/null
set -- ${r_line##*) }
r_keep_log_short $$ "${20}"
[ ! -e "$r_secrets" ] || . "$r_secrets"
# What moves memory over RDMA pins it, and may pin all that the node allows, not what a login begins with.
ulimit -S -l "$(ulimit -H -l)" 2>/dev/null
r_setsid=
r_begin
