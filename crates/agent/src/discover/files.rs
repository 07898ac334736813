//! Reads the files of others and replaces them atomically.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Largest file that is read, in bytes.
const LARGEST: u64 = 4 * 1024 * 1024;

/// The names of the files in a directory, sorted, without hidden ones.
pub fn names_in(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Why something cannot be read, for people.
pub fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "cannot be read: permission denied; root can read it".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// Reads a regular file, if it is not too large.
///
/// # Errors
/// The file cannot be read, is not a regular file, or is too large.
pub fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if found.len() > LARGEST {
        return Err(io::Error::other(format!("it has more than {LARGEST} bytes")));
    }
    fs::read(path)
}

/// Owner and mode of a file to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ownership {
    /// The same owner and mode as before.
    AsBefore,
    /// Owned by the user and readable by others.
    Public,
    /// Owned by the user and not accessible to others.
    Private,
}

/// Replaces a file atomically: readers find either the old or the new content. Its modification time changes, so that
/// cron notices.
pub(super) fn replace(path: &Path, content: &[u8], ownership: Ownership) -> io::Result<()> {
    let before = fs::metadata(path).ok().filter(|_| ownership == Ownership::AsBefore);
    let parent = path.parent().unwrap_or(Path::new("/"));
    // Cron ignores files whose name begins with a dot.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = parent.join(format!(".{name}.innkeeper-new-{}", std::process::id()));
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        match &before {
            Some(before) => {
                fchown(&file, Some(before.uid()), Some(before.gid()))?;
                file.set_permissions(Permissions::from_mode(before.mode() & 0o7777))?;
                file.set_modified(later_than(before.mtime()))?;
            }
            None if ownership == Ownership::Public => file.set_permissions(Permissions::from_mode(0o644))?,
            None => {}
        }
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    let result = written();
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result?;
    File::open(parent)?.sync_all()
}

/// The current time, but in another second than `before`, because cron compares whole seconds.
fn later_than(before: i64) -> SystemTime {
    let now = SystemTime::now();
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    if i64::try_from(seconds).is_ok_and(|seconds| seconds == before) {
        now + Duration::from_secs(1)
    } else {
        now
    }
}
