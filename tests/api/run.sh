#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Boots one host and runs the API tests in it: each test_*.py against dockerd and against Berth, each compare_*.py with both.
# Files may be named; "--berth" leaves dockerd out. What fails against dockerd is a wrong test.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/host/installed.sh
. tests/host/installed.sh

engines=(dockerd berth)
if [[ ${1:-} = --berth ]]; then
    engines=(berth)
    shift
fi
files=("$@")
((${#files[@]})) || files=(tests/api/test_*.py tests/api/compare_*.py)
files=("${files[@]##*/}")

start_installed "api$$" test
bash "$host" put "$name" "$images/busybox.tar" tests/api /root/
if [[ ${engines[0]} = dockerd ]]; then
    # Without rules of its own: they would drop what other engines' bridges forward.
    bash "$host" run "$name" -- sh -c 'systemd-run --quiet --collect --unit=reference-dockerd dockerd --iptables=false \
        --ip6tables=false -H unix:///run/dockerd.sock && timeout 60 sh -c "until [ -S /run/dockerd.sock ]; do sleep 0.1; done"'
fi
declare -A socket=([dockerd]=/run/dockerd.sock [berth]=/run/berth.sock)
for file in "${files[@]}"; do
    if [[ $file = compare_* ]]; then
        [[ ${engines[0]} = berth ]] || run_test "both: $file" "/root/api/$file" ENGINE_SOCKET="${socket[berth]}" \
            REFERENCE_SOCKET="${socket[dockerd]}"
        continue
    fi
    for engine in "${engines[@]}"; do
        run_test "$engine: $file" "/root/api/$file" ENGINE="$engine" ENGINE_SOCKET="${socket[$engine]}"
    done
done
end_of_tests
