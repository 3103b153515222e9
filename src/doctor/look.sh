# Prints what a node's owner wants to know before blaming the software: memory, network, GPU, versions.
# One fact a line, a word first; reads only, and needs no root. What cannot be told is left out.
PATH=$PATH:/usr/sbin:/sbin
# The first line of a file, or `-`.
value() { { read -r value < "$1"; } 2> /dev/null && [ -n "$value" ] && echo "$value" || echo -; }
# A tool that hangs must not hold this up.
patiently() { if command -v timeout > /dev/null; then timeout 5 "$@"; else "$@"; fi; }

while read -r key number unit; do
  case $key in
    MemTotal: | MemFree: | MemAvailable: | Cached: | SwapTotal: | SwapFree:) echo "memory ${key%:} $number" ;;
  esac
done < /proc/meminfo
df -Pk /dev/shm 2> /dev/null | {
  read -r heading
  read -r device blocks used rest && echo "shm $blocks $used"
}
# Who holds memory: a program by what it has mapped, and by what the driver says that it has of the GPU.
name() { { read -r comm < "/proc/$1/comm"; } 2> /dev/null && echo "$(stat -c %U "/proc/$1") $comm"; }
grep -s '^VmRSS:' /proc/[0-9]*/status | sort -k 2,2 -rn | head -n 5 | while read -r file size unit; do
  pid=${file#/proc/} pid=${pid%%/*}
  who=$(name "$pid") && echo "holder $pid $size $who"
done
for keeper in earlyoom nohang systemd-oomd; do
  grep -lsx "$keeper" /proc/[0-9]*/comm > /dev/null && echo "guard $keeper"
done

for folder in /sys/class/net/*; do
  port=${folder##*/} rdma=-
  [ "$port" = lo ] && continue
  for device in /sys/class/infiniband/*; do
    [ -e "$device/device/net/$port" ] && rdma=${device##*/}
  done
  speed=$(value "$folder/device/current_link_speed") most=$(value "$folder/device/max_link_speed")
  echo "port $port $(value "$folder/operstate") $(value "$folder/speed") $(value "$folder/mtu")" \
    "$(value "$folder/device/current_link_width") $(value "$folder/device/max_link_width")" \
    "${speed%% *} ${most%% *} $rdma"
done
if command -v ip > /dev/null; then
  ip -o -4 addr show 2> /dev/null | while read -r number port family address rest; do
    echo "address ${port%%@*} $address"
  done
fi
# Which file brings an address back after a reboot.
command -v nmcli > /dev/null && echo keeps &&
  patiently nmcli -t -f DEVICE,FILENAME connection show --active 2> /dev/null | tr ':' ' ' | sed 's/^/kept /'
if command -v networkctl > /dev/null && [ -d /run/systemd/netif ]; then
  echo keeps
  for folder in /sys/class/net/*; do
    [ "${folder##*/}" = lo ] || patiently networkctl status --no-pager "${folder##*/}" 2> /dev/null |
      sed -n "s|^ *Network File: *\(/[^ ]*\).*|kept ${folder##*/} \1|p"
  done
fi
for file in /sys/class/infiniband/*/ports/*/gid_attrs/types/*; do
  { read -r kind < "$file"; } 2> /dev/null || continue
  index=${file##*/} place=${file%/gid_attrs/*}
  device=${place#/sys/class/infiniband/} device=${device%%/*}
  gid=$(value "$place/gids/$index")
  echo "gid $device $index ${kind##* } $gid"
done

echo "version kernel $(uname -r)"
echo "version BIOS $(value /sys/class/dmi/id/bios_version)"
echo "version machine $(value /sys/class/dmi/id/product_name)"
for file in /sys/class/infiniband/*/fw_ver; do
  [ -e "$file" ] && echo "version firmware $(value "$file")" && break
done
# A driver that hangs holds its caller fast, and cannot even be killed: nobody waits for that.
smi() { timeout 5 nvidia-smi "$1" --format=csv,noheader,nounits; }
if command -v nvidia-smi > /dev/null && command -v timeout > /dev/null; then
  {
    {
      smi --query-gpu=driver_version | head -n 1 | sed 's/^/version driver /'
      smi --query-gpu=clocks.sm,power.draw,temperature.gpu,utilization.gpu,clocks_event_reasons.active |
        sed 's/^/gpu /'
      smi --query-compute-apps=pid,used_memory | tr -d ',' | while read -r pid size; do
        who=$(name "$pid") && echo "user $pid $size $who"
      done
    } 2> /dev/null &
  } | timeout 12 cat
fi
echo "clock $(date +%s)"
for file in /etc/ssh/sshd_config.d/*.conf /etc/ssh/sshd_config; do
  [ -r "$file" ] && awk 'tolower($1) == "match" { exit }
    tolower($1) == "maxsessions" { print "sshd MaxSessions", $2 }
    tolower($1) == "allowtcpforwarding" { print "sshd AllowTcpForwarding", $2 }
    tolower($1) == "disableforwarding" { print "sshd DisableForwarding", $2 }' "$file"
done
if [ -d /run/systemd/system ]; then
  if [ -e "/var/lib/systemd/linger/$(id -un)" ]; then echo "linger yes"; else echo "linger no"; fi
fi
true
