//! A file that was lost: how, and what is said of it.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::open::{Anchor, Open};
use crate::StoreError;

/// What a look at the SQLite file has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileLook {
    /// It is the file that was opened.
    Fine,
    /// It is not.
    Lost {
        /// What happened and what to do, in sentences.
        words: String,
        /// Whether all is done that this process can do; until then the words may change.
        settled: bool,
    },
    /// It was lost, in these words, and the same database is open again.
    Back(String),
}

/// How a file was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// There is nothing under its name.
    Gone,
    /// There is another file under its name.
    Replaced,
    /// Its log, or the log's index, is not there or is another.
    LogGone,
    /// Its content is another.
    Overwritten,
}

/// What is still open of a file that was lost.
pub(super) struct Remains {
    pub anchor: Anchor,
    pub reader: File,
    /// Whether it has no name any more: with the last connection its content goes.
    pub is_deleted: bool,
    /// SQLite's files beside it, as far as they are its own.
    pub beside: Vec<PathBuf>,
}

/// A file that was lost.
pub(super) struct Lost {
    pub way: Way,
    pub id: i32,
    pub remains: Option<Remains>,
    path: PathBuf,
    /// What was done with the remains; none before.
    saved: Option<String>,
}

impl Lost {
    pub fn new(path: &Path, way: Way, open: Open) -> Self {
        let id = open.id();
        Self { way, id, remains: Some(open.into_remains()), path: path.to_owned(), saved: None }
    }

    /// Notes what was done with the remains.
    pub fn settled(&mut self, saved: String) {
        self.saved = Some(saved);
    }

    pub fn is_settled(&self) -> bool {
        self.saved.is_some()
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
            Way::Gone => format!("{path} was deleted or moved away"),
            Way::Replaced => format!("{path} was replaced by another file"),
            Way::LogGone => format!("a file that belongs to {path} (-wal or -shm) was deleted or replaced"),
            Way::Overwritten => format!("{path} was overwritten or cut off"),
        }
    }

    /// What happened, what was saved, and what to do.
    pub fn words(&self) -> String {
        let advice = match self.way {
            Way::Gone | Way::Replaced => {
                "Put the same database back under this name, with its -wal beside it if there is one, and Innkeeper goes on. \
                 To begin with another one (a backup: innkeeper restore FILE), stop Innkeeper first."
            }
            Way::LogGone => "Innkeeper opens its database anew.",
            Way::Overwritten => {
                "Stop Innkeeper, put a good database there (innkeeper restore FILE), and start it again."
            }
        };
        let saved = self.saved.as_deref().unwrap_or_default();
        [self.happened().as_str(), "while Innkeeper worked with it. No check-in is taken.", saved, advice]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }
}
