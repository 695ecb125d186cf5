#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs each fuzz target for $FUZZ_SECONDS. The archive target unpacks what it makes up, as root: every target runs where
# nothing can be written but /dev/shm and a directory of its own, without a network. What broke one is in
# build/fuzz/found; give such a file to the target as its argument to see it again.
#
# run.sh PROGRAM...
set -uo pipefail
cd "$(dirname "$0")/../.."
seconds=${FUZZ_SECONDS:-5}
found=$PWD/build/fuzz/found
failed=0

# In namespaces of its own: $1 seconds, $2 the target, $3 its corpus, $4 where it may write.
# shellcheck disable=SC2016
confined='
    mount -t tmpfs tmpfs /dev/shm
    mount --bind "$4" "$4"
    while read -r _ _ _ _ target _; do
        case $target in
        /dev/shm | "$4") ;;
        *) mount -o remount,bind,ro "$(printf %b "$target")" 2>/dev/null || true ;;
        esac
    done </proc/self/mountinfo
    if touch "$2" 2>/dev/null; then
        echo "the file system can still be written"
        exit 1
    fi
    mkdir /dev/shm/corpus
    cd /dev/shm
    timeout "$(($1 + 60))" "$2" -max_total_time="$1" -timeout=20 -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1 \
        -verbosity=1 -artifact_prefix="$4/" /dev/shm/corpus "$3"
'

mkdir -p "$found"
for program; do
    name=${program##*/}
    mkdir -p "$found/$name"
    if output=$(unshare --mount --net --propagation private bash -euc "$confined" - "$seconds" "$PWD/$program" \
        "$PWD/tests/fuzz/corpus/$name" "$found/$name" </dev/null 2>&1); then
        sed -n "s/^stat::number_of_executed_units: */$name: executions: /p" <<<"$output"
    else
        grep -v '^#' <<<"$output" | tail -n 60
        printf '%s: FAILED, see %s\n' "$name" "$found/$name"
        failed=1
    fi
    rmdir "$found/$name" 2>/dev/null
done
exit "$failed"
