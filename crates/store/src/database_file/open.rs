//! An SQLite file that is open: its anchor, and by what it is known again.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::{RunQueryDsl as _, SqliteConnection, sql_query, sql_types};
use uuid::Uuid;

use super::beside;
use super::header::{APPLICATION, Header};
use super::loss::{Remains, Way};
use super::permission::obstacle;
use super::rescue::Progress;
use crate::StoreError;

/// Device and inode: what a file is, whatever it is called.
type Identity = (u64, u64);

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// What is there under this name, if anything.
fn named(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().as_ref().map(identity)
}

/// What every connection begins with.
pub(crate) const PRAGMAS: &str = "
    PRAGMA busy_timeout = 5000;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    -- Pages, 32 MB: a page that many commits change is written back once for all of them.
    PRAGMA wal_autocheckpoint = 8000;
    PRAGMA foreign_keys = ON;";

/// The name by which SQLite opens the file at `path` where there is one, and makes none; `mode` is `rw` or `ro`.
pub(crate) fn address(path: &Path, mode: &str) -> String {
    let path = path.to_string_lossy();
    format!("file:{}?mode={mode}", path.replace('%', "%25").replace('?', "%3f").replace('#', "%23"))
}

/// An id for a database that has none yet.
pub(crate) fn new_id() -> i32 {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    // A version 4 UUID has some fixed bits; these are random. 0 is what SQLite has by itself.
    (((high >> 32) ^ low) as i32 & i32::MAX).max(1)
}

/// The connection that stays open as long as the file. Apart from what is known of the file, so that nobody who only looks waits
/// while it works.
pub(super) type Anchor = Arc<Mutex<SqliteConnection>>;

/// See the module.
pub(super) struct Open {
    anchor: Anchor,
    /// The same file, to read its first page. To close it would drop the locks that this process has on the file (POSIX), so it
    /// stays open as long as any connection.
    reader: File,
    /// The log, to read its beginning.
    log: Option<File>,
    main: Identity,
    wal: Option<Identity>,
    shm: Option<Identity>,
    wal_path: PathBuf,
    shm_path: PathBuf,
    id: i32,
    /// The first page as it was last; none until the file itself has the id.
    header: Option<Header>,
}

/// The first bytes of a log, but for the last bit, which says in which order its checksums are.
const LOG_MAGIC: u32 = 0x377f_0682;

impl Open {
    /// Opens the file for the first time in this process; makes it where there is none.
    pub fn first(path: &Path) -> Result<Self, StoreError> {
        refuse_to_begin_anew(path)?;
        make_private(path);
        Self::over(path, None)
    }

    /// Opens the file anew, if it is the database of this id, and has all that was known of it.
    pub fn again(path: &Path, id: i32, progress: Option<Progress>) -> Result<Self, StoreError> {
        let open = Self::over(path, Some(id))?;
        let there = Progress::of(&mut super::lock(&open.anchor));
        match (progress, there) {
            (Some(known), Some(there)) if there.is_behind(known) => {
                Err(StoreError::Unavailable(format!("{}: is an older copy", path.display())))
            }
            _ => Ok(open),
        }
    }

    fn over(path: &Path, known: Option<i32>) -> Result<Self, StoreError> {
        let failed = |what: String| {
            let why = obstacle(path).map(|why| format!(": {why}")).unwrap_or_default();
            StoreError::Unavailable(format!("{}: {what}{why}", path.display()))
        };
        let reader = File::open(path).map_err(|error| failed(error.to_string()))?;
        let main = identity(&reader.metadata().map_err(|error| failed(error.to_string()))?);
        if let Some(known) = known {
            // Before SQLite opens it: a log beside it may not be its own.
            let header = Header::read(&reader).map_err(|error| failed(error.to_string()))?;
            if !header.is_some_and(|header| header.application == APPLICATION && header.id == known) {
                return Err(failed("is another database".to_owned()));
            }
        }
        let mut anchor =
            SqliteConnection::establish(&address(path, "rw")).map_err(|error| failed(error.to_string()))?;
        anchor.batch_execute(PRAGMAS).map_err(|error| failed(error.to_string()))?;
        let id = mark(&mut anchor, path).map_err(|error| match error {
            StoreError::Unavailable(text) => failed(text),
            StoreError::Refused(error) => failed(error.to_string()),
            other => other,
        })?;
        if named(path) != Some(main) {
            return Err(failed("was replaced while it was opened".to_owned()));
        }
        let real = fs::canonicalize(path).map_err(|error| failed(error.to_string()))?;
        let (wal_path, shm_path) = (beside(&real, "-wal"), beside(&real, "-shm"));
        let header = Header::read(&reader)
            .map_err(|error| failed(error.to_string()))?
            .filter(|header| header.application == APPLICATION && header.id == id);
        let (wal, shm) = (named(&wal_path), named(&shm_path));
        // Nobody locks it, so that it may be closed at any time.
        let log = File::open(&wal_path).ok();
        let anchor = Arc::new(Mutex::new(anchor));
        Ok(Self { anchor, reader, log, main, wal, shm, wal_path, shm_path, id, header })
    }

    /// How the names lead elsewhere than to what is open, if they do.
    pub fn names_have_changed(&self, path: &Path) -> Option<Way> {
        match named(path) {
            None => return Some(Way::Gone),
            Some(main) if main != self.main => return Some(Way::Replaced),
            Some(_) => {}
        }
        let beside = named(&self.wal_path) == self.wal && named(&self.shm_path) == self.shm;
        if beside { self.log_is_cut().then_some(Way::LogCut) } else { Some(Way::LogGone) }
    }

    /// Whether there is something in the log, and it does not begin as a log does: then nothing of it would be read after a crash.
    fn log_is_cut(&self) -> bool {
        let mut begin = [0; 4];
        let has_begun = self.log.as_ref().is_some_and(|log| log.read_exact_at(&mut begin, 0).is_ok());
        has_begun && u32::from_be_bytes(begin) & !1 != LOG_MAGIC
    }

    /// Whether somebody wrote another database over this one, or cut it off.
    pub fn is_overwritten(&mut self) -> Option<Way> {
        let (before, id) = (self.header, self.id);
        let as_expected = |header: Option<Header>| match (header, before) {
            (Some(header), Some(before)) => header.follows(&before),
            // A checkpoint that readers hold up has not brought the id yet.
            (Some(header), None) => header.application == 0 || header.id == id,
            (None, _) => false,
        };
        match Header::read_until(&self.reader, as_expected) {
            Ok(header) if as_expected(header) => {
                self.header = header.filter(|header| header.id == id).or(before);
                None
            }
            Ok(_) => Some(Way::Overwritten),
            Err(error) => {
                log::debug!("the first page: {error}");
                None
            }
        }
    }

    pub fn anchor(&self) -> Anchor {
        Arc::clone(&self.anchor)
    }

    pub fn id(&self) -> i32 {
        self.id
    }

    /// What there is to save from, and to close.
    pub fn into_remains(self) -> Remains {
        let is_deleted = self.reader.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
        Remains {
            anchor: self.anchor,
            reader: self.reader,
            is_deleted,
            beside: [(self.wal_path, self.wal), (self.shm_path, self.shm)]
                .into_iter()
                .filter(|(path, identity)| named(path) == *identity)
                .map(|(path, _)| path)
                .collect(),
        }
    }
}

/// Gives the database its id where it has none, and writes its first page anew, so that copies from before this start have a smaller
/// change counter. Returns the id.
fn mark(anchor: &mut SqliteConnection, path: &Path) -> Result<i32, StoreError> {
    let id = anchor.immediate_transaction(|anchor| {
        let marks: Marks = sql_query(
            "SELECT (SELECT application_id FROM pragma_application_id) AS application,
                 (SELECT user_version FROM pragma_user_version) AS id",
        )
        .get_result(anchor)?;
        if ![0, APPLICATION].contains(&marks.application) {
            return Err(StoreError::Url(format!("{} is a file of another program", path.display())));
        }
        let id = if marks.id == 0 { new_id() } else { marks.id };
        anchor
            .batch_execute(&format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {id}"))?;
        Ok(id)
    })?;
    anchor.batch_execute("PRAGMA wal_checkpoint(PASSIVE)")?;
    Ok(id)
}

#[derive(diesel::QueryableByName)]
struct Marks {
    #[diesel(sql_type = sql_types::Integer)]
    application: i32,
    #[diesel(sql_type = sql_types::Integer)]
    id: i32,
}

/// Refuses where there is no database but what one has left: to begin with an empty one would forget all jobs without a word.
fn refuse_to_begin_anew(path: &Path) -> Result<(), StoreError> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0) {
        return Ok(());
    }
    let missing = |left: &Path, how: &str| {
        Err(StoreError::File(format!(
            "{} is missing or empty, and {} {how}. To begin with an empty database, move that away",
            path.display(),
            left.display()
        )))
    };
    let wal = beside(path, "-wal");
    if fs::metadata(&wal).is_ok_and(|metadata| metadata.len() > 0) {
        return missing(&wal, "is its log: put the database back under its name");
    }
    let prefix = beside(path, ".rescued-");
    let siblings = path.parent().and_then(|directory| fs::read_dir(directory).ok()).into_iter().flatten();
    let rescued = siblings
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|sibling| {
            sibling.as_os_str().as_encoded_bytes().starts_with(prefix.as_os_str().as_encoded_bytes())
        })
        .max();
    match rescued {
        None => Ok(()),
        Some(rescued) => missing(&rescued, "has what it held: give that its name"),
    }
}

/// Makes the file where it is missing, readable by its owner alone; SQLite gives its other files the same mode. What cannot
/// be made here SQLite complains of better.
fn make_private(path: &Path) {
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            log::debug!("{}: {error}", path.display());
        }
        _ => {}
    }
}
