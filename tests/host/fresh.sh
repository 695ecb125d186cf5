#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The newcomer's path: clones the last commit in a fresh Debian tree that has make and git and nothing else of use, and runs
# the README's commands there. Nothing but the kernel, the network, apt's sources and whom to trust is this machine's.
#
# Without arguments, or with targets of the Makefile:  tests/host/fresh.sh [--suite bookworm] [quickstart] [check]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/host/common.sh
. "$here/common.sh"

suite=trixie
work=

# What runs in the namespaces: $1 is the tree, the rest the targets.
# shellcheck disable=SC2016
INSIDE='
set -euo pipefail
tree=$1
shift
# A root that is a mount of its own, as on any machine.
mount --bind "$tree" "$tree"
mount --make-rprivate "$tree"
mount -t proc proc "$tree/proc"
mount --rbind /sys "$tree/sys"
mount --rbind /dev "$tree/dev"
mount -t tmpfs -o mode=755 run "$tree/run"
# Not chroot alone: hosts that are booted in there are entered by the root of their mount namespace.
cd "$tree"
pivot_root . mnt
exec env -i HOME=/root NODE_EXTRA_CA_CERTS=/etc/ssl/machine.crt TERM=dumb LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    chroot . bash -euc "
        umount -l /mnt
        git clone -q /root/berth.bundle /root/berth
        cd /root/berth
        for target; do
            echo \"== make \$target\"
            make \$target </dev/null
        done" - "$@"'

finish() {
    local status=$?
    trap '' INT TERM HUP
    [[ -z $work ]] || rm -rf --one-file-system "$work"
    if ((status == 0)); then echo 'fresh: ok'; else echo 'fresh: FAILED'; fi
    exit "$status"
}

main() {
    local tree
    if [[ ${1:-} = --suite ]]; then
        suite=${2:?}
        shift 2
    fi
    (($#)) || set -- quickstart check
    need_root
    need_programs git unshare
    tree=$("$here/tree.sh" --suite "$suite" --profile fresh)
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    work=$(mktemp -d "$CACHE/fresh.XXXXXX")
    chmod 755 "$work"
    cp -a --reflink=auto "$tree" "$work/tree"
    cp /etc/resolv.conf "$work/tree/etc/resolv.conf"
    "$here/tree.sh" --suite "$suite" --print-sources >"$work/tree/etc/apt/sources.list"
    rm -f "$work/tree/etc/apt/sources.list.d"/*
    mkdir -p "$work/tree/etc/ssl"
    cat /etc/ssl/certs/ca-certificates.crt >"$work/tree/etc/ssl/machine.crt" || true
    "$here/tree.sh" --print-apt-options >"$work/tree/etc/apt/apt.conf.d/90machine"
    git -C "$here/../.." bundle create -q "$work/tree/root/berth.bundle" HEAD
    unshare --mount --pid --fork --kill-child --propagation private bash -c "$INSIDE" - "$work/tree" "$@"
}

main "$@"
