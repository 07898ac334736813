//! The machine whose schedules are read: which cron it has, its time zone, its users.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;

/// The kinds of cron whose rules differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cron {
    /// Debian's, of Vixie cron 3.
    Debian,
    /// Of Fedora, Red Hat, Arch, SUSE and others.
    Cronie,
    /// The generator of systemd units.
    SystemdCron,
    /// Another one, as that of busybox. Its rules for `%` are not known.
    Other,
}

impl Cron {
    /// How people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian => "Debian's cron",
            Self::Cronie => "cronie",
            Self::SystemdCron => "systemd-cron",
            Self::Other => "this cron",
        }
    }

    /// Whether `CRON_TZ` names the zone of the lines below it.
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
            // With the tightest of all limits.
            (false, false) => Self::Debian,
        }
    }
}

fn is_link_to_busybox(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|to| to.file_name() == Some(OsStr::new("busybox")))
}

/// What is asked of [`super::find`].
#[derive(Debug, Clone)]
pub struct SearchOptions {
    /// The time of looking.
    pub now: DateTime<Utc>,
    /// The app of all reservations; the machine's name without one.
    pub app: Option<String>,
    /// Which cron it is; found out without it.
    pub cron: Option<Cron>,
    /// The machine's zone; found out without it.
    pub zone: Option<Tz>,
    /// The program that answers for systemd; its files are read without it.
    pub systemctl: Option<PathBuf>,
    /// The program that reads and writes users' crontabs; their files are used without it.
    pub crontab: Option<PathBuf>,
    /// Who looks, where it is not root: only this user's own tables can be had.
    pub only_user: Option<String>,
    /// Also what packages brought.
    pub packaged: bool,
    /// Also lines of `@reboot`.
    pub reboot: bool,
    /// The names that were chosen before; see [`super::record`].
    pub names: BTreeMap<String, String>,
}

impl SearchOptions {
    /// What fits a directory of files, with no program of the machine.
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

    /// What fits the machine on which this runs.
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

/// Someone of `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The number.
    pub id: u32,
    /// The number of the first group.
    pub group: u32,
    /// The home, as the machine knows it.
    pub home: PathBuf,
}

/// Where and what the schedules are read of.
#[derive(Debug)]
pub struct Machine {
    /// `/`, or the directory that stands for it.
    pub root: PathBuf,
    /// Which cron it has.
    pub cron: Cron,
    /// In which zone its cron and its timers think.
    pub zone: Tz,
    /// Its name, the first part.
    pub host: String,
    users: BTreeMap<String, User>,
}

impl Machine {
    /// The one under `root`.
    pub fn look(root: &Path, options: &SearchOptions) -> Self {
        Self {
            root: root.to_owned(),
            cron: options.cron.unwrap_or_else(|| Cron::of(root)),
            zone: options.zone.or_else(|| zone(root)).unwrap_or(Tz::UTC),
            host: host(root),
            users: users(root),
        }
    }

    /// A path below the root.
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// How the machine itself calls a path below the root.
    pub fn shown(&self, path: &Path) -> String {
        match path.strip_prefix(&self.root) {
            Ok(within) => Path::new("/").join(within).display().to_string(),
            Err(_) => path.display().to_string(),
        }
    }

    /// Whether this is the machine on which we run.
    pub fn is_live(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The user of that name.
    pub fn user(&self, name: &str) -> Option<User> {
        if let Some(user) = self.users.get(name) {
            return Some(user.clone());
        }
        // Users may be kept elsewhere, as in LDAP.
        let is_name = !name.is_empty() && !name.starts_with('-');
        let asked = is_name && self.is_live();
        let answer = asked.then(|| Command::new("getent").args(["passwd", name]).output().ok()).flatten()?;
        parse_users(&String::from_utf8_lossy(&answer.stdout)).remove(name)
    }

    /// Whether a user is named in the group of that number.
    pub fn is_member(&self, user: &str, group: u32) -> bool {
        let text = fs::read(self.path("/etc/group")).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().any(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let is_it = fields.get(2).and_then(|number| number.parse().ok()) == Some(group);
            is_it && fields.get(3).is_some_and(|members| members.split(',').any(|member| member == user))
        })
    }

    /// All users of `/etc/passwd`.
    pub fn users(&self) -> impl Iterator<Item = (&str, &User)> {
        self.users.iter().map(|(name, user)| (name.as_str(), user))
    }
}

fn users(root: &Path) -> BTreeMap<String, User> {
    let text = fs::read(root.join("etc/passwd")).unwrap_or_default();
    parse_users(&String::from_utf8_lossy(&text))
}

fn parse_users(text: &str) -> BTreeMap<String, User> {
    let user = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let (id, group) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
        Some((fields.first()?.to_string(), User { id, group, home: PathBuf::from(fields.get(5)?) }))
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
        let look = || Machine::look(root.path(), &options);
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
