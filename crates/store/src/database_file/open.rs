//! An open SQLite file: its anchor connection, and what identifies it.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::{RunQueryDsl as _, SqliteConnection, sql_query, sql_types};
use parking_lot::Mutex;
use uuid::Uuid;

use super::beside;
use super::header::{APPLICATION, Header, PAUSE, TRIES};
use super::identity::{Identity, identity, named};
use super::permission::obstacle;
use super::progress::Progress;
use super::remains::{Anchor, Remains, Way};
use super::strange::{self, Turn};
use crate::StoreError;

/// The settings of every connection.
pub(crate) const PRAGMAS: &str = "
    PRAGMA busy_timeout = 5000;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    -- Pages, 32 MB: a page that many commits change is written back once for all of them.
    PRAGMA wal_autocheckpoint = 8000;
    PRAGMA foreign_keys = ON;
    -- What is sorted stays in memory: TMPDIR may be full, and is no part of the database.
    PRAGMA temp_store = MEMORY;";

/// The URI by which SQLite opens the file at `path` without creating it. `mode` is `rw` or `ro`.
pub(crate) fn address(path: &Path, mode: &str) -> String {
    let path = path.to_string_lossy();
    format!("file:{}?mode={mode}", path.replace('%', "%25").replace('?', "%3f").replace('#', "%23"))
}

/// An id for a database that has none yet.
pub(crate) fn new_id() -> i32 {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    // A version 4 UUID has some fixed bits; these are random. 0 is not used, because it is SQLite's
    // default.
    (((high >> 32) ^ low) as i32 & i32::MAX).max(1)
}

/// An open SQLite file, and everything by which a change of it is noticed.
pub(super) struct Open {
    anchor: Anchor,
    /// The same file, to read its first page. Closing it would release all locks that this process
    /// has on the file (POSIX), so it stays open as long as any connection.
    reader: File,
    /// The log (`-wal`), to read its beginning.
    log: Option<File>,
    main: Identity,
    /// Its length when it was last checked.
    length: u64,
    wal: Option<Identity>,
    shm: Option<Identity>,
    /// The path after all links are followed. SQLite looks for the log there.
    real: PathBuf,
    wal_path: PathBuf,
    shm_path: PathBuf,
    id: i32,
    /// The header when it was last read. `None` until the file itself has the id.
    header: Option<Header>,
}

/// What identifies a database that was lost.
pub(super) struct Known {
    pub id: i32,
    /// The identity of the file that was open.
    pub main: Identity,
    /// Its progress when it was lost.
    pub progress: Option<Progress>,
    /// The identities of files that hold all its content without a log.
    pub whole: Vec<Identity>,
}

/// The first four bytes of a log without the last bit. That bit tells the byte order of the
/// checksums.
const LOG_MAGIC: u32 = 0x377f_0682;

impl Open {
    /// Opens the file for the first time in this process, and creates it if there is none.
    pub fn first(path: &Path) -> Result<Self, StoreError> {
        refuse_to_begin_anew(path)?;
        make_private(path);
        Ok(Self::over(path, None)?.0)
    }

    /// Opens the file again if it is the known database and holds everything that it held before.
    /// Also returns the new names of files beside it that were set aside because they belong to
    /// another database.
    pub fn again(path: &Path, known: &Known) -> Result<(Self, Vec<PathBuf>), StoreError> {
        let (open, strange) = Self::over(path, Some(known))?;
        let there = Progress::of(&mut super::lock(&open.anchor));
        match (known.progress, there) {
            (Some(known), Some(there)) if there.is_behind(known) => {
                Err(StoreError::Unavailable(format!("{}: is an older copy", path.display())))
            }
            _ => Ok((open, strange)),
        }
    }

    fn over(path: &Path, known: Option<&Known>) -> Result<(Self, Vec<PathBuf>), StoreError> {
        let failed = |what: String| {
            let why = obstacle(path).map(|why| format!(": {why}")).unwrap_or_default();
            StoreError::away(format!("{}: {what}{why}", path.display()))
        };
        let reader = File::open(path).map_err(|error| failed(error.to_string()))?;
        let metadata = reader.metadata().map_err(|error| failed(error.to_string()))?;
        let (main, length) = (identity(&metadata), metadata.len());
        let mut strange = Vec::new();
        // Only one process at a time may do this, so that none takes a log that another has just
        // begun for an old one.
        let mut _turn = None;
        if let Some(known) = known {
            // This comes before SQLite opens the file, because a log beside it may belong to
            // another database.
            let header = Header::read(&reader).map_err(|error| failed(error.to_string()))?;
            if !header.is_some_and(|header| header.application == APPLICATION && header.id == known.id) {
                return Err(failed("is another database".to_owned()));
            }
            if known.whole.contains(&main) {
                _turn = Some(Turn::take(&reader).map_err(failed)?);
                strange = strange::set_aside(path)?;
            } else if main != known.main {
                strange::refuse(path)?;
            }
        }
        let mut anchor =
            SqliteConnection::establish(&address(path, "rw")).map_err(|error| failed(error.to_string()))?;
        anchor.batch_execute(PRAGMAS).map_err(|error| failed(error.to_string()))?;
        let id = mark(&mut anchor, path).map_err(|error| match error {
            StoreError::Unavailable(text) | StoreError::Busy(text) => failed(text),
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
        // This process has no locks on the log, so closing this handle releases none.
        let log = File::open(&wal_path).ok();
        let anchor = Arc::new(Mutex::new(anchor));
        drop(_turn);
        let open = Self { anchor, reader, log, main, length, wal, shm, real, wal_path, shm_path, id, header };
        Ok((open, strange))
    }

    /// How the file was lost, if the names of the open files lead to other files now, or if a file
    /// was cut off.
    pub fn names_have_changed(&mut self, path: &Path) -> Option<Way> {
        let Ok(metadata) = fs::metadata(path) else { return Some(Way::Gone) };
        if identity(&metadata) != self.main {
            return Some(Way::Replaced);
        }
        let Ok(real) = fs::canonicalize(path) else { return Some(Way::Gone) };
        let is_elsewhere = real != self.real;
        if is_elsewhere {
            (self.wal_path, self.shm_path) = (beside(&real, "-wal"), beside(&real, "-shm"));
            self.real = real;
        }
        if named(&self.wal_path) != self.wal || named(&self.shm_path) != self.shm {
            return Some(if is_elsewhere { Way::Apart } else { Way::LogGone });
        }
        self.has_shrunk(metadata.len()).or_else(|| self.log_is_cut().then_some(Way::LogCut))
    }

    /// Whether the file has become shorter, and is shorter than its first page says. It may shrink
    /// when another program compacts it (`VACUUM`), and then the first page is updated before. Only
    /// a file that has shrunk is compared with its first page: one that grows may be shorter than
    /// that, as long as the rest is in the log.
    fn has_shrunk(&mut self, length: u64) -> Option<Way> {
        if length >= self.length {
            self.length = length;
            return None;
        }
        let mut way = None;
        for attempt in 0..TRIES {
            if attempt > 0 {
                std::thread::sleep(PAUSE);
            }
            let (header, length) = match (Header::read(&self.reader), self.reader.metadata()) {
                (Ok(header), Ok(metadata)) => (header, metadata.len()),
                (Err(error), _) | (_, Err(error)) => {
                    log::debug!("the first page: {error}");
                    return None;
                }
            };
            way = match header {
                _ if length == 0 => Some(Way::Cut),
                header if !self.is_expected(header) => Some(Way::Overwritten),
                Some(header) if header.length > length => Some(Way::Cut),
                _ => {
                    self.length = length;
                    return None;
                }
            };
        }
        way
    }

    /// Whether this may be the header of the database that was opened.
    fn is_expected(&self, header: Option<Header>) -> bool {
        match (header, &self.header) {
            (Some(header), Some(before)) => header.follows(before),
            // If readers delay the checkpoint, the file does not have the id yet.
            (Some(header), None) => header.application == 0 || header.id == self.id,
            (None, _) => false,
        }
    }

    /// Whether the log has content but does not begin as a log must. SQLite would ignore such a log
    /// after a crash.
    fn log_is_cut(&self) -> bool {
        let mut begin = [0; 4];
        let has_begun = self.log.as_ref().is_some_and(|log| log.read_exact_at(&mut begin, 0).is_ok());
        has_begun && u32::from_be_bytes(begin) & !1 != LOG_MAGIC
    }

    /// Whether the file was overwritten with another database, or cut off at its beginning.
    pub fn is_overwritten(&mut self) -> Option<Way> {
        match Header::read_until(&self.reader, |header| self.is_expected(header)) {
            Ok(header) if self.is_expected(header) => {
                self.header = header.filter(|header| header.id == self.id).or(self.header);
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

    /// What has to be rescued and closed after the file was lost.
    pub fn into_remains(self) -> Remains {
        let is_deleted = self.reader.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
        Remains {
            anchor: self.anchor,
            reader: self.reader,
            main: self.main,
            is_deleted,
            beside: [(self.wal_path, self.wal), (self.shm_path, self.shm)]
                .into_iter()
                .filter(|(path, identity)| named(path) == *identity)
                .map(|(path, _)| path)
                .collect(),
        }
    }
}

/// Gives the database an id if it has none, and writes its first page, so that copies from before
/// this start have a smaller change counter. Returns the id.
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

/// Refuses to begin with an empty database if there are remains of an earlier one. Otherwise all
/// jobs would be lost unnoticed.
fn refuse_to_begin_anew(path: &Path) -> Result<(), StoreError> {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let has_content = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0);
    let wal = beside(&real, "-wal");
    let state = match (has_content(path), has_content(&wal)) {
        (true, false) if has_no_tables(path) => "has no tables",
        (true, _) => return Ok(()),
        (false, _) => "is missing or empty",
    };
    let refuse = |left: &Path, how: &str| {
        Err(StoreError::File(format!(
            "{} {state}, and {} {how}. To begin with an empty database, move that away",
            path.display(),
            left.display()
        )))
    };
    if has_content(&wal) {
        return refuse(&wal, "is its log: put the database back under its name");
    }
    let left = |suffix| latest(path, suffix).or_else(|| latest(&real, suffix));
    if let Some(rescued) = left(".rescued-") {
        return refuse(&rescued, "has what it held: give that its name");
    }
    match left("-wal.stale-") {
        None => Ok(()),
        Some(stale) => refuse(
            &stale,
            "is the log of a database that was overwritten or cut off here: put a backup there (innkeeper restore FILE)",
        ),
    }
}

/// Whether the file is a database of a single page. Such a database has no table.
fn has_no_tables(path: &Path) -> bool {
    let one_page = |file: File| Header::read(&file).ok().flatten().map(|header| header.pages == 1);
    File::open(path).ok().and_then(one_page).unwrap_or(false)
}

/// The latest of the files beside `path` whose name is that of `path` followed by `suffix` and
/// more.
fn latest(path: &Path, suffix: &str) -> Option<PathBuf> {
    let prefix = beside(path, suffix);
    let siblings = path.parent().and_then(|directory| fs::read_dir(directory).ok()).into_iter().flatten();
    siblings
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|sibling| {
            sibling.as_os_str().as_encoded_bytes().starts_with(prefix.as_os_str().as_encoded_bytes())
        })
        .max()
}

/// Creates the file if it is missing, with access for its owner only. SQLite gives its other files
/// the same mode. An error is ignored here, because SQLite reports it better when it opens the
/// file.
fn make_private(path: &Path) {
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            log::debug!("{}: {error}", path.display());
        }
        _ => {}
    }
}
