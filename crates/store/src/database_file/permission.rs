//! Explains why this process cannot use an SQLite file, and says what to do.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat};
use rustix::io::Errno;

use super::beside;

/// What keeps this process from reading and writing the database at `path`. Checks its file,
/// SQLite's files beside it, and the directory in which SQLite creates those. `None` if no obstacle
/// is found.
pub(crate) fn obstacle(path: &Path) -> Option<String> {
    let read_and_write = Access::READ_OK | Access::WRITE_OK;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    [
        (path.to_owned(), read_and_write),
        (beside(path, "-wal"), read_and_write),
        (beside(path, "-shm"), read_and_write),
        (directory.to_owned(), Access::WRITE_OK | Access::EXEC_OK),
    ]
    .into_iter()
    .find_map(|(path, access)| match accessat(CWD, &path, access, AtFlags::EACCESS) {
        Err(Errno::ACCESS | Errno::PERM) => Some(may_not(&path)),
        Err(Errno::ROFS) => Some(read_only(&path)),
        _ => None,
    })
    .or_else(|| refuses_files(directory))
}

/// Why no file can be created in the directory although its permissions allow it: the disk has
/// failed or is full, for example. The test creates a file without a name. On a file system without
/// such files it finds nothing.
fn refuses_files(directory: &Path) -> Option<String> {
    let tried = rustix::fs::open(directory, OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR | Mode::WUSR);
    match tried {
        Err(Errno::ROFS) => Some(read_only(directory)),
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::MFILE | Errno::NFILE)) => {
            Some(format!("{}: {error}", directory.display()))
        }
        _ => None,
    }
}

fn read_only(path: &Path) -> String {
    format!("{} lies on a file system that is read-only", path.display())
}

fn may_not(path: &Path) -> String {
    let me = rustix::process::geteuid().as_raw();
    let user = user(me);
    let Ok(metadata) = fs::metadata(path) else {
        return format!("{user} may not look at {}", path.display());
    };
    format!(
        "{path} belongs to {owner} (mode {mode:04o}), and this process runs as {user}, who may not read and write it. \
         Give it to that user: chown {user} {path}",
        path = path.display(),
        owner = self::user(metadata.uid()),
        mode = metadata.permissions().mode() & 0o7777,
    )
}

/// The name of the user, or the number if there is no name.
fn user(id: u32) -> String {
    let named = fs::read_to_string("/etc/passwd").ok().and_then(|users| {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
        })
    });
    named.unwrap_or_else(|| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_and_a_stranger_has_a_number() {
        assert_eq!(user(0), "root");
        assert_eq!(user(4_000_000_001), "4000000001");
    }

    #[test]
    fn nothing_stands_in_the_way_of_ones_own_files() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(obstacle(&directory.path().join("innkeeper.db")), None);
    }
}
