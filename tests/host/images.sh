#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Makes the images of the tests, once, without a registry and without any code of Berth's, and prints their directory.
# "images.sh busybox" makes the first one only, which takes no more than a busybox that is linked statically.
#
#   busybox.tar           busybox:latest, a docker-archive with one layer
#   busybox.tar.gz, .zst  the same file, compressed as a whole
#   busybox-oci.tar       the same image as an OCI archive, its layer not compressed
#   busybox-oci-gzip.tar, busybox-oci-zstd.tar
#                         with a layer compressed by gzip and by zstd; skopeo wrote these
#   busybox-oci-odd.tar   one that skopeo wrote with a layer that is not compressed and is called tar+gzip
#   layers.tar            layers:latest, busybox and three more layers: whiteouts, opaque directories, hard links, odd modes
#                         and owners, extended attributes, devices (see make-layers.py for what must be seen in it)
#   layers-oci-gzip.tar   the same as an OCI archive
#   debian.tar            debian:13, a minimal real distribution
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/host/common.sh
. "$here/common.sh"

PATH_OF_IMAGES=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

make_busybox() {
    local binary=$1 root=$work/busybox applet
    mkdir -p "$root"/{bin,dev,etc,home,proc,root,sys,usr/bin,usr/sbin,var}
    mkdir -m 1777 "$root/tmp" "$root/var/tmp"
    mkdir -m 755 "$root/sbin" "$root/var/spool"
    chmod 700 "$root/root"
    install -m 755 "$binary" "$root/bin/busybox"
    # Every applet in /bin: where a program of the image lies is of no interest to a test.
    for applet in $("$root/bin/busybox" --list); do
        [[ $applet = busybox ]] || ln -s busybox "$root/bin/$applet"
    done
    printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'daemon:x:1:1:daemon:/usr/sbin:/bin/false' \
        'www-data:x:33:33:www-data:/var/www:/bin/false' 'nobody:x:65534:65534:nobody:/home:/bin/false' >"$root/etc/passwd"
    printf '%s\n' 'root:x:0:' 'daemon:x:1:' 'tty:x:5:' 'staff:x:50:' 'www-data:x:33:' 'nobody:x:65534:' >"$root/etc/group"
    printf '%s\n' 'root:*::0:::::' 'nobody:*::0:::::' >"$root/etc/shadow"
    chmod 640 "$root/etc/shadow"
    pack_root "$root" "$work/busybox-layer.tar"
    "$here/make-image.py" --tag busybox:latest --env "$PATH_OF_IMAGES" --cmd '["sh"]' \
        "$work/busybox.tar" "$work/busybox-layer.tar"
    "$here/make-image.py" --oci --tag busybox:latest --env "$PATH_OF_IMAGES" --cmd '["sh"]' \
        "$work/busybox-oci.tar" "$work/busybox-layer.tar"
}

# The same tree gives the same bytes, whenever it is packed.
pack_root() {
    tar -C "$1" --sort=name --mtime=@1735689600 --numeric-owner --owner=0 --group=0 --format=gnu -cf "$2" .
}

make_layers() {
    "$here/make-layers.py" "$work"
    "$here/make-image.py" --tag layers:latest --env "$PATH_OF_IMAGES" --cmd '["cat","/expected"]' \
        --label berth.test=layers --workdir /data "$work/layers.tar" "$work/busybox-layer.tar" "$work"/{1,2,3}.tar
}

make_compressed() {
    gzip -n -k "$work/busybox.tar"
    zstd -q -k "$work/busybox.tar"
}

make_debian() {
    local root
    root=$("$here/tree.sh" --profile image)
    tar -C "$root" --sort=name --numeric-owner --xattrs --xattrs-include='*' --format=pax \
        --pax-option=delete=atime,delete=ctime -cf "$work/debian-layer.tar" .
    "$here/make-image.py" --tag debian:13 --tag debian:trixie --env "$PATH_OF_IMAGES" --cmd '["bash"]' \
        "$work/debian.tar" "$work/debian-layer.tar"
}

# These are skopeo's work. It runs in the test tree, over which nothing is written: its mounts are in a namespace
# that ends with it.
make_oci() {
    local tree
    tree=$("$here/tree.sh" --profile test)
    # shellcheck disable=SC2016
    unshare --mount --propagation private bash -euc '
        mount -t tmpfs tmpfs "$1/var/tmp"
        mount --bind "$2" "$1/mnt"
        mount -t proc proc "$1/proc"
        copy() {
            chroot "$tree" skopeo --insecure-policy copy --quiet "$@"
        }
        tree=$1
        copy docker-archive:/mnt/busybox.tar oci-archive:/mnt/busybox-oci-gzip.tar:busybox:latest
        copy --dest-compress-format zstd docker-archive:/mnt/busybox.tar oci-archive:/mnt/busybox-oci-zstd.tar:busybox:latest
        copy --dest-oci-accept-uncompressed-layers docker-archive:/mnt/busybox.tar oci-archive:/mnt/busybox-oci-odd.tar:busybox:latest
        copy docker-archive:/mnt/layers.tar oci-archive:/mnt/layers-oci-gzip.tar:layers:latest
    ' - "$tree" "$work"
}

# This machine's own if it is a static one, else that of a tree.
find_busybox() {
    local own
    own=$(command -v busybox || true)
    if [[ -n $own ]] && ! ldd "$own" >/dev/null 2>&1; then
        echo "$own"
    else
        echo "$("$here/tree.sh" --profile base)/usr/bin/busybox"
    fi
}

make_all() {
    local base
    base=$("$here/tree.sh" --profile base)
    make_busybox "$base/usr/bin/busybox"
    make_layers
    make_compressed
    make_oci
    make_debian
}

# Works in a directory of its own and renames it: images that are there are complete.
make_directory() {
    local binary
    rm -rf --one-file-system "$CACHE"/images/.building-*
    mkdir "$work"
    trap 'rm -rf --one-file-system "$work"' EXIT
    if [[ $wanted = busybox ]]; then
        binary=$(find_busybox)
        make_busybox "$binary"
    else
        make_all
    fi
    rm -rf "$work"/busybox "$work"/*-layer.tar "$work"/[123].tar
    mv -T "$work" "$target"
}

main() {
    local key lock target wanted=${1:-all}
    [[ $wanted = all || $wanted = busybox ]] || die "usage: images.sh [busybox]"
    need_root
    need_programs python3 tar flock
    [[ $wanted = busybox ]] || need_programs gzip zstd unshare
    mkdir -p "$CACHE/images"
    # Whatever the images are made with is in the name: a change makes new ones.
    key=$(cat "$here"/images.sh "$here"/make-*.py "$here/tree.sh" | sha256sum)
    target=$CACHE/images/$wanted-${key:0:12}
    work=$CACHE/images/.building-$$
    exec {lock}>"$CACHE/images/.lock"
    flock "$lock"
    [[ -d $target ]] || make_directory {lock}>&-
    echo "$target"
}

main "$@"
