#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Boots a host, installs Berth, and builds images of Debian packages there.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/host/installed.sh
. tests/host/installed.sh

packages=$(bash tests/host/packages.sh | tail -n 1)
start_installed "packages$$" test
cp -rl "$packages" "$staging/packages"
bash "$host" put "$name" "$staging/packages" "$images"/{busybox,debian}.tar tests/system/*.py tests/api/engine.py /root/
run_test test_packages.py /root/test_packages.py DOCKER_BUILDKIT=0
end_of_tests
