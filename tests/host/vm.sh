#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Runs a script in a virtual machine: a stock Debian kernel, every cgroup controller, a disk that power can be cut from.
# QEMU emulates the processor, so this works wherever a process can run, about ten times slower than the machine itself.
#
# The script's output comes over a serial line of its own, between two marker lines; the kernel's and systemd's messages
# go to another one, which is only shown when the script did not get to its end.
set -euo pipefail

here=${BASH_SOURCE[0]%/*}
[[ $here != "${BASH_SOURCE[0]}" ]] || here=.
# shellcheck source=tests/host/common.sh
. "$here/common.sh"

# What "run" returns when there is no exit status of the script's.
TIMED_OUT=124
NO_STATUS=125

usage() {
    cat <<'END'
Usage: vm.sh run --script FILE [OPTION]...

Boots a virtual machine, runs FILE in it as root with its output on ours, and exits with its exit status: 124 when the time
was up, 125 when the machine ended before the script did.
  --suite trixie|bookworm
  --add PKG[,PKG...]    further packages
  --with DIR:PATH       what is in DIR is at PATH on the disk when it boots (again and again)
  --file FILE           FILE is in /var/lib/vm beside the script (again and again)
  --timeout SECONDS     300 unless told
  --memory MB           2048 unless told
  --output FILE         also write the script's output here
  --console FILE        also write the console's output here
  --disk FILE           use this disk and keep it: made if it does not exist, else booted as the last run left it (then
                        --suite must be the same and --with is not looked at)
  --cut TEXT            cut the power, as soon as a line with this text comes from the script; exits with 0 then
  --data FILE           a second disk, /dev/disk/by-id/virtio-data, that is there already and stays
  --record FILE         all that is written to it is recorded here, flushes too, in the format of the kernel's dm-log-writes
END
}

parse_arguments() {
    while (($#)); do
        case $1 in
        --suite) suite=${2:?}; shift 2 ;;
        --add) add=${2:?}; shift 2 ;;
        --script) script=${2:?}; shift 2 ;;
        --with) with+=("${2:?}"); shift 2 ;;
        --file) files+=("${2:?}"); shift 2 ;;
        --timeout) timeout=${2:?}; shift 2 ;;
        --memory) memory=${2:?}; shift 2 ;;
        --output) output=${2:?}; shift 2 ;;
        --console) console=${2:?}; shift 2 ;;
        --disk) disk=${2:?}; shift 2 ;;
        --cut) cut=${2:?}; shift 2 ;;
        --data) data=${2:?}; shift 2 ;;
        --record) record=${2:?}; shift 2 ;;
        *) die "run: unknown option: $1" ;;
        esac
    done
    [[ -f $script ]] || die "run: --script wants a file: '$script'"
    for item in "${with[@]}"; do
        [[ $item = *:/* && -d ${item%%:*} ]] || die "--with wants DIR:PATH, DIR a directory and PATH absolute: $item"
    done
}

# Two or three seconds, of some twenty: a disk made for the run needs no second format and no merging at boot.
make_disk() {
    local target=$1 tree=$2 item
    shift 2
    # shellcheck disable=SC2016
    unshare --mount --propagation private bash -euo pipefail -c '
        target=$1 tree=$2 work=$3
        shift 3
        mkdir -p "$work"/{upper,work,root}
        mount -t overlay berth-vm -o "lowerdir=$tree,upperdir=$work/upper,workdir=$work/work" "$work/root"
        for item; do
            tar -C "${item%%:*}" -c . | chroot "$work/root" \
                /bin/sh -c "mkdir -p \"\$1\" && tar -C \"\$1\" -x --keep-directory-symlink --no-overwrite-dir" - "${item#*:}"
        done
        rm -f "$target"
        truncate -s 4G "$target"
        mke2fs -q -F -t ext4 -m 0 -d "$work/root" "$target"
    ' - "$target" "$tree" "$work/disk-tree" "$@"
    rm -rf --one-file-system "$work/disk-tree"
}

# A tar archive as a disk: nothing in the machine has to mount it, and its end is part of the format.
make_payload() {
    local item
    mkdir "$work/payload"
    cp "$script" "$work/payload/script"
    chmod 755 "$work/payload/script"
    for item in "${files[@]}"; do
        cp "$item" "$work/payload/"
    done
    tar -C "$work/payload" --owner=0 --group=0 -b 2048 -cf "$work/payload.tar" .
}

# The second disk. It is behind the others on the bus, as the first one is the root. Only the power of the machine is cut,
# never of this one: nothing has to be flushed out here.
data_options() {
    local node=data-file
    [[ -n $data ]] || return 0
    printf '%s\n' -blockdev "driver=file,filename=$data,node-name=data-file,cache.no-flush=on"
    if [[ -n $record ]]; then
        : >"$record"
        printf '%s\n' -blockdev "driver=file,filename=$record,node-name=record-file,cache.no-flush=on" \
            -blockdev driver=blklogwrites,file=data-file,log=record-file,log-sector-size=512,node-name=recorded
        node=recorded
    fi
    printf '%s\n' -device "virtio-blk-pci,drive=$node,serial=data,addr=0x1e"
}

start_machine() {
    local tree=$1 data_disk
    mapfile -t data_disk < <(data_options)
    setsid qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m "$memory" -display none -monitor none \
        -no-reboot -nodefaults -kernel "$tree"/boot/vmlinuz-* -initrd "$tree"/boot/initrd.img-* \
        -drive "file=$disk,format=raw,if=virtio,cache=writeback" \
        -drive "file=$work/payload.tar,format=raw,if=virtio,readonly=on" "${data_disk[@]}" \
        -device virtio-rng-pci -serial "file:$console" -serial "file:$work/serial" \
        -append 'console=ttyS0 root=/dev/vda rw quiet panic=-1 systemd.show_status=no' \
        </dev/null >"$work/qemu.log" 2>&1 &
    machine=$!
    disown
}

# Passes on what is new on the script's serial line, and says whether its end has come.
relay_output() {
    local line
    while IFS= read -r line <&"$serial" || { partial+=$line; false; }; do
        line=$partial$line
        partial=
        case $line in
        BERTH-VM-BEGIN) ;;
        'BERTH-VM-END '*) status=${line#BERTH-VM-END } ;;
        *)
            printf '%s\n' "$line"
            [[ -z $output ]] || printf '%s\n' "$line" >>"$output"
            if [[ -n $cut && $line = *"$cut"* ]]; then
                kill -KILL "$machine" 2>/dev/null || true
                status=0
                return
            fi
            ;;
        esac
    done
}

watch_machine() {
    local end=$((SECONDS + timeout)) partial='' serial alive=1
    touch "$work/serial"
    exec {serial}<"$work/serial"
    while [[ -n $alive ]]; do
        kill -0 "$machine" 2>/dev/null || alive=
        relay_output
        if ((SECONDS >= end)); then
            note "the time is up"
            status=$TIMED_OUT
            break
        fi
        # A disk that nobody will look at again need not be unmounted.
        [[ -z $status || -n $keep_disk ]] || break
        [[ -z $alive ]] || sleep 0.1
    done
    [[ -z $partial ]] || printf '%s\n' "$partial"
}

end_machine() {
    [[ -n $machine ]] || return 0
    kill -KILL "$machine" 2>/dev/null || true
    while kill -0 "$machine" 2>/dev/null; do
        sleep 0.02
    done
    machine=
}

clean_up() {
    trap '' INT TERM HUP
    end_machine
    rm -rf --one-file-system "$work"
}

run_script() {
    local suite=trixie add='' script='' with=() files=() timeout=300 memory=2048 output='' console='' disk='' cut='' data='' record=''
    local item options status='' keep_disk
    parse_arguments "$@"
    need_root
    need_programs qemu-system-x86_64 mke2fs unshare setsid tar
    options=(--suite "$suite" --profile vm)
    [[ -z $add ]] || options+=(--add "$add")
    tree=$("$here/tree.sh" "${options[@]}")
    mkdir -p "$CACHE/vm"
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    work=$(mktemp -d "$CACHE/vm/run.XXXXXX")
    keep_disk=$disk
    : "${disk:=$work/disk}" "${console:=$work/console}"
    [[ -z $output ]] || : >"$output"
    [[ -e $disk ]] || make_disk "$disk" "$tree" "${with[@]}"
    make_payload
    start_machine "$tree"
    watch_machine
    end_machine
    if [[ -z $status || $status = "$TIMED_OUT" ]]; then
        { echo "--- the console's last lines"; tail -n 40 "$console"; cat "$work/qemu.log"; } >&2
    fi
    exit "${status:-$NO_STATUS}"
}

work=$CACHE/vm/none
machine=

case ${1:-} in
run) shift; run_script "$@" ;;
-h | --help | help) usage ;;
*) usage >&2; exit 2 ;;
esac
