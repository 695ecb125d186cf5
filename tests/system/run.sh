#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Boots a host, installs Berth, and runs system tests in it: a group of them, or those named (test_faults.py ...). Without
# arguments each group in turn, on a host of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/host/installed.sh
. tests/host/installed.sh

# BERTH_PROFILE is another profile of hosts than "test": test_round_trips.py, which takes minutes, wants "bench" for podman, and
# test_dockerfiles.py compares with BuildKit there.
# In no group, as it takes a minute, and with BERTH_LOG_SECONDS=600 half an hour: test_long_logs.py.
# test_containers.py first: it wants to make the first connection. test_logs_monitor.py needs no engine, but a build tree.
declare -A groups=(
    [engine]="test_containers.py test_requests.py test_archives.py test_hostile.py test_faults.py test_output.py test_spool.py
        test_images.py test_store.py test_config.py test_exec.py test_spare.py test_websocket.py test_replay.py"
    [registries]="test_registry.py test_search.py test_push.py test_imports.py test_trips.py test_confinement.py test_client.py"
    [options]="test_events.py test_restart.py test_units.py test_volumes.py test_options.py test_escapes.py test_networks.py
        test_dns.py test_archive.py test_build.py test_build_mounts.py test_build_stages.py test_build_options.py test_build_faults.py
        test_build_hostile.py test_build_context.py test_dockerfiles.py
        test_strict_ports.py test_log_drivers.py
        test_build_remote.py test_cli_options.py test_many.py test_unhonoured.py"
)
if (($# == 0)); then
    status=0
    for group in engine registries options; do
        bash "tests/system/run.sh" "$group" || status=$?
    done
    exit "$status"
fi
tests=("$@")
[[ -z ${groups[$1]:-} ]] || read -r -d '' -a tests <<<"${groups[$1]}" || true
settings=(DOCKER_BUILDKIT=0 BERTH_LINES="${BERTH_LINES:-100000}" BERTH_ROUNDS="${BERTH_ROUNDS:-200}" BERTH_SEED="${BERTH_SEED:-1}"
    BERTH_CUTS="${BERTH_CUTS:-15}" BERTH_KILLS="${BERTH_KILLS:-15}" BERTH_HOSTILE="${BERTH_HOSTILE:-}"
    BERTH_LARGE="${BERTH_LARGE:-}" BERTH_FILES="${BERTH_FILES:-5000}" BERTH_LOG_SECONDS="${BERTH_LOG_SECONDS:-15}" BERTH_MANY="${BERTH_MANY:-100}"
    BERTH_CONTAINERS="${BERTH_CONTAINERS:-20}" BERTH_RELOADS="${BERTH_RELOADS:-100}")
start_installed "check$$" "${BERTH_PROFILE:-test}"
bash "$host" put "$name" "$images"/busybox*.tar "$images/debian.tar" "$images/layers.tar" tests/system/*.py tests/system/dockerfiles tests/api/engine.py tests/api/websocket.py /root/
for test in "${tests[@]}"; do
    run_test "$test" "/root/$test" "${settings[@]}"
done
end_of_tests
