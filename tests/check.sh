#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs every check in turn, goes on after a failure, and ends with one line that counts them. Each check is one line: its
# name, how it went and how long it took; what it printed is in build/check, and shown where it failed. Checks may be chosen by a word of
# their names: tests/check.sh lint api
set -u
cd "$(dirname "$0")/.." || exit 1
logs=build/check
mkdir -p "$logs"
chosen=("$@")
passed=0
failed=0

is_chosen() {
    local word
    ((${#chosen[@]})) || return 0
    for word in "${chosen[@]}"; do
        [[ $1 != *"$word"* ]] || return 0
    done
    return 1
}

tell() {
    local name=$1 status=$2 seconds=$3 log=$4
    if ((status == 0)); then
        passed=$((passed + 1))
        printf 'ok      %4d s  %s\n' "$seconds" "$name"
    else
        failed=$((failed + 1))
        tail -n 200 "$log" | sed 's/^/        /'
        printf 'FAILED  %4d s  %s (%s)\n' "$seconds" "$name" "$log"
    fi
}

check() {
    local name=$1 log=$logs/${1//[^a-z0-9]/-}.log start=$SECONDS status=0
    shift
    is_chosen "$name" || return 0
    "$@" >"$log" 2>&1 </dev/null || status=$?
    tell "$name" "$status" "$((SECONDS - start))" "$log"
}

# begin NAME COMMAND...: a check that goes on beside others, until "finish NAME".
declare -A begun=() process=()
trap '((${#process[@]} == 0)) || kill "${process[@]}"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
begin() {
    local name=$1 log=$logs/${1//[^a-z0-9]/-}.log
    shift
    is_chosen "$name" || return 0
    begun[$name]=$SECONDS
    "$@" >"$log" 2>&1 </dev/null &
    process[$name]=$!
}

finish() {
    local name=$1 log=$logs/${1//[^a-z0-9]/-}.log status=0
    [[ -n ${process[$name]:-} ]] || return 0
    wait "${process[$name]}" || status=$?
    unset "process[$name]"
    tell "$name" "$status" "$((SECONDS - begun[$name]))" "$log"
}

# The unit tests of a build, as many at a time as there are processors.
unit_tests() {
    local kind=$1 directory=$2 name
    is_chosen "$kind unit tests" || return 0
    mkdir -p "$logs/$kind"
    rm -f "$logs/$kind"/*
    # shellcheck disable=SC2016
    printf '%s\0' tests/unit/test-*.c | xargs -0 -n 1 -P "$(nproc)" bash -c '
        name=$(basename "$3" .c) start=$SECONDS status=0
        "$1/tests/$name" >"$2/$name.log" 2>&1 </dev/null || status=$?
        echo "$status $((SECONDS - start))" >"$2/$name.status"' - "$directory" "$logs/$kind"
    for name in tests/unit/test-*.c; do
        name=$(basename "$name" .c)
        read -r status seconds <"$logs/$kind/$name.status" || { status=1 seconds=0; }
        tell "$kind $name" "$status" "$seconds" "$logs/$kind/$name.log"
    done
}

check 'lint: analyser, format, layers, manual, completion' make -s -j"$(nproc)" lint
unit_tests plain build
check 'sanitized build' make -s -j"$(nproc)" SAN=1 WERROR=1 all tests
unit_tests sanitized build/san
begin 'limits on a QEMU host' bash tests/system/vm.sh
check 'fuzz targets' make -s fuzz
check 'client against a false daemon' python3 tests/api/fake/test_client.py
finish 'limits on a QEMU host'
check 'system: the engine on a booted systemd host' bash tests/system/run.sh engine
check 'system: registries and the client' bash tests/system/run.sh registries
check 'system: life, options, volumes, networks' bash tests/system/run.sh options
check 'system: applications of Compose' bash tests/system/compose.sh
check 'system: images made of Debian packages' bash tests/system/packages.sh
check 'system: images between engines' env BERTH_PROFILE=bench BERTH_KINDS='v2s2 zstd none podman-attested' bash tests/system/run.sh test_round_trips.py
check 'system: clients for Node.js and Python' bash tests/system/node.sh
check 'api: Berth and dockerd on one host' bash tests/api/run.sh
check 'sanitized system: containers on a booted systemd host' env SAN=1 bash tests/system/run.sh test_containers.py
check 'sanitized api: Berth' env SAN=1 bash tests/api/run.sh --berth
check 'reboot of a QEMU host' bash tests/system/vm.sh reboot
check 'power cuts of a QEMU host' bash tests/system/power_cuts.sh
if ((failed == 0 && passed > 0)); then
    printf 'check: ok, %d passed\n' "$passed"
else
    printf 'check: FAILED, %d passed, %d failed\n' "$passed" "$failed"
    exit 1
fi
