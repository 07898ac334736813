//! The agent's directories: private to the user, made where they are missing, and none where none can be had.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The directory that belongs to the whole of the agent within another.
const OURS: &str = "innkeeper-agent";

/// Where this user's state lies.
#[derive(Debug, Clone)]
pub struct StateDirectory {
    directory: PathBuf,
}

impl StateDirectory {
    /// The directory `named` in the configuration, or else the first of the usual ones that can be used.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub fn open(named: Option<&Path>) -> Result<Self, String> {
        let candidates = match named {
            Some(named) => vec![named.to_owned()],
            None => usual(is_root(), |name| env::var_os(name).map(PathBuf::from)),
        };
        let mut problems = Vec::new();
        for directory in candidates {
            match private_directory(&directory) {
                Ok(()) => return Ok(Self { directory }),
                Err(problem) => problems.push(format!("{}: {problem}", directory.display())),
            }
        }
        if problems.is_empty() {
            problems.push("neither XDG_STATE_HOME nor HOME is set".to_owned());
        }
        Err(format!("there is no directory for the agent's state: {}", problems.join("; ")))
    }

    /// A directory within it, made where it is missing.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn within(&self, name: &str) -> Result<PathBuf, String> {
        let directory = self.directory.join(name);
        private_directory(&directory).map_err(|problem| format!("{}: {problem}", directory.display()))?;
        Ok(directory)
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// Where state usually lies, the best first. A relative path counts as absent, as the XDG rules have it.
fn usual(is_root: bool, variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let set = |name: &str| variable(name).filter(|path| path.is_absolute());
    let mut found: Vec<PathBuf> = set("XDG_STATE_HOME").map(|path| path.join(OURS)).into_iter().collect();
    if is_root {
        found.push(Path::new("/var/lib").join(OURS));
    }
    if let Some(home) = set("HOME") {
        found.push(home.join(".local/state").join(OURS));
    }
    found
}

/// Where locks lie. It depends on the user alone: neither on HOME nor on any other variable, which differ between a
/// crontab and a terminal.
///
/// # Errors
/// Why it cannot be used. Another place would be no lock: two runs might see different ones.
pub fn lock_directory() -> Result<PathBuf, String> {
    let mut problems = Vec::new();
    for directory in lock_places(rustix::process::geteuid().as_raw()) {
        match private_directory(&directory) {
            Ok(()) => return Ok(directory),
            Err(problem) => problems.push(format!("{}: {problem}", directory.display())),
        }
    }
    Err(problems.join("; "))
}

/// The second is for machines on which root cannot write to `/run`, as some containers.
fn lock_places(user: u32) -> Vec<PathBuf> {
    let run = (user == 0).then(|| Path::new("/run").join(OURS));
    run.into_iter().chain([Path::new("/tmp").join(format!("{OURS}-{user}"))]).collect()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes `directory` where it is missing, and sees to it that it is this user's alone.
fn private_directory(directory: &Path) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    if !directory.exists() {
        // What is above it belongs to whoever's it is, with the modes that are usual there.
        if let Some(parent) = directory.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(text)?;
        }
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(text(error)),
            Ok(()) | Err(_) => {}
        }
    }
    let found = fs::symlink_metadata(directory).map_err(text)?;
    if !found.is_dir() {
        return Err("it is not a directory".to_owned());
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(format!("it belongs to another user (number {})", found.uid()));
    }
    if found.mode() & 0o777 != 0o700 {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).map_err(text)?;
    }
    Ok(())
}

/// Opens a file of ours for reading and writing, made with mode 0600 where it is missing.
///
/// # Errors
/// As opening does.
pub fn private_file(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(path)
}

/// Takes the lock of `path`, unless somebody else has it. It ends with the file that is given back.
///
/// # Errors
/// As opening and locking do; that somebody has it is none.
pub fn try_lock(path: &Path) -> io::Result<Option<File>> {
    for _ in 0..10 {
        let file = private_file(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // Somebody may have removed it between the two.
        let here = file.metadata()?;
        match fs::symlink_metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (here.dev(), here.ino()) => return Ok(Some(file)),
            Ok(_) | Err(_) => {}
        }
    }
    Err(io::Error::other("the lock's file is removed again and again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_places() {
        let none = |_: &str| None;
        assert_eq!(usual(true, none), [Path::new("/var/lib/innkeeper-agent")]);
        assert!(usual(false, none).is_empty());
        let home = |name: &str| (name == "HOME").then(|| PathBuf::from("/home/ada"));
        assert_eq!(usual(false, home), [Path::new("/home/ada/.local/state/innkeeper-agent")]);
        let relative = |name: &str| (name == "XDG_STATE_HOME").then(|| PathBuf::from("state"));
        assert!(usual(false, relative).is_empty());
    }

    #[test]
    fn locks_lie_where_only_the_user_decides() {
        assert_eq!(lock_places(1000), [Path::new("/tmp/innkeeper-agent-1000")]);
        assert_eq!(lock_places(0), [Path::new("/run/innkeeper-agent"), Path::new("/tmp/innkeeper-agent-0")]);
    }

    #[test]
    fn a_directory_is_private_whatever_it_was() {
        let temporary = tempfile::tempdir().unwrap();
        let open = temporary.path().join("a/b");
        fs::create_dir_all(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        private_directory(&open).unwrap();
        assert_eq!(fs::metadata(&open).unwrap().mode() & 0o777, 0o700);
        let link = temporary.path().join("link");
        std::os::unix::fs::symlink(&open, &link).unwrap();
        private_directory(&link).unwrap_err();
    }

    #[test]
    fn a_lock_is_held_once_and_ends_with_its_file() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("lock");
        let held = try_lock(&path).unwrap().unwrap();
        assert!(try_lock(&path).unwrap().is_none());
        drop(held);
        assert!(try_lock(&path).unwrap().is_some());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
