# In: how closely to look (`whole` or `quick`), then the places as arguments, three each: instance,
# mark, log.
# Out, one fact a line, a word first: what this machine is like now. Reads only; what cannot be told is
# left out.
r_look=$1
shift
{ IFS= read -r r_line </proc/sys/kernel/random/boot_id; } 2>/dev/null && echo "boot $r_line"
{ read -r r_up r_rest </proc/uptime; } 2>/dev/null && echo "uptime $r_up"
sed -n 's/^some .*total=/waited /p' /proc/pressure/cpu 2>/dev/null

# Prints what the driver says of each GPU; $1 is what it calls the reasons that hold clocks down.
r_gpus() {
  timeout 5 nvidia-smi "--query-gpu=name,uuid,driver_version,pstate,clocks.sm,clocks.max.sm,temperature.gpu,power.draw,power.limit,$1.active" \
    --format=csv,noheader,nounits </dev/null 2>/dev/null
}
if [ "$r_look" = whole ] && command -v timeout >/dev/null && command -v nvidia-smi >/dev/null; then
  # The name of that field changed. What hangs in the driver cannot be killed: nobody waits for it.
  { { r_gpus clocks_event_reasons || r_gpus clocks_throttle_reasons; } & } | timeout 12 cat | sed 's/^/gpu /'
fi

while [ $# -ge 3 ]; do
  if r_find_leader "$2"; then
    r_size=$(stat -c %s -- "$3" 2>/dev/null || echo 0)
    echo "server $1 $r_leader $r_birth"
    [ "$r_look" != whole ] ||
      r_log_text "$3" 0 "$r_size" 2>/dev/null |
      grep -aE 'backend|kernel|KV cache size|Maximum concurrency|Model loading took' |
      head -n 40 | cut -c 1-300 | sed "s/^/named $1 /"
    echo "compiled $1 $(r_log_text "$3" 0 "$r_size" 2>/dev/null | grep -acE 'JIT compilation during inference')"
  fi
  shift 3
done
