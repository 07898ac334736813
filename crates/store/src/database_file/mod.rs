//! Checks that the SQLite file is still the one that this process opened.
//!
//! SQLite goes on writing to a file that was deleted, moved or replaced, and reports success.
//! Therefore the device and inode of the file, and of the two beside it (the log `-wal` and its
//! index `-shm`), are checked before and after each commit, before the caller learns that it
//! succeeded. The header is read from the disk each second (`header.rs`), which detects a file that
//! was overwritten in place. A file that was lost stays lost until the same database is back. This
//! process closes its connections, saves what it can, and never creates a new file. Only a start
//! does that.
//!
//! All of this relies on one connection, the anchor, that stays open as long as the process works
//! with the file. The last connection that closes removes the log. Therefore, if the log is missing
//! while the anchor is open, another program has removed it.

mod damage;
mod header;
mod identity;
mod loss;
mod open;
mod permission;
mod progress;
mod remains;
mod rescue;
mod strange;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use diesel::connection::SimpleConnection as _;
use parking_lot::{Mutex, MutexGuard};

use crate::StoreError;

pub(crate) use damage::met as met_damage;
pub(crate) use header::APPLICATION;
pub use loss::FileLook;
use loss::Lost;
use open::Open;
pub(crate) use open::{PRAGMAS, address, new_id};
pub(crate) use permission::obstacle;
use remains::Way;
pub(crate) use rescue::{aside, vacuum_into};

/// The database files of this process, by path. All its stores share the state of a file.
static FILES: Mutex<BTreeMap<PathBuf, Weak<DatabaseFile>>> = Mutex::new(BTreeMap::new());

/// An SQLite file that is checked as the module describes.
pub(crate) struct DatabaseFile {
    path: PathBuf,
    state: Mutex<State>,
    /// The number of open connections, without the anchor.
    connections: AtomicUsize,
    /// The holders of idle connections.
    keepers: Mutex<Vec<Weak<dyn IdleConnections>>>,
    /// Whether check-ins were committed since [`Self::was_written`] was last called.
    written: AtomicBool,
    /// The damage that the latest check of the whole file has found.
    damage: Mutex<Option<String>>,
}

enum State {
    /// It has not been opened yet.
    New,
    Open(Open),
    Lost(Lost),
}

/// A holder of idle connections.
pub(crate) trait IdleConnections: Send + Sync {
    /// Closes the idle connections, if the file is lost.
    fn close_idle(&self);
}

impl DatabaseFile {
    /// The file at `path`, which all callers in this process share.
    pub fn at(path: &str) -> Arc<Self> {
        let path = PathBuf::from(path);
        let mut files = lock(&FILES);
        files.retain(|_, file| file.strong_count() > 0);
        if let Some(known) = files.get(&path).and_then(Weak::upgrade) {
            return known;
        }
        let file = Arc::new(Self {
            path: path.clone(),
            state: Mutex::new(State::New),
            connections: AtomicUsize::new(0),
            keepers: Mutex::default(),
            written: AtomicBool::new(false),
            damage: Mutex::default(),
        });
        files.insert(path, Arc::downgrade(&file));
        file
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Registers `keeper`, whose idle connections are closed when the file is lost.
    pub fn register(&self, keeper: Weak<dyn IdleConnections>) {
        let mut keepers = lock(&self.keepers);
        keepers.retain(|keeper| keeper.strong_count() > 0);
        keepers.push(keeper);
    }

    /// Gives the right to open a connection. The first call opens the file, and creates it if there
    /// is none.
    pub fn lease(self: &Arc<Self>) -> Result<Lease, StoreError> {
        // If the name leads elsewhere now, SQLite would take a log there for that of the open file.
        self.check()?;
        let mut state = lock(&self.state);
        match &*state {
            State::New => *state = State::Open(Open::first(&self.path)?),
            State::Open(_) => {}
            State::Lost(lost) => return Err(lost.error()),
        }
        self.connections.fetch_add(1, Ordering::SeqCst);
        Ok(Lease(Arc::clone(self)))
    }

    /// Whether the file is known to be lost. Does not check it.
    pub fn is_lost(&self) -> bool {
        matches!(&*lock(&self.state), State::Lost(_))
    }

    /// Checks that the three files are those that were opened. Called before and after each commit.
    pub fn check(&self) -> Result<(), StoreError> {
        self.check_by(|open| open.names_have_changed(&self.path))
    }

    /// Adds to an error of the database which file it is about, and what keeps this process from
    /// using the file.
    pub fn explain(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Unavailable(text) | StoreError::Busy(text)
                if !text.contains(&*self.path.to_string_lossy()) =>
            {
                let why = obstacle(&self.path).map(|why| format!(": {why}")).unwrap_or_default();
                StoreError::away(format!("{}: {text}{why}", self.path.display()))
            }
            other => other,
        }
    }

    /// Notes that something was committed, so that a checkpoint is worthwhile.
    pub fn note_written(&self) {
        self.written.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::note_written`] was called since the last call of this.
    pub fn was_written(&self) -> bool {
        self.written.swap(false, Ordering::Relaxed)
    }

    /// Stores which damage was found. `None` if there is none.
    pub fn note_damage(&self, words: Option<String>) {
        *lock(&self.damage) = words;
    }

    /// The damage that was found last.
    pub fn damage(&self) -> Option<String> {
        lock(&self.damage).clone()
    }

    fn check_by(&self, way: impl FnOnce(&mut Open) -> Option<Way>) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        let way = match &mut *state {
            State::New => return Ok(()),
            State::Lost(lost) => return Err(lost.error()),
            State::Open(open) => match way(open) {
                None => return Ok(()),
                Some(way) => way,
            },
        };
        let State::Open(open) = std::mem::replace(&mut *state, State::New) else { return Ok(()) };
        let lost = Lost::new(&self.path, way, open);
        log::error!("{}", lost.words());
        let error = lost.error();
        *state = State::Lost(lost);
        Err(error)
    }

    /// Checks the names and the header. If the file is lost, tries to rescue its content and to
    /// open the database again. A thread calls this each second.
    pub fn look(&self) -> FileLook {
        let looked =
            self.check_by(|open| open.names_have_changed(&self.path).or_else(|| open.is_overwritten()));
        if looked.is_ok() { FileLook::Fine } else { self.recover() }
    }

    /// Closes the connections, saves what can be saved, and opens the file again if it is the same
    /// database.
    fn recover(&self) -> FileLook {
        for keeper in lock(&self.keepers).iter().filter_map(Weak::upgrade) {
            keeper.close_idle();
        }
        let closed = self.connections.load(Ordering::SeqCst) == 0;
        let mut state = lock(&self.state);
        let State::Lost(lost) = &mut *state else { return FileLook::Fine };
        if !closed {
            return lost.look();
        }
        if let Some(remains) = lost.take_remains() {
            let way = lost.way;
            // Release the lock, so that others can learn that the file is lost while its content is
            // being saved.
            drop(state);
            let settled = rescue::settle(&self.path, way, remains);
            state = lock(&self.state);
            let State::Lost(lost) = &mut *state else { return FileLook::Fine };
            lost.settle(settled);
        }
        let State::Lost(lost) = &mut *state else { return FileLook::Fine };
        let Some(known) = lost.known() else { return lost.look() };
        match Open::again(&self.path, &known) {
            Ok((open, strange)) => {
                let words = lost.words();
                let set_aside = (!strange.is_empty()).then(|| strange::words(&strange));
                log::warn!("{} is back. {}", self.path.display(), set_aside.as_deref().unwrap_or_default());
                *state = State::Open(open);
                FileLook::Back { words, set_aside }
            }
            Err(error) => {
                log::debug!("{error}");
                lost.note_obstacle(&error);
                lost.look()
            }
        }
    }

    /// Does a checkpoint: copies the log into the file, as far as readers allow it. Costs little if
    /// nothing was written.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        let anchor = match &*lock(&self.state) {
            State::Open(open) => open.anchor(),
            State::New => return Ok(()),
            State::Lost(lost) => return Err(lost.error()),
        };
        Ok(lock(&anchor).batch_execute("PRAGMA wal_checkpoint(PASSIVE)")?)
    }
}

/// The right to one open connection. Dropping it gives the right back, and must happen after the
/// connection is closed.
pub(crate) struct Lease(Arc<DatabaseFile>);

impl Lease {
    /// Whether the file of its connection is lost.
    pub fn is_void(&self) -> bool {
        self.0.is_lost()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The path with `suffix` added to its name, such as `innkeeper.db-wal`.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
