#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Power cuts at BERTH_POWER_CUTS (12) random moments of pulls, loads, commits, removals and prunes: a QEMU machine does these
# things (BERTH_ROUNDS, 1, of them) and is killed, with every write to its store's disk recorded; then each moment's disk is
# made again from the record and berthd started on it, in a host at native speed. BERTH_SEED chooses the moments. With
# BERTH_POWER_RECORD=DIRECTORY the disks and the record are kept there, and taken from there if there are any.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d /var/tmp/power-cuts.XXXXXX)
record=${BERTH_POWER_RECORD:-$work}
machine=
finish() {
    trap '' INT TERM
    if [[ -n $machine ]] && kill "$machine" 2>/dev/null; then
        wait "$machine" || true
    fi
    bash tests/host/nspawn.sh stop "$name" --now >/dev/null 2>&1 || true
    rm -rf "$work" "$staging"
}
# shellcheck source=tests/host/installed.sh
. tests/host/installed.sh
start_installed "power$$" test
trap finish EXIT

# As many blocks as vm_power_cuts.py leaves it: behind them are its notes.
run_machine() {
    mkdir -p "$record"
    truncate -s 256M "$record/data.img"
    mke2fs -q -F -t ext4 -m 0 -E lazy_itable_init=0,lazy_journal_init=0 "$record/data.img" 240M
    cp --sparse=always "$record/data.img" "$record/base.img"
    printf '{"Rounds": %d}\n' "${BERTH_ROUNDS:-1}" >"$work/power_cuts.json"
    bash tests/host/vm.sh run --script tests/system/vm_power_cuts.py --with "$staging/root:/" --file "$images/busybox.tar" \
        --file "$work/power_cuts.json" --data "$record/data.img" --record "$record/record" --cut "THE POWER MAY GO" \
        --timeout "${VM_TIMEOUT:-900}" &
    machine=$!
    wait "$machine"
    machine=
}

[[ -e $record/record ]] || run_machine
bash "$host" put "$name" "$record"/{base.img,data.img,record} tests/system/power_cuts.py "$images/busybox.tar" /root/
bash "$host" run "$name" -- env BERTH_POWER_CUTS="${BERTH_POWER_CUTS:-12}" BERTH_SEED="${BERTH_SEED:-1}" \
    python3 /root/power_cuts.py /root
