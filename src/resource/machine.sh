# Prints what this machine has that a server needs: memory, disk, tools, GPUs. One fact a line, a
# word first; reads only. What cannot be told is left out.
total=0 available=0
while read -r key value unit; do
  case $key in
    MemTotal:) total=$value && echo "total $value" ;;
    MemAvailable:) available=$value && echo "available $value" && break ;;
  esac
done < /proc/meminfo
df -Pk "$HOME" | {
  read -r heading
  read -r device blocks used free rest
  echo "home $free"
}
# A number of KiB, or `unlimited`.
pins=$(ulimit -H -l 2> /dev/null) && echo "pins $pins"
for tool in gcc g++ clang clang++; do
  command -v "$tool" > /dev/null && echo "tool $tool"
done
{ read -r driver < /sys/module/nvidia/version; } 2> /dev/null && echo "driver $driver"
libc=$(getconf GNU_LIBC_VERSION 2> /dev/null) && echo "libc $libc"
# Prints the GPUs, with whether each is split by MIG before its name where the driver knows of that.
gpus() { timeout 5 nvidia-smi "--query-gpu=$1name,memory.total,memory.used,memory.free" --format=csv,noheader,nounits; }
answer() {
  gpus mig.mode.current, && echo "status 0" && return
  status=$?
  # One that hangs hangs again; one that does not know the field says so.
  [ "$status" != 124 ] && gpus '' && echo "status 0" && return
  echo "status $status"
}
if command -v timeout > /dev/null && command -v nvidia-smi > /dev/null; then
  # A driver that hangs must not hold up a plan: what it holds fast cannot even be killed, so nobody
  # waits for that.
  said=$({ answer 2>&1 & } | timeout 12 cat)
  status=$(printf '%s\n' "$said" | sed -n 's/^status //p')
  case $status in
    0)
      printf '%s\n' "$said" | while IFS= read -r line; do
        case $line in
          'Field '* | 'status '*) ;;
          'Enabled, '*) echo "mig ${line#*, }" ;;
          'Disabled, '* | '['*'], '*) echo "gpu ${line#*, }" ;;
          *) echo "gpu $line" ;;
        esac
      done
      ;;
    '' | 124) echo gpus-silent ;;
    *) printf '%s\n' "$said" | grep -v -e '^Field ' -e '^status ' | sed -n '/./{s/^/gpus-failed /;p;q;}' ;;
  esac
fi
# Whose the memory is matters only where little is left.
[ "$available" -ge $((total / 2)) ] ||
  grep -s '^VmRSS:' /proc/[0-9]*/status | sort -k 2,2 -rn | head -n 3 | while read -r file size unit; do
    pid=${file#/proc/} && pid=${pid%%/*}
    read -r name < "/proc/$pid/comm" && echo "holder $pid $size $name"
  done
true
