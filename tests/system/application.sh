#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Boots a host with the packaged Compose, installs Berth, and runs the application of five services there:
#     tests/system/application.sh                    # a minute
#     BERTH_REBOOT=1 tests/system/application.sh     # 5 to 20 minutes: then also in a QEMU machine, which is started again
# The machine is given VM_TIMEOUT seconds for each of its two runs (1500).
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/host/installed.sh
. tests/host/installed.sh

services=$(bash tests/host/services.sh | tail -n 1)
start_installed "application$$" compose
cp "$services" "$staging/services.tar"
bash "$host" put "$name" "$staging/services.tar" tests/system/*.py tests/system/application tests/api/engine.py /root/
run_test test_application.py /root/test_application.py

# in_machine LABEL ARGUMENT [OPTION...]: the test in a QEMU machine whose disk stays.
in_machine() {
    local label=$1 argument=$2 file files=()
    shift 2
    cat >"$staging/script" <<END
#!/bin/sh
set -e
cd /var/lib/vm
systemd-sysusers 2>/dev/null
systemd-tmpfiles --create berth.conf
systemctl daemon-reload
systemctl enable --quiet --now berth.socket berth-autostart.service 2>/dev/null || systemctl enable --quiet --now berth.socket
[ -e services.tar ] && mv services.tar /root/
[ -e application.tar ] && mkdir -p /root/shop && tar -xf application.tar -C /root/shop
cd /root/shop
BERTH_SLOWNESS=15 python3 test_application.py $argument && exit
status=\$?
docker ps -a
for container in \$(docker ps -aq); do docker logs -t -n 20 \$container; done 2>&1
journalctl -b -n 50 --no-pager -u 'berth*.service'
exit \$status
END
    for file in "$@"; do files+=(--file "$file"); done
    printf -- '-- %s\n' "$label"
    bash tests/host/vm.sh run --script "$staging/script" --add docker-compose --disk "$staging/disk" --with "$staging/root:/" \
        "${files[@]}" --timeout "${VM_TIMEOUT:-1500}" || failed+=("$label")
}

if [[ -n ${BERTH_REBOOT:-} ]]; then
    tar -C tests/system -cf "$staging/application.tar" application test_application.py test_networks.py hosted.py \
        -C ../api engine.py
    in_machine 'before the reboot' up "$staging/services.tar" "$staging/application.tar"
    in_machine 'after the reboot' again "$staging/application.tar"
fi
end_of_tests
