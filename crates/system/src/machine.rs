//! A machine for a single test: a container in which systemd was booted, over this machine's `/usr`. Changes in it
//! are kept in memory and are lost at its end. It shares the kernel and the network of this machine.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use innkeeper_testing::process::{PATIENCE, program};

use crate::mount::Mount;

/// The name of the machine.
pub const NAME: &str = "web1";
/// A user with a home directory.
pub const USER: &str = "ada";
/// The path of the agent.
pub const AGENT: &str = "/usr/local/bin/innkeeper-agent";

const USER_ID: u32 = 61_908;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What is copied from this machine's `/etc` if it exists: how programs are found, and the PAM configuration that
/// cron needs.
const TAKEN: [&str; 13] = [
    "alternatives",
    "environment",
    "group",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "login.defs",
    "nsswitch.conf",
    "os-release",
    "pam.conf",
    "pam.d",
    "passwd",
    "security",
];

/// A machine as described in the module's documentation. It ends when dropped, or when the thread that booted it
/// ends.
pub struct Machine {
    /// A mount with `root`, and with `usr`, which is mounted over `/usr`.
    disk: Mount,
    container: Child,
    /// The process id of its systemd.
    systemd: u32,
}

impl Machine {
    /// Boots a machine in which the agent is installed and nothing is scheduled.
    pub fn boot() -> Self {
        let disk = Mount::memory("256M");
        furnish(&disk.path("root"));
        install(&disk.path("usr/local/bin/innkeeper-agent"), &program("innkeeper-agent"));
        for directory in ["usr", "usr/local", "usr/local/bin"] {
            set_mode(&disk.path(directory), 0o755);
        }
        let log = fs::File::create(disk.path("console")).expect("a log");
        let both = log.try_clone().expect("a log");
        // This signal ends the whole container at once.
        let container = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "systemd-nspawn", "--quiet", "--boot", "--kill-signal=SIGKILL"])
            // The container must not need any service of this machine.
            .args(["--register=no", "--keep-unit", "--console=pipe", "--link-journal=no"])
            .args(["--resolv-conf=off", "--timezone=off"])
            .arg(format!("--machine={NAME}"))
            .arg(format!("--directory={}", disk.path("root").display()))
            .arg(format!("--overlay=/usr:{}:/usr", disk.path("usr").display()))
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(both)
            .spawn()
            .expect("it is installed: scripts/test-system");
        let mut machine = Self { disk, container, systemd: 0 };
        machine.wait_until("it boots", |machine| {
            let Some(systemd) = systemd_of(machine.container.id()) else { return false };
            machine.systemd = systemd;
            let state = machine.command("systemctl", &["is-system-running"]).output();
            state.is_ok_and(|state| [&b"running\n"[..], b"degraded\n"].contains(&&*state.stdout))
        });
        machine
    }

    fn wait_until(&mut self, what: &str, mut there: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !there(self) {
            let ended = self.container.try_wait().expect("its state is known");
            assert!(ended.is_none() && Instant::now() < end, "{what}, {ended:?}: {}", self.console());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    fn console(&self) -> String {
        fs::read_to_string(self.disk.path("console")).unwrap_or_default()
    }

    /// A command that runs a program in the machine, as root, with only `PATH` in its environment.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.systemd.to_string(), "--mount", "--pid", "--ipc", "--uts", "--cgroup"])
            .args(["--", program])
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::null());
        command
    }

    /// Runs a program in the machine and returns its output. Panics if it fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } =
            self.command(program, arguments).output().expect("nsenter runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (stdout, stderr) = (text(stdout), text(stderr));
        assert!(status.success(), "{program} {arguments:?}: {status}\n{stdout}{stderr}");
        stdout
    }

    /// The path from outside of a path in the machine, which must not be below `/usr`, `/tmp`, `/run` or `/dev`.
    pub fn path(&self, path: &str) -> PathBuf {
        self.disk.path("root").join(path)
    }

    /// Writes a file of the machine.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("it can be made");
        fs::write(path, text).expect("it can be written");
    }

    /// Reads a file of the machine; empty if it does not exist.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// Installs a shell script as a program. `path` is its absolute path in the machine.
    pub fn script(&self, path: &str, text: &str) {
        self.write("root/script", &format!("#!/bin/sh\n{text}"));
        self.run("install", &["-D", "-m", "755", "/root/script", path]);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let journal = self.command("journalctl", &["--no-pager", "-n", "200"]).output();
            let journal = journal.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            eprintln!("--- the machine\n{}{}", self.console(), journal.unwrap_or_default());
        }
        let _ = Command::new("kill").args(["-s", "TERM", &self.container.id().to_string()]).status();
        let _ = self.container.wait();
    }
}

/// Creates the files that a machine has beside `/usr`.
fn furnish(root: &Path) {
    let home = format!("home/{USER}");
    for directory in [
        "dev",
        "etc/cron.d",
        "etc/systemd/system",
        "proc",
        "run",
        "sys",
        "usr",
        "var/spool/cron/crontabs",
        &home,
    ] {
        fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    for (directory, mode) in
        [("", 0o755), ("root", 0o700), ("tmp", 0o1777), ("var/spool/cron/crontabs", 0o1730)]
    {
        let _ = fs::create_dir(root.join(directory));
        set_mode(&root.join(directory), mode);
    }
    for link in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        if let Ok(target) = fs::read_link(Path::new("/").join(link)) {
            symlink(target, root.join(link)).expect("a link");
        }
    }
    for name in TAKEN.iter().map(|name| Path::new("/etc").join(name)).filter(|path| path.exists()) {
        let copied =
            Command::new("cp").arg("-a").arg("--dereference").arg(&name).arg(root.join("etc")).output();
        assert!(copied.is_ok_and(|copied| copied.status.success()), "{} cannot be copied", name.display());
    }
    let etc =
        |name: &str, text: &str| fs::write(root.join("etc").join(name), text).expect("it can be written");
    let with_user = |name: &str, line: String| {
        let text = fs::read_to_string(root.join("etc").join(name)).expect("it is there");
        etc(name, &format!("{text}{line}\n"));
        text
    };
    let users = with_user("passwd", format!("{USER}:x:{USER_ID}:{USER_ID}::/home/{USER}:/bin/sh"));
    with_user("group", format!("{USER}:x:{USER_ID}:"));
    let names = users.lines().filter_map(|line| line.split(':').next()).chain([USER]);
    etc("shadow", &names.map(|name| format!("{name}:*:20000:0:99999:7:::\n")).collect::<String>());
    set_mode(&root.join("etc/shadow"), 0o600);
    chown(root.join(&home), Some(USER_ID), Some(USER_ID)).expect("it takes root");
    etc("hostname", &format!("{NAME}\n"));
    etc("machine-id", "5d6ba6d6c0d54a3c8b1a7a0d5e2f9c11\n");
    etc("timezone", "Europe/Berlin\n");
    symlink("/usr/share/zoneinfo/Europe/Berlin", root.join("etc/localtime")).expect("a link");
    // No service or timer of a package is started.
    etc(
        "systemd/system/machine.target",
        "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n",
    );
    symlink("machine.target", root.join("etc/systemd/system/default.target")).expect("a link");
    let timers = fs::read_dir("/usr/lib/systemd/system/timers.target.wants").into_iter().flatten().flatten();
    for timer in timers {
        symlink("/dev/null", root.join("etc/systemd/system").join(timer.file_name())).expect("a link");
    }
}

fn install(to: &Path, from: &Path) {
    fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
    fs::copy(from, to).expect("it can be copied");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode can be set");
}

/// The only child of a process, if it is a systemd. Before that, it does not have its own root yet.
fn systemd_of(process: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    let child = children.trim().parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
    (name == "systemd\n").then_some(child)
}
