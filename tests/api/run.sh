#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Boots one host and runs the API tests in it: each test_*.py against dockerd and against Berth, each compare_*.py with both.
# Files may be named; "--berth" leaves dockerd out. What fails against dockerd is a wrong test.
set -euo pipefail
cd "$(dirname "$0")/../.."
name=api$$
staging=$(mktemp -d)
host=tests/host/nspawn.sh
trap 'bash "$host" stop "$name" --now >/dev/null 2>&1 || true; rm -rf "$staging"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

engines=(dockerd berth)
if [[ ${1:-} = --berth ]]; then
    engines=(berth)
    shift
fi
files=("$@")
((${#files[@]})) || files=(tests/api/test_*.py tests/api/compare_*.py)
files=("${files[@]##*/}")

make -s install DESTDIR="$staging/root"
images=$(bash tests/host/images.sh | tail -n 1)
bash "$host" start "$name" --profile test --with "$staging/root:/"
bash "$host" put "$name" "$images/busybox.tar" tests/api /root/
bash "$host" run "$name" -- sh -c 'systemd-sysusers && systemd-tmpfiles --create berth.conf && systemctl daemon-reload &&
    systemctl enable --quiet --now berth.socket' 2>/dev/null
# Without rules of its own: they would drop what other engines' bridges forward.
if [[ ${engines[0]} = dockerd ]]; then
    bash "$host" run "$name" -- sh -c 'systemd-run --quiet --collect --unit=reference-dockerd dockerd --iptables=false \
        --ip6tables=false -H unix:///run/dockerd.sock && timeout 60 sh -c "until [ -S /run/dockerd.sock ]; do sleep 0.1; done"'
fi

failed=()
run_file() {
    local label=$1 file=$2 start=$SECONDS
    shift 2
    printf -- '-- %s: %s\n' "$label" "$file"
    bash "$host" run "$name" -- env PYTHONDONTWRITEBYTECODE=1 "$@" python3 "/root/api/$file" || failed+=("$label:$file")
    printf -- '-- %s: %s: %d s\n' "$label" "$file" "$((SECONDS - start))"
}
declare -A socket=([dockerd]=/run/dockerd.sock [berth]=/run/berth.sock)
for file in "${files[@]}"; do
    if [[ $file = compare_* ]]; then
        [[ ${engines[0]} = berth ]] || run_file both "$file" ENGINE_SOCKET="${socket[berth]}" REFERENCE_SOCKET="${socket[dockerd]}"
        continue
    fi
    for engine in "${engines[@]}"; do
        run_file "$engine" "$file" ENGINE="$engine" ENGINE_SOCKET="${socket[$engine]}"
    done
done
((${#failed[@]} == 0)) || { printf 'failed: %s\n' "${failed[*]}"; exit 1; }
