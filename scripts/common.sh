# Shared by scripts/test and scripts/check-surroundings. Sourced, never run.
# shellcheck shell=bash

section=start
section() {
    section=$*
    printf '\n== %s\n' "$section"
}

die() {
    echo "$(basename "$0"): $1" >&2
    exit 1
}

# apt_install PACKAGE...: installs them where that is allowed without asking anybody, else says what to run and fails.
apt_updated=
apt_install() {
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        if sudo -n true 2>/dev/null; then as_root=(sudo); else as_root=(false); fi
    fi
    if [ "${as_root[0]:-}" = false ] || ! command -v apt-get >/dev/null; then
        die "missing: $*. On Debian or Ubuntu run: sudo apt-get update && sudo apt-get install -y --no-install-recommends $*"
    fi
    echo "installing $*"
    as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120)
    if [ -z "$apt_updated" ]; then
        "${as_root[@]}" update >/dev/null || die "'apt-get update' failed"
        apt_updated=yes
    fi
    "${as_root[@]}" install -y --no-install-recommends "$@" >/dev/null || die "'apt-get install $*' failed"
}

# need COMMAND PACKAGE: the command is there afterwards, or the script has ended.
need() {
    command -v "$1" >/dev/null || apt_install "$2"
    command -v "$1" >/dev/null || die "installed $2, and $1 is still missing"
}
