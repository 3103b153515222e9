#!/bin/sh
# Brings labs up and looks, from outside, whether every command did what it says; where a check could
# pass for another reason, its control stands beside it. As root; without root it runs itself in
# rootless.sh. Ends with `N passed, N failed`, and fails when one failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || [ "${LAB_ROOTLESS-}" ] || exec sh "$here/rootless.sh" sh "$0" "$@"

work=$(realpath "$(mktemp -d)")
export LAB_NET="${SELFTEST_NET:-10.91}" LAB_IF="${SELFTEST_IF:-labself0}" LAB_STATE="$work/state"
rootless=${LAB_ROOTLESS-}
lab=$here/lab
passed=0 failed=0

cleanup() {
    "$lab" down
    second down
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# check WHAT COMMAND…: the command must succeed.   check_not: it must fail.
# refused WHAT WORDS COMMAND…: it must fail, and say WORDS.
verdict() {
    if [ "$1" = "$2" ]; then
        passed=$((passed + 1))
        echo "ok    $3"
    else
        failed=$((failed + 1))
        echo "FAIL  $3"
        sed 's/^/      | /' "$work/said"
    fi
}
check() {
    what=$1
    shift
    if "$@" >"$work/said" 2>&1; then verdict yes yes "$what"; else verdict no yes "$what"; fi
}
check_not() {
    what=$1
    shift
    if "$@" >"$work/said" 2>&1; then verdict yes no "$what"; else verdict no no "$what"; fi
}
refused() {
    what=$1 words=$2
    shift 2
    if "$@" >"$work/said" 2>&1 || ! grep -qe "$words" "$work/said"; then
        verdict no yes "$what"
    else
        verdict yes yes "$what"
    fi
}

on() { ssh -F "$LAB_STATE/ssh_config" -o ConnectTimeout=3 "$@"; } # on HOST SCRIPT, as nvidia
root() { host=$1 && shift && "$lab" exec "$host" sh -c "$*"; }    # root HOST SCRIPT
same() { [ "$("$@")" = "$want" ]; }
second() { LAB_NET="${SELFTEST_NET2:-10.92}" LAB_IF="${LAB_IF%?}1" LAB_STATE="$work/second" "$lab" "$@"; }
answers() { on "$1" true; }
boot_id() { on "$1" cat /proc/sys/kernel/random/boot_id; }

# What is left of our labs on the machine; dead processes that await their parent's notice aside.
remains() {
    for process in /proc/[0-9]*; do
        tr '\0' '\n' 2>/dev/null <"$process/environ" | grep "^REPLICA_LAB=$work" && echo "$process"
    done 2>/dev/null
    ip -o link show | grep "${LAB_IF%?}"
    ip route show table all | grep "${LAB_IF%?}"
    grep "$work" /proc/mounts
    find /sys/fs/cgroup -name "replica-lab$(echo "$work" | tr / -)*"
    ls "$LAB_STATE" "$work/second" 2>/dev/null
}
nothing_remains() {
    remains >"$work/remains"
    cat "$work/remains"
    ! [ -s "$work/remains" ]
}

# ---- up ------------------------------------------------------------------------------------------
check 'nothing of a lab is here before' nothing_remains
check 'up 3' "$lab" up 3
check_not 'control: now something is here' nothing_remains
refused 'up in the same state is refused' 'take it down first' "$lab" up 3
refused 'up with the same LAB_IF is refused' 'belongs to' env LAB_STATE="$work/second" "$lab" up 1
refused 'up with the same LAB_NET is refused' 'is taken' \
    env LAB_STATE="$work/second" LAB_IF="${LAB_IF%?}1" "$lab" up 1
want=spark-01 check 'ssh reaches spark-01 by name' same on spark-01 hostname
want=controller check 'ssh reaches the controller by address' same on "$LAB_NET.0.10" hostname
check_not 'control: an unknown host key is refused' on -o UserKnownHostsFile=/dev/null spark-01 true
check 'inventory names every host' sh -c "'$lab' inventory | grep -q '^spark-02 $LAB_NET.0.12'"
check 'status says up' sh -c "[ \$('$lab' status | grep -c ' up .*sshd') = 3 ]"

# ---- what a host is ------------------------------------------------------------------------------
want=1000 check 'nvidia is uid 1000 in a host' same on spark-01 id -u
check_not 'control: this machine has no nvidia' id nvidia
want='nvidia /home/nvidia' check 'its home is its own' same on spark-01 'echo $(stat -c %U ~) ~'
want=tini check 'process 1 is tini' same on spark-01 cat /proc/1/comm
on spark-02 'exec sleep 4242' & sleeper=$!
seen() { root "$1" 'grep -lz ^4242 /proc/[0-9]*/cmdline'; }
until seen spark-02 >"$work/said" 2>&1; do sleep 0.1; done
check_not 'a process of spark-02 is not seen on spark-01' seen spark-01
check 'control: it is seen on spark-02' seen spark-02
root spark-02 'kill $(grep -lz ^4242 /proc/[0-9]*/cmdline | cut -d/ -f3)'
wait "$sleeper"
on spark-01 '(sleep 0.1 &) ; sleep 0.5'
check_not 'orphans are reaped' root spark-01 'grep -l "^State:.Z" /proc/[0-9]*/status'
on spark-01 touch /tmp/mark-of-the-selftest
check_not '/tmp is not the machine'"'"'s' test -e /tmp/mark-of-the-selftest
check 'control: it is on the host' on spark-01 test -e /tmp/mark-of-the-selftest
check_not 'root in a host cannot write to the machine'"'"'s /usr' root spark-01 'touch /usr/bin/mark'
check 'control: it can write to /usr/local' root spark-01 'touch /usr/local/bin/mark'
check_not 'nothing of that is on the machine' test -e /usr/local/bin/mark
older() { [ "$(cut -d. -f1 /proc/uptime)" -gt "$(on spark-01 cut -d. -f1 /proc/uptime)" ]; }
check 'the clock of a host starts at its boot' older
check 'boot ids differ' sh -c "[ $(boot_id spark-01) != $(boot_id spark-02) ]"
check 'hosts reach each other by name' on spark-01 'bash -c "</dev/tcp/controller/22"'
check_not 'control: not a port where nobody listens' on spark-01 'bash -c "</dev/tcp/controller/23"'
check 'a host has no way out' on spark-01 '! grep -q "^[a-z0-9]*.00000000" /proc/net/route'

# ---- its contents --------------------------------------------------------------------------------
query='nvidia-smi --query-gpu=name,memory.total --format=csv,noheader'
want='NVIDIA GB10, [N/A]' check 'nvidia-smi: a GB10 has no memory figures' same on spark-01 "$query"
check 'control: the controller'"'"'s card has' sh -c "'$lab' ssh controller '$query' | grep -q '97887 MiB'"
users='FAKE_GPU_MIB=99 sleep 1 & sleep 0.1; nvidia-smi --query-compute-apps=used_memory --format=csv,noheader'
want='99 MiB' check 'nvidia-smi: a process uses the GPU' same on spark-01 "$users"
root spark-02 touch /etc/fake-gpu-fail
check 'nvidia-smi: a broken driver is rc 9' on spark-02 'nvidia-smi; [ $? = 9 ]'
root spark-02 rm /etc/fake-gpu-fail
check 'control: without it rc 0' on spark-02 nvidia-smi

cat >"$work/model.py" <<'END'
import glob, json, os, struct, sys
repo = os.path.expanduser("~/.cache/huggingface/hub/models--meta-llama--Llama-3.1-8B-Instruct")
snapshot = f"{repo}/snapshots/" + open(f"{repo}/refs/main").read()
for file in glob.glob(f"{snapshot}/*"):
    assert os.path.islink(file) and os.path.exists(file) and os.access(file, os.W_OK), file
for name in "config.json tokenizer.json tokenizer_config.json".split():
    json.load(open(f"{snapshot}/{name}"))
weights = json.load(open(f"{snapshot}/model.safetensors.index.json"))["weight_map"]
assert len(set(weights.values())) == 4
for shard in set(weights.values()):
    data = open(f"{snapshot}/{shard}", "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + n])
    assert 8 + n + max(t["data_offsets"][1] for k, t in header.items() if k != "__metadata__") == len(data)
    assert all(name in header for name, where in weights.items() if where == shard)
END
model() { on "$1" python3 - <"$work/model.py"; }
check 'the model is complete on spark-02' model spark-02
check_not 'control: the controller has none' model controller
on spark-02 'cd ~/.cache/huggingface/hub/models--*/snapshots/*/ && cp model-00003* /tmp/whole &&
    truncate -s -1 "$(readlink -f model-00003-of-00004.safetensors)"'
check_not 'control: a truncated shard is noticed' model spark-02
on spark-02 'cd ~/.cache/huggingface/hub/models--*/snapshots/*/ && cat /tmp/whole >model-00003-of-00004.safetensors'
check 'and was spark-02'"'"'s own: spark-01 is whole' model spark-01
venv='~/src/github.com/elizabetht/spark/.venv'
want='Version: 0.13.0+cu130' check 'the venv holds vllm' \
    same on spark-01 "grep ^Version: $venv/lib/python3.12/site-packages/vllm-0.13.0+cu130.dist-info/METADATA"
check 'and torch for CUDA 13.0' on spark-01 "grep -q \"cuda = '13.0'\" $venv/lib/python3.12/site-packages/torch/version.py"
check_not 'control: the controller has no venv' on controller "test -e $venv"
want=127 check 'vllm without a stand-in is rc 127' same on spark-01 "$venv/bin/vllm serve 2>/dev/null; echo \$?"
want='serve a b' check 'FAKE_VLLM stands in for vllm' same on spark-01 "FAKE_VLLM=/bin/echo $venv/bin/vllm serve 'a b'"

# ---- exec, ssh, install --------------------------------------------------------------------------
want='0 a  b' check 'exec is root, and keeps arguments whole' same "$lab" exec spark-01 sh -c 'echo "$(id -u) $1"' sh 'a  b'
want=7 check 'exec passes the exit status' same sh -c "'$lab' exec spark-01 sh -c 'exit 7'; echo \$?"
want=nvidia check 'ssh is nvidia' same "$lab" ssh spark-01 id -un
printf '#!/bin/sh\nprintf "<%%s>" "$@"\n' >"$work/program"
check 'install' "$lab" install spark-01 "$work/program" /opt/lab/vllm
want='755 root' check 'what was installed is 0755' same on spark-01 "stat -c '%a %U' /opt/lab/vllm"
want='<serve><a b>' check 'the installed program stands in for vllm' same on spark-01 "$venv/bin/vllm serve 'a b'"
check_not 'control: not on spark-02' on spark-02 test -e /opt/lab/vllm
refused 'an unknown host is refused' 'no host `spark-99`' "$lab" install spark-99 "$work/program" /x

# ---- delay ---------------------------------------------------------------------------------------
# Lower bounds only: a busy machine makes things slower, never faster.
cat >"$work/fastest.py" <<'END'
import socket, sys, time
def dial():
    began = time.monotonic()
    socket.create_connection((sys.argv[1], 22), timeout=9).close()
    return time.monotonic() - began
sys.exit(not min(dial() for _ in range(5)) >= float(sys.argv[2]))
END
slower() { /usr/bin/python3 "$work/fastest.py" "$LAB_NET.0.11" "$1"; }
if [ -r /dev/net/tun ] && [ -w /dev/net/tun ]; then
    check_not 'control: without a delay, a handshake takes no 200 ms' slower 0.2
    check 'delay 100ms' "$lab" delay 100ms
    check 'a handshake takes two of them' slower 0.2
    "$lab" delay 1ms --loss 100%
    check_not 'delay --loss 100% loses everything' answers spark-01
    check 'delay 0' "$lab" delay 0
    check_not 'and there is no delay' slower 0.2
    check 'ssh works over the new line' answers spark-01
    refused 'a delay without unit is refused' 'is not a number' "$lab" delay 5
else
    refused 'a delay is refused without /dev/net/tun' '/dev/net/tun' "$lab" delay 5ms
    check 'control: ssh still works' answers spark-01
fi

# ---- cut, heal -----------------------------------------------------------------------------------
for mode in link drop reject; do
    check "cut --mode $mode" "$lab" cut spark-01 --mode $mode
    words='timed out'
    [ $mode = reject ] && words='Connection refused'
    refused "ssh says: $words" "$words" answers spark-01
    check 'control: spark-02 answers' answers spark-02
    check 'status says so' sh -c "'$lab' status | grep 'spark-01.*cut ($mode)'"
    "$lab" heal
    check 'heal' answers spark-01
done

# ---- reboot --------------------------------------------------------------------------------------
on spark-01 'touch ~/kept /tmp/lost'
old=$(boot_id spark-01)
check 'reboot' "$lab" reboot spark-01
check 'the boot id is new' [ "$(boot_id spark-01)" != "$old" ]
check '/home is kept' on spark-01 test -e kept
check_not '/tmp is empty' on spark-01 test -e /tmp/lost
check 'what was installed is kept' on spark-01 test -x /opt/lab/vllm
check 'pids start anew' on spark-01 '[ $$ -lt 100 ]'
check 'other hosts reach it at once' on spark-02 'bash -c "</dev/tcp/spark-01/22"'
often() {
    for _ in 1 2 3 4 5; do
        "$lab" reboot spark-01 & first=$!
        "$lab" reboot spark-02 && wait $first && answers spark-01 && answers spark-02 || return 1
    done
}
check 'reboot, again and again, two hosts at once' often
"$lab" reboot spark-01 --hold
check_not 'reboot --hold leaves it off' answers spark-01
check 'status says off' sh -c "'$lab' status | grep '^spark-01.* off'"
refused 'exec says so' 'is off' "$lab" exec spark-01 true
check 'start' "$lab" start spark-01
check 'and it answers' answers spark-01
refused 'start of a host that is up is refused' 'is up' "$lab" start spark-01

# ---- sshd ----------------------------------------------------------------------------------------
mkfifo "$work/talk"
session() { # a session that is open while fd 9 is
    on spark-01 'echo open; read word && echo "heard $word"' <"$work/talk" >"$work/heard" 2>&1 &
    session=$!
    exec 9>"$work/talk"
    until grep -q open "$work/heard"; do sleep 0.1; done
}
session
check 'stop-sshd' "$lab" stop-sshd spark-01
refused 'new connections are refused' 'Connection refused' answers spark-01
echo word >&9
exec 9>&-
wait $session
check 'an open session goes on' grep -q 'heard word' "$work/heard"
check 'start-sshd' "$lab" start-sshd spark-01
check 'and it answers' answers spark-01
session
check 'stop-sshd --all' "$lab" stop-sshd spark-01 --all
wait $session
check 'ends open sessions' [ $? = 255 ]
exec 9>&-
"$lab" start-sshd spark-01
check "sshd 'AllowUsers root'" "$lab" sshd spark-01 'AllowUsers root'
refused 'nvidia is not let in' 'Permission denied' answers spark-01
refused 'a bad option is refused' 'Bad configuration option' "$lab" sshd spark-01 'Nonsense yes'
check 'sshd without options' "$lab" sshd spark-01
check 'lets nvidia in again' answers spark-01
check 'rekey' "$lab" rekey spark-02
refused 'ssh refuses the changed key' 'REMOTE HOST IDENTIFICATION HAS CHANGED' answers spark-02
check 'control: it is only the key' on -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null spark-02 true

# ---- disk, clock, memory, CPU --------------------------------------------------------------------
used() { on spark-01 "df --output=pcent / | tail -n 1 | tr -d ' %'"; }
writes() { on spark-01 'echo x >>~/file'; }
check 'control: the disk takes a byte' writes
on spark-01 rm file
check 'fill' "$lab" fill spark-01
want=100 check 'df says 100 %' same used
refused 'no byte can be written' 'No space left' writes
check 'unfill' "$lab" unfill spark-01
check 'the disk takes a byte again' writes
check_not 'df says less than 100 %' [ "$(used)" = 100 ]

ahead() { [ $(($(on spark-01 date +%s) - $(date +%s))) -gt 3000 ]; }
check_not 'control: the clocks agree' ahead
check 'skew' "$lab" skew spark-01 3600
check 'sessions are an hour ahead' ahead
"$lab" skew spark-01 0
check_not 'skew 0: the clocks agree' ahead

hungry() { "$lab" exec spark-01 /usr/bin/python3 -c 'print(len(b"1" * 200000000))'; }
if [ "$rootless" ]; then
    refused 'mem is refused without root' 'no cgroups' "$lab" mem spark-01 64M
    refused 'cpu is refused without root' 'no cgroups' "$lab" cpu
else
    check 'control: 200 MB can be had' hungry
    check 'mem 64M' "$lab" mem spark-01 64M
    check_not 'the host'"'"'s OOM killer takes who wants more' hungry
    "$lab" mem spark-01 max
    check 'mem max: it can be had again' hungry
    before=$("$lab" cpu)
    on spark-02 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null 'i=0; while [ $i -lt 99999 ]; do i=$((i+1)); done' 2>/dev/null
    check 'cpu grows by what hosts do' [ "$("$lab" cpu)" -gt $((before + 10000000)) ]
fi

# ---- a second lab beside it, with options --------------------------------------------------------
check 'a second lab' second up 2 --disk 8m --sshd 'MaxSessions 3' --sshd 'Banner /etc/hostname'
want=8192 check '--disk 8m' same second exec spark-01 sh -c 'df --output=size / | tail -n 1 | tr -d " "'
want='maxsessions 3' check '--sshd' same second exec spark-01 sh -c 'sshd -T | grep maxsessions'
check 'the first lab answers' answers spark-01
check 'down of the second' second down
check 'leaves the first' answers spark-01

# ---- down, also after a crash --------------------------------------------------------------------
check 'down' "$lab" down
check 'nothing remains' nothing_remains
check 'down of nothing is no error' "$lab" down
for moment in 0.05 0.15 0.3; do
    "$lab" up 9 >/dev/null 2>&1 &
    sleep $moment
    kill -9 $!
    wait $! 2>/dev/null
    check "down after up was killed at $moment s" "$lab" down
    check 'nothing remains' nothing_remains
done
"$lab" up 3 >/dev/null
for pid in $(ps -eo pid=); do # the anchor: process 1 of its namespace, marked as the switch
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | grep -qx "REPLICA_LAB=$LAB_STATE" || continue
    tr '\0' '\n' <"/proc/$pid/environ" | grep -qx HOST=switch || continue
    grep -q '^NSpid:.*[^0-9]1$' "/proc/$pid/status" && anchor=$pid
done 2>/dev/null
kill -9 "$anchor"
check 'down after the anchor was killed' "$lab" down
check 'nothing remains' nothing_remains

# ---- the seed's addresses, in a network of our own, so that the machine's do not matter ----------
cat >"$work/seed.sh" <<'END'
lab=$1
ip link set lo up
ip address add 192.168.1.1/24 dev lo
"$lab" up 3 --seed 2>&1 | grep -q '192.168.1.*is taken.*--seed' || { echo not refused; exit 1; }
ip address del 192.168.1.1/24 dev lo
"$lab" up 3 --seed || exit 1
for pair in 192.168.1.76=spark-01 192.168.100.10=spark-01 192.168.1.77=spark-02 \
    192.168.100.11=spark-02 192.168.1.75=controller; do
    [ "$(ssh -F "$LAB_STATE/ssh_config" nvidia@${pair%=*} hostname)" = ${pair#*=} ] || { echo $pair; exit 1; }
done
"$lab" ssh controller 'bash -c "</dev/tcp/192.168.1.77/22"' || exit 1
"$lab" down
! ip route | grep 192.168
END
check 'up --seed: refused when taken, else the seed'"'"'s addresses answer' unshare --net sh "$work/seed.sh" "$lab"
check 'nothing remains' nothing_remains

# ---- many ----------------------------------------------------------------------------------------
check 'up 50' "$lab" up 50
all() { cut -d' ' -f1 "$LAB_STATE/hosts.txt" | xargs -P4 -I{} ssh -F "$LAB_STATE/ssh_config" {} hostname | sort | uniq | wc -l; }
want=50 check 'all fifty answer' same all
check 'down' "$lab" down
check 'nothing remains' nothing_remains

echo "$passed passed, $failed failed"
[ $failed = 0 ]
