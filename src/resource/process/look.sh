# Prints what runs here that is ours, who listens, and which vLLM processes are foreign.
# One fact a line, a word first; reads only. Each program that it starts costs a node more than what
# the program does, so all processes are asked about at once.
# Without one of these it would tell less, and less would look like nothing.
for tool in awk grep stat cat; do command -v "$tool" > /dev/null || exit 1; done
read -r boot < /proc/sys/kernel/random/boot_id
read -r uptime rest < /proc/uptime
# The kernel tells times in hundredths, whatever its own clock.
echo "boot $boot"
echo "clock $uptime 100"
# Ours are of this user and of this process space: a container's processes are another machine's.
here() { [ -O "/proc/$1" ] && [ "/proc/$1/ns/pid" -ef /proc/self/ns/pid ]; }
# The processes of files below /proc.
pids() { for file do file=${file#/proc/}; echo "${file%%/*}"; done; }
marked= environs=
for pid in $(pids $(grep -las 'REPLICA_MARK=v' /proc/[0-9]*/environ)); do
  here "$pid" && marked="$marked $pid" environs="$environs /proc/$pid/environ"
done
# The brackets keep this very grep from finding itself.
vllm=$(pids $(grep -las -i '[v]llm' /proc/[0-9]*/cmdline))
own= inside=
for pid in $vllm; do
  if here "$pid"; then own="$own $pid"
  elif [ -O "/proc/$pid" ]; then inside="$inside $pid"
  fi
done
cat /proc/[0-9]*/stat 2>/dev/null | awk -v marked="$marked" -v vllm="$vllm" -v own="$own" -v inside="$inside" '
  function words(text, set,   list, n, i) { n = split(text, list, /[ \n]+/); for (i = 1; i <= n; i++) set[list[i]] = 1 }
  BEGIN { words(marked, mark); words(vllm, like); words(own, mine); words(inside, boxed) }
  { comm = $0; sub(/^[0-9]+ \(/, "", comm); rest = comm
    sub(/\) [A-Za-z] .*$/, "", comm); sub(/^.*\) /, "", rest); split(rest, f, " ")
    if (f[1] == "Z") next
    pid = $1; ppid[pid] = f[2]; sid[pid] = f[4]; start[pid] = f[20]; name[pid] = comm
    if (pid in mark) ours[f[4]] = 1 }
  END { for (p in sid)
          if (sid[p] in ours) print "process", p, ppid[p], sid[p], start[p], ((p in mark) ? "marked" : "unmarked"), name[p]
          else if (p in like) {
            # A child shares the session of whoever started it; who took over an orphan is elsewhere.
            kin = (ppid[p] in sid) && sid[ppid[p]] == sid[p] ? "child" : "orphan"
            print "foreign", p, ppid[p], start[p], ((p in mine) ? "own" : (p in boxed) ? "container" : "other"), kin, name[p] } }'
# Their environments and command lines, a word of them a line, after the file that it is from.
[ -z "$environs" ] || grep -Hzas '^REPLICA_\(MARK\|SPEC\)=' $environs | tr '\0\n' '\n ' |
  sed -n 's|^/proc/\([0-9]*\)/environ:REPLICA_\([A-Z]*\)=|\2 \1 |p'
listeners=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == "0A" { n = split($2, a, ":"); print "listener", a[n], $10, $8 }')
printf '%s\n' "$listeners"
owners=$(ls -l /proc/[0-9]*/fd 2>/dev/null | awk -v listeners="$listeners" '
  BEGIN { n = split(listeners, lines, "\n"); for (i = 1; i <= n; i++) { split(lines[i], f, " "); want["socket:[" f[3] "]"] = f[3] } }
  /^\/proc\// { split($0, path, "/"); pid = path[3] }
  ($NF in want) && !((pid, $NF) in said) { said[pid, $NF] = 1; print want[$NF], pid }' | while read -r inode pid; do
  { read -r stat < "/proc/$pid/stat"; } 2>/dev/null || continue
  set -- ${stat##*) }
  echo "$inode $pid $4"
done)
folders= commands=
for pid in $marked $vllm $(printf '%s\n' "$owners" | cut -d' ' -f2); do
  case "$folders " in *" /proc/$pid "*) continue ;; esac
  folders="$folders /proc/$pid" commands="$commands /proc/$pid/cmdline"
done
[ -z "$folders" ] || {
  stat -c 'user %n %U' $folders
  grep -Hzas '' $commands | tr '\0\n' '\n '
} 2>/dev/null | awk -v marked="$marked" -v vllm="$vllm" -v owners="$owners" '
  /^user \/proc\// { split($2, path, "/"); user[path[3]] = $3; next }
  { at = index($0, ":"); split($0, path, "/"); command[path[3]] = command[path[3]] substr($0, at + 1) " " }
  function about(pid) { return user[pid] " " substr(command[pid], 1, 400) }
  END { n = split(marked " " vllm, pids, /[ \n]+/)
        for (i = 1; i <= n; i++) if (pids[i] in user) print "command", pids[i], about(pids[i])
        n = split(owners, lines, "\n")
        for (i = 1; i <= n; i++) { split(lines[i], f, " "); if (f[2] in user) print "owner", f[1], f[2], f[3], about(f[2]) } }'
true
