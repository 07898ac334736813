//! Watches over the SQLite file: is it still the one that this process opened?
//!
//! SQLite goes on writing to a file that was deleted, moved, or replaced, and reports success. Therefore the file and the two beside it
//! (the log `-wal` and its index `-shm`) are compared by device and inode around each commit, before the caller learns that it worked.
//! Its header is read from the disk each second ([`Header`]), which detects a file that was overwritten in place. A file that was lost
//! stays lost until the same database is back: this process closes its connections, saves what it can, and never makes a new file.
//! Only a start does.
//!
//! All of this relies on one connection, the anchor, that stays open as long as the process works with the file. The last connection that
//! closes removes the log; while the anchor is open, a log that is missing was removed by another process.

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

/// The files of this process, by path: all its stores share what is known of one.
static FILES: Mutex<BTreeMap<PathBuf, Weak<DatabaseFile>>> = Mutex::new(BTreeMap::new());

/// One SQLite file; see the module.
pub(crate) struct DatabaseFile {
    path: PathBuf,
    state: Mutex<State>,
    /// Open connections, without the anchor.
    connections: AtomicUsize,
    /// Those that keep idle connections.
    keepers: Mutex<Vec<Weak<dyn IdleConnections>>>,
    /// Whether something was committed that is worth a checkpoint.
    written: AtomicBool,
    /// What the latest look through it has found damaged.
    damage: Mutex<Option<String>>,
}

enum State {
    /// Nobody has opened it yet.
    New,
    Open(Open),
    Lost(Lost),
}

/// A holder of idle connections.
pub(crate) trait IdleConnections: Send + Sync {
    /// Closes them.
    fn close_idle(&self);
}

impl DatabaseFile {
    /// The file at `path`.
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

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has idle connections of `keeper` closed when the file is lost.
    pub fn register(&self, keeper: Weak<dyn IdleConnections>) {
        let mut keepers = lock(&self.keepers);
        keepers.retain(|keeper| keeper.strong_count() > 0);
        keepers.push(keeper);
    }

    /// The right to open a connection. The first of the process finds out what the file is, and makes it where there is none.
    pub fn lease(self: &Arc<Self>) -> Result<Lease, StoreError> {
        // Where the name leads elsewhere now, SQLite would take what lies there for the file's log.
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

    /// Whether the file is known to be lost. Does not look.
    pub fn is_lost(&self) -> bool {
        matches!(&*lock(&self.state), State::Lost(_))
    }

    /// Looks whether the three files are those that were opened: for each commit, before and after.
    pub fn check(&self) -> Result<(), StoreError> {
        self.check_by(|open| open.names_have_changed(&self.path))
    }

    /// What to add to an error that the file's database gave: which file it is, and what stands in the way.
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

    /// Notes that something was committed that is worth a checkpoint.
    pub fn note_written(&self) {
        self.written.store(true, Ordering::Relaxed);
    }

    /// Whether that was noted since this was asked last.
    pub fn was_written(&self) -> bool {
        self.written.swap(false, Ordering::Relaxed)
    }

    /// Remembers what is damaged in it.
    pub fn note_damage(&self, words: Option<String>) {
        *lock(&self.damage) = words;
    }

    /// What is damaged in it, as far as somebody looked.
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

    /// Looks at the names and at the first page; where the file is lost, tries to have it back. For a thread of its own, each second.
    pub fn look(&self) -> FileLook {
        let looked =
            self.check_by(|open| open.names_have_changed(&self.path).or_else(|| open.is_overwritten()));
        if looked.is_ok() { FileLook::Fine } else { self.recover() }
    }

    /// Closes what is open, saves what can be saved, and opens the file anew if it is the same database.
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
            // The log does not wait for this to say that the file is lost.
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

    /// Checkpoints: copies the log into the file, as far as readers allow it. Costs nothing if nothing was written.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        let anchor = match &*lock(&self.state) {
            State::Open(open) => open.anchor(),
            State::New => return Ok(()),
            State::Lost(lost) => return Err(lost.error()),
        };
        Ok(lock(&anchor).batch_execute("PRAGMA wal_checkpoint(PASSIVE)")?)
    }
}

/// The right to one open connection; given back when dropped, which must be after the connection is closed.
pub(crate) struct Lease(Arc<DatabaseFile>);

impl Lease {
    /// Whether its connection leads to a file that is lost.
    pub fn is_void(&self) -> bool {
        self.0.is_lost()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The name of a file beside `path`: `innkeeper.db-wal`.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
