#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Boots a host with Berth, Docker and Podman and prints how long each takes: bench.py, to which the arguments go.
# $BENCH_N and its kin, see there, go too.
set -euo pipefail
cd "$(dirname "$0")/../.."
name=bench$$
staging=$(mktemp -d)
host=tests/host/nspawn.sh
trap 'bash "$host" stop "$name" --now >/dev/null 2>&1 || true; rm -rf "$staging"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
make -s install DESTDIR="$staging/root"
images=$(bash tests/host/images.sh | tail -n 1)
archives=("$images/busybox.tar" "$images/debian.tar")
if (($# == 0)) || [[ " $* " == *" compile "* ]]; then
    toolchain=$(bash tests/host/services.sh toolchain | tail -n 1)
    cp "$toolchain" "$staging/toolchain.tar"
    archives+=("$staging/toolchain.tar")
fi
bash "$host" start "$name" --profile bench --with "$staging/root:/"
bash "$host" put "$name" "${archives[@]}" tests/bench/*.py /root/
bash "$host" run "$name" -- sh -c 'systemd-sysusers && systemd-tmpfiles --create berth.conf && systemctl daemon-reload' 2>/dev/null
bash "$host" run "$name" -- systemctl enable --quiet --now berth.socket
mapfile -t settings < <(env | grep '^BENCH_' || true)
bash "$host" run "$name" -- env "${settings[@]}" python3 /root/bench.py "$@"
