# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# A host with Berth installed in it, for the scripts that run tests there. Sourced, never run, at the top of the tree.
# With SAN=1 Berth is built with the sanitizers, and end_of_tests fails if any of its processes wrote a report.

host=tests/host/nspawn.sh
reports=/var/log/sanitizers

# start_installed NAME PROFILE [OPTION...]: boots it, with further options of nspawn.sh's start, and sets $images to the
# directory of the images. The host goes when the caller ends.
start_installed() {
    name=$1
    staging=$(mktemp -d)
    trap 'bash "$host" stop "$name" --now >/dev/null 2>&1 || true; rm -rf "$staging"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    make -s ${SAN:+SAN=1} install DESTDIR="$staging/root"
    [[ -z ${SAN:-} ]] || add_sanitizer_settings
    # shellcheck disable=SC2034
    images=$(bash tests/host/images.sh | tail -n 1)
    bash "$host" start "$name" --profile "$2" "${@:3}" --with "$staging/root:/"
    bash "$host" run "$name" -- sh -c 'systemd-sysusers && systemd-tmpfiles --create berth.conf && systemctl daemon-reload &&
        systemctl enable --quiet --now berth.socket' 2>/dev/null
}

# What the monitors and everything else below berthd inherit. Clients get it from run_test.
add_sanitizer_settings() {
    local unit=$staging/root/etc/systemd/system/berth.service.d
    mkdir -p "$unit" "$staging/root$reports"
    printf '[Service]\nEnvironment="ASAN_OPTIONS=log_path=%s/berth" "UBSAN_OPTIONS=log_path=%s/berth:print_stacktrace=1"\n' \
        "$reports" "$reports" >"$unit/sanitizers.conf"
}

# run_test LABEL FILE [VARIABLE=VALUE...]: a Python file of the host's, or one of Node.js's tests; a failure is kept in $failed.
failed=()
run_test() {
    local label=$1 file=$2 start=$SECONDS program=(python3) settings=(PYTHONDONTWRITEBYTECODE=1)
    shift 2
    [[ $file != *.js ]] || program=(node --test --test-reporter=spec)
    [[ -z ${SAN:-} ]] || settings+=("ASAN_OPTIONS=log_path=$reports/client" "UBSAN_OPTIONS=log_path=$reports/client")
    printf -- '-- %s\n' "$label"
    bash "$host" run "$name" -- env "${settings[@]}" "$@" "${program[@]}" "$file" || failed+=("$label")
    printf -- '-- %s: %d s\n' "$label" "$((SECONDS - start))"
}

end_of_tests() {
    if [[ -n ${SAN:-} ]]; then
        # berthd looks for leaks when it ends.
        bash "$host" run "$name" -- systemctl stop berth.service 2>/dev/null
        bash "$host" run "$name" -- sh -c 'cd "$1" && ! grep -h "" ./*' - "$reports" 2>/dev/null || failed+=("reports of sanitizers")
    fi
    ((${#failed[@]} == 0)) || { printf 'failed:'; printf ' %s,' "${failed[@]}"; echo; exit 1; }
}
