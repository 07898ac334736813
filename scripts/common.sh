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

# apt_install PACKAGE...: installs the packages if that needs no password. Otherwise prints the
# command to run and fails.
apt_install() {
    local command="apt-get update && apt-get install -y --no-install-recommends $*" log
    if ! command -v apt-get >/dev/null || { [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; }; then
        die "missing: $*. On Debian or Ubuntu run: sudo sh -c '$command'"
    fi
    echo "installing $*"
    log=$(mktemp)
    if ! as_root sh -s >"$log" 2>&1 <<APT; then
set -e
# A server that is installed as a dependency (Postgres, HAProxy) is only needed as a program and
# must not be started as a service.
if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
fi
export DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none
alias apt-get='apt-get -o DPkg::Lock::Timeout=120'
$command
APT
        cat "$log" >&2
        die "could not install $*"
    fi
    rm -f "$log"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# need COMMAND:PACKAGE...: ensures that the commands exist, or ends the script. All missing packages
# are installed at once.
need() {
    local pair packages=()
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || packages+=("${pair##*:}")
    done
    [ ${#packages[@]} = 0 ] || apt_install "${packages[@]}"
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || die "installed ${pair##*:}, but ${pair%%:*} is still missing"
    done
}

# Only the programs are needed, so the package must not create a cluster.
install_postgres() {
    local dropin=/etc/postgresql-common/createcluster.d/innkeeper-test.conf
    apt_install postgresql-common
    as_root install -d "$(dirname $dropin)"
    echo 'create_main_cluster = false' | as_root tee $dropin >/dev/null
    apt_install postgresql
    as_root rm $dropin
}

# Prints the version of all crates, which is also that of the programs.
workspace_version() {
    sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml
}

# cargo_tool CRATE VERSION: builds a program for cargo once into target/tools and puts that
# directory first in PATH. It is built without optimisation, because that takes only a minute or
# two.
cargo_tool() {
    local tools=${CARGO_TARGET_DIR:-$PWD/target}/tools
    PATH=$tools/bin:$PATH
    if [ "$("$1" --version 2>/dev/null)" != "$1 $2" ]; then
        echo "building $1 $2"
        CARGO_TARGET_DIR=$tools/build CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
            CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
            cargo install "$1" --version "=$2" --locked --force --quiet --root "$tools" || die "could not install $1 $2"
        rm -rf "$tools/build"
    fi
}
