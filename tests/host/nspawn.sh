#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Disposable Debian hosts with a real systemd as PID 1, run by systemd-nspawn. No systemd is needed outside.
#
# A host is an overlay over a tree from tree.sh, mounted in a mount namespace that only the host's nspawn process lives
# in: nothing is mounted, bridged or firewalled in this machine's own namespaces, and what a host leaves is one directory
# and one cgroup, which "stop" removes. The directory names the processes by pid and start time, so that a pid that was
# given to somebody else meanwhile is never signalled.
set -euo pipefail

# "run" is called for every step of every test: on its way nothing forks, and functions answer in REPLY.
here=${BASH_SOURCE[0]%/*}
[[ $here != "${BASH_SOURCE[0]}" ]] || here=.
# shellcheck source=tests/host/common.sh
. "$here/common.sh"

# A caller with hosts of its own that "stop-all" should not mix with others' sets BERTH_HOSTS.
HOSTS=${BERTH_HOSTS:-$CACHE/hosts}
RELAY_PORT=3142
# Directories of the real disk in the host: an overlay cannot be the upper directory of an overlay, and the journal should
# be as fast as on a real host.
REAL=(/var/lib/berth /var/lib/docker /var/lib/containerd /var/lib/containers /var/log/journal)

usage() {
    cat <<'END'
Usage: nspawn.sh COMMAND ...

  start NAME [--suite S] [--profile P] [--add PKGS] [--with DIR:PATH]... [--apt-proxy]
        boot a host and wait until it is up
          --suite, --profile, --add   the tree, see tree.sh
          --with DIR:PATH             copy what is in DIR to PATH before it boots
          --apt-proxy                 let apt in the host reach the archives in this machine's apt sources
  run NAME [--tty] [--unit] -- CMD...
        run a command in the host; its exit status is passed on
          --tty    give it a terminal of the host's
          --unit   run it as a transient service, with what a service of this host has and no more
  shell NAME                an interactive shell
  put NAME SRC... DEST      copy into the host
  get NAME SRC DEST         copy out of it
  stop NAME [--now]         power it off (--now: kill it) and remove all that belonged to it
  stop-all [--now]          stop every host that was started here
  list                      the hosts: name, state, suite and profile, pid of its init
  pid NAME                  the pid of its init
  with NAME [START OPTIONS] [--outside] -- CMD...
        start a host, run a command in it (--outside: out here, with the name in BERTH_HOST), and always stop it

The source tree is at /src/berth in the host, read-only.
END
}

# --- processes, by pid and start time

start_time() {
    local stat='' fields
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    # The command's name comes second, in parentheses, and may hold anything: count from behind it.
    read -r -a fields <<<"${stat##*) }"
    REPLY=${fields[19]}
}

record_process() {
    start_time "$2" || return 1
    echo "$2 $REPLY" >"$1.new"
    mv "$1.new" "$1"
}

# Answers with the recorded pid if that process still lives.
recorded_process() {
    local pid time
    [[ -f $1 ]] && read -r pid time <"$1" || return 1
    start_time "$pid" && [[ $REPLY = "$time" ]] || return 1
    REPLY=$pid
}

signal_process() {
    recorded_process "$1" || return 0
    kill "-$2" "$REPLY" 2>/dev/null || true
}

# wait_gone FILE SECONDS
wait_gone() {
    local tries=$(($2 * 20))
    while recorded_process "$1"; do
        ((tries-- > 0)) || return 1
        sleep 0.05
    done
}

# --- state

host_dir() {
    [[ $1 =~ ^[a-z0-9][a-z0-9-]{0,40}$ ]] || die "not a host name: '$1' (small letters, digits and '-')"
    REPLY=$HOSTS/$1
}

# Sets dir and init of a host that runs.
find_host() {
    host_dir "$1"
    dir=$REPLY
    recorded_process "$dir/init" || die "no such host: $1"
    init=$REPLY
}

# Takes the name, by a rename: a host's directory names its owner from its first instant on, the process that removes the
# host should it not come to its end. A directory without living processes is what a crash left, and goes.
claim_name() {
    local name=$1 dir=$2 file
    mkdir -p "$HOSTS"
    if [[ -d $dir ]]; then
        for file in owner nspawn init; do
            ! recorded_process "$dir/$file" || die "a host named $name is there already"
        done
        destroy_host "$name" now
    fi
    unclaimed=$HOSTS/.$name-$$
    mkdir -m 700 "$unclaimed"
    record_process "$unclaimed/owner" $$
    mv -T "$unclaimed" "$dir" || die "a host named $name is being started"
}

# From here on, whatever ends this script also ends the host that it owns.
own_until_exit() {
    owned=$1
    unclaimed=$HOSTS/.$1-$$
    trap 'trap "" INT TERM HUP; abandon' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
}

abandon() {
    host_dir "$owned"
    rm -rf "$unclaimed"
    if recorded_process "$REPLY/owner" && ((REPLY == $$)); then
        destroy_host "$owned" now
    fi
}

# --- starting

start_host() {
    local name=${1:?} dir tree suite=trixie profile=base options=() with=() apt_proxy=
    shift
    while (($#)); do
        case $1 in
        --suite) suite=${2:?}; options+=("$1" "$2"); shift 2 ;;
        --profile) profile=${2:?}; options+=("$1" "$2"); shift 2 ;;
        --add) options+=("$1" "${2:?}"); shift 2 ;;
        --with) check_with "${2:?}"; with+=("$2"); shift 2 ;;
        --apt-proxy) apt_proxy=1; shift ;;
        *) die "start: unknown option: $1" ;;
        esac
    done
    need_root
    need_programs systemd-nspawn unshare nsenter setsid tar
    host_dir "$name"
    dir=$REPLY
    tree=$("$here/tree.sh" "${options[@]}")
    own_until_exit "$name"
    claim_name "$name" "$dir"
    echo "$suite $profile" >"$dir/kind"
    BERTH_APT_PROXY=$apt_proxy launch "$name" "$dir" "$tree" "${with[@]}"
    wait_booted "$name" "$dir"
    [[ -z $apt_proxy ]] || start_relay "$dir"
}

# A host that is up stays when this script ends.
keep_host() {
    host_dir "$1"
    rm -f "$REPLY/owner"
}

check_with() {
    [[ $1 = *:/* && -d ${1%%:*} ]] || die "--with wants DIR:PATH, DIR a directory and PATH absolute: $1"
}

# A session of its own keeps the terminal's Ctrl-C from the host: it is this script that must end it, in order.
launch() {
    local name=$1 dir=$2
    mkdir "$dir/upper" "$dir/work" "$dir/root" "$dir/data"
    setsid unshare --mount --propagation private "$here/nspawn.sh" --boot "$@" \
        </dev/null >"$dir/log" 2>&1 &
    # Bash shall not report how it ended.
    disown
    record_process "$dir/nspawn" $! || { cat "$dir/log" >&2; die "$name did not start"; }
}

# Runs in the host's own mount namespace and becomes its nspawn process.
boot_host() {
    local name=$1 dir=$2 tree=$3 item options=()
    shift 3
    mount -t overlay "berth-host-$name" -o "lowerdir=$tree,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
    for item; do
        copy_tree "${item%%:*}" "$dir/root" "${item#*:}"
    done
    if [[ -n ${BERTH_APT_PROXY:-} ]]; then
        # Apt's pipelining gains nothing over a local relay and needs it to answer in order.
        printf 'Acquire::http::Proxy "http://127.0.0.1:%d";\nAcquire::http::Pipeline-Depth "0";\n' "$RELAY_PORT" \
            >"$dir/root/etc/apt/apt.conf.d/99relay"
    fi
    own_cgroup "$name"
    add_options "$name" "$dir"
    export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
    exec systemd-nspawn "${options[@]}"
}

# From inside the root, so that its links (lib to usr/lib) lead where they do on the host.
copy_tree() {
    # shellcheck disable=SC2016
    tar -C "$1" -c . | chroot "$2" /bin/sh -c 'mkdir -p "$1" && tar -C "$1" -x --keep-directory-symlink --no-overwrite-dir' - "$3"
}

# Appends to the caller's options; a child of this process that printed them would become a child of nspawn.
add_options() {
    local name=$1 dir=$2 path
    options+=(--quiet --register=no --private-network --capability=all "--directory=$dir/root" --boot
        "--machine=$name" "--uuid=$(</proc/sys/kernel/random/uuid)" --console=read-only --link-journal=no
        --resolv-conf=off --timezone=off '--system-call-filter=add_key keyctl bpf @mount perf_event_open')
    # Where systemd runs outside, nspawn asks it for a scope, whose device rules must not keep layers from having device
    # nodes. Elsewhere there is nobody to ask.
    if [[ -d /run/systemd/system ]]; then
        options+=(--property=DevicePolicy=auto --property=DeviceAllow=)
    else
        options+=(--keep-unit)
    fi
    for path in /dev/fuse /dev/net/tun; do
        [[ ! -e $path ]] || options+=("--bind=$path")
    done
    for path in "${REAL[@]}"; do
        mkdir -p "$dir/data$path"
        options+=("--bind=$dir/data$path:$path")
    done
    options+=("--bind-ro=$(realpath "$here/../.."):/src/berth")
}

# Without systemd outside, two hosts would otherwise both take the root of the cgroup tree for theirs. The mounts are seen
# in this host's mount namespace only; over /run because nspawn leaves lock files there.
own_cgroup() {
    local group=/sys/fs/cgroup/berth-host-$1
    [[ ! -d /run/systemd/system ]] || return 0
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir -p "$group"
    echo $$ >"$group/cgroup.procs"
    mount -t tmpfs tmpfs /run
}

wait_booted() {
    local name=$1 dir=$2 end=$((SECONDS + 30)) pid state=
    while ((SECONDS < end)); do
        if ! recorded_process "$dir/nspawn"; then
            tail -n 20 "$dir/log" >&2
            die "$name ended while it booted"
        fi
        if find_init "$dir"; then
            pid=$REPLY
            record_process "$dir/init" "$pid" || continue
            state=$(enter "$pid" systemctl is-system-running 2>/dev/null) || true
            case $state in
            running) return 0 ;;
            degraded) note "$name is up, but degraded:"; enter "$pid" systemctl --failed --no-legend >&2; return 0 ;;
            esac
        fi
        sleep 0.05
    done
    tail -n 20 "$dir/log" >&2
    die "$name is not up after 30 s (its state: ${state:-none})"
}

# The child of nspawn that is process 1 of its own pid namespace and has become systemd.
find_init() {
    local child children=()
    recorded_process "$1/nspawn" || return 1
    read -r -a children <"/proc/$REPLY/task/$REPLY/children" || true
    for child in "${children[@]}"; do
        if grep -q -E '^NSpid:.*[[:space:]]1$' "/proc/$child/status" 2>/dev/null &&
            [[ $(cat "/proc/$child/comm" 2>/dev/null) = systemd ]]; then
            REPLY=$child
            return 0
        fi
    done
    return 1
}

# Apt in the host speaks to a relay that listens on the host's loopback and connects from out here.
start_relay() {
    local dir=$1 relay allowed
    # shellcheck disable=SC2016
    mapfile -t allowed < <(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | LC_ALL=C sort -u)
    recorded_process "$dir/init" || die "the host ended"
    relay=$(python3 "$here/apt-relay.py" "$REPLY" "$RELAY_PORT" "${allowed[@]}") || die "the relay for apt did not start"
    record_process "$dir/relay" "$relay"
}

# --- running

enter() {
    local pid=$1
    shift
    nsenter --target "$pid" --mount --uts --ipc --net --pid --cgroup -- "$@"
}

run_in_host() {
    local dir init tty='' unit='' name=${1:?}
    shift
    while (($#)); do
        case $1 in
        --tty) tty=1; shift ;;
        --unit) unit=1; shift ;;
        --) shift; break ;;
        -*) die "run: unknown option: $1" ;;
        *) break ;;
        esac
    done
    (($#)) || die "run: no command"
    find_host "$name"
    join_cgroup "$dir" "$init"
    if [[ -n $unit ]]; then
        set -- systemd-run --quiet --collect --wait --pipe --working-directory=/root \
            --setenv=HOME=/root --setenv=LANG=C.UTF-8 --setenv=TERM="${TERM:-dumb}" -- "$@"
    fi
    if [[ -n $tty ]]; then
        # The terminal out here does not exist in the host: "script" makes one of the host's and copies.
        set -- script --quiet --return --command "$(printf '%q ' "$@")" /dev/null
    fi
    # A command must not outlive the call that ran it, when that is killed.
    exec nsenter --target "$init" --mount --uts --ipc --net --pid --cgroup -- \
        /usr/bin/setpriv --pdeathsig TERM -- \
        /usr/bin/env -i -C /root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/root USER=root LOGNAME=root SHELL=/bin/bash TERM="${TERM:-dumb}" LANG=C.UTF-8 "$@"
}

# The host's systemd must find the command where it keeps services, not in a cgroup of this machine's. The group is
# reached through nspawn's own view of the cgroup tree: out here there may be none.
join_cgroup() {
    local dir=$1 init=$2 nspawn group line
    recorded_process "$dir/nspawn" || die "the host is being stopped"
    nspawn=$REPLY
    while read -r line; do
        [[ $line != 0::* ]] || group=${line#0::}
    done <"/proc/$init/cgroup"
    group=/proc/$nspawn/root/sys/fs/cgroup${group%/init.scope}/system.slice/host-run.service
    echo $$ >"$group/cgroup.procs" || die "cannot enter the host's cgroup $group"
}

# --- copying

# Through tar in the host: a path handled out here could lead out of the host by way of a link.
put_files() {
    local name=${1:?} dest sources item
    shift
    (($# >= 2)) || die "put NAME SRC... DEST"
    dest=${!#}
    sources=("${@:1:$#-1}")
    for item in "${sources[@]}"; do
        [[ -e $item || -L $item ]] || die "no such file: $item"
    done
    [[ ${#sources[@]} -eq 1 || $dest = */ ]] || dest=$dest/
    pack "${sources[@]}" | run_in_host "$name" -- bash -c "$(declare -f unpack); unpack \"\$1\"" - "$dest"
}

get_files() {
    local name=${1:?} source=${2:?} dest=${3:?}
    run_in_host "$name" -- bash -c "$(declare -f pack); pack \"\$1\"" - "$source" | unpack "$dest"
}

pack() {
    local item arguments=()
    for item; do
        item=$(realpath -s "$item")
        arguments+=(-C "$(dirname "$item")" "$(basename "$item")")
    done
    tar --numeric-owner --xattrs --xattrs-include='*' -c "${arguments[@]}"
}

# As cp does: into DEST if that is a directory or is written with a slash at its end, else under the name DEST.
unpack() {
    local dest=$1 temporary item
    set -e -o pipefail
    if [[ $dest = */ || -d $dest ]]; then
        mkdir -p "$dest"
        tar --numeric-owner --xattrs --xattrs-include='*' -C "$dest" -xp
        return
    fi
    mkdir -p "$(dirname "$dest")"
    temporary=$(mktemp -d "$(dirname "$dest")/.copy.XXXXXX")
    if tar --numeric-owner --xattrs --xattrs-include='*' -C "$temporary" -xp; then
        # None if the other end had nothing to send, and has said so.
        item=$(find "$temporary" -mindepth 1 -maxdepth 1)
        [[ -z $item ]] || mv -fT "$item" "$dest"
    fi
    rm -rf "$temporary"
    [[ -n ${item:-} ]]
}

# --- stopping

stop_host() {
    local name=${1:?} how=${2:-}
    host_dir "$name"
    [[ -d $REPLY ]] || die "no such host: $name"
    destroy_host "$name" "${how#--}"
}

# The first SIGTERM powers the host off, the second makes nspawn end it; what is left then is killed.
destroy_host() {
    local name=$1 how=${2:-} dir
    host_dir "$name"
    dir=$REPLY
    [[ -d $dir ]] || return 0
    signal_process "$dir/relay" TERM
    if [[ $how != now ]]; then
        signal_process "$dir/nspawn" TERM
        wait_gone "$dir/nspawn" 10 || { signal_process "$dir/nspawn" TERM; wait_gone "$dir/nspawn" 5; } || true
    fi
    kill_cgroup "$name"
    signal_process "$dir/init" KILL
    signal_process "$dir/nspawn" KILL
    if ! wait_gone "$dir/nspawn" 5 || ! wait_gone "$dir/init" 5; then
        die "$name does not end"
    fi
    remove_cgroup "$name"
    # Its mounts went with its processes, but the kernel may still be at it for a moment.
    for _ in {1..40}; do
        rm -rf --one-file-system "$dir" 2>/dev/null && return 0
        sleep 0.05
    done
    rm -rf --one-file-system "$dir"
}

# In a mount namespace of its own, since this machine may not have the tree mounted, or elsewhere.
in_cgroups() {
    [[ ! -d /run/systemd/system ]] || return 0
    unshare --mount --propagation private bash -euc \
        'mount -t cgroup2 cgroup2 /sys/fs/cgroup; cd /sys/fs/cgroup; '"$1" - "berth-host-$2"
}

kill_cgroup() {
    # shellcheck disable=SC2016
    in_cgroups '[[ ! -e $1/cgroup.kill ]] || echo 1 >"$1/cgroup.kill"' "$1"
}

remove_cgroup() {
    # shellcheck disable=SC2016
    in_cgroups 'for _ in {1..100}; do
        [[ -d $1 ]] || exit 0
        find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.02
    done; ! [[ -d $1 ]]' "$1" || note "the cgroup berth-host-$1 is still in use"
}

stop_all() {
    local dir failed=0 pids=() pid
    for dir in "$HOSTS"/*/; do
        [[ -d $dir ]] || continue
        stop_host "$(basename "$dir")" "${1:-}" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || failed=1
    done
    rmdir "$HOSTS" 2>/dev/null || true
    return "$failed"
}

list_hosts() {
    local dir init state
    for dir in "$HOSTS"/*/; do
        [[ -d $dir ]] || continue
        dir=${dir%/}
        state=running
        init=-
        if recorded_process "$dir/init"; then
            init=$REPLY
        elif recorded_process "$dir/owner"; then
            state=starting
        else
            state=dead
        fi
        printf '%s\t%s\t%s\t%s\n' "${dir##*/}" "$state" "$(cat "$dir/kind" 2>/dev/null)" "$init"
    done
}

# --- start, run, stop

with_host() {
    local name=${1:?} options=() outside='' child status=0
    shift
    while (($#)) && [[ $1 != -- ]]; do
        if [[ $1 = --outside ]]; then outside=1; else options+=("$1"); fi
        shift
    done
    (($# > 1)) || die "with: no command"
    shift
    start_host "$name" "${options[@]}"
    if [[ -n $outside ]]; then
        set -- env BERTH_HOST="$name" "$@"
    else
        set -- "$here/nspawn.sh" run "$name" -- "$@"
    fi
    # In the background, so that a signal is answered at once and not when the command ends; and there bash would make it
    # ignore Ctrl-C.
    env --default-signal=INT,QUIT "$@" <&0 &
    child=$!
    trap 'kill "$child" 2>/dev/null || true; exit 143' TERM
    wait "$child" || status=$?
    exit "$status"
}

main() {
    local command=${1:-} dir init
    (($# == 0)) || shift
    case $command in
    start) start_host "$@"; keep_host "$1" ;;
    run) run_in_host "$@" ;;
    shell) run_in_host "${1:?}" --tty -- bash -l ;;
    put) put_files "$@" ;;
    get) get_files "$@" ;;
    stop) stop_host "$@" ;;
    stop-all) stop_all "$@" ;;
    list) list_hosts ;;
    pid) find_host "${1:?}"; echo "$init" ;;
    with) with_host "$@" ;;
    --boot) boot_host "$@" ;;
    -h | --help | help) usage ;;
    *) usage >&2; exit 2 ;;
    esac
}

main "$@"
