#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Makes the image "services" once, a Debian with the servers that tests/system/application is built of, and prints the path
# of its archive.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/host/common.sh
. "$here/common.sh"

PACKAGES=nginx,redis-server,postgresql,python3,python3-psycopg2,python3-redis
PATH_OF_IMAGE=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

make_archive() {
    local root=$1
    rm -rf "$CACHE"/images/.services-*
    mkdir "$work"
    trap 'rm -rf "$work"' EXIT
    # Documentation and the archive's lists would only be loaded and thrown away.
    tar -C "$root" --sort=name --numeric-owner --format=pax --pax-option=delete=atime,delete=ctime \
        --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' \
        --exclude='./var/cache/*' --exclude='./var/lib/apt/lists/*' -cf "$work/layer.tar" .
    "$here/make-image.py" --tag services:latest --env "$PATH_OF_IMAGE" --cmd '["bash"]' "$work/services.tar" "$work/layer.tar"
    mv "$work/services.tar" "$target"
}

main() {
    local root key lock
    need_root
    need_programs python3 tar flock
    root=$("$here/tree.sh" --profile image --add "$PACKAGES")
    mkdir -p "$CACHE/images"
    key=$(cat "$here/services.sh" "$here/make-image.py" <(echo "$root") | sha256sum)
    target=$CACHE/images/services-${key:0:12}.tar
    work=$CACHE/images/.services-$$
    exec {lock}>"$CACHE/images/.lock-services"
    flock "$lock"
    [[ -f $target ]] || make_archive "$root" {lock}>&-
    echo "$target"
}

main "$@"
