#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What "make quickstart" runs, as root, when the project is built: from a build to a first container.
#
# Where systemd is process 1, Berth is installed on this machine. Anywhere else a disposable host with a systemd of its own
# is booted, Berth is installed there, and the host is gone in the end. The last line says "quickstart: ok" or
# "quickstart: FAILED: " and at what.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/host/common.sh
. "$here/common.sh"

HOST=quickstart-$$
root=$(cd "$here/../.." && pwd)
staging=
booting=
booted=
current='reading the arguments'

step() {
    current=$*
    echo "quickstart: $*"
}

# On this machine, or in the host.
on_host() {
    if [[ -n $booted ]]; then
        "$here/nspawn.sh" run "$HOST" -- "$@"
    else
        "$@"
    fi
}

finish() {
    local status=$?
    trap '' INT TERM HUP
    [[ -z $staging ]] || rm -rf --one-file-system "$staging"
    if [[ -n $booting ]] && "$here/nspawn.sh" pid "$HOST" >/dev/null 2>&1; then
        echo "quickstart: removing the host"
        "$here/nspawn.sh" stop "$HOST" --now || status=1
    fi
    if ((status == 0)); then
        echo "quickstart: ok"
    else
        echo "quickstart: FAILED: $current"
    fi
    exit "$status"
}

install_here() {
    step "installing Berth on this machine"
    make -C "$root" --no-print-directory -s install
}

install_in_host() {
    step "installing Berth into a directory"
    staging=$(mktemp -d)
    make -C "$root" --no-print-directory -s install DESTDIR="$staging"
    step "booting a disposable host (the first time, its Debian tree is built: a minute or two)"
    booting=1
    "$here/nspawn.sh" start "$HOST" --with "$staging:/"
    booted=1
}

start_berth() {
    step "creating the group and the directories"
    on_host systemd-sysusers
    on_host systemd-tmpfiles --create
    step "starting berth.socket"
    on_host systemctl daemon-reload
    on_host systemctl enable --quiet --now berth.socket
}

load_image() {
    local archive
    if on_host berth image inspect busybox:latest >/dev/null 2>&1; then
        return
    fi
    step "making the image busybox:latest"
    archive=$("$here/images.sh" busybox)/busybox.tar
    if [[ -n $booted ]]; then
        "$here/nspawn.sh" put "$HOST" "$archive" /root/busybox.tar
        archive=/root/busybox.tar
    fi
    step "berth load -i $archive"
    on_host berth load -i "$archive"
}

run_container() {
    step "berth run --rm busybox echo 'hello from a container'"
    on_host berth run --rm busybox echo "hello from a container"
}

offer_shell() {
    local answer
    [[ -n $booted && -t 0 && -t 1 ]] || return 0
    read -r -p "quickstart: open a shell in the host? It is removed when you leave it. [Y/n] " answer || return 0
    [[ ! $answer =~ ^[nN] ]] || return 0
    "$here/nspawn.sh" shell "$HOST" || true
}

main() {
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    current='this needs root'
    need_root
    if [[ -d /run/systemd/system ]]; then
        install_here
    else
        install_in_host
    fi
    start_berth
    load_image
    run_container
    offer_shell
}

main "$@"
