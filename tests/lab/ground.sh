# What every host begins with: its cable and its root, in fresh mount and network namespaces. To be read by
# its boot, with what init.sh tells of in the environment; `root` is where its root is.

# The cable. The last boot's may still be there: a network namespace ends a moment after its
# processes. A rebooted host keeps its MAC, else stale ARP entries would blackhole it.
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

# The root: the host's own disk over the shared image.
root=$DISK/root
mkdir -p "$root" "$DISK/upper" "$DISK/work"
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$DISK/upper,workdir=$DISK/work" "$root"
