#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Boots a QEMU machine, which has every cgroup controller, with Berth installed, and runs vm_limits.py in it.
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
bash tests/host/vm.sh run --script tests/system/vm_limits.py --with "$staging/root:/" --file "$images/busybox.tar" \
    --timeout "${VM_TIMEOUT:-600}" &
machine=$!
wait "$machine"
