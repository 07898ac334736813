#!/usr/bin/env bash
# Installs Innkeeper on a machine with systemd, or removes it. Running it again upgrades: binaries and units are replaced,
# the configuration and the data are never touched. It starts nothing; it says how.
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."

usage() {
    cat <<'USAGE'
Usage: scripts/install.sh [--role ROLE]... [--from DIR] [--prefix DIR] [--destdir DIR]
       scripts/install.sh --uninstall [--prefix DIR] [--destdir DIR]

  --role ROLE    standalone (default), ingest, sweeper, web, or all; may be repeated
  --from DIR     where the release binaries are (default: target/release)
  --prefix DIR   binaries go to DIR/lib/innkeeper (default: /usr/local)
  --destdir DIR  stage everything below DIR instead of /, and touch neither users nor systemd
  --uninstall    remove binaries and units; keep /etc/innkeeper, /var/lib/innkeeper and the user
USAGE
}

die() {
    echo "install.sh: $1" >&2
    exit 1
}

roles=() from=target/release prefix=/usr/local destdir='' uninstall=
while [ $# -gt 0 ]; do
    case $1 in
        --role | --from | --prefix | --destdir) [ $# -ge 2 ] || die "$1 needs a value" ;;
    esac
    case $1 in
        --role) roles+=("$2") && shift ;;
        --from) from=$2 && shift ;;
        --prefix) prefix=${2%/} && shift ;;
        --destdir) destdir=${2%/} && shift ;;
        --uninstall) uninstall=yes ;;
        -h | --help) usage && exit ;;
        *) usage >&2 && die "unknown argument: $1" ;;
    esac
    shift
done
[[ $prefix == /* ]] || die "--prefix must be an absolute path, not '$prefix'"
# Units and the configuration belong where systemd and the binaries look, whatever the prefix.
lib=$destdir$prefix/lib/innkeeper
units=$destdir/etc/systemd/system
etc=$destdir/etc/innkeeper
live=
[ -n "$destdir" ] || live=yes
[ -z "$live" ] || [ "$(id -u)" = 0 ] || die "must run as root (or stage with --destdir)"
systemd_runs() { [ -n "$live" ] && [ -d /run/systemd/system ]; }

if [ -n "$uninstall" ]; then
    [ ${#roles[@]} = 0 ] || die "--uninstall removes every role; drop --role"
    for unit in deploy/systemd/innkeeper*.{timer,service}; do
        unit=$(basename "$unit")
        if systemd_runs && [ -e "$units/$unit" ]; then
            systemctl disable --now "$unit"
            systemctl reset-failed "$unit" 2>/dev/null || true # fails when there is nothing to forget
        fi
        rm -f "$units/$unit"
    done
    rm -f "$lib"/{innkeeper,ingest,sweeper,web} "$destdir$prefix/bin"/{innkeeper,sweeper} "$destdir/etc/sysusers.d/innkeeper.conf"
    rm -f "$destdir$prefix/share/innkeeper/innkeeper.toml"
    for dir in "$lib" "$destdir$prefix/share/innkeeper"; do
        [ ! -d "$dir" ] || rmdir --ignore-fail-on-non-empty "$dir"
    done
    if systemd_runs; then
        systemctl daemon-reload
    fi
    echo "Removed. Kept: $etc, $destdir/var/lib/innkeeper, and the user innkeeper."
    exit
fi

# What each role is made of. The summary is sent by the sweeper's binary, also for standalone.
binaries=() services=()
for role in "${roles[@]:-standalone}"; do
    case $role in
        standalone) binaries+=(innkeeper sweeper) services+=(innkeeper.service innkeeper-summary.{service,timer}) ;;
        ingest | web) binaries+=("$role") services+=("innkeeper-$role.service") ;;
        sweeper) binaries+=(sweeper) services+=(innkeeper-sweeper.service innkeeper-summary.{service,timer}) ;;
        all)
            binaries+=(innkeeper ingest sweeper web)
            services+=(innkeeper{,-ingest,-sweeper,-web,-summary}.service innkeeper-summary.timer)
            ;;
        *) die "unknown role '$role': standalone, ingest, sweeper, web or all" ;;
    esac
done

# Look before writing anything, so that a failed run leaves what was there.
for binary in "${binaries[@]}"; do
    [ -x "$from/$binary" ] || die "no $from/$binary: run 'cargo build --release --workspace --bins --all-features' first, or give --from DIR"
done
[ -f deploy/innkeeper.toml ] || die "no deploy/innkeeper.toml: not a complete checkout?"
[ -z "$live" ] || command -v systemd-sysusers >/dev/null || die "needs systemd (or stage with --destdir)"

if [ -n "$live" ]; then
    install -D -m 644 deploy/systemd/innkeeper.sysusers.conf /etc/sysusers.d/innkeeper.conf
    systemd-sysusers innkeeper.conf
    install -d -m 750 -o root -g innkeeper "$etc" "$etc/secrets"
else
    install -D -m 644 deploy/systemd/innkeeper.sysusers.conf "$destdir/etc/sysusers.d/innkeeper.conf"
    install -d -m 750 "$etc" "$etc/secrets"
fi

install -d "$lib" "$destdir$prefix/bin" "$units"
for binary in "${binaries[@]}"; do
    # Replaced in one step: a node that starts in this moment finds the old file or the new one, never half of one.
    install -m 755 "$from/$binary" "$lib/.$binary.new"
    mv -f "$lib/.$binary.new" "$lib/$binary"
done
# What people and crontabs call by name; gocron's users have `sweeper --summary` in theirs.
for program in innkeeper sweeper; do
    if [ -x "$lib/$program" ]; then
        ln -sfn "../lib/innkeeper/$program" "$destdir$prefix/bin/$program"
    fi
done
for service in "${services[@]}"; do
    sed "s|/usr/local/lib/innkeeper|$prefix/lib/innkeeper|" "deploy/systemd/$service" >"$units/.$service.new"
    chmod 644 "$units/.$service.new"
    mv -f "$units/.$service.new" "$units/$service"
done
install -D -m 644 deploy/innkeeper.toml "$destdir$prefix/share/innkeeper/innkeeper.toml"
if [ -e "$etc/innkeeper.toml" ]; then
    echo "Kept $etc/innkeeper.toml; every key with its default: $prefix/share/innkeeper/innkeeper.toml"
else
    install -m 640 deploy/innkeeper.toml "$etc/innkeeper.toml"
    # So that a command by hand, as `sweeper --summary`, finds the data of the units and not an empty directory.
    sed -i 's|^#data_dir = .*|data_dir = "/var/lib/innkeeper"|' "$etc/innkeeper.toml"
    # It may come to hold secrets: root writes it, Innkeeper reads it, nobody else does.
    [ -z "$live" ] || chown root:innkeeper "$etc/innkeeper.toml"
fi
if systemd_runs; then
    systemctl daemon-reload
fi

say_start() { echo "  systemctl enable --now $*   (after an upgrade: systemctl restart $*)"; }
echo "Installed ${binaries[*]} in $lib. Next:"
echo "  $prefix/lib/innkeeper/${binaries[0]} --config /etc/innkeeper/innkeeper.toml check-config"
for role in "${roles[@]:-standalone}"; do
    case $role in
        standalone) say_start innkeeper ;;
        all) say_start innkeeper && echo "or, split:" && say_start innkeeper-{ingest,sweeper,web} ;;
        *) say_start "innkeeper-$role" ;;
    esac
done
if [[ ${services[*]} == *summary.timer* ]]; then
    echo "and on one machine, for the weekly summary: systemctl enable --now innkeeper-summary.timer"
fi
