#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Makes an image of Debian packages once, and prints the path of its archive:
#   services    the servers that tests/system/application is built of
#   toolchain   a C compiler and make
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/host/common.sh
. "$here/common.sh"

declare -A PACKAGES=(
    [services]=nginx,redis-server,postgresql,python3,python3-psycopg2,python3-redis
    [toolchain]=gcc,libc6-dev,make
)
PATH_OF_IMAGE=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

make_archive() {
    local root=$1
    rm -rf "$CACHE"/images/."$image"-*
    mkdir "$work"
    trap 'rm -rf "$work"' EXIT
    # Documentation and the archive's lists would only be loaded and thrown away.
    tar -C "$root" --sort=name --numeric-owner --format=pax --pax-option=delete=atime,delete=ctime \
        --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' \
        --exclude='./var/cache/*' --exclude='./var/lib/apt/lists/*' -cf "$work/layer.tar" .
    "$here/make-image.py" --tag "$image:latest" --env "$PATH_OF_IMAGE" --cmd '["bash"]' "$work/image.tar" "$work/layer.tar"
    mv "$work/image.tar" "$target"
}

main() {
    local root key lock image=${1:-services}
    [[ -n ${PACKAGES[$image]:-} ]] || die "usage: services.sh [services|toolchain]"
    need_root
    need_programs python3 tar flock
    root=$("$here/tree.sh" --profile image --add "${PACKAGES[$image]}")
    mkdir -p "$CACHE/images"
    key=$(cat "$here/services.sh" "$here/make-image.py" <(echo "$root") | sha256sum)
    target=$CACHE/images/$image-${key:0:12}.tar
    work=$CACHE/images/.$image-$$
    exec {lock}>"$CACHE/images/.lock-$image"
    flock "$lock"
    [[ -f $target ]] || make_archive "$root" {lock}>&-
    echo "$target"
}

main "$@"
