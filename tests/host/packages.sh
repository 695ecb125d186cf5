#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Downloads Debian packages once, and prints their directory: web, cache, db, app and toolchain in it each have what the
# image debian:13 lacks of a program and what that depends on.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/host/common.sh
. "$here/common.sh"

declare -A PACKAGES=(
    [web]='nginx'
    [cache]='redis-server'
    [db]='postgresql'
    [app]='python3'
    [toolchain]='gcc libc6-dev make'
)

# In a mmdebstrap hook, with the root tree: apt runs outside of it.
HOOK='
set -eu
archives=$1/var/cache/apt/archives
while read -r name packages; do
    rm -f "$archives"/*.deb
    APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -qq -y --download-only --no-install-recommends install $packages
    mkdir -p "$BERTH_PACKAGES/$name"
    mv "$archives"/*.deb "$BERTH_PACKAGES/$name"
done <"$BERTH_PACKAGES/list"'

download() {
    local log=$target.log options=() line name
    rm -rf "$CACHE"/images/.packages-*
    mkdir -p "$work"
    trap 'rm -rf "$work"' EXIT
    for name in "${!PACKAGES[@]}"; do echo "$name ${PACKAGES[$name]}"; done >"$work/list"
    while read -r line; do options+=(--aptopt="${line%;}"); done < <("$here/tree.sh" --print-apt-options)
    note "downloading packages (the log is $log)"
    if ! "$here/tree.sh" --print-sources | BERTH_PACKAGES=$work unshare --mount --propagation private \
        mmdebstrap --variant=minbase --mode=root --dpkgopt=force-unsafe-io "${options[@]}" \
        --customize-hook="$HOOK" trixie /dev/null - >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        die "mmdebstrap failed; see $log"
    fi
    rm "$work/list"
    mv -T "$work" "$target"
}

main() {
    local key lock
    need_root
    need_programs mmdebstrap unshare flock
    mkdir -p "$CACHE/images"
    key=$(sha256sum <"$here/packages.sh")
    target=$CACHE/images/packages-${key:0:12}
    work=$CACHE/images/.packages-$$
    exec {lock}>"$CACHE/images/.lock-packages"
    flock "$lock"
    [[ -d $target ]] || download {lock}>&-
    echo "$target"
}

main
