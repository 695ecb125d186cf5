#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Boots a QEMU machine, which has every cgroup controller, with Berth installed, and runs vm_limits.py in it. With the
# argument "reboot": vm_reboot.py, in one that is booted twice. $BERTH_RELOADS is how often systemd is told to reload.
set -euo pipefail
cd "$(dirname "$0")/../.."
staging=$(mktemp -d)
machine=
# A machine that runs ends with the script that asked for it: tests/host/vm.sh cleans up when it is told to stop.
finish() {
    trap '' INT TERM
    if [[ -n $machine ]] && kill "$machine" 2>/dev/null; then
        wait "$machine" || true
    fi
    rm -rf "$staging"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
make -s install DESTDIR="$staging/root"
images=$(bash tests/host/images.sh busybox | tail -n 1)
# run_in_machine SCRIPT [OPTION]...: its exit status is the script's.
run_in_machine() {
    local script=$1
    shift
    bash tests/host/vm.sh run --script "tests/system/$script" --with "$staging/root:/" --file "$images/busybox.tar" \
        --timeout "${VM_TIMEOUT:-600}" "$@" &
    machine=$!
    wait "$machine"
    machine=
}

if [[ ${1:-limits} = reboot ]]; then
    # The same disk again: the machine that ends the first run is shut down in good order.
    run_in_machine vm_reboot.py --disk "$staging/disk"
    run_in_machine vm_reboot.py --disk "$staging/disk"
else
    truncate -s 1G "$staging/quotas"
    mke2fs -q -F -t ext4 -O quota,project -E quotatype=prjquota "$staging/quotas"
    echo "${BERTH_RELOADS:-10}" >"$staging/reloads"
    run_in_machine vm_limits.py --data "$staging/quotas" --file "$staging/reloads"
fi
