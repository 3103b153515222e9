#!/bin/sh
# The boot of a host that has a systemd of its own: from fresh mount and network namespaces to its
# process 1. `lab` runs this inside the lab's own mount namespace, whose /proc shows the anchor as
# process 1; NIC, MAC, ADDRESSES, LOWER, DISK, CGROUPS and HOST are as init.sh has them.
set -eu
for procs in $CGROUPS; do echo 0 >"$procs"; done

nsenter --net=/proc/1/ns/net ip link delete $NIC 2>/dev/null || :
nsenter --net=/proc/1/ns/net ip -batch - <<END
link add $NIC type veth peer name eth0 address $MAC netns $$
link set $NIC addrgenmode none
link set $NIC master br0 up
END
{
    echo link set lo up
    echo link set eth0 addrgenmode none
    for address in $ADDRESSES; do echo address add "$address" dev eth0; done
    echo link set eth0 up
} | ip -batch -

root=$DISK/root
mkdir -p "$root" "$DISK/upper" "$DISK/work"
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$DISK/upper,workdir=$DISK/work" "$root"

# Its process 1 is found by the same words as that of any host. It has this network, and a clock, a boot
# id and everything else of its own.
exec systemd-nspawn --directory="$root" --machine="$HOST" --hostname="$HOST" --register=no --keep-unit \
    --boot --console=pipe --resolv-conf=off --timezone=off \
    --setenv="REPLICA_LAB=$REPLICA_LAB" --setenv="HOST=$HOST"
