#!/bin/sh
# sh rootless.sh COMMAND…    runs COMMAND without root, in namespaces where it can bring labs up and
# see their hosts; they end with it. Run by root, it becomes `nobody` first.
set -eu

if [ "$(id -u)" = 0 ]; then
    # nobody has no subordinate ids of its own: lend it some, in a mount namespace of ours.
    exec unshare --mount sh -euc '
        ids=$(mktemp)
        echo nobody:100000:65536 >"$ids"
        chmod 644 "$ids"
        mount --bind "$ids" /etc/subuid
        mount --bind "$ids" /etc/subgid
        rm "$ids"
        exec setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME=/nonexistent sh "$@"
    ' sh "$0" "$@"
fi

made=
if [ -z "${LAB_STATE-}" ]; then # no two of these can share a lab, so neither a directory
    LAB_STATE=$(mktemp -d)
    made=$LAB_STATE
fi
export LAB_STATE LAB_ROOTLESS=1
status=0
unshare --user --map-root-user --map-auto --net --mount --pid --fork --kill-child --mount-proc \
    sh -euc 'ip link set lo up; exec tini -- "$@"' sh "$@" || status=$?
[ -z "$made" ] || rm -rf "$made"
exit $status
