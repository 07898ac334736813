//! The header of an SQLite file, read directly from the disk.
//!
//! SQLite keeps pages in memory and in its log, and does not notice if another file is written over
//! its own. The header is the first hundred bytes of the file. After the checkpoint at each start,
//! the file itself has the current header.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

/// The `application_id` of Innkeeper's databases: "INNK".
pub(crate) const APPLICATION: i32 = 0x494e_4e4b;

const MAGIC: &[u8] = b"SQLite format 3\0";
const LENGTH: usize = 100;
/// How long to wait before the header is read again. A header that is being written may be read
/// incompletely.
pub(super) const PAUSE: Duration = Duration::from_millis(20);
pub(super) const TRIES: usize = 3;

/// The fields of the header that distinguish databases and their versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// `application_id`.
    pub application: i32,
    /// `user_version`. Innkeeper gives each database a random one.
    pub id: i32,
    /// The file change counter. It only grows, so an older copy has a smaller one.
    pub changes: u32,
    /// The number of pages that the file should have. 0 if the header does not tell.
    pub pages: u32,
    /// The length in bytes that the file should have.
    pub length: u64,
}

impl Header {
    /// Reads the header. `None` if the file is not an SQLite database, or was truncated.
    pub fn read(file: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; LENGTH];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Self::parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the header until `expected` accepts it, a few times at most. Returns what it read
    /// last.
    pub fn read_until(file: &File, expected: impl Fn(Option<Self>) -> bool) -> io::Result<Option<Self>> {
        let mut header = Self::read(file)?;
        for _ in 1..TRIES {
            if expected(header) {
                break;
            }
            std::thread::sleep(PAUSE);
            header = Self::read(file)?;
        }
        Ok(header)
    }

    fn parse(bytes: &[u8; LENGTH]) -> Option<Self> {
        let four = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        // The value 1 means 65,536, which does not fit into two bytes.
        let page = match u64::from(u16::from_be_bytes([bytes[16], bytes[17]])) {
            1 => 65_536,
            page => page,
        };
        let pages = if four(24) == four(92) { u32::from_be_bytes(four(28)) } else { 0 };
        bytes.starts_with(MAGIC).then(|| Self {
            application: i32::from_be_bytes(four(68)),
            id: i32::from_be_bytes(four(60)),
            changes: u32::from_be_bytes(four(24)),
            pages,
            length: u64::from(pages) * page,
        })
    }

    /// Whether this may be the header of the same database at the time of `before` or later. The
    /// counter may overflow.
    pub fn follows(&self, before: &Self) -> bool {
        self.application == before.application
            && self.id == before.id
            && self.changes.wrapping_sub(before.changes) <= u32::MAX / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_copy_and_another_database_do_not_follow() {
        let header = |id, changes| Header { application: APPLICATION, id, changes, pages: 1, length: 4096 };
        assert!(header(7, 4).follows(&header(7, 4)) && header(7, 5).follows(&header(7, 4)));
        assert!(header(7, 1).follows(&header(7, u32::MAX)), "the counter begins anew");
        assert!(!header(7, 3).follows(&header(7, 4)), "an older copy");
        assert!(!header(8, 5).follows(&header(7, 4)), "another database");
    }

    #[test]
    fn what_is_no_database_has_none() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Header::read(&file).unwrap(), None);
        file.write_all_at(&[b'x'; 200], 0).unwrap();
        assert_eq!(Header::read(&file).unwrap(), None);
    }
}
