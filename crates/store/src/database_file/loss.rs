//! The state of a database file that was lost, and the sentences that report it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::identity::Identity;
use super::open::{Known, Open};
use super::remains::{Remains, Way};
use super::rescue::Settled;
use crate::StoreError;

/// The result of a check of the SQLite file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileLook {
    /// It is the file that was opened.
    Fine,
    /// The file was lost: deleted, moved, replaced or overwritten.
    Lost {
        /// Sentences that say what happened and what to do.
        words: String,
        /// Whether this process has done all that it can do. Until then `words` may change.
        settled: bool,
    },
    /// It was lost, and the same database is open again.
    Back {
        /// Sentences that say what had happened.
        words: String,
        /// Sentences that say which files of another database were set aside, if any were.
        set_aside: Option<String>,
    },
}

/// A file that was lost.
pub(super) struct Lost {
    pub way: Way,
    id: i32,
    main: Identity,
    remains: Option<Remains>,
    path: PathBuf,
    settled: Option<Settled>,
    /// Why the remains cannot be saved yet, and when to try again.
    problem: Option<(String, Instant)>,
    /// What keeps the database from being opened again, if a person has to remove the obstacle.
    obstacle: Option<String>,
}

/// How long to wait before another attempt to save the remains.
const PAUSE: Duration = Duration::from_secs(15);

impl Lost {
    pub fn new(path: &Path, way: Way, open: Open) -> Self {
        let (id, remains) = (open.id(), open.into_remains());
        Self {
            way,
            id,
            main: remains.main,
            remains: Some(remains),
            path: path.to_owned(),
            settled: None,
            problem: None,
            obstacle: None,
        }
    }

    /// Takes what has to be saved and closed. `None` if that was done, or is to be tried later.
    pub fn take_remains(&mut self) -> Option<Remains> {
        let is_time = self.problem.as_ref().is_none_or(|(_, again)| Instant::now() >= *again);
        if is_time { self.remains.take() } else { None }
    }

    /// Stores the result of the rescue.
    pub fn settle(&mut self, done: Result<Settled, (Remains, String)>) {
        match done {
            Ok(settled) => (self.settled, self.problem) = (Some(settled), None),
            Err((remains, problem)) => {
                self.remains = Some(remains);
                self.problem = Some((problem, Instant::now() + PAUSE));
            }
        }
    }

    pub fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    /// What identifies the database when it is back. `None` until all is settled, and if only a
    /// restart helps.
    pub fn known(&self) -> Option<Known> {
        let settled = self.settled.as_ref().filter(|_| !self.way.is_final())?;
        Some(Known { id: self.id, main: self.main, progress: settled.progress, whole: settled.whole.clone() })
    }

    /// Stores why the database cannot be opened again, if a person has to do something about it.
    pub fn note_obstacle(&mut self, error: &StoreError) {
        self.obstacle = match error {
            StoreError::File(text) => Some(format!("{text}.")),
            _ => None,
        };
    }

    pub fn look(&self) -> FileLook {
        FileLook::Lost { words: self.words(), settled: self.is_settled() }
    }

    pub fn error(&self) -> StoreError {
        StoreError::FileLost(self.happened())
    }

    fn happened(&self) -> String {
        let path = self.path.display();
        match self.way {
            Way::Gone => format!("{path} is not there any more (deleted or moved away)"),
            Way::Replaced => format!("{path} was replaced by another file"),
            Way::LogGone => format!("a file that belongs to {path} (-wal or -shm) was deleted or replaced"),
            Way::Apart => {
                format!(
                    "{path} leads to another place than before (a link was replaced), without the file's log"
                )
            }
            Way::LogCut => format!("the log of {path} (-wal) was overwritten or cut off"),
            Way::Overwritten => format!("{path} was overwritten or cut off"),
            Way::Cut => format!("{path} was cut off"),
        }
    }

    /// What happened, what was saved, and what to do.
    pub fn words(&self) -> String {
        let advice = match self.way {
            Way::Gone | Way::Replaced => {
                "Put the same database back under this name, as it was last, and Innkeeper goes on. \
                 To begin with another one (a backup: innkeeper restore FILE), stop Innkeeper first."
            }
            Way::LogGone | Way::Apart => "Innkeeper opens its database anew.",
            Way::LogCut => "What was recorded in the last minute may be gone. Restart Innkeeper.",
            Way::Overwritten => {
                "Stop Innkeeper, put a good database there (innkeeper restore FILE), and start it again."
            }
            Way::Cut => {
                "Stop Innkeeper, put a good database there (what was saved, or a backup: innkeeper restore FILE), \
                 and start it again."
            }
        };
        let saved = match (&self.settled, &self.problem) {
            (Some(settled), _) => settled.saved.as_str(),
            (None, Some((problem, _))) => problem,
            (None, None) => "",
        };
        let obstacle = self.obstacle.as_deref().unwrap_or_default();
        let happened = self.happened();
        [&happened, "while Innkeeper worked with it. No check-in is taken.", saved, obstacle, advice]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }
}
