# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# What the scripts of this folder share. Sourced, never run.

# On a real disk: a host's overlay cannot have its upper directory on another overlay.
# shellcheck disable=SC2034
CACHE=${BERTH_CACHE:-/var/cache/berth}

note() {
    echo "${0##*/}: $*" >&2
}

die() {
    note "$*"
    exit 1
}

need_root() {
    ((EUID == 0)) || die "this needs root"
}

need_programs() {
    local program missing=()
    for program; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    ((${#missing[@]} == 0)) || die "not installed: ${missing[*]} (make deps)"
}
