#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Boots a host with Debian's Node.js and Python client, installs Berth, and runs the scenarios of dockerode, testcontainers
# and docker-py there; with --dockerd also against dockerd. npm fetches the modules out here, once.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/host/installed.sh
. tests/host/installed.sh
# shellcheck source=tests/host/common.sh
. tests/host/common.sh

engines=(berth)
if [[ ${1:-} = --dockerd ]]; then
    engines=(dockerd berth)
    shift
fi
files=("$@")
((${#files[@]})) || files=(tests/node/*.test.js tests/system/test_docker_py.py)

# The modules of the lock file, complete or not there.
fetch_modules() {
    local key work lock
    key=$(cat tests/node/package.json tests/node/package-lock.json | sha256sum)
    modules=$CACHE/node/${key:0:12}
    mkdir -p "$CACHE/node"
    exec {lock}>"$CACHE/node/.lock"
    flock "$lock"
    if [[ ! -d $modules ]]; then
        need_programs npm
        work=$CACHE/node/.building
        rm -rf "$work"
        mkdir "$work"
        cp tests/node/package.json tests/node/package-lock.json "$work/"
        # What modules want compiled is optional.
        npm --prefix "$work" ci --ignore-scripts --omit=optional --no-audit --no-fund --silent {lock}>&-
        mv -T "$work" "$modules"
    fi
    exec {lock}>&-
}

make -s build/tests/reaper
fetch_modules
start_installed "node$$" test --add nodejs,python3-docker --with "$modules:/root/node"
mkdir -p "$staging/reaper"
cp build/tests/reaper "$staging/reaper/"
tar -C "$staging/reaper" --owner=0 --group=0 -cf "$staging/layer.tar" reaper
tests/host/make-image.py --tag reaper:latest --cmd '["/reaper"]' "$staging/reaper.tar" "$staging/layer.tar"
bash "$host" put "$name" tests/node/*.js /root/node/
bash "$host" put "$name" "$images/busybox.tar" "$staging/reaper.tar" tests/system/*.py tests/api/engine.py /root/
if [[ ${engines[0]} = dockerd ]]; then
    bash "$host" run "$name" -- sh -c 'systemd-run --quiet --collect --unit=reference-dockerd dockerd --iptables=false \
        --ip6tables=false -H unix:///run/dockerd.sock && timeout 60 sh -c "until [ -S /run/dockerd.sock ]; do sleep 0.1; done"'
fi
declare -A socket=([dockerd]=/run/dockerd.sock [berth]=/run/berth.sock)
for file in "${files[@]##*/}"; do
    path=/root/$file
    [[ $file != *.js ]] || path=/root/node/$file
    for engine in "${engines[@]}"; do
        settings=(ENGINE="$engine" DOCKER_HOST="unix://${socket[$engine]}" RYUK_CONTAINER_IMAGE=reaper:latest)
        run_test "$engine: $file" "$path" "${settings[@]}"
    done
done
end_of_tests
