#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Builds a Debian root tree for a test host, once, and prints its path.
#
# A tree is never changed after it was built: hosts put an overlay over it. Its name holds a hash of everything it was
# made from, so that a changed package list gives a new tree and never an old one under a new meaning.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/host/common.sh
. "$here/common.sh"

# Raise this when the preparation below changes in a way that the package list does not show.
RECIPE=4

suite=trixie
profile=base
extra=
print_only=

usage() {
    cat <<'END'
Usage: tree.sh [--suite trixie|bookworm] [--profile base|test|compose|bench|vm|fresh|image] [--add PKG[,PKG...]] [--print]

Builds the tree unless it is there already, and prints its path.
  --add     further packages for the tree
  --print   only print the path; exit with 1 if the tree is not built
  --print-sources, --print-apt-options   only print what apt is told: its sources for the suite, its settings
END
}

parse_arguments() {
    while (($#)); do
        case $1 in
        --suite) suite=${2:?}; shift 2 ;;
        --profile) profile=${2:?}; shift 2 ;;
        --add) extra=${2:?}; shift 2 ;;
        --print) print_only=1; shift ;;
        --print-sources) print_only=source_lines; shift ;;
        --print-apt-options) print_only=apt_options; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
        esac
    done
    case $suite in trixie | bookworm) ;; *) die "unknown suite: $suite" ;; esac
}

# The packages of a profile, one a line. The 64-bit time transition renamed some libraries in trixie.
packages() {
    local t64=
    [[ $suite != trixie ]] || t64=t64
    case $profile in
    image) ;; # not a host: the content of the image debian:13
    fresh)
        printf '%s\n' systemd systemd-sysv dbus make git
        ;;
    base)
        printf '%s\n' systemd systemd-sysv dbus iproute2 nftables procps util-linux python3
        printf '%s\n' libjansson4 "libarchive13$t64" libseccomp2 libcap2 libmnl0 libisal2 "libssl3$t64" libhttp-parser2.9
        printf '%s\n' libmount1 libsystemd0 "libcurl4$t64" zlib1g ca-certificates openssl libasan8 libubsan1
        printf '%s\n' busybox-static strace less bash-completion
        ;;
    vm)
        profile='base' packages
        printf '%s\n' udev kmod initramfs-tools zstd linux-image-cloud-amd64
        client_package
        ;;
    test)
        profile='base' packages
        client_package
        printf '%s\n' docker.io docker-registry crun skopeo git iputils-ping tmux systemd-container
        ;;
    compose)
        profile='test' packages
        printf '%s\n' docker-compose conntrack firewalld ufw
        ;;
    bench)
        profile='test' packages
        printf '%s\n' podman netavark aardvark-dns docker-buildx iperf3 sockperf
        ;;
    *) die "unknown profile: $profile" ;;
    esac
}

# bookworm has the docker client only inside docker.io.
client_package() {
    if [[ $suite = bookworm ]]; then echo docker.io; else echo docker-cli; fi
}

package_list() {
    { packages; tr ',' '\n' <<<"$extra"; } | sed '/^$/d' | LC_ALL=C sort -u
}

tree_path() {
    local list key
    list=$(package_list)
    key=$(printf '%s\n' "$RECIPE" "$suite" "$profile" "$list" | sha256sum)
    echo "$CACHE/trees/$suite-$profile-${key:0:12}"
}

# apt's source lines for the suite, from the repositories this machine itself uses.
source_lines() {
    local main security
    if [[ -n ${BERTH_MIRROR:-} ]]; then
        main=$BERTH_MIRROR
    else
        main=$(outer_repository '^(bookworm|trixie|stable|testing|sid|oldstable)$')
        [[ -n $main ]] || die "no Debian archive in this machine's apt sources; set BERTH_MIRROR"
    fi
    security=$(outer_repository '-security$')
    echo "deb $main $suite main"
    echo "deb $main $suite-updates main"
    if [[ -n $security ]]; then
        echo "deb $security $suite-security main"
    fi
}

outer_repository() {
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
        awk -v want="$1" '$1 ~ want { sub("/+$", "", $2); print $2; exit }'
}

# apt's own settings of this machine that decide whether the archive can be reached and is believed.
apt_options() {
    apt-config dump |
        sed -n -E '/^Acquire::((http|https|ftp)::Proxy|Check-Valid-Until|Check-Date|Retries) /p' |
        sed 's/;$//'
}

prepare_tree() {
    local root=$1
    mask_units "$root"
    mkdir -p "$root/etc/systemd/journald.conf.d" "$root/src/berth" "$root/var/log/journal"
    printf '[Journal]\nStorage=persistent\nSystemMaxUse=4G\n' >"$root/etc/systemd/journald.conf.d/berth-test.conf"
    run_service >"$root/etc/systemd/system/host-run.service"
    mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
    ln -sf ../host-run.service "$root/etc/systemd/system/multi-user.target.wants/"
    chroot "$root" passwd --quiet --delete root
    # An empty file: every host gets an id of its own, yet its boot is not a first boot, which would reset the units.
    : >"$root/etc/machine-id"
    rm -f "$root/var/lib/dbus/machine-id" "$root/etc/hostname" "$root/etc/resolv.conf"
    printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' >"$root/etc/hosts"
    if [[ $profile = vm ]]; then
        prepare_vm "$root"
    else
        # There it is the kernel outside that has the modules, and these would only fail.
        mask_unit "$root" systemd-modules-load.service
        mask_unit "$root" modprobe@.service
    fi
}

# Nothing of another engine runs unless a test starts it, and nothing wakes up in the middle of a measurement.
mask_units() {
    local root=$1 unit path
    for path in "$root"/usr/lib/systemd/system/{docker,containerd,podman,netavark}*.{service,socket,timer} \
        "$root"/lib/systemd/system/{docker,containerd,podman,netavark}*.{service,socket,timer}; do
        [[ -e $path && $path != *@.* ]] || continue
        mask_unit "$root" "${path##*/}"
    done
    for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer \
        e2scrub_reap.service man-db.timer systemd-networkd-wait-online.service console-getty.service getty@.service \
        nftables.service systemd-pcrlock-make-policy.service; do
        mask_unit "$root" "$unit"
    done
    # The docker package enables its units: the links would only be noise beside the masks.
    find "$root/etc/systemd/system" -path '*.wants/*' \( -name 'docker*' -o -name 'containerd*' -o -name 'podman*' \) -delete
}

mask_unit() {
    ln -sf /dev/null "$1/etc/systemd/system/$2"
}

# Where "nspawn.sh run" puts its commands, so that they live in a cgroup of the host's like any service.
run_service() {
    cat <<'END'
[Unit]
Description=Commands run from outside the test host

[Service]
Type=exec
ExecStart=/bin/sleep infinity
Delegate=yes
TasksMax=infinity
LimitNOFILE=524288
KillMode=control-group
TimeoutStopSec=2s
END
}

# What vm.sh needs: the root disk and the unit that runs the script it attaches.
prepare_vm() {
    local root=$1 wants=$1/etc/systemd/system/multi-user.target.wants
    echo '/dev/vda / ext4 defaults 0 1' >"$root/etc/fstab"
    mask_unit "$root" serial-getty@.service
    vm_script_service >"$root/etc/systemd/system/vm-script.service"
    mkdir -p "$wants"
    ln -sf ../vm-script.service "$wants/"
    # Only what the root disk needs: the smaller, the sooner unpacked.
    echo MODULES=list >"$root/etc/initramfs-tools/conf.d/berth-test.conf"
    printf '%s\n' virtio_pci virtio_blk ext4 >>"$root/etc/initramfs-tools/modules"
    chroot "$root" update-initramfs -u >/dev/null 2>&1
}

# The script comes as a tar archive on the second disk. Its output goes to the second serial line, which carries nothing
# else; the last line there tells its exit status. /run would not do for it: nothing may be executed there.
vm_script_service() {
    cat <<'END'
[Unit]
Description=The test script of this virtual machine
After=multi-user.target dbus.service
ConditionPathExists=/dev/vdb

[Service]
Type=exec
Environment=HOME=/root LANG=C.UTF-8 TERM=dumb
WorkingDirectory=/root
ExecStartPre=rm -rf /var/lib/vm
ExecStartPre=mkdir -p /var/lib/vm
ExecStartPre=tar -xf /dev/vdb -C /var/lib/vm
ExecStartPre=stty -F /dev/ttyS1 raw -echo
ExecStart=/bin/sh -c 'exec >/dev/ttyS1; echo BERTH-VM-BEGIN; \
    { /var/lib/vm/script; echo $$? >/var/lib/vm/status; } 2>&1 | tee /var/log/vm-script.log; \
    read -r status </var/lib/vm/status; echo "BERTH-VM-END $$status"'
ExecStopPost=systemctl poweroff --no-block
TasksMax=infinity
TimeoutStartSec=infinity
END
}

# Builds into a directory of its own and renames it: a tree that exists is complete.
build_tree() {
    local target=$1 log=$1.log start=$SECONDS options=() line list
    work=$CACHE/trees/.building-$suite-$profile-$$
    rm -rf --one-file-system "$CACHE/trees/.building-$suite-$profile-"*
    trap 'rm -rf --one-file-system "$work"' EXIT
    while read -r line; do options+=(--aptopt="$line"); done < <(apt_options)
    list=$(package_list | paste -sd,)
    [[ -z $list ]] || options+=(--include="$list")
    options+=(--dpkgopt=force-unsafe-io)
    if [[ $profile != image ]]; then
        for line in doc man info locale lintian; do
            options+=(--dpkgopt="path-exclude=/usr/share/$line/*")
        done
        options+=(--dpkgopt='path-include=/usr/share/doc/*/copyright')
    fi
    note "building $target (the log is $log)"
    # A mount namespace of its own: whatever the packages' scripts mount stays out of this machine's.
    if ! source_lines | unshare --mount --propagation private mmdebstrap --variant=minbase --mode=root \
        "${options[@]}" "$suite" "$work" - >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        die "mmdebstrap failed; see $log"
    fi
    [[ $profile = image ]] || prepare_tree "$work"
    mv -T "$work" "$target"
    note "built in $((SECONDS - start)) s"
}

main() {
    local target lock
    parse_arguments "$@"
    case $print_only in source_lines) source_lines; return ;; apt_options) apt_options | sed 's/$/;/'; return ;; esac
    target=$(tree_path)
    if [[ ! -d $target && -z $print_only ]]; then
        need_root
        need_programs mmdebstrap unshare flock
        mkdir -p "$CACHE/trees"
        exec {lock}>"$CACHE/trees/.lock-$suite-$profile"
        flock "$lock"
        # Another caller may have built it while this one waited.
        [[ -d $target ]] || build_tree "$target" {lock}>&-
    fi
    echo "$target"
    [[ -d $target ]]
}

main "$@"
