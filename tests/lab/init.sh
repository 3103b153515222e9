#!/bin/sh
# A host's boot: from fresh namespaces to a listening sshd. `lab` runs this as the first process of
# new pid, mount, net, uts, ipc and time namespaces, inside the lab's own mount namespace, whose
# /proc still shows the anchor as process 1.
#
#   HOST NIC MAC ADDRESSES   name, its port on the switch, hardware address, `addr/len ...`
#   LOWER DISK               image layers, and the tmpfs that is this host's disk
#   CGROUPS BOOT_ID          cgroup.procs files to join, and what this boot is called
#   TINI ROOTLESS            path of tini; non-empty in a user namespace
#   REPLICA_LAB              the lab's state directory: the mark by which its processes are found
set -eu
for procs in $CGROUPS; do echo 0 >"$procs"; done
hostname "$HOST"

. "${0%/*}/ground.sh"

# The machine's /usr is lent read-only.
mount --bind /usr "$root/usr"
mount -o remount,bind,ro "$root/usr" 2>/dev/null || [ "$ROOTLESS" ] # there, file modes protect it
# What a test installed for all hosts is lent likewise.
mount --bind /srv "$root/srv"
mount -o remount,bind,ro "$root/srv" 2>/dev/null || [ "$ROOTLESS" ]
mount --bind "$root/opt/local" "$root/usr/local"
mount -t proc proc "$root/proc"
printf '%s\n' "$BOOT_ID" >"$root/etc/boot_id"
mount --bind "$root/etc/boot_id" "$root/proc/sys/kernel/random/boot_id"
mount -t sysfs -o ro sysfs "$root/sys" 2>/dev/null || :

dev=$root/dev
mount -t tmpfs -o mode=755,size=1m dev "$dev"
for node in null zero full random urandom tty; do
    : >"$dev/$node"
    mount --bind "/dev/$node" "$dev/$node"
done
mkdir "$dev/pts" "$dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$dev/pts"
mount -t tmpfs -o mode=1777 shm "$dev/shm"
ln -s pts/ptmx "$dev/ptmx"
ln -s /proc/self/fd "$dev/fd"
for fd in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${fd%:*}" "$dev/${fd#*:}"; done
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mount -t tmpfs -o mode=755 run "$root/run"
mkdir -p "$root/run/sshd" "$root/run/lock"

cd "$root"
pivot_root . mnt
umount -l mnt
cd /
# tini first: who sees sshd listen can rely on process 1 being what it stays.
exec env -i "PATH=$PATH" "REPLICA_LAB=$REPLICA_LAB" "HOST=$HOST" "$TINI" -- \
    sh -c 'env -i "PATH=$PATH" /usr/sbin/sshd; exec sleep infinity'
