# Prints what runs here that is ours, who listens, and which vLLM processes are strangers.
# One fact a line, a word first; reads only.
echo "boot $(cat /proc/sys/kernel/random/boot_id)"
echo "clock $(cut -d' ' -f1 /proc/uptime) $(getconf CLK_TCK 2>/dev/null || echo 100)"
# Ours are of this user and of this process space: a container's processes are another machine's.
here() { [ -O "/proc/$1" ] && [ "/proc/$1/ns/pid" -ef /proc/self/ns/pid ]; }
marked=
for pid in $(grep -las 'REPLICA_MARK=v' /proc/[0-9]*/environ | cut -d/ -f3); do
  here "$pid" && marked="$marked $pid"
done
# The brackets keep this very grep from finding itself.
vllm=$(grep -las -i '[v]llm' /proc/[0-9]*/cmdline | cut -d/ -f3)
cat /proc/[0-9]*/stat 2>/dev/null | awk -v marked="$marked" -v vllm="$vllm" '
  function words(text, set,   list, n, i) { n = split(text, list, /[ \n]+/); for (i = 1; i <= n; i++) set[list[i]] = 1 }
  BEGIN { words(marked, mark); words(vllm, like) }
  { comm = $0; sub(/^[0-9]+ \(/, "", comm); rest = comm
    sub(/\) [A-Za-z] .*$/, "", comm); sub(/^.*\) /, "", rest); split(rest, f, " ")
    if (f[1] == "Z") next
    pid = $1; ppid[pid] = f[2]; sid[pid] = f[4]; start[pid] = f[20]; name[pid] = comm
    if (pid in mark) ours[f[4]] = 1 }
  END { for (p in sid)
          if (sid[p] in ours) print "process", p, ppid[p], sid[p], start[p], ((p in mark) ? "marked" : "unmarked"), name[p]
          else if (p in like) print "stranger", p, start[p], name[p] }'
for pid in $marked; do
  tr '\0' '\n' < "/proc/$pid/environ" | sed -n "s/^REPLICA_\(MARK\|SPEC\)=/\1 $pid /p"
done 2>/dev/null
for pid in $marked $vllm; do
  printf 'command %s %s %s\n' "$pid" "$(stat -c %U "/proc/$pid")" "$(tr '\0\n' '  ' < "/proc/$pid/cmdline" | cut -c1-400)"
done 2>/dev/null
listeners=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == "0A" { n = split($2, a, ":"); print "listener", a[n], $10, $8 }')
printf '%s\n' "$listeners"
ls -l /proc/[0-9]*/fd 2>/dev/null | awk -v listeners="$listeners" '
  BEGIN { n = split(listeners, lines, "\n"); for (i = 1; i <= n; i++) { split(lines[i], f, " "); want["socket:[" f[3] "]"] = f[3] } }
  /^\/proc\// { split($0, path, "/"); pid = path[3] }
  ($NF in want) && !((pid, $NF) in said) { said[pid, $NF] = 1; print want[$NF], pid }' | while read -r inode pid; do
  printf 'owner %s %s %s %s %s\n' "$inode" "$pid" "$(sed 's/^.*) //' "/proc/$pid/stat" | cut -d' ' -f4)" \
    "$(stat -c %U "/proc/$pid")" "$(tr '\0\n' '  ' < "/proc/$pid/cmdline" | cut -c1-400)"
done 2>/dev/null
true
