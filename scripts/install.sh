#!/usr/bin/env bash
# Installs Innkeeper on a machine with systemd, or removes it. Running it again upgrades: binaries
# and units are replaced, the configuration and the data are never changed. It starts nothing, but
# prints the commands for that.
set -euo pipefail
umask 022
# In a checkout, the programs are those that cargo has built; in a release's archive, those beside
# this script.
cd "$(dirname "$0")"
from=bin
[ -d deploy ] || { cd .. && from=target/release; }

usage() {
    cat <<'USAGE'
Usage: install.sh [--role ROLE]... [--from DIR] [--prefix DIR] [--destdir DIR]
       install.sh --package [--role ROLE]... [--from DIR] --destdir DIR
       install.sh --uninstall [--role agent] [--prefix DIR] [--destdir DIR]

  --role ROLE    standalone (default), ingest, sweeper, web, all (of these), or agent; may be repeated
  --from DIR     where the programs are (default: target/release, in a release's archive bin)
  --prefix DIR   programs go to DIR/lib/innkeeper, manuals below DIR/share (default: /usr/local)
  --destdir DIR  stage everything below DIR instead of /, and touch neither users nor systemd
  --package      stage as a package has it: everything below /usr, programs in /usr/bin
  --uninstall    remove programs and units; keep /etc/innkeeper, /var/lib/innkeeper and the user
USAGE
}

die() {
    echo "install.sh: $1" >&2
    exit 1
}

roles=() prefix=/usr/local destdir='' package='' uninstall=
while [ $# -gt 0 ]; do
    case $1 in
        --role | --from | --prefix | --destdir) [ $# -ge 2 ] || die "$1 needs a value" ;;
    esac
    case $1 in
        --role) roles+=("$2") && shift ;;
        --from) from=$2 && shift ;;
        --prefix) prefix=${2%/} && shift ;;
        --destdir) destdir=${2%/} && shift ;;
        --package) package=yes ;;
        --uninstall) uninstall=yes ;;
        -h | --help) usage && exit ;;
        *) usage >&2 && die "unknown argument: $1" ;;
    esac
    shift
done
[[ $prefix == /* ]] || die "--prefix must be an absolute path, not '$prefix'"
etc=$destdir/etc/innkeeper
if [ -n "$package" ]; then
    [ -n "$destdir" ] || die "--package needs --destdir"
    prefix=/usr programs=/usr/bin
    units=$destdir/usr/lib/systemd/system sysusers=$destdir/usr/lib/sysusers.d
    zsh=vendor-completions
else
    # Units and the configuration belong where systemd and the programs look, whatever the prefix.
    programs=$prefix/lib/innkeeper
    units=$destdir/etc/systemd/system sysusers=$destdir/etc/sysusers.d
    zsh=site-functions
fi
lib=$destdir$programs bin=$destdir$prefix/bin share=$destdir$prefix/share
live=
[ -n "$destdir" ] || live=yes
[ -z "$live" ] || [ "$(id -u)" = 0 ] || die "must run as root (or stage with --destdir)"
systemd_runs() { [ -n "$live" ] && [ -d /run/systemd/system ]; }
# The completions and the man page of a program.
manuals() {
    echo "$share/bash-completion/completions/$1" "$share/zsh/$zsh/_$1" "$share/fish/vendor_completions.d/$1.fish" \
        "$share/man/man1/$1.1"
}

if [ -n "$uninstall" ]; then
    case "${roles[*]}" in
        '')
            removed=(innkeeper ingest sweeper web) gone=(deploy/systemd/innkeeper*.{timer,service})
            kept="$etc, $destdir/var/lib/innkeeper, and the user innkeeper"
            ;;
        agent)
            removed=(innkeeper-agent) gone=(deploy/innkeeper-agent-probe.service)
            kept="$etc and $destdir/var/lib/innkeeper-agent"
            ;;
        *) die "--uninstall removes every role but the agent, or with '--role agent' that alone; drop the other --role" ;;
    esac
    for unit in "${gone[@]}"; do
        unit=$(basename "$unit")
        if systemd_runs && [ -e "$units/$unit" ]; then
            systemctl disable --now "$unit"
            systemctl reset-failed "$unit" 2>/dev/null || true # fails when there is nothing to forget
        fi
        rm -f "$units/$unit"
    done
    for program in "${removed[@]}"; do
        # Several file names without blanks.
        # shellcheck disable=SC2046
        rm -f "$lib/$program" $(manuals "$program")
    done
    if [ -z "${roles[*]}" ]; then
        rm -f "$bin"/{innkeeper,sweeper} "$sysusers/innkeeper.conf" "$share/innkeeper/innkeeper.toml"
    else
        rm -f "$bin/innkeeper-agent"
    fi
    for dir in "$lib" "$share/innkeeper"; do
        [ ! -d "$dir" ] || rmdir --ignore-fail-on-non-empty "$dir"
    done
    if systemd_runs; then
        systemctl daemon-reload
    fi
    echo "Removed. Kept: $kept."
    exit
fi

# The programs and units of each role. The sweeper's program sends the summary, also for standalone.
binaries=() services=() agent=
for role in "${roles[@]:-standalone}"; do
    case $role in
        standalone) binaries+=(innkeeper sweeper) services+=(innkeeper.service innkeeper-summary.{service,timer}) ;;
        ingest | web) binaries+=("$role") services+=("innkeeper-$role.service") ;;
        sweeper) binaries+=(sweeper) services+=(innkeeper-sweeper.service innkeeper-summary.{service,timer}) ;;
        all)
            binaries+=(innkeeper ingest sweeper web)
            services+=(innkeeper{,-ingest,-sweeper,-web,-summary}.service innkeeper-summary.timer)
            ;;
        agent) agent=yes ;;
        *) die "unknown role '$role': standalone, ingest, sweeper, web, all or agent" ;;
    esac
done

# Check everything before writing anything, so that a failed run changes nothing.
installed=("${binaries[@]}")
[ -z "$agent" ] || installed+=(innkeeper-agent)
for binary in "${installed[@]}"; do
    [ -x "$from/$binary" ] || die "no $from/$binary: run 'cargo build --release --workspace --bins --all-features' first, or give --from DIR"
done
[ -f deploy/innkeeper.toml ] || die "no deploy/innkeeper.toml: neither a complete checkout nor a release's archive?"
[ -z "$live" ] || command -v systemd-sysusers >/dev/null || die "needs systemd (or stage with --destdir)"

# Files are replaced in one step: a process that starts at this moment finds the old file or the new
# one, never a part of one.
put_program() {
    install -d "$2"
    install -m 755 "$from/$1" "$2/.$1.new"
    mv -f "$2/.$1.new" "$2/$1"
}
# put_unit FILE INSTALLED ACTUAL: installs a unit that calls its program in the directory ACTUAL.
put_unit() {
    local unit
    unit=$(basename "$1")
    install -d "$units"
    sed "s|$2/|$3/|" "$1" >"$units/.$unit.new"
    chmod 644 "$units/.$unit.new"
    mv -f "$units/.$unit.new" "$units/$unit"
}

if [ ${#binaries[@]} != 0 ]; then
    install -D -m 644 deploy/systemd/innkeeper.sysusers.conf "$sysusers/innkeeper.conf"
    if [ -n "$live" ]; then
        systemd-sysusers innkeeper.conf
        install -d -m 750 -o root -g innkeeper "$etc" "$etc/secrets"
    else
        install -d -m 750 "$etc" "$etc/secrets"
    fi
    for binary in "${binaries[@]}"; do
        put_program "$binary" "$lib"
    done
    # Programs that people and crontabs call by name; gocron's users have `sweeper --summary` in a crontab.
    if [ "$lib" != "$bin" ]; then
        install -d "$bin"
        for program in innkeeper sweeper; do
            if [ -x "$lib/$program" ]; then
                ln -sfn "../lib/innkeeper/$program" "$bin/$program"
            fi
        done
    fi
    for service in "${services[@]}"; do
        put_unit "deploy/systemd/$service" /usr/local/lib/innkeeper "$programs"
    done
    install -D -m 644 deploy/innkeeper.toml "$share/innkeeper/innkeeper.toml"
    if [ -e "$etc/innkeeper.toml" ]; then
        echo "Kept $etc/innkeeper.toml; every key with its default: $prefix/share/innkeeper/innkeeper.toml"
    else
        install -m 640 deploy/innkeeper.toml "$etc/innkeeper.toml"
        # Commands that are run by hand, such as `sweeper --summary`, then use the data of the units and
        # not an empty directory.
        sed -i 's|^#data_dir = .*|data_dir = "/var/lib/innkeeper"|' "$etc/innkeeper.toml"
        # It may contain secrets later: root can write it, Innkeeper can read it, nobody else can.
        [ -z "$live" ] || chown root:innkeeper "$etc/innkeeper.toml"
    fi
fi
if [ -n "$agent" ]; then
    put_program innkeeper-agent "$bin"
    put_unit deploy/innkeeper-agent-probe.service /usr/local/bin "$prefix/bin"
fi

# An archive contains them; in a checkout, the programs and help2man make them.
made=share
if [ ! -d "$made" ]; then
    made=$(mktemp -d)
    trap 'rm -rf "$made"' EXIT
    scripts/manuals "$from" "$made" "${installed[@]}"
    made=$made/share
fi
for binary in "${installed[@]}"; do
    for file in $(manuals "$binary"); do
        name=${file#"$share/"}
        [ ! -e "$made/${name/$zsh/site-functions}" ] || install -D -m 644 "$made/${name/$zsh/site-functions}" "$file"
    done
done
if systemd_runs; then
    systemctl daemon-reload
fi
[ -z "$package" ] || exit 0

say_start() { echo "  systemctl enable --now $*   (after an upgrade: systemctl restart $*)"; }
if [ -n "$agent" ]; then
    echo "Installed innkeeper-agent in $bin. For its probes, in /etc/innkeeper/agent.toml:"
    say_start innkeeper-agent-probe
fi
[ ${#binaries[@]} != 0 ] || exit 0
echo "Installed ${binaries[*]} in $lib. Next:"
echo "  $programs/${binaries[0]} --config /etc/innkeeper/innkeeper.toml check-config"
for role in "${roles[@]:-standalone}"; do
    case $role in
        standalone) say_start innkeeper ;;
        all) say_start innkeeper && echo "or, split:" && say_start innkeeper-{ingest,sweeper,web} ;;
        agent) ;;
        *) say_start "innkeeper-$role" ;;
    esac
done
if [[ ${services[*]} == *summary.timer* ]]; then
    echo "and on one machine, for the weekly summary: systemctl enable --now innkeeper-summary.timer"
fi
