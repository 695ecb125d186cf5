#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Boots a host, installs Berth, and runs the system tests in it.
set -euo pipefail
cd "$(dirname "$0")/../.."
name=check$$
staging=$(mktemp -d)
host=tests/host/nspawn.sh
trap 'bash "$host" stop "$name" --now >/dev/null 2>&1 || true; rm -rf "$staging"' EXIT INT TERM
make -s install DESTDIR="$staging/root"
images=$(bash tests/host/images.sh | tail -n 1)
bash "$host" start "$name" --profile test --with "$staging/root:/"
bash "$host" put "$name" "$images/busybox.tar" "$images/debian.tar" tests/system/test_containers.py /root/
bash "$host" run "$name" -- sh -c 'systemd-sysusers && systemd-tmpfiles --create berth.conf && systemctl daemon-reload'
bash "$host" run "$name" -- systemctl enable --now berth.socket
bash "$host" run "$name" -- python3 /root/test_containers.py -v
