#!/bin/sh
# Makes the system that hosts boot, once: sh boot-root.sh FOLDER. It is the distribution of this machine
# with systemd, logind, dbus and sshd, fetched by debootstrap in a minute. Says why where it cannot.
set -eu
root=$1
exec 9>"$root.lock"
flock 9
[ ! -d "$root" ] || exit 0
[ "$(id -u)" = 0 ] || {
    echo "needs root" >&2
    exit 1
}
for program in debootstrap systemd-nspawn; do
    command -v "$program" >/dev/null || {
        echo "needs $program (README.md names the packages)" >&2
        exit 1
    }
done
. /etc/os-release
rm -rf "$root.new"
debootstrap --variant=minbase \
    --include=systemd,systemd-sysv,dbus,openssh-server,libpam-systemd,iproute2,procps \
    "$VERSION_CODENAME" "$root.new" >"$root.log" 2>&1 || {
    echo "debootstrap could not fetch it: $(tail -n 1 "$root.log")" >&2
    exit 1
}
# Each host has a key of its own.
rm -f "$root.new"/etc/ssh/ssh_host_* "$root.new/etc/machine-id"
: >"$root.new/etc/machine-id"
mv "$root.new" "$root"
