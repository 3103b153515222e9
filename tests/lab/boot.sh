#!/bin/sh
# The boot of a host that has a systemd of its own: from fresh mount and network namespaces to its
# process 1. `lab` runs this inside the lab's own mount namespace, whose /proc shows the anchor as
# process 1; NIC, MAC, ADDRESSES, LOWER, DISK, CGROUPS and HOST are as init.sh has them.
set -eu
for procs in $CGROUPS; do echo 0 >"$procs"; done

. "${0%/*}/ground.sh"

# Its process 1 is found by the same words as that of any host. It has this network, and a clock, a boot
# id and everything else of its own.
exec systemd-nspawn --directory="$root" --machine="$HOST" --hostname="$HOST" --register=no --keep-unit \
    --boot --console=pipe --resolv-conf=off --timezone=off \
    --setenv="REPLICA_LAB=$REPLICA_LAB" --setenv="HOST=$HOST"
