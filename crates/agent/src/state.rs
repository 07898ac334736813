//! The agent's directories. They are private to the user and are created if needed.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Name of the agent's directory within another directory.
const OURS: &str = "innkeeper-agent";

/// The state directory of this user.
#[derive(Debug, Clone)]
pub struct StateDirectory {
    directory: PathBuf,
}

impl StateDirectory {
    /// Opens the directory `named` in the configuration, or else the first usable one of the default directories.
    ///
    /// # Errors
    /// Why no directory can be used, for people.
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

    /// A subdirectory, created if needed.
    ///
    /// # Errors
    /// Why the subdirectory cannot be used.
    pub fn within(&self, name: &str) -> Result<PathBuf, String> {
        let directory = self.directory.join(name);
        private_directory(&directory).map_err(|problem| format!("{}: {problem}", directory.display()))?;
        Ok(directory)
    }

    /// The path of a file in the state directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// The default state directories, best first. Relative paths in variables are ignored, as the XDG specification
/// requires.
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

/// The directory for locks. It depends on the user alone and on no variable such as HOME, because variables differ
/// between a crontab and a terminal.
///
/// # Errors
/// Why the directory cannot be used. There is no other choice, because two runs with different directories would not
/// exclude each other.
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

/// The second directory is for machines on which root cannot write to `/run`, such as some containers.
fn lock_places(user: u32) -> Vec<PathBuf> {
    let run = (user == 0).then(|| Path::new("/run").join(OURS));
    run.into_iter().chain([Path::new("/tmp").join(format!("{OURS}-{user}"))]).collect()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Creates `directory` if needed and ensures that only this user can access it.
fn private_directory(directory: &Path) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    if !directory.exists() {
        // Parent directories keep the usual modes, because others may use them, too.
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

/// Opens a private file for reading and writing. It is created with mode 0600 if needed.
///
/// # Errors
/// The file cannot be opened.
pub fn private_file(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(path)
}

/// Takes the lock of the file `path`; none if another process has it. Closing the returned file releases the lock.
///
/// # Errors
/// The file cannot be opened or locked for another reason than that it is locked already.
pub fn try_lock(path: &Path) -> io::Result<Option<File>> {
    for _ in 0..10 {
        let file = private_file(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // Another process may have removed the file between opening and locking it.
        let here = file.metadata()?;
        match fs::symlink_metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (here.dev(), here.ino()) => return Ok(Some(file)),
            Ok(_) | Err(_) => {}
        }
    }
    Err(io::Error::other("the lock file is removed again and again"))
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
