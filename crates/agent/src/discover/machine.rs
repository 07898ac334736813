//! The machine whose schedules are read: its cron, its time zone, its users.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;

/// The implementations of cron, whose rules differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cron {
    /// Debian's cron, derived from Vixie cron 3.
    Debian,
    /// Cronie, used by Fedora, Red Hat, Arch, SUSE and others.
    Cronie,
    /// systemd-cron, which generates systemd units from crontabs.
    SystemdCron,
    /// Another cron, such as that of busybox. Its rules for `%` are unknown.
    Other,
}

impl Cron {
    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian => "Debian's cron",
            Self::Cronie => "cronie",
            Self::SystemdCron => "systemd-cron",
            Self::Other => "this cron",
        }
    }

    /// Whether `CRON_TZ` sets the time zone of the lines below it.
    pub fn knows_zone(self) -> bool {
        matches!(self, Self::Cronie | Self::SystemdCron)
    }

    fn of(root: &Path) -> Self {
        let is_there = |path: &str| root.join(path).exists();
        if is_there("var/lib/dpkg/info/cronie.list") {
            return Self::Cronie;
        }
        if is_there("usr/lib/systemd/system-generators/systemd-crontab-generator")
            || is_there("lib/systemd/system-generators/systemd-crontab-generator")
        {
            return Self::SystemdCron;
        }
        match (is_there("usr/sbin/crond"), is_there("usr/sbin/cron")) {
            _ if is_link_to_busybox(&root.join("usr/sbin/crond")) => Self::Other,
            (true, _) => Self::Cronie,
            (false, true) => Self::Debian,
            (false, false) if is_there("etc/crontabs") => Self::Other,
            // Debian's cron has the strictest limits.
            (false, false) => Self::Debian,
        }
    }
}

fn is_link_to_busybox(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|to| to.file_name() == Some(OsStr::new("busybox")))
}

/// Options of [`super::find`].
#[derive(Debug, Clone)]
pub struct SearchOptions {
    /// The current time.
    pub now: DateTime<Utc>,
    /// The app of all reservations; by default the machine's name.
    pub app: Option<String>,
    /// The kind of cron; detected by default.
    pub cron: Option<Cron>,
    /// The machine's time zone; detected by default.
    pub zone: Option<Tz>,
    /// The program that queries systemd. Without it, the unit files are read.
    pub systemctl: Option<PathBuf>,
    /// The program that reads and writes users' crontabs. Without it, their files are used.
    pub crontab: Option<PathBuf>,
    /// The current user if it is not root. In that case only this user's tables are accessible.
    pub only_user: Option<String>,
    /// Whether to include jobs that packages have installed.
    pub packaged: bool,
    /// Whether to include lines with `@reboot`.
    pub reboot: bool,
    /// Names that were chosen before; see [`super::record`].
    pub names: BTreeMap<String, String>,
}

impl SearchOptions {
    /// Options for a directory of files, without running any program.
    pub fn of_files(now: DateTime<Utc>) -> Self {
        Self {
            now,
            app: None,
            cron: None,
            zone: None,
            systemctl: None,
            crontab: None,
            only_user: None,
            packaged: false,
            reboot: false,
            names: BTreeMap::new(),
        }
    }

    /// Options for the machine on which this process runs.
    pub fn of_this_machine(now: DateTime<Utc>) -> Self {
        let program = |names: &[&str]| names.iter().map(PathBuf::from).find(|path| path.exists());
        let is_booted = Path::new("/run/systemd/system").exists();
        let is_root = rustix::process::geteuid().is_root();
        Self {
            systemctl: program(&["/usr/bin/systemctl", "/bin/systemctl"]).filter(|_| is_booted),
            crontab: program(&["/usr/bin/crontab", "/bin/crontab"]),
            only_user: if is_root { None } else { Some(own_name()) },
            ..Self::of_files(now)
        }
    }
}

fn own_name() -> String {
    let id = rustix::process::geteuid().as_raw();
    let known = users(Path::new("/")).into_iter().find(|(_, user)| user.id == id);
    let named = || std::env::var("LOGNAME").or_else(|_| std::env::var("USER")).ok();
    known.map(|(name, _)| name).or_else(named).unwrap_or_else(|| id.to_string())
}

/// A user in `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrontabUser {
    /// The user id.
    pub id: u32,
    /// The id of the primary group.
    pub group: u32,
    /// The home directory, as a path on that machine.
    pub home: PathBuf,
}

/// The machine whose schedules are read.
#[derive(Debug)]
pub struct SearchedMachine {
    /// `/`, or a directory with the files of a machine.
    pub root: PathBuf,
    /// The kind of cron.
    pub cron: Cron,
    /// The time zone of its cron and its timers.
    pub zone: Tz,
    /// The first part of its host name.
    pub host: String,
    users: BTreeMap<String, CrontabUser>,
}

impl SearchedMachine {
    /// The machine with the files below `root`.
    pub fn look(root: &Path, options: &SearchOptions) -> Self {
        Self {
            root: root.to_owned(),
            cron: options.cron.unwrap_or_else(|| Cron::of(root)),
            zone: options.zone.or_else(|| zone(root)).unwrap_or(Tz::UTC),
            host: host(root),
            users: users(root),
        }
    }

    /// Converts an absolute path of the machine into one below the root.
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// Converts a path below the root into the machine's own path.
    pub fn shown(&self, path: &Path) -> String {
        match path.strip_prefix(&self.root) {
            Ok(within) => Path::new("/").join(within).display().to_string(),
            Err(_) => path.display().to_string(),
        }
    }

    /// Whether this is the machine on which the process runs.
    pub fn is_live(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The user with this name.
    pub fn user(&self, name: &str) -> Option<CrontabUser> {
        if let Some(user) = self.users.get(name) {
            return Some(user.clone());
        }
        // Users may come from elsewhere, for example from LDAP.
        let is_name = !name.is_empty() && !name.starts_with('-');
        let asked = is_name && self.is_live();
        let answer = asked.then(|| Command::new("getent").args(["passwd", name]).output().ok()).flatten()?;
        parse_users(&String::from_utf8_lossy(&answer.stdout)).remove(name)
    }

    /// Whether `/etc/group` lists a user as a member of the group with this id.
    pub fn is_member(&self, user: &str, group: u32) -> bool {
        let text = fs::read(self.path("/etc/group")).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().any(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let is_it = fields.get(2).and_then(|number| number.parse().ok()) == Some(group);
            is_it && fields.get(3).is_some_and(|members| members.split(',').any(|member| member == user))
        })
    }

    /// All users in `/etc/passwd`.
    pub fn users(&self) -> impl Iterator<Item = (&str, &CrontabUser)> {
        self.users.iter().map(|(name, user)| (name.as_str(), user))
    }
}

fn users(root: &Path) -> BTreeMap<String, CrontabUser> {
    let text = fs::read(root.join("etc/passwd")).unwrap_or_default();
    parse_users(&String::from_utf8_lossy(&text))
}

fn parse_users(text: &str) -> BTreeMap<String, CrontabUser> {
    let user = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let (id, group) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
        Some((fields.first()?.to_string(), CrontabUser { id, group, home: PathBuf::from(fields.get(5)?) }))
    };
    text.lines().filter_map(user).collect()
}

fn zone(root: &Path) -> Option<Tz> {
    let known = |name: &str| name.parse::<Tz>().ok();
    let linked = fs::read_link(root.join("etc/localtime")).ok();
    let linked = linked.and_then(|to| known(to.to_str()?.split_once("zoneinfo/")?.1));
    linked.or_else(|| known(fs::read_to_string(root.join("etc/timezone")).ok()?.trim()))
}

fn host(root: &Path) -> String {
    let live = || gethostname::gethostname().to_string_lossy().into_owned();
    let name = match root == Path::new("/") {
        true => live(),
        false => fs::read_to_string(root.join("etc/hostname")).unwrap_or_else(|_| live()),
    };
    name.trim().split('.').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_is() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("etc/passwd", "root:x:0:0::/root:/bin/sh\nbroken\nada:x:1000:1000:A:/home/ada:/bin/sh\n");
        put("etc/hostname", "web1.example.org\n");
        put("etc/timezone", "Europe/Berlin\n");
        let options = SearchOptions::of_files(DateTime::UNIX_EPOCH);
        let look = || SearchedMachine::look(root.path(), &options);
        let machine = look();
        assert_eq!((machine.host.as_str(), machine.zone), ("web1", Tz::Europe__Berlin));
        assert_eq!((machine.cron, machine.user("ada").unwrap().id), (Cron::Debian, 1000));
        assert_eq!(machine.user("nobody-at-all"), None);
        assert_eq!(machine.shown(&machine.path("/etc/crontab")), "/etc/crontab");
        put("usr/sbin/cron", "");
        assert_eq!(look().cron, Cron::Debian);
        put("usr/sbin/crond", "");
        assert_eq!(look().cron, Cron::Cronie);
        fs::remove_file(root.path().join("usr/sbin/crond")).unwrap();
        std::os::unix::fs::symlink("/bin/busybox", root.path().join("usr/sbin/crond")).unwrap();
        assert_eq!(look().cron, Cron::Other);
        std::os::unix::fs::symlink("/usr/share/zoneinfo/Asia/Tokyo", root.path().join("etc/localtime"))
            .unwrap();
        assert_eq!(look().zone, Tz::Asia__Tokyo);
    }
}
