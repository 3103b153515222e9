# Prints what the driver says of each GPU, again and again: its clock, power, heat, use, and what holds its
# clock down. Reads only; ends when its output is closed, and after half a minute in any case.
command -v timeout >/dev/null && command -v nvidia-smi >/dev/null || exit 0
r_left=60
while [ "$r_left" -gt 0 ]; do
  timeout 5 nvidia-smi --query-gpu=clocks.sm,power.draw,temperature.gpu,utilization.gpu,clocks_event_reasons.active \
    --format=csv,noheader,nounits </dev/null 2>/dev/null || exit 0
  sleep 0.3 2>/dev/null || sleep 1
  r_left=$((r_left - 1))
done
