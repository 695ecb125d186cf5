#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Boots a host, installs Berth, and runs the system tests in it: all of them, or those named (test_faults.py ...).
set -euo pipefail
cd "$(dirname "$0")/../.."
name=check$$
staging=$(mktemp -d)
host=tests/host/nspawn.sh
trap 'bash "$host" stop "$name" --now >/dev/null 2>&1 || true; rm -rf "$staging"' EXIT INT TERM
make -s install DESTDIR="$staging/root"
images=$(bash tests/host/images.sh | tail -n 1)
bash "$host" start "$name" --profile test --with "$staging/root:/"
bash "$host" put "$name" "$images/busybox.tar" "$images/debian.tar" tests/system/*.py tests/api/engine.py /root/
bash "$host" run "$name" -- sh -c 'systemd-sysusers && systemd-tmpfiles --create berth.conf && systemctl daemon-reload'
bash "$host" run "$name" -- systemctl enable --now berth.socket

# test_containers.py first: it wants to make the first connection. test_logs_monitor.py needs no engine, but a build tree.
tests=("$@")
((${#tests[@]})) || tests=(test_containers.py test_requests.py test_archives.py test_faults.py test_output.py test_spool.py)
settings=(BERTH_LINES="${BERTH_LINES:-100000}" BERTH_ROUNDS="${BERTH_ROUNDS:-200}" BERTH_SEED="${BERTH_SEED:-1}")
failed=()
for test in "${tests[@]}"; do
    [ -f "tests/system/$test" ] || continue
    start=$SECONDS
    printf -- '-- %s\n' "$test"
    bash "$host" run "$name" -- env "${settings[@]}" python3 "/root/$test" || failed+=("$test")
    printf -- '-- %s: %d s\n' "$test" "$((SECONDS - start))"
done
((${#failed[@]} == 0)) || { printf 'failed: %s\n' "${failed[*]}"; exit 1; }
