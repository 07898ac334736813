//! Reads the files of others, and replaces them as a whole.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The largest file that is read, bytes.
const LARGEST: u64 = 4 * 1024 * 1024;

/// Names of files, sorted, without hidden ones.
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

/// Why something cannot be read.
pub fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "cannot be read: permission denied; root may".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// A regular file's content, if it is not too large.
///
/// # Errors
/// As reading does.
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

/// Whose a file is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ownership {
    /// Whose it was, with the mode that it had.
    AsBefore,
    /// The user's, and others may read it.
    Public,
    /// The user's alone.
    Private,
}

/// Replaces a file as a whole: whoever reads it meets what was there or what is there, and cron sees that it
/// changed.
pub(super) fn replace(path: &Path, content: &[u8], ownership: Ownership) -> io::Result<()> {
    let before = fs::metadata(path).ok().filter(|_| ownership == Ownership::AsBefore);
    let parent = path.parent().unwrap_or(Path::new("/"));
    // No cron reads a file whose name begins with a dot.
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

/// Now; but another second than `before`, since cron compares whole seconds.
fn later_than(before: i64) -> SystemTime {
    let now = SystemTime::now();
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    if i64::try_from(seconds).is_ok_and(|seconds| seconds == before) {
        now + Duration::from_secs(1)
    } else {
        now
    }
}
