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
for tool in gcc g++ clang clang++; do
  command -v "$tool" > /dev/null && echo "tool $tool"
done
# A driver that hangs must not hold up a plan.
command -v timeout > /dev/null && command -v nvidia-smi > /dev/null &&
  timeout 5 nvidia-smi --query-gpu=name,memory.total,memory.used,memory.free --format=csv,noheader,nounits |
  while read -r line; do echo "gpu $line"; done
# Whose the memory is matters only where little is left.
[ "$available" -ge $((total / 2)) ] ||
  grep -s '^VmRSS:' /proc/[0-9]*/status | sort -k 2,2 -rn | head -n 3 | while read -r file size unit; do
    pid=${file#/proc/} && pid=${pid%%/*}
    read -r name < "/proc/$pid/comm" && echo "holder $pid $size $name"
  done
true
