#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Boots a host with the packaged Compose, installs Berth, and runs applications there; and what is tested beside firewalls.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/host/installed.sh
. tests/host/installed.sh

start_installed "compose$$" compose
bash "$host" put "$name" "$images"/busybox.tar tests/system/*.py tests/api/engine.py /root/
run_test test_compose.py /root/test_compose.py
run_test test_compose_build.py /root/test_compose_build.py
run_test test_other_firewalls.py /root/test_other_firewalls.py
end_of_tests
