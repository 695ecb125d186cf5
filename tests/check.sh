#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs every check in turn, goes on after a failure, and ends with one line that counts them.
set -u
cd "$(dirname "$0")/.." || exit 1
passed=0
failed=0

check() {
    local name=$1
    shift
    printf '== %s\n' "$name"
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf '== %s: FAILED\n' "$name"
    fi
}

check 'layers of the source tree' python3 tests/lint/layers.py
for source in tests/unit/test-*.c; do
    name=$(basename "$source" .c)
    check "$name" "build/tests/$name"
done
check 'fuzz targets' make -s fuzz
if [ -f tests/system/run.sh ]; then
    check 'containers on a booted systemd host' bash tests/system/run.sh
fi
if [ -f tests/system/vm.sh ]; then
    check 'limits on a QEMU host' bash tests/system/vm.sh
fi
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
